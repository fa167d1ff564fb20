// RateBuckets: the buckets of one rule in memory, for all workers of the process. A table of fixed size: sets of sixteen
// places, each set with a mutex of its own, held for a look at sixteen numbers.
//
// What a flood of made-up tenants or subjects can do. It takes no memory: the table is there from the start. A bucket that
// is full again loses nothing by giving its place away, and those go first. Only where all of a set are in debt, the one
// with the least debt goes, and is counted: whoever has used up his limit is the last to be forgotten. To have that one
// forgotten, somebody must use up as many other buckets as a set has places in that very set; since the hash is keyed with
// what only this process knows, he cannot aim, and has to use up about as many as the whole table has. That takes about
// buckets x burst admitted requests within the time the debt lasts, and gives back one burst. Of a rule with a burst of 1
// every bucket that was used has the same debt and the oldest goes: there it takes a request from each of as many callers.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string_view>

#include "bridge/base/clock.h"
#include "bridge/base/gcra.h"
#include "bridge/base/limits.h"
#include "bridge/base/siphash.h"

namespace outrigger::gateway {

// Any thread.
class RateBuckets {
 public:
  // Room for `buckets` at least. Places are found by hash, so sets fill unevenly: with half of them in debt at one time
  // some in a thousand sets are full, and give a place away early.
  explicit RateBuckets(base::Gcra rate, std::size_t buckets = base::limits::kRateBuckets);

  const base::Gcra& rate() const { return rate_; }
  // The number of the bucket that goes by `identity`, for the calls below. Of another process another one.
  std::uint64_t bucket_of(std::string_view identity) const;
  // Charges one request if the bucket admits it. The backlog it had before: it was charged if rate().admits() that.
  base::Duration charge(std::uint64_t bucket, base::TimePoint now);
  // Takes one charge back, as if it had never been made.
  void refund(std::uint64_t bucket);
  // Buckets in debt whose places were given away.
  std::uint64_t evictions() const { return evictions_.load(std::memory_order_relaxed); }
  std::size_t places() const { return sets_count_ * kWays; }

 private:
  static constexpr std::size_t kWays = 16;
  struct Place {
    std::uint64_t bucket = 0;                          // 0: none yet
    base::TimePoint arrival = base::TimePoint::min();  // theoretical: base/gcra.h
  };
  struct Set {
    std::mutex mutex;
    std::array<Place, kWays> places;
  };
  Set& set_of(std::uint64_t bucket) { return sets_[bucket & (sets_count_ - 1)]; }
  static Place* find(Set& set, std::uint64_t bucket);

  const base::Gcra rate_;
  const base::SipKey key_;
  const std::size_t sets_count_;  // a power of two
  const std::unique_ptr<Set[]> sets_;
  std::atomic<std::uint64_t> evictions_{0};
};

}  // namespace outrigger::gateway
