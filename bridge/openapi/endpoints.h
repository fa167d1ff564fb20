// What a service offers: its endpoints as its OpenAPI document lists them, and the metadata a sidecar announces for it.
// Plain values without sockets; the route table and the merged document are made from them.
#pragma once

#include <chrono>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "bridge/base/limits.h"
#include "bridge/base/result.h"

namespace outrigger::openapi {

inline constexpr std::size_t kDocumentBytes = 16 * base::limits::kMiB;  // the largest public documents have about 12
inline constexpr int kDocumentDepth = 128;                              // real ones stay below 40
inline constexpr std::size_t kEndpoints = 20000;                        // operations per service
inline constexpr std::chrono::milliseconds kLongestTimeout = std::chrono::hours(24);

struct Endpoint {
  std::string method;              // upper case
  std::string path;                // template as in the document, base path of servers[0] before it: /v1/orders/{id}
  std::optional<bool> repeatable;  // x-router-repeatable
  std::optional<std::chrono::milliseconds> timeout;  // x-router-timeout
  bool hidden = false;                               // x-router-hidden: served, but left out of the merged document
  friend bool operator==(const Endpoint&, const Endpoint&) = default;
};

struct ServiceMetadata {
  std::string service;
  std::string service_version;
  std::string mount;             // `/billing`, `/`, `host:example.com`, `host:example.com/api`; empty = `/{service}`
  bool refuse_unlisted = false;  // UnlistedPaths: refuse
  bool rewrite_location = true;
  std::vector<Endpoint> endpoints;
  std::string document;    // OpenAPI 3 JSON text; empty if the service has none
  bool catch_all = false;  // no list of endpoints: any method on any path, `/{path}` in metrics and logs
  friend bool operator==(const ServiceMetadata&, const ServiceMetadata&) = default;
};

// Every operation of an OpenAPI 3.x document in JSON, sorted by path and method. Extensions are read from the
// operation, else from its path item: `x-router-repeatable` and `x-router-hidden` (booleans), `x-router-timeout`
// ("250ms", "30s", "5m", "1h"; at most 24h). Errors say what is wrong and where: malformed, invalid, unsupported,
// too_large.
base::Result<std::vector<Endpoint>> endpoints_of(std::string_view document);

}  // namespace outrigger::openapi
