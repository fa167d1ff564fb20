#include "gateway-edge/edge_handler.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "bridge/base/log.h"
#include "bridge/http1/header_rules.h"
#include "bridge/router/delivery_policy.h"
#include "bridge/router/mount.h"
#include "bridge/router/problem.h"
#include "bridge/telemetry/trace_context.h"
#include "gateway-edge/mount_rewrite.h"

namespace outrigger::gateway {
namespace {

using router::OwnPath;
using router::ProblemCode;
namespace flag = telemetry::flag;

constexpr std::string_view kUnmatched = "unmatched";
constexpr std::string_view kOwnAnswer = "direct_response";  // Envoy's word for an answer that is no service's

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

// Rails, Laravel and others take a POST for what such a field says, which another endpoint may demand more for.
bool asks_for_other_method(const http1::RequestHead& request) {
  for (const base::HeaderField field : request.headers) {
    if (base::equals_ignoring_case(field.value, request.method)) continue;
    for (const std::string_view name : {"X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override"}) {
      if (field.name.size() == name.size() && base::starts_in_any_spelling(field.name, name)) return true;
    }
  }
  return false;
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
    case ProblemCode::rate_limited: return "Too many requests; try again later.";
    case ProblemCode::keys_unavailable: return "The keys that tokens are verified with are not available; try again soon.";
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

// Details of the record of what a service answered, as Envoy has it.
constexpr std::string_view kViaUpstream = "via_upstream";

std::string_view path_of(std::string_view target) { return target.substr(0, target.find('?')); }

// An answer of the protocol itself, to a request that breaks it.
void fill_refusal(http1::ParseProblem problem, std::string_view trace_id, http1::ResponseHead& head, std::string& body) {
  head.headers.set("Content-Type", "application/problem+json");
  if (router::describe(problem_of(problem)).has_retry_after) head.headers.add("Retry-After", "1");
  // 408, 501 and 505 keep their status; the problem's own code is the nearest.
  body = router::problem_json(problem_of(problem), http1::name_of(problem), trace_id);
}

std::string_view flag_of(http1::ParseProblem problem) {
  if (problem == http1::ParseProblem::timed_out) return flag::kStreamIdle;
  return problem == http1::ParseProblem::overloaded ? flag::kOverload : flag::kDownstreamProtocol;
}

}  // namespace

EdgeHandler::EdgeHandler(net::EventLoop& loop, router::Dispatcher& dispatcher, const identity::HeaderPolicy& policy,
                         Options options)
    : loop_(loop), dispatcher_(dispatcher), policy_(policy), options_(std::move(options)),
      authenticator_(loop.clock(), policy, options_.keys, options_.authentication) {}

void EdgeHandler::set_view(std::shared_ptr<const RoutingView> view) {
  view_ = std::move(view);
  dispatcher_.set_addresses(view_->addresses);
}

// One request: owned by its exchange, and gone with it. Its call is cancelled by its own destruction.
class EdgeHandler::EdgeRequest final : public http1::ExchangeHandler, private router::CallHandler {
 public:
  EdgeRequest(EdgeHandler& edge, http1::Exchange& exchange)
      : edge_(edge), exchange_(exchange), started_(edge.loop_.now()), started_wall_(edge.loop_.clock().wall()),
        charge_(edge.options_.buffered) {
    edge_.metrics_.begin();
  }

  ~EdgeRequest() override { end(); }

  void start() {
    http1::RequestHead& request = exchange_.request();

    // 1 Who: nothing a client says about identity survives, whatever it spelled, before anything else looks.
    credentials_ = edge_.authenticator_.read(request.headers);
    edge_.policy_.strip_reserved(request.headers);

    // 2 What is for this hop only.
    bool is_loop = false;
    for (const base::HeaderField field : request.headers) {
      is_loop = is_loop || (base::equals_ignoring_case(field.name, "Via") &&
                            field.value.find(edge_.options_.via) != std::string_view::npos);
    }
    authority_ = request.headers.find("Host").value_or("");
    user_agent_ = request.headers.find("User-Agent").value_or("");
    http1::remove_hop_by_hop(request.headers);

    // 3 Its name in every log.
    is_proxied_ = edge_.options_.trusted_proxies.contains(exchange_.peer_address());
    request_id_ = http1::ensure_request_id(request.headers, is_proxied_);
    trace_ = telemetry::accept(request.headers);
    if (is_loop) return answer_problem(ProblemCode::loop_detected);
    authenticate(Authenticator::Missing::wait);
  }

