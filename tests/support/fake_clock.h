// A clock that only tests move, and a loop on it.
#pragma once

#include "bridge/base/clock.h"
#include "bridge/net/event_loop.h"

namespace outrigger::tests {

class FakeClock final : public base::Clock {
 public:
  base::TimePoint monotonic() const override { return now_; }
  base::WallMillis wall() const override {
    return base::WallMillis(1'700'000'000'000) + std::chrono::duration_cast<base::WallMillis>(now_.time_since_epoch());
  }
  void set(base::TimePoint now) { now_ = now; }
  void move(base::Duration by) { now_ += by; }

 private:
  base::TimePoint now_{std::chrono::hours(1)};
};

class FakeLoop {
 public:
  FakeClock clock;
  net::EventLoop loop{clock};

  // Turns until nothing is left to do at this instant.
  void settle(int turns = 20) {
    for (int i = 0; i < turns; ++i) loop.run_turn(net::EventLoop::Wait::no);
  }
  // Moves time on, stopping at every timer on the way, so that they run in order and at their own time.
  void advance(base::Duration by) {
    const base::TimePoint end = clock.monotonic() + by;
    settle();
    while (loop.timers().next_deadline() <= end) {
      if (loop.timers().next_deadline() > clock.monotonic()) clock.set(loop.timers().next_deadline());
      settle();
    }
    clock.set(end);
    settle();
  }
};

}  // namespace outrigger::tests
