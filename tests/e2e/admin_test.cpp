// The admin listeners of the shipped programs, and `outrigger status` before them.
#include <gmock/gmock.h>

#include <filesystem>

#include "bridge/net/endpoint.h"
#include "tests/e2e/programs.h"

namespace outrigger::tests {
namespace {

using namespace std::chrono_literals;
using ::testing::HasSubstr;
using ::testing::Not;

class AdminListener : public ::testing::Test {
 protected:
  void SetUp() override {
    OUTRIGGER_NEEDS_VALKEY();
    valkey_.emplace();
    char name[] = "/tmp/outrigger-e2e-XXXXXX";
    folder_ = ::mkdtemp(name);
    service_.set_script([](const RawRequest& request, ScriptedService::Connection& connection) {
      if (request.target.starts_with("/hold")) connection.hold();
      ScriptedService::echo(request, connection);
    });
  }
  void TearDown() override {
    if (!folder_.empty()) std::filesystem::remove_all(folder_);
  }
  ValkeyServer& valkey() { return *valkey_; }
  std::string socket(const char* name) const { return folder_ + "/" + name + ".sock"; }
  Environment at(const char* section, const char* name) const {
    return {{std::string(section) + "__Process__Admin", "unix:" + socket(name)}};
  }
  RawResponse ask(const char* name, std::string_view method, std::string_view target) const {
    RawClient client(net::Endpoint::unix_socket(socket(name)));
    RawResponse response;
    response.problem = client.problem();
    if (!response.problem.empty()) return response;
    client.send(make_request(method, target));
    return client.read_response();
  }
  // Control frames of a type that are in the control stream.
  std::size_t count_frames(int type) {
    const std::string text = valkey().cli({"XRANGE", "router:control", "-", "+"});
    std::size_t found = 0;
    const std::string mark = "\nt\n" + std::to_string(type) + "\n";
    for (std::size_t from = 0; (from = text.find(mark, from)) != std::string::npos; ++from) ++found;
    return found;
  }

  std::string folder_;
  ScriptedService service_;
  std::optional<ValkeyServer> valkey_;
};

TEST_F(AdminListener, gateway_shows_routes_and_instances) {
  service_.set_document(R"({"openapi":"3.0.3","info":{"title":"t","version":"1"},"security":[{"o":["orders:read"]}],
      "components":{"securitySchemes":{"o":{"type":"oauth2","flows":{}}}},
      "paths":{"/a/{id}":{"get":{"security":[]}},"/b":{"post":{"x-router-claims":["role=admin"]}}}})");
  Environment verifying = at("Gateway", "gateway");  // else security is left to the service
  verifying.emplace_back("Gateway__Auth__Issuers__0__Issuer", "https://id.test");
  verifying.emplace_back("Gateway__Auth__Issuers__0__Secret", std::string(32, 's'));
  verifying.emplace_back("Gateway__Auth__Issuers__0__Algorithms__0", "HS256");
  Gateway gateway(valkey(), verifying);
  Sidecar sidecar(valkey(), "orders", service_, {{"Sidecar__Service__Version", "2.5.1"}});
  Sidecar twin(valkey(), "orders", service_, {{"Sidecar__Service__Version", "2.5.1"}});
  ASSERT_TRUE(gateway.wait_for_route("/orders/a/1"));
  ASSERT_TRUE(eventually("two instances", [&] {
    const std::string body = ask("gateway", "GET", "/instances").body;
    return body.find("\"healthy\"") != body.rfind("\"healthy\"");
  }));

