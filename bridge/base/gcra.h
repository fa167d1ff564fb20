// Gcra: the arithmetic of a rate limit, the generic cell rate algorithm (ITU-T I.371). Each request takes `interval`; a
// bucket remembers when all that it has let pass will have been paid for, its theoretical arrival time, and nothing else.
// One number per bucket, exact, and unlike counting in windows it never lets twice the limit pass around a window's edge.
// `backlog` below is how far that time lies ahead: 0 is a full bucket. Pure values; any thread.
#pragma once

#include <algorithm>
#include <cstdint>

#include "bridge/base/clock.h"

namespace outrigger::base {

struct Gcra {
  Duration interval{};      // one request's share of the time; above 0
  std::uint64_t burst = 1;  // requests that may come at once after a pause; above 0. interval x burst fits a Duration

  Duration room() const { return interval * static_cast<std::int64_t>(burst); }
  // What a theoretical arrival time `ahead` of now stands for. More than the room is no debt that was ever made: a clock
  // was set back, or the rule was made stricter. It counts as an empty bucket, so that either is forgotten in one refill.
  Duration backlog(Duration ahead) const { return std::clamp(ahead, Duration(0), room()); }
  bool admits(Duration backlog) const { return backlog + interval <= room(); }
  std::uint64_t remaining(Duration backlog) const { return static_cast<std::uint64_t>((room() - backlog) / interval); }
  // Until the next request passes; 0 if one does now.
  Duration until_room(Duration backlog) const { return std::max(Duration(0), backlog + interval - room()); }
};

}  // namespace outrigger::base
