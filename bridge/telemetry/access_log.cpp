#include "bridge/telemetry/access_log.h"

#include <charconv>
#include <cstdio>

#include "bridge/base/log.h"

namespace outrigger::telemetry {
namespace {

std::int64_t millis(base::Duration duration) {
  return std::chrono::duration_cast<std::chrono::milliseconds>(duration).count();
}

class JsonLine {
 public:
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
    char digits[24];
    line_.append(digits, std::to_chars(digits, digits + sizeof digits, value).ptr);
  }
  std::string finish() {
    line_.push_back('}');
    return std::move(line_);
  }
  JsonLine() {
    line_.reserve(640);
    line_.push_back('{');
  }

 private:
  void key(std::string_view name) {
    if (line_.size() > 1) line_.push_back(',');
    line_.push_back('"');
    line_.append(name).append("\":");
  }
  std::string line_;
};

// Quoted fields of a text line: nothing a client sent may end the quotes or the line.
std::string quoted(std::string_view value) {
  std::string out = "\"";
  if (value.empty()) out += "-";
  base::append_json_escaped(out, value);
  return out + "\"";
}

}  // namespace

std::string format_access(AccessFormat format, const AccessRecord& record) {
  const std::string protocol = record.minor_version == 0 ? "HTTP/1.0" : "HTTP/1.1";
  if (format == AccessFormat::json) {
    JsonLine line;
    line.text("start_time", base::to_rfc3339(record.start));
    line.text("method", record.method);
    line.text("path", record.path);
    line.text("protocol", protocol);
    line.number("response_code", record.status);
    line.text("response_flags", record.flags);
    line.text("response_code_details", record.code_details);
    line.number("bytes_received", static_cast<std::int64_t>(record.bytes_received));
    line.number("bytes_sent", static_cast<std::int64_t>(record.bytes_sent));
    line.number("duration", millis(record.duration));
    line.number("upstream_service_time", millis(record.service_time));
    line.text("x_forwarded_for", record.forwarded_for);
    line.text("user_agent", record.user_agent);
    line.text("request_id", record.request_id);
    line.text("authority", record.authority);
    line.text("upstream_cluster", record.service);
    line.text("upstream_host", record.instance);
    line.text("route_name", record.route);
    line.text("trace_id", record.trace_id);
    line.text("correlation_id", record.correlation_id);
    line.number("delivery_attempt", record.attempt);
    return line.finish();
  }
  std::string line;
  char numbers[96];
  if (format == AccessFormat::text) {
    line = "[" + base::to_rfc3339(record.start) + "] ";
    std::string request(record.method);
    request.append(" ").append(record.path).append(" ").append(protocol);
    line += quoted(request);
    std::snprintf(numbers, sizeof numbers, " %d ", record.status);
    line += numbers;
    line += record.flags.empty() ? "-" : record.flags;
    std::snprintf(numbers, sizeof numbers, " %llu %llu %lld %lld ",
                  static_cast<unsigned long long>(record.bytes_received),
                  static_cast<unsigned long long>(record.bytes_sent), static_cast<long long>(millis(record.duration)),
                  static_cast<long long>(millis(record.service_time)));
    line += numbers;
    line += quoted(record.forwarded_for) + " " + quoted(record.user_agent) + " " + quoted(record.request_id) + " " +
            quoted(record.authority) + " " + quoted(record.instance);
    return line;
  }
  // 08:15:00.123 200 GET /inventory/items 3.1 ms inventory
  line = base::to_rfc3339(record.start).substr(11, 12);
  std::snprintf(numbers, sizeof numbers, " %3d ", record.status);
  line += numbers;
  std::string request(record.method);
  request.append(" ").append(record.path);
  base::append_json_escaped(line, request);
  std::snprintf(numbers, sizeof numbers, " %.1f ms", std::chrono::duration<double, std::milli>(record.duration).count());
  line += numbers;
  if (!record.service.empty()) line.append(" ").append(record.service);
  if (!record.flags.empty()) line.append(" (").append(record.code_details).append(")");
  return line;
}

}  // namespace outrigger::telemetry
