// Timers of one loop: a binary heap of nodes that live inside their owners. Arm, re-arm and cancel cost O(log n);
// re-arming to a later time costs O(1), which makes idle timeouts nearly free. Loop thread only.
#pragma once

#include <cstddef>
#include <limits>
#include <vector>

#include "bridge/base/clock.h"
#include "bridge/base/unique_function.h"

namespace outrigger::net {

class EventLoop;
class Timer;

// The heap. Part of EventLoop; separate so that its order can be tested against a sorted map.
class TimerQueue {
 public:
  TimerQueue() = default;
  TimerQueue(const TimerQueue&) = delete;
  TimerQueue& operator=(const TimerQueue&) = delete;
  // REQUIRES no armed timer.
  ~TimerQueue();

  bool empty() const { return heap_.empty(); }
  // The earliest time at which run_due() may have something to do; TimePoint::max() when empty.
  base::TimePoint next_deadline() const;
  // Calls every timer due at `now`, earliest first. A timer armed by a callback waits for the next call, even if due.
  void run_due(base::TimePoint now);

 private:
  friend class Timer;
  void insert(Timer& timer);
  void erase(Timer& timer);
  void sift_up(std::size_t index);
  void sift_down(std::size_t index);
  void place(std::size_t index, Timer* timer);

  std::vector<Timer*> heap_;
  Timer* running_ = nullptr;  // whose callback is on the stack; cleared when that timer dies in it
};

// One timer, owned by whoever waits. Destruction cancels. The callback may arm, cancel or destroy this timer.
class Timer {
 public:
  // `on_due` is kept for the timer's life and may capture the owner's `this`.
  Timer(EventLoop& loop, base::UniqueFunction<void()> on_due);
  Timer(TimerQueue& queue, base::UniqueFunction<void()> on_due);
  Timer(const Timer&) = delete;
  Timer& operator=(const Timer&) = delete;
  ~Timer();

  // Due at `at`, or `in` after the loop's now(); replaces an earlier deadline.
  void arm_at(base::TimePoint at);
  void arm(base::Duration in);
  void cancel();
  bool is_armed() const { return index_ != kNone; }
  // REQUIRES is_armed().
  base::TimePoint deadline() const { return wanted_; }

 private:
  friend class TimerQueue;
  static constexpr std::size_t kNone = std::numeric_limits<std::size_t>::max();

  EventLoop* loop_;
  TimerQueue* queue_;
  base::UniqueFunction<void()> on_due_;
  base::TimePoint key_{};     // place in the heap; never later than wanted_
  base::TimePoint wanted_{};  // when the owner wants to be called
  std::size_t index_ = kNone;
};

}  // namespace outrigger::net
