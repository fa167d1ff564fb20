// Exchange: one request and its response on a server's connection. The handler decides, the exchange knows the framing,
// the session (server_session.h) knows the socket and the timers.
//
// Life of an exchange:
// - The session makes it when a request head is complete and calls RequestHandler::on_request.
// - The callee answers at once, or gives it a handler (set_handler) and answers later.
// - No body bytes are delivered before accept_body(). After it come on_body (any number), then on_request_end (once,
// also
//   for a request without a body), unless on_aborted comes first or the response is completed before.
// - Response: send(), or send_head() then send_body()* then send_end(). A call out of order after completion is
// ignored.
// - It ends when the response is complete, by abort(), or by on_aborted; from then on every call is harmless. It and its
//   handler are destroyed once its last byte is with the kernel, or can not get there any more: see was_cut().
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "bridge/base/result.h"
#include "bridge/http1/message.h"
#include "bridge/http1/serializer.h"

namespace outrigger::http1 {

class ServerSession;

// What an exchange tells whoever works on it. Called from the loop; the handler may call the exchange from inside.
// Destruction is the one thing that always happens.
class ExchangeHandler {
 public:
  virtual ~ExchangeHandler() = default;
  // Content, valid for this call only.
  virtual void on_body(std::string_view) {}
  // The request is complete. At most once.
  virtual void on_request_end() {}
  // The rest of the request breaks the protocol, and nothing was sent yet. True: `head` (its status is set) and `body`
  // are filled for the client; false: RequestHandler::on_bad_request is asked for them. on_aborted follows.
  virtual bool on_refused(ParseProblem, ResponseHead& /*head*/, std::string& /*body*/) { return false; }
  // Terminal, at most once, never after the response was completed or abort(): closed = the client left, or the session
  // was closed by its owner; malformed or too_large = its body broke the rules, deadline = it stopped sending or reading,
  // overloaded = no memory for what it sent (in these it was answered if nothing had been sent and it was still to send).
  virtual void on_aborted(const base::Error& why) = 0;
  // Unsent bytes went above the high mark (true) or fell below half of it (false): pause and resume what is sent.
  virtual void on_write_pressure(bool /*is_above*/) {}
};

class Exchange final {
 public:
  Exchange(ServerSession& session, RequestHead request) : session_(session), request_(std::move(request)) {}
  Exchange(const Exchange&) = delete;
  Exchange& operator=(const Exchange&) = delete;

  RequestHead& request() { return request_; }
  const RequestHead& request() const { return request_; }
  // The client's address without port; empty for unix sockets.
  std::string_view peer_address() const;

  // The exchange owns its handler, which may therefore keep an Exchange&.
  void set_handler(std::unique_ptr<ExchangeHandler> handler) { handler_ = std::move(handler); }

  // Asks for the body; sends 100 (Continue) if the client waits for it and nothing was sent yet. Idempotent.
  void accept_body();
  // A count. After a pause no on_body comes; at most a bounded look-ahead is read from the socket.
  void pause_body();
  void resume_body();

  // Content-Length is taken from the head's fields, otherwise the body is chunked (1.1) or ends with the connection
  // (1.0); `end`: there is no body. HEAD, 204 and 304 get no body bytes whatever is sent. Connection: close in the
  // fields closes after this response. False if a name or value may not be sent: the client then gets an empty 500 and
  // the exchange is over.
  bool send_head(const ResponseHead& head, bool end = false);
  // REQUIRES send_head. More bytes than Content-Length announced: abort().
  void send_body(std::string bytes);
  // Fewer bytes than announced: abort().
  void send_end();
  // A whole response; adds Content-Length.
  bool send(const ResponseHead& head, std::string body);
  // Closes the connection; a client that has the head sees a broken message.
  void abort();

  bool is_head_sent() const { return out_ != Out::nothing; }
  bool is_over() const { return out_ == Out::over; }
  // Bytes of content sent so far (before chunking), for access records; at the end only those the kernel took.
  std::uint64_t body_bytes_sent() const { return body_bytes_sent_; }
  // The connection was lost before all of the response was with the kernel. Known when the handler is destroyed.
  bool was_cut() const { return was_cut_; }

 private:
  friend class ServerSession;
  enum class Out : std::uint8_t { nothing, body, over };

  ServerSession& session_;
  RequestHead request_;
  Out out_ = Out::nothing;
  Framing framing_;
  bool is_bodiless_ = false;  // the response may not have body bytes
  std::uint64_t body_bytes_sent_ = 0;
  std::uint64_t ends_at_ = 0;  // bytes written to the connection until its end
  bool was_cut_ = false;
  bool is_body_accepted_ = false;
  bool has_told_end_ = false;
  unsigned body_pauses_ = 0;
  std::unique_ptr<ExchangeHandler> handler_;  // last: its destructor may ask the rest
};

}  // namespace outrigger::http1
