#include "bridge/http1/header_rules.h"

#include <algorithm>
#include <optional>
#include <vector>

#include "bridge/base/ids.h"
#include "bridge/http1/serializer.h"

namespace outrigger::http1 {
namespace {

using base::equals_ignoring_case;
using base::HeaderField;

constexpr std::string_view kOneHop[] = {"Connection",
                                        "Keep-Alive",
                                        "Proxy-Connection",
                                        "Proxy",  // no field at all, but CGI makes HTTP_PROXY of it (CVE-2016-5385)
                                        "TE",
                                        "Trailer",
                                        "Transfer-Encoding",
                                        "Upgrade",
                                        "HTTP2-Settings",
                                        "Proxy-Authenticate",
                                        "Proxy-Authorization",
                                        "Proxy-Authentication-Info"};
constexpr std::string_view kEndToEnd[] = {"Host",          "Content-Length", "Content-Type", "Content-Encoding",
                                          "Cache-Control", "Authorization",  "Cookie",       "Set-Cookie",
                                          "Date",          "Forwarded",      "Via",          "X-Request-Id",
                                          "Traceparent"};

// What proxies tell besides X-Forwarded-*.
constexpr std::string_view kOfProxies[] = {"X-Real-IP", "X-Original-URL", "X-Rewrite-URL"};

template <std::size_t N>
bool is_among(std::string_view name, const std::string_view (&names)[N]) {
  return std::any_of(std::begin(names), std::end(names),
                     [name](std::string_view other) { return equals_ignoring_case(name, other); });
}

bool starts_with_ignoring_case(std::string_view text, std::string_view start) {
  return text.size() >= start.size() && equals_ignoring_case(text.substr(0, start.size()), start);
}

bool is_protected(std::string_view name) {
  return is_among(name, kEndToEnd) || starts_with_ignoring_case(name, "X-Forwarded-");
}

bool is_spelling_of(std::string_view name, std::string_view other) {
  return name.size() == other.size() && base::starts_in_any_spelling(name, other);
}

std::string_view trim(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
  return text;
}

}  // namespace

void remove_hop_by_hop(base::HeaderList& headers) {
  // The views stay valid below: remove_if leaves the list's text alone.
  std::vector<std::string_view> named;
  for (const HeaderField field : headers) {
    if (!equals_ignoring_case(field.name, "Connection")) continue;
    for (std::string_view rest = field.value; !rest.empty();) {
      const std::size_t comma = std::min(rest.find(','), rest.size());
      const std::string_view name = trim(rest.substr(0, comma));
      rest.remove_prefix(std::min(comma + 1, rest.size()));
      if (name.empty() || equals_ignoring_case(name, "close") || is_among(name, kOneHop) || is_protected(name))
        continue;
      named.push_back(name);
    }
  }
  headers.remove_if([&named](HeaderField field) {
    return is_among(field.name, kOneHop) || std::any_of(named.begin(), named.end(), [&](std::string_view name) {
             return equals_ignoring_case(field.name, name);
           });
  });
}

void add_via(base::HeaderList& headers, int received_minor, std::string_view pseudonym) {
  std::string value = received_minor == 0 ? "1.0 " : "1.1 ";
  value.append(pseudonym);
  headers.add("Via", value);
}

void set_forwarded(base::HeaderList& headers, const ForwardedFacts& facts) {
  std::string addresses;
  std::string prefix;
  if (facts.trust_inbound) {
    for (const HeaderField field : headers) {
      if (field.value.empty()) continue;
      if (equals_ignoring_case(field.name, "X-Forwarded-Prefix") && prefix.empty()) prefix = field.value;
      if (!equals_ignoring_case(field.name, "X-Forwarded-For")) continue;
      if (!addresses.empty()) addresses.append(", ");
      addresses.append(field.value);
    }
    while (!prefix.empty() && prefix.back() == '/') prefix.pop_back();
  }
  headers.remove_if([trusted = facts.trust_inbound](HeaderField field) {
    const bool is_single = std::any_of(std::begin(kOfProxies), std::end(kOfProxies),
                                       [&](std::string_view name) { return is_spelling_of(field.name, name); });
    const bool is_about_origin = base::starts_in_any_spelling(field.name, "X-Forwarded-") ||
                                 is_spelling_of(field.name, "Forwarded") || is_single;
    // The proxy's own spelling only: others pass through it untouched, from anybody.
    const bool is_kept = trusted && (starts_with_ignoring_case(field.name, "X-Forwarded-") ||
                                     is_among(field.name, kOfProxies));
    return is_about_origin && (!is_kept || field.name.find_first_of("_.!#$%&'*+^`|~") != std::string_view::npos ||
                               equals_ignoring_case(field.name, "X-Forwarded-For") ||
                               equals_ignoring_case(field.name, "X-Forwarded-Prefix"));
  });
  if (!facts.client_address.empty()) {
    if (!addresses.empty()) addresses.append(", ");
    addresses.append(facts.client_address);
  }
  if (!addresses.empty()) headers.add("X-Forwarded-For", addresses);
  const auto add_if_missing = [&](std::string_view name, std::string_view value) {
    if (!value.empty() && !(facts.trust_inbound && headers.find(name))) headers.add(name, value);
  };
  add_if_missing("X-Forwarded-Proto", facts.proto);
  add_if_missing("X-Forwarded-Host", facts.host);
  prefix.append(facts.prefix);
  if (!prefix.empty()) headers.add("X-Forwarded-Prefix", prefix);
}

std::string ensure_request_id(base::HeaderList& headers, bool trust_inbound) {
  static constexpr std::string_view kName = "X-Request-Id";
  headers.remove_if([](HeaderField field) {
    return is_spelling_of(field.name, kName) && !equals_ignoring_case(field.name, kName);
  });
  if (trust_inbound && headers.count(kName) == 1) {
    const std::string_view inbound = *headers.find(kName);
    const bool is_sane =
        !inbound.empty() && inbound.size() <= 128 && std::all_of(inbound.begin(), inbound.end(), [](char c) {
          return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                 std::string_view("-_.:=+/@").find(c) != std::string_view::npos;
        });
    if (is_sane) return std::string(inbound);
  }
  std::string id = base::new_request_id();
  headers.set(kName, id);
  return id;
}

HopStep count_hop(std::string_view method, base::HeaderList& headers) {
  if (method != "TRACE" && method != "OPTIONS") return HopStep::forward;
  const auto value = headers.find("Max-Forwards");
  const auto hops = value ? parse_content_length(*value) : std::nullopt;
  if (!hops) return HopStep::forward;
  if (*hops == 0) return HopStep::answer_here;
  headers.set("Max-Forwards", std::to_string(*hops - 1));
  return HopStep::forward;
}

}  // namespace outrigger::http1
