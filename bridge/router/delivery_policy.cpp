#include "bridge/router/delivery_policy.h"

#include <algorithm>
#include <array>

namespace outrigger::router {

Verdict decide(const DeliveryFacts& facts) {
  // The error of our estimate is added: the owner must have ended it first by its own clock.
  if (facts.now_ms > facts.deadline_ms + facts.clock_error_ms) return Verdict::expired;
  if (facts.is_repeatable) {
    return facts.delivery_count > facts.max_attempts ? Verdict::exhausted : Verdict::run;
  }
  // A restored snapshot or a failover may bring back an entry that was run, acknowledged and deleted.
  if (!facts.is_same_bus) return Verdict::outcome_unknown;
  // XREADGROUP sets 1, a claim from `parked` raises 0 to 1: whoever had it before did not begin it. Any other claim
  // finds at least 1 and makes it 2.
  return facts.delivery_count == 1 ? Verdict::run : Verdict::outcome_unknown;
}

bool is_idempotent_method(std::string_view method) {
  static constexpr std::array<std::string_view, 6> kMethods{"GET", "HEAD", "PUT", "DELETE", "OPTIONS", "TRACE"};
  return std::find(kMethods.begin(), kMethods.end(), method) != kMethods.end();
}

}  // namespace outrigger::router
