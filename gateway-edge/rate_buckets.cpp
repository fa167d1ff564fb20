#include "gateway-edge/rate_buckets.h"

#include <algorithm>
#include <bit>
#include <charconv>
#include <string>

#include "bridge/base/ids.h"

namespace outrigger::gateway {
namespace {

std::uint64_t random_word() {
  const std::string hex = base::random_hex(8);
  std::uint64_t word = 0;
  std::from_chars(hex.data(), hex.data() + hex.size(), word, 16);
  return word;
}

}  // namespace

RateBuckets::RateBuckets(base::Gcra rate, std::size_t buckets)
    : rate_(rate),
      key_{random_word(), random_word()},
      sets_count_(std::bit_ceil((buckets + kWays - 1) / kWays)),
      sets_(std::make_unique<Set[]>(sets_count_)) {}

std::uint64_t RateBuckets::bucket_of(std::string_view identity) const {
  return std::max<std::uint64_t>(1, base::siphash(key_, identity));
}

RateBuckets::Place* RateBuckets::find(Set& set, std::uint64_t bucket) {
  const auto at = std::find_if(set.places.begin(), set.places.end(),
                               [bucket](const Place& place) { return place.bucket == bucket; });
  return at == set.places.end() ? nullptr : &*at;
}

base::Duration RateBuckets::charge(std::uint64_t bucket, base::TimePoint now) {
  Set& set = set_of(bucket);
  const std::lock_guard lock(set.mutex);
  Place* place = find(set, bucket);
  const base::Duration backlog = place == nullptr ? base::Duration(0) : rate_.backlog(place->arrival - now);
  if (!rate_.admits(backlog)) return backlog;
  if (place == nullptr) {
    // A place never used, else one that is full again, else the one that loses least.
    place = &*std::min_element(set.places.begin(), set.places.end(),
                               [](const Place& a, const Place& b) { return a.arrival < b.arrival; });
    if (place->arrival > now) evictions_.fetch_add(1, std::memory_order_relaxed);
  }
  *place = {bucket, now + backlog + rate_.interval};
  return backlog;
}

void RateBuckets::refund(std::uint64_t bucket) {
  Set& set = set_of(bucket);
  const std::lock_guard lock(set.mutex);
  if (Place* place = find(set, bucket)) place->arrival -= rate_.interval;
}

}  // namespace outrigger::gateway
