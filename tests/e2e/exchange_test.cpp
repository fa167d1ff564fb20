// What a client gets through the gateway is what the service itself would have answered, byte for byte.
#include "bridge/base/header_list.h"
#include "tests/e2e/http_stage.h"

namespace outrigger::tests {
namespace {

constexpr std::size_t kKiB = 1024;
constexpr std::size_t kMiB = 1024 * kKiB;

// What belongs to one connection, and what the gateway may add.
Fields end_to_end(const RawResponse& response) {
  Fields fields;
  for (const auto& [name, value] : response.headers) {
    bool is_of_hop = false;
    for (const std::string_view other : {"Date", "Connection", "Keep-Alive", "Via", "X-Request-Id", "Content-Length",
                                         "Transfer-Encoding", "Trailer"}) {
      is_of_hop = is_of_hop || base::equals_ignoring_case(name, other);
    }
    if (!is_of_hop) fields.emplace_back(name, value);
  }
  return fields;
}

void expect_same(const RawResponse& direct, const RawResponse& through) {
  EXPECT_EQ(direct.problem, "");
  EXPECT_EQ(through.problem, "");
  EXPECT_EQ(through.status_line.substr(9), direct.status_line.substr(9));  // the version is that of the hop
  EXPECT_EQ(end_to_end(through), end_to_end(direct));
  EXPECT_TRUE(through.body == direct.body) << "bodies of " << through.body.size() << " and " << direct.body.size();
}

struct Case {
  const char* name;
  std::string request;
  std::string answer;  // empty: the service says what it saw
};
std::ostream& operator<<(std::ostream& out, const Case& one) {
  return out << one.name;
}

Fields many_fields(std::size_t count) {
  Fields fields;
  for (std::size_t i = 0; i < count; ++i) fields.emplace_back("X-Field-" + std::to_string(i), std::string(i + 1, 'v'));
  return fields;
}

class Exchange : public HttpStage {};

class SameAnswer : public HttpStage, public ::testing::WithParamInterface<Case> {};

TEST_P(SameAnswer, comes_directly_and_through_the_gateway) {
  if (!GetParam().answer.empty()) {
    service().set_script([&answer = GetParam().answer](const RawRequest&, ScriptedService::Connection& connection) {
      connection.send(answer);
      connection.close();
    });
  }

  const RawResponse of_service = ask(direct(), GetParam().request);
  const RawResponse of_gateway = ask(gateway(), GetParam().request);

  expect_same(of_service, of_gateway);
  EXPECT_EQ(service().request_count(), 2u);
}

INSTANTIATE_TEST_SUITE_P(
    Methods, SameAnswer,
    ::testing::Values(Case{"get", make_request("GET", "/a/b?c=d"), ""}, Case{"head", make_request("HEAD", "/a"), ""},
                      Case{"post", make_request("POST", "/a", {}, "content"), ""},
                      Case{"put", make_request("PUT", "/a", {}, "content"), ""},
                      Case{"patch", make_request("PATCH", "/a", {}, "content"), ""},
                      Case{"delete", make_request("DELETE", "/a"), ""},
                      Case{"delete_with_body", make_request("DELETE", "/a", {}, "content"), ""},
                      Case{"get_with_body", make_request("GET", "/a", {}, "content"), ""},
                      Case{"options", make_request("OPTIONS", "/a"), ""},
                      Case{"post_without_body", make_request("POST", "/a", {{"Content-Length", "0"}}), ""},
                      Case{"chunked_post", make_chunked_request("POST", "/a", "content", 3), ""}),
    [](const auto& one) { return one.param.name; });

INSTANTIATE_TEST_SUITE_P(
    Answers, SameAnswer,
    ::testing::Values(
        Case{"content_length", make_request("GET", "/"), make_response("200 OK", {{"ETag", "\"v1\""}}, "hello")},
        Case{"chunked", make_request("GET", "/"),
             "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Type: text/plain\r\n\r\n"
             "5\r\nhello\r\n1;extension=x\r\n,\r\n6\r\n world\r\n0\r\n\r\n"},
        Case{"close_delimited", make_request("GET", "/"),
             "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\nto the end"},
        Case{"http_1_0", make_request("GET", "/"), "HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\nan old service"},
        Case{"no_content", make_request("DELETE", "/"), "HTTP/1.1 204 No Content\r\nX-Left: 0\r\n\r\n"},
        Case{"not_modified", make_request("GET", "/", {{"If-None-Match", "\"v1\""}}),
             "HTTP/1.1 304 Not Modified\r\nETag: \"v1\"\r\nCache-Control: max-age=60\r\n\r\n"},
        Case{"created", make_request("POST", "/", {}, "x"),
             make_response("201 Created", {{"Location", "http://elsewhere.test/7"}}, "")},
        Case{"its_own_404", make_request("GET", "/missing"),
             make_response("404 Not Found", {{"Content-Type", "application/problem+json"}}, "{\"title\":\"mine\"}")},
        Case{"its_own_503", make_request("GET", "/"),
             make_response("503 Service Unavailable", {{"Retry-After", "7"}}, "no")},
        Case{"unregistered_status", make_request("GET", "/"), make_response("299 Quite Fine Indeed", {}, "x")},
        Case{"one_hundred_fields", make_request("GET", "/"), make_response("200 OK", many_fields(100), "x")},
        Case{"repeated_fields", make_request("GET", "/"),
             make_response("200 OK",
                           {{"Set-Cookie", "a=1; Path=/"},
                            {"X-B", "1"},
                            {"Set-Cookie", "b=2, c=3"},
                            {"x-b", "2"},
                            {"Vary", "Accept"},
                            {"Vary", "Origin"}},
                           "x")},
        Case{"unusual_values", make_request("GET", "/"),
             make_response("200 OK", {{"X-Empty", ""}, {"X-Latin", "gr\xfc\xdf"}, {"X-Quoted", "\"a\\\"b\", 'c'"}},
                           "x")},
        Case{"head_with_a_length", make_request("HEAD", "/"), "HTTP/1.1 200 OK\r\nContent-Length: 1234567\r\n\r\n"}),
    [](const auto& one) { return one.param.name; });

TEST_F(Exchange, head_and_304_keep_the_length_of_the_body_they_have_not) {
  service().always_send("HTTP/1.1 200 OK\r\nContent-Length: 1234567\r\n\r\n");
  EXPECT_EQ(ask(gateway(), make_request("HEAD", "/")).header("Content-Length"), "1234567");
  service().always_send("HTTP/1.1 304 Not Modified\r\nContent-Length: 42\r\nETag: \"x\"\r\n\r\n");
  const RawResponse not_modified = get(gateway(), "/");
  EXPECT_EQ(not_modified.status, 304);
  EXPECT_EQ(not_modified.header("Content-Length"), "42");
}

TEST_F(Exchange, answer_without_content_says_nothing_of_its_length) {
  service().always_send("HTTP/1.1 204 No Content\r\n\r\n");
  const RawResponse response = ask(gateway(), make_request("DELETE", "/"));
  EXPECT_EQ(response.status, 204);
  EXPECT_FALSE(response.has_header("Content-Length"));
  EXPECT_FALSE(response.has_header("Transfer-Encoding"));
}

TEST_F(Exchange, interim_answers_of_the_service_do_not_end_the_exchange) {
  service().always_send("HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" + make_response("200 OK", {}, "final"));
  RawClient client(gateway());
  client.send(make_request("GET", "/"));
  RawResponse response = client.read_response();
  if (response.status == 103) response = client.read_response();
  EXPECT_EQ(response.status, 200);
  EXPECT_EQ(response.body, "final");
}

class Bodies : public HttpStage, public ::testing::WithParamInterface<std::size_t> {};

// At the bounds of what one entry of the bus carries, and at the limit of all.
INSTANTIATE_TEST_SUITE_P(Sizes, Bodies,
                         ::testing::Values(0, 1, 768 * kKiB, 768 * kKiB + 1, kMiB, 2 * 768 * kKiB, 8 * kMiB));

TEST_P(Bodies, reach_the_service_byte_for_byte) {
  const std::string body = make_binary(GetParam());
  service().always_send(make_response("200 OK", {}, "taken"));
  for (const std::string& request : {make_request("POST", "/up", {{"Content-Type", "application/octet-stream"}}, body),
                                     make_chunked_request("POST", "/up", body, 70'000)}) {
    const RawResponse response = ask(gateway(), request);
    EXPECT_EQ(response.problem, "");
    EXPECT_EQ(response.body, "taken");
  }
  const auto seen = service().requests();
  ASSERT_EQ(seen.size(), 2u);
  for (const RawRequest& request : seen) {
    EXPECT_TRUE(request.body == body) << request.body.size() << " bytes";
    EXPECT_EQ(request.field("Content-Length"), std::to_string(body.size()));
    EXPECT_FALSE(request.has_field("Transfer-Encoding"));
  }
}

TEST_P(Bodies, reach_the_client_byte_for_byte) {
  const std::string body = make_binary(GetParam());
  service().always_send(make_response("200 OK", {{"Content-Type", "application/octet-stream"}}, body));

  const RawResponse response = get(gateway(), "/down");

  EXPECT_EQ(response.problem, "");
  EXPECT_EQ(response.status, 200);
  EXPECT_TRUE(response.body == body) << response.body.size() << " bytes";
}

TEST_P(Bodies, travel_both_ways_at_once) {
  const std::string body = make_binary(GetParam());
  service().set_script([](const RawRequest& request, ScriptedService::Connection& connection) {
    connection.send(make_response("200 OK", {}, request.body));
  });
  const RawResponse response = ask(gateway(), make_request("PUT", "/echo", {}, body));
  EXPECT_EQ(response.problem, "");
  EXPECT_TRUE(response.body == body) << response.body.size() << " bytes";
}

class Targets : public HttpStage, public ::testing::WithParamInterface<const char*> {};

INSTANTIATE_TEST_SUITE_P(AsSpelled, Targets,
                         ::testing::Values("/", "/x/%2F%2e%2E/a;b=1?q=%20&&=", "//double", "///", "/a//b/", "/?only",
                                           "/?", "/a?b?c/../d", "/%7euser/~user", "/%00%ff%C3%BC", "/a/./b",
                                           "/a/b/../c", "/a+b%20c", "/!$&'()*+,;=:@-._~", "/[x]{y}|z\\\"<>^`", "/a%",
                                           "/%zz"));

TEST_P(Targets, reach_the_service_as_spelled) {
  const RawResponse of_service = get(direct(), GetParam());
  const RawResponse of_gateway = get(gateway(), GetParam());

  EXPECT_EQ(of_gateway.status, 200) << of_gateway.body;
  EXPECT_EQ(of_gateway.body, of_service.body);
  ASSERT_EQ(service().request_count(), 2u);
  EXPECT_EQ(service().last_request().target, GetParam());
}

TEST_P(Targets, lose_nothing_but_the_mount) {
  const std::string rest = GetParam();
  const RawResponse response = get(gateway(), "/billing" + rest);
  EXPECT_EQ(response.status, 200) << response.body;
  ASSERT_EQ(service().request_count(), 1u);
  EXPECT_EQ(service().last_request().target, rest);
}

TEST_F(Exchange, mount_alone_is_the_services_root) {
  EXPECT_EQ(seen_by_service(make_request("GET", "/billing")).target, "/");
  EXPECT_EQ(seen_by_service(make_request("GET", "/billing?only")).target, "/?only");
  EXPECT_EQ(seen_by_service(make_request("GET", "/billingx")).target, "/billingx");
}

TEST_F(Exchange, absolute_target_is_taken_apart) {
  const RawRequest seen =
      seen_by_service("GET http://other.test:81/billing/a?b HTTP/1.1\r\nHost: other.test:81\r\n\r\n");
  EXPECT_EQ(seen.target, "/a?b");
  EXPECT_EQ(seen.field("Host"), "other.test:81");
}

TEST_F(Exchange, path_that_leads_out_of_its_mount_is_refused) {
  for (const char* target : {"/billing/../plain", "/billing/%2e%2e/plain", "/billing/a/../../x", "/.."}) {
    const RawResponse response = get(gateway(), target);
    EXPECT_EQ(response.status, 400) << target;
    EXPECT_EQ(code_of(response), "bad-request") << target;
  }
  EXPECT_EQ(service().request_count(), 0u);
}

TEST_F(Exchange, connection_is_kept_for_many_requests) {
  RawClient client(gateway());
  for (int i = 0; i < 20; ++i) {
    client.send(make_request(i % 2 == 0 ? "GET" : "POST", "/" + std::to_string(i), {}, i % 2 == 0 ? "" : "body"));
    const RawResponse response = client.read_response();
    ASSERT_EQ(response.problem, "") << i;
    EXPECT_EQ(response.body,
              std::string(i % 2 == 0 ? "GET /" : "POST /") + std::to_string(i) + (i % 2 == 0 ? " " : " body"));
  }
}

TEST_F(Exchange, pipelined_requests_are_answered_in_order) {
  RawClient client(gateway());
  client.send(make_request("GET", "/1") + make_request("POST", "/2", {}, "two") + make_request("GET", "/3"));
  for (const char* expected : {"GET /1 ", "POST /2 two", "GET /3 "}) {
    const RawResponse response = client.read_response();
    EXPECT_EQ(response.problem, "");
    EXPECT_EQ(response.body, expected);
  }
}

TEST_F(Exchange, pipelined_requests_to_two_services_are_answered_in_order) {
  service().set_script([](const RawRequest& request, ScriptedService::Connection& connection) {
    if (request.target == "/slow") connection.hold();
    ScriptedService::echo(request, connection);
  });
  RawClient client(gateway());
  client.send(make_request("GET", "/billing/slow") + make_request("GET", "/fast"));
  ASSERT_TRUE(eventually("the first to be at the service", [] { return service().held() == 1; }));
  service().release();
  EXPECT_EQ(client.read_response().body, "GET /slow ");
  EXPECT_EQ(client.read_response().body, "GET /fast ");
  service().hold_again();
}

TEST_F(Exchange, close_asked_for_is_granted) {
  RawClient client(gateway());
  client.send(make_request("GET", "/", {{"Connection", "close"}}));
  const RawResponse response = client.read_response();
  EXPECT_EQ(response.status, 200);
  EXPECT_EQ(response.header("Connection"), "close");
  EXPECT_TRUE(client.is_closed_by_peer());
}

TEST_F(Exchange, http_1_0_client_gets_an_answer_it_understands) {
  service().always_send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n");
  RawClient client(gateway());
  client.send("GET /old HTTP/1.0\r\nHost: example.test\r\n\r\n");
  const RawResponse response = client.read_response();
  EXPECT_EQ(response.status, 200);
  EXPECT_FALSE(response.is_chunked);
  EXPECT_EQ(response.body, "hello");
  EXPECT_TRUE(client.is_closed_by_peer());

  RawClient patient(gateway());
  for (int i = 0; i < 2; ++i) {
    patient.send("GET /old HTTP/1.0\r\nHost: example.test\r\nConnection: keep-alive\r\n\r\n");
    const RawResponse kept = patient.read_response();
    EXPECT_EQ(kept.body, "hello");
    EXPECT_EQ(kept.header("Connection"), "keep-alive");
  }
}

TEST_F(Exchange, client_that_waits_for_100_gets_it_and_then_the_answer) {
  RawClient client(gateway());
  client.send("POST /up HTTP/1.1\r\nHost: example.test\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n");
  EXPECT_EQ(client.read_response().status, 100);
  EXPECT_EQ(service().request_count(), 0u);
  client.send("hello");
  const RawResponse response = client.read_response();
  EXPECT_EQ(response.status, 200);
  EXPECT_EQ(response.body, "POST /up hello");
  EXPECT_FALSE(service().last_request().has_field("Expect"));
}

TEST_F(Exchange, client_that_waits_for_100_with_too_much_gets_413_instead) {
  RawClient client(gateway());
  client.send("POST /up HTTP/1.1\r\nHost: example.test\r\nContent-Length: 8388609\r\nExpect: 100-continue\r\n\r\n");
  const RawResponse response = client.read_response();
  EXPECT_EQ(response.status, 413);
  EXPECT_EQ(code_of(response), "body-too-large");
  EXPECT_TRUE(client.is_closed_by_peer());
  EXPECT_EQ(service().request_count(), 0u);
}

TEST_F(Exchange, client_that_waits_for_100_at_no_route_gets_the_answer_instead) {
  service().set_script(ScriptedService::echo);
  RawClient client(gateway());
  client.send("POST /billing/../x HTTP/1.1\r\nHost: example.test\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n");
  EXPECT_EQ(client.read_response().status, 400);
}

TEST_F(Exchange, head_that_comes_in_pieces_is_one_request) {
  RawClient client(gateway());
  client.send_in_pieces(make_request("POST", "/pieces", {}, "content"), 7);
  EXPECT_EQ(client.read_response().body, "POST /pieces content");
}

TEST_F(Exchange, gateway_lists_what_it_serves) {
  const RawResponse response = get(gateway(), "/openapi.json");
  EXPECT_EQ(response.status, 200);
  EXPECT_EQ(response.header("Content-Type"), "application/json");
  EXPECT_EQ(service().request_count(), 0u);
}

}  // namespace
}  // namespace outrigger::tests
