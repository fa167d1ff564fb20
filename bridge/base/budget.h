// Budget: how much of something all threads of a process may hold together: bytes buffered for peers that decide
// themselves how much they send and how slowly they read, or connections. A Charge is one holder's part of the bytes.
#pragma once

#include <atomic>
#include <cstddef>

#include "bridge/base/limits.h"

namespace outrigger::base {

// Outlives everything that takes from it. Any thread.
class Budget {
 public:
  explicit Budget(std::size_t limit) : limit_(limit) {}
  Budget(const Budget&) = delete;
  Budget& operator=(const Budget&) = delete;

  // False, and nothing is taken, if the limit would be passed.
  [[nodiscard]] bool try_take(std::size_t count) {
    if (used_.fetch_add(count, std::memory_order_relaxed) + count <= limit_) return true;
    give_back(count);
    return false;
  }
  // Whatever the limit.
  void take(std::size_t count) { used_.fetch_add(count, std::memory_order_relaxed); }
  void give_back(std::size_t count) { used_.fetch_sub(count, std::memory_order_relaxed); }

  std::size_t limit() const { return limit_; }
  std::size_t used() const { return used_.load(std::memory_order_relaxed); }
  // More than half is used.
  bool is_pressed() const { return used() > limit_ / 2; }

 private:
  const std::size_t limit_;
  std::atomic<std::size_t> used_{0};  // only ever summed: no other memory depends on its order
};

// The bytes that one holder has taken; given back at its end. Up to limits::kUnchargedBytes a holder is not counted: that
// part is bounded by the number of holders, costs the common small message nothing, and lets it pass when all else is
// full. Loop thread only.
class Charge {
 public:
  // Without a budget nothing is counted.
  explicit Charge(Budget* budget) : budget_(budget) {}
  Charge(const Charge&) = delete;
  Charge& operator=(const Charge&) = delete;
  ~Charge() { set(0); }

  // The holder is about to hold `bytes` in all. False, and nothing changes, if the budget does not allow it.
  [[nodiscard]] bool try_set(std::size_t bytes) {
    bytes = chargeable(bytes);
    if (bytes > taken_ && !budget_->try_take(bytes - taken_)) return false;
    if (bytes < taken_) budget_->give_back(taken_ - bytes);
    taken_ = bytes;
    return true;
  }
  // The holder holds `bytes` in all, got from another who counted them: whatever the limit.
  void set(std::size_t bytes) {
    bytes = chargeable(bytes);
    if (bytes > taken_) budget_->take(bytes - taken_);
    if (bytes < taken_) budget_->give_back(taken_ - bytes);
    taken_ = bytes;
  }

 private:
  std::size_t chargeable(std::size_t bytes) const {
    return budget_ != nullptr && bytes > limits::kUnchargedBytes ? bytes : 0;
  }

  Budget* budget_;
  std::size_t taken_ = 0;
};

}  // namespace outrigger::base
