#include "bridge/net/mailbox.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include <cstdint>

#include "bridge/base/check.h"

namespace outrigger::net {

Mailbox::Mailbox() : wake_fd_(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)) { CHECK(wake_fd_ >= 0); }

Mailbox::~Mailbox() { ::close(wake_fd_); }

void Mailbox::post(base::UniqueFunction<void()> task) {
  bool was_empty = false;
  {
    const std::lock_guard lock(mutex_);
    if (is_closed_) return;
    was_empty = tasks_.empty();
    tasks_.push_back(std::move(task));
  }
  if (was_empty) {
    const std::uint64_t one = 1;
    // Cannot fail but by overflow of the counter, and then the descriptor is readable anyway.
    [[maybe_unused]] const ssize_t written = ::write(wake_fd_, &one, sizeof one);
  }
}

std::vector<base::UniqueFunction<void()>> Mailbox::take() {
  std::uint64_t count = 0;
  [[maybe_unused]] const ssize_t n = ::read(wake_fd_, &count, sizeof count);
  const std::lock_guard lock(mutex_);
  return std::exchange(tasks_, {});
}

void Mailbox::close() {
  std::vector<base::UniqueFunction<void()>> dropped;
  const std::lock_guard lock(mutex_);
  is_closed_ = true;
  dropped = std::exchange(tasks_, {});
}

}  // namespace outrigger::net
