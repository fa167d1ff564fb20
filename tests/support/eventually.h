// Waiting in tests that run beside real processes and threads: poll until it holds, or fail and say what was waited
// for.
#pragma once

#include <gtest/gtest.h>

#include <string_view>
#include <thread>

#include "bridge/base/clock.h"
#include "tests/support/child_process.h"

namespace outrigger::tests {

// Asks `condition` again and again for `within`; `what` completes "waited for ...".
template <class Condition>
::testing::AssertionResult eventually(std::string_view what, Condition condition, base::Duration within = kPatience) {
  const base::TimePoint give_up = base::system_clock().monotonic() + within;
  while (!condition()) {
    if (base::system_clock().monotonic() > give_up) {
      return ::testing::AssertionFailure()
             << "waited " << std::chrono::duration<double>(within).count() << " s for " << what;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(3));
  }
  return ::testing::AssertionSuccess();
}

}  // namespace outrigger::tests
