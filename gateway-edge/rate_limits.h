// Rate limits: which requests are answered 429. RateLimits holds the rules and what is counted in memory, for all workers;
// a RateLimiter is one worker's way to ask, which also asks the bus where rules are the environment's.
//
// A request passes if every rule that applies to it has room, and is charged to all of them; a refused one is charged
// nowhere. Rules of the instance come first: what they refuse costs the bus nothing. All rules of the environment are one
// question to the bus, with a deadline. If it is not answered, the request passes without them and is counted (fail
// open): limits are kept for fairness, and a bus in trouble must not become an outage. After several unanswered questions in
// a row none is asked for a while (circuit breaker).
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "bridge/base/header_list.h"
#include "bridge/base/limits.h"
#include "bridge/base/unique_function.h"
#include "bridge/frames/queue_names.h"
#include "bridge/messaging/bus.h"
#include "bridge/net/event_loop.h"
#include "bridge/net/pending.h"
#include "bridge/net/timer.h"
#include "gateway-edge/circuit_breaker.h"
#include "gateway-edge/rate_buckets.h"
#include "gateway-edge/rate_limit_rules.h"

namespace outrigger::gateway {

// What rules look at. `route` as in metrics: mount and template. `tenant`, `issuer` and `subject` are the verified ones,
// never what a client says; empty for anonymous. A subject is one person's only together with its issuer.
struct RateLimitFacts {
  std::string_view service = {};
  std::string_view route = {};
  std::string_view tenant = {};
  std::string_view issuer = {};
  std::string_view subject = {};
};

// Made once, before the workers, and outlives them. Any thread.
class RateLimits {
 public:
  // REQUIRES validate(rules). `buckets`: places per rule of the instance.
  explicit RateLimits(std::vector<RateLimitRule> rules, std::size_t buckets = base::limits::kRateBuckets);

  const std::vector<RateLimitRule>& rules() const { return rules_; }
  // Of all rules: RateBuckets::evictions().
  std::uint64_t evictions() const;

 private:
  friend class RateLimiter;
  std::vector<RateLimitRule> rules_;
  std::vector<base::Gcra> rates_;                      // by rule
  std::vector<std::unique_ptr<RateBuckets>> buckets_;  // by rule; nullptr: the bus has them
};

// How a request fared. For clients the most restrictive rule is told: the one with the least remaining, of these the one
// that takes longest to be full again. A refused request is told a rule that refuses it.
struct RateLimitOutcome {
  bool is_allowed = true;
  const RateLimitRule* rule = nullptr;  // the one that is told; lives as long as RateLimits. nullptr: none was asked
  std::uint64_t limit = 0;              // requests of a full bucket, i.e. the rule's burst
  std::uint64_t remaining = 0;          // of them, this request taken off if it passed
  base::Duration until_full{};
  base::Duration retry_after{};  // if refused: until every rule has room, if nobody takes it

  // Sets X-RateLimit-Limit, -Remaining and -Reset, whatever they were before, and Retry-After if refused (RFC 9110 section
  // 10.2.3); nothing without a rule. -Reset is the number of seconds until Remaining is Limit again: seconds as in those
  // versions of draft-ietf-httpapi-ratelimit-headers that had three fields, for a time of day would need clocks that agree.
  // Seconds are rounded up; Retry-After is at least 1.
  void write_to(base::HeaderList& headers) const;
};

// Why a request passed without the rules of the environment.
enum class RateLimitFailOpen : std::uint8_t {
  disconnected,  // no connection to the bus, or it was lost meanwhile
  timeout,       // no answer within the timeout
  refused,       // the bus refused: no permission, out of memory, a foreign key
  circuit_open,  // not asked, since it did not answer before
};
inline constexpr std::size_t kRateLimitFailOpens = 4;
std::string_view name_of(RateLimitFailOpen reason);

struct RateLimitCounters {
  // Requests, such as their client gave up meanwhile included.
  std::vector<std::uint64_t> limited;                            // by rule that was told: refused
  std::array<std::uint64_t, kRateLimitFailOpens> failed_open{};  // by reason

  void add(const RateLimitCounters& more);
};

// One per worker, and lives as long as it: pending checks die before it. Loop thread only.
class RateLimiter {
 public:
  // References outlive the limiter. `timeout`: of one question to the bus; above 0.
  RateLimiter(net::EventLoop& loop, messaging::Bus& bus, const frames::QueueNames& names, RateLimits& limits,
              base::Duration timeout = base::limits::kRateLimitTimeout);

  using Done = base::UniqueFunction<void(const RateLimitOutcome&)>;
  // May this request pass? The outcome, if it is known at once, and `done` is dropped; else `done` is called with it later,
  // once and by the timeout, unless the handle is destroyed before. (The charge stays then: the request was made.)
  // `facts` are not kept. Nothing is allocated unless the bus is asked.
  [[nodiscard]] std::variant<RateLimitOutcome, net::Pending> check(const RateLimitFacts& facts, Done done);

  const RateLimitCounters& counters() const { return counters_; }

 private:
  // What is known of one rule's bucket.
  struct Standing {
    std::size_t rule;
    std::uint64_t bucket = 0;  // in memory
    base::Duration backlog{};  // before this request
  };
  // One that the bus was asked.
  struct Question {
    base::TimePoint deadline;
    std::vector<Standing> in_memory;  // charged already
    std::vector<Standing> on_bus;
    Done done;  // empty: nobody waits for the outcome any more
  };
  class Ticket;

  net::Pending ask(const RateLimitFacts& facts, Done done);
  void on_answer(std::uint64_t id, base::Result<std::vector<base::Duration>> backlogs);
  void on_time();
  // Without the rules of the environment.
  void give_up(Question question, RateLimitFailOpen reason);
  // Of all rules that could be asked. Takes back what was charged in memory if one of them refuses.
  RateLimitOutcome conclude(const std::vector<Standing>& standings);
  const std::string& identity_of(const RateLimitRule& rule, const RateLimitFacts& facts);

  net::EventLoop& loop_;
  messaging::Bus& bus_;
  const frames::QueueNames& names_;
  RateLimits& limits_;
  const base::Duration timeout_;
  CircuitBreaker breaker_{base::limits::kRateLimitFailures, base::limits::kRateLimitOpenTime};
  std::map<std::uint64_t, Question> questions_;  // by id, and so by deadline
  std::uint64_t last_id_ = 0;
  net::Timer timer_;  // for the deadline of the first question; it may be that of one that was answered
  RateLimitCounters counters_;
  // Of the check under way; kept for their memory.
  std::vector<Standing> in_memory_;
  std::vector<Standing> on_bus_;
  std::string identity_;
};

}  // namespace outrigger::gateway
