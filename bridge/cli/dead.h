// `outrigger dead`: what operators do with requests that were given up (docs/operations.md, "Dead letters").
#pragma once

#include "bridge/cli/dead_options.h"

namespace outrigger::cli {

// Returns the exit code: 0, 1 (something failed, or a letter was not redriven or not answered), 2 (usage).
int run_dead(const DeadOptions& options);

}  // namespace outrigger::cli
