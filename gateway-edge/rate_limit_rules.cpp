#include "gateway-edge/rate_limit_rules.h"

#include <algorithm>

#include "bridge/base/limits.h"
#include "bridge/frames/queue_names.h"

namespace outrigger::gateway {
namespace {

using base::Code;
using base::Error;
namespace limits = base::limits;

// What is wrong with one rule by itself; empty: nothing.
std::string fault_of(const RateLimitRule& rule) {
  using std::chrono::microseconds;
  if (!frames::is_rate_limit_name(rule.name)) return "Name must be 1 to 64 characters of A-Z a-z 0-9 . _ -";
  for (auto each = rule.per.begin(); each != rule.per.end(); ++each) {
    if (std::find(rule.per.begin(), each, *each) != each) return "Per has " + std::string(name_of(*each)) + " twice";
  }
  if (rule.limit == 0) return "Limit must be above 0";
  if (rule.window <= std::chrono::milliseconds(0)) return "Window must be above 0";
  if (rule.window > limits::kRateLimitRefill) return "Window is above 31 days";
  if (rule.limit > static_cast<std::uint64_t>(microseconds(rule.window).count())) {
    return "Limit is above one request per microsecond";
  }
  const base::Gcra rate = rate_of(rule);
  if (rate.burst > static_cast<std::uint64_t>(limits::kRateLimitRefill / rate.interval)) {
    return "Burst is too large for Limit and Window: a bucket would need more than 31 days to be full again";
  }
  return {};
}

}  // namespace

std::string_view name_of(RateLimitScope scope) {
  return scope == RateLimitScope::instance ? "instance" : "environment";
}

std::string_view name_of(RateLimitDimension dimension) {
  switch (dimension) {
    case RateLimitDimension::service: return "service";
    case RateLimitDimension::route: return "route";
    case RateLimitDimension::tenant: return "tenant";
    case RateLimitDimension::subject: return "subject";
  }
  return "";
}

base::Result<void> validate(std::span<const RateLimitRule> rules) {
  if (rules.size() > limits::kRateLimitRules) {
    return Error{Code::invalid, "more than " + std::to_string(limits::kRateLimitRules) + " rules"};
  }
  for (auto rule = rules.begin(); rule != rules.end(); ++rule) {
    std::string fault = fault_of(*rule);
    if (fault.empty() && std::any_of(rules.begin(), rule, [&](const auto& other) { return other.name == rule->name; })) {
      fault = "Name stands twice";
    }
    if (!fault.empty()) return Error{Code::invalid, "rule \"" + rule->name + "\": " + fault};
  }
  return {};
}

base::Gcra rate_of(const RateLimitRule& rule) {
  const auto limit = static_cast<std::int64_t>(rule.limit);
  base::Duration interval = (base::Duration(rule.window) + base::Duration(limit - 1)) / limit;
  if (rule.scope == RateLimitScope::environment) interval = std::chrono::ceil<std::chrono::microseconds>(interval);
  return {interval, rule.burst == 0 ? rule.limit : rule.burst};
}

}  // namespace outrigger::gateway
