// A process dies, stands still or misbehaves while a request is at one definite stage of its way: in the queue, at the
// service, answered and not settled. What chaos_test.cpp does by chance is done here on purpose.
#include "tests/e2e/fault_stage.h"

namespace outrigger::tests {
namespace {

const Environment kOneAtATime{{"Sidecar__Messaging__LeaseDuration", "1s"}, {"Sidecar__MaxInFlight", "1"}};

class ProcessFault : public FaultStage {};

// --- kill -9 of a sidecar -------------------------------------------------------------------------------------------

TEST_F(ProcessFault, sidecar_killed_while_requests_wait_in_the_queue_and_its_peer_runs_each_once) {
  start_first(kOneAtATime);
  const auto at_first = send_until_held("GET", "/hold/first");
  start_second(kOneAtATime);
  const auto at_second = send("GET", "/hold/second");
  ASSERT_TRUE(eventually("one at each service", [&] { return twin_.held() == 1; }));
  std::vector<std::unique_ptr<Asking>> queued;
  for (const char* target : {"/a", "/b", "/c"}) queued.push_back(send("POST", target));
  queued.push_back(send("GET", "/d"));
  ASSERT_TRUE(eventually("them to wait", [&] { return undelivered_count() == "4"; }));
  ASSERT_EQ(pending(), "2") << "nobody has been given the others";

  first_->process().kill_hard();
  twin_.release();

  for (auto& each : queued) EXPECT_EQ(each->answer().status, 200) << each->answer().body;
  EXPECT_EQ(at_first->answer().status, 200) << at_first->answer().body;
  EXPECT_EQ(at_second->answer().status, 200);
  for (const char* target : {"/a", "/b", "/c", "/d"}) EXPECT_EQ(runs(target), 1) << target;
  EXPECT_TRUE(is_settled(valkey(), "orders"));
}

TEST_F(ProcessFault, sidecar_killed_while_requests_wait_in_the_queue_and_nobody_is_left_is_503_and_runs_nothing) {
  start_first(kOneAtATime);
  const auto at_service = send_until_held("POST", "/hold");
  std::vector<std::unique_ptr<Asking>> queued;
  for (const char* method : {"POST", "GET"}) queued.push_back(send(method, "/queued"));
  ASSERT_TRUE(eventually("them to wait", [&] { return undelivered_count() == "2"; }));

  first_->process().kill_hard();

  const Stopwatch watch;
  for (auto& each : queued) {
    EXPECT_EQ(each->answer().status, 503) << each->answer().body;
    EXPECT_EQ(code_of(each->answer()), "no-instance");
  }
  EXPECT_LT(watch.elapsed(), 5s);
  first_ = start(service_);
  EXPECT_EQ(code_of(at_service->answer()), "outcome-unknown") << at_service->answer().body;
  EXPECT_TRUE(is_settled(valkey(), "orders"));
  EXPECT_EQ(runs("/queued"), 0) << "503 says that it will not be run";
  EXPECT_EQ(runs("/hold"), 1);
}

TEST_F(ProcessFault, sidecar_killed_while_its_service_works_and_repeatable_requests_are_answered_by_the_peer) {
  start_first();
  start_second();
  // Both services hold; only who has the request is killed.
  const auto asking = send("GET", "/hold");
  ASSERT_TRUE(eventually("it to be at a service", [&] { return service_.held() + twin_.held() == 1; }));
  const bool is_first = service_.held() == 1;
  (is_first ? twin_ : service_).release();

  (is_first ? first_ : second_)->process().kill_hard();

  const Stopwatch watch;
  EXPECT_EQ(asking->answer().status, 200) << asking->answer().body;
  EXPECT_LT(watch.elapsed(), kTakenOver);
  EXPECT_EQ(runs("/hold"), 2);
  EXPECT_TRUE(is_settled(valkey(), "orders"));
}

TEST_F(ProcessFault, sidecar_killed_while_its_service_works_and_others_are_outcome_unknown_after_the_lease) {
  start_first();
  const auto asking = send_until_held("POST", "/hold");
  start_second();

  first_->process().kill_hard();

  const Stopwatch watch;
  EXPECT_EQ(asking->answer().status, 502) << asking->answer().body;
  EXPECT_EQ(code_of(asking->answer()), "outcome-unknown");
  EXPECT_LT(watch.elapsed(), 5s) << "a lease of one second, and a look at what is pending";
  EXPECT_EQ(runs("/hold"), 1);
  EXPECT_TRUE(is_settled(valkey(), "orders"));
}

// The client has its answer: whatever becomes of the entry, nobody is told anything else, and no POST runs again. One
// request at a time: another's answer would be behind the settlement that is held up, and not given, unless both came in one turn.
class KilledBeforeSettlement : public ProcessFault, public ::testing::WithParamInterface<const char*> {};

TEST_P(KilledBeforeSettlement, sidecar_that_has_answered_changes_nothing_for_the_client) {
  FaultProxy proxy(valkey().endpoint());
  Environment through_proxy = kShortLease;
  through_proxy.emplace_back("Sidecar__Messaging__ConnectionString", proxy.valkey_url());
  start_first(through_proxy);
  const auto asking = send_until_held(GetParam(), "/hold");
  start_second();
  proxy.stall_at(FaultProxy::Way::to_server, "$4\r\nXACK\r\n");
  service_.release();
  EXPECT_EQ(asking->answer().status, 200) << asking->answer().body;
  ASSERT_TRUE(eventually("the settlement to be held up", [&] { return proxy.is_caught(); }));
  ASSERT_EQ(pending(), "1");

  first_->process().kill_hard();
  twin_.release();

  EXPECT_TRUE(is_settled(valkey(), "orders"));
  EXPECT_EQ(runs(service_, "/hold"), 1);
  EXPECT_EQ(runs(twin_, "/hold"), std::string_view(GetParam()) == "POST" ? 0 : 1);
  EXPECT_TRUE(eventually("the late answer to be counted", [&] { return late_answers() == "1"; })) << late_answers();
}

INSTANTIATE_TEST_SUITE_P(Method, KilledBeforeSettlement, ::testing::Values("POST", "GET"),
                         [](const auto& method) { return std::string(method.param); });

// --- a sidecar that stands still ------------------------------------------------------------------------------------

TEST_F(ProcessFault, sidecar_stopped_past_its_lease_disturbs_nobody_when_it_goes_on) {
  start_first();
  const auto post = send_until_held("POST", "/hold/post");
  const auto quick = send_until_held("GET", "/hold/quick");
  const auto slow = send_until_held("GET", "/hold/slow");
  twin_.set_script([](const RawRequest& request, ScriptedService::Connection& connection) {
    if (request.target == "/hold/slow") connection.hold();
    connection.send(make_response("200 OK", {}, "by the twin"));
  });
  second_ = start(twin_);

  first_->process().send_signal(SIGSTOP);
  EXPECT_EQ(quick->answer().body, "by the twin") << quick->answer().status_line;
  EXPECT_EQ(code_of(post->answer()), "outcome-unknown") << post->answer().status_line;
  ASSERT_TRUE(eventually("the third to be taken over", [&] { return twin_.held() == 1; }));
  service_.release();  // three answers wait at the stopped sidecar
  first_->process().send_signal(SIGCONT);

  ASSERT_TRUE(eventually("the loss of three leases", [&] {
    return counter("outrigger_leases_lost_total") == "3" &&
           metric(first_->health_port(), "outrigger_service_calls") == "0";
  }));
  // Answered by either: it is still the twin's to settle.
  EXPECT_EQ(pending(), "1") << "somebody else's request was settled";
  twin_.release();
  EXPECT_EQ(slow->answer().status, 200);
  EXPECT_TRUE(is_settled(valkey(), "orders"));
  EXPECT_EQ(runs("/hold/post"), 1);
  EXPECT_EQ(runs("/hold/quick"), 2);
  EXPECT_EQ(runs("/hold/slow"), 2);
  EXPECT_TRUE(eventually("three late answers", [&] { return late_answers() == "3"; })) << late_answers();
}

TEST_F(ProcessFault, request_in_the_hands_of_a_stopped_sidecar_runs_once_at_most) {
  start_first();
  ASSERT_TRUE(eventually("the sidecar to wait for work", [&] { return readers() == 1; }));
  first_->process().send_signal(SIGSTOP);
  const auto post = send("POST", "/post");
  ASSERT_TRUE(eventually("it to be delivered", [&] { return pending() == "1"; }));

  second_ = start(twin_);
  EXPECT_EQ(code_of(post->answer()), "outcome-unknown") << post->answer().body;
  first_->process().send_signal(SIGCONT);

  EXPECT_TRUE(is_settled(valkey(), "orders"));
  // It has dealt with what was in its socket once it waits for more, and calls nobody.
  EXPECT_TRUE(eventually("it to go on", [&] {
    return readers() == 2 && metric(first_->health_port(), "outrigger_service_calls") == "0";
  }));
  EXPECT_LE(runs("/post"), 1);
}

// Renewals hold what takes longer than the lease.
TEST_F(ProcessFault, slow_answers_are_waited_for_beyond_the_lease_and_run_once) {
  start_first();
  service_.set_script([](const RawRequest& request, ScriptedService::Connection& connection) {
    connection.send("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nsl");
    if (request.target.starts_with("/hold")) connection.hold();
    connection.send("owly");
  });
  const auto get = send_until_held("GET", "/hold/get");
  const auto post = send_until_held("POST", "/hold/post");
  start_second();  // takes more than two leases
  EXPECT_FALSE(get->is_answered());
  EXPECT_FALSE(post->is_answered());

  service_.release();

  EXPECT_EQ(get->answer().body, "slowly");
  EXPECT_EQ(post->answer().body, "slowly");
  EXPECT_EQ(runs(twin_, "/hold/get") + runs(twin_, "/hold/post"), 0);
  EXPECT_TRUE(is_settled(valkey(), "orders"));
}

// --- kill -9 of a gateway -------------------------------------------------------------------------------------------

TEST_F(ProcessFault, gateway_killed_with_requests_out_leaves_nothing_that_stays) {
  start_first();
  const std::string reply_streams = valkey().cli({"KEYS", "router:responses:*"});
  ASSERT_NE(reply_streams, "");
  const auto get = send_until_held("GET", "/hold/get");
  const auto post = send_until_held("POST", "/hold/post");
  Gateway other(valkey());
  ASSERT_TRUE(other.wait_for_route("/orders/"));

  gateway().process().kill_hard();
  EXPECT_NE(get->answer().problem, "");
  EXPECT_NE(post->answer().problem, "");
  EXPECT_EQ(other.get("/orders/").status, 200) << "the sidecar goes on";
  service_.release();

  EXPECT_TRUE(is_settled(valkey(), "orders"));
  EXPECT_EQ(other.get("/orders/").status, 200);
  EXPECT_EQ(runs("/hold/post"), 1);
  for (std::size_t at = 0; at < reply_streams.size();) {
    const std::string key = reply_streams.substr(at, reply_streams.find('\n', at) - at);
    at += key.size() + 1;
    const int left = std::atoi(valkey().cli({"PTTL", key}).c_str());
    EXPECT_GT(left, 0) << key;
    EXPECT_LE(left, 120'000) << key;
  }
  EXPECT_TRUE(keys_are_bounded(valkey()));
}

TEST_F(ProcessFault, answers_to_a_dead_gateway_are_given_up_at_their_deadline) {
  start_first(kShortLease, {{"Gateway__Transports__Messaging__RequestTimeout", "3s"}});
  const auto post = send_until_held("POST", "/hold");
  const std::string reply_streams = valkey().cli({"KEYS", "router:responses:*"});

  gateway().process().kill_hard();
  // As their time to live would.
  for (std::size_t at = 0; at < reply_streams.size();) {
    const std::string key = reply_streams.substr(at, reply_streams.find('\n', at) - at);
    at += key.size() + 1;
    EXPECT_EQ(valkey().cli({"DEL", key}), "1");
  }
  service_.release();

  EXPECT_TRUE(eventually("the answer to be given up", [&] { return counter("outrigger_undeliverable_total") == "1"; }));
  EXPECT_TRUE(is_settled(valkey(), "orders"));
  EXPECT_EQ(valkey().cli({"KEYS", "router:responses:*"}), "") << "an answer must not make a stream";
  EXPECT_EQ(runs("/hold"), 1);
  EXPECT_TRUE(keys_are_bounded(valkey()));
}

// --- a service that dies or misbehaves ------------------------------------------------------------------------------

TEST_F(ProcessFault, service_killed_with_requests_in_it_and_what_may_run_again_does_so_elsewhere) {
  start_first();
  const auto post = send_until_held("POST", "/hold/post");
  std::vector<std::unique_ptr<Asking>> gets;
  for (const char* target : {"/hold/a", "/hold/b", "/hold/c"}) gets.push_back(send_until_held("GET", target));
  start_second();
  twin_.release();

  service_.refuse();

  const Stopwatch watch;
  for (auto& each : gets) EXPECT_EQ(each->answer().status, 200) << each->answer().body;
  EXPECT_LT(watch.elapsed(), kTakenOver);
  EXPECT_EQ(post->answer().status, 502) << post->answer().body;
  EXPECT_EQ(runs("/hold/post"), 1);
  for (const char* target : {"/hold/a", "/hold/b", "/hold/c"}) EXPECT_EQ(runs(twin_, target), 1) << target;
  EXPECT_TRUE(is_settled(valkey(), "orders"));

  // It restarts, and serves again.
  service_.listen();
  ASSERT_TRUE(eventually("both to read", [&] { return readers() == 2; }));
  EXPECT_TRUE(eventually("it to be given some", [&] {
    EXPECT_EQ(gateway().get("/orders/again").status, 200);
    return runs(service_, "/again") > 0;
  }));
}

TEST_F(ProcessFault, half_an_answer_is_no_answer_and_another_instance_gives_a_whole_one) {
  start_first();
  start_second();
  std::atomic<int> arrivals{0};
  const auto half_first = [&arrivals](const RawRequest& request, ScriptedService::Connection& connection) {
    if (arrivals++ > 0) return ScriptedService::echo(request, connection);
    connection.send("HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhalf of it");
    connection.close();
  };
  service_.set_script(half_first);
  twin_.set_script(half_first);

  const RawResponse get = gateway().get("/orders/get");
  EXPECT_EQ(get.status, 200) << get.body;
  EXPECT_EQ(get.body, "GET /get ");
  EXPECT_EQ(runs(service_, "/get"), 1);
  EXPECT_EQ(runs(twin_, "/get"), 1);

  arrivals = 0;
  const RawResponse post = gateway().ask(make_request("POST", "/orders/post", {}, "x"));
  EXPECT_EQ(post.status, 502) << post.body;
  EXPECT_EQ(code_of(post), "bad-answer");
  EXPECT_EQ(runs("/post"), 1);
  EXPECT_TRUE(is_settled(valkey(), "orders"));
}

TEST_F(ProcessFault, half_answers_everywhere_are_an_end_after_so_many_attempts) {
  start_first();
  start_second();
  const auto always_half = [](const RawRequest&, ScriptedService::Connection& connection) {
    connection.send("HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhalf of it");
    connection.close();
  };
  service_.set_script(always_half);
  twin_.set_script(always_half);
  const Stopwatch watch;
  const RawResponse get = gateway().get("/orders/get");
  EXPECT_EQ(get.status, 502) << get.body;
  EXPECT_EQ(runs("/get"), 3) << "MaxAttempts";
  EXPECT_LT(watch.elapsed(), 10s);
  EXPECT_TRUE(is_settled(valkey(), "orders"));
}

TEST_F(ProcessFault, service_that_hangs_ends_at_the_deadline_and_is_not_asked_again) {
  start_first(kShortLease, {{"Gateway__Transports__Messaging__RequestTimeout", "3s"}});
  const auto get = send_until_held("GET", "/hold/get");
  const auto post = send_until_held("POST", "/hold/post");
  second_ = start(twin_);
  for (const auto& each : {&get, &post}) {
    EXPECT_EQ((*each)->answer().status, 504) << (*each)->answer().body;
    EXPECT_EQ(code_of((*each)->answer()), "timeout");
    EXPECT_LT((*each)->took(), 5s);
  }
  EXPECT_EQ(runs("/hold/get"), 1);
  EXPECT_EQ(runs("/hold/post"), 1);
  EXPECT_TRUE(is_settled(valkey(), "orders"));
}

TEST_F(ProcessFault, sidecar_whose_service_is_down_hands_back_and_stops_reading) {
  start_first();
  start_second();
  ASSERT_TRUE(eventually("both to read", [&] { return readers() == 2; }));
  service_.refuse();

  // Until it is found out, by a request that reaches it or by its probe.
  int asked = 0;
  ASSERT_TRUE(eventually("its sidecar to stop reading", [&] {
    EXPECT_EQ(gateway().ask(make_request("POST", "/orders/" + std::to_string(asked), {}, "x")).status, 200);
    ++asked;
    return metric(first_->health_port(), "outrigger_reading") == "0" && readers() == 1;
  }));
  for (; asked < 30; ++asked) {
    EXPECT_EQ(gateway().ask(make_request("POST", "/orders/" + std::to_string(asked), {}, "x")).status, 200);
  }
  for (int i = 0; i < asked; ++i) EXPECT_EQ(runs("/" + std::to_string(i)), 1) << i;
  EXPECT_EQ(metric(first_->health_port(), "outrigger_service_up"), "0");
  EXPECT_TRUE(is_settled(valkey(), "orders"));

  service_.listen();
  EXPECT_TRUE(eventually("it to read again", [&] { return readers() == 2; }));
}

}  // namespace
}  // namespace outrigger::tests
