// What the consumer calls: the service behind a sidecar. The sidecar implements it over HTTP
// (sidecar/service_handler.h), tests by hand. Loop thread only.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "bridge/base/clock.h"
#include "bridge/base/header_list.h"
#include "bridge/frames/frame.h"
#include "bridge/net/pending.h"

namespace outrigger::router {

struct ServiceFailure {
  enum class Kind : std::uint8_t {
    unreachable,  // no connection: the service has certainly not seen the request
    broken,       // it may have seen it, and broke off
    malformed,    // it answered what is no HTTP
    timeout,      // the deadline passed first
    too_large,    // the answer is above the limit
    no_room,      // it answered, and there is no memory for the answer now
  };
  Kind kind;
  std::string detail;  // for logs
};

// Head once, body any number of times, then exactly one of end and failed; failed may come at any time instead. Never
// inside call(), and not after its handle was destroyed.
class AnswerSink {
 public:
  virtual void on_answer_head(int status, std::string_view reason, base::HeaderList headers) = 0;
  virtual void on_answer_body(std::string_view bytes) = 0;
  virtual void on_answer_end() = 0;
  virtual void on_answer_failed(ServiceFailure failure) = 0;

 protected:
  ~AnswerSink() = default;
};

class Service {
 public:
  // Calls the service once. May take the body out of `request`, and put a span of its own into its trace; the rest of it
  // stays for the caller. Destroying the handle breaks the call off.
  virtual net::Pending call(frames::Request& request, base::TimePoint deadline, AnswerSink& sink) = 0;

 protected:
  ~Service() = default;
};

}  // namespace outrigger::router
