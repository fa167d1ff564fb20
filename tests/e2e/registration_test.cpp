// Services come and go while gateways run: routes appear, change and answer 503, and what was lost at Valkey is told
// again.
#include <atomic>
#include <mutex>
#include <thread>

#include "tests/e2e/programs.h"

namespace outrigger::tests {
namespace {

using namespace std::chrono_literals;

constexpr char kDocument[] = R"({"openapi":"3.0.3","info":{"title":"Orders","version":"1"},"paths":{
"/v1/orders/{id}":{"get":{"operationId":"getOrder","responses":{"200":{"description":"ok"}}}}}})";

class Registration : public ::testing::Test {
 protected:
  void SetUp() override {
    OUTRIGGER_NEEDS_VALKEY();
    valkey_.emplace();
  }
  ValkeyServer& valkey() { return *valkey_; }

  ScriptedService service_;
  std::optional<ValkeyServer> valkey_;
};

TEST_F(Registration, route_appears_when_a_sidecar_starts) {
  Gateway gateway(valkey());
  ASSERT_TRUE(gateway.wait_until_ready());
  const RawResponse before = gateway.get("/orders/1");
  EXPECT_EQ(before.status, 404);
  EXPECT_EQ(code_of(before), "no-route");

  Sidecar sidecar(valkey(), "orders", service_);

  ASSERT_TRUE(gateway.wait_for_route("/orders/1"));
  EXPECT_EQ(service_.last_request().target, "/1");
  EXPECT_EQ(code_of(gateway.get("/ordersx")), "no-route");
}

TEST_F(Registration, service_without_a_document_gets_every_method_and_path) {
  Gateway gateway(valkey());
  Sidecar sidecar(valkey(), "orders", service_);
  ASSERT_TRUE(gateway.wait_for_route("/orders"));
  for (const char* method : {"GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND"}) {
    const RawResponse response = gateway.ask(make_request(method, "/orders/any/path?x"));
    EXPECT_EQ(response.body, std::string(method) + " /any/path?x ");
  }
}

TEST_F(Registration, document_of_a_service_is_published_under_its_mount) {
  service_.set_document(kDocument);
  Gateway gateway(valkey());
  Sidecar sidecar(valkey(), "orders", service_);
  ASSERT_TRUE(gateway.wait_for_route("/orders/v1/orders/7"));

  const RawResponse merged = gateway.get("/openapi.json");
  EXPECT_EQ(merged.status, 200);
  EXPECT_NE(merged.body.find("\"/orders/v1/orders/{id}\""), std::string::npos) << merged.body;
  EXPECT_EQ(gateway.ask(make_request("GET", "/openapi.json", {{"If-None-Match", merged.header("ETag")}})).status, 304);
  // What it does not list is passed on: the service's own answer comes back.
  EXPECT_EQ(gateway.ask(make_request("POST", "/orders/unlisted", {}, "x")).body, "POST /unlisted x");
}

TEST_F(Registration, unlisted_paths_may_be_refused_at_the_edge) {
  service_.set_document(kDocument);
  Gateway gateway(valkey());
  Sidecar sidecar(valkey(), "orders", service_, {{"Sidecar__Service__UnlistedPaths", "refuse"}});
  ASSERT_TRUE(gateway.wait_for_route("/orders/v1/orders/7"));
  service_.forget_requests();

  EXPECT_EQ(code_of(gateway.get("/orders/unlisted")), "no-route");
  const RawResponse other = gateway.ask(make_request("POST", "/orders/v1/orders/7", {}, "x"));
  EXPECT_EQ(other.status, 405);
  EXPECT_EQ(code_of(other), "method-not-allowed");
  EXPECT_EQ(other.header("Allow"), "GET, HEAD, OPTIONS");
  EXPECT_EQ(service_.request_count(), 0u);
}

// A document with a GET of each path.
std::string document_of(const std::vector<std::string>& paths) {
  std::string document = R"({"openapi":"3.0.3","info":{"title":"Orders","version":"1"},"paths":{)";
  for (const std::string& path : paths) {
    document += (document.back() == '{' ? "\"" : ",\"") + path + R"(":{"get":{"responses":{"200":{"description":"ok"}}}})";
  }
  return document + "}}";
}

