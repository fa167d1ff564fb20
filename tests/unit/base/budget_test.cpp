#include "bridge/base/budget.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <thread>
#include <vector>

namespace outrigger::base {
namespace {

constexpr std::size_t kFree = limits::kUnchargedBytes;

TEST(Budget, takes_up_to_its_limit_and_no_more) {
  Budget budget(10);

  EXPECT_TRUE(budget.try_take(10));
  EXPECT_FALSE(budget.try_take(1));
  budget.give_back(4);

  EXPECT_EQ(budget.used(), 6u);
  EXPECT_TRUE(budget.is_pressed());
  budget.give_back(1);
  EXPECT_FALSE(budget.is_pressed());
}

TEST(Budget, is_never_passed_by_threads_together) {
  Budget budget(1000);
  std::size_t taken[4] = {};
  std::vector<std::thread> threads;
  for (std::size_t& mine : taken) {
    threads.emplace_back([&budget, &mine] {
      for (int i = 0; i < 10000; ++i) mine += budget.try_take(1) ? 1 : 0;
    });
  }
  for (std::thread& thread : threads) thread.join();

  EXPECT_LE(taken[0] + taken[1] + taken[2] + taken[3], 1000u);
  EXPECT_EQ(budget.used(), taken[0] + taken[1] + taken[2] + taken[3]);
}

TEST(Charge, small_holders_are_not_counted) {
  Budget budget(0);
  Charge charge(&budget);

  EXPECT_TRUE(charge.try_set(kFree));
  EXPECT_EQ(budget.used(), 0u);
  EXPECT_FALSE(charge.try_set(kFree + 1));
}

TEST(Charge, follows_what_is_held_and_gives_back_at_its_end) {
  Budget budget(10 * kFree);
  {
    Charge charge(&budget);
    EXPECT_TRUE(charge.try_set(2 * kFree));
    EXPECT_TRUE(charge.try_set(5 * kFree));
    EXPECT_EQ(budget.used(), 5 * kFree);
    EXPECT_FALSE(charge.try_set(11 * kFree));
    EXPECT_EQ(budget.used(), 5 * kFree);
    EXPECT_TRUE(charge.try_set(3 * kFree));
    EXPECT_EQ(budget.used(), 3 * kFree);
    charge.set(20 * kFree);
    EXPECT_EQ(budget.used(), 20 * kFree);
  }
  EXPECT_EQ(budget.used(), 0u);
}

TEST(Charge, without_a_budget_allows_everything) {
  Charge charge(nullptr);

  EXPECT_TRUE(charge.try_set(SIZE_MAX));
}

}  // namespace
}  // namespace outrigger::base
