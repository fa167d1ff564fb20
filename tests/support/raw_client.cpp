#include "tests/support/raw_client.h"

#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <optional>
#include <thread>

#include "bridge/base/check.h"
#include "bridge/base/header_list.h"

namespace outrigger::tests {
namespace {

using base::equals_ignoring_case;

bool wait_until(int fd, short what, base::TimePoint by) {
  for (;;) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(by - base::system_clock().monotonic()).count();
    if (left <= 0) return false;
    pollfd waiting{fd, what, 0};
    if (poll(&waiting, 1, static_cast<int>(left)) > 0) return true;
  }
}

std::optional<std::size_t> number(std::string_view text, int base) {
  std::size_t value = 0;
  const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), value, base);
  if (failure != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return value;
}

// "0100007F:1F90" of an IPv4 address, as /proc/net/tcp writes it.
std::string proc_name_of(const sockaddr_in& address) {
  char text[16];
  std::snprintf(text, sizeof text, "%08X:%04X", address.sin_addr.s_addr, ntohs(address.sin_port));
  return text;
}

// Bytes that wait to be read at the other end of a connection on this machine; 0 if its socket is gone.
std::size_t unread_by_peer(int fd) {
  sockaddr_in own{};
  sockaddr_in peer{};
  socklen_t own_size = sizeof own;
  socklen_t peer_size = sizeof peer;
  if (getsockname(fd, reinterpret_cast<sockaddr*>(&own), &own_size) != 0 ||
      getpeername(fd, reinterpret_cast<sockaddr*>(&peer), &peer_size) != 0) {
    return 0;
  }
  // A unix socket counts as ours what its peer has not read. With TCP that is only what was not acknowledged.
  int unsent = 0;
  if (ioctl(fd, SIOCOUTQ, &unsent) == 0 && unsent != 0) return static_cast<std::size_t>(unsent);
  if (own.sin_family != AF_INET) return 0;
  const std::string sockets = proc_name_of(peer) + " " + proc_name_of(own) + " ";
  std::ifstream list("/proc/net/tcp");
  for (std::string line; std::getline(list, line);) {
    const std::size_t at = line.find(sockets);
    if (at == std::string::npos) continue;
    const std::size_t queues = line.find(':', at + sockets.size());  // "st tx_queue:rx_queue"
    return queues == std::string::npos ? 0 : number(std::string_view(line).substr(queues + 1, 8), 16).value_or(0);
  }
  return 0;
}

}  // namespace

std::string RawResponse::header(std::string_view name) const {
  std::string joined;
  for (const auto& [each, value] : headers) {
    if (equals_ignoring_case(each, name)) joined += (joined.empty() ? "" : ", ") + value;
  }
  return joined;
}

bool RawResponse::has_header(std::string_view name) const {
  for (const auto& field : headers) {
    if (equals_ignoring_case(field.first, name)) return true;
  }
  return false;
}

