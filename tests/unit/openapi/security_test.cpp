// `security` of documents: which ways in the gateway has to check.
#include "bridge/openapi/reader.h"

namespace outrigger::openapi {
namespace {

constexpr const char kSchemes[] = R"("components":{"securitySchemes":{
    "oauth":{"type":"oauth2","flows":{}},"oidc":{"type":"openIdConnect"},"bearer":{"type":"http","scheme":"Bearer"},
    "key":{"type":"apiKey","in":"header","name":"X-Key"},"basic":{"type":"http","scheme":"basic"},
    "digest":{"type":"http","scheme":"Digest"},"tls":{"type":"mutualTLS"},
    "alias":{"$ref":"#/components/securitySchemes/oauth"},"lost":{"$ref":"#/components/securitySchemes/none"},
    "loop":{"$ref":"#/components/securitySchemes/loop"},
    "odd":{"type":"oauth3"},"slip":{"type":"http","scheme":"baerer"},"bare":{"type":"http"},"empty":{},"text":"oauth2"}})";

ParsedDocument read(const std::string& members) {
  const auto parsed = read_document(R"({"openapi":"3.1.0",)" + members + "," + kSchemes + "}");
  EXPECT_TRUE(parsed) << members;
  return parsed ? *parsed : ParsedDocument{};
}

// "a b | c": one token with a and b, or one with c. "?": nobody. "public" and "silent" for none and nothing.
std::string text_of(const std::optional<Security>& security) {
  if (!security) return "silent";
  if (security->empty()) return "public";
  std::string text;
  for (const SecurityAlternative& alternative : *security) {
    text += text.empty() ? "token" : " | token";
    for (const std::string& scope : alternative.scopes) text += scope.empty() ? " ?" : " " + scope;
  }
  return text;
}

std::string security_of(const std::string& value) {
  const ParsedDocument parsed = read(R"("paths":{"/a":{"get":{"security":)" + value + "}}}");
  return parsed.endpoints.empty() ? "error" : text_of(parsed.endpoints[0].security);
}

TEST(Security, alternatives_of_a_document) {
  const struct {
    std::string value;
    std::string expected;
    bool is_told = false;
  } cases[] = {
      {R"([])", "public"},
      {R"([{}])", "public"},
      {R"([{"oauth":[]}])", "token"},
      {R"([{"oauth":["b","a","b"]}])", "token a b"},
      {R"([{"oidc":["a"]}])", "token a"},
      {R"([{"bearer":[]}])", "token"},
      {R"([{"bearer":["a"]}])", "token a"},
      {R"([{"alias":["a"]}])", "token a"},
      {R"([{"oauth":["a"]},{"oidc":["b"]}])", "token a | token b"},
      {R"([{"oauth":["a"]},{"oidc":["a"]}])", "token a"},
      {R"([{"oauth":["a"],"oidc":["b"]}])", "token a b"},
      {R"([{"oauth":["a"]},{}])", "public"},
      // The service's own affair.
      {R"([{"key":[]}])", "public"},
      {R"([{"basic":[]}])", "public"},
      {R"([{"digest":[]}])", "public"},
      {R"([{"tls":[]}])", "public"},
      {R"([{"key":["role"]}])", "public"},
      {R"([{"key":7}])", "public"},
      {R"([{"key":[]},{"oauth":["a"]}])", "public"},
      {R"([{"key":["role"],"oauth":["a"]}])", "token a"},
      // Slips of the pen.
      {R"([{"oath":["a"]}])", "token ?", true},
      {R"([{"oath":["a"]},{"oauth":["a"]}])", "token ? | token a", true},
      {R"([{"oath":["a"]},{}])", "public", true},
      {R"([{"oath":[],"oauth":["a"]}])", "token ?", true},
      {R"([{"key":[],"oath":[]}])", "token ?", true},
      {R"([{"lost":[]}])", "token ?", true},
      {R"([{"loop":[]}])", "token ?", true},
      {R"([{"odd":[]}])", "token ?", true},
      {R"([{"slip":[]}])", "token ?", true},
      {R"([{"bare":[]}])", "token ?", true},
      {R"([{"empty":[]}])", "token ?", true},
      {R"([{"text":[]}])", "token ?", true},
      {R"([{"oauth":"a"}])", "token ?", true},
      {R"([{"oauth":null}])", "token ?", true},
      {R"([{"oauth":[7]}])", "token ?", true},
      {R"([{"oauth":[""]}])", "token ?", true},
      {R"([{"oauth":["a b"]}])", "token ?", true},
      {R"([{"oauth":["a\"b"]}])", "token ?", true},
      {R"(["oauth"])", "token ?", true},
      {R"([null])", "token ?", true},
      {R"([[]])", "token ?", true},
      {R"({"oauth":["a"]})", "token ?", true},
      {R"("oauth")", "token ?", true},
      {"null", "token ?", true},
      {"false", "token ?", true},
  };
  for (const auto& one : cases) {
    EXPECT_EQ(security_of(one.value), one.expected) << one.value;
    const auto remarks = read(R"("paths":{"/a":{"get":{"security":)" + one.value + "}}}").remarks;
    ASSERT_EQ(remarks.size(), one.is_told ? 1U : 0U) << one.value;
    if (one.is_told) {
      EXPECT_EQ(remarks[0].find("paths./a.get.security"), 0U) << remarks[0];
    }
  }
}

