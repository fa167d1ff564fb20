#include "sidecar/service_probe.h"

#include <utility>

#include "bridge/base/log.h"
#include "bridge/openapi/reader.h"

namespace outrigger::sidecar {
namespace {

using namespace std::chrono_literals;

constexpr base::Duration kIntervalUp = 5s;       // a dead service is mostly noticed by a refused call
constexpr base::Duration kIntervalDown = 250ms;  // its return should be noticed soon
constexpr base::Duration kProbeDeadline = 2s;
constexpr base::Duration kScrapeDeadline = 10s;

http1::ClientPoolOptions pool_options() {
  http1::ClientPoolOptions options;
  options.max_connections = 1;
  options.limits.body_bytes = openapi::kDocumentBytes;
  options.connect_timeout = kProbeDeadline;
  return options;
}

}  // namespace

ServiceProbe::ServiceProbe(net::EventLoop& loop, Options options, base::UniqueFunction<void(bool)> on_health,
                           base::UniqueFunction<void(Scraped)> on_scraped)
    : loop_(loop),
      options_(std::move(options)),
      on_health_(std::move(on_health)),
      on_scraped_(std::move(on_scraped)),
      pool_(loop, options_.upstream, pool_options()),
      timer_(loop, [this] { probe(); }) {
  if (options_.openapi_path.empty()) {
    candidates_ = {"/openapi.json", "/.well-known/openapi"};
  } else {
    candidates_ = {options_.openapi_path};
  }
}

void ServiceProbe::start() {
  timer_.arm(0s);
}

void ServiceProbe::stop() {
  timer_.cancel();
  call_.cancel();
  connecting_.cancel();
  asking_ = Asking::nothing;
}

void ServiceProbe::report_refused() {
  if (!is_healthy()) return;
  stop();  // a probe that began before the refusal says nothing about it
  verdict(false);
}

void ServiceProbe::probe() {
  if (!options_.health_path.empty()) return ask(options_.health_path, Asking::health);
  connecting_ = net::connect(loop_, options_.upstream, loop_.now() + kProbeDeadline,
                             [this](base::Result<std::unique_ptr<net::Transport>> result) {
                               connecting_.cancel();
                               const bool is_up = result.has_value();
                               if (is_up) (*result)->close();
                               verdict(is_up);
                             });
}

void ServiceProbe::ask(const std::string& path, Asking what) {
  asking_ = what;
  status_ = 0;
  body_.clear();
  http1::ClientRequest request;
  request.method = "GET";
  request.target = path;
  request.headers.add("Host", options_.authority);
  request.headers.add("Accept", what == Asking::document ? "application/json" : "*/*");
  request.headers.add("User-Agent", "outrigger-sidecar");
  request.repeatable = true;
  call_ = pool_.request(std::move(request), loop_.now() + (what == Asking::document ? kScrapeDeadline : kProbeDeadline),
                        *this);
}

void ServiceProbe::on_response_head(http1::ResponseHead head, bool) {
  status_ = head.status;
}
void ServiceProbe::on_response_body(std::string_view bytes) {
  if (asking_ == Asking::document) body_.append(bytes);
}

void ServiceProbe::on_response_end() {
  const Asking asked = std::exchange(asking_, Asking::nothing);
  if (asked == Asking::health) return verdict(status_ < 500);
  if (status_ != 200) return scrape(candidate_ + 1);
  auto parsed = openapi::read_document(body_);
  if (!parsed) {
    base::log_warn("the service's OpenAPI document cannot be used",
                   {{"path", candidates_[candidate_]}, {"why", parsed.error().detail}});
    return scrape(candidate_ + 1);
  }
  on_scraped_({std::move(parsed->endpoints), std::move(parsed->document), false});
  verdict(true);
}

void ServiceProbe::on_failed(const http1::ClientFailure& failure) {
  const Asking asked = std::exchange(asking_, Asking::nothing);
  if (asked == Asking::health) return verdict(false);
  if (failure.error.code == base::Code::refused) return verdict(false);
  base::log_warn("cannot scrape the service's OpenAPI document",
                 {{"path", candidates_[candidate_]}, {"why", failure.error.detail}});
  scrape(candidate_ + 1);
}

void ServiceProbe::scrape(std::size_t candidate) {
  candidate_ = candidate;
  if (candidate_ < candidates_.size()) return ask(candidates_[candidate_], Asking::document);
  base::log_info("the service has no OpenAPI document we can use: every path is passed to it");
  on_scraped_({{}, {}, true});
  verdict(true);
}

void ServiceProbe::verdict(bool is_up) {
  timer_.arm(is_up ? kIntervalUp : kIntervalDown);
  if (!is_up) has_scraped_ = false;
  if (is_healthy_ == is_up) return;
  // On its way up the document is asked for first: it may be another version that came up.
  if (is_up && !std::exchange(has_scraped_, true)) {
    timer_.cancel();
    return scrape(0);
  }
  candidate_ = 0;
  is_healthy_ = is_up;
  on_health_(is_up);
}

}  // namespace outrigger::sidecar
