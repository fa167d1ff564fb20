#include "sidecar/registration.h"

#include <utility>

#include "bridge/base/ids.h"
#include "bridge/base/limits.h"
#include "bridge/base/log.h"

namespace outrigger::sidecar {
namespace {

using base::Result;
using frames::FrameType;
using frames::InstanceState;
using namespace std::chrono_literals;
namespace limits = base::limits;

constexpr base::Duration kMetadataTtl = std::chrono::hours(24 * 7);
constexpr base::Duration kRefreshInterval = 10min;  // gateways ask at once where it is missing
constexpr base::Duration kRetry = 500ms;

}  // namespace

Registration::Registration(net::EventLoop& loop, messaging::Bus& bus, const frames::QueueNames& names, Options options)
    : loop_(loop),
      bus_(bus),
      names_(names),
      identity_(std::move(options.identity)),
      interval_(options.interval),
      beat_timer_(loop, [this] { beat(false); }) {
  identity_.state = InstanceState::starting;
  bus_.add_observer(*this);
}

Registration::~Registration() { bus_.remove_observer(*this); }

void Registration::set_metadata(const openapi::EncodedMetadata& metadata) {
  if (metadata.hash == identity_.metadata_hash) return;
  metadata_bytes_ = metadata.bytes;
  identity_.metadata_hash = metadata.hash;
  announce();
}

void Registration::set_state(InstanceState state) {
  if (identity_.state == state || is_over_) return;
  identity_.state = state;
  if (has_said_hello_) {
    beat(true);  // a change of state is sent at once
  } else {
    announce();
  }
}

void Registration::on_bus_connected(bool) { announce(); }
void Registration::on_bus_lost(const base::Error&) { has_said_hello_ = false; }
void Registration::on_bus_emptied() {
  has_said_hello_ = false;  // it went with the control stream
  announce();
}

void Registration::announce() {
  if (!bus_.is_connected() || identity_.metadata_hash.empty() || identity_.state == InstanceState::starting || is_over_) {
    return;
  }
  store_metadata(true);
}

void Registration::store_metadata(bool announce_update) {
  const std::string key = names_.endpoints_key(identity_.service, identity_.metadata_hash);
  refreshed_at_ = loop_.now();
  // The TTL is refreshed where the bytes are there: one copy, however many replicas.
  bus_.refresh_ttl(key, kMetadataTtl, [this, key, announce_update](Result<bool> is_there) {
    if (!is_there) {
      const base::Code code = is_there.error().code;
      const bool comes_again_with_the_bus = code == base::Code::closed || code == base::Code::outcome_unknown;
      if (announce_update && !comes_again_with_the_bus) beat_timer_.arm(kRetry);
      return;
    }
    const auto go_on = [this, announce_update] {
      if (!announce_update || is_over_) return;
      if (!has_said_hello_) say(FrameType::hello);
      say_endpoints();
    };
    if (*is_there) return go_on();
    bus_.set(key, metadata_bytes_, kMetadataTtl, false, [this, go_on](Result<bool> result) {
      if (result) return go_on();
      if (result.error().code == base::Code::closed || result.error().code == base::Code::outcome_unknown) return;
      base::log_debug("cannot store the service's metadata", {{"why", result.error().detail}});
      refreshed_at_ = loop_.now() - kRefreshInterval;  // with the next heartbeat, not in ten minutes
      beat_timer_.arm(kRetry);
    });
  });
}

void Registration::say(FrameType type, bool is_news) {
  identity_.type = type;
  identity_.seq = ++seq_;
  identity_.interval_ms =
      static_cast<std::uint32_t>(std::chrono::duration_cast<std::chrono::milliseconds>(interval_).count());
  const auto frame = frames::encode(identity_);
  if (!frame) return base::log_error("cannot encode a control frame", {{"why", frame.error().detail}});
  bus_.publish(names_.control(), *frame, publish_options(is_news), [this, type](Result<std::optional<messaging::EntryId>> result) {
    if (result) {
      if (type == FrameType::hello) {
        has_said_hello_ = true;
        base::log_info("registered", {{"service", identity_.service}, {"instance", identity_.instance}});
      }
      return;
    }
    if (!is_over_) beat_timer_.arm(kRetry);
  });
  if (is_over_) return;
  // Jitter of a tenth: a fleet started at once does not beat in step.
  const auto tenth = std::chrono::duration_cast<std::chrono::microseconds>(interval_ / 10).count();
  beat_timer_.arm(interval_ - std::chrono::microseconds(
                                  base::random_below(static_cast<std::uint64_t>(std::max<std::int64_t>(tenth, 1)))));
}

// Gateways in wake mode `notify` look at the control stream every second. Where we know that mode to be in use, ours, they
// are told of news at once; a heartbeat that says nothing new costs no PUBLISH.
messaging::Bus::PublishOptions Registration::publish_options(bool is_news) const {
  return {.may_create = true,
          .max_length = limits::kControlStreamEntries,
          .notify = is_news && identity_.wake == frames::WakeMode::notify};
}

void Registration::say_endpoints() {
  frames::EndpointsUpdate update;
  update.instance = identity_.instance;
  update.seq = ++seq_;
  update.service = identity_.service;
  update.service_version = identity_.service_version;
  update.metadata_hash = identity_.metadata_hash;
  update.metadata_key = names_.endpoints_key(identity_.service, identity_.metadata_hash);
  const auto frame = frames::encode(update);
  if (!frame) return base::log_error("cannot encode a control frame", {{"why", frame.error().detail}});
  bus_.publish(names_.control(), *frame, publish_options(true), [](Result<std::optional<messaging::EntryId>>) {});
}

void Registration::beat(bool is_news) {
  if (is_over_ || !bus_.is_connected()) return;
  if (!has_said_hello_) return announce();
  say(FrameType::heartbeat, is_news);
  if (loop_.now() - refreshed_at_ >= kRefreshInterval) store_metadata(false);
}

void Registration::on_resync_requested(const frames::ResyncRequest& request) {
  if (!request.metadata_hash.empty() && request.metadata_hash != identity_.metadata_hash) return;
  // Without a hash it is an operator who asks, for all we have said.
  if (request.metadata_hash.empty() && has_said_hello_) say(FrameType::hello);
  announce();
}

void Registration::say_goodbye() {
  if (std::exchange(is_over_, true)) return;
  beat_timer_.cancel();
  // Also when the reply to HELLO is still out.
  if (seq_ > 0 && bus_.is_connected()) say(FrameType::goodbye);
}

}  // namespace outrigger::sidecar
