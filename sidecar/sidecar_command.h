// The command line of outrigger-sidecar.
#pragma once

#include <iostream>
#include <variant>

#include "bridge/app/command_line.h"
#include "sidecar/sidecar_config.h"

namespace outrigger::sidecar {

// A configuration to serve with, or how to exit. One file may serve both programs: the Gateway section is ignored but
// for names that nobody knows.
std::variant<SidecarConfig, app::ExitNow> load_sidecar(int argc, const char* const* argv,
                                                       const app::Environment& environment,
                                                       std::istream& standard_input = std::cin);

}  // namespace outrigger::sidecar
