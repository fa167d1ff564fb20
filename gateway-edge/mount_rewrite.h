// What a service says of its own places, made right for clients: the mount was taken off the request's path, so it is put
// back into the answer's Location, Content-Location and cookie paths. The rules and their limits: docs/http.md. Pure.
#pragma once

#include <string_view>

#include "bridge/base/header_list.h"

namespace outrigger::gateway {

struct MountedRequest {
  std::string_view mount;         // path of the mount, without a slash at its end; empty: nothing is rewritten
  std::string_view authority;     // the Host that the service was shown
  std::string_view path;          // of the request, as the client spelled it, without query
  std::string_view service_path;  // what of it the service was shown; empty: it was shown `/`
};

// Location and Content-Location: an absolute path, or a URL (http, https, or without a scheme) whose authority is
// `authority`, gets the mount in front of its path. Relative references stay, unless they would lead elsewhere for the
// client than for the service: then they become absolute paths. Set-Cookie: the mount in front of each Path, which for
// `/` becomes the mount alone; `__Host-` cookies stay. Everything else stays as it is.
void restore_mount(base::HeaderList& headers, const MountedRequest& request);

}  // namespace outrigger::gateway
