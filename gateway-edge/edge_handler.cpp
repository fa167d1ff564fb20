#include "gateway-edge/edge_handler.h"

#include <utility>

#include "bridge/base/log.h"
#include "bridge/http1/header_rules.h"
#include "bridge/router/delivery_policy.h"
#include "bridge/router/problem.h"
#include "bridge/telemetry/trace_context.h"

namespace outrigger::gateway {
namespace {

using router::ProblemCode;

ProblemCode problem_of(http1::ParseProblem problem) {
  switch (problem) {
    case http1::ParseProblem::body_too_large: return ProblemCode::body_too_large;
    case http1::ParseProblem::uri_too_long: return ProblemCode::uri_too_long;
    case http1::ParseProblem::headers_too_large: return ProblemCode::headers_too_large;
    case http1::ParseProblem::overloaded: return ProblemCode::queue_full;
    case http1::ParseProblem::timed_out:
    case http1::ParseProblem::none:
    case http1::ParseProblem::bad_request:
    case http1::ParseProblem::unsupported:
    case http1::ParseProblem::version: return ProblemCode::bad_request;
  }
  return ProblemCode::bad_request;
}

// What clients are told; the log and the record have the particulars.
std::string_view advice(ProblemCode code) {
  switch (code) {
    case ProblemCode::no_route: return "No service is mounted at this path.";
    case ProblemCode::method_not_allowed: return "The service does not list this method here.";
    case ProblemCode::no_instance: return "No instance of the service is available; try again soon.";
    case ProblemCode::bus_unavailable: return "The message bus is not available; try again soon.";
    case ProblemCode::queue_full: return "Too many requests wait; try again soon.";
    case ProblemCode::service_unreachable: return "No instance could reach its service.";
    case ProblemCode::bad_answer: return "The service broke off or did not answer in HTTP.";
    case ProblemCode::outcome_unknown: return "The request may have been run; its answer is lost.";
    case ProblemCode::timeout: return "No answer came in time.";
    case ProblemCode::loop_detected: return "The request came back to the gateway that sent it.";
    case ProblemCode::body_too_large: return "The body is above the limit.";
    case ProblemCode::uri_too_long: return "The request target is above the limit.";
    case ProblemCode::headers_too_large: return "The header fields are above the limit.";
    default: return "";
  }
}

http1::ResponseHead problem_head(ProblemCode code) {
  const router::Problem& problem = router::describe(code);
  http1::ResponseHead head;
  head.status = problem.status;
  head.headers.add("Content-Type", "application/problem+json");
  if (problem.has_retry_after) head.headers.add("Retry-After", "1");
  return head;
}

// Details of the record of what a service answered; those of our own answers are codes of problems.
constexpr std::string_view kViaUpstream = "via_upstream";

std::string_view path_of(std::string_view target) { return target.substr(0, target.find('?')); }

}  // namespace

EdgeHandler::EdgeHandler(net::EventLoop& loop, router::Dispatcher& dispatcher, const identity::HeaderPolicy& policy,
                         Options options)
    : loop_(loop), dispatcher_(dispatcher), policy_(policy), options_(std::move(options)) {}

void EdgeHandler::set_view(std::shared_ptr<const RoutingView> view) {
  view_ = std::move(view);
  dispatcher_.set_addresses(view_->addresses);
}

// One request: owned by its exchange, and gone with it. Its call is cancelled by its own destruction.
class EdgeHandler::EdgeRequest final : public http1::ExchangeHandler, private router::CallHandler {
 public:
  EdgeRequest(EdgeHandler& edge, http1::Exchange& exchange)
      : edge_(edge), exchange_(exchange), started_(edge.loop_.now()), started_wall_(edge.loop_.clock().wall()),
        view_(edge.view_), charge_(edge.options_.buffered) {
    edge_.metrics_.begin();
  }

  ~EdgeRequest() override {
    count();
    write_record();
  }

