#include "bridge/net/event_loop.h"

#include <unistd.h>

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

TEST(EventLoop, turn_that_may_not_block_ends_although_the_mailbox_is_full) {
  FakeLoop fake;
  int runs = 0;
  fake.loop.defer([&] { ++runs; });
  fake.loop.mailbox()->post([&] { ++runs; });

  fake.loop.run_turn();

  EXPECT_EQ(runs, 2);
}

TEST(EventLoop, time_asked_in_a_socket_callback_is_that_after_the_wait) {
  RealLoop real;
  const base::TimePoint before = real.loop.now();
  base::TimePoint seen = before;
  int pipe_ends[2];
  ASSERT_EQ(::pipe(pipe_ends), 0);
  FdEvent readable;
  struct Context {
    EventLoop& loop;
    base::TimePoint& seen;
  } context{real.loop, seen};
  readable.assign(
      real.loop.base(), pipe_ends[0], EV_READ,
      [](int, short, void* c) { static_cast<Context*>(c)->seen = static_cast<Context*>(c)->loop.now(); }, &context);
  readable.enable();
  base::TimePoint written;
  std::thread other([&] {
    // The other end speaks only once this clock has moved on.
    do {
      written = base::system_clock().monotonic();
    } while (written - before < std::chrono::milliseconds(5));
    ASSERT_EQ(::write(pipe_ends[1], "x", 1), 1);
  });
  EXPECT_TRUE(real.run_until("the byte", [&] {
    if (seen != before) readable.disable();
    return seen != before;
  }));
  other.join();
  EXPECT_GE(seen, written);
  ::close(pipe_ends[0]);
  ::close(pipe_ends[1]);
}

TEST(EventLoop, a_turn_that_may_not_block_ends_although_the_mailbox_is_full) {
  FakeLoop fake;
  bool ran = false;
  fake.loop.mailbox()->post([&] { ran = true; });

  fake.loop.run_turn(EventLoop::Wait::no);

  EXPECT_TRUE(ran);
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
