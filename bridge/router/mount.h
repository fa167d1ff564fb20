// Where a service appears outside: a path prefix, and perhaps a host. And the paths that are never a service's, because
// the gateway answers them itself.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "bridge/base/result.h"

namespace outrigger::router {

struct Mount {
  std::string host;  // lower case; `*.example.com`: every name below example.com; empty: any host
  std::string path;  // without a slash at its end; empty for `/`. As spelled
};

// Reads `/billing`, `/`, `host:example.com`, `host:*.example.com`, `host:example.com/api`, `host:[::1]/`. Error
// `invalid`, for people: not of this form, or no host name (RFC 1123 section 2.1, and underscores). A port is refused:
// the port a client came by says nothing about the service it wants.
base::Result<Mount> parse_mount(std::string_view text);

// The gateway's own paths win over mounts.
enum class OwnPath : std::uint8_t {
  none,
  openapi_json,   // /openapi.json
  openapi_yaml,   // /openapi.yaml
  openapi_links,  // /.well-known/openapi
  docs,           // /docs and everything below
  gateway_api,    // /api/v1/gateway and everything below
};
// `path` as a client spelled it, without query: percent-encoded unreserved characters, dot segments and empty segments
// do not hide an own path, since services and proxies read them away.
OwnPath own_path_of(std::string_view path);
// The path itself; empty for none.
std::string_view to_string(OwnPath path);

// Percent-encoded unreserved characters decoded, the hex digits of the others in upper case (RFC 3986 section 6.2.2).
// `%2F` stays, so the number of segments does, too; a `%` that encodes nothing becomes `%25`. With `encode`, what may not stand in a path is encoded: documents
// write `/größe`.
std::string canonical_path(std::string_view text, bool encode = false);
// RFC 3986 section 5.2.4. REQUIRES a leading slash.
std::string remove_dot_segments(std::string_view path);

}  // namespace outrigger::router
