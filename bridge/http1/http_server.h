// HttpServer: a listener and the sessions it accepted, on one loop. Used for the gateway's and the sidecar's ports, the
// admin port and the services of tests.
#pragma once

#include <atomic>
#include <memory>
#include <optional>
#include <unordered_map>

#include "bridge/base/budget.h"
#include "bridge/base/intrusive_list.h"
#include "bridge/base/result.h"
#include "bridge/base/unique_function.h"
#include "bridge/http1/server_session.h"
#include "bridge/net/listener.h"

namespace outrigger::http1 {

// How many connections several servers, each on its own thread, may have together. Outlives them.
struct ConnectionPlaces {
  explicit ConnectionPlaces(std::size_t limit) : taken(limit) {}
  base::Budget taken;
  std::atomic<unsigned> wanted{0};  // servers that have a connection and no place for it, nor anybody to close for it
};

struct HttpServerOptions {
  ServerOptions session;
  net::ListenOptions listen;
  // Open connections. At the limit the one that waits longest for a request (or for the rest of its head) makes room for
  // a new one; without such a one, new ones wait in the kernel's queue.
  std::size_t max_connections = base::limits::kMaxConnections;
  // Its limit takes the place of max_connections. May be null.
  ConnectionPlaces* places = nullptr;
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
  // Takes over a connected transport as if it had been accepted, whatever the limit (tests, inherited sockets).
  void adopt(std::unique_ptr<net::Transport> transport, std::string peer_address);

  // Accepts no more, lets requests in work finish. `on_drained` is called once, in a later turn, when no connection is
  // left; not if the server is destroyed first.
  void begin_drain(base::UniqueFunction<void()> on_drained = {});
  bool is_draining() const { return is_draining_; }
  // Accepts no more and ends every connection now.
  void close();

  std::size_t connection_count() const { return sessions_.size(); }
  // Loop thread.
  const HttpServerCounters& counters() const { return counters_; }
  std::uint64_t accepted_total() const { return counters_.accepted; }
  std::uint64_t requests_total() const { return counters_.requests; }
  // accept(2) failed for want of file descriptors or memory.
  std::uint64_t exhausted_total() const { return listener_->exhausted_total(); }

 private:
  HttpServer(net::EventLoop& loop, HttpServerOptions options, RequestHandler& handler);
  void on_request(Exchange& exchange) override;
  void on_bad_request(ParseProblem problem, const RequestHead* request, std::string_view peer_address,
                      ResponseHead& head, std::string& body) override;
  void on_session_waits(ServerSession& session) override;
  void on_session_closed(ServerSession& session) override;
  void on_accepted(net::Accepted accepted);
  void begin(std::unique_ptr<net::Transport> transport, std::string peer_address);
  bool take_place();
  bool make_room();
  void hold(net::Accepted accepted);
  void drop_held();
  void admit_held();
  void help_others();
  void tell_if_drained();

  net::EventLoop& loop_;
  HttpServerOptions options_;
  RequestHandler& handler_;
  std::unique_ptr<net::Listener> listener_;
  std::unordered_map<ServerSession*, std::unique_ptr<ServerSession>> sessions_;
  base::IntrusiveList<ServerSession, &ServerSession::waiting_hook_> waiting_;  // for a request; the longest first
  ConnectionPlaces own_places_;
  ConnectionPlaces& places_;
  std::optional<net::Accepted> held_;  // accepted, and there is no place: the listener is paused
  net::Timer place_timer_;
  net::Timer help_timer_;
  base::UniqueFunction<void()> on_drained_;
  net::Timer drained_timer_;
  bool is_draining_ = false;
};

}  // namespace outrigger::http1
