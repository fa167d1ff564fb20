// RateLimitRule: one entry of Gateway:RateLimit:Rules, and what makes it a sound one. Plain values; any thread.
#pragma once

#include <chrono>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "bridge/base/gcra.h"
#include "bridge/base/result.h"

namespace outrigger::gateway {

// Who counts together: the workers of one gateway, in memory, or all gateways on one bus.
enum class RateLimitScope : std::uint8_t { instance, environment };
// What has a bucket of its own. `route` is a template of a service, so that equal ones of two services are told apart.
enum class RateLimitDimension : std::uint8_t { service, route, tenant, subject };
std::string_view name_of(RateLimitScope scope);
std::string_view name_of(RateLimitDimension dimension);

struct RateLimitRule {
  std::string name;  // label of metrics, part of keys: frames::is_rate_limit_name, and no other rule's
  RateLimitScope scope = RateLimitScope::instance;
  // Requests with the same values share a bucket; one value is having none, so all who are anonymous are one subject.
  // Empty: one bucket for all.
  std::vector<RateLimitDimension> per = {};
  // What it is for, exactly; empty: any. `route` as in metrics, with its mount: /billing/orders/{id}.
  std::string service = {};
  std::string route = {};
  std::string tenant = {};
  std::uint64_t limit = 0;              // requests in each window, spread evenly; at most one per microsecond
  std::chrono::milliseconds window{0};
  std::uint64_t burst = 0;              // requests at once after a pause; 0: `limit`
};

// Error `invalid` that names rule and member: more than limits::kRateLimitRules, a name that is not one or stands twice, a
// dimension that stands twice, a limit or window of 0, more than one request per microsecond, or a bucket that needs more
// than limits::kRateLimitRefill to be full again.
base::Result<void> validate(std::span<const RateLimitRule> rules);

// REQUIRES a valid rule. The interval is rounded up to the nanosecond, or the microsecond for what the bus counts: never
// more than the limit passes, and of 1,000 a second at most a thousandth less.
base::Gcra rate_of(const RateLimitRule& rule);

}  // namespace outrigger::gateway