TEST_F(Registration, document_that_changes_under_load_changes_the_routes_without_a_failed_request) {
  service_.set_document(document_of({"/stays", "/first"}));
  Gateway gateway(valkey());
  Sidecar sidecar(valkey(), "orders", service_,
                  {{"Sidecar__Service__UnlistedPaths", "refuse"}, {"Sidecar__Service__OpenApiInterval", "50ms"}});
  ASSERT_TRUE(gateway.wait_for_route("/orders/stays"));
  ASSERT_EQ(gateway.get("/orders/first").status, 200);
  ASSERT_EQ(gateway.get("/orders/second").status, 404);

  std::atomic<bool> is_over{false};
  std::atomic<std::size_t> answered{0};
  std::mutex mutex;
  std::vector<std::string> failures;
  std::vector<std::thread> clients;
  for (int i = 0; i < 3; ++i) {
    clients.emplace_back([&] {
      while (!is_over) {
        const RawResponse response = gateway.get("/orders/stays");
        ++answered;
        if (response.problem.empty() && response.status == 200) continue;
        const std::lock_guard lock(mutex);
        failures.push_back(response.problem + response.status_line);
      }
    });
  }
  const auto status_becomes = [&gateway](const std::string& path, int status) {
    return eventually(path + " to answer " + std::to_string(status),
                      [&] { return gateway.get(path).status == status; });
  };
  for (int round = 0; round < 4; ++round) {
    const bool is_second = round % 2 == 0;
    service_.set_document(document_of({"/stays", is_second ? "/second" : "/first"}));
    EXPECT_TRUE(status_becomes(is_second ? "/orders/second" : "/orders/first", 200));
    EXPECT_TRUE(status_becomes(is_second ? "/orders/first" : "/orders/second", 404));
    // Those that were under way, and some that began after.
    const std::size_t before = answered;
    EXPECT_TRUE(eventually("more answers", [&] { return answered >= before + 20; }));
  }
  // A broken document changes nothing.
  service_.set_document("{\"openapi\":");
  EXPECT_TRUE(sidecar.process().wait_for_line("the last good one stays"));
  EXPECT_EQ(gateway.get("/orders/first").status, 200);
  is_over = true;
  for (std::thread& client : clients) client.join();
  EXPECT_EQ(failures, std::vector<std::string>{}) << "of " << answered;
}

TEST_F(Registration, document_in_yaml_of_version_2_is_routed_and_published_as_3_1) {
  service_.set_document("swagger: '2.0'\ninfo: {title: Orders, version: '1'}\nbasePath: /v1\npaths:\n  /orders/{id}:\n"
                        "    get: {parameters: [{name: id, in: path, type: string, required: true}],"
                        " responses: {200: {description: ok, schema: {$ref: '#/definitions/Order'}}}}\n"
                        "definitions: {Order: {type: object}}\n");
  Gateway gateway(valkey());
  Sidecar sidecar(valkey(), "orders", service_, {{"Sidecar__Service__UnlistedPaths", "refuse"}});
  ASSERT_TRUE(gateway.wait_for_route("/orders/v1/orders/7"));

  EXPECT_EQ(gateway.get("/orders/orders/7").status, 404);
  const std::string merged = gateway.get("/openapi.json").body;
  for (const char* part : {"\"3.1.0\"", "\"/orders/v1/orders/{id}\"", "#/components/schemas/Order"}) {
    EXPECT_NE(merged.find(part), std::string::npos) << part << "\n" << merged;
  }
}

TEST_F(Registration, last_instance_that_leaves_turns_its_routes_into_503_at_once) {
  Gateway gateway(valkey());
  Sidecar sidecar(valkey(), "orders", service_);
  ASSERT_TRUE(gateway.wait_for_route("/orders/"));

  ASSERT_TRUE(sidecar.process().terminate());

  RawResponse response;
  ASSERT_TRUE(eventually(
      "503", [&] { return (response = gateway.get("/orders/")).status == 503; }, 2s));
  EXPECT_EQ(code_of(response), "no-instance");
  EXPECT_EQ(response.header("Retry-After"), "1");
  const Stopwatch watch;
  EXPECT_EQ(gateway.ask(make_request("POST", "/orders/", {}, "x")).status, 503);
  EXPECT_LT(watch.elapsed(), 1s);

  Sidecar successor(valkey(), "orders", service_);
  EXPECT_TRUE(gateway.wait_for_route("/orders/"));
}

