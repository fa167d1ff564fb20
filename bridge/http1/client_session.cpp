#include "bridge/http1/client_session.h"

#include <algorithm>
#include <charconv>

#include "bridge/http1/serializer.h"

namespace outrigger::http1 {
namespace {

using base::Code;
using base::equals_ignoring_case;
using base::Error;

// Above this, a body goes to the connection as a piece of its own.
constexpr std::size_t kCopyBelow = 4096;

// What `Keep-Alive: timeout=N` promises, less a second for the way.
std::optional<base::Duration> promised_lifetime(const base::HeaderList& headers) {
  const auto value = headers.find("Keep-Alive");
  if (!value) return std::nullopt;
  constexpr std::string_view kName = "timeout=";
  const std::size_t at = value->find(kName);
  if (at == std::string_view::npos) return std::nullopt;
  unsigned seconds = 0;
  const char* first = value->data() + at + kName.size();
  if (std::from_chars(first, value->data() + value->size(), seconds).ec != std::errc()) return std::nullopt;
  return std::chrono::seconds(std::clamp(seconds, 1U, 3600U) - 1);
}

}  // namespace

ClientOperation::ClientOperation(net::EventLoop& loop, ClientPool& its_pool, ClientRequest its_request,
                                 ClientHandler& its_handler)
    : pool(&its_pool),
      request(std::move(its_request)),
      handler(its_handler),
      deadline_timer(loop, [this] { on_due(); }) {}

ClientOperation::~ClientOperation() {
  if (is_waiting) pool->stop_waiting(*this);
  if (session != nullptr) session->abandon();
}

void ClientOperation::fail(Error error, bool request_was_sent, bool has_response_started) {
  is_over = true;
  deadline_timer.cancel();
  handler.on_failed({std::move(error), request_was_sent, has_response_started});
}

void ClientOperation::fail_later(Error error, bool request_was_sent, bool has_response_started) {
  failure.reset(new ClientFailure{std::move(error), request_was_sent, has_response_started});
  deadline_timer.cancel();
  deadline_timer.arm(base::Duration(0));
}

void ClientOperation::on_due() {
  if (failure != nullptr) {
    const auto report = std::move(failure);
    return fail(report->error, report->request_was_sent, report->response_started);
  }
  const bool was_sent = session != nullptr;
  if (is_waiting) pool->stop_waiting(*this);
  if (session != nullptr) session->abandon();
  fail({Code::deadline, "no complete response in time"}, was_sent, response_started);
}

ClientSession::ClientSession(net::EventLoop& loop, ClientPool& pool, std::unique_ptr<net::Transport> transport,
                             const ClientPoolOptions& options)
    : loop_(loop),
      pool_(&pool),
      options_(options),
      parser_(options.limits),
      idle_lifetime_(options.idle_lifetime),
      timer_(loop, [this] { on_due(); }),
      connection_(loop, std::move(transport), *this) {}

ClientSession::~ClientSession() {
  if (operation_ != nullptr) operation_->session = nullptr;
}

void ClientSession::start(ClientOperation& operation) {
  ClientRequest& request = operation.request;
  Framing framing;
  // A method that usually has content says so when it has none (RFC 9110 section 8.6).
  if (!request.body.empty() || request.method == "POST" || request.method == "PUT" || request.method == "PATCH") {
    framing = {Framing::Body::length, request.body.size()};
  }
  thread_local std::string text;
  text.clear();
  request.headers.remove("Expect");
  operation_ = &operation;
  operation.session = this;
  has_received_ = can_be_reused_ = false;
  parser_.expect(request.method);
  if (!append_request_head(text, request.method, request.target, request.headers, framing)) {
    operation_ = nullptr;
    operation.session = nullptr;
    operation.fail_later({Code::invalid, "request has a part that may not be sent"});
    pool_->on_session_free(*this);
    return;
  }
  if (request.body.size() < kCopyBelow) {
    connection_.write(std::string_view(text.append(request.body)));
  } else {
    connection_.write(std::string_view(text));
    // The only copy is for a request that may have to be sent again.
    if (is_reused_ && request.repeatable) {
      connection_.write(std::string_view(request.body));
    } else {
      connection_.write(std::move(request.body));
    }
  }
  started_at_ = moved_at_ = loop_.now();
  unsent_at_look_ = connection_.unsent_bytes();
  arm();
}

// The earliest time at which something can have taken too long. Nearly always later than what the timer is armed for
// already, which costs nothing.
void ClientSession::arm() {
  base::TimePoint next = base::TimePoint::max();
  if (operation_->response_started) {
    next = moved_at_ + options_.body_timeout;
  } else {
    if (connection_.unsent_bytes() > 0) next = moved_at_ + options_.write_timeout;
    if (options_.head_timeout > base::Duration(0)) next = std::min(next, started_at_ + options_.head_timeout);
  }
  if (next != base::TimePoint::max()) timer_.arm_at(next);
}

void ClientSession::on_due() {
  if (is_closed()) return;
  if (is_free()) return close();
  const base::TimePoint now = loop_.now();
  const std::size_t unsent = connection_.unsent_bytes();
  if (!operation_->response_started && unsent < unsent_at_look_) {
    unsent_at_look_ = unsent;
    moved_at_ = now;
  }
  if (operation_->response_started) {
    if (operation_->body_pauses > 0) {
      moved_at_ = now;  // we do not ask for any
    } else if (now - moved_at_ >= options_.body_timeout) {
      return on_stalled(pool_->counters_.timed_out_body, "the service stopped in the middle of its response");
    }
  } else if (options_.head_timeout > base::Duration(0) && now - started_at_ >= options_.head_timeout) {
    return on_stalled(pool_->counters_.timed_out_head, "no response of the service in time");
  } else if (unsent > 0 && now - moved_at_ >= options_.write_timeout) {
    return on_stalled(pool_->counters_.timed_out_write, "the service does not take the request");
  }
  arm();
}

void ClientSession::on_stalled(std::uint64_t& counter, const char* what) {
  ++counter;
  fail({Code::deadline, what});
}

void ClientSession::abandon() {
  operation_->session = nullptr;
  operation_ = nullptr;
  close();
}

void ClientSession::close() {
  connection_.close();
  timer_.cancel();
  if (pool_ != nullptr) std::exchange(pool_, nullptr)->on_session_closed(*this);
}

void ClientSession::on_data(std::string_view bytes) {
  if (is_free()) return close();  // nobody asked: whatever it says, the next answer would not be to our question
  has_received_ = true;
  if (operation_->response_started) moved_at_ = loop_.now();
  if (!kept_.empty()) {
    kept_.append(bytes);
    flush();
    return;
  }
  process(bytes);
  keep(bytes);
}

void ClientSession::flush() {
  if (is_closed() || is_free()) return;
  std::string_view input = kept_;
  process(input);
  kept_.erase(0, kept_.size() - input.size());
  keep({});
}

// Only a paused body leaves anything behind.
void ClientSession::keep(std::string_view rest) {
  if (is_closed()) return;
  kept_.append(rest);
  const bool must_pause = operation_ != nullptr && operation_->body_pauses > 0;
  if (must_pause == has_paused_reading_) return;
  has_paused_reading_ = must_pause;
  if (must_pause) {
    connection_.pause_reading();
  } else {
    connection_.resume_reading();
  }
}

// After every call to the handler the operation may be gone (and the connection closed), never this object.
void ClientSession::process(std::string_view& input) {
  while (operation_ != nullptr) {
    if (operation_->response_started && operation_->body_pauses > 0) return;
    switch (parser_.next(input)) {
      case Step::need_more:
        return;
      case Step::head:
        on_head();
        break;
      case Step::body:
        operation_->handler.on_response_body(parser_.body());
        break;
      case Step::end:
        if (!input.empty()) can_be_reused_ = false;
        on_response_end();
        return;
      case Step::failed: {
        const bool is_too_large =
            parser_.problem() == ParseProblem::body_too_large || parser_.problem() == ParseProblem::headers_too_large;
        return fail({is_too_large ? Code::too_large : Code::malformed, std::string(parser_.detail())});
      }
    }
  }
}

void ClientSession::on_head() {
  ResponseHead& head = parser_.head();
  can_be_reused_ = parser_.keep_alive();
  const auto promised = promised_lifetime(head.headers);
  idle_lifetime_ = promised.value_or(options_.idle_lifetime);
  if (promised && *promised == base::Duration(0)) can_be_reused_ = false;
  operation_->response_started = true;
  moved_at_ = loop_.now();
  // The look for the head may be too late for the body, and a short body is here already.
  if (parser_.remaining_body() != 0) arm();
  operation_->handler.on_response_head(std::move(head), parser_.remaining_body() == 0);
}

void ClientSession::on_response_end() {
  // An answer before our body is out: what is unsent would be read as the next request.
  if (connection_.unsent_bytes() > 0) can_be_reused_ = false;
  ClientOperation& operation = *std::exchange(operation_, nullptr);
  operation.session = nullptr;
  operation.is_over = true;
  operation.deadline_timer.cancel();
  if (!can_be_reused_) {
    close();
  } else {
    is_reused_ = true;
    kept_.clear();
    pool_->on_session_free(*this);
  }
  operation.handler.on_response_end();
}

void ClientSession::fail(Error error) {
  ClientOperation& operation = *std::exchange(operation_, nullptr);
  operation.session = nullptr;
  close();
  operation.fail(std::move(error), true, operation.response_started);
}

void ClientSession::on_end() {
  end_by_peer({Code::closed, "service closed the connection"});
}

void ClientSession::on_closed(const Error& why) {
  end_by_peer(why);
}

void ClientSession::end_by_peer(const Error& why) {
  if (operation_ == nullptr) return close();
  if (operation_->body_pauses > 0 && operation_->response_started) {
    // What was received is for the handler, paused or not; there will be no more to hold back.
    operation_->body_pauses = 0;
    std::string_view input = kept_;
    process(input);
    if (operation_ == nullptr) return;
  }
  if (operation_->response_started && parser_.finish() == Step::end) {
    can_be_reused_ = false;
    return on_response_end();
  }
  if (!has_received_ && is_reused_ && operation_->request.repeatable && !operation_->was_retried) {
    ClientOperation& operation = *std::exchange(operation_, nullptr);
    operation.session = nullptr;
    ClientPool& pool = *pool_;
    close();
    return pool.retry(operation);
  }
  fail({Code::closed, why.detail});
}

}  // namespace outrigger::http1
