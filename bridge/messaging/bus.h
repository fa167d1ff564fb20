// The bus as the router sees it: publish, read, settle, renew, hand back, take over. Valkey implements it
// (bridge/valkey/valkey_bus.h); tests implement it in memory (tests/support/memory_bus.h). Rules and names are those of
// docs/protocol.md. One bus per worker, loop thread only, no sockets here.
//
// Completions: exactly one per operation, never inside the call that started it; an empty one is not called. A completion may capture `this` of an
// object that lives as long as the worker; anything shorter-lived is named by id and looked up. When the bus is
// destroyed, outstanding completions are dropped without a call.
//
// Errors tell what may have happened:
//   closed           not connected; nothing was written
//   overloaded       the server refused for want of memory (OOM); nothing happened
//   not_found        stream or group is missing (NOGROUP)
//   refused          any other definite error of the server; nothing happened
//   outcome_unknown  written, then the connection was lost: it may have happened, or may still happen
#pragma once

#include <compare>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "bridge/base/clock.h"
#include "bridge/base/gcra.h"
#include "bridge/base/result.h"
#include "bridge/base/unique_function.h"
#include "bridge/frames/frame_codec.h"

namespace outrigger::messaging {

// The id of a stream entry: Valkey's milliseconds and a sequence number.
struct EntryId {
  std::uint64_t ms = 0;
  std::uint64_t seq = 0;
  friend auto operator<=>(const EntryId&, const EntryId&) = default;
};
std::string to_string(EntryId id);
std::optional<EntryId> parse_entry_id(std::string_view text);

// Valid for the call that hands it over.
struct EntryView {
  EntryId id;
  std::span<const frames::EntryField> fields;
};

// An entry that outlives the call it came with.
struct OwnedEntry {
  EntryId id;
  std::vector<std::pair<std::string, std::string>> fields;
};

struct PendingEntry {
  EntryId id;
  std::string consumer;
  std::int64_t idle_ms = 0;
  std::uint32_t delivery_count = 0;
};

// An entry this consumer now owns, with the count that says how often it was given out.
struct ClaimedEntry {
  OwnedEntry entry;
  std::uint32_t delivery_count = 0;
};

struct HandBack {
  EntryId id;
  std::uint32_t delivery_count = 0;  // as it was claimed with; the script acts only if it still stands
  std::uint32_t new_count = 0;       // what the next claimer finds before its own claim raises it
};

// Work streams of one service added up, as they stood at one instant. `length` counts entries; of these `pending` were
// given to a consumer and not acknowledged, as XPENDING says, `parked` of them to nobody (handed back, and waiting for an
// instance to take them). What is neither undelivered nor pending was acknowledged a moment ago.
struct QueueStatistics {
  std::uint64_t length = 0;
  std::uint64_t pending = 0;
  std::uint64_t parked = 0;
  std::optional<std::uint64_t> lag;  // undelivered entries; nothing where the server cannot tell
  std::int64_t oldest_age_ms = 0;    // since the oldest unacknowledged entry was written, by the server's clock; 0: none
};

template <class T>
using Done = base::UniqueFunction<void(base::Result<T>)>;

// For operators: readiness, metrics, logs.
struct BusStatus {
  std::string_view condition = "ok";  // of a closed list of words (docs/valkey.md), static
  std::string problem;                // what is wrong, where, what to do; empty if nothing is
  std::string warning;                // it works, but may lose data; else empty
  bool refuses_writes = false;        // for want of memory, say: reading and settling go on
  std::uint64_t reconnects = 0;       // connections made again, of all kinds, since the start
  base::Duration round_trip{};        // of the last question for the time; 0 before the first
};

// Is told of the command connection. Called from the loop.
class BusObserver {
 public:
  // The bus may be used. `is_new_incarnation`: acknowledged writes of before may be missing or undone.
  virtual void on_bus_connected(bool is_new_incarnation) = 0;
  virtual void on_bus_lost(const base::Error& why) = 0;

