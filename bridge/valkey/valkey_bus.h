// The bus over a Valkey (or Redis 7) server: one pipelined command connection, and connections of their own for every
// blocking reader and subscription. Rare multi-step work is Lua (scripts.h); nothing per request is, but for charge().
#pragma once

#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "bridge/base/limits.h"
#include "bridge/frames/queue_names.h"
#include "bridge/messaging/bus.h"
#include "bridge/net/event_loop.h"
#include "bridge/net/timer.h"
#include "bridge/telemetry/metrics.h"
#include "bridge/valkey/link.h"
#include "bridge/valkey/notify_subscription.h"
#include "bridge/valkey/valkey_url.h"

namespace outrigger::valkey {

class ValkeyBus final : public messaging::Bus, private LinkHandler {
 public:
  struct Options {
    ValkeyAddress address;
    std::string name;   // prefix of CLIENT SETNAME, e.g. "sidecar-billing"; no spaces
    std::string group;  // ConsumerGroup
    // A key that is never made and that this process may XADD to: asked now and then whether the server takes writes,
    // so that the end of a refusal is seen without risking a request. Empty: only what is written tells.
    std::string probe_key = {};
    base::Duration block_time = base::limits::kBlockTime;  // of a read that finds nothing
    frames::WakeMode wake = frames::WakeMode::block;
    const frames::QueueNames* names = nullptr;  // for the channels of wake mode `notify`; outlives the bus
  };
  // Connects by itself, in later turns.
  ValkeyBus(net::EventLoop& loop, Options options);
  ~ValkeyBus() override;

  bool is_connected() const override { return link_.is_ready() && is_clock_known_; }
  const std::string& incarnation() const override { return incarnation_; }
  std::int64_t now_ms() const override;
  std::int64_t clock_error_ms() const override { return clock_error_ms_; }
  void doubt_server() override;
  base::TimePoint connected_since() const override { return connected_since_; }
  messaging::BusStatus status() const override;
  void add_observer(messaging::BusObserver& observer) override;
  void remove_observer(messaging::BusObserver& observer) override;

  void publish(const std::string& stream, const frames::EncodedFrame& frame, PublishOptions options,
               messaging::Done<std::optional<messaging::EntryId>> done) override;
  void settle(const std::string& queue, messaging::EntryId id, messaging::Done<void> done) override;
  void note_delivered(const std::string& queue, messaging::EntryId id) override;
  void ensure_group(const std::string& queue, messaging::Done<void> done) override;
  void join_group(const std::string& queue, const std::string& consumer, messaging::Done<void> done) override;
  void renew(const std::string& queue, const std::string& consumer, std::vector<messaging::EntryId> ids,
             messaging::Done<std::vector<messaging::EntryId>> done) override;
  void hand_back(const std::string& queue, const std::string& consumer, std::vector<messaging::HandBack> entries,
                 messaging::Done<std::vector<messaging::EntryId>> done) override;
  void own_pending(const std::string& queue, const std::string& consumer, std::vector<messaging::EntryId> in_hand,
                   std::uint32_t limit, messaging::Done<std::vector<messaging::ClaimedEntry>> done) override;
  void pending_entries(const std::string& queue, std::int64_t min_idle_ms, std::uint32_t limit,
                       messaging::Done<std::vector<messaging::PendingEntry>> done) override;
  void read_entries(const std::string& queue, std::vector<messaging::EntryId> ids,
                    messaging::Done<std::vector<messaging::OwnedEntry>> done) override;
  void claim(const std::string& queue, const std::string& consumer, const std::string& from,
             std::vector<messaging::PendingEntry> entries,
             messaging::Done<std::vector<messaging::ClaimedEntry>> done) override;
  void take(const std::string& queue, std::vector<messaging::EntryId> ids, bool only_unbegun,
            messaging::Done<std::vector<messaging::EntryId>> done) override;
  void sweep(const std::string& queue, const std::string& self, std::int64_t dead_after_ms,
             messaging::Done<void> done) override;
  void remove_consumer(const std::string& queue, const std::string& consumer, messaging::Done<void> done) override;
  void remove_unused(const std::string& queue, std::int64_t dead_after_ms, messaging::Done<bool> done) override;
  void queue_length(const std::string& queue, messaging::Done<std::uint64_t> done) override;
  void queue_statistics(std::vector<std::string> queues, messaging::Done<messaging::QueueStatistics> done) override;
  void bury(const std::string& queue, messaging::EntryId id, const std::string& dead,
            std::vector<std::pair<std::string, std::string>> more, messaging::DeadLetterLimits limits,
            messaging::Done<std::optional<messaging::EntryId>> done) override;
  void consumers(const std::string& queue, messaging::Done<std::vector<std::string>> done) override;
  void ensure_stream(const std::string& stream, base::Duration ttl, messaging::EntryId cursor,
                     messaging::Done<bool> done) override;
  void trim(const std::string& stream, messaging::EntryId id) override;
  void remove_key(const std::string& key) override;
  void subscribers(std::vector<std::string> channels, messaging::Done<std::vector<std::uint64_t>> done) override;
  void tell(const std::string& channel, std::string message) override;
  void cancel(const std::string& channel, const std::string& set,
              std::vector<messaging::Cancellation> cancellations) override;
  void cancelled(const std::string& set, messaging::Done<std::vector<std::string>> done) override;
  void get(const std::string& key, messaging::Done<std::optional<std::string>> done) override;
  void set(const std::string& key, std::string value, base::Duration ttl, bool only_if_absent,
           messaging::Done<bool> done) override;
  void refresh_ttl(const std::string& key, base::Duration ttl, messaging::Done<bool> done) override;
  void charge(std::vector<messaging::RateBucket> buckets, messaging::Done<std::vector<base::Duration>> done) override;
  std::unique_ptr<messaging::GroupReader> make_group_reader(std::string consumer,
                                                            messaging::GroupReaderHandler& handler) override;
  std::unique_ptr<messaging::CursorReader> make_cursor_reader(std::vector<Cursor> cursors,
                                                              messaging::CursorReaderHandler& handler,
                                                              bool is_rare = false) override;
  std::unique_ptr<messaging::Subscription> make_subscription(std::vector<std::string> channels,
                                                             base::UniqueFunction<void(bool)> on_changed,
                                                             OnMessage on_message) override;

