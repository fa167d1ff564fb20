#include "bridge/http1/client_pool.h"

#include <algorithm>

#include "bridge/http1/client_session.h"
#include "bridge/net/connector.h"

namespace outrigger::http1 {
namespace {
using base::Code;
using base::Error;
}  // namespace

struct ClientPool::Connecting {
  net::Pending pending;
};

struct ClientPool::Queues {
  using Queue = base::IntrusiveList<ClientOperation, &ClientOperation::hook>;
  Queue first;  // retries: they have waited already
  Queue waiting;
};

ClientCall::ClientCall() = default;
ClientCall::ClientCall(std::unique_ptr<ClientOperation> operation) : operation_(std::move(operation)) {}
ClientCall::ClientCall(ClientCall&&) noexcept = default;
ClientCall& ClientCall::operator=(ClientCall&&) noexcept = default;
ClientCall::~ClientCall() = default;
void ClientCall::cancel() {
  operation_.reset();
}
void ClientCall::pause_body() {
  ++operation_->body_pauses;
}
void ClientCall::resume_body() {
  CHECK(operation_->body_pauses > 0);
  if (--operation_->body_pauses == 0 && operation_->session != nullptr) operation_->session->resume();
}

ClientPool::ClientPool(net::EventLoop& loop, net::Endpoint to, ClientPoolOptions options)
    : loop_(loop), to_(std::move(to)), options_(std::move(options)), queues_(std::make_unique<Queues>()) {}

ClientPool::~ClientPool() {
  is_closed_ = true;
  while (ClientOperation* operation = take_waiting()) {
    operation->pool = nullptr;
    operation->deadline_timer.cancel();
  }
  while (!sessions_.empty()) {
    ClientSession& session = *sessions_.back();
    if (!session.is_free()) {
      session.operation_->pool = nullptr;
      session.operation_->deadline_timer.cancel();
      session.abandon();
    } else {
      session.close();
    }
  }
}

ClientCall ClientPool::request(ClientRequest request, base::TimePoint deadline, ClientHandler& handler) {
  CHECK_ON_LOOP(loop_);
  auto operation = std::make_unique<ClientOperation>(loop_, *this, std::move(request), handler);
  if (is_closed_) {
    operation->fail_later({Code::closed, "pool is closed"});
  } else {
    operation->deadline_timer.arm_at(deadline);
    wait(*operation, false);
    dispatch();
  }
  return ClientCall(std::move(operation));
}

void ClientPool::wait(ClientOperation& operation, bool goes_first) {
  (goes_first ? queues_->first : queues_->waiting).push_back(operation);
  operation.is_waiting = true;
  ++waiting_count_;
}

void ClientPool::stop_waiting(ClientOperation& operation) {
  operation.hook.unlink();
  operation.is_waiting = false;
  --waiting_count_;
}

ClientOperation* ClientPool::take_waiting() {
  ClientOperation* operation = queues_->first.empty() ? queues_->waiting.front() : queues_->first.front();
  if (operation != nullptr) stop_waiting(*operation);
  return operation;
}

void ClientPool::dispatch() {
  while (waiting_count_ > 0) {
    if (!idle_.empty()) {
      ClientSession* session = idle_.back();
      idle_.pop_back();
      session->start(*take_waiting());
    } else if (connecting_.size() < waiting_count_ &&
               sessions_.size() + connecting_.size() < options_.max_connections) {
      connect();
    } else {
      return;
    }
  }
}

void ClientPool::connect() {
  connecting_.push_back(std::make_unique<Connecting>());
  Connecting& attempt = *connecting_.back();
  attempt.pending = net::connect(loop_, to_, loop_.now() + options_.connect_timeout,
                                 [this, &attempt](base::Result<std::unique_ptr<net::Transport>> result) {
                                   on_connected(attempt, std::move(result));
                                 });
}

void ClientPool::on_connected(Connecting& attempt, base::Result<std::unique_ptr<net::Transport>> result) {
  connecting_.erase(
      std::find_if(connecting_.begin(), connecting_.end(), [&](const auto& other) { return other.get() == &attempt; }));
  ++(result ? counters_.connected : counters_.refused);
  if (!result) {
    // Each waiting request made an attempt of its own, so the failure belongs to the one that waits longest.
    if (ClientOperation* operation = take_waiting()) {
      operation->fail_later({Code::refused, result.error().detail});
    }
    dispatch();
    return;
  }
  if (is_closed_ && waiting_count_ == 0) return;  // the transport closes with `result`
  sessions_.push_back(std::make_unique<ClientSession>(loop_, *this, std::move(result).value(), options_));
  on_session_free(*sessions_.back());
}

void ClientPool::on_session_free(ClientSession& session) {
  if (ClientOperation* operation = take_waiting()) return session.start(*operation);
  if (is_closed_) return session.close();
  idle_.push_back(&session);
  session.timer_.arm(session.idle_lifetime_);
}

void ClientPool::on_session_closed(ClientSession& session) {
  const auto idle = std::find(idle_.begin(), idle_.end(), &session);
  if (idle != idle_.end()) idle_.erase(idle);
  const auto found =
      std::find_if(sessions_.begin(), sessions_.end(), [&](const auto& other) { return other.get() == &session; });
  loop_.release(std::move(*found));
  sessions_.erase(found);
  dispatch();
}

void ClientPool::retry(ClientOperation& operation) {
  operation.was_retried = true;
  ++counters_.retried;
  // One dead connection of several idle ones usually means that the service was restarted.
  close_idle();
  wait(operation, true);
  if (connecting_.size() < waiting_count_ && sessions_.size() + connecting_.size() < options_.max_connections)
    connect();
}

void ClientPool::close_idle() {
  while (!idle_.empty()) idle_.back()->close();
}

void ClientPool::begin_drain() {
  is_closed_ = true;
  close_idle();
}

void ClientPool::close() {
  is_closed_ = true;
  const Error why{Code::closed, "pool is closed"};
  connecting_.clear();
  while (ClientOperation* operation = take_waiting()) operation->fail_later(why);
  while (!sessions_.empty()) {
    ClientSession& session = *sessions_.back();
    if (session.is_free()) {
      session.close();
    } else {
      ClientOperation& operation = *session.operation_;
      session.abandon();
      operation.fail_later(why, true, operation.response_started);
    }
  }
}

}  // namespace outrigger::http1