  void start() {
    http1::RequestHead& request = exchange_.request();

    // 1 Who: nothing a client says about identity survives, whatever it spelled, before anything else looks.
    edge_.policy_.strip_reserved(request.headers);

    // 2 What is for this hop only.
    for (const base::HeaderField field : request.headers) {
      if (base::equals_ignoring_case(field.name, "Via") && field.value.find(edge_.options_.via) != std::string_view::npos) {
        return answer_problem(ProblemCode::loop_detected);
      }
    }
    authority_ = request.headers.find("Host").value_or("");
    http1::remove_hop_by_hop(request.headers);
    if (http1::count_hop(request.method, request.headers) == http1::HopStep::answer_here) {
      http1::ResponseHead head;
      head.status = request.method == "OPTIONS" ? 204 : 405;
      answer(head, {});
      return;
    }

    // 3 Its name in every log.
    request_id_ = http1::ensure_request_id(request.headers, false);
    const telemetry::TraceContext trace = telemetry::accept(request.headers);
    trace_id_ = trace.trace_id();

    // 4 Where.
    const std::string_view path = path_of(request.target);
    if (path == "*") {
      http1::ResponseHead head;
      head.status = 204;
      answer(head, {});
      return;
    }
    match_ = view_->routes->match(request.method, authority_, path);
    switch (match_.kind) {
      case router::Match::Kind::no_route:
        return answer_problem(view_->is_known ? ProblemCode::no_route : ProblemCode::bus_unavailable);
      case router::Match::Kind::bad_path: return answer_problem(ProblemCode::bad_request);
      case router::Match::Kind::method_not_allowed: return answer_problem(ProblemCode::method_not_allowed);
      case router::Match::Kind::matched: break;
    }

    // 5 The request as the service will see it.
    call_.service = match_.metadata->service;
    call_.method = request.method;
    call_.target = request.target.substr(match_.target_path_offset);
    if (call_.target.empty() || call_.target.front() != '/') call_.target.insert(0, "/");
    call_.scheme = "http";
    call_.authority = authority_;
    http1::add_via(request.headers, request.minor_version, edge_.options_.via);
    http1::set_forwarded(request.headers, {.client_address = exchange_.peer_address(),
                                           .proto = call_.scheme,
                                           .host = authority_,
                                           .prefix = match_.mount,
                                           .trust_inbound = false});
    // Framing and trace travel as members of their own.
    request.headers.remove_if([](base::HeaderField field) {
      return base::equals_ignoring_case(field.name, "Host") || base::equals_ignoring_case(field.name, "Content-Length") ||
             base::equals_ignoring_case(field.name, "Expect") || base::equals_ignoring_case(field.name, "traceparent") ||
             base::equals_ignoring_case(field.name, "tracestate");
    });
    call_.headers = request.headers;
    call_.traceparent = trace.traceparent();
    call_.tracestate = trace.tracestate();
    const openapi::Endpoint* endpoint = match_.endpoint;
    call_.repeatable = endpoint != nullptr && endpoint->repeatable ? *endpoint->repeatable
                                                                    : router::is_idempotent_method(request.method);
    call_.timeout = endpoint != nullptr && endpoint->timeout ? base::Duration(*endpoint->timeout)
                                                             : edge_.options_.request_timeout;

    // 6 Its body, whole; then out. Its fields are here twice by now.
    held_ = 2 * request.headers.text_bytes();
    if (!charge_.try_set(held_)) return answer_problem(ProblemCode::queue_full);
    exchange_.accept_body();
    if (!request.has_body()) send();
  }

 private:
  void on_body(std::string_view bytes) override {
    if (!make_room(call_.body, bytes.size())) return answer_problem(ProblemCode::queue_full);
    call_.body.append(bytes);
  }

  // For `more` bytes behind `body`: as much memory as has come in, or twice that, whatever was announced. Else many small
  // beginnings of large bodies would be as good as the bodies.
  bool make_room(std::string& body, std::size_t more) {
    const std::size_t needed = body.size() + more;
    if (needed <= body.capacity()) return true;
    std::size_t room = std::max(needed, 2 * body.capacity());
    const auto& announced = exchange_.request().content_length;
    if (&body == &call_.body && announced) room = std::max(needed, std::min<std::size_t>(room, *announced));
    if (!charge_.try_set(held_ + room)) {
      room = needed;
      if (!charge_.try_set(held_ + room)) return false;
    }
    body.reserve(room);
    return true;
  }
  void on_request_end() override {
    if (!is_sent_) send();
  }

  void send() {
    is_sent_ = true;
    bytes_received_ = call_.body.size();
    held_ += call_.body.capacity();  // the dispatcher's until the end
    handle_ = edge_.dispatcher_.call(std::move(call_), *this);
    correlation_id_ = handle_.id();
  }

