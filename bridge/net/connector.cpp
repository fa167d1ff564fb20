#include "bridge/net/connector.h"

#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <optional>
#include <system_error>
#include <thread>
#include <vector>

namespace outrigger::net {
namespace {

using base::Code;
using base::Error;

void set_option(int fd, int level, int name, int value) { ::setsockopt(fd, level, name, &value, sizeof value); }

void tune_tcp(int fd) {
  set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
  set_option(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
  set_option(fd, IPPROTO_TCP, TCP_KEEPIDLE, 30);
  set_option(fd, IPPROTO_TCP, TCP_KEEPINTVL, 10);
  set_option(fd, IPPROTO_TCP, TCP_KEEPCNT, 6);
  set_option(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, 30000);
}

// Every address of the name, in the order of getaddrinfo(3).
base::Result<std::vector<SocketAddress>> resolve_blocking(const Endpoint& to) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  const int problem = ::getaddrinfo(to.host.c_str(), std::to_string(to.port).c_str(), &hints, &found);
  if (problem != 0) return Error{Code::not_found, "cannot resolve " + to.host + ": " + gai_strerror(problem)};
  std::vector<SocketAddress> addresses;
  for (const addrinfo* at = found; at != nullptr; at = at->ai_next) {
    SocketAddress address;
    std::memcpy(&address.storage, at->ai_addr, at->ai_addrlen);
    address.size = at->ai_addrlen;
    addresses.push_back(address);
  }
  ::freeaddrinfo(found);
  return addresses;
}

class Connect final : public PendingOperation {
 public:
  Connect(EventLoop& loop, const Endpoint& to, base::TimePoint deadline, ConnectDone done)
      : loop_(loop), to_(to), done_(std::move(done)), deadline_timer_(loop, [this] {
          finish(Error{Code::deadline, "no connection to " + to_string(to_) + " in time"});
        }) {
    deadline_timer_.arm_at(deadline);
    auto address = numeric_address(to_);
    if (address) {
      addresses_.push_back(*address);
      start_next({});
    } else if (address.error().code == Code::not_found) {
      resolve();
    } else {
      finish_later(address.error());
    }
  }
  ~Connect() override {
    write_event_.disable();
    if (fd_ >= 0) ::close(fd_);
    *alive_ = false;
  }

 private:
  void resolve() {
    // The thread knows nothing of this object: the answer comes home through the mailbox and finds it gone or not.
    try {
      std::thread([to = to_, mailbox = loop_.mailbox(), alive = alive_, this] {
        auto found = std::make_unique<base::Result<std::vector<SocketAddress>>>(resolve_blocking(to));
        mailbox->post([alive, this, found = std::move(found)] {
          if (!*alive) return;
          if (!*found) return finish(found->error());
          addresses_ = std::move(**found);
          start_next({Code::not_found, to_.host + " has no address"});
        });
      }).detach();
    } catch (const std::system_error& error) {
      finish_later({Code::overloaded, std::string("cannot start a resolver: ") + error.what()});
    }
  }

  // The next address of the name; without one it ended with what was wrong with the last.
  void start_next(Error last) {
    write_event_.disable();
    if (fd_ >= 0) ::close(std::exchange(fd_, -1));
    if (next_ == addresses_.size()) return finish_later(std::move(last));
    start(addresses_[next_++]);
  }

  void start(const SocketAddress& address) {
    fd_ = ::socket(address.family(), SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd_ < 0) return finish_later({Code::overloaded, std::string("socket: ") + std::strerror(errno)});
    if (address.family() != AF_UNIX) tune_tcp(fd_);
    if (::connect(fd_, address.get(), address.size) == 0) {
      return loop_.defer([this, alive = alive_] {
        if (*alive) on_connected();
      });
    }
    // EAGAIN: a unix socket whose backlog is full; to the caller that is a refusal.
    if (errno != EINPROGRESS) return start_next(failure(errno));
    write_event_.assign(
        loop_.base(), fd_, EV_WRITE, [](int, short, void* self) { static_cast<Connect*>(self)->on_writable(); }, this);
    write_event_.enable();
  }

  void on_writable() {
    int problem = 0;
    socklen_t size = sizeof problem;
    ::getsockopt(fd_, SOL_SOCKET, SO_ERROR, &problem, &size);
    if (problem != 0) return start_next(failure(problem));
    on_connected();
  }

  void on_connected() {
    write_event_.disable();
    finish(make_socket_transport(loop_, std::exchange(fd_, -1)));
  }

  Error failure(int number) const {
    return {number == ETIMEDOUT ? Code::deadline : Code::refused, to_string(to_) + ": " + std::strerror(number)};
  }

  void finish_later(Error error) {
    loop_.defer([this, alive = alive_, error = std::move(error)] {
      if (*alive) finish(error);
    });
  }

  // The completion usually destroys this object: nothing is touched after it.
  void finish(base::Result<std::unique_ptr<Transport>> result) {
    write_event_.disable();
    deadline_timer_.cancel();
    ConnectDone done = std::move(done_);
    if (done) done(std::move(result));
  }

  EventLoop& loop_;
  Endpoint to_;
  ConnectDone done_;
  Timer deadline_timer_;
  FdEvent write_event_;
  int fd_ = -1;
  std::vector<SocketAddress> addresses_;
  std::size_t next_ = 0;
  // Only this loop's thread reads or writes the flag; the resolver's thread merely carries it.
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace

Pending connect(EventLoop& loop, const Endpoint& to, base::TimePoint deadline, ConnectDone done) {
  CHECK_ON_LOOP(loop);
  return Pending(std::make_unique<Connect>(loop, to, deadline, std::move(done)));
}

}  // namespace outrigger::net
