// Configuration of the gateway: the keys below Gateway. Filled once at start, immutable afterwards.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "bridge/app/config_reader.h"
#include "bridge/app/issuer_keys.h"
#include "bridge/app/listen_address.h"
#include "bridge/app/messaging_config.h"
#include "bridge/app/process_config.h"
#include "bridge/base/limits.h"
#include "bridge/identity/envelope.h"
#include "bridge/identity/header_policy.h"
#include "bridge/net/address_set.h"
#include "bridge/telemetry/access_log.h"
#include "gateway-edge/access_rules.h"
#include "gateway-edge/rate_limit_rules.h"

namespace outrigger::gateway {

// Whether a service gets a client's Authorization and Cookie.
enum class Forwarding : std::uint8_t {
  automatic,  // not with a token that the gateway verified: the service has the identity fields, and no use for the
              // rest
  always,
  never,
};
struct CredentialForwarding {
  Forwarding authorization = Forwarding::automatic;
  Forwarding cookie = Forwarding::automatic;
};

struct AuthConfig {
  enum class Mode : std::uint8_t { automatic, verify, passthrough };
  struct Issuer {
    std::string issuer;
    std::vector<std::string> audiences;
    std::string jwks_file;  // at most one of these four; none: discovery from `issuer`
    std::string jwks_url;
    std::string discovery_url;
    std::string secret;
    std::vector<std::string> algorithms;  // empty: all but HS
    std::chrono::milliseconds clock_skew{30000};
  };
  struct Service {
    std::string service;
    CredentialForwarding forwarding;
  };
  struct Rule {
    AccessRule rule;
    std::vector<std::string> claims;  // NAME or NAME=VALUE; made into rule.claims by finish_gateway
  };
  struct EnvelopeKey {
    std::string id;
    std::string secret;
  };
  Mode mode = Mode::automatic;
  bool allow_anonymous = true;
  bool enable_legacy_headers = true;
  bool allow_scope_header = false;
  bool enable_tenant_override = false;
  bool deny_by_default = false;
  identity::HeaderNames headers;
  identity::ClaimNames claims;
  std::vector<Issuer> issuers;
  std::chrono::milliseconds key_refresh_interval{5 * 60 * 1000};
  std::string key_ca_file;
  std::size_t cached_tokens = 4096;  // per worker
  CredentialForwarding forwarding;
  std::vector<Service> services;
  std::vector<Rule> rules;
  std::vector<EnvelopeKey> envelope_keys;  // the first signs; none: no envelope
  std::chrono::milliseconds envelope_lifetime{60000};
  std::string envelope_issuer = "outrigger";

  bool verifies() const { return mode == Mode::verify || (mode == Mode::automatic && !issuers.empty()); }
};

struct RateLimitConfig {
  struct Rule {
    RateLimitRule rule;
    std::vector<std::string> per;  // made into rule.per by finish_gateway
  };
  std::chrono::milliseconds timeout{base::limits::kRateLimitTimeout};
  std::vector<Rule> rules;
};

struct GatewayConfig {
  std::vector<app::ListenAddress> listen{{"0.0.0.0", 8080, {}}};
  int workers = 0;  // 0: one per core
  struct Node {
    std::string name;  // for people; routing never looks at it
    std::string region;
  } node;
  app::MessagingConfig messaging;
  AuthConfig auth;
  RateLimitConfig rate_limit;
  net::AddressSet trusted_proxies;  // made of the next by finish_gateway
  std::vector<std::string> trusted_proxy_ranges;
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
  bool access_log_query = false;                                       // with the query of the path: it may hold tokens
  app::ProcessConfig process;
  std::chrono::milliseconds pre_drain_wait{0};  // part of process.drain_time
};

// What the signer of envelopes is made of. REQUIRES keys.
identity::EnvelopeOptions envelope_options(const AuthConfig& auth);

// An issuer, and where its keys come from. REQUIRES that finish_gateway found nothing wrong.
app::IssuerSettings issuer_settings(const AuthConfig::Issuer& issuer);

// Declares every key below Gateway. `config` must outlive the table.
void declare_gateway(app::ConfigTable& table, GatewayConfig& config);
// After reading: what concerns several keys, and derived values.
void finish_gateway(app::ConfigReading& reading, GatewayConfig& config);

}  // namespace outrigger::gateway
