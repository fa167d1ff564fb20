// Rate limits of the shipped programs: told to clients, counted by each gateway or by all together, by who a caller is
// verified to be; and what remains of everything at the edge while Valkey is away. Limits are of one request a day
// and more, with a small burst, so that what is refused does not depend on how long a test takes.
#include "tests/e2e/identity_stage.h"

namespace outrigger::tests {
namespace {

using namespace std::chrono_literals;

constexpr long long kDay = 86'400;  // seconds

// The variables of rule `index`; one request a day, `burst` at once.
Environment rule(int index, const std::string& name, const std::string& scope, int burst,
                 std::initializer_list<std::pair<const char*, std::string>> more) {
  const std::string path = "Gateway__RateLimit__Rules__" + std::to_string(index) + "__";
  Environment environment = {{path + "Name", name},
                             {path + "Scope", scope},
                             {path + "Limit", "1"},
                             {path + "Window", "24h"},
                             {path + "Burst", std::to_string(burst)}};
  for (const auto& [key, value] : more) environment.emplace_back(path + key, value);
  return environment;
}

class RateLimit : public IdentityStage {
 protected:
  // Rules are for tenants, so that what waits for a gateway to be up uses nothing up.
  static Fields of(const std::string& tenant, const std::string& subject = "ann") {
    return bearer(key().token(R"({"iss":"https://id.test","aud":"orders","exp":4102444800,"sub":")" + subject +
                              R"(","tid":")" + tenant + R"("})"));
  }
  // An answer's verdict with X-RateLimit-Limit and -Remaining.
  static std::string told(const RawResponse& response) {
    return verdict(response) + " " + response.header("X-RateLimit-Limit") + "/" +
           response.header("X-RateLimit-Remaining");
  }
  static std::string failed_open(const Gateway& gateway, const std::string& reason) {
    return metric(gateway.health_port(), "outrigger_rate_limit_fail_open_total{reason=\"" + reason + "\"}");
  }
  std::vector<std::string> buckets() {
    std::vector<std::string> keys;
    const std::string names = valkey_->cli({"KEYS", "router:rate:*"});
    for (std::size_t at = 0; at < names.size();) {
      const std::size_t end = std::min(names.find('\n', at), names.size());
      if (end > at) keys.push_back(names.substr(at, end - at));
      at = end + 1;
    }
    return keys;
  }
};

TEST_F(RateLimit, answers_tell_it) {
  start(trusting() + rule(0, "per-tenant", "instance", 3, {{"Per", "tenant"}, {"Tenant", "acme"}}));

  for (int remaining = 2; remaining >= 0; --remaining) {
    const RawResponse response = ask("GET", "/orders/a", of("acme"));
    EXPECT_EQ(told(response), "200 3/" + std::to_string(remaining));
    // Until all three are there again: a day for each that is gone.
    const long long reset = std::atoll(response.header("X-RateLimit-Reset").c_str());
    EXPECT_GT(reset, (2 - remaining) * kDay);
    EXPECT_LE(reset, (3 - remaining) * kDay);
    EXPECT_FALSE(response.has_header("Retry-After"));
  }
  for (const char* method : {"GET", "POST", "OPTIONS"}) {
    const RawResponse response = ask(method, "/orders/a", of("acme"));
    EXPECT_EQ(told(response), "429 rate-limited 3/0");
    const long long retry_after = std::atoll(response.header("Retry-After").c_str());
    EXPECT_GT(retry_after, kDay - 3600);
    EXPECT_LE(retry_after, kDay);
    EXPECT_EQ(values_of(response.headers, "Retry-After").size(), 1U);
    EXPECT_NE(response.header("X-Request-Id"), "");
  }
  EXPECT_EQ(service_.request_count(), 3U);
  EXPECT_EQ(told(ask("GET", "/orders/a", of("globex"))), "200 /");
  EXPECT_EQ(told(ask("GET", "/orders/a")), "200 /");
  EXPECT_EQ(ask("GET", "/openapi.json", of("acme")).status, 200);
  EXPECT_TRUE(eventually("the count", [&] {
    return metric(gateway_->health_port(), R"(outrigger_rate_limited_total{rule="per-tenant",scope="instance"})") ==
           "3";
  }));
  EXPECT_TRUE(buckets().empty());
}

TEST_F(RateLimit, counts_whom_the_token_names_and_not_what_a_client_says) {
  start(trusting() +
        rule(0, "per-user", "instance", 2, {{"Per__0", "tenant"}, {"Per__1", "subject"}, {"Tenant", "acme"}}) +
        Environment{{"Gateway__Auth__EnableTenantOverride", "true"}});
  const auto status = [&](const Fields& fields, std::string_view method = "GET",
                          std::string_view target = "/orders/a") { return ask(method, target, fields).status; };
  const std::vector<Fields> disguises = {{{"X-Forwarded-For", "203.0.113.9"}},
                                         {{"X-StellaOps-Actor", "ben"}, {"sub", "ben"}},
                                         {{"X-Real-IP", "203.0.113.9"}, {"tid", "globex"}},
                                         {{"User-Agent", "another"}}};
  EXPECT_EQ(status(of("acme")), 200);
  EXPECT_EQ(status(of("acme")), 200);
  EXPECT_EQ(status(of("acme")), 429);
  for (const Fields& disguise : disguises) {
    EXPECT_EQ(status(of("acme") + disguise), 429) << disguise[0].first;
  }
  EXPECT_EQ(status(of("acme"), "GET", "/orders/%61"), 429);
  // Another token of the same person, too.
  const std::string another =
      key().token(R"({"iss":"https://id.test","aud":"orders","exp":4102444801,"sub":"ann","tid":"acme"})");
  EXPECT_EQ(status(bearer(another)), 429);
  // Another person has a count of his own, and refusals of other kinds are not counted.
  for (int i = 0; i < 5; ++i) {
    EXPECT_EQ(status(of("acme", "ben") + Fields{{"X-StellaOps-Tenant", "umbrella"}}), 403);
    EXPECT_EQ(status(of("acme", "ben"), "GET", "/none"), 404);
    EXPECT_EQ(status(bearer(TokenMaker::ec("one").token(R"({"iss":"https://id.test","sub":"ben","tid":"acme"})"))),
              401);
  }
  EXPECT_EQ(status(of("acme", "ben")), 200);
  EXPECT_EQ(status(of("acme", "ben")), 200);
  EXPECT_EQ(status(of("acme", "ben")), 429);
}

TEST_F(RateLimit, gateways_share_that_of_the_environment_and_no_other) {
  const Environment environment = trusting() +
                                  rule(0, "together", "environment", 4, {{"Per", "tenant"}, {"Tenant", "acme"}}) +
                                  rule(1, "each", "instance", 2, {{"Per", "tenant"}, {"Tenant", "globex"}}) +
                                  Environment{{"Gateway__RateLimit__Timeout", "10s"}};
  start(environment);
  Gateway other(*valkey_, environment);
  ASSERT_TRUE(other.wait_for_route("/orders/"));
  const auto at = [&](const Gateway& gateway, const std::string& tenant) {
    return told(gateway.ask(make_request("GET", "/orders/a", of(tenant))));
  };

  EXPECT_EQ(at(*gateway_, "acme"), "200 4/3");
  EXPECT_EQ(at(other, "acme"), "200 4/2");
  EXPECT_EQ(at(*gateway_, "acme"), "200 4/1");
  EXPECT_EQ(at(other, "acme"), "200 4/0");
  EXPECT_EQ(at(*gateway_, "acme"), "429 rate-limited 4/0");
  EXPECT_EQ(at(other, "acme"), "429 rate-limited 4/0");
  for (const Gateway* each : {&*gateway_, &other}) {
    EXPECT_EQ(at(*each, "globex"), "200 2/1");
    EXPECT_EQ(at(*each, "globex"), "200 2/0");
    EXPECT_EQ(at(*each, "globex"), "429 rate-limited 2/0");
  }

  // One key, which tells nobody's name and ends by itself.
  const std::vector<std::string> keys = buckets();
  ASSERT_EQ(keys.size(), 1U);
  EXPECT_TRUE(keys[0].starts_with("router:rate:together:")) << keys[0];
  EXPECT_EQ(keys[0].find("acme"), std::string::npos);
  const long long ttl_ms = std::atoll(valkey_->cli({"PTTL", keys[0]}).c_str());
  EXPECT_GT(ttl_ms, 3 * kDay * 1000);
  EXPECT_LE(ttl_ms, 4 * kDay * 1000 + 1000);
  for (const char* reason : {"disconnected", "timeout", "refused", "circuit_open"}) {
    EXPECT_EQ(failed_open(other, reason), "0") << reason;
  }
  EXPECT_TRUE(other.process().terminate());
}

TEST_F(RateLimit, most_restrictive_rule_is_told) {
  start(trusting() + rule(0, "all", "environment", 3, {{"Tenant", "acme"}}) +
        rule(1, "each", "instance", 2, {{"Per", "subject"}, {"Tenant", "acme"}}) +
        Environment{{"Gateway__RateLimit__Timeout", "10s"}});
  EXPECT_EQ(told(ask("GET", "/orders/a", of("acme"))), "200 2/1");
  EXPECT_EQ(told(ask("GET", "/orders/a", of("acme"))), "200 2/0");
  // Refused by the one, not charged to the other: ben gets what is left of it.
  for (int i = 0; i < 5; ++i) EXPECT_EQ(told(ask("GET", "/orders/a", of("acme"))), "429 rate-limited 2/0");
  EXPECT_EQ(told(ask("GET", "/orders/a", of("acme", "ben"))), "200 3/0");
  for (int i = 0; i < 5; ++i) EXPECT_EQ(told(ask("GET", "/orders/a", of("acme", "ben"))), "429 rate-limited 3/0");
  EXPECT_EQ(service_.request_count(), 3U);
}

TEST_F(RateLimit, service_that_has_limits_of_its_own_tells_them_where_we_have_none) {
  start(trusting() + rule(0, "per-tenant", "instance", 3, {{"Tenant", "acme"}}));
  service_.always_send(make_response("200 OK", {{"X-RateLimit-Limit", "7"}, {"X-RateLimit-Remaining", "6"}}, ""));
  EXPECT_EQ(told(ask("GET", "/orders/a")), "200 7/6");
  EXPECT_EQ(told(ask("GET", "/orders/a", of("acme"))), "200 3/2");
}

TEST_F(RateLimit, keys_end_by_themselves) {
  start(trusting() + Environment{{"Gateway__RateLimit__Rules__0__Name", "brief"},
                                 {"Gateway__RateLimit__Rules__0__Scope", "environment"},
                                 {"Gateway__RateLimit__Rules__0__Per", "subject"},
                                 {"Gateway__RateLimit__Rules__0__Limit", "1000"},
                                 {"Gateway__RateLimit__Rules__0__Window", "1s"},
                                 {"Gateway__RateLimit__Timeout", "10s"}});
  for (int i = 0; i < 20; ++i) EXPECT_EQ(ask("GET", "/orders/a", of("acme", "user-" + std::to_string(i))).status, 200);
  EXPECT_GE(valkey_->calls_of("eval"), 20U);
  EXPECT_TRUE(eventually("no key to be left", [&] { return buckets().empty(); }));
}

// --- Valkey is away -------------------------------------------------------------------------------------------------

class ValkeyAway : public RateLimit, public ::testing::WithParamInterface<const char*> {
 protected:
  bool is_killed() const { return std::string_view(GetParam()) == "killed"; }
  void away() {
    if (is_killed()) return valkey_->kill_hard();
    valkey_->suspend();
  }
  void back() {
    if (is_killed()) return valkey_->start_again();
    valkey_->resume();
  }
  std::uint64_t passed_uncounted() const {
    std::uint64_t sum = 0;
    for (const char* reason : {"disconnected", "timeout", "refused", "circuit_open"}) {
      sum += std::strtoull(failed_open(*gateway_, reason).c_str(), nullptr, 10);
    }
    return sum;
  }
};
INSTANTIATE_TEST_SUITE_P(Valkey, ValkeyAway, ::testing::Values("killed", "stopped"),
                         [](const auto& how) { return std::string(how.param); });

TEST_P(ValkeyAway, limits_fail_open_and_identity_holds) {
  start(trusting() + rule(0, "together", "environment", 1, {{"Per", "tenant"}, {"Tenant", "acme"}}) +
        rule(1, "each", "instance", 4, {{"Per", "tenant"}, {"Tenant", "acme"}}) +
        Environment{{"Gateway__Transports__Messaging__RequestTimeout", "1s"}});
  const Fields forged = {
      {"X-StellaOps-Actor", "forged"}, {"X-StellaOps-Scopes", "forged"}, {"x_stella_tenant", "forged"}};
  const Fields nobodys_scopes = {{"X-StellaOps-Actor", "forged"}, {"X-StellaOps-Scopes", "forged"}};
  ASSERT_EQ(passed_uncounted(), 0U);

  away();

  // What the gateway answers by itself.
  EXPECT_EQ(ask("GET", "/openapi.json").status, 200);
  EXPECT_EQ(ask("GET", "/openapi.json", bearer(token())).status, 200);
  EXPECT_EQ(ask("OPTIONS", "*").status, 204);
  // A bad token is 401 before the bus is asked anything, forged fields or not.
  for (const Fields& bad : {bearer(TokenMaker::ec("one").token(claims())), bearer("a.b.c"), bearer("a.b.c") + forged}) {
    EXPECT_EQ(verdict(ask("GET", "/orders/a", bad)), "401 unauthenticated");
    EXPECT_EQ(verdict(ask("GET", "/openapi.json", bad)), "401 unauthenticated");
  }
  EXPECT_EQ(verdict(ask("GET", "/orders/a", bearer(token()) + nobodys_scopes)), "403 forbidden");
  EXPECT_EQ(passed_uncounted(), 0U);
  // Good ones pass the limit of the environment, and end at the bus.
  for (int i = 1; i <= 4; ++i) {
    const int status = ask("GET", "/orders/a", of("acme")).status;
    EXPECT_TRUE(status == 503 || status == 504) << status;
    EXPECT_TRUE(eventually("it to be counted", [&] { return passed_uncounted() == static_cast<std::uint64_t>(i); }))
        << passed_uncounted();
  }
  // The limit of this instance holds meanwhile.
  EXPECT_EQ(told(ask("GET", "/orders/a", of("acme"))), "429 rate-limited 4/0");
  const int status = ask("GET", "/orders/a", forged).status;
  EXPECT_TRUE(status == 503 || status == 504) << status;

  back();

  ASSERT_TRUE(gateway_->wait_until_ready());  // each worker is connected again
  ASSERT_TRUE(is_up());
  const RawRequest request =
      seen(bearer(token()) + Fields{{"X-StellaOps-Actor", "forged"}, {"x_stella_tenant", "forged"}});
  EXPECT_EQ(request.field("X-StellaOps-Actor"), "ann");
  EXPECT_EQ(request.head.find("forged"), std::string::npos);
  EXPECT_EQ(verdict(ask("GET", "/orders/a", bearer("a.b.c"))), "401 unauthenticated");
  for (const RawRequest& each : service_.requests())
    EXPECT_EQ(each.head.find("forged"), std::string::npos) << each.head;
}

}  // namespace
}  // namespace outrigger::tests
