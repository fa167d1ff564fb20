#include "bridge/router/dispatcher.h"

#include <algorithm>
#include <utility>

#include "bridge/base/ids.h"
#include "bridge/base/log.h"
#include "bridge/router/back_off.h"

namespace outrigger::router {
namespace {

using base::Code;
using base::Duration;
using base::Result;
using frames::Fault;
using messaging::EntryId;
using messaging::EntryView;
using namespace std::chrono_literals;
namespace limits = base::limits;

constexpr Duration kTick = 500ms;
constexpr Duration kNobodyAfter = 1s;           // a request that waits for longer asks who is behind its address
constexpr Duration kLookAfter = 3s;              // one that waits for longer may be with somebody who hangs
constexpr Duration kLookEvery = 5s;
constexpr Duration kReconnectGrace = limits::kReconnectCap + 1s;
constexpr Duration kTrimAfter = 5ms;            // a 100 ms trim costs 40 % at 64 KiB bodies
constexpr std::size_t kTrimBytes = 4 * limits::kMiB;
constexpr Duration kFirstPrepareRetry = 100ms;  // doubled up to limits::kReconnectCap

ProblemCode problem_of(Fault fault) {
  switch (fault) {
    case Fault::service_unreachable: return ProblemCode::service_unreachable;
    case Fault::bad_answer: return ProblemCode::bad_answer;
    case Fault::outcome_unknown: return ProblemCode::outcome_unknown;
    case Fault::timeout: return ProblemCode::timeout;
    case Fault::expired: return ProblemCode::timeout;
    case Fault::body_too_large: return ProblemCode::body_too_large;
    case Fault::unavailable: return ProblemCode::no_instance;
  }
  return ProblemCode::bad_answer;
}

}  // namespace

// What the call waits for.
enum class Dispatcher::PendingState : std::uint8_t {
  publishing,  // the reply to XADD
  unknown,     // the bus: written, and the connection was lost before the reply
  waiting,     // an answer
  answering,   // the rest of an answer whose head is bound
  ended,       // nothing: only the handle is still there
};

struct Dispatcher::Pending {
  Pending(Dispatcher& owner, CallHandler& call_handler)
      : handler(call_handler), timer(owner.loop_, [this, &owner] { owner.on_deadline(*this); }) {}

