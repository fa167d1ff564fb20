// What clients, operators and the log see of a server that refuses to be worked with (docs/valkey.md): each condition
// with the shipped programs on a real server, from its beginning until everything serves again by itself.
#include <sys/stat.h>
#include <unistd.h>

#include <fstream>
#include <map>
#include <optional>
#include <sstream>

#include "tests/e2e/programs.h"

namespace outrigger::tests {
namespace {

using namespace std::chrono_literals;

constexpr base::Duration kBack = 5s;  // within which everything serves again once the condition is over
constexpr char kAnyPort[] = "127.0.0.1:0";

int count(std::string_view text, std::string_view part) {
  int found = 0;
  for (std::size_t at = text.find(part); at != std::string_view::npos; at = text.find(part, at + 1)) ++found;
  return found;
}

std::string verbose(std::uint16_t health_port) {
  const RawResponse response = get(health_port, "/readyz?verbose");
  return std::to_string(response.status) + "\n" + response.body;
}

class ValkeyCondition : public ::testing::Test {
 protected:
  void SetUp() override { OUTRIGGER_NEEDS_VALKEY(); }

  void start_valkey(ValkeyServer::Options options = {}) { valkey_.emplace(std::move(options)); }
  // A gateway, and a sidecar of `orders` with the default heartbeats: nobody is taken for gone within a test.
  void start_programs(Environment gateway = {}) {
    gateway_.emplace(valkey(), std::move(gateway));
    sidecar_.emplace(valkey(), "orders", service_, Environment{{"Sidecar__Messaging__HeartbeatInterval", "10s"}},
                     kAnyPort);
  }
  void start_all(Environment gateway = {}) {
    start_valkey();
    start_programs(std::move(gateway));
    ASSERT_TRUE(gateway_->wait_for_route("/orders/"));
    ASSERT_TRUE(gateway_->wait_until_ready());
    ASSERT_TRUE(
        eventually("the sidecar's /readyz", [&] { return verbose(sidecar_->health_port()).starts_with("200"); }));
    service_.forget_requests();
  }
  ValkeyServer& valkey() { return *valkey_; }

  // At the first request the service holds.
  void hold_first() {
    arrivals_ = 0;
    service_.set_script([this](const RawRequest& request, ScriptedService::Connection& connection) {
      if (arrivals_++ == 0) connection.hold();
      ScriptedService::echo(request, connection);
    });
  }
  int posts_run() {
    int posts = 0;
    for (const RawRequest& request : service_.requests()) posts += request.method == "POST" ? 1 : 0;
    return posts;
  }
  std::string post(std::string_view target = "/orders/") {
    const RawResponse response = gateway_->ask(make_request("POST", target, {}, "x"));
    EXPECT_TRUE(response.problem.empty()) << response.problem;
    if (response.status == 503) {
      EXPECT_EQ(response.header("Retry-After"), "1");
    }
    return response.status == 200 ? "200" : std::to_string(response.status) + " " + code_of(response);
  }
  ::testing::AssertionResult both_say(std::string_view text) {
    return eventually("both to say " + std::string(text), [&] {
      const std::string gateway = verbose(gateway_->health_port());
      const std::string sidecar = verbose(sidecar_->health_port());
      return gateway.starts_with("503") && sidecar.starts_with("503") && gateway.find(text) != std::string::npos &&
             sidecar.find(text) != std::string::npos;
    });
  }
  ::testing::AssertionResult serves_again() {
    if (auto served = gateway_->wait_for_route("/orders/", kBack); !served) return served;
    if (auto ready = gateway_->wait_until_ready(); !ready) return ready;
    if (auto ready = eventually("the sidecar", [&] { return verbose(sidecar_->health_port()).starts_with("200"); });
        !ready) {
      return ready << verbose(sidecar_->health_port());
    }
    return is_settled(valkey(), "orders");
  }
  // Once per bus: the sidecar has one, the gateway with its two workers three.
  void expect_said_once(std::string_view message, std::string_view condition) {
    const std::string part = "condition=" + std::string(condition);
    for (const auto& [text, most] : {std::pair{gateway_->process().err(), 3}, {sidecar_->process().err(), 1}}) {
      int said = 0;
      std::istringstream lines(text);
      for (std::string line; std::getline(lines, line);) {
        said += line.find(message) != std::string::npos && line.find(part) != std::string::npos ? 1 : 0;
      }
      EXPECT_GE(said, 1) << text;
      EXPECT_LE(said, most) << text;
    }
  }

