#include "bridge/net/helper_thread.h"

#include <atomic>

#include "tests/support/real_loop.h"

namespace outrigger::net {
namespace {

TEST(HelperThread, result_comes_back_to_the_loop_in_order) {
  tests::RealLoop real;
  HelperThread helper(real.loop);
  std::vector<int> results;
  std::vector<Pending> pending;
  for (int i = 0; i < 3; ++i) {
    pending.push_back(helper.run([i, &real] { return real.loop.is_on_loop() ? -1 : i; },
                                 [&](int result) {
                                   EXPECT_TRUE(real.loop.is_on_loop());
                                   results.push_back(result);
                                 }));
  }
  EXPECT_TRUE(results.empty());
  ASSERT_TRUE(real.run_until("three results", [&] { return results.size() == 3; }));
  EXPECT_EQ(results, (std::vector<int>{0, 1, 2}));
}

TEST(HelperThread, result_of_what_was_cancelled_is_dropped) {
  tests::RealLoop real;
  HelperThread helper(real.loop);
  bool is_done = false;
  Pending cancelled = helper.run([] { return 1; }, [](int) { FAIL(); });
  cancelled.cancel();
  const Pending kept = helper.run([] { return 2; }, [&is_done](int) { is_done = true; });
  ASSERT_TRUE(real.run_until("the second result", [&] { return is_done; }));
}

TEST(HelperThread, end_waits_for_the_work_that_runs_and_drops_the_rest) {
  tests::RealLoop real;
  std::atomic<int> begun{0};
  std::atomic<int> ended{0};
  {
    HelperThread helper(real.loop);
    const auto work = [&begun, &ended] {
      ++begun;
      return ++ended;
    };
    const Pending first = helper.run(work, [](int) {});
    const Pending second = helper.run(work, [](int) {});
    ASSERT_TRUE(real.run_until("it to begin", [&] { return begun > 0; }));
  }
  EXPECT_EQ(begun, ended);
}

}  // namespace
}  // namespace outrigger::net
