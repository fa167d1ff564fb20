// The parts of ClientPool: one request under way (ClientOperation) and one connection (ClientSession). Not for others.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "bridge/http1/client_pool.h"
#include "bridge/http1/parser.h"
#include "bridge/net/connection.h"

namespace outrigger::http1 {

// Owned by the ClientCall. Waits in the pool, or is in work on a session, or is only about to report its failure.
class ClientOperation final {
 public:
  ClientOperation(net::EventLoop& loop, ClientPool& pool, ClientRequest request, ClientHandler& handler);
  ~ClientOperation();

  // Reports at once and is over. The handler may destroy this object: nothing is touched after it.
  void fail(base::Error error, bool request_was_sent, bool response_started);
  // Reports in a later turn.
  void fail_later(base::Error error, bool request_was_sent = false, bool response_started = false);
  void on_due();

  ClientPool* pool;  // null when the pool is gone
  ClientSession* session = nullptr;
  ClientRequest request;
  ClientHandler& handler;
  base::ListHook hook;
  bool is_waiting = false;
  bool was_retried = false;
  bool is_over = false;
  bool response_started = false;
  unsigned body_pauses = 0;
  std::unique_ptr<ClientFailure> failure;  // to be reported when due
  net::Timer deadline_timer;
};

class ClientSession final : private net::ConnectionHandler, private net::Flushable {
 public:
  ClientSession(net::EventLoop& loop, ClientPool& pool, std::unique_ptr<net::Transport> transport,
                const ClientPoolOptions& options);
  ~ClientSession() override;

  // REQUIRES free. Writes the request; the rest is reported to its handler.
  void start(ClientOperation& operation);
  // The operation is given up: the connection, which may still carry its answer, closes.
  void abandon();
  void resume() { loop_.flush_later(*this); }
  void close();
  bool is_closed() const { return connection_.is_closed(); }
  bool is_free() const { return operation_ == nullptr; }

 private:
  friend class ClientPool;
  void on_data(std::string_view bytes) override;
  void on_end() override;
  void on_closed(const base::Error& why) override;
  void flush() override;

  void process(std::string_view& input);
  void keep(std::string_view rest);
  void on_head();
  void on_response_end();
  void fail(base::Error error);
  void end_by_peer(const base::Error& why);
  void on_due();
  void on_stalled(std::uint64_t& counter, const char* what);
  void arm();

  net::EventLoop& loop_;
  ClientPool* pool_;  // null once closed
  const ClientPoolOptions& options_;
  ResponseParser parser_;
  ClientOperation* operation_ = nullptr;
  bool is_reused_ = false;      // the request in work is not its first
  bool has_received_ = false;   // any byte of the response in work
  bool can_be_reused_ = false;  // after the response in work
  bool has_paused_reading_ = false;
  base::Duration idle_lifetime_;
  std::string kept_;
  base::TimePoint started_at_;
  base::TimePoint moved_at_;    // when bytes of the response came, or the request was last seen to go
  std::size_t unsent_at_look_ = 0;
  net::Timer timer_;            // free: the end of its life. Busy: when to look whether the service still moves
  net::Connection connection_;  // last: starts reading when made
};

}  // namespace outrigger::http1
