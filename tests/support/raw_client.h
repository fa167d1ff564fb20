// A blocking client that sends exact bytes and reads what comes, with a deadline for everything. Its reader of HTTP
// answers is its own: what is under test must not check itself. For use beside a server in another process or thread.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "bridge/net/endpoint.h"
#include "tests/support/child_process.h"

namespace outrigger::tests {

struct RawResponse {
  std::string problem;  // why there is no whole answer; empty if there is one
  std::string status_line;
  int status = 0;
  std::vector<std::pair<std::string, std::string>> headers;  // names as sent
  std::string body;                                          // without its framing
  std::vector<std::pair<std::string, std::string>> trailers;
  bool is_chunked = false;

  // The values of all fields of this name (in any case), joined with ", ".
  std::string header(std::string_view name) const;
  bool has_header(std::string_view name) const;
};

class RawClient {
 public:
  // Connects, within `patience`, which holds for every later call, too; see problem().
  explicit RawClient(const net::Endpoint& to, base::Duration patience = kPatience);
  explicit RawClient(std::uint16_t port) : RawClient(net::Endpoint::tcp("127.0.0.1", port)) {}
  ~RawClient();
  RawClient(RawClient&& other) noexcept : fd_(std::exchange(other.fd_, -1)), patience_(other.patience_) {}
  RawClient& operator=(RawClient&&) = delete;

  // What went wrong in the last call: "", "deadline", "closed", or the kernel's words.
  const std::string& problem() const { return problem_; }

  // For later calls.
  void set_patience(base::Duration patience) { patience_ = patience; }
  // False if not all could be written.
  bool send(std::string_view bytes);
  // Each piece by a write of its own, when the peer has read the one before (the last one is not waited for). A peer on
  // this machine, by TCP over IPv4 or a unix socket.
  bool send(const std::vector<std::string_view>& pieces);
  // Cuts `bytes` into pieces of `piece_bytes`.
  bool send_in_pieces(std::string_view bytes, std::size_t piece_bytes);
  // End-of-stream; reading goes on.
  void shutdown_write();
  // A reset instead of an orderly end.
  void reset();
  void close();

  // These return what came before the deadline or the peer's close; problem() tells whether it is all.
  std::string read(std::size_t count);
  std::string read_until(std::string_view end);  // up to and including `end`
  std::string read_to_close();
  // True if the peer has closed or reset within `patience` and nothing more came.
  bool is_closed_by_peer();
  // One answer, 1xx included. `is_to_head`: to a HEAD request, it has no body whatever its fields say.
  RawResponse read_response(bool is_to_head = false);

 private:
  // More bytes into received_; false with problem_ set.
  bool fill(base::TimePoint by);
  std::string take(std::size_t count);
  std::string read_line();  // without its CRLF
  base::TimePoint deadline() const { return base::system_clock().monotonic() + patience_; }

  int fd_ = -1;
  base::Duration patience_;
  std::string problem_;
  std::string received_;
};

}  // namespace outrigger::tests
