// `outrigger dead`: its flags, and which dead letters they choose. Pure, but for what CLI11 does.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "bridge/base/limits.h"
#include "bridge/cli/bus_session.h"
#include "bridge/messaging/bus.h"

namespace CLI {
class App;
}

namespace outrigger::cli {

// An empty list admits everything.
struct DeadFilter {
  std::vector<std::string> services;
  std::vector<std::string> reasons;
  std::vector<messaging::EntryId> ids;  // of the letters, in their order
  std::optional<std::chrono::milliseconds> older_than;
  std::optional<std::chrono::milliseconds> newer_than;

  bool is_empty() const {
    return services.empty() && reasons.empty() && ids.empty() && !older_than && !newer_than;
  }
  // All but the service. `at_ms` and `now_ms` by Valkey's clock. An age of exactly D is older, not newer.
  bool admits(messaging::EntryId id, std::string_view reason, std::int64_t at_ms, std::int64_t now_ms) const;
};

struct DeadOptions {
  enum class Command : std::uint8_t { list, show, redrive, purge };
  Command command = Command::list;
  BusOptions bus;
  DeadFilter filter;
  bool all = false;                     // redrive, purge: meant without a filter
  std::string output = "table";         // list, show: or json
  std::size_t limit = 100;              // list
  bool shows_query = false;             // list
  bool writes_body = false;             // show
  bool shows_secrets = false;           // show
  std::chrono::milliseconds timeout = base::limits::kRequestTimeout;  // redrive
  bool may_run_twice = false;           // redrive
  bool waits = true;                    // redrive
  bool redriven = false;                // purge: requests that were redriven, not letters
};

// Declares the command and its own commands. `options` outlives `cli`, and is filled when that parses one of them.
CLI::App* declare_dead(CLI::App& cli, DeadOptions& options);

// What is wrong with options that parsed, in words for the operator; empty if nothing is.
std::string fault_of(const DeadOptions& options);
// "dead list"
std::string_view name_of(DeadOptions::Command command);

}  // namespace outrigger::cli
