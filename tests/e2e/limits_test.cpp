// What the gateway answers by itself: limits, requests that break the grammar, paths nobody serves. The service never
// hears of them, and where the framing cannot be trusted the connection ends.
#include "tests/e2e/http_stage.h"

namespace outrigger::tests {
namespace {

class Limits : public HttpStage {};

struct Refused {
  const char* name;
  std::string request;
  int status;
  const char* code;
};
std::ostream& operator<<(std::ostream& out, const Refused& one) {
  return out << one.name;
}

class RefusedRequests : public HttpStage, public ::testing::WithParamInterface<Refused> {};

TEST_P(RefusedRequests, are_answered_with_a_problem_and_end_the_connection) {
  RawClient client(gateway());
  client.send(GetParam().request + make_request("GET", "/smuggled"));

  const RawResponse response = client.read_response();

  EXPECT_EQ(response.problem, "");
  EXPECT_EQ(response.status, GetParam().status);
  EXPECT_EQ(code_of(response), GetParam().code) << response.body;
  EXPECT_NE(response.body.find("\"status\":" + std::to_string(GetParam().status)), std::string::npos) << response.body;
  EXPECT_EQ(response.header("Connection"), "close");
  EXPECT_TRUE(client.is_closed_by_peer());
  EXPECT_EQ(service().request_count(), 0u);
}

const std::string kStart = "GET / HTTP/1.1\r\nHost: example.test\r\n";
const std::string kPost = "POST / HTTP/1.1\r\nHost: example.test\r\n";

Fields fields_of(std::size_t count, std::size_t value_bytes) {
  return Fields(count, {"X-Field", std::string(value_bytes, 'v')});
}

INSTANTIATE_TEST_SUITE_P(
    Limits, RefusedRequests,
    ::testing::Values(
        Refused{"body_announced_too_large", kPost + "Content-Length: 8388609\r\n\r\n", 413, "body-too-large"},
        Refused{"body_absurdly_large", kPost + "Content-Length: 9999999999999999\r\n\r\n", 413, "body-too-large"},
        Refused{"target_too_long", make_request("GET", "/" + std::string(16 * 1024, 'a')), 414, "uri-too-long"},
        Refused{"too_many_fields", make_request("GET", "/", fields_of(201, 1)), 431, "headers-too-large"},
        Refused{"fields_too_large", make_request("GET", "/", fields_of(66, 1024)), 431, "headers-too-large"},
        Refused{"one_field_too_large", make_request("GET", "/", fields_of(1, 65 * 1024)), 431, "headers-too-large"}),
    [](const auto& one) { return one.param.name; });

INSTANTIATE_TEST_SUITE_P(
    Grammar, RefusedRequests,
    ::testing::Values(
        Refused{"no_host", "GET / HTTP/1.1\r\n\r\n", 400, "bad-request"},
        Refused{"two_hosts", kStart + "Host: other.test\r\n\r\n", 400, "bad-request"},
        Refused{"space_before_colon", kStart + "X-A : 1\r\n\r\n", 400, "bad-request"},
        Refused{"folded_line", kStart + "X-A: 1\r\n 2\r\n\r\n", 400, "bad-request"},
        Refused{"bare_line_feed", "GET / HTTP/1.1\nHost: example.test\n\n", 400, "bad-request"},
        Refused{"control_character", kStart + std::string("X-A: a\0b\r\n\r\n", 12), 400, "bad-request"},
        Refused{"no_method", " / HTTP/1.1\r\nHost: example.test\r\n\r\n", 400, "bad-request"},
        Refused{"target_without_slash", "GET a HTTP/1.1\r\nHost: example.test\r\n\r\n", 400, "bad-request"},
        Refused{"space_in_target", "GET /a b HTTP/1.1\r\nHost: example.test\r\n\r\n", 400, "bad-request"},
        Refused{"byte_above_ascii_in_target", "GET /\xfc HTTP/1.1\r\nHost: example.test\r\n\r\n", 400, "bad-request"},
        Refused{"length_and_chunked", kPost + "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400,
                "bad-request"},
        Refused{"two_lengths", kPost + "Content-Length: 1\r\nContent-Length: 2\r\n\r\nxx", 400, "bad-request"},
        Refused{"length_with_sign", kPost + "Content-Length: +1\r\n\r\nx", 400, "bad-request"},
        Refused{"chunked_not_last", kPost + "Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n", 400, "bad-request"},
        Refused{"bad_chunk_size", kPost + "Transfer-Encoding: chunked\r\n\r\nzz\r\n", 400, "bad-request"},
        Refused{"chunked_in_1_0",
                "POST / HTTP/1.0\r\nHost: example.test\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400,
                "bad-request"}),
    [](const auto& one) { return one.param.name; });

TEST_F(Limits, unknown_coding_and_version_have_their_own_status) {
  EXPECT_EQ(ask(gateway(), kPost + "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n").status, 501);
  EXPECT_EQ(ask(gateway(), "GET / HTTP/2.0\r\nHost: example.test\r\n\r\n").status, 505);
  EXPECT_EQ(service().request_count(), 0u);
}

TEST_F(Limits, chunked_body_that_grows_too_large_is_refused) {
  RawClient client(gateway());
  client.send(make_chunked_request("POST", "/up", std::string(8 * 1024 * 1024 + 1, 'x'), 64 * 1024));
  const RawResponse response = client.read_response();
  EXPECT_EQ(response.status, 413);
  EXPECT_EQ(code_of(response), "body-too-large");
  EXPECT_EQ(service().request_count(), 0u);
}

TEST_F(Limits, what_is_just_within_them_is_served) {
  EXPECT_EQ(get(gateway(), "/" + std::string(16 * 1024 - 1, 'a')).status, 200);
  EXPECT_EQ(ask(gateway(), make_request("GET", "/", fields_of(199, 100))).status, 200);
  EXPECT_EQ(ask(gateway(), make_request("GET", "/", fields_of(60, 1024))).status, 200);
}

TEST_F(Limits, fields_that_fit_http_but_not_a_frame_are_refused) {
  // Just below the gateway's own limit; what it adds, and the frame's JSON, would pass the frame's.
  const RawResponse response = ask(gateway(), make_request("GET", "/", {{"X-Field", std::string(65'400, '"')}}));
  EXPECT_EQ(response.status, 431);
  EXPECT_EQ(code_of(response), "headers-too-large");
  EXPECT_EQ(get(gateway(), "/").status, 200);
}

TEST_F(Limits, answer_whose_fields_cannot_travel_is_a_bad_answer) {
  service().always_send(make_response("200 OK", {{"X-Field", std::string(70'000, 'v')}}, "x"));
  const RawResponse response = get(gateway(), "/");
  EXPECT_EQ(response.status, 502);
  EXPECT_EQ(code_of(response), "bad-answer");
}

TEST_F(Limits, answer_above_the_body_limit_is_a_bad_answer) {
  service().always_send(make_response("200 OK", {}, std::string(8 * 1024 * 1024 + 1, 'x')));
  const RawResponse response = get(gateway(), "/");
  EXPECT_EQ(response.status, 502);
  EXPECT_EQ(code_of(response), "bad-answer");
}

TEST_F(Limits, problems_name_their_request_and_their_trace) {
  const RawResponse response =
      ask(gateway(), make_request("GET", "/billing/../x",
                                  {{"traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"}}));
  EXPECT_EQ(response.status, 400);
  EXPECT_TRUE(response.has_header("X-Request-Id"));
  EXPECT_NE(response.body.find("\"traceId\":\"4bf92f3577b34da6a3ce929d0e0e4736\""), std::string::npos) << response.body;
  EXPECT_EQ(ask(gateway(), make_request("HEAD", "/billing/../x")).body, "");
}

}  // namespace
}  // namespace outrigger::tests
