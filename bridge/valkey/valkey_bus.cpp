#include "bridge/valkey/valkey_bus.h"

#include <algorithm>
#include <charconv>
#include <utility>

#include "bridge/base/limits.h"
#include "bridge/base/log.h"
#include "bridge/valkey/readers.h"
#include "bridge/valkey/scripts.h"

namespace outrigger::valkey {
namespace {

using base::Code;
using base::Error;
using messaging::ClaimedEntry;
using messaging::Done;
using messaging::EntryId;
using messaging::OwnedEntry;
using messaging::PendingEntry;
using namespace std::chrono_literals;
namespace limits = base::limits;

// Commands are answered in a fraction of a millisecond; five seconds of silence mean that the server or the way to it is
// gone, and what waits is better told so.
constexpr base::Duration kCommandDeadline = 5s;
constexpr base::Duration kTimeInterval = 10s;
constexpr base::Duration kTimeIntervalIdle = 60s;  // no request and no answer was written: nobody needs it
constexpr base::Duration kDoubtInterval = 1s;      // between two questions out of doubt
constexpr std::int64_t kClockMovedMs = 2000;       // beyond the error: no network takes so long, and no command waits so long
constexpr base::Duration kMemoryInterval = 5min;   // settings change by hand
constexpr base::Duration kTimeRetryInterval = 500ms;
constexpr std::int64_t kGoodClockErrorMs = 50;
constexpr base::Duration kProbeInterval = 10s;         // an idle process learns of a refusal before its peers are stale
constexpr base::Duration kProbeIntervalRefused = 1s;   // and of its end soon
constexpr base::Duration kHeldInterval = 100ms;  // how long an acknowledged last entry may still show in XLEN
constexpr std::int64_t kParkedIdleMs = 3'600'000;

std::int64_t millis_of(base::TimePoint at) {
  return std::chrono::duration_cast<std::chrono::milliseconds>(at.time_since_epoch()).count();
}
std::string text_of(base::Duration ttl) {
  return std::to_string(std::chrono::duration_cast<std::chrono::milliseconds>(ttl).count());
}

std::optional<std::int64_t> number(std::string_view text) {
  std::int64_t value = 0;
  const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (failure != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return value;
}

Error unexpected() { return {Code::malformed, "the server's reply has another shape than documented"}; }

base::Result<std::vector<EntryId>> read_ids(const Reply& reply) {
  std::vector<EntryId> ids;
  for (std::size_t i = 0; i < reply.size(); ++i) {
    const auto id = messaging::parse_entry_id(reply[i].text());
    if (!id) return unexpected();
    ids.push_back(*id);
  }
  return ids;
}

OwnedEntry read_entry(EntryId id, const Reply& fields) {
  OwnedEntry entry{id, {}};
  for (std::size_t i = 0; i + 1 < fields.size(); i += 2) {
    entry.fields.emplace_back(std::string(fields[i].text()), std::string(fields[i + 1].text()));
  }
  return entry;
}

// [[id, count, fields], ...]
base::Result<std::vector<ClaimedEntry>> read_claimed(const Reply& reply) {
  std::vector<ClaimedEntry> claimed;
  for (std::size_t i = 0; i < reply.size(); ++i) {
    const Reply item = reply[i];
    if (item.size() != 3) return unexpected();
    const auto id = messaging::parse_entry_id(item[0].text());
    if (!id) return unexpected();
    claimed.push_back({read_entry(*id, item[2]), static_cast<std::uint32_t>(item[1].integer())});
  }
  return claimed;
}

}  // namespace

ValkeyBus::Command ValkeyBus::script(std::string_view name, const std::string& text, const std::string& key,
                                     std::initializer_list<std::string> rest) {
  std::vector<std::string> arguments{"EVAL", text, "1", key};
  arguments.insert(arguments.end(), rest);
  return {name, std::move(arguments)};
}

ValkeyBus::ValkeyBus(net::EventLoop& loop, Options options)
    : loop_(loop),
      options_(std::move(options)),
      state_(loop, options_.address.to_string_redacted()),
      link_(loop, [this] {
        Link::Options its = link_options("commands", kCommandDeadline);
        its.never_blocks = true;
        return its;
      }(), state_, *this),
      time_timer_(loop, [this] { ask_time(); }),
      probe_timer_(loop, [this] { probe(); }),
      held_timer_(loop, [this] {
        for (auto& [queue, settlement] : settlements_) {
          if (!settlement.held.empty() || !settlement.erase.empty()) sweep(queue, {}, 0, {});
        }
      }) {}

ValkeyBus::~ValkeyBus() = default;

Link::Options ValkeyBus::link_options(std::string_view role, base::Duration reply_deadline) const {
  return {options_.address, options_.name + ":" + std::string(role), reply_deadline, false};
}

void ValkeyBus::add_observer(messaging::BusObserver& observer) { observers_.push_back(&observer); }
void ValkeyBus::remove_observer(messaging::BusObserver& observer) { std::erase(observers_, &observer); }

std::int64_t ValkeyBus::now_ms() const { return millis_of(loop_.now()) + clock_offset_ms_; }

void ValkeyBus::on_link_ready() {
  is_clock_known_ = false;
  ask_time();
  probe();
}

messaging::BusStatus ValkeyBus::status() const {
  messaging::BusStatus status = state_.status();
  if (!is_connected() && status.problem.empty()) {
    status.condition = "connecting";
    status.problem = "connecting to " + options_.address.to_string_redacted();
  }
  return status;
}

void ValkeyBus::ask_memory_policy() {
  if (is_clock_known_ && loop_.now() - memory_asked_at_ < kMemoryInterval) return;
  memory_asked_at_ = loop_.now();
  link_.command({"INFO", "memory"}, [this](base::Result<Reply> reply) {
    if (!reply) return;
    const auto limit = number(info_value(reply->text(), "maxmemory"));
    state_.set_memory_policy(info_value(reply->text(), "maxmemory_policy"),
                             static_cast<std::uint64_t>(std::max<std::int64_t>(0, limit.value_or(0))));
  });
}

// Refused like every other write while writes are refused; else nothing happens, since the key is not there.
void ValkeyBus::probe() {
  if (!link_.is_ready() || options_.probe_key.empty()) return;
  probe_timer_.arm(kProbeIntervalRefused);
  state_.advance();
  // Whatever else was written tells as well.
  if (!state_.refuses_writes() && loop_.now() - std::max(probed_at_, written_at_) < kProbeInterval) return;
  probed_at_ = loop_.now();
  append_command(link_.begin_command(), {"XADD", options_.probe_key, "NOMKSTREAM", "*", "v", "0"});
  link_.publish(options_.probe_key, [](base::Result<std::optional<EntryId>>) {});
}

void ValkeyBus::ask_time() {
  if (!link_.is_ready()) return;
  ask_memory_policy();
  time_asked_at_ = loop_.now();
  // Was it another server for a moment, while nothing was asked of it? Then nothing told us.
  link_.command({"INFO", "replication"}, [this](base::Result<Reply> reply) {
    if (reply && !link_.is_incarnation_of(reply->text())) link_.drop({Code::outcome_unknown, "the server is another one"});
  });
  const base::TimePoint asked = loop_.clock().monotonic();
  link_.command({"TIME"}, [this, asked](base::Result<Reply> reply) {
    if (!reply) {
      if (reply.error().code != Code::outcome_unknown) link_.drop(reply.error());
      return;
    }
    const auto seconds = reply->size() == 2 ? number((*reply)[0].text()) : std::nullopt;
    const auto micros = reply->size() == 2 ? number((*reply)[1].text()) : std::nullopt;
    if (!seconds || !micros) return link_.drop(unexpected());
    const base::TimePoint answered = loop_.clock().monotonic();
    const std::int64_t server_ms = *seconds * 1000 + *micros / 1000;
    round_trips_.observe(answered - asked);
    const std::int64_t offset = server_ms - millis_of(asked + (answered - asked) / 2);
    if (is_clock_known_ && std::abs(offset - clock_offset_ms_) > kClockMovedMs) {
      base::log_warn("the server's clock was moved", {{"by_ms", offset - clock_offset_ms_}});
    }
    clock_offset_ms_ = offset;
    state_.set_round_trip(answered - asked);
    clock_error_ms_ = std::chrono::ceil<std::chrono::milliseconds>((answered - asked) / 2).count();
    // The error is taken off every request's budget: one slow answer must not cost all of them for long.
    const bool was_used = std::exchange(was_used_, false);
    time_timer_.arm(clock_error_ms_ > kGoodClockErrorMs ? kTimeRetryInterval : was_used ? kTimeInterval : kTimeIntervalIdle);
    if (std::exchange(is_clock_known_, true)) return;
    const bool is_new = incarnation_ != link_.incarnation();
    incarnation_ = link_.incarnation();
    connected_since_ = loop_.now();
    const std::vector<messaging::BusObserver*> told = observers_;
    for (auto* observer : told) observer->on_bus_connected(is_new);
  });
}

void ValkeyBus::on_written(EntryId id) {
  written_at_ = loop_.now();
  compare_clock(id, true);
}

// An id may be older than now, if it waited in its stream, but not one that was made just now; and none is younger.
void ValkeyBus::compare_clock(EntryId id, bool is_new) {
  const std::int64_t ahead = static_cast<std::int64_t>(id.ms) - now_ms();
  const std::int64_t slack = kClockMovedMs + clock_error_ms_;
  if (ahead > slack || (is_new && ahead < -slack)) doubt_server();
}

void ValkeyBus::doubt_server() {
  if (is_clock_known_ && loop_.now() - time_asked_at_ >= kDoubtInterval) ask_time();
}

void ValkeyBus::on_link_lost(const Error& why) {
  time_timer_.cancel();
  probe_timer_.cancel();
  for (auto& [queue, settlement] : settlements_) {
    // Not yet written: told as such. What was written has been told by its own reply handlers.
    std::vector<Done<void>> waiting = std::exchange(settlement.done, {});
    settlement.acknowledge.clear();
    settlement.erase.clear();
    settlement.held.clear();  // the sweep of any instance removes what stays at the front
    for (auto& done : waiting) done(Error{Code::closed, why.detail});
  }
  if (!std::exchange(is_clock_known_, false)) return;
  const std::vector<messaging::BusObserver*> told = observers_;
  for (auto* observer : told) observer->on_bus_lost(why);
}

template <class T>
bool ValkeyBus::refuse_if_down(Done<T>& done) {
  if (link_.is_ready()) return false;
  if (done) {
    loop_.defer([done = std::move(done)]() mutable { done(Error{Code::closed, "not connected to the bus"}); });
  }
  return true;
}

template <class T, class Read>
void ValkeyBus::ask(Command command, Done<T> done, Read read) {
  if (refuse_if_down(done)) return;
  auto answered = [done = std::move(done), read](base::Result<Reply> reply) mutable {
    if (!done) return;
    if (!reply) return done(reply.error());
    done(read(*reply));
  };
  link_.command(command.arguments, std::move(answered), command.name);
}

void ValkeyBus::publish(const std::string& stream, const frames::EncodedFrame& frame, PublishOptions options,
                        Done<std::optional<EntryId>> done) {
  if (refuse_if_down(done)) return;
  if (frame.type == frames::FrameType::request || frame.type == frames::FrameType::response) {
    was_used_ = true;
    if (loop_.now() - time_asked_at_ >= kTimeInterval) ask_time();  // the first one after a long time
  }
  const frames::EntryFields fields = frame.fields();
  std::string& out = link_.begin_command();
  append_command_header(out, 3 + (options.may_create ? 0 : 1) + (options.max_length > 0 ? 3 : 0) + 2 * fields.size());
  append_argument(out, "XADD");
  append_argument(out, stream);
  if (!options.may_create) append_argument(out, "NOMKSTREAM");
  if (options.max_length > 0) {
    append_argument(out, "MAXLEN");
    append_argument(out, "~");
    append_argument(out, std::to_string(options.max_length));
  }
  append_argument(out, "*");
  for (const frames::EntryField& field : fields) {
    append_argument(out, field.name);
    append_argument(out, field.value);
  }
  if (!done) done = [](base::Result<std::optional<EntryId>>) {};
  link_.publish(stream, std::move(done));
  if (!options.notify) return;
  if (notify_due_->empty()) {
    loop_.defer([this, due = std::weak_ptr(notify_due_)] {
      if (!due.expired()) flush_notifications();
    });
  }
  notify_due_->insert(stream);
}

// Behind everything that was written in this turn, once per stream: who is woken reads all there is. Also for what the
// server refuses in the end: nobody minds a look at a stream.
void ValkeyBus::flush_notifications() {
  for (const std::string& stream : std::exchange(*notify_due_, {})) {
    if (link_.is_ready()) link_.command({"PUBLISH", notify_channel(stream), ""}, [](base::Result<Reply>) {});
  }
}

std::string ValkeyBus::notify_channel(const std::string& stream) const {
  return options_.names != nullptr ? options_.names->notify_channel(stream) : "router:notify:" + stream;
}

std::vector<std::string> ValkeyBus::notify_channels(const std::vector<std::string>& streams) const {
  std::vector<std::string> channels;
  for (const std::string& stream : streams) channels.push_back(notify_channel(stream));
  return channels;
}

NotifySubscription* ValkeyBus::notify_subscription() {
  if (options_.wake == frames::WakeMode::block) return nullptr;
  if (notify_subscription_ == nullptr) notify_subscription_ = std::make_unique<NotifySubscription>(*this);
  return notify_subscription_.get();
}

void ValkeyBus::settle(const std::string& queue, EntryId id, Done<void> done) {
  if (refuse_if_down(done)) return;
  Settlement& settlement = settlements_[queue];
  settlement.acknowledge.push_back(id);
  if (done) settlement.done.push_back(std::move(done));
  if (id < settlement.highest_delivered) {
    settlement.erase.push_back(id);
  } else {
    settlement.held.push_back(id);
    if (!held_timer_.is_armed()) held_timer_.arm(kHeldInterval);
  }
  if (!std::exchange(settlement_is_due_, true)) {
    loop_.defer([this] { flush_settlements(); });
  }
}

void ValkeyBus::note_delivered(const std::string& queue, EntryId id) {
  Settlement& settlement = settlements_[queue];
  if (id <= settlement.highest_delivered) return;
  settlement.highest_delivered = id;
  const auto below =
      std::partition(settlement.held.begin(), settlement.held.end(), [&](EntryId held) { return held >= id; });
  if (below == settlement.held.end()) return;
  settlement.erase.insert(settlement.erase.end(), below, settlement.held.end());
  settlement.held.erase(below, settlement.held.end());
  // They go with the next settlement, which this delivery is about to bring; the timer sees to the rest.
  if (!held_timer_.is_armed()) held_timer_.arm(kHeldInterval);
}

void ValkeyBus::flush_settlements() {
  settlement_is_due_ = false;
  if (!link_.is_ready()) return;  // on_link_lost has told
  for (auto& [queue, settlement] : settlements_) {
    if (settlement.acknowledge.empty()) continue;
    std::string& out = link_.begin_command();
    append_command_header(out, 3 + settlement.acknowledge.size());
    append_argument(out, "XACK");
    append_argument(out, queue);
    append_argument(out, options_.group);
    for (const EntryId id : settlement.acknowledge) append_argument(out, messaging::to_string(id));
    settlement.acknowledge.clear();
    const bool erases = !settlement.erase.empty();
    auto told = [waiting = std::exchange(settlement.done, {})](base::Result<Reply> reply) mutable {
      for (auto& done : waiting) {
        if (reply) {
          done(base::Result<void>());
        } else {
          done(reply.error());
        }
      }
    };
    if (!erases) {
      link_.expect("XACK", queue, std::move(told));
      continue;
    }
    // The last reply speaks for both; an XACK that failed makes XDEL's reply irrelevant, so it is looked at first.
    auto acknowledged = std::make_shared<std::optional<Error>>();
    link_.expect("XACK", queue, [acknowledged](base::Result<Reply> reply) {
      if (!reply) *acknowledged = reply.error();
    });
    append_command_header(out, 2 + settlement.erase.size());
    append_argument(out, "XDEL");
    append_argument(out, queue);
    for (const EntryId id : settlement.erase) append_argument(out, messaging::to_string(id));
    settlement.erase.clear();
    link_.expect("XDEL", queue, [acknowledged, told = std::move(told)](base::Result<Reply> reply) mutable {
      if (acknowledged->has_value()) {
        told(**acknowledged);
      } else {
        told(std::move(reply));
      }
    });
  }
}

void ValkeyBus::sweep(const std::string& queue, const std::string& self, std::int64_t dead_after_ms, Done<void> done) {
  // What waits for deletion is the script's to decide on, too, and stays held if it fails.
  Settlement& settlement = settlements_[queue];
  settlement.held.insert(settlement.held.end(), settlement.erase.begin(), settlement.erase.end());
  settlement.erase.clear();
  Command command =
      script("script sweep", scripts::kSweep, queue, {options_.group, self, std::to_string(dead_after_ms)});
  for (const EntryId id : settlement.held) command.arguments.push_back(messaging::to_string(id));
  ask<void>(
      std::move(command),
      [this, queue, done = std::move(done)](base::Result<void> result) mutable {
        if (!settlements_[queue].held.empty() && !held_timer_.is_armed()) held_timer_.arm(kHeldInterval);
        if (done) done(std::move(result));
      },
      [this, queue, asked = settlement.held](const Reply& reply) -> base::Result<void> {
        const auto still_held = read_ids(reply);
        if (!still_held) return still_held.error();
        std::erase_if(settlements_[queue].held, [&](EntryId id) {
          const bool was_asked = std::find(asked.begin(), asked.end(), id) != asked.end();
          return was_asked && std::find(still_held->begin(), still_held->end(), id) == still_held->end();
        });
        return {};
      });
}

void ValkeyBus::ensure_group(const std::string& queue, Done<void> done) { join_group(queue, {}, std::move(done)); }

void ValkeyBus::join_group(const std::string& queue, const std::string& consumer, Done<void> done) {
  ask<void>(script("script join-group", scripts::kJoinGroup, queue, {options_.group, consumer}), std::move(done),
            [](const Reply&) -> base::Result<void> { return {}; });
}

void ValkeyBus::renew(const std::string& queue, const std::string& consumer, std::vector<EntryId> ids,
                      Done<std::vector<EntryId>> done) {
  Command command = script("script renew", scripts::kRenew, queue, {options_.group, consumer});
  for (const EntryId id : ids) command.arguments.push_back(messaging::to_string(id));
  ask<std::vector<EntryId>>(std::move(command), std::move(done), read_ids);
}

void ValkeyBus::hand_back(const std::string& queue, const std::string& consumer,
                          std::vector<messaging::HandBack> entries, Done<std::vector<EntryId>> done) {
  Command command =
      script("script hand-back", scripts::kHandBack, queue, {options_.group, consumer, std::to_string(kParkedIdleMs)});
  for (const messaging::HandBack& entry : entries) {
    command.arguments.push_back(messaging::to_string(entry.id));
    command.arguments.push_back(std::to_string(entry.delivery_count));
    command.arguments.push_back(std::to_string(entry.new_count));
  }
  ask<std::vector<EntryId>>(std::move(command), std::move(done), read_ids);
}

void ValkeyBus::own_pending(const std::string& queue, const std::string& consumer, std::vector<EntryId> in_hand,
                            std::uint32_t limit, Done<std::vector<ClaimedEntry>> done) {
  Command command =
      script("script own-pending", scripts::kOwnPending, queue, {options_.group, consumer, std::to_string(limit)});
  for (const EntryId id : in_hand) command.arguments.push_back(messaging::to_string(id));
  ask<std::vector<ClaimedEntry>>(std::move(command), confirmed(std::move(done)), read_claimed);
}

void ValkeyBus::pending_entries(const std::string& queue, std::int64_t min_idle_ms, std::uint32_t limit,
                                Done<std::vector<PendingEntry>> done) {
  ask<std::vector<PendingEntry>>(
      {"XPENDING", queue, options_.group, "IDLE", std::to_string(min_idle_ms), "-", "+", std::to_string(limit)},
      std::move(done), [](const Reply& reply) -> base::Result<std::vector<PendingEntry>> {
        std::vector<PendingEntry> found;
        for (std::size_t i = 0; i < reply.size(); ++i) {
          const Reply item = reply[i];
          if (item.size() != 4) return unexpected();
          const auto id = messaging::parse_entry_id(item[0].text());
          if (!id) return unexpected();
          found.push_back({*id, std::string(item[1].text()), item[2].integer(),
                           static_cast<std::uint32_t>(item[3].integer())});
        }
        return found;
      });
}

void ValkeyBus::read_entries(const std::string& queue, std::vector<EntryId> ids, Done<std::vector<OwnedEntry>> done) {
  static constexpr char kRead[] =
      "local r = {} for i = 1, #ARGV do local e = redis.call('XRANGE', KEYS[1], ARGV[i], ARGV[i]) "
      "if #e == 1 then r[#r + 1] = e[1] end end return r";
  Command command = script("script read", kRead, queue, {});
  for (const EntryId id : ids) command.arguments.push_back(messaging::to_string(id));
  ask<std::vector<OwnedEntry>>(std::move(command), std::move(done),
                               [](const Reply& reply) -> base::Result<std::vector<OwnedEntry>> {
                                 std::vector<OwnedEntry> entries;
                                 for (std::size_t i = 0; i < reply.size(); ++i) {
                                   if (reply[i].size() != 2) return unexpected();
                                   const auto id = messaging::parse_entry_id(reply[i][0].text());
                                   if (!id) return unexpected();
                                   entries.push_back(read_entry(*id, reply[i][1]));
                                 }
                                 return entries;
                               });
}

void ValkeyBus::claim(const std::string& queue, const std::string& consumer, const std::string& from,
                      std::vector<PendingEntry> entries, Done<std::vector<ClaimedEntry>> done) {
  Command command = script("script claim", scripts::kClaim, queue, {options_.group, consumer, from});
  for (const PendingEntry& entry : entries) {
    command.arguments.push_back(messaging::to_string(entry.id));
    command.arguments.push_back(std::to_string(entry.idle_ms));
  }
  ask<std::vector<ClaimedEntry>>(std::move(command), confirmed(std::move(done)), read_claimed);
}

void ValkeyBus::take(const std::string& queue, std::vector<EntryId> ids, bool only_unbegun,
                     Done<std::vector<EntryId>> done) {
  std::sort(ids.begin(), ids.end());
  Command command = script("script take", scripts::kTake, queue, {options_.group, only_unbegun ? "1" : "0"});
  for (const EntryId id : ids) command.arguments.push_back(messaging::to_string(id));
  ask<std::vector<EntryId>>(
      std::move(command),
      [this, queue, done = confirmed(std::move(done))](base::Result<std::vector<EntryId>> taken) mutable {
        if (taken && !taken->empty()) {
          settlements_[queue].held.push_back(taken->back());  // the script may have left the highest
          if (!held_timer_.is_armed()) held_timer_.arm(kHeldInterval);
        }
        done(std::move(taken));
      },
      read_ids);
}

// A connection may outlive a demotion and a promotion: what was claimed or taken from a server that has become another one
// proves nothing about the first (docs/model, BEGIN_WITHOUT_READING_BUS and TAKE_WITHOUT_READING_BUS). It happened there,
// so whoever asked is told that he does not know.
template <class T>
Done<std::vector<T>> ValkeyBus::confirmed(Done<std::vector<T>> done) {
  return [this, done = std::move(done)](base::Result<std::vector<T>> found) mutable {
    if (!found || found->empty()) {
      if (done) done(std::move(found));
      return;
    }
    if (!link_.is_ready()) {  // it is being given up, and nothing more is written over it
      if (done) done(Error{Code::outcome_unknown, "the server's role has changed"});
      return;
    }
    link_.command({"INFO", "replication"}, [this, found = std::move(found),
                                            done = std::move(done)](base::Result<Reply> info) mutable {
      const bool is_same = info && link_.is_incarnation_of(info->text());
      if (is_same) {
        if (done) done(std::move(found));
        return;
      }
      const Error changed{Code::outcome_unknown, info ? "the server has become another one" : info.error().detail};
      if (done) done(changed);
      if (link_.is_ready()) link_.drop(changed);
    });
  };
}

void ValkeyBus::remove_consumer(const std::string& queue, const std::string& consumer, Done<void> done) {
  ask<void>(script("script remove-consumer", scripts::kRemoveConsumer, queue, {options_.group, consumer}), std::move(done),
            [](const Reply&) { return base::Result<void>(); });
}

void ValkeyBus::remove_unused(const std::string& queue, std::int64_t dead_after_ms, Done<bool> done) {
  ask<bool>(script("script remove-unused", scripts::kRemoveUnused, queue, {options_.group, std::to_string(dead_after_ms)}), std::move(done),
            [](const Reply& reply) -> base::Result<bool> { return reply.integer() == 1; });
}

void ValkeyBus::queue_length(const std::string& queue, Done<std::uint64_t> done) {
  ask<std::uint64_t>({"XLEN", queue}, std::move(done), [](const Reply& reply) -> base::Result<std::uint64_t> {
    return static_cast<std::uint64_t>(reply.integer());
  });
}

void ValkeyBus::queue_statistics(std::vector<std::string> queues, Done<messaging::QueueStatistics> done) {
  static constexpr std::size_t kNumbers = 5;  // per queue
  const std::size_t asked = queues.size();
  std::vector<std::string> arguments{"EVAL", scripts::kQueueStatistics, std::to_string(asked)};
  for (std::string& queue : queues) arguments.push_back(std::move(queue));
  arguments.push_back(options_.group);
  ask<messaging::QueueStatistics>(
      Command("script statistics", std::move(arguments)), std::move(done),
      [asked](const Reply& reply) -> base::Result<messaging::QueueStatistics> {
        if (reply.size() != asked * kNumbers) return unexpected();
        messaging::QueueStatistics sum;
        sum.lag = 0;
        for (std::size_t i = 0; i < reply.size(); i += kNumbers) {
          sum.length += static_cast<std::uint64_t>(reply[i].integer());
          sum.pending += static_cast<std::uint64_t>(reply[i + 1].integer());
          sum.parked += static_cast<std::uint64_t>(reply[i + 2].integer());
          const std::int64_t lag = reply[i + 3].integer();
          if (lag < 0) {
            sum.lag.reset();
          } else if (sum.lag) {
            *sum.lag += static_cast<std::uint64_t>(lag);
          }
          sum.oldest_age_ms = std::max(sum.oldest_age_ms, reply[i + 4].integer());
        }
        return sum;
      });
}

void ValkeyBus::bury(const std::string& queue, EntryId id, const std::string& dead,
                     std::vector<std::pair<std::string, std::string>> more, messaging::DeadLetterLimits limits,
                     Done<std::optional<EntryId>> done) {
  Command command("script bury", {"EVAL", scripts::kBury, "2", queue, dead, messaging::to_string(id),
                                  std::to_string(limits.count), std::to_string(limits.bytes)});
  for (auto& [name, value] : more) {
    command.arguments.push_back(std::move(name));
    command.arguments.push_back(std::move(value));
  }
  ask<std::optional<EntryId>>(std::move(command), std::move(done),
                              [](const Reply& reply) -> base::Result<std::optional<EntryId>> {
                                if (reply.is_nil()) return std::optional<EntryId>();
                                const auto buried = messaging::parse_entry_id(reply.text());
                                if (!buried) return unexpected();
                                return buried;
                              });
}

void ValkeyBus::consumers(const std::string& queue, Done<std::vector<std::string>> done) {
  ask<std::vector<std::string>>({"XINFO", "CONSUMERS", queue, options_.group}, std::move(done),
                                [](const Reply& reply) -> base::Result<std::vector<std::string>> {
                                  std::vector<std::string> names;
                                  for (std::size_t i = 0; i < reply.size(); ++i) {
                                    const Reply consumer = reply[i];
                                    for (std::size_t k = 0; k + 1 < consumer.size(); k += 2) {
                                      if (consumer[k].text() == "name") names.emplace_back(consumer[k + 1].text());
                                    }
                                  }
                                  return names;
                                });
}

void ValkeyBus::ensure_stream(const std::string& stream, base::Duration ttl, EntryId cursor, Done<bool> done) {
  ask<bool>(script("script ensure-stream", scripts::kEnsureStream, stream, {text_of(ttl), messaging::to_string(cursor)}), std::move(done),
            [](const Reply& reply) -> base::Result<bool> { return reply.integer() == 1; });
}

void ValkeyBus::trim(const std::string& stream, EntryId id) {
  if (!link_.is_ready()) return;
  const EntryId keep{id.ms, id.seq + 1};
  link_.command({"XTRIM", stream, "MINID", messaging::to_string(keep)}, [](base::Result<Reply>) {});
}

void ValkeyBus::remove_key(const std::string& key) {
  if (!link_.is_ready()) return;
  link_.command({"DEL", key}, [](base::Result<Reply>) {});
}

void ValkeyBus::subscribers(std::vector<std::string> channels, Done<std::vector<std::uint64_t>> done) {
  Command command{"PUBSUB", "NUMSUB"};
  const std::size_t asked = channels.size();
  for (std::string& channel : channels) command.arguments.push_back(std::move(channel));
  ask<std::vector<std::uint64_t>>(std::move(command), std::move(done),
                                  [asked](const Reply& reply) -> base::Result<std::vector<std::uint64_t>> {
                                    if (reply.size() != 2 * asked) return unexpected();
                                    std::vector<std::uint64_t> counts;
                                    for (std::size_t i = 1; i < reply.size(); i += 2) {
                                      counts.push_back(static_cast<std::uint64_t>(reply[i].integer()));
                                    }
                                    return counts;
                                  });
}

void ValkeyBus::tell(const std::string& channel, std::string message) {
  if (!link_.is_ready()) return;
  link_.command({"PUBLISH", channel, message}, [](base::Result<Reply>) {});
}

void ValkeyBus::cancel(const std::string& channel, const std::string& set,
                       std::vector<messaging::Cancellation> cancellations) {
  Command command("script cancel", {"EVAL", scripts::kCancel, "1", set, channel, std::to_string(limits::kCancelledKept)});
  for (messaging::Cancellation& each : cancellations) {
    command.arguments.push_back(std::to_string(each.until_ms));
    command.arguments.push_back(std::move(each.text));
  }
  ask<void>(std::move(command), {}, [](const Reply&) -> base::Result<void> { return {}; });
}

void ValkeyBus::cancelled(const std::string& set, Done<std::vector<std::string>> done) {
  ask<std::vector<std::string>>({"ZRANGEBYSCORE", set, "(" + std::to_string(now_ms()), "+inf", "LIMIT", "0",
                                 std::to_string(limits::kCancelledKept)}, std::move(done),
                                [](const Reply& reply) -> base::Result<std::vector<std::string>> {
                                  std::vector<std::string> texts;
                                  for (std::size_t i = 0; i < reply.size(); ++i) texts.emplace_back(reply[i].text());
                                  return texts;
                                });
}

void ValkeyBus::get(const std::string& key, Done<std::optional<std::string>> done) {
  ask<std::optional<std::string>>({"GET", key}, std::move(done),
                                  [](const Reply& reply) -> base::Result<std::optional<std::string>> {
                                    if (reply.is_nil()) return std::optional<std::string>();
                                    return std::optional<std::string>(reply.text());
                                  });
}

void ValkeyBus::set(const std::string& key, std::string value, base::Duration ttl, bool only_if_absent,
                    Done<bool> done) {
  Command command{"SET", key, std::move(value), "PX", text_of(ttl)};
  if (only_if_absent) command.arguments.emplace_back("NX");
  ask<bool>(std::move(command), std::move(done),
            [](const Reply& reply) -> base::Result<bool> { return !reply.is_nil(); });
}

void ValkeyBus::refresh_ttl(const std::string& key, base::Duration ttl, Done<bool> done) {
  ask<bool>({"PEXPIRE", key, text_of(ttl)}, std::move(done),
            [](const Reply& reply) -> base::Result<bool> { return reply.integer() == 1; });
}

void ValkeyBus::charge(std::vector<messaging::RateBucket> buckets, Done<std::vector<base::Duration>> done) {
  using std::chrono::microseconds;
  if (refuse_if_down(done)) return;
  const std::size_t asked = buckets.size();
  std::string& out = link_.begin_command();
  append_command_header(out, 3 + 3 * asked);
  append_argument(out, "EVAL");
  append_argument(out, scripts::kCharge);
  append_argument(out, std::to_string(asked));
  for (const messaging::RateBucket& bucket : buckets) append_argument(out, bucket.key);
  for (const messaging::RateBucket& bucket : buckets) {
    append_argument(out, std::to_string(std::chrono::ceil<microseconds>(bucket.rate.interval).count()));
    append_argument(out, std::to_string(bucket.rate.burst));
  }
  // What the server refuses is told of the script, not of a key: every caller has another one, and the cause is the same.
  link_.expect("script charge", {}, [asked, done = std::move(done)](base::Result<Reply> reply) mutable {
    if (!done) return;
    if (!reply) return done(reply.error());
    if (reply->size() != asked) return done(unexpected());
    std::vector<base::Duration> backlogs;
    for (std::size_t i = 0; i < asked; ++i) backlogs.emplace_back(microseconds((*reply)[i].integer()));
    done(std::move(backlogs));
  });
}

std::unique_ptr<messaging::GroupReader> ValkeyBus::make_group_reader(std::string consumer,
                                                                     messaging::GroupReaderHandler& handler) {
  return std::make_unique<ValkeyGroupReader>(*this, options_.group, std::move(consumer), handler);
}

std::unique_ptr<messaging::CursorReader> ValkeyBus::make_cursor_reader(std::vector<Cursor> cursors,
                                                                       messaging::CursorReaderHandler& handler, bool is_rare) {
  return std::make_unique<ValkeyCursorReader>(*this, std::move(cursors), handler, is_rare);
}

std::unique_ptr<messaging::Subscription> ValkeyBus::make_subscription(std::vector<std::string> channels,
                                                                      base::UniqueFunction<void(bool)> on_changed,
                                                                      OnMessage on_message) {
  return std::make_unique<ValkeySubscription>(*this, std::move(channels), std::move(on_changed), std::move(on_message));
}

void ValkeyBus::unblock(std::int64_t client_id) {
  if (!link_.is_ready()) return;
  link_.command({"CLIENT", "UNBLOCK", std::to_string(client_id)}, [](base::Result<Reply>) {});
}

}  // namespace outrigger::valkey
