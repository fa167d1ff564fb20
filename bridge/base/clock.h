// The one place time comes from. Everything that needs time takes a Clock&, so that tests can advance it
// (tests/support/fake_clock.h). Only clock.cpp reads the machine's clocks.
#pragma once

#include <chrono>
#include <string>

namespace outrigger::base {

using namespace std::chrono_literals;

using Duration = std::chrono::nanoseconds;
// Never goes back; meaningless across processes.
using TimePoint = std::chrono::time_point<std::chrono::steady_clock, Duration>;
// Milliseconds since 1970-01-01T00:00:00Z by this host's clock: for logs and HTTP dates only, never for deadlines.
using WallMillis = std::chrono::milliseconds;

class Clock {
 public:
  virtual ~Clock() = default;
  virtual TimePoint monotonic() const = 0;
  virtual WallMillis wall() const = 0;
};

// Thread-safe, lives for ever.
Clock& system_clock();

// RFC 3339 in UTC with milliseconds: 2025-01-31T08:15:00.123Z.
std::string to_rfc3339(WallMillis at);

}  // namespace outrigger::base
