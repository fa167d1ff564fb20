#include "tests/support/scripted_service.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdlib>
#include <optional>

#include "bridge/base/check.h"
#include "bridge/base/header_list.h"

namespace outrigger::tests {
namespace {

using base::equals_ignoring_case;

std::string_view trimmed(std::string_view text) {
  const std::size_t from = text.find_first_not_of(" \t");
  if (from == std::string_view::npos) return {};
  return text.substr(from, text.find_last_not_of(" \t") - from + 1);
}

// Takes bytes off a socket until what is wanted is there.
class Reader {
 public:
  explicit Reader(int fd) : fd_(fd) {}

  // Nothing: the peer closed before a whole request had come.
  std::optional<RawRequest> read_request() {
    RawRequest request;
    if (!take_until("\r\n\r\n", request.head)) return std::nullopt;
    std::string_view rest = request.head;
    std::string_view line = take_line(rest);
    request.method = line.substr(0, line.find(' '));
    const std::size_t target = request.method.size() + 1;
    request.target = line.substr(std::min(target, line.size()), line.rfind(' ') - target);
    while (!(line = take_line(rest)).empty()) {
      const std::size_t colon = line.find(':');
      if (colon == std::string_view::npos) continue;
      request.fields.emplace_back(line.substr(0, colon), trimmed(line.substr(colon + 1)));
    }
    if (equals_ignoring_case(request.field("Transfer-Encoding"), "chunked")) {
      for (;;) {
        std::string size_line;
        if (!take_until("\r\n", size_line)) return std::nullopt;
        const std::size_t size = std::strtoull(size_line.c_str(), nullptr, 16);
        std::string chunk;
        if (!take(size + 2, chunk)) return std::nullopt;
        if (size == 0) break;
        request.body.append(chunk, 0, size);
      }
    } else if (!take(std::strtoull(request.field("Content-Length").c_str(), nullptr, 10), request.body)) {
      return std::nullopt;
    }
    return request;
  }

 private:
  static std::string_view take_line(std::string_view& rest) {
    const std::size_t end = rest.find("\r\n");
    const std::string_view line = rest.substr(0, end);
    rest.remove_prefix(end + 2);
    return line;
  }
  bool fill() {
    char bytes[64 * 1024];
    const ssize_t count = recv(fd_, bytes, sizeof bytes, 0);
    if (count > 0) received_.append(bytes, static_cast<std::size_t>(count));
    return count > 0;
  }
  bool take(std::size_t count, std::string& out) {
    while (received_.size() < count) {
      if (!fill()) return false;
    }
    out = received_.substr(0, count);
    received_.erase(0, count);
    return true;
  }
  bool take_until(std::string_view end, std::string& out) {
    for (std::size_t at; (at = received_.find(end)) == std::string::npos;) {
      if (!fill()) return false;
    }
    return take(received_.find(end) + end.size(), out);
  }

  int fd_;
  std::string received_;
};

}  // namespace

std::vector<std::string> values_of(const Fields& fields, std::string_view name) {
  std::vector<std::string> values;
  for (const auto& [each, value] : fields) {
    if (equals_ignoring_case(each, name)) values.push_back(value);
  }
  return values;
}

std::string RawRequest::field(std::string_view name) const {
  std::string joined;
  for (const std::string& value : values_of(fields, name)) joined += (joined.empty() ? "" : ", ") + value;
  return joined;
}

std::string make_response(std::string_view status_line, const Fields& fields, std::string_view body) {
  std::string text = "HTTP/1.1 " + std::string(status_line) + "\r\n";
  for (const auto& [name, value] : fields) text.append(name).append(": ").append(value).append("\r\n");
  return text.append("Content-Length: " + std::to_string(body.size()) + "\r\n\r\n").append(body);
}

void ScriptedService::Connection::send(std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t count = ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (count <= 0) {
      is_over_ = true;
      return;
    }
    bytes.remove_prefix(static_cast<std::size_t>(count));
  }
}