 private:
  // A token whose key is not known waits for its issuer's next keys, once.
  void authenticate(Authenticator::Missing missing_key) {
    // Browsers ask with OPTIONS what they may do, and send no token with it (Fetch standard, section 4.9).
    const bool may_be_anonymous = exchange_.request().method == "OPTIONS";
    auto answer = edge_.authenticator_.authenticate(credentials_, may_be_anonymous, missing_key);
    if (const auto* missing = std::get_if<Authenticator::MissingKey>(&answer)) {
      waiting_ = edge_.authenticator_.await(*missing, [this](bool could_look) {
        authenticate(could_look ? Authenticator::Missing::does_not_exist : Authenticator::Missing::cannot_look);
      });
      return;
    }
    if (auto* refusal = std::get_if<Authenticator::Refusal>(&answer)) return refuse(std::move(*refusal));
    who_ = std::get<Authenticator::Who>(std::move(answer));
    credentials_ = {};
    route();
  }

  // 4 Where, and whether it may be.
  void route() {
    view_ = edge_.view_;  // not that of before it waited for keys
    http1::RequestHead& request = exchange_.request();
    if (http1::count_hop(request.method, request.headers) == http1::HopStep::answer_here) {
      if (request.method == "OPTIONS") return answer_options();
      return refuse_method("OPTIONS");
    }
    const std::string_view path = path_of(request.target);
    if (path == "*") return answer_options();
    if (const OwnPath own = router::own_path_of(path); own != OwnPath::none) return answer_own_path(own);
    match_ = view_->routes->match(request.method, authority_, path);
    switch (match_.kind) {
      case router::Match::Kind::no_route:
        return answer_problem(view_->is_known ? ProblemCode::no_route : ProblemCode::bus_unavailable);
      case router::Match::Kind::bad_path: return answer_problem(ProblemCode::bad_request);
      case router::Match::Kind::method_not_allowed: return refuse_method(match_.allow);
      case router::Match::Kind::matched: break;
    }
    if (view_->access->is_guarded(*match_.metadata) && asks_for_other_method(request)) {
      return answer_problem(ProblemCode::bad_request, {}, "A header field asks for another method than the request's.");
    }
    using Kind = AccessDecision::Kind;
    const AccessDecision access =
        view_->access->check(match_, request.method, path.substr(std::min(match_.target_path_offset, path.size())), *who_);
    if (access.kind == Kind::allowed) return limit();
    refuse(edge_.authenticator_.refuse_access(access.kind == Kind::unauthenticated, access.missing));
  }

  // 5 How often. Last of what may refuse, so that nothing is charged that is not let through.
  void limit() {
    if (edge_.options_.rate_limiter == nullptr) return prepare();
    // A machine's token may have no subject; its actor is its own nevertheless.
    const std::string_view subject = who_->is_anonymous || !who_->subject.empty() ? who_->subject : who_->actor;
    auto checked = edge_.options_.rate_limiter->check(
        {.service = match_.metadata->service,
         .route = match_.route,
         .tenant = who_->tenant,
         .issuer = who_->issuer,
         .subject = subject},
        [this](const RateLimitOutcome& outcome) { on_limit(outcome); });
    if (const auto* outcome = std::get_if<RateLimitOutcome>(&checked)) return on_limit(*outcome);
    waiting_ = std::get<net::Pending>(std::move(checked));
  }
  void on_limit(const RateLimitOutcome& outcome) {
    rate_ = outcome;
    if (outcome.is_allowed) return prepare();
    answer_problem(ProblemCode::rate_limited);
  }

  // 6 The request as the service will see it.
  void prepare() {
    http1::RequestHead& request = exchange_.request();
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
                                           .trust_inbound = is_proxied_});
    // Framing and trace travel as members of their own.
    request.headers.remove_if([](base::HeaderField field) {
      return base::equals_ignoring_case(field.name, "Host") || base::equals_ignoring_case(field.name, "Content-Length") ||
             base::equals_ignoring_case(field.name, "Expect") || base::equals_ignoring_case(field.name, "traceparent") ||
             base::equals_ignoring_case(field.name, "tracestate");
    });
    // What TRACE is answered with is the request itself: it gets nothing that is not for the client's eyes.
    const bool is_reflected = request.method == "TRACE";
    withhold_credentials(request.headers, is_reflected);
    if (!is_reflected) edge_.policy_.add_identity(request.headers, *who_);
    const bool has_idempotency_key = !request.headers.find("Idempotency-Key").value_or("").empty();
    call_.traceparent = trace_->traceparent();
    call_.tracestate = trace_->tracestate();
    const openapi::Endpoint* endpoint = match_.endpoint;
    if (endpoint != nullptr && endpoint->repeatable) {
      call_.repeatable = *endpoint->repeatable;
    } else {
      call_.repeatable = router::is_idempotent_method(request.method) ||
                         (match_.metadata->idempotency_key && has_idempotency_key);
    }
    call_.timeout = endpoint != nullptr && endpoint->timeout ? base::Duration(*endpoint->timeout)
                                                             : edge_.options_.request_timeout;
    if (edge_.options_.envelope != nullptr && !is_reflected) {
      edge_.options_.envelope->sign(*who_,
                                    {.service = call_.service, .method = call_.method, .host = authority_, .target = call_.target,
                                     .request_id = request_id_, .timeout = call_.timeout},
                                    edge_.loop_.clock().wall(), request.headers);
    }
    call_.headers = std::move(request.headers);

