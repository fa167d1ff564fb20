#include "bridge/http1/http_server.h"

#include <vector>

namespace outrigger::http1 {

HttpServer::HttpServer(net::EventLoop& loop, HttpServerOptions options, RequestHandler& handler)
    : loop_(loop), options_(std::move(options)), handler_(handler), drained_timer_(loop, [this] {
        if (auto call = std::move(on_drained_)) call();
      }) {}

base::Result<std::unique_ptr<HttpServer>> HttpServer::open(net::EventLoop& loop, const net::Endpoint& at,
                                                           HttpServerOptions options, RequestHandler& handler) {
  std::unique_ptr<HttpServer> server(new HttpServer(loop, std::move(options), handler));
  auto listener = net::Listener::open(loop, at, server->options_.listen, [s = server.get()](net::Accepted accepted) {
    s->adopt(std::move(accepted.transport), net::host_of(accepted.peer));
  });
  if (!listener) return listener.error();
  server->listener_ = std::move(listener).value();
  return server;
}

HttpServer::~HttpServer() {
  close();
}

void HttpServer::adopt(std::unique_ptr<net::Transport> transport, std::string peer_address) {
  ++accepted_total_;
  SessionHandler& self = *this;
  auto session =
      std::make_unique<ServerSession>(loop_, std::move(transport), std::move(peer_address), options_.session, self);
  ServerSession* key = session.get();
  sessions_.emplace(key, std::move(session));
  if (sessions_.size() == options_.max_connections) listener_->pause();
}

void HttpServer::begin_drain(base::UniqueFunction<void()> on_drained) {
  is_draining_ = true;
  on_drained_ = std::move(on_drained);
  listener_->close();
  std::vector<ServerSession*> open;
  for (const auto& [session, owned] : sessions_) open.push_back(session);
  for (ServerSession* session : open) session->begin_drain();
  tell_if_drained();
}

void HttpServer::close() {
  if (listener_ != nullptr) listener_->close();
  while (!sessions_.empty()) sessions_.begin()->second->close();
}

void HttpServer::on_request(Exchange& exchange) {
  ++requests_total_;
  handler_.on_request(exchange);
}

void HttpServer::on_bad_request(ParseProblem problem, const RequestHead* request, ResponseHead& head,
                                std::string& body) {
  handler_.on_bad_request(problem, request, head, body);
}

void HttpServer::on_session_closed(ServerSession& session) {
  const auto found = sessions_.find(&session);
  loop_.release(std::move(found->second));
  if (sessions_.size() == options_.max_connections && !is_draining_) listener_->resume();
  sessions_.erase(found);
  tell_if_drained();
}

void HttpServer::tell_if_drained() {
  if (is_draining_ && sessions_.empty() && on_drained_) drained_timer_.arm(base::Duration(0));
}

}  // namespace outrigger::http1
