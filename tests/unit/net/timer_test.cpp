#include "bridge/net/timer.h"

#include <map>
#include <random>

#include "tests/support/fake_clock.h"

namespace outrigger::net {
namespace {

using tests::FakeLoop;
using namespace std::chrono_literals;

TEST(Timer, runs_in_order_of_deadline) {
  FakeLoop fake;
  std::vector<int> order;
  Timer late(fake.loop, [&] { order.push_back(2); });
  Timer early(fake.loop, [&] { order.push_back(1); });
  late.arm(2s);
  early.arm(1s);

  fake.advance(3s);

  EXPECT_EQ(order, (std::vector<int>{1, 2}));
}

TEST(Timer, moved_to_a_later_time_runs_once_and_then) {
  FakeLoop fake;
  int runs = 0;
  Timer timer(fake.loop, [&] { ++runs; });
  timer.arm(1s);
  timer.arm(5s);

  fake.advance(4s);
  EXPECT_EQ(runs, 0);
  fake.advance(1s);
  EXPECT_EQ(runs, 1);
}

TEST(Timer, may_destroy_itself_in_its_callback) {
  FakeLoop fake;
  auto owned = std::make_shared<int>(0);
  std::unique_ptr<Timer> timer;
  timer = std::make_unique<Timer>(fake.loop, [&timer, owned] {
    timer.reset();
    ++*owned;  // the callable lives until it returns
  });
  timer->arm(1s);

  fake.advance(1s);

  EXPECT_EQ(*owned, 1);
  EXPECT_EQ(owned.use_count(), 1);
}

TEST(Timer, rearmed_with_no_delay_waits_for_the_next_turn) {
  FakeLoop fake;
  int runs = 0;
  Timer timer(fake.loop, [&] { ++runs; });
  Timer* self = &timer;
  Timer again(fake.loop, [&] {
    ++runs;
    self->arm(0s);
  });
  again.arm(0s);

  fake.loop.run_turn(EventLoop::Wait::no);
  EXPECT_EQ(runs, 1);
  fake.loop.run_turn(EventLoop::Wait::no);
  EXPECT_EQ(runs, 2);
}

TEST(TimerQueue, agrees_with_a_sorted_map) {
  const unsigned seed = std::random_device{}();
  SCOPED_TRACE(::testing::Message() << "seed " << seed);
  std::mt19937 random(seed);
  TimerQueue queue;
  std::vector<std::unique_ptr<Timer>> timers;
  std::map<int, base::TimePoint> expected;
  std::vector<int> fired;
  for (int i = 0; i < 200; ++i) {
    timers.push_back(std::make_unique<Timer>(queue, [&fired, i] { fired.push_back(i); }));
  }
  base::TimePoint now{};
  for (int step = 0; step < 5000; ++step) {
    const int index = static_cast<int>(random() % timers.size());
    switch (random() % 4) {
      case 0:
        timers[static_cast<std::size_t>(index)]->cancel();
        expected.erase(index);
        break;
      case 1:
      case 2: {
        const base::TimePoint at = now + std::chrono::milliseconds(random() % 1000);
        timers[static_cast<std::size_t>(index)]->arm_at(at);
        expected[index] = at;
        break;
      }
      default: {
        now += std::chrono::milliseconds(random() % 50);
        fired.clear();
        while (queue.next_deadline() <= now) queue.run_due(now);
        for (const int i : fired) {
          ASSERT_TRUE(expected.contains(i));
          ASSERT_LE(expected[i], now);
          expected.erase(i);
        }
        for (const auto& [i, at] : expected) ASSERT_GT(at, now) << i;
      }
    }
  }
  for (auto& timer : timers) timer->cancel();
}

}  // namespace
}  // namespace outrigger::net
