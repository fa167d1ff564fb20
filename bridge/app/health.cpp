#include "bridge/app/health.h"

#include "bridge/app/process.h"

namespace outrigger::app {

void Health::add_check(std::string name, base::UniqueFunction<std::string()> check) {
  checks_.push_back({std::move(name), std::move(check)});
}

bool Health::is_ready() {
  if (is_draining_) return false;
  for (Check& check : checks_) {
    if (!check.ask().empty()) return false;
  }
  return true;
}

base::Result<net::Endpoint> Health::listen(net::EventLoop& loop, const ListenAddress& at) {
  auto server = http1::HttpServer::open(loop, to_endpoint(at), {}, *this);
  if (!server) return server.error();
  server_ = std::move(*server);
  return server_->endpoint();
}

void Health::on_request(http1::Exchange& exchange) {
  const http1::RequestHead& request = exchange.request();
  const std::string_view target = request.target;
  const std::string_view path = target.substr(0, target.find('?'));
  const bool is_verbose = target.find("verbose", path.size()) != std::string_view::npos;
  http1::ResponseHead head;
  head.headers.add("Content-Type", "text/plain; charset=utf-8");
  head.headers.add("Cache-Control", "no-store");
  if (request.method != "GET" && request.method != "HEAD") {
    head.status = 405;
    head.headers.add("Allow", "GET, HEAD");
    exchange.send(head, "only GET\n");
    return;
  }
  if (path == "/livez" || path == "/health/live" || path == "/health/startup" || path == "/healthz") {
    exchange.send(head, "ok\n");
    return;
  }
  if (path != "/readyz" && path != "/health" && path != "/health/ready") {
    head.status = 404;
    exchange.send(head, "try /livez, /readyz, /health, /health/live, /health/ready or /health/startup\n");
    return;
  }
  std::string text;
  bool is_all_ok = !is_draining_;
  if (is_draining_) text += "[-]serving failed: draining\n";
  for (Check& check : checks_) {
    const std::string problem = check.ask();
    if (problem.empty()) {
      text += "[+]" + check.name + " ok\n";
    } else {
      is_all_ok = false;
      text += "[-]" + check.name + " failed: " + problem + "\n";
    }
  }
  head.status = is_all_ok ? 200 : 503;
  exchange.send(head, is_verbose ? std::move(text) : is_all_ok ? "ok\n" : "not ready\n");
}

}  // namespace outrigger::app
