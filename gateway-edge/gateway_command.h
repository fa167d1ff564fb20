// The command line of outrigger-gateway.
#pragma once

#include <iostream>
#include <variant>

#include "bridge/app/command_line.h"
#include "gateway-edge/gateway_config.h"

namespace outrigger::gateway {

// A configuration to serve with, or how to exit. One file may serve both programs: the Sidecar section is ignored but
// for names that nobody knows.
std::variant<GatewayConfig, app::ExitNow> load_gateway(int argc, const char* const* argv,
                                                       const app::Environment& environment,
                                                       std::istream& standard_input = std::cin);

}  // namespace outrigger::gateway
