// What may be done with an entry that was just obtained: the decision table of docs/protocol.md ("Owning a request"),
// as a function of what is known, so that it can be tested alone. Names are those of docs/model/delivery.pml.
#pragma once

#include <cstdint>
#include <string_view>

#include "bridge/frames/frame.h"

namespace outrigger::router {

enum class Obtained : std::uint8_t {
  delivered,   // new, by XREADGROUP
  parked,      // handed back by another instance, claimed from `parked`
  taken_over,  // claimed from an instance that is gone
  own_pending, // delivered to us over a connection that was lost before the entry arrived
};

enum class Verdict : std::uint8_t {
  run,              // give it to the service
  expired,          // drop: its owner has ended it already
  outcome_unknown,  // may have been run, and must not be run twice: answer 502, do not run
  exhausted,        // repeatable, but begun too often: answer 502, do not run
};

struct DeliveryFacts {
  bool is_repeatable;            // idempotent or marked so; or Redelivery: always
  std::uint32_t delivery_count;  // after it was obtained: the evidence of who may have begun it
  Obtained obtained;
  bool is_same_bus;              // the request's `bus` is the incarnation of the connection it came over
  std::int64_t now_ms;           // Valkey's clock as estimated
  std::int64_t clock_error_ms;
  std::int64_t deadline_ms;
  std::uint32_t max_attempts;
};

Verdict decide(const DeliveryFacts& facts);

// Methods that are idempotent by RFC 9110 section 9.2.2.
bool is_idempotent_method(std::string_view method);

}  // namespace outrigger::router
