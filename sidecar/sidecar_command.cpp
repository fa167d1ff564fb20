#include "sidecar/sidecar_command.h"

#include "bridge/app/admin.h"
#include "gateway-edge/gateway_config.h"

namespace outrigger::sidecar {

std::variant<SidecarConfig, app::ExitNow> load_sidecar(int argc, const char* const* argv,
                                                       const app::Environment& environment,
                                                       std::istream& standard_input) {
  static const app::Program program{"outrigger-sidecar",
                                    "Takes a service's requests from Valkey and calls the service on this machine."};
  SidecarConfig config;
  gateway::GatewayConfig ignored;
  app::ConfigTable table;
  declare_sidecar(table, config);
  gateway::declare_gateway(table, ignored);
  table.ignore_values_below("Gateway");
  const auto finish = [&](app::ConfigReading& reading) {
    finish_sidecar(reading, config);
    config.process.shown = app::describe_config(table, reading);
  };
  if (auto exit = app::configure(program, table, finish, argc, argv, environment, standard_input)) return *exit;
  return config;
}

}  // namespace outrigger::sidecar
