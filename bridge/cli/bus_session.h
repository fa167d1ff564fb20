// BusSession: an operator's command at the bus. Where that is and what things are called there comes from flags, a
// configuration file of the programs, and the environment; then one question after another is asked and waited for.
// One thread, which runs the loop.
#pragma once

#include <istream>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "bridge/app/command_line.h"
#include "bridge/app/messaging_config.h"
#include "bridge/base/result.h"
#include "bridge/frames/frame_codec.h"
#include "bridge/net/event_loop.h"
#include "bridge/valkey/stream_browser.h"
#include "bridge/valkey/valkey_bus.h"

namespace outrigger::cli {

struct BusOptions {
  std::string valkey;   // --valkey; wins over the file's
  std::string config;   // --config; empty: none
  std::string section;  // gateway or sidecar: whose block of the file. Empty: the one that is there
};

// The messaging block that the options name, complete and checked. Nothing else of the file is looked at. Error invalid,
// its lines for the operator: a mistake in it, no place of a server, or two blocks that differ and no section chosen.
base::Result<app::MessagingConfig> read_bus_config(const BusOptions& options, const app::Environment& environment,
                                                   std::istream& standard_input);

class BusSession {
 public:
  // Connected when this returns. Error refused, closed or forbidden as the server has it, in words for the operator: it
  // cannot be reached or worked with.
  static base::Result<std::unique_ptr<BusSession>> open(const app::MessagingConfig& config);

  net::EventLoop& loop() { return loop_; }
  valkey::ValkeyBus& bus() { return *bus_; }
  valkey::StreamBrowser& browser() { return *browser_; }
  const frames::QueueNames& names() const { return names_; }
  frames::FrameDecoder& decoder() { return decoder_; }

  // Starts one operation with its completion, and runs the loop until that was called.
  template <class T, class Start>
  base::Result<T> ask(Start start) {
    const auto outcome = std::make_shared<std::optional<base::Result<T>>>();
    start(messaging::Done<T>([this, outcome](base::Result<T> result) {
      outcome->emplace(std::move(result));
      loop_.defer([] {});  // so that the turn ends without a wait
    }));
    while (!outcome->has_value()) loop_.run_turn();
    return std::move(**outcome);
  }

 private:
  BusSession(const app::MessagingConfig& config, frames::QueueNames names);

  net::EventLoop loop_{base::system_clock()};
  frames::QueueNames names_;
  frames::FrameDecoder decoder_{names_};
  std::unique_ptr<valkey::ValkeyBus> bus_;
  std::unique_ptr<valkey::StreamBrowser> browser_;
};

}  // namespace outrigger::cli
