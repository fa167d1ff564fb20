// libevent's handles as values with an owner. The only file of the project that names libevent's free functions.
#pragma once

#include <event2/buffer.h>
#include <event2/event.h>
#include <event2/event_struct.h>

#include <memory>

#include "bridge/base/check.h"

namespace outrigger::net {

struct EventBaseFree {
  void operator()(event_base* base) const { event_base_free(base); }
};
using EventBasePtr = std::unique_ptr<event_base, EventBaseFree>;

struct EvbufferFree {
  void operator()(evbuffer* buffer) const { evbuffer_free(buffer); }
};
using EvbufferPtr = std::unique_ptr<evbuffer, EvbufferFree>;

// One interest in one descriptor, embedded in its owner (no allocation). Destruction ends the interest.
class FdEvent {
 public:
  FdEvent() = default;
  FdEvent(const FdEvent&) = delete;
  FdEvent& operator=(const FdEvent&) = delete;
  ~FdEvent() { disable(); }

  // `what` is EV_READ or EV_WRITE. `callback` is a captureless lambda of one line that casts and calls a member.
  void assign(event_base* base, int fd, short what, event_callback_fn callback, void* context) {
    disable();
    CHECK(event_assign(&event_, base, fd, static_cast<short>(what | EV_PERSIST), callback, context) == 0);
    is_assigned_ = true;
  }
  void enable() {
    if (is_enabled_) return;
    CHECK(is_assigned_ && event_add(&event_, nullptr) == 0);
    is_enabled_ = true;
  }
  void disable() {
    if (!is_enabled_) return;
    event_del(&event_);
    is_enabled_ = false;
  }
  bool is_enabled() const { return is_enabled_; }

 private:
  event event_{};
  bool is_assigned_ = false;
  bool is_enabled_ = false;
};

}  // namespace outrigger::net
