#include "bridge/openapi/endpoints.h"

#include "bridge/openapi/reader.h"

namespace outrigger::openapi {
namespace {

using base::Code;

std::string document(const std::string& members) {
  return R"({"openapi":"3.0.3","info":{},)" + members + "}";
}

base::Result<std::vector<Endpoint>> endpoints_of(std::string_view text) {
  auto parsed = read_document(text);
  if (!parsed) return parsed.error();
  return std::move(parsed->endpoints);
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
      {R"({"swagger":"1.2"})", Code::unsupported, "1.2"},
      {R"({"openapi":"4.0"})", Code::unsupported, "4.0"},
      {R"({"info":{}})", Code::unsupported, "openapi"},
      {document(R"("paths":[])"), Code::invalid, "paths"},
      {document(R"("paths":{"a":{}})"), Code::invalid, "paths.a"},
      {document(R"("paths":{"/a":7})"), Code::invalid, "paths./a"},
      {document(R"("paths":{"/a":{"get":7}})"), Code::invalid, "paths./a.get"},
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

TEST(Endpoints, extension_that_cannot_be_read_is_told_and_the_endpoint_stays) {
  const struct {
    std::string operation;
    std::string remark;
  } cases[] = {
      {R"("x-router-timeout":30)", "paths./a.get.x-router-timeout"},
      {R"("x-router-timeout":"25h")", "24h"},
      {R"("x-router-timeout":"0s")", "paths./a.get.x-router-timeout"},
      {R"("x-router-timeout":"99999999999999999999s")", "paths./a.get.x-router-timeout"},
      {R"("x-router-repeatable":1)", "paths./a.get.x-router-repeatable"},
  };
  for (const auto& one : cases) {
    const auto parsed = read_document(document(R"("paths":{"/a":{"get":{)" + one.operation + "}}}"));
    ASSERT_TRUE(parsed) << parsed.error().detail;
    EXPECT_EQ(parsed->endpoints, (std::vector<Endpoint>{{"GET", "/a", {}, {}, false}}));
    ASSERT_EQ(parsed->remarks.size(), 1U) << one.operation;
    EXPECT_NE(parsed->remarks[0].find(one.remark), std::string::npos) << parsed->remarks[0];
  }
}

TEST(Endpoints, extension_that_cannot_be_read_gives_way_to_the_next_outer_level) {
  const auto parsed = read_document(document(
      R"("x-router-timeout":"1s","paths":{"/a.b":{"x-router-timeout":"soon","get":{},"put":{"x-router-timeout":2}}})"));

  ASSERT_TRUE(parsed);
  for (const Endpoint& endpoint : parsed->endpoints) EXPECT_EQ(endpoint.timeout, std::chrono::seconds(1));
  ASSERT_EQ(parsed->remarks.size(), 2U);  // that of the path item once
  EXPECT_EQ(parsed->remarks[0].substr(0, 28), "paths./a.b.x-router-timeout:");
  EXPECT_EQ(parsed->remarks[1].substr(0, 32), "paths./a.b.put.x-router-timeout:");
}

TEST(Endpoints, whether_hidden_that_cannot_be_read_means_hidden) {
  const auto parsed = read_document(document(R"("paths":{"/a":{"get":{"x-router-hidden":"yes"}}})"));

  ASSERT_TRUE(parsed);
  EXPECT_TRUE(parsed->endpoints[0].hidden);
  EXPECT_EQ(parsed->remarks.size(), 1U);
}

TEST(Endpoints, document_gives_defaults_for_every_extension) {
  const auto parsed = read_document(document(R"("x-router-timeout":"5s","x-router-repeatable":true,
      "x-router-hidden":true,"x-router-claims":["admin"],"paths":{"/a":{"get":{},"x-router-repeatable":false,
      "put":{"x-router-hidden":false,"x-router-claims":[]}}})"));

  ASSERT_TRUE(parsed);
  const std::chrono::seconds five(5);
  EXPECT_EQ(parsed->endpoints[0], (Endpoint{"GET", "/a", false, five, true, {{"admin", std::nullopt}}}));
  EXPECT_EQ(parsed->endpoints[1], (Endpoint{"PUT", "/a", false, five, false, {}}));
}

TEST(Endpoints, claims_are_read_in_every_form_one_would_write) {
  const auto claims_of = [](const std::string& value) {
    const auto parsed = read_document(document(R"("paths":{"/a":{"get":{"x-router-claims":)" + value + "}}}"));
    return parsed && parsed->remarks.empty() ? parsed->endpoints[0].claims : std::vector<Claim>{{"error", {}}};
  };
  using Claims = std::vector<Claim>;
  const Claims one = {{"scope", "orders:read"}, {"admin", std::nullopt}};

  EXPECT_EQ(claims_of(R"(["scope=orders:read","admin"])"), one);
  EXPECT_EQ(claims_of(R"([{"type":"scope","value":"orders:read"},{"type":"admin"}])"), one);
  EXPECT_EQ(claims_of(R"(["scope=orders:read",{"type":"admin","value":null}])"), one);
  EXPECT_EQ(claims_of(R"({"scope":"orders:read","z":null})"), (Claims{{"scope", "orders:read"}, {"z", std::nullopt}}));
  EXPECT_EQ(claims_of(R"({"scope":["a","b"],"level":3,"vip":true})"),
            (Claims{{"level", "3"}, {"scope", "a"}, {"scope", "b"}, {"vip", "true"}}));
  EXPECT_EQ(claims_of(R"(["filter=a=b","empty="])"), (Claims{{"filter", "a=b"}, {"empty", ""}}));
  EXPECT_EQ(claims_of("[]"), Claims{});
}

TEST(Endpoints, claims_that_cannot_be_read_let_nobody_in) {
  for (const std::string value :
       {R"("admin")", "7", "true", "null", R"([""])", R"(["=x"])", R"([7])", R"([{"value":"x"}])", R"([{"type":7}])",
        R"({"a":{"b":1}})", R"({"a":1.5})", R"({"a":[]})", R"(["a\nb"])"}) {
    const auto parsed =
        read_document(document(R"("x-router-claims":["x"],"paths":{"/a":{"get":{"x-router-claims":)" + value + "}}}"));
    ASSERT_TRUE(parsed) << value;
    EXPECT_EQ(parsed->endpoints[0].claims, std::vector<Claim>{Claim{}}) << value;
    ASSERT_EQ(parsed->remarks.size(), 1U) << value;
    EXPECT_NE(parsed->remarks[0].find("paths./a.get.x-router-claims"), std::string::npos);
  }
}

TEST(Endpoints, remarks_are_bounded) {
  std::string paths;
  for (std::size_t i = 0; i < 3 * kRemarks; ++i) {
    paths += (i == 0 ? "\"/" : ",\"/") + std::to_string(i) + R"(":{"get":{"x-router-timeout":0}})";
  }
  EXPECT_EQ(read_document(document(R"("paths":{)" + paths + "}"))->remarks.size(), kRemarks);
}

TEST(Endpoints, servers_of_path_item_and_operation_give_their_own_base_path) {
  EXPECT_EQ(listed(document(R"("servers":[{"url":"/v1"}],"paths":{"/a":{"get":{}},"/b":{"servers":[{"url":"/v2"}],
      "get":{},"put":{"servers":[{"url":"https://other.example/v3"}]}},"/c":{"servers":[],"get":{}}})")),
            (Lines{"GET /v1/a", "GET /v1/c", "GET /v2/b", "PUT /v3/b"}));
}

TEST(Endpoints, operation_that_two_path_items_list_is_there_once) {
  EXPECT_EQ(listed(document(R"("paths":{"/v1/a":{"get":{}},"/a":{"servers":[{"url":"/v1"}],"get":{}}})")),
            Lines{"GET /v1/a"});
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
