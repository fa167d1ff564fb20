// `host:port` as it stands in flags, URLs and configuration. Only the spelling is checked; nothing is resolved.
#pragma once

#include <charconv>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "bridge/base/result.h"

namespace outrigger::base {

struct HostPort {
  std::string host;  // without the brackets of an IPv6 address; may be empty (":8080")
  std::uint16_t port = 0;
};

// Reads `host:port`, `[IPv6]:port` or `:port`. Without a port it takes `default_port`, and fails if there is none.
// Messages never quote the text: it may be the wrong half of a URL with a password in it.
inline Result<HostPort> parse_host_port(std::string_view text, std::optional<std::uint16_t> default_port = {}) {
  HostPort parsed;
  std::string_view port;
  bool has_port = false;
  if (!text.empty() && text.front() == '[') {
    const std::size_t close = text.find(']');
    if (close == std::string_view::npos) return Error{Code::invalid, "the ']' of the IPv6 address is missing"};
    parsed.host = text.substr(1, close - 1);
    if (parsed.host.find(':') == std::string::npos ||
        parsed.host.find_first_not_of("0123456789abcdefABCDEF:.") != std::string::npos) {
      return Error{Code::invalid, "what stands in brackets must be an IPv6 address"};
    }
    text.remove_prefix(close + 1);
    has_port = !text.empty();
    if (has_port && text.front() != ':') return Error{Code::invalid, "after ']' only :PORT may follow"};
    if (has_port) port = text.substr(1);
  } else {
    const std::size_t colon = text.find(':');
    has_port = colon != std::string_view::npos;
    if (has_port) port = text.substr(colon + 1);
    if (port.find(':') != std::string_view::npos) {
      return Error{Code::invalid, "more than one ':' (an IPv6 address is written in brackets: [::1]:8080)"};
    }
    parsed.host = text.substr(0, colon);
    constexpr std::string_view kHostCharacters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_";
    if (parsed.host.find_first_not_of(kHostCharacters) != std::string::npos) {
      return Error{Code::invalid, "the host has characters that no host name has"};
    }
  }
  if (!has_port) {
    if (!default_port) return Error{Code::invalid, "the port is missing (HOST:PORT)"};
    parsed.port = *default_port;
    return parsed;
  }
  const auto [end, failure] = std::from_chars(port.data(), port.data() + port.size(), parsed.port);
  if (failure != std::errc{} || end != port.data() + port.size()) {
    return Error{Code::invalid, "the port must be a number from 0 to 65535"};
  }
  return parsed;
}

// The inverse: brackets around a host with colons.
inline std::string to_string(const HostPort& address) {
  const bool is_ipv6 = address.host.find(':') != std::string::npos;
  return (is_ipv6 ? "[" + address.host + "]" : address.host) + ":" + std::to_string(address.port);
}

}  // namespace outrigger::base
