// Jitter for waits between tries, so that what a fleet could not do at the same moment is not tried again at the same
// moment.
#pragma once

#include <chrono>

#include "bridge/base/clock.h"
#include "bridge/base/ids.h"

namespace outrigger::router {

// Between half of `wait` and all of it.
inline base::Duration jittered(base::Duration wait) {
  const auto half = std::chrono::duration_cast<std::chrono::microseconds>(wait / 2).count();
  return wait - std::chrono::microseconds(
                    static_cast<std::int64_t>(base::random_below(static_cast<std::uint64_t>(half > 0 ? half : 0) + 1)));
}

}  // namespace outrigger::router
