// outrigger-sidecar: serves one HTTP service over Valkey.
#include <cstdio>

#include "bridge/app/process.h"
#include "bridge/base/log.h"
#include "sidecar/sidecar.h"
#include "sidecar/sidecar_command.h"

int main(int argc, char** argv) {
  using namespace outrigger;
  auto loaded = sidecar::load_sidecar(argc, argv, app::process_environment());
  if (const auto* exit = std::get_if<app::ExitNow>(&loaded)) return app::print_and_exit(*exit);
  auto& config = std::get<sidecar::SidecarConfig>(loaded);
  auto names = frames::QueueNames::make(config.messaging.names);
  CHECK(names.has_value());  // the configuration was checked with it

  app::raise_file_limit();
  net::EventLoop loop(base::system_clock());
  int code = 0;
  std::unique_ptr<sidecar::Sidecar> sidecar;
  app::SignalWatcher signals(
      loop, [&] { sidecar->drain(); },
      [&] {
        base::log_warn("stopped by a second signal");
        code = 1;
        loop.stop();
      });
  base::start_log(config.process.log_level, config.process.log_format, "outrigger-sidecar");
  app::log_warnings(config.process);
  sidecar = std::make_unique<sidecar::Sidecar>(loop, std::move(config), std::move(*names), [&] { loop.stop(); });
  if (const auto started = sidecar->start(); !started) {
    base::log_error("cannot start", {{"why", started.error().detail}});
    code = 1;
  } else {
    loop.run();
    base::log_info("stopped");
  }
  sidecar.reset();
  base::stop_log();
  return code;
}
