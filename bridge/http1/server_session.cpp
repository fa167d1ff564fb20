#include "bridge/http1/server_session.h"

#include <algorithm>

namespace outrigger::http1 {
namespace {

using base::Code;
using base::equals_ignoring_case;
using base::Error;
namespace limits = base::limits;

// Memory for pipelined bytes that a connection without any keeps for the next ones.
constexpr std::size_t kKeptRoom = 1024;

// Below this a body is copied behind its head, so that one write(2) takes one piece.
constexpr std::size_t kCopyBelow = 4096;

// Heads are put together here; what it holds is handed to the connection before anything else runs.
std::string& scratch() {
  thread_local std::string text;
  text.clear();
  return text;
}

bool lists_close(const base::HeaderList& headers) {
  for (const base::HeaderField field : headers) {
    if (equals_ignoring_case(field.name, "Connection") && equals_ignoring_case(field.value, "close")) return true;
  }
  return false;
}

Code code_of(ParseProblem problem) {
  switch (problem) {
    case ParseProblem::body_too_large:
      return Code::too_large;
    case ParseProblem::timed_out:
      return Code::deadline;
    case ParseProblem::overloaded:
      return Code::overloaded;
    default:
      return Code::malformed;
  }
}

}  // namespace

void RequestHandler::on_bad_request(ParseProblem, const RequestHead*, std::string_view, ResponseHead& head,
                                    std::string& body) {
  head.headers.add("Content-Type", "text/plain");
  body = std::to_string(head.status) + " " + std::string(reason_phrase(head.status)) + "\n";
}

std::string_view Exchange::peer_address() const {
  return session_.peer_address_;
}

void Exchange::accept_body() {
  if (!is_over()) session_.accept_body(*this);
}
void Exchange::pause_body() {
  ++body_pauses_;
}
void Exchange::resume_body() {
  CHECK(body_pauses_ > 0);
  if (--body_pauses_ == 0 && !is_over()) session_.on_body_resumed();
}
bool Exchange::send_head(const ResponseHead& head, bool end) {
  return is_over() || session_.send_head(*this, head, end, nullptr);
}
void Exchange::send_body(std::string bytes) {
  if (!is_over()) session_.send_body(*this, std::move(bytes));
}
void Exchange::send_end() {
  if (!is_over()) session_.send_end(*this);
}
bool Exchange::send(const ResponseHead& head, std::string body) {
  if (is_over()) return true;
  if (!session_.send_head(*this, head, body.empty(), &body)) return false;
  if (is_over()) return true;
  if (!body.empty()) session_.send_body(*this, std::move(body));
  send_end();
  return true;
}
void Exchange::abort() {
  if (is_over()) return;
  out_ = Out::over;
  session_.close();
}

ServerSession::ServerSession(net::EventLoop& loop, std::unique_ptr<net::Transport> transport, std::string peer_address,
                             const ServerOptions& options, SessionHandler& handler)
    : loop_(loop),
      options_(options),
      handler_(handler),
      peer_address_(std::move(peer_address)),
      parser_(options.limits),
      kept_charge_(options.buffered),
      unsent_charge_(options.buffered),
      read_timer_(loop, [this] { on_read_timeout(); }),
      write_timer_(loop, [this] { on_write_timeout(); }),
      connection_(loop, std::move(transport), *this) {
  wait(Phase::idle, options_.head_timeout);
}

ServerSession::~ServerSession() {
  // Only reached with an exchange if the owner did not close: its handler must not find a half-dead session.
  if (exchange_ != nullptr) exchange_->out_ = Exchange::Out::over;
}

void ServerSession::wait(Phase phase, base::Duration time) {
  waits_for_ = phase;
  read_timer_.arm(time);
}

void ServerSession::wait_for_body() {
  if (std::exchange(waits_for_, Phase::exchange) == Phase::exchange) {
    body_pace_.note(loop_.now(), body_received_);
  } else {
    body_pace_.start(loop_.now(), body_received_);
  }
  arm_for_body();
}

void ServerSession::arm_for_body() { read_timer_.arm_at(next_look(body_pace_, options_.body_timeout)); }

// The time it waited for us is not its fault.
void ServerSession::on_body_resumed() {
  waits_for_ = Phase::closed;
  wake();
}

bool ServerSession::is_too_slow(Pace& pace, base::Duration timeout) {
  if (options_.buffered != nullptr && options_.buffered->is_pressed() && limits::kPressedTimeout < timeout &&
      pace.is_too_slow(loop_.now(), limits::kPressedTimeout, limits::kPressedRate)) {
    return true;
  }
  return pace.is_too_slow(loop_.now(), timeout, options_.min_rate);
}

base::TimePoint ServerSession::next_look(const Pace& pace, base::Duration timeout) const {
  const base::TimePoint next = pace.next(timeout);
  return options_.buffered == nullptr ? next : std::min(next, loop_.now() + limits::kPressedTimeout);
}

void ServerSession::begin_drain() {
  is_draining_ = true;
  if (phase_ == Phase::idle) close_idle();
}

// Without a request in work: what is still to be written is.
void ServerSession::close_idle() {
  if (connection_.unsent_bytes() > 0) {
    finish();
  } else {
    end();
  }
}

void ServerSession::close() {
  if (phase_ == Phase::closed) return;
  abort_exchange({Code::closed, "session closed"});
  end();
}

// The one way out.
void ServerSession::end() {
  if (phase_ == Phase::closed) return;
  phase_ = Phase::closed;
  waiting_hook_.unlink();
  connection_.close();
  unsent_charge_.set(0);
  kept_charge_.set(0);
  const std::uint64_t written = queued_bytes_ - connection_.unsent_bytes();
  put_away_exchange();
  for (auto& exchange : unwritten_) {
    if (exchange->ends_at_ > written) {
      exchange->was_cut_ = true;
      exchange->body_bytes_sent_ -= std::min(exchange->body_bytes_sent_, exchange->ends_at_ - written);
    }
    loop_.release(std::move(exchange));
  }
  unwritten_.clear();
  handler_.on_session_closed(*this);
}

// It is kept until its last byte is with the kernel: only then it is known how it ended.
void ServerSession::put_away_exchange() {
  if (exchange_ == nullptr) return;
  exchange_->ends_at_ = queued_bytes_;
  if (connection_.unsent_bytes() == 0) return loop_.release(std::move(exchange_));
  unwritten_.push_back(std::move(exchange_));
}

void ServerSession::abort_exchange(const Error& why) {
  if (exchange_ == nullptr || exchange_->is_over()) return;
  exchange_->out_ = Exchange::Out::over;
  if (exchange_->handler_ != nullptr) exchange_->handler_->on_aborted(why);
}

void ServerSession::on_data(std::string_view bytes) {
  if (phase_ == Phase::finishing || phase_ == Phase::closed) return;
  if (is_resting_) return keep(bytes);
  if (!kept_.empty()) {
    kept_.append(bytes);
    process_kept();
    return;
  }
  process(bytes);
  keep(bytes);
}

void ServerSession::process_kept() {
  std::string_view input = kept_;
  process(input);
  if (input.size() < kept_.size()) kept_.erase(0, kept_.size() - input.size());
  keep({});
}

void ServerSession::keep(std::string_view rest) {
  if (phase_ == Phase::finishing || phase_ == Phase::closed) {
    std::string().swap(kept_);
    kept_charge_.set(0);
    return;
  }
  kept_.append(rest);
  if (kept_.capacity() > kKeptRoom && kept_.size() < kept_.capacity() / 4) std::string(kept_).swap(kept_);
  if (!kept_charge_.try_set(kept_.capacity() + parser_.held_bytes())) {
    return phase_ == Phase::discarding ? finish() : refuse(ParseProblem::overloaded);
  }
  const bool must_pause = kept_.size() >= options_.look_ahead_bytes;
  if (must_pause == has_paused_reading_) return;
  has_paused_reading_ = must_pause;
  if (must_pause) {
    connection_.pause_reading();
  } else {
    connection_.resume_reading();
  }
}

void ServerSession::wake() {
  if (!is_processing_) loop_.flush_later(*this);
}

void ServerSession::flush() {
  is_resting_ = false;
  if (phase_ != Phase::closed && phase_ != Phase::finishing) process_kept();
}

void ServerSession::process(std::string_view& input) {
  is_processing_ = true;
  int begun = 0;
  for (bool goes_on = true; goes_on;) {
    switch (phase_) {
      case Phase::exchange:
        goes_on = process_exchange(input);
        continue;
      case Phase::finishing:
      case Phase::closed:
        goes_on = false;
        continue;
      case Phase::idle:
      case Phase::head:
        // The others have their turn between them.
        if (begun < limits::kRequestsPerTurn) break;
        if (!input.empty()) {
          is_resting_ = true;
          loop_.flush_next_turn(*this);
        }
        goes_on = false;
        continue;
      case Phase::discarding:
        break;
    }
    switch (parser_.next(input)) {
      case Step::need_more:
        goes_on = false;
        // While discarding, more bytes buy no more time: it was answered.
        if (phase_ == Phase::idle && parser_.is_in_message()) {
          phase_ = Phase::head;
          wait(Phase::head, options_.head_timeout);
        }
        break;
      case Step::head:
        ++begun;
        begin_exchange();
        break;
      case Step::body:
        discarded_ += parser_.body().size();
        if (discarded_ > options_.discard_bytes) finish();
        break;
      case Step::end:
        become_idle();
        break;
      case Step::failed:
        if (phase_ == Phase::discarding) {
          finish();
        } else {
          refuse(parser_.problem());
        }
        break;
    }
  }
  is_processing_ = false;
}

bool ServerSession::process_exchange(std::string_view& input) {
  Exchange& exchange = *exchange_;
  if (exchange.is_over()) {
    end_exchange();
    return true;
  }
  if (!exchange.is_body_accepted_ || exchange.body_pauses_ > 0) return false;
  if (is_request_read_) {
    if (exchange.has_told_end_) return false;
    exchange.has_told_end_ = true;
    if (exchange.handler_ != nullptr) exchange.handler_->on_request_end();
    return true;
  }
  switch (parser_.next(input)) {
    case Step::need_more:
      wait_for_body();
      return false;
    case Step::body:
      owes_continue_ = false;
      body_received_ += parser_.body().size();
      if (exchange.handler_ != nullptr) exchange.handler_->on_body(parser_.body());
      return true;
    case Step::end:
      is_request_read_ = true;
      return true;
    case Step::head:
    case Step::failed:
      refuse(parser_.problem());
      return true;
  }
  return false;
}

void ServerSession::begin_exchange() {
  phase_ = Phase::exchange;
  waits_for_ = Phase::closed;
  waiting_hook_.unlink();
  is_new_ = false;
  ++handler_.session_counters().requests;
  exchange_ = std::make_unique<Exchange>(*this, std::move(parser_.head()));
  const RequestHead& request = exchange_->request();
  keeps_alive_ = request.keep_alive;
  owes_continue_ = request.expects_continue;
  is_request_read_ = !request.has_body();
  if (is_request_read_) {
    std::string_view none;
    parser_.next(none);
  }
  handler_.on_request(*exchange_);
}

void ServerSession::end_exchange() {
  put_away_exchange();
  if (!keeps_alive_) return finish();
  if (is_request_read_) {
    become_idle();
  } else {
    phase_ = Phase::discarding;
    discarded_ = 0;
    wait(Phase::discarding, options_.body_timeout);
  }
  if (!is_request_read_ || !kept_.empty()) wake();
}

void ServerSession::become_idle() {
  if (is_draining_) return finish();
  phase_ = Phase::idle;
  wait(Phase::idle, options_.idle_timeout);
  if (connection_.unsent_bytes() == 0) handler_.on_session_waits(*this);
}

// Everything to come from this client is ignored; what it must still get is written, and the connection lingers so that
// it can read that (RFC 9112 section 9.6).
void ServerSession::finish() {
  phase_ = Phase::finishing;
  waits_for_ = Phase::closed;
  waiting_hook_.unlink();
  if (!is_processing_) keep({});
  connection_.close_when_flushed();
}

// The framing is lost or not to be trusted: whatever follows on this connection must not be read as a request
// (tests/data/http/smuggling.md).
void ServerSession::refuse(ParseProblem problem) {
  ++handler_.session_counters().refused;
  if (problem == ParseProblem::overloaded) ++handler_.session_counters().overloaded;
  // What follows a request that is in work cannot be answered before it, nor the request by this.
  const bool is_answered = exchange_ != nullptr && (exchange_->is_head_sent() || is_request_read_);
  if (is_answered) {
    abort_exchange({code_of(problem), std::string(parser_.detail())});
    return end();
  }
  ResponseHead head;
  head.status = status_of(problem);
  std::string body;
  const RequestHead* request = nullptr;
  if (exchange_ != nullptr) {
    request = &exchange_->request();
  } else if (!parser_.head().method.empty()) {
    request = &parser_.head();
  }
  const bool is_told = exchange_ != nullptr && exchange_->handler_ != nullptr &&
                       exchange_->handler_->on_refused(problem, head, body);
  if (!is_told) handler_.on_bad_request(problem, request, peer_address_, head, body);
  if (phase_ == Phase::closed) return;
  if (request != nullptr && request->method == "HEAD") body.clear();
  std::string& text = scratch();
  const Framing framing{Framing::Body::length, body.size(), Framing::Connection::close};
  if (append_response_head(text, head, framing, http_date())) {
    write(text.append(body));
    if (exchange_ != nullptr) exchange_->body_bytes_sent_ = body.size();
  }
  abort_exchange({code_of(problem), std::string(parser_.detail())});
  if (phase_ == Phase::closed) return;
  put_away_exchange();
  finish();
}

void ServerSession::on_end() {
  switch (phase_) {
    case Phase::exchange:
      if (is_request_read_ && !options_.aborts_on_half_close) {
        keeps_alive_ = false;
        return;
      }
      abort_exchange({Code::closed, "client left"});
      return end();
    case Phase::finishing:
    case Phase::closed:
      return;  // the connection sees to it
    default:
      return close_idle();
  }
}

void ServerSession::on_closed(const Error& why) {
  abort_exchange({Code::closed, why.detail});
  end();
}

void ServerSession::on_write_pressure(bool is_above) {
  if (exchange_ != nullptr && !exchange_->is_over() && exchange_->handler_ != nullptr) {
    exchange_->handler_->on_write_pressure(is_above);
  }
}

void ServerSession::on_read_timeout() {
  // Armed for a phase that is over: nothing is waited for any more, or the next wait has armed it anew.
  if (waits_for_ != phase_) return;
  switch (phase_) {
    case Phase::idle:
      ++(is_new_ ? handler_.session_counters().timed_out_head : handler_.session_counters().closed_idle);
      return close_idle();
    case Phase::head:
      ++handler_.session_counters().timed_out_head;
      return refuse(ParseProblem::timed_out);
    case Phase::exchange:
      if (is_request_read_ || exchange_->body_pauses_ > 0) return;
      if (!is_too_slow(body_pace_, options_.body_timeout)) return arm_for_body();
      ++handler_.session_counters().timed_out_body;
      return refuse(ParseProblem::timed_out);
    case Phase::discarding:
      return finish();
    default:
      return;
  }
}

void ServerSession::write(std::string_view bytes) {
  note_write(bytes.size());
  connection_.write(bytes);
}

void ServerSession::write(std::string&& bytes) {
  note_write(bytes.size());
  connection_.write(std::move(bytes));
}

void ServerSession::note_write(std::size_t size) {
  if (!write_timer_.is_armed()) {
    write_pace_.start(loop_.now(), queued_bytes_ - connection_.unsent_bytes());
    write_timer_.arm_at(next_look(write_pace_, options_.write_timeout));
  }
  queued_bytes_ += size;
  unsent_charge_.set(connection_.unsent_bytes() + size);
}

void ServerSession::on_flushed() {
  was_flushed_ = true;
  unsent_charge_.set(0);
  for (auto& exchange : unwritten_) loop_.release(std::move(exchange));
  unwritten_.clear();
  const bool waits = phase_ == Phase::idle || phase_ == Phase::head;
  if (waits && !waiting_hook_.is_linked()) handler_.on_session_waits(*this);
}

void ServerSession::on_write_timeout() {
  const std::size_t unsent = connection_.unsent_bytes();
  if (phase_ == Phase::closed || unsent == 0) return;
  unsent_charge_.set(unsent);
  const std::uint64_t written = queued_bytes_ - unsent;
  // What it has not taken now may be of another answer than at the last look.
  if (std::exchange(was_flushed_, false)) {
    write_pace_.start(loop_.now(), written);
  } else {
    write_pace_.note(loop_.now(), written);
  }
  if (is_too_slow(write_pace_, options_.write_timeout)) {
    ++handler_.session_counters().timed_out_write;
    abort_exchange({Code::deadline, "client stopped reading"});
    connection_.reset();
    return end();
  }
  write_timer_.arm_at(next_look(write_pace_, options_.write_timeout));
}

std::string_view ServerSession::http_date() {
  struct Cache {
    std::int64_t second = -1;
    std::string text;
  };
  thread_local Cache cache;
  const std::int64_t second = std::chrono::duration_cast<std::chrono::seconds>(loop_.clock().wall()).count();
  if (second != cache.second) cache = {second, to_http_date(second)};
  return cache.text;
}

void ServerSession::accept_body(Exchange& exchange) {
  if (exchange.is_body_accepted_) return;
  exchange.is_body_accepted_ = true;
  if (owes_continue_ && !exchange.is_head_sent() && kept_.empty())
    write(std::string_view("HTTP/1.1 100 Continue\r\n\r\n"));
  owes_continue_ = false;
  wake();
}

bool ServerSession::send_head(Exchange& exchange, const ResponseHead& head, bool end, const std::string* whole_body) {
  CHECK(!exchange.is_head_sent());
  using Body = Framing::Body;
  const RequestHead& request = exchange.request();
  exchange.is_bodiless_ = is_bodiless(head.status, request.method);
  const auto field = head.headers.find("Content-Length");
  const auto announced = parse_content_length(field.value_or(std::string_view()));
  Framing& framing = exchange.framing_;
  if (head.status < 200 || head.status == 204) {
    framing.body = Body::none;
  } else if (exchange.is_bodiless_) {
    // To HEAD and in 304 the length is that of the response GET would have had: only the handler knows it.
    framing = {announced || (whole_body != nullptr && !whole_body->empty()) ? Body::length : Body::none,
               announced.value_or(whole_body != nullptr ? whole_body->size() : 0)};
  } else if (whole_body != nullptr) {
    framing = {Body::length, whole_body->size()};
  } else if (announced) {
    framing = {Body::length, *announced};
  } else if (end) {
    framing = {Body::length, 0};
  } else if (request.minor_version == 1) {
    framing.body = Body::chunked;
  } else {
    framing.body = Body::until_close;
  }

  if (is_draining_ || framing.body == Body::until_close || lists_close(head.headers)) keeps_alive_ = false;
  // Whether a client that waits for a 100 will send its body after another answer is its choice: only closing is safe.
  if (owes_continue_ && !is_request_read_) keeps_alive_ = false;
  if (!is_request_read_ && !request.is_chunked && parser_.remaining_body() > options_.discard_bytes + kept_.size() &&
      !exchange.is_body_accepted_) {
    keeps_alive_ = false;
  }
  framing.connection = !keeps_alive_                ? Framing::Connection::close
                       : request.minor_version == 0 ? Framing::Connection::keep_alive
                                                    : Framing::Connection::unsaid;

  std::string& text = scratch();
  if (!append_response_head(text, head, framing, http_date())) {
    keeps_alive_ = false;
    text = "HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    write(std::string_view(text));
    complete(exchange);
    return false;
  }
  exchange.out_ = Exchange::Out::body;
  const bool is_whole = whole_body != nullptr && !exchange.is_bodiless_ && whole_body->size() < kCopyBelow;
  if (is_whole) {
    text.append(*whole_body);
    exchange.body_bytes_sent_ = whole_body->size();
  }
  write(std::string_view(text));
  if (end || is_whole) send_end(exchange);
  return true;
}

void ServerSession::send_body(Exchange& exchange, std::string bytes) {
  CHECK(exchange.is_head_sent());
  if (bytes.empty() || exchange.is_bodiless_) return;
  exchange.body_bytes_sent_ += bytes.size();
  if (exchange.framing_.body == Framing::Body::length && exchange.body_bytes_sent_ > exchange.framing_.length) {
    return exchange.abort();
  }
  if (exchange.framing_.body != Framing::Body::chunked) return write(std::move(bytes));
  std::string& text = scratch();
  append_chunk_header(text, bytes.size());
  if (bytes.size() < kCopyBelow) {
    write(std::string_view(text.append(bytes).append(kChunkEnd)));
    return;
  }
  write(std::string_view(text));
  write(std::move(bytes));
  write(kChunkEnd);
}

void ServerSession::send_end(Exchange& exchange) {
  CHECK(exchange.is_head_sent());
  if (!exchange.is_bodiless_) {
    if (exchange.framing_.body == Framing::Body::length && exchange.body_bytes_sent_ < exchange.framing_.length) {
      return exchange.abort();
    }
    if (exchange.framing_.body == Framing::Body::chunked) write(kLastChunk);
  }
  complete(exchange);
}

void ServerSession::complete(Exchange& exchange) {
  exchange.out_ = Exchange::Out::over;
  // Inside process() the loop goes on by itself.
  if (!is_processing_) end_exchange();
}

}  // namespace outrigger::http1