  const std::string instances = ask("gateway", "GET", "/instances?service=orders").body;
  EXPECT_THAT(instances, HasSubstr("\"version\": \"2.5.1\""));
  EXPECT_THAT(instances, HasSubstr("\"router:requests:orders:2.5.1\""));
  EXPECT_THAT(instances, HasSubstr("\"wake_mode\": \"block\""));
  EXPECT_THAT(ask("gateway", "GET", "/instances?service=nobody").body, Not(HasSubstr("orders")));
  const std::string routes = ask("gateway", "GET", "/routes").body;
  EXPECT_THAT(routes, HasSubstr("\"mount\": \"/orders\""));
  EXPECT_THAT(routes, HasSubstr("\"endpoints\": 2"));
  EXPECT_THAT(routes, Not(HasSubstr("/a/{id}")));
  const std::string endpoints = ask("gateway", "GET", "/routes?service=orders").body;
  EXPECT_THAT(endpoints, HasSubstr("/a/{id}"));
  EXPECT_THAT(endpoints, HasSubstr("\"source\": \"document: security\""));
  EXPECT_THAT(endpoints, HasSubstr("\"orders:read\""));
  EXPECT_THAT(endpoints, HasSubstr("\"role=admin\""));
  EXPECT_THAT(endpoints, HasSubstr("the document does not list it"));
  EXPECT_EQ(ask("gateway", "POST", "/routes").status, 405);
}

TEST_F(AdminListener, second_service_on_a_mount_is_shown_as_a_conflict) {
  Gateway gateway(valkey(), at("Gateway", "gateway"));
  Sidecar first(valkey(), "orders", service_);
  ASSERT_TRUE(gateway.wait_for_route("/orders/"));
  Sidecar second(valkey(), "imposter", service_, {{"Sidecar__Service__Mount", "/orders"}});
  EXPECT_TRUE(eventually("the conflict", [&] {
    const std::string body = ask("gateway", "GET", "/routes").body;
    return body.find("\"service\": \"imposter\"", body.find("\"conflicts\"")) != std::string::npos;
  }));
}

TEST_F(AdminListener, resync_asks_one_instance_or_the_fleet) {
  Gateway gateway(valkey(), at("Gateway", "gateway"));
  // No heartbeat comes between.
  const Environment slow{{"Sidecar__Messaging__HeartbeatInterval", "10m"}};
  Sidecar one(valkey(), "orders", service_, slow);
  Sidecar two(valkey(), "billing", service_, slow);
  ASSERT_TRUE(gateway.wait_for_route("/orders/"));
  ASSERT_TRUE(gateway.wait_for_route("/billing/"));
  ASSERT_TRUE(eventually("both to have announced", [&] { return count_frames(9) == 2; }));
  const std::size_t hellos = count_frames(1);

  EXPECT_EQ(ask("gateway", "GET", "/resync").status, 405);
  EXPECT_EQ(ask("gateway", "POST", "/resync?instance=00000000000000000000").status, 404);
  EXPECT_EQ(count_frames(9), 2U);

  const RawResponse all = ask("gateway", "POST", "/api/v1/gateway/administration/router/resync");
  EXPECT_EQ(all.status, 202);
  EXPECT_THAT(all.body, HasSubstr("\"asked\": 2"));
  EXPECT_TRUE(eventually("both to register anew", [&] { return count_frames(9) == 4 && count_frames(1) == hellos + 2; }));

  const std::string instances = ask("gateway", "GET", "/instances?service=orders").body;
  const std::string mark = "\"instance\": \"";
  const std::string id = instances.substr(instances.find(mark) + mark.size(), 20);
  EXPECT_THAT(ask("gateway", "POST", "/resync?instance=" + id).body, HasSubstr("\"asked\": 1"));
  EXPECT_TRUE(eventually("one to register anew", [&] { return count_frames(9) == 5; }));
  EXPECT_EQ(gateway.get("/orders/").status, 200);
}

TEST_F(AdminListener, sidecar_shows_what_it_has_in_hand) {
  Gateway gateway(valkey());
  Environment environment = at("Sidecar", "orders");
  environment.emplace_back("Sidecar__MaxInFlight", "1");
  Sidecar sidecar(valkey(), "orders", service_, environment);
  ASSERT_TRUE(gateway.wait_for_route("/orders/"));
  Asking running(gateway.port(), make_request("POST", "/orders/hold", {}, "x"));
  ASSERT_TRUE(eventually("it to be at the service", [&] { return service_.held() == 1; }));

  const std::string status = ask("orders", "GET", "/status").body;
  EXPECT_THAT(status, HasSubstr("\"in_flight\": 1,"));
  EXPECT_THAT(status, HasSubstr("\"waiting\": 0,"));
  EXPECT_THAT(status, HasSubstr("\"state\": \"healthy\""));
  EXPECT_THAT(status, HasSubstr("\"healthy\": true"));
  EXPECT_THAT(status, HasSubstr("\"every_path\": true"));
  EXPECT_THAT(status, HasSubstr("\"in_hand\": 1,"));
  service_.release();
  EXPECT_EQ(running.answer().status, 200);
  EXPECT_TRUE(eventually("it to be settled", [&] {
    const std::string body = ask("orders", "GET", "/status").body;
    return body.find("\"in_hand\": 0,") != std::string::npos && body.find("\"begun\": 0,") == std::string::npos;
  }));
}

TEST_F(AdminListener, drain_by_command_finishes_what_runs_even_when_a_signal_follows) {
  Gateway gateway(valkey(), at("Gateway", "gateway"));
  Sidecar sidecar(valkey(), "orders", service_, at("Sidecar", "orders"));
  ASSERT_TRUE(gateway.wait_for_route("/orders/"));
  RawClient busy(gateway.port());
  busy.send(make_request("POST", "/orders/hold", {}, "x"));
  ASSERT_TRUE(eventually("it to be at the service", [&] { return service_.held() == 1; }));

  EXPECT_EQ(ask("sidecar-nobody", "POST", "/drain").status, 0);
  for (const char* name : {"orders", "gateway"}) EXPECT_EQ(ask(name, "POST", "/drain").status, 202) << name;
  ASSERT_TRUE(gateway.process().wait_for_line("draining"));
  for (ChildProcess* process : {&gateway.process(), &sidecar.process()}) process->send_signal(SIGTERM);
  EXPECT_TRUE(eventually("unready", [&] { return get(gateway.health_port(), "/readyz").status == 503; }));
  service_.release();

  EXPECT_EQ(busy.read_response().status, 200);
  for (ChildProcess* process : {&gateway.process(), &sidecar.process()}) {
    EXPECT_TRUE(process->wait_for_exit());
    EXPECT_EQ(process->status(), 0);
  }
  EXPECT_FALSE(std::filesystem::exists(socket("gateway")));
  EXPECT_FALSE(std::filesystem::exists(socket("orders")));
}

TEST_F(AdminListener, configuration_is_shown_with_origins_and_without_secrets) {
  Environment environment = at("Gateway", "gateway");
  environment.emplace_back("Gateway__Process__AdminToken", "s3cret-token");
  environment.emplace_back("Gateway__Node__Name", "edge-7");
  Gateway gateway(valkey(), environment);

  const std::string config = ask("gateway", "GET", "/config").body;

  EXPECT_THAT(config, HasSubstr("edge-7"));
  EXPECT_THAT(config, HasSubstr("environment variable Gateway__Node__Name"));
  EXPECT_THAT(config, HasSubstr("flag --listen"));
  EXPECT_THAT(config, Not(HasSubstr("s3cret-token")));
}

TEST_F(AdminListener, log_level_changes_while_it_runs) {
  Gateway gateway(valkey(), at("Gateway", "gateway"));
  ASSERT_TRUE(gateway.wait_until_ready());
  EXPECT_EQ(ask("gateway", "POST", "/log-level?level=error").status, 200);
  Sidecar quiet(valkey(), "orders", service_);
  ASSERT_TRUE(gateway.wait_for_route("/orders/"));
  EXPECT_THAT(gateway.process().err(), Not(HasSubstr("instance joined")));
  EXPECT_EQ(ask("gateway", "POST", "/log-level?level=info").status, 200);
  Sidecar loud(valkey(), "billing", service_);
  EXPECT_TRUE(gateway.process().wait_for_line("instance joined"));
}

TEST_F(AdminListener, tcp_address_without_a_token_is_refused_at_start) {
  ChildProcess gateway({.command = {OUTRIGGER_GATEWAY, "--listen", "127.0.0.1:0", "--health", "off", "--admin", "127.0.0.1:0"},
                        .environment = {},
                        .directory = {},
                        .expected_status = 2});
  EXPECT_TRUE(gateway.wait_for_exit());
  EXPECT_THAT(gateway.err(), HasSubstr("AdminToken"));
}

TEST_F(AdminListener, status_command_prints_tables_and_json) {
  Gateway gateway(valkey(), at("Gateway", "gateway"));
  Sidecar sidecar(valkey(), "orders", service_, at("Sidecar", "orders"));
  ASSERT_TRUE(gateway.wait_for_route("/orders/"));
  const auto run = [&](std::vector<std::string> arguments, int expected) {
    arguments.insert(arguments.begin(), {OUTRIGGER, "status"});
    ChildProcess status({.command = arguments, .environment = {}, .directory = {}, .expected_status = expected});
    EXPECT_TRUE(status.wait_for_exit());
    return status.out() + status.err();
  };

  const std::string table = run({"--admin", "unix:" + socket("gateway")}, 0);
  EXPECT_THAT(table, HasSubstr("SERVICE  MOUNT"));
  EXPECT_THAT(table, HasSubstr("orders   /orders"));
  EXPECT_THAT(table, HasSubstr("healthy"));
  EXPECT_THAT(run({"--admin", "unix:" + socket("gateway"), "-o", "json"}, 0), HasSubstr("\"instances\": ["));
  EXPECT_THAT(run({"--admin", "unix:" + socket("orders")}, 0), HasSubstr("IN FLIGHT"));
  EXPECT_THAT(run({"--admin", "unix:" + socket("nobody")}, 1), HasSubstr("nobody.sock"));
  EXPECT_THAT(run({"--admin", "nonsense"}, 2), HasSubstr("--admin"));
}

}  // namespace
}  // namespace outrigger::tests
