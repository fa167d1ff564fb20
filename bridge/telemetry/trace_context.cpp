#include "bridge/telemetry/trace_context.h"

#include <algorithm>
#include <optional>

#include "bridge/base/ids.h"

namespace outrigger::telemetry {
namespace {

constexpr std::size_t kTraceparentSize = 55;
constexpr std::size_t kTracestateMembers = 32;
// What a grammatical list of 32 members can have at most; longer text is refused before it is looked at.
constexpr std::size_t kTracestateBytes = 32 * (256 + 1 + 256 + 16);

constexpr unsigned kSampled = 0x01;
constexpr unsigned kRandomTraceId = 0x02;  // level 2: stays as long as the trace id does

bool is_lower_hex(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
}

bool is_all_zero(std::string_view text) {
  return text.find_first_not_of('0') == std::string_view::npos;
}

unsigned hex_value(char c) {
  return static_cast<unsigned>(c <= '9' ? c - '0' : c - 'a' + 10);
}

std::string_view trim(std::string_view text) {
  const auto first = text.find_first_not_of(" \t");
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(" \t") - first + 1);
}

bool is_valid_traceparent(std::string_view text) {
  if (text.size() < kTraceparentSize) return false;
  const std::string_view version = text.substr(0, 2);
  if (!is_lower_hex(version) || version == "ff") return false;
  if (text[2] != '-' || text[35] != '-' || text[52] != '-') return false;
  const std::string_view trace_id = text.substr(3, 32);
  const std::string_view parent_id = text.substr(36, 16);
  if (!is_lower_hex(trace_id) || is_all_zero(trace_id)) return false;
  if (!is_lower_hex(parent_id) || is_all_zero(parent_id)) return false;
  if (!is_lower_hex(text.substr(53, 2))) return false;
  if (text.size() == kTraceparentSize) return true;
  // Versions to come may append fields; version 00 has none.
  return version != "00" && text[kTraceparentSize] == '-';
}

bool is_lower_alpha(char c) {
  return c >= 'a' && c <= 'z';
}
bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

// `first` characters are checked by the caller.
bool is_key_text(std::string_view text, std::size_t limit) {
  return !text.empty() && text.size() <= limit && std::all_of(text.begin(), text.end(), [](char c) {
    return is_lower_alpha(c) || is_digit(c) || c == '_' || c == '-' || c == '*' || c == '/';
  });
}

bool is_valid_key(std::string_view key) {
  const auto at = key.find('@');
  if (at == std::string_view::npos) return is_key_text(key, 256) && is_lower_alpha(key.front());
  const std::string_view tenant = key.substr(0, at);
  const std::string_view system = key.substr(at + 1);
  return is_key_text(tenant, 241) && (is_lower_alpha(tenant.front()) || is_digit(tenant.front())) &&
         is_key_text(system, 14) && is_lower_alpha(system.front());
}

// Leading blanks belong to a value; trailing ones were trimmed with the member.
bool is_valid_value(std::string_view value) {
  return !value.empty() && value.size() <= 256 &&
         std::all_of(value.begin(), value.end(), [](char c) { return c >= 0x20 && c <= 0x7e && c != ',' && c != '='; });
}

// The list without empty members and blanks around members, or nothing if it breaks the grammar. Duplicate keys stay:
// the test suite of the specification lets a hop that edits nothing pass them on.
std::optional<std::string> clean_tracestate(std::string_view text) {
  if (text.size() > kTracestateBytes) return std::nullopt;
  std::string clean;
  std::size_t members = 0;
  while (!text.empty()) {
    const auto comma = std::min(text.find(','), text.size());
    const std::string_view member = trim(text.substr(0, comma));
    text.remove_prefix(std::min(comma + 1, text.size()));
    if (member.empty()) continue;
    const auto equals = member.find('=');
    if (equals == std::string_view::npos || !is_valid_key(member.substr(0, equals)) ||
        !is_valid_value(member.substr(equals + 1)) || ++members > kTracestateMembers) {
      return std::nullopt;
    }
    if (!clean.empty()) clean += ',';
    clean += member;
  }
  return clean;
}

void put(std::array<char, kTraceparentSize>& text, std::size_t at, std::string_view value) {
  std::copy(value.begin(), value.end(), text.begin() + static_cast<std::ptrdiff_t>(at));
}

}  // namespace

TraceContext TraceContext::root(bool sampled) {
  TraceContext context;
  put(context.text_, 0, "00-");
  put(context.text_, 3, base::random_hex(16));
  put(context.text_, 35, "-");
  put(context.text_, 36, base::random_hex(8));
  put(context.text_, 52, sampled ? "-01" : "-00");
  return context;
}

TraceContext TraceContext::child() const {
  TraceContext next = *this;
  const std::string_view own = span_id();
  std::copy(own.begin(), own.end(), next.parent_.begin());
  next.has_parent_ = true;
  put(next.text_, 36, base::random_hex(8));
  return next;
}

bool TraceContext::is_sampled() const {
  return (hex_value(text_[54]) & kSampled) != 0;
}

void TraceContext::write_to(base::HeaderList& headers) const {
  headers.set("traceparent", traceparent());
  headers.remove("tracestate");
  if (!tracestate_.empty()) headers.add("tracestate", tracestate_);
}

TraceContext accept(std::string_view traceparent, std::string_view tracestate) {
  traceparent = trim(traceparent);
  if (!is_valid_traceparent(traceparent)) return TraceContext::root();
  TraceContext incoming;
  put(incoming.text_, 0, "00");
  put(incoming.text_, 2, traceparent.substr(2, 51));
  // We speak version 00, whose other flag bits must be 0.
  put(incoming.text_, 53, "0");
  const unsigned flags = hex_value(traceparent[54]) & (kSampled | kRandomTraceId);
  incoming.text_[54] = static_cast<char>('0' + flags);
  incoming.tracestate_ = clean_tracestate(tracestate).value_or(std::string());
  return incoming.child();
}

TraceContext accept(const base::HeaderList& headers) {
  std::string_view traceparent;
  std::size_t traceparents = 0;
  std::string_view tracestate;
  std::string joined;
  std::size_t tracestates = 0;
  for (const base::HeaderField field : headers) {
    if (base::equals_ignoring_case(field.name, "traceparent")) {
      traceparent = field.value;
      ++traceparents;
    } else if (base::equals_ignoring_case(field.name, "tracestate")) {
      if (++tracestates == 1) {
        tracestate = field.value;
        continue;
      }
      if (tracestates == 2) joined = tracestate;
      joined.append(",").append(field.value);
    }
  }
  if (traceparents != 1) return TraceContext::root();
  return accept(traceparent, tracestates > 1 ? std::string_view(joined) : tracestate);
}

}  // namespace outrigger::telemetry
