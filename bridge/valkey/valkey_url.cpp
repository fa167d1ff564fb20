#include "bridge/valkey/valkey_url.h"

#include <algorithm>
#include <charconv>
#include <optional>

#include "bridge/base/header_list.h"
#include "bridge/base/host_port.h"

namespace outrigger::valkey {
namespace {

using base::Code;
using base::equals_ignoring_case;
using base::Error;
using base::Result;

constexpr std::uint16_t kDefaultPort = 6379;
constexpr int kHighestDatabase = 65535;
constexpr std::size_t kUnixPathBytes = 107;  // sun_path, less its final NUL

Error invalid(std::string detail) {
  return Error{Code::invalid, std::move(detail)};
}

std::optional<int> hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return std::nullopt;
}

Result<std::string> percent_decode(std::string_view text) {
  std::string decoded;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      decoded += text[i];
      continue;
    }
    const auto high = i + 2 < text.size() ? hex_digit(text[i + 1]) : std::nullopt;
    const auto low = i + 2 < text.size() ? hex_digit(text[i + 2]) : std::nullopt;
    if (!high || !low) return invalid("a '%' in user or password must be followed by two hex digits (%25 is a '%')");
    decoded += static_cast<char>(*high * 16 + *low);
    i += 2;
  }
  return decoded;
}

Result<void> set_database(ValkeyAddress& address, std::string_view text) {
  const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), address.database);
  if (failure != std::errc{} || end != text.data() + text.size() || address.database < 0 ||
      address.database > kHighestDatabase) {
    return invalid("the database must be a number from 0 to " + std::to_string(kHighestDatabase));
  }
  address.has_database = true;
  return {};
}

Result<void> set_user_and_password(ValkeyAddress& address, std::string_view user_info) {
  const std::size_t colon = user_info.find(':');
  auto user = percent_decode(user_info.substr(0, colon));
  if (!user) return user.error();
  address.user = std::move(*user);
  if (colon == std::string_view::npos) return {};
  auto password = percent_decode(user_info.substr(colon + 1));
  if (!password) return password.error();
  address.password = std::move(*password);
  return {};
}

Result<void> set_host_and_port(ValkeyAddress& address, std::string_view text) {
  const auto parsed = base::parse_host_port(text, kDefaultPort);
  if (!parsed) return parsed.error();
  if (parsed->host.empty()) return invalid("the host is missing");
  if (parsed->port == 0) return invalid("the port must be a number from 1 to 65535");
  address.host = parsed->host;
  address.port = parsed->port;
  return {};
}

Result<void> set_query(ValkeyAddress& address, std::string_view query) {
  while (!query.empty()) {
    const std::string_view option = query.substr(0, query.find('&'));
    query.remove_prefix(option.size() + (option.size() < query.size() ? 1 : 0));
    const std::size_t equals = option.find('=');
    const std::string name(option.substr(0, equals));
    if (name != "db" || equals == std::string_view::npos) {
      return Error{Code::unsupported, "the option '" + name + "' is not supported in a URL; only db=N is"};
    }
    if (auto set = set_database(address, option.substr(equals + 1)); !set) return set;
  }
  return {};
}

// What follows the scheme. `path` stands behind the authority: the database, or the socket of unix:.
Result<ValkeyAddress> parse_after_scheme(std::string_view rest, bool is_unix, bool tls) {
  ValkeyAddress address;
  address.tls = tls;
  const std::size_t authority_end = std::min(rest.find_first_of("/?#"), rest.size());
  const std::string_view authority = rest.substr(0, authority_end);
  std::string_view path = rest.substr(authority_end);
  if (!is_unix && path.find('@') != std::string_view::npos) {
    return invalid("a '/', '?' or '#' in user or password must be percent-encoded (%2F, %3F, %23)");
  }
  if (path.find('#') != std::string_view::npos) return invalid("a '#' has no meaning here");

  const std::size_t at = authority.rfind('@');
  if (at != std::string_view::npos) {
    if (auto set = set_user_and_password(address, authority.substr(0, at)); !set) return set.error();
  }
  const std::string_view host = at == std::string_view::npos ? authority : authority.substr(at + 1);
  const std::size_t question = path.find('?');
  if (question != std::string_view::npos) {
    if (auto set = set_query(address, path.substr(question + 1)); !set) return set.error();
    path = path.substr(0, question);
  }
  if (is_unix) {
    if (!host.empty()) return invalid("a unix socket has no host: write unix:///path");
    if (path.size() < 2) return invalid("the path of the unix socket is missing (unix:///path)");
    if (path.size() > kUnixPathBytes) {
      return invalid("the path of a unix socket has at most " + std::to_string(kUnixPathBytes) + " bytes");
    }
    address.unix_path = path;
    return address;
  }
  if (auto set = set_host_and_port(address, host); !set) return set.error();
  if (path.size() > 1) {
    if (address.has_database) return invalid("the database is given twice, in the path and as db=");
    if (auto set = set_database(address, path.substr(1)); !set) return set.error();
  }
  return address;
}

