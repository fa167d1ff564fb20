// The request's path through the gateway, from its head to its last byte. edge_handler.cpp reads top to bottom as that
// path: identity, own pages, route, access, rate limits, body, call, answer, record. One per worker.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "bridge/base/budget.h"
#include "bridge/http1/http_server.h"
#include "bridge/identity/envelope.h"
#include "bridge/identity/header_policy.h"
#include "bridge/net/address_set.h"
#include "bridge/router/dispatcher.h"
#include "bridge/telemetry/access_log.h"
#include "bridge/telemetry/request_metrics.h"
#include "gateway-edge/authenticator.h"
#include "gateway-edge/gateway_config.h"
#include "gateway-edge/rate_limits.h"
#include "gateway-edge/routing_view.h"

namespace outrigger::gateway {

class EdgeHandler final : public http1::RequestHandler {
 public:
  struct Options {
    std::string via;  // our pseudonym in Via; meeting it again is a loop
    base::Duration request_timeout;
    http1::MessageLimits limits;  // the body's is that of answers, too
    base::Budget* buffered = nullptr;  // for bodies on their way; outlives the handler
    telemetry::AccessFormat access_log;
    bool access_log_query = false;  // records have the query of the path, too
    Authenticator::Options authentication = {};
    KeySource* keys = nullptr;  // outlives the handler
    const identity::EnvelopeSigner* envelope = nullptr;  // outlives the handler; nullptr: none is sent
    RateLimiter* rate_limiter = nullptr;  // outlives the handler; nullptr: there are no limits
    net::AddressSet trusted_proxies = {};
    CredentialForwarding forwarding = {};
    std::map<std::string, CredentialForwarding, std::less<>> forwarding_by_service = {};
  };
  // References outlive the handler.
  EdgeHandler(net::EventLoop& loop, router::Dispatcher& dispatcher, const identity::HeaderPolicy& policy,
              Options options);

  void set_view(std::shared_ptr<const RoutingView> view);
  // As Authenticator::set_verifier.
  void set_verifier(std::shared_ptr<const identity::TokenVerifier> verifier) {
    authenticator_.set_verifier(std::move(verifier));
  }
  const telemetry::RequestMetrics& metrics() const { return metrics_; }
  const Authenticator::Counters& authentications() const { return authenticator_.counters(); }
  // From now on what is broken off is broken off by us.
  void begin_stop() { is_stopping_ = true; }

 private:
  class EdgeRequest;
  void on_request(http1::Exchange& exchange) override;
  void on_bad_request(http1::ParseProblem problem, const http1::RequestHead* request, std::string_view peer_address,
                      http1::ResponseHead& head, std::string& body) override;
  // The one place where a request ends, with all that is known of it. `problem`: what we answered instead of a service.
  // `was_begun`: it was a request, not only the attempt at one.
  void on_request_ended(const telemetry::AccessRecord& record, std::optional<router::ProblemCode> problem, bool was_begun);

  net::EventLoop& loop_;
  router::Dispatcher& dispatcher_;
  const identity::HeaderPolicy& policy_;
  Options options_;
  Authenticator authenticator_;
  std::shared_ptr<const RoutingView> view_;
  telemetry::RequestMetrics metrics_{telemetry::RequestMetrics::Side::caller, "inbound"};
  bool is_stopping_ = false;
};

}  // namespace outrigger::gateway
