#include "bridge/app/process.h"

#include <sys/resource.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <csignal>
#include <cstdint>

#include "bridge/base/check.h"

namespace outrigger::app {

SignalWatcher::SignalWatcher(net::EventLoop& loop, base::UniqueFunction<void()> on_drain,
                             base::UniqueFunction<void()> on_stop)
    : on_drain_(std::move(on_drain)), on_stop_(std::move(on_stop)) {
  sigset_t watched;
  sigemptyset(&watched);
  sigaddset(&watched, SIGTERM);
  sigaddset(&watched, SIGINT);
  CHECK(pthread_sigmask(SIG_BLOCK, &watched, nullptr) == 0);
  fd_ = signalfd(-1, &watched, SFD_NONBLOCK | SFD_CLOEXEC);
  CHECK(fd_ >= 0);
  event_.assign(
      loop.base(), fd_, EV_READ, [](int, short, void* self) { static_cast<SignalWatcher*>(self)->on_readable(); }, this);
  event_.enable();
}

SignalWatcher::~SignalWatcher() {
  event_.disable();
  ::close(fd_);
}

void SignalWatcher::on_readable() {
  signalfd_siginfo info{};
  while (::read(fd_, &info, sizeof info) == static_cast<ssize_t>(sizeof info)) {
    if (!std::exchange(is_draining_, true)) {
      on_drain_();
    } else {
      on_stop_();
    }
  }
}

void raise_file_limit() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
  }
}

std::size_t open_file_limit() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY) return SIZE_MAX;
  return limit.rlim_cur;
}

net::Endpoint to_endpoint(const ListenAddress& address) {
  return address.is_unix() ? net::Endpoint::unix_socket(address.unix_path)
                           : net::Endpoint::tcp(address.host, address.port);
}

}  // namespace outrigger::app
