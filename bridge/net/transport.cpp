#include "bridge/net/transport.h"

#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>

namespace outrigger::net {
namespace {

class SocketTransport final : public Transport {
 public:
  SocketTransport(EventLoop& loop, int fd) : loop_(loop), fd_(fd) {}
  ~SocketTransport() override { close(); }

  void start(TransportListener& listener) override {
    read_event_.assign(
        loop_.base(), fd_, EV_READ, [](int, short, void* l) { static_cast<TransportListener*>(l)->on_readable(); },
        &listener);
    write_event_.assign(
        loop_.base(), fd_, EV_WRITE, [](int, short, void* l) { static_cast<TransportListener*>(l)->on_writable(); },
        &listener);
  }
  void watch_readable(bool wanted) override { watch(read_event_, wanted); }
  void watch_writable(bool wanted) override { watch(write_event_, wanted); }

  IoResult read(char* to, std::size_t room) override {
    const ssize_t n = ::read(fd_, to, room);
    if (n > 0) return {IoResult::Kind::bytes, static_cast<std::size_t>(n)};
    if (n == 0) return {IoResult::Kind::end};
    return failure();
  }
  IoResult write(Buffer& from) override {
    const std::ptrdiff_t n = from.write_to(fd_);
    if (n >= 0) return {IoResult::Kind::bytes, static_cast<std::size_t>(n)};
    return failure();
  }
  void shutdown_write() override {
    if (fd_ >= 0) ::shutdown(fd_, SHUT_WR);
  }
  void close() override {
    read_event_.disable();
    write_event_.disable();
    if (fd_ >= 0) ::close(fd_);
    fd_ = -1;
  }
  void reset() override {
    const linger now{1, 0};
    if (fd_ >= 0) ::setsockopt(fd_, SOL_SOCKET, SO_LINGER, &now, sizeof now);
    close();
  }

 private:
  static void watch(FdEvent& event, bool wanted) {
    if (wanted) {
      event.enable();
    } else {
      event.disable();
    }
  }
  static IoResult failure() {
    if (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR) return {IoResult::Kind::would_block};
    return {IoResult::Kind::error, 0, errno};
  }

  EventLoop& loop_;
  int fd_;
  FdEvent read_event_;
  FdEvent write_event_;
};

}  // namespace

std::unique_ptr<Transport> make_socket_transport(EventLoop& loop, int fd) {
  return std::make_unique<SocketTransport>(loop, fd);
}

}  // namespace outrigger::net
