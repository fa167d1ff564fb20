// traceparent and tracestate. Input: lines; the first is a traceparent, the rest are tracestate fields. What goes on is
// always a valid context, a valid one that came in is continued, and accepting our own output changes the span alone.
#include <cstddef>
#include <cstdint>
#include <string>

#include "bridge/base/check.h"
#include "bridge/telemetry/trace_context.h"
#include "tests/fuzz/fuzz_input.h"

namespace {

using outrigger::base::HeaderList;
using outrigger::fuzz::Input;
using outrigger::telemetry::accept;
using outrigger::telemetry::TraceContext;

bool is_hex(std::string_view text) {
  return text.find_first_not_of("0123456789abcdef") == std::string_view::npos;
}
bool is_id(std::string_view text, std::size_t size) {
  return text.size() == size && is_hex(text) && text.find_first_not_of('0') != std::string_view::npos;
}

void check_valid(const TraceContext& context) {
  const std::string_view text = context.traceparent();
  CHECK(text.size() == 55 && text.substr(0, 3) == "00-" && text[35] == '-' && text[52] == '-');
  CHECK(is_id(context.trace_id(), 32) && is_id(context.span_id(), 16));
  CHECK(text[53] == '0' && text[54] >= '0' && text[54] <= '3');
  CHECK(context.is_sampled() == ((text[54] - '0') % 2 == 1));
  CHECK(context.parent_span_id().empty() || is_id(context.parent_span_id(), 16));
  CHECK(context.tracestate().size() <= 32 * 513 + 31);
  for (const char c : context.tracestate()) CHECK(c >= 0x20 && c < 0x7f);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  Input input(data, size);
  const std::string_view traceparent = input.line();
  HeaderList headers;
  headers.add("TraceParent", traceparent);
  std::string joined;
  while (!input.empty()) {
    const std::string_view line = input.line();
    headers.add("tracestate", line);
    joined.append(joined.empty() ? "" : ",").append(line);
  }

  const TraceContext context = accept(headers);
  check_valid(context);
  // One field or several: the same list (RFC 9110 section 5.3).
  const TraceContext same = accept(traceparent, joined);
  CHECK(same.tracestate() == context.tracestate());
  CHECK(same.parent_span_id() == context.parent_span_id());
  if (!context.parent_span_id().empty()) {
    CHECK(traceparent.find(context.trace_id()) != std::string_view::npos);
    CHECK(traceparent.find(context.parent_span_id()) != std::string_view::npos);
    CHECK(same.trace_id() == context.trace_id());
    CHECK(context.span_id() != context.parent_span_id());
  } else {
    CHECK(context.tracestate().empty());
  }

  // The next hop.
  context.write_to(headers);
  CHECK(headers.count("traceparent") == 1 && headers.count("tracestate") == (context.tracestate().empty() ? 0U : 1U));
  const TraceContext next = accept(headers);
  check_valid(next);
  CHECK(next.trace_id() == context.trace_id() && next.parent_span_id() == context.span_id());
  CHECK(next.tracestate() == context.tracestate() && next.is_sampled() == context.is_sampled());

  // Two are one too many: whose trace it is cannot be told.
  headers.add("traceparent", context.traceparent());
  CHECK(accept(headers).parent_span_id().empty());
  return 0;
}