RawClient::RawClient(const net::Endpoint& to, base::Duration patience) : patience_(patience) {
  const auto address = net::numeric_address(to);
  if (!address) {
    problem_ = address.error().detail;
    return;
  }
  fd_ = socket(address->family(), SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  CHECK(fd_ >= 0);
  const int on = 1;
  if (!to.is_unix()) setsockopt(fd_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  int failure = connect(fd_, address->get(), address->size) == 0 ? 0 : errno;
  if (failure == EINPROGRESS) {
    if (!wait_until(fd_, POLLOUT, deadline())) {
      failure = ETIMEDOUT;
    } else {
      socklen_t size = sizeof failure;
      getsockopt(fd_, SOL_SOCKET, SO_ERROR, &failure, &size);
    }
  }
  if (failure == 0) return;
  problem_ = std::strerror(failure);
  close();
}

RawClient::~RawClient() {
  close();
}

bool RawClient::send(std::string_view bytes) {
  problem_.clear();
  const base::TimePoint by = deadline();
  while (!bytes.empty()) {
    const ssize_t count = ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (count >= 0) {
      bytes.remove_prefix(static_cast<std::size_t>(count));
    } else if (errno != EAGAIN && errno != EINTR) {
      problem_ = std::strerror(errno);
      return false;
    } else if (!wait_until(fd_, POLLOUT, by)) {
      problem_ = "deadline";
      return false;
    }
  }
  return true;
}

bool RawClient::send(const std::vector<std::string_view>& pieces) {
  for (std::size_t i = 0; i < pieces.size(); ++i) {
    if (!send(pieces[i])) return false;
    const base::TimePoint by = deadline();
    while (i + 1 < pieces.size() && unread_by_peer(fd_) > 0) {
      if (base::system_clock().monotonic() > by) {
        problem_ = "deadline";
        return false;
      }
      std::this_thread::yield();
    }
  }
  return true;
}

bool RawClient::send_in_pieces(std::string_view bytes, std::size_t piece_bytes) {
  std::vector<std::string_view> pieces;
  for (std::size_t at = 0; at < bytes.size(); at += piece_bytes) pieces.push_back(bytes.substr(at, piece_bytes));
  return send(pieces);
}

void RawClient::shutdown_write() {
  shutdown(fd_, SHUT_WR);
}

void RawClient::reset() {
  const linger at_once{1, 0};
  setsockopt(fd_, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
  close();
}

void RawClient::close() {
  if (fd_ >= 0) ::close(std::exchange(fd_, -1));
}

bool RawClient::fill(base::TimePoint by) {
  char bytes[64 * 1024];
  for (;;) {
    const ssize_t count = recv(fd_, bytes, sizeof bytes, 0);
    if (count > 0) {
      received_.append(bytes, static_cast<std::size_t>(count));
      return true;
    }
    if (count == 0) {
      problem_ = "closed";
    } else if (errno != EAGAIN && errno != EINTR) {
      problem_ = std::strerror(errno);
    } else if (wait_until(fd_, POLLIN, by)) {
      continue;
    } else {
      problem_ = "deadline";
    }
    return false;
  }
}

std::string RawClient::take(std::size_t count) {
  std::string taken = received_.substr(0, count);
  received_.erase(0, count);
  return taken;
}

std::string RawClient::read(std::size_t count) {
  problem_.clear();
  const base::TimePoint by = deadline();
  while (received_.size() < count && fill(by)) {
  }
  return take(count);
}

std::string RawClient::read_until(std::string_view end) {
  problem_.clear();
  const base::TimePoint by = deadline();
  for (std::size_t searched = 0;;) {
    const std::size_t at = received_.find(end, searched);
    if (at != std::string::npos) return take(at + end.size());
    searched = received_.size() < end.size() ? 0 : received_.size() - end.size() + 1;
    if (!fill(by)) return take(received_.size());
  }
}

std::string RawClient::read_to_close() {
  problem_.clear();
  const base::TimePoint by = deadline();
  while (fill(by)) {
  }
  if (problem_ == "closed") problem_.clear();
  return take(received_.size());
}

bool RawClient::is_closed_by_peer() {
  problem_.clear();
  return received_.empty() && !fill(deadline()) && problem_ != "deadline";
}

std::string RawClient::read_line() {
  std::string line = read_until("\r\n");
  if (problem_.empty()) line.resize(line.size() - 2);
  return line;
}

RawResponse RawClient::read_response(bool is_to_head) {
  RawResponse response;
  const auto fail = [&](std::string why) {
    response.problem = std::move(why);
    return response;
  };
  const auto read_fields = [&](std::vector<std::pair<std::string, std::string>>& fields) {
    for (;;) {
      const std::string line = read_line();
      if (!problem_.empty()) return false;
      if (line.empty()) return true;
      const std::size_t colon = line.find(':');
      if (colon == std::string::npos || colon == 0) {
        problem_ = "not a field: " + line;
        return false;
      }
      const std::size_t from = line.find_first_not_of(" \t", colon + 1);
      const std::size_t to = line.find_last_not_of(" \t");
      fields.emplace_back(line.substr(0, colon), from == std::string::npos ? "" : line.substr(from, to - from + 1));
    }
  };

  response.status_line = read_line();
  if (!problem_.empty()) return fail(problem_ + " instead of a status line");
  const std::string_view line = response.status_line;
  const auto status =
      line.size() >= 12 && line.starts_with("HTTP/1.") && line[8] == ' ' && (line.size() == 12 || line[12] == ' ')
          ? number(line.substr(9, 3), 10)
          : std::nullopt;
  if (!status) return fail("not a status line: " + response.status_line);
  response.status = static_cast<int>(*status);
  if (!read_fields(response.headers)) return fail(problem_ + " in the header");

  if (is_to_head || *status < 200 || *status == 204 || *status == 304) return response;
  const std::string encoding = response.header("transfer-encoding");
  if (!encoding.empty()) {
    if (!equals_ignoring_case(encoding, "chunked")) return fail("transfer-encoding " + encoding);
    if (response.has_header("content-length")) return fail("both transfer-encoding and content-length");
    response.is_chunked = true;
    for (;;) {
      const std::string chunk_line = read_line();
      const auto size = number(std::string_view(chunk_line).substr(0, chunk_line.find(';')), 16);
      if (!problem_.empty() || !size) return fail("chunk size '" + chunk_line + "' " + problem_);
      if (*size == 0) break;
      response.body += read(*size);
      if (!problem_.empty()) return fail(problem_ + " in a chunk");
      if (read(2) != "\r\n") return fail("a chunk does not end with CRLF");
    }
    if (!read_fields(response.trailers)) return fail(problem_ + " in the trailer");
    return response;
  }
  if (response.has_header("content-length")) {
    const auto length = number(response.header("content-length"), 10);
    if (!length) return fail("content-length " + response.header("content-length"));
    response.body = read(*length);
    if (!problem_.empty()) return fail(problem_ + " in the body");
    return response;
  }
  response.body = read_to_close();
  if (!problem_.empty()) return fail(problem_ + " in a body that ends with the connection");
  return response;
}

}  // namespace outrigger::tests
