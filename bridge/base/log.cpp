#include "bridge/base/log.h"

#include <spdlog/async.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <condition_variable>
#include <cstdio>
#include <memory>
#include <mutex>
#include <shared_mutex>
#include <thread>
#include <utility>

#include "bridge/base/clock.h"
#include "bridge/base/log_level.h"

namespace outrigger::base {
namespace {

// 8,192 lines of about 300 bytes: some 2.5 MiB at worst, several seconds of a very loud process.
constexpr std::size_t kQueuedLines = 8192;
// About 6,000 access records: what a reader of standard output may be behind before records are dropped.
constexpr std::size_t kQueuedAccessBytes = 4 * 1024 * 1024;

struct Writers {
  std::shared_ptr<spdlog::async_logger> diagnostics;
  // Last, so that its thread has written everything and ended before the sinks it writes to die.
  std::shared_ptr<spdlog::details::thread_pool> pool;
};
std::shared_mutex writers_guard;  // shared to write a line, alone to start and stop
std::unique_ptr<Writers> writers;
std::atomic<LogLevel> threshold{LogLevel::info};
LogFormat chosen_format = LogFormat::text;
std::string program_name;

void write_all(std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t count = ::write(STDOUT_FILENO, bytes.data(), bytes.size());
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return;  // nobody reads them any more
    bytes.remove_prefix(static_cast<std::size_t>(count));
  }
}

// Access records on their way to standard output: all that came while the last ones were being written go in one call,
// so that a record costs its thread a copy. They do not share the log's queue: a flood of them pushes no error out.
class AccessWriter {
 public:
  ~AccessWriter() { stop(); }
  void start() {
    const std::lock_guard lock(mutex_);
    if (std::exchange(is_running_, true)) return;
    thread_ = std::thread([this] { run(); });
  }
  // Returns when everything is written.
  void stop() {
    {
      const std::lock_guard lock(mutex_);
      if (!std::exchange(is_running_, false)) return;
    }
    has_work_.notify_one();
    thread_.join();
  }
  void add(std::string_view line) {
    {
      const std::lock_guard lock(mutex_);
      if (queued_.size() + line.size() >= kQueuedAccessBytes) {
        ++dropped_;
        return;
      }
      const bool was_empty = queued_.empty();
      queued_.append(line).push_back('\n');
      if (!is_running_) {
        write_all(queued_);
        queued_.clear();
      }
      if (!was_empty) return;  // it knows
    }
    has_work_.notify_one();
  }

 private:
  void run() {
    std::string batch;
    std::unique_lock lock(mutex_);
    for (;;) {
      has_work_.wait(lock, [this] { return !is_running_ || !queued_.empty(); });
      if (queued_.empty()) return;
      batch.clear();
      batch.swap(queued_);
      const std::uint64_t dropped = std::exchange(dropped_, 0);
      lock.unlock();
      write_all(batch);
      if (dropped > 0) log_warn("access records were dropped: standard output is read too slowly", {{"records", dropped}});
      lock.lock();
    }
  }

  std::mutex mutex_;  // guards everything below
  std::condition_variable has_work_;
  std::string queued_;
  std::uint64_t dropped_ = 0;
  bool is_running_ = false;
  std::thread thread_;
};
AccessWriter access_writer;

// May stand in a text line as it is, without quotes.
bool is_plain(std::string_view text) {
  for (const char c : text) {
    if (c <= ' ' || c > '~' || c == '"' || c == '\\') return false;
  }
  return !text.empty();
}

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
  // Messages may name services and mounts, which come from frames.
  append_json_escaped(line, message);
  for (const LogField& field : fields) {
    line.append(" ").append(field.name).append("=");
    if (field.is_bare || is_plain(field.value)) {
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
  const auto escape = [&out](unsigned char byte) {
    out.append("\\u00");
    out.push_back(kDigits[byte >> 4]);
    out.push_back(kDigits[byte & 15]);
  };
  std::size_t run = 0;  // where what can be copied as it is began
  std::size_t i = 0;
  while (i < text.size()) {
    const auto byte = static_cast<unsigned char>(text[i]);
    if (byte >= 0x20 && byte < 0x7F && byte != '"' && byte != '\\') {
      ++i;
      continue;
    }
    const std::size_t length = byte < 0x80 ? 1 : utf8_sequence(text.substr(i));
    // U+0080 to U+009F are control characters, too: some terminals obey them.
    const bool is_c1 = byte == 0xC2 && length == 2 && static_cast<unsigned char>(text[i + 1]) < 0xA0;
    if (length > 1 && !is_c1) {
      i += length;
      continue;
    }
    out.append(text, run, i - run);
    if (length == 0) {
      out.append("\\ufffd");
    } else if (is_c1) {
      escape(static_cast<unsigned char>(text[i + 1]));
    } else if (byte == '"' || byte == '\\') {
      out.push_back('\\');
      out.push_back(static_cast<char>(byte));
    } else {
      escape(byte);
    }
    i += std::max<std::size_t>(length, 1);
    run = i;
  }
  out.append(text, run);
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
  const std::unique_lock alone(writers_guard);
  writers = std::move(made);
  access_writer.start();
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
  access_writer.stop();
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

void log_access_line(std::string_view line) { access_writer.add(line); }

}  // namespace outrigger::base
