#include "sidecar/service_handler.h"

#include <utility>

#include "bridge/http1/header_rules.h"
#include "bridge/telemetry/trace_context.h"

namespace outrigger::sidecar {
namespace {

using base::Code;
using router::ServiceFailure;

ServiceFailure failure_of(const http1::ClientFailure& failure) {
  using Kind = ServiceFailure::Kind;
  if (failure.error.code == Code::deadline) return {Kind::timeout, failure.error.detail};
  if (failure.error.code == Code::too_large) return {Kind::too_large, failure.error.detail};
  if (failure.error.code == Code::malformed) return {Kind::malformed, failure.error.detail};
  // Certainly not seen by the service; a request that cannot be sent at all is not its fault either way.
  if (!failure.request_was_sent && failure.error.code != Code::invalid) {
    return {Kind::unreachable, failure.error.detail};
  }
  return {Kind::broken, failure.error.detail};
}

}  // namespace

// One call under way; its memory belongs to the handle that call() gave out.
class ServiceHandler::ServiceCall final : public net::PendingOperation, private http1::ClientHandler {
 public:
  ServiceCall(http1::ClientPool& pool, http1::ClientRequest request, base::TimePoint deadline, router::AnswerSink& sink)
      : sink_(sink), method_(request.method) {
    call_ = pool.request(std::move(request), deadline, *this);
  }

 private:
  void on_response_head(http1::ResponseHead head, bool) override {
    http1::remove_hop_by_hop(head.headers);
    // The body's length travels with the body; only where there is none it says something of its own.
    if (!http1::is_bodiless(head.status, method_)) head.headers.remove("Content-Length");
    sink_.on_answer_head(head.status, head.reason, std::move(head.headers));
  }
  void on_response_body(std::string_view bytes) override { sink_.on_answer_body(bytes); }
  void on_response_end() override { sink_.on_answer_end(); }
  void on_failed(const http1::ClientFailure& failure) override { sink_.on_answer_failed(failure_of(failure)); }

  router::AnswerSink& sink_;
  std::string method_;
  http1::ClientCall call_;
};

ServiceHandler::ServiceHandler(net::EventLoop& loop, const net::Endpoint& upstream, http1::ClientPoolOptions options)
    : pool_(loop, upstream, std::move(options)) {}

net::Pending ServiceHandler::call(frames::Request& request, base::TimePoint deadline, router::AnswerSink& sink) {
  http1::ClientRequest out;
  out.method = request.method;
  out.target = request.target;
  out.headers.reserve(request.headers.size() + 4, request.headers.text_bytes() + 256);
  // The service sees the Host the client asked for, and a span of ours above its own.
  out.headers.add("Host", request.authority);
  for (const base::HeaderField field : request.headers) {
    if (!base::equals_ignoring_case(field.name, "Host")) out.headers.add(field.name, field.value);
  }
  if (!request.traceparent.empty()) {
    const telemetry::TraceContext span = telemetry::accept(request.traceparent, request.tracestate);
    span.write_to(out.headers);
    request.traceparent = span.traceparent();  // for the record
  }
  out.body = std::move(request.body);
  out.repeatable = request.repeatable;
  return net::Pending(std::make_unique<ServiceCall>(pool_, std::move(out), deadline, sink));
}

}  // namespace outrigger::sidecar
