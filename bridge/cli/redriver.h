// Redriver: runs dead letters again. Each becomes a new REQUEST on its service's queue; its letter is deleted once the
// new entry's id was read, and its answer is waited for until its budget ends. Several are under way at once. One line
// per letter goes to standard output when it is known how it ended, or to standard error if it was not redriven. One
// thread, which runs the session's loop.
#pragma once

#include <map>
#include <memory>
#include <string>

#include "bridge/cli/bus_session.h"
#include "bridge/cli/dead_format.h"

namespace outrigger::cli {

struct RedriveOptions {
  std::chrono::milliseconds timeout = base::limits::kRequestTimeout;
  bool may_run_twice = false;
  bool waits = true;
};

// Why a letter cannot or may not be redriven, in words for the operator; empty if it can.
std::string reason_against(const FoundLetter& found, bool may_run_twice);

// The REQUEST that runs `found` again. REQUIRES a readable one.
frames::Request make_redriven(const FoundLetter& found, std::string request_id, std::string reply_to,
                              std::int64_t deadline_ms, std::string bus);

class Redriver final : private messaging::CursorReaderHandler, private messaging::BusObserver {
 public:
  Redriver(BusSession& session, RedriveOptions options);
  ~Redriver();
  Redriver(const Redriver&) = delete;
  Redriver& operator=(const Redriver&) = delete;

  // Makes the reply stream. An error of the bus: nothing was done.
  base::Result<void> open();
  // Waits until there is room among those under way, then writes it. False: the bus has failed, and no other one should
  // be tried.
  bool redrive(FoundLetter found);
  // Waits for all, removes the reply stream, and says how many ended how. True if every letter was redriven and answered by
  // its service, or need not be waited for.
  bool finish();

 private:
  struct Underway;

  void on_entries(const std::string& stream, std::span<const messaging::EntryView> entries) override;
  void on_bus_connected(bool is_new_incarnation) override;
  void on_bus_lost(const base::Error&) override {}

  void publish(Underway& underway);
  void on_published(const std::string& id, base::Result<std::optional<messaging::EntryId>> result);
  void on_letter_deleted(const std::string& id, base::Result<std::uint64_t> deleted);
  void on_answer(const frames::Response& response);
  void end_if_over(const Underway& underway);
  void refuse(const FoundLetter& found, const std::string& why);
  void keep_stream();

  BusSession& session_;
  RedriveOptions options_;
  std::string reply_stream_;
  base::Duration stream_ttl_;
  messaging::EntryId cursor_;
  std::unique_ptr<messaging::CursorReader> reader_;
  net::Timer keep_timer_;
  std::map<std::string, std::unique_ptr<Underway>> underway_;  // by the new request id
  bool has_failed_ = false;                                    // the bus has
  std::size_t written_ = 0;
  std::size_t answered_ = 0;
  std::size_t refused_ = 0;
};

}  // namespace outrigger::cli
