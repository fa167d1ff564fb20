#include "bridge/base/header_list.h"

namespace outrigger::base {
namespace {

TEST(HeaderList, keeps_order_and_repeats) {
  HeaderList list;
  list.add("Set-Cookie", "a=1");
  list.add("X", "");
  list.add("set-cookie", "b=2");

  ASSERT_EQ(list.size(), 3U);
  EXPECT_EQ(list[0].value, "a=1");
  EXPECT_EQ(list[2].name, "set-cookie");
  EXPECT_EQ(list.count("SET-COOKIE"), 2U);
  EXPECT_EQ(list.find("x"), "");
  EXPECT_FALSE(list.find("y").has_value());
}

TEST(HeaderList, removal_and_set_leave_the_others) {
  HeaderList list;
  list.add("A", "1");
  list.add("B", "2");
  list.add("a", "3");

  list.set("A", "4");

  ASSERT_EQ(list.size(), 2U);
  EXPECT_EQ(list[0].name, "B");
  EXPECT_EQ(list[1].value, "4");
}

TEST(HeaderList, add_takes_views_into_itself) {
  HeaderList list;
  list.add("Name", "value");
  for (int i = 0; i < 100; ++i) list.add(list[0].name, list[0].value);

  EXPECT_EQ(list.count("name"), 101U);
  EXPECT_EQ(list[100].value, "value");
}

}  // namespace
}  // namespace outrigger::base
