#include "gateway-edge/gateway_config.h"

#include "bridge/app/name_rules.h"

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
}  // namespace

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
  table.add_boolean("Gateway:Auth:AllowAnonymous", config.auth.allow_anonymous,
                    "Lets requests without a token in, as anonymous. Tokens are not read in this version: false is "
                    "refused.");
  table
      .add_boolean("Gateway:Auth:EnableLegacyHeaders", config.auth.enable_legacy_headers,
                   "Sets the X-Stella-* twins of the identity headers, too.")
      .no_effect();
  table
      .add_boolean("Gateway:Auth:AllowScopeHeader", config.auth.allow_scope_header,
                   "Accepts scopes from a request header.")
      .no_effect();
  table
      .add_boolean("Gateway:Auth:EnableTenantOverride", config.auth.enable_tenant_override,
                   "Lets a request choose another tenant that its token allows.")
      .no_effect();
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
  table.add_duration("Gateway:Limits:HeadTimeout", config.limits.head_timeout, 10ms, 1h,
                     "To the first byte on a new connection (then it is closed), and from there to the end of the head (408).");
  table.add_duration("Gateway:Limits:BodyTimeout", config.limits.body_timeout, 10ms, 1h,
                     "Longest pause in a request's body; then 408.");
  table.add_duration("Gateway:Limits:WriteTimeout", config.limits.write_timeout, 10ms, 1h,
                     "Longest time a client takes nothing of its answer; then the connection is closed.");
  table.add_duration("Gateway:Limits:IdleTimeout", config.limits.idle_timeout, 10ms, 24h,
                     "How long a connection is kept between requests. Above that of a load balancer in front.");
  table.add_integer("Gateway:Limits:MinRate", config.limits.min_rate, 0, 1024 * kMiB,
                    "Bytes per second that a body must come with, and an answer be taken with, on average over BodyTimeout "
                    "and WriteTimeout; 0: any.");
  table.add_integer("Gateway:Limits:MaxConnections", config.limits.max_connections, 1, 1000000,
                    "Open connections, all workers together. At the limit the one that waits longest for a request is "
                    "closed for a new one; if all are in work, new ones wait.");
  table.add_size("Gateway:Limits:BufferedBytes", config.limits.buffered_bytes, 8 * kMiB, 1024 * 1024 * kMiB,
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
  table.add_duration("Gateway:Process:PreDrainWait", config.pre_drain_wait, 0ms, 1h,
                     "Part of DrainTime: how long a gateway that was told to stop still accepts, unready already, until load "
                     "balancers have noticed.");
}

void finish_gateway(app::ConfigReading& reading, GatewayConfig& config) {
  if (!config.auth.allow_anonymous) {
    // To ignore it would let everybody in.
    reading.fail("Gateway:Auth:AllowAnonymous",
                 "false, but this version cannot check tokens: nobody could be let in; set it to true");
  }
  app::finish_messaging(reading, "Gateway:Transports:Messaging", config.messaging);
  if (config.pre_drain_wait > config.process.drain_time) {
    reading.fail("Gateway:Process:PreDrainWait", "is longer than Gateway:Process:DrainTime, which it is a part of");
  }
  if (config.limits.buffered_bytes < config.limits.body_bytes) {
    reading.fail("Gateway:Limits:BufferedBytes", "must not be below Gateway:Limits:BodyBytes: no such body could come in");
  }
  app::finish_process(reading, "Gateway:Process", "gateway", config.process);
}

}  // namespace outrigger::gateway
