// CircuitBreaker: whether it is worth asking somebody who did not answer the last few times. Loop thread only.
#pragma once

#include <cstdint>

#include "bridge/base/clock.h"

namespace outrigger::gateway {

class CircuitBreaker {
 public:
  CircuitBreaker(int failures_to_open, base::Duration open_time)
      : failures_to_open_(failures_to_open), open_time_(open_time) {}

  // Every attempt that was allowed ends with succeeded() or failed().
  bool may_try(base::TimePoint now) {
    if (state_ == State::open && now >= open_until_) {
      state_ = State::probing;
      return true;
    }
    return state_ == State::closed;
  }
  // True if it was not closed before.
  bool succeeded() {
    failures_ = 0;
    if (state_ != State::probing) return false;  // open: of an attempt from before, and no news
    state_ = State::closed;
    return true;
  }
  // True if it was closed before, and is no more.
  bool failed(base::TimePoint now) {
    if (state_ == State::open) return false;
    if (state_ == State::closed && ++failures_ < failures_to_open_) return false;
    const bool was_closed = state_ == State::closed;
    state_ = State::open;
    open_until_ = now + open_time_;
    return was_closed;
  }

 private:
  enum class State : std::uint8_t {
    closed,  // attempts are made
    open,    // none until open_until_
    probing  // one is under way, and decides
  };

  const int failures_to_open_;
  const base::Duration open_time_;
  State state_ = State::closed;
  int failures_ = 0;  // in a row, while closed
  base::TimePoint open_until_;
};

}  // namespace outrigger::gateway
