#include "bridge/app/process_metrics.h"

#include <dirent.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cinttypes>
#include <cstdint>
#include <cstdio>
#include <fstream>
#include <memory>
#include <optional>
#include <sstream>
#include <string>

#include "bridge/valkey/conditions.h"

namespace outrigger::app {
namespace {

using telemetry::MetricType;

// Fields of proc(5)'s /proc/self/stat, numbered as there.
struct ProcessStat {
  std::uint64_t user_ticks = 0;     // 14
  std::uint64_t system_ticks = 0;   // 15
  std::uint64_t threads = 0;        // 20
  std::uint64_t start_ticks = 0;    // 22, since boot
  std::uint64_t virtual_bytes = 0;  // 23
  std::uint64_t resident_pages = 0; // 24
};

std::optional<ProcessStat> read_stat() {
  std::ifstream file("/proc/self/stat");
  std::string text;
  std::getline(file, text);
  const std::size_t name_end = text.rfind(')');  // the program's name may hold anything
  if (name_end == std::string::npos) return std::nullopt;
  std::istringstream rest(text.substr(name_end + 1));
  ProcessStat stat;
  std::string field;
  for (int number = 3; number <= 24 && rest >> field; ++number) {
    std::uint64_t* const wanted = number == 14   ? &stat.user_ticks
                                  : number == 15 ? &stat.system_ticks
                                  : number == 20 ? &stat.threads
                                  : number == 22 ? &stat.start_ticks
                                  : number == 23 ? &stat.virtual_bytes
                                  : number == 24 ? &stat.resident_pages
                                                 : nullptr;
    if (wanted != nullptr) *wanted = std::strtoull(field.c_str(), nullptr, 10);
  }
  return rest ? std::optional(stat) : std::nullopt;
}

std::optional<std::uint64_t> read_boot_time() {
  std::ifstream file("/proc/stat");
  for (std::string line; std::getline(file, line);) {
    std::uint64_t seconds = 0;
    if (std::sscanf(line.c_str(), "btime %" SCNu64, &seconds) == 1) return seconds;
  }
  return std::nullopt;
}

std::optional<std::uint64_t> count_open_files() {
  const std::unique_ptr<DIR, int (*)(DIR*)> folder(opendir("/proc/self/fd"), closedir);
  if (folder == nullptr) return std::nullopt;
  std::uint64_t count = 0;
  while (const dirent* entry = readdir(folder.get())) {
    if (entry->d_name[0] != '.') ++count;
  }
  return count - 1;  // the folder itself is open
}

}  // namespace

void write_process_metrics(telemetry::MetricsWriter& out) {
  out.family(MetricType::gauge, "outrigger_build_info", "What is running; the value is always 1.");
  out.sample({{"version", OUTRIGGER_VERSION}, {"revision", OUTRIGGER_REVISION}}, std::uint64_t{1});

  if (const auto stat = read_stat()) {
    const auto ticks = static_cast<double>(sysconf(_SC_CLK_TCK));
    out.single(MetricType::counter, "process_cpu_seconds_total", "User and system CPU time spent.",
               static_cast<double>(stat->user_ticks + stat->system_ticks) / ticks);
    if (const auto boot = read_boot_time()) {
      out.single(MetricType::gauge, "process_start_time_seconds", "When the process started, since the Unix epoch.",
                 static_cast<double>(*boot) + static_cast<double>(stat->start_ticks) / ticks);
    }
    out.single(MetricType::gauge, "process_virtual_memory_bytes", "Virtual memory size.", stat->virtual_bytes);
    out.single(MetricType::gauge, "process_resident_memory_bytes", "Resident memory size.",
               stat->resident_pages * static_cast<std::uint64_t>(sysconf(_SC_PAGESIZE)));
    out.single(MetricType::gauge, "process_threads", "Threads of the process.", stat->threads);
  }
  if (const auto open = count_open_files()) {
    out.single(MetricType::gauge, "process_open_fds", "Open file descriptors.", *open);
  }
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
    out.single(MetricType::gauge, "process_max_fds", "Most file descriptors that may be open.",
               std::uint64_t{limit.rlim_cur});
  }
}

void write_bus_metrics(telemetry::MetricsWriter& out, const messaging::BusStatus& status, const BusNumbers& numbers) {
  const auto flag = [&](std::string_view name, std::string_view help, bool value) {
    out.single(MetricType::gauge, name, help, std::uint64_t{value ? 1U : 0U});
  };
  flag("outrigger_valkey_connected", "1 if every thread's connection to Valkey is up.", numbers.is_connected);
  flag("outrigger_valkey_writable", "1 if Valkey takes writes.", numbers.is_connected && !status.refuses_writes);
  flag("outrigger_valkey_keeps_data", "0 if Valkey's maxmemory-policy may throw whole queues away.", status.warning.empty());
  out.family(MetricType::gauge, "outrigger_valkey_condition", "1 at the condition the bus is in.");
  for (int i = 0; i < valkey::kConditions; ++i) {
    const valkey::ConditionInfo& info = valkey::describe(static_cast<valkey::Condition>(i));
    if (info.scope == valkey::Scope::ordinary && info.condition != valkey::Condition::none) continue;
    out.sample({{"condition", info.name}}, std::uint64_t{info.name == status.condition ? 1U : 0U});
  }
  out.single(MetricType::counter, "outrigger_valkey_reconnects_total", "Lost connections to Valkey that came back.",
             numbers.reconnects);
  out.single(MetricType::histogram, "outrigger_valkey_round_trip_seconds",
             "From a question to Valkey to its answer, by a question each ten seconds.", numbers.round_trips);
}

}  // namespace outrigger::app
