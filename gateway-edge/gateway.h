// The gateway as one object: a control loop (the main thread's) and workers, each a thread with its own loop, listeners,
// bus and dispatcher. Threads share nothing but immutable views, handed over through mailboxes.
#pragma once

#include <memory>
#include <thread>
#include <vector>

#include "bridge/app/health.h"
#include "bridge/frames/queue_names.h"
#include "bridge/identity/header_policy.h"
#include "bridge/net/event_loop.h"
#include "bridge/valkey/valkey_bus.h"
#include "gateway-edge/control.h"
#include "gateway-edge/gateway_config.h"
#include "gateway-edge/gateway_metrics.h"

namespace outrigger::gateway {

class Gateway {
 public:
  Gateway(net::EventLoop& loop, GatewayConfig config, frames::QueueNames names);
  ~Gateway();
  Gateway(const Gateway&) = delete;
  Gateway& operator=(const Gateway&) = delete;

  // Opens every listener, then starts the workers. Error: a listener cannot be opened.
  base::Result<void> start();
  // Unready, accepts no more, finishes what runs, ends the workers; then `done`. At the latest after the drain time.
  void drain(base::UniqueFunction<void()> done);

 private:
  class Worker;
  void on_worker_drained();

  net::EventLoop& loop_;
  GatewayConfig config_;
  frames::QueueNames names_;
  identity::HeaderPolicy policy_;
  std::string id_;
  valkey::ValkeyBus bus_;
  std::vector<std::unique_ptr<Worker>> workers_;
  std::unique_ptr<Control> control_;
  std::unique_ptr<GatewayMetrics> metrics_;
  app::Health health_;
  net::Timer drain_timer_;
  std::size_t draining_workers_ = 0;
  base::UniqueFunction<void()> on_drained_;
};

}  // namespace outrigger::gateway
