#include "bridge/app/config_value.h"

namespace outrigger::app {
namespace {

using namespace std::chrono_literals;

TEST(ConfigValue, durations) {
  EXPECT_EQ(*parse_duration("250ms"), 250ms);
  EXPECT_EQ(*parse_duration("30s"), 30s);
  EXPECT_EQ(*parse_duration("5m"), 5min);
  EXPECT_EQ(*parse_duration("1H"), 1h);
  EXPECT_EQ(*parse_duration("2 d"), 48h);
  EXPECT_EQ(*parse_duration("0"), 0ms);
  EXPECT_EQ(parse_duration("30").error().detail, "'30' has no unit: write 250ms, 30s, 5m or 1h");
  for (const char* text : {"", "s", "-1s", "1.5s", "1m30s", "9223372036854775807d", "99999999999999999999s", "soon"}) {
    EXPECT_FALSE(parse_duration(text).has_value()) << text;
  }
  // As .NET writes them.
  EXPECT_EQ(*parse_duration("00:00:30"), 30s);
  EXPECT_EQ(*parse_duration("0:05"), 5min);
  EXPECT_EQ(*parse_duration("23:59:59.1230000"), 86'399'123ms);
  EXPECT_EQ(*parse_duration("1.06:00:00.5"), 30h + 500ms);
  for (const char* text : {"24:00:00", "00:60:00", "00:00:60", "0:5", "00:00:30.", "00:00:30.0001", "00:00:30.12345678",
                           ":30", "1.", "x.00:00:30", "00:00:30s", "-00:00:30", "1:2:3:4", "00:00: 3"}) {
    EXPECT_FALSE(parse_duration(text).has_value()) << text;
  }
  EXPECT_EQ(parse_duration("soon").error().detail, "'soon' is not a duration: write 250ms, 30s, 5m or 1h");
}

TEST(ConfigValue, sizes) {
  EXPECT_EQ(*parse_size("8MiB"), 8 * 1024 * 1024);
  EXPECT_EQ(*parse_size("64kib"), 64 * 1024);
  EXPECT_EQ(*parse_size("1MB"), 1'000'000);
  EXPECT_EQ(*parse_size("2GiB"), 2147483648);
  EXPECT_EQ(*parse_size("17"), 17);
  EXPECT_EQ(*parse_size("17B"), 17);
  for (const char* text : {"", "MiB", "-1", "1.5MiB", "8Mi", "9223372036854775807GiB"}) {
    EXPECT_FALSE(parse_size(text).has_value()) << text;
  }
  EXPECT_EQ(parse_size("8Mi").error().detail, "'8Mi' is not a size: write 8MiB, 64KiB, 1MB or a number of bytes");
}

TEST(ConfigValue, integers_and_booleans) {
  EXPECT_EQ(*parse_integer("-12"), -12);
  EXPECT_EQ(parse_integer("12x").error().detail, "'12x' is not a whole number");
  EXPECT_FALSE(parse_integer("").has_value());
  EXPECT_TRUE(*parse_boolean("True"));
  EXPECT_FALSE(*parse_boolean("false"));
  EXPECT_EQ(parse_boolean("yes").error().detail, "'yes' is neither true nor false");
}

TEST(ConfigValue, what_is_printed_reads_back) {
  for (const auto duration : {0ms, 1ms, 1500ms, 90000ms, 60000ms, 3600000ms, 86400000ms}) {
    EXPECT_EQ(*parse_duration(print_duration(duration)), duration);
  }
  for (const std::int64_t size : {0, 1, 1000, 1024, 1025, 8 << 20, 1'000'000}) {
    EXPECT_EQ(*parse_size(print_size(size)), size);
  }
  EXPECT_EQ(print_duration(90s), "90s");
  EXPECT_EQ(print_size(65536), "64KiB");
}

}  // namespace
}  // namespace outrigger::app
