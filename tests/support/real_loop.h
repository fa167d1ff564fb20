// A loop on the machine's clock for tests with real sockets: runs until something is so, and says what it waited for.
#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <string>

#include "bridge/net/event_loop.h"

namespace outrigger::tests {

class RealLoop {
 public:
  net::EventLoop loop{base::system_clock()};

  // Turns until `condition` holds; a failure after 20 s of real time (far beyond what any test needs).
  ::testing::AssertionResult run_until(const std::string& what, const std::function<bool()>& condition) {
    const base::TimePoint give_up = base::system_clock().monotonic() + std::chrono::seconds(20);
    net::Timer tick(loop, [] {});
    while (!condition()) {
      if (base::system_clock().monotonic() > give_up) return ::testing::AssertionFailure() << "waited for " << what;
      tick.arm(std::chrono::milliseconds(10));
      loop.run_turn();
    }
    return ::testing::AssertionSuccess();
  }
};

}  // namespace outrigger::tests
