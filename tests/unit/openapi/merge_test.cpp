#include "bridge/openapi/merge.h"

#include <algorithm>
#include <nlohmann/json.hpp>

namespace outrigger::openapi {
namespace {

using nlohmann::json;

ServiceMetadata service(const std::string& name, const std::string& document, const std::string& mount = "") {
  ServiceMetadata metadata;
  metadata.service = name;
  metadata.mount = mount;
  metadata.document = document;
  return metadata;
}

json merged(const std::vector<ServiceMetadata>& services) {
  std::vector<const ServiceMetadata*> pointers;
  for (const ServiceMetadata& one : services) pointers.push_back(&one);
  return json::parse(merge(pointers).json);
}

constexpr const char* kReferenceToOrder = "#/components/schemas/Order";

// One path whose answer refers to schema Order, which refers to Item.
std::string shop(const std::string& item_type, const std::string& operation_id = "list") {
  return R"({"openapi":"3.1.0","paths":{"/orders":{"get":{"operationId":")" + operation_id + R"(","responses":{"200":
    {"content":{"application/json":{"schema":{"$ref":"#/components/schemas/Order"}}}}}}}},
    "components":{"schemas":{"Order":{"properties":{"item":{"$ref":"#/components/schemas/Item"}}},
    "Item":{"type":")" +
         item_type + R"("}}}})";
}

const json& answer_schema(const json& document, const std::string& path) {
  return document.at("paths")
      .at(path)
      .at("get")
      .at("responses")
      .at("200")
      .at("content")
      .at("application/json")
      .at("schema");
}

TEST(Merge, paths_stand_under_their_mounts_with_the_base_path) {
  const json document =
      merged({service("a", R"({"openapi":"3.0.0","servers":[{"url":"https://x/v1"}],"paths":
      {"/p/{id}":{"servers":[{"url":"http://inside/v1"}],"parameters":[{"name":"id"}],"get":{"servers":[]}}}})"),
              service("root", R"({"openapi":"3.0.0","paths":{"/q":{"get":{"tags":["t"]}}}})", "/"),
              service("hosted", R"({"openapi":"3.0.0","paths":{"/h":{"get":{}}}})", "host:h.example/x")});

  EXPECT_EQ(document["openapi"], "3.1.0");
  ASSERT_EQ(document["paths"].size(), 3U);
  const json& item = document.at("paths").at("/a/v1/p/{id}");
  EXPECT_FALSE(item.contains("servers"));
  EXPECT_FALSE(item["get"].contains("servers"));
  EXPECT_EQ(item["parameters"][0]["name"], "id");
  EXPECT_EQ(item["get"]["tags"], json::array({"a"}));
  EXPECT_EQ(document.at("paths").at("/q")["get"]["tags"], json::array({"t"}));
  EXPECT_EQ(document.at("paths").at("/x/h")["servers"][0]["url"], "//h.example");
}

