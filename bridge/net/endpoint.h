// Endpoint: where to listen or connect, as configured: a host (name or address) with a port, or a unix socket path.
#pragma once

#include <sys/socket.h>

#include <cstdint>
#include <string>
#include <string_view>

#include "bridge/base/result.h"

namespace outrigger::net {

struct Endpoint {
  std::string host;       // name, IPv4 or IPv6 (without brackets); empty for unix sockets
  std::uint16_t port = 0;
  std::string unix_path;  // at most 107 bytes (unix(7))

  static Endpoint tcp(std::string_view host, std::uint16_t port) { return {std::string(host), port, {}}; }
  static Endpoint unix_socket(std::string_view path) { return {{}, 0, std::string(path)}; }
  bool is_unix() const { return !unix_path.empty(); }
  friend bool operator==(const Endpoint&, const Endpoint&) = default;
};

// `HOST:PORT`, `[IPv6]:PORT` or `unix:PATH`.
base::Result<Endpoint> parse_endpoint(std::string_view text);
std::string to_string(const Endpoint& endpoint);

// A socket address as the kernel wants it.
struct SocketAddress {
  sockaddr_storage storage{};
  socklen_t size = 0;
  const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&storage); }
  int family() const { return storage.ss_family; }
};

// Error invalid for an over-long unix path, not_found when `host` is a name and no numeric address.
base::Result<SocketAddress> numeric_address(const Endpoint& endpoint);
// The address without a port, e.g. for X-Forwarded-For; empty for unix sockets.
std::string host_of(const SocketAddress& address);
std::uint16_t port_of(const SocketAddress& address);

}  // namespace outrigger::net
