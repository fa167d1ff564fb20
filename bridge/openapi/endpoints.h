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

namespace outrigger::openapi {

inline constexpr std::size_t kDocumentBytes = 16 * base::limits::kMiB;  // all but two of 2,600 public ones are below 7
inline constexpr int kDocumentDepth = 128;                              // real ones stay below 40
inline constexpr std::size_t kDocumentValues = 1000000;  // objects, arrays and scalars; 16 MiB have 600,000
inline constexpr std::size_t kEndpoints = 20000;         // operations per service
inline constexpr std::size_t kClaims = 64;               // per endpoint; more is a mistake
inline constexpr std::size_t kClaimBytes = 1024;         // name or value of one
inline constexpr std::size_t kSecurityAlternatives = 16;  // per endpoint; real documents have up to four
inline constexpr std::size_t kSecurityScopes = 64;        // per endpoint, all alternatives together
inline constexpr std::size_t kScopeBytes = 512;           // of one; no principal has a longer one
inline constexpr std::chrono::milliseconds kLongestTimeout = std::chrono::hours(24);

// What a caller's token must have. Without a value, it is enough that the claim is there. A claim without a name is one
// that nobody has: what was written could not be read, and an open door is not the answer to a slip of the pen.
struct Claim {
  std::string name;
  std::optional<std::string> value;
  friend bool operator==(const Claim&, const Claim&) = default;
};

// One of the ways in that OpenAPI's `security` offers, as far as the gateway checks it: a verified token with all of these
// scopes. A scope without a name is one that nobody has; see Claim.
struct SecurityAlternative {
  std::vector<std::string> scopes;  // sorted, each once
  friend bool operator==(const SecurityAlternative&, const SecurityAlternative&) = default;
};
// One of them must be satisfied. Empty: a request without a token may pass, as far as the gateway is concerned.
using Security = std::vector<SecurityAlternative>;

struct Endpoint {
  std::string method;              // upper case
  std::string path;                // template as in the document, base path of servers[0] before it: /v1/orders/{id}
  std::optional<bool> repeatable;  // x-router-repeatable
  std::optional<std::chrono::milliseconds> timeout;  // x-router-timeout
  bool hidden = false;                               // x-router-hidden: served, but left out of the merged document
  std::vector<Claim> claims = {};                    // x-router-claims: all of them
  std::optional<Security> security = std::nullopt;   // nothing: the document says nothing about who may call it
  bool undocumented = false;  // Sidecar:Service:Repeatable names it, the document does not
  friend bool operator==(const Endpoint&, const Endpoint&) = default;
};

struct ServiceMetadata {
  std::string service;
  std::string service_version;
  std::string mount;             // `/billing`, `/`, `host:example.com`, `host:example.com/api`; empty = `/{service}`
  bool refuse_unlisted = false;  // UnlistedPaths: refuse
  bool rewrite_location = true;
  bool idempotency_key = false;  // the service runs requests of one Idempotency-Key once: they may be repeated
  std::vector<Endpoint> endpoints;
  std::string document;    // OpenAPI 3 JSON text; empty if the service has none
  bool catch_all = false;  // no list of endpoints: any method on any path, `/{path}` in metrics and logs
  friend bool operator==(const ServiceMetadata&, const ServiceMetadata&) = default;
};

// `POST /reports/{id}` as an endpoint that may be repeated, undocumented and hidden from the merged document. Nothing if
// it is not a method in capitals, one space and a path template.
std::optional<Endpoint> parse_operation(std::string_view text);

// Marks those of `endpoints` that `repeatable` lists (same method, same template but for the names of its parameters), whatever
// their document says of it. What is not listed in the document is added if `adds_unlisted`.
void mark_repeatable(std::vector<Endpoint>& endpoints, const std::vector<Endpoint>& repeatable, bool adds_unlisted);

}  // namespace outrigger::openapi
