// Rate limits on the fake clock and the bus in memory: which requests pass, what they are told, and what happens when the
// bus does not answer.
#include "gateway-edge/rate_limits.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support/memory_bus.h"

namespace outrigger::gateway {
namespace {

using namespace std::chrono_literals;
using ::testing::HasSubstr;
using tests::MemoryBus;
using tests::Op;
using Scope = RateLimitScope;
using Dimension = RateLimitDimension;

constexpr RateLimitFacts kAnn{.service = "billing", .route = "/billing/orders/{id}", .tenant = "acme", .subject = "ann"};
constexpr RateLimitFacts kBob{.service = "billing", .route = "/billing/orders/{id}", .tenant = "acme", .subject = "bob"};
constexpr RateLimitFacts kEve{.service = "stock", .route = "/stock/{path}", .tenant = "umbrella", .subject = "eve"};

RateLimitRule rule(std::string name, std::uint64_t limit, std::chrono::milliseconds window = 1min,
                   std::vector<Dimension> per = {}) {
  RateLimitRule made;
  made.name = std::move(name);
  made.limit = limit;
  made.window = window;
  made.per = std::move(per);
  return made;
}
RateLimitRule shared(RateLimitRule made) {
  made.scope = Scope::environment;
  return made;
}

// "ok limit/remaining/reset" or "429 limit/remaining/reset after N", from the header fields; without fields "ok" alone.
std::string told(const RateLimitOutcome& outcome) {
  base::HeaderList headers;
  outcome.write_to(headers);
  std::string text = outcome.is_allowed ? "ok" : "429";
  if (headers.empty()) return text;
  text.append(" ").append(*headers.find("X-RateLimit-Limit"));
  text.append("/").append(*headers.find("X-RateLimit-Remaining"));
  text.append("/").append(*headers.find("X-RateLimit-Reset"));
  if (const auto after = headers.find("Retry-After")) text.append(" after ").append(*after);
  return text;
}

class RateLimitsTest : public ::testing::Test {
 protected:
  RateLimitsTest() { fake_.settle(); }

  void use(std::vector<RateLimitRule> rules, std::size_t buckets = base::limits::kRateBuckets) {
    ASSERT_EQ(fault_of(rules), "");
    limits_ = std::make_unique<RateLimits>(std::move(rules), buckets);
    limiter_ = make_limiter(bus_, *limits_);
  }
  std::unique_ptr<RateLimiter> make_limiter(MemoryBus& bus, RateLimits& limits) {
    return std::make_unique<RateLimiter>(fake_.loop, bus, names_, limits);
  }
  static std::string fault_of(const std::vector<RateLimitRule>& rules) {
    const base::Result<void> valid = validate(rules);
    return valid ? "" : valid.error().detail;
  }
  // How a request fared; "waits" if that is not known without time.
  std::string ask(RateLimiter& limiter, const RateLimitFacts& facts = kAnn) {
    std::string answer = "waits";
    auto checked = limiter.check(facts, [&answer](const RateLimitOutcome& outcome) {
      EXPECT_EQ(answer, "waits") << "told twice";
      answer = told(outcome);
    });
    if (const auto* outcome = std::get_if<RateLimitOutcome>(&checked)) return told(*outcome);
    EXPECT_EQ(answer, "waits") << "told inside the call";
    fake_.settle();
    return answer;
  }
  std::string ask(const RateLimitFacts& facts = kAnn) { return ask(*limiter_, facts); }
  // The same, with all the time it needs.
  std::string ask_patiently(const RateLimitFacts& facts = kAnn) {
    std::string answer = "waits";
    auto checked = limiter_->check(facts, [&answer](const RateLimitOutcome& outcome) { answer = told(outcome); });
    if (const auto* outcome = std::get_if<RateLimitOutcome>(&checked)) return told(*outcome);
    fake_.advance(base::limits::kRateLimitTimeout);
    return answer;
  }
  // Of how many requests the first is not told "ok".
  int passing(const RateLimitFacts& facts = kAnn) {
    int passed = 0;
    while (passed < 1000 && ask(facts).starts_with("ok")) ++passed;
    return passed;
  }
  std::uint64_t failed_open(RateLimitFailOpen reason) const {
    return limiter_->counters().failed_open[static_cast<std::size_t>(reason)];
  }

