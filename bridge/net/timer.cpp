#include "bridge/net/timer.h"

#include "bridge/base/check.h"
#include "bridge/net/event_loop.h"

namespace outrigger::net {

TimerQueue::~TimerQueue() { DCHECK(heap_.empty()); }

base::TimePoint TimerQueue::next_deadline() const {
  return heap_.empty() ? base::TimePoint::max() : heap_.front()->key_;
}

void TimerQueue::place(std::size_t index, Timer* timer) {
  heap_[index] = timer;
  timer->index_ = index;
}

void TimerQueue::sift_up(std::size_t index) {
  Timer* timer = heap_[index];
  while (index > 0) {
    const std::size_t parent = (index - 1) / 2;
    if (heap_[parent]->key_ <= timer->key_) break;
    place(index, heap_[parent]);
    index = parent;
  }
  place(index, timer);
}

void TimerQueue::sift_down(std::size_t index) {
  Timer* timer = heap_[index];
  for (;;) {
    std::size_t child = 2 * index + 1;
    if (child >= heap_.size()) break;
    if (child + 1 < heap_.size() && heap_[child + 1]->key_ < heap_[child]->key_) ++child;
    if (timer->key_ <= heap_[child]->key_) break;
    place(index, heap_[child]);
    index = child;
  }
  place(index, timer);
}

void TimerQueue::insert(Timer& timer) {
  heap_.push_back(&timer);
  timer.index_ = heap_.size() - 1;
  sift_up(timer.index_);
}

void TimerQueue::erase(Timer& timer) {
  const std::size_t index = timer.index_;
  timer.index_ = Timer::kNone;
  Timer* last = heap_.back();
  heap_.pop_back();
  if (last == &timer) return;
  place(index, last);
  sift_up(index);
  sift_down(last->index_);
}

void TimerQueue::run_due(base::TimePoint now) {
  // Bounded by what was armed at the start: a callback that re-arms itself with "at once" cannot keep us here.
  for (std::size_t budget = heap_.size(); budget > 0 && !heap_.empty(); --budget) {
    Timer& timer = *heap_.front();
    if (timer.key_ > now) return;
    if (timer.wanted_ > now) {  // it was moved to a later time: only now is its place corrected
      timer.key_ = timer.wanted_;
      sift_down(0);
      continue;
    }
    erase(timer);
    // The callback may destroy the timer and with it the callable: it runs from the stack and goes home if it can.
    base::UniqueFunction<void()> call = std::move(timer.on_due_);
    running_ = &timer;
    call();
    if (running_ == &timer) timer.on_due_ = std::move(call);
    running_ = nullptr;
  }
}

Timer::Timer(EventLoop& loop, base::UniqueFunction<void()> on_due)
    : loop_(&loop), queue_(&loop.timers()), on_due_(std::move(on_due)) {}
Timer::Timer(TimerQueue& queue, base::UniqueFunction<void()> on_due)
    : loop_(nullptr), queue_(&queue), on_due_(std::move(on_due)) {}

Timer::~Timer() {
  cancel();
  if (queue_->running_ == this) queue_->running_ = nullptr;
}

void Timer::arm_at(base::TimePoint at) {
  wanted_ = at;
  if (is_armed()) {
    if (at >= key_) return;
    key_ = at;
    queue_->sift_up(index_);
    return;
  }
  key_ = at;
  queue_->insert(*this);
}

void Timer::arm(base::Duration in) {
  CHECK(loop_ != nullptr);
  arm_at(loop_->now() + in);
}

void Timer::cancel() {
  if (is_armed()) queue_->erase(*this);
}

}  // namespace outrigger::net
