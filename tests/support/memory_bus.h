// A Valkey in memory on the fake clock, and a bus for each process of a test: the races of delivery become deterministic.
// MemoryServer is what all processes share and behaves as Valkey 8.0 does (tests/support/bus_contract.h holds both to
// it); MemoryBus is one process' handle, with the switches for its faults. Every command takes effect in one loop turn and
// is answered in a later one, never inside the call. Everything here runs on one loop; the server outlives its buses.
#pragma once

#include <cstdint>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "bridge/messaging/bus.h"
#include "bridge/net/timer.h"
#include "tests/support/fake_clock.h"

namespace outrigger::tests {

// What a bus may be asked to do, for holds, hooks and counts. `read` is the group read, `read_cursor` the cursor read.
enum class Op : std::uint8_t {
  publish, settle, note_delivered, ensure_group, renew, hand_back, own_pending, pending_entries, read_entries, claim, take,
  sweep, remove_consumer, remove_unused, queue_length, queue_statistics, consumers, ensure_stream, trim, remove_key,
  subscribers, get, set, refresh_ttl, bury, tell, cancel, cancelled, charge,
  read, unblock, read_cursor, subscribe
};

// What becomes of commands that were written, but not carried out when their connection broke.
enum class InFlight : std::uint8_t {
  lost,  // they never arrived
  late   // they arrived, and are carried out by MemoryServer::run_late_effects()
};

// How connections of one process break.
struct Break {
  InFlight in_flight = InFlight::lost;
  bool commands = true;  // which of them
  bool readers = true;
  bool subscriptions = true;
  // false: only the process sees it. The server goes on handing entries to its blocked readers and counting its
  // subscriptions until MemoryServer::drop_ghosts().
  bool server_notices = true;
};

class MemoryBus;

class MemoryServer {
 public:
  explicit MemoryServer(FakeLoop& loop) : loop_(loop) {}
  ~MemoryServer();
  MemoryServer(const MemoryServer&) = delete;
  MemoryServer& operator=(const MemoryServer&) = delete;

  using Fields = std::vector<std::pair<std::string, std::string>>;
  struct Pending {
    std::string consumer;
    std::int64_t delivered_ms = 0;
    std::uint32_t count = 0;
  };
  struct Group {
    messaging::EntryId last_delivered;
    std::optional<std::uint64_t> entries_read;  // Valkey's estimate; the lag depends on it
    std::map<messaging::EntryId, Pending> pending;
    std::map<std::string, std::int64_t> seen_ms;  // its consumers
  };
  struct Stream {
    std::map<messaging::EntryId, Fields> entries;
    messaging::EntryId last_id;
    messaging::EntryId max_deleted;
    std::uint64_t added = 0;
    std::optional<Group> group;  // every bus has the same group
  };
  struct Key {
    using Scores = std::map<std::string, std::int64_t>;  // a sorted set
    std::variant<std::string, Stream, Scores> value;
    std::optional<std::int64_t> expires_ms;
  };
  using Snapshot = std::map<std::string, Key>;

  // Entries of a stream that were written with a notification for readers in wake mode `notify`. Nobody here needs it.
  std::size_t notified(std::string_view stream) const {
    const auto at = notified_.find(stream);
    return at == notified_.end() ? 0 : at->second;
  }

  // Faults of the server. After a restart connections come back by themselves, but for those that a test holds cut.
  void set_out_of_memory(bool is_out_of_memory) { is_out_of_memory_ = is_out_of_memory; }
  // The server's clock jumps; the processes know it at once (but see MemoryBus::set_clock_estimate).
  void step_clock(std::chrono::milliseconds by) { clock_offset_ms_ += by.count(); }
  void stop();   // all connections break; nobody gets in
  void start();  // what it held is still there; the incarnation is the same
  Snapshot snapshot() const { return keys_; }
  // Back to an earlier state under a new incarnation (or this one, as after a failover and back).
  void restore(Snapshot snapshot, std::string incarnation = {});
  void restart_empty() { restore({}); }
  void flush_all();
  void run_late_effects();
  void drop_ghosts();
  // How long a lost connection needs to come back by itself.
  void set_reconnect_delay(base::Duration delay) { reconnect_delay_ = delay; }
  const std::string& incarnation() const { return incarnation_; }

  // What another client could do at once.
  messaging::EntryId add(const std::string& stream, Fields fields);
  bool remove(const std::string& key);
  bool remove_entry(const std::string& stream, messaging::EntryId id);
  // XGROUP DESTROY; the entries stay.
  void lose_group(const std::string& stream) { find_stream(stream)->group.reset(); }

