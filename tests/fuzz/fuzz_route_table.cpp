// The route table. Input: lines; `S name mount flags` is a service (flags: r refuses what is unlisted, c catches all),
// `E METHOD /template` one of its endpoints, `R METHOD host /path` a request. Each match is checked against a slow
// matcher of its own, against the same path spelled otherwise, and the rest of the path must stay inside the mount.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "bridge/base/check.h"
#include "bridge/router/mount.h"
#include "bridge/router/route_table.h"
#include "tests/fuzz/fuzz_input.h"

namespace {

using namespace outrigger::router;
using outrigger::fuzz::Input;
using outrigger::openapi::Endpoint;
using outrigger::openapi::ServiceMetadata;
using Strings = std::vector<std::string>;

constexpr std::size_t kServices = 8;
constexpr std::size_t kEndpoints = 24;
constexpr std::size_t kRequests = 8;
constexpr std::size_t kTemplateSlashes = 64;  // templates with more are not listed

std::string take_word(std::string_view& line) {
  const std::size_t at = std::min(line.find(' '), line.size());
  std::string word(line.substr(0, at));
  line.remove_prefix(std::min(at + 1, line.size()));
  return word;
}

int hex(char c) {
  const std::size_t at = std::string_view("0123456789abcdef0123456789ABCDEF").find(c);
  return at == std::string_view::npos ? -1 : static_cast<int>(at % 16);
}
bool is_unreserved(int c) {
  return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '-' || c == '.' ||
         c == '_' || c == '~';
}

// RFC 3986 section 6.2.2, byte by byte; templates have more that must be encoded.
std::string normal(std::string_view text, bool is_template) {
  static constexpr char kDigits[] = "0123456789ABCDEF";
  std::string out;
  while (!text.empty()) {
    int c = static_cast<unsigned char>(text[0]);
    bool encoded = false;
    if (c == '%' && text.size() > 2 && hex(text[1]) >= 0 && hex(text[2]) >= 0) {
      c = hex(text[1]) * 16 + hex(text[2]);
      encoded = !is_unreserved(c);
      text.remove_prefix(2);
    } else if (c == '%') {
      encoded = true;  // of nothing
    } else if (is_template) {
      encoded = c <= 0x20 || c > 0x7e ||
                (c != 0 && std::string_view("\"<>\\^`{|}").find(static_cast<char>(c)) != std::string_view::npos);
    }
    text.remove_prefix(1);
    if (encoded) {
      out.append({'%', kDigits[c / 16], kDigits[c % 16]});
    } else {
      out += static_cast<char>(c);
    }
  }
  return out;
}

Strings split(std::string_view text, char separator) {
  Strings parts(1);
  for (const char c : text) {
    if (c == separator) {
      parts.emplace_back();
    } else {
      parts.back() += c;
    }
  }
  return parts;
}

// Texts around parameters; a brace without its partner is text.
Strings texts_of(std::string_view segment) {
  Strings texts;
  std::string text;
  for (std::size_t i = 0; i < segment.size(); ++i) {
    const std::size_t close = segment[i] == '{' ? segment.find('}', i) : std::string_view::npos;
    if (close == std::string_view::npos) {
      text += segment[i];
    } else {
      texts.push_back(normal(text, true));
      text.clear();
      i = close;
    }
  }
  texts.push_back(normal(text, true));
  return texts;
}

// Parameters take one character or more, by every way to cut the segment.
bool fits(const Strings& texts, std::size_t i, std::string_view segment) {
  if (segment.substr(0, texts[i].size()) != texts[i]) return false;
  segment.remove_prefix(texts[i].size());
  if (i + 1 == texts.size()) return segment.empty();
  for (std::size_t taken = 1; taken <= segment.size(); ++taken) {
    if (fits(texts, i + 1, segment.substr(taken))) return true;
  }
  return false;
}

bool fits(const Endpoint& endpoint, std::string_view rest) {
  const Strings want = split(endpoint.path, '/');
  const Strings have = split(rest, '/');
  if (want.size() != have.size()) return false;
  for (std::size_t i = 0; i < want.size(); ++i) {
    const Strings texts = texts_of(want[i]);
    if (texts.size() > 1 && (have[i] == "." || have[i] == "..")) return false;
    if (texts.size() > 4) return true;  // too slow to be sure: counted as a fit where one is asked for, see below
    if (!fits(texts, 0, have[i])) return false;
  }
  return true;
}

bool is_slow(const ServiceMetadata& metadata) {
  return std::any_of(metadata.endpoints.begin(), metadata.endpoints.end(), [](const Endpoint& endpoint) {
    return std::count(endpoint.path.begin(), endpoint.path.end(), '{') > 3;
  });
}

bool serves(const Endpoint& endpoint, std::string_view method) {
  return endpoint.method == method || (method == "HEAD" && endpoint.method == "GET");
}

bool is_listable(const Endpoint& endpoint) {
  const auto slashes = std::count(endpoint.path.begin(), endpoint.path.end(), '/');
  return !endpoint.path.empty() && endpoint.path[0] == '/' && static_cast<std::size_t>(slashes) <= kTemplateSlashes;
}

// RFC 3986 section 5.2.4, as it is written there.
std::string without_dots(std::string in) {
  std::string out;
  const auto starts = [&in](std::string_view text) { return in.rfind(text, 0) == 0; };
  while (!in.empty()) {
    if (starts("/./")) {
      in.erase(0, 2);
    } else if (in == "/.") {
      in = "/";
    } else if (starts("/../") || in == "/..") {
      in = in == "/.." ? "/" : in.substr(3);
      out.resize(std::min(out.rfind('/'), out.size()));
    } else {
      const std::size_t end = std::min(in.find('/', 1), in.size());
      out += in.substr(0, end);
      in.erase(0, end);
    }
  }
  return out;
}

bool climbs(std::string_view rest) {
  int depth = 0;
  for (const std::string& segment : split(rest, '/')) {
    if (segment.empty() || segment == ".") continue;
    depth += segment == ".." ? -1 : 1;
    if (depth < 0) return true;
  }
  return false;
}

bool has_dots(std::string_view path) {
  const Strings segments = split(path, '/');
  return std::any_of(segments.begin(), segments.end(),
                     [](const std::string& segment) { return segment == "." || segment == ".."; });
}

bool is_below(std::string_view path, std::string_view mount) {
  return path.substr(0, mount.size()) == mount && (path.size() == mount.size() || path[mount.size()] == '/');
}

void check_match(const RouteTable& table, const Match& match, std::string_view method, std::string_view host,
                 std::string_view path) {
  CHECK(match.target_path_offset <= path.size());
  CHECK((match.kind == Match::Kind::method_not_allowed) == !match.allow.empty());
  if (match.kind == Match::Kind::bad_path) {
    CHECK(has_dots(normal(path, false)));
    return;
  }
  if (match.metadata == nullptr) {
    CHECK(match.kind == Match::Kind::no_route && match.target_path_offset == 0);
    return;
  }
  const ServiceMetadata& metadata = *match.metadata;
  const std::string compared = normal(path, false);
  CHECK(is_below(compared, match.mount));
  const std::string_view rest_as_spelled = path.substr(match.target_path_offset);
  CHECK(rest_as_spelled.empty() || rest_as_spelled[0] == '/');
  std::string rest = normal(rest_as_spelled, false);
  CHECK(std::string(match.mount) + rest == compared);
  if (rest.empty()) rest = "/";

  // What the service resolves itself stays inside its mount, and inside the mounts of nobody else.
  CHECK(!climbs(rest));
  if (has_dots(compared)) CHECK(table.match(method, host, without_dots(compared)).metadata == match.metadata);

  if (match.endpoint != nullptr) {
    CHECK(match.kind == Match::Kind::matched && serves(*match.endpoint, method));
    CHECK(match.endpoint >= metadata.endpoints.data() &&
          match.endpoint < metadata.endpoints.data() + metadata.endpoints.size());
    CHECK(fits(*match.endpoint, rest));
    CHECK(match.route.ends_with(match.endpoint->path));
    return;
  }
  if (is_slow(metadata)) return;
  bool has_path = false;
  for (const Endpoint& endpoint : metadata.endpoints) {
    if (!is_listable(endpoint) || !fits(endpoint, rest)) continue;
    if (own_path_of(std::string(match.mount) + endpoint.path) != OwnPath::none) continue;  // not listed: nobody gets there
    has_path = true;
    CHECK(!serves(endpoint, method));
  }
  const bool is_refused = metadata.refuse_unlisted && !metadata.catch_all && !(has_path && method == "OPTIONS");
  CHECK(match.kind == (!is_refused ? Match::Kind::matched
                       : has_path  ? Match::Kind::method_not_allowed
                                   : Match::Kind::no_route));
  if (!has_path) CHECK(match.route.ends_with("/{path}"));
  if (!match.allow.empty()) {
    const std::string allow = ", " + match.allow + ", ";
    CHECK(allow.find(", OPTIONS, ") != std::string::npos);
    CHECK(allow.find(", " + std::string(method) + ", ") == std::string::npos);
  }
}

bool is_same(const Match& a, const Match& b) {
  return a.kind == b.kind && a.metadata == b.metadata && a.endpoint == b.endpoint && a.route == b.route &&
         a.mount == b.mount && a.allow == b.allow;
}

std::string percent_encoded(std::string_view path) {
  std::string out;
  for (const char c : path) {
    if (is_unreserved(c) && hex(c) < 0) {  // a digit may belong to an encoding that is already there
      static constexpr char kDigits[] = "0123456789abcdef";
      out.append({'%', kDigits[c / 16], kDigits[c % 16]});
    } else {
      out += c;
    }
  }
  return out;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  Input input(data, size);
  std::vector<std::shared_ptr<ServiceMetadata>> services;
  std::vector<std::string_view> requests;
  while (!input.empty()) {
    std::string_view line = input.line();
    const std::string kind = take_word(line);
    if (kind == "S" && services.size() < kServices) {
      auto service = std::make_shared<ServiceMetadata>();
      service->service = take_word(line);
      service->mount = take_word(line);
      service->refuse_unlisted = line.find('r') != std::string_view::npos;
      service->catch_all = line.find('c') != std::string_view::npos;
      services.push_back(std::move(service));
    } else if (kind == "E" && !services.empty() && services.back()->endpoints.size() < kEndpoints) {
      Endpoint endpoint;
      endpoint.method = take_word(line);
      endpoint.path = line;
      if (!endpoint.method.empty()) services.back()->endpoints.push_back(std::move(endpoint));
    } else if (kind == "R" && requests.size() < kRequests) {
      requests.push_back(line);
    }
  }
  std::vector<RouteSource> sources;
  for (std::size_t i = 0; i < services.size(); ++i) sources.push_back({services[i], static_cast<std::int64_t>(i / 2)});
  // Of equal times and names either may come first: told apart by their versions.
  for (std::size_t i = 0; i < services.size(); ++i) services[i]->service_version = std::to_string(i);
  const RouteTable table(sources);
  std::reverse(sources.begin(), sources.end());
  const RouteTable reversed(sources);
  CHECK(table.conflicts().size() == reversed.conflicts().size());
  CHECK(table.mounted().size() <= services.size());

  for (std::string_view request : requests) {
    const std::string method = take_word(request);
    const std::string host = take_word(request);
    const Match match = table.match(method, host, request);
    check_match(table, match, method, host, request);
    CHECK(is_same(match, reversed.match(method, host, request)));
    CHECK(is_same(match, table.match(method, host, percent_encoded(request))));
    // The gateway's own paths are asked for before the table, and no spelling hides them.
    CHECK(own_path_of(percent_encoded(request)) == own_path_of(request));
  }
  return 0;
}
