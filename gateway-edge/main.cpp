// outrigger-gateway: takes HTTP in and serves it over Valkey.
#include <cstdlib>

#include "bridge/app/process.h"
#include "bridge/base/log.h"
#include "gateway-edge/gateway.h"
#include "gateway-edge/gateway_command.h"

int main(int argc, char** argv) {
  using namespace outrigger;
  auto loaded = gateway::load_gateway(argc, argv, app::process_environment());
  if (const auto* exit = std::get_if<app::ExitNow>(&loaded)) return app::print_and_exit(*exit);
  auto& config = std::get<gateway::GatewayConfig>(loaded);
  auto names = frames::QueueNames::make(config.messaging.names);
  CHECK(names.has_value());  // the configuration was checked with it

  app::raise_file_limit();
  net::EventLoop loop(base::system_clock());
  int code = 0;
  std::unique_ptr<gateway::Gateway> gateway;
  app::SignalWatcher signals(
      loop, [&] { gateway->drain(); },
      [&] {
        // At once, whatever the workers are at.
        base::log_warn("stopped by a second signal");
        base::stop_log();
        std::_Exit(1);
      });
  const std::string program = "outrigger-gateway" + (config.node.name.empty() ? "" : "@" + config.node.name);
  base::start_log(config.process.log_level, config.process.log_format, program);
  app::log_warnings(config.process);
  gateway = std::make_unique<gateway::Gateway>(loop, std::move(config), std::move(*names), [&] { loop.stop(); });
  if (const auto started = gateway->start(); !started) {
    base::log_error("cannot start", {{"why", started.error().detail}});
    code = 1;
  } else {
    loop.run();
    base::log_info("stopped");
  }
  gateway.reset();
  base::stop_log();
  return code;
}
