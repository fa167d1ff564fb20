#include "bridge/net/listener.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "bridge/base/log.h"

namespace outrigger::net {
namespace {

using base::Code;
using base::Error;

constexpr base::Duration kComplainEvery = std::chrono::minutes(1);
constexpr int kAcceptsPerTurn = 64;  // a burst of connections yields to the open ones

Error failure(const Endpoint& at, const char* what) {
  return {Code::refused, std::string("cannot ") + what + " " + to_string(at) + ": " + std::strerror(errno)};
}

// What is at the path of a unix socket that is to be opened.
enum class AtPath : std::uint8_t { nothing, stale_socket, live_socket, something_else };
AtPath look_at(const std::string& path, const SocketAddress& address) {
  struct stat found {};
  if (::lstat(path.c_str(), &found) != 0) return AtPath::nothing;
  if (!S_ISSOCK(found.st_mode)) return AtPath::something_else;
  const int probe = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const bool is_refused = ::connect(probe, address.get(), address.size) != 0 && errno == ECONNREFUSED;
  ::close(probe);
  return is_refused ? AtPath::stale_socket : AtPath::live_socket;
}

}  // namespace

base::Result<std::unique_ptr<Listener>> Listener::open(EventLoop& loop, const Endpoint& at,
                                                       const ListenOptions& options, OnAccepted on_accepted) {
  Endpoint numeric = at;
  if (numeric.host == "localhost") numeric.host = "127.0.0.1";
  auto address = numeric_address(numeric);
  if (!address) {
    return Error{Code::invalid, "cannot listen on " + to_string(at) + ": give a numeric address or a unix path"};
  }
  const int fd = ::socket(address->family(), SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) return failure(at, "open a socket for");
  const int on = 1;
  if (at.is_unix()) {
    const AtPath found = look_at(at.unix_path, *address);
    if (found == AtPath::stale_socket) ::unlink(at.unix_path.c_str());
    if (found == AtPath::live_socket || found == AtPath::something_else) {
      ::close(fd);
      return Error{Code::refused, "cannot listen on " + to_string(at) + ": " +
                                      (found == AtPath::live_socket
                                           ? "another process has it; end that one, or choose another path"
                                           : "the file is there already and is no socket; choose another path")};
    }
    // Before bind, so that the socket never has other permissions.
    ::fchmod(fd, static_cast<mode_t>(options.unix_mode));
  } else {
    ::setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (options.reuse_port) ::setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on);
    if (address->family() == AF_INET6) {
      const int off = 0;  // [::] serves IPv4, too
      ::setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
    }
    ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);  // inherited by accepted sockets
  }
  if (::bind(fd, address->get(), address->size) != 0 || ::listen(fd, options.backlog) != 0) {
    auto error = failure(at, "listen on");
    ::close(fd);
    return error;
  }
  if (at.is_unix()) {
    ::chmod(at.unix_path.c_str(), static_cast<mode_t>(options.unix_mode));
  } else {
    SocketAddress bound;
    bound.size = sizeof bound.storage;
    ::getsockname(fd, reinterpret_cast<sockaddr*>(&bound.storage), &bound.size);
    numeric.port = port_of(bound);
  }
  return std::unique_ptr<Listener>(new Listener(loop, fd, numeric, std::move(on_accepted)));
}

Listener::Listener(EventLoop& loop, int fd, Endpoint at, OnAccepted on_accepted)
    : loop_(loop), fd_(fd), endpoint_(std::move(at)), on_accepted_(std::move(on_accepted)), retry_timer_(loop, [this] {
        if (fd_ >= 0 && !is_paused_) event_.enable();
      }) {
  event_.assign(
      loop_.base(), fd_, EV_READ, [](int, short, void* self) { static_cast<Listener*>(self)->on_readable(); }, this);
  event_.enable();
}

Listener::~Listener() { close(); }

void Listener::close() {
  if (fd_ < 0) return;
  event_.disable();
  ::close(std::exchange(fd_, -1));
  if (endpoint_.is_unix()) ::unlink(endpoint_.unix_path.c_str());
}

void Listener::pause() {
  is_paused_ = true;
  event_.disable();
}

void Listener::resume() {
  is_paused_ = false;
  if (fd_ >= 0) event_.enable();
}

void Listener::on_readable() {
  for (int i = 0; i < kAcceptsPerTurn && fd_ >= 0 && !is_paused_; ++i) {
    Accepted accepted;
    accepted.peer.size = sizeof accepted.peer.storage;
    const int fd = ::accept4(fd_, reinterpret_cast<sockaddr*>(&accepted.peer.storage), &accepted.peer.size,
                             SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd >= 0) {
      accepted.transport = make_socket_transport(loop_, fd);
      on_accepted_(std::move(accepted));
      continue;
    }
    if (errno == EAGAIN || errno == EWOULDBLOCK) return;
    if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
      // The descriptor is asked for first, whether or not there is a connection for it.
      pollfd waiting{fd_, POLLIN, 0};
      if (::poll(&waiting, 1, 0) == 0) return;
      // Not ten times a second for as long as it lasts.
      if (exhausted_total_++ == 0 || loop_.now() - complained_at_ >= kComplainEvery) {
        complained_at_ = loop_.now();
        base::log_warn("cannot accept: raise the limit of open files or lower Limits:MaxConnections",
                       {{"listener", to_string(endpoint_)}, {"why", std::strerror(errno)}});
      }
      if (make_room_ && make_room_()) continue;
      // The connection stays in the kernel's queue; asking again at once would spin.
      event_.disable();
      retry_timer_.arm(std::chrono::milliseconds(100));
      return;
    }
    // ECONNABORTED and the network errors of accept(2): that connection is gone, the next may be fine.
  }
}

}  // namespace outrigger::net
