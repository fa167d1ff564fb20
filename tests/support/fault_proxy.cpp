#include "tests/support/fault_proxy.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <utility>
#include <vector>

#include "bridge/base/check.h"

namespace outrigger::tests {
namespace {

constexpr std::size_t kMostBuffered = 1024 * 1024;  // of one connection and way; above, the sender waits
constexpr std::array kWays = {FaultProxy::Way::to_server, FaultProxy::Way::to_client};

void disable_delay(int fd) {
  const int on = 1;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);  // fails on unix sockets, which need none
}

// A socket lives on after close() for as long as poll() waits for it in the proxy's thread, or a child of the test has not
// reached its exec yet. So it is ended before it is closed: what a switch asks for has happened when it returns.
void close_listener(int& fd) {
  if (fd < 0) return;
  shutdown(fd, SHUT_RDWR);
  close(std::exchange(fd, -1));
}

void close_connection(int& fd, bool by_reset) {
  if (fd < 0) return;
  // "connect" to nowhere resets TCP; unix sockets know no reset, and refuse.
  const sockaddr nowhere{AF_UNSPEC, {}};
  if (!by_reset || connect(fd, &nowhere, sizeof nowhere) != 0) shutdown(fd, SHUT_RDWR);
  close(std::exchange(fd, -1));
}

}  // namespace

FaultProxy::FaultProxy(net::Endpoint server, std::string unix_path)
    : server_(std::move(server)),
      endpoint_(unix_path.empty() ? net::Endpoint::tcp("127.0.0.1", port_.emplace().port())
                                  : net::Endpoint::unix_socket(unix_path)),
      wake_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
  CHECK(wake_ >= 0);
  open();
  thread_ = std::thread([this] { run(); });
}

FaultProxy::~FaultProxy() {
  {
    const std::lock_guard lock(mutex_);
    is_stopping_ = true;
    wake();
  }
  thread_.join();
  for (Connection& connection : connections_) end(connection, true);
  close_listener(listening_);
  close(wake_);
  if (endpoint_.is_unix()) unlink(endpoint_.unix_path.c_str());
}

std::string FaultProxy::valkey_url() const {
  return endpoint_.is_unix() ? "unix://" + endpoint_.unix_path : "valkey://127.0.0.1:" + std::to_string(endpoint_.port);
}

