#include <gtest/gtest.h>

#include "bridge/openapi/endpoints.h"

namespace outrigger::openapi {
namespace {

Endpoint listed(std::string method, std::string path, std::optional<bool> repeatable = {}) {
  return {std::move(method), std::move(path), repeatable, {}, false, {}};
}

TEST(Repeatable, operation_is_a_method_in_capitals_and_a_path_template) {
  const auto operation = parse_operation("POST /reports/{id}");
  ASSERT_TRUE(operation);
  EXPECT_EQ(operation->method, "POST");
  EXPECT_EQ(operation->path, "/reports/{id}");
  EXPECT_EQ(operation->repeatable, true);
  EXPECT_TRUE(operation->hidden);
  for (const char* text : {"", "POST", "POST ", " /a", "post /a", "POST a", "POST  /a", "POST /a b", "POST /a?b", "P-T /a"}) {
    EXPECT_FALSE(parse_operation(text)) << text;
  }
}

TEST(Repeatable, listed_operations_are_marked_whatever_the_document_says_and_others_stay) {
  std::vector<Endpoint> endpoints{listed("POST", "/a/{key}"), listed("PATCH", "/a/{key}"), listed("POST", "/b", false),
                                  listed("POST", "/c")};
  mark_repeatable(endpoints, {*parse_operation("POST /a/{id}"), *parse_operation("POST /b")}, true);
  ASSERT_EQ(endpoints.size(), 4u);
  EXPECT_EQ(endpoints[0].repeatable, true);
  EXPECT_FALSE(endpoints[0].hidden);
  EXPECT_EQ(endpoints[1].repeatable, std::nullopt);
  EXPECT_EQ(endpoints[2].repeatable, true);
  EXPECT_EQ(endpoints[3].repeatable, std::nullopt);
}

TEST(Repeatable, unlisted_operations_are_added_only_where_unlisted_paths_are_forwarded) {
  std::vector<Endpoint> endpoints;
  mark_repeatable(endpoints, {*parse_operation("POST /a")}, false);
  EXPECT_TRUE(endpoints.empty());
  mark_repeatable(endpoints, {*parse_operation("POST /a")}, true);
  ASSERT_EQ(endpoints.size(), 1u);
  EXPECT_TRUE(endpoints[0].hidden);
}

}  // namespace
}  // namespace outrigger::openapi
