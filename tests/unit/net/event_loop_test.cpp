#include "bridge/net/event_loop.h"

#include <thread>

#include "tests/support/fake_clock.h"
#include "tests/support/real_loop.h"

namespace outrigger::net {
namespace {

using tests::FakeLoop;
using tests::RealLoop;

TEST(EventLoop, work_deferred_by_deferred_work_runs_in_the_next_turn) {
  FakeLoop fake;
  int runs = 0;
  fake.loop.defer([&] {
    ++runs;
    fake.loop.defer([&] { ++runs; });
  });

  fake.loop.run_turn(EventLoop::Wait::no);
  EXPECT_EQ(runs, 1);
  fake.loop.run_turn();  // does not block: work is waiting
  EXPECT_EQ(runs, 2);
}

struct Buried {
  std::vector<int>& order;
  int number;
  ~Buried() { order.push_back(number); }
};

TEST(EventLoop, released_objects_die_in_order_after_deferred_work) {
  FakeLoop fake;
  std::vector<int> order;
  fake.loop.release(std::make_unique<Buried>(Buried{order, 1}));
  order.clear();
  fake.loop.release(std::make_unique<Buried>(Buried{order, 2}));
  order.clear();
  fake.loop.defer([&] { order.push_back(0); });

  fake.loop.run_turn(EventLoop::Wait::no);

  EXPECT_EQ(order, (std::vector<int>{0, 1, 2}));
}

TEST(EventLoop, mailbox_wakes_a_blocked_loop) {
  RealLoop real;
  bool ran = false;
  std::thread other([mailbox = real.loop.mailbox(), &ran] { mailbox->post([&ran] { ran = true; }); });

  EXPECT_TRUE(real.run_until("the posted task", [&] { return ran; }));
  other.join();
}

TEST(EventLoop, posts_to_a_dead_loop_are_dropped) {
  std::shared_ptr<Mailbox> mailbox;
  {
    FakeLoop fake;
    mailbox = fake.loop.mailbox();
  }
  auto owned = std::make_shared<int>(1);
  mailbox->post([owned] {});
  EXPECT_EQ(owned.use_count(), 1);
}

}  // namespace
}  // namespace outrigger::net
