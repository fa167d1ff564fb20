// What an intermediary does to header fields, and the removal of identity headers. Input: a byte of options, then
// fields, one per line. The rules are told again here in other words, and what remains survives a serializer and a
// parser.
#include <algorithm>
#include <cctype>
#include <cstddef>
#include <cstdint>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "bridge/base/check.h"
#include "bridge/http1/header_rules.h"
#include "bridge/http1/parser.h"
#include "bridge/http1/serializer.h"
#include "bridge/identity/header_policy.h"
#include "tests/fuzz/fuzz_input.h"

namespace {

using namespace outrigger::http1;
using outrigger::base::HeaderField;
using outrigger::base::HeaderList;
using outrigger::fuzz::Input;
using outrigger::identity::HeaderPolicy;
using Fields = std::vector<std::pair<std::string, std::string>>;

std::string lower(std::string_view text) {
  std::string lowered(text);
  for (char& c : lowered) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c + 32);
  }
  return lowered;
}

Fields fields_of(const HeaderList& headers) {
  Fields fields;
  for (const HeaderField field : headers) fields.emplace_back(field.name, field.value);
  return fields;
}

template <class Predicate>
Fields without(Fields fields, Predicate predicate) {
  fields.erase(
      std::remove_if(fields.begin(), fields.end(), [&](const auto& field) { return predicate(lower(field.first)); }),
      fields.end());
  return fields;
}

void check_hop_by_hop(HeaderList headers) {
  static const std::set<std::string> one_hop = {"connection",
                                                "keep-alive",
                                                "proxy-connection",
                                                "te",
                                                "trailer",
                                                "transfer-encoding",
                                                "upgrade",
                                                "http2-settings",
                                                "proxy-authenticate",
                                                "proxy-authorization",
                                                "proxy-authentication-info"};
  static const std::set<std::string> end_to_end = {
      "host",       "content-length", "content-type", "content-encoding", "cache-control", "authorization",
      "cookie",     "set-cookie",     "date",         "forwarded",        "via",           "x-request-id",
      "traceparent"};
  std::set<std::string> named;
  for (const auto& [name, value] : fields_of(headers)) {
    if (lower(name) != "connection") continue;
    std::string token;
    for (const char c : value + ",") {
      if (c != ',') {
        token += c;
        continue;
      }
      const std::size_t from = std::min(token.find_first_not_of(" \t"), token.size());
      const std::string trimmed = lower(token.substr(from, token.find_last_not_of(" \t") + 1 - from));
      token.clear();
      if (trimmed != "close" && end_to_end.count(trimmed) == 0 && trimmed.rfind("x-forwarded-", 0) != 0) {
        named.insert(trimmed);
      }
    }
  }
  named.erase("");
  const Fields expected = without(
      fields_of(headers), [&](const std::string& name) { return one_hop.count(name) != 0 || named.count(name) != 0; });
  remove_hop_by_hop(headers);
  CHECK(fields_of(headers) == expected);
  remove_hop_by_hop(headers);
  CHECK(fields_of(headers) == expected);
}

// As the CGI convention sees a name: nothing but letters and digits is told apart.
std::string as_variable(std::string_view name) {
  std::string variable = lower(name);
  for (char& c : variable) {
    if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'))) c = '_';
  }
  return variable;
}

void check_identity(HeaderList headers) {
  static const HeaderPolicy policy;
  const Fields before = fields_of(headers);
  const Fields expected = without(before, [](const std::string& name) {
    const std::string variable = as_variable(name);
    return variable.rfind("x_stellaops_", 0) == 0 || variable.rfind("x_stella_", 0) == 0 || variable == "sub" ||
           variable == "tid" || variable == "scope" || variable == "scp" || variable == "cnf";
  });
  CHECK(policy.strip_reserved(headers) == before.size() - expected.size());
  CHECK(fields_of(headers) == expected);
  CHECK(policy.strip_reserved(headers) == 0);
}

