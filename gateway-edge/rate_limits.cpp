#include "gateway-edge/rate_limits.h"

#include <algorithm>
#include <utility>

#include "bridge/base/check.h"
#include "bridge/base/log.h"
#include "bridge/openapi/metadata_codec.h"

namespace outrigger::gateway {
namespace {

using base::Code;
using base::Duration;

constexpr std::size_t kBucketNameCharacters = 32;  // of a hash in hex: 128 bits, which nobody finds two alike of

std::string seconds(Duration duration) {
  return std::to_string(std::chrono::ceil<std::chrono::seconds>(duration).count());
}

bool applies(const RateLimitRule& rule, const RateLimitFacts& facts) {
  return (rule.service.empty() || rule.service == facts.service) && (rule.route.empty() || rule.route == facts.route) &&
         (rule.tenant.empty() || rule.tenant == facts.tenant);
}

RateLimitFailOpen reason_of(Code code) {
  return code == Code::closed || code == Code::outcome_unknown ? RateLimitFailOpen::disconnected
                                                               : RateLimitFailOpen::refused;
}

}  // namespace

std::string_view name_of(RateLimitFailOpen reason) {
  switch (reason) {
    case RateLimitFailOpen::disconnected: return "disconnected";
    case RateLimitFailOpen::timeout: return "timeout";
    case RateLimitFailOpen::refused: return "refused";
    case RateLimitFailOpen::circuit_open: return "circuit_open";
  }
  return "";
}

RateLimits::RateLimits(std::vector<RateLimitRule> rules, std::size_t buckets) : rules_(std::move(rules)) {
  CHECK(validate(rules_).has_value());
  for (const RateLimitRule& rule : rules_) {
    rates_.push_back(rate_of(rule));
    buckets_.push_back(rule.scope == RateLimitScope::environment
                           ? nullptr
                           : std::make_unique<RateBuckets>(rates_.back(), rule.per.empty() ? 1 : buckets));
  }
}

std::uint64_t RateLimits::evictions() const {
  std::uint64_t sum = 0;
  for (const auto& buckets : buckets_) sum += buckets == nullptr ? 0 : buckets->evictions();
  return sum;
}

void RateLimitOutcome::write_to(base::HeaderList& headers) const {
  if (rule == nullptr) return;
  headers.set("X-RateLimit-Limit", std::to_string(limit));
  headers.set("X-RateLimit-Remaining", std::to_string(remaining));
  headers.set("X-RateLimit-Reset", seconds(until_full));
  if (!is_allowed) headers.set("Retry-After", seconds(retry_after));
}

void RateLimitCounters::add(const RateLimitCounters& more) {
  limited.resize(std::max(limited.size(), more.limited.size()));
  for (std::size_t i = 0; i < more.limited.size(); ++i) limited[i] += more.limited[i];
  for (std::size_t i = 0; i < failed_open.size(); ++i) failed_open[i] += more.failed_open[i];
}

// Whoever waits for a question. Its end is not that of the question: the breaker wants to hear of every one.
class RateLimiter::Ticket final : public net::PendingOperation {
 public:
  Ticket(RateLimiter& limiter, std::uint64_t id) : limiter_(limiter), id_(id) {}
  ~Ticket() override {
    const auto at = limiter_.questions_.find(id_);
    if (at != limiter_.questions_.end()) at->second.done = nullptr;
  }

