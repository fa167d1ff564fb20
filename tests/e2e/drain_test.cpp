// SIGTERM: what runs is finished, what comes goes elsewhere, nothing is left behind.
#include <algorithm>

#include "tests/e2e/programs.h"

namespace outrigger::tests {
namespace {

using namespace std::chrono_literals;

class Drain : public InBothWakeModes {
 protected:
  void SetUp() override {
    OUTRIGGER_NEEDS_VALKEY();
    valkey_.emplace();
    service_.set_script([](const RawRequest& request, ScriptedService::Connection& connection) {
      if (request.target.starts_with("/hold")) connection.hold();
      ScriptedService::echo(request, connection);
    });
  }
  ValkeyServer& valkey() { return *valkey_; }

  ScriptedService service_;
  ScriptedService twin_;
  std::optional<ValkeyServer> valkey_;
};

TEST_P(Drain, sidecar_finishes_what_runs_while_new_requests_go_to_its_peer) {
  Gateway gateway(valkey());
  Sidecar leaving(valkey(), "orders", service_);
  ASSERT_TRUE(gateway.wait_for_route("/orders/"));
  std::vector<std::unique_ptr<Asking>> running;
  for (const char* method : {"GET", "POST", "PUT"}) {
    running.push_back(std::make_unique<Asking>(gateway.port(), make_request(method, "/orders/hold", {}, "x")));
  }
  ASSERT_TRUE(eventually("all to be at the service", [&] { return service_.held() == 3; }));
  Sidecar staying(valkey(), "orders", twin_);
  ASSERT_TRUE(staying.wait_until_registered());

  leaving.process().send_signal(SIGTERM);
  ASSERT_TRUE(leaving.process().wait_for_line("draining"));
  service_.forget_requests();
  for (int i = 0; i < 10; ++i) {
    const RawResponse response = gateway.ask(make_request(i % 2 == 0 ? "GET" : "POST", "/orders/new", {}, "x"));
    EXPECT_EQ(response.status, 200) << i << " " << response.body;
  }
  EXPECT_LE(service_.request_count(), 1u) << "read before the signal arrived";
  EXPECT_TRUE(leaving.process().is_running());
  service_.release();

  for (auto& each : running) EXPECT_EQ(each->answer().status, 200) << each->answer().body;
  EXPECT_TRUE(leaving.process().wait_for_exit());
  EXPECT_EQ(leaving.process().status(), 0);
  EXPECT_TRUE(is_settled(valkey(), "orders"));
  EXPECT_EQ(valkey().cli({"KEYS", "router:inbox:orders:*"}).find('\n'), std::string::npos) << "one inbox is left";
}

TEST_P(Drain, waiting_requests_of_a_leaving_sidecar_go_to_its_peer) {
  Gateway gateway(valkey());
  // One place at the service: whatever else it reads waits in the sidecar.
  Sidecar leaving(valkey(), "orders", service_, {{"Sidecar__MaxInFlight", "1"}});
  ASSERT_TRUE(gateway.wait_for_route("/orders/"));
  Asking running(gateway.port(), make_request("POST", "/orders/hold", {}, "x"));
  ASSERT_TRUE(eventually("one to be at the service", [&] { return service_.held() == 1; }));
  std::vector<std::unique_ptr<Asking>> waiting;
  for (int i = 0; i < 5; ++i) {
    waiting.push_back(std::make_unique<Asking>(gateway.port(), make_request("POST", "/orders/new", {}, "x")));
  }
  // The stream's length would count what was answered and is not deleted yet.
  ASSERT_TRUE(eventually("all six to be sent", [&] {
    return get(gateway.health_port(), "/metrics").body.find("\noutrigger_calls_pending 6\n") != std::string::npos;
  }));
  Sidecar staying(valkey(), "orders", twin_);

  leaving.process().send_signal(SIGTERM);

  for (auto& each : waiting) EXPECT_EQ(each->answer().status, 200) << each->answer().body;
  EXPECT_EQ(twin_.request_count(), 5u);
  service_.release();
  EXPECT_EQ(running.answer().status, 200);
  EXPECT_TRUE(leaving.process().wait_for_exit());
  EXPECT_TRUE(is_settled(valkey(), "orders"));
}

TEST_P(Drain, sidecar_that_does_not_finish_in_time_leaves_all_the_same) {
  Gateway gateway(valkey(), {{"Gateway__Transports__Messaging__RequestTimeout", "2s"}});
  Sidecar sidecar(valkey(), "orders", service_, {{"Sidecar__Process__DrainTime", "300ms"}});
  ASSERT_TRUE(gateway.wait_for_route("/orders/"));
  Asking running(gateway.port(), make_request("GET", "/orders/hold"));
  ASSERT_TRUE(eventually("it to be at the service", [&] { return service_.held() == 1; }));
  EXPECT_TRUE(sidecar.process().terminate(5s));
  EXPECT_GE(running.answer().status, 502) << running.answer().body;
}

TEST_P(Drain, gateway_finishes_what_runs_and_closes_its_connections) {
  Gateway gateway(valkey());
  Sidecar sidecar(valkey(), "orders", service_);
  ASSERT_TRUE(gateway.wait_for_route("/orders/"));
  RawClient idle(gateway.port());
  idle.send(make_request("GET", "/orders/"));
  ASSERT_EQ(idle.read_response().status, 200);
  RawClient busy(gateway.port());
  busy.send(make_request("POST", "/orders/hold", {}, "x"));
  ASSERT_TRUE(eventually("it to be at the service", [&] { return service_.held() == 1; }));

  gateway.process().send_signal(SIGTERM);

  EXPECT_TRUE(idle.is_closed_by_peer());
  EXPECT_TRUE(eventually("no new connection", [&] { return !RawClient(gateway.port()).problem().empty(); }));
  EXPECT_EQ(get(gateway.health_port(), "/readyz").status, 503);
  EXPECT_TRUE(gateway.process().is_running());
  service_.release();
  const RawResponse response = busy.read_response();
  EXPECT_EQ(response.status, 200);
  EXPECT_EQ(response.header("Connection"), "close");
  EXPECT_TRUE(busy.is_closed_by_peer());
  EXPECT_TRUE(gateway.process().wait_for_exit());
  EXPECT_EQ(gateway.process().status(), 0);
  EXPECT_EQ(valkey().cli({"KEYS", "router:responses:*"}), "");
}

TEST_P(Drain, gateway_serves_on_until_the_pre_drain_wait_is_over) {
  Gateway gateway(valkey(), {{"Gateway__Process__PreDrainWait", "3s"}, {"Gateway__Process__DrainTime", "20s"}});
  Sidecar sidecar(valkey(), "orders", service_);
  ASSERT_TRUE(gateway.wait_for_route("/orders/"));
  RawClient kept(gateway.port());
  kept.send(make_request("GET", "/orders/"));
  ASSERT_EQ(kept.read_response().status, 200);
  const Stopwatch watch;

  gateway.process().send_signal(SIGTERM);
  EXPECT_TRUE(eventually("unready", [&] { return get(gateway.health_port(), "/readyz").status == 503; }));
  // Whoever has not noticed yet is served as before, on old connections and on new ones.
  int served = 0;
  while (gateway.process().err().find("accepting no more") == std::string::npos && gateway.process().is_running()) {
    const RawResponse response = gateway.get("/orders/");
    if (response.problem.empty()) {
      EXPECT_EQ(response.status, 200) << response.body;
      ++served;
    }
    if (served == 1) {
      kept.send(make_request("GET", "/orders/"));
      const RawResponse again = kept.read_response();
      EXPECT_EQ(again.status, 200);
      EXPECT_FALSE(again.has_header("Connection"));
    }
  }

  EXPECT_GE(served, 1);
  EXPECT_TRUE(gateway.process().wait_for_exit());
  EXPECT_GE(watch.elapsed(), 3s);
  EXPECT_LT(watch.elapsed(), 15s) << "it had nothing to wait for";
  EXPECT_EQ(gateway.process().status(), 0);
}

TEST_P(Drain, pre_drain_wait_is_part_of_the_one_deadline) {
  Gateway gateway(valkey(), {{"Gateway__Process__PreDrainWait", "500ms"}, {"Gateway__Process__DrainTime", "1s"}});
  Sidecar sidecar(valkey(), "orders", service_);
  ASSERT_TRUE(gateway.wait_for_route("/orders/"));
  Asking running(gateway.port(), make_request("GET", "/orders/hold"));
  ASSERT_TRUE(eventually("it to be at the service", [&] { return service_.held() == 1; }));
  const Stopwatch watch;
  EXPECT_TRUE(gateway.process().terminate(15s));
  EXPECT_GE(watch.elapsed(), 1s);
  EXPECT_EQ(gateway.process().status(), 0);
  EXPECT_NE(running.answer().status, 200);
  EXPECT_EQ(valkey().cli({"KEYS", "router:responses:*"}), "");
}

TEST_P(Drain, second_signal_stops_at_once) {
  Gateway gateway(valkey());
  Sidecar sidecar(valkey(), "orders", service_);
  ASSERT_TRUE(gateway.wait_for_route("/orders/"));
  Asking running(gateway.port(), make_request("GET", "/orders/hold"));
  ASSERT_TRUE(eventually("it to be at the service", [&] { return service_.held() == 1; }));
  for (ChildProcess* process : {&gateway.process(), &sidecar.process()}) {
    process->expect_status(1);
    process->send_signal(SIGTERM);
    ASSERT_TRUE(process->wait_for_line("draining"));
    process->send_signal(SIGTERM);
    EXPECT_TRUE(process->wait_for_exit(5s));
    EXPECT_EQ(process->status(), 1);
  }
}

TEST_P(Drain, narrow_addresses_end_with_their_last_reader) {
  const std::string base = "router:requests:orders";
  const auto addresses = [&] {
    std::string keys = valkey().cli({"KEYS", base + "*"});
    return static_cast<int>(std::count(keys.begin(), keys.end(), '\n')) + (keys.empty() ? 0 : 1);
  };
  Gateway gateway(valkey());
  const Environment in_eu{{"Sidecar__Service__Region", "eu"}};
  Sidecar first(valkey(), "orders", service_, in_eu);
  Sidecar second(valkey(), "orders", twin_, in_eu);
  ASSERT_TRUE(first.wait_until_registered());
  ASSERT_TRUE(second.wait_until_registered());
  ASSERT_TRUE(gateway.wait_for_route("/orders/"));
  EXPECT_EQ(addresses(), 4);

  EXPECT_TRUE(first.process().terminate());
  EXPECT_EQ(addresses(), 4) << "the other one reads them";
  EXPECT_EQ(gateway.get("/orders/").status, 200);
  EXPECT_TRUE(second.process().terminate());

  EXPECT_EQ(addresses(), 1);
  EXPECT_EQ(valkey().cli({"EXISTS", base}), "1");
  Sidecar third(valkey(), "orders", service_, in_eu);
  ASSERT_TRUE(third.wait_until_registered());
  EXPECT_TRUE(gateway.wait_for_route("/orders/"));
  EXPECT_EQ(addresses(), 4);
}

TEST_P(Drain, address_that_vanishes_under_its_reader_is_made_anew) {
  Gateway gateway(valkey());
  Sidecar sidecar(valkey(), "orders", service_, {{"Sidecar__Service__Region", "eu"}});
  ASSERT_TRUE(sidecar.wait_until_registered());
  ASSERT_TRUE(gateway.wait_for_route("/orders/"));
  // As a goodbye that took a starting reader for none would do.
  ASSERT_EQ(valkey().cli({"DEL", "router:requests:orders@eu"}), "1");
  EXPECT_TRUE(eventually("the address", [&] { return valkey().cli({"EXISTS", "router:requests:orders@eu"}) == "1"; }));
  EXPECT_TRUE(gateway.wait_for_route("/orders/"));
}

TEST_P(Drain, nothing_is_left_at_valkey_but_what_is_meant_to_stay) {
  {
    Gateway gateway(valkey());
    Sidecar orders(valkey(), "orders", service_, {{"Sidecar__Service__Region", "eu"}});
    Sidecar billing(valkey(), "billing", twin_);
    ASSERT_TRUE(gateway.wait_for_route("/orders/"));
    ASSERT_TRUE(gateway.wait_for_route("/billing/"));
    for (int i = 0; i < 20; ++i) EXPECT_EQ(gateway.ask(make_request("POST", "/orders/", {}, "x")).status, 200);
    EXPECT_TRUE(gateway.process().terminate());
    EXPECT_TRUE(orders.process().terminate());
    EXPECT_TRUE(billing.process().terminate());
  }

  const std::string keys = valkey().cli({"KEYS", "*"});
  for (std::size_t at = 0; at < keys.size();) {
    const std::string key = keys.substr(at, keys.find('\n', at) - at);
    at += key.size() + 1;
    const bool may_stay =
        key == "router:control" || key.starts_with("router:endpoints:") || key.starts_with("router:requests:");
    EXPECT_TRUE(may_stay) << key;
    if (!key.starts_with("router:requests:")) continue;
    EXPECT_EQ(valkey().cli({"XLEN", key}), "0") << key;
    EXPECT_EQ(valkey().field({"XINFO", "GROUPS", key}, "lag"), "0") << key;
    // `parked` may stay: it belongs to nobody.
    EXPECT_LE(valkey().field({"XINFO", "GROUPS", key}, "consumers"), "1") << key;
  }
  EXPECT_EQ(valkey().cli({"CLIENT", "LIST", "TYPE", "pubsub"}), "");
}

OUTRIGGER_IN_BOTH_WAKE_MODES(Drain);

}  // namespace
}  // namespace outrigger::tests
