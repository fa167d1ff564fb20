// The service behind this sidecar, called over HTTP/1.1 on keep-alive connections. One request's path through the sidecar
// reads top to bottom in service_handler.cpp.
#pragma once

#include "bridge/http1/client_pool.h"
#include "bridge/net/event_loop.h"
#include "bridge/router/service.h"

namespace outrigger::sidecar {

class ServiceHandler final : public router::Service {
 public:
  // `options`: max_connections is the most requests at the service at once.
  ServiceHandler(net::EventLoop& loop, const net::Endpoint& upstream, http1::ClientPoolOptions options);

  const http1::ClientPoolCounters& counters() const { return pool_.counters(); }
  net::Pending call(frames::Request& request, base::TimePoint deadline, router::AnswerSink& sink) override;

 private:
  class ServiceCall;
  http1::ClientPool pool_;
};

}  // namespace outrigger::sidecar
