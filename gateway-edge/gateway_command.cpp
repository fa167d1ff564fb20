#include "gateway-edge/gateway_command.h"

#include "bridge/app/admin.h"
#include "sidecar/sidecar_config.h"

namespace outrigger::gateway {

std::variant<GatewayConfig, app::ExitNow> load_gateway(int argc, const char* const* argv,
                                                       const app::Environment& environment,
                                                       std::istream& standard_input) {
  static const app::Program program{"outrigger-gateway", "Takes HTTP requests and hands them to services over Valkey."};
  GatewayConfig config;
  sidecar::SidecarConfig ignored;
  app::ConfigTable table;
  declare_gateway(table, config);
  sidecar::declare_sidecar(table, ignored);
  table.ignore_values_below("Sidecar");
  const auto finish = [&](app::ConfigReading& reading) {
    finish_gateway(reading, config);
    config.process.shown = app::describe_config(table, reading);
  };
  if (auto exit = app::configure(program, table, finish, argc, argv, environment, standard_input)) return *exit;
  return config;
}

}  // namespace outrigger::gateway