 protected:
  ~BusObserver() = default;
};

// A reader of one consumer group over one or several addresses, on a connection of its own. A read waits for entries; how
// (blocked at the server, or until it is notified) is the bus' business.
class GroupReaderHandler {
 public:
  // The connection is up; its server's incarnation is known. read() may be called.
  virtual void on_reader_connected(const std::string& incarnation) = 0;
  // The outstanding read ended: one call per queue that had entries, then on_read_done.
  virtual void on_delivered(const std::string& queue, std::span<const EntryView> entries) = 0;
  // The read is over (entries were handed over, the block time passed, or it was unblocked).
  virtual void on_read_done() = 0;
  // A queue or its group is missing; the read is over. Make the addresses anew, then read again.
  virtual void on_queue_missing() = 0;
  // The connection is lost; what the server delivered over it may not have arrived. It comes back by itself.
  virtual void on_reader_lost() = 0;

 protected:
  ~GroupReaderHandler() = default;
};

class GroupReader {
 public:
  virtual ~GroupReader() = default;
  // REQUIRES connected and no read outstanding. Up to `count` entries of each queue; blocks for limits::kBlockTime, unless the
  // bus was told otherwise.
  virtual void read(const std::vector<std::string>& queues, std::uint32_t count) = 0;
  virtual bool is_reading() const = 0;
  virtual bool is_connected() const = 0;
  // Ends a blocked read early: on_read_done follows (with entries, if some came first).
  virtual void unblock() = 0;
  // The connection's server, as learnt before its first read. Empty while not connected.
  virtual const std::string& incarnation() const = 0;
};

// A waiting reader of streams from a cursor; reads for ever and reconnects by itself.
class CursorReaderHandler {
 public:
  virtual void on_entries(const std::string& stream, std::span<const EntryView> entries) = 0;

 protected:
  ~CursorReaderHandler() = default;
};

class CursorReader {
 public:
  virtual ~CursorReader() = default;
};

// A subscription to channels; that to `router:alive:…` shows the others that this instance lives. Ends with the object.
class Subscription {
 public:
  virtual ~Subscription() = default;
  // The server has confirmed all of its channels, and the connection stands as far as is known.
  virtual bool is_confirmed() const = 0;
};

// A CANCEL for the sorted set: its text, and until when (Valkey's milliseconds) it may be of use.
struct Cancellation {
  std::string text;
  std::int64_t until_ms = 0;
};

// What a stream of dead letters may hold; the oldest go first.
struct DeadLetterLimits {
  std::size_t count = 0;
  std::size_t bytes = 0;  // as the server counts them
};

// A bucket that the rate limiters of all gateways share, under its key. Whole microseconds.
struct RateBucket {
  std::string key;
  base::Gcra rate;
};

class Bus {
 public:
  virtual ~Bus() = default;

  // The command connection.
  virtual bool is_connected() const = 0;
  // `run_id` and `master_replid` of the server; empty until first connected, kept while disconnected.
  virtual const std::string& incarnation() const = 0;
  // Valkey's clock in milliseconds, as estimated, and the most it may be wrong by.
  virtual std::int64_t now_ms() const = 0;
  virtual std::int64_t clock_error_ms() const = 0;
  // Something came that does not fit what is known of the server's time or incarnation: both are asked anew, at most once a
  // second.
  virtual void doubt_server() = 0;
  // When the command connection last came up or the incarnation last changed (loop time).
  virtual base::TimePoint connected_since() const = 0;
  virtual BusStatus status() const { return {}; }
  // The observer outlives the bus or removes itself.
  virtual void add_observer(BusObserver& observer) = 0;
  virtual void remove_observer(BusObserver& observer) = 0;

