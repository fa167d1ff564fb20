// Wake mode `notify`: served as fast as in mode `block`, without one blocking command, in any mixture of both.
#include <algorithm>

#include "tests/e2e/programs.h"

namespace outrigger::tests {
namespace {

using namespace std::chrono_literals;

constexpr char kGatewayWake[] = "Gateway__Transports__Messaging__WakeMode";
constexpr char kSidecarWake[] = "Sidecar__Messaging__WakeMode";
// A wake-up that is lost costs the block time, 5 s. Whatever takes less was woken.
constexpr base::Duration kWoken = 3s;

class Wake : public ::testing::Test {
 protected:
  void SetUp() override {
    OUTRIGGER_NEEDS_VALKEY();
    valkey_.emplace();
  }
  ~Wake() override { wake_modes = {}; }
  ValkeyServer& valkey() { return *valkey_; }

  // Small and large in both directions: each is answered with what was sent, and nobody slept through a message.
  static void expect_woken(const Gateway& gateway, const std::string& mount) {
    for (const std::size_t size : {std::size_t{1}, std::size_t{2} << 20, std::size_t{10}, std::size_t{1} << 20}) {
      const std::string body = make_binary(size);
      const Stopwatch watch;
      const RawResponse response = gateway.ask(make_request("POST", mount + "/echo", {}, body));
      EXPECT_EQ(response.status, 200) << mount << " " << response.body.substr(0, 200);
      EXPECT_TRUE(response.body.ends_with(body)) << mount << " " << size;
      EXPECT_LT(watch.elapsed(), kWoken) << mount << " " << size;
    }
  }

  ScriptedService service_;
  ScriptedService twin_;
  std::optional<ValkeyServer> valkey_;
};

TEST_F(Wake, any_mixture_of_modes_wakes_each_other) {
  Gateway blocked(valkey(), {{kGatewayWake, "block"}});
  Gateway notified(valkey(), {{kGatewayWake, "notify"}});
  const Environment block{{kSidecarWake, "block"}};
  const Environment notify{{kSidecarWake, "notify"}};
  Sidecar billing(valkey(), "billing", service_, block);
  Sidecar orders(valkey(), "orders", service_, notify);
  Sidecar first(valkey(), "both", service_, block);
  Sidecar second(valkey(), "both", twin_, notify);
  for (Sidecar* sidecar : {&billing, &orders, &first, &second}) ASSERT_TRUE(sidecar->wait_until_registered());
  for (Gateway* gateway : {&blocked, &notified}) {
    for (const char* mount : {"/billing", "/orders", "/both"}) {
      ASSERT_TRUE(gateway->wait_for_route(mount + std::string("/")));
      expect_woken(*gateway, mount);
      if (HasFailure()) return;
    }
  }
  // The blocked one has the rest of a mixed service's work if the other is gone, and the other way round.
  EXPECT_TRUE(first.process().terminate());
  expect_woken(blocked, "/both");
  EXPECT_TRUE(is_settled(valkey(), "orders"));
}

TEST_F(Wake, nobody_publishes_where_nobody_has_to_be_woken) {
  Gateway gateway(valkey());
  Sidecar sidecar(valkey(), "orders", service_);
  ASSERT_TRUE(gateway.wait_for_route("/orders/"));
  expect_woken(gateway, "/orders");
  EXPECT_EQ(valkey().calls_of("publish"), 0u);
}

TEST_F(Wake, everything_works_where_blocking_commands_are_not_permitted) {
  // XREAD and XREADGROUP are of the same category whether they block or not; what they are asked is on record.
  ASSERT_EQ(valkey().cli({"ACL", "SETUSER", "default", "-@blocking", "+xread", "+xreadgroup"}), "OK");
  valkey().cli({"CONFIG", "SET", "slowlog-max-len", "100000"});
  valkey().cli({"CONFIG", "SET", "slowlog-log-slower-than", "0"});
  wake_modes = {"notify", "notify"};
  {
    Gateway gateway(valkey());
    auto first = std::make_unique<Sidecar>(valkey(), "orders", service_);
    Sidecar second(valkey(), "orders", twin_, {{"Sidecar__Service__Region", "eu"}});
    ASSERT_TRUE(first->wait_until_registered());
    ASSERT_TRUE(second.wait_until_registered());
    ASSERT_TRUE(gateway.wait_for_route("/orders/"));
    EXPECT_TRUE(gateway.wait_until_ready());
    for (int i = 0; i < 5; ++i) expect_woken(gateway, "/orders");
    first->process().kill_hard();
    for (int i = 0; i < 10; ++i) {
      EXPECT_EQ(gateway.ask(make_request(i % 2 == 0 ? "GET" : "POST", "/orders/", {}, "x")).status, 200) << i;
    }
    ASSERT_EQ(valkey().cli({"FLUSHALL"}), "OK");
    EXPECT_TRUE(gateway.wait_for_route("/orders/", 5s));
    EXPECT_TRUE(is_settled(valkey(), "orders"));
    EXPECT_TRUE(second.process().terminate());
    EXPECT_TRUE(gateway.process().terminate());
    for (const std::string& log : {gateway.process().err(), second.process().err()}) {
      EXPECT_EQ(log.find("no-permission"), std::string::npos) << log;
    }
  }
  const std::string said = valkey().cli({"SLOWLOG", "GET", "-1"});
  EXPECT_NE(said.find("\nXREADGROUP\n"), std::string::npos);
  EXPECT_NE(said.find("\nXREAD\n"), std::string::npos);
  EXPECT_NE(said.find("\nPUBLISH\n"), std::string::npos);
  EXPECT_EQ(said.find("\nBLOCK\n"), std::string::npos);
  EXPECT_EQ(said.find("\nUNBLOCK\n"), std::string::npos);
}

TEST_F(Wake, lost_subscriptions_lose_no_request) {
  wake_modes = {"notify", "notify"};
  {
    Gateway gateway(valkey());
    Sidecar sidecar(valkey(), "orders", service_);
    ASSERT_TRUE(gateway.wait_for_route("/orders/"));
    for (int i = 0; i < 40; ++i) {
      if (i % 4 == 0) valkey().cli({"CLIENT", "KILL", "TYPE", "pubsub"});
      const Stopwatch watch;
      const RawResponse response = gateway.ask(make_request(i % 2 == 0 ? "GET" : "POST", "/orders/", {}, "x"));
      EXPECT_EQ(response.status, 200) << i << " " << response.body;
      EXPECT_LT(watch.elapsed(), kWoken) << i;
    }
    EXPECT_TRUE(is_settled(valkey(), "orders"));
  }
}

}  // namespace
}  // namespace outrigger::tests
