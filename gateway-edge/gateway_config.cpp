#include "gateway-edge/gateway_config.h"

#include <algorithm>

#include "bridge/app/name_rules.h"
#include "bridge/identity/envelope.h"
#include "bridge/identity/jwks.h"

namespace outrigger::gateway {
namespace {
using base::limits::kKiB;
using base::limits::kMiB;
using namespace std::chrono_literals;

// It stands in log lines; names of pods fit.
base::Result<void> check_node_name(const std::string& text) {
  constexpr std::string_view kAllowed = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";
  if (text.size() <= 63 && text.find_first_not_of(kAllowed) == std::string::npos) return {};
  return base::Error{base::Code::invalid, "'" + text + "' must be at most 63 of letters, digits, '.', '_', '-'"};
}

constexpr std::size_t kIssuers = 32;  // real gateways trust one to five
constexpr std::size_t kServices = 500;
constexpr std::size_t kEnvelopeKeys = 8;  // one signs; one or two more are on their way in or out

base::Error invalid(const std::string& text, std::string_view why) {
  return {base::Code::invalid, "'" + text + "' " + std::string(why)};
}
base::Result<void> check_not_empty(const std::string& text) {
  return text.empty() ? base::Result<void>(base::Error{base::Code::invalid, "must not be empty"})
                      : base::Result<void>();
}
base::Result<void> check_url(const std::string& text) {
  if (text.empty() || text.compare(0, 8, "https://") == 0 || text.compare(0, 7, "http://") == 0) return {};
  return invalid(text, "must begin with https:// or http://");
}
base::Result<void> check_algorithm(const std::string& text) {
  if (identity::parse_algorithm(text)) return {};
  return invalid(
      text, "is not one of RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, ES512, EdDSA, HS256, HS384, HS512");
}
base::Result<void> check_service(const std::string& text) {
  return text.empty() || text == "*" ? base::Result<void>() : app::check_service_name(text);
}
base::Result<void> check_dimension(const std::string& text) {
  if (text == "service" || text == "route" || text == "tenant" || text == "subject") return {};
  return invalid(text, "is not one of service, route, tenant, subject");
}

void declare_forwarding(app::ConfigTable& table, const std::string& path, CredentialForwarding& forwarding) {
  const std::vector<std::pair<std::string, Forwarding>> choices = {
      {"auto", Forwarding::automatic}, {"always", Forwarding::always}, {"never", Forwarding::never}};
  table.add_choice<Forwarding>(
      path + ":ForwardAuthorization", forwarding.authorization, choices,
      "Whether services get a client's Authorization. auto: unless the gateway verified the token in it.");
  table.add_choice<Forwarding>(path + ":ForwardCookie", forwarding.cookie, choices,
                               "Whether services get a client's Cookie. auto: unless the gateway verified a token.");
}

void declare_issuer(app::ConfigTable& table, const std::string& path, AuthConfig::Issuer& issuer) {
  table.add_text(path + ":Issuer", issuer.issuer, "Who signs: claim iss of its tokens, character by character.",
                 check_not_empty);
  table.add_texts(
      path + ":Audiences", issuer.audiences,
      "What its tokens must be meant for: one of these must be in claim aud. Empty: tokens must have no aud.",
      check_not_empty);
  table.add_text(
      path + ":JwksFile", issuer.jwks_file,
      "File with its keys as a JWK Set; read again when it changes. At most one of JwksFile, JwksUrl, DiscoveryUrl and "
      "Secret; none: discovery from Issuer.");
  table.add_text(path + ":JwksUrl", issuer.jwks_url, "Where its JWK Set is fetched.", check_url);
  table.add_text(
      path + ":DiscoveryUrl", issuer.discovery_url,
      "Its OpenID configuration, which names the JWK Set; empty: Issuer and /.well-known/openid-configuration.",
      check_url);
  table
      .add_text(path + ":Secret", issuer.secret, "Shared secret for HS256, HS384 or HS512, which Algorithms must name.")
      .secret();
  table.add_texts(
      path + ":Algorithms", issuer.algorithms,
      "Signature algorithms its tokens may use, each with the keys that fit. Empty: all but those with a secret.",
      check_algorithm);
  table.add_duration(path + ":ClockSkew", issuer.clock_skew, 0s, 60s, "How much its clock and this one may differ.");
}

void declare_access_rule(app::ConfigTable& table, const std::string& path, AuthConfig::Rule& item) {
  using Mode = AccessRule::Mode;
  AccessRule& rule = item.rule;
  table.add_text(path + ":Service", rule.service, "Service the rule is about; empty: any.", check_service);
  table.add_text(path + ":Method", rule.method, "Method it is about, in capitals; empty: any.");
  table.add_text(path + ":Path", rule.path,
                 "Path it is about, without the mount: a template as in the document, or the beginning of paths with a "
                 "* behind it; empty: any.");
  table.add_choice<Mode>(path + ":Mode", rule.mode, {{"add", Mode::add}, {"override", Mode::override}},
                         "Whether the rule holds besides what the service's document asks for, or in its place.");
  table.add_boolean(path + ":AllowAnonymous", rule.allow_anonymous,
                    "Lets requests without a token in (with Mode: override).");
  table.add_texts(path + ":Scopes", rule.scopes, "Scopes that a token must have, all of them.", check_not_empty);
  table.add_texts(path + ":Claims", item.claims, "Claims that a token must have, all of them: NAME, or NAME=VALUE.",
                  check_not_empty);
}

void declare_auth(app::ConfigTable& table, AuthConfig& auth) {
  using Mode = AuthConfig::Mode;
  table.add_choice<Mode>(
      "Gateway:Auth:Mode", auth.mode,
      {{"auto", Mode::automatic}, {"verify", Mode::verify}, {"passthrough", Mode::passthrough}},
      "verify: tokens are verified, and identity comes from them. passthrough: nobody's token is looked at, all are "
      "anonymous, Authorization goes on untouched. auto: verify if there are Issuers.");
  table.add_boolean("Gateway:Auth:AllowAnonymous", auth.allow_anonymous,
                    "Lets requests without a token in, as anonymous, where the endpoint permits it.");
  table.add_boolean("Gateway:Auth:EnableLegacyHeaders", auth.enable_legacy_headers,
                    "Sets the X-Stella-* twins of the identity headers, too.");
  table.add_boolean(
      "Gateway:Auth:AllowScopeHeader", auth.allow_scope_header,
      "Lets a request ask, by the scopes header, for fewer scopes than its token has. Else such a request is refused.");
  table.add_boolean("Gateway:Auth:EnableTenantOverride", auth.enable_tenant_override,
                    "Lets a request choose, by the tenant header, another tenant that its token allows.");
  table.add_boolean(
      "Gateway:Auth:DenyByDefault", auth.deny_by_default,
      "Refuses requests to endpoints about which neither the service's document nor a rule says who may use them.");
  table.add_text("Gateway:Auth:HeaderPrefix", auth.headers.prefix, "Beginning of the identity headers' names.");
  table.add_text("Gateway:Auth:LegacyHeaderPrefix", auth.headers.legacy_prefix, "Beginning of their twins' names.");
  table.add_texts("Gateway:Auth:ReservedPrefixes", auth.headers.reserved_prefixes,
                  "Beginnings of header names that are taken off every request, in any spelling; those of the identity "
                  "headers always are.",
                  check_not_empty);
  table.add_texts("Gateway:Auth:ReservedNames", auth.headers.reserved_names,
                  "Whole header names that are taken off likewise.", check_not_empty);
  table.add_texts("Gateway:Auth:Claims:Tenant", auth.claims.tenant,
                  "Claims the tenant is taken from: the first that is there.", check_not_empty);
  table.add_texts("Gateway:Auth:Claims:Project", auth.claims.project, "Claims the project is taken from: likewise.",
                  check_not_empty);
  table.add_texts("Gateway:Auth:Claims:Actor", auth.claims.actor, "Claims the actor is taken from: likewise.",
                  check_not_empty);
  table.add_texts("Gateway:Auth:Claims:Scopes", auth.claims.scopes,
                  "Claims the scopes are taken from: all of them together.", check_not_empty);
  table.add_text("Gateway:Auth:Claims:AllowedTenants", auth.claims.allowed_tenants,
                 "Claim with the tenants that may be chosen.", check_not_empty);
  table.add_items<AuthConfig::Issuer>("Gateway:Auth:Issuers", auth.issuers, kIssuers, "Whose tokens are believed.",
                                      declare_issuer);
  table.add_duration("Gateway:Auth:KeyRefreshInterval", auth.key_refresh_interval, 10s, 24h,
                     "How often keys are fetched again; an unknown key id fetches at once.");
  table.add_text(
      "Gateway:Auth:KeyCaFile", auth.key_ca_file,
      "PEM file with the authorities that may vouch for the hosts keys are fetched from; empty: those of the system.");
  table.add_integer("Gateway:Auth:CachedTokens", auth.cached_tokens, 1, 1000000,
                    "Verified tokens that each worker remembers until they expire.");
  declare_forwarding(table, "Gateway:Auth", auth.forwarding);
  table.add_items<AuthConfig::Service>(
      "Gateway:Auth:Services", auth.services, kServices, "What is different for single services.",
      [](app::ConfigTable& items, const std::string& path, AuthConfig::Service& service) {
        items.add_text(path + ":Service", service.service, "Name of the service.", app::check_service_name);
        declare_forwarding(items, path, service.forwarding);
      });
  table.add_items<AuthConfig::Rule>("Gateway:Auth:Rules", auth.rules, kAccessRules,
                                    "Who may use what, besides what the services' documents say.", declare_access_rule);
  table.add_items<AuthConfig::EnvelopeKey>(
      "Gateway:Auth:Envelope:Keys", auth.envelope_keys, kEnvelopeKeys,
      "Keys of the signed identity envelope: the first signs, the others are on their way in or out. None: no "
      "envelope.",
      [](app::ConfigTable& items, const std::string& path, AuthConfig::EnvelopeKey& key) {
        items.add_text(path + ":Id", key.id, "Name of the key, which the envelope tells.", check_not_empty);
        items.add_text(path + ":Secret", key.secret, "The key: 32 to 1024 bytes, as they stand here.").secret();
      });
  table.add_duration("Gateway:Auth:Envelope:Lifetime", auth.envelope_lifetime, 1s, 1h,
                     "How long an envelope is good for; at least the timeout of its request.");
  table.add_text("Gateway:Auth:Envelope:Issuer", auth.envelope_issuer,
                 "Member iss of the envelope: this gateway, or its environment.", check_not_empty);
}

void declare_rate_limit(app::ConfigTable& table, RateLimitConfig& config) {
  table.add_duration("Gateway:RateLimit:Timeout", config.timeout, 1ms, 10s,
                     "How long Valkey is waited for; then the request passes, and is counted.");
  table.add_items<RateLimitConfig::Rule>(
      "Gateway:RateLimit:Rules", config.rules, base::limits::kRateLimitRules,
      "Rates that requests must keep to; the most restrictive that fits wins.",
      [](app::ConfigTable& items, const std::string& path, RateLimitConfig::Rule& rule) {
        using Scope = RateLimitScope;
        RateLimitRule& limit = rule.rule;
        items.add_text(path + ":Name", limit.name, "Name of the rule, in metrics and logs.", check_not_empty);
        items.add_choice<Scope>(
            path + ":Scope", limit.scope, {{"instance", Scope::instance}, {"environment", Scope::environment}},
            "instance: counted by each gateway for itself. environment: by all together, in Valkey.");
        items.add_texts(
            path + ":Per", rule.per,
            "What has a count of its own: any of service, route, tenant, subject. Empty: one count for all.",
            check_dimension);
        items.add_text(path + ":Service", limit.service, "Service the rule is about; empty: any.");
        items.add_text(path + ":Route", limit.route,
                       "Route it is about, as metrics have it: /billing/orders/{id}; empty: any.");
        items.add_text(path + ":Tenant", limit.tenant, "Tenant it is about; empty: any.");
        items.add_integer(path + ":Limit", limit.limit, std::size_t{1}, std::size_t{1000000000},
                          "Requests per Window.");
        items.add_duration(path + ":Window", limit.window, 1ms, 24h * 31,
                           "Time in which Limit requests may come, on average.");
        items.add_integer(path + ":Burst", limit.burst, std::size_t{0}, std::size_t{1000000000},
                          "Requests that may come at once; 0: as many as Limit.");
      });
}

// What concerns several keys of one block.
void finish_issuer(app::ConfigReading& reading, const std::string& path, const AuthConfig::Issuer& issuer) {
  if (issuer.issuer.empty()) reading.fail(path + ":Issuer", "is missing: whose tokens are these?");
  const int sources =
      !issuer.jwks_file.empty() + !issuer.jwks_url.empty() + !issuer.discovery_url.empty() + !issuer.secret.empty();
  if (sources > 1) reading.fail(path + ":Issuer", "has more than one of JwksFile, JwksUrl, DiscoveryUrl and Secret");
  if (sources == 0) {
    if (const auto url = check_url(issuer.issuer); !url) {
      reading.fail(path + ":Issuer", "is no URL to discover keys at: give JwksFile, JwksUrl, DiscoveryUrl or Secret");
    }
  }
  for (const std::string& name : issuer.algorithms) {
    const bool is_symmetric = identity::AlgorithmSet::symmetric().contains(*identity::parse_algorithm(name));
    if (is_symmetric == issuer.secret.empty()) {
      reading.fail(path + ":Algorithms", is_symmetric ? name + " needs a Secret" : name + " does not go with a Secret");
    }
  }
  if (!issuer.secret.empty()) {
    if (issuer.algorithms.empty())
      return reading.fail(path + ":Algorithms", "must name HS256, HS384 or HS512 where there is a Secret");
    identity::AlgorithmSet algorithms;
    for (const std::string& name : issuer.algorithms) algorithms.add(*identity::parse_algorithm(name));
    if (!identity::AlgorithmSet::symmetric().contains(algorithms)) return;
    const auto keys = identity::KeySet::shared_secret(issuer.secret, algorithms);
    if (!keys) reading.fail(path + ":Secret", keys.error().detail);
  }
}

void finish_auth(app::ConfigReading& reading, AuthConfig& auth) {
  const std::string root = "Gateway:Auth";
  auth.headers.sets_legacy = auth.enable_legacy_headers;
  if (const auto policy = identity::HeaderPolicy::make(auth.headers); !policy) {
    reading.fail(root + ":HeaderPrefix", policy.error().detail);
  }
  if (auth.enable_legacy_headers && base::equals_ignoring_case(auth.headers.prefix, auth.headers.legacy_prefix)) {
    reading.fail(root + ":LegacyHeaderPrefix",
                 "is HeaderPrefix: each field would be there twice; or set EnableLegacyHeaders: false");
  }
  if (auth.mode == AuthConfig::Mode::verify && auth.issuers.empty()) {
    reading.fail(root + ":Mode", "verify, but there are no Gateway:Auth:Issuers whose tokens could be verified");
  }
  if (!auth.allow_anonymous && !auth.verifies()) {
    reading.fail(root + ":AllowAnonymous",
                 "false, but no tokens are verified (Gateway:Auth:Mode): nobody could be let in");
  }
  for (std::size_t i = 0; i < auth.issuers.size(); ++i) {
    const std::string path = root + ":Issuers:" + std::to_string(i);
    finish_issuer(reading, path, auth.issuers[i]);
    for (std::size_t j = 0; j < i; ++j) {
      if (auth.issuers[j].issuer == auth.issuers[i].issuer) reading.fail(path + ":Issuer", "is there twice");
    }
  }
  for (std::size_t i = 0; i < auth.services.size(); ++i) {
    const std::string path = root + ":Services:" + std::to_string(i);
    if (auth.services[i].service.empty()) reading.fail(path + ":Service", "is missing");
    for (std::size_t j = 0; j < i; ++j) {
      if (auth.services[j].service == auth.services[i].service) reading.fail(path + ":Service", "is there twice");
    }
  }
  for (std::size_t i = 0; i < auth.rules.size(); ++i) {
    AccessRule& rule = auth.rules[i].rule;
    const std::string path = root + ":Rules:" + std::to_string(i);
    rule.claims.clear();
    for (const std::string& claim : auth.rules[i].claims) {
      const std::size_t equals = claim.find('=');
      rule.claims.push_back({claim.substr(0, equals), {}});
      if (equals != std::string::npos) rule.claims.back().value = claim.substr(equals + 1);
    }
    if (const auto checked = check_access_rule(rule); !checked) reading.fail(path, checked.error().detail);
    if (!rule.allow_anonymous && !auth.verifies()) {
      reading.fail(path, "asks for a token, but none is verified (Gateway:Auth:Mode): nobody could be let in");
    }
  }
  if (!auth.envelope_keys.empty()) {
    if (const auto signer = identity::EnvelopeSigner::make(envelope_options(auth)); !signer) {
      reading.fail(root + ":Envelope:Keys:0:Id", signer.error().detail);
    }
  }
}

void finish_rate_limit(app::ConfigReading& reading, RateLimitConfig& config) {
  using Dimension = RateLimitDimension;
  std::vector<RateLimitRule> rules;
  for (RateLimitConfig::Rule& rule : config.rules) {
    rule.rule.per.clear();
    for (const Dimension dimension : {Dimension::service, Dimension::route, Dimension::tenant, Dimension::subject}) {
      if (std::find(rule.per.begin(), rule.per.end(), name_of(dimension)) != rule.per.end())
        rule.rule.per.push_back(dimension);
    }
    // Each is looked at with those before it, so that the message stands at the one it is about.
    rules.push_back(rule.rule);
    if (const auto valid = validate(rules); !valid) {
      reading.fail("Gateway:RateLimit:Rules:" + std::to_string(rules.size() - 1) + ":Name", valid.error().detail);
      return;
    }
  }
}

identity::AlgorithmSet algorithms_of(const AuthConfig::Issuer& issuer) {
  if (issuer.algorithms.empty()) return identity::AlgorithmSet::asymmetric();
  identity::AlgorithmSet algorithms;
  for (const std::string& name : issuer.algorithms) algorithms.add(*identity::parse_algorithm(name));
  return algorithms;
}
}  // namespace

identity::EnvelopeOptions envelope_options(const AuthConfig& auth) {
  identity::EnvelopeOptions options;
  for (const AuthConfig::EnvelopeKey& key : auth.envelope_keys) options.keys.push_back({key.id, key.secret});
  options.issuer = auth.envelope_issuer;
  options.lifetime = std::chrono::duration_cast<std::chrono::seconds>(auth.envelope_lifetime);
  options.prefix = auth.headers.prefix + "Identity-Envelope";
  return options;
}

app::IssuerSettings issuer_settings(const AuthConfig::Issuer& issuer) {
  using Source = app::IssuerSettings::Source;
  app::IssuerSettings settings;
  settings.rules.issuer = issuer.issuer;
  settings.rules.audiences = issuer.audiences;
  settings.rules.algorithms = algorithms_of(issuer);
  settings.rules.skew = std::chrono::duration_cast<std::chrono::seconds>(issuer.clock_skew);
  if (!issuer.secret.empty()) {
    auto keys = identity::KeySet::shared_secret(issuer.secret, settings.rules.algorithms);
    CHECK(keys.has_value());  // finish_auth has looked
    settings.source = Source::given;
    settings.keys = std::make_shared<const identity::KeySet>(std::move(*keys));
  } else if (!issuer.jwks_file.empty()) {
    settings.source = Source::file;
    settings.location = issuer.jwks_file;
  } else if (!issuer.jwks_url.empty()) {
    settings.source = Source::url;
    settings.location = issuer.jwks_url;
  } else {
    settings.location = issuer.discovery_url;
  }
  return settings;
}

void declare_gateway(app::ConfigTable& table, GatewayConfig& config) {
  table.add_addresses("Gateway:Listen", config.listen, "Where HTTP clients are listened to: HOST:PORT or unix:PATH.")
      .flag("--listen", "ADDR");
  table.add_integer("Gateway:Workers", config.workers, 0, 256, "Threads that serve; 0: one per core.")
      .flag("--workers", "N");
  table.add_text("Gateway:Node:Name", config.node.name,
                 "Name of this gateway for people: its log lines are of outrigger-gateway@NAME.", check_node_name);
  table.add_text("Gateway:Node:Region", config.node.region, "Region of this gateway: its own is asked before others.",
                 app::check_region);
  app::declare_messaging(table, "Gateway:Transports:Messaging", config.messaging);
  declare_auth(table, config.auth);
  declare_rate_limit(table, config.rate_limit);
  table.add_texts(
      "Gateway:TrustedProxies", config.trusted_proxy_ranges,
      "Addresses of proxies in front (10.0.0.0/8, 2001:db8::/32, 192.0.2.7, or unix: for peers on unix sockets) "
      "whose X-Forwarded-* and X-Request-Id are believed. What all others say of that is replaced.",
      [](const std::string& text) -> base::Result<void> {
        const auto range = net::AddressSet::make({text});
        if (!range) return range.error();
        return {};
      });
  table.add_size("Gateway:Limits:BodyBytes", config.limits.body_bytes, 0, 1024 * kMiB,
                 "Largest body: of a request, above: 413; of an answer, above: 502.");
  // Header fields travel in a frame's head, which has this bound itself.
  table.add_size("Gateway:Limits:HeaderBytes", config.limits.header_bytes, kKiB, base::limits::kFrameHeadBytes,
                 "Largest sum of names and values of a request's header fields; above: 431.");
  table.add_integer("Gateway:Limits:HeaderCount", config.limits.header_count, 1, 2000,
                    "Most header fields of a request; above: 431.");
  table.add_size("Gateway:Limits:TargetBytes", config.limits.target_bytes, 256, 32 * kKiB,
                 "Longest request target; above: 414.");
  using namespace std::chrono_literals;
  table.add_duration(
      "Gateway:Limits:HeadTimeout", config.limits.head_timeout, 10ms, 1h,
      "To the first byte on a new connection (then it is closed), and from there to the end of the head (408).");
  table.add_duration("Gateway:Limits:BodyTimeout", config.limits.body_timeout, 10ms, 1h,
                     "Longest pause in a request's body; then 408.");
  table.add_duration("Gateway:Limits:WriteTimeout", config.limits.write_timeout, 10ms, 1h,
                     "Longest time a client takes nothing of its answer; then the connection is closed.");
  table.add_duration("Gateway:Limits:IdleTimeout", config.limits.idle_timeout, 10ms, 24h,
                     "How long a connection is kept between requests. Above that of a load balancer in front.");
  table.add_integer(
      "Gateway:Limits:MinRate", config.limits.min_rate, 0, 1024 * kMiB,
      "Bytes per second that a body must come with, and an answer be taken with, on average over BodyTimeout "
      "and WriteTimeout; 0: any.");
  table.add_integer("Gateway:Limits:MaxConnections", config.limits.max_connections, 1, 1000000,
                    "Open connections, all workers together. At the limit the one that waits longest for a request is "
                    "closed for a new one; if all are in work, new ones wait.");
  table.add_size(
      "Gateway:Limits:BufferedBytes", config.limits.buffered_bytes, 8 * kMiB, 1024 * 1024 * kMiB,
      "Most bytes of requests and answers held at once, all workers together; above: 503. What is no larger than "
      "16 KiB is not counted.");
  using telemetry::AccessFormat;
  table.add_choice<AccessFormat>("Gateway:AccessLog", config.access_log,
                                 {{"off", AccessFormat::off},
                                  {"json", AccessFormat::json},
                                  {"text", AccessFormat::text},
                                  {"brief", AccessFormat::brief}},
                                 "One record per request on standard output: JSON, Envoy's line, or a brief one.");
  table.add_boolean("Gateway:AccessLogQuery", config.access_log_query,
                    "Records show the query of the path, too; it may hold tokens and personal data.");
  app::declare_process(table, "Gateway:Process", config.process);
  table.add_duration(
      "Gateway:Process:PreDrainWait", config.pre_drain_wait, 0ms, 1h,
      "Part of DrainTime: how long a gateway that was told to stop still accepts, unready already, until load "
      "balancers have noticed.");
}

void finish_gateway(app::ConfigReading& reading, GatewayConfig& config) {
  finish_auth(reading, config.auth);
  finish_rate_limit(reading, config.rate_limit);
  if (auto proxies = net::AddressSet::make(config.trusted_proxy_ranges)) config.trusted_proxies = std::move(*proxies);
  app::finish_messaging(reading, "Gateway:Transports:Messaging", config.messaging);
  if (config.pre_drain_wait > config.process.drain_time) {
    reading.fail("Gateway:Process:PreDrainWait", "is longer than Gateway:Process:DrainTime, which it is a part of");
  }
  if (config.limits.buffered_bytes < config.limits.body_bytes) {
    reading.fail("Gateway:Limits:BufferedBytes",
                 "must not be below Gateway:Limits:BodyBytes: no such body could come in");
  }
  app::finish_process(reading, "Gateway:Process", "gateway", config.process);
}

}  // namespace outrigger::gateway
