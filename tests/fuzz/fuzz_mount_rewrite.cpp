// Putting a mount back into an answer's fields. Input: lines; the path that the service was shown, its query left out,
// then the answer's fields. Places of others stay, what leads to the service leads there through the gateway, and
// nothing leads out of the mount.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>

#include "bridge/base/check.h"
#include "bridge/base/header_list.h"
#include "gateway-edge/mount_rewrite.h"
#include "tests/fuzz/fuzz_input.h"

namespace {

using outrigger::base::equals_ignoring_case;
using outrigger::base::HeaderList;
using outrigger::gateway::MountedRequest;
using outrigger::gateway::restore_mount;

constexpr std::string_view kMount = "/m/n";
constexpr std::string_view kAuthority = "example.test:8080";

bool is_reference(std::string_view name) {
  return equals_ignoring_case(name, "Location") || equals_ignoring_case(name, "Content-Location");
}

// The path of `reference` for somebody who is at `base`: RFC 3986 section 5.2, as a browser with percent-encoded dots
// reads it. Empty for another place, and for the same document, where nothing need change.
std::string target_of(std::string_view reference, std::string_view base, std::string_view authority) {
  while (!reference.empty() && (reference.front() == ' ' || reference.front() == '\t')) reference.remove_prefix(1);
  while (!reference.empty() && (reference.back() == ' ' || reference.back() == '\t')) reference.remove_suffix(1);
  std::string_view rest = reference;
  for (const std::string_view scheme : {"http:", "https:"}) {
    if (rest.size() >= scheme.size() + 2 && equals_ignoring_case(rest.substr(0, scheme.size()), scheme) &&
        rest.substr(scheme.size(), 2) == "//") {
      rest.remove_prefix(scheme.size());
      break;
    }
  }
  std::string path;
  if (rest.substr(0, 2) == "//") {
    rest.remove_prefix(2);
    const std::size_t end = std::min(rest.find_first_of("/?#"), rest.size());
    if (!equals_ignoring_case(rest.substr(0, end), authority)) return {};
    path = rest.substr(end, std::min(rest.find_first_of("?#", end), rest.size()) - end);
    if (path.empty()) path = "/";
  } else {
    if (rest.find_first_of(":/?#") < rest.size() && rest[rest.find_first_of(":/?#")] == ':') return {};
    path = rest.substr(0, rest.find_first_of("?#"));
    if (path.empty()) return {};  // the same document
    if (path.front() != '/') path.insert(0, base.substr(0, base.rfind('/') + 1));
  }
  std::string decoded;
  for (std::size_t i = 0; i < path.size(); ++i) {
    const std::string_view three = std::string_view(path).substr(i, 3);
    if (three == "%2e" || three == "%2E") {
      decoded += '.';
      i += 2;
    } else {
      decoded += path[i];
    }
  }
  // Section 5.2.4, segment by segment.
  std::string out;
  for (std::size_t at = 0; at < decoded.size();) {
    const std::size_t end = std::min(decoded.find('/', at + 1), decoded.size());
    const std::string segment = decoded.substr(at, end - at);
    const bool is_last = end == decoded.size();
    if (segment == "/..") out.resize(std::min(out.rfind('/'), out.size()));
    if (segment != "/." && segment != "/..") {
      out += segment;
    } else if (is_last) {
      out += '/';
    }
    at = end;
  }
  return out;
}

// As the rewriting spells it: unreserved characters are not percent-encoded.
std::string plain(std::string_view text) {
  constexpr std::string_view kHex = "0123456789abcdef";
  constexpr std::string_view kUnreserved = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~";
  const auto hex = [&](char c) { return kHex.find(static_cast<char>(c >= 'A' && c <= 'F' ? c + 32 : c)); };
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '%' && i + 2 < text.size() && hex(text[i + 1]) < 16 && hex(text[i + 2]) < 16) {
      const auto byte = static_cast<char>(hex(text[i + 1]) * 16 + hex(text[i + 2]));
      if (kUnreserved.find(byte) != std::string_view::npos) {
        out += byte;
      } else {
        out.append({'%', kHex[hex(text[i + 1])], kHex[hex(text[i + 2])]});
      }
      i += 2;
    } else if (text[i] == '%') {
      out += "%25";
    } else {
      out += text[i];
    }
  }
  return out;
}

void check_reference(std::string_view before, std::string_view after, std::string_view service_path) {
  const std::string_view shown = service_path.empty() ? "/" : service_path;
  const std::string at_service = target_of(before, shown, kAuthority);
  if (at_service.empty()) {
    CHECK(before == after);
    return;
  }
  const std::string client_path = std::string(kMount) + std::string(service_path);
  const std::string at_client = target_of(after, client_path, kAuthority);
  CHECK(plain(at_client) == plain(std::string(kMount) + at_service));
}

// Nothing but the mount is put in, and in front of a path only.
void check_cookie(std::string_view before, std::string_view after) {
  if (before.find(kMount) != std::string_view::npos) return;  // then it cannot be told where it was put in
  while (!after.empty() || !before.empty()) {
    if (!before.empty() && !after.empty() && before.front() == after.front() &&
        !(after.substr(0, kMount.size()) == kMount && before.substr(0, kMount.size()) != kMount)) {
      before.remove_prefix(1);
      after.remove_prefix(1);
      continue;
    }
    CHECK(after.substr(0, kMount.size()) == kMount && before.substr(0, 1) == "/");
    after.remove_prefix(kMount.size());
    // `/` alone becomes the mount alone.
    if (after.substr(0, 1) != "/") before.remove_prefix(1);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  outrigger::fuzz::Input input(data, size);
  const std::string_view service_path = input.line();
  if (!service_path.empty() && service_path.front() != '/') return 0;
  // The route table refuses paths that lead out, and a target has no query here.
  if (service_path.find("/.") != std::string_view::npos ||
      service_path.find_first_of("?#%") != std::string_view::npos) {
    return 0;
  }
  HeaderList headers;
  while (!input.empty() && headers.size() < 16) {
    const std::string_view line = input.line();
    const std::size_t colon = std::min(line.find(':'), line.size());
    headers.add(line.substr(0, colon), line.substr(std::min(colon + 1, line.size())));
  }
  const HeaderList before = headers;
  const std::string path = std::string(kMount) + std::string(service_path);
  restore_mount(headers, {kMount, kAuthority, path, service_path});

  CHECK(headers.size() == before.size());
  for (std::size_t i = 0; i < headers.size(); ++i) {
    CHECK(headers[i].name == before[i].name);
    if (is_reference(headers[i].name)) {
      check_reference(before[i].value, headers[i].value, service_path);
    } else if (!equals_ignoring_case(headers[i].name, "Set-Cookie")) {
      CHECK(headers[i].value == before[i].value);
    } else {
      check_cookie(before[i].value, headers[i].value);
    }
  }
  HeaderList unchanged = before;
  restore_mount(unchanged, {"", kAuthority, service_path, service_path});
  CHECK(unchanged == before);
  return 0;
}
