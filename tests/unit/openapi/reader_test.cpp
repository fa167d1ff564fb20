// Documents in YAML and of version 2.0: what becomes of them. YAML's corners are looked at through members of a document.
#include "bridge/openapi/reader.h"

#include <nlohmann/json.hpp>

#include "bridge/openapi/merge.h"

namespace outrigger::openapi {
namespace {

using base::Code;
using nlohmann::json;

using Lines = std::vector<std::string>;

Lines listed(const std::string& text) {
  const auto parsed = read_document(text);
  if (!parsed) return {"error: " + parsed.error().detail};
  Lines lines;
  for (const Endpoint& endpoint : parsed->endpoints) lines.push_back(endpoint.method + " " + endpoint.path);
  return lines;
}

// `text` as the value of a member.
json yaml(const std::string& text) {
  const auto parsed = read_document("openapi: 3.1.0\nx-value: " + text + "\n");
  return parsed ? json::parse(parsed->document)["x-value"] : json("error: " + parsed.error().detail);
}

base::Error error_of(const std::string& text) {
  const auto parsed = read_document(text);
  return parsed ? base::Error{Code::closed, "no error"} : parsed.error();
}

// A document of 2.0 as the gateway publishes it.
json published(const std::string& text) {
  auto parsed = read_document(text);
  if (!parsed) return "error: " + parsed.error().detail;
  ServiceMetadata metadata;
  metadata.service = "s";
  metadata.mount = "/";
  metadata.endpoints = parsed->endpoints;
  metadata.document = parsed->document;
  const MergedDocument merged = merge({&metadata});
  return merged.problems.empty() ? json::parse(merged.json) : json(merged.problems.front());
}

TEST(Reader, yaml_document_is_stored_as_json) {
  const auto plain = read_document("openapi: \"3.0.3\"\npaths:\n  /orders:\n    get:\n      responses: {200: {description: ok}}\n");

  ASSERT_TRUE(plain) << plain.error().detail;
  EXPECT_TRUE(plain->is_yaml);
  EXPECT_EQ(plain->version, "3.0.3");
  EXPECT_EQ(json::parse(plain->document)["paths"]["/orders"]["get"]["responses"]["200"]["description"], "ok");
}

TEST(Reader, json_of_version_3_stays_as_it_was_spelled) {
  const std::string text = "{ \"openapi\" : \"3.0.0\", \"paths\":{} }\n";
  EXPECT_EQ(read_document(text)->document, text);
  EXPECT_EQ(read_document("\xef\xbb\xbf" + text)->document, text);
}

TEST(Reader, version_without_quotes_is_understood) {
  EXPECT_EQ(read_document("openapi: 3.1\n")->version, "3.1");
  EXPECT_EQ(read_document("swagger: 2.0\n")->version, "2.0");
  EXPECT_EQ(error_of("openapi: 4.0\n").code, Code::unsupported);
}

TEST(Reader, plain_scalars_are_what_the_core_schema_says) {
  const std::pair<std::string, json> cases[] = {
      {"", nullptr},        {"~", nullptr},       {"null", nullptr},     {"NULL", nullptr},
      {"true", true},       {"False", false},     {"yes", "yes"},        {"on", "on"},
      {"n", "n"},           {"12", 12},           {"-7", -7},            {"+7", 7},
      {"012", 12},          {"0o17", 15},         {"0xfF", 255},         {"0b1", "0b1"},
      {"1_000", "1_000"},   {"1:30", "1:30"},     {"1.5", 1.5},          {".5", 0.5},
      {"1.", 1.0},          {"-1e3", -1000.0},    {"1e999", "1e999"},    {".inf", ".inf"},
      {".nan", ".nan"},     {"1e", "1e"},         {".", "."},            {"--", "--"},
      {"2020-01-01", "2020-01-01"},               {"18446744073709551615", 18446744073709551615ULL},
      {"-9223372036854775808", INT64_MIN},        {"18446744073709551616", 18446744073709551616.0},
      {"'12'", "12"},       {"\"true\"", "true"}, {"!!str 12", "12"},    {"! 12", "12"},
      {"!!int \"3\"", 3},   {"!own 3", "3"},      {"|\n  a\n  b\n", "a\nb\n"},
  };
  for (const auto& [text, value] : cases) {
    EXPECT_EQ(yaml(text), value) << text;
  }
}

TEST(Reader, keys_are_text_as_they_were_written) {
  EXPECT_EQ(yaml("{200: a, yes: b, 2020-01-01: c, 1.0: d, true: e, 'x': f, 0x1F: g}"),
            json({{"200", "a"}, {"yes", "b"}, {"2020-01-01", "c"}, {"1.0", "d"}, {"true", "e"}, {"x", "f"}, {"0x1F", "g"}}));
}

TEST(Reader, anchors_are_copied_and_merged) {
  EXPECT_EQ(yaml("{a: &a {b: &b 1}, c: *a, d: *b}"), json::parse(R"({"a":{"b":1},"c":{"b":1},"d":1})"));
  EXPECT_EQ(yaml("{a: &a {x: 1, y: 2}, b: {<<: *a, y: 3}}")["b"], json::parse(R"({"x":1,"y":3})"));
  EXPECT_EQ(yaml("{a: &a {x: 1}, b: &b {x: 2, y: 2}, c: {y: 9, <<: [*a, *b]}}")["c"], json::parse(R"({"x":1,"y":9})"));
  EXPECT_EQ(yaml("{'<<': 1}"), json::parse(R"({"<<":1})"));
  EXPECT_EQ(yaml("{&k key: 1, other: *k}"), json::parse(R"({"key":1,"other":"key"})"));
}

TEST(Reader, yaml_that_is_none_says_where) {
  for (const std::string text : {"openapi: 3.1.0\npaths: {a: b", "openapi: 3.1.0\n x: y", "a: *nobody", "a: &a [*a]",
                                 "? [a]\n: b", "? {a: b}\n: c", "a: {<<: 1}", "a: \"\\q\"", "a: !!str ["}) {
    const base::Error error = error_of(text);
    EXPECT_EQ(error.code, Code::malformed) << text;
    EXPECT_NE(error.detail.find("not YAML: line "), std::string::npos) << error.detail;
  }
}

TEST(Reader, other_content_is_not_taken_for_a_broken_document) {
  for (const std::string text : {"<!DOCTYPE html><html></html>", "Not found", "- a\n- b", "a: b", "42", "{\"a\":1}"}) {
    EXPECT_EQ(error_of(text).code, Code::unsupported) << text << error_of(text).detail;
  }
}

TEST(Reader, aliases_that_explode_are_stopped) {
  std::string text = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n";
  for (int i = 1; i < 12; ++i) {
    const std::string before = "*a" + std::to_string(i - 1);
    text += "a" + std::to_string(i) + ": &a" + std::to_string(i) + " [";
    for (int j = 0; j < 10; ++j) text += (j == 0 ? "" : ",") + before;
    text += "]\n";
  }
  EXPECT_EQ(error_of(text).code, Code::too_large);
  EXPECT_NE(error_of(text).detail.find("aliases"), std::string::npos);

  std::string long_text = "a: &a \"" + std::string(1 << 20, 'x') + "\"\nb: [";
  for (int j = 0; j < 20; ++j) long_text += "*a,";
  EXPECT_EQ(error_of(long_text + "]\n").code, Code::too_large);
}

TEST(Reader, depth_and_number_of_values_are_bounded_in_both) {
  const auto nested = [](int depth) { return std::string(depth, '[') + std::string(depth, ']'); };
  EXPECT_TRUE(yaml(nested(kDocumentDepth - 1)).is_array());
  EXPECT_EQ(error_of("a: " + nested(kDocumentDepth)).code, Code::too_large);
  EXPECT_EQ(error_of("a: " + nested(5000)).code, Code::too_large);
  EXPECT_EQ(error_of("{\"a\":" + nested(kDocumentDepth) + "}").code, Code::too_large);
  // An alias brings its own depth.
  EXPECT_EQ(error_of("a: &a " + nested(100) + "\nb: " + std::string(50, '[') + "*a" + std::string(50, ']')).code,
            Code::too_large);
  std::string many = "{\"openapi\":\"3.0.0\",\"x\":[0";
  for (std::size_t i = 0; i < kDocumentValues; ++i) many += ",0";
  EXPECT_EQ(error_of(many + "]}").code, Code::too_large);
}

TEST(Reader, flow_collection_that_the_parser_would_hold_whole_is_stopped) {
  const base::Error error = error_of("a: [[" + std::string(2 << 20, ','));
  EXPECT_NE(error.detail.find("not YAML: "), std::string::npos) << error.detail;
  const base::Error open = error_of("a: " + std::string(2 << 20, '['));
  EXPECT_EQ(open.code, Code::too_large) << open.detail;
  std::string wide = "a: {{";
  for (int i = 0; i < 300000; ++i) wide += "a,\n ";
  EXPECT_EQ(error_of(wide).code, Code::too_large);
}

TEST(Reader, every_prefix_of_a_yaml_document_ends_well) {
  const std::string text =
      "openapi: 3.1.0\nx: &a {b: [1, \"two\", 'three', |\n four\n ]}\npaths:\n  /a: &p\n    get: {}\n  /b:\n    <<: *p\n";
  for (std::size_t size = 0; size < text.size(); ++size) (void)read_document(text.substr(0, size));
}

TEST(Reader, extensions_are_read_in_yaml_and_version_2) {
  const auto parsed = read_document(R"(
swagger: "2.0"
basePath: /v1
x-router-timeout: 5s
paths:
  /orders:
    x-router-repeatable: true
    get:
      x-router-claims:
        - scope=orders:read
        - {type: tenant}
    delete:
      x-router-hidden: true
      x-router-timeout: 2
)");

  ASSERT_TRUE(parsed) << parsed.error().detail;
  const std::chrono::seconds five(5);
  EXPECT_EQ(parsed->endpoints,
            (std::vector<Endpoint>{
                {"DELETE", "/v1/orders", true, five, true},
                {"GET", "/v1/orders", true, five, false, {{"scope", "orders:read"}, {"tenant", std::nullopt}}}}));
  ASSERT_EQ(parsed->remarks.size(), 1U);
  EXPECT_EQ(parsed->remarks[0].substr(0, 39), "paths./orders.delete.x-router-timeout: ");
}

TEST(Reader, base_path_of_version_2_is_part_of_each_path) {
  const auto path = [](const std::string& base) {
    return listed(R"({"swagger":"2.0","host":"h","basePath":)" + base + R"(,"paths":{"/p":{"get":{}}}})").at(0);
  };
  EXPECT_EQ(path("\"/\""), "GET /p");
  EXPECT_EQ(path("\"/v1\""), "GET /v1/p");
  EXPECT_EQ(path("\"/v1/\""), "GET /v1/p");
  EXPECT_EQ(path("7"), "GET /p");
  EXPECT_EQ(listed(R"({"swagger":"2.0","paths":[]})").at(0), "error: paths: not an object");
  EXPECT_EQ(listed(R"({"swagger":"2.0","paths":{"/p":{"get":7}}})").at(0), "error: paths./p.get: not an object");
}

constexpr char kSwagger[] = R"({"swagger":"2.0","info":{"title":"t","version":"1"},
"consumes":["application/json","text/json"],"produces":["application/json"],"schemes":["https"],
"parameters":{"Limit":{"name":"limit","in":"query","type":"integer","maximum":9,"exclusiveMaximum":true},
  "Order":{"name":"order","in":"body","required":true,"description":"d","schema":{"$ref":"#/definitions/Page%C2%ABOrder%C2%BB"}}},
"responses":{"NotFound":{"description":"no","schema":{"$ref":"#/definitions/Error"}}},
"definitions":{"Page«Order»":{"type":"object","discriminator":"kind","required":["kind"],
    "properties":{"kind":{"type":"string"},"type":{"type":"string","x-nullable":true},"self":{"$ref":"#/definitions/Page«Order»"}}},
  "Page_Order_":{"type":"string"},"Error":{"type":"object"}},
"securityDefinitions":{"basic auth":{"type":"basic"},"key":{"type":"apiKey","name":"k","in":"header"},
  "code":{"type":"oauth2","flow":"accessCode","authorizationUrl":"http://a","tokenUrl":"http://t","scopes":{"s":"S"}},
  "app":{"type":"oauth2","flow":"application","tokenUrl":"http://t"}},
"security":[{"basic auth":[]}],
"paths":{"/orders/{id}":{
  "parameters":[{"name":"id","in":"path","type":"string"},{"$ref":"#/parameters/Order"}],
  "put":{"parameters":[{"$ref":"#/parameters/Limit"},{"name":"tags","in":"query","type":"array","items":{"type":"string"},"collectionFormat":"multi"},
      {"name":"ids","in":"query","type":"array","items":{"type":"integer"}},
      {"name":"X-Ids","in":"header","type":"array","items":{"type":"integer"},"collectionFormat":"csv"}],
    "responses":{"200":{"description":"ok","schema":{"$ref":"#/definitions/Page«Order»"},"examples":{"application/json":{"a":1}},
        "headers":{"X-Rate":{"type":"integer","description":"r"}}},"404":{"$ref":"#/responses/NotFound"},"default":{"description":"d"}}}},
 "/files":{"post":{"consumes":["multipart/form-data","application/x-www-form-urlencoded"],"produces":["application/pdf"],
    "parameters":[{"name":"file","in":"formData","type":"file","required":true,"description":"f"},
      {"name":"names","in":"formData","type":"array","items":{"type":"string"},"collectionFormat":"pipes"}],
    "security":[],"responses":{"200":{"description":"ok","schema":{"type":"file"}}}},
  "get":{"parameters":[{"name":"q","in":"formData","type":"string"}],"responses":{}}}}})";

