#include "bridge/router/problem.h"

namespace outrigger::router {
namespace {

TEST(Problem, every_code_has_the_values_of_the_published_table) {
  const struct {
    ProblemCode code;
    std::string_view name;
    int status;
    std::string_view flag;
  } expected[] = {
      {ProblemCode::no_route, "no-route", 404, "NR"},
      {ProblemCode::method_not_allowed, "method-not-allowed", 405, "NR"},
      {ProblemCode::body_too_large, "body-too-large", 413, "DPE"},
      {ProblemCode::uri_too_long, "uri-too-long", 414, "DPE"},
      {ProblemCode::headers_too_large, "headers-too-large", 431, "DPE"},
      {ProblemCode::bad_request, "bad-request", 400, "IH"},
      {ProblemCode::unauthenticated, "unauthenticated", 401, "UAEX"},
      {ProblemCode::forbidden, "forbidden", 403, "UAEX"},
      {ProblemCode::rate_limited, "rate-limited", 429, "RL"},
      {ProblemCode::no_instance, "no-instance", 503, "UH"},
      {ProblemCode::bus_unavailable, "bus-unavailable", 503, "UF"},
      {ProblemCode::queue_full, "queue-full", 503, "UO"},
      {ProblemCode::service_unreachable, "service-unreachable", 502, "UF"},
      {ProblemCode::bad_answer, "bad-answer", 502, "UPE"},
      {ProblemCode::outcome_unknown, "outcome-unknown", 502, "UC"},
      {ProblemCode::timeout, "timeout", 504, "UT"},
      {ProblemCode::loop_detected, "loop-detected", 508, "NR"},
      {ProblemCode::keys_unavailable, "keys-unavailable", 503, "UAEX"},
  };

  ASSERT_EQ(std::size(expected), static_cast<std::size_t>(kProblemCodes));
  for (int i = 0; i < kProblemCodes; ++i) {
    const Problem& problem = describe(static_cast<ProblemCode>(i));
    EXPECT_EQ(static_cast<int>(expected[i].code), i);
    EXPECT_EQ(problem.code, expected[i].name);
    EXPECT_EQ(problem.status, expected[i].status) << problem.code;
    EXPECT_EQ(problem.response_flag, expected[i].flag) << problem.code;
    EXPECT_EQ(problem.has_retry_after, problem.status == 503 || problem.status == 429) << problem.code;
    EXPECT_FALSE(problem.title.empty()) << problem.code;
  }
}

TEST(Problem, document_has_the_members_of_rfc_9457) {
  EXPECT_EQ(
      problem_json(ProblemCode::no_instance, "no instance of billing is up", "abc", "/billing/1"),
      R"({"type":"about:blank","title":"Service Unavailable","status":503,"detail":"no instance of billing is up",)"
      R"("instance":"/billing/1","code":"no-instance","traceId":"abc"})");
}

TEST(Problem, empty_members_are_left_out) {
  EXPECT_EQ(problem_json(ProblemCode::no_route, ""),
            R"({"type":"about:blank","title":"Not Found","status":404,"code":"no-route"})");
}

TEST(Problem, text_of_clients_cannot_break_the_document) {
  const std::string json = problem_json(ProblemCode::bad_request, "a\"b\\c\n\x01", "", "/\"},{");

  EXPECT_NE(json.find(R"(a\"b\\c\u000a\u0001)"), std::string::npos) << json;
  EXPECT_NE(json.find(R"("instance":"/\"},{")"), std::string::npos) << json;
  EXPECT_EQ(json.find('\n'), std::string::npos);
}

}  // namespace
}  // namespace outrigger::router
