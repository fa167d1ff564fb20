// A small HTTP service with its own OpenAPI document, so that `outrigger dev` has something to show without arguments.
// Knows nothing of Outrigger: it is served through a sidecar as any other.
#pragma once

#include <memory>

#include "bridge/base/result.h"
#include "bridge/http1/http_server.h"
#include "bridge/net/event_loop.h"

namespace outrigger::cli {

class SampleService final : private http1::RequestHandler {
 public:
  // On a free port of the loopback interface.
  static base::Result<std::unique_ptr<SampleService>> open(net::EventLoop& loop);
  const net::Endpoint& endpoint() const { return server_->endpoint(); }

 private:
  class Echo;
  SampleService() = default;
  void on_request(http1::Exchange& exchange) override;

  std::unique_ptr<http1::HttpServer> server_;
};

}  // namespace outrigger::cli
