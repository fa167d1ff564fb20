// HelperThread: work that would hold up a loop for too long, such as reading a large document, one piece after the other
// in a thread beside it. The work knows nothing of the loop; its result comes home through the mailbox.
#pragma once

#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <thread>

#include "bridge/base/unique_function.h"
#include "bridge/net/event_loop.h"
#include "bridge/net/pending.h"

namespace outrigger::net {

class HelperThread {
 public:
  // The thread is started by the first piece of work.
  explicit HelperThread(EventLoop& loop) : loop_(loop) {}
  // Waits for what runs just now; what waits is dropped.
  ~HelperThread();
  HelperThread(const HelperThread&) = delete;
  HelperThread& operator=(const HelperThread&) = delete;

  // Loop thread. Runs `work` in the helper and then `done` with its result on the loop. Destroying the handle cancels
  // `done`; work that has begun goes on, and is waited for by what comes after it. Either outlives the other.
  template <class Work, class Done>
  Pending run(Work work, Done done) {
    auto alive = std::make_shared<bool>(true);  // of the loop's thread alone; the helper merely carries it
    add([work = std::move(work), done = std::move(done), alive, mailbox = loop_.mailbox()]() mutable {
      mailbox->post([done = std::move(done), alive = std::move(alive), result = work()]() mutable {
        if (*alive) done(std::move(result));
      });
    });
    return Pending(std::make_unique<Handle>(std::move(alive)));
  }

 private:
  struct Handle final : PendingOperation {
    explicit Handle(std::shared_ptr<bool> flag) : alive(std::move(flag)) {}
    ~Handle() override { *alive = false; }
    std::shared_ptr<bool> alive;
  };
  void add(base::UniqueFunction<void()> task);
  void work_through();

  EventLoop& loop_;
  std::mutex mutex_;  // guards the next three
  std::condition_variable has_work_;
  std::deque<base::UniqueFunction<void()>> waiting_;
  bool is_stopping_ = false;
  std::thread thread_;
};

}  // namespace outrigger::net
