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

TEST(JsonEscape, c1_controls_and_what_is_beside_them) {
  EXPECT_EQ(escaped("a\xC2\x80\xC2\x9F\xC2\xA0z"), "a\\u0080\\u009f\xC2\xA0z");
  EXPECT_EQ(escaped("\xE2\x82\xAC\xF0\x9F\x9A\xA2"), "\xE2\x82\xAC\xF0\x9F\x9A\xA2");
}

// Without start_log lines are written at once and in text.
TEST(Log, text_line_cannot_be_broken_by_what_it_tells) {
  testing::internal::CaptureStderr();
  log_warn("route a\nb\x1b", {{"plain", "a-1:x"}, {"why", "x\ny"}, {"escape", "\x1b[2J"}, {"high", "\xC3\xA9"}, {"none", ""}});
  const std::string line = testing::internal::GetCapturedStderr();
  EXPECT_NE(line.find(R"(warn route a\u000ab\u001b plain=a-1:x why="x\u000ay" escape="\u001b[2J" high="é" none="")"),
            std::string::npos)
      << line;
  EXPECT_EQ(line.find('\n'), line.size() - 1);
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
