#include "bridge/telemetry/request_metrics.h"

#include <algorithm>
#include <array>

namespace outrigger::telemetry {
namespace {

constexpr std::string_view kNone = "none";            // service, before one was found
constexpr std::string_view kUnmatched = "unmatched";  // route
constexpr std::string_view kOther = "other";          // what is above a limit
constexpr std::string_view kOtherMethod = "_OTHER";
constexpr std::uint16_t kClasses = 1000;
constexpr std::size_t kProblems = 64;  // codes come from a closed table of fewer: a guard, not a limit that is met

std::string code_label(std::uint16_t code) {
  return code < kClasses ? std::to_string(code) : std::to_string(code - kClasses) + "xx";
}

}  // namespace

std::string_view method_label(std::string_view method) {
  static constexpr std::array<std::string_view, 9> kKnown{"GET",    "POST",    "PUT",   "DELETE", "PATCH",
                                                          "HEAD",   "OPTIONS", "TRACE", "CONNECT"};
  for (const std::string_view known : kKnown) {
    if (method == known) return known;
  }
  return kOtherMethod;
}

RequestMetrics::RequestMetrics(Side side, std::string_view direction) : side_(side), direction_(direction) {
  if (side == Side::caller) service_index(kNone);
}

void RequestMetrics::add_service(std::string_view service) {
  if (service_indices_.size() < kMetricServices / 2) service_index(service);
}

void RequestMetrics::count(const EndedRequest& request) {
  const int status = std::clamp(request.status, 0, 999);
  Series& series = series_of({request.service.empty() ? kNone : request.service,
                              request.route.empty() ? kUnmatched : request.route, method_label(request.method),
                              static_cast<std::uint16_t>(status)});
  ++series.count;
  Counts& service = services_[series.service].counts;
  if (request.duration >= base::Duration::zero()) service.request_duration.observe(request.duration);
  if (side_ == Side::server) {
    service.queue_wait.observe(request.queue_wait);
    service.service_time.observe(request.service_time);
  }
  if (request.end == RequestEnd::outcome_unknown) ++service.outcome_unknown;
  if (request.end == RequestEnd::expired) ++service.expired;
  if (request.end == RequestEnd::cancelled) ++service.cancelled;
  if (request.problem.empty()) return;
  const auto problem = problems_.find(request.problem);
  if (problem != problems_.end()) {
    ++problem->second;
  } else if (problems_.size() < kProblems) {
    problems_.emplace(request.problem, 1);
  }
}

RequestMetrics::Series& RequestMetrics::series_of(const KeyView& key) {
  const auto at = series_.find(key);
  return at != series_.end() ? at->second : admit(key);
}

RequestMetrics::Series& RequestMetrics::admit(KeyView key) {
  const std::uint32_t index = service_index(key.service);
  Service& service = services_[index];
  const auto make = [&](const KeyView& of) -> Series& {
    return series_.emplace(Key{std::string(of.service), std::string(of.route), of.method, of.code}, Series{0, index})
        .first->second;
  };
  // Two templates must never look the same once they are written, as those that are cut or mended would.
  const bool is_labelled = index != 0 && key.route.size() <= kMetricRouteBytes && is_utf8(key.route);
  if (is_labelled && service.series < kMetricSeriesPerService && series_.size() < kMetricSeries) {
    ++service.series;
    return make(key);
  }
  if (key.code < kClasses) key.code = static_cast<std::uint16_t>(kClasses + key.code / 100);
  key.route = kOther;
  if (index == 0) key.service = kOther;
  if (const auto at = series_.find(key); at != series_.end()) return at->second;
  if (series_.size() < kMetricSeries) return make(key);
  key.service = kOther;
  if (const auto at = series_.find(key); at != series_.end()) return at->second;
  return make(key);
}

std::uint32_t RequestMetrics::service_index(std::string_view name) {
  const auto at = service_indices_.find(name);
  if (at != service_indices_.end()) return at->second;
  if (service_indices_.size() >= kMetricServices || name == kOther) return 0;
  const auto index = static_cast<std::uint32_t>(services_.size());
  service_indices_.emplace(name, index);
  services_.emplace_back(name);
  return index;
}

void RequestMetrics::clear_counts() {
  in_flight_ = 0;
  for (auto& [key, series] : series_) series.count = 0;
  for (auto& [code, count] : problems_) count = 0;
  for (Service& service : services_) service.counts = Counts{};
}

void RequestMetrics::add(const RequestMetrics& other) {
  in_flight_ += other.in_flight_;
  for (const auto& [key, series] : other.series_) series_of(key).count += series.count;
  for (const auto& [code, count] : other.problems_) problems_[code] += count;
  for (const Service& service : other.services_) {
    const Counts& from = service.counts;
    Counts& to = services_[service_index(service.name)].counts;
    to.request_duration.add(from.request_duration);
    to.queue_wait.add(from.queue_wait);
    to.service_time.add(from.service_time);
    to.outcome_unknown += from.outcome_unknown;
    to.expired += from.expired;
    to.cancelled += from.cancelled;
  }
}

void RequestMetrics::write(MetricsWriter& out) const {
  // In order, for people.
  std::vector<const std::pair<const Key, Series>*> ordered;
  ordered.reserve(series_.size());
  for (const auto& item : series_) ordered.push_back(&item);
  std::sort(ordered.begin(), ordered.end(), [](const auto* a, const auto* b) {
    return std::tie(a->first.service, a->first.route, a->first.method, a->first.code) <
           std::tie(b->first.service, b->first.route, b->first.method, b->first.code);
  });
  out.family(MetricType::counter, "outrigger_requests_total", "Requests that ended, by what they were and how they ended.");
  for (const auto* item : ordered) {
    const Key& key = item->first;
    out.sample({{"direction", direction_},
                {"service", key.service},
                {"route", key.route},
                {"method", key.method},
                {"code", code_label(key.code)}},
               item->second.count);
  }

  std::vector<const Service*> shown;
  for (const Service& service : services_) {
    const bool is_unused_rest = &service == &services_.front() && service.counts.request_duration.count() == 0;
    if (!is_unused_rest) shown.push_back(&service);
  }
  const auto histogram = [&](std::string_view name, std::string_view help, DurationHistogram Counts::*member) {
    out.family(MetricType::histogram, name, help);
    for (const Service* service : shown) {
      out.sample({{"direction", direction_}, {"service", service->name}}, service->counts.*member);
    }
  };
  const auto counter = [&](std::string_view name, std::string_view help, std::uint64_t Counts::*member) {
    out.family(MetricType::counter, name, help);
    for (const Service* service : shown) out.sample({{"service", service->name}}, service->counts.*member);
  };
  if (side_ == Side::caller) {
    histogram("outrigger_request_duration_seconds", "From a request's head to the end of its answer.",
              &Counts::request_duration);
    counter("outrigger_outcome_unknown_total", "Requests that may have been run and whose answer is lost.",
            &Counts::outcome_unknown);
    counter("outrigger_expired_total", "Requests without an answer by their deadline.", &Counts::expired);
    counter("outrigger_cancelled_total", "Requests whose client left before the end of the answer.", &Counts::cancelled);
    out.family(MetricType::counter, "outrigger_problems_total", "Answers that were made here instead of by a service.");
    for (const auto& [code, count] : problems_) out.sample({{"problem", code}}, count);
  } else {
    histogram("outrigger_request_duration_seconds", "From a request's arrival on its queue to the service's answer.",
              &Counts::request_duration);
    histogram("outrigger_queue_wait_seconds", "From a request's arrival on its queue to its arrival at an instance.",
              &Counts::queue_wait);
    histogram("outrigger_service_duration_seconds", "From the call of the service to the end of its answer.",
              &Counts::service_time);
  }
  out.family(MetricType::gauge, "outrigger_requests_in_flight", "Requests that have begun and not ended.");
  out.sample({{"direction", direction_}}, static_cast<double>(in_flight_));
}

}  // namespace outrigger::telemetry
