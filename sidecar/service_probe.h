// Looks after the service from outside: is it there (TCP connect, or GET of HealthPath below 500), and which endpoints
// does its OpenAPI document list. The document is scraped when the service comes up; one that has none gets a catch-all.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "bridge/base/unique_function.h"
#include "bridge/http1/client_pool.h"
#include "bridge/net/connector.h"
#include "bridge/net/event_loop.h"
#include "bridge/net/timer.h"
#include "bridge/openapi/endpoints.h"

namespace outrigger::sidecar {

class ServiceProbe final : private http1::ClientHandler {
 public:
  struct Options {
    net::Endpoint upstream;
    std::string authority;     // Host of the probe's own requests
    std::string health_path;   // empty: TCP connect
    std::string openapi_path;  // empty: /openapi.json is tried
  };
  struct Scraped {
    std::vector<openapi::Endpoint> endpoints;
    std::string document;
    bool catch_all = false;
  };
  // `on_health`: the service came up or went down. `on_scraped`: after each time it came up, before on_health(true).
  ServiceProbe(net::EventLoop& loop, Options options, base::UniqueFunction<void(bool)> on_health,
               base::UniqueFunction<void(Scraped)> on_scraped);

  void start();
  void stop();
  // A call was refused: the service is taken as down, and looked at soon.
  void report_refused();
  bool is_healthy() const { return is_healthy_.value_or(false); }

 private:
  enum class Asking : std::uint8_t { nothing, health, document };

  void probe();
  void ask(const std::string& path, Asking what);
  void verdict(bool is_up);
  void scrape(std::size_t candidate);

  void on_response_head(http1::ResponseHead head, bool end) override;
  void on_response_body(std::string_view bytes) override;
  void on_response_end() override;
  void on_failed(const http1::ClientFailure& failure) override;

  net::EventLoop& loop_;
  Options options_;
  base::UniqueFunction<void(bool)> on_health_;
  base::UniqueFunction<void(Scraped)> on_scraped_;
  http1::ClientPool pool_;
  http1::ClientCall call_;
  net::Pending connecting_;
  net::Timer timer_;
  Asking asking_ = Asking::nothing;
  int status_ = 0;
  std::string body_;
  std::size_t candidate_ = 0;
  bool has_scraped_ = false;  // since it came up
  std::vector<std::string> candidates_;
  std::optional<bool> is_healthy_;
};

}  // namespace outrigger::sidecar
