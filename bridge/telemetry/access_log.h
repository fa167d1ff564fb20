// Access records: one per request, whatever happened to it. Keys and response flags are Envoy's, so that tools and people
// know them; ours are added. No query strings, no credentials.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

#include "bridge/base/clock.h"

namespace outrigger::telemetry {

enum class AccessFormat : std::uint8_t {
  off,
  json,   // one object per line
  text,   // Envoy's default line
  brief,  // for people at a terminal
};

struct AccessRecord {
  base::WallMillis start{};
  std::string_view method;
  std::string_view path;  // without the query
  int minor_version = 1;
  int status = 0;                  // 0: nothing was sent
  std::string_view flags;          // response flag, empty for none
  std::string_view code_details;   // problem code, or via_upstream
  std::uint64_t bytes_received = 0;
  std::uint64_t bytes_sent = 0;
  base::Duration duration{};       // from the head's arrival to the last byte handed to the socket's buffer
  base::Duration service_time{};   // as the sidecar measured it; 0 = unknown
  std::string_view forwarded_for;
  std::string_view user_agent;
  std::string_view request_id;
  std::string_view authority;
  std::string_view service;
  std::string_view route;
  std::string_view instance;
  std::string_view trace_id;
  std::string_view correlation_id;  // REQUEST id
  std::uint32_t attempt = 0;
};

// One line without its end. `format` is not off.
std::string format_access(AccessFormat format, const AccessRecord& record);

}  // namespace outrigger::telemetry
