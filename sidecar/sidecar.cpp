#include "sidecar/sidecar.h"

#include <nlohmann/json.hpp>
#include <utility>

#include "bridge/app/process.h"
#include "bridge/base/ids.h"
#include "bridge/base/log.h"

namespace outrigger::sidecar {
namespace {

using frames::InstanceState;
using namespace std::chrono_literals;

// Whoever reads is seen each block time; one that is not, and owns nothing, makes the queue anew should it come back.
constexpr std::chrono::milliseconds kDeadAfter = 15s;
constexpr std::chrono::milliseconds kSeenLate = 10s;  // more than the block time may pass before it is seen again
constexpr base::Duration kLeaveTime = 1s;  // for goodbye and the removal of what is ours, after the drain

net::Endpoint endpoint_of(const base::HostPort& upstream) { return net::Endpoint::tcp(upstream.host, upstream.port); }

// Every address this instance answers to, narrow ones first.
std::vector<std::string> addresses(const SidecarConfig& config, const frames::QueueNames& names) {
  const auto& service = config.service;
  std::vector<std::string> queues;
  if (!service.region.empty()) {
    queues.push_back(names.request_queue(service.name, service.version, service.region));
    queues.push_back(names.request_queue(service.name, {}, service.region));
  }
  queues.push_back(names.request_queue(service.name, service.version));
  queues.push_back(names.request_queue(service.name));
  return queues;
}

frames::InstanceFrame identity(const SidecarConfig& config, const frames::QueueNames& names, const std::string& instance,
                               const std::vector<std::string>& queues, const std::string& inbox) {
  frames::InstanceFrame frame;
  frame.instance = instance;
  frame.service = config.service.name;
  frame.service_version = config.service.version;
  frame.region = config.service.region;
  frame.queues = queues;
  frame.group = names.consumer_group();
  frame.inbox = inbox;
  frame.wake = config.messaging.wake_mode;
  return frame;
}

openapi::ServiceMetadata metadata_of(const SidecarConfig::Service& service) {
  openapi::ServiceMetadata metadata;
  metadata.service = service.name;
  metadata.service_version = service.version;
  metadata.mount = service.mount;
  metadata.refuse_unlisted = service.unlisted_paths == UnlistedPaths::refuse;
  metadata.rewrite_location = service.rewrite_location;
  metadata.idempotency_key = service.idempotency_key;
  for (const std::string& text : service.repeatable) metadata.endpoints.push_back(*openapi::parse_operation(text));
  return metadata;
}

router::Consumer::Options consumer_options(const SidecarConfig& config, const std::string& instance,
                                           const std::vector<std::string>& queues, const std::string& inbox,
                                           base::Budget& buffered) {
  router::Consumer::Options options;
  options.service = config.service.name;
  options.instance = instance;
  options.queues = queues;
  options.inbox = inbox;
  options.max_in_flight = static_cast<std::uint32_t>(config.max_in_flight);
  options.batch_size = static_cast<std::uint32_t>(config.messaging.batch_size);
  options.lease = config.messaging.lease_duration;
  options.wake = config.messaging.wake_mode;
  options.redelivery_always = config.messaging.redelivery == app::Redelivery::always;
  options.dead_letters = {config.messaging.dead_letters, config.messaging.dead_letter_bytes};
  options.keeps_expired = config.messaging.dead_letter_expired;
  options.body_limit = config.limits.body_bytes;
  options.buffered = &buffered;
  return options;
}

http1::ClientPoolOptions pool_options(const SidecarConfig& config) {
  http1::ClientPoolOptions options;
  options.max_connections = static_cast<std::size_t>(config.max_in_flight);
  options.limits.body_bytes = config.limits.body_bytes;
  options.connect_timeout = config.limits.connect_timeout;
  options.head_timeout = config.limits.head_timeout;
  options.body_timeout = config.limits.body_timeout;
  options.write_timeout = config.limits.write_timeout;
  options.idle_lifetime = config.limits.idle_timeout;
  return options;
}

// As telemetry::flag has them; docs/http.md tells operators.
std::string_view flag_of(const router::EndedDelivery& ended, bool is_service_healthy) {
  namespace flag = telemetry::flag;
  using router::DeliveryEnd;
  if (ended.is_undelivered) return flag::kDownstreamClosed;
  switch (ended.end) {
    case DeliveryEnd::answered: return flag::kNone;
    case DeliveryEnd::timeout:
    case DeliveryEnd::expired: return flag::kUpstreamTimeout;
    case DeliveryEnd::broken:
    case DeliveryEnd::moved_on:
    case DeliveryEnd::outcome_unknown: return flag::kUpstreamClosed;
    case DeliveryEnd::malformed:
    case DeliveryEnd::answer_too_large: return flag::kUpstreamProtocol;
    case DeliveryEnd::no_room: return flag::kOverload;
    case DeliveryEnd::unreachable:
    case DeliveryEnd::handed_back:
      if (ended.was_begun) return flag::kUpstreamConnect;
      return is_service_healthy ? flag::kNone : flag::kLocalHealth;
    case DeliveryEnd::body_too_large:
    case DeliveryEnd::body_missing: return flag::kDownstreamProtocol;
    case DeliveryEnd::exhausted: return flag::kUpstreamRetryLimit;
    case DeliveryEnd::cancelled: return flag::kDownstreamClosed;
    case DeliveryEnd::lease_lost:
    case DeliveryEnd::unfinished: return flag::kLocalReset;
  }
  return flag::kNone;
}

}  // namespace

Sidecar::Sidecar(net::EventLoop& loop, SidecarConfig config, frames::QueueNames names,
                 base::UniqueFunction<void()> on_drained)
    : loop_(loop),
      config_(std::move(config)),
      names_(std::move(names)),
      instance_(base::new_process_id()),
      queues_(addresses(config_, names_)),
      inbox_(names_.inbox(config_.service.name, instance_)),
      upstream_(to_string(config_.service.upstream)),
      bus_(loop, {config_.messaging.valkey, "outrigger-sidecar:" + config_.service.name, names_.consumer_group(),
                  inbox_ + ":probe", config_.messaging.queue_wait_timeout, config_.messaging.wake_mode, &names_}),
      buffered_(config_.limits.buffered_bytes),
      service_(loop, endpoint_of(config_.service.upstream), pool_options(config_)),
      probe_(loop,
             {endpoint_of(config_.service.upstream), to_string(config_.service.upstream), config_.service.health_path,
              config_.service.openapi_path, config_.service.openapi_interval, metadata_of(config_.service)},
             [this](bool is_up) {
               if (is_up) {
                 base::log_info("the service is up", {{"upstream", config_.service.upstream_url}});
               } else {
                 base::log_warn("the service is down", {{"upstream", config_.service.upstream_url}});
               }
               consumer_.set_service_ready(is_up);
               on_reading_changed(consumer_.is_reading());
             },
             [this](const Scraped& scraped) { on_scraped(scraped); }),
      registration_(loop, bus_, names_,
                    {identity(config_, names_, instance_, queues_, inbox_), config_.messaging.heartbeat_interval}),
      consumer_(loop, bus_, names_, service_, *this, consumer_options(config_, instance_, queues_, inbox_, buffered_)),
      metrics_(bus_, consumer_, probe_, buffered_, config_.service.name),
      drain_timer_(loop,
                   [this] {
                     if (is_leaving_) return finish();
                     base::log_warn("the drain time is over", {{"unfinished", consumer_.in_hand()}});
                     leave(false);
                   }),
      on_drained_(std::move(on_drained)) {}

base::Result<void> Sidecar::start() {
  health_.add_check("bus", [this] {
    const messaging::BusStatus status = bus_.status();
    return bus_.is_connected() && !status.refuses_writes ? std::string() : status.problem;
  });
  health_.add_check("service", [this] { return probe_.is_healthy() ? "" : "not reachable"; });
  health_.add_check("reading", [this] { return consumer_.is_reading() ? std::string() : with_cause("not reading the request queue"); });
  health_.add_check("registered", [this] { return registration_.has_said_hello() ? std::string() : with_cause("HELLO not written yet"); });
  health_.set_metrics(metrics_);
  if (config_.process.health) {
    const auto at = health_.listen(loop_, *config_.process.health);
    if (!at) return at.error();
    base::log_info("health listener is open", {{"address", net::to_string(*at)}});
  }
  admin_.add_process_routes(config_.process, [this] { drain(); });
  admin_.add_view("/status", "State, requests in hand, counters, the service's health, its document.", {},
                  [this](const app::AdminQuery&) { return app::AdminAnswer{describe_status()}; });
  if (const auto opened = admin_.open(loop_, "outrigger-sidecar", config_.process); !opened) return opened.error();
  base::log_info("sidecar starts", {{"service", config_.service.name},
                                    {"version", config_.service.version},
                                    {"instance", instance_},
                                    {"upstream", config_.service.upstream_url},
                                    {"bus", config_.messaging.valkey.to_string_redacted()}});
  probe_.start();
  consumer_.start();
  health_.mark_started();
  return {};
}

std::string Sidecar::with_cause(std::string what) const {
  const messaging::BusStatus status = bus_.status();
  return status.problem.empty() ? what : what + ": " + status.problem;
}

void Sidecar::on_scraped(const Scraped& scraped) {
  openapi::ServiceMetadata metadata = metadata_of(config_.service);
  metadata.endpoints = scraped.endpoints;
  metadata.catch_all = scraped.catch_all;
  metrics_.set_routes(metadata);
  registration_.set_metadata(scraped.metadata);
}

void Sidecar::on_reading_changed(bool is_reading) {
  if (registration_.state() == InstanceState::draining) return;
  // Without its service an instance is as good as not yet there: sent to, requests would wait for it until their deadline.
  // What is in flight goes on.
  if (is_reading) {
    // Callers may have taken a silent alive channel for our end: a sign of life corrects that at once.
    if (registration_.state() == InstanceState::healthy) registration_.say_alive();
    registration_.set_state(InstanceState::healthy);
  } else if (!probe_.is_healthy()) {
    registration_.set_state(InstanceState::starting);
  }
}

// The one place where a request ends here, with all that is known of it.
void Sidecar::on_request_done(const router::EndedDelivery& ended) {
  using router::DeliveryEnd;
  // Counted are calls of the service that it may have seen.
  if (ended.was_begun && ended.end != DeliveryEnd::unreachable && ended.end != DeliveryEnd::handed_back &&
      ended.end != DeliveryEnd::unfinished) {
    metrics_.on_request_done(ended.request, ended.status, ended.end == DeliveryEnd::timeout, ended.service_time,
                             ended.queue_wait);
  }
  if (config_.access_log != telemetry::AccessFormat::off) write_record(ended);
}

void Sidecar::write_record(const router::EndedDelivery& ended) {
  const frames::Request& request = ended.request;
  telemetry::AccessRecord record;
  // The request's arrival here; both clocks are this host's.
  record.start = loop_.clock().wall() - std::chrono::duration_cast<base::WallMillis>(ended.in_hand);
  record.method = request.method;
  record.path = request.target;
  if (!config_.access_log_query) record.path = record.path.substr(0, record.path.find('?'));
  record.minor_version = 1;  // what the service is spoken to in
  record.status = ended.status;
  record.flags = flag_of(ended, probe_.is_healthy());
  record.code_details = ended.is_undelivered                           ? "answer_undeliverable"
                        : ended.end == router::DeliveryEnd::answered ? "via_upstream"
                                                                     : router::name_of(ended.end);
  record.bytes_received = ended.request_bytes;
  record.bytes_sent = ended.answer_bytes;
  record.duration = ended.in_hand;
  if (ended.was_begun) record.service_time = ended.service_time;
  record.forwarded_for = request.headers.find("X-Forwarded-For").value_or("");
  record.user_agent = request.headers.find("User-Agent").value_or("");
  record.request_id = request.headers.find("X-Request-Id").value_or("");
  record.authority = request.authority;
  record.upstream_host = upstream_;
  record.upstream_cluster = record.service = config_.service.name;
  // A traceparent is of one form (telemetry::TraceContext), or it was not ours.
  constexpr std::size_t kTraceparent = 55;
  if (request.traceparent.size() == kTraceparent) {
    record.trace_id = std::string_view(request.traceparent).substr(3, 32);
    record.span_id = std::string_view(request.traceparent).substr(36, 16);
  }
  record.instance = instance_;
  record.correlation_id = request.id;
  record.attempt = ended.attempt;
  record.queue_wait = ended.queue_wait;
  telemetry::write_access(config_.access_log, record);
}

std::string Sidecar::describe_status() const {
  using Json = nlohmann::ordered_json;
  const router::ConsumerCounters& counts = consumer_.counters();
  const auto state = [&] {
    switch (registration_.state()) {
      case InstanceState::starting: return "starting";
      case InstanceState::healthy: return "healthy";
      case InstanceState::degraded: return "degraded";
      case InstanceState::draining: return "draining";
    }
    return "starting";
  };
  const DocumentScraper::Status& document = probe_.document();
  Json scrape = nullptr;
  if (document.at.count() > 0) {
    scrape = {{"at", base::to_rfc3339(document.at)},
              {"outcome", name_of(document.outcome)},
              {"why", document.why},
              {"path", document.path},
              {"endpoints", document.endpoints},
              {"document_bytes", document.bytes},
              {"every_path", document.path.empty()}};
  }
  const Json status{
      {"service", config_.service.name},
      {"version", config_.service.version},
      {"region", config_.service.region},
      {"instance", instance_},
      {"mount", config_.service.mount},
      {"state", state()},
      {"registered", registration_.has_said_hello()},
      {"bus_connected", bus_.is_connected()},
      {"reading", consumer_.is_reading()},
      {"queues", queues_},
      {"max_in_flight", config_.max_in_flight},
      {"in_flight", consumer_.with_service()},
      {"waiting", consumer_.waiting()},
      {"in_hand", consumer_.in_hand()},
      {"upstream", {{"url", config_.service.upstream_url}, {"healthy", probe_.is_healthy()}, {"last_scrape", scrape}}},
      {"counters",
       {{"delivered", counts.delivered},
        {"begun", counts.begun},
        {"answered", counts.answered},
        {"redelivered", counts.redelivered},
        {"taken_over", counts.taken_over},
        {"handed_back", counts.handed_back},
        {"moved_on", counts.moved_on},
        {"outcome_unknown", counts.outcome_unknown},
        {"expired", counts.expired},
        {"cancelled", counts.cancelled},
        {"duplicates", counts.duplicates},
        {"malformed", counts.malformed},
        {"undeliverable", counts.undeliverable},
        {"leases_lost", counts.leases_lost}}}};
  return status.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

void Sidecar::drain() {
  if (std::exchange(is_draining_, true)) return;
  health_.begin_drain();
  base::log_info("draining", {{"in_flight", consumer_.in_hand()}});
  probe_.stop();
  registration_.set_state(InstanceState::draining);
  drain_timer_.arm(config_.process.drain_time);
  consumer_.drain([this] { leave(true); });
}

// `is_done`: nothing is in hand, and nothing is being read any more.
void Sidecar::leave(bool is_done) {
  if (std::exchange(is_leaving_, true)) return;
  // A bus that hangs is not waited for: what is left over dies by its TTL, or is swept by others.
  drain_timer_.arm(kLeaveTime);
  registration_.say_goodbye();
  if (!bus_.is_connected()) return finish();
  bus_.remove_key(inbox_);
  auto left = std::make_shared<std::size_t>(queues_.size());
  // The reply to the last of these says that everything before it was written.
  const auto next = [this, left] {
    if (--*left == 0) finish();
  };
  for (const std::string& queue : queues_) {
    bus_.sweep(queue, instance_, 0, {});
    bus_.remove_consumer(queue, instance_, [next](base::Result<void>) { next(); });
    // Narrow addresses end with their last reader; the base address stays, callers may queue there.
    if (!is_done || queue == queues_.back()) continue;
    ++*left;
    const std::int64_t dead_after_ms =
        std::max({config_.messaging.lease_duration, kDeadAfter, config_.messaging.queue_wait_timeout + kSeenLate}).count();
    forget_dead_peers(queue, [this, queue, dead_after_ms, next] {
      bus_.remove_unused(queue, dead_after_ms, [next](base::Result<bool>) { next(); });
    });
  }
}

// A peer killed a moment ago is not idle for long yet, and an address with members stays for ever if nobody comes. Its alive
// channel says at once that it is gone. One that only reconnects makes itself a member anew.
void Sidecar::forget_dead_peers(const std::string& queue, base::UniqueFunction<void()> next) {
  bus_.consumers(queue, [this, queue, next = std::move(next)](base::Result<std::vector<std::string>> members) mutable {
    std::vector<std::string> peers;
    std::vector<std::string> channels;
    for (const std::string& member : members ? *members : std::vector<std::string>()) {
      if (member == instance_ || !frames::is_process_id(member)) continue;
      peers.push_back(member);
      channels.push_back(names_.alive_channel(config_.service.name, member));
    }
    if (peers.empty()) return next();
    bus_.subscribers(std::move(channels), [this, queue, peers = std::move(peers), next = std::move(next)](
                                              base::Result<std::vector<std::uint64_t>> counts) mutable {
      for (std::size_t i = 0; counts && i < peers.size(); ++i) {
        if ((*counts)[i] == 0) bus_.remove_consumer(queue, peers[i], {});  // not while something is pending for it
      }
      next();
    });
  });
}

void Sidecar::finish() {
  drain_timer_.cancel();
  consumer_.report_unfinished();
  if (on_drained_) loop_.defer(std::exchange(on_drained_, nullptr));
}

}  // namespace outrigger::sidecar
