#include "bridge/identity/json_value.h"

namespace outrigger::identity {
namespace {

using Kind = JsonValue::Kind;
using std::string_literals::operator""s;

TEST(JsonValue, kinds_and_texts_are_as_written) {
  const auto value = parse_json(
      R"( {"t":"a\u00e9","i":-12,"u":18446744073709551615,"f":1.50,"e":1E2,"b":true,"n":null,"a":[1,"x"],"o":{}} )");

  ASSERT_TRUE(value);
  const std::pair<Kind, std::string> expected[] = {
      {Kind::text, "a\xc3\xa9"}, {Kind::integer, "-12"},  {Kind::integer, "18446744073709551615"},
      {Kind::fraction, "1.50"},  {Kind::fraction, "1E2"}, {Kind::boolean, "true"},
      {Kind::null, "null"},      {Kind::array, ""},       {Kind::object, ""}};
  ASSERT_EQ(value->items.size(), std::size(expected));
  for (std::size_t i = 0; i < std::size(expected); ++i) {
    EXPECT_EQ(value->items[i].kind, expected[i].first) << i;
    EXPECT_EQ(value->items[i].text, expected[i].second) << i;
  }
  ASSERT_EQ(value->find("a")->items.size(), 2U);
  EXPECT_EQ(value->find("a")->items[1].text, "x");
  EXPECT_EQ(value->find("a")->items[1].name, "");
  EXPECT_EQ(value->find("absent"), nullptr);
}

TEST(JsonValue, what_is_not_strictly_json_is_refused) {
  for (const std::string& json : {""s,
                                  " "s,
                                  "{"s,
                                  "{}{}"s,
                                  "{} x"s,
                                  "{\"a\":1,}"s,
                                  "{'a':1}"s,
                                  "{a:1}"s,
                                  "[1 2]"s,
                                  "{\"a\":01}"s,
                                  "NaN"s,
                                  "{\"a\":1e999}"s,
                                  "{\"a\":\"\xff\"}"s,
                                  "{\"a\":\"\n\"}"s,
                                  "{\"a\":\"\\ud800\"}"s,
                                  "/**/{}"s,
                                  "\xef\xbb\xbf{}"s,
                                  "{}\0"s,
                                  "{}\0garbage"s,
                                  "{\"a\0\":1}"s}) {
    const auto value = parse_json(json);
    ASSERT_FALSE(value) << json;
    EXPECT_EQ(value.error().code, base::Code::malformed);
  }
}

TEST(JsonValue, members_of_one_name_are_refused_at_every_level_and_in_every_spelling) {
  for (const std::string_view json :
       {R"({"a":1,"a":1})", R"({"a":1,"b":2,"\u0061":3})", R"({"x":{"a":1,"a":2}})", R"([{"":1,"":2}])"}) {
    EXPECT_FALSE(parse_json(json)) << json;
  }
  EXPECT_TRUE(parse_json(R"([{"a":1},{"a":1}])"));
  EXPECT_TRUE(parse_json(R"({"a":{"a":{"a":1}},"A":1})"));
}

TEST(JsonValue, depth_is_bounded) {
  const auto nested = [](std::size_t depth) { return std::string(depth, '[') + std::string(depth, ']'); };
  EXPECT_TRUE(parse_json(nested(kJsonDepth)));
  EXPECT_FALSE(parse_json(nested(kJsonDepth + 1)));
  EXPECT_FALSE(parse_json(std::string(100000, '[')));
}

}  // namespace
}  // namespace outrigger::identity
