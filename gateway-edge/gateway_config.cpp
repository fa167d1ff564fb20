#include "gateway-edge/gateway_config.h"

#include "bridge/app/name_rules.h"

namespace outrigger::gateway {
namespace {
using base::limits::kKiB;
using base::limits::kMiB;
using namespace std::chrono_literals;
}  // namespace

void declare_gateway(app::ConfigTable& table, GatewayConfig& config) {
  table.add_addresses("Gateway:Listen", config.listen, "Where HTTP clients are listened to: HOST:PORT or unix:PATH.")
      .flag("--listen", "ADDR");
  table.add_integer("Gateway:Workers", config.workers, 0, 256, "Threads that serve; 0: one per core.")
      .flag("--workers", "N");
  table.add_text("Gateway:Node:Name", config.node.name, "Display name of this gateway.");
  table.add_text("Gateway:Node:Region", config.node.region, "Region of this gateway: its own is asked before others.",
                 app::check_region);
  app::declare_messaging(table, "Gateway:Transports:Messaging", config.messaging);
  table.add_boolean("Gateway:Auth:AllowAnonymous", config.auth.allow_anonymous,
                    "Lets requests without a token in, as anonymous.");
  table.add_boolean("Gateway:Auth:EnableLegacyHeaders", config.auth.enable_legacy_headers,
                    "Sets the X-Stella-* twins of the identity headers, too.");
  table.add_boolean("Gateway:Auth:AllowScopeHeader", config.auth.allow_scope_header,
                    "Accepts scopes from a request header.");
  table.add_boolean("Gateway:Auth:EnableTenantOverride", config.auth.enable_tenant_override,
                    "Lets a request choose another tenant that its token allows.");
  table.add_size("Gateway:Limits:BodyBytes", config.limits.body_bytes, 0, 1024 * kMiB,
                 "Largest request body; above: 413.");
  // Header fields travel in a frame's head, which has this bound itself.
  table.add_size("Gateway:Limits:HeaderBytes", config.limits.header_bytes, kKiB, base::limits::kFrameHeadBytes,
                 "Largest sum of names and values of a request's header fields; above: 431.");
  table.add_integer("Gateway:Limits:HeaderCount", config.limits.header_count, 1, 2000,
                    "Most header fields of a request; above: 431.");
  table.add_size("Gateway:Limits:TargetBytes", config.limits.target_bytes, 256, 32 * kKiB,
                 "Longest request target; above: 414.");
  using telemetry::AccessFormat;
  table.add_choice<AccessFormat>("Gateway:AccessLog", config.access_log,
                                 {{"off", AccessFormat::off},
                                  {"json", AccessFormat::json},
                                  {"text", AccessFormat::text},
                                  {"brief", AccessFormat::brief}},
                                 "One record per request on standard output: JSON, Envoy's line, or a brief one.");
  app::declare_process(table, "Gateway:Process", config.process);
  table.add_duration("Gateway:Process:PreDrainWait", config.pre_drain_wait, 0ms, 1h,
                     "Part of DrainTime: how long a gateway that was told to stop still accepts, unready already, until load "
                     "balancers have noticed.");
}

void finish_gateway(app::ConfigReading& reading, GatewayConfig& config) {
  app::finish_messaging(reading, "Gateway:Transports:Messaging", config.messaging);
  if (config.pre_drain_wait > config.process.drain_time) {
    reading.fail("Gateway:Process:PreDrainWait", "is longer than Gateway:Process:DrainTime, which it is a part of");
  }
  app::finish_process(reading, "Gateway:Process", "gateway", config.process);
}

}  // namespace outrigger::gateway
