#include "bridge/net/connection.h"

#include <cstring>
#include <vector>

#include "bridge/base/limits.h"

namespace outrigger::net {
namespace {

using base::Code;
using base::Error;
namespace limits = base::limits;

// Bytes are handed up from here and never kept: one buffer serves every connection of the thread.
char* read_scratch() {
  thread_local std::vector<char> scratch(limits::kReadChunkBytes);
  return scratch.data();
}

Error io_error(int number) { return {Code::closed, std::strerror(number)}; }

}  // namespace

Connection::Connection(EventLoop& loop, std::unique_ptr<Transport> transport, ConnectionHandler& handler)
    : loop_(loop), transport_(std::move(transport)), handler_(handler), linger_timer_(loop, [this] {
        on_linger_due();
      }) {
  transport_->start(*this);
  transport_->watch_readable(true);
}

Connection::~Connection() { close(); }

void Connection::write(std::string_view bytes) {
  CHECK_ON_LOOP(loop_);
  if (state_ != State::open) return;
  out_.append(bytes);
  schedule_flush();
}

void Connection::write(std::string&& bytes) {
  CHECK_ON_LOOP(loop_);
  if (state_ != State::open) return;
  out_.append(std::move(bytes));
  schedule_flush();
}

void Connection::write(Buffer&& bytes) {
  CHECK_ON_LOOP(loop_);
  if (state_ != State::open) return;
  out_.append(std::move(bytes));
  schedule_flush();
}

void Connection::schedule_flush() {
  if (!waits_writable_) loop_.flush_later(*this);
}

void Connection::flush() {
  if (state_ == State::closed) return;
  while (!out_.empty()) {
    const IoResult result = transport_->write(out_);
    if (result.kind == IoResult::Kind::error) return fail(io_error(result.error_number));
    if (result.kind == IoResult::Kind::would_block || result.count == 0) break;
  }
  const bool must_wait = !out_.empty();
  if (must_wait != waits_writable_) {
    waits_writable_ = must_wait;
    transport_->watch_writable(must_wait);
  }
  if (out_.empty()) {
    if (shuts_when_flushed_) transport_->shutdown_write();
    if (state_ == State::finishing) {
      state_ = State::lingering;
      handler_.on_flushed();
      if (state_ == State::closed) return;
      if (has_ended_) return fail({Code::closed, "finished"});
      linger_timer_.arm(kLinger);
      return handler_.on_flushed();
    }
    handler_.on_flushed();
    if (state_ != State::open) return;
  }
  if (!is_above_mark_ && out_.size() > kHighMark) {
    is_above_mark_ = true;
    handler_.on_write_pressure(true);
  } else if (is_above_mark_ && out_.size() <= kHighMark / 2) {
    is_above_mark_ = false;
    handler_.on_write_pressure(false);
  }
}

void Connection::on_writable() { flush(); }

void Connection::on_readable() {
  if (state_ == State::finishing || state_ == State::lingering) return discard_input();
  char* scratch = read_scratch();
  for (int turn = 0; turn < limits::kReadsPerTurn; ++turn) {
    if (state_ != State::open || pauses_ > 0) return;
    const IoResult result = transport_->read(scratch, limits::kReadChunkBytes);
    switch (result.kind) {
      case IoResult::Kind::would_block:
        return;
      case IoResult::Kind::error:
        return fail(io_error(result.error_number));
      case IoResult::Kind::end:
        has_ended_ = true;
        update_read_interest();
        handler_.on_end();
        return;
      case IoResult::Kind::bytes:
        handler_.on_data({scratch, result.count});
        // A short read has most likely emptied the socket: the next read would only say so.
        if (result.count < limits::kReadChunkBytes) return;
    }
  }
}

void Connection::discard_input() {
  char* scratch = read_scratch();
  for (int turn = 0; turn < limits::kReadsPerTurn; ++turn) {
    const IoResult result = transport_->read(scratch, limits::kReadChunkBytes);
    if (result.kind == IoResult::Kind::would_block) return;
    if (result.kind == IoResult::Kind::bytes) continue;
    has_ended_ = true;
    transport_->watch_readable(false);
    // What is unsent may still reach a peer that only half-closed.
    if (state_ == State::lingering || result.kind == IoResult::Kind::error) fail({Code::closed, "finished"});
    return;
  }
}

void Connection::pause_reading() {
  ++pauses_;
  update_read_interest();
}

void Connection::resume_reading() {
  CHECK(pauses_ > 0);
  --pauses_;
  update_read_interest();
}

void Connection::update_read_interest() {
  if (state_ != State::open) return;
  transport_->watch_readable(pauses_ == 0 && !has_ended_);
}

void Connection::shutdown_write() {
  if (state_ != State::open) return;
  shuts_when_flushed_ = true;
  schedule_flush();
}

void Connection::close_when_flushed() {
  if (state_ != State::open) return;
  state_ = State::finishing;
  shuts_when_flushed_ = true;
  transport_->watch_readable(!has_ended_);
  // A peer that never reads would keep the unsent bytes for ever: bounded by the owner's write timeout, or by this.
  unsent_at_check_ = out_.size();
  linger_timer_.arm(kFlushPatience);
  loop_.flush_later(*this);
}

void Connection::on_linger_due() {
  if (state_ == State::finishing && out_.size() < unsent_at_check_) {  // slow, but it reads
    unsent_at_check_ = out_.size();
    linger_timer_.arm(kFlushPatience);
    return;
  }
  fail({Code::closed, "peer did not close in time"});
}

void Connection::close() {
  if (state_ == State::closed) return;
  state_ = State::closed;
  linger_timer_.cancel();
  transport_->close();
  lost_bytes_ = out_.size();
  out_.clear();
}

void Connection::reset() {
  if (state_ == State::closed) return;
  transport_->reset();
  close();
}

void Connection::fail(Error why) {
  if (state_ == State::closed) return;
  close();
  handler_.on_closed(why);
}

}  // namespace outrigger::net
