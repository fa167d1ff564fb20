#include "sidecar/sidecar_metrics.h"

#include <utility>
#include <vector>

#include "bridge/app/process_metrics.h"
#include "bridge/router/mount.h"
#include "bridge/router/problem.h"

namespace outrigger::sidecar {

using telemetry::MetricsWriter;
using telemetry::MetricType;

SidecarMetrics::SidecarMetrics(const valkey::ValkeyBus& bus, const router::Consumer& consumer, const ServiceProbe& probe,
                               const base::Budget& buffered, std::string service)
    : bus_(bus), consumer_(consumer), probe_(probe), buffered_(buffered), service_(std::move(service)) {
  requests_.add_service(service_);
}

void SidecarMetrics::set_routes(const openapi::ServiceMetadata& metadata) {
  auto copy = std::make_shared<openapi::ServiceMetadata>(metadata);
  copy->document.clear();  // routes come from the endpoints
  endpoints_ = copy->endpoints.size();
  is_document_used_ = !copy->catch_all;
  const auto mount = router::parse_mount(copy->mount);
  mount_ = mount ? mount->path : std::string();
  std::vector<router::RouteSource> sources;
  sources.push_back({std::move(copy), 0});
  routes_ = std::make_unique<const router::RouteTable>(std::move(sources));
}

void SidecarMetrics::on_request_done(const frames::Request& request, int status, bool is_timeout,
                                     base::Duration service_time, base::Duration queue_wait) {
  std::string_view route;
  if (routes_ != nullptr) {
    path_.assign(mount_).append(std::string_view(request.target).substr(0, request.target.find('?')));
    const router::Match match = routes_->match(request.method, request.authority, path_);
    if (match.kind == router::Match::Kind::matched) route = match.route;
  }
  if (status == 0) {
    status = router::describe(is_timeout ? router::ProblemCode::timeout : router::ProblemCode::bad_answer).status;
  }
  requests_.count({.service = service_,
                   .route = route,
                   .method = request.method,
                   .status = status,
                   .duration = queue_wait + service_time,
                   .queue_wait = queue_wait,
                   .service_time = service_time});
}

void SidecarMetrics::write(MetricsWriter& out) const {
  app::write_process_metrics(out);
  requests_.set_in_flight(static_cast<std::int64_t>(consumer_.in_hand()));
  requests_.write(out);

  const router::ConsumerCounters& counters = consumer_.counters();
  const auto counter = [&](std::string_view name, std::string_view help, std::uint64_t value) {
    out.family(MetricType::counter, name, help);
    out.sample({{"service", service_}}, value);
  };
  counter("outrigger_redeliveries_total", "Requests obtained that some instance had been given before.",
          counters.redelivered);
  counter("outrigger_outcome_unknown_total", "Requests answered so, since they may have been run before.",
          counters.outcome_unknown);
  counter("outrigger_expired_total", "Requests dropped unbegun, since their deadline had passed.", counters.expired);
  counter("outrigger_cancelled_total", "Requests whose caller said that it had left.", counters.cancelled);
  out.family(MetricType::counter, "outrigger_dead_letters_total", "Requests that were given up and kept for the operator.");
  for (std::size_t i = 0; i < static_cast<std::size_t>(frames::kDeadReasons); ++i) {
    out.sample({{"service", service_}, {"reason", name_of(static_cast<frames::DeadReason>(i))}}, counters.dead_letters[i]);
  }
  counter("outrigger_taken_over_total", "Requests taken from instances that were gone.", counters.taken_over);
  counter("outrigger_handed_back_total", "Requests given back unbegun, for another instance to take.",
          counters.handed_back);
  counter("outrigger_moved_on_total", "Requests that the service broke off, given to another instance.", counters.moved_on);
  counter("outrigger_duplicates_total", "Requests that were in hand already, written twice by their caller.",
          counters.duplicates);
  counter("outrigger_undeliverable_total", "Answers that could not be given to their caller by the deadline.",
          counters.undeliverable);
  counter("outrigger_no_room_total", "Answers of the service that there was no memory for.", counters.no_room);
  counter("outrigger_leases_lost_total", "Requests whose lease ended before they did.", counters.leases_lost);
  out.family(MetricType::counter, "outrigger_frames_refused_total", "Stream entries that are no frames or come unasked.");
  out.sample({{"stream", "request"}}, counters.malformed);

  const auto gauge = [&](std::string_view name, std::string_view help, std::uint64_t value) {
    out.single(MetricType::gauge, name, help, value);
  };
  gauge("outrigger_buffered_bytes", "Bytes of requests and answers held.", buffered_.used());
  gauge("outrigger_buffered_limit_bytes", "Most that may be held.", buffered_.limit());
  gauge("outrigger_service_calls", "Calls of the service under way.", consumer_.with_service());
  gauge("outrigger_service_up", "1 if the service passes its probe.", probe_.is_healthy() ? 1 : 0);
  gauge("outrigger_reading", "1 while requests are taken from the queue.", consumer_.is_reading() ? 1 : 0);
  gauge("outrigger_openapi_used", "1 if the service's OpenAPI document is announced; 0: every path is passed to it.",
        is_document_used_ ? 1 : 0);
  gauge("outrigger_openapi_endpoints", "Endpoints of the announced document.", endpoints_);
  const messaging::BusStatus status = bus_.status();
  app::write_bus_metrics(out, status, {bus_.is_connected(), status.reconnects, bus_.round_trips()});
}

}  // namespace outrigger::sidecar
