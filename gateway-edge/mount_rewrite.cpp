#include "gateway-edge/mount_rewrite.h"

#include <algorithm>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "bridge/router/mount.h"

namespace outrigger::gateway {
namespace {

using base::equals_ignoring_case;

std::string_view trim(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
  return text;
}

// Without the port that `scheme` has anyway.
std::string_view without_default_port(std::string_view authority, std::string_view scheme) {
  const std::string_view port = equals_ignoring_case(scheme, "https") ? ":443" : ":80";
  if (!scheme.empty() && authority.size() > port.size() && authority.substr(authority.size() - port.size()) == port) {
    authority.remove_suffix(port.size());
  }
  return authority;
}

// Dot segments gone, in any spelling: after the mount they would lead out of it.
std::string without_dots(std::string_view path) { return router::remove_dot_segments(router::canonical_path(path)); }

bool may_have_dots(std::string_view path) {
  return path.find("/.") != std::string_view::npos || path.find("/%2") != std::string_view::npos;
}

// Followed from the root, `path` would go above it (RFC 3986 section 5.2.4: it then stays there).
bool climbs_out(std::string_view path) {
  int depth = 0;
  for (std::size_t at = 0; at < path.size();) {
    const std::size_t end = std::min(path.find('/', at + 1), path.size());
    const std::string_view segment = path.substr(at + 1, end - at - 1);
    if (segment == "..") {
      if (--depth < 0) return true;
    } else if (segment != ".") {
      ++depth;
    }
    at = end;
  }
  return false;
}

// The reference as it must be for the client; nothing if it is right already.
std::optional<std::string> rewrite_reference(std::string_view value, const MountedRequest& request) {
  value = trim(value);
  std::size_t path_at = 0;  // where the path begins
  const std::size_t mark = value.find_first_of(":/?#");
  std::string_view scheme;
  if (mark != std::string_view::npos && value[mark] == ':') {
    scheme = value.substr(0, mark);
    if (!equals_ignoring_case(scheme, "http") && !equals_ignoring_case(scheme, "https")) return std::nullopt;
    path_at = mark + 1;
    if (value.substr(path_at, 2) != "//") return std::nullopt;
  }
  if (value.substr(path_at, 2) == "//") {
    const std::size_t authority_at = path_at + 2;
    path_at = std::min(value.find_first_of("/?#", authority_at), value.size());
    const std::string_view authority = value.substr(authority_at, path_at - authority_at);
    if (authority.empty() || !equals_ignoring_case(without_default_port(authority, scheme),
                                                   without_default_port(request.authority, scheme))) {
      return std::nullopt;  // somebody else's place
    }
  } else if (value.empty() || value.front() == '?' || value.front() == '#') {
    return std::nullopt;  // of the same document
  }

  const std::size_t path_end = std::min(value.find_first_of("?#", path_at), value.size());
  const std::string_view path = value.substr(path_at, path_end - path_at);
  std::string out(value.substr(0, path_at));
  out.append(request.mount);
  if (path.empty()) {
    out.push_back('/');
  } else if (path.front() == '/') {
    out.append(may_have_dots(path) ? without_dots(path) : std::string(path));
  } else {
    // Relative: what it leads to from the service's path, it leads to from the client's, one mount higher; unless that
    // ends without the slash that the service was shown, or it leads above the service's root.
    std::string merged(request.service_path.substr(0, request.service_path.rfind('/') + 1));
    if (merged.empty()) merged.push_back('/');
    merged = router::canonical_path(merged.append(path));
    if (!request.service_path.empty() && !climbs_out(merged)) return std::nullopt;
    out.append(router::remove_dot_segments(merged));
  }
  return out.append(value.substr(path_end));
}

// RFC 6265 section 5.2. A missing or unusable Path means the directory of the request's own path, which is right.
std::optional<std::string> rewrite_cookie(std::string_view value, std::string_view mount) {
  constexpr std::string_view kRootOnly = "__Host-";  // a browser refuses it with any Path but `/`
  if (equals_ignoring_case(trim(value).substr(0, kRootOnly.size()), kRootOnly)) return std::nullopt;
  std::optional<std::string> out;
  std::size_t copied = 0;
  for (std::size_t at = value.find(';'); at < value.size();) {
    const std::size_t end = std::min(value.find(';', at + 1), value.size());
    const std::string_view attribute = value.substr(at + 1, end - at - 1);
    at = end;
    const std::size_t equals = attribute.find('=');
    if (equals == std::string_view::npos || !equals_ignoring_case(trim(attribute.substr(0, equals)), "Path")) continue;
    std::string_view path = trim(attribute.substr(equals + 1));
    if (!path.empty() && path.front() == '"') path.remove_prefix(1);  // of RFC 2109; the closing one stays behind it
    if (path.empty() || path.front() != '/') continue;
    if (!out) out.emplace();
    const auto path_at = static_cast<std::size_t>(path.data() - value.data());
    out->append(value, copied, path_at - copied).append(mount);
    // `/` alone: without the slash the cookie is also for the mount itself, and still for nothing beside it.
    const bool is_root = path == "/" || path == "/\"";
    copied = path_at + (is_root ? 1 : 0);
  }
  if (out) out->append(value, copied, value.size() - copied);
  return out;
}

}  // namespace

void restore_mount(base::HeaderList& headers, const MountedRequest& request) {
  if (request.mount.empty()) return;
  std::vector<std::pair<std::size_t, std::string>> rewritten;
  for (std::size_t i = 0; i < headers.size(); ++i) {
    const auto [name, value] = headers[i];
    std::optional<std::string> changed;
    if (equals_ignoring_case(name, "Location") || equals_ignoring_case(name, "Content-Location")) {
      changed = rewrite_reference(value, request);
    } else if (equals_ignoring_case(name, "Set-Cookie")) {
      changed = rewrite_cookie(value, request.mount);
    }
    if (changed) rewritten.emplace_back(i, std::move(*changed));
  }
  if (rewritten.empty()) return;
  base::HeaderList out;
  out.reserve(headers.size(), headers.text_bytes() + 256);
  auto next = rewritten.begin();
  for (std::size_t i = 0; i < headers.size(); ++i) {
    const bool is_changed = next != rewritten.end() && next->first == i;
    out.add(headers[i].name, is_changed ? std::string_view(next->second) : headers[i].value);
    if (is_changed) ++next;
  }
  headers = std::move(out);
}

}  // namespace outrigger::gateway
