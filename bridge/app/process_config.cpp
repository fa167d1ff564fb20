#include "bridge/app/process_config.h"

namespace outrigger::app {

using namespace std::chrono_literals;
using base::LogFormat;
using base::LogLevel;

void declare_process(ConfigTable& table, const std::string& section, ProcessConfig& config) {
  const std::string at = section + ":";
  table.add_address(at + "Health", config.health, "Listener for health and metrics, read-only; off: none.")
      .flag("--health", "ADDR");
  table.add_address(at + "Admin", config.admin, "Listener for operators; off: none. A TCP address needs AdminToken.")
      .flag("--admin", "ADDR");
  table.add_text(at + "AdminToken", config.admin_token, "What operators must present at a TCP admin listener.")
      .secret();
  table
      .add_duration(at + "DrainTime", config.drain_time, 0ms, 1h,
                    "How long the first SIGTERM waits for what is running.")
      .flag("--drain-time", "DURATION");
  table
      .add_choice<LogLevel>(
          at + "LogLevel", config.log_level,
          {{"debug", LogLevel::debug}, {"info", LogLevel::info}, {"warn", LogLevel::warn}, {"error", LogLevel::error}},
          "Least severe level that is written.")
      .flag("--log-level", "LEVEL");
  table
      .add_choice<LogFormat>(at + "LogFormat", config.log_format,
                             {{"json", LogFormat::json}, {"text", LogFormat::text}}, "How log lines are written.")
      .flag("--log-format", "FORMAT");
}

void finish_process(ConfigReading& reading, const std::string& section, const std::string& name,
                    ProcessConfig& config) {
  config.warnings = reading.warnings();
  config.admin_is_default = reading.level_of(section + ":Admin") == ConfigLevel::fallback;
  if (!config.admin) return;
  constexpr std::string_view kPlaceholder = "{name}";
  std::string& path = config.admin->unix_path;
  const std::size_t at = path.find(kPlaceholder);
  if (at != std::string::npos) path.replace(at, kPlaceholder.size(), name);
  if (!config.admin->is_unix() && config.admin_token.empty()) {
    reading.fail(section + ":Admin", "the TCP address '" + to_string(*config.admin) + "' needs a token: set " +
                                         section + ":AdminTokenFile, or use unix:PATH");
  }
}

void log_warnings(const ProcessConfig& config) {
  for (const std::string& warning : config.warnings) base::log_warn("configuration", {{"what", warning}});
}

}  // namespace outrigger::app