    // 7 Its body, whole; then out. Its fields will be in a frame, too.
    held_ = 2 * call_.headers.text_bytes();
    if (!charge_.try_set(held_)) return answer_problem(ProblemCode::queue_full);
    exchange_.accept_body();
    if (!request.has_body()) send();
  }
  void withhold_credentials(base::HeaderList& headers, bool all) const {
    const auto own = edge_.options_.forwarding_by_service.find(call_.service);
    const CredentialForwarding& forwarding =
        own == edge_.options_.forwarding_by_service.end() ? edge_.options_.forwarding : own->second;
    const auto is_kept = [this](Forwarding how) {
      return how == Forwarding::always || (how == Forwarding::automatic && who_->is_anonymous);
    };
    if (all || !is_kept(forwarding.authorization)) headers.remove("Authorization");
    if (all || !is_kept(forwarding.cookie)) headers.remove("Cookie");
  }

  void on_body(std::string_view bytes) override {
    bytes_received_ += bytes.size();
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
    held_ += call_.body.capacity();  // the dispatcher's until the end
    handle_ = edge_.dispatcher_.call(std::move(call_), *this);
  }

  // 8 Home.
  void on_answer(frames::Response answer) override {
    service_time_ = std::chrono::milliseconds(answer.service_ms);
    if (answer.queue_ms) {
      constexpr std::uint64_t kLongest = 1'000'000'000'000;  // whatever a frame says
      queue_wait_ = std::chrono::milliseconds(std::min(*answer.queue_ms, kLongest));
    }
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
    if (body_.size() + bytes.size() > edge_.options_.limits.body_bytes) return answer_problem(ProblemCode::bad_answer);
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
    const http1::RequestHead& request = exchange_.request();
    // What comes over the bus is no more trusted than what comes from a client.
    http1::remove_hop_by_hop(head_.headers);
    edge_.policy_.strip_from_answer(head_.headers);
    if (!http1::is_bodiless(head_.status, request.method)) head_.headers.remove("Content-Length");
    if (match_.metadata->rewrite_location) {
      const std::string_view path = path_of(request.target);
      restore_mount(head_.headers, {.mount = match_.mount,
                                    .authority = authority_,
                                    .path = path,
                                    .service_path = path.substr(match_.target_path_offset)});
    }
    if (!head_.headers.find("X-Request-Id")) head_.headers.add("X-Request-Id", request_id_);
    details_ = kViaUpstream;
    rate_.write_to(head_.headers);
    charge_.set(0);  // the connection counts what it cannot write at once
    answer(head_, std::move(body_));
  }
  void on_call_failed(ProblemCode code, std::string_view detail) override {
    base::log_debug("call failed", {{"request_id", request_id_}, {"code", router::describe(code).code}, {"why", detail}});
    answer_problem(code);
  }

  // 9 Bytes out.
  void answer(const http1::ResponseHead& head, std::string body) {
    // The call is over; its memory need not wait until the last byte is written.
    handle_.cancel();
    std::string().swap(call_.body);
    charge_.set(0);
    status_ = head.status;
    if (exchange_.send(head, std::move(body))) return;
    status_ = 500;  // the exchange's own answer in place of a head that cannot be sent
    flags_ = flag::kUpstreamProtocol;
    details_ = "unsendable_answer";
  }
  void answer_problem(ProblemCode code, std::string_view allow = {}, std::string_view text = {}) {
    const router::Problem& problem = router::describe(code);
    http1::ResponseHead head = problem_head(code);
    if (code == ProblemCode::method_not_allowed) head.headers.add("Allow", allow);
    if (!challenge_.empty()) head.headers.add("WWW-Authenticate", challenge_);
    if (code == ProblemCode::rate_limited) head.headers.remove("Retry-After");
    rate_.write_to(head.headers);
    head.headers.add("X-Request-Id", request_id_);
    problem_ = code;
    flags_ = problem.response_flag;
    details_ = why_.empty() ? problem.code : why_;
    answer(head, router::problem_json(code, text.empty() ? advice(code) : text, trace_->trace_id()));
  }
  void refuse(Authenticator::Refusal refusal) {
    why_ = refusal.why;
    challenge_ = std::move(refusal.challenge);
    answer_problem(refusal.code, {}, refusal.detail);
  }
  void refuse_method(std::string_view allow, std::string_view text = {}) {
    answer_problem(ProblemCode::method_not_allowed, allow, text);
  }
  void answer_options(std::string_view allow = {}) {
    http1::ResponseHead head;
    head.status = 204;
    if (!allow.empty()) head.headers.add("Allow", allow);
    details_ = kOwnAnswer;
    answer(head, {});
  }