 private:
  RateLimiter& limiter_;
  const std::uint64_t id_;
};

RateLimiter::RateLimiter(net::EventLoop& loop, messaging::Bus& bus, const frames::QueueNames& names, RateLimits& limits,
                         Duration timeout)
    : loop_(loop), bus_(bus), names_(names), limits_(limits), timeout_(timeout), timer_(loop, [this] { on_time(); }) {
  counters_.limited.resize(limits_.rules().size());
}

std::variant<RateLimitOutcome, net::Pending> RateLimiter::check(const RateLimitFacts& facts, Done done) {
  CHECK_ON_LOOP(loop_);
  in_memory_.clear();
  on_bus_.clear();
  bool is_refused = false;
  for (std::size_t i = 0; i < limits_.rules_.size(); ++i) {
    const RateLimitRule& rule = limits_.rules_[i];
    if (!applies(rule, facts)) continue;
    RateBuckets* const buckets = limits_.buckets_[i].get();
    if (buckets == nullptr) {
      on_bus_.push_back({.rule = i});
      continue;
    }
    // Charged before the bus is asked, and taken back if need be: else all that comes while it is asked would pass here,
    // and one caller could use up there what others share.
    Standing standing{.rule = i, .bucket = buckets->bucket_of(identity_of(rule, facts))};
    standing.backlog = buckets->charge(standing.bucket, loop_.now());
    is_refused = is_refused || !buckets->rate().admits(standing.backlog);
    in_memory_.push_back(standing);
  }
  if (!on_bus_.empty() && !is_refused) {
    if (!bus_.is_connected()) {
      ++counters_.failed_open[static_cast<std::size_t>(RateLimitFailOpen::disconnected)];
    } else if (!breaker_.may_try(loop_.now())) {
      ++counters_.failed_open[static_cast<std::size_t>(RateLimitFailOpen::circuit_open)];
    } else {
      return ask(facts, std::move(done));
    }
  }
  return conclude(in_memory_);
}

net::Pending RateLimiter::ask(const RateLimitFacts& facts, Done done) {
  std::vector<messaging::RateBucket> buckets;
  for (const Standing& standing : on_bus_) {
    const RateLimitRule& rule = limits_.rules_[standing.rule];
    const std::string& identity = identity_of(rule, facts);
    // Who it is has no place in Valkey, and callers choose neither the length nor the characters of a key.
    const std::string name =
        identity.empty() ? "all" : openapi::sha256_hex(identity).substr(0, kBucketNameCharacters);
    buckets.push_back({names_.rate_bucket(rule.name, name), limits_.rates_[standing.rule]});
  }
  const std::uint64_t id = ++last_id_;
  const base::TimePoint deadline = loop_.now() + timeout_;
  questions_.emplace(id, Question{deadline, in_memory_, on_bus_, std::move(done)});
  if (!timer_.is_armed()) timer_.arm_at(deadline);
  bus_.charge(std::move(buckets), [this, id](base::Result<std::vector<Duration>> backlogs) {
    on_answer(id, std::move(backlogs));
  });
  return net::Pending(std::make_unique<Ticket>(*this, id));
}

void RateLimiter::on_answer(std::uint64_t id, base::Result<std::vector<Duration>> backlogs) {
  auto node = questions_.extract(id);
  if (node.empty()) return;  // too late: its request has passed
  Question question = std::move(node.mapped());
  if (!backlogs) return give_up(std::move(question), reason_of(backlogs.error().code));
  CHECK(backlogs->size() == question.on_bus.size());
  if (breaker_.succeeded()) base::log_info("the bus answers for rate limits of the environment again");
  std::vector<Standing> standings = std::move(question.in_memory);
  for (std::size_t i = 0; i < question.on_bus.size(); ++i) {
    standings.push_back({.rule = question.on_bus[i].rule, .backlog = (*backlogs)[i]});
  }
  const RateLimitOutcome outcome = conclude(standings);
  if (question.done) question.done(outcome);
}

void RateLimiter::on_time() {
  while (!questions_.empty() && questions_.begin()->second.deadline <= loop_.now()) {
    give_up(std::move(questions_.extract(questions_.begin()).mapped()), RateLimitFailOpen::timeout);
  }
  if (!questions_.empty()) timer_.arm_at(questions_.begin()->second.deadline);
}

void RateLimiter::give_up(Question question, RateLimitFailOpen reason) {
  if (breaker_.failed(loop_.now())) {
    base::log_warn("rate limits of the environment are not kept: the bus does not answer for them",
                   {{"reason", name_of(reason)},
                    {"do", "see the state of the bus in /readyz?verbose; requests pass meanwhile"}});
  }
  ++counters_.failed_open[static_cast<std::size_t>(reason)];
  const RateLimitOutcome outcome = conclude(question.in_memory);
  if (question.done) question.done(outcome);
}

RateLimitOutcome RateLimiter::conclude(const std::vector<Standing>& standings) {
  RateLimitOutcome outcome;
  outcome.is_allowed = std::all_of(standings.begin(), standings.end(), [this](const Standing& standing) {
    return limits_.rates_[standing.rule].admits(standing.backlog);
  });
  for (const Standing& standing : standings) {
    const base::Gcra& rate = limits_.rates_[standing.rule];
    RateBuckets* const buckets = limits_.buckets_[standing.rule].get();
    if (!outcome.is_allowed && buckets != nullptr && rate.admits(standing.backlog)) buckets->refund(standing.bucket);
    if (!outcome.is_allowed) outcome.retry_after = std::max(outcome.retry_after, rate.until_room(standing.backlog));
    const Duration backlog = standing.backlog + (outcome.is_allowed ? rate.interval : Duration(0));
    const std::uint64_t remaining = rate.remaining(backlog);
    if (outcome.rule != nullptr &&
        (remaining > outcome.remaining || (remaining == outcome.remaining && backlog <= outcome.until_full))) {
      continue;
    }
    outcome.rule = &limits_.rules_[standing.rule];
    outcome.limit = rate.burst;
    outcome.remaining = remaining;
    outcome.until_full = backlog;
  }
  if (!outcome.is_allowed) ++counters_.limited[static_cast<std::size_t>(outcome.rule - limits_.rules_.data())];
  return outcome;
}

// Its values with their lengths, so that no two requests are taken for one another; in an order of its own, not that of the
// configuration, since gateways share buckets. Valid until the next call.
const std::string& RateLimiter::identity_of(const RateLimitRule& rule, const RateLimitFacts& facts) {
  identity_.clear();
  const auto has = [&rule](RateLimitDimension dimension) {
    return std::find(rule.per.begin(), rule.per.end(), dimension) != rule.per.end();
  };
  const auto add = [this](std::string_view value) {
    identity_.append(std::to_string(value.size())).append(":").append(value);
  };
  if (has(RateLimitDimension::service) || has(RateLimitDimension::route)) add(facts.service);
  if (has(RateLimitDimension::route)) add(facts.route);
  if (has(RateLimitDimension::tenant)) add(facts.tenant);
  if (has(RateLimitDimension::subject)) {
    add(facts.issuer);
    add(facts.subject);
  }
  return identity_;
}

}  // namespace outrigger::gateway
