#include "bridge/http1/http_server.h"

#include <vector>

namespace outrigger::http1 {

namespace {

// Whether another thread's server freed or needs a place is not told, but asked.
constexpr base::Duration kAskForPlace = std::chrono::milliseconds(50);
constexpr base::Duration kAskToHelp = std::chrono::milliseconds(100);

}  // namespace

HttpServer::HttpServer(net::EventLoop& loop, HttpServerOptions options, RequestHandler& handler)
    : loop_(loop),
      options_(std::move(options)),
      handler_(handler),
      own_places_(options_.max_connections),
      places_(options_.places != nullptr ? *options_.places : own_places_),
      place_timer_(loop, [this] { admit_held(); }),
      help_timer_(loop, [this] { help_others(); }),
      drained_timer_(loop, [this] {
        if (auto call = std::move(on_drained_)) call();
      }) {
  if (options_.places != nullptr) help_timer_.arm(kAskToHelp);
}

base::Result<std::unique_ptr<HttpServer>> HttpServer::open(net::EventLoop& loop, const net::Endpoint& at,
                                                           HttpServerOptions options, RequestHandler& handler) {
  std::unique_ptr<HttpServer> server(new HttpServer(loop, std::move(options), handler));
  auto listener =
      net::Listener::open(loop, at, server->options_.listen,
                          [s = server.get()](net::Accepted accepted) { s->on_accepted(std::move(accepted)); });
  if (!listener) return listener.error();
  server->listener_ = std::move(listener).value();
  server->listener_->set_on_exhausted([s = server.get()] { return s->make_room(); });
  return server;
}

HttpServer::~HttpServer() {
  close();
}

void HttpServer::on_accepted(net::Accepted accepted) {
  if (take_place()) return begin(std::move(accepted.transport), net::host_of(accepted.peer));
  hold(std::move(accepted));
}

bool HttpServer::take_place() {
  return places_.taken.try_take(1) || (make_room() && places_.taken.try_take(1));
}

// A real client sends its head at once, and one between requests can connect again: whoever has waited longest for a
// request goes, so that those who hold connections for nothing only displace each other.
bool HttpServer::make_room() {
  ServerSession* longest = waiting_.front();
  if (longest == nullptr) return false;
  ++counters_.closed_for_room;
  longest->close();
  return true;
}

// This one waits here, unread, and the others in the kernel's queue.
void HttpServer::hold(net::Accepted accepted) {
  ++counters_.accept_stops;
  ++places_.wanted;
  held_ = std::move(accepted);
  listener_->pause();
  place_timer_.arm(kAskForPlace);
}

void HttpServer::drop_held() {
  if (held_) --places_.wanted;
  held_.reset();
  place_timer_.cancel();
}

void HttpServer::admit_held() {
  if (!take_place()) return place_timer_.arm(kAskForPlace);
  net::Accepted accepted = std::move(*held_);
  drop_held();
  begin(std::move(accepted.transport), net::host_of(accepted.peer));
  listener_->resume();
}

// Connections are spread by the kernel: those that nobody needs may all be here, and those in work elsewhere.
void HttpServer::help_others() {
  help_timer_.arm(kAskToHelp);
  if (held_) return;
  for (unsigned wanted = places_.wanted; wanted > 0 && make_room(); --wanted) {
  }
}

void HttpServer::adopt(std::unique_ptr<net::Transport> transport, std::string peer_address) {
  places_.taken.take(1);
  begin(std::move(transport), std::move(peer_address));
}

void HttpServer::begin(std::unique_ptr<net::Transport> transport, std::string peer_address) {
  ++counters_.accepted;
  SessionHandler& self = *this;
  auto session =
      std::make_unique<ServerSession>(loop_, std::move(transport), std::move(peer_address), options_.session, self);
  ServerSession* key = session.get();
  sessions_.emplace(key, std::move(session));
  waiting_.push_back(*key);
}

void HttpServer::begin_drain(base::UniqueFunction<void()> on_drained) {
  is_draining_ = true;
  on_drained_ = std::move(on_drained);
  listener_->close();
  drop_held();
  std::vector<ServerSession*> open;
  for (const auto& [session, owned] : sessions_) open.push_back(session);
  for (ServerSession* session : open) session->begin_drain();
  tell_if_drained();
}

void HttpServer::close() {
  if (listener_ != nullptr) listener_->close();
  drop_held();
  while (!sessions_.empty()) sessions_.begin()->second->close();
}

void HttpServer::on_request(Exchange& exchange) {
  handler_.on_request(exchange);
}

void HttpServer::on_bad_request(ParseProblem problem, const RequestHead* request, std::string_view peer_address,
                                ResponseHead& head, std::string& body) {
  handler_.on_bad_request(problem, request, peer_address, head, body);
}

void HttpServer::on_session_waits(ServerSession& session) {
  waiting_.push_back(session);
  if (held_) place_timer_.arm(base::Duration(0));
}

void HttpServer::on_session_closed(ServerSession& session) {
  const auto found = sessions_.find(&session);
  loop_.release(std::move(found->second));
  sessions_.erase(found);
  places_.taken.give_back(1);
  if (held_) place_timer_.arm(base::Duration(0));
  tell_if_drained();
}

void HttpServer::tell_if_drained() {
  if (is_draining_ && sessions_.empty() && on_drained_) drained_timer_.arm(base::Duration(0));
}

}  // namespace outrigger::http1
