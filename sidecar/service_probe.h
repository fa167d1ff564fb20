// Looks after the service from outside: is it there (TCP connect, or GET of HealthPath below 500)? When it comes up, its
// OpenAPI document is asked for before that is said; see document_scraper.h.
#pragma once

#include <optional>
#include <string>

#include "bridge/base/unique_function.h"
#include "bridge/http1/client_pool.h"
#include "bridge/net/connector.h"
#include "bridge/net/event_loop.h"
#include "bridge/net/timer.h"
#include "sidecar/document_scraper.h"

namespace outrigger::sidecar {

class ServiceProbe final : private http1::ClientHandler {
 public:
  using Scraped = sidecar::Scraped;
  struct Options {
    net::Endpoint upstream;
    std::string authority;     // Host of the probe's own requests
    std::string health_path;   // empty: TCP connect
    std::string openapi_path;  // empty: the usual ones are tried
    base::Duration openapi_interval = std::chrono::seconds(60);
    openapi::ServiceMetadata metadata = {};  // see DocumentScraper::Options
  };
  // `on_health`: the service came up or went down. `on_scraped`: after each time it came up, before on_health(true), and
  // when its document has changed.
  ServiceProbe(net::EventLoop& loop, Options options, base::UniqueFunction<void(bool)> on_health,
               base::UniqueFunction<void(const Scraped&)> on_scraped);

  void start();
  void stop();
  // A call was refused: the service is taken as down, and looked at soon.
  void report_refused();
  bool is_healthy() const { return is_healthy_.value_or(false); }
  const DocumentScraper::Status& document() const { return scraper_.status(); }

 private:
  void probe();
  void ask_health();
  void verdict(bool is_up);
  void enter(bool is_up);

  void on_response_head(http1::ResponseHead head, bool end) override;
  void on_response_body(std::string_view) override {}
  void on_response_end() override;
  void on_failed(const http1::ClientFailure& failure) override;

  net::EventLoop& loop_;
  Options options_;
  base::UniqueFunction<void(bool)> on_health_;
  http1::ClientPool pool_;
  http1::ClientCall call_;
  net::Pending connecting_;
  net::Timer timer_;
  DocumentScraper scraper_;
  int status_ = 0;
  std::optional<bool> is_healthy_;
};

}  // namespace outrigger::sidecar