TEST_F(Registration, second_service_appears_without_a_restart) {
  ScriptedService other;
  Gateway gateway(valkey());
  Sidecar orders(valkey(), "orders", service_);
  ASSERT_TRUE(gateway.wait_for_route("/orders/"));

  Sidecar billing(valkey(), "billing", other);

  ASSERT_TRUE(gateway.wait_for_route("/billing/bill"));
  EXPECT_EQ(other.last_request().target, "/bill");
  EXPECT_EQ(gateway.get("/orders/order").body, "GET /order ");
}

TEST_F(Registration, instances_share_the_requests_of_their_service) {
  ScriptedService twin;
  Gateway gateway(valkey());
  Sidecar first(valkey(), "orders", service_);
  Sidecar second(valkey(), "orders", twin);
  ASSERT_TRUE(first.wait_until_registered());
  ASSERT_TRUE(second.wait_until_registered());
  ASSERT_TRUE(gateway.wait_for_route("/orders/"));
  EXPECT_TRUE(eventually("both to get some", [&] {
    EXPECT_EQ(gateway.get("/orders/").status, 200);
    return service_.request_count() > 0 && twin.request_count() > 0;
  }));
}

TEST_F(Registration, service_that_starts_late_is_announced_when_it_is_there) {
  service_.refuse();
  Gateway gateway(valkey());
  Sidecar sidecar(valkey(), "orders", service_);
  ASSERT_TRUE(gateway.wait_until_ready());
  ASSERT_TRUE(sidecar.process().wait_for_line("the service is down"));
  EXPECT_EQ(gateway.get("/orders/").status, 404);

  service_.listen();

  EXPECT_TRUE(gateway.wait_for_route("/orders/", 3s));
}

TEST_F(Registration, gateway_that_starts_late_learns_what_is_there) {
  Sidecar sidecar(valkey(), "orders", service_, {{"Sidecar__Messaging__HeartbeatInterval", "60s"}});
  ASSERT_TRUE(sidecar.wait_until_registered());
  Gateway first(valkey());
  Gateway second(valkey());
  EXPECT_TRUE(first.wait_for_route("/orders/", 5s));
  EXPECT_TRUE(second.wait_for_route("/orders/", 5s));
}

TEST_F(Registration, missing_metadata_are_asked_for) {
  // No heartbeat brings them back by itself within this test.
  Sidecar sidecar(valkey(), "orders", service_, {{"Sidecar__Messaging__HeartbeatInterval", "60s"}});
  ASSERT_TRUE(sidecar.wait_until_registered());
  const std::string key = valkey().cli({"KEYS", "router:endpoints:orders:*"});
  ASSERT_TRUE(eventually("the metadata", [&] { return valkey().cli({"EXISTS", key}) == "1"; }));
  ASSERT_EQ(valkey().cli({"DEL", key}), "1");
  const std::string inbox = valkey().cli({"KEYS", "router:inbox:orders:*"});
  ASSERT_EQ(valkey().field({"XINFO", "STREAM", inbox}, "entries-added"), "0");

  Gateway gateway(valkey());

  EXPECT_TRUE(gateway.wait_for_route("/orders/", 5s));
  EXPECT_EQ(valkey().field({"XINFO", "STREAM", inbox}, "entries-added"), "1");
  EXPECT_EQ(valkey().cli({"EXISTS", key}), "1");
}

// How many frames of this type the control stream has (docs/protocol.md: HELLO 1, ENDPOINTS_UPDATE 9, GOODBYE 33).
int control_frames(ValkeyServer& valkey, int type) {
  const std::string entries = valkey.cli({"XRANGE", "router:control", "-", "+"}) + "\n";
  const std::string mark = "\nt\n" + std::to_string(type) + "\n";
  int frames = 0;
  for (std::size_t at = entries.find(mark); at != std::string::npos; at = entries.find(mark, at + 1)) ++frames;
  return frames;
}

