#include "bridge/router/delivery_policy.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace outrigger::router {
namespace {

constexpr std::int64_t kDeadline = 1'000'000;

// What is asked, with everything in favour of running unless said otherwise.
DeliveryFacts facts(bool is_repeatable, std::uint32_t delivery_count, Obtained obtained, bool is_same_bus) {
  return {.is_repeatable = is_repeatable,
          .delivery_count = delivery_count,
          .obtained = obtained,
          .is_same_bus = is_same_bus,
          .now_ms = kDeadline - 1000,
          .clock_error_ms = 0,
          .deadline_ms = kDeadline,
          .max_attempts = 3};
}

constexpr Obtained kWays[] = {Obtained::delivered, Obtained::parked, Obtained::taken_over, Obtained::own_pending};

TEST(DeliveryPolicy, every_row_of_the_table) {
  struct Row {
    bool is_repeatable;
    std::uint32_t delivery_count;
    bool is_same_bus;
    Verdict verdict;
  };
  const std::vector<Row> rows{
      {false, 1, true, Verdict::run},
      {false, 0, true, Verdict::outcome_unknown},  // no claim leaves 0: somebody meddled
      {false, 2, true, Verdict::outcome_unknown},
      {false, 3, true, Verdict::outcome_unknown},
      {false, 4, true, Verdict::outcome_unknown},
      {false, 1, false, Verdict::outcome_unknown},
      {false, 2, false, Verdict::outcome_unknown},
      {true, 0, true, Verdict::run},
      {true, 1, true, Verdict::run},
      {true, 3, true, Verdict::run},
      {true, 4, true, Verdict::exhausted},
      {true, 1, false, Verdict::run},
      {true, 3, false, Verdict::run},
      {true, 4, false, Verdict::exhausted},
  };
  for (const Row& row : rows) {
    // The way it was obtained changes nothing: the count and the bus are the evidence.
    for (const Obtained way : kWays) {
      EXPECT_EQ(decide(facts(row.is_repeatable, row.delivery_count, way, row.is_same_bus)), row.verdict)
          << (row.is_repeatable ? "repeatable" : "not repeatable") << ", count " << row.delivery_count << ", "
          << (row.is_same_bus ? "same" : "other") << " bus, way " << static_cast<int>(way);
    }
  }
}

TEST(DeliveryPolicy, expired_beats_every_other_verdict) {
  for (const bool is_repeatable : {false, true}) {
    for (const std::uint32_t count : {1u, 2u, 9u}) {
      for (const bool is_same_bus : {false, true}) {
        DeliveryFacts late = facts(is_repeatable, count, Obtained::delivered, is_same_bus);
        late.now_ms = kDeadline + 1;
        EXPECT_EQ(decide(late), Verdict::expired);
      }
    }
  }
}

TEST(DeliveryPolicy, error_of_the_clock_is_added_before_an_entry_counts_as_expired) {
  DeliveryFacts late = facts(false, 1, Obtained::delivered, true);
  late.clock_error_ms = 50;
  late.now_ms = kDeadline + 50;
  EXPECT_EQ(decide(late), Verdict::run);
  late.now_ms = kDeadline + 51;
  EXPECT_EQ(decide(late), Verdict::expired);
}

TEST(DeliveryPolicy, attempt_limit_is_the_requests_own) {
  DeliveryFacts again = facts(true, 1, Obtained::taken_over, true);
  again.max_attempts = 1;
  EXPECT_EQ(decide(again), Verdict::run);
  again.delivery_count = 2;
  EXPECT_EQ(decide(again), Verdict::exhausted);
}

TEST(DeliveryPolicy, idempotent_methods_are_those_of_rfc_9110) {
  for (const char* method : {"GET", "HEAD", "PUT", "DELETE", "OPTIONS", "TRACE"}) {
    EXPECT_TRUE(is_idempotent_method(method)) << method;
  }
  for (const char* method : {"POST", "PATCH", "CONNECT", "get", "", "GETS"}) {
    EXPECT_FALSE(is_idempotent_method(method)) << method;
  }
}

}  // namespace
}  // namespace outrigger::router
