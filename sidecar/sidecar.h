// The sidecar as one object: what it is made of, and how it starts, serves and drains. Loop thread only.
#pragma once

#include <memory>

#include "bridge/app/admin.h"
#include "bridge/app/health.h"
#include "bridge/base/budget.h"
#include "bridge/frames/queue_names.h"
#include "bridge/net/event_loop.h"
#include "bridge/router/consumer.h"
#include "bridge/valkey/valkey_bus.h"
#include "sidecar/registration.h"
#include "sidecar/service_handler.h"
#include "sidecar/service_probe.h"
#include "sidecar/sidecar_config.h"
#include "sidecar/sidecar_metrics.h"

namespace outrigger::sidecar {

class Sidecar final : private router::ConsumerHandler {
 public:
  // `on_drained` is called once, when a drain is over.
  Sidecar(net::EventLoop& loop, SidecarConfig config, frames::QueueNames names, base::UniqueFunction<void()> on_drained);

  // Opens the health listener and begins. Error: the listener cannot be opened.
  base::Result<void> start();
  // Stops reading, hands back, finishes, says goodbye, at the latest after the drain time. Once: later calls change
  // nothing.
  void drain();

 private:
  std::string with_cause(std::string what) const;
  void on_service_refused() override { probe_.report_refused(); }
  void on_reading_changed(bool is_reading) override;
  void on_bus_emptied() override { registration_.on_bus_emptied(); }
  void on_resync_requested(const frames::ResyncRequest& request) override {
    registration_.on_resync_requested(request);
  }
  void on_request_done(const router::EndedDelivery& ended) override;
  void write_record(const router::EndedDelivery& ended);

  void on_scraped(const Scraped& scraped);
  std::string describe_status() const;
  void leave(bool is_done);
  void forget_dead_peers(const std::string& queue, base::UniqueFunction<void()> next);
  void finish();

  net::EventLoop& loop_;
  SidecarConfig config_;
  frames::QueueNames names_;
  std::string instance_;
  std::vector<std::string> queues_;
  std::string inbox_;
  std::string upstream_;  // host:port, for records
  valkey::ValkeyBus bus_;
  base::Budget buffered_;
  ServiceHandler service_;
  ServiceProbe probe_;
  Registration registration_;
  router::Consumer consumer_;
  SidecarMetrics metrics_;
  app::Health health_;
  app::Admin admin_;
  net::Timer drain_timer_;
  bool is_draining_ = false;
  bool is_leaving_ = false;
  base::UniqueFunction<void()> on_drained_;
};

}  // namespace outrigger::sidecar