  // The gateway's own pages win over mounts; those that are not there yet do so, too.
  void answer_own_path(OwnPath own) {
    constexpr std::string_view kMethods = "GET, HEAD, OPTIONS";
    const http1::RequestHead& request = exchange_.request();
    own_route_ = router::to_string(own);
    if (own == OwnPath::docs || own == OwnPath::gateway_api) {
      return answer_problem(ProblemCode::no_route, {}, "The gateway has nothing at this path.");
    }
    if (request.method == "OPTIONS") return answer_options(kMethods);
    if (request.method != "GET" && request.method != "HEAD") return refuse_method(kMethods, "Only GET and HEAD.");
    http1::ResponseHead head;
    details_ = kOwnAnswer;
    head.headers.add("Cache-Control", "public, max-age=60");
    head.headers.add("ETag", view_->openapi_etag);
    if (request.headers.find("If-None-Match").value_or("").find(view_->openapi_etag) != std::string_view::npos) {
      head.status = 304;
      return answer(head, {});
    }
    if (own == OwnPath::openapi_links) {
      head.headers.add("Content-Type", "application/json");
      std::string etag;
      base::append_json_escaped(etag, view_->openapi_etag);
      return answer(head, R"({"openapi":"/openapi.json","openapi_yaml":"/openapi.yaml","etag":")" + etag +
                              R"(","generated_at":")" + view_->generated_at + "\"}");
    }
    // Every JSON text is a YAML 1.2 document: one rendering serves both.
    head.headers.add("Content-Type", own == OwnPath::openapi_json ? "application/json" : "application/yaml");
    answer(head, *view_->openapi_json);
  }

  bool on_refused(http1::ParseProblem problem, http1::ResponseHead& head, std::string& body) override {
    cancel();
    problem_ = problem_of(problem);
    head.headers.add("X-Request-Id", request_id_);
    fill_refusal(problem, trace_->trace_id(), head, body);
    status_ = head.status;
    flags_ = flag_of(problem);
    details_ = http1::name_of(problem);
    return true;
  }
  void on_aborted(const base::Error& why) override {
    cancel();
    if (status_ == 0) note_break_off(why.code == base::Code::deadline);
  }
  // Nothing is to come of it any more, though it is kept until its last byte is written.
  void cancel() {
    waiting_.cancel();
    handle_.cancel();
  }
  void note_break_off(bool is_idle) {
    flags_ = edge_.is_stopping_ ? flag::kLocalReset : is_idle ? flag::kStreamIdle : flag::kDownstreamClosed;
    details_ = edge_.is_stopping_ ? "drain_time_over" : is_idle ? "stream_idle_timeout" : "downstream_remote_disconnect";
  }

  // 10 One end, whatever happened, once the last byte is with the kernel or cannot get there any more.
  void end() {
    if (exchange_.was_cut() && flags_.empty()) note_break_off(false);
    const http1::RequestHead& request = exchange_.request();
    telemetry::AccessRecord record;
    record.start = started_wall_;
    record.method = request.method;
    record.path = edge_.options_.access_log_query ? std::string_view(request.target) : path_of(request.target);
    record.minor_version = request.minor_version;
    record.status = status_;
    record.flags = flags_;
    record.code_details = details_;
    record.bytes_received = bytes_received_;
    record.bytes_sent = exchange_.body_bytes_sent();
    record.duration = edge_.loop_.now() - started_;
    record.service_time = service_time_;
    record.forwarded_for = exchange_.peer_address();
    record.user_agent = user_agent_;
    record.request_id = request_id_;
    record.authority = authority_;
    record.upstream_host = instance_;
    record.instance = instance_;
    if (match_.metadata != nullptr) record.service = record.upstream_cluster = match_.metadata->service;
    const bool has_template =
        match_.kind == router::Match::Kind::matched || match_.kind == router::Match::Kind::method_not_allowed;
    record.route = has_template ? match_.route : own_route_.empty() ? kUnmatched : own_route_;
    if (trace_) {
      record.trace_id = trace_->trace_id();
      record.span_id = trace_->span_id();
    }
    record.correlation_id = handle_.id();
    record.attempt = attempt_;
    record.queue_wait = queue_wait_;
    if (who_ != nullptr) record.subject = who_->subject;
    edge_.on_request_ended(record, problem_, /*was_begun=*/true);
  }

  EdgeHandler& edge_;
  http1::Exchange& exchange_;
  base::TimePoint started_;
  base::WallMillis started_wall_;
  std::shared_ptr<const RoutingView> view_;  // from step 4 on; match_ points into it
  Credentials credentials_;
  Authenticator::Who who_;  // from step 4 on
  bool is_proxied_ = false;  // by one that is trusted
  router::Match match_;
  router::Call call_;
  bool is_sent_ = false;
  base::Charge charge_;
  std::size_t held_ = 0;  // bytes besides the body that is coming in
  http1::ResponseHead head_;
  std::string body_;
  int status_ = 0;
  std::optional<ProblemCode> problem_;
  std::uint64_t bytes_received_ = 0;
  std::string authority_;
  std::string user_agent_;
  std::string request_id_;
  std::optional<telemetry::TraceContext> trace_;  // from step 3 on
  std::string instance_;
  std::uint32_t attempt_ = 0;
  std::optional<base::Duration> service_time_;
  std::optional<base::Duration> queue_wait_;
  std::string_view own_route_;
  std::string_view flags_;
  std::string_view details_;
  std::string_view why_;   // details of a problem whose code does not tell them
  std::string challenge_;  // for WWW-Authenticate
  RateLimitOutcome rate_;
  net::Pending waiting_;
  router::Dispatcher::Handle handle_;  // last: dies first, and silences the call
};

