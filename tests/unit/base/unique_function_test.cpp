#include "bridge/base/unique_function.h"

#include <array>

namespace outrigger::base {
namespace {

TEST(UniqueFunction, owns_small_and_large_callables) {
  auto owned = std::make_shared<int>(7);
  {
    UniqueFunction<int()> small = [p = std::unique_ptr<int>(new int(5))] { return *p; };
    UniqueFunction<int()> large = [owned, filler = std::array<char, 200>{}] { return *owned + filler[0]; };
    UniqueFunction<int()> moved = std::move(large);

    EXPECT_EQ(small(), 5);
    EXPECT_EQ(moved(), 7);
    EXPECT_FALSE(static_cast<bool>(large));  // NOLINT: the moved-from state is what is tested
    EXPECT_EQ(owned.use_count(), 2);
  }
  EXPECT_EQ(owned.use_count(), 1);
}

TEST(UniqueFunction, assignment_destroys_the_old_callable) {
  auto owned = std::make_shared<int>(1);
  UniqueFunction<void()> function = [owned] {};
  function = [] {};
  EXPECT_EQ(owned.use_count(), 1);
}

}  // namespace
}  // namespace outrigger::base
