#include "bridge/base/gcra.h"

#include <gtest/gtest.h>

#include <string>

#include "bridge/base/siphash.h"

namespace outrigger::base {
namespace {

constexpr Gcra kFivePerSecond{200ms, 5};

TEST(Gcra, full_bucket_admits_its_burst_and_then_one_per_interval) {
  Duration backlog(0);
  for (std::uint64_t left = 5; left > 0; --left) {
    EXPECT_EQ(kFivePerSecond.remaining(backlog), left);
    EXPECT_TRUE(kFivePerSecond.admits(backlog));
    EXPECT_EQ(kFivePerSecond.until_room(backlog), 0ns);
    backlog += kFivePerSecond.interval;
  }

  EXPECT_EQ(kFivePerSecond.remaining(backlog), 0u);
  EXPECT_FALSE(kFivePerSecond.admits(backlog));
  EXPECT_EQ(kFivePerSecond.until_room(backlog), 200ms);
  EXPECT_FALSE(kFivePerSecond.admits(backlog - 200ms + 1ns));
  EXPECT_TRUE(kFivePerSecond.admits(backlog - 200ms));
}

TEST(Gcra, what_lies_outside_of_the_room_is_no_debt) {
  EXPECT_EQ(kFivePerSecond.backlog(-1h), 0ns);
  EXPECT_EQ(kFivePerSecond.backlog(300ms), 300ms);
  EXPECT_EQ(kFivePerSecond.backlog(1h), 1s);
}

// The values of the paper's reference code: key and message are the bytes 0, 1, 2, ...
TEST(SipHash, gives_the_published_values) {
  const SipKey key{0x0706050403020100, 0x0f0e0d0c0b0a0908};
  std::string message;
  for (char c = 0; c < 15; ++c) message += c;

  EXPECT_EQ(siphash(key, {}), 0x726fdb47dd0e0e31u);
  EXPECT_EQ(siphash(key, message), 0xa129ca6149be45e5u);
}

}  // namespace
}  // namespace outrigger::base
