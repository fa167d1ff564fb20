// SidecarMetrics: what /metrics of the sidecar shows: the calls of its service, counted here, and what the parts of the
// sidecar count themselves, read when asked. Loop thread only.
#pragma once

#include <memory>
#include <string>

#include "bridge/app/health.h"
#include "bridge/openapi/endpoints.h"
#include "bridge/router/consumer.h"
#include "bridge/router/route_table.h"
#include "bridge/telemetry/request_metrics.h"
#include "bridge/valkey/valkey_bus.h"
#include "sidecar/service_probe.h"

namespace outrigger::sidecar {

class SidecarMetrics final : public app::MetricsSource {
 public:
  // References outlive this object; they are not used before the first scrape.
  SidecarMetrics(const valkey::ValkeyBus& bus, const router::Consumer& consumer, const ServiceProbe& probe,
                 const base::Budget& buffered, std::string service);

  // The endpoints whose templates label requests from now on, as the gateway has them.
  void set_routes(const openapi::ServiceMetadata& metadata);
  // `status` 0: the service broke off or was too slow (`is_timeout`); counted as what the caller will be answered.
  void on_request_done(const frames::Request& request, int status, bool is_timeout, base::Duration service_time,
                       base::Duration queue_wait);

  void collect(base::UniqueFunction<void()> done) override { done(); }
  void write(telemetry::MetricsWriter& out) const override;

 private:
  const valkey::ValkeyBus& bus_;
  const router::Consumer& consumer_;
  const ServiceProbe& probe_;
  const base::Budget& buffered_;
  std::string service_;
  std::unique_ptr<const router::RouteTable> routes_;
  std::string mount_;  // path of it; empty for `/` and hosts
  std::size_t endpoints_ = 0;
  bool is_document_used_ = false;
  std::string path_;   // scratch: mount and target
  mutable telemetry::RequestMetrics requests_{telemetry::RequestMetrics::Side::server, "inbound"};
};

}  // namespace outrigger::sidecar
