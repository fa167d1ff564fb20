#include "bridge/telemetry/access_log.h"

#include <charconv>
#include <cstdio>

#include "bridge/base/log.h"

namespace outrigger::telemetry {
namespace {

std::int64_t millis(base::Duration duration) {
  return std::chrono::duration_cast<std::chrono::milliseconds>(duration).count();
}

void append_number(std::string& out, std::int64_t value) {
  char digits[24];
  out.append(digits, std::to_chars(digits, digits + sizeof digits, value).ptr);
}

// RFC 3339 in UTC; the calendar is asked once per second.
void append_time(std::string& out, base::WallMillis at) {
  struct Cache {
    std::int64_t second = -1;
    std::string text;  // 2025-01-31T08:15:00.
  };
  thread_local Cache cache;
  const std::int64_t second = at.count() / 1000;
  if (second != cache.second) cache = {second, base::to_rfc3339(at).substr(0, 20)};
  const auto rest = static_cast<int>(at.count() % 1000);
  out.append(cache.text);
  for (const int digit : {rest / 100, rest / 10 % 10, rest % 10}) out.push_back(static_cast<char>('0' + digit));
  out.push_back('Z');
}

std::string_view protocol_of(const AccessRecord& record) {
  if (record.minor_version < 0) return {};
  return record.minor_version == 0 ? "HTTP/1.0" : "HTTP/1.1";
}

class JsonLine {
 public:
  explicit JsonLine(std::string& line) : line_(line) { line_.push_back('{'); }
  void text(std::string_view name, std::string_view value) {
    key(name);
    if (value.empty()) {
      line_.append("null");
      return;
    }
    line_.push_back('"');
    base::append_json_escaped(line_, value);
    line_.push_back('"');
  }
  void number(std::string_view name, std::int64_t value) {
    key(name);
    append_number(line_, value);
  }
  void time(std::string_view name, base::WallMillis at) {
    key(name);
    line_.push_back('"');
    append_time(line_, at);
    line_.push_back('"');
  }
  void duration(std::string_view name, const std::optional<base::Duration>& value) {
    if (value) return number(name, millis(*value));
    text(name, {});
  }
  void finish() { line_.push_back('}'); }

 private:
  void key(std::string_view name) {
    line_.append(is_first_ ? "\"" : ",\"").append(name).append("\":");
    is_first_ = false;
  }
  std::string& line_;
  bool is_first_ = true;
};

void append_json(std::string& out, const AccessRecord& record) {
  JsonLine line(out);
  line.time("start_time", record.start);
  line.text("method", record.method);
  line.text("path", record.path);
  line.text("protocol", protocol_of(record));
  line.number("response_code", record.status);
  line.text("response_flags", record.flags);
  line.text("response_code_details", record.code_details);
  line.number("bytes_received", static_cast<std::int64_t>(record.bytes_received));
  line.number("bytes_sent", static_cast<std::int64_t>(record.bytes_sent));
  line.number("duration", millis(record.duration));
  line.duration("upstream_service_time", record.service_time);
  line.text("x_forwarded_for", record.forwarded_for);
  line.text("user_agent", record.user_agent);
  line.text("request_id", record.request_id);
  line.text("authority", record.authority);
  line.text("upstream_host", record.upstream_host);
  line.text("upstream_cluster", record.upstream_cluster);
  line.text("route_name", record.route);
  line.text("trace_id", record.trace_id);
  line.text("span_id", record.span_id);
  line.text("service", record.service);
  line.text("instance_id", record.instance);
  line.text("correlation_id", record.correlation_id);
  if (record.attempt == 0) {
    line.text("delivery_attempt", {});
  } else {
    line.number("delivery_attempt", record.attempt);
  }
  line.duration("queue_wait_ms", record.queue_wait);
  line.text("subject", record.subject);
  line.finish();
}

// Nothing a client sent may end the quotes or the line.
void append_value(std::string& out, std::string_view value) {
  if (value.empty()) {
    out.push_back('-');
  } else {
    base::append_json_escaped(out, value);
  }
}

void append_quoted(std::string& out, std::string_view value) {
  out.append(" \"");
  append_value(out, value);
  out.push_back('"');
}

// Envoy's default format string, field by field.
void append_envoy(std::string& out, const AccessRecord& record) {
  out.push_back('[');
  append_time(out, record.start);
  out.append("] \"");
  append_value(out, record.method);
  out.push_back(' ');
  append_value(out, record.path);
  out.push_back(' ');
  append_value(out, protocol_of(record));
  out.append("\" ");
  append_number(out, record.status);
  out.push_back(' ');
  append_value(out, record.flags);
  for (const std::uint64_t bytes : {record.bytes_received, record.bytes_sent}) {
    out.push_back(' ');
    append_number(out, static_cast<std::int64_t>(bytes));
  }
  out.push_back(' ');
  append_number(out, millis(record.duration));
  out.push_back(' ');
  if (record.service_time) {
    append_number(out, millis(*record.service_time));
  } else {
    out.push_back('-');
  }
  for (const std::string_view value :
       {record.forwarded_for, record.user_agent, record.request_id, record.authority, record.upstream_host}) {
    append_quoted(out, value);
  }
}

// 08:15:00.123 200 GET /inventory/items 3.1 ms inventory
void append_brief(std::string& out, const AccessRecord& record) {
  const std::size_t start = out.size();
  append_time(out, record.start);
  out.erase(start, 11).pop_back();
  char number[48];
  std::snprintf(number, sizeof number, " %3d ", record.status);
  out.append(number);
  append_value(out, record.method);
  out.push_back(' ');
  append_value(out, record.path);
  std::snprintf(number, sizeof number, " %.1f ms", std::chrono::duration<double, std::milli>(record.duration).count());
  out.append(number);
  if (!record.service.empty()) {
    out.push_back(' ');
    append_value(out, record.service);
  }
  if (!record.flags.empty()) {
    out.append(" (");
    append_value(out, record.code_details);
    out.push_back(')');
  }
}

}  // namespace

void append_access(std::string& out, AccessFormat format, const AccessRecord& record) {
  switch (format) {
    case AccessFormat::off: return;
    case AccessFormat::json: return append_json(out, record);
    case AccessFormat::text: return append_envoy(out, record);
    case AccessFormat::brief: return append_brief(out, record);
  }
}

void write_access(AccessFormat format, const AccessRecord& record) {
  if (format == AccessFormat::off) return;
  thread_local std::string line;
  line.clear();
  append_access(line, format, record);
  base::log_access_line(line);
}

}  // namespace outrigger::telemetry