void EdgeHandler::on_request(http1::Exchange& exchange) {
  auto request = std::make_unique<EdgeRequest>(*this, exchange);
  EdgeRequest& started = *request;
  exchange.set_handler(std::move(request));
  started.start();
}

// No exchange was made of it: its head is not whole, or not to be understood.
void EdgeHandler::on_bad_request(http1::ParseProblem problem, const http1::RequestHead* request,
                                 std::string_view peer_address, http1::ResponseHead& head, std::string& body) {
  fill_refusal(problem, {}, head, body);
  telemetry::AccessRecord record;
  record.start = loop_.clock().wall();
  record.status = head.status;
  record.flags = flag_of(problem);
  record.code_details = http1::name_of(problem);
  record.bytes_sent = body.size();
  record.forwarded_for = peer_address;
  record.route = kUnmatched;
  if (request != nullptr) {
    record.method = request->method;
    record.minor_version = request->minor_version;
    // In absolute form, and in a Host that is none, there may be a password.
    const bool is_path = !request->target.empty() && (request->target.front() == '/' || request->target == "*");
    if (is_path) record.path = options_.access_log_query ? std::string_view(request->target) : path_of(request->target);
    const std::string_view host = request->headers.find("Host").value_or("");
    if (host.find('@') == std::string_view::npos) record.authority = host;
    record.user_agent = request->headers.find("User-Agent").value_or("");
  }
  on_request_ended(record, problem_of(problem), /*was_begun=*/false);
}

void EdgeHandler::on_request_ended(const telemetry::AccessRecord& record, std::optional<ProblemCode> problem,
                                   bool was_begun) {
  using telemetry::RequestEnd;
  telemetry::EndedRequest ended{.service = record.service,
                                .route = record.route == kUnmatched ? std::string_view() : record.route,
                                .method = record.method,
                                .status = record.status,
                                .end = RequestEnd::answered,
                                .problem = problem ? router::describe(*problem).code : std::string_view(),
                                .duration = record.duration};
  // Before its answer, or while that was being sent.
  if (record.status == 0 || record.flags == flag::kDownstreamClosed) ended.end = RequestEnd::cancelled;
  if (problem == ProblemCode::timeout) ended.end = RequestEnd::expired;
  if (problem == ProblemCode::outcome_unknown) ended.end = RequestEnd::outcome_unknown;
  if (was_begun) {
    metrics_.end(ended);
  } else {
    ended.duration = base::Duration(-1);  // none was measured
    metrics_.count(ended);
  }
  telemetry::write_access(options_.access_log, record);
}

}  // namespace outrigger::gateway
