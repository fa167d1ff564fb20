// Listener: accepts connections on one address for one loop.
#pragma once

#include <cstdint>
#include <memory>

#include "bridge/base/result.h"
#include "bridge/base/unique_function.h"
#include "bridge/net/endpoint.h"
#include "bridge/net/event_loop.h"
#include "bridge/net/transport.h"

namespace outrigger::net {

struct Accepted {
  std::unique_ptr<Transport> transport;
  SocketAddress peer;
};

struct ListenOptions {
  bool reuse_port = false;  // several loops share the address, each with a socket of its own (SO_REUSEPORT)
  int backlog = 1024;
  int unix_mode = 0600;     // permissions of a unix socket's file
};

class Listener {
 public:
  using OnAccepted = base::UniqueFunction<void(Accepted)>;

  // Opens and listens. `on_accepted` may be called many times per turn. A stale unix socket file (nobody answers) is
  // replaced; a live one is an error. Errors: refused (address in use, no permission), invalid (host is no address).
  static base::Result<std::unique_ptr<Listener>> open(EventLoop& loop, const Endpoint& at, const ListenOptions& options,
                                                      OnAccepted on_accepted);
  ~Listener();
  Listener(const Listener&) = delete;
  Listener& operator=(const Listener&) = delete;

  // The address it really has: port 0 was replaced by the kernel's choice.
  const Endpoint& endpoint() const { return endpoint_; }
  // Accepts no more. Connections already in the kernel's queue are refused by the closing socket. Idempotent.
  void close();
  // Leaves new connections in the kernel's queue, or takes them again.
  void pause();
  void resume();
  bool is_paused() const { return is_paused_; }
  // Asked when the process or the system has no file descriptor left for a connection: closes one, if it can spare one,
  // and says so. Otherwise accepting goes on a moment later.
  void set_on_exhausted(base::UniqueFunction<bool()> make_room) { make_room_ = std::move(make_room); }
  // How often accept(2) failed for want of a descriptor or memory.
  std::uint64_t exhausted_total() const { return exhausted_total_; }

 private:
  Listener(EventLoop& loop, int fd, Endpoint at, OnAccepted on_accepted);
  void on_readable();

  EventLoop& loop_;
  int fd_;
  Endpoint endpoint_;
  OnAccepted on_accepted_;
  base::UniqueFunction<bool()> make_room_;
  FdEvent event_;
  Timer retry_timer_;
  bool is_paused_ = false;
  base::TimePoint complained_at_;
  std::uint64_t exhausted_total_ = 0;
};

}  // namespace outrigger::net
