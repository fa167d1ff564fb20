// HttpServer: a listener and the sessions it accepted, on one loop. Used for the gateway's and the sidecar's ports, the
// admin port and the services of tests.
#pragma once

#include <memory>
#include <unordered_map>

#include "bridge/base/result.h"
#include "bridge/base/unique_function.h"
#include "bridge/http1/server_session.h"
#include "bridge/net/listener.h"

namespace outrigger::http1 {

struct HttpServerOptions {
  ServerOptions session;
  net::ListenOptions listen;
  std::size_t max_connections = 10000;  // above it clients wait in the kernel's queue
};

class HttpServer final : private SessionHandler {
 public:
  // `handler` outlives the server. Errors as Listener::open.
  static base::Result<std::unique_ptr<HttpServer>> open(net::EventLoop& loop, const net::Endpoint& at,
                                                        HttpServerOptions options, RequestHandler& handler);
  // Closes what is open; exchanges in work are told.
  ~HttpServer();
  HttpServer(const HttpServer&) = delete;
  HttpServer& operator=(const HttpServer&) = delete;

  const net::Endpoint& endpoint() const { return listener_->endpoint(); }
  // Takes over a connected transport as if it had been accepted (tests, inherited sockets).
  void adopt(std::unique_ptr<net::Transport> transport, std::string peer_address);

  // Accepts no more, lets requests in work finish. `on_drained` is called once, in a later turn, when no connection is
  // left; not if the server is destroyed first.
  void begin_drain(base::UniqueFunction<void()> on_drained = {});
  bool is_draining() const { return is_draining_; }
  // Accepts no more and ends every connection now.
  void close();

  std::size_t connection_count() const { return sessions_.size(); }
  std::uint64_t accepted_total() const { return accepted_total_; }
  std::uint64_t requests_total() const { return requests_total_; }

 private:
  HttpServer(net::EventLoop& loop, HttpServerOptions options, RequestHandler& handler);
  void on_request(Exchange& exchange) override;
  void on_bad_request(ParseProblem problem, const RequestHead* request, ResponseHead& head, std::string& body) override;
  void on_session_closed(ServerSession& session) override;
  void tell_if_drained();

  net::EventLoop& loop_;
  HttpServerOptions options_;
  RequestHandler& handler_;
  std::unique_ptr<net::Listener> listener_;
  std::unordered_map<ServerSession*, std::unique_ptr<ServerSession>> sessions_;
  base::UniqueFunction<void()> on_drained_;
  net::Timer drained_timer_;
  bool is_draining_ = false;
  std::uint64_t accepted_total_ = 0;
  std::uint64_t requests_total_ = 0;
};

}  // namespace outrigger::http1
