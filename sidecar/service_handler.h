// The service behind this sidecar, called over HTTP/1.1 on keep-alive connections. One request's path through the sidecar
// reads top to bottom in service_handler.cpp.
#pragma once

#include "bridge/http1/client_pool.h"
#include "bridge/net/event_loop.h"
#include "bridge/router/service.h"

namespace outrigger::sidecar {

class ServiceHandler final : public router::Service {
 public:
  // `body_limit`: of the service's answers, in bytes.
  ServiceHandler(net::EventLoop& loop, const net::Endpoint& upstream, std::size_t max_in_flight, std::size_t body_limit);

  net::Pending call(frames::Request& request, base::TimePoint deadline, router::AnswerSink& sink) override;

 private:
  class ServiceCall;
  http1::ClientPool pool_;
};

}  // namespace outrigger::sidecar
