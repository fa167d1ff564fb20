// Conditions as real servers bring them about: the words each has for them differ.
#include <sys/stat.h>
#include <unistd.h>

#include <fstream>

#include "tests/integration/valkey/valkey_test.h"

namespace outrigger::tests {
namespace {

using namespace std::chrono_literals;
using ::testing::HasSubstr;

class ValkeyConditions : public ValkeyTest {
 protected:
  ::testing::AssertionResult becomes(messaging::Bus& bus, std::string_view condition) {
    auto result = loop_.run_until(std::string(condition), [&] { return bus.status().condition == condition; });
    if (!result) result << ": it is " << bus.status().condition << " " << bus.status().problem;
    return result;
  }
  std::unique_ptr<valkey::ValkeyBus> bus_as(const std::string& rules) {
    std::string command = "ACL SETUSER app on >pw " + rules;
    std::vector<std::string> words;
    for (std::size_t at = 0; at < command.size();) {
      const std::size_t end = std::min(command.find(' ', at), command.size());
      words.push_back(command.substr(at, end - at));
      at = end + 1;
    }
    RawClient client(server_->endpoint());
    std::string bytes = "*" + std::to_string(words.size()) + "\r\n";
    for (const std::string& word : words) bytes += "$" + std::to_string(word.size()) + "\r\n" + word + "\r\n";
    client.send(bytes);
    EXPECT_EQ(client.read_until("\r\n"), "+OK\r\n") << rules;
    valkey::ValkeyAddress address = address_of(server_->url());
    address.user = "app";
    address.password = "pw";
    return make_bus(address);
  }
};

TEST_F(ValkeyConditions, maxmemory_refuses_writes_until_there_is_memory) {
  valkey::ValkeyBus::Options options;
  options.address = address_of(server_->url());
  options.name = "test";
  options.group = "router";
  options.probe_key = "router:probe";
  valkey::ValkeyBus bus(loop_.loop, std::move(options));
  EXPECT_TRUE(becomes(bus, "ok"));
  server_->cli({"CONFIG", "SET", "maxmemory", "1"});
  const auto refused = publish(bus, queue_);
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error().code, base::Code::overloaded);
  EXPECT_TRUE(bus.status().refuses_writes);
  EXPECT_EQ(bus.status().condition, "out-of-memory");

