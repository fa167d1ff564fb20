// ADDR of flags and configuration: where a listener opens, HOST:PORT or unix:PATH. Spelling only; opening it is net's.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "bridge/base/result.h"

namespace outrigger::app {

struct ListenAddress {
  std::string host;        // IPv6 without brackets; empty if unix_path is set
  std::uint16_t port = 0;  // 0: the system chooses
  std::string unix_path;

  bool is_unix() const { return !unix_path.empty(); }
  friend bool operator==(const ListenAddress&, const ListenAddress&) = default;
};

// Reads HOST:PORT, [IPv6]:PORT, :PORT or *:PORT (both mean 0.0.0.0), unix:PATH. Error: Code::invalid.
base::Result<ListenAddress> parse_listen_address(std::string_view text);
// The spelling that parse_listen_address reads back.
std::string to_string(const ListenAddress& address);

}  // namespace outrigger::app
