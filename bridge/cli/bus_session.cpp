#include "bridge/cli/bus_session.h"

#include "bridge/base/log_level.h"

namespace outrigger::cli {
namespace {

using base::Code;
using base::Error;
using base::Result;
using namespace std::chrono_literals;

constexpr char kGatewaySection[] = "Gateway:Transports:Messaging";
constexpr char kSidecarSection[] = "Sidecar:Messaging";
constexpr base::Duration kPatience = 10s;  // to the first answer of a server that takes the connection and is silent
constexpr base::Duration kTick = 20ms;

bool is_set(const app::ConfigTable& table, const app::ConfigReading& reading, const std::string& section) {
  for (const app::ConfigKey& key : table.keys()) {
    const app::ConfigLevel level = reading.level_of(key.path);
    if (!key.path.starts_with(section + ":")) continue;
    if (level == app::ConfigLevel::file || level == app::ConfigLevel::environment) return true;
  }
  return false;
}

// Whether an operator's command finds the same things by both.
bool is_same_bus(const app::MessagingConfig& a, const app::MessagingConfig& b) {
  const auto place = [](const valkey::ValkeyAddress& address) {
    return std::tuple(address.to_string_redacted(), address.user, address.password, address.database);
  };
  return a.names == b.names && place(a.valkey) == place(b.valkey);
}

}  // namespace

Result<app::MessagingConfig> read_bus_config(const BusOptions& options, const app::Environment& environment,
                                             std::istream& standard_input) {
  app::MessagingConfig gateway;
  app::MessagingConfig sidecar;
  app::ConfigTable table;
  app::declare_messaging(table, kGatewaySection, gateway);
  app::declare_messaging(table, kSidecarSection, sidecar);
  table.pass_over_other_keys();

  app::ConfigSources sources;
  sources.environment = environment;
  if (!options.config.empty()) {
    auto text = app::read_config_file(options.config, standard_input);
    if (!text) return text.error();
    sources.file_name = options.config == "-" ? "standard input" : options.config;
    sources.file_text = std::move(*text);
  }
  if (!options.valkey.empty()) {
    for (const std::string section : {kGatewaySection, kSidecarSection}) {
      sources.flags.push_back({"--valkey", section + ":ConnectionString", {options.valkey}});
    }
  }
  app::ConfigReading reading = app::read_config(table, sources);
  const bool has_gateway = is_set(table, reading, kGatewaySection);
  const bool has_sidecar = is_set(table, reading, kSidecarSection);
  const bool is_sidecar = options.section == "sidecar" || (options.section.empty() && has_sidecar && !has_gateway);
  const bool are_both = options.section.empty() && has_gateway && has_sidecar;
  if (!is_sidecar) app::finish_messaging(reading, kGatewaySection, gateway);
  if (is_sidecar || are_both) app::finish_messaging(reading, kSidecarSection, sidecar);
  if (reading.has_errors()) {
    std::string lines;
    for (const std::string& line : reading.errors()) lines += (lines.empty() ? "" : "\n") + line;
    return Error{Code::invalid, lines};
  }
  const std::string section = is_sidecar ? kSidecarSection : kGatewaySection;
  if (reading.level_of(section + ":ConnectionString") == app::ConfigLevel::fallback) {
    return Error{Code::invalid, "where is Valkey? Name it with --valkey URL, or a configuration that does with --config FILE"};
  }
  if (are_both && !is_same_bus(gateway, sidecar)) {
    return Error{Code::invalid, std::string(kGatewaySection) + " and " + kSidecarSection +
                                    " name different servers or different keys; choose one with --section gateway or "
                                    "--section sidecar"};
  }
  return is_sidecar ? sidecar : gateway;
}

BusSession::BusSession(const app::MessagingConfig& config, frames::QueueNames names) : names_(std::move(names)) {
  valkey::ValkeyBus::Options options;
  options.address = config.valkey;
  options.name = "outrigger-dead";
  options.group = names_.consumer_group();
  options.block_time = config.queue_wait_timeout;
  options.wake = config.wake_mode;
  options.names = &names_;
  bus_ = std::make_unique<valkey::ValkeyBus>(loop_, std::move(options));
  browser_ = std::make_unique<valkey::StreamBrowser>(*bus_);
}

Result<std::unique_ptr<BusSession>> BusSession::open(const app::MessagingConfig& config) {
  auto names = frames::QueueNames::make(config.names);
  if (!names) return names.error();
  // What goes wrong is told by the command itself, once.
  base::set_log_level(base::LogLevel::error);
  std::unique_ptr<BusSession> session(new BusSession(config, std::move(*names)));
  const base::TimePoint give_up = session->loop_.now() + kPatience;
  net::Timer tick(session->loop_, [] {});
  while (!session->bus_->is_connected() || !session->browser_->is_ready()) {
    const messaging::BusStatus status = session->bus_->status();
    const bool is_refused = status.condition != "connecting" && !status.problem.empty();
    if (is_refused || session->loop_.now() > give_up) return Error{Code::closed, status.problem};
    tick.arm(kTick);
    session->loop_.run_turn();
  }
  return session;
}

}  // namespace outrigger::cli
