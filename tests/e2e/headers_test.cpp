// What the service is told about a request, and what never reaches it.
#include "tests/e2e/http_stage.h"

namespace outrigger::tests {
namespace {

class Headers : public HttpStage {};

TEST_F(Headers, of_one_hop_do_not_reach_the_service) {
  const RawRequest seen = seen_by_service(make_request("GET", "/",
                                                       {{"Connection", "keep-alive, X-Listed"},
                                                        {"Connection", "x-second , close"},
                                                        {"X-Listed", "1"},
                                                        {"X-Second", "2"},
                                                        {"Keep-Alive", "timeout=5"},
                                                        {"Proxy-Connection", "keep-alive"},
                                                        {"Proxy-Authorization", "Basic eDp5"},
                                                        {"TE", "trailers"},
                                                        {"Trailer", "X-T"},
                                                        {"Upgrade", "h2c"},
                                                        {"HTTP2-Settings", "AAMAAABk"},
                                                        {"X-End-To-End", "stays"}}));
  for (const char* name : {"X-Listed", "X-Second", "Keep-Alive", "Proxy-Connection", "Proxy-Authorization", "TE",
                           "Trailer", "Upgrade", "HTTP2-Settings"}) {
    EXPECT_FALSE(seen.has_field(name)) << name;
  }
  EXPECT_EQ(seen.field("X-End-To-End"), "stays");
}

TEST_F(Headers, that_connection_may_not_name_stay) {
  const RawRequest seen = seen_by_service(make_request(
      "GET", "/",
      {{"Connection", "Host, Authorization, X-Forwarded-For, X-Request-Id"}, {"Authorization", "Bearer x"}}));
  EXPECT_EQ(seen.field("Host"), "example.test");
  EXPECT_EQ(seen.field("Authorization"), "Bearer x");
  EXPECT_EQ(seen.field("X-Forwarded-For"), "127.0.0.1");
  EXPECT_TRUE(seen.has_field("X-Request-Id"));
}

TEST_F(Headers, of_one_hop_do_not_reach_the_client) {
  service().always_send(make_response("200 OK",
                                      {{"Connection", "X-Private"},
                                       {"X-Private", "1"},
                                       {"Keep-Alive", "timeout=9"},
                                       {"Proxy-Authenticate", "Basic"},
                                       {"Upgrade", "h2c"},
                                       {"Trailer", "X-T"},
                                       {"X-Public", "2"}},
                                      "x"));
  const RawResponse response = get(gateway(), "/");
  for (const char* name : {"X-Private", "Keep-Alive", "Proxy-Authenticate", "Upgrade", "Trailer"}) {
    EXPECT_FALSE(response.has_header(name)) << name;
  }
  EXPECT_EQ(response.header("X-Public"), "2");
}

TEST_F(Headers, repeated_and_unusual_ones_reach_the_service_in_order) {
  const Fields sent = {{"Accept", "a"}, {"X-B", "1"}, {"accept", "b;q=0.5"},     {"Cookie", "a=1; b=\"2\""},
                       {"X-Empty", ""}, {"x-B", "2"}, {"X-Latin", "gr\xfc\xdf"}, {"X!#$%&'*+-.^_`|~9", "token"}};
  const RawRequest seen = seen_by_service(make_request("GET", "/", sent));
  Fields ours;
  for (const auto& field : seen.fields) {
    for (const auto& other : sent) {
      if (field.first == other.first) {
        ours.push_back(field);
        break;
      }
    }
  }
  EXPECT_EQ(ours, sent);
}

TEST_F(Headers, one_hundred_of_them_reach_the_service) {
  Fields sent;
  for (int i = 0; i < 100; ++i) sent.emplace_back("X-Field-" + std::to_string(i), std::string(100, 'a' + i % 26));
  const RawRequest seen = seen_by_service(make_request("GET", "/", sent));
  for (const auto& [name, value] : sent) EXPECT_EQ(seen.field(name), value);
}

TEST_F(Headers, via_names_the_gateway) {
  EXPECT_TRUE(seen_by_service(make_request("GET", "/")).field("Via").starts_with("1.1 outrigger-"));
  const RawRequest of_old = seen_by_service("GET / HTTP/1.0\r\nHost: example.test\r\nVia: 1.1 other\r\n\r\n");
  EXPECT_TRUE(of_old.field("Via").starts_with("1.1 other, 1.0 outrigger-")) << of_old.field("Via");
}

TEST_F(Headers, request_that_comes_back_is_refused) {
  const std::string via = seen_by_service(make_request("GET", "/")).field("Via");
  const RawResponse response = ask(gateway(), make_request("GET", "/", {{"Via", via}}));
  EXPECT_EQ(response.status, 508);
  EXPECT_EQ(code_of(response), "loop-detected");

  const RawResponse second_field = ask(gateway(), make_request("GET", "/", {{"Via", "1.1 other"}, {"via", via}}));
  EXPECT_EQ(second_field.status, 508);
  EXPECT_EQ(code_of(second_field), "loop-detected");
}

TEST_F(Headers, forwarded_ones_tell_of_the_client_and_nothing_the_client_said) {
  const RawRequest seen = seen_by_service(make_request("GET", "/billing/a",
                                                       {{"X-Forwarded-For", "6.6.6.6"},
                                                        {"x-forwarded-proto", "https"},
                                                        {"X-Forwarded-Host", "evil.test"},
                                                        {"X-Forwarded-Prefix", "/evil"},
                                                        {"X-Forwarded-Port", "666"},
                                                        {"Forwarded", "for=6.6.6.6"},
                                                        {"X-Real-IP", "6.6.6.6"}}));
  EXPECT_EQ(seen.field("X-Forwarded-For"), "127.0.0.1");
  EXPECT_EQ(seen.field("X-Forwarded-Proto"), "http");
  EXPECT_EQ(seen.field("X-Forwarded-Host"), "example.test");
  EXPECT_EQ(seen.field("X-Forwarded-Prefix"), "/billing");
  EXPECT_FALSE(seen.has_field("X-Forwarded-Port"));
  EXPECT_FALSE(seen.has_field("Forwarded"));
  EXPECT_FALSE(seen.has_field("X-Real-IP"));
}

TEST_F(Headers, host_reaches_the_service_as_the_client_said_it) {
  EXPECT_EQ(seen_by_service("GET / HTTP/1.1\r\nHost: Shop.Example.test:8443\r\n\r\n").field("Host"),
            "Shop.Example.test:8443");
}

TEST_F(Headers, request_id_is_made_anew_and_told_to_both_sides) {
  const RawResponse response = ask(gateway(), make_request("GET", "/", {{"X-Request-Id", "chosen-by-client"}}));
  const std::string id = service().last_request().field("X-Request-Id");
  EXPECT_GE(id.size(), 16u);
  EXPECT_NE(id, "chosen-by-client");
  EXPECT_EQ(response.header("X-Request-Id"), id);
}

// version-traceid-parentid-flags
std::vector<std::string> parts_of(const std::string& traceparent) {
  std::vector<std::string> parts;
  for (std::size_t at = 0; at <= traceparent.size();) {
    const std::size_t end = std::min(traceparent.find('-', at), traceparent.size());
    parts.push_back(traceparent.substr(at, end - at));
    at = end + 1;
  }
  return parts;
}

TEST_F(Headers, trace_is_continued_under_a_new_parent) {
  const RawRequest seen =
      seen_by_service(make_request("GET", "/",
                                   {{"traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00"},
                                    {"tracestate", "a=1"},
                                    {"tracestate", "b=2"}}));
  const auto parts = parts_of(seen.field("traceparent"));
  ASSERT_EQ(parts.size(), 4u);
  EXPECT_EQ(parts[0], "00");
  EXPECT_EQ(parts[1], "4bf92f3577b34da6a3ce929d0e0e4736");
  EXPECT_EQ(parts[2].size(), 16u);
  EXPECT_NE(parts[2], "00f067aa0ba902b7");
  EXPECT_EQ(parts[3], "00");
  EXPECT_EQ(seen.field("tracestate"), "a=1,b=2");
}

TEST_F(Headers, trace_is_begun_where_there_is_none) {
  const auto parts = parts_of(seen_by_service(make_request("GET", "/")).field("traceparent"));
  ASSERT_EQ(parts.size(), 4u);
  EXPECT_EQ(parts[1].size(), 32u);
  EXPECT_EQ(parts[1].find_first_not_of("0123456789abcdef"), std::string::npos);
}

TEST_F(Headers, invalid_trace_is_dropped_and_a_new_one_begun) {
  for (const char* invalid : {"00-00000000000000000000000000000000-00f067aa0ba902b7-01",
                              "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
                              "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "00-4bf92f-00f067-01", "x"}) {
    const RawRequest seen =
        seen_by_service(make_request("GET", "/", {{"traceparent", invalid}, {"tracestate", "a=1"}}));
    const auto parts = parts_of(seen.field("traceparent"));
    ASSERT_EQ(parts.size(), 4u) << invalid;
    EXPECT_EQ(parts[1].size(), 32u);
    EXPECT_NE(parts[1], "4bf92f3577b34da6a3ce929d0e0e4736");
    EXPECT_FALSE(seen.has_field("tracestate")) << invalid;
  }
}

// Every spelling that some framework reads as the reserved name.
const Fields kForged = {{"X-StellaOps-Tenant", "forged"},
                        {"x-stellaops-tenant", "forged"},
                        {"X_StellaOps_Subject", "forged"},
                        {"X-STELLAOPS-ANYTHING", "forged"},
                        {"X-Stella-Scopes", "forged"},
                        {"x_stella_client", "forged"},
                        {"X.Stella.Tenant", "forged"},
                        {"X-Stella_Roles", "forged"},
                        {"X-StellaOps-", "forged"},
                        {"sub", "forged"},
                        {"SUB", "forged"},
                        {"tid", "forged"},
                        {"Scope", "forged"},
                        {"scp", "forged"},
                        {"cnf", "forged"}};

std::string lines_of(const Fields& fields) {
  std::string text;
  for (const auto& [name, value] : fields) text.append(name).append(": ").append(value).append("\r\n");
  return text;
}

TEST_F(Headers, about_identity_never_come_from_a_client) {
  const std::string forged = lines_of(kForged);
  Fields listed = kForged;
  listed.emplace_back("Connection", "X-StellaOps-Tenant, sub");
  std::vector<std::string> requests;
  for (const char* method : {"GET", "HEAD", "DELETE", "OPTIONS"})
    requests.push_back(make_request(method, "/", kForged));
  for (const char* method : {"POST", "PUT", "PATCH"}) {
    requests.push_back(make_request(method, "/billing/x", kForged, "content"));
  }
  requests.push_back(make_request("GET", "/", listed));
  requests.push_back("GET / HTTP/1.0\r\nHost: example.test\r\n" + forged + "\r\n");
  requests.push_back("GET http://example.test/ HTTP/1.1\r\nHost: example.test\r\n" + forged + "\r\n");
  requests.push_back("POST / HTTP/1.1\r\nHost: example.test\r\n" + forged +
                     "Transfer-Encoding: chunked\r\nTrailer: sub\r\n\r\n1\r\nx\r\n0\r\n" + forged + "\r\n");
  requests.push_back(make_request("POST", "/", kForged, make_binary(1024 * 1024)));

  for (const std::string& request : requests) ASSERT_EQ(ask(gateway(), request).status, 200) << request.substr(0, 40);
  RawClient pipelining(gateway());
  pipelining.send(make_request("GET", "/1") + make_request("GET", "/2", kForged));
  EXPECT_EQ(pipelining.read_response().status, 200);
  EXPECT_EQ(pipelining.read_response().status, 200);

  const auto seen = service().requests();
  ASSERT_EQ(seen.size(), requests.size() + 2);
  for (const RawRequest& request : seen) {
    EXPECT_EQ(request.head.find("forged"), std::string::npos) << request.head;
    EXPECT_EQ(request.body.find("forged"), std::string::npos) << request.head;
  }
}

TEST_F(Headers, that_only_resemble_identity_stay) {
  const RawRequest seen = seen_by_service(make_request(
      "GET", "/", {{"X-Stellar", "1"}, {"subject", "2"}, {"x-sub", "3"}, {"Scopes", "4"}, {"X-Tid", "5"}}));
  EXPECT_EQ(seen.field("X-Stellar"), "1");
  EXPECT_EQ(seen.field("subject"), "2");
  EXPECT_EQ(seen.field("x-sub"), "3");
  EXPECT_EQ(seen.field("Scopes"), "4");
  EXPECT_EQ(seen.field("X-Tid"), "5");
}

}  // namespace
}  // namespace outrigger::tests