void ScriptedService::Connection::reset() {
  const linger at_once{1, 0};
  setsockopt(fd_, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
  is_over_ = true;
}

void ScriptedService::Connection::hold() {
  std::unique_lock lock(service_.mutex_);
  ++service_.held_;
  service_.released_.wait(lock, [this] { return service_.is_released_ || service_.is_stopping_; });
  --service_.held_;
}

ScriptedService::ScriptedService() : script_(echo) {
  open();
}

ScriptedService::~ScriptedService() {
  refuse();
}

void ScriptedService::open() {
  listening_ = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  CHECK(listening_ >= 0);
  const int on = 1;
  setsockopt(listening_, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(port());
  CHECK(bind(listening_, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0);
  CHECK(::listen(listening_, 256) == 0);
  acceptor_ = std::thread([this, listening = listening_] { accept_all(listening); });
}

void ScriptedService::listen() {
  is_stopping_ = false;  // no other thread is left
  open();
}

void ScriptedService::refuse() {
  if (listening_ < 0) return;
  shutdown(listening_, SHUT_RDWR);  // wakes accept
  acceptor_.join();
  ::close(std::exchange(listening_, -1));
  {
    const std::lock_guard lock(mutex_);
    is_stopping_ = true;
    for (const Peer& peer : peers_) shutdown(peer.fd, SHUT_RDWR);
  }
  released_.notify_all();
  for (Peer& peer : peers_) {  // only the acceptor adds and removes, and it has ended
    peer.thread.join();
    ::close(peer.fd);
  }
  peers_.clear();
}

void ScriptedService::accept_all(int listening) {
  for (;;) {
    const int fd = accept4(listening, nullptr, nullptr, SOCK_CLOEXEC);
    if (fd < 0) return;
    const int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    const std::lock_guard lock(mutex_);
    peers_.remove_if([](Peer& peer) {
      if (!peer.is_done) return false;
      peer.thread.join();
      ::close(peer.fd);
      return true;
    });
    Peer& peer = peers_.emplace_back();
    peer.fd = fd;
    peer.thread = std::thread([this, &peer] { serve(peer); });
  }
}

void ScriptedService::serve(Peer& peer) {
  Connection connection(*this, peer.fd);
  Reader reader(peer.fd);
  while (!connection.is_over_) {
    const auto request = reader.read_request();
    if (!request) break;
    answer(*request, connection);
  }
  // The peer must learn of the end now; the descriptor itself is closed by whoever joins this thread.
  linger lingering{};
  socklen_t size = sizeof lingering;
  getsockopt(peer.fd, SOL_SOCKET, SO_LINGER, &lingering, &size);
  if (lingering.l_onoff == 0) {
    shutdown(peer.fd, SHUT_RDWR);
  } else {
    const std::lock_guard lock(mutex_);
    ::close(std::exchange(peer.fd, -1));  // with what linger asks for: a reset
  }
  peer.is_done = true;
}

void ScriptedService::answer(const RawRequest& request, Connection& connection) {
  Script script;
  {
    const std::lock_guard lock(mutex_);
    if (request.field("User-Agent") == "outrigger-sidecar") {
      if (std::find(asked_for_.begin(), asked_for_.end(), request.target) == asked_for_.end()) {
        asked_for_.push_back(request.target);
      }
      const std::string bytes = document_.empty()
                                    ? make_response("404 Not Found", {}, "")
                                    : make_response("200 OK", {{"Content-Type", "application/json"}}, document_);
      return connection.send(bytes);
    }
    requests_.push_back(request);
    script = script_;
  }
  script(request, connection);
}

bool ScriptedService::was_asked_for(std::string_view target) const {
  const std::lock_guard lock(mutex_);
  return std::find(asked_for_.begin(), asked_for_.end(), target) != asked_for_.end();
}

void ScriptedService::echo(const RawRequest& request, Connection& connection) {
  const std::string body = request.method + " " + request.target + " " + request.body;
  const std::string response = make_response("200 OK", {{"Content-Type", "application/octet-stream"}}, body);
  const std::size_t unsent = request.method == "HEAD" ? body.size() : 0;
  connection.send(std::string_view(response).substr(0, response.size() - unsent));
}

void ScriptedService::set_script(Script script) {
  const std::lock_guard lock(mutex_);
  script_ = std::move(script);
}

void ScriptedService::always_send(std::string bytes) {
  set_script([bytes = std::move(bytes)](const RawRequest&, Connection& connection) { connection.send(bytes); });
}

void ScriptedService::set_document(std::string json) {
  const std::lock_guard lock(mutex_);
  document_ = std::move(json);
}

std::vector<RawRequest> ScriptedService::requests() const {
  const std::lock_guard lock(mutex_);
  return requests_;
}

std::size_t ScriptedService::request_count() const {
  const std::lock_guard lock(mutex_);
  return requests_.size();
}

RawRequest ScriptedService::last_request() const {
  const std::lock_guard lock(mutex_);
  CHECK(!requests_.empty());
  return requests_.back();
}

void ScriptedService::forget_requests() {
  const std::lock_guard lock(mutex_);
  requests_.clear();
}

std::size_t ScriptedService::held() const {
  const std::lock_guard lock(mutex_);
  return held_;
}

void ScriptedService::release() {
  {
    const std::lock_guard lock(mutex_);
    is_released_ = true;
  }
  released_.notify_all();
}

void ScriptedService::hold_again() {
  const std::lock_guard lock(mutex_);
  is_released_ = false;
}

}  // namespace outrigger::tests