Result<void> set_dotnet_option(ValkeyAddress& address, std::string_view option) {
  const std::size_t equals = option.find('=');
  if (equals == std::string_view::npos) {
    return Error{Code::unsupported, "more than one host is not supported (options are written name=value)"};
  }
  const std::string_view name = option.substr(0, equals);
  const std::string_view value = option.substr(equals + 1);
  if (equals_ignoring_case(name, "password")) {
    address.password = value;
  } else if (equals_ignoring_case(name, "user")) {
    address.user = value;
  } else if (equals_ignoring_case(name, "defaultDatabase")) {
    return set_database(address, value);
  } else if (equals_ignoring_case(name, "ssl")) {
    address.tls = equals_ignoring_case(value, "true");
    if (!address.tls && !equals_ignoring_case(value, "false")) return invalid("ssl must be true or false");
  } else {
    return Error{Code::unsupported, "the option '" + std::string(name) +
                                        "' is not supported; supported are password, user, ssl, defaultDatabase"};
  }
  return {};
}

Result<ValkeyAddress> parse_dotnet(std::string_view text) {
  ValkeyAddress address;
  const std::string_view host = text.substr(0, text.find(','));
  if (auto set = set_host_and_port(address, host); !set) return set.error();
  text.remove_prefix(host.size());
  while (!text.empty()) {
    text.remove_prefix(1);
    std::string_view option = text.substr(0, text.find(','));
    text.remove_prefix(option.size());
    while (!option.empty() && option.front() == ' ') option.remove_prefix(1);
    if (option.empty()) continue;
    if (auto set = set_dotnet_option(address, option); !set) return set.error();
  }
  return address;
}

}  // namespace

std::string ValkeyAddress::to_string_redacted() const {
  const bool has_user_info = !user.empty() || !password.empty();
  std::string text = !unix_path.empty() ? "unix://" : tls ? "valkeys://" : "valkey://";
  if (has_user_info) text += "***@";
  if (!unix_path.empty()) {
    text += unix_path;
    if (database != 0) text += "?db=" + std::to_string(database);
  } else {
    text += base::to_string(base::HostPort{host, port});
    if (database != 0) text += "/" + std::to_string(database);
  }
  return text;
}

Result<ValkeyAddress> parse_valkey_address(std::string_view text) {
  if (text.empty()) return invalid("the address of Valkey is empty");
  for (const char c : text) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7F) return invalid("control characters are not allowed");
  }
  const std::size_t scheme_end = text.find("://");
  // A scheme is letters only; "host,password=a://b" is the .NET form.
  if (scheme_end != std::string_view::npos && text.find_first_of(",:/") == scheme_end) {
    const std::string_view scheme = text.substr(0, scheme_end);
    const std::string_view rest = text.substr(scheme_end + 3);
    if (equals_ignoring_case(scheme, "valkey") || equals_ignoring_case(scheme, "redis")) {
      return parse_after_scheme(rest, false, false);
    }
    if (equals_ignoring_case(scheme, "valkeys") || equals_ignoring_case(scheme, "rediss")) {
      return parse_after_scheme(rest, false, true);
    }
    if (equals_ignoring_case(scheme, "unix")) return parse_after_scheme(rest, true, false);
    return Error{Code::unsupported, "the scheme '" + std::string(scheme) +
                                        "' is not supported; supported are valkey, redis, valkeys, rediss, unix"};
  }
  if (text.substr(0, 6) == "unix:/") return parse_after_scheme(text.substr(5), true, false);
  if (text.find(',') == std::string_view::npos && text.find('@') != std::string_view::npos) {
    return invalid("user and password need the URL form: valkey://user:password@host:port");
  }
  return parse_dotnet(text);
}

}  // namespace outrigger::valkey
