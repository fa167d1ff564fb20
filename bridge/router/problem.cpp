#include "bridge/router/problem.h"

#include "bridge/base/check.h"
#include "bridge/base/log.h"

namespace outrigger::router {
namespace {

// In the order of ProblemCode.
constexpr Problem kProblems[] = {
    {"no-route", 404, "Not Found", false, "NR"},
    {"method-not-allowed", 405, "Method Not Allowed", false, "NR"},
    {"body-too-large", 413, "Content Too Large", false, "DPE"},
    {"uri-too-long", 414, "URI Too Long", false, "DPE"},
    {"headers-too-large", 431, "Request Header Fields Too Large", false, "DPE"},
    {"bad-request", 400, "Bad Request", false, "IH"},
    {"unauthenticated", 401, "Unauthorized", false, "UAEX"},
    {"forbidden", 403, "Forbidden", false, "UAEX"},
    {"rate-limited", 429, "Too Many Requests", true, "RL"},
    {"no-instance", 503, "Service Unavailable", true, "UH"},
    {"bus-unavailable", 503, "Service Unavailable", true, "UF"},
    {"queue-full", 503, "Service Unavailable", true, "UO"},
    {"service-unreachable", 502, "Bad Gateway", false, "UF"},
    {"bad-answer", 502, "Bad Gateway", false, "UPE"},
    {"outcome-unknown", 502, "Bad Gateway", false, "UC"},
    {"timeout", 504, "Gateway Timeout", false, "UT"},
    {"loop-detected", 508, "Loop Detected", false, "NR"},
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
