// ClientPool: keep-alive connections to one endpoint on one loop, one request at a time on each.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "bridge/base/clock.h"
#include "bridge/base/intrusive_list.h"
#include "bridge/base/result.h"
#include "bridge/http1/message.h"
#include "bridge/net/endpoint.h"
#include "bridge/net/event_loop.h"
#include "bridge/net/pending.h"
#include "bridge/net/timer.h"
#include "bridge/net/transport.h"

namespace outrigger::http1 {

struct ClientRequest {
  std::string method;
  std::string target;
  // Complete, Host included. Content-Length and the fields of the connection are written from the body and the pool;
  // Expect is left out, since the body is here already.
  base::HeaderList headers;
  std::string body;
  // It may be sent a second time if the connection turns out to be dead: safe or idempotent methods.
  bool repeatable = false;
};

struct ClientFailure {
  // refused = no connection, certainly nothing was sent; deadline; malformed = not an HTTP response; too_large = the
  // response passes a limit; closed = the connection ended first, or the pool was closed; invalid = the request has a
  // part that may not be sent.
  base::Error error;
  bool request_was_sent = false;  // in part or whole: the service may have acted on it
  bool response_started = false;  // on_response_head was called
};

// Called from the loop, never from inside ClientPool::request. Exactly one of on_response_end and on_failed comes,
// last, unless the ClientCall is destroyed before. The handler may destroy the ClientCall or the pool in any of them.
class ClientHandler {
 public:
  // `end`: on_response_end follows at once, there is no body.
  virtual void on_response_head(ResponseHead head, bool end) = 0;
  // Valid for this call only.
  virtual void on_response_body(std::string_view bytes) = 0;
  virtual void on_response_end() = 0;
  virtual void on_failed(const ClientFailure& failure) = 0;

 protected:
  ~ClientHandler() = default;
};

class ClientOperation;
class ClientSession;

// A request under way. Destroying it cancels: no more calls, and a connection that is busy with it is closed.
class [[nodiscard]] ClientCall {
 public:
  ClientCall();
  explicit ClientCall(std::unique_ptr<ClientOperation> operation);
  ClientCall(ClientCall&&) noexcept;
  ClientCall& operator=(ClientCall&&) noexcept;
  ~ClientCall();
  void cancel();
  explicit operator bool() const { return operation_ != nullptr; }
  // A count. While paused no on_response_body comes and reading stops; the deadline goes on.
  void pause_body();
  void resume_body();

 private:
  std::unique_ptr<ClientOperation> operation_;
};

struct ClientPoolOptions {
  MessageLimits limits;
  std::size_t max_connections = 256;  // above it requests wait their turn
  // All below are bounded by each request's deadline, too. They fail it with Code::deadline, or Code::refused for the
  // connection.
  base::Duration connect_timeout = base::limits::kConnectTimeout;
  base::Duration head_timeout{};                               // from its start to the response's head; 0: the deadline
  base::Duration body_timeout = base::limits::kBodyTimeout;    // without any byte of the response's body
  base::Duration write_timeout = base::limits::kWriteTimeout;  // without any byte of the request taken (up to twice this)
  // Node.js closes after 5 s, others later: we let go first, so that a request rarely meets a closing connection. A
  // `Keep-Alive: timeout=N` of the service is believed instead, less one second.
  base::Duration idle_lifetime = base::limits::kServiceIdleTimeout;
};

// What became of a pool's connections, since its start. For metrics and tests.
struct ClientPoolCounters {
  std::uint64_t connected = 0;
  std::uint64_t refused = 0;          // attempts to connect that failed, those in time included
  std::uint64_t retried = 0;          // requests sent again, since a kept connection was dead
  std::uint64_t timed_out_head = 0;
  std::uint64_t timed_out_body = 0;
  std::uint64_t timed_out_write = 0;
};

class ClientPool final {
 public:
  ClientPool(net::EventLoop& loop, net::Endpoint to, ClientPoolOptions options = {});
  // Calls in work hear nothing more.
  ~ClientPool();
  ClientPool(const ClientPool&) = delete;
  ClientPool& operator=(const ClientPool&) = delete;

  // Sends the request on an idle connection, a new one, or the first that becomes free (in order of request). A reused
  // connection that ends before any byte of the response costs a repeatable request one retry on a new connection; any
  // other fails with request_was_sent. `handler` outlives the call.
  ClientCall request(ClientRequest request, base::TimePoint deadline, ClientHandler& handler);

  // Idle connections close, requests in work finish, new ones fail with closed.
  void begin_drain();
  // Everything ends; calls in work fail with closed, in a later turn.
  void close();

  const net::Endpoint& endpoint() const { return to_; }
  std::size_t connection_count() const { return sessions_.size(); }
  std::size_t idle_count() const { return idle_.size(); }
  std::size_t waiting_count() const { return waiting_count_; }
  const ClientPoolCounters& counters() const { return counters_; }

 private:
  friend class ClientOperation;
  friend class ClientSession;
  struct Connecting;

  void wait(ClientOperation& operation, bool goes_first);
  void stop_waiting(ClientOperation& operation);
  ClientOperation* take_waiting();
  void dispatch();
  void connect();
  void on_connected(Connecting& attempt, base::Result<std::unique_ptr<net::Transport>> result);
  void on_session_free(ClientSession& session);
  void on_session_closed(ClientSession& session);
  // The operation's connection died before it was answered at all.
  void retry(ClientOperation& operation);
  void close_idle();

  net::EventLoop& loop_;
  net::Endpoint to_;
  ClientPoolOptions options_;
  ClientPoolCounters counters_;
  bool is_closed_ = false;  // draining or closed: no new requests
  std::vector<std::unique_ptr<ClientSession>> sessions_;
  std::vector<ClientSession*> idle_;  // the last used is the first reused: the others may grow old and go
  std::vector<std::unique_ptr<Connecting>> connecting_;
  struct Queues;
  std::unique_ptr<Queues> queues_;
  std::size_t waiting_count_ = 0;
};

}  // namespace outrigger::http1
