// The gateway as one object: a control loop (the main thread's) and workers, each a thread with its own loop, listeners,
// bus and dispatcher. Threads share immutable views, handed over through mailboxes, and what is counted for all of them and
// looks after itself: places, memory, rate limits. Keys are fetched by the main thread; workers ask it by mailbox.
#pragma once

#include <memory>
#include <optional>
#include <thread>
#include <vector>

#include "bridge/app/admin.h"
#include "bridge/app/health.h"
#include "bridge/base/budget.h"
#include "bridge/frames/queue_names.h"
#include "bridge/http1/http_server.h"
#include "bridge/identity/header_policy.h"
#include "bridge/net/event_loop.h"
#include "bridge/valkey/valkey_bus.h"
#include "gateway-edge/control.h"
#include "gateway-edge/gateway_config.h"
#include "gateway-edge/gateway_metrics.h"
#include "gateway-edge/key_keeper.h"
#include "gateway-edge/rate_limits.h"

namespace outrigger::gateway {

class Gateway {
 public:
  // `on_drained` is called once, when a drain is over.
  Gateway(net::EventLoop& loop, GatewayConfig config, frames::QueueNames names, base::UniqueFunction<void()> on_drained);
  ~Gateway();
  Gateway(const Gateway&) = delete;
  Gateway& operator=(const Gateway&) = delete;

  // Opens every listener, reads the files with keys, then starts the workers. Error: one of these cannot be done.
  base::Result<void> start();
  // Unready; after the pre-drain wait accepts no more, finishes what runs, ends the workers. All within the drain time.
  // Once: later calls change nothing.
  void drain();

 private:
  class Worker;
  base::Result<void> start_keys();
  void drain_workers();
  void on_worker_drained();

  net::EventLoop& loop_;
  GatewayConfig config_;
  frames::QueueNames names_;
  // Of all workers, and outlive them.
  identity::HeaderPolicy policy_;
  std::optional<identity::EnvelopeSigner> envelope_;
  std::optional<RateLimits> rate_limits_;  // if there are rules
  std::unique_ptr<KeyKeeper> keys_;        // if tokens are verified
  std::string id_;
  http1::ConnectionPlaces places_;
  base::Budget buffered_;
  valkey::ValkeyBus bus_;
  std::vector<std::unique_ptr<Worker>> workers_;
  std::unique_ptr<Control> control_;
  std::unique_ptr<GatewayMetrics> metrics_;
  app::Health health_;
  app::Admin admin_;
  net::Timer pre_drain_timer_;
  net::Timer drain_timer_;
  bool is_draining_ = false;
  std::size_t draining_workers_ = 0;
  base::UniqueFunction<void()> on_drained_;
};

}  // namespace outrigger::gateway
