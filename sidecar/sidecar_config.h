// Configuration of the sidecar: the keys below Sidecar. Filled once at start, immutable afterwards.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "bridge/app/config_reader.h"
#include "bridge/app/listen_address.h"
#include "bridge/app/messaging_config.h"
#include "bridge/app/process_config.h"
#include "bridge/base/host_port.h"
#include "bridge/base/limits.h"
#include "bridge/telemetry/access_log.h"

namespace outrigger::sidecar {

enum class UnlistedPaths : std::uint8_t { forward, refuse };

struct SidecarConfig {
  struct Service {
    std::string name;
    std::string version = "1.0.0";
    std::string region;
    std::string upstream_url;
    base::HostPort upstream;   // upstream_url, read
    std::string mount;         // "/billing", no slash at its end, "/" or "host:example.com/api"; left empty: "/{name}"
    std::string health_path;   // empty: a TCP connect is enough
    std::string openapi_path;  // empty: the usual paths are tried
    std::chrono::milliseconds openapi_interval = std::chrono::seconds(60);  // zero: only when the service returns
    UnlistedPaths unlisted_paths = UnlistedPaths::forward;
    bool rewrite_location = true;
    std::vector<std::string> repeatable;  // "POST /search": see openapi::parse_operation
    bool idempotency_key = false;
  } service;
  int max_in_flight = 64;
  struct Limits {
    std::size_t body_bytes = base::limits::kBodyBytes;
    std::size_t buffered_bytes = base::limits::kBufferedBytes;
    std::chrono::milliseconds connect_timeout = base::limits::kConnectTimeout;
    std::chrono::milliseconds head_timeout{};  // none but the request's deadline
    std::chrono::milliseconds body_timeout = base::limits::kBodyTimeout;
    std::chrono::milliseconds write_timeout = base::limits::kWriteTimeout;
    std::chrono::milliseconds idle_timeout = base::limits::kServiceIdleTimeout;
  } limits;
  // Off: the gateway has a record of each request already, and a sidecar's standard output is read beside the service's.
  telemetry::AccessFormat access_log = telemetry::AccessFormat::off;
  bool access_log_query = false;  // with the query of the path: it may hold tokens
  app::MessagingConfig messaging;
  std::optional<app::ListenAddress> egress_listen;  // none: off
  app::ProcessConfig process;
};

// Declares every key below Sidecar. `config` must outlive the table.
void declare_sidecar(app::ConfigTable& table, SidecarConfig& config);
// After reading: what is required or concerns several keys, and derived values.
void finish_sidecar(app::ConfigReading& reading, SidecarConfig& config);

}  // namespace outrigger::sidecar
