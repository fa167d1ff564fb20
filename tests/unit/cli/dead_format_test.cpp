#include "bridge/cli/dead_format.h"

namespace outrigger::cli {
namespace {

constexpr std::int64_t kNow = 1767225630000;

FoundLetter sample() {
  frames::Request request;
  request.id = "8c6f0e2d4b1a49d7a35c7e9f10b2d4c6";
  request.method = "POST";
  request.target = "/a?token=x";
  request.headers.add("Set-Cookie2", "a");
  request.headers.add("Accept", "b\xff");
  request.body = "body";
  return {"billing",
          {kNow - 60'000, 3},
          {request, "exhausted", "router:requests:billing", "1-2", 4, kNow - 3 * 3600 * 1000, "4f1c0a9b7d3e5f6a8b2c", "why\n"},
          4};
}

TEST(DeadFormat, ages_have_one_unit) {
  const std::vector<std::pair<std::int64_t, std::string>> ages{
      {-1, "-"},          {0, "0s"},         {119'999, "119s"},         {120'000, "2m"},
      {7'199'999, "119m"}, {7'200'000, "2h"}, {172'799'999, "47h"}, {172'800'000, "2d"}};
  for (const auto& [ms, text] : ages) EXPECT_EQ(age_text(ms), text);
}

TEST(DeadFormat, secret_fields_are_known_in_any_spelling) {
  for (const char* name : {"Authorization", "PROXY-AUTHORIZATION", "cookie", "Set-Cookie", "X-Auth-Token", "x_api_key", "ApiKey",
                           "X-Amz-Security-Token", "X-Hub-Signature-256", "X-Goog-Iap-Jwt-Assertion", "X-Client-Cert",
                           "X-Webhook-Secret", "x-session-id"}) {
    EXPECT_TRUE(is_secret_field(name)) << name;
  }
  for (const char* name : {"Accept", "Content-Type", "X-Request-Id", "Traceparent", "Authority", "Date"}) {
    EXPECT_FALSE(is_secret_field(name)) << name;
  }
}

TEST(DeadFormat, base64_is_that_of_rfc_4648) {
  EXPECT_EQ(base64(""), "");
  EXPECT_EQ(base64("f"), "Zg==");
  EXPECT_EQ(base64("fo"), "Zm8=");
  EXPECT_EQ(base64("foobar"), "Zm9vYmFy");
  EXPECT_EQ(base64(std::string_view("\xff\xfe\x00", 3)), "//4A");
}

TEST(DeadFormat, table_cuts_a_long_target) {
  FoundLetter found = sample();
  found.letter.request->target = "/" + std::string(500, 'x') + "?q";
  const std::string table = list_table({found}, kNow, false);
  EXPECT_NE(table.find(std::string(70, 'x') + "xxxxxx...  4         3h          1-2    no\n"), std::string::npos) << table;
  EXPECT_EQ(list_item(found, kNow, false)["target"], "/" + std::string(500, 'x'));
}

TEST(DeadFormat, json_survives_any_bytes) {
  const auto item = show_item(sample(), kNow, {.with_secrets = false, .with_body = true});
  EXPECT_EQ(item["headers"][0][1], "***");
  EXPECT_EQ(item["body"], "Ym9keQ==");
  EXPECT_EQ(item["age_ms"], 60'000);
  EXPECT_EQ(item["first_seen_age_ms"], 3 * 3600 * 1000);
  EXPECT_NE(dump(item).find("\"b\xef\xbf\xbd\""), std::string::npos);
  EXPECT_EQ(list_item(sample(), kNow, false)["target"], "/a");
}

TEST(DeadFormat, text_names_what_is_unknown_with_a_dash) {
  FoundLetter found = sample();
  found.letter.reason.clear();
  found.letter.first_seen_ms = 0;
  found.letter.request->deadline_ms = 9007199254740991;
  const std::string text = show_text(found, kNow, {});
  for (const char* line : {"reason        -\n", "first seen    -\n", "deadline      -\n", "detail        why?\n",
                           "body          4 bytes (--body writes them)\n", "POST /a?token=x\n", "Set-Cookie2: ***\n"}) {
    EXPECT_NE(text.find(line), std::string::npos) << line << text;
  }
}

}  // namespace
}  // namespace outrigger::cli