  // What is there.
  std::int64_t now_ms() const { return loop_.clock.wall().count() + clock_offset_ms_; }
  const std::vector<MemoryBus*>& buses() const { return buses_; }
  bool exists(const std::string& key) { return find(key) != nullptr; }
  std::size_t length(const std::string& stream);
  std::vector<messaging::OwnedEntry> entries(const std::string& stream);
  std::vector<messaging::PendingEntry> pending(const std::string& queue);
  std::vector<std::string> consumers(const std::string& queue);
  // As XINFO GROUPS of Valkey 8.0 tells it: nothing where it says null, and wrong where it is wrong.
  std::optional<std::int64_t> lag(const std::string& queue);
  std::uint64_t subscribers(const std::string& channel) const;
  std::size_t blocked_readers() const { return waiters_.size(); }

 private:
  friend class MemoryBus;
  class Command;
  template <class T>
  class TypedCommand;
  struct GroupReply {
    bool is_queue_missing = false;
    std::vector<std::pair<std::string, std::vector<messaging::OwnedEntry>>> delivered;
  };
  // A blocked group read. What a ghost is given arrives nowhere.
  struct Waiter {
    std::string consumer;
    std::vector<std::string> queues;
    std::uint32_t count = 0;
    base::TimePoint until;
    std::uint64_t reader = 0;  // 0: a ghost
    base::UniqueFunction<void(GroupReply)> answer;
  };

  Key* find(const std::string& key);
  Stream* find_stream(const std::string& key);
  Group* find_group(const std::string& key);
  // Nothing if there is nothing to hand out.
  std::optional<GroupReply> read_group(const std::string& consumer, const std::vector<std::string>& queues,
                                       std::uint32_t count);
  void serve_waiters();
  void wake_cursors();
  void publish_message(const std::string& channel, const std::string& message);
  void forget_waiter(std::uint64_t reader, bool leaves_ghost);
  void each_bus(const std::function<void(MemoryBus&)>& call);

  FakeLoop& loop_;
  Snapshot keys_;
  std::list<Waiter> waiters_;  // in the order they began to wait
  std::multiset<std::string> subscriptions_;
  std::multiset<std::string> ghost_subscriptions_;
  std::vector<std::shared_ptr<Command>> late_;
  std::vector<MemoryBus*> buses_;
  std::int64_t clock_offset_ms_ = 0;
  base::Duration reconnect_delay_ = std::chrono::milliseconds(100);
  std::uint64_t incarnations_ = 1;
  std::uint64_t readers_ = 0;
  std::string incarnation_ = "run-1:replid-1";
  bool is_out_of_memory_ = false;
  std::map<std::string, std::size_t, std::less<>> notified_;
  bool is_up_ = true;
};

// One process. Its readers and subscriptions die before it.
class MemoryBus final : public messaging::Bus {
 public:
  explicit MemoryBus(MemoryServer& server);
  ~MemoryBus() override;

  // ---- Faults.
  // The process crashed: connections vanish, nothing completes and nobody is told any more; every later call is ignored.
  // Its consumers keep what is pending.
  void kill(InFlight in_flight = InFlight::lost);
  // Connections break and stay away until restore(). What was written completes with outcome_unknown.
  void cut(const Break& how = {});
  void restore();
  // Connections break and come back by themselves after the server's reconnect delay.
  void break_connections(const Break& how = {});
  // The next command of this kind takes effect, then its connection breaks before the reply (and comes back).
  void lose_reply_of(Op op);
  // The next command of this kind gets this error and has no effect.
  void fail_next(Op op, base::Error error) { failures_[op].push_back(std::move(error)); }
  // Commands of this kind wait: before they take effect, or between that and their reply. A connection keeps its order, so
  // what was written later waits, too, unless overtaking is allowed.
  enum class Hold : std::uint8_t { effect, reply };
  void hold(Op op, Hold where = Hold::effect);
  void release(Op op);
  void set_overtaking(bool is_allowed) { may_overtake_ = is_allowed; }
  // Runs once, right before or after the next command of this kind takes effect at the server. For `read`: when the
  // command arrives, and when entries are given out.
  void before_next(Op op, base::UniqueFunction<void()> hook) { before_[op].push_back(std::move(hook)); }
  void after_next(Op op, base::UniqueFunction<void()> hook) { after_[op].push_back(std::move(hook)); }
  // How far this process' idea of the server's clock is off, and what it believes the error to be.
  void set_clock_estimate(std::int64_t off_by_ms, std::int64_t error_ms) {
    clock_off_by_ms_ = off_by_ms;
    clock_error_ms_ = error_ms;
  }
  bool is_killed() const { return is_killed_; }
  std::uint64_t server_doubts() const { return server_doubts_; }
  // How often the operation was called so far.
  std::uint64_t calls(Op op) const;
  // Commands without a reply so far; readers and subscriptions not counted.
  std::size_t outstanding() const;

  // ---- messaging::Bus
  bool is_connected() const override;
  const std::string& incarnation() const override { return incarnation_; }
  // Only what the server's lack of memory makes of it.
  messaging::BusStatus status() const override;
  std::int64_t now_ms() const override { return server_.now_ms() + clock_off_by_ms_; }
  std::int64_t clock_error_ms() const override { return clock_error_ms_; }
  void doubt_server() override { ++server_doubts_; }
  base::TimePoint connected_since() const override { return connected_since_; }
  void add_observer(messaging::BusObserver& observer) override { observers_.push_back(&observer); }
  void remove_observer(messaging::BusObserver& observer) override { std::erase(observers_, &observer); }

