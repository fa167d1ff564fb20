#include "bridge/net/event_loop.h"

#include <csignal>
#include <cstdio>
#include <cstdlib>

namespace outrigger::net {
namespace {

EventBasePtr make_base() {
  static const bool once [[maybe_unused]] = [] {
    std::signal(SIGPIPE, SIG_IGN);
    return true;
  }();
  std::unique_ptr<event_config, decltype(&event_config_free)> config(event_config_new(), &event_config_free);
  // No locks: a base belongs to one thread, and there is no lock to half-hide a mistake.
  event_config_set_flag(config.get(), EVENT_BASE_FLAG_NOLOCK);
  EventBasePtr base(event_base_new_with_config(config.get()));
  if (base == nullptr) {
    std::fprintf(stderr, "cannot create an event base: out of file descriptors or memory\n");
    std::exit(1);
  }
  return base;
}

}  // namespace

EventLoop::EventLoop(base::Clock& clock) : clock_(clock), base_(make_base()), now_(clock.monotonic()) {
  // The mailbox is emptied in its place in the turn, not in this callback: the event only ends the wait.
  mailbox_event_.assign(
      base_.get(), mailbox_->wake_fd(), EV_READ,
      [](int, short, void* loop) { static_cast<EventLoop*>(loop)->mailbox_is_due_ = true; }, this);
  mailbox_event_.enable();
  CHECK(event_assign(&wait_event_, base_.get(), -1, 0, [](int, short, void*) {}, nullptr) == 0);
}

EventLoop::~EventLoop() {
  mailbox_->close();
  event_del(&wait_event_);
  mailbox_event_.disable();
  // Destructors may defer or bury more; nothing deferred runs any more.
  while (!deferred_.empty() || !graveyard_.empty()) {
    std::exchange(deferred_, {}).clear();
    bury();
  }
}

void EventLoop::run() {
  while (!is_stopped_) run_turn();
}

void EventLoop::arm_wait() {
  const base::TimePoint next = timers_.next_deadline();
  if (next == wait_armed_for_) return;
  wait_armed_for_ = next;
  if (next == base::TimePoint::max()) {
    event_del(&wait_event_);
    return;
  }
  const auto micros = std::chrono::ceil<std::chrono::microseconds>(std::max(next - now_, base::Duration(0))).count();
  const timeval wait{static_cast<time_t>(micros / 1000000), static_cast<suseconds_t>(micros % 1000000)};
  event_add(&wait_event_, &wait);
}

void EventLoop::run_turn(Wait wait) {
  CHECK_ON_LOOP(*this);
  refresh_now();
  while (Flushable* writer = next_flushes_.front()) {
    writer->flush_hook_.unlink();
    flushes_.push_back(*writer);
  }
  timers_.run_due(now_);
  // Work asked for by a timer or left by the last drain must not wait for a socket.
  const bool may_block = wait == Wait::yes && !is_stopped_ && deferred_.empty() && graveyard_.empty() &&
                         flushes_.empty() && timers_.next_deadline() > now_;
  if (may_block) arm_wait();
  is_now_stale_ = true;
  // EVLOOP_NONBLOCK alone goes on for as long as anything is ready, and the mailbox is ready until it is emptied below.
  event_base_loop(base_.get(), may_block ? EVLOOP_ONCE : EVLOOP_ONCE | EVLOOP_NONBLOCK);
  // It may have run out in any turn, and a little early by the kernel's coarse clock.
  if (!event_pending(&wait_event_, EV_TIMEOUT, nullptr)) wait_armed_for_ = base::TimePoint::max();
  if (std::exchange(mailbox_is_due_, false)) run_mailbox();

  std::swap(deferred_, deferred_spare_);
  for (auto& task : deferred_spare_) {
    task();
    task = nullptr;  // what it captured dies before the next one runs
  }
  deferred_spare_.clear();

  while (Flushable* writer = flushes_.front()) {
    writer->flush_hook_.unlink();
    writer->flush();
  }
  bury();
}

void EventLoop::run_mailbox() {
  for (auto& task : mailbox_->take()) {
    task();
    task = nullptr;
  }
}

void EventLoop::bury() {
  // Double-buffered: a destructor may release more, which waits for the next turn.
  const std::vector<Buried> due = std::exchange(graveyard_, {});
  for (const Buried& buried : due) buried.destroy(buried.object);
}

}  // namespace outrigger::net
