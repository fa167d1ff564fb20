// Dispatcher: the caller's side of delivery. Turns a call into a REQUEST on a service's queue, reads this worker's reply
// stream, and gives every caller exactly one end by its deadline. A caller is a caller: the gateway's edge and the
// sidecar's egress use the same class. The rules are docs/protocol.md, "Owning a request". One per worker, loop thread.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "bridge/base/limits.h"
#include "bridge/base/unique_function.h"
#include "bridge/frames/frame_codec.h"
#include "bridge/messaging/bus.h"
#include "bridge/net/event_loop.h"
#include "bridge/net/timer.h"
#include "bridge/router/address_book.h"
#include "bridge/router/problem.h"

namespace outrigger::router {

// An answer comes as its head (with the first or all bytes in `body`), then, unless `end`, pieces of the body, then
// on_answer_end. on_call_failed is terminal and may come instead of any of these. Never from inside call(); not after
// the handle was destroyed. Every call may destroy the handle.
class CallHandler {
 public:
  virtual void on_answer(frames::Response answer) = 0;
  virtual void on_answer_body(std::string bytes) = 0;
  virtual void on_answer_end() = 0;
  // `detail` is for logs.
  virtual void on_call_failed(ProblemCode code, std::string_view detail) = 0;

 protected:
  ~CallHandler() = default;
};

struct Call {
  std::string service;
  std::string method;
  std::string target;
  std::string scheme;
  std::string authority;
  base::HeaderList headers;
  std::string body;
  bool repeatable = false;
  base::Duration timeout = base::limits::kRequestTimeout;
  std::string traceparent;
  std::string tracestate;
};

struct DispatcherCounters {
  std::uint64_t calls = 0;
  std::uint64_t published = 0;
  std::uint64_t republished = 0;    // repeatable ones written again under the same id
  std::uint64_t answered = 0;
  std::uint64_t failed = 0;
  std::uint64_t late_answers = 0;   // for an id that had ended, or from another than the bound attempt
  std::uint64_t taken_back = 0;     // nobody was there
  std::uint64_t malformed = 0;
  std::uint64_t cancelled = 0;      // sidecars were told that nobody waits any more
};

class Dispatcher final : private messaging::CursorReaderHandler, private messaging::BusObserver {
 public:
  struct Options {
    std::string gateway;  // process id
    unsigned worker = 0;
    std::size_t max_pending = base::limits::kPendingPerWorker;
    std::size_t max_queue_depth = base::limits::kMaxQueueDepth;
    std::uint32_t max_attempts = base::limits::kMaxAttempts;
    frames::WakeMode wake = frames::WakeMode::block;  // of our bus: sidecars learn how to wake us
  };

  // Move-only; destroying it ends the caller's interest: a late answer is counted and dropped. Must not outlive the
  // dispatcher.
  class [[nodiscard]] Handle {
   public:
    Handle() = default;
    Handle(Dispatcher& dispatcher, std::string id) : dispatcher_(&dispatcher), id_(std::move(id)) {}
    Handle(Handle&& other) noexcept : dispatcher_(std::exchange(other.dispatcher_, nullptr)), id_(std::move(other.id_)) {}
    Handle& operator=(Handle&& other) noexcept {
      if (this != &other) {
        cancel();
        dispatcher_ = std::exchange(other.dispatcher_, nullptr);
        id_ = std::move(other.id_);
      }
      return *this;
    }
    ~Handle() { cancel(); }
    void cancel() {
      if (dispatcher_ != nullptr) std::exchange(dispatcher_, nullptr)->forget(id_);
    }
    // REQUEST id; empty for a default-made handle.
    const std::string& id() const { return id_; }

   private:
    Dispatcher* dispatcher_ = nullptr;
    std::string id_;
  };

  // References outlive the dispatcher. `on_instances_lost` is told of instances whose alive channel is empty, so that
  // the registry need not wait for their heartbeats to stay away.
  Dispatcher(net::EventLoop& loop, messaging::Bus& bus, const frames::QueueNames& names, Options options,
             base::UniqueFunction<void(std::vector<std::string>)> on_instances_lost);
  ~Dispatcher();
  Dispatcher(const Dispatcher&) = delete;
  Dispatcher& operator=(const Dispatcher&) = delete;

  void set_addresses(std::shared_ptr<const AddressBook> book) { book_ = std::move(book); }
  // The reply stream is confirmed: requests can be written.
  bool is_ready() const { return is_reply_stream_ready_; }
  std::size_t pending() const { return calls_.size(); }
  const DispatcherCounters& counters() const { return counters_; }

  // Starts a call. The handler outlives the handle.
  Handle call(Call call, CallHandler& handler);

  // REQUIRES no pending call. Deletes the reply stream.
  void close();

 private:
  struct Pending;
  enum class PendingState : std::uint8_t;

  void on_bus_connected(bool is_new_incarnation) override;
  void on_bus_lost(const base::Error& why) override;
  void on_entries(const std::string& stream, std::span<const messaging::EntryView> entries) override;

  void forget(const std::string& id);
  Pending* find(const std::string& id);
  void fail_later(const std::string& id, ProblemCode code, std::string detail);
  void fail(Pending& call, ProblemCode code, std::string_view detail);
  void send(Pending& call);
  void on_published(const std::string& id, base::Result<std::optional<messaging::EntryId>> result);
  void on_response(frames::Response response);
  void on_response_data(frames::StreamData data);
  void on_accept(const frames::Accept& accept);
  void on_deadline(Pending& call);
  void end(Pending& call);
  void prepare_reply_stream();
  void write_again(bool all_repeatable);
  void tick();
  void arm_tick();
  void cancel(const Pending& call, std::string_view reason, bool is_kept);
  void flush_cancellations();
  void look_for_nobody(const std::string& service, const std::string& queue, std::vector<std::string> ids);
  void take_back(const std::string& queue, const std::vector<std::string>& ids);
  void take_back(const std::string& queue, const std::vector<std::string>& ids, bool repeatable);
  void trim();

  net::EventLoop& loop_;
  messaging::Bus& bus_;
  const frames::QueueNames& names_;
  Options options_;
  base::UniqueFunction<void(std::vector<std::string>)> on_instances_lost_;
  frames::FrameDecoder decoder_;
  DispatcherCounters counters_;
  std::shared_ptr<const AddressBook> book_ = std::make_shared<AddressBook>();
  std::string reply_to_;
  bool is_reply_stream_ready_ = false;
  bool is_preparing_ = false;
  base::Duration prepare_backoff_ = std::chrono::milliseconds(100);
  bool must_write_all_again_ = false;  // once the reply stream is confirmed: the incarnation is a new one
  std::unique_ptr<messaging::CursorReader> reader_;
  messaging::EntryId cursor_;
  messaging::EntryId trimmed_;
  std::size_t untrimmed_bytes_ = 0;
  base::TimePoint last_heard_;

  std::unordered_map<std::string, std::unique_ptr<Pending>> calls_;
  struct Depth {
    std::size_t in_flight = 0;
    std::uint64_t sampled = 0;
    base::TimePoint said_look{};
  };
  std::map<std::string, Depth, std::less<>> depths_;  // by queue

  std::map<std::string, std::vector<messaging::Cancellation>> cancellations_;  // of this turn, by service

  net::Timer prepare_timer_;
  net::Timer refresh_timer_;
  net::Timer tick_timer_;
  net::Timer trim_timer_;
};

}  // namespace outrigger::router
