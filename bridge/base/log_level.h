// The log's level while the program runs: an operator may change it (POST /log-level). Any thread.
#pragma once

#include "bridge/base/log.h"

namespace outrigger::base {

void set_log_level(LogLevel level);
LogLevel log_level();
// "debug", "info", "warn", "error"
std::string_view to_string(LogLevel level);

}  // namespace outrigger::base