TEST(Security, operation_comes_before_the_document_and_may_be_public) {
  const auto endpoints = read(R"("security":[{"oauth":["a"]}],"paths":{"/a":{"security":[],
      "delete":{"security":[{"oidc":["b"]}]},"get":{},"post":{"security":[]},"put":{"security":null}}})")
                             .endpoints;

  ASSERT_EQ(endpoints.size(), 4U);
  EXPECT_EQ(text_of(endpoints[0].security), "token b");
  EXPECT_EQ(text_of(endpoints[1].security), "token a");  // path items have no `security`
  EXPECT_EQ(text_of(endpoints[2].security), "public");
  EXPECT_EQ(text_of(endpoints[3].security), "token ?");
  EXPECT_EQ(text_of(read(R"("paths":{"/a":{"get":{}}})").endpoints[0].security), "silent");
}

TEST(Security, slip_in_the_document_is_told_once) {
  const auto parsed = read(R"("security":[{"oath":[]}],"paths":{"/a":{"get":{},"put":{}}})");

  EXPECT_EQ(text_of(parsed.endpoints[1].security), "token ?");
  ASSERT_EQ(parsed.remarks.size(), 1U);
  EXPECT_EQ(parsed.remarks[0],
            "security[0].oath: components.securitySchemes has no such scheme; nobody is let in by it");
}

TEST(Security, document_without_schemes_lets_nobody_in) {
  for (const std::string components :
       {"", R"("components":{},)", R"("components":[],)", R"("components":{"securitySchemes":7},)"}) {
    const auto parsed =
        read_document(R"({"openapi":"3.0.3",)" + components + R"("paths":{"/a":{"get":{"security":[{"oauth":[]}]}}}})");
    ASSERT_TRUE(parsed);
    EXPECT_EQ(text_of(parsed->endpoints[0].security), "token ?") << components;
  }
}

TEST(Security, more_than_can_be_meant_lets_nobody_in) {
  const auto listed = [](std::size_t count, const std::string& before, const std::string& after) {
    std::string text;
    for (std::size_t i = 0; i < count; ++i) text += (i == 0 ? "" : ",") + before + std::to_string(i) + after;
    return text;
  };
  const auto is_nobody = [](const std::string& value) { return security_of(value) == "token ?"; };

  EXPECT_FALSE(is_nobody("[" + listed(kSecurityAlternatives, R"({"oauth":["s)", R"("]})") + "]"));
  EXPECT_TRUE(is_nobody("[" + listed(kSecurityAlternatives + 1, R"({"oauth":["s)", R"("]})") + "]"));
  EXPECT_FALSE(is_nobody(R"([{"oauth":[)" + listed(kSecurityScopes, "\"s", "\"") + "]}]"));
  EXPECT_TRUE(is_nobody(R"([{"oauth":[)" + listed(kSecurityScopes + 1, "\"s", "\"") + "]}]"));
  const std::string half = listed(kSecurityScopes / 2 + 1, "\"s", "\"");
  EXPECT_TRUE(is_nobody(R"([{"oauth":[)" + half + R"(]},{"oidc":["x",)" + half + "]}]"));
  EXPECT_TRUE(is_nobody(R"([{"oauth":[")" + std::string(kScopeBytes + 1, 's') + R"("]}])"));
}

TEST(Security, version_2_keeps_it) {
  const auto parsed = read_document(R"({"swagger":"2.0","info":{"title":"t","version":"1"},
      "securityDefinitions":{"o auth":{"type":"oauth2","flow":"accessCode"},"key":{"type":"apiKey","in":"query","name":"k"},
          "pass":{"type":"basic"},"odd":7},
      "security":[{"o auth":["a"]}],"paths":{"/a":{"delete":{"security":"o auth"},"get":{},"head":{"security":[{"odd":[]}]},
          "patch":{"security":["o auth"]},"post":{"security":[]},"put":{"security":[{"key":[]},{"pass":[]}]}},
          "/b":{"get":{"security":[null]},"post":{"security":null}}}})");

  ASSERT_TRUE(parsed) << parsed.error().detail;
  std::vector<std::string> lines;
  for (const Endpoint& endpoint : parsed->endpoints) {
    lines.push_back(endpoint.method + " " + endpoint.path + " " + text_of(endpoint.security));
  }
  EXPECT_EQ(lines,
            (std::vector<std::string>{"DELETE /a token ?", "GET /a token a", "HEAD /a token ?", "PATCH /a token ?",
                                      "POST /a public", "PUT /a public", "GET /b token ?", "POST /b token ?"}));
}

TEST(Security, yaml_without_a_value_is_no_open_door) {
  const auto parsed = read_document("openapi: 3.1.0\npaths:\n  /a:\n    get:\n      security:\n");

  ASSERT_TRUE(parsed);
  EXPECT_EQ(text_of(parsed->endpoints[0].security), "token ?");
}

// What Sidecar:Service:Repeatable names is not in the document, and so not what it says of others.
TEST(Security, operation_of_the_configuration_is_undocumented) {
  auto endpoints = read(R"("security":[{"oauth":["a"]}],"paths":{"/a":{"post":{}}})").endpoints;
  mark_repeatable(endpoints, {*parse_operation("POST /a"), *parse_operation("POST /b")}, true);

  ASSERT_EQ(endpoints.size(), 2U);
  EXPECT_FALSE(endpoints[0].undocumented);
  EXPECT_EQ(text_of(endpoints[0].security), "token a");
  EXPECT_TRUE(endpoints[1].undocumented);
  EXPECT_EQ(text_of(endpoints[1].security), "silent");
}

}  // namespace
}  // namespace outrigger::openapi
