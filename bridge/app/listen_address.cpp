#include "bridge/app/listen_address.h"

#include "bridge/base/host_port.h"

namespace outrigger::app {
namespace {
constexpr std::size_t kUnixPathBytes = 107;  // sun_path, less its final NUL
}

base::Result<ListenAddress> parse_listen_address(std::string_view text) {
  const auto invalid = [text](const std::string& why) {
    return base::Error{base::Code::invalid, "'" + std::string(text) + "' is not HOST:PORT or unix:PATH: " + why};
  };
  ListenAddress address;
  if (text.substr(0, 5) == "unix:") {
    text.remove_prefix(5);
    if (text.substr(0, 2) == "//") text.remove_prefix(2);
    if (text.empty()) return invalid("the path is missing");
    if (text.size() > kUnixPathBytes) {
      return invalid("the path of a unix socket has at most " + std::to_string(kUnixPathBytes) + " bytes");
    }
    address.unix_path = text;
    return address;
  }
  const bool is_any = !text.empty() && text.front() == '*';
  const auto parsed = base::parse_host_port(is_any ? text.substr(1) : text);
  if (!parsed) return invalid(parsed.error().detail);
  address.host = parsed->host.empty() ? "0.0.0.0" : parsed->host;
  address.port = parsed->port;
  return address;
}

std::string to_string(const ListenAddress& address) {
  if (address.is_unix()) return "unix:" + address.unix_path;
  return base::to_string(base::HostPort{address.host, address.port});
}

}  // namespace outrigger::app