  using EntryId = messaging::EntryId;
  void publish(const std::string& stream, const frames::EncodedFrame& frame, PublishOptions options,
               messaging::Done<std::optional<EntryId>> done) override;
  void settle(const std::string& queue, EntryId id, messaging::Done<void> done) override;
  void note_delivered(const std::string& queue, EntryId id) override;
  void ensure_group(const std::string& queue, messaging::Done<void> done) override;
  void join_group(const std::string& queue, const std::string& consumer, messaging::Done<void> done) override;
  void renew(const std::string& queue, const std::string& consumer, std::vector<EntryId> ids,
             messaging::Done<std::vector<EntryId>> done) override;
  void hand_back(const std::string& queue, const std::string& consumer, std::vector<messaging::HandBack> entries,
                 messaging::Done<std::vector<EntryId>> done) override;
  void own_pending(const std::string& queue, const std::string& consumer, std::vector<EntryId> in_hand,
                   std::uint32_t limit, messaging::Done<std::vector<messaging::ClaimedEntry>> done) override;
  void pending_entries(const std::string& queue, std::int64_t min_idle_ms, std::uint32_t limit,
                       messaging::Done<std::vector<messaging::PendingEntry>> done) override;
  void read_entries(const std::string& queue, std::vector<EntryId> ids,
                    messaging::Done<std::vector<messaging::OwnedEntry>> done) override;
  void claim(const std::string& queue, const std::string& consumer, const std::string& from,
             std::vector<messaging::PendingEntry> entries,
             messaging::Done<std::vector<messaging::ClaimedEntry>> done) override;
  void take(const std::string& queue, std::vector<EntryId> ids, bool only_unbegun,
            messaging::Done<std::vector<EntryId>> done) override;
  void sweep(const std::string& queue, const std::string& self, std::int64_t dead_after_ms,
             messaging::Done<void> done) override;
  void remove_consumer(const std::string& queue, const std::string& consumer, messaging::Done<void> done) override;
  void remove_unused(const std::string& queue, std::int64_t dead_after_ms, messaging::Done<bool> done) override;
  void queue_length(const std::string& queue, messaging::Done<std::uint64_t> done) override;
  void queue_statistics(std::vector<std::string> queues, messaging::Done<messaging::QueueStatistics> done) override;
  void bury(const std::string& queue, EntryId id, const std::string& dead, MemoryServer::Fields more,
            messaging::DeadLetterLimits limits, messaging::Done<std::optional<EntryId>> done) override;
  void consumers(const std::string& queue, messaging::Done<std::vector<std::string>> done) override;
  void ensure_stream(const std::string& stream, base::Duration ttl, EntryId cursor, messaging::Done<bool> done) override;
  void trim(const std::string& stream, EntryId id) override;
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

 private:
  friend class MemoryServer;
  enum class LinkKind : std::uint8_t { commands, reader, subscription };
  class Link;
  class CommandLink;
  class GroupReaderLink;
  class CursorReaderLink;
  class SubscriptionLink;
  // XDELs that wait for a higher delivery; in effects that may outlive the bus.
  struct HeldDeletions {
    struct Queue {
      EntryId highest;
      std::set<EntryId> held;
    };
    std::map<std::string, Queue> queues;
  };

  template <class T, class Effect>
  void submit(Op op, messaging::Done<T> done, Effect effect);
  bool is_held(Op op, Hold where) const;
  void run_hooks(std::map<Op, std::vector<base::UniqueFunction<void()>>>& hooks, Op op);
  std::optional<base::Error> take_failure(Op op);
  bool may_connect(LinkKind kind) const;
  void connect_links(base::Duration delay);
  void on_added();
  void on_up();
  void on_down();

  MemoryServer& server_;
  std::vector<Link*> links_;
  std::unique_ptr<CommandLink> commands_;
  std::vector<messaging::BusObserver*> observers_;
  std::shared_ptr<HeldDeletions> held_deletions_ = std::make_shared<HeldDeletions>();
  std::map<Op, std::uint64_t> calls_;
  std::map<Op, Hold> holds_;
  std::map<Op, std::vector<base::Error>> failures_;
  std::map<Op, std::vector<base::UniqueFunction<void()>>> before_;
  std::map<Op, std::vector<base::UniqueFunction<void()>>> after_;
  std::set<LinkKind> cut_;
  std::string incarnation_;
  base::TimePoint connected_since_{};
  std::int64_t clock_off_by_ms_ = 0;
  std::uint64_t server_doubts_ = 0;
  std::int64_t clock_error_ms_ = 0;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>();  // gone with the process
  bool may_overtake_ = false;
  bool is_killed_ = false;
};

}  // namespace outrigger::tests