TEST(Reader, parameters_of_version_2_become_schemas_and_request_bodies) {
  const json document = published(kSwagger);
  ASSERT_TRUE(document.is_object()) << document;
  EXPECT_EQ(document["openapi"], "3.1.0");
  const json item = document["paths"]["/orders/{id}"];

  EXPECT_EQ(item["parameters"], json::parse(R"([{"name":"id","in":"path","required":true,"schema":{"type":"string"}}])"));
  EXPECT_EQ(item["put"]["parameters"], json::parse(R"([{"$ref":"#/components/parameters/Limit"},
      {"name":"tags","in":"query","schema":{"type":"array","items":{"type":"string"}},"style":"form","explode":true},
      {"name":"ids","in":"query","schema":{"type":"array","items":{"type":"integer"}},"style":"form","explode":false},
      {"name":"X-Ids","in":"header","schema":{"type":"array","items":{"type":"integer"}},"style":"simple","explode":false}])"));
  const json schema = {{"schema", {{"$ref", "#/components/schemas/Page__Order__"}}}};
  EXPECT_EQ(item["put"]["requestBody"], json({{"required", true},
                                              {"description", "d"},
                                              {"content", {{"application/json", schema}, {"text/json", schema}}}}));
  EXPECT_EQ(document["components"]["parameters"],
            json::parse(R"({"Limit":{"name":"limit","in":"query","schema":{"type":"integer","exclusiveMaximum":9}}})"));
}