void check_forwarded(HeaderList headers, bool trust_inbound) {
  const Fields before = fields_of(headers);
  const ForwardedFacts facts{"192.0.2.1", "http", "example.test", "/mount", trust_inbound};
  set_forwarded(headers, facts);
  CHECK(headers.count("Forwarded") == 0);
  CHECK(headers.count("X-Forwarded-For") == 1);
  const std::string addresses(*headers.find("X-Forwarded-For"));
  CHECK(addresses.ends_with("192.0.2.1"));
  if (!trust_inbound) {
    CHECK(addresses == "192.0.2.1" && headers.count("X-Real-IP") == 0);
    for (const auto& [name, value] : {std::pair("X-Forwarded-Proto", facts.proto),
                                      {"X-Forwarded-Host", facts.host},
                                      {"X-Forwarded-Prefix", facts.prefix}}) {
      CHECK(headers.count(name) == 1 && *headers.find(name) == value);
    }
    const Fields once = fields_of(headers);
    set_forwarded(headers, facts);
    CHECK(fields_of(headers) == once);
  }
  const auto is_about_forwarding = [](const std::string& name) {
    return name.rfind("x-forwarded-", 0) == 0 || name == "forwarded" || name == "x-real-ip";
  };
  CHECK(without(fields_of(headers), is_about_forwarding) == without(before, is_about_forwarding));
}

void check_request_id(HeaderList headers, bool trust_inbound) {
  const std::string id = ensure_request_id(headers, trust_inbound);
  CHECK(!id.empty() && id.size() <= 128 && headers.count("X-Request-Id") == 1 && *headers.find("X-Request-Id") == id);
  for (const char c : id) CHECK(c > ' ' && c < 0x7f && c != '"' && c != '\\');
  CHECK(ensure_request_id(headers, true) == id);
}

void check_hops(HeaderList headers, std::string_view method) {
  const Fields before = fields_of(headers);
  const bool counts = method == "OPTIONS" || method == "TRACE";
  if (count_hop(method, headers) == HopStep::answer_here) {
    CHECK(counts && fields_of(headers) == before);
    return;
  }
  if (!counts) CHECK(fields_of(headers) == before);
  if (fields_of(headers) == before) return;
  // Counted down: it ends after as many hops as it says.
  CHECK(headers.count("Max-Forwards") == 1);
  const auto hops = parse_content_length(*headers.find("Max-Forwards"));
  CHECK(hops);
  if (*hops > 100) return;
  for (std::uint64_t i = 0; i < *hops; ++i) CHECK(count_hop(method, headers) == HopStep::forward);
  CHECK(count_hop(method, headers) == HopStep::answer_here);
}

// The whole way of a request: what is sent reads as it was meant.
void check_sent(HeaderList headers) {
  static const HeaderPolicy policy;
  policy.strip_reserved(headers);
  remove_hop_by_hop(headers);
  set_forwarded(headers, {"192.0.2.1", "http", "example.test", {}, false});
  add_via(headers, 1, "outrigger");
  headers.remove("Host");
  headers.add("Host", "example.test");
  headers.remove("Expect");  // 100-continue is answered by the edge
  std::string sent;
  if (!append_request_head(sent, "GET", "/a", headers, {})) return;
  RequestParser parser(MessageLimits{});
  std::string_view input = sent;
  CHECK(parser.next(input) == Step::head && input.empty());
  const RequestHead& head = parser.head();
  CHECK(head.method == "GET" && head.target == "/a" && !head.has_body());
  // The parser trims values.
  Fields expected = without(fields_of(headers), [](const std::string& name) { return name == "content-length"; });
  for (auto& [name, value] : expected) {
    const std::size_t from = std::min(value.find_first_not_of(" \t"), value.size());
    value = value.substr(from, value.find_last_not_of(" \t") + 1 - from);
  }
  CHECK(fields_of(head.headers) == expected);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  Input input(data, size);
  const std::uint8_t options = input.byte();
  HeaderList headers;
  while (!input.empty() && headers.size() < 64) {
    const std::string_view line = input.line();
    const std::size_t colon = std::min(line.find(':'), line.size());
    headers.add(line.substr(0, colon), line.substr(std::min(colon + 1, line.size())));
  }
  const bool trust_inbound = (options & 1) != 0;
  check_hop_by_hop(headers);
  check_identity(headers);
  check_forwarded(headers, trust_inbound);
  check_request_id(headers, trust_inbound);
  check_hops(headers, (options & 2) != 0 ? "OPTIONS" : (options & 4) != 0 ? "TRACE" : "GET");
  check_sent(headers);
  return 0;
}
