// Mailbox: how another thread gives work to a loop. The only locked thing on the data path's threads. The sender holds a
// shared_ptr, so that a late answer (a resolver thread, a signal) may outlive the loop and is then dropped.
#pragma once

#include <memory>
#include <mutex>
#include <vector>

#include "bridge/base/unique_function.h"

namespace outrigger::net {

class Mailbox {
 public:
  Mailbox();
  ~Mailbox();
  Mailbox(const Mailbox&) = delete;
  Mailbox& operator=(const Mailbox&) = delete;

  // Any thread. Runs `task` in the loop's next turn; if the loop is closed the task is destroyed without running.
  void post(base::UniqueFunction<void()> task);

  // Loop thread. The descriptor that becomes readable when something was posted to an empty mailbox.
  int wake_fd() const { return wake_fd_; }
  // Loop thread. Swapped out under the lock, to be run outside it.
  std::vector<base::UniqueFunction<void()>> take();
  // Loop thread. Later posts are dropped.
  void close();

 private:
  std::mutex mutex_;
  std::vector<base::UniqueFunction<void()>> tasks_;
  bool is_closed_ = false;
  int wake_fd_;
};

}  // namespace outrigger::net