  // XADD; the frame's bytes are taken before the call returns. Without `may_create` a missing stream gives nullopt and
  // nothing is written (NOMKSTREAM).
  struct PublishOptions {
    bool may_create = false;
    std::size_t max_length = 0;  // MAXLEN ~; 0 = none
    bool notify = false;         // some reader of the stream may be in wake mode `notify`: wake it
  };
  virtual void publish(const std::string& stream, const frames::EncodedFrame& frame, PublishOptions options,
                       Done<std::optional<EntryId>> done) = 0;

  // XACK, gathered per turn and queue. XDEL goes with it, but where that would make the group's lag unknowable it is
  // held back until a higher id was delivered or the entry is the first one (docs/protocol.md, housekeeping).
  virtual void settle(const std::string& queue, EntryId id, Done<void> done) = 0;
  // Tells the holding rule of the highest id delivered to this process. Entries held below it are deleted.
  virtual void note_delivered(const std::string& queue, EntryId id) = 0;

  // Makes stream and group if missing. Entries of a stream that had lost its group are parked, counted as delivered once:
  // nobody knows whether they were.
  virtual void ensure_group(const std::string& queue, Done<void> done) = 0;
  // The same, and makes `consumer` a member of the group: others see it though nothing was delivered to it yet (Redis 7.0
  // does not show who only waits in a blocked read).
  virtual void join_group(const std::string& queue, const std::string& consumer, Done<void> done) = 0;
  // Ids of `ids` that `consumer` still owns; their idle time is set to 0.
  virtual void renew(const std::string& queue, const std::string& consumer, std::vector<EntryId> ids,
                     Done<std::vector<EntryId>> done) = 0;
  // Ids that went to `parked`: owned by `consumer` and at the count they were claimed with.
  virtual void hand_back(const std::string& queue, const std::string& consumer, std::vector<HandBack> entries,
                         Done<std::vector<EntryId>> done) = 0;
  // What `consumer` owns but does not have in hand, up to `limit`, in one step with their fields.
  virtual void own_pending(const std::string& queue, const std::string& consumer, std::vector<EntryId> in_hand,
                           std::uint32_t limit, Done<std::vector<ClaimedEntry>> done) = 0;
  // Pending entries of anyone, idle for at least `min_idle_ms`, oldest first, up to `limit`.
  virtual void pending_entries(const std::string& queue, std::int64_t min_idle_ms, std::uint32_t limit,
                               Done<std::vector<PendingEntry>> done) = 0;
  // Fields of these entries; missing ones are left out.
  virtual void read_entries(const std::string& queue, std::vector<EntryId> ids, Done<std::vector<OwnedEntry>> done) = 0;
  // Takes ids over from `from`, each only if `from` owns it and it is idle for at least its entry's `idle_ms`; the
  // delivery count rises by one. Missing ones were not taken.
  virtual void claim(const std::string& queue, const std::string& consumer, const std::string& from,
                     std::vector<PendingEntry> entries, Done<std::vector<ClaimedEntry>> done) = 0;
  // A caller takes its own requests back: those that are undelivered or parked are removed and returned.
  // `only_unbegun`: not what is parked with a delivery count, for it may have been begun.
  virtual void take(const std::string& queue, std::vector<EntryId> ids, bool only_unbegun,
                    Done<std::vector<EntryId>> done) = 0;
  // Deletes acknowledged entries from the front of the queue and consumers other than `self` that own nothing and have
  // not been seen for `dead_after_ms`.
  virtual void sweep(const std::string& queue, const std::string& self, std::int64_t dead_after_ms, Done<void> done) = 0;
  // Removes `consumer` if nothing is pending for it.
  virtual void remove_consumer(const std::string& queue, const std::string& consumer, Done<void> done) = 0;
  // Deletes a queue that nobody uses: it is empty, nothing is pending, the group is its only one, and has no consumer but
  // `parked` and such as were not seen for `dead_after_ms`. The result says whether it was deleted; a missing one was not.
  virtual void remove_unused(const std::string& queue, std::int64_t dead_after_ms, Done<bool> done) = 0;
  virtual void queue_length(const std::string& queue, Done<std::uint64_t> done) = 0;
  // One step over all of these queues; missing ones have nothing in them. Changes nothing, and costs the same whatever is
  // in the queues.
  virtual void queue_statistics(std::vector<std::string> queues, Done<QueueStatistics> done) = 0;
  // Keeps an entry that is given up for the operator: the fields it has in `queue`, and `more` beside them, become the newest
  // entry of `dead`. Nothing happens where the entry is gone (nullopt). It is still pending afterwards.
  virtual void bury(const std::string& queue, EntryId id, const std::string& dead,
                    std::vector<std::pair<std::string, std::string>> more, DeadLetterLimits limits,
                    Done<std::optional<EntryId>> done) = 0;
  // The names of the group's consumers.
  virtual void consumers(const std::string& queue, Done<std::vector<std::string>> done) = 0;

