// Consumer: the service's side of delivery. Reads the service's addresses as a member of the consumer group, decides
// what may be run, calls the service, answers, and only then settles; renews what it works on, hands back what it did
// not begin, and takes over from instances that are gone. The rules are docs/protocol.md, "Owning a request". One per
// sidecar, loop thread only.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "bridge/base/budget.h"
#include "bridge/base/limits.h"
#include "bridge/base/unique_function.h"
#include "bridge/frames/dead_letter.h"
#include "bridge/frames/frame_codec.h"
#include "bridge/messaging/bus.h"
#include "bridge/net/event_loop.h"
#include "bridge/net/timer.h"
#include "bridge/router/delivery_policy.h"
#include "bridge/router/service.h"

namespace outrigger::router {

// Counts since start, for metrics and tests.
struct ConsumerCounters {
  std::uint64_t delivered = 0;        // entries obtained in any way
  std::uint64_t begun = 0;            // calls of the service
  std::uint64_t answered = 0;         // answers confirmed by the bus and settled
  std::uint64_t redelivered = 0;      // obtained with a delivery count above 1
  std::uint64_t taken_over = 0;
  std::uint64_t handed_back = 0;      // not begun
  std::uint64_t moved_on = 0;         // begun, broken off by the service, given to another instance
  std::uint64_t outcome_unknown = 0;  // answered so
  std::uint64_t expired = 0;
  std::uint64_t duplicates = 0;       // same request id already in hand
  std::uint64_t malformed = 0;
  std::uint64_t undeliverable = 0;    // answers nobody could be given by the deadline
  std::uint64_t leases_lost = 0;
  std::uint64_t no_room = 0;          // answers there was no memory for
  std::uint64_t cancelled = 0;        // ended because the caller said that it had left
  std::array<std::uint64_t, frames::kDeadReasons> dead_letters{};  // by frames::DeadReason
};

// How a delivered request ended here. A closed list; names are stable (records, metrics).
enum class DeliveryEnd : std::uint8_t {
  answered,         // with the service's own answer, whatever its status
  timeout,          // the service did not answer by the deadline
  broken,           // the service broke off
  malformed,        // the service answered what is no HTTP, or what cannot be carried
  answer_too_large, // the service's answer is above the limit
  no_room,          // there was no memory for the service's answer
  unreachable,      // no connection to the service, and nobody to hand it back to: not run
  handed_back,      // to another instance: not run
  moved_on,         // the service broke off; it may run again, and another instance was given it
  body_too_large,   // the request's body is above the limit: not run
  body_missing,     // a piece of the request's body did not come: not run
  expired,          // its deadline had passed: not run
  outcome_unknown,  // it may have been run before, and may not be run twice
  exhausted,        // no attempts left
  cancelled,        // its caller ended it
  lease_lost,       // another instance has it now
  unfinished,       // this process stopped first
};
std::string_view name_of(DeliveryEnd end);

// One delivered request at its end. Views and references are good for the call only.
struct EndedDelivery {
  const frames::Request& request;  // without its body
  DeliveryEnd end;
  int status = 0;  // of the service's answer; 0: none
  bool was_begun = false;       // the service was called
  bool is_undelivered = false;  // the answer could not be given to its caller by the deadline
  std::uint32_t attempt = 1;
  std::uint64_t request_bytes = 0;  // of the bodies
  std::uint64_t answer_bytes = 0;
  base::Duration queue_wait{};    // Valkey's time between the entry's id and its delivery
  base::Duration service_time{};  // 0 unless begun
  base::Duration in_hand{};       // since its delivery
};

// What the consumer tells the sidecar that owns it. Called from the loop.
class ConsumerHandler {
 public:
  // The service refused a connection: reading stops until set_service_ready(true).
  virtual void on_service_refused() = 0;
  // Reading became possible (groups there, alive subscription confirmed), or impossible.
  virtual void on_reading_changed(bool is_reading) = 0;
  // Queues had to be made anew: what else this instance keeps on the bus may be gone, too.
  virtual void on_bus_emptied() = 0;
  virtual void on_resync_requested(const frames::ResyncRequest& request) = 0;
  // Once for each delivered request, whatever became of it, when it leaves our hands.
  virtual void on_request_done(const EndedDelivery& /*ended*/) {}

