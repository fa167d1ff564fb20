// What every program has: its listeners for operators, its log, its way to stop. Keys below <Program>:Process, and the
// flags --health --admin --drain-time --log-level --log-format.
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <vector>

#include "bridge/app/config_reader.h"
#include "bridge/base/log.h"

namespace outrigger::app {

struct ProcessConfig {
  std::vector<std::string> warnings;  // about the configuration, for log_warnings
  // Read-only: health and metrics. None: off.
  std::optional<ListenAddress> health = ListenAddress{"0.0.0.0", 9464, {}};
  // What changes or shows traffic. None: off.
  std::optional<ListenAddress> admin = ListenAddress{{}, 0, "/run/outrigger/{name}.sock"};
  bool admin_is_default = false;  // failing to open it is a warning then; its folder may fall back to $XDG_RUNTIME_DIR
  std::string admin_token;        // demanded at a TCP admin listener
  std::chrono::milliseconds drain_time = std::chrono::seconds(25);
  base::LogLevel log_level = base::LogLevel::info;
  base::LogFormat log_format = base::LogFormat::json;
  std::string shown;  // the configuration in effect as GET /config of the admin listener shows it
};

// Declares the keys below `section` ("Gateway:Process"). `config` must outlive the table.
void declare_process(ConfigTable& table, const std::string& section, ProcessConfig& config);
// After reading: checks, and puts `name` in place of {name} in the path of the admin socket.
void finish_process(ConfigReading& reading, const std::string& section, const std::string& name, ProcessConfig& config);

// Once the log runs: a line for each.
void log_warnings(const ProcessConfig& config);

}  // namespace outrigger::app
