// EventLoop: one per thread. Owns the libevent base, the timers, the deferred work and the graveyard, and defines what
// "later" means: at the end of this turn (the next one, if asked for during the drain), with no project frame on the
// stack. Everything but mailbox() is for the loop's own thread.
#pragma once

#include <memory>
#include <thread>
#include <vector>

#include "bridge/base/clock.h"
#include "bridge/base/intrusive_list.h"
#include "bridge/base/unique_function.h"
#include "bridge/net/libevent_ptr.h"
#include "bridge/net/mailbox.h"
#include "bridge/net/timer.h"

#define CHECK_ON_LOOP(loop) DCHECK((loop).is_on_loop())

namespace outrigger::net {

// Something with gathered output: asked once per turn to write it.
class Flushable {
 public:
  virtual ~Flushable() = default;
  virtual void flush() = 0;

 private:
  friend class EventLoop;
  base::ListHook flush_hook_;
};

class EventLoop {
 public:
  // The clock outlives the loop. The loop belongs to the thread that makes it until adopt_thread(). Ends the process if
  // the kernel refuses an epoll descriptor. Sets SIGPIPE to be ignored: a closed peer is an error code here.
  explicit EventLoop(base::Clock& clock);
  EventLoop(const EventLoop&) = delete;
  EventLoop& operator=(const EventLoop&) = delete;
  // Everything deferred is dropped, everything released is destroyed.
  ~EventLoop();

  // Turns until stop(). A stop before run() is honoured.
  void run();
  void stop() { is_stopped_ = true; }
  bool is_stopped() const { return is_stopped_; }
  enum class Wait { yes, no };
  // One turn: due timers, sockets, mailbox, deferred work, flushes, deletions. Wait::no does not block for sockets.
  void run_turn(Wait wait = Wait::yes);

  // This turn's time: read once before the timers and once after the wait, when somebody asks.
  base::TimePoint now() {
    if (is_now_stale_) refresh_now();
    return now_;
  }
  base::Clock& clock() { return clock_; }
  TimerQueue& timers() { return timers_; }
  event_base* base() { return base_.get(); }

  // Runs `task` at the end of this turn, after sockets and mailbox.
  void defer(base::UniqueFunction<void()> task) {
    CHECK_ON_LOOP(*this);
    deferred_.push_back(std::move(task));
  }
  // Destroys `object` at the end of this turn, in the order of release. The object's close has happened already.
  template <class T>
  void release(std::unique_ptr<T> object) {
    CHECK_ON_LOOP(*this);
    if (object != nullptr) {
      graveyard_.push_back({object.release(), [](void* p) { delete static_cast<T*>(p); }});
    }
  }
  // `writer` is flushed once at the end of this turn. Harmless if already asked for.
  void flush_later(Flushable& writer) {
    if (!writer.flush_hook_.is_linked()) flushes_.push_back(writer);
  }
  // Likewise, at the end of the next turn: sockets and timers have theirs before.
  void flush_next_turn(Flushable& writer) {
    if (!writer.flush_hook_.is_linked()) next_flushes_.push_back(writer);
  }
  // For other threads: see Mailbox.
  const std::shared_ptr<Mailbox>& mailbox() const { return mailbox_; }

  bool is_on_loop() const { return std::this_thread::get_id() == thread_; }
  // The calling thread becomes the owner: a worker's loop may be made by the thread that starts it.
  void adopt_thread() { thread_ = std::this_thread::get_id(); }

 private:
  struct Buried {
    void* object;
    void (*destroy)(void*);
  };
  void refresh_now() {
    now_ = clock_.monotonic();
    is_now_stale_ = false;
  }
  void bury();
  void run_mailbox();
  void arm_wait();

  base::Clock& clock_;
  EventBasePtr base_;
  std::thread::id thread_ = std::this_thread::get_id();
  base::TimePoint now_;
  bool is_now_stale_ = false;  // the loop has waited since it was read
  TimerQueue timers_;
  std::shared_ptr<Mailbox> mailbox_ = std::make_shared<Mailbox>();
  FdEvent mailbox_event_;
  bool mailbox_is_due_ = false;
  event wait_event_{};  // bounds the wait for sockets by the next timer
  base::TimePoint wait_armed_for_ = base::TimePoint::max();
  std::vector<base::UniqueFunction<void()>> deferred_;
  std::vector<base::UniqueFunction<void()>> deferred_spare_;
  base::IntrusiveList<Flushable, &Flushable::flush_hook_> flushes_;
  base::IntrusiveList<Flushable, &Flushable::flush_hook_> next_flushes_;
  std::vector<Buried> graveyard_;
  bool is_stopped_ = false;
};

}  // namespace outrigger::net
