#include "bridge/base/log.h"

#include <spdlog/async.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include <atomic>
#include <cstdio>
#include <memory>
#include <mutex>
#include <shared_mutex>

#include "bridge/base/clock.h"
#include "bridge/base/log_level.h"

namespace outrigger::base {
namespace {

// 8,192 lines of about 300 bytes: some 2.5 MiB at worst, several seconds of a very loud process.
constexpr std::size_t kQueuedLines = 8192;

struct Writers {
  std::shared_ptr<spdlog::async_logger> diagnostics;
  std::shared_ptr<spdlog::async_logger> access;
  // Last, so that its thread has written everything and ended before the sinks it writes to die.
  std::shared_ptr<spdlog::details::thread_pool> pool;
};
std::shared_mutex writers_guard;  // shared to write a line, alone to start and stop
std::unique_ptr<Writers> writers;
std::atomic<LogLevel> threshold{LogLevel::info};
LogFormat chosen_format = LogFormat::text;
std::string program_name;

// Length of the UTF-8 sequence that starts `text`, 0 if there is none (RFC 3629).
std::size_t utf8_sequence(std::string_view text) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const auto is_tail = [&](std::size_t i) { return i < text.size() && (byte(i) & 0xC0) == 0x80; };
  const unsigned char first = byte(0);
  if (first < 0x80) return 1;
  if (first >= 0xC2 && first <= 0xDF) return is_tail(1) ? 2 : 0;
  if (first >= 0xE0 && first <= 0xEF) {
    if (!is_tail(1) || !is_tail(2)) return 0;
    if (first == 0xE0 && byte(1) < 0xA0) return 0;
    if (first == 0xED && byte(1) > 0x9F) return 0;
    return 3;
  }
  if (first >= 0xF0 && first <= 0xF4) {
    if (!is_tail(1) || !is_tail(2) || !is_tail(3)) return 0;
    if (first == 0xF0 && byte(1) < 0x90) return 0;
    if (first == 0xF4 && byte(1) > 0x8F) return 0;
    return 4;
  }
  return 0;
}

std::string render(LogLevel level, std::string_view message, std::initializer_list<LogField> fields) {
  const std::string at = to_rfc3339(system_clock().wall());
  std::string line;
  line.reserve(128);
  if (chosen_format == LogFormat::json) {
    line.append("{\"time\":\"").append(at).append("\",\"level\":\"").append(to_string(level));
    if (!program_name.empty()) line.append("\",\"program\":\"").append(program_name);
    line.append("\",\"message\":\"");
    append_json_escaped(line, message);
    line.push_back('"');
    for (const LogField& field : fields) {
      line.append(",\"").append(field.name).append("\":");
      if (field.is_bare) {
        line.append(field.value);
      } else {
        line.push_back('"');
        append_json_escaped(line, field.value);
        line.push_back('"');
      }
    }
    line.push_back('}');
    return line;
  }
  line.append(at).append(" ").append(to_string(level)).append(" ");
  if (!program_name.empty()) line.append(program_name).append(": ");
  line.append(message);
  for (const LogField& field : fields) {
    line.append(" ").append(field.name).append("=");
    const bool plain = field.value.find_first_of(" \"\\\n\r\t") == std::string::npos && !field.value.empty();
    if (plain || field.is_bare) {
      line.append(field.value);
    } else {
      line.push_back('"');
      append_json_escaped(line, field.value);
      line.push_back('"');
    }
  }
  return line;
}

}  // namespace

void append_json_escaped(std::string& out, std::string_view text) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::size_t i = 0;
  while (i < text.size()) {
    const char c = text[i];
    const auto byte = static_cast<unsigned char>(c);
    if (byte >= 0x80) {
      const std::size_t length = utf8_sequence(text.substr(i));
      out.append(length == 0 ? std::string_view("\\ufffd") : text.substr(i, length));
      i += length == 0 ? 1 : length;
      continue;
    }
    if (c == '"' || c == '\\') {
      out.push_back('\\');
      out.push_back(c);
    } else if (byte < 0x20 || byte == 0x7F) {
      out.append("\\u00");
      out.push_back(kDigits[byte >> 4]);
      out.push_back(kDigits[byte & 15]);
    } else {
      out.push_back(c);
    }
    ++i;
  }
}

void start_log(LogLevel level, LogFormat format, std::string_view program) {
  threshold = level;
  chosen_format = format;
  program_name = program;
  auto made = std::make_unique<Writers>();
  made->pool = std::make_shared<spdlog::details::thread_pool>(kQueuedLines, 1);
  const auto make = [&](const char* name, spdlog::sink_ptr sink) {
    auto logger = std::make_shared<spdlog::async_logger>(name, std::move(sink), made->pool,
                                                         spdlog::async_overflow_policy::overrun_oldest);
    logger->set_pattern("%v");
    logger->set_level(spdlog::level::trace);
    logger->flush_on(spdlog::level::trace);
    return logger;
  };
  made->diagnostics = make("diagnostics", std::make_shared<spdlog::sinks::stderr_sink_mt>());
  made->access = make("access", std::make_shared<spdlog::sinks::stdout_sink_mt>());
  const std::unique_lock alone(writers_guard);
  writers = std::move(made);
}

std::string_view to_string(LogLevel level) {
  switch (level) {
    case LogLevel::debug: return "debug";
    case LogLevel::info: return "info";
    case LogLevel::warn: return "warn";
    case LogLevel::error: return "error";
  }
  return "info";
}

void stop_log() {
  std::unique_ptr<Writers> ending;
  {
    const std::unique_lock alone(writers_guard);
    ending = std::move(writers);
  }
}

void set_log_level(LogLevel level) { threshold.store(level, std::memory_order_relaxed); }

LogLevel log_level() { return threshold.load(std::memory_order_relaxed); }

bool log_is_enabled(LogLevel level) { return level >= threshold.load(std::memory_order_relaxed); }

void log(LogLevel level, std::string_view message, std::initializer_list<LogField> fields) {
  if (!log_is_enabled(level)) return;
  const std::string line = render(level, message, fields);
  const std::shared_lock shared(writers_guard);
  if (writers != nullptr) {
    writers->diagnostics->info(line);
  } else {
    std::fprintf(stderr, "%s\n", line.c_str());
  }
}

void log_access_line(std::string_view line) {
  const std::shared_lock shared(writers_guard);
  if (writers != nullptr) {
    writers->access->info(line);
  } else {
    std::fprintf(stdout, "%.*s\n", static_cast<int>(line.size()), line.data());
    std::fflush(stdout);
  }
}

}  // namespace outrigger::base
