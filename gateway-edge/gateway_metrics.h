// GatewayMetrics: what /metrics of the gateway shows. For each scrape it asks every worker for its counts, and the bus for
// each service's queue: nothing is sampled while nobody asks. Both are given a second. A worker that does not answer keeps
// its last counts (a counter that fell would look like a restart); of a queue that could not be asked nothing is shown.
// Main loop only.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "bridge/app/health.h"
#include "bridge/app/process_metrics.h"
#include "bridge/base/budget.h"
#include "bridge/http1/http_server.h"
#include "bridge/messaging/bus.h"
#include "bridge/net/event_loop.h"
#include "bridge/net/timer.h"
#include "bridge/router/dispatcher.h"
#include "bridge/telemetry/request_metrics.h"
#include "gateway-edge/authenticator.h"
#include "gateway-edge/control.h"
#include "gateway-edge/key_keeper.h"
#include "gateway-edge/rate_limits.h"

namespace outrigger::gateway {

inline constexpr auto kCollectTime = std::chrono::seconds(1);  // a scrape's own timeout is ten by default
inline constexpr std::size_t kQueuesPerService = 64;           // addresses asked for; more versions at once are a mistake

// One worker's counts, a copy.
struct WorkerReport {
  telemetry::RequestMetrics requests{telemetry::RequestMetrics::Side::caller, "inbound"};
  router::DispatcherCounters calls;
  std::uint64_t pending_calls = 0;
  std::uint64_t connections = 0;
  http1::HttpServerCounters http;
  app::BusNumbers bus;
  Authenticator::Counters authentications;
  RateLimitCounters rate_limits;
  bool is_final = false;  // the worker has drained, and is asked no more
};

void add(http1::HttpServerCounters& sum, const http1::HttpServerCounters& more);

class GatewayMetrics final : public app::MetricsSource {
 public:
  // What all threads share, and may have together.
  struct Shares {
    const base::Budget& connections;
    const base::Budget& buffered;  // bytes
  };
  // Asks each worker to bring its report to on_report(), with this number.
  using AskWorkers = base::UniqueFunction<void(std::uint64_t scrape)>;
  // References outlive this object.
  GatewayMetrics(net::EventLoop& loop, messaging::Bus& bus, const telemetry::DurationHistogram& round_trips,
                 const Control& control, const frames::QueueNames& names, Shares shares, std::size_t workers,
                 AskWorkers ask_workers);

  // Shows the families of rate limits; they outlive this object. Without rules there is nothing to show.
  void set_rate_limits(const RateLimits& limits) { rate_limits_ = &limits; }
  // Shows what became of tokens and keys; `keys` outlives this object.
  void set_keys(const KeyKeeper& keys) { keys_ = &keys; }
  // Also one that comes late or unasked: it is newer than what is there.
  void on_report(std::size_t worker, std::uint64_t scrape, WorkerReport report);

  void collect(base::UniqueFunction<void()> done) override;
  void write(telemetry::MetricsWriter& out) const override;

 private:
  struct Worker {
    WorkerReport last;
    std::uint64_t scrape = 0;  // that `last` was brought for
  };
  struct Queue {
    std::optional<messaging::QueueStatistics> statistics;
    std::optional<std::uint64_t> consumers;
  };

  void choose_services();
  void ask_bus();
  void answered();
  void finish();
  void write_calls(telemetry::MetricsWriter& out) const;
  void write_authentications(telemetry::MetricsWriter& out) const;
  void write_rate_limits(telemetry::MetricsWriter& out) const;
  void write_queues(telemetry::MetricsWriter& out) const;
  void write_instances(telemetry::MetricsWriter& out) const;
  void write_bus(telemetry::MetricsWriter& out) const;

  messaging::Bus& bus_;
  const telemetry::DurationHistogram& round_trips_;
  const Control& control_;
  const frames::QueueNames& names_;
  Shares shares_;
  const RateLimits* rate_limits_ = nullptr;
  const KeyKeeper* keys_ = nullptr;
  AskWorkers ask_workers_;
  net::Timer deadline_;
  std::vector<Worker> workers_;
  telemetry::RequestMetrics merged_{telemetry::RequestMetrics::Side::caller, "inbound"};
  std::map<std::string, Queue, std::less<>> queues_;  // by service: those that are shown
  std::size_t services_left_out_ = 0;
  std::uint64_t scrape_ = 0;
  std::size_t outstanding_ = 0;
  std::uint64_t incomplete_ = 0;
  base::UniqueFunction<void()> done_;  // of the scrape under way
};

}  // namespace outrigger::gateway
