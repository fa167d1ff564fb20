// Access records: one per request, whatever happened to it. Keys and response flags are Envoy's, so that tools and people
// know them; ours are added. No credentials, and no query unless the owner of the path asks for it. docs/http.md lists
// every field and flag for operators.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
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

// Response flags with Envoy's meaning: the one table of them. The status beside each is what the client got.
namespace flag {
inline constexpr std::string_view kNone;
inline constexpr std::string_view kNoRoute = "NR";              // 404, 405, 508: nothing to send it to
inline constexpr std::string_view kNoHealthyUpstream = "UH";    // 503: no live instance
inline constexpr std::string_view kUpstreamConnect = "UF";      // 502, 503: no connection to the service, or the bus
inline constexpr std::string_view kUpstreamOverflow = "UO";     // 503: too many wait already
inline constexpr std::string_view kUpstreamTimeout = "UT";      // 504: no answer by the deadline
inline constexpr std::string_view kUpstreamClosed = "UC";       // 502: the service, or the way to it, broke off
inline constexpr std::string_view kUpstreamRetryLimit = "URX";  // 502: no attempts left
inline constexpr std::string_view kUpstreamProtocol = "UPE";    // 502: the answer is no HTTP
inline constexpr std::string_view kDownstreamClosed = "DC";     // the client left first
inline constexpr std::string_view kDownstreamProtocol = "DPE";  // 400, 413, 414, 431, 501, 505: against the protocol
inline constexpr std::string_view kInvalidHeader = "IH";        // 400: what it asks for is not allowed
inline constexpr std::string_view kStreamIdle = "SI";           // 408: the client stopped sending
inline constexpr std::string_view kRateLimited = "RL";          // 429
inline constexpr std::string_view kUnauthorized = "UAEX";       // 401, 403
inline constexpr std::string_view kOverload = "OM";             // 503: the process has reached a limit of its own
inline constexpr std::string_view kLocalHealth = "LH";          // sidecar: its service is not healthy, handed back
inline constexpr std::string_view kLocalReset = "LR";           // we broke it off: the drain time was over
}  // namespace flag

// How one request ended; views are good for the call they are passed to. What is empty, or has no value, is unset: null
// in JSON, `-` in text.
struct AccessRecord {
  base::WallMillis start{};
  std::string_view method;
  std::string_view path;  // without the query, unless that is asked for
  int minor_version = -1;          // of HTTP/1; -1: not known
  int status = 0;                  // 0: nothing was sent
  std::string_view flags;
  std::string_view code_details;   // problem code, via_upstream, or what a flag leaves open
  std::uint64_t bytes_received = 0;  // of the body
  std::uint64_t bytes_sent = 0;      // of the body; what the client did not take is not counted
  base::Duration duration{};         // from the head's arrival until the last byte was with the kernel
  std::optional<base::Duration> service_time;  // as the sidecar measured it
  std::string_view forwarded_for;
  std::string_view user_agent;
  std::string_view request_id;
  std::string_view authority;
  std::string_view upstream_host;
  std::string_view upstream_cluster;
  std::string_view route;  // mount and template
  std::string_view trace_id;
  std::string_view span_id;
  std::string_view service;
  std::string_view instance;
  std::string_view correlation_id;  // REQUEST id
  std::uint32_t attempt = 0;        // 0: it was not delivered, or that is not known
  std::optional<base::Duration> queue_wait;
  std::string_view subject;
};

// Appends one line without its end to `out`. `format` is not off.
void append_access(std::string& out, AccessFormat format, const AccessRecord& record);

// Formats `record` and gives it to the log's writer; nothing if `format` is off.
void write_access(AccessFormat format, const AccessRecord& record);

}  // namespace outrigger::telemetry
