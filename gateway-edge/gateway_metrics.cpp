#include "gateway-edge/gateway_metrics.h"

#include <algorithm>
#include <array>
#include <memory>
#include <utility>

#include "bridge/router/problem.h"

namespace outrigger::gateway {
namespace {

using base::Result;
using frames::InstanceState;
using telemetry::MetricsWriter;
using telemetry::MetricType;

constexpr std::array kStates{InstanceState::starting, InstanceState::healthy, InstanceState::degraded,
                             InstanceState::draining};
using Http = http1::HttpServerCounters;
constexpr std::array kHttpCounters{&Http::accepted,       &Http::requests,        &Http::refused,
                                   &Http::timed_out_head, &Http::timed_out_body,  &Http::timed_out_write,
                                   &Http::overloaded,     &Http::closed_idle,     &Http::closed_for_room,
                                   &Http::accept_stops};
// Channels in one PUBSUB NUMSUB: a fleet of 1,000 instances at one service is asked for in pieces.
constexpr std::size_t kChannelsPerQuestion = 1000;

}  // namespace

void add(http1::HttpServerCounters& sum, const http1::HttpServerCounters& more) {
  for (const auto member : kHttpCounters) sum.*member += more.*member;
}

GatewayMetrics::GatewayMetrics(net::EventLoop& loop, messaging::Bus& bus, const telemetry::DurationHistogram& round_trips,
                               const Control& control, const frames::QueueNames& names, Shares shares,
                               std::size_t workers, AskWorkers ask_workers)
    : bus_(bus),
      round_trips_(round_trips),
      control_(control),
      names_(names),
      shares_(shares),
      ask_workers_(std::move(ask_workers)),
      deadline_(loop, [this] {
        ++incomplete_;
        finish();
      }),
      workers_(workers) {
  for (int code = 0; code < router::kProblemCodes; ++code) {
    merged_.add_problem(router::describe(static_cast<router::ProblemCode>(code)).code);
  }
}

void GatewayMetrics::collect(base::UniqueFunction<void()> done) {
  ++scrape_;
  done_ = std::move(done);
  deadline_.arm(kCollectTime);
  outstanding_ = 1;  // the asking itself
  for (const Worker& worker : workers_) outstanding_ += worker.last.is_final ? 0 : 1;
  choose_services();
  ask_bus();
  ask_workers_(scrape_);
  answered();
}

// A service keeps its place while the registry knows it; a free one goes to who registered first. So nobody who comes later
// pushes another out, whatever names are announced.
void GatewayMetrics::choose_services() {
  auto known = control_.registry().services();
  std::stable_sort(known.begin(), known.end(),
                   [](const auto& a, const auto& b) { return a.registered_ms < b.registered_ms; });
  std::map<std::string, Queue, std::less<>> chosen;
  for (const auto& service : known) {
    if (queues_.contains(service.service)) chosen.try_emplace(std::string(service.service));
  }
  for (const auto& service : known) {
    if (chosen.size() < telemetry::kMetricServices) chosen.try_emplace(std::string(service.service));
  }
  services_left_out_ = known.size() - chosen.size();
  queues_ = std::move(chosen);
}

void GatewayMetrics::ask_bus() {
  if (!bus_.is_connected()) return;
  for (const auto& item : queues_) {
    const std::string& service = item.first;
    ++outstanding_;
    bus_.queue_statistics(control_.registry().queues(service, kQueuesPerService),
                          [this, scrape = scrape_, service](Result<messaging::QueueStatistics> statistics) {
                            if (scrape != scrape_ || !done_) return;  // too late: another scrape's numbers are wanted
                            if (statistics) queues_[service].statistics = *statistics;
                            answered();
                          });
    // Who could take a request now: announced as serving, and connected. What XINFO CONSUMERS names may be long dead.
    std::vector<std::string> channels;
    for (const router::Instance* instance : control_.registry().instances(service)) {
      if (instance->state != InstanceState::healthy && instance->state != InstanceState::degraded) continue;
      channels.push_back(names_.alive_channel(service, instance->latest.instance));
    }
    auto sum = std::make_shared<Queue>();
    sum->consumers = 0;
    for (std::size_t at = 0; at < channels.size() || at == 0; at += kChannelsPerQuestion) {
      const std::size_t end = std::min(channels.size(), at + kChannelsPerQuestion);
      const bool is_last = end == channels.size();
      if (channels.empty()) {
        queues_[service].consumers = 0;
        break;
      }
      ++outstanding_;
      bus_.subscribers({channels.begin() + static_cast<std::ptrdiff_t>(at), channels.begin() + static_cast<std::ptrdiff_t>(end)},
                       [this, scrape = scrape_, service, sum, is_last](Result<std::vector<std::uint64_t>> counts) {
                         if (scrape != scrape_ || !done_) return;
                         if (!counts) sum->consumers.reset();
                         if (counts && sum->consumers) {
                           for (const std::uint64_t count : *counts) *sum->consumers += count > 0 ? 1 : 0;
                         }
                         if (is_last) queues_[service].consumers = sum->consumers;
                         answered();
                       });
    }
  }
}

void GatewayMetrics::on_report(std::size_t worker, std::uint64_t scrape, WorkerReport report) {
  Worker& from = workers_[worker];
  const bool is_waited_for = done_ && !from.last.is_final && from.scrape != scrape_;
  from.last = std::move(report);
  if (!from.last.is_final && scrape != scrape_) return;
  from.scrape = scrape_;
  if (is_waited_for) answered();
}

void GatewayMetrics::answered() {
  if (--outstanding_ == 0) finish();
}

void GatewayMetrics::finish() {
  deadline_.cancel();
  // Always added up in the same order into the same object: see RequestMetrics::add.
  merged_.clear_counts();
  for (const auto& [service, queue] : queues_) merged_.add_service(service);
  for (const Worker& worker : workers_) merged_.add(worker.last.requests);
  std::exchange(done_, nullptr)();
}

void GatewayMetrics::write(MetricsWriter& out) const {
  app::write_process_metrics(out);
  merged_.write(out);
  write_calls(out);
  write_authentications(out);
  write_rate_limits(out);
  write_queues(out);
  write_instances(out);
  write_bus(out);
}

void GatewayMetrics::write_calls(MetricsWriter& out) const {
  router::DispatcherCounters calls;
  std::uint64_t pending = 0;
  std::uint64_t connections = 0;
  http1::HttpServerCounters http;
  std::uint64_t silent = 0;
  for (const Worker& worker : workers_) {
    calls.published += worker.last.calls.published;
    calls.republished += worker.last.calls.republished;
    calls.late_answers += worker.last.calls.late_answers;
    calls.taken_back += worker.last.calls.taken_back;
    calls.malformed += worker.last.calls.malformed;
    pending += worker.last.pending_calls;
    connections += worker.last.connections;
    add(http, worker.last.http);
    silent += worker.scrape == scrape_ || worker.last.is_final ? 0 : 1;
  }
  out.single(MetricType::counter, "outrigger_late_answers_total",
             "Answers to requests that had ended, or from another than the bound attempt.", calls.late_answers);
  out.single(MetricType::counter, "outrigger_published_total", "Requests written to a queue, repetitions included.",
             calls.published);
  out.single(MetricType::counter, "outrigger_republished_total",
             "Repeatable requests written again after their fate on the bus was in doubt.", calls.republished);
  out.single(MetricType::counter, "outrigger_taken_back_total", "Requests taken from a queue that nobody read any more.",
             calls.taken_back);
  out.single(MetricType::gauge, "outrigger_calls_pending", "Requests that wait for their answer from the bus.", pending);
  out.single(MetricType::gauge, "outrigger_http_connections", "Open client connections.", connections);
  out.single(MetricType::counter, "outrigger_http_connections_total", "Client connections accepted.", http.accepted);
  out.single(MetricType::gauge, "outrigger_http_connections_limit", "Most client connections that may be open.",
             static_cast<std::uint64_t>(shares_.connections.limit()));
  out.family(MetricType::counter, "outrigger_http_connections_ended_total",
             "Client connections ended by the gateway before their request was over, or without one.");
  out.sample({{"reason", "head_timeout"}}, http.timed_out_head);
  out.sample({{"reason", "body_timeout"}}, http.timed_out_body);
  out.sample({{"reason", "write_timeout"}}, http.timed_out_write);
  out.sample({{"reason", "no_memory"}}, http.overloaded);
  out.sample({{"reason", "idle"}}, http.closed_idle);
  out.sample({{"reason", "place_needed"}}, http.closed_for_room);
  out.single(MetricType::counter, "outrigger_http_accept_stops_total",
             "Times that a connection had to wait, since every place was taken by a request.", http.accept_stops);
  out.single(MetricType::counter, "outrigger_http_bad_requests_total",
             "Requests answered by the protocol itself: they break HTTP or a limit, or were too slow.", http.refused);
  out.single(MetricType::gauge, "outrigger_buffered_bytes", "Bytes held for clients and their answers.",
             static_cast<std::uint64_t>(shares_.buffered.used()));
  out.single(MetricType::gauge, "outrigger_buffered_limit_bytes", "Most that may be held.",
             static_cast<std::uint64_t>(shares_.buffered.limit()));
  out.family(MetricType::counter, "outrigger_frames_refused_total", "Stream entries that are no frames or come unasked.");
  out.sample({{"stream", "reply"}}, calls.malformed);
  out.sample({{"stream", "control"}}, control_.refused_frames());
  out.single(MetricType::gauge, "outrigger_route_conflicts", "Mounts announced and not routed, since another has them.",
             static_cast<std::uint64_t>(control_.route_conflicts()));
  out.single(MetricType::gauge, "outrigger_workers", "Threads that serve.", static_cast<std::uint64_t>(workers_.size()));
  out.single(MetricType::gauge, "outrigger_scrape_workers_missing",
             "Threads whose counts here are those of an earlier scrape, since they did not answer this one.", silent);
  out.single(MetricType::counter, "outrigger_scrapes_incomplete_total",
             "Scrapes that went out before every thread and queue had answered.", incomplete_);
}

void GatewayMetrics::write_authentications(MetricsWriter& out) const {
  if (keys_ == nullptr) return;
  Authenticator::Counters sum;
  for (const std::string_view reason : Authenticator::reasons()) sum.refused[reason] = 0;
  for (const Worker& worker : workers_) {
    const Authenticator::Counters& counters = worker.last.authentications;
    sum.anonymous += counters.anonymous;
    sum.cached += counters.cached;
    sum.verified += counters.verified;
    sum.awaited += counters.awaited;
    for (const auto& [reason, count] : counters.refused) sum.refused[reason] += count;
  }
  out.family(MetricType::counter, "outrigger_authentications_total",
             "Requests by what came of the question who sends them: anonymous, cached, verified, or why they were refused.");
  out.sample({{"result", "anonymous"}}, sum.anonymous);
  out.sample({{"result", "cached"}}, sum.cached);
  out.sample({{"result", "verified"}}, sum.verified);
  for (const auto& [reason, count] : sum.refused) out.sample({{"result", reason}}, count);
  out.single(MetricType::counter, "outrigger_authentications_awaited_total", "Requests that waited for keys to be fetched.",
             sum.awaited);
  keys_->write(out);
}

void GatewayMetrics::write_rate_limits(MetricsWriter& out) const {
  if (rate_limits_ == nullptr || rate_limits_->rules().empty()) return;
  RateLimitCounters sum;
  sum.limited.resize(rate_limits_->rules().size());
  for (const Worker& worker : workers_) sum.add(worker.last.rate_limits);
  out.family(MetricType::counter, "outrigger_rate_limited_total", "Requests refused with 429, by the rule they were told.");
  for (std::size_t i = 0; i < sum.limited.size(); ++i) {
    const RateLimitRule& rule = rate_limits_->rules()[i];
    out.sample({{"rule", rule.name}, {"scope", name_of(rule.scope)}}, sum.limited[i]);
  }
  out.family(MetricType::counter, "outrigger_rate_limit_fail_open_total",
             "Requests that passed without the environment's rate limits, since the bus did not count them.");
  for (std::size_t i = 0; i < kRateLimitFailOpens; ++i) {
    out.sample({{"reason", name_of(static_cast<RateLimitFailOpen>(i))}}, sum.failed_open[i]);
  }
  out.single(MetricType::counter, "outrigger_rate_limit_evictions_total",
             "Callers' counts in memory that were forgotten early, since too many were counted at one time.",
             rate_limits_->evictions());
}

void GatewayMetrics::write_queues(MetricsWriter& out) const {
  const auto gauge = [&](std::string_view name, std::string_view help, auto value_of) {
    out.family(MetricType::gauge, name, help);
    for (const auto& [service, queue] : queues_) {
      if (const std::optional<double> value = value_of(queue)) out.sample({{"service", service}}, *value);
    }
  };
  using Statistics = messaging::QueueStatistics;
  const auto of = [](auto member) {
    return [member](const Queue& queue) -> std::optional<double> {
      if (!queue.statistics) return std::nullopt;
      return static_cast<double>((*queue.statistics).*member);
    };
  };
  gauge("outrigger_queue_length", "Entries of the service's queues. As all queue_* the same at every gateway: take the max.",
        of(&Statistics::length));
  gauge("outrigger_queue_lag", "Requests that no instance was given yet.", [](const Queue& queue) -> std::optional<double> {
    if (!queue.statistics || !queue.statistics->lag) return std::nullopt;
    return static_cast<double>(*queue.statistics->lag);
  });
  gauge("outrigger_queue_lag_known", "1 if queue_lag could be told.", [](const Queue& queue) -> std::optional<double> {
    return queue.statistics && queue.statistics->lag ? 1 : 0;
  });
  gauge("outrigger_queue_pending", "Requests given to an instance and not settled, those handed back included.",
        of(&Statistics::pending));
  gauge("outrigger_queue_parked", "Requests handed back that wait for another instance.", of(&Statistics::parked));
  gauge("outrigger_queue_oldest_age_seconds", "Age of the oldest request that is not settled; 0 without one.",
        [](const Queue& queue) -> std::optional<double> {
          if (!queue.statistics) return std::nullopt;
          return static_cast<double>(queue.statistics->oldest_age_ms) / 1000;
        });
  gauge("outrigger_queue_consumers", "Instances that take requests: announced as serving, and connected.",
        [](const Queue& queue) -> std::optional<double> {
          if (!queue.consumers) return std::nullopt;
          return static_cast<double>(*queue.consumers);
        });
  out.single(MetricType::gauge, "outrigger_services_not_shown", "Services above the limit, without families of their own.",
             static_cast<std::uint64_t>(services_left_out_));
}

void GatewayMetrics::write_instances(MetricsWriter& out) const {
  out.family(MetricType::gauge, "outrigger_instances", "Instances by the state they announced, or that their silence means.");
  std::array<std::uint64_t, kStates.size()> left_out{};
  const auto write = [&](std::string_view service, const std::array<std::uint64_t, kStates.size()>& counts) {
    for (std::size_t i = 0; i < kStates.size(); ++i) {
      out.sample({{"service", service}, {"state", frames::name_of(kStates[i])}}, counts[i]);
    }
  };
  for (const auto& service : control_.registry().services()) {
    std::array<std::uint64_t, kStates.size()> counts{};
    for (const router::Instance* instance : control_.registry().instances(service.service)) {
      ++counts[static_cast<std::size_t>(std::find(kStates.begin(), kStates.end(), instance->state) - kStates.begin())];
    }
    if (queues_.contains(service.service)) {
      write(service.service, counts);
    } else {
      for (std::size_t i = 0; i < counts.size(); ++i) left_out[i] += counts[i];
    }
  }
  if (services_left_out_ > 0 && !queues_.contains("other")) write("other", left_out);
}

void GatewayMetrics::write_bus(MetricsWriter& out) const {
  const messaging::BusStatus status = bus_.status();
  app::BusNumbers sum{bus_.is_connected(), status.reconnects, round_trips_};
  for (const Worker& worker : workers_) {
    sum.is_connected = sum.is_connected && (worker.last.bus.is_connected || worker.last.is_final);
    sum.reconnects += worker.last.bus.reconnects;
    sum.round_trips.add(worker.last.bus.round_trips);
  }
  app::write_bus_metrics(out, status, sum);
}

}  // namespace outrigger::gateway
