#include "bridge/router/consumer.h"

#include <algorithm>
#include <utility>

#include "bridge/base/log.h"
#include "bridge/router/back_off.h"

namespace outrigger::router {
namespace {

using base::Code;
using base::Duration;
using base::Error;
using base::Result;
using frames::DeadReason;
using frames::Fault;
using messaging::ClaimedEntry;
using messaging::EntryId;
using messaging::EntryView;
using messaging::PendingEntry;
using namespace std::chrono_literals;
namespace limits = base::limits;

constexpr Duration kLookInterval = 1s;
// Idle, one XPENDING per address in so long. Who waits for an answer notices first, and says LOOK.
constexpr Duration kLookIntervalIdle = 60s;
constexpr Duration kActiveFor = 10s;           // after the last delivery, or LOOK
constexpr int kMostTicksBetweenSweeps = 20;    // of limits::kStreamTtlRefresh: ten minutes
constexpr Duration kLookBacklog = 20ms;        // more was found than could be taken at once
constexpr Duration kLookAgain = 200ms;         // many callers may notice the same death
constexpr Duration kLookIntervalBusy = 500ms;  // while others have something pending
constexpr Duration kOrphanAge = 1s;            // pending for longer is looked at
constexpr Duration kGoneAfter = 500ms;         // between the two zero readings of an alive channel
constexpr Duration kSilenceMemory = 1s;        // an older zero reading does not count
// After our own reconnect others may still be on their way back: their silence proves nothing yet.
constexpr Duration kReconnectGrace = limits::kReconnectCap + 1s;
constexpr Duration kInboxTrust = 1s;           // it was there so long ago: it is there
constexpr Duration kParkedAlone = 1500ms;      // handed back, and nobody took it for so long
constexpr Duration kFirstRetry = 50ms;
// Entries whose bodies come back in one reply: at their largest they still fit the limit of a reply.
constexpr std::uint32_t kLookLimit = limits::kReadBatchBytes / limits::kFrameEntryBytes;
constexpr std::uint32_t kOverviewLimit = 1000; // pending entries per look: more than a fleet of slow services holds
constexpr std::int64_t kLongestBudgetMs = 24 * 60 * 60 * 1000;
constexpr std::size_t kNeverAgainLimit = 10000;
constexpr std::size_t kCancelledLimit = limits::kCancelledKept;
constexpr std::size_t kRepeatableSeenLimit = 4096;

std::int64_t millis(Duration duration) {
  return std::chrono::duration_cast<std::chrono::milliseconds>(duration).count();
}

std::vector<frames::EntryField> views_of(const messaging::OwnedEntry& entry) {
  std::vector<frames::EntryField> fields;
  fields.reserve(entry.fields.size());
  for (const auto& [name, value] : entry.fields) fields.push_back({name, value});
  return fields;
}

}  // namespace

std::string_view name_of(DeliveryEnd end) {
  switch (end) {
    case DeliveryEnd::answered: return "answered";
    case DeliveryEnd::timeout: return "timeout";
    case DeliveryEnd::broken: return "broken";
    case DeliveryEnd::malformed: return "malformed";
    case DeliveryEnd::answer_too_large: return "answer_too_large";
    case DeliveryEnd::no_room: return "no_room";
    case DeliveryEnd::unreachable: return "unreachable";
    case DeliveryEnd::handed_back: return "handed_back";
    case DeliveryEnd::moved_on: return "moved_on";
    case DeliveryEnd::body_too_large: return "body_too_large";
    case DeliveryEnd::body_missing: return "body_missing";
    case DeliveryEnd::expired: return "expired";
    case DeliveryEnd::outcome_unknown: return "outcome_unknown";
    case DeliveryEnd::exhausted: return "exhausted";
    case DeliveryEnd::cancelled: return "cancelled";
    case DeliveryEnd::lease_lost: return "lease_lost";
    case DeliveryEnd::unfinished: return "unfinished";
  }
  return "unfinished";
}

// What the entry waits for.
enum class Consumer::SlotState : std::uint8_t {
  receiving,     // its body, as stream data
  waiting,       // a free place at the service
  begun,         // the service's answer
  answering,     // the ids of the answer's entries
  retrying,      // the bus, or the time to publish the answer again
  settling,      // the reply to XACK
  unsettled,     // the bus: the settlement's outcome is not known
  handing_back,  // the reply to the hand-back, or the bus
};

struct Consumer::Slot final : AnswerSink {
  Slot(Consumer& owner, net::EventLoop& loop)
      : consumer(owner), held(owner.options_.buffered), timer(loop, [this] { consumer.on_slot_due(*this); }) {}

  void on_answer_head(int status, std::string_view reason, base::HeaderList headers) override {
    answer.status = status;
    answer.reason = reason;
    answer.headers = std::move(headers);
  }
  void on_answer_body(std::string_view bytes) override {
    if (body.size() + bytes.size() > consumer.options_.body_limit) {
      return on_answer_failed({ServiceFailure::Kind::too_large, "the service's answer is above the limit"});
    }
    if (!make_room(body, body.size() + bytes.size())) {
      ++consumer.counters_.no_room;
      return on_answer_failed({ServiceFailure::Kind::no_room, "no memory for the answer (Sidecar:Limits:BufferedBytes)"});
    }
    body.append(bytes);
  }
  void on_answer_end() override { consumer.call_finished(*this); }
  void on_answer_failed(ServiceFailure failure) override { consumer.on_service_failed(*this, std::move(failure)); }

  // For `needed` bytes of the request's or the answer's body, counted beside the other's. False: the budget has no more.
  bool make_room(std::string& text, std::size_t needed) {
    if (needed <= text.capacity()) return true;
    const std::size_t other = &text == &body ? request_bytes : body.capacity();
    std::size_t room = std::max(needed, std::min(2 * text.capacity(), consumer.options_.body_limit));
    if (!held.try_set(other + room)) {
      room = needed;
      if (!held.try_set(other + room)) return false;
    }
    text.reserve(room);
    if (&text != &body) request_bytes = room;
    return true;
  }
  // Whatever goes to its caller.
  messaging::Bus::PublishOptions publish_options() const {
    return {.notify = request.wake == frames::WakeMode::notify};
  }
  bool may_run_again() const { return request.repeatable || consumer.options_.redelivery_always; }
  // What its caller is told if nobody can be found to run it. Who sent what may not run twice would send it again after 503,
  // also where it is redelivered always.
  Fault fault_unserved() const {
    return request.repeatable || delivery_count == 1 ? Fault::service_unreachable : Fault::outcome_unknown;
  }
  DeliveryEnd end_unserved() const {
    return fault_unserved() == Fault::outcome_unknown ? DeliveryEnd::outcome_unknown : DeliveryEnd::unreachable;
  }
  bool has_attempts_left() const { return delivery_count < request.max_attempts; }
  bool is_begun_or_later() const { return called_at != base::TimePoint{}; }

  Consumer& consumer;
  Serial serial = 0;
  std::size_t queue = 0;
  EntryId entry;
  std::uint32_t delivery_count = 1;
  SlotState state = SlotState::waiting;
  frames::Request request;
  base::TimePoint obtained_at;
  base::TimePoint deadline;        // of the service's call, by this loop's clock
  base::TimePoint expires_at;      // later by the clock's error, twice: its owner has ended it for certain
  base::TimePoint lease_from;      // when the lease was last confirmed
  bool has_lost_lease = false;
  std::uint64_t next_data = 1;     // expected seq of request stream data
  base::Charge held;
  std::size_t request_bytes = 0;   // of its body, also while the service's connection has it
  net::Pending call;
  base::TimePoint called_at;
  Duration queue_wait{};
  Duration service_time{};
  DeliveryEnd end = DeliveryEnd::unfinished;
  bool is_undelivered = false;
  std::optional<DeadReason> dead;  // it is to become a dead letter
  bool is_buried = false;          // it is one, or cannot be
  std::uint64_t body_bytes = 0;    // of the request, as given to the service
  // While handing_back: the delivery count that it leaves, and what it ends as, with a peer and without one.
  std::uint32_t count_left = 0;
  DeliveryEnd end_with_peer = DeliveryEnd::handed_back;
  DeliveryEnd end_alone = DeliveryEnd::unreachable;
  Fault fault_alone = Fault::service_unreachable;

