// `outrigger dev`: everything on one machine to try it. A private valkey-server (or a given one), a gateway, and one
// sidecar per service, as child processes of this one.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace outrigger::cli {

struct DevOptions {
  std::uint16_t port = 8080;  // of the gateway, on loopback
  std::string valkey;         // address of a server to use; empty: a private one
  std::vector<std::pair<std::string, std::string>> services;  // name, URL; empty: the built-in sample
};

// Runs until Ctrl-C or SIGTERM, then ends every child. Returns the exit code: 0 after a signal, 1 if something that is
// needed could not be started or died.
int run_dev(const DevOptions& options);

}  // namespace outrigger::cli
