// What the network between a program and Valkey does: loses packets for good (half-open connections), is unplugged for a
// while, is slow, cuts at the worst moment. The proxy stands between one program and the server; the other side sees
// nothing of it. Whatever happens, a caller gets an end by its deadline, and no POST runs twice.
#include "tests/e2e/fault_stage.h"

namespace outrigger::tests {
namespace {

using Way = FaultProxy::Way;

// A blocking read is given up 5 s after its block time, a command after 5 s: so long is a half-open connection believed.
constexpr base::Duration kNoticed = 10s;
constexpr char kDeadline[] = "11s";

class NetworkFault : public FaultStage {
 protected:
  void SetUp() override {
    FaultStage::SetUp();
    if (IsSkipped()) return;
    to_gateway_.emplace(valkey().endpoint());
    to_sidecar_.emplace(valkey().endpoint());
  }
  Environment sidecar_through_proxy(std::string lease = "15s") const {
    return {{"Sidecar__Messaging__LeaseDuration", std::move(lease)},
            // Nobody is to be taken for gone by silence, or what waits would be taken back and answered 503, rightly.
            {"Sidecar__Messaging__HeartbeatInterval", "10s"},
            {"Sidecar__Messaging__valkey__QueueWaitTimeoutSeconds", "1"},
            {"Sidecar__Messaging__ConnectionString", to_sidecar_->valkey_url()}};
  }
  Environment gateway_through_proxy() const {
    return {{"Gateway__Transports__Messaging__RequestTimeout", kDeadline},
            {"Gateway__Transports__Messaging__valkey__QueueWaitTimeoutSeconds", "1"},
            {"Gateway__Transports__Messaging__ConnectionString", to_gateway_->valkey_url()},
            {"Gateway__Workers", "1"}};
  }
  ::testing::AssertionResult reads() {
    return eventually("the sidecar to wait for work", [&] { return readers() >= 1; });
  }

