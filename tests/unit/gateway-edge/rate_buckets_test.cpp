#include "gateway-edge/rate_buckets.h"

#include <gtest/gtest.h>

#include <string>
#include <thread>
#include <vector>

namespace outrigger::gateway {
namespace {

using namespace std::chrono_literals;

constexpr base::TimePoint kNow{1h};
constexpr base::Gcra kTwo{1s, 2};

// Charges as long as the bucket admits it, at most `most` times; how often.
int use_up(RateBuckets& buckets, const std::string& who, int most, base::TimePoint now = kNow) {
  int passed = 0;
  while (passed < most && buckets.rate().admits(buckets.charge(buckets.bucket_of(who), now))) ++passed;
  return passed;
}

TEST(RateBuckets, each_identity_has_a_bucket_of_its_own_that_refills) {
  RateBuckets buckets(kTwo);

  EXPECT_EQ(use_up(buckets, "ann", 9), 2);
  EXPECT_EQ(use_up(buckets, "bob", 9), 2);
  EXPECT_EQ(use_up(buckets, "ann", 9, kNow + 1s - 1ns), 0);
  EXPECT_EQ(use_up(buckets, "ann", 9, kNow + 1s), 1);
  EXPECT_EQ(use_up(buckets, "ann", 9, kNow + 1h), 2);
}

TEST(RateBuckets, refund_is_as_if_nothing_had_been_charged) {
  RateBuckets buckets(kTwo);
  const std::uint64_t ann = buckets.bucket_of("ann");
  buckets.charge(ann, kNow);
  buckets.charge(ann, kNow + 300ms);

  buckets.refund(ann);

  EXPECT_EQ(buckets.charge(ann, kNow + 400ms), 600ms);
  buckets.refund(buckets.bucket_of("nobody"));
}

TEST(RateBuckets, flood_of_made_up_callers_does_not_make_a_limited_one_forgotten) {
  RateBuckets buckets({1h, 10}, 1024);
  EXPECT_EQ(use_up(buckets, "ann", 99), 10);

  for (int i = 0; i < 100'000; ++i) use_up(buckets, "made up " + std::to_string(i), 1);

  EXPECT_EQ(use_up(buckets, "ann", 99), 0);
  EXPECT_EQ(buckets.places(), 1024u);
  EXPECT_GT(buckets.evictions(), 90'000u);
}

TEST(RateBuckets, bucket_that_is_full_again_gives_its_place_away_uncounted) {
  RateBuckets buckets(kTwo, 16);
  for (int i = 0; i < 16; ++i) use_up(buckets, "early " + std::to_string(i), 1);

  for (int i = 0; i < 16; ++i) EXPECT_EQ(use_up(buckets, "late " + std::to_string(i), 9, kNow + 1s), 2);

  EXPECT_EQ(buckets.evictions(), 0u);
}

TEST(RateBuckets, hash_differs_from_process_to_process) {
  EXPECT_NE(RateBuckets(kTwo).bucket_of("ann"), RateBuckets(kTwo).bucket_of("ann"));
}

TEST(RateBuckets, threads_together_get_no_more_than_the_burst) {
  RateBuckets buckets({1h, 1000});
  std::vector<int> passed(4);
  std::vector<std::thread> threads;
  for (int& mine : passed) threads.emplace_back([&buckets, &mine] { mine = use_up(buckets, "ann", 1000); });
  for (std::thread& thread : threads) thread.join();

  EXPECT_EQ(passed[0] + passed[1] + passed[2] + passed[3], 1000);
}

}  // namespace
}  // namespace outrigger::gateway