TEST(Reader, forms_and_files_of_version_2_become_content) {
  const json document = published(kSwagger);
  const json post = document["paths"]["/files"]["post"];

  EXPECT_EQ(post["requestBody"], json::parse(R"({"required":true,"content":{"multipart/form-data":{
      "schema":{"type":"object","required":["file"],"properties":{
        "file":{"type":"string","format":"binary","description":"f"},"names":{"type":"array","items":{"type":"string"}}}},
      "encoding":{"names":{"style":"pipeDelimited","explode":false}}}}})"));
  EXPECT_EQ(post["responses"]["200"]["content"],
            json::parse(R"({"application/pdf":{"schema":{"type":"string","format":"binary"}}})"));
  EXPECT_TRUE(document["paths"]["/files"]["get"]["requestBody"]["content"].contains("application/x-www-form-urlencoded"));
  EXPECT_FALSE(post.contains("parameters"));
}

TEST(Reader, responses_schemas_and_security_of_version_2_become_components) {
  const json document = published(kSwagger);
  const json put = document["paths"]["/orders/{id}"]["put"];
  const json components = document["components"];

  EXPECT_EQ(put["responses"]["200"], json::parse(R"({"description":"ok",
      "content":{"application/json":{"schema":{"$ref":"#/components/schemas/Page__Order__"},"example":{"a":1}}},
      "headers":{"X-Rate":{"description":"r","schema":{"type":"integer"}}}})"));
  EXPECT_EQ(put["responses"]["404"]["$ref"], "#/components/responses/NotFound");
  EXPECT_EQ(put["responses"]["default"], json({{"description", "d"}}));
  EXPECT_EQ(components["responses"]["NotFound"]["content"]["application/json"]["schema"]["$ref"],
            "#/components/schemas/Error");
  const json page = components["schemas"]["Page__Order__"];
  EXPECT_EQ(page["discriminator"], json({{"propertyName", "kind"}}));
  EXPECT_EQ(page["properties"]["type"]["type"], json::array({"string", "null"}));
  EXPECT_EQ(page["properties"]["self"]["$ref"], "#/components/schemas/Page__Order__");
  EXPECT_EQ(components["schemas"]["Page_Order_"]["type"], "string");
  EXPECT_EQ(put["security"], json::parse(R"([{"basic_auth":[]}])"));
  EXPECT_EQ(document["paths"]["/files"]["post"]["security"], json::array());
  EXPECT_EQ(components["securitySchemes"], json::parse(R"({"basic_auth":{"type":"http","scheme":"basic"},
      "key":{"type":"apiKey","name":"k","in":"header"},
      "code":{"type":"oauth2","flows":{"authorizationCode":{"authorizationUrl":"http://a","tokenUrl":"http://t","scopes":{"s":"S"}}}},
      "app":{"type":"oauth2","flows":{"clientCredentials":{"tokenUrl":"http://t","scopes":{}}}}})"));
}

TEST(Reader, links_are_found_in_what_is_no_document) {
  EXPECT_EQ(link_in(R"({"openapi":"/openapi.json","etag":"x"})"), "/openapi.json");
  EXPECT_EQ(link_in(R"({"openapi":"http://h/openapi.json"})"), "http://h/openapi.json");
  EXPECT_EQ(link_in(R"({"openapi":"3.1.0"})"), "");
  EXPECT_EQ(link_in(R"({"openapi":"/x","paths":{}})"), "");
  EXPECT_EQ(link_in("/openapi.json"), "");
  EXPECT_EQ(link_in("{"), "");
}

}  // namespace
}  // namespace outrigger::openapi