  std::optional<FaultProxy> to_gateway_;
  std::optional<FaultProxy> to_sidecar_;
};

// --- half-open connections ------------------------------------------------------------------------------------------

class HalfOpen : public NetworkFault, public ::testing::WithParamInterface<bool> {
 protected:
  // Of every connection there is: replies only, or everything.
  static void lose(FaultProxy& proxy) {
    proxy.swallow(Way::to_client);
    if (GetParam()) proxy.swallow(Way::to_server);
  }
};
INSTANTIATE_TEST_SUITE_P(Lost, HalfOpen, ::testing::Bool(),
                         [](const auto& tested) { return tested.param ? "both_ways" : "replies_only"; });

// Two requests at the service, one that Valkey gives to a reader that will never see it, and one that waits behind it.
TEST_P(HalfOpen, sidecar_comes_back_and_everything_runs_once) {
  start_first(sidecar_through_proxy(), {{"Gateway__Transports__Messaging__RequestTimeout", kDeadline}});
  std::vector<std::unique_ptr<Asking>> asking;
  asking.push_back(send_until_held("GET", "/hold/get"));
  asking.push_back(send_until_held("POST", "/hold/post"));
  ASSERT_TRUE(reads());

  lose(*to_sidecar_);
  asking.push_back(send("POST", "/post"));
  ASSERT_TRUE(eventually("it to be given to nobody", [&] { return pending() == "3"; }));
  asking.push_back(send("GET", "/get"));
  service_.release();

  for (auto& each : asking) {
    EXPECT_EQ(each->answer().status, 200) << each->answer().body;
    EXPECT_LT(each->took(), kNoticed);
  }
  for (const char* target : {"/hold/get", "/hold/post", "/get", "/post"}) EXPECT_EQ(runs(target), 1) << target;
  EXPECT_TRUE(is_settled(valkey(), "orders"));
}

// Its leases are over before it notices. What it did meanwhile reaches nobody.
TEST_P(HalfOpen, sidecar_past_its_lease_gives_no_second_answer) {
  start_first(sidecar_through_proxy("1s"), {{"Gateway__Transports__Messaging__RequestTimeout", kDeadline}});
  const auto get = send_until_held("GET", "/hold/get");
  const auto post = send_until_held("POST", "/hold/post");
  twin_.set_script([](const RawRequest&, ScriptedService::Connection& connection) {
    connection.send(make_response("200 OK", {}, "by the twin"));
  });
  second_ = start(twin_);

  lose(*to_sidecar_);
  EXPECT_EQ(get->answer().body, "by the twin") << get->answer().status_line;
  EXPECT_EQ(code_of(post->answer()), "outcome-unknown") << post->answer().status_line;
  service_.release();

  ASSERT_TRUE(eventually("the loss of two leases", [&] { return counter("outrigger_leases_lost_total") == "2"; }));
  ASSERT_TRUE(eventually("both to read", [&] { return readers() == 2; }));
  EXPECT_TRUE(is_settled(valkey(), "orders"));
  EXPECT_EQ(runs("/hold/post"), 1);
  EXPECT_EQ(runs("/hold/get"), 2);
  EXPECT_EQ(gateway().get("/orders/again").status, 200);
}

TEST_P(HalfOpen, gateway_comes_back_and_nothing_runs_twice) {
  start_first(kShortLease, gateway_through_proxy());
  const auto held = send_until_held("POST", "/hold");

  lose(*to_gateway_);
  const auto get = send("GET", "/get");
  const auto post = send("POST", "/post");
  service_.release();

  EXPECT_EQ(held->answer().status, 200) << held->answer().body;
  EXPECT_LT(held->took(), kNoticed);
  EXPECT_EQ(get->answer().status, 200) << get->answer().body;
  EXPECT_LT(get->took(), kNoticed);
  if (GetParam()) {  // it never arrived, but nobody here can know
    EXPECT_EQ(code_of(post->answer()), "timeout") << post->answer().body;
    EXPECT_LT(post->took(), 13s);
    EXPECT_EQ(runs("/post"), 0);
  } else {
    EXPECT_EQ(post->answer().status, 200) << post->answer().body;
    EXPECT_EQ(runs("/post"), 1);
  }
  EXPECT_EQ(runs("/hold"), 1);
  EXPECT_TRUE(gateway().wait_for_route("/orders/"));
  EXPECT_TRUE(is_settled(valkey(), "orders"));
}

// --- unplugged for a while ------------------------------------------------------------------------------------------

// The entry reaches the sidecar when nobody waits for it any more.
TEST_F(NetworkFault, sidecar_unplugged_beyond_the_deadline_begins_nothing_that_is_over) {
  start_first(sidecar_through_proxy(), {{"Gateway__Transports__Messaging__RequestTimeout", "2s"}});
  ASSERT_TRUE(reads());
  for (const Way way : {Way::to_server, Way::to_client}) to_sidecar_->set_stalled(way, true);
  const auto post = send("POST", "/post");
  ASSERT_TRUE(eventually("it to be on its way", [&] { return pending() == "1"; }));
  const auto get = send("GET", "/get");  // waits behind it
  for (const auto& each : {&get, &post}) {
    EXPECT_EQ(code_of((*each)->answer()), "timeout") << (*each)->answer().body;
    EXPECT_LT((*each)->took(), 4s);
  }

  for (const Way way : {Way::to_server, Way::to_client}) to_sidecar_->set_stalled(way, false);
  EXPECT_TRUE(is_settled(valkey(), "orders"));
  EXPECT_EQ(runs("/get") + runs("/post"), 0);
  EXPECT_TRUE(gateway().wait_for_route("/orders/"));
}

// Its peer serves meanwhile. New connections are accepted by something that says nothing, as a broken load balancer does.
TEST_F(NetworkFault, sidecar_whose_way_to_valkey_hangs_is_replaced_and_comes_back) {
  start_first(sidecar_through_proxy("1s"));
  const auto get = send_until_held("GET", "/hold/get");
  const auto post = send_until_held("POST", "/hold/post");
  second_ = start(twin_);
  to_sidecar_->set_hanging(true);
  to_sidecar_->reset_all();
  twin_.release();

  const Stopwatch watch;
  EXPECT_EQ(get->answer().status, 200) << get->answer().body;
  EXPECT_LT(watch.elapsed(), kTakenOver);
  EXPECT_EQ(code_of(post->answer()), "outcome-unknown") << post->answer().status_line;
  EXPECT_LT(watch.elapsed(), 5s) << "a lease of one second, and a look at what is pending";
  for (int i = 0; i < 10; ++i) {
    EXPECT_EQ(gateway().ask(make_request(i % 2 == 0 ? "GET" : "POST", "/orders/new", {}, "x")).status, 200);
  }
  service_.release();
  to_sidecar_->set_hanging(false);
  // Greetings that hang are given up after 5 s each.
  EXPECT_TRUE(eventually("both to read", [&] { return readers() == 2; }, kNoticed));
  EXPECT_TRUE(is_settled(valkey(), "orders"));
  EXPECT_EQ(runs("/hold/post"), 1);
  EXPECT_EQ(runs(service_, "/new"), 0);
}

// --- lost replies ---------------------------------------------------------------------------------------------------

// The request was written, and its writer does not know.
TEST_F(NetworkFault, gateway_that_lost_the_reply_to_its_write_gets_the_answer_all_the_same) {
  start_first(kShortLease, gateway_through_proxy());
  to_gateway_->set_stalled(Way::to_client, true);
  const auto post = send("POST", "/hold/post");
  const auto get = send("GET", "/hold/get");
  ASSERT_TRUE(eventually("both to be at the service", [&] { return service_.held() == 2; }));

  to_gateway_->reset_all();
  to_gateway_->set_stalled(Way::to_client, false);
  ASSERT_TRUE(gateway().wait_until_ready());
  service_.release();

  EXPECT_EQ(post->answer().status, 200) << post->answer().body;
  EXPECT_EQ(get->answer().status, 200) << get->answer().body;
  EXPECT_EQ(runs("/hold/post"), 1);
  EXPECT_TRUE(is_settled(valkey(), "orders"));
}

// The request never got there. 503 would be a guess, too: its end is the deadline.
TEST_F(NetworkFault, write_that_was_cut_off_on_its_way_is_repeated_if_it_may_be) {
  start_first(kShortLease, {{"Gateway__Transports__Messaging__RequestTimeout", "3s"},
                            {"Gateway__Transports__Messaging__ConnectionString", to_gateway_->valkey_url()},
                            {"Gateway__Workers", "1"}});
  for (const char* method : {"POST", "GET"}) {
    to_gateway_->stall_at(Way::to_server, "router:requests:orders");
    const auto asking = send(method, "/cut");
    ASSERT_TRUE(eventually("the write to be under way", [&] { return to_gateway_->is_caught(); }));
    to_gateway_->reset_all();
    if (std::string_view(method) == "POST") {
      EXPECT_EQ(code_of(asking->answer()), "timeout") << asking->answer().body;
      EXPECT_EQ(runs("/cut"), 0);
    } else {
      EXPECT_EQ(asking->answer().status, 200) << asking->answer().body;
      EXPECT_EQ(runs("/cut"), 1);
    }
  }
  EXPECT_TRUE(is_settled(valkey(), "orders"));
}

// The answer was written, and its writer does not know: it writes it again, and the second one is late.
TEST_F(NetworkFault, sidecar_that_lost_the_reply_to_its_answer_answers_again_and_runs_nothing_again) {
  start_first(sidecar_through_proxy());
  const auto post = send_until_held("POST", "/hold");
  to_sidecar_->set_stalled(Way::to_client, true);
  service_.release();
  EXPECT_EQ(post->answer().status, 200) << post->answer().body;
  EXPECT_EQ(pending(), "1");

  to_sidecar_->reset_all();
  to_sidecar_->set_stalled(Way::to_client, false);
  EXPECT_TRUE(is_settled(valkey(), "orders"));
  EXPECT_EQ(runs("/hold"), 1);
  EXPECT_TRUE(eventually("the second answer", [&] { return late_answers() == "1"; })) << late_answers();
}

// --- slow -----------------------------------------------------------------------------------------------------------

TEST_F(NetworkFault, latency_of_200_ms_each_way_takes_nothing_from_anybody) {
  start_first(sidecar_through_proxy("2s"), gateway_through_proxy());
  second_ = std::make_unique<Sidecar>(valkey(), "orders", twin_, sidecar_through_proxy("2s"), kAnyPort);
  ASSERT_TRUE(second_->wait_until_registered());
  std::vector<std::unique_ptr<Asking>> asking;
  for (int i = 0; i < 10; ++i) {
    asking.push_back(send(i % 2 == 0 ? "GET" : "POST", "/hold/" + std::to_string(i)));
  }
  ASSERT_TRUE(eventually("all to be at the services", [&] { return service_.held() + twin_.held() == 10; }));

  to_gateway_->set_delay(200ms);
  to_sidecar_->set_delay(200ms);
  // More than a lease, and many looks at who is gone.
  const Stopwatch watch;
  int asked = 0;
  while (watch.elapsed() < 3s) {
    const Stopwatch one;
    const RawResponse response = gateway().ask(make_request(asked % 2 == 0 ? "GET" : "POST", "/orders/new", {}, "x"));
    EXPECT_EQ(response.status, 200) << response.body;
    EXPECT_GE(one.elapsed(), 600ms) << "four ways of 200 ms, but that a blocked read's reply may be under way";
    ++asked;
  }
  for (auto& each : asking) EXPECT_FALSE(each->is_answered()) << each->answer().status_line << each->answer().body;
  service_.release();
  twin_.release();

  for (auto& each : asking) EXPECT_EQ(each->answer().status, 200) << each->answer().body;
  for (int i = 0; i < 10; ++i) EXPECT_EQ(runs("/hold/" + std::to_string(i)), 1) << i;
  EXPECT_EQ(runs("/new"), asked);
  for (const char* name : {"outrigger_taken_over_total", "outrigger_leases_lost_total", "outrigger_outcome_unknown_total"}) {
    EXPECT_EQ(counter(name), "0") << name;
  }
  EXPECT_EQ(metric(gateway().health_port(), "outrigger_taken_back_total"), "0");
  EXPECT_TRUE(is_settled(valkey(), "orders"));
  // Programs that start into it find their way, too.
  Sidecar third(valkey(), "late", service_, sidecar_through_proxy("2s"));
  EXPECT_TRUE(gateway().wait_for_route("/late/"));
}

}  // namespace
}  // namespace outrigger::tests