  // 7 Home.
  void on_answer(frames::Response answer) override {
    service_time_ = std::chrono::milliseconds(answer.service_ms);
    instance_ = std::move(answer.instance);
    attempt_ = answer.attempt;
    head_.status = answer.status;
    head_.reason = std::move(answer.reason);
    head_.headers = std::move(answer.headers);
    body_ = std::move(answer.body);
    if (!charge_.try_set(held_ + body_.capacity())) return answer_lost();
    if (answer.end) on_answer_end();
  }
  void on_answer_body(std::string bytes) override {
    // Sidecars keep to the limit; the bus is not trusted to hold sidecars only.
    if (body_.size() + bytes.size() > edge_.options_.limits.body_bytes) {
      handle_.cancel();
      return answer_problem(ProblemCode::bad_answer);
    }
    if (!make_room(body_, bytes.size())) return answer_lost();
    body_.append(bytes);
  }
  // It has run, so that 503 would be untrue.
  void answer_lost() {
    handle_.cancel();
    base::log_debug("no memory for the answer: Gateway:Limits:BufferedBytes", {{"request_id", request_id_}});
    answer_problem(ProblemCode::outcome_unknown);
  }
  void on_answer_end() override {
    // What comes over the bus is no more trusted than what comes from a client.
    http1::remove_hop_by_hop(head_.headers);
    if (!http1::is_bodiless(head_.status, exchange_.request().method)) head_.headers.remove("Content-Length");
    if (!head_.headers.find("X-Request-Id")) head_.headers.add("X-Request-Id", request_id_);
    details_ = kViaUpstream;
    charge_.set(0);  // the connection counts what it cannot write at once
    answer(head_, std::move(body_));
  }
  void on_call_failed(ProblemCode code, std::string_view detail) override {
    base::log_debug("call failed", {{"request_id", request_id_}, {"code", router::describe(code).code}, {"why", detail}});
    answer_problem(code);
  }

  // 8 Bytes out.
  void answer(const http1::ResponseHead& head, std::string body) {
    status_ = head.status;
    exchange_.send(head, std::move(body));
  }
  void answer_problem(ProblemCode code) {
    const router::Problem& problem = router::describe(code);
    http1::ResponseHead head = problem_head(code);
    if (code == ProblemCode::method_not_allowed) head.headers.add("Allow", match_.allow);
    if (!request_id_.empty()) head.headers.add("X-Request-Id", request_id_);
    flags_ = problem.response_flag;
    details_ = problem.code;
    answer(head, router::problem_json(code, advice(code), trace_id_));
  }

  void on_aborted(const base::Error& why) override {
    handle_.cancel();
    if (status_ == 0) {
      flags_ = why.code == base::Code::closed ? "DC" : "DPE";
      details_ = why.code == base::Code::closed ? "downstream_closed" : "downstream_error";
    }
  }

  // 9 One count and one record, whatever happened.
  void count() {
    using telemetry::RequestEnd;
    // What was answered here has the code of a problem as its details.
    const bool is_problem = status_ != 0 && !details_.empty() && details_ != kViaUpstream;
    RequestEnd end = status_ == 0 ? RequestEnd::cancelled : RequestEnd::answered;
    if (is_problem && details_ == router::describe(ProblemCode::timeout).code) end = RequestEnd::expired;
    if (is_problem && details_ == router::describe(ProblemCode::outcome_unknown).code) end = RequestEnd::outcome_unknown;
    edge_.metrics_.end({.service = match_.metadata != nullptr ? std::string_view(match_.metadata->service) : "",
                        .route = match_.kind == router::Match::Kind::matched ? match_.route : "",
                        .method = exchange_.request().method,
                        .status = status_,
                        .end = end,
                        .problem = is_problem ? details_ : "",
                        .duration = edge_.loop_.now() - started_});
  }
  void write_record() {
    if (edge_.options_.access_log == telemetry::AccessFormat::off) return;
    const http1::RequestHead& request = exchange_.request();
    telemetry::AccessRecord record;
    record.start = started_wall_;
    record.method = request.method;
    record.path = path_of(request.target);
    record.minor_version = request.minor_version;
    record.status = status_;
    record.flags = flags_;
    record.code_details = details_;
    record.bytes_received = bytes_received_;
    record.bytes_sent = exchange_.body_bytes_sent();
    record.duration = edge_.loop_.now() - started_;
    record.service_time = service_time_;
    record.forwarded_for = exchange_.peer_address();
    record.user_agent = request.headers.find("User-Agent").value_or("");
    record.request_id = request_id_;
    record.authority = authority_;
    if (match_.metadata != nullptr) record.service = match_.metadata->service;
    record.route = match_.kind == router::Match::Kind::matched ? match_.route : "unmatched";
    record.instance = instance_;
    record.trace_id = trace_id_;
    record.correlation_id = correlation_id_;
    record.attempt = attempt_;
    base::log_access_line(telemetry::format_access(edge_.options_.access_log, record));
  }