void FaultProxy::open() {
  auto address = net::numeric_address(endpoint_);
  CHECK(address.has_value());
  listening_ = socket(address->family(), SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  CHECK(listening_ >= 0);
  if (endpoint_.is_unix()) {
    unlink(endpoint_.unix_path.c_str());
  } else {
    const int on = 1;
    setsockopt(listening_, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  }
  CHECK(bind(listening_, address->get(), address->size) == 0);
  CHECK(listen(listening_, 64) == 0);
}

void FaultProxy::wake() {
  const std::uint64_t one = 1;
  (void)!write(wake_, &one, sizeof one);
}

void FaultProxy::set_refusing(bool is_refusing) {
  const std::lock_guard lock(mutex_);
  if (is_refusing == (listening_ < 0)) return;
  if (is_refusing) {
    close_listener(listening_);
  } else {
    open();
  }
  wake();
}

void FaultProxy::set_hanging(bool is_hanging) {
  const std::lock_guard lock(mutex_);
  is_hanging_ = is_hanging;
}

void FaultProxy::set_delay(base::Duration delay) {
  const std::lock_guard lock(mutex_);
  delay_ = delay;
}

void FaultProxy::set_stalled(Way way, bool is_stalled) {
  const std::lock_guard lock(mutex_);
  is_stalled_[index(way)] = is_stalled;
  wake();
}

void FaultProxy::swallow(Way way) {
  const std::lock_guard lock(mutex_);
  for (Connection& connection : connections_) {
    Pipe& pipe = connection.pipes[index(way)];
    pipe.is_swallowed = true;
    pipe.chunks.clear();
    pipe.buffered = 0;
  }
  wake();
}

void FaultProxy::cut_after(Way way, std::uint64_t count) {
  const std::lock_guard lock(mutex_);
  allowance_[index(way)] = count;
}

void FaultProxy::stall_at(Way way, std::string text) {
  const std::lock_guard lock(mutex_);
  caught_text_[index(way)] = std::move(text);
  has_caught_ = false;
}

bool FaultProxy::is_caught() const {
  const std::lock_guard lock(mutex_);
  return has_caught_;
}

void FaultProxy::release() {
  const std::lock_guard lock(mutex_);
  for (std::string& text : caught_text_) text.clear();
  for (Connection& connection : connections_) {
    for (Pipe& pipe : connection.pipes) pipe.is_caught = false;
  }
  wake();
}

void FaultProxy::reset_all() {
  const std::lock_guard lock(mutex_);
  for (Connection& connection : connections_) end(connection, true);
  wake();
}

std::size_t FaultProxy::accepted() const {
  const std::lock_guard lock(mutex_);
  return accepted_;
}

std::size_t FaultProxy::connections() const {
  const std::lock_guard lock(mutex_);
  return static_cast<std::size_t>(
      std::count_if(connections_.begin(), connections_.end(), [](const Connection& each) { return !each.is_over; }));
}

std::uint64_t FaultProxy::passed(Way way) const {
  const std::lock_guard lock(mutex_);
  return passed_[index(way)];
}

int FaultProxy::source(const Connection& connection, Way way) {
  return way == Way::to_server ? connection.client : connection.server;
}
int FaultProxy::sink(const Connection& connection, Way way) {
  return way == Way::to_server ? connection.server : connection.client;
}

// Holds the mutex whenever it does not wait: a switch is never turned in the middle of anything.
void FaultProxy::run() {
  std::unique_lock lock(mutex_);
  while (!is_stopping_) {
    connections_.remove_if([](const Connection& connection) { return connection.is_over; });
    std::vector<pollfd> waiting{{wake_, POLLIN, 0}, {listening_, POLLIN, 0}};
    base::TimePoint now = base::system_clock().monotonic();
    base::Duration patience = std::chrono::hours(1);
    for (Connection& connection : connections_) {
      short events[2] = {0, 0};  // of the client, of the server
      for (const Way way : kWays) {
        Pipe& pipe = connection.pipes[index(way)];
        if (!pipe.has_ended && pipe.buffered < kMostBuffered) events[way == Way::to_server ? 0 : 1] |= POLLIN;
        if (pipe.chunks.empty() || !is_flowing(pipe, way)) continue;
        if (pipe.chunks.front().due <= now) {
          events[way == Way::to_server ? 1 : 0] |= POLLOUT;
        } else {
          patience = std::min<base::Duration>(patience, pipe.chunks.front().due - now);
        }
      }
      // Without events not even an end is asked for: poll would report it again and again.
      waiting.push_back({events[0] != 0 ? connection.client : -1, events[0], 0});
      waiting.push_back({events[1] != 0 ? connection.server : -1, events[1], 0});
    }
    lock.unlock();
    poll(waiting.data(), waiting.size(), static_cast<int>(std::chrono::ceil<std::chrono::milliseconds>(patience).count()));
    lock.lock();
    std::uint64_t ignored = 0;
    (void)!read(wake_, &ignored, sizeof ignored);
    now = base::system_clock().monotonic();
    // By position: only this thread adds and removes connections, and none was since.
    std::size_t at = 2;
    for (Connection& connection : connections_) {
      const bool is_readable[2] = {(waiting[at].revents & ~POLLOUT) != 0, (waiting[at + 1].revents & ~POLLOUT) != 0};
      at += 2;
      for (const Way way : kWays) {
        if (!connection.is_over && is_readable[way == Way::to_server ? 0 : 1]) read_from(connection, way);
      }
      for (const Way way : kWays) {
        if (!connection.is_over) write_to(connection, way, now);
      }
      if (!connection.is_over && connection.pipes[0].end_is_told && connection.pipes[1].end_is_told) {
        end(connection, false);
      }
    }
    if (listening_ >= 0 && waiting[1].revents != 0) accept_one();
  }
}

void FaultProxy::accept_one() {
  const int client = accept4(listening_, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
  if (client < 0) return;
  ++accepted_;
  disable_delay(client);
  Connection& connection = connections_.emplace_back();
  connection.client = client;
  if (is_hanging_) {
    for (Pipe& pipe : connection.pipes) pipe.is_swallowed = true;
    connection.pipes[index(Way::to_client)].has_ended = true;
    return;
  }
  // On this machine a connect succeeds or fails at once.
  const auto address = net::numeric_address(server_);
  CHECK(address.has_value());
  connection.server = socket(address->family(), SOCK_STREAM | SOCK_CLOEXEC, 0);
  CHECK(connection.server >= 0);
  if (connect(connection.server, address->get(), address->size) != 0) return end(connection, true);
  disable_delay(connection.server);
}

void FaultProxy::read_from(Connection& connection, Way way) {
  Pipe& pipe = connection.pipes[index(way)];
  if (pipe.has_ended) return;
  char bytes[64 * 1024];
  const ssize_t count = recv(source(connection, way), bytes, sizeof bytes, MSG_DONTWAIT);
  if (count < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR)) return;
  if (count <= 0) {
    pipe.has_ended = true;
    // A reset is told as one, unless it is lost or waits like everything else.
    if (count < 0 && !pipe.is_swallowed && is_flowing(pipe, way)) end(connection, true);
    return;
  }
  if (pipe.is_swallowed) return;
  std::string_view text(bytes, static_cast<std::size_t>(count));
  std::string& wanted = caught_text_[index(way)];
  const base::TimePoint due = base::system_clock().monotonic() + delay_;
  const auto add = [&](std::string_view part) {
    if (part.empty()) return;
    pipe.chunks.push_back({due, std::string(part)});
    pipe.buffered += part.size();
  };
  if (const std::size_t found = wanted.empty() ? std::string_view::npos : text.find(wanted);
      found != std::string_view::npos) {
    // What comes before it goes at once, or it would wait with it.
    add(text.substr(0, found));
    write_to(connection, way, due);
    text.remove_prefix(found);
    wanted.clear();
    pipe.is_caught = has_caught_ = true;
  }
  if (!connection.is_over) add(text);
}

void FaultProxy::write_to(Connection& connection, Way way, base::TimePoint now) {
  Pipe& pipe = connection.pipes[index(way)];
  const int to = sink(connection, way);
  if (!is_flowing(pipe, way) || pipe.is_swallowed) return;
  while (!pipe.chunks.empty() && pipe.chunks.front().due <= now) {
    std::string& bytes = pipe.chunks.front().bytes;
    std::uint64_t& allowance = allowance_[index(way)];
    const std::size_t most = static_cast<std::size_t>(std::min<std::uint64_t>(bytes.size(), allowance));
    const ssize_t count = most == 0 ? 0 : send(to, bytes.data(), most, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (count < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return;
    if (count < 0) {  // nobody reads there any more
      pipe.chunks.clear();
      pipe.buffered = 0;
      pipe.is_swallowed = true;
      pipe.has_ended = pipe.end_is_told = true;
      return;
    }
    passed_[index(way)] += static_cast<std::uint64_t>(count);
    pipe.buffered -= static_cast<std::size_t>(count);
    if (allowance != kUnlimited) allowance -= static_cast<std::uint64_t>(count);
    if (static_cast<std::size_t>(count) == bytes.size()) {
      pipe.chunks.pop_front();
      continue;
    }
    bytes.erase(0, static_cast<std::size_t>(count));
    if (allowance == 0) {
      allowance = kUnlimited;
      return end(connection, true);
    }
  }
  if (pipe.has_ended && pipe.chunks.empty() && !pipe.end_is_told) {
    pipe.end_is_told = true;
    shutdown(to, SHUT_WR);
  }
}

void FaultProxy::end(Connection& connection, bool by_reset) {
  close_connection(connection.client, by_reset);
  close_connection(connection.server, by_reset);
  connection.is_over = true;
}

}  // namespace outrigger::tests
