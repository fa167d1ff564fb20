// ServerSession: one client connection that serves requests one after another (keep-alive, pipelining). It parses ahead
// of the exchange in work only by a bounded number of raw bytes, and keeps reading so far that a client that leaves is
// seen.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "bridge/base/budget.h"
#include "bridge/base/intrusive_list.h"
#include "bridge/http1/exchange.h"
#include "bridge/http1/message.h"
#include "bridge/http1/pace.h"
#include "bridge/http1/parser.h"
#include "bridge/net/connection.h"
#include "bridge/net/event_loop.h"
#include "bridge/net/timer.h"

namespace outrigger::http1 {

struct ServerOptions {
  MessageLimits limits;
  // Long enough for bad networks, short enough that a silent peer does not hold a place for long (docs/http.md).
  base::Duration head_timeout = base::limits::kHeadTimeout;    // to the first byte of the first head; then to its end
  base::Duration idle_timeout = base::limits::kIdleTimeout;    // between requests
  base::Duration body_timeout = base::limits::kBodyTimeout;    // without any byte of a body we wait for
  base::Duration write_timeout = base::limits::kWriteTimeout;  // without any byte taken by the client
  // Bytes/s of a body that comes, or of an answer that is taken, on average over each of these times. 0: any.
  std::size_t min_rate = base::limits::kMinRate;
  // Counts what is kept for this client; while it is half used, slow clients get limits::kPressedTimeout. May be null.
  base::Budget* buffered = nullptr;
  // Bytes kept of pipelined requests, or of a body nobody has asked for yet, before reading stops.
  std::size_t look_ahead_bytes = 64 * 1024;
  // Of a body whose response was sent early: read and dropped up to this, so that the connection can be used again.
  std::size_t discard_bytes = 256 * 1024;
  // A client that shuts down its sending side while it waits counts as gone, as nginx and Envoy have it: a closed
  // browser tab looks just so, and the work for it can be cancelled.
  bool aborts_on_half_close = true;
};

// What became of a server's clients, since start. For metrics and tests.
struct HttpServerCounters {
  std::uint64_t accepted = 0;
  std::uint64_t requests = 0;         // heads handed to the handler
  std::uint64_t refused = 0;          // requests answered by the protocol itself, those below included
  std::uint64_t timed_out_head = 0;   // 408, or closed if not a byte had come
  std::uint64_t timed_out_body = 0;   // 408
  std::uint64_t timed_out_write = 0;  // closed: the client did not read
  std::uint64_t overloaded = 0;       // no memory for what it sent: 503, or closed
  std::uint64_t closed_idle = 0;      // after idle_timeout
  std::uint64_t closed_for_room = 0;  // the longest without a request, for a new connection
  std::uint64_t accept_stops = 0;     // no place, and nobody without a request: a connection had to wait
};

// The policy above a server.
class RequestHandler {
 public:
  // A request head is complete: answer, or set a handler. Called from the loop.
  virtual void on_request(Exchange& exchange) = 0;
  // The protocol refuses a request. `request` is what was understood of it, or null. `head.status` is set; the callee
  // may add fields and change the body (text/plain naming the status by default). The connection closes after it.
  virtual void on_bad_request(ParseProblem problem, const RequestHead* request, std::string_view peer_address,
                              ResponseHead& head, std::string& body);

 protected:
  ~RequestHandler() = default;
};

class SessionHandler : public RequestHandler {
 public:
  // It waits for a request and has sent everything: from now on it could be closed for another. Not called for a new one.
  virtual void on_session_waits(ServerSession&) {}
  // Terminal, once, however the session ended, also from inside close(): the owner unlinks it and gives it to
  // EventLoop::release().
  virtual void on_session_closed(ServerSession& session) = 0;
  // Sessions count here.
  HttpServerCounters& session_counters() { return counters_; }

 protected:
  ~SessionHandler() = default;
  HttpServerCounters counters_;
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
  friend class HttpServer;
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
  void on_flushed() override;
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
  void put_away_exchange();
  void become_idle();
  void close_idle();
  void finish();
  void end();
  void wait(Phase phase, base::Duration time);
  void wait_for_body();
  void arm_for_body();
  bool is_too_slow(Pace& pace, base::Duration timeout);
  base::TimePoint next_look(const Pace& pace, base::Duration timeout) const;
  void on_read_timeout();
  void on_write_timeout();
  void write(std::string_view bytes);
  void write(std::string&& bytes);
  void note_write(std::size_t size);
  std::string_view http_date();

  // For Exchange.
  void accept_body(Exchange& exchange);
  void on_body_resumed();
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
  bool is_resting_ = false;     // enough requests for this turn
  bool is_request_read_ = false;
  bool is_draining_ = false;
  bool keeps_alive_ = true;     // after the response in work
  bool owes_continue_ = false;  // the client may be waiting for a 100
  bool has_paused_reading_ = false;
  std::size_t discarded_ = 0;
  std::string kept_;  // input nobody may take yet
  std::unique_ptr<Exchange> exchange_;
  base::Charge kept_charge_;
  base::Charge unsent_charge_;
  bool is_new_ = true;  // no request yet
  std::uint64_t body_received_ = 0;
  Pace body_pace_;
  std::vector<std::unique_ptr<Exchange>> unwritten_;  // over, but not all of them is with the kernel
  std::uint64_t queued_bytes_ = 0;
  bool was_flushed_ = false;  // since the last look at write_pace_
  Pace write_pace_;
  base::ListHook waiting_hook_;  // in the server's list while it waits for a request
  // These two are armed lazily and ask, when due, whether they still mean something: a request costs them O(1).
  Phase waits_for_ = Phase::closed;
  net::Timer read_timer_;
  net::Timer write_timer_;
  net::Connection connection_;  // last: starts reading when made
};

}  // namespace outrigger::http1
