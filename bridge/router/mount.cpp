#include "bridge/router/mount.h"

#include <algorithm>
#include <array>
#include <optional>
#include <utility>

namespace outrigger::router {
namespace {

using base::Code;
using base::Error;
using base::Result;

constexpr std::string_view kHostPrefix = "host:";
constexpr std::size_t kHostBytes = 253;  // RFC 1035 section 2.3.4, without the root
constexpr std::size_t kLabelBytes = 63;

bool is_unreserved(unsigned char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '.' ||
         c == '_' || c == '~';
}

int hex_value(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

void append_encoded(std::string& out, unsigned char c) {
  constexpr std::string_view kHex = "0123456789ABCDEF";
  out += '%';
  out += kHex[c >> 4];
  out += kHex[c & 15];
}

bool is_host_name(std::string_view name) {
  if (name.empty() || name.size() > kHostBytes) return false;
  while (!name.empty()) {
    const std::string_view label = name.substr(0, name.find('.'));
    if (label.empty() || label.size() > kLabelBytes || label.front() == '-' || label.back() == '-') return false;
    const bool is_spelled = std::all_of(label.begin(), label.end(), [](char c) {
      return is_unreserved(static_cast<unsigned char>(c)) && c != '~' && c != '.';
    });
    if (!is_spelled) return false;
    if (label.size() == name.size()) return true;
    name.remove_prefix(label.size() + 1);
  }
  return false;  // ended by a dot
}

bool is_ipv6(std::string_view host) {
  return host.size() > 2 && host.front() == '[' && host.back() == ']' &&
         host.substr(1, host.size() - 2).find_first_not_of("0123456789abcdefABCDEF:.") == std::string_view::npos;
}

struct Own {
  OwnPath path;
  std::string_view text;
  bool has_children;
};
constexpr std::array<Own, 5> kOwnPaths = {{{OwnPath::openapi_json, "/openapi.json", false},
                                           {OwnPath::openapi_yaml, "/openapi.yaml", false},
                                           {OwnPath::openapi_links, "/.well-known/openapi", false},
                                           {OwnPath::docs, "/docs", true},
                                           {OwnPath::gateway_api, "/api/v1/gateway", true}}};

OwnPath find_own(std::string_view path) {
  for (const Own& own : kOwnPaths) {
    if (path.substr(0, own.text.size()) != own.text) continue;
    if (path.size() == own.text.size() || (own.has_children && path[own.text.size()] == '/')) return own.path;
  }
  return OwnPath::none;
}

}  // namespace

Result<Mount> parse_mount(std::string_view text) {
  const auto invalid = [text](const std::string& why) {
    return Error{Code::invalid, "'" + std::string(text) + "' " + why};
  };
  Mount mount;
  std::string_view path = text;
  if (path.substr(0, kHostPrefix.size()) == kHostPrefix) {
    path.remove_prefix(kHostPrefix.size());
    std::string_view host = path.substr(0, path.find('/'));
    path.remove_prefix(host.size());
    if (host.empty()) return invalid("names no host: host:example.com");
    if (!host.empty() && host.back() == '.') host.remove_suffix(1);
    const std::string_view name = host.substr(0, 2) == "*." ? host.substr(2) : host;
    if (!is_host_name(name) && !is_ipv6(host)) {
      const auto colon = host.rfind(':');
      if (colon != std::string_view::npos && (is_host_name(host.substr(0, colon)) || is_ipv6(host.substr(0, colon)))) {
        return invalid("must not name a port: a Host mount is for every port of the gateway");
      }
      return invalid("names no host that can be: letters, digits, '-' and '_' between dots, such as host:example.com or "
                     "host:*.example.com");
    }
    mount.host = host;
    for (char& c : mount.host) {
      if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
    }
  } else if (path.empty() || path.front() != '/') {
    return invalid("must begin with '/' or 'host:'");
  }
  while (!path.empty() && path.back() == '/') path.remove_suffix(1);
  mount.path = path;
  return mount;
}

OwnPath own_path_of(std::string_view path) {
  // Nearly every path is spelled as it is meant.
  const bool is_plain = path.find('%') == std::string_view::npos && path.find("/.") == std::string_view::npos &&
                        path.find("//") == std::string_view::npos;
  if (is_plain || path.empty() || path.front() != '/') return find_own(path);
  if (const OwnPath own = find_own(path); own == OwnPath::openapi_links) return own;  // its dot is none
  std::string decoded = canonical_path(path);
  decoded.erase(std::unique(decoded.begin(), decoded.end(), [](char a, char b) { return a == '/' && b == '/'; }),
                decoded.end());
  return find_own(remove_dot_segments(decoded));
}

std::string_view to_string(OwnPath path) {
  for (const Own& own : kOwnPaths) {
    if (own.path == path) return own.text;
  }
  return {};
}

std::string canonical_path(std::string_view text, bool encode) {
  std::string out;
  out.reserve(text.size());
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto c = static_cast<unsigned char>(text[i]);
    if (c == '%' && i + 2 < text.size() && hex_value(text[i + 1]) >= 0 && hex_value(text[i + 2]) >= 0) {
      const auto decoded = static_cast<unsigned char>(hex_value(text[i + 1]) * 16 + hex_value(text[i + 2]));
      if (is_unreserved(decoded)) {
        out += static_cast<char>(decoded);
      } else {
        append_encoded(out, decoded);
      }
      i += 2;
    } else if (c == '%') {
      append_encoded(out, c);  // else `%%32e` would become `%2e`, which whoever reads next takes for a dot
    } else if (encode &&
               (c <= ' ' || c >= 0x7f || std::string_view("\"<>\\^`{|}").find(text[i]) != std::string_view::npos)) {
      append_encoded(out, c);
    } else {
      out += text[i];
    }
  }
  return out;
}

std::string remove_dot_segments(std::string_view path) {
  std::optional<std::string_view> rest = path.substr(1);
  std::string out;
  while (rest) {
    const auto slash = rest->find('/');
    const std::string_view segment = rest->substr(0, slash);
    rest = slash == std::string_view::npos ? std::nullopt : std::optional(rest->substr(slash + 1));
    if (segment == "..") out.resize(std::min(out.rfind('/'), out.size()));
    if (segment != "." && segment != "..") {
      out.append("/").append(segment);
    } else if (!rest) {
      out += '/';
    }
  }
  return out;
}

}  // namespace outrigger::router