  server_->cli({"CONFIG", "SET", "maxmemory", "0"});
  EXPECT_TRUE(becomes(bus, "ok"));
  EXPECT_EQ(server_->cli({"EXISTS", "router:probe"}), "0");
}

TEST_F(ValkeyConditions, server_that_cannot_save_refuses_writes_until_it_can) {
  server_->cli({"CONFIG", "SET", "save", "3600 100000"});
  ASSERT_EQ(mkdir((server_->directory() + "/dump.rdb").c_str(), 0700), 0);
  server_->cli({"BGSAVE"});
  ASSERT_TRUE(
      loop_.run_until("the failure", [&] { return server_->info("persistence", "rdb_last_bgsave_status") == "err"; }));
  EXPECT_EQ(fault<std::optional<Id>>(
                [&](auto done) { bus_->publish(queue_, make_frame(), {.may_create = true}, std::move(done)); }),
            "refused");
  EXPECT_EQ(bus_->status().condition, "cannot-persist");
  EXPECT_TRUE(bus_->is_connected());
  ASSERT_EQ(rmdir((server_->directory() + "/dump.rdb").c_str()), 0);
  server_->cli({"CONFIG", "SET", "stop-writes-on-bgsave-error", "no"});
  pass_time(1100ms);
  EXPECT_TRUE(publish(*bus_, queue_).has_value());
  EXPECT_EQ(bus_->status().condition, "ok");
}

TEST_F(ValkeyConditions, command_and_key_are_named_inside_scripts_too) {
  make_group();
  const Id id = add();
  deliver("a", 1);
  const auto bus = bus_as("resetkeys ~router:requests:* &* +@all -xclaim");
  EXPECT_TRUE(becomes(*bus, "ok"));

  EXPECT_EQ(fault<Ids>([&](auto done) { bus->renew(queue_, "a", {id}, std::move(done)); }), "forbidden");
  EXPECT_EQ(bus->status().condition, "no-permission");
  EXPECT_THAT(bus->status().problem, HasSubstr("(script renew router:requests:billing)"));
  EXPECT_EQ(fault<bool>([&](auto done) { bus->ensure_stream("router:responses:x", 1s, {}, std::move(done)); }),
            "forbidden");
  EXPECT_EQ(fault<std::optional<std::string>>([&](auto done) { bus->get("router:key", std::move(done)); }),
            "forbidden");
}

TEST_F(ValkeyConditions, key_of_another_type_is_named_inside_scripts_too) {
  server_->cli({"SET", "router:responses:x", "no stream"});
  EXPECT_EQ(fault<bool>([&](auto done) { bus_->ensure_stream("router:responses:x", 1s, {}, std::move(done)); }),
            "refused");
  EXPECT_EQ(bus_->status().condition, "wrong-type");
  EXPECT_THAT(bus_->status().problem, HasSubstr("(script ensure-stream router:responses:x)"));
}

TEST_F(ValkeyConditions, greeting_that_is_not_permitted_names_what_is_missing) {
  const auto bus = bus_as("~* &* +@all -info");
  EXPECT_TRUE(becomes(*bus, "no-permission"));
  EXPECT_THAT(bus->status().problem, HasSubstr("(INFO"));
  const auto nobody = bus_as("off");
  EXPECT_TRUE(becomes(*nobody, "wrong-password"));
}

TEST_F(ValkeyConditions, user_without_a_password_is_that_user) {
  const auto ignored = bus_as("nopass ~* &* +@all -get");
  valkey::ValkeyAddress address = address_of(server_->url());
  address.user = "app";
  const auto bus = make_bus(address);
  EXPECT_TRUE(becomes(*bus, "ok"));
  EXPECT_EQ(fault<std::optional<std::string>>([&](auto done) { bus->get("router:key", std::move(done)); }),
            "forbidden");
}

TEST_F(ValkeyConditions, databases_clients_and_roles_are_told_apart) {
  valkey::ValkeyAddress address = address_of(server_->url());
  address.database = 99;
  EXPECT_TRUE(becomes(*make_bus(address), "wrong-database"));

  server_->cli({"REPLICAOF", "127.0.0.1", "1"});
  EXPECT_TRUE(becomes(*make_bus(address_of(server_->url())), "replica"));
  EXPECT_NE(fault<std::optional<Id>>([&](auto done) { bus_->publish(queue_, make_frame(), {}, std::move(done)); }), "");
  EXPECT_TRUE(becomes(*bus_, "replica"));
  server_->cli({"REPLICAOF", "NO", "ONE"});
  EXPECT_TRUE(becomes(*bus_, "ok"));

  server_->cli({"CONFIG", "SET", "maxclients", "5"});
  std::vector<RawClient> others;
  for (int i = 0; i < 5; ++i) others.emplace_back(server_->endpoint());
  EXPECT_TRUE(becomes(*make_bus(address_of(server_->url())), "too-many-clients"));
}

TEST_F(ValkeyConditions, cluster_is_refused) {
  ValkeyServer::Options options;
  options.transport = ValkeyServer::Transport::tcp;
  options.arguments = {"--cluster-enabled", "yes"};
  ValkeyServer cluster(options);
  EXPECT_TRUE(becomes(*make_bus(address_of(cluster.url())), "cluster"));
}

TEST_F(ValkeyConditions, eviction_is_told_from_what_info_says) {
  server_->cli({"CONFIG", "SET", "maxmemory", "100mb"});
  server_->cli({"CONFIG", "SET", "maxmemory-policy", "volatile-ttl"});
  const auto bus = connected_bus();
  ASSERT_TRUE(loop_.run_until("the warning", [&] { return !bus->status().warning.empty(); }));
  EXPECT_THAT(bus->status().warning, HasSubstr("volatile-ttl"));
  EXPECT_EQ(bus->status().problem, "");
}

TEST_F(ValkeyConditions, round_trip_and_reconnects_are_measured) {
  EXPECT_GT(bus_->status().round_trip.count(), 0);
  EXPECT_EQ(bus_->status().reconnects, 0u);
  server_->cli({"CLIENT", "KILL", "TYPE", "normal"});
  ASSERT_TRUE(loop_.run_until("the reconnect", [&] { return bus_->status().reconnects == 1; }));
}

// Of what is said of the second key nothing is new: every caller has another one.
TEST_F(ValkeyConditions, rate_limits_are_permitted_by_the_documented_rule_and_refusals_are_told_of_the_script) {
  const std::string begin = "ACL SETUSER gateway on >gateway-secret ";
  std::ifstream page(OUTRIGGER_SOURCE_DIR "/docs/valkey.md");
  std::string rule;
  while (std::getline(page, rule) && !rule.starts_with(begin)) {}
  ASSERT_FALSE(rule.empty());
  const auto bus = bus_as(rule.substr(begin.size()));
  ASSERT_TRUE(becomes(*bus, "ok"));
  const auto charge = [&](const std::string& key) {
    return fault<std::vector<base::Duration>>([&](auto done) { bus->charge({{key, {1h, 3}}}, std::move(done)); });
  };

  EXPECT_EQ(charge("router:rate:a:all"), "");
  EXPECT_EQ(charge("router:rates:a:all"), "forbidden");
  EXPECT_EQ(charge("router:rates:b:all"), "forbidden");
  EXPECT_EQ(bus->status().condition, "no-permission");
  EXPECT_THAT(bus->status().problem, HasSubstr("(script charge)"));
  EXPECT_FALSE(bus->status().refuses_writes);
}

}  // namespace
}  // namespace outrigger::tests
