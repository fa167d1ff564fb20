// The project's log: one line per event, a message and typed fields, written by a background thread so that a slow
// disk cannot stall a loop (when its queue is full the oldest lines are dropped). Levels: error = an operator must act;
// warn = degraded; info = start, stop, configuration, membership, changes of state; debug = per connection.
// What a client did wrong is a counter or an access record, never a log line. Any thread.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>
#include <type_traits>

namespace outrigger::base {

enum class LogLevel : std::uint8_t { debug, info, warn, error };
enum class LogFormat : std::uint8_t { json, text };

struct LogField {
  template <class T>
  LogField(std::string_view field_name, const T& field_value) : name(field_name) {
    if constexpr (std::is_same_v<T, bool>) {
      value = field_value ? "true" : "false";
      is_bare = true;
    } else if constexpr (std::is_arithmetic_v<T>) {
      value = std::to_string(field_value);
      is_bare = true;
    } else {
      value = std::string_view(field_value);
    }
  }
  std::string_view name;
  std::string value;
  bool is_bare = false;  // number or boolean: JSON prints it without quotes
};

// Starts the background writer to standard error. Call once, before other threads log; without it lines are written at
// once and in text (tests, tools).
void start_log(LogLevel level, LogFormat format, std::string_view program);
// Writes out what is queued and stops the writer, even while other threads log. Later lines are written at once.
void stop_log();
bool log_is_enabled(LogLevel level);
void log(LogLevel level, std::string_view message, std::initializer_list<LogField> fields = {});
// A finished line (an access record) to standard output, by a background writer of its own: when standard output is
// read too slowly, records are dropped and their number is logged.
void log_access_line(std::string_view line);

inline void log_error(std::string_view message, std::initializer_list<LogField> fields = {}) {
  log(LogLevel::error, message, fields);
}
inline void log_warn(std::string_view message, std::initializer_list<LogField> fields = {}) {
  log(LogLevel::warn, message, fields);
}
inline void log_info(std::string_view message, std::initializer_list<LogField> fields = {}) {
  log(LogLevel::info, message, fields);
}
inline void log_debug(std::string_view message, std::initializer_list<LogField> fields = {}) {
  if (log_is_enabled(LogLevel::debug)) log(LogLevel::debug, message, fields);
}

// Appends `text` to `out` as the inside of a JSON string: quotes, backslashes and control characters (C1 ones, too)
// escaped; bytes that are not UTF-8 become U+FFFD. Used for logs and problem documents.
void append_json_escaped(std::string& out, std::string_view text);

}  // namespace outrigger::base
