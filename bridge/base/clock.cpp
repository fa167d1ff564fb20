#include "bridge/base/clock.h"

#include <array>
#include <cstdio>
#include <ctime>

namespace outrigger::base {
namespace {

class SystemClock final : public Clock {
 public:
  TimePoint monotonic() const override {
    return std::chrono::time_point_cast<Duration>(std::chrono::steady_clock::now());
  }
  WallMillis wall() const override {
    return std::chrono::duration_cast<WallMillis>(std::chrono::system_clock::now().time_since_epoch());
  }
};

}  // namespace

Clock& system_clock() {
  static SystemClock clock;
  return clock;
}

std::string to_rfc3339(WallMillis at) {
  const std::time_t seconds = static_cast<std::time_t>(at.count() / 1000);
  std::tm parts{};
  gmtime_r(&seconds, &parts);
  std::array<char, 64> text{};
  std::snprintf(text.data(), text.size(), "%04d-%02d-%02dT%02d:%02d:%02d.%03dZ", parts.tm_year + 1900, parts.tm_mon + 1,
                parts.tm_mday, parts.tm_hour, parts.tm_min, parts.tm_sec, static_cast<int>(at.count() % 1000));
  return text.data();
}

}  // namespace outrigger::base
