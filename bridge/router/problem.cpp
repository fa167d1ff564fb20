#include "bridge/router/problem.h"

#include "bridge/base/check.h"
#include "bridge/base/log.h"
#include "bridge/telemetry/access_log.h"

namespace outrigger::router {
namespace {

namespace flag = telemetry::flag;

// In the order of ProblemCode.
constexpr Problem kProblems[] = {
    {"no-route", 404, "Not Found", false, flag::kNoRoute},
    {"method-not-allowed", 405, "Method Not Allowed", false, flag::kNoRoute},
    {"body-too-large", 413, "Content Too Large", false, flag::kDownstreamProtocol},
    {"uri-too-long", 414, "URI Too Long", false, flag::kDownstreamProtocol},
    {"headers-too-large", 431, "Request Header Fields Too Large", false, flag::kDownstreamProtocol},
    {"bad-request", 400, "Bad Request", false, flag::kInvalidHeader},
    {"unauthenticated", 401, "Unauthorized", false, flag::kUnauthorized},
    {"forbidden", 403, "Forbidden", false, flag::kUnauthorized},
    {"rate-limited", 429, "Too Many Requests", true, flag::kRateLimited},
    {"no-instance", 503, "Service Unavailable", true, flag::kNoHealthyUpstream},
    {"bus-unavailable", 503, "Service Unavailable", true, flag::kUpstreamConnect},
    {"queue-full", 503, "Service Unavailable", true, flag::kUpstreamOverflow},
    {"service-unreachable", 502, "Bad Gateway", false, flag::kUpstreamConnect},
    {"bad-answer", 502, "Bad Gateway", false, flag::kUpstreamProtocol},
    {"outcome-unknown", 502, "Bad Gateway", false, flag::kUpstreamClosed},
    {"timeout", 504, "Gateway Timeout", false, flag::kUpstreamTimeout},
    {"loop-detected", 508, "Loop Detected", false, flag::kNoRoute},
    {"keys-unavailable", 503, "Service Unavailable", true, flag::kUnauthorized},
};
static_assert(sizeof(kProblems) / sizeof(kProblems[0]) == kProblemCodes);

void append_member(std::string& json, std::string_view name, std::string_view value) {
  if (value.empty()) return;
  json.append(",\"").append(name).append("\":\"");
  base::append_json_escaped(json, value);
  json += '"';
}

}  // namespace

const Problem& describe(ProblemCode code) {
  const auto index = static_cast<std::size_t>(code);
  CHECK(index < kProblemCodes);
  return kProblems[index];
}

std::string problem_json(ProblemCode code, std::string_view detail, std::string_view trace_id,
                         std::string_view instance) {
  const Problem& problem = describe(code);
  std::string json = R"({"type":"about:blank")";
  append_member(json, "title", problem.title);
  json += ",\"status\":" + std::to_string(problem.status);
  append_member(json, "detail", detail);
  append_member(json, "instance", instance);
  append_member(json, "code", problem.code);
  append_member(json, "traceId", trace_id);
  json += '}';
  return json;
}

}  // namespace outrigger::router