  CallHandler& handler;
  frames::Request request;
  std::string service;
  std::string queue;
  bool notify = false;             // its readers may have to be woken
  std::string body;                // of a streamed request, until the end
  frames::Accept accept;           // who asked for it last
  bool has_broken_body = false;    // the connection was lost while it was being written
  std::uint32_t body_rounds = 0;   // how often it was sent
  PendingState state = PendingState::publishing;
  EntryId entry;
  bool has_entry = false;
  bool may_be_out = false;         // an attempt of this id was written, or may have been, and was not taken back
  std::string published_under;     // incarnation
  base::TimePoint sent_at;
  base::TimePoint deadline;
  std::string bound_instance;      // of the first RESPONSE head
  std::uint32_t bound_attempt = 0;
  std::uint64_t next_data = 1;
  net::Timer timer;
};

Dispatcher::Dispatcher(net::EventLoop& loop, messaging::Bus& bus, const frames::QueueNames& names, Options options,
                       base::UniqueFunction<void(std::vector<std::string>)> on_instances_lost)
    : loop_(loop),
      bus_(bus),
      names_(names),
      options_(std::move(options)),
      on_instances_lost_(std::move(on_instances_lost)),
      decoder_(names),
      reply_to_(names.reply_stream(options_.gateway, options_.worker, 1)),
      reader_(bus.make_cursor_reader({{reply_to_, {}}}, *this)),
      prepare_timer_(loop, [this] { prepare_reply_stream(); }),
      refresh_timer_(loop, [this] {
        refresh_timer_.arm(limits::kStreamTtlRefresh);
        bus_.refresh_ttl(reply_to_, limits::kStreamTtl, [this](Result<bool> is_there) {
          if (is_there && !*is_there) prepare_reply_stream();
        });
      }),
      tick_timer_(loop, [this] { tick(); }),
      trim_timer_(loop, [this] { trim(); }) {
  bus_.add_observer(*this);
  refresh_timer_.arm(limits::kStreamTtlRefresh);
  if (bus_.is_connected()) prepare_reply_stream();
}

Dispatcher::~Dispatcher() { bus_.remove_observer(*this); }

// --- the reply stream -----------------------------------------------------------------------------------------------

void Dispatcher::on_bus_connected(bool is_new_incarnation) {
  is_preparing_ = false;
  // What was written to the old server may be gone with it; under the same one only what got no reply is in doubt.
  must_write_all_again_ = must_write_all_again_ || is_new_incarnation;
  prepare_reply_stream();
}

void Dispatcher::on_bus_lost(const base::Error&) {
  is_reply_stream_ready_ = false;
  is_preparing_ = false;
}

void Dispatcher::prepare_reply_stream() {
  if (!bus_.is_connected() || is_preparing_) return;
  is_preparing_ = true;
  bus_.ensure_stream(reply_to_, limits::kStreamTtl, cursor_, [this](Result<bool> made) {
    is_preparing_ = false;
    if (!made) {
      if (made.error().code == Code::closed || made.error().code == Code::outcome_unknown) return;
      // The bus has told why, once; here is one line per try.
      base::log_debug("cannot make the reply stream", {{"stream", reply_to_}, {"why", made.error().detail}});
      is_reply_stream_ready_ = false;
      prepare_timer_.arm(jittered(prepare_backoff_));
      prepare_backoff_ = std::min<Duration>(limits::kReconnectCap, prepare_backoff_ * 2);
      return;
    }
    prepare_backoff_ = kFirstPrepareRetry;
    is_reply_stream_ready_ = true;
    // Had it been there, it is gone: Valkey was emptied under us, and the requests with it.
    write_again(std::exchange(must_write_all_again_, false) || *made);
  });
}

void Dispatcher::write_again(bool all_repeatable) {
  std::vector<std::string> ids;
  for (const auto& [id, call] : calls_) {
    if (!call->request.repeatable) continue;
    const bool is_in_doubt = call->state == PendingState::unknown;
    if (is_in_doubt || (all_repeatable && call->state == PendingState::waiting)) ids.push_back(id);
  }
  for (const std::string& id : ids) {
    Pending* call = find(id);
    if (call == nullptr) continue;
    ++counters_.republished;
    send(*call);
  }
  // A body that was under way: what arrived is skipped by its receiver, and it may be begun only once it is whole.
  std::vector<frames::Accept> accepted;
  for (const auto& [id, call] : calls_) {
    if (call->has_broken_body) accepted.push_back(call->accept);
  }
  for (const frames::Accept& accept : accepted) on_accept(accept);
}

void Dispatcher::trim() {
  if (cursor_ <= trimmed_) return;
  trimmed_ = cursor_;
  untrimmed_bytes_ = 0;
  bus_.trim(reply_to_, cursor_);
}

void Dispatcher::close() {
  bus_.remove_key(reply_to_);
  is_reply_stream_ready_ = false;
  refresh_timer_.cancel();
}

// --- out ------------------------------------------------------------------------------------------------------------

Dispatcher::Handle Dispatcher::call(Call call, CallHandler& handler) {
  ++counters_.calls;
  std::string id = base::new_request_id();
  auto owned = std::make_unique<Pending>(*this, handler);
  Pending& pending = *owned;
  pending.service = std::move(call.service);
  pending.deadline = loop_.now() + call.timeout;
  frames::Request& request = pending.request;
  request.id = id;
  request.method = std::move(call.method);
  request.target = std::move(call.target);
  request.scheme = std::move(call.scheme);
  request.authority = std::move(call.authority);
  request.headers = std::move(call.headers);
  request.reply_to = reply_to_;
  request.repeatable = call.repeatable;
  request.max_attempts = options_.max_attempts;
  request.wake = options_.wake;
  request.traceparent = std::move(call.traceparent);
  request.tracestate = std::move(call.tracestate);
  if (call.body.size() > limits::kInlineBodyBytes) {
    request.streamed = frames::StreamedBody{call.body.size()};
    pending.body = std::move(call.body);
  } else {
    request.body = std::move(call.body);
  }
  calls_.emplace(id, std::move(owned));

  // Admission, before anything is written.
  const AddressBook::Entry* address = book_->find(pending.service);
  if (!bus_.is_connected() || !is_reply_stream_ready_) {
    fail_later(id, ProblemCode::bus_unavailable, "the bus is not connected");
  } else if (address == nullptr) {
    fail_later(id, ProblemCode::no_instance, "no live instance");
  } else if (calls_.size() > options_.max_pending) {
    fail_later(id, ProblemCode::queue_full, "too many requests pending in this worker");
  } else if (Depth& depth = depths_[address->queue];
             std::max<std::uint64_t>(depth.in_flight, depth.sampled) >= options_.max_queue_depth) {
    fail_later(id, ProblemCode::queue_full, "the service's queue is full");
    arm_tick();  // the sample is looked at again, or forgotten
  } else {
    pending.queue = address->queue;
    ++depth.in_flight;
    pending.timer.arm_at(pending.deadline);
    send(pending);
    arm_tick();
  }
  return Handle(*this, std::move(id));
}

void Dispatcher::send(Pending& call) {
  call.state = PendingState::publishing;
  call.has_entry = false;
  call.sent_at = loop_.now();
  call.published_under = bus_.incarnation();
  call.request.bus = call.published_under;
  // The error of our estimate shortens the budget: nobody works for a caller that is gone.
  const auto budget = std::chrono::duration_cast<std::chrono::milliseconds>(call.deadline - loop_.now()).count();
  call.request.deadline_ms = bus_.now_ms() + budget - bus_.clock_error_ms();
  const auto encoded = frames::encode(call.request);
  if (!encoded) {
    fail_later(call.request.id,
               encoded.error().code == Code::too_large ? ProblemCode::headers_too_large : ProblemCode::bad_request,
               encoded.error().detail);
    return;
  }
  ++counters_.published;
  const AddressBook::Entry* address = book_->find(call.service);
  if (address != nullptr && address->queue == call.queue) call.notify = address->notify;
  bus_.publish(call.queue, *encoded, {.notify = call.notify},
               [this, id = call.request.id](Result<std::optional<EntryId>> result) { on_published(id, std::move(result)); });
}

void Dispatcher::on_published(const std::string& id, Result<std::optional<EntryId>> result) {
  Pending* call = find(id);
  if (call == nullptr || call->state != PendingState::publishing) return;
  if (result && result->has_value()) {
    call->state = PendingState::waiting;
    call->entry = **result;
    call->has_entry = true;
    call->may_be_out = true;
    return;
  }
  if (!result && result.error().code == Code::outcome_unknown) {
    // It may have been written, or may still be. Written again only if it may run twice: with the reply stream, or at
    // the next tick.
    call->state = PendingState::unknown;
    call->may_be_out = true;
    return;
  }
  // Definite: nothing was written by this attempt.
  const AddressBook::Entry* address = book_->find(call->service);
  if (result && address != nullptr && address->queue != call->queue) {
    --depths_[call->queue].in_flight;
    call->queue = address->queue;
    ++depths_[call->queue].in_flight;
    return send(*call);
  }
  // An earlier attempt of the same id may still be answered, and the queue be about to be made anew. Only a repeatable
  // request comes here: it is written again until somebody answers or nobody is left.
  if (call->may_be_out && address != nullptr) {
    call->state = PendingState::unknown;
    return;
  }
  if (result) return fail(*call, ProblemCode::no_instance, "the service's queue does not exist");
  fail(*call, ProblemCode::bus_unavailable, result.error().detail);
}

// --- home -----------------------------------------------------------------------------------------------------------

void Dispatcher::on_entries(const std::string&, std::span<const EntryView> entries) {
  last_heard_ = loop_.now();
  for (const EntryView& entry : entries) {
    cursor_ = std::max(cursor_, entry.id);
    for (const auto& field : entry.fields) untrimmed_bytes_ += field.value.size();
    auto frame = decoder_.decode(entry.fields);
    if (!frame) {
      ++counters_.malformed;
      continue;
    }
    if (auto* response = std::get_if<frames::Response>(&*frame)) {
      on_response(std::move(*response));
    } else if (auto* data = std::get_if<frames::StreamData>(&*frame)) {
      on_response_data(std::move(*data));
    } else if (const auto* accept = std::get_if<frames::Accept>(&*frame)) {
      on_accept(*accept);
    } else {
      ++counters_.malformed;
    }
  }
  if (untrimmed_bytes_ > kTrimBytes) {
    trim();
  } else if (!trim_timer_.is_armed()) {
    trim_timer_.arm(kTrimAfter);
  }
}

Dispatcher::Pending* Dispatcher::find(const std::string& id) {
  const auto at = calls_.find(id);
  return at == calls_.end() ? nullptr : at->second.get();
}

void Dispatcher::on_response(frames::Response response) {
  Pending* call = find(response.id);
  if (call == nullptr || call->state == PendingState::ended || call->state == PendingState::answering) {
    ++counters_.late_answers;
    return;
  }
  // By our clock it is not; or another incarnation than ours was compared.
  if (response.fault == Fault::expired || response.fault == Fault::outcome_unknown) bus_.doubt_server();
  if (response.fault) return fail(*call, problem_of(*response.fault), response.detail);
  if (response.end) {
    ++counters_.answered;
    end(*call);
    return call->handler.on_answer(std::move(response));
  }
  call->state = PendingState::answering;
  call->bound_instance = response.instance;
  call->bound_attempt = response.attempt;
  call->handler.on_answer(std::move(response));
}

void Dispatcher::on_response_data(frames::StreamData data) {
  Pending* call = find(data.id);
  if (call == nullptr || call->state != PendingState::answering || data.instance != call->bound_instance ||
      data.attempt != call->bound_attempt) {
    ++counters_.late_answers;
    return;
  }
  if (data.abort) return fail(*call, ProblemCode::bad_answer, "the instance broke the answer off: " + data.detail);
  // A gap is a piece whose publication failed (OOM, say): its sender knows, and publishes the whole answer again from its
  // head. What is known is skipped then, and what is beyond the gap comes once more; else the deadline ends it.
  if (data.seq != call->next_data) return;
  ++call->next_data;
  const std::string id = data.id;
  if (data.end) {
    ++counters_.answered;
    end(*call);
  }
  CallHandler& handler = call->handler;
  if (!data.body.empty()) handler.on_answer_body(std::move(data.body));
  // The handler may have destroyed the handle, and with it the call.
  if (data.end && find(id) != nullptr) handler.on_answer_end();
}

void Dispatcher::on_accept(const frames::Accept& accept) {
  Pending* call = find(accept.id);
  if (call == nullptr || !call->request.streamed || call->state == PendingState::ended ||
      call->state == PendingState::answering) {
    ++counters_.late_answers;
    return;
  }
  call->accept = accept;
  call->has_broken_body = false;
  ++call->body_rounds;
  frames::StreamData piece;
  piece.type = frames::FrameType::request_stream_data;
  piece.id = accept.id;
  piece.instance = accept.instance;
  piece.attempt = accept.attempt;
  for (std::size_t at = 0; at < call->body.size(); at += limits::kInlineBodyBytes) {
    piece.body = call->body.substr(at, limits::kInlineBodyBytes);
    piece.end = at + limits::kInlineBodyBytes >= call->body.size();
    const auto encoded = frames::encode(piece);
    CHECK(encoded.has_value());
    const bool notify = accept.wake == frames::WakeMode::notify;
    bus_.publish(accept.inbox, *encoded, {.notify = notify}, [this, id = accept.id](Result<std::optional<EntryId>> result) {
      if (result && result->has_value()) return;
      Pending* waiting = find(id);
      if (waiting == nullptr || waiting->state == PendingState::ended) return;
      if (!result && (result.error().code == Code::outcome_unknown || result.error().code == Code::closed)) {
        waiting->has_broken_body = true;  // all of it once more when the bus is back
        return;
      }
      // A piece was certainly not written: this body never becomes whole, and the request never begins. Unless it was sent
      // before: then the deadline decides.
      if (waiting->body_rounds == 1) fail(*waiting, ProblemCode::bus_unavailable, "the body could not be handed over");
    });
    ++piece.seq;
  }
}

// --- ends -----------------------------------------------------------------------------------------------------------

void Dispatcher::end(Pending& call) {
  if (call.state == PendingState::ended) return;
  call.state = PendingState::ended;
  call.timer.cancel();
  if (!call.queue.empty()) --depths_[call.queue].in_flight;
}

void Dispatcher::fail(Pending& call, ProblemCode code, std::string_view detail) {
  if (call.state == PendingState::ended) return;
  ++counters_.failed;
  end(call);
  call.handler.on_call_failed(code, detail);
}

void Dispatcher::fail_later(const std::string& id, ProblemCode code, std::string detail) {
  loop_.defer([this, id, code, detail = std::move(detail)] {
    if (Pending* call = find(id)) fail(*call, code, detail);
  });
}

void Dispatcher::on_deadline(Pending& call) {
  cancel(call, "deadline", false);  // who has not begun it sees that by itself
  fail(call, ProblemCode::timeout, "no answer by the deadline");
}

void Dispatcher::forget(const std::string& id) {
  const auto at = calls_.find(id);
  if (at == calls_.end()) return;
  cancel(*at->second, "client left", true);
  end(*at->second);
  loop_.release(std::move(at->second));
  calls_.erase(at);
}

// --- cancel ---------------------------------------------------------------------------------------------------------

// Advisory: nothing depends on its arrival. `is_kept`: for sidecars that are away now.
void Dispatcher::cancel(const Pending& call, std::string_view reason, bool is_kept) {
  const bool is_out = call.state == PendingState::publishing || call.state == PendingState::unknown ||
                      call.state == PendingState::waiting;
  if (!is_out || call.queue.empty() || !bus_.is_connected()) return;
  auto text = frames::encode_cancel({call.request.id, std::string(reason)});
  if (!text) return;
  ++counters_.cancelled;
  if (!is_kept) return bus_.tell(names_.cancel_channel(call.service), std::move(*text));
  if (cancellations_.empty()) loop_.defer([this] { flush_cancellations(); });
  // A second for the server's clock and ours to disagree.
  cancellations_[call.service].push_back({std::move(*text), call.request.deadline_ms + 1000});
}

void Dispatcher::flush_cancellations() {
  for (auto& [service, cancellations] : std::exchange(cancellations_, {})) {
    bus_.cancel(names_.cancel_channel(service), names_.cancelled_set(service), std::move(cancellations));
  }
}

// --- nobody there ---------------------------------------------------------------------------------------------------

void Dispatcher::arm_tick() {
  if (!tick_timer_.is_armed()) tick_timer_.arm(kTick);
}

void Dispatcher::tick() {
  if (calls_.empty()) {
    depths_.clear();  // nothing is in flight anywhere; what was sampled is old
    return;
  }
  arm_tick();
  if (!bus_.is_connected()) return;
  // Requests are out and nothing comes: the stream they are answered to may have been deleted.
  if (loop_.now() - last_heard_ > kNobodyAfter) {
    prepare_reply_stream();
  } else if (is_reply_stream_ready_) {
    write_again(false);
  }

  struct Waiting {
    std::string service;
    std::vector<std::string> ids;
    bool is_long = false;
  };
  std::map<std::string, Waiting> by_queue;
  for (const auto& [id, call] : calls_) {
    const bool is_unknown = call->state == PendingState::unknown && call->request.repeatable;
    const bool waits = call->state == PendingState::waiting && loop_.now() - call->sent_at >= kNobodyAfter;
    if (!waits && !is_unknown) continue;
    Waiting& waiting = by_queue[call->queue];
    waiting.service = call->service;
    waiting.is_long = waiting.is_long || loop_.now() - call->sent_at >= kLookAfter;
    // Only what this server has certainly got and no other one is taken back: of the present incarnation. What cannot be
    // written again asks for the dead, too, so that the address book learns of them.
    if (is_unknown || (call->has_entry && call->published_under == bus_.incarnation())) waiting.ids.push_back(id);
  }
  for (auto& [queue, waiting] : by_queue) {
    bus_.queue_length(queue, [this, queue = queue](Result<std::uint64_t> length) {
      // Calls may all have ended meanwhile: a late length is no news.
      const auto depth = depths_.find(queue);
      if (length && depth != depths_.end()) depth->second.sampled = *length;
    });
    // Idle instances look seldom: one that hangs, or whose machine is gone, still seems to be there.
    if (Depth& depth = depths_[queue]; waiting.is_long && loop_.now() - depth.said_look >= kLookEvery) {
      depth.said_look = loop_.now();
      bus_.tell(names_.cancel_channel(waiting.service), frames::encode_look());
    }
    if (!waiting.ids.empty() && loop_.now() - bus_.connected_since() > kReconnectGrace) {
      look_for_nobody(waiting.service, queue, std::move(waiting.ids));
    }
  }
  for (auto& [queue, depth] : depths_) {
    if (!by_queue.contains(queue)) depth.sampled = 0;  // everything at this address is answered within a second
  }
}

void Dispatcher::look_for_nobody(const std::string& service, const std::string& queue, std::vector<std::string> ids) {
  const AddressBook::Entry* address = book_->find(service);
  std::vector<std::string> instances;
  if (address != nullptr && address->queue == queue) instances = address->instances;
  if (address != nullptr && address->queue != queue) return take_back(queue, ids);
  if (instances.empty()) return take_back(queue, ids);
  std::vector<std::string> channels;
  for (const std::string& instance : instances) channels.push_back(names_.alive_channel(service, instance));
  bus_.subscribers(std::move(channels), [this, service, queue, instances, ids = std::move(ids)](
                                            Result<std::vector<std::uint64_t>> counts) mutable {
    if (!counts || counts->size() != instances.size()) return;
    std::vector<std::string> lost;
    for (std::size_t i = 0; i < instances.size(); ++i) {
      if ((*counts)[i] == 0) lost.push_back(instances[i]);
    }
    if (lost.size() == instances.size()) {
      take_back(queue, ids);
    } else if (!lost.empty()) {
      bus_.tell(names_.cancel_channel(service), frames::encode_look());
    }
    if (!lost.empty() && on_instances_lost_) on_instances_lost_(std::move(lost));
  });
}

void Dispatcher::take_back(const std::string& queue, const std::vector<std::string>& ids) {
  take_back(queue, ids, true);
  take_back(queue, ids, false);
}

// What may not run twice is given up only if it was certainly not begun; else it waits for its answer.
void Dispatcher::take_back(const std::string& queue, const std::vector<std::string>& ids, bool repeatable) {
  std::vector<EntryId> entries;
  std::map<EntryId, std::string> owners;
  for (const std::string& id : ids) {
    const Pending* call = find(id);
    if (call == nullptr || call->state != PendingState::waiting || !call->has_entry) continue;
    if (call->request.repeatable != repeatable) continue;
    entries.push_back(call->entry);
    owners.emplace(call->entry, id);
  }
  if (entries.empty()) return;
  bus_.take(queue, std::move(entries), !repeatable, [this, owners = std::move(owners)](Result<std::vector<EntryId>> taken) {
    if (!taken) {
      // Not known to be ours again: it waits for its answer or its deadline, or is written again if it may run twice.
      if (taken.error().code != Code::outcome_unknown) return;
      for (const auto& [entry, id] : owners) {
        Pending* call = find(id);
        if (call == nullptr || call->state != PendingState::waiting || !call->request.repeatable) continue;
        call->state = PendingState::unknown;
      }
      return;
    }
    for (const EntryId entry : *taken) {
      const auto owner = owners.find(entry);
      Pending* call = owner == owners.end() ? nullptr : find(owner->second);
      if (call == nullptr || call->state != PendingState::waiting) continue;
      ++counters_.taken_back;
      call->may_be_out = false;
      const AddressBook::Entry* other = book_->find(call->service);
      if (other != nullptr && other->queue != call->queue) {
        // Re-homed: it is nowhere now, and goes to the address that has somebody, with what is left of its time.
        --depths_[call->queue].in_flight;
        call->queue = other->queue;
        ++depths_[call->queue].in_flight;
        send(*call);
      } else {
        fail(*call, ProblemCode::no_instance, "no instance is alive");
      }
    }
  });
}

}  // namespace outrigger::router
