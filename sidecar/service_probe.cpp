#include "sidecar/service_probe.h"

#include <utility>

namespace outrigger::sidecar {
namespace {

using namespace std::chrono_literals;

constexpr base::Duration kIntervalUp = 5s;       // a dead service is mostly noticed by a refused call
constexpr base::Duration kIntervalDown = 250ms;  // its return should be noticed soon
constexpr base::Duration kProbeDeadline = 2s;

http1::ClientPoolOptions pool_options() {
  http1::ClientPoolOptions options;
  options.max_connections = 1;
  options.connect_timeout = kProbeDeadline;
  return options;
}

}  // namespace

ServiceProbe::ServiceProbe(net::EventLoop& loop, Options options, base::UniqueFunction<void(bool)> on_health,
                           base::UniqueFunction<void(const Scraped&)> on_scraped)
    : loop_(loop),
      options_(std::move(options)),
      on_health_(std::move(on_health)),
      pool_(loop, options_.upstream, pool_options()),
      timer_(loop, [this] { probe(); }),
      scraper_(loop,
               {options_.upstream, options_.authority, options_.openapi_path, options_.openapi_interval,
                options_.metadata},
               std::move(on_scraped)) {}

void ServiceProbe::start() { timer_.arm(0s); }

void ServiceProbe::stop() {
  timer_.cancel();
  call_.cancel();
  connecting_.cancel();
  scraper_.pause();
}

void ServiceProbe::report_refused() {
  if (!is_healthy()) return;
  stop();  // a probe that began before the refusal says nothing about it
  verdict(false);
}

void ServiceProbe::probe() {
  if (!options_.health_path.empty()) return ask_health();
  connecting_ = net::connect(loop_, options_.upstream, loop_.now() + kProbeDeadline,
                             [this](base::Result<std::unique_ptr<net::Transport>> result) {
                               connecting_.cancel();
                               const bool is_up = result.has_value();
                               if (is_up) (*result)->close();
                               verdict(is_up);
                             });
}

void ServiceProbe::ask_health() {
  http1::ClientRequest request;
  request.method = "GET";
  request.target = options_.health_path;
  request.headers.add("Host", options_.authority);
  request.headers.add("Accept", "*/*");
  request.headers.add("User-Agent", "outrigger-sidecar");
  request.repeatable = true;
  call_ = pool_.request(std::move(request), loop_.now() + kProbeDeadline, *this);
}

void ServiceProbe::on_response_head(http1::ResponseHead head, bool) { status_ = head.status; }
void ServiceProbe::on_response_end() { verdict(status_ < 500); }
void ServiceProbe::on_failed(const http1::ClientFailure&) { verdict(false); }

void ServiceProbe::verdict(bool is_up) {
  // On its way up the document is asked for first: it may be another version that came up.
  if (is_up && !is_healthy()) return scraper_.resume([this](bool is_there) { enter(is_there); });
  if (!is_up) scraper_.pause();
  enter(is_up);
}

void ServiceProbe::enter(bool is_up) {
  timer_.arm(is_up ? kIntervalUp : kIntervalDown);
  if (!is_up) scraper_.pause();
  if (is_healthy_ == is_up) return;
  is_healthy_ = is_up;
  on_health_(is_up);
}

}  // namespace outrigger::sidecar