  // Makes an empty stream (if missing) that ends `ttl` after the last refresh; never lets its next id fall to `cursor`
  // or below. Used for reply streams and inboxes. The result says whether it had to be made.
  virtual void ensure_stream(const std::string& stream, base::Duration ttl, EntryId cursor, Done<bool> done) = 0;
  // Deletes entries up to and including `id`.
  virtual void trim(const std::string& stream, EntryId id) = 0;
  virtual void remove_key(const std::string& key) = 0;
  // How many subscribers each channel has, in the order asked.
  virtual void subscribers(std::vector<std::string> channels, Done<std::vector<std::uint64_t>> done) = 0;

  // To whoever is subscribed now. Nobody is told whether somebody was.
  virtual void tell(const std::string& channel, std::string message) = 0;
  // The same, and kept in a sorted set by expiry for who is not; the set holds limits::kCancelledKept at most and ends with
  // its last member.
  virtual void cancel(const std::string& channel, const std::string& set, std::vector<Cancellation> cancellations) = 0;
  // The texts in the set that may still be of use.
  virtual void cancelled(const std::string& set, Done<std::vector<std::string>> done) = 0;

  // Metadata and small coordination keys.
  virtual void get(const std::string& key, Done<std::optional<std::string>> done) = 0;
  // Without `only_if_absent` overwrites. The result says whether it was set.
  virtual void set(const std::string& key, std::string value, base::Duration ttl, bool only_if_absent,
                   Done<bool> done) = 0;
  // False when the key is missing.
  virtual void refresh_ttl(const std::string& key, base::Duration ttl, Done<bool> done) = 0;

  // Charges one request to each of these buckets, or to none if one does not admit it: in one step and one round trip, by
  // the server's clock. Tells the backlog that each had before, in the order asked; it was charged if all of them admit
  // theirs. A bucket's key ends when the bucket is full again. REQUIRES at least one bucket; no key stands twice.
  virtual void charge(std::vector<RateBucket> buckets, Done<std::vector<base::Duration>> done) = 0;

  // Connections of their own. Handlers outlive the returned objects.
  virtual std::unique_ptr<GroupReader> make_group_reader(std::string consumer, GroupReaderHandler& handler) = 0;
  struct Cursor {
    std::string stream;
    EntryId after;
    bool is_notified = true;  // its writers wake readers in wake mode `notify`; else those look every second
  };
  // `is_rare`: what comes is seldom and in no hurry, so that a connection that died quietly may be noticed later.
  virtual std::unique_ptr<CursorReader> make_cursor_reader(std::vector<Cursor> cursors, CursorReaderHandler& handler,
                                                           bool is_rare = false) = 0;
  // `on_changed` is told when it becomes confirmed and when it is lost, `on_message` of what is published (may be empty).
  using OnMessage = base::UniqueFunction<void(std::string_view channel, std::string_view message)>;
  virtual std::unique_ptr<Subscription> make_subscription(std::vector<std::string> channels,
                                                          base::UniqueFunction<void(bool)> on_changed,
                                                          OnMessage on_message) = 0;
};

}  // namespace outrigger::messaging
