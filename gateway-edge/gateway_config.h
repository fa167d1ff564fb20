// Configuration of the gateway: the keys below Gateway. Filled once at start, immutable afterwards.
#pragma once

#include <chrono>
#include <cstddef>
#include <string>
#include <vector>

#include "bridge/app/config_reader.h"
#include "bridge/app/listen_address.h"
#include "bridge/app/messaging_config.h"
#include "bridge/app/process_config.h"
#include "bridge/base/limits.h"
#include "bridge/telemetry/access_log.h"

namespace outrigger::gateway {

struct GatewayConfig {
  std::vector<app::ListenAddress> listen{{"0.0.0.0", 8080, {}}};
  int workers = 0;  // 0: one per core
  struct Node {
    std::string name;  // for people; routing never looks at it
    std::string region;
  } node;
  app::MessagingConfig messaging;
  struct Auth {
    bool allow_anonymous = true;
    bool enable_legacy_headers = true;
    bool allow_scope_header = false;
    bool enable_tenant_override = false;
  } auth;
  struct Limits {
    std::size_t body_bytes = base::limits::kBodyBytes;
    std::size_t header_bytes = base::limits::kHeaderBytes;
    std::size_t header_count = base::limits::kHeaderCount;
    std::size_t target_bytes = base::limits::kTargetBytes;
    std::chrono::milliseconds head_timeout = base::limits::kHeadTimeout;
    std::chrono::milliseconds body_timeout = base::limits::kBodyTimeout;
    std::chrono::milliseconds write_timeout = base::limits::kWriteTimeout;
    std::chrono::milliseconds idle_timeout = base::limits::kIdleTimeout;
    std::size_t min_rate = base::limits::kMinRate;                // bytes/s
    std::size_t max_connections = base::limits::kMaxConnections;  // of all workers together
    std::size_t buffered_bytes = base::limits::kBufferedBytes;    // likewise
  } limits;
  telemetry::AccessFormat access_log = telemetry::AccessFormat::json;  // records go to standard output
  bool access_log_query = false;  // with the query of the path: it may hold tokens
  app::ProcessConfig process;
  std::chrono::milliseconds pre_drain_wait{0};  // part of process.drain_time
};

// Declares every key below Gateway. `config` must outlive the table.
void declare_gateway(app::ConfigTable& table, GatewayConfig& config);
// After reading: what concerns several keys, and derived values.
void finish_gateway(app::ConfigReading& reading, GatewayConfig& config);

}  // namespace outrigger::gateway