  EdgeHandler& edge_;
  http1::Exchange& exchange_;
  base::TimePoint started_;
  base::WallMillis started_wall_;
  std::shared_ptr<const RoutingView> view_;  // match_ points into it
  router::Match match_;
  router::Call call_;
  bool is_sent_ = false;
  base::Charge charge_;
  std::size_t held_ = 0;  // bytes besides the body that is coming in
  http1::ResponseHead head_;
  std::string body_;
  int status_ = 0;
  std::uint64_t bytes_received_ = 0;
  std::string authority_;
  std::string request_id_;
  std::string trace_id_;
  std::string correlation_id_;
  std::string instance_;
  std::uint32_t attempt_ = 0;
  base::Duration service_time_{};
  std::string_view flags_;
  std::string_view details_;
  router::Dispatcher::Handle handle_;  // last: dies first, and silences the call
};

void EdgeHandler::on_request(http1::Exchange& exchange) {
  if (answer_own_page(exchange)) return;
  auto request = std::make_unique<EdgeRequest>(*this, exchange);
  EdgeRequest& started = *request;
  exchange.set_handler(std::move(request));
  started.start();
}

// The gateway's own pages win over mounts.
bool EdgeHandler::answer_own_page(http1::Exchange& exchange) {
  const http1::RequestHead& request = exchange.request();
  const std::string_view path = path_of(request.target);
  const bool is_json = path == "/openapi.json";
  const bool is_yaml = path == "/openapi.yaml";
  const bool is_links = path == "/.well-known/openapi";
  if (!is_json && !is_yaml && !is_links) return false;
  http1::ResponseHead head;
  if (request.method != "GET" && request.method != "HEAD") {
    head = problem_head(ProblemCode::method_not_allowed);
    head.headers.add("Allow", "GET, HEAD");
    exchange.send(head, router::problem_json(ProblemCode::method_not_allowed, "Only GET and HEAD."));
    return true;
  }
  head.headers.add("Cache-Control", "public, max-age=60");
  head.headers.add("ETag", view_->openapi_etag);
  if (request.headers.find("If-None-Match").value_or("").find(view_->openapi_etag) != std::string_view::npos) {
    head.status = 304;
    exchange.send(head, {});
    return true;
  }
  if (is_links) {
    head.headers.add("Content-Type", "application/json");
    std::string etag;
    base::append_json_escaped(etag, view_->openapi_etag);
    exchange.send(head, R"({"openapi":"/openapi.json","openapi_yaml":"/openapi.yaml","etag":")" + etag +
                            R"(","generated_at":")" + view_->generated_at + "\"}");
    return true;
  }
  // Every JSON text is a YAML 1.2 document: one rendering serves both.
  head.headers.add("Content-Type", is_json ? "application/json" : "application/yaml");
  exchange.send(head, *view_->openapi_json);
  return true;
}

void EdgeHandler::on_bad_request(http1::ParseProblem problem, const http1::RequestHead* request,
                                 http1::ResponseHead& head, std::string& body) {
  const ProblemCode code = problem_of(problem);
  head.headers.remove("Content-Type");
  head.headers.add("Content-Type", "application/problem+json");
  // 408, 501 and 505 keep their status; the problem's own code is the nearest.
  body = router::problem_json(code, http1::name_of(problem));
  ++bad_requests_;
  metrics_.count({.method = request != nullptr ? std::string_view(request->method) : "",
                  .status = head.status,
                  .problem = router::describe(code).code});
  if (router::describe(code).has_retry_after) head.headers.add("Retry-After", "1");
  if (options_.access_log == telemetry::AccessFormat::off) return;
  telemetry::AccessRecord record;
  record.start = loop_.clock().wall();
  record.method = request != nullptr ? std::string_view(request->method) : "";
  record.path = request != nullptr ? path_of(request->target) : "";
  record.status = head.status;
  record.flags = "DPE";
  record.code_details = http1::name_of(problem);
  record.route = "unmatched";
  base::log_access_line(telemetry::format_access(options_.access_log, record));
}

}  // namespace outrigger::gateway
