#include "sidecar/sidecar_command.h"

#include "gateway-edge/gateway_config.h"

namespace outrigger::sidecar {

std::variant<SidecarConfig, app::ExitNow> load_sidecar(int argc, const char* const* argv,
                                                       const app::Environment& environment,
                                                       std::istream& standard_input) {
  static const app::Program program{"outrigger-sidecar",
                                    "Takes a service's requests from Valkey and calls the service on this machine.",
                                    "Sidecar",
                                    {{"--service", "NAME", "Sidecar:Service:Name"},
                                     {"--upstream", "URL", "Sidecar:Service:Upstream"},
                                     {"--valkey", "URL", "Sidecar:Messaging:ConnectionString"},
                                     {"--service-version", "V", "Sidecar:Service:Version"},
                                     {"--region", "R", "Sidecar:Service:Region"},
                                     {"--mount", "PATH", "Sidecar:Service:Mount"},
                                     {"--egress", "ADDR", "Sidecar:Egress:Listen"},
                                     {"--health-path", "P", "Sidecar:Service:HealthPath"},
                                     {"--openapi-path", "P", "Sidecar:Service:OpenApiPath"},
                                     {"--max-in-flight", "N", "Sidecar:MaxInFlight"}}};
  SidecarConfig config;
  gateway::GatewayConfig ignored;
  app::ConfigTable table;
  declare_sidecar(table, config);
  gateway::declare_gateway(table, ignored);
  table.ignore_values_below("Gateway");
  const auto finish = [&config](app::ConfigReading& reading) { finish_sidecar(reading, config); };
  if (auto exit = app::configure(program, table, finish, argc, argv, environment, standard_input)) return *exit;
  return config;
}

}  // namespace outrigger::sidecar
