#include "bridge/net/helper_thread.h"

namespace outrigger::net {

HelperThread::~HelperThread() {
  {
    const std::lock_guard lock(mutex_);
    is_stopping_ = true;
  }
  has_work_.notify_one();
  if (thread_.joinable()) thread_.join();
}

void HelperThread::add(base::UniqueFunction<void()> task) {
  CHECK_ON_LOOP(loop_);
  {
    const std::lock_guard lock(mutex_);
    waiting_.push_back(std::move(task));
  }
  // A process that may not have a second thread cannot do its work at all: the exception ends it.
  if (!thread_.joinable()) thread_ = std::thread([this] { work_through(); });
  has_work_.notify_one();
}

void HelperThread::work_through() {
  for (;;) {
    base::UniqueFunction<void()> task;
    {
      std::unique_lock lock(mutex_);
      has_work_.wait(lock, [this] { return is_stopping_ || !waiting_.empty(); });
      if (is_stopping_) return;
      task = std::move(waiting_.front());
      waiting_.pop_front();
    }
    task();
  }
}

}  // namespace outrigger::net
