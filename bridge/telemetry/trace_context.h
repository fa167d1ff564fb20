// W3C Trace Context (www.w3.org/TR/trace-context): where a request stands in its trace. Each hop accepts what came in,
// takes a new span id under it, and passes that on; without a valid incoming context it starts a trace. Values only.
#pragma once

#include <array>
#include <string>
#include <string_view>

#include "bridge/base/header_list.h"

namespace outrigger::telemetry {

class TraceContext {
 public:
  // A new trace with one span. `sampled` asks the services behind to record it, too.
  static TraceContext root(bool sampled = true);

  // The same trace one hop further: new span id, this one's as its parent; flags and tracestate stay.
  TraceContext child() const;

  // Version 00, 55 characters; lives as long as this object.
  std::string_view traceparent() const { return {text_.data(), text_.size()}; }
  // Empty when there is none.
  const std::string& tracestate() const { return tracestate_; }
  std::string_view trace_id() const { return traceparent().substr(3, 32); }
  std::string_view span_id() const { return traceparent().substr(36, 16); }
  // The span this one hangs under; empty for the root of a trace.
  std::string_view parent_span_id() const {
    return has_parent_ ? std::string_view(parent_.data(), parent_.size()) : std::string_view();
  }
  bool is_sampled() const;

  // Replaces both fields of `headers`, names in lower case; without a tracestate only the old one is removed.
  void write_to(base::HeaderList& headers) const;

 private:
  friend TraceContext accept(std::string_view traceparent, std::string_view tracestate);
  TraceContext() = default;

  std::array<char, 55> text_{};
  std::array<char, 16> parent_{};
  bool has_parent_ = false;
  std::string tracestate_;
};

// This hop's context under the one in `headers`: a child of it when there is exactly one valid traceparent, else a new
// root. Several tracestate fields are joined in order; an invalid one is dropped without touching traceparent.
TraceContext accept(const base::HeaderList& headers);

// The same from the two values alone (members of a REQUEST frame); empty = absent.
TraceContext accept(std::string_view traceparent, std::string_view tracestate);

}  // namespace outrigger::telemetry