TEST(Merge, operation_with_servers_of_its_own_stands_where_they_say) {
  const json document = merged({service("a", R"({"openapi":"3.0.0","servers":[{"url":"/v1"}],"paths":
      {"/p":{"parameters":[{"name":"n"}],"get":{"callbacks":{"c":{"$ref":"#/paths/~1p/get/responses"}}},
      "put":{"servers":[{"url":"/v2"}]}}}})")});

  EXPECT_EQ(document["paths"].size(), 2U);
  EXPECT_TRUE(document.at("paths").at("/a/v1/p").contains("get"));
  EXPECT_FALSE(document.at("paths").at("/a/v1/p").contains("put"));
  EXPECT_EQ(document.at("paths").at("/a/v1/p")["get"]["callbacks"]["c"]["$ref"], "#/paths/~1a~1v1~1p/get/responses");
  EXPECT_EQ(document.at("paths").at("/a/v2/p")["parameters"][0]["name"], "n");
  EXPECT_FALSE(document.at("paths").at("/a/v2/p")["put"].contains("servers"));
}

TEST(Merge, document_that_hides_hides_what_does_not_say_otherwise) {
  const json document = merged({service("a", R"({"openapi":"3.0.0","x-router-hidden":true,"paths":
      {"/p":{"get":{},"put":{"x-router-hidden":false}}}})")});

  EXPECT_FALSE(document.at("paths").at("/a/p").contains("get"));
  EXPECT_TRUE(document.at("paths").at("/a/p").contains("put"));
}

TEST(Merge, equal_components_are_shared) {
  const json document = merged({service("a", shop("string", "x")), service("b", shop("string", "y"))});

  EXPECT_EQ(document["components"]["schemas"].size(), 2U);
  EXPECT_EQ(answer_schema(document, "/b/orders")["$ref"], kReferenceToOrder);
}

TEST(Merge, clashing_components_are_renamed_with_all_that_refer_to_them) {
  const json document = merged({service("b", shop("integer")), service("a", shop("string"))});

  const json& schemas = document["components"]["schemas"];
  EXPECT_EQ(schemas["Item"]["type"], "string");  // "a" comes first
  EXPECT_EQ(schemas["b_Item"]["type"], "integer");
  EXPECT_EQ(schemas["b_Order"]["properties"]["item"]["$ref"], "#/components/schemas/b_Item");
  EXPECT_EQ(schemas["Order"]["properties"]["item"]["$ref"], "#/components/schemas/Item");
  EXPECT_EQ(answer_schema(document, "/a/orders")["$ref"], kReferenceToOrder);
  EXPECT_EQ(answer_schema(document, "/b/orders")["$ref"], "#/components/schemas/b_Order");
}

TEST(Merge, a_new_name_never_takes_anothers) {
  const std::string both =
      R"({"openapi":"3.1.0","components":{"schemas":{"S":{"type":"integer"},"b_S":{"type":"null"}}}})";
  const json document = merged(
      {service("a", R"({"openapi":"3.1.0","components":{"schemas":{"S":{"type":"string"}}}})"), service("b", both)});

  EXPECT_EQ(document["components"]["schemas"],
            json::parse(R"({"S":{"type":"string"},"b_S":{"type":"null"},"b_S_":{"type":"integer"}})"));
}

TEST(Merge, operation_ids_and_their_links_are_told_apart) {
  const auto with_link = [](const std::string& summary) {
    return R"({"openapi":"3.1.0","paths":{"/o":{"get":{"summary":")" + summary +
           R"(","operationId":"get","responses":{"200":
      {"links":{"next":{"operationId":"get"},"ref":{"operationRef":"#/paths/~1o/get"}}}}}}}})";
  };
  const json document = merged({service("a", with_link("1")), service("b", with_link("2"))});

  const json& operation = document.at("paths").at("/b/o").at("get");
  EXPECT_EQ(document.at("paths").at("/a/o").at("get").at("operationId"), "get");
  EXPECT_EQ(operation.at("operationId"), "b_get");
  EXPECT_EQ(operation["responses"]["200"]["links"]["next"]["operationId"], "b_get");
  EXPECT_EQ(operation["responses"]["200"]["links"]["ref"]["operationRef"], "#/paths/~1b~1o/get");
}

TEST(Merge, security_schemes_clash_by_name_and_defaults_go_to_the_operations) {
  const auto secured = [](const std::string& type) {
    return R"({"openapi":"3.1.0","security":[{"main":["read"]}],"paths":{"/o":{"get":{}},"/open":{"get":{"security":[]}}},
      "components":{"securitySchemes":{"main":{"type":")" +
           type + R"("}}}})";
  };
  const json document = merged({service("a", secured("http")), service("b", secured("apiKey"))});

  EXPECT_EQ(document["components"]["securitySchemes"]["b_main"]["type"], "apiKey");
  EXPECT_EQ(document.at("paths").at("/b/o")["get"]["security"], json::parse(R"([{"b_main":["read"]}])"));
  EXPECT_EQ(document.at("paths").at("/a/o")["get"]["security"], json::parse(R"([{"main":["read"]}])"));
  EXPECT_EQ(document.at("paths").at("/b/open")["get"]["security"], json::array());
}

