// HTTP/1 messages as values: heads without their bodies, the limits they are read under, and what can be wrong with
// one.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "bridge/base/header_list.h"
#include "bridge/base/limits.h"

namespace outrigger::http1 {

struct RequestHead {
  std::string method;
  // Origin form as the client spelled it, or `*` for OPTIONS. An absolute form has been taken apart: its authority has
  // replaced the Host field (RFC 9112 section 3.2.2), its path and query are here.
  std::string target;
  int minor_version = 1;  // HTTP/1.<minor>: 0 or 1
  base::HeaderList headers;
  std::optional<std::uint64_t> content_length;
  bool is_chunked = false;
  bool expects_continue = false;
  bool keep_alive = true;  // the client allows the connection to be used again

  bool has_body() const { return is_chunked || (content_length && *content_length > 0); }
};

struct ResponseHead {
  int status = 200;
  std::string reason;  // empty: the registered phrase is sent
  base::HeaderList headers;
  int minor_version = 1;                        // received responses only
  std::optional<std::uint64_t> content_length;  // received responses only
};

struct MessageLimits {
  std::size_t body_bytes = base::limits::kBodyBytes;
  std::size_t header_bytes = base::limits::kHeaderBytes;  // the header section as received, line ends included
  std::size_t header_count = base::limits::kHeaderCount;
  std::size_t target_bytes = base::limits::kTargetBytes;
};

// Why a request was refused by the protocol itself. A closed list; each has one status.
enum class ParseProblem : std::uint8_t {
  none,
  bad_request,        // 400: not the grammar, or framing that two parsers may read differently
  timed_out,          // 408: head or body did not come in time
  body_too_large,     // 413
  uri_too_long,       // 414
  headers_too_large,  // 431
  overloaded,         // 503: no memory for it now (base/budget.h)
  unsupported,        // 501: a method or transfer coding that we do not speak
  version,            // 505
};
int status_of(ParseProblem problem);
std::string_view name_of(ParseProblem problem);

// The registered phrase for `status` (RFC 9110 section 15), or an empty string.
std::string_view reason_phrase(int status);

// True if a response with this status to this method has no body whatever its fields say (RFC 9112 section 6.3).
inline bool is_bodiless(int status, std::string_view method) {
  return status < 200 || status == 204 || status == 304 || method == "HEAD";
}

}  // namespace outrigger::http1
