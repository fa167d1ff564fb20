// ServerSession: one client connection that serves requests one after another (keep-alive, pipelining). It parses ahead
// of the exchange in work only by a bounded number of raw bytes, and keeps reading so far that a client that leaves is
// seen.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "bridge/http1/exchange.h"
#include "bridge/http1/message.h"
#include "bridge/http1/parser.h"
#include "bridge/net/connection.h"
#include "bridge/net/event_loop.h"
#include "bridge/net/timer.h"

namespace outrigger::http1 {

struct ServerOptions {
  MessageLimits limits;
  // Times as nginx has them (client_header_timeout, keepalive_timeout, client_body_timeout, send_timeout): long enough
  // for bad networks, short enough that a silent peer does not hold a slot for long.
  base::Duration head_timeout = std::chrono::seconds(60);   // from the first byte of a head to its end
  base::Duration idle_timeout = std::chrono::seconds(75);   // between requests, and before the first
  base::Duration body_timeout = std::chrono::seconds(60);   // without any byte of a body we wait for
  base::Duration write_timeout = std::chrono::seconds(60);  // without any byte taken by the client (up to twice this)
  // Bytes kept of pipelined requests, or of a body nobody has asked for yet, before reading stops.
  std::size_t look_ahead_bytes = 64 * 1024;
  // Of a body whose response was sent early: read and dropped up to this, so that the connection can be used again.
  std::size_t discard_bytes = 256 * 1024;
  // A client that shuts down its sending side while it waits counts as gone, as nginx and Envoy have it: a closed
  // browser tab looks just so, and the work for it can be cancelled.
  bool aborts_on_half_close = true;
};

// The policy above a server.
class RequestHandler {
 public:
  // A request head is complete: answer, or set a handler. Called from the loop.
  virtual void on_request(Exchange& exchange) = 0;
  // The protocol refuses a request. `request` is what was understood of it, or null. `head.status` is set; the callee
  // may add fields and change the body (text/plain naming the status by default). The connection closes after it.
  virtual void on_bad_request(ParseProblem problem, const RequestHead* request, ResponseHead& head, std::string& body);

 protected:
  ~RequestHandler() = default;
};

class SessionHandler : public RequestHandler {
 public:
  // Terminal, once, however the session ended, also from inside close(): the owner unlinks it and gives it to
  // EventLoop::release().
  virtual void on_session_closed(ServerSession& session) = 0;

 protected:
  ~SessionHandler() = default;
};

class ServerSession final : private net::ConnectionHandler, private net::Flushable {
 public:
  // `options` and `handler` outlive the session. `peer_address` without port.
  ServerSession(net::EventLoop& loop, std::unique_ptr<net::Transport> transport, std::string peer_address,
                const ServerOptions& options, SessionHandler& handler);
  ~ServerSession() override;
  ServerSession(const ServerSession&) = delete;
  ServerSession& operator=(const ServerSession&) = delete;

  // The request in work is finished and answered with Connection: close; without one the connection closes at once.
  void begin_drain();
  // Ends at once. The exchange in work is told.
  void close();
  // No request in work.
  bool is_idle() const { return phase_ == Phase::idle; }

 private:
  friend class Exchange;
  enum class Phase : std::uint8_t {
    idle,        // waits for the first byte of a head
    head,        // waits for the rest of a head
    exchange,    // a request is in work
    discarding,  // answered early: waits for the end of its body
    finishing,   // waits for the last bytes to be written, then closes
    closed,
  };

  // net::ConnectionHandler, net::Flushable
  void on_data(std::string_view bytes) override;
  void on_end() override;
  void on_closed(const base::Error& why) override;
  void on_write_pressure(bool is_above) override;
  void flush() override;

  void process(std::string_view& input);
  bool process_exchange(std::string_view& input);  // false: nothing to do for now
  void begin_exchange();
  void end_exchange();
  void keep(std::string_view rest);
  void process_kept();
  void wake();
  void refuse(ParseProblem problem);
  void abort_exchange(const base::Error& why);
  void become_idle();
  void close_idle();
  void finish();
  void end();
  void wait(Phase phase, base::Duration time);
  void on_read_timeout();
  void on_write_timeout();
  void write(std::string_view bytes);
  void write(std::string&& bytes);
  void note_write(std::size_t size);
  std::string_view http_date();

  // For Exchange.
  void accept_body(Exchange& exchange);
  bool send_head(Exchange& exchange, const ResponseHead& head, bool end, const std::string* whole_body);
  void send_body(Exchange& exchange, std::string bytes);
  void send_end(Exchange& exchange);
  void complete(Exchange& exchange);

  net::EventLoop& loop_;
  const ServerOptions& options_;
  SessionHandler& handler_;
  std::string peer_address_;
  RequestParser parser_;
  Phase phase_ = Phase::idle;
  bool is_processing_ = false;
  bool is_request_read_ = false;
  bool is_draining_ = false;
  bool keeps_alive_ = true;     // after the response in work
  bool owes_continue_ = false;  // the client may be waiting for a 100
  bool has_paused_reading_ = false;
  std::size_t discarded_ = 0;
  std::string kept_;  // input nobody may take yet
  std::unique_ptr<Exchange> exchange_;
  std::uint64_t queued_bytes_ = 0;
  std::uint64_t written_at_check_ = 0;
  // Both are armed lazily and ask, when due, whether they still mean something: a request costs them O(1).
  Phase waits_for_ = Phase::closed;
  net::Timer read_timer_;
  net::Timer write_timer_;
  net::Connection connection_;  // last: starts reading when made
};

}  // namespace outrigger::http1