TEST(Merge, discriminators_follow_renames_and_data_does_not) {
  const auto typed = [](const std::string& type) {
    return R"({"openapi":"3.1.0","components":{"schemas":{"Cat":{"type":")" + type + R"("},
      "Pet":{"title":")" +
           type + R"(","discriminator":{"propertyName":"kind","mapping":{"c":"Cat","d":"#/components/schemas/Cat"}},
      "example":{"$ref":"#/components/schemas/Cat"},
      "properties":{"default":{"$ref":"#/components/schemas/Cat"}}}}}})";
  };
  const json document = merged({service("a", typed("object")), service("b", typed("string"))});

  const json& pet = document["components"]["schemas"]["b_Pet"];
  EXPECT_EQ(pet["discriminator"]["mapping"], json::parse(R"({"c":"b_Cat","d":"#/components/schemas/b_Cat"})"));
  EXPECT_EQ(pet["example"]["$ref"], "#/components/schemas/Cat");
  EXPECT_EQ(pet["properties"]["default"]["$ref"], "#/components/schemas/b_Cat");
}

TEST(Merge, hidden_operations_and_what_only_they_use_are_left_out) {
  const json document = merged({service("a", R"({"openapi":"3.1.0","paths":{
      "/open":{"get":{"x":{"$ref":"#/components/schemas/Shared"}},
               "put":{"x-router-hidden":true,"y":{"$ref":"#/components/schemas/Secret"}}},
      "/secret":{"x-router-hidden":true,"get":{"y":{"$ref":"#/components/schemas/Shared"}}}},
      "components":{"schemas":{"Shared":{},"Secret":{"$ref":"#/components/schemas/Inner"},"Inner":{},"Unused":{}}}})")});

  EXPECT_EQ(document["paths"].size(), 1U);
  EXPECT_FALSE(document.at("paths").at("/a/open").contains("put"));
  EXPECT_EQ(document["components"]["schemas"], json::parse(R"({"Shared":{},"Unused":{}})"));
}

TEST(Merge, schemas_of_3_0_become_3_1) {
  const std::string schema = R"({"type":"string","nullable":true,"enum":["a"],"minimum":1,"exclusiveMinimum":true,
                                 "maximum":9,"exclusiveMaximum":false,"properties":{"nullable":{"type":"integer"}}})";
  const json document = merged({service("a", R"({"openapi":"3.0.3","components":{"schemas":{"S":)" + schema + "}}}")});

  EXPECT_EQ(document["components"]["schemas"]["S"], json::parse(R"({"type":["string","null"],"enum":["a",null],
      "exclusiveMinimum":1,"maximum":9,"properties":{"nullable":{"type":"integer"}}})"));
}

TEST(Merge, result_does_not_depend_on_the_order_of_services) {
  std::vector<ServiceMetadata> services = {service("a", shop("string")), service("b", shop("integer")),
                                           service("c", shop("integer")), service("d", shop("string"), "/a/orders"),
                                           service("e", R"({"openapi":"3.1.0","paths":{"/x":{"get":{}}}})", "/a")};
  std::vector<const ServiceMetadata*> order;
  for (const ServiceMetadata& one : services) order.push_back(&one);
  std::sort(order.begin(), order.end());
  const MergedDocument first = merge(order);

  while (std::next_permutation(order.begin(), order.end())) {
    const MergedDocument again = merge(order);
    ASSERT_EQ(again.json, first.json);
    ASSERT_EQ(again.etag, first.etag);
  }
}

TEST(Merge, a_path_belongs_to_the_longer_mount) {
  const auto metadata = {service("a", R"({"openapi":"3.1.0","paths":{"/b/c":{"get":{"summary":"short"}}}})"),
                         service("z", R"({"openapi":"3.1.0","paths":{"/c":{"get":{"summary":"long"}}}})", "/a/b")};
  std::vector<const ServiceMetadata*> pointers;
  for (const auto& one : metadata) pointers.push_back(&one);

  const MergedDocument result = merge(pointers);

  EXPECT_EQ(json::parse(result.json).at("paths").at("/a/b/c")["get"]["summary"], "long");
  ASSERT_EQ(result.problems.size(), 1U);
  EXPECT_EQ(result.problems[0].rfind("a: path /a/b/c", 0), 0U);
}

TEST(Merge, a_broken_document_is_reported_and_the_others_stay) {
  const ServiceMetadata good = service("a", R"({"openapi":"3.1.0","paths":{"/p":{"get":{}}}})");
  const ServiceMetadata bad = service("b", "{");
  const ServiceMetadata none = service("c", "");

  const MergedDocument result = merge({&bad, &good, &none});

  EXPECT_EQ(json::parse(result.json)["paths"].size(), 1U);
  ASSERT_EQ(result.problems.size(), 1U);
  EXPECT_EQ(result.problems[0].rfind("b: left out", 0), 0U);
}

TEST(Merge, etag_changes_with_the_content) {
  const ServiceMetadata one = service("a", R"({"openapi":"3.1.0","paths":{"/p":{"get":{}}}})");
  const ServiceMetadata two = service("a", R"({"openapi":"3.1.0","paths":{"/q":{"get":{}}}})");

  EXPECT_EQ(merge({&one}).etag, merge({&one}).etag);
  EXPECT_NE(merge({&one}).etag, merge({&two}).etag);
  EXPECT_EQ(merge({}).etag.front(), '"');
}

}  // namespace
}  // namespace outrigger::openapi
