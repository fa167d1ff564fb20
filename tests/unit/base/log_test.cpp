#include "bridge/base/log.h"

#include "bridge/base/clock.h"
#include "bridge/base/ids.h"

namespace outrigger::base {
namespace {

std::string escaped(std::string_view text) {
  std::string out;
  append_json_escaped(out, text);
  return out;
}

TEST(JsonEscape, control_quotes_and_broken_utf8) {
  EXPECT_EQ(escaped("a\"b\\c\n\x7f"), "a\\\"b\\\\c\\u000a\\u007f");
  EXPECT_EQ(escaped("gr\xC3\xBC\xC3\x9F"), "gr\xC3\xBC\xC3\x9F");
  EXPECT_EQ(escaped("\xFF\xC3"), "\\ufffd\\ufffd");
  EXPECT_EQ(escaped("\xED\xA0\x80"), "\\ufffd\\ufffd\\ufffd");  // a surrogate is not UTF-8
}

TEST(Clock, prints_rfc3339) { EXPECT_EQ(to_rfc3339(WallMillis(1738311300123)), "2025-01-31T08:15:00.123Z"); }

TEST(Ids, are_hex_and_differ) {
  const std::string a = new_process_id();
  EXPECT_EQ(a.size(), 20U);
  EXPECT_EQ(a.find_first_not_of("0123456789abcdef"), std::string::npos);
  EXPECT_NE(a, new_process_id());
}

}  // namespace
}  // namespace outrigger::base