  tests::FakeLoop fake_;
  const frames::QueueNames names_ = *frames::QueueNames::make({});
  tests::MemoryServer server_{fake_};
  MemoryBus bus_{server_};
  MemoryBus other_bus_{server_};
  std::unique_ptr<RateLimits> limits_;
  std::unique_ptr<RateLimiter> limiter_;
};

// ---- Rules

TEST_F(RateLimitsTest, unsound_rules_are_refused_by_name) {
  EXPECT_EQ(fault_of({rule("a", 1), rule("b", 1)}), "");
  EXPECT_THAT(fault_of({rule("a b", 1)}), HasSubstr("rule \"a b\": Name"));
  EXPECT_THAT(fault_of({rule("a", 1), rule("a", 2)}), HasSubstr("rule \"a\": Name stands twice"));
  EXPECT_THAT(fault_of({rule("a", 0)}), HasSubstr("Limit"));
  EXPECT_THAT(fault_of({rule("a", 1, 0ms)}), HasSubstr("Window"));
  EXPECT_THAT(fault_of({rule("a", 1, 32 * 24h)}), HasSubstr("31 days"));
  EXPECT_THAT(fault_of({rule("a", 1001, 1ms)}), HasSubstr("microsecond"));
  EXPECT_EQ(fault_of({shared(rule("a", 1000, 1ms))}), "");
  EXPECT_THAT(fault_of({rule("a", 1, 1s, {Dimension::tenant, Dimension::tenant})}), HasSubstr("Per has tenant twice"));
  RateLimitRule slow = rule("a", 1, 24h);
  slow.burst = 31;
  EXPECT_EQ(fault_of({slow}), "");
  slow.burst = 32;
  EXPECT_THAT(fault_of({slow}), HasSubstr("Burst"));
  slow.burst = ~std::uint64_t{0};
  EXPECT_THAT(fault_of({slow}), HasSubstr("Burst"));
  EXPECT_THAT(fault_of(std::vector(65, rule("a", 1))), HasSubstr("64"));
}

TEST_F(RateLimitsTest, without_rules_everything_passes_and_nothing_is_told) {
  use({});

  EXPECT_EQ(ask(), "ok");
  EXPECT_EQ(bus_.calls(Op::charge), 0u);
}

TEST_F(RateLimitsTest, rule_applies_to_what_it_names) {
  RateLimitRule by_service = rule("by-service", 10);
  by_service.service = "stock";
  RateLimitRule by_route = rule("by-route", 20);
  by_route.route = "/billing/orders/{id}";
  RateLimitRule by_tenant = rule("by-tenant", 30);
  by_tenant.tenant = "umbrella";
  use({by_service, by_route, by_tenant});

  EXPECT_EQ(ask(kAnn), "ok 20/19/3");
  EXPECT_EQ(ask(kEve), "ok 10/9/6");
  EXPECT_EQ(ask({.service = "billing", .route = "/billing/{path}", .tenant = "umbrella"}), "ok 30/28/4");
  EXPECT_EQ(ask({.service = "billing", .route = "/billing/{path}"}), "ok");
}

TEST_F(RateLimitsTest, each_value_of_a_dimension_has_a_bucket) {
  use({rule("per-subject", 2, 1min, {Dimension::tenant, Dimension::subject})});

  EXPECT_EQ(passing(kAnn), 2);
  EXPECT_EQ(passing(kBob), 2);
  EXPECT_EQ(passing({.tenant = "acm", .subject = "eann"}), 2) << "the same letters";
  EXPECT_EQ(passing({}), 2);
  EXPECT_EQ(passing({.service = "stock"}), 0) << "all who are anonymous are one";
}

TEST_F(RateLimitsTest, equal_routes_of_two_services_are_two) {
  use({rule("per-route", 1, 1min, {Dimension::route})});

  EXPECT_EQ(passing({.service = "a", .route = "/{path}"}), 1);
  EXPECT_EQ(passing({.service = "b", .route = "/{path}"}), 1);
}

// ---- In memory

TEST_F(RateLimitsTest, limit_is_spread_over_the_window_and_has_no_edge) {
  use({rule("all", 6)});
  EXPECT_EQ(ask(), "ok 6/5/10");
  EXPECT_EQ(passing(), 5);
  EXPECT_EQ(ask(), "429 6/0/60 after 10");

  fake_.advance(10s - 1ns);
  EXPECT_EQ(ask(), "429 6/0/51 after 1");
  fake_.advance(1ns);
  EXPECT_EQ(ask(), "ok 6/0/60");
  EXPECT_EQ(ask(), "429 6/0/60 after 10");
  fake_.advance(59s);
  EXPECT_EQ(passing(), 5) << "at the end of a window not twice the limit";
  fake_.advance(1s);
  EXPECT_EQ(passing(), 1);
  EXPECT_EQ(limiter_->counters().limited[0], 6u);
}

TEST_F(RateLimitsTest, burst_is_what_comes_at_once_and_the_limit_what_comes_on) {
  RateLimitRule small = rule("small", 60);
  small.burst = 3;
  use({small});

  EXPECT_EQ(passing(), 3);
  fake_.advance(1s);
  EXPECT_EQ(passing(), 1);
  fake_.advance(1h);
  EXPECT_EQ(passing(), 3);
}

TEST_F(RateLimitsTest, most_restrictive_rule_is_told) {
  use({rule("minute", 5, 1min), rule("hour", 5, 1h), rule("second", 10, 1s)});

  EXPECT_EQ(ask(), "ok 5/4/720") << "of two with as much left the slower one";
  fake_.advance(12s);
  EXPECT_EQ(ask(), "ok 5/3/1428");
}

TEST_F(RateLimitsTest, refused_request_is_charged_to_no_rule) {
  use({rule("wide", 3, 1min), rule("narrow", 1, 1h, {Dimension::subject})});
  EXPECT_EQ(passing(kAnn), 1);

  for (int i = 0; i < 10; ++i) EXPECT_EQ(ask(kAnn), "429 1/0/3600 after 3600");

  EXPECT_EQ(ask(kBob), "ok 1/0/3600");
  EXPECT_EQ(ask(kEve), "ok 1/0/3600") << "the third of wide's three";
  EXPECT_EQ(ask({.subject = "dan"}), "429 3/0/60 after 20");
  EXPECT_EQ(limiter_->counters().limited, (std::vector<std::uint64_t>{1, 11}));
}

TEST_F(RateLimitsTest, told_to_wait_for_every_rule_that_refuses) {
  RateLimitRule slow = rule("slow", 1, 90s);
  use({slow, rule("quick", 1, 1min)});
  EXPECT_EQ(passing(), 1);

  EXPECT_EQ(ask(), "429 1/0/90 after 90");
}

TEST_F(RateLimitsTest, workers_share_the_buckets_of_their_process) {
  use({rule("all", 4)});
  const auto second = make_limiter(other_bus_, *limits_);

  EXPECT_EQ(ask(*limiter_), "ok 4/3/15");
  EXPECT_EQ(ask(*second), "ok 4/2/30");
  EXPECT_EQ(ask(*limiter_), "ok 4/1/45");
  EXPECT_EQ(ask(*second), "ok 4/0/60");
  EXPECT_EQ(ask(*limiter_), "429 4/0/60 after 15");
}

TEST_F(RateLimitsTest, flood_of_subjects_does_not_free_a_limited_one) {
  use({rule("per-subject", 5, 1h, {Dimension::subject})}, 256);
  EXPECT_EQ(passing(kAnn), 5);

  for (int i = 0; i < 10'000; ++i) ask({.subject = std::to_string(i)});

  EXPECT_EQ(passing(kAnn), 0);
  EXPECT_GT(limits_->evictions(), 9'000u);
}

// ---- On the bus

TEST_F(RateLimitsTest, gateways_share_the_buckets_of_the_environment) {
  use({shared(rule("all", 4))});
  RateLimits limits_of_other({shared(rule("all", 4))});
  const auto other = make_limiter(other_bus_, limits_of_other);

  EXPECT_EQ(ask(*limiter_), "ok 4/3/15");
  EXPECT_EQ(ask(*other), "ok 4/2/30");
  EXPECT_EQ(ask(*limiter_), "ok 4/1/45");
  EXPECT_EQ(ask(*other), "ok 4/0/60");
  EXPECT_EQ(ask(*limiter_), "429 4/0/60 after 15");
  fake_.advance(15s);
  EXPECT_EQ(ask(*other), "ok 4/0/60");
  EXPECT_EQ(limiter_->counters().limited[0], 1u);
  EXPECT_EQ(other->counters().limited[0], 0u);
}

TEST_F(RateLimitsTest, order_of_the_dimensions_makes_no_other_bucket) {
  use({shared(rule("both", 1, 1min, {Dimension::tenant, Dimension::subject}))});
  RateLimits limits_of_other({shared(rule("both", 1, 1min, {Dimension::subject, Dimension::tenant}))});
  const auto other = make_limiter(other_bus_, limits_of_other);

  EXPECT_EQ(ask(*limiter_), "ok 1/0/60");
  EXPECT_EQ(ask(*other), "429 1/0/60 after 60");
}

TEST_F(RateLimitsTest, all_rules_of_the_environment_are_one_question) {
  use({shared(rule("a", 9)), shared(rule("b", 9, 1h, {Dimension::tenant})), rule("c", 99)});

  EXPECT_EQ(ask(), "ok 9/8/400");
  EXPECT_EQ(bus_.calls(Op::charge), 1u);
}

// The second is the example of docs/protocol.md: printf '4:acme15:https://id.test3:ann' | sha256sum
TEST_F(RateLimitsTest, keys_name_nobody_and_end) {
  use({shared(rule("all", 9)), shared(rule("per-user", 9, 1min, {Dimension::tenant, Dimension::subject}))});
  RateLimitFacts ann = kAnn;
  ann.issuer = "https://id.test";
  ask(ann);

  std::vector<std::string> keys;
  for (const auto& [key, value] : server_.snapshot()) {
    keys.push_back(key);
    EXPECT_TRUE(value.expires_ms.has_value()) << key;
  }
  EXPECT_THAT(keys, ::testing::ElementsAre("router:rate:all:all", "router:rate:per-user:19a367544f0900292716f6991f998638"));
  fake_.advance(7s);
  EXPECT_FALSE(server_.exists("router:rate:all:all"));
}

TEST_F(RateLimitsTest, what_the_instance_refuses_costs_the_bus_nothing) {
  use({shared(rule("all", 99)), rule("narrow", 1)});
  EXPECT_EQ(passing(), 1);
  EXPECT_EQ(passing(), 0);
  EXPECT_EQ(bus_.calls(Op::charge), 1u);
}

TEST_F(RateLimitsTest, what_the_environment_refuses_is_not_charged_in_memory) {
  use({rule("here", 3), shared(rule("there", 1, 1h, {Dimension::subject}))});
  EXPECT_EQ(passing(kAnn), 1);

  for (int i = 0; i < 10; ++i) EXPECT_EQ(ask(kAnn), "429 1/0/3600 after 3600");

  EXPECT_EQ(ask(kBob), "ok 1/0/3600");
  EXPECT_EQ(ask(kEve), "ok 1/0/3600") << "the third of the three here";
  EXPECT_EQ(ask({.subject = "dan"}), "429 3/0/60 after 20");
}

// Else a caller could use up on the bus, while it is slow, what others share.
TEST_F(RateLimitsTest, requests_at_one_time_do_not_pass_the_instance_while_the_bus_is_asked) {
  use({rule("per-subject", 2, 1min, {Dimension::subject}), shared(rule("all", 99))});
  bus_.hold(Op::charge);
  std::vector<net::Pending> pending;
  int refused = 0;

  for (int i = 0; i < 10; ++i) {
    auto checked = limiter_->check(kAnn, nullptr);
    if (auto* waiting = std::get_if<net::Pending>(&checked)) {
      pending.push_back(std::move(*waiting));
    } else {
      ++refused;
    }
  }

  EXPECT_EQ(pending.size(), 2u);
  EXPECT_EQ(refused, 8);
}

TEST_F(RateLimitsTest, cancelled_check_is_not_told) {
  use({shared(rule("all", 9))});
  bool was_told = false;
  {
    auto checked = limiter_->check(kAnn, [&](const RateLimitOutcome&) { was_told = true; });
    ASSERT_TRUE(std::holds_alternative<net::Pending>(checked));
  }
  fake_.advance(1s);

  EXPECT_FALSE(was_told);
}

// ---- When the bus does not answer

TEST_F(RateLimitsTest, bus_that_is_away_lets_pass_at_once_and_instance_rules_still_hold) {
  use({shared(rule("all", 1)), rule("here", 3)});
  server_.stop();
  fake_.settle();

  EXPECT_EQ(ask(), "ok 3/2/20");
  EXPECT_EQ(passing(), 2);
  EXPECT_EQ(failed_open(RateLimitFailOpen::disconnected), 3u);
  server_.start();
  fake_.advance(1s);
  EXPECT_EQ(passing(), 0);
}

TEST_F(RateLimitsTest, silent_bus_lets_pass_after_the_timeout) {
  use({shared(rule("all", 1))});
  bus_.hold(Op::charge);
  std::string answer;
  auto checked = limiter_->check(kAnn, [&](const RateLimitOutcome& outcome) { answer = told(outcome); });

  fake_.advance(50ms - 1ns);
  EXPECT_EQ(answer, "");
  fake_.advance(1ns);
  EXPECT_EQ(answer, "ok");
  EXPECT_EQ(failed_open(RateLimitFailOpen::timeout), 1u);
  answer.clear();
  bus_.release(Op::charge);
  fake_.settle();
  EXPECT_EQ(answer, "") << "the late answer concerns nobody";
}

TEST_F(RateLimitsTest, each_question_has_its_own_deadline) {
  use({shared(rule("all", 9))});
  bus_.hold(Op::charge);
  std::string first;
  std::string second;
  auto one = limiter_->check(kAnn, [&](const RateLimitOutcome& outcome) { first = told(outcome); });
  fake_.advance(30ms);
  auto two = limiter_->check(kAnn, [&](const RateLimitOutcome& outcome) { second = told(outcome); });

  fake_.advance(20ms);
  EXPECT_EQ(first, "ok");
  EXPECT_EQ(second, "");
  fake_.advance(30ms);
  EXPECT_EQ(second, "ok");
}

TEST_F(RateLimitsTest, refusing_bus_lets_pass) {
  use({shared(rule("all", 1))});
  server_.set_out_of_memory(true);
  EXPECT_EQ(ask(), "ok");
  EXPECT_EQ(failed_open(RateLimitFailOpen::refused), 1u);

  bus_.lose_reply_of(Op::charge);
  server_.set_out_of_memory(false);
  EXPECT_EQ(ask(), "ok");
  EXPECT_EQ(failed_open(RateLimitFailOpen::disconnected), 1u);
}

TEST_F(RateLimitsTest, breaker_opens_probes_and_closes) {
  use({shared(rule("all", 99))});
  bus_.hold(Op::charge, MemoryBus::Hold::reply);
  for (int i = 0; i < 5; ++i) EXPECT_EQ(ask_patiently(), "ok");
  EXPECT_EQ(failed_open(RateLimitFailOpen::timeout), 5u);

  fake_.advance(1s - 1ns);
  EXPECT_EQ(ask(), "ok");
  EXPECT_EQ(bus_.calls(Op::charge), 5u) << "open: nothing is asked";
  EXPECT_EQ(failed_open(RateLimitFailOpen::circuit_open), 1u);

  fake_.advance(1ns);
  auto probe = limiter_->check(kAnn, nullptr);
  EXPECT_TRUE(std::holds_alternative<net::Pending>(probe));
  EXPECT_EQ(ask(), "ok");
  EXPECT_EQ(bus_.calls(Op::charge), 6u) << "one is asked as a probe";
  fake_.advance(50ms);
  EXPECT_EQ(failed_open(RateLimitFailOpen::timeout), 6u);
  EXPECT_EQ(ask(), "ok");
  EXPECT_EQ(bus_.calls(Op::charge), 6u) << "it failed: open again, without four more";

  bus_.release(Op::charge);
  fake_.advance(1s);
  EXPECT_THAT(ask(), HasSubstr("ok 99/"));
  EXPECT_THAT(ask(), HasSubstr("ok 99/"));
  EXPECT_EQ(bus_.calls(Op::charge), 8u) << "closed";
  EXPECT_EQ(failed_open(RateLimitFailOpen::circuit_open), 3u);
}

TEST_F(RateLimitsTest, answer_between_failures_keeps_the_breaker_closed) {
  use({shared(rule("all", 99))});
  for (int round = 0; round < 3; ++round) {
    for (int i = 0; i < 4; ++i) {
      bus_.fail_next(Op::charge, {base::Code::refused, "NOPERM"});
      EXPECT_EQ(ask(), "ok");
    }
    EXPECT_THAT(ask(), HasSubstr("ok 99/"));
  }
  EXPECT_EQ(failed_open(RateLimitFailOpen::circuit_open), 0u);
}

// The client of the probe left: it is one nevertheless.
TEST_F(RateLimitsTest, probe_whose_client_left_still_decides) {
  use({shared(rule("all", 99))});
  for (int i = 0; i < 5; ++i) {
    bus_.fail_next(Op::charge, {base::Code::refused, "NOPERM"});
    EXPECT_EQ(ask(), "ok");
  }
  fake_.advance(1s);
  { auto probe = limiter_->check(kAnn, nullptr); }
  fake_.settle();

  EXPECT_THAT(ask(), HasSubstr("ok 99/"));
}

}  // namespace
}  // namespace outrigger::gateway
