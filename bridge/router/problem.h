// Problems: every way in which the gateway itself answers instead of a service. A closed table; code, status, title and
// access-log flag of each stand here and nowhere else. What services answer passes untouched.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace outrigger::router {

enum class ProblemCode : std::uint8_t {
  no_route,
  method_not_allowed,
  body_too_large,
  uri_too_long,
  headers_too_large,
  bad_request,
  unauthenticated,
  forbidden,
  rate_limited,
  no_instance,
  bus_unavailable,
  queue_full,
  service_unreachable,
  bad_answer,
  outcome_unknown,
  timeout,
  loop_detected,
  keys_unavailable,
};
inline constexpr int kProblemCodes = 18;

struct Problem {
  std::string_view code;           // member `code`, label of metrics: no-route
  int status;                      // HTTP status
  std::string_view title;          // status phrase, as `about:blank` asks (RFC 9457 section 4.2.1)
  bool has_retry_after;            // a Retry-After field belongs to it (RFC 9110 section 10.2.3)
  std::string_view response_flag;  // of the access log, with Envoy's meaning: NR
};

const Problem& describe(ProblemCode code);

// Body of an application/problem+json answer (RFC 9457). `detail`, `trace_id` and `instance` are left out when empty;
// they may hold any bytes. `detail` is for clients: nothing internal.
std::string problem_json(ProblemCode code, std::string_view detail, std::string_view trace_id = {},
                         std::string_view instance = {});

}  // namespace outrigger::router