  // How long the question for the server's time took, at every connect and every ten seconds.
  const telemetry::DurationHistogram& round_trips() const { return round_trips_; }

  // Of an entry that was read just now, or (`is_new`) written: an id of another time than ours shows that the server's clock
  // was moved.
  void compare_clock(messaging::EntryId id, bool is_new);
  // For readers: CLIENT UNBLOCK through the command connection.
  void unblock(std::int64_t client_id);
  net::EventLoop& loop() { return loop_; }
  base::Duration block_time() const { return options_.block_time; }
  frames::WakeMode wake_mode() const { return options_.wake; }
  // nullptr in wake mode `block`.
  NotifySubscription* notify_subscription();
  std::vector<std::string> notify_channels(const std::vector<std::string>& streams) const;
  BusState& state() { return state_; }
  Link::Options link_options(std::string_view role, base::Duration reply_deadline) const;

 private:
  // What one queue's settlement of this turn consists of, and what is held back from deletion.
  struct Settlement {
    std::vector<messaging::EntryId> acknowledge;
    std::vector<messaging::Done<void>> done;
    std::vector<messaging::EntryId> erase;
    std::vector<messaging::EntryId> held;  // acknowledged, not yet deleted
    messaging::EntryId highest_delivered;
  };

  void on_link_ready() override;
  void on_link_lost(const base::Error& why) override;
  void on_written(messaging::EntryId id) override;
  void ask_time();
  void ask_memory_policy();
  void probe();
  void flush_settlements();
  void flush_notifications();
  std::string notify_channel(const std::string& stream) const;
  // Hands what was found to `done` once INFO, asked after it, showed the server that was greeted; else outcome_unknown.
  template <class T>
  messaging::Done<std::vector<T>> confirmed(messaging::Done<std::vector<T>> done);
  // Fails `done` in a later turn when not connected.
  template <class T>
  bool refuse_if_down(messaging::Done<T>& done);
  struct Command {
    Command(std::initializer_list<std::string> words) : arguments(words) {}
    Command(std::string_view script_name, std::vector<std::string> words)
        : arguments(std::move(words)), name(script_name) {}
    std::vector<std::string> arguments;
    std::string_view name;  // of a script, for messages
  };
  static Command script(std::string_view name, const std::string& text, const std::string& key,
                        std::initializer_list<std::string> rest);
  // Sends one command; `read` turns its reply into the value.
  template <class T, class Read>
  void ask(Command command, messaging::Done<T> done, Read read);

  net::EventLoop& loop_;
  Options options_;
  mutable BusState state_;
  Link link_;
  std::string incarnation_;
  std::vector<messaging::BusObserver*> observers_;
  bool is_clock_known_ = false;
  std::int64_t clock_offset_ms_ = 0;  // server's clock minus this process' monotonic one
  std::int64_t clock_error_ms_ = 0;
  base::TimePoint connected_since_;
  base::TimePoint time_asked_at_;
  base::TimePoint memory_asked_at_;
  base::TimePoint written_at_;  // the last entry
  bool was_used_ = false;       // for a request or an answer, since the time was asked for
  net::Timer time_timer_;
  net::Timer probe_timer_;
  base::TimePoint probed_at_;
  net::Timer held_timer_;
  std::map<std::string, Settlement> settlements_;
  bool settlement_is_due_ = false;
  // Streams that were written to in this turn and whose readers are to be woken. Shared with nobody: ends with the bus.
  std::shared_ptr<std::set<std::string>> notify_due_ = std::make_shared<std::set<std::string>>();
  std::unique_ptr<NotifySubscription> notify_subscription_;
  telemetry::DurationHistogram round_trips_{telemetry::Buckets::round_trips};
};

}  // namespace outrigger::valkey
