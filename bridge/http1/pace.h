// Pace: whether a peer keeps moving. It may pause for no longer than a time, and over each such time it must move so many
// bytes on average: else one byte just before each timeout would hold a place for days.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "bridge/base/clock.h"

namespace outrigger::http1 {

class Pace {
 public:
  // `total` counts the bytes moved so far; it only rises.
  void start(base::TimePoint now, std::uint64_t total) {
    moved_at_ = window_from_ = now;
    total_ = window_total_ = total;
  }
  void note(base::TimePoint now, std::uint64_t total) {
    if (total == total_) return;
    total_ = total;
    moved_at_ = now;
  }

  // Nothing for `timeout`, or less than `min_rate` bytes/s since the last time it was asked with a whole `timeout` gone.
  // May become true for the first time at next(timeout).
  bool is_too_slow(base::TimePoint now, base::Duration timeout, std::size_t min_rate) {
    if (now - moved_at_ >= timeout) return true;
    const base::Duration window = now - window_from_;
    if (window < timeout) return false;
    const double seconds = std::chrono::duration<double>(window).count();
    if (static_cast<double>(total_ - window_total_) < seconds * static_cast<double>(min_rate)) return true;
    window_from_ = now;
    window_total_ = total_;
    return false;
  }
  base::TimePoint next(base::Duration timeout) const { return std::min(moved_at_, window_from_) + timeout; }

 private:
  base::TimePoint moved_at_;
  base::TimePoint window_from_;
  std::uint64_t total_ = 0;
  std::uint64_t window_total_ = 0;
};

}  // namespace outrigger::http1
