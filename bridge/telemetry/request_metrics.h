// RequestMetrics: what one thread counts of the requests that end at it. One hash lookup per request and no lock; whoever
// answers a scrape adds copies of every thread's up. The number of series is bounded whatever clients, services and frames
// bring: see the limits below.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "bridge/base/clock.h"
#include "bridge/telemetry/metrics.h"

namespace outrigger::telemetry {

// requests_total has at most kMetricSeries + 100 series: what comes above a limit is counted as route="other" (of the
// service, or of service="other"), with the class of its status (`5xx`) as the code. 100 = methods x classes.
inline constexpr std::size_t kMetricSeries = 10000;            // about 2 MiB of a scrape: more than Prometheus likes already
inline constexpr std::size_t kMetricSeriesPerService = 1000;   // one service with a huge document leaves room for others
inline constexpr std::size_t kMetricServices = 200;            // services with families of their own: histograms are large
inline constexpr std::size_t kMetricRouteBytes = 256;          // longer templates are `other`: nobody reads them in a legend

// Label of a method: itself if RFC 9110 or RFC 5789 names it, else `_OTHER`.
std::string_view method_label(std::string_view method);

enum class RequestEnd : std::uint8_t {
  answered,         // with whatever status
  outcome_unknown,  // it may have been run; its answer is lost
  expired,          // no answer by its deadline
  cancelled,        // the client left first
};

struct EndedRequest {
  std::string_view service{};  // empty: none was found
  std::string_view route{};    // template, the mount included; empty: unmatched
  std::string_view method{};   // as sent
  int status = 0;              // 0: nothing was sent
  RequestEnd end = RequestEnd::answered;
  std::string_view problem{};  // code of the problem document, if we answered instead of the service
  base::Duration duration{-1};  // negative: none was measured
  // At the service's side only.
  base::Duration queue_wait{};
  base::Duration service_time{};
};

class RequestMetrics {
 public:
  enum class Side : std::uint8_t {
    caller,  // gateway: how calls ended
    server,  // sidecar: queue wait and service time
  };
  // `direction` is of static life: `inbound` or `outbound`.
  RequestMetrics(Side side, std::string_view direction);

  // The families of this service stand at 0 from now on. Half of the places are kept for services that have requests:
  // announcing many names does not hide them.
  void add_service(std::string_view service);
  // Likewise the count of this problem.
  void add_problem(std::string_view code) { problems_.try_emplace(std::string(code), 0); }
  void begin() { ++in_flight_; }
  // Closes what begin() opened.
  void end(const EndedRequest& request) {
    --in_flight_;
    count(request);
  }
  // For requests that were refused before they began, and where in_flight is known otherwise.
  void count(const EndedRequest& request);
  void set_in_flight(std::int64_t in_flight) { in_flight_ = in_flight; }

  // What is counted below one limit here may be above it there: to be added up scrape after scrape into the same object,
  // so that nothing moves between series.
  void clear_counts();
  void add(const RequestMetrics& other);
  void write(MetricsWriter& out) const;

 private:
  struct KeyView {
    std::string_view service;
    std::string_view route;
    std::string_view method;  // of static life
    std::uint16_t code;       // status, or kClasses + its first digit
  };
  struct Key {
    std::string service;
    std::string route;
    std::string_view method;
    std::uint16_t code;
    operator KeyView() const { return {service, route, method, code}; }
  };
  struct Hash {
    using is_transparent = void;
    std::size_t operator()(const KeyView& key) const {
      const std::hash<std::string_view> hash;
      return hash(key.route) ^ (hash(key.service) * 31) ^ (std::size_t{key.code} * 0x9E3779B97F4A7C15U) ^ key.method.size();
    }
  };
  struct Equal {
    using is_transparent = void;
    bool operator()(const KeyView& a, const KeyView& b) const {
      return a.code == b.code && a.route == b.route && a.method == b.method && a.service == b.service;
    }
  };
  struct Series {
    std::uint64_t count = 0;
    std::uint32_t service = 0;  // index
  };
  struct Counts {
    DurationHistogram request_duration;
    DurationHistogram queue_wait;
    DurationHistogram service_time;
    std::uint64_t outcome_unknown = 0;
    std::uint64_t expired = 0;
    std::uint64_t cancelled = 0;
  };
  struct Service {
    explicit Service(std::string_view its_name) : name(its_name) {}
    std::string name;
    std::size_t series = 0;
    Counts counts;
  };

  Series& series_of(const KeyView& key);
  Series& admit(KeyView key);
  std::uint32_t service_index(std::string_view name);

  Side side_;
  std::string_view direction_;
  std::int64_t in_flight_ = 0;
  std::unordered_map<Key, Series, Hash, Equal> series_;
  std::vector<Service> services_{Service("other")};  // [0]: those above the limit
  std::map<std::string, std::uint32_t, std::less<>> service_indices_;
  std::map<std::string, std::uint64_t, std::less<>> problems_;
};

}  // namespace outrigger::telemetry