  frames::Response answer;
  std::string body;                // of the answer
  std::string confirmed_under;     // incarnation the answer was published under
  std::uint32_t round = 0;         // publication attempts; replies of earlier ones are ignored
  std::uint32_t unconfirmed = 0;
  bool round_failed = false;
  bool is_settling = false;        // counted in settling_
  bool keeps_trying = true;        // false once the deadline passed without anybody to answer
  Duration backoff = kFirstRetry;
  net::Timer timer;
};

Consumer::Consumer(net::EventLoop& loop, messaging::Bus& bus, const frames::QueueNames& names, Service& service,
                   ConsumerHandler& handler, Options options)
    : loop_(loop),
      bus_(bus),
      names_(names),
      service_(service),
      handler_(handler),
      options_(std::move(options)),
      decoder_(names),
      prepare_timer_(loop, [this] { prepare_queues(); }),
      renew_timer_(loop, [this] { renew(); }),
      look_timer_(loop, [this] { look_around(); }),
      inbox_timer_(loop, [this] { keep_inbox(); }) {
  bus_.add_observer(*this);
}

Consumer::~Consumer() { bus_.remove_observer(*this); }

void Consumer::start() {
  reader_ = bus_.make_group_reader(options_.instance, *this);
  alive_ = bus_.make_subscription(
      {names_.alive_channel(options_.service, options_.instance), names_.cancel_channel(options_.service)},
      [this](bool is_confirmed) {
        has_read_cancelled_ = false;
        if (is_confirmed) {
          read_cancelled();
          look_soon();  // LOOK is kept nowhere, and may have been said meanwhile
        }
        announce_reading();
        read_more();
      },
      [this](std::string_view, std::string_view text) { on_message(text); });
  inbox_reader_ = bus_.make_cursor_reader({{options_.inbox, {}}}, *this, true);
  active_at_ = swept_for_ = loop_.now();
  renew_timer_.arm(options_.lease / 3);
  look_timer_.arm(kLookInterval);
  inbox_timer_.arm(limits::kStreamTtlRefresh);
  if (bus_.is_connected()) prepare_queues();
}

// --- the bus comes and goes ---------------------------------------------------------------------------------------

void Consumer::on_bus_connected(bool) {
  prepare_backoff_ = kFirstRetry;
  repeatable_seen_.clear();
  prepare_queues();
  read_cancelled();
  // Whatever waited for the bus goes on. An answer that was confirmed before counts only if this is the same bus.
  std::vector<Serial> serials;
  for (const auto& [serial, slot] : slots_) serials.push_back(serial);
  for (const Serial serial : serials) {
    Slot* slot = find(serial);
    if (slot == nullptr) continue;
    if (slot->state == SlotState::receiving) ask_for_body(*slot);
    else if (slot->state == SlotState::retrying) publish_answer(*slot);
    else if (slot->state == SlotState::handing_back) hand_back(*slot);
    else if (slot->state == SlotState::unsettled) {
      if (slot->confirmed_under == bus_.incarnation() || !slot->keeps_trying) settle(*slot);
      else publish_answer(*slot);
    }
  }
}

void Consumer::on_bus_lost(const Error&) {
  has_groups_ = false;
  has_read_cancelled_ = is_reading_cancelled_ = false;
  preparations_ = 0;
  prepare_timer_.cancel();
  announce_reading();
  check_drained();
}

void Consumer::prepare_queues() {
  if (!bus_.is_connected() || preparations_ > 0 || reader_ == nullptr) return;
  has_groups_ = false;
  preparations_ = static_cast<std::uint32_t>(options_.queues.size()) + 1;
  auto done = [this, failed = std::make_shared<bool>(false)](bool is_ok) {
    if (!is_ok) *failed = true;
    if (preparations_ == 0 || --preparations_ > 0) return;
    if (*failed) {  // OOM, LOADING, no permission: the bus has told which, and we come back
      prepare_backoff_ = std::min<Duration>(limits::kReconnectCap, std::max<Duration>(prepare_backoff_, kFirstRetry) * 2);
      prepare_timer_.arm(jittered(prepare_backoff_));
      return;
    }
    prepare_backoff_ = kFirstRetry;
    has_groups_ = true;
    announce_reading();
    read_more();
  };
  for (const std::string& queue : options_.queues) {
    bus_.join_group(queue, options_.instance, [done, queue](Result<void> result) {
      if (!result && result.error().code != Code::outcome_unknown && result.error().code != Code::closed) {
        base::log_debug("cannot make the consumer group", {{"queue", queue}, {"why", result.error().detail}});
      }
      done(result.has_value());
    });
  }
  bus_.ensure_stream(options_.inbox, limits::kStreamTtl, inbox_cursor_,
                     [done](Result<bool> result) { done(result.has_value()); });
}

void Consumer::on_reader_connected(const std::string&) {
  announce_reading();
  read_more();
}

void Consumer::on_reader_lost() {
  must_look_for_own_ = true;
  announce_reading();
  check_drained();
}

void Consumer::on_queue_missing() {
  // FLUSHALL, a restart without data, or somebody deleted it: everything of ours may be gone.
  if (has_groups_) {
    base::log_warn("the request queue was gone and is made anew", {{"service", options_.service}});
    has_groups_ = false;
    announce_reading();
    handler_.on_bus_emptied();
  }
  check_drained();
  if (prepare_timer_.is_armed()) return;
  prepare_timer_.arm(jittered(prepare_backoff_));
  prepare_backoff_ = std::min<Duration>(limits::kReconnectCap, std::max<Duration>(prepare_backoff_, kFirstRetry) * 2);
}

void Consumer::set_service_ready(bool is_ready) {
  if (is_service_ready_ == is_ready) return;
  is_service_ready_ = is_ready;
  announce_reading();
  if (is_ready) {
    read_more();
  } else if (reader_ != nullptr && reader_->is_reading()) {
    reader_->unblock();
  }
}

bool Consumer::may_read() const {
  return reader_ != nullptr && has_groups_ && is_service_ready_ && !is_draining_ && bus_.is_connected() &&
         reader_->is_connected() && alive_ != nullptr && alive_->is_confirmed() && has_read_cancelled_;
}

void Consumer::announce_reading() {
  const bool reads = may_read();
  if (reads == was_reading_) return;
  was_reading_ = reads;
  handler_.on_reading_changed(reads);
}

// --- taking -------------------------------------------------------------------------------------------------------

// What the service could be given now. Answers on their way to the bus hold no place at the service, but there may be
// only as many of them again.
std::size_t Consumer::room() const {
  if (options_.buffered != nullptr && options_.buffered->is_pressed()) return 0;
  const std::size_t most = options_.max_in_flight;
  const std::size_t at_service = slots_.size() - settling_;
  if (at_service >= most || slots_.size() >= 2 * most) return 0;
  return std::min(most - at_service, 2 * most - slots_.size());
}

// At the end of the turn: requests that finish together make room for one larger read.
void Consumer::read_more() {
  if (std::exchange(read_is_due_, true)) return;
  loop_.defer([this] {
    read_is_due_ = false;
    read_now();
  });
}

void Consumer::read_now() {
  if (reader_ == nullptr || reader_->is_reading() || own_lookups_ > 0) return;
  // Even if nothing may be read: what is ours without our knowledge can only be handed back by us.
  if (must_look_for_own_ && has_groups_ && reader_->is_connected()) return look_for_own_pending();
  if (!may_read()) return;
  const std::size_t free = room();
  if (free == 0) return;
  // COUNT is per stream. Every address is listed, since a read that blocks on some of them would leave the others unread
  // for its whole block time: with fewer free places than addresses, the surplus (at most one entry per address but one)
  // waits here, with its lease renewed.
  std::size_t count = std::min(free, limits::kReadBatchBytes / limits::kFrameEntryBytes) / options_.queues.size();
  if (options_.batch_size > 0) count = std::min<std::size_t>(count, options_.batch_size);
  reader_->read(options_.queues, static_cast<std::uint32_t>(std::max<std::size_t>(count, 1)));
}

void Consumer::on_delivered(const std::string& queue, std::span<const EntryView> entries) {
  const auto at = std::find(options_.queues.begin(), options_.queues.end(), queue);
  if (at == options_.queues.end() || entries.empty()) return;
  const auto index = static_cast<std::size_t>(at - options_.queues.begin());
  bus_.note_delivered(queue, entries.back().id);
  for (const EntryView& entry : entries) {
    obtain(index, entry.id, entry.fields, 1, Obtained::delivered, reader_->incarnation());
  }
}

void Consumer::on_read_done() {
  read_more();
  check_drained();
}

// Asked only when no read or claim of ours is unanswered: what such a reply still carries is ours, too, and not lost. Nor
// is anything read or claimed until it is answered, so that the ids in hand now are all that may leave it meanwhile.
void Consumer::look_for_own_pending() {
  if (!bus_.is_connected() || claims_ > 0) return;
  must_look_for_own_ = false;
  own_lookups_ = static_cast<std::uint32_t>(options_.queues.size());
  for (std::size_t queue = 0; queue < options_.queues.size(); ++queue) {
    bus_.own_pending(options_.queues[queue], options_.instance, in_hand_ids(queue), kLookLimit,
                     [this, queue](Result<std::vector<ClaimedEntry>> found) {
                       --own_lookups_;
                       if (!found) {
                         // No group, nothing of ours. After any other error the next look around asks again, soon, for
                         // until then nothing is read.
                         if (found.error().code == Code::not_found) return on_queue_missing();
                         must_look_for_own_ = true;
                         look_within(kLookInterval);
                         return check_drained();
                       } else {
                         if (found->size() >= kLookLimit) must_look_for_own_ = true;
                         const bool is_any = !found->empty();
                         obtain_claimed(queue, std::move(*found), Obtained::own_pending);
                         if (is_any) renew();  // their idle time still counts from the delivery that was lost
                       }
                       if (own_lookups_ == 0) read_more();
                       check_drained();
                     });
  }
}

void Consumer::obtain_claimed(std::size_t queue, std::vector<ClaimedEntry> claimed, Obtained obtained) {
  for (const ClaimedEntry& item : claimed) {
    const auto fields = views_of(item.entry);
    obtain(queue, item.entry.id, fields, item.delivery_count, obtained, bus_.incarnation());
  }
}

void Consumer::obtain(std::size_t queue, EntryId id, std::span<const frames::EntryField> fields,
                      std::uint32_t delivery_count, Obtained obtained, const std::string& incarnation) {
  if (loop_.now() - std::exchange(active_at_, loop_.now()) > kActiveFor) look_timer_.arm(kLookInterval);
  ++counters_.delivered;
  if (delivery_count > 1) ++counters_.redelivered;
  if (by_entry_.contains({queue, id})) return;
  auto frame = decoder_.decode(fields);
  if (!frame || !std::holds_alternative<frames::Request>(*frame)) {
    // Nobody can be answered: there is no trustworthy reply address. It is removed, or it would come back for ever.
    ++counters_.malformed;
    base::log_warn("removed an entry that is no REQUEST", {{"queue", options_.queues[queue]},
                                                           {"entry", messaging::to_string(id)},
                                                           {"why", frame ? "other frame type" : frame.error().detail}});
    return settle_unparsed(queue, id);
  }
  auto owned = std::make_unique<Slot>(*this, loop_);
  Slot& slot = *owned;
  slot.request = std::move(std::get<frames::Request>(*frame));
  if (const auto first = by_request_.find(slot.request.id); first != by_request_.end()) {
    ++counters_.duplicates;  // written twice by a caller that did not know of the first; the one in hand answers
    // Its reply stream may have been lost, and our question for the body with it.
    if (Slot* asking = find(first->second); asking->state == SlotState::receiving) ask_for_body(*asking);
    return settle_unparsed(queue, id);
  }
  slot.request_bytes = slot.request.body.capacity();
  slot.held.set(slot.request_bytes);
  slot.serial = ++last_serial_;
  slot.queue = queue;
  slot.entry = id;
  slot.delivery_count = delivery_count;
  slot.obtained_at = slot.lease_from = loop_.now();
  const std::int64_t now_ms = bus_.now_ms();
  slot.queue_wait = std::chrono::milliseconds(std::max<std::int64_t>(0, now_ms - static_cast<std::int64_t>(id.ms)));
  // A frame may say anything: no budget is longer than a day.
  const std::int64_t budget = std::min(slot.request.deadline_ms - now_ms - bus_.clock_error_ms(), kLongestBudgetMs);
  slot.deadline = loop_.now() + std::chrono::milliseconds(budget);
  slot.expires_at = slot.deadline + 2 * std::chrono::milliseconds(bus_.clock_error_ms());
  slot.answer.id = slot.request.id;
  slot.answer.instance = options_.instance;
  slot.answer.attempt = std::max<std::uint32_t>(1, delivery_count);
  slot.answer.queue_ms = static_cast<std::uint64_t>(millis(slot.queue_wait));
  by_entry_.emplace(std::pair(queue, id), slot.serial);
  by_request_.emplace(slot.request.id, slot.serial);
  slots_.emplace(slot.serial, std::move(owned));

  const Verdict verdict = decide({.is_repeatable = slot.may_run_again(),
                                  .delivery_count = delivery_count,
                                  .obtained = obtained,
                                  // The command connection may have learnt of another server since the read.
                                  .is_same_bus = slot.request.bus == incarnation && incarnation == bus_.incarnation(),
                                  .now_ms = now_ms,
                                  .clock_error_ms = bus_.clock_error_ms(),
                                  .deadline_ms = slot.request.deadline_ms,
                                  .max_attempts = slot.request.max_attempts});
  switch (verdict) {
    case Verdict::expired:
      return drop_expired(slot);
    case Verdict::outcome_unknown:
      ++counters_.outcome_unknown;
      slot.dead = slot.request.bus == bus_.incarnation() ? DeadReason::outcome_unknown : DeadReason::restored;
      if (slot.dead == DeadReason::restored) bus_.doubt_server();  // its caller's, or ours
      return answer_fault(slot, Fault::outcome_unknown, DeliveryEnd::outcome_unknown, "it may have been run before, and may not be run twice");
    case Verdict::exhausted:
      slot.dead = DeadReason::exhausted;
      return answer_fault(slot, Fault::outcome_unknown, DeliveryEnd::exhausted, "no attempts left");
    case Verdict::run:
      break;
  }
  if (cancelled_.contains(slot.request.id)) {
    ++counters_.cancelled;
    slot.end = DeliveryEnd::cancelled;
    slot.keeps_trying = false;
    return settle(slot);
  }
  if (const auto known = never_again_.find(slot.request.id); known != never_again_.end()) {
    const bool was_run = known->second == Fault::outcome_unknown;
    if (was_run) slot.dead = DeadReason::outcome_unknown;
    return answer_fault(slot, known->second, was_run ? DeliveryEnd::outcome_unknown : DeliveryEnd::unreachable,
                        "this instance handed it back or ran it before, and nobody else took it");
  }
  const bool is_parked_alone =
      std::any_of(parked_by_us_.begin(), parked_by_us_.end(),
                  [&](const Parked& parked) { return parked.queue == queue && parked.id == id; });
  if (is_parked_alone && !is_service_ready_) {
    return answer_fault(slot, slot.fault_unserved(), slot.end_unserved(), "no instance reaches its service");
  }
  if (is_draining_ || !is_service_ready_) return hand_back_or_fail(slot, "this instance does not serve now");
  if (slot.request.streamed) {
    if (slot.request.streamed->length.value_or(0) > options_.body_limit) {
      return answer_fault(slot, Fault::body_too_large, DeliveryEnd::body_too_large,
                          "the request's body is above this instance's limit");
    }
    slot.state = SlotState::receiving;
    return ask_for_body(slot);
  }
  if (slot.request.body.size() > options_.body_limit) {
    return answer_fault(slot, Fault::body_too_large, DeliveryEnd::body_too_large,
                        "the request's body is above this instance's limit");
  }
  begin(slot);
}

// Its owner has ended it already. Unless it was written later than that, as it seems: then the server's clock was moved, or
// one of us does not know its time, and the caller is told, lest it wait for what will not come.
void Consumer::drop_expired(Slot& slot) {
  ++counters_.expired;
  slot.keeps_trying = false;
  if (options_.keeps_expired) slot.dead = DeadReason::expired;
  const bool is_strange = static_cast<std::int64_t>(slot.entry.ms) >= slot.request.deadline_ms;
  if (is_strange) bus_.doubt_server();
  if (slot.dead || is_strange) return answer_fault(slot, Fault::expired, DeliveryEnd::expired, "its deadline has passed");
  slot.end = DeliveryEnd::expired;
  settle(slot);
}

void Consumer::settle_unparsed(std::size_t queue, EntryId id) {
  bus_.settle(options_.queues[queue], id, [](Result<void>) {});
}

// --- the body, when it did not fit ---------------------------------------------------------------------------------

// May be asked for more than once: pieces that are here already are skipped.
void Consumer::ask_for_body(Slot& slot) {
  slot.timer.arm_at(slot.expires_at);
  // It was announced by who has it whole: room for all of it first, or it would be sent for nothing.
  if (!slot.make_room(slot.request.body, slot.request.streamed->length.value_or(0))) {
    slot.timer.arm_at(std::min(slot.expires_at, loop_.now() + slot.backoff));
    slot.backoff = std::min<Duration>(limits::kReconnectCap, slot.backoff * 2);
    return;
  }
  // The caller's pieces would go nowhere if it was deleted, or its time ran out with the server's clock.
  if (loop_.now() - inbox_seen_at_ > kInboxTrust) {
    inbox_seen_at_ = loop_.now();
    bus_.ensure_stream(options_.inbox, limits::kStreamTtl, inbox_cursor_, {});
  }
  const auto accept =
      frames::encode(frames::Accept{slot.request.id, options_.instance, slot.answer.attempt, options_.inbox, options_.wake});
  if (!accept) return answer_fault(slot, Fault::bad_answer, DeliveryEnd::body_missing, accept.error().detail);
  bus_.publish(slot.request.reply_to, *accept, slot.publish_options(), [this, serial = slot.serial](Result<std::optional<EntryId>> result) {
    Slot* asking = find(serial);
    if (asking == nullptr || asking->state != SlotState::receiving || (result && result->has_value())) return;
    asking->timer.arm_at(std::min(asking->expires_at, loop_.now() + asking->backoff));
    asking->backoff = std::min<Duration>(limits::kReconnectCap, asking->backoff * 2);
  });
}

void Consumer::on_entries(const std::string& stream, std::span<const EntryView> entries) {
  for (const EntryView& entry : entries) {
    inbox_cursor_ = std::max(inbox_cursor_, entry.id);
    auto frame = decoder_.decode(entry.fields);
    if (!frame) {
      ++counters_.malformed;
      continue;
    }
    if (auto* data = std::get_if<frames::StreamData>(&*frame)) on_request_data(std::move(*data));
    if (const auto* resync = std::get_if<frames::ResyncRequest>(&*frame)) handler_.on_resync_requested(*resync);
  }
  bus_.trim(stream, inbox_cursor_);
}

void Consumer::on_request_data(frames::StreamData data) {
  const auto at = by_request_.find(data.id);
  Slot* slot = at == by_request_.end() ? nullptr : find(at->second);
  if (slot == nullptr || slot->state != SlotState::receiving || data.attempt != slot->answer.attempt) return;
  if (data.abort) {  // the caller ended it and knows
    slot->end = DeliveryEnd::cancelled;
    slot->keeps_trying = false;
    return settle(*slot);
  }
  if (data.seq < slot->next_data) return;  // we asked for the body twice
  if (data.seq > slot->next_data) {
    return answer_fault(*slot, Fault::bad_answer, DeliveryEnd::body_missing,
                        "a piece of the request's body is missing");
  }
  ++slot->next_data;
  if (slot->request.body.size() + data.body.size() > options_.body_limit) {
    return answer_fault(*slot, Fault::body_too_large, DeliveryEnd::body_too_large,
                        "the request's body is above this instance's limit");
  }
  if (!slot->make_room(slot->request.body, slot->request.body.size() + data.body.size())) {
    return hand_back_or_fail(*slot, "no memory for the request's body (Sidecar:Limits:BufferedBytes)");
  }
  slot->request.body.append(data.body);
  if (data.end) {
    slot->timer.cancel();
    begin(*slot);
  }
}

// --- cancel ---------------------------------------------------------------------------------------------------------

void Consumer::on_message(std::string_view text) {
  auto message = decoder_.decode_message(text);
  if (!message) {
    if (message.error().code != Code::unsupported) ++counters_.malformed;
    return;
  }
  if (const auto* cancelled = std::get_if<frames::Cancel>(&*message)) {
    cancel(cancelled->id);
  } else if (!is_draining_) {
    look_soon();
  }
}

// Before anything is read: whoever left while nobody listened causes no call.
void Consumer::read_cancelled() {
  if (!bus_.is_connected() || alive_ == nullptr || !alive_->is_confirmed() || std::exchange(is_reading_cancelled_, true)) return;
  bus_.cancelled(names_.cancelled_set(options_.service), [this](Result<std::vector<std::string>> texts) {
    is_reading_cancelled_ = false;
    if (!texts && (texts.error().code == Code::closed || texts.error().code == Code::outcome_unknown)) return;
    // Advisory: a set that cannot be read must not stop the service.
    if (!texts) base::log_warn("cannot read what was cancelled", {{"service", options_.service}, {"why", texts.error().detail}});
    if (texts) {
      for (const std::string& text : *texts) on_message(text);
    }
    has_read_cancelled_ = alive_->is_confirmed();
    announce_reading();
    read_more();
  });
}

void Consumer::cancel(const std::string& id) {
  const auto at = by_request_.find(id);
  if (at == by_request_.end()) {
    if (!cancelled_.insert(id).second) return;
    cancelled_order_.push_back(id);
    if (cancelled_order_.size() > kCancelledLimit) {
      cancelled_.erase(cancelled_order_.front());
      cancelled_order_.pop_front();
    }
    return;
  }
  Slot& slot = *find(at->second);
  const bool was_begun = slot.state == SlotState::begun;
  switch (slot.state) {
    case SlotState::begun:
      slot.call.cancel();  // its connection ends: the service may stop, too
      slot.service_time = loop_.now() - slot.called_at;
      slot.answer.status = 0;  // of a head that came to nothing
      --begun_;
      break;
    case SlotState::waiting:
      std::erase(waiting_, slot.serial);
      break;
    case SlotState::retrying:
      if (slot.dead && !slot.is_buried) return;  // its operator wants the letter all the same
      break;
    case SlotState::receiving:
      break;
    // On their way: what is settled or handed back has its reply to come, and an answer costs nothing more.
    case SlotState::answering:
    case SlotState::settling:
    case SlotState::unsettled:
    case SlotState::handing_back:
      return;
  }
  ++counters_.cancelled;
  slot.end = DeliveryEnd::cancelled;
  slot.keeps_trying = false;
  settle(slot);
  if (was_begun) begin_waiting();
}

// --- the call -------------------------------------------------------------------------------------------------------

void Consumer::begin(Slot& slot) {
  if (begun_ >= options_.max_in_flight) {
    slot.state = SlotState::waiting;
    waiting_.push_back(slot.serial);
    return;
  }
  ++begun_;
  ++counters_.begun;
  slot.state = SlotState::begun;
  slot.called_at = loop_.now();
  slot.body_bytes = slot.request.body.size();
  slot.call = service_.call(slot.request, slot.deadline, slot);
}

void Consumer::begin_waiting() {
  while (!waiting_.empty() && begun_ < options_.max_in_flight) {
    Slot* slot = find(waiting_.front());
    waiting_.pop_front();
    if (slot == nullptr || slot->state != SlotState::waiting) continue;
    if (slot->expires_at <= loop_.now()) {
      drop_expired(*slot);
      continue;
    }
    begin(*slot);
  }
}

void Consumer::call_finished(Slot& slot) {
  slot.service_time = loop_.now() - slot.called_at;
  slot.answer.service_ms = static_cast<std::uint32_t>(millis(slot.service_time));
  --begun_;
  slot.end = DeliveryEnd::answered;
  publish_answer(slot);
  begin_waiting();
}

void Consumer::on_service_failed(Slot& slot, ServiceFailure failure) {
  slot.call.cancel();
  slot.service_time = loop_.now() - slot.called_at;
  --begun_;
  slot.answer.status = 0;  // of a head that came to nothing
  slot.answer.headers.clear();
  slot.answer.reason.clear();
  slot.body.clear();
  Fault fault = Fault::bad_answer;
  DeliveryEnd end = DeliveryEnd::broken;
  switch (failure.kind) {
    case ServiceFailure::Kind::unreachable:
      if (is_service_ready_) {
        set_service_ready(false);
        handler_.on_service_refused();
      }
      hand_back_or_fail(slot, std::move(failure.detail));
      begin_waiting();
      return;
    case ServiceFailure::Kind::timeout:
      fault = Fault::timeout;
      end = DeliveryEnd::timeout;
      break;
    case ServiceFailure::Kind::malformed:
      end = DeliveryEnd::malformed;
      break;
    case ServiceFailure::Kind::too_large:
      end = DeliveryEnd::answer_too_large;
      break;
    case ServiceFailure::Kind::no_room:
      fault = Fault::outcome_unknown;  // it ran, and its answer is lost
      end = DeliveryEnd::no_room;
      break;
    case ServiceFailure::Kind::broken:
      if (slot.may_run_again() && slot.has_attempts_left()) {
        move_on(slot, std::move(failure.detail));
        begin_waiting();
        return;
      }
      if (slot.may_run_again()) slot.dead = DeadReason::exhausted;
      break;
  }
  answer_fault(slot, fault, end, std::move(failure.detail));
  begin_waiting();
}

// --- answer, then settle --------------------------------------------------------------------------------------------

void Consumer::answer_fault(Slot& slot, Fault fault, DeliveryEnd why, std::string detail) {
  slot.end = why;
  slot.answer.status = 0;
  slot.answer.fault = fault;
  slot.answer.detail = detail.substr(0, 512);
  slot.body.clear();
  publish_answer(slot);
}

void Consumer::publish_answer(Slot& slot) {
  slot.timer.cancel();
  leave_service(slot);
  slot.state = SlotState::answering;
  slot.round_failed = false;
  const std::uint32_t round = ++slot.round;
  if (!bus_.is_connected()) {
    slot.state = SlotState::retrying;
    return on_slot_due(slot);
  }
  slot.confirmed_under = bus_.incarnation();
  const bool fits = slot.body.size() <= limits::kInlineBodyBytes;
  slot.answer.end = fits;
  slot.answer.length.reset();
  if (!fits) slot.answer.length = slot.body.size();
  // The body goes into the frame for the encoding only; the slot keeps it until the answer is confirmed.
  const std::size_t inline_size = fits ? slot.body.size() : 0;
  if (inline_size > 0) slot.answer.body.swap(slot.body);
  auto head = frames::encode(slot.answer);
  if (!head) {
    if (inline_size > 0) slot.answer.body.swap(slot.body);
    slot.answer.headers.clear();
    slot.answer.reason.clear();
    CHECK(!slot.answer.fault.has_value());
    return answer_fault(slot, Fault::bad_answer, DeliveryEnd::malformed,
                        "the answer's head cannot be carried: " + head.error().detail);
  }
  const std::size_t chunks = fits ? 0 : (slot.body.size() + limits::kInlineBodyBytes - 1) / limits::kInlineBodyBytes;
  slot.unconfirmed = static_cast<std::uint32_t>(1 + chunks);
  const Serial serial = slot.serial;
  const auto done = [this, serial, round](Result<std::optional<EntryId>> result) {
    on_answer_published(serial, round, result.has_value() && result->has_value());
  };
  bus_.publish(slot.request.reply_to, *head, slot.publish_options(), done);
  if (slot.dead && !slot.is_buried) bury(slot);
  if (inline_size > 0) slot.answer.body.swap(slot.body);
  frames::StreamData chunk;
  chunk.type = frames::FrameType::response_stream_data;
  chunk.id = slot.answer.id;
  chunk.instance = slot.answer.instance;
  chunk.attempt = slot.answer.attempt;
  for (std::size_t i = 0; i < chunks; ++i) {
    chunk.seq = i + 1;
    chunk.end = i + 1 == chunks;
    chunk.body = slot.body.substr(i * limits::kInlineBodyBytes, limits::kInlineBodyBytes);
    const auto encoded = frames::encode(chunk);
    CHECK(encoded.has_value());  // its members are ours and bounded
    bus_.publish(slot.request.reply_to, *encoded, slot.publish_options(), done);
  }
}

// A part of the answer's round: the entry is settled only when both are there.
void Consumer::bury(Slot& slot) {
  if (options_.dead_letters.count == 0) return;
  ++slot.unconfirmed;
  const std::string& queue = options_.queues[slot.queue];
  bus_.bury(queue, slot.entry, names_.dead_stream(options_.service),
            {{"reason", std::string(name_of(*slot.dead))},
             {"queue", queue},
             {"entry", messaging::to_string(slot.entry)},
             {"attempts", std::to_string(slot.delivery_count)},
             {"first_seen", std::to_string(slot.request.origin ? slot.request.origin->first_seen_ms : slot.entry.ms)},
             {"instance", options_.instance},
             {"detail", slot.answer.detail}},
            options_.dead_letters,
            [this, serial = slot.serial, round = slot.round](Result<std::optional<EntryId>> buried) {
              Slot* dead = find(serial);
              if (dead == nullptr) return;
              const bool comes_again = !buried && (buried.error().code == Code::outcome_unknown ||
                                                   buried.error().code == Code::closed || buried.error().code == Code::overloaded);
              if (buried && *buried && !dead->is_buried) ++counters_.dead_letters[static_cast<std::size_t>(*dead->dead)];
              if (!buried && !comes_again) {
                base::log_warn("a dead letter cannot be written", {{"service", options_.service}, {"why", buried.error().detail}});
              }
              dead->is_buried = dead->is_buried || !comes_again;
              on_answer_published(serial, round, !comes_again);
            });
}

void Consumer::on_answer_published(Serial serial, std::uint32_t round, bool is_confirmed) {
  Slot* slot = find(serial);
  if (slot == nullptr || slot->round != round || slot->state != SlotState::answering) return;
  if (!is_confirmed) slot->round_failed = true;
  if (--slot->unconfirmed > 0) return;
  if (slot->end == DeliveryEnd::expired) return settle(*slot);  // nobody may be there to be told
  if (!slot->round_failed) {
    slot->backoff = kFirstRetry;
    return settle(*slot);
  }
  // An error, or nil: the reply stream may be about to be made anew. Not proof that nobody waits.
  slot->state = SlotState::retrying;
  slot->timer.arm(jittered(slot->backoff));
  slot->backoff = std::min<Duration>(limits::kReconnectCap, slot->backoff * 2);
}

void Consumer::on_slot_due(Slot& slot) {
  if (slot.state == SlotState::receiving) {
    if (loop_.now() < slot.expires_at) return ask_for_body(slot);
    ++counters_.expired;  // the body did not come
    slot.end = DeliveryEnd::body_missing;
    slot.keeps_trying = false;
    return settle(slot);
  }
  if (slot.state != SlotState::retrying) return;
  if (loop_.now() >= slot.expires_at) {
    if (slot.end != DeliveryEnd::expired) {
      ++counters_.undeliverable;
      slot.is_undelivered = true;
    }
    slot.keeps_trying = false;
    return settle(slot);
  }
  if (bus_.is_connected()) return publish_answer(slot);
  slot.timer.arm_at(slot.expires_at);  // or earlier, when the bus is back
}

// From here on it only waits for the bus: its place is free for another.
void Consumer::leave_service(Slot& slot) {
  if (std::exchange(slot.is_settling, true)) return;
  ++settling_;
  read_more();
}

void Consumer::settle(Slot& slot) {
  slot.timer.cancel();
  leave_service(slot);
  if (slot.has_lost_lease) return let_go(slot);  // somebody else owns it now, and settles
  slot.state = SlotState::settling;
  if (!bus_.is_connected()) {
    slot.state = SlotState::unsettled;
    return;
  }
  bus_.settle(options_.queues[slot.queue], slot.entry,
              [this, serial = slot.serial](Result<void> result) { on_settled(serial, std::move(result)); });
}

void Consumer::on_settled(Serial serial, Result<void> result) {
  Slot* slot = find(serial);
  if (slot == nullptr || slot->state != SlotState::settling) return;
  if (result || result.error().code == Code::not_found) {  // not found: the group is gone, and the entry with it
    if (slot->keeps_trying && slot->confirmed_under != bus_.incarnation() && bus_.is_connected()) {
      return publish_answer(*slot);
    }
    if (slot->keeps_trying) ++counters_.answered;
    return let_go(*slot);
  }
  slot->state = SlotState::unsettled;
  if (bus_.is_connected()) {
    // A definite error on a live connection, which the bus has told: try again with the renewal's rhythm.
    base::log_debug("cannot settle an answered request", {{"why", result.error().detail}});
  }
}

void Consumer::let_go(Slot& slot) {
  report_end(slot);
  const Serial serial = slot.serial;
  // Perhaps nobody took it, and we shall find it as our own pending entry with nothing to show that it was run.
  if (slot.has_lost_lease && slot.is_begun_or_later()) never_run_again(slot, Fault::outcome_unknown);
  by_entry_.erase({slot.queue, slot.entry});
  by_request_.erase(slot.request.id);
  slot.timer.cancel();
  slot.held.set(0);
  if (slot.is_settling) --settling_;
  const auto at = slots_.find(serial);
  loop_.release(std::move(at->second));
  slots_.erase(at);
  read_more();
  check_drained();
}

// The one place where a delivered request ends.
void Consumer::report_end(const Slot& slot) {
  handler_.on_request_done({.request = slot.request,
                            .end = slot.end,
                            .status = slot.answer.status,
                            .was_begun = slot.is_begun_or_later(),
                            .is_undelivered = slot.is_undelivered,
                            .attempt = slot.answer.attempt,
                            .request_bytes = slot.is_begun_or_later() ? slot.body_bytes : slot.request.body.size(),
                            .answer_bytes = slot.body.size(),
                            .queue_wait = slot.queue_wait,
                            .service_time = slot.service_time,
                            .in_hand = loop_.now() - slot.obtained_at});
}

void Consumer::report_unfinished() {
  for (const auto& [serial, slot] : slots_) report_end(*slot);
}

Consumer::Slot* Consumer::find(Serial serial) {
  const auto at = slots_.find(serial);
  return at == slots_.end() ? nullptr : at->second.get();
}

std::vector<EntryId> Consumer::in_hand_ids(std::size_t queue) const {
  std::vector<EntryId> ids;
  for (auto at = by_entry_.lower_bound({queue, EntryId{}}); at != by_entry_.end() && at->first.first == queue; ++at) {
    ids.push_back(at->first.second);
  }
  return ids;
}

// --- handing back ---------------------------------------------------------------------------------------------------

// Somebody else may serve it: only if it was not begun, and there is somebody.
void Consumer::hand_back_or_fail(Slot& slot, std::string detail) {
  if (!slot.may_run_again() && slot.delivery_count != 1) {
    return answer_fault(slot, slot.fault_unserved(), slot.end_unserved(), std::move(detail));
  }
  slot.count_left = slot.delivery_count - 1;
  slot.end_with_peer = DeliveryEnd::handed_back;
  slot.end_alone = slot.end_unserved();
  slot.fault_alone = slot.fault_unserved();
  give_to_peer(slot, std::move(detail));
}

// What was begun, and may be begun again: the attempt stays counted.
void Consumer::move_on(Slot& slot, std::string detail) {
  slot.count_left = slot.delivery_count;
  slot.end_with_peer = DeliveryEnd::moved_on;
  slot.end_alone = DeliveryEnd::broken;
  slot.fault_alone = Fault::bad_answer;
  give_to_peer(slot, std::move(detail));
}

void Consumer::give_to_peer(Slot& slot, std::string detail) {
  slot.state = SlotState::handing_back;
  if (!bus_.is_connected()) return;  // goes on in on_bus_connected
  if (is_draining_) return hand_back(slot);
  bus_.consumers(options_.queues[slot.queue], [this, serial = slot.serial, detail = std::move(detail)](
                                                  Result<std::vector<std::string>> names) mutable {
    Slot* waiting = find(serial);
    if (waiting == nullptr || waiting->state != SlotState::handing_back) return;
    if (!names) return on_hand_back_failed(*waiting, names.error());
    std::vector<std::string> channels;
    for (const std::string& name : *names) {
      if (name != options_.instance && frames::is_process_id(name)) {
        channels.push_back(names_.alive_channel(options_.service, name));
      }
    }
    if (channels.empty()) return answer_fault(*waiting, waiting->fault_alone, waiting->end_alone, std::move(detail));
    bus_.subscribers(std::move(channels), [this, serial, detail = std::move(detail)](
                                              Result<std::vector<std::uint64_t>> counts) mutable {
      Slot* slot_now = find(serial);
      if (slot_now == nullptr || slot_now->state != SlotState::handing_back) return;
      // It goes on in on_bus_connected.
      if (!counts && (counts.error().code == Code::outcome_unknown || counts.error().code == Code::closed)) return;
      const bool has_peer =
          counts && std::any_of(counts->begin(), counts->end(), [](std::uint64_t count) { return count > 0; });
      if (!has_peer) return answer_fault(*slot_now, slot_now->fault_alone, slot_now->end_alone, std::move(detail));
      hand_back(*slot_now);
    });
  });
}

void Consumer::never_run_again(const Slot& slot, Fault answer) {
  if (slot.may_run_again() || !never_again_.emplace(slot.request.id, answer).second) return;
  never_again_order_.push_back(slot.request.id);
  if (never_again_order_.size() > kNeverAgainLimit) {
    never_again_.erase(never_again_order_.front());
    never_again_order_.pop_front();
  }
}

void Consumer::hand_back(Slot& slot) {
  slot.state = SlotState::handing_back;
  slot.end = slot.end_with_peer;
  slot.timer.cancel();
  never_run_again(slot, Fault::service_unreachable);
  if (!bus_.is_connected()) return;
  bus_.hand_back(options_.queues[slot.queue], options_.instance,
                 {{slot.entry, slot.delivery_count, slot.count_left}},
                 [this, serial = slot.serial](Result<std::vector<EntryId>> moved) {
                   Slot* handed = find(serial);
                   if (handed == nullptr || handed->state != SlotState::handing_back) return;
                   if (!moved) return on_hand_back_failed(*handed, moved.error());
                   if (!moved->empty()) {
                     ++(handed->end == DeliveryEnd::moved_on ? counters_.moved_on : counters_.handed_back);
                   }
                   // Also when nothing moved: an earlier try whose reply was lost may have done it.
                   if (!is_draining_) parked_by_us_.push_back({handed->queue, handed->entry, loop_.now()});
                   ask_others_to_look();
                   let_go(*handed);
                 });
}

void Consumer::on_hand_back_failed(Slot& slot, const Error& why) {
  const auto known = never_again_.find(slot.request.id);
  // It may have been handed back, or may still be: a peer may run it whatever we hear later. From now on nothing can be
  // promised about it (docs/model, UNREACHABLE_AFTER_HAND_BACK).
  if (why.code == Code::outcome_unknown && known != never_again_.end()) known->second = Fault::outcome_unknown;
  // It stays in hand until a reply was read: on_bus_connected asks again.
  if (why.code == Code::outcome_unknown || why.code == Code::closed) return;
  if (why.code == Code::not_found) return let_go(slot);
  const Fault fault = known == never_again_.end() ? slot.fault_alone : known->second;
  answer_fault(slot, fault, fault == Fault::outcome_unknown ? DeliveryEnd::outcome_unknown : slot.end_alone,
               "it cannot be handed back: " + why.detail);
}

// --- leases and orphans ---------------------------------------------------------------------------------------------

void Consumer::renew() {
  renew_timer_.arm(options_.lease / 3);
  if (!bus_.is_connected()) return;
  for (std::size_t queue = 0; queue < options_.queues.size(); ++queue) {
    std::vector<EntryId> ids;
    std::vector<Serial> serials;
    for (const EntryId id : in_hand_ids(queue)) {
      Slot* slot = find(by_entry_.at({queue, id}));
      if (slot->has_lost_lease) continue;
      if (loop_.now() - slot->lease_from > options_.lease) {  // others may have taken it long ago
        lose_lease(*slot);
        continue;
      }
      if (slot->state == SlotState::unsettled) settle(*slot);
      ids.push_back(id);
      serials.push_back(slot->serial);
    }
    if (ids.empty()) continue;
    bus_.renew(options_.queues[queue], options_.instance, ids,
               [this, ids, serials, asked = loop_.now()](Result<std::vector<EntryId>> kept) {
                 if (!kept) return;
                 for (std::size_t i = 0; i < serials.size(); ++i) {
                   Slot* slot = find(serials[i]);
                   if (slot == nullptr) continue;
                   if (std::find(kept->begin(), kept->end(), ids[i]) != kept->end()) {
                     slot->lease_from = asked;
                   } else if (slot->state != SlotState::settling && slot->state != SlotState::handing_back) {
                     lose_lease(*slot);
                   }
                 }
               });
  }
}

void Consumer::lose_lease(Slot& slot) {
  slot.has_lost_lease = true;
  ++counters_.leases_lost;
  // What was not begun is not ours to begin any more; what is answered is not ours to settle.
  if (slot.state == SlotState::receiving || slot.state == SlotState::waiting || slot.state == SlotState::unsettled) {
    if (slot.state != SlotState::unsettled) slot.end = DeliveryEnd::lease_lost;
    if (slot.state == SlotState::waiting) std::erase(waiting_, slot.serial);
    let_go(slot);
  }
}

// A caller missed one of us, or one of us handed something back.
void Consumer::look_soon() {
  active_at_ = loop_.now();
  look_within(std::max<Duration>(0s, looked_at_ + kLookAgain - loop_.now()));
}

void Consumer::look_within(Duration at_most) {
  if (loop_.now() + at_most < look_timer_.deadline()) look_timer_.arm(at_most);
}

void Consumer::ask_others_to_look() {
  if (std::exchange(look_is_due_to_others_, true)) return;
  loop_.defer([this] {
    look_is_due_to_others_ = false;
    bus_.tell(names_.cancel_channel(options_.service), frames::encode_look());
  });
}

void Consumer::look_around() {
  looked_at_ = loop_.now();
  const bool is_active = !slots_.empty() || loop_.now() - active_at_ <= kActiveFor;
  look_timer_.arm(others_have_pending_ ? kLookIntervalBusy : is_active ? kLookInterval : kLookIntervalIdle);
  if (!bus_.is_connected() || !has_groups_) return;
  read_more();  // or what must come before it, if that was refused
  if (is_draining_ || !alive_->is_confirmed()) return;
  others_have_pending_ = false;
  for (std::size_t queue = 0; queue < options_.queues.size(); ++queue) look_around_queue(queue);
}

void Consumer::look_around_queue(std::size_t queue) {
  bus_.pending_entries(options_.queues[queue], millis(kOrphanAge), kOverviewLimit,
                       [this, queue](Result<std::vector<PendingEntry>> pending) {
                         if (pending && !is_draining_) on_pending_overview(queue, std::move(*pending));
                         // A reader without a free slot would not be told.
                         if (!pending && pending.error().code == Code::not_found) on_queue_missing();
                       });
}

void Consumer::on_pending_overview(std::size_t queue, std::vector<PendingEntry> pending) {
  watch_renewals(queue, pending);
  std::map<std::string, std::vector<PendingEntry>> by_consumer;
  for (PendingEntry& entry : pending) by_consumer[entry.consumer].push_back(entry);

  if (auto mine = by_consumer.extract(options_.instance)) {
    // Ours for a second, and not in hand: a reply got lost. Asked for in the one way that is safe.
    const bool is_lost = std::any_of(mine.mapped().begin(), mine.mapped().end(), [&](const PendingEntry& entry) {
      return !by_entry_.contains({queue, entry.id});
    });
    if (is_lost && !must_look_for_own_) {
      must_look_for_own_ = true;
      if (reader_->is_reading()) {
        reader_->unblock();
      } else {
        read_more();
      }
    }
  }
  if (auto parked = by_consumer.extract(std::string(frames::kParkedConsumer))) {
    others_have_pending_ = true;
    std::vector<PendingEntry> wanted;
    for (const PendingEntry& entry : parked.mapped()) {
      const auto ours = std::find_if(parked_by_us_.begin(), parked_by_us_.end(), [&](const Parked& known) {
        return known.queue == queue && known.id == entry.id;
      });
      const bool is_ours = ours != parked_by_us_.end();
      const bool was_left = is_ours && loop_.now() - ours->since > kParkedAlone;
      // Who handed back does not take it again, unless nobody else did: then it is answered, not run.
      if (was_left || (is_service_ready_ && !is_ours)) wanted.push_back({entry.id, entry.consumer, 0, 0});
    }
    claim_from(queue, std::string(frames::kParkedConsumer), std::move(wanted), Obtained::parked);
  }
  std::erase_if(parked_by_us_, [&](const Parked& parked) { return loop_.now() - parked.since > 60s; });
  if (by_consumer.empty() || !is_service_ready_) return;

  others_have_pending_ = true;
  std::vector<std::string> names;
  std::vector<std::string> channels;
  for (const auto& [consumer, entries] : by_consumer) {
    names.push_back(consumer);
    channels.push_back(names_.alive_channel(options_.service, consumer));
  }
  bus_.subscribers(std::move(channels), [this, queue, names, by_consumer = std::move(by_consumer)](
                                            Result<std::vector<std::uint64_t>> counts) mutable {
    if (is_draining_ || !is_service_ready_) return;
    if (!counts && (counts.error().code == Code::outcome_unknown || counts.error().code == Code::closed)) return;
    for (std::size_t i = 0; i < names.size(); ++i) {
      bool is_gone = false;
      // Where NUMSUB cannot be used the lease alone decides. Shortly after our own return others' silence says nothing.
      if (counts && (*counts)[i] == 0 && loop_.now() - bus_.connected_since() > kReconnectGrace) {
        const auto [at, is_new] = seen_gone_.try_emplace(names[i], Silence{loop_.now(), loop_.now()});
        Silence& silence = at->second;
        // Readings far apart say nothing: it was not looked at in between and may have been back.
        if (loop_.now() - silence.last > kSilenceMemory) silence.first = loop_.now();
        silence.last = loop_.now();
        is_gone = silence.last - silence.first >= kGoneAfter;
        if (!is_gone) look_timer_.arm(kGoneAfter);
      } else {
        seen_gone_.erase(names[i]);
      }
      take_over_from(queue, names[i], std::move(by_consumer[names[i]]), is_gone);
    }
    if (seen_gone_.size() > 1000) seen_gone_.clear();
  });
}

void Consumer::watch_renewals(std::size_t queue, const std::vector<PendingEntry>& pending) {
  std::map<std::pair<std::size_t, EntryId>, Unrenewed> seen;
  for (const PendingEntry& entry : pending) {
    if (entry.consumer == options_.instance || entry.consumer == frames::kParkedConsumer) continue;
    Unrenewed now{entry.consumer, loop_.now(), entry.idle_ms};
    const auto before = unrenewed_.find({queue, entry.id});
    if (before != unrenewed_.end() && before->second.consumer == entry.consumer && before->second.idle_ms <= entry.idle_ms) {
      now.since = before->second.since;
    }
    seen.emplace(std::pair(queue, entry.id), std::move(now));
  }
  std::erase_if(unrenewed_, [queue](const auto& item) { return item.first.first == queue; });
  unrenewed_.merge(seen);
}

// Idle times count by the server's wall clock: when it is moved, they jump. Whoever lives renews at a third of the lease, and
// that is waited for by our own clock.
bool Consumer::is_lease_over(std::size_t queue, const PendingEntry& entry) const {
  const auto seen = unrenewed_.find({queue, entry.id});
  return entry.idle_ms > millis(options_.lease) && seen != unrenewed_.end() &&
         loop_.now() - seen->second.since >= options_.lease / 2;
}

void Consumer::take_over_from(std::size_t queue, const std::string& consumer, std::vector<PendingEntry> entries,
                              bool is_gone) {
  std::vector<PendingEntry> wanted;
  std::vector<EntryId> unknown;
  for (const PendingEntry& entry : entries) {
    if (is_lease_over(queue, entry)) {
      wanted.push_back(entry);  // whoever it is, the lease is over
      continue;
    }
    if (!is_gone) continue;
    const auto seen = repeatable_seen_.find({queue, entry.id});
    if (seen == repeatable_seen_.end()) {
      unknown.push_back(entry.id);
    } else if (seen->second || options_.redelivery_always) {
      wanted.push_back(entry);
    }
    // Not repeatable: its sidecar may only be cut off. It waits for the lease.
  }
  claim_from(queue, consumer, std::move(wanted), Obtained::taken_over);
  if (unknown.empty()) return;
  if (unknown.size() > kLookLimit) unknown.resize(kLookLimit);  // the next look sees the rest
  bus_.read_entries(options_.queues[queue], std::move(unknown),
                    [this, queue, consumer, entries](Result<std::vector<messaging::OwnedEntry>> read) {
                      if (!read || is_draining_ || !is_service_ready_) return;
                      if (repeatable_seen_.size() > kRepeatableSeenLimit) repeatable_seen_.clear();
                      std::vector<PendingEntry> repeatable;
                      for (const messaging::OwnedEntry& entry : *read) {
                        auto frame = decoder_.decode(views_of(entry));
                        const auto* request = frame ? std::get_if<frames::Request>(&*frame) : nullptr;
                        const bool may = request == nullptr || request->repeatable || options_.redelivery_always;
                        repeatable_seen_[{queue, entry.id}] = may;
                        const auto at = std::find_if(entries.begin(), entries.end(), [&](const PendingEntry& pending) {
                          return pending.id == entry.id;
                        });
                        if (may && at != entries.end()) repeatable.push_back(*at);
                      }
                      claim_from(queue, consumer, std::move(repeatable), Obtained::taken_over);
                    });
}

void Consumer::claim_from(std::size_t queue, const std::string& consumer, std::vector<PendingEntry> entries,
                          Obtained obtained) {
  // More than the service may have at once would only wait here instead of at a peer.
  const std::size_t held = waiting_.size() + claims_under_way_;
  const std::size_t most =
      held >= options_.max_in_flight ? 0 : std::min<std::size_t>(options_.max_in_flight - held, kLookLimit);
  if (entries.size() > most) {
    entries.resize(most);
    look_within(kLookBacklog);
  }
  // No claim while we ask what is ours: its answer would be a moment old.
  if (entries.empty() || own_lookups_ > 0) return;
  ++claims_;
  const std::size_t asked = entries.size();
  claims_under_way_ += asked;
  bus_.claim(options_.queues[queue], options_.instance, consumer, std::move(entries),
             [this, queue, obtained, asked](Result<std::vector<ClaimedEntry>> claimed) {
               --claims_;
               claims_under_way_ -= asked;
               if (claimed) {
                 if (obtained == Obtained::taken_over) counters_.taken_over += claimed->size();
                 obtain_claimed(queue, std::move(*claimed), obtained);
               } else if (claimed.error().code == Code::outcome_unknown) {
                 must_look_for_own_ = true;
               }
               read_more();
               check_drained();
             });
}

void Consumer::keep_inbox() {
  inbox_timer_.arm(limits::kStreamTtlRefresh);
  if (!bus_.is_connected()) return;
  bus_.refresh_ttl(options_.inbox, limits::kStreamTtl, [this](Result<bool> is_there) {
    if (!is_there || *is_there) return;
    bus_.ensure_stream(options_.inbox, limits::kStreamTtl, inbox_cursor_, [this](Result<bool> made) {
      if (made && *made) handler_.on_bus_emptied();
    });
  });
  // Where nothing was delivered there is less and less to sweep: what a peer left behind when it died.
  if (active_at_ > swept_for_) ticks_between_sweeps_ = ticks_to_sweep_ = 1;
  if (--ticks_to_sweep_ > 0) return;
  swept_for_ = loop_.now();
  // Once more after the usual time: what was still pending in front of the settled ones ends by then.
  ticks_to_sweep_ = ticks_between_sweeps_;
  ticks_between_sweeps_ = std::min(2 * ticks_between_sweeps_, kMostTicksBetweenSweeps);
  for (const std::string& queue : options_.queues) {
    // Consumers of instances that are gone for ten leases and own nothing.
    bus_.sweep(queue, options_.instance, millis(options_.lease) * 10, {});
  }
}

// --- drain ----------------------------------------------------------------------------------------------------------

void Consumer::drain(base::UniqueFunction<void()> done) {
  if (is_draining_) return;
  is_draining_ = true;
  on_drained_ = std::move(done);
  announce_reading();
  if (reader_ != nullptr && reader_->is_reading()) reader_->unblock();
  std::vector<Serial> serials;
  for (const auto& [serial, slot] : slots_) {
    if (slot->state == SlotState::receiving || slot->state == SlotState::waiting) serials.push_back(serial);
  }
  for (const Serial serial : serials) {
    if (Slot* slot = find(serial)) hand_back_or_fail(*slot, "draining");
  }
  waiting_.clear();
  read_more();
  loop_.defer([this] { check_drained(); });
}

void Consumer::check_drained() {
  if (!is_draining_ || !on_drained_ || !slots_.empty() || (reader_ != nullptr && reader_->is_reading())) return;
  // What a reply still brings, or a lost one brought, is handed back first.
  if (claims_ > 0 || own_lookups_ > 0 || (must_look_for_own_ && has_groups_)) return;
  auto done = std::move(on_drained_);
  loop_.defer(std::move(done));
}

}  // namespace outrigger::router
