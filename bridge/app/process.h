// What every program does around its loop: signals as events, a second signal as an order, worker threads.
#pragma once

#include <cstddef>
#include <thread>

#include "bridge/app/listen_address.h"
#include "bridge/base/unique_function.h"
#include "bridge/net/endpoint.h"
#include "bridge/net/event_loop.h"

namespace outrigger::app {

// SIGTERM and SIGINT as calls on a loop. Make it before any thread starts: it blocks the signals in the calling thread,
// and threads inherit that. The first signal calls `on_drain`, the second `on_stop`.
class SignalWatcher {
 public:
  SignalWatcher(net::EventLoop& loop, base::UniqueFunction<void()> on_drain, base::UniqueFunction<void()> on_stop);
  ~SignalWatcher();
  SignalWatcher(const SignalWatcher&) = delete;
  SignalWatcher& operator=(const SignalWatcher&) = delete;

 private:
  void on_readable();

  int fd_;
  net::FdEvent event_;
  base::UniqueFunction<void()> on_drain_;
  base::UniqueFunction<void()> on_stop_;
  bool is_draining_ = false;
};

// Raises the soft limit of open files to the hard one: a proxy's connections are files.
void raise_file_limit();
// How many files the process may have open now.
std::size_t open_file_limit();

net::Endpoint to_endpoint(const ListenAddress& address);

}  // namespace outrigger::app
