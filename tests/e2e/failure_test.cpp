// What clients see when a part breaks: the service, Valkey, a sidecar. Each failure has its own answer, in time, and
// everything comes back by itself.
#include "tests/e2e/programs.h"

namespace outrigger::tests {
namespace {

using namespace std::chrono_literals;

constexpr base::Duration kBack = 3s;  // within which everything serves again once Valkey is back

class Failure : public InBothWakeModes {
 protected:
  void SetUp() override {
    OUTRIGGER_NEEDS_VALKEY();
    valkey_.emplace();
  }
  ValkeyServer& valkey() { return *valkey_; }

  // At the first request anywhere the service holds; later ones are answered.
  void hold_first(ScriptedService& service) {
    service.set_script([this](const RawRequest& request, ScriptedService::Connection& connection) {
      if (arrivals_++ == 0) connection.hold();
      ScriptedService::echo(request, connection);
    });
  }

  ScriptedService service_;
  ScriptedService twin_;
  std::atomic<int> arrivals_{0};
  std::optional<ValkeyServer> valkey_;
};

TEST_P(Failure, service_that_refuses_is_502_and_serves_again_when_it_is_back) {
  Gateway gateway(valkey());
  Sidecar sidecar(valkey(), "orders", service_);
  ASSERT_TRUE(gateway.wait_for_route("/orders/"));
  service_.refuse();

  for (int i = 0; i < 6; ++i) {
    const Stopwatch watch;
    const RawResponse response = gateway.ask(make_request(i % 2 == 0 ? "POST" : "GET", "/orders/", {}, "x"));
    // The first finds it out; once that is known, nothing is sent there.
    if (i == 0 || response.status == 502) {
      EXPECT_EQ(response.status, 502) << response.body;
      EXPECT_EQ(code_of(response), "service-unreachable");
    } else {
      EXPECT_EQ(response.status, 503) << response.body;
      EXPECT_EQ(code_of(response), "no-instance");
    }
    EXPECT_LT(watch.elapsed(), 4s) << i;
  }
  ASSERT_TRUE(eventually(
      "503", [&] { return gateway.get("/orders/").status == 503; }, 2s));
  const Stopwatch watch;
  EXPECT_EQ(code_of(gateway.get("/orders/")), "no-instance");
  EXPECT_LT(watch.elapsed(), 500ms);

  service_.listen();
  EXPECT_TRUE(gateway.wait_for_route("/orders/", 5s));
  EXPECT_TRUE(is_settled(valkey(), "orders"));
}

TEST_P(Failure, request_goes_to_a_peer_whose_service_does_not_refuse) {
  Gateway gateway(valkey());
  Sidecar first(valkey(), "orders", service_);
  Sidecar second(valkey(), "orders", twin_);
  ASSERT_TRUE(first.wait_until_registered());
  ASSERT_TRUE(second.wait_until_registered());
  ASSERT_TRUE(gateway.wait_for_route("/orders/"));
  service_.refuse();

  for (int i = 0; i < 20; ++i) {
    const RawResponse response = gateway.ask(make_request("POST", "/orders/" + std::to_string(i), {}, "x"));
    EXPECT_EQ(response.status, 200) << i << " " << response.body;
  }
  EXPECT_TRUE(is_settled(valkey(), "orders"));
}

TEST_P(Failure, answer_that_is_not_http_is_502) {
  Gateway gateway(valkey());
  Sidecar sidecar(valkey(), "orders", service_);
  ASSERT_TRUE(gateway.wait_for_route("/orders/"));

  for (const std::string& bytes :
       {std::string("220 mail.example.test ESMTP\r\n"), std::string("HTTP/1.1 200 OK\r\nX A: 1\r\n\r\n"),
        std::string("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello"),
        std::string("HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\ncut short"),
        std::string("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nzz\r\n"), std::string()}) {
    service_.set_script([bytes](const RawRequest&, ScriptedService::Connection& connection) {
      connection.send(bytes);
      connection.close();
    });
    const RawResponse response = gateway.get("/orders/");
    EXPECT_EQ(response.status, 502) << bytes;
    EXPECT_EQ(code_of(response), "bad-answer") << bytes;
  }

  service_.set_script([](const RawRequest&, ScriptedService::Connection& connection) { connection.reset(); });
  EXPECT_EQ(code_of(gateway.ask(make_request("POST", "/orders/", {}, "x"))), "bad-answer");
  service_.set_script(ScriptedService::echo);
  EXPECT_EQ(gateway.get("/orders/").status, 200);
  EXPECT_TRUE(is_settled(valkey(), "orders"));
}

TEST_P(Failure, service_that_hangs_is_504_at_the_deadline) {
  Gateway gateway(valkey(), {{"Gateway__Transports__Messaging__RequestTimeout", "500ms"}});
  Sidecar sidecar(valkey(), "orders", service_);
  ASSERT_TRUE(gateway.wait_for_route("/orders/"));
  service_.set_script([](const RawRequest&, ScriptedService::Connection& connection) { connection.hold(); });

  const Stopwatch watch;
  const RawResponse response = gateway.get("/orders/");

  EXPECT_EQ(response.status, 504);
  EXPECT_EQ(code_of(response), "timeout");
  EXPECT_GE(watch.elapsed(), 450ms);
  EXPECT_LT(watch.elapsed(), 3s);
  service_.set_script(ScriptedService::echo);
  EXPECT_EQ(gateway.get("/orders/").status, 200);
  EXPECT_TRUE(is_settled(valkey(), "orders"));
}

TEST_P(Failure, client_that_leaves_does_not_disturb_others) {
  Gateway gateway(valkey());
  Sidecar sidecar(valkey(), "orders", service_);
  ASSERT_TRUE(gateway.wait_for_route("/orders/"));
  hold_first(service_);
  {
    RawClient client(gateway.port());
    client.send(make_request("GET", "/orders/left"));
    ASSERT_TRUE(eventually("the request to be at the service", [&] { return service_.held() == 1; }));
    client.reset();
  }
  EXPECT_EQ(gateway.get("/orders/").status, 200);
  service_.release();
  EXPECT_EQ(gateway.get("/orders/").status, 200);
  EXPECT_TRUE(is_settled(valkey(), "orders"));
}

TEST_P(Failure, valkey_away_is_503_at_once_and_back_is_served_soon) {
  Gateway gateway(valkey());
  Sidecar sidecar(valkey(), "orders", service_);
  ASSERT_TRUE(gateway.wait_for_route("/orders/"));

  valkey().kill_hard();

  RawResponse response;
  ASSERT_TRUE(eventually(
      "503", [&] { return (response = gateway.get("/orders/")).status == 503; }, 1s));
  EXPECT_EQ(code_of(response), "bus-unavailable");
  EXPECT_EQ(response.header("Retry-After"), "1");
  for (const char* method : {"GET", "POST"}) {
    const Stopwatch watch;
    EXPECT_EQ(code_of(gateway.ask(make_request(method, "/orders/", {}, "x"))), "bus-unavailable");
    EXPECT_LT(watch.elapsed(), 500ms);
  }
  EXPECT_FALSE(gateway.is_ready());
  EXPECT_EQ(get(gateway.health_port(), "/livez").status, 200);

  valkey().restart_empty();
  EXPECT_TRUE(gateway.wait_for_route("/orders/", kBack));
  EXPECT_TRUE(gateway.wait_until_ready());
  EXPECT_TRUE(is_settled(valkey(), "orders"));
}

TEST_P(Failure, valkey_that_goes_many_times_is_served_from_each_time) {
  Gateway gateway(valkey());
  Sidecar sidecar(valkey(), "orders", service_);
  ASSERT_TRUE(gateway.wait_for_route("/orders/"));
  for (int i = 0; i < 5; ++i) {
    valkey().restart_empty();
    ASSERT_TRUE(gateway.wait_for_route("/orders/", kBack)) << "restart " << i;
  }
}

TEST_P(Failure, emptied_valkey_serves_again_soon) {
  Gateway gateway(valkey());
  Sidecar sidecar(valkey(), "orders", service_, {{"Sidecar__Messaging__HeartbeatInterval", "60s"}});
  ASSERT_TRUE(gateway.wait_for_route("/orders/"));

  ASSERT_EQ(valkey().cli({"FLUSHALL"}), "OK");

  const Stopwatch watch;
  ASSERT_TRUE(gateway.wait_for_route("/orders/", kBack));
  EXPECT_LT(watch.elapsed(), kBack);
  // What newcomers need is there again, too.
  Gateway newcomer(valkey());
  EXPECT_TRUE(newcomer.wait_for_route("/orders/", 5s));
}

TEST_P(Failure, post_at_the_service_while_valkey_is_emptied_runs_once_and_is_answered) {
  Gateway gateway(valkey());
  Sidecar sidecar(valkey(), "orders", service_);
  ASSERT_TRUE(gateway.wait_for_route("/orders/"));
  hold_first(service_);
  Asking post(gateway.port(), make_request("POST", "/orders/", {}, "x"));
  ASSERT_TRUE(eventually("the POST to be at the service", [&] { return service_.held() == 1; }));

  ASSERT_EQ(valkey().cli({"FLUSHALL"}), "OK");
  service_.release();

  EXPECT_EQ(post.answer().status, 200) << post.answer().body;
  EXPECT_EQ(arrivals_, 1);
}

TEST_P(Failure, post_at_the_service_while_valkey_restarts_runs_once) {
  Gateway gateway(valkey());
  Sidecar sidecar(valkey(), "orders", service_);
  ASSERT_TRUE(gateway.wait_for_route("/orders/"));
  hold_first(service_);
  Asking post(gateway.port(), make_request("POST", "/orders/", {}, "x"));
  ASSERT_TRUE(eventually("the POST to be at the service", [&] { return service_.held() == 1; }));

  valkey().restart_empty();
  service_.release();

  EXPECT_EQ(post.answer().status, 200) << post.answer().body;
  EXPECT_EQ(arrivals_, 1);
  EXPECT_TRUE(gateway.wait_for_route("/orders/", kBack));
}

// Two sidecars; the request is held by the service of one of them.
class KilledSidecar : public Failure {
 protected:
  void SetUp() override {
    Failure::SetUp();
    if (IsSkipped()) return;
    gateway_.emplace(valkey());
    const Environment short_lease{{"Sidecar__Messaging__LeaseDuration", "1s"}};
    first_.emplace(valkey(), "orders", service_, short_lease);
    second_.emplace(valkey(), "orders", twin_, short_lease);
    ASSERT_TRUE(first_->wait_until_registered());
    ASSERT_TRUE(second_->wait_until_registered());
    ASSERT_TRUE(gateway_->wait_for_route("/orders/"));
    // Shortly after one's own connect others' silence proves nothing: nobody takes over in the first two seconds.
    const Stopwatch watch;
    ASSERT_TRUE(eventually("the first two seconds to be over", [&] { return watch.elapsed() > 2200ms; }));
    hold_first(service_);
    hold_first(twin_);
  }
  // Kills the one that has it, so that only the other can answer.
  void kill_holder() {
    ASSERT_TRUE(eventually("the request to be at a service", [&] { return service_.held() + twin_.held() == 1; }));
    (service_.held() == 1 ? first_ : second_)->process().kill_hard();
  }

