#include "bridge/frames/frame.h"

namespace outrigger::frames {

std::string_view name_of(FrameType type) {
  switch (type) {
    case FrameType::hello:
      return "HELLO";
    case FrameType::heartbeat:
      return "HEARTBEAT";
    case FrameType::request:
      return "REQUEST";
    case FrameType::response:
      return "RESPONSE";
    case FrameType::request_stream_data:
      return "REQUEST_STREAM_DATA";
    case FrameType::response_stream_data:
      return "RESPONSE_STREAM_DATA";
    case FrameType::cancel:
      return "CANCEL";
    case FrameType::look:
      return "LOOK";
    case FrameType::resync_request:
      return "RESYNC_REQUEST";
    case FrameType::endpoints_update:
      return "ENDPOINTS_UPDATE";
    case FrameType::accept:
      return "ACCEPT";
    case FrameType::goodbye:
      return "GOODBYE";
    case FrameType::credit:
      return "CREDIT";
  }
  return "unknown";
}

std::string_view name_of(InstanceState state) {
  switch (state) {
    case InstanceState::starting:
      return "starting";
    case InstanceState::healthy:
      return "healthy";
    case InstanceState::degraded:
      return "degraded";
    case InstanceState::draining:
      return "draining";
  }
  return "unknown";
}

std::string_view name_of(WakeMode mode) {
  switch (mode) {
    case WakeMode::block:
      return "block";
    case WakeMode::notify:
      return "notify";
  }
  return "unknown";
}

std::string_view name_of(Fault fault) {
  switch (fault) {
    case Fault::service_unreachable:
      return "service-unreachable";
    case Fault::bad_answer:
      return "bad-answer";
    case Fault::outcome_unknown:
      return "outcome-unknown";
    case Fault::timeout:
      return "timeout";
    case Fault::expired:
      return "expired";
    case Fault::body_too_large:
      return "body-too-large";
    case Fault::unavailable:
      return "unavailable";
  }
  return "unknown";
}

}  // namespace outrigger::frames