// Were each gateway to answer a newcomer with a question of its own, a deployment would be a storm.
class TenGateways : public Registration {
 protected:
  void SetUp() override {
    Registration::SetUp();
    if (IsSkipped()) return;
    service_.set_document(kDocument);
  }
  void start_gateways() {
    for (int i = 0; i < 10; ++i) {
      gateways_.push_back(std::make_unique<Gateway>(valkey(), Environment{{"Gateway__Workers", "1"}}));
    }
  }
  void expect_all_route() {
    for (auto& gateway : gateways_) EXPECT_TRUE(gateway->wait_for_route("/orders/v1/orders/7"));
  }
  std::unique_ptr<Sidecar> start_sidecar() {
    auto sidecar = std::make_unique<Sidecar>(valkey(), "orders", service_);
    EXPECT_TRUE(sidecar->wait_until_registered());
    EXPECT_TRUE(eventually("its metadata", [&] { return valkey().cli({"KEYS", "router:endpoints:*"}) != ""; }));
    return sidecar;
  }
  // Some more heartbeats, with which anything that is going to be said again would have been.
  void let_heartbeats_pass() {
    const int before = control_frames(valkey(), 2);
    EXPECT_TRUE(eventually("more heartbeats", [&] { return control_frames(valkey(), 2) >= before + 10; }));
  }

  std::vector<std::unique_ptr<Gateway>> gateways_;
};

TEST_F(TenGateways, restart_of_a_sidecar_is_one_endpoints_update) {
  auto sidecar = start_sidecar();
  start_gateways();
  expect_all_route();
  ASSERT_EQ(control_frames(valkey(), 9), 1);

  sidecar->process().kill_hard();
  sidecar = start_sidecar();
  expect_all_route();
  let_heartbeats_pass();
  EXPECT_EQ(control_frames(valkey(), 1), 2);
  EXPECT_EQ(control_frames(valkey(), 9), 2) << "one more for the restart";

  ASSERT_TRUE(sidecar->process().terminate());
  sidecar = start_sidecar();
  expect_all_route();
  let_heartbeats_pass();
  EXPECT_EQ(control_frames(valkey(), 9), 3);
  EXPECT_EQ(control_frames(valkey(), 33), 1);
}

TEST_F(TenGateways, missing_metadata_are_asked_for_once_for_all_of_them) {
  start_gateways();
  for (auto& gateway : gateways_) {
    ASSERT_TRUE(gateway->wait_until_ready());
    gateway->process().send_signal(SIGSTOP);
  }
  // No heartbeat stores them again within this test.
  Sidecar sidecar(valkey(), "orders", service_, {{"Sidecar__Messaging__HeartbeatInterval", "60s"}});
  ASSERT_TRUE(sidecar.wait_until_registered());
  ASSERT_TRUE(eventually("all it says", [&] { return control_frames(valkey(), 9) == 1; }));
  const std::string inbox = valkey().cli({"KEYS", "router:inbox:orders:*"});
  ASSERT_EQ(valkey().cli({"DEL", valkey().cli({"KEYS", "router:endpoints:orders:*"})}), "1");

  for (auto& gateway : gateways_) gateway->process().send_signal(SIGCONT);
  expect_all_route();

  EXPECT_EQ(valkey().field({"XINFO", "STREAM", inbox}, "entries-added"), "1");
  EXPECT_EQ(control_frames(valkey(), 9), 2);
}

TEST_F(Registration, heartbeat_alone_makes_an_instance_known) {
  Sidecar sidecar(valkey(), "orders", service_);
  ASSERT_TRUE(sidecar.wait_until_registered());
  Gateway before(valkey());
  ASSERT_TRUE(before.wait_for_route("/orders/"));
  ASSERT_EQ(valkey().cli({"DEL", "router:control"}), "1");

  Gateway after(valkey());

  EXPECT_TRUE(after.wait_for_route("/orders/", 5s));
  EXPECT_EQ(before.get("/orders/").status, 200);
}

TEST_F(Registration, mount_that_is_taken_stays_with_the_first) {
  ScriptedService intruder;
  Gateway gateway(valkey());
  Sidecar orders(valkey(), "orders", service_);
  ASSERT_TRUE(gateway.wait_for_route("/orders/"));

  Sidecar second(valkey(), "intruder", intruder, {{"Sidecar__Service__Mount", "/orders"}});
  ASSERT_TRUE(second.wait_until_registered());
  Sidecar third(valkey(), "later", intruder);
  ASSERT_TRUE(gateway.wait_for_route("/later/"));

  intruder.forget_requests();
  EXPECT_EQ(gateway.get("/orders/").status, 200);
  EXPECT_EQ(intruder.request_count(), 0u);
}

}  // namespace
}  // namespace outrigger::tests