 protected:
  ~ConsumerHandler() = default;
};

class Consumer final : private messaging::GroupReaderHandler,
                       private messaging::CursorReaderHandler,
                       private messaging::BusObserver {
 public:
  struct Options {
    std::string service;
    std::string instance;              // consumer name
    std::vector<std::string> queues;   // addresses, narrow ones first
    std::string inbox;
    std::uint32_t max_in_flight = 64;  // requests with the service at once
    std::uint32_t batch_size = 0;      // caps COUNT; 0 = free slots
    base::Duration lease = base::limits::kLeaseDuration;
    bool redelivery_always = false;
    frames::WakeMode wake = frames::WakeMode::block;  // of our bus: callers learn how to wake us
    // Dead letters of the service; a count of 0 keeps none.
    messaging::DeadLetterLimits dead_letters{base::limits::kDeadLetters, base::limits::kDeadLetterBytes};
    bool keeps_expired = false;  // as dead letters, too
    std::size_t body_limit = base::limits::kBodyBytes;  // of requests and answers
    // Counts the bodies in hand. While it is half used nothing is read: others have room, or the queue has. Outlives the
    // consumer. May be null.
    base::Budget* buffered = nullptr;
  };

  // References outlive the consumer. Nothing happens before start().
  Consumer(net::EventLoop& loop, messaging::Bus& bus, const frames::QueueNames& names, Service& service,
           ConsumerHandler& handler, Options options);
  ~Consumer();
  Consumer(const Consumer&) = delete;
  Consumer& operator=(const Consumer&) = delete;

  void start();
  // The prober's verdict. While false nothing new is read or claimed.
  void set_service_ready(bool is_ready);
  bool is_reading() const { return may_read(); }
  // Stops reading, hands back what is not begun, finishes the rest, then calls `done` (in a later turn). Once.
  void drain(base::UniqueFunction<void()> done);
  // The process ends: what is still in hand is reported as it stands. It goes on belonging to us until its lease ends.
  void report_unfinished();

  const ConsumerCounters& counters() const { return counters_; }
  std::size_t in_hand() const { return slots_.size(); }
  std::size_t with_service() const { return begun_; }
  std::size_t waiting() const { return waiting_.size(); }  // for a place at the service

 private:
  struct Slot;
  enum class SlotState : std::uint8_t;
  using Serial = std::uint64_t;

  void on_bus_connected(bool is_new_incarnation) override;
  void on_bus_lost(const base::Error& why) override;
  void on_reader_connected(const std::string& incarnation) override;
  void on_delivered(const std::string& queue, std::span<const messaging::EntryView> entries) override;
  void on_read_done() override;
  void on_queue_missing() override;
  void on_reader_lost() override;
  void on_entries(const std::string& stream, std::span<const messaging::EntryView> entries) override;

  void prepare_queues();
  bool may_read() const;
  void announce_reading();
  void read_more();
  void read_now();
  void look_for_own_pending();

  void obtain(std::size_t queue, messaging::EntryId id, std::span<const frames::EntryField> fields,
              std::uint32_t delivery_count, Obtained obtained, const std::string& incarnation);
  void obtain_claimed(std::size_t queue, std::vector<messaging::ClaimedEntry> claimed, Obtained obtained);
  void begin(Slot& slot);
  void begin_waiting();
  void call_finished(Slot& slot);
  void on_service_failed(Slot& slot, ServiceFailure failure);
  void on_message(std::string_view text);
  void read_cancelled();
  void cancel(const std::string& id);
  void drop_expired(Slot& slot);
  void bury(Slot& slot);
  void answer_fault(Slot& slot, frames::Fault fault, DeliveryEnd why, std::string detail);
  void publish_answer(Slot& slot);
  void on_answer_published(Serial serial, std::uint32_t round, bool is_confirmed);
  void on_slot_due(Slot& slot);
  void leave_service(Slot& slot);
  void settle(Slot& slot);
  void on_settled(Serial serial, base::Result<void> result);
  void hand_back(Slot& slot);
  void hand_back_or_fail(Slot& slot, std::string detail);
  void move_on(Slot& slot, std::string detail);
  void give_to_peer(Slot& slot, std::string detail);
  void on_hand_back_failed(Slot& slot, const base::Error& why);
  void report_end(const Slot& slot);
  void never_run_again(const Slot& slot, frames::Fault answer);
  void let_go(Slot& slot);
  void settle_unparsed(std::size_t queue, messaging::EntryId id);

  void ask_for_body(Slot& slot);
  void on_request_data(frames::StreamData data);
  void renew();
  void lose_lease(Slot& slot);
  void look_soon();
  void look_within(base::Duration at_most);
  void ask_others_to_look();
  void look_around();
  void look_around_queue(std::size_t queue);
  void on_pending_overview(std::size_t queue, std::vector<messaging::PendingEntry> pending);
  void claim_from(std::size_t queue, const std::string& consumer, std::vector<messaging::PendingEntry> entries,
                  Obtained obtained);
  void watch_renewals(std::size_t queue, const std::vector<messaging::PendingEntry>& pending);
  bool is_lease_over(std::size_t queue, const messaging::PendingEntry& entry) const;
  void take_over_from(std::size_t queue, const std::string& consumer, std::vector<messaging::PendingEntry> entries,
                      bool is_gone);
  void keep_inbox();
  void check_drained();

  Slot* find(Serial serial);
  std::vector<messaging::EntryId> in_hand_ids(std::size_t queue) const;
  std::size_t room() const;

  net::EventLoop& loop_;
  messaging::Bus& bus_;
  const frames::QueueNames& names_;
  Service& service_;
  ConsumerHandler& handler_;
  Options options_;
  frames::FrameDecoder decoder_;
  ConsumerCounters counters_;

  std::unique_ptr<messaging::GroupReader> reader_;
  std::unique_ptr<messaging::CursorReader> inbox_reader_;
  std::unique_ptr<messaging::Subscription> alive_;  // and what callers say on the service's channel
  messaging::EntryId inbox_cursor_;

  bool has_groups_ = false;           // every queue was made or confirmed since the bus came up
  bool is_service_ready_ = false;
  bool is_draining_ = false;
  bool was_reading_ = false;
  // Since it was subscribed: what callers cancelled while nobody listened is known.
  bool has_read_cancelled_ = false;
  bool is_reading_cancelled_ = false;
  bool must_look_for_own_ = false;    // the reader's connection was lost: something may be ours without our knowledge
  std::uint32_t own_lookups_ = 0;     // unanswered own_pending questions
  std::uint32_t claims_ = 0;          // unanswered claims
  std::size_t claims_under_way_ = 0;  // entries they ask for
  std::uint32_t preparations_ = 0;    // unanswered ensure_group / ensure_stream
  bool read_is_due_ = false;
  base::Duration prepare_backoff_{};

  std::unordered_map<Serial, std::unique_ptr<Slot>> slots_;
  std::map<std::pair<std::size_t, messaging::EntryId>, Serial> by_entry_;
  std::unordered_map<std::string, Serial> by_request_;
  std::deque<Serial> waiting_;        // in hand, but the service has all it may have at once
  Serial last_serial_ = 0;
  std::size_t begun_ = 0;             // calls of the service under way
  std::size_t settling_ = 0;          // slots that wait for the bus only

  // Non-repeatable requests we never run again, and what is answered instead: those we handed back, whether that took
  // effect or not, and those we ran and could not settle because the lease was lost.
  std::unordered_map<std::string, frames::Fault> never_again_;
  std::deque<std::string> never_again_order_;
  // Cancelled before they came here: not begun if they come. The newest ones.
  std::unordered_set<std::string> cancelled_;
  std::deque<std::string> cancelled_order_;
  // What we handed back, to see whether somebody takes it: else it is claimed back to be answered.
  struct Parked {
    std::size_t queue;
    messaging::EntryId id;
    base::TimePoint since;
  };
  std::vector<Parked> parked_by_us_;
  // Zero readings of a consumer's alive channel, the first and the last in a row.
  struct Silence {
    base::TimePoint first;
    base::TimePoint last;
  };
  std::map<std::string, Silence> seen_gone_;
  // Others' entries as they were seen pending, look after look: since when, by our own clock, their idle time has not fallen.
  struct Unrenewed {
    std::string consumer;
    base::TimePoint since;
    std::int64_t idle_ms = 0;
  };
  std::map<std::pair<std::size_t, messaging::EntryId>, Unrenewed> unrenewed_;
  bool others_have_pending_ = false;
  base::TimePoint active_at_{};   // something was delivered, or may lie with somebody who is gone
  base::TimePoint looked_at_{};
  bool look_is_due_to_others_ = false;  // this turn
  base::TimePoint inbox_seen_at_{};
  base::TimePoint swept_for_{};  // the last sweep
  int ticks_between_sweeps_ = 1;
  int ticks_to_sweep_ = 1;
  std::map<std::pair<std::size_t, messaging::EntryId>, bool> repeatable_seen_;  // others' entries that were looked at

  net::Timer prepare_timer_;
  net::Timer renew_timer_;
  net::Timer look_timer_;
  net::Timer inbox_timer_;
  base::UniqueFunction<void()> on_drained_;
};

}  // namespace outrigger::router