  ScriptedService service_;
  std::atomic<int> arrivals_{0};
  std::optional<ValkeyServer> valkey_;
  std::optional<Gateway> gateway_;
  std::optional<Sidecar> sidecar_;
};

// --- every write is refused -----------------------------------------------------------------------------------------

TEST_F(ValkeyCondition, maxmemory_is_503_told_once_and_over_by_itself) {
  start_all();
  ASSERT_EQ(valkey().cli({"CONFIG", "SET", "maxmemory", "1"}), "OK");

  for (int i = 0; i < 20; ++i) {
    const Stopwatch watch;
    EXPECT_EQ(post(), "503 bus-unavailable");
    EXPECT_LT(watch.elapsed(), 2s);
  }
  EXPECT_TRUE(eventually(
      "the gateway's verdict",
      [&] { return verbose(gateway_->health_port()).find("[-]bus failed: out-of-memory") != std::string::npos; }, 15s))
      << verbose(gateway_->health_port());
  EXPECT_EQ(get(gateway_->health_port(), "/livez").status, 200);
  EXPECT_EQ(service_.request_count(), 0u);
  EXPECT_EQ(valkey().cli({"XLEN", "router:requests:orders"}), "0");
  EXPECT_TRUE(both_say("out-of-memory")) << verbose(sidecar_->health_port());

  ASSERT_EQ(valkey().cli({"CONFIG", "SET", "maxmemory", "0"}), "OK");
  EXPECT_TRUE(serves_again());
  EXPECT_EQ(post(), "200");
  expect_said_once("the bus refuses", "out-of-memory");
  expect_said_once("the bus no longer refuses", "out-of-memory");
}

// In one pipeline the XADD of the answer would fail and XACK and XDEL would not.
TEST_F(ValkeyCondition, answer_that_met_maxmemory_is_given_when_memory_is_back) {
  start_all();
  hold_first();
  Asking waiting(gateway_->port(), make_request("POST", "/orders/", {}, "x"));
  ASSERT_TRUE(eventually("the POST to be at the service", [&] { return service_.held() == 1; }));
  ASSERT_EQ(valkey().cli({"CONFIG", "SET", "maxmemory", "1"}), "OK");

  service_.release();
  ASSERT_TRUE(sidecar_->process().wait_for_line("the bus refuses"));
  // Some more tries.
  ASSERT_TRUE(eventually("three refused answers", [&] {
    return std::atoi(valkey().info("errorstats", "errorstat_OOM").substr(6).c_str()) >= 4;
  }));
  EXPECT_FALSE(waiting.is_answered());
  EXPECT_EQ(valkey().cli({"XLEN", "router:requests:orders"}), "1") << "settled without its answer";
  EXPECT_TRUE(valkey().cli({"XPENDING", "router:requests:orders", "router-gateway"}).starts_with("1"));

  ASSERT_EQ(valkey().cli({"CONFIG", "SET", "maxmemory", "0"}), "OK");
  EXPECT_EQ(waiting.answer().status, 200) << waiting.answer().body;
  EXPECT_TRUE(serves_again());
  EXPECT_EQ(posts_run(), 1);
}

// Heartbeats are refused as well: a route must not become a 404 for it, nor stay away afterwards.
TEST_F(ValkeyCondition, maxmemory_that_outlasts_heartbeats_is_still_503) {
  start_valkey();
  gateway_.emplace(valkey());
  sidecar_.emplace(valkey(), "orders", service_);  // a heartbeat each 200 ms
  ASSERT_TRUE(gateway_->wait_for_route("/orders/"));
  ASSERT_EQ(valkey().cli({"CONFIG", "SET", "maxmemory", "1"}), "OK");

  const Stopwatch watch;
  while (watch.elapsed() < 3s) EXPECT_TRUE(post().starts_with("503"));
  ASSERT_EQ(valkey().cli({"CONFIG", "SET", "maxmemory", "0"}), "OK");
  EXPECT_TRUE(gateway_->wait_for_route("/orders/", kBack));
}

TEST_F(ValkeyCondition, sidecar_that_starts_at_maxmemory_serves_once_there_is_memory) {
  start_valkey();
  ASSERT_EQ(valkey().cli({"CONFIG", "SET", "maxmemory", "1"}), "OK");
  start_programs();
  EXPECT_TRUE(both_say("out-of-memory")) << verbose(gateway_->health_port()) << verbose(sidecar_->health_port());

  ASSERT_EQ(valkey().cli({"CONFIG", "SET", "maxmemory", "0"}), "OK");
  EXPECT_TRUE(serves_again());
}

TEST_F(ValkeyCondition, server_that_cannot_save_is_503_and_over_by_itself) {
  start_all();
  hold_first();
  Asking waiting(gateway_->port(), make_request("POST", "/orders/", {}, "x"));
  ASSERT_TRUE(eventually("the POST to be at the service", [&] { return service_.held() == 1; }));
  // A directory where the snapshot should be: saving fails, for root, too.
  ASSERT_EQ(valkey().cli({"CONFIG", "SET", "save", "3600 100000"}), "OK");
  ASSERT_EQ(mkdir((valkey().directory() + "/dump.rdb").c_str(), 0700), 0);
  ASSERT_EQ(valkey().cli({"BGSAVE"}), "Background saving started");
  ASSERT_TRUE(
      eventually("the failure", [&] { return valkey().info("persistence", "rdb_last_bgsave_status") == "err"; }));

  EXPECT_EQ(post(), "503 bus-unavailable");
  EXPECT_TRUE(both_say("cannot-persist")) << verbose(gateway_->health_port()) << verbose(sidecar_->health_port());
  service_.release();
  ASSERT_EQ(rmdir((valkey().directory() + "/dump.rdb").c_str()), 0);
  ASSERT_EQ(valkey().cli({"BGSAVE"}), "Background saving started");

  EXPECT_EQ(waiting.answer().status, 200) << waiting.answer().body;
  EXPECT_TRUE(serves_again());
  EXPECT_EQ(posts_run(), 1);
  expect_said_once("the bus refuses", "cannot-persist");
}

TEST_F(ValkeyCondition, too_few_replicas_is_503_and_over_by_itself) {
  start_all();
  ASSERT_EQ(valkey().cli({"CONFIG", "SET", "min-replicas-to-write", "1"}), "OK");
  EXPECT_EQ(post(), "503 bus-unavailable");
  EXPECT_TRUE(both_say("too-few-replicas"));
  ASSERT_EQ(valkey().cli({"CONFIG", "SET", "min-replicas-to-write", "0"}), "OK");
  EXPECT_TRUE(serves_again());
}

// --- no connection --------------------------------------------------------------------------------------------------

TEST_F(ValkeyCondition, loading_server_is_503_and_used_when_it_is_done) {
  start_all();
  valkey().cli({"EVAL", "for i = 1, 500 do redis.call('SET', 'key' .. i, i) end", "0"});
  ASSERT_EQ(valkey().cli({"SAVE"}), "OK");
  valkey().kill_hard();
  valkey().start_again({"--key-load-delay", "10000", "--loading-process-events-interval-bytes", "1024"},
                       ValkeyServer::Ready::listening);

  EXPECT_TRUE(both_say("loading: the server is loading its data")) << verbose(gateway_->health_port());
  EXPECT_EQ(post(), "503 bus-unavailable");
  ASSERT_TRUE(eventually("the data to be loaded", [&] { return valkey().info("persistence", "loading") == "0"; }));
  EXPECT_TRUE(serves_again());
  expect_said_once("bus connection is down", "loading");
}

TEST_F(ValkeyCondition, demoted_server_is_503_until_it_is_the_primary_again) {
  start_all();
  ASSERT_EQ(valkey().cli({"REPLICAOF", "127.0.0.1", "1"}), "OK");
  EXPECT_TRUE(post().starts_with("503"));
  EXPECT_TRUE(both_say("replica: the server is a replica"));
  EXPECT_EQ(post(), "503 bus-unavailable");
  // Its data are old, and it says so instead of answering.
  ASSERT_EQ(valkey().cli({"CONFIG", "SET", "replica-serve-stale-data", "no"}), "OK");
  EXPECT_EQ(post(), "503 bus-unavailable");
  ASSERT_EQ(valkey().cli({"REPLICAOF", "NO", "ONE"}), "OK");
  EXPECT_TRUE(serves_again());
}

TEST_F(ValkeyCondition, missing_password_is_told_and_a_gateway_that_never_connected_knows_no_404) {
  start_valkey();
  valkey().cli({"PING"});  // this connection stays in
  ASSERT_EQ(valkey().cli({"CONFIG", "SET", "requirepass", "hunter2"}), "OK");
  start_programs();
  EXPECT_TRUE(both_say("no-password: the server asks for a password and none is configured"));
  EXPECT_EQ(post("/nobody/knows/this"), "503 bus-unavailable");
  expect_said_once("bus connection is down", "no-password");

  ASSERT_EQ(valkey().cli({"CONFIG", "SET", "requirepass", ""}), "OK");
  EXPECT_TRUE(serves_again());
  EXPECT_EQ(post("/nobody/knows/this"), "404 no-route");
}

TEST_F(ValkeyCondition, wrong_password_is_told_without_it_and_the_right_one_serves) {
  start_valkey();
  valkey().cli({"ACL", "SETUSER", "app", "on", ">old", "allkeys", "allchannels", "allcommands"});
  valkey().set_login("app:hunter2");
  start_programs();
  EXPECT_TRUE(both_say("wrong-password: the server does not take user and password"));
  valkey().cli({"ACL", "SETUSER", "app", ">hunter2"});
  EXPECT_TRUE(serves_again());
  EXPECT_EQ(count(gateway_->process().err() + sidecar_->process().err(), "hunter2"), 0);
}

TEST_F(ValkeyCondition, full_server_is_told_and_used_when_there_is_room) {
  ValkeyServer::Options options;
  options.arguments = {"--maxclients", "30"};
  start_valkey(options);
  valkey().cli({"PING"});
  std::vector<RawClient> others;
  for (int i = 0; i < 29; ++i) others.emplace_back(valkey().endpoint());
  start_programs();
  EXPECT_TRUE(both_say("too-many-clients")) << verbose(gateway_->health_port());
  others.clear();
  EXPECT_TRUE(serves_again());
}

TEST_F(ValkeyCondition, database_that_is_not_there_is_told) {
  start_valkey();
  gateway_.emplace(valkey(), Environment{{"Gateway__Transports__Messaging__Database", "99"}});
  EXPECT_TRUE(gateway_->process().wait_for_line("condition=wrong-database"));
  EXPECT_TRUE(eventually("readiness", [&] {
    return verbose(gateway_->health_port()).find("no database of this number") != std::string::npos;
  }));
  EXPECT_EQ(post(), "503 bus-unavailable");
}

TEST_F(ValkeyCondition, cluster_is_refused_with_its_name) {
  ValkeyServer::Options options;
  options.transport = ValkeyServer::Transport::tcp;
  options.arguments = {"--cluster-enabled", "yes"};
  start_valkey(options);
  start_programs();
  EXPECT_TRUE(both_say("cluster mode is not supported in this version"));
  EXPECT_EQ(post(), "503 bus-unavailable");
}

// --- commands and keys ----------------------------------------------------------------------------------------------

TEST_F(ValkeyCondition, withdrawn_permission_names_command_and_key_and_the_answer_waits) {
  start_valkey();
  valkey().cli({"ACL", "SETUSER", "app", "on", ">pw", "allkeys", "allchannels", "allcommands"});
  gateway_.emplace(valkey());
  valkey().set_login("app:pw");
  sidecar_.emplace(valkey(), "orders", service_, Environment{}, kAnyPort);
  ASSERT_TRUE(gateway_->wait_for_route("/orders/"));
  hold_first();
  Asking waiting(gateway_->port(), make_request("POST", "/orders/", {}, "x"));
  ASSERT_TRUE(eventually("the POST to be at the service", [&] { return service_.held() == 1; }));

  valkey().cli({"ACL", "SETUSER", "app", "resetkeys", "~router:requests:*", "~router:inbox:*"});
  service_.release();
  EXPECT_TRUE(sidecar_->process().wait_for_line("at=\"XADD router:responses:")) << sidecar_->process().err();
  EXPECT_FALSE(waiting.is_answered());
  valkey().cli({"ACL", "SETUSER", "app", "allkeys"});

  EXPECT_EQ(waiting.answer().status, 200) << waiting.answer().body;
  EXPECT_EQ(arrivals_, 1);
  EXPECT_TRUE(is_settled(valkey(), "orders"));
}

TEST_F(ValkeyCondition, foreign_key_in_the_place_of_ours_is_named_and_its_end_is_seen) {
  start_valkey();
  valkey().cli({"SET", "router:requests:orders", "x"});
  start_programs();
  EXPECT_TRUE(eventually("the sidecar's reason", [&] {
    return verbose(sidecar_->health_port()).find("(script join-group router:requests:orders)") != std::string::npos;
  })) << verbose(sidecar_->health_port());
  EXPECT_TRUE(sidecar_->process().wait_for_line("condition=wrong-type"));
  valkey().cli({"DEL", "router:requests:orders"});
  EXPECT_TRUE(serves_again());

  // While it runs, too: requests are refused for certain.
  valkey().cli({"SET", "router:requests:orders", "x"});
  EXPECT_EQ(post(), "503 bus-unavailable");
  valkey().cli({"DEL", "router:requests:orders"});
  EXPECT_TRUE(serves_again());
}

TEST_F(ValkeyCondition, foreign_key_in_the_place_of_the_control_stream_is_named) {
  start_valkey();
  valkey().cli({"SET", "router:control", "x"});
  start_programs();
  EXPECT_TRUE(both_say("wrong-type")) << verbose(gateway_->health_port()) << verbose(sidecar_->health_port());
  EXPECT_TRUE(both_say("router:control)")) << verbose(gateway_->health_port()) << verbose(sidecar_->health_port());
  EXPECT_EQ(post(), "503 bus-unavailable");
  valkey().cli({"DEL", "router:control"});
  EXPECT_TRUE(serves_again());
}

class DocumentedPermissions : public ValkeyCondition, public ::testing::WithParamInterface<const char*> {
 protected:
  DocumentedPermissions() { wake_modes = {GetParam(), GetParam()}; }
  ~DocumentedPermissions() override { wake_modes = {}; }
};
OUTRIGGER_IN_BOTH_WAKE_MODES(DocumentedPermissions);

// The rules are those of the page, taken from the page: three users, then what wake mode `notify` needs besides.
TEST_P(DocumentedPermissions, are_enough_for_everything) {
  start_valkey();
  const int wanted = std::string_view(GetParam()) == "notify" ? 6 : 3;
  std::ifstream page(OUTRIGGER_SOURCE_DIR "/docs/valkey.md");
  int rules = 0;
  for (std::string line; std::getline(page, line);) {
    if (!line.starts_with("ACL SETUSER ") || rules == wanted) continue;
    std::istringstream words(line);
    std::string command = "*" + std::to_string(count(line, " ") + 1) + "\r\n";
    for (std::string word; words >> word;) command += "$" + std::to_string(word.size()) + "\r\n" + word + "\r\n";
    RawClient client(valkey().endpoint());
    client.send(command);
    EXPECT_EQ(client.read_until("\r\n"), "+OK\r\n") << line;
    ++rules;
  }
  ASSERT_EQ(rules, wanted);  // the third is tried by dead_test.cpp
  ScriptedService second_service;
  {
    valkey().set_login("gateway:gateway-secret");
    Gateway gateway(valkey(), {{"Gateway__RateLimit__Rules__0__Name", "all"},
                               {"Gateway__RateLimit__Rules__0__Scope", "environment"},
                               {"Gateway__RateLimit__Rules__0__Limit", "1000000"},
                               {"Gateway__RateLimit__Rules__0__Window", "1h"},
                               {"Gateway__RateLimit__Timeout", "10s"}});
    valkey().set_login("billing:billing-secret");
    Sidecar first(valkey(), "billing", service_,
                  {{"Sidecar__Service__Version", "2.0"}, {"Sidecar__Messaging__LeaseDuration", "3s"}}, kAnyPort);
    ASSERT_TRUE(first.wait_until_registered());
    ASSERT_TRUE(gateway.wait_until_ready());
    ASSERT_TRUE(gateway.wait_for_route("/billing/"));

    hold_first();
    // Many, large ones, one whose sidecar dies, one whose service refuses, one that nobody is there for.
    std::vector<std::unique_ptr<Asking>> asking;
    const auto ask = [&](int i) {
      asking.push_back(std::make_unique<Asking>(gateway.port(), make_request("GET", "/billing/" + std::to_string(i))));
    };
    ask(0);  // while there is no other instance that could take it
    ASSERT_TRUE(eventually("one at the service", [&] { return service_.held() == 1; }));
    Sidecar second(valkey(), "billing", second_service, {{"Sidecar__Messaging__LeaseDuration", "3s"}}, kAnyPort);
    ASSERT_TRUE(second.wait_until_registered());
    for (int i = 1; i < 20; ++i) ask(i);
    first.process().kill_hard();
    for (auto& each : asking) EXPECT_EQ(each->answer().status, 200) << each->answer().body;
    service_.release();
    EXPECT_EQ(gateway.ask(make_request("POST", "/billing/", {}, make_binary(3'000'000))).status, 200);
    second_service.refuse();
    EXPECT_EQ(gateway.ask(make_request("POST", "/billing/", {}, "x")).status, 502);
    second_service.listen();
    EXPECT_TRUE(gateway.wait_for_route("/billing/"));
    valkey().cli({"FLUSHALL"});
    EXPECT_TRUE(gateway.wait_for_route("/billing/"));
    EXPECT_TRUE(is_settled(valkey(), "billing"));
    second.process().kill_hard();
    EXPECT_EQ(gateway.get("/billing/").status, 503);
    Sidecar third(valkey(), "billing", second_service, {}, kAnyPort);
    EXPECT_TRUE(gateway.wait_for_route("/billing/"));
    EXPECT_EQ(gateway.get("/billing/").header("X-RateLimit-Limit"), "1000000");
    EXPECT_EQ(metric(gateway.health_port(), R"(outrigger_rate_limit_fail_open_total{reason="refused"})"), "0");
    EXPECT_TRUE(third.process().terminate());
    EXPECT_TRUE(gateway.process().terminate());
  }
  EXPECT_EQ(valkey().cli({"ACL", "LOG"}), "");
}

// --- slow -----------------------------------------------------------------------------------------------------------

TEST_F(ValkeyCondition, server_that_pauses_is_waited_for) {
  start_all();
  valkey().suspend();
  std::vector<std::unique_ptr<Asking>> asking;
  for (int i = 0; i < 10; ++i) {
    asking.push_back(std::make_unique<Asking>(
        gateway_->port(), make_request(i % 2 == 0 ? "GET" : "POST", "/orders/" + std::to_string(i), {}, "x")));
  }
  const Stopwatch watch;
  while (watch.elapsed() < 1s) EXPECT_EQ(get(gateway_->health_port(), "/livez").status, 200);
  for (auto& each : asking) EXPECT_FALSE(each->is_answered());
  valkey().resume();
  for (auto& each : asking) EXPECT_EQ(each->answer().status, 200) << each->answer().body;
  EXPECT_EQ(service_.request_count(), 10u);
  EXPECT_TRUE(serves_again());
  EXPECT_EQ(count(gateway_->process().err(), "bus connection is down"), 0);
}

TEST_F(ValkeyCondition, server_that_stands_still_is_504_by_the_deadline_and_nothing_runs_twice) {
  start_all({{"Gateway__Transports__Messaging__RequestTimeout", "2s"}});
  valkey().suspend();
  std::vector<std::unique_ptr<Asking>> asking;
  for (int i = 0; i < 10; ++i) {
    asking.push_back(
        std::make_unique<Asking>(gateway_->port(), make_request("POST", "/orders/" + std::to_string(i), {}, "x")));
  }
  for (auto& each : asking) {
    EXPECT_EQ(each->answer().status, 504) << each->answer().body;
    EXPECT_GE(each->took(), 1900ms);
    EXPECT_LT(each->took(), 6s);
  }
  // Until the connections are given up for it.
  EXPECT_TRUE(both_say("silent: the server does not answer"));
  EXPECT_EQ(post(), "503 bus-unavailable");
  valkey().resume();
  EXPECT_TRUE(serves_again());
  std::map<std::string, int> runs;
  for (const RawRequest& request : service_.requests()) ++runs[request.method + " " + request.target];
  for (const auto& [request, times] : runs) {
    if (request.starts_with("POST")) {
      EXPECT_EQ(times, 1) << request;
    }
  }
}

// --- dangerous settings ---------------------------------------------------------------------------------------------

TEST_F(ValkeyCondition, eviction_is_warned_of_at_start_and_serves_all_the_same) {
  ValkeyServer::Options options;
  options.arguments = {"--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru"};
  start_valkey(options);
  start_programs();
  EXPECT_TRUE(serves_again());
  expect_said_once("the bus may lose requests", "evicts");
  EXPECT_EQ(count(sidecar_->process().err(), "maxmemory_policy=allkeys-lru"), 1) << sidecar_->process().err();
}

}  // namespace
}  // namespace outrigger::tests
