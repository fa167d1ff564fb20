#include "bridge/cli/table.h"

namespace outrigger::cli {
namespace {

TEST(Table, columns_are_as_wide_as_their_widest_cell) {
  EXPECT_EQ(make_table({"A", "LONG", "C"}, {{"xyz", "1", "end"}, {"", "2", ""}}),
            "A    LONG  C\n"
            "xyz  1     end\n"
            "     2     \n");
}

TEST(Table, nothing_steers_the_terminal) {
  EXPECT_EQ(printable("a\x1b[31m\n\x7f" "b"), "a?[31m??b");
  EXPECT_EQ(printable("\xc2\x9b" "31m \xc3\xa9 \xc2\xa0"), "?31m \xc3\xa9 \xc2\xa0");
  EXPECT_EQ(make_table({"\n"}, {{"\x1b"}}), "?\n?\n");
}

}  // namespace
}  // namespace outrigger::cli
