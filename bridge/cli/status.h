// `outrigger status`: what a running gateway or sidecar says of itself at its admin listener, as tables or JSON.
#pragma once

#include <string>

namespace outrigger::cli {

struct StatusOptions {
  std::string admin;       // HOST:PORT or unix:PATH; empty: where a gateway's socket is by default
  std::string token_file;  // for a TCP address
  std::string output = "table";
};

// Prints to standard output. Returns the exit code: 0, 1 if nobody answered or not as expected, 2 if an option is wrong.
int run_status(const StatusOptions& options);

}  // namespace outrigger::cli