  std::optional<Gateway> gateway_;
  std::optional<Sidecar> first_;
  std::optional<Sidecar> second_;
};

TEST_P(KilledSidecar, get_is_answered_by_the_other_within_three_seconds) {
  Asking asking(gateway_->port(), make_request("GET", "/orders/7"));
  kill_holder();
  const Stopwatch watch;

  EXPECT_EQ(asking.answer().status, 200) << asking.answer().body;

  EXPECT_LT(watch.elapsed(), 3s);
  EXPECT_EQ(asking.answer().body, "GET /7 ");
  EXPECT_EQ(arrivals_, 2);
  EXPECT_TRUE(is_settled(valkey(), "orders"));
}

TEST_P(KilledSidecar, post_is_not_run_again_and_not_told_as_done) {
  Asking asking(gateway_->port(), make_request("POST", "/orders/7", {}, "x"));
  kill_holder();

  EXPECT_EQ(asking.answer().status, 502) << asking.answer().body;

  EXPECT_EQ(code_of(asking.answer()), "outcome-unknown");
  EXPECT_EQ(arrivals_, 1);
  EXPECT_TRUE(is_settled(valkey(), "orders"));
}

TEST_P(KilledSidecar, new_requests_go_to_the_other) {
  first_->process().kill_hard();
  for (int i = 0; i < 20; ++i) {
    if (i == 0) arrivals_ = 1;  // nothing is held
    const Stopwatch watch;
    const RawResponse response = gateway_->ask(make_request(i % 2 == 0 ? "GET" : "POST", "/orders/", {}, "x"));
    EXPECT_EQ(response.status, 200) << i << " " << response.body;
    EXPECT_LT(watch.elapsed(), 3s);
  }
  EXPECT_TRUE(is_settled(valkey(), "orders"));
}

TEST_P(KilledSidecar, both_dead_is_503_in_time) {
  first_->process().kill_hard();
  second_->process().kill_hard();
  arrivals_ = 1;  // nothing is held
  for (const char* method : {"GET", "POST"}) {
    const Stopwatch watch;
    const RawResponse response = gateway_->ask(make_request(method, "/orders/", {}, "x"));
    EXPECT_EQ(response.status, 503) << response.body;
    EXPECT_EQ(code_of(response), "no-instance");
    EXPECT_LT(watch.elapsed(), 5s);
  }
  Sidecar successor(valkey(), "orders", service_);
  EXPECT_TRUE(gateway_->wait_for_route("/orders/"));
  EXPECT_EQ(arrivals_, 2) << "what was answered 503 was run";
}

TEST_P(KilledSidecar, sidecar_that_stands_still_loses_nothing) {
  // Its connections stay, so it is not taken for dead: only its leases run out.
  first_->process().send_signal(SIGSTOP);
  arrivals_ = 1;  // nothing is held
  std::vector<std::unique_ptr<Asking>> asking;
  for (int i = 0; i < 8; ++i) {
    asking.push_back(std::make_unique<Asking>(gateway_->port(), make_request("GET", "/orders/" + std::to_string(i))));
  }
  for (auto& each : asking) EXPECT_EQ(each->answer().status, 200) << each->answer().body;
  first_->process().send_signal(SIGCONT);
  EXPECT_TRUE(is_settled(valkey(), "orders"));
}

OUTRIGGER_IN_BOTH_WAKE_MODES(Failure);
OUTRIGGER_IN_BOTH_WAKE_MODES(KilledSidecar);

}  // namespace
}  // namespace outrigger::tests
