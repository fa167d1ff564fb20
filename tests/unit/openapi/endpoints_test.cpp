#include "bridge/openapi/endpoints.h"

namespace outrigger::openapi {
namespace {

using base::Code;

std::string document(const std::string& members) {
  return R"({"openapi":"3.0.3","info":{},)" + members + "}";
}

std::vector<std::string> listed(const std::string& text) {
  const auto endpoints = endpoints_of(text);
  if (!endpoints) return {"error: " + endpoints.error().detail};
  std::vector<std::string> lines;
  for (const Endpoint& endpoint : *endpoints) lines.push_back(endpoint.method + " " + endpoint.path);
  return lines;
}

using Lines = std::vector<std::string>;

TEST(Endpoints, all_eight_methods_are_listed_in_order) {
  EXPECT_EQ(listed(document(R"("paths":{"/b":{"get":{}},"/a/{id}":{"summary":"x","parameters":[],"get":{},"put":{},
      "post":{},"delete":{},"options":{},"head":{},"patch":{},"trace":{},"x-other":{}},"x-more":{}})")),
            (Lines{"DELETE /a/{id}", "GET /a/{id}", "HEAD /a/{id}", "OPTIONS /a/{id}", "PATCH /a/{id}", "POST /a/{id}",
                   "PUT /a/{id}", "TRACE /a/{id}", "GET /b"}));
}

TEST(Endpoints, base_path_of_the_first_server_is_part_of_the_path) {
  const auto path = [](const std::string& servers) {
    return listed(document(R"("servers":)" + servers + R"(,"paths":{"/p":{"get":{}}})")).at(0).substr(4);
  };

  EXPECT_EQ(path("[]"), "/p");
  EXPECT_EQ(path(R"([{"url":"/"}])"), "/p");
  EXPECT_EQ(path(R"([{"url":"/v1"},{"url":"/v2"}])"), "/v1/p");
  EXPECT_EQ(path(R"([{"url":"/v1/"}])"), "/v1/p");
  EXPECT_EQ(path(R"([{"url":"https://api.example.com"}])"), "/p");
  EXPECT_EQ(path(R"([{"url":"https://api.example.com:8443/base/v1/?x=1"}])"), "/base/v1/p");
  EXPECT_EQ(path(R"([{"url":"//api.example.com/base"}])"), "/base/p");
  EXPECT_EQ(path(R"([{"url":"../v1"}])"), "/v1/p");
  EXPECT_EQ(path(R"([{"url":"."}])"), "/p");
  EXPECT_EQ(path(R"([{"url":"https://{host}/{base}","variables":{"host":{"default":"h"},"base":{"default":"v3"}}}])"),
            "/v3/p");
}

TEST(Endpoints, extensions_are_read_from_operation_then_path_item) {
  const auto endpoints = endpoints_of(document(R"("paths":{"/a":{"x-router-timeout":"2m","x-router-hidden":true,
      "get":{"x-router-timeout":"250ms","x-router-repeatable":false},"post":{"x-router-hidden":false}}})"));

  ASSERT_TRUE(endpoints) << endpoints.error().detail;
  EXPECT_EQ((*endpoints)[0], (Endpoint{"GET", "/a", false, std::chrono::milliseconds(250), true}));
  EXPECT_EQ((*endpoints)[1], (Endpoint{"POST", "/a", std::nullopt, std::chrono::minutes(2), false}));
}

TEST(Endpoints, local_references_of_path_items_are_followed) {
  EXPECT_EQ(listed(document(R"("paths":{"/a":{"$ref":"#/paths/~1b"},"/b":{"get":{}}})")), (Lines{"GET /a", "GET /b"}));
  EXPECT_EQ(listed(document(R"("paths":{"/a":{"$ref":"#/paths/~1a"}})")).at(0).substr(0, 6), "error:");
  EXPECT_EQ(listed(document(R"("paths":{"/a":{"$ref":"other.json"}})")).at(0).substr(0, 6), "error:");
}

TEST(Endpoints, a_document_without_paths_has_none) {
  EXPECT_EQ(listed(R"({"openapi":"3.1.0"})"), Lines{});
}

TEST(Endpoints, errors_say_what_and_where) {
  const struct {
    std::string text;
    Code code;
    std::string part;
  } cases[] = {
      {"", Code::malformed, "not JSON"},
      {"{\"openapi\":\n \"3.0.0\",}", Code::malformed, "line 2"},
      {"[]", Code::invalid, "object"},
      {R"({"swagger":"2.0"})", Code::unsupported, "2.0"},
      {R"({"openapi":"4.0"})", Code::unsupported, "4.0"},
      {R"({"info":{}})", Code::unsupported, "openapi"},
      {document(R"("paths":[])"), Code::invalid, "paths"},
      {document(R"("paths":{"a":{}})"), Code::invalid, "paths.a"},
      {document(R"("paths":{"/a":7})"), Code::invalid, "paths./a"},
      {document(R"("paths":{"/a":{"get":7}})"), Code::invalid, "paths./a.get"},
      {document(R"("paths":{"/a":{"get":{"x-router-timeout":30}}})"), Code::invalid, "paths./a.get.x-router-timeout"},
      {document(R"("paths":{"/a":{"get":{"x-router-timeout":"25h"}}})"), Code::invalid, "24h"},
      {document(R"("paths":{"/a":{"get":{"x-router-timeout":"0s"}}})"), Code::invalid, "x-router-timeout"},
      {document(R"("paths":{"/a":{"get":{"x-router-timeout":"99999999999999999999s"}}})"), Code::invalid, "timeout"},
      {document(R"("paths":{"/a":{"get":{"x-router-hidden":"yes"}}})"), Code::invalid, "x-router-hidden"},
      {document(R"("paths":{"/a":{"get":{"x-router-repeatable":1}}})"), Code::invalid, "x-router-repeatable"},
      {std::string(200, '[') + std::string(200, ']'), Code::too_large, "deeper"},
      {std::string(kDocumentBytes + 1, ' '), Code::too_large, "bytes"},
  };
  for (const auto& one : cases) {
    const auto endpoints = endpoints_of(one.text);
    ASSERT_FALSE(endpoints) << one.text.substr(0, 100);
    EXPECT_EQ(endpoints.error().code, one.code) << one.text.substr(0, 100);
    EXPECT_NE(endpoints.error().detail.find(one.part), std::string::npos) << endpoints.error().detail;
  }
}

TEST(Endpoints, brackets_in_strings_are_not_depth) {
  EXPECT_EQ(listed(document(R"("x":"\")" + std::string(200, '[') + R"(","paths":{"/a":{"get":{}}})")), Lines{"GET /a"});
}

TEST(Endpoints, every_prefix_of_a_document_is_an_error_and_no_crash) {
  const std::string text = document(R"("servers":[{"url":"/v1"}],"paths":{"/a":{"get":{"x-router-timeout":"1s"}}})");
  for (std::size_t size = 0; size < text.size(); ++size) EXPECT_FALSE(endpoints_of(text.substr(0, size)));
}

}  // namespace
}  // namespace outrigger::openapi
