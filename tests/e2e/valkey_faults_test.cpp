// Valkey itself loses, restores, forgets and confuses what it was given, while requests are at every stage of their way:
// at the service, in the queue, answered. What its conditions look like from outside is valkey_conditions_test.cpp.
#include <fcntl.h>
#include <unistd.h>

#include <set>
#include <sstream>

#include "tests/e2e/fault_stage.h"

namespace outrigger::tests {
namespace {

constexpr base::Duration kBack = 5s;  // within which everything serves again once the server does

const Environment kOneAtATime{{"Sidecar__Messaging__LeaseDuration", "1s"}, {"Sidecar__MaxInFlight", "1"}};
const Environment kShortDeadline{{"Gateway__Transports__Messaging__RequestTimeout", "4s"}};

class ValkeyFault : public FaultStage {
 protected:
  // A POST and a GET at the service.
  void send_two_until_held() {
    post_ = send_until_held("POST", "/hold/post");
    get_ = send_until_held("GET", "/hold/get");
  }
  void expect_both_answered() {
    EXPECT_EQ(post_->answer().status, 200) << post_->answer().body;
    EXPECT_EQ(get_->answer().status, 200) << get_->answer().body;
  }
  // The sidecar has room for one, which is at the service; two wait in the queue.
  void fill_queue() {
    start_first(kOneAtATime, kShortDeadline);
    post_ = send_until_held("POST", "/hold/post");
    queued_post_ = send("POST", "/queued/post");
    queued_get_ = send("GET", "/queued/get");
    ASSERT_TRUE(eventually("two to wait", [&] { return undelivered_count() == "2"; }));
  }
  // What was lost with the server: repeated if it may be; if not, its client waits until its deadline, and is promised nothing.
  void expect_lost_post_ends_and_get_is_repeated() {
    EXPECT_EQ(queued_get_->answer().status, 200) << queued_get_->answer().body;
    EXPECT_GE(queued_post_->answer().status, 502) << queued_post_->answer().body;
    EXPECT_NE(queued_post_->answer().status, 503) << "nobody can know that it will not run";
    EXPECT_LT(queued_post_->took(), 6s);
    EXPECT_EQ(runs("/queued/post"), 0);
  }
  ::testing::AssertionResult serves_again() {
    if (auto served = gateway().wait_for_route("/orders/", kBack); !served) return served;
    const RawResponse response = gateway().ask(make_request("POST", "/orders/again", {}, "x"));
    if (response.status != 200) return ::testing::AssertionFailure() << response.status_line << " " << response.body;
    return is_settled(valkey(), "orders");
  }

  static constexpr char kQueue[] = "router:requests:orders";
  static constexpr char kGroup[] = "router-gateway";
  std::unique_ptr<Asking> post_;
  std::unique_ptr<Asking> get_;
  std::unique_ptr<Asking> queued_post_;
  std::unique_ptr<Asking> queued_get_;
};

// --- lost and restored data -----------------------------------------------------------------------------------------

TEST_F(ValkeyFault, restart_without_data_while_requests_are_in_the_queue_and_at_the_service) {
  fill_queue();
  valkey().restart_empty();
  ASSERT_TRUE(gateway().wait_until_ready());
  service_.release();
  EXPECT_EQ(post_->answer().status, 200) << post_->answer().body;
  EXPECT_EQ(runs("/hold/post"), 1);
  expect_lost_post_ends_and_get_is_repeated();
  EXPECT_TRUE(serves_again());
}

TEST_F(ValkeyFault, everything_flushed_while_requests_are_in_the_queue_and_at_the_service) {
  fill_queue();
  ASSERT_EQ(valkey().cli({"FLUSHALL"}), "OK");
  service_.release();
  EXPECT_EQ(post_->answer().status, 200) << post_->answer().body;
  EXPECT_EQ(runs("/hold/post"), 1);
  expect_lost_post_ends_and_get_is_repeated();
  EXPECT_TRUE(serves_again());
}

// The snapshot has POSTs that were run, answered and settled since: one that was with its sidecar when it was taken, one
// that was not yet delivered. Both come back, and neither runs again.
TEST_F(ValkeyFault, older_snapshot_brings_back_executed_requests_and_they_are_not_run) {
  start_first(kOneAtATime);
  const auto delivered = send_until_held("POST", "/hold/delivered");
  const auto undelivered = send("POST", "/undelivered");
  const auto repeatable = send("GET", "/repeatable");
  ASSERT_TRUE(eventually("two to wait", [&] { return undelivered_count() == "2"; }));
  ASSERT_EQ(valkey().cli({"SAVE"}), "OK");
  service_.release();
  for (const auto& each : {&delivered, &undelivered, &repeatable}) {
    ASSERT_EQ((*each)->answer().status, 200) << (*each)->answer().body;
  }
  ASSERT_TRUE(is_settled(valkey(), "orders"));

  valkey().kill_hard();
  valkey().start_again();

  EXPECT_TRUE(is_settled(valkey(), "orders"));
  EXPECT_EQ(counter("outrigger_outcome_unknown_total"), "2");
  EXPECT_EQ(runs("/hold/delivered"), 1);
  EXPECT_EQ(runs("/undelivered"), 1);
  EXPECT_LE(runs("/repeatable"), 2);
  EXPECT_TRUE(serves_again());
}

// The same, but their callers still wait: for one that runs, and for one that may have run.
TEST_F(ValkeyFault, older_snapshot_with_requests_that_are_out_ends_each_of_them_once) {
  start_first(kOneAtATime);
  const auto running = send_until_held("POST", "/hold/running");
  const auto undelivered = send("POST", "/undelivered");
  ASSERT_TRUE(eventually("one to wait", [&] { return undelivered_count() == "1"; }));
  ASSERT_EQ(valkey().cli({"SAVE"}), "OK");
  valkey().kill_hard();
  valkey().start_again();
  ASSERT_TRUE(gateway().wait_until_ready());
  service_.release();

  EXPECT_EQ(running->answer().status, 200) << running->answer().body;
  EXPECT_EQ(code_of(undelivered->answer()), "outcome-unknown") << undelivered->answer().body;
  EXPECT_EQ(runs("/hold/running"), 1);
  EXPECT_EQ(runs("/undelivered"), 0);
  EXPECT_TRUE(serves_again());
}

// A sidecar of the past cannot have its consumer's pending entries looked after by anybody but its peers.
TEST_F(ValkeyFault, older_snapshot_with_executed_requests_of_a_dead_sidecar_runs_none_again) {
  start_first();
  send_two_until_held();
  ASSERT_EQ(valkey().cli({"SAVE"}), "OK");
  service_.release();
  expect_both_answered();
  ASSERT_TRUE(is_settled(valkey(), "orders"));
  first_->process().kill_hard();
  valkey().kill_hard();
  first_.reset();

  valkey().start_again();
  ASSERT_EQ(pending(), "2") << "they are back";
  second_ = start(twin_);
  twin_.release();

  EXPECT_TRUE(is_settled(valkey(), "orders"));
  EXPECT_EQ(runs("/hold/post"), 1);
  EXPECT_LE(runs("/hold/get"), 2);
  EXPECT_TRUE(serves_again());
}

// --- a demoted server -----------------------------------------------------------------------------------------------

TEST_F(ValkeyFault, demotion_with_requests_at_the_service_and_they_are_answered_after_the_promotion) {
  start_first(kShortLease, {{"Gateway__Transports__Messaging__RequestTimeout", "15s"}, {"Gateway__Workers", "1"}});
  send_two_until_held();
  ASSERT_EQ(valkey().cli({"REPLICAOF", "127.0.0.1", "1"}), "OK");
  service_.release();
  // What was under way when the connection ended is in doubt, and waits; then every request is refused for certain.
  ASSERT_TRUE(eventually("503", [&] {
    RawClient impatient(net::Endpoint::tcp("127.0.0.1", gateway().port()), 300ms);
    impatient.send(make_request("GET", "/orders/"));
    return code_of(impatient.read_response()) == "bus-unavailable";
  }));
  EXPECT_FALSE(post_->is_answered());
  EXPECT_FALSE(get_->is_answered());
  // A program that missed all of it would go on under the server's old identity for some seconds, and POSTs end in doubt.
  ASSERT_TRUE(eventually("both programs to have seen it", [&] {
    return metric(gateway().health_port(), "outrigger_valkey_connected") == "0" &&
           metric(first_->health_port(), "outrigger_valkey_connected") == "0";
  }));
  ASSERT_EQ(valkey().cli({"REPLICAOF", "NO", "ONE"}), "OK");

  expect_both_answered();
  EXPECT_EQ(runs("/hold/post"), 1);
  EXPECT_TRUE(serves_again());
}

// --- connections ----------------------------------------------------------------------------------------------------

TEST_F(ValkeyFault, each_of_our_connections_killed_by_turn_with_requests_out) {
  start_first(kShortLease, {{"Gateway__Workers", "1"}});
  const auto ours = [&] {
    std::vector<std::pair<std::string, std::string>> found;  // id, name
    std::istringstream lines(valkey().cli({"CLIENT", "LIST"}));
    for (std::string line; std::getline(lines, line);) {
      const std::size_t name = line.find(" name=outrigger");
      if (name == std::string::npos) continue;
      found.emplace_back(line.substr(3, line.find(' ') - 3), line.substr(name + 6, line.find(' ', name + 1) - name - 6));
    }
    return found;
  };
  std::size_t all = 0;
  ASSERT_TRUE(eventually("all connections to be there", [&] { return (all = ours().size()) >= 8; }))
      << valkey().cli({"CLIENT", "LIST"});
  std::multiset<std::string> names;
  for (const auto& [id, name] : ours()) names.insert(name);

  for (const std::string& name : names) {
    SCOPED_TRACE(name);
    service_.hold_again();
    service_.forget_requests();
    send_two_until_held();
    std::string killed;
    for (const auto& [id, each] : ours()) {
      if (each == name) killed = id;
    }
    ASSERT_EQ(valkey().cli({"CLIENT", "KILL", "ID", killed}), "1");
    // While that connection is away, too.
    queued_post_ = send("POST", "/meanwhile");
    service_.release();
    expect_both_answered();
    const RawResponse& meanwhile = queued_post_->answer();
    EXPECT_TRUE(meanwhile.status == 200 || code_of(meanwhile) == "bus-unavailable") << meanwhile.body;
    EXPECT_EQ(runs("/meanwhile"), meanwhile.status == 200 ? 1 : 0);
    EXPECT_EQ(runs("/hold/post"), 1);
    EXPECT_TRUE(eventually("all to be back", [&] { return ours().size() == all; })) << valkey().cli({"CLIENT", "LIST"});
    EXPECT_TRUE(gateway().wait_until_ready());
    EXPECT_TRUE(gateway().wait_for_route("/orders/"));
  }
  EXPECT_TRUE(serves_again());
}

// --- streams and groups that vanish under their reader -----------------------------------------------------------------

TEST_F(ValkeyFault, group_destroyed_under_a_blocked_reader_is_made_anew) {
  start_first();
  send_two_until_held();
  ASSERT_TRUE(eventually("it to wait for work", [&] { return readers() == 1; }));
  ASSERT_EQ(valkey().cli({"XGROUP", "DESTROY", kQueue, kGroup}), "1");
  EXPECT_TRUE(gateway().wait_for_route("/orders/", kBack));
  service_.release();
  expect_both_answered();
  EXPECT_EQ(runs("/hold/post"), 1);
  EXPECT_EQ(runs("/hold/get"), 1);
  EXPECT_TRUE(serves_again());
}

// With the group goes who had what, and how often it was given: what a peer then finds undelivered may have been begun. Who
// began it stands still meanwhile, so that it is the peer that is given it.
TEST_F(ValkeyFault, group_destroyed_and_no_peer_runs_again_what_was_begun) {
  start_first();
  post_ = send_until_held("POST", "/hold/post");
  second_ = start(twin_);
  twin_.release();
  ASSERT_TRUE(eventually("both to wait for work", [&] { return readers() == 2; }));
  first_->process().send_signal(SIGSTOP);
  ASSERT_EQ(valkey().cli({"XGROUP", "DESTROY", kQueue, kGroup}), "1");
  ASSERT_TRUE(eventually("the peer to make it anew and read what is there", [&] { return undelivered_count() == "0"; }));
  first_->process().send_signal(SIGCONT);
  service_.release();
  EXPECT_TRUE(post_->answer().status == 200 || code_of(post_->answer()) == "outcome-unknown") << post_->answer().body;
  EXPECT_TRUE(serves_again());
  EXPECT_EQ(runs("/hold/post"), 1);
}

TEST_F(ValkeyFault, queue_deleted_under_a_blocked_reader_while_requests_are_in_it) {
  fill_queue();
  ASSERT_EQ(valkey().cli({"DEL", kQueue}), "1");
  service_.release();
  EXPECT_EQ(post_->answer().status, 200) << post_->answer().body;
  EXPECT_EQ(runs("/hold/post"), 1);
  // Only the queue is gone: their callers cannot tell, and wait until their deadline at most.
  for (auto* each : {&queued_post_, &queued_get_}) {
    EXPECT_NE((*each)->answer().status, 503) << (*each)->answer().body;
    EXPECT_LT((*each)->took(), 6s);
  }
  EXPECT_EQ(runs("/queued/post"), 0);
  EXPECT_TRUE(serves_again());
}

TEST_F(ValkeyFault, queue_deleted_under_a_reader_that_waits) {
  start_first();
  ASSERT_TRUE(eventually("it to wait for work", [&] { return readers() == 1; }));
  ASSERT_EQ(valkey().cli({"DEL", kQueue}), "1");
  EXPECT_TRUE(serves_again());
}

TEST_F(ValkeyFault, reply_stream_and_inbox_deleted_with_requests_out_are_made_anew) {
  start_first();
  send_two_until_held();
  for (const char* pattern : {"router:responses:*", "router:inbox:*"}) {
    std::istringstream keys(valkey().cli({"KEYS", pattern}));
    for (std::string key; std::getline(keys, key);) ASSERT_EQ(valkey().cli({"DEL", key}), "1");
  }
  service_.release();
  expect_both_answered();
  EXPECT_EQ(runs("/hold/post"), 1);
  EXPECT_TRUE(serves_again());
}

// --- foreign keys in the place of ours ----------------------------------------------------------------------------------

TEST_F(ValkeyFault, foreign_key_in_the_place_of_a_reply_stream_ends_requests_by_their_deadline_and_its_end_is_seen) {
  start_first(kShortLease, {{"Gateway__Transports__Messaging__RequestTimeout", "4s"}, {"Gateway__Workers", "1"}});
  const auto post = send_until_held("POST", "/hold");
  const std::string key = valkey().cli({"KEYS", "router:responses:*"});
  ASSERT_EQ(valkey().cli({"DEL", key}), "1");
  ASSERT_EQ(valkey().cli({"SET", key, "x"}), "OK");
  service_.release();
  EXPECT_GE(post->answer().status, 502) << post->answer().body;
  EXPECT_LT(post->took(), 6s);
  ASSERT_EQ(valkey().cli({"DEL", key}), "1");
  EXPECT_TRUE(serves_again());
  EXPECT_EQ(runs("/hold"), 1);
}

TEST_F(ValkeyFault, foreign_key_in_the_place_of_an_inbox_concerns_large_bodies_alone_and_its_end_is_seen) {
  start_first(kShortLease, kShortDeadline);
  const std::string large(3'000'000, 'b');
  ASSERT_EQ(gateway().ask(make_request("POST", "/orders/", {}, large)).status, 200);
  const std::string key = valkey().cli({"KEYS", "router:inbox:*"});
  ASSERT_EQ(valkey().cli({"DEL", key}), "1");
  ASSERT_EQ(valkey().cli({"SET", key, "x"}), "OK");
  EXPECT_EQ(gateway().ask(make_request("POST", "/orders/", {}, "x")).status, 200);
  const Stopwatch watch;
  EXPECT_GE(gateway().ask(make_request("POST", "/orders/large", {}, large)).status, 502);
  EXPECT_LT(watch.elapsed(), 6s);
  EXPECT_EQ(runs("/large"), 0);

  ASSERT_EQ(valkey().cli({"DEL", key}), "1");
  EXPECT_TRUE(eventually("large bodies to pass again", [&] {
    return gateway().ask(make_request("POST", "/orders/", {}, large)).status == 200;
  }));
  EXPECT_TRUE(serves_again());
}

TEST_F(ValkeyFault, foreign_key_in_the_place_of_metadata_is_no_route_and_its_end_is_seen) {
  start_first();
  const std::string key = valkey().cli({"KEYS", "router:endpoints:orders:*"});
  ASSERT_EQ(valkey().cli({"DEL", key}), "1");
  ASSERT_EQ(valkey().cli({"LPUSH", key, "x"}), "1");
  Gateway newcomer(valkey());
  ASSERT_TRUE(newcomer.wait_until_ready());
  EXPECT_EQ(newcomer.get("/orders/").status, 404);
  EXPECT_EQ(gateway().get("/orders/").status, 200) << "who knew them before routes on";
  ASSERT_EQ(valkey().cli({"DEL", key}), "1");
  EXPECT_TRUE(newcomer.wait_for_route("/orders/", kBack));
  EXPECT_TRUE(serves_again());
}

// --- the clock of Valkey's host -------------------------------------------------------------------------------------

// The server's wall clock is off by what a file says. Its monotonic one goes on as it should.
class SteppedClock : public ValkeyFault, public ::testing::WithParamInterface<int> {
 protected:
  void SetUp() override {
    OUTRIGGER_NEEDS_VALKEY();
    step_to(0s);
    ValkeyServer::Options options;
    options.environment = {{"LD_PRELOAD", OUTRIGGER_STEPPED_CLOCK}, {"STEPPED_CLOCK_FILE", file_}};
    start_valkey(std::move(options));
  }
  void TearDown() override {
    ValkeyFault::TearDown();
    unlink(file_.c_str());
  }
  void step_to(std::chrono::milliseconds offset) const {
    const std::int64_t value = offset.count();
    const int file = open(file_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    ASSERT_GE(file, 0);
    EXPECT_EQ(pwrite(file, &value, sizeof value, 0), static_cast<ssize_t>(sizeof value));
    close(file);
  }
  // What is sent before a program has learnt of the step may be told at once that its time is over, and is not run then;
  // soon everything is answered.
  void expect_served_again() {
    int in_a_row = 0;
    EXPECT_TRUE(eventually(
        "ten in a row to be answered",
        [&] {
          const std::string target = "/after/" + std::to_string(sent_++);
          const Stopwatch watch;
          const RawResponse response = gateway().ask(make_request(sent_ % 2 == 0 ? "GET" : "POST", "/orders" + target, {}, "x"));
          EXPECT_LT(watch.elapsed(), 3s) << "it was left to its deadline";
          if (response.status == 200) {
            EXPECT_EQ(runs(target), 1);
            return ++in_a_row == 10;
          }
          EXPECT_EQ(code_of(response), "timeout") << response.body;
          EXPECT_EQ(runs(target), 0);
          in_a_row = 0;
          return false;
        },
        kBack));
  }
  long long server_seconds() { return std::atoll(valkey().cli({"TIME"}).c_str()); }

  const std::string file_ = "/tmp/outrigger-clock-" + std::to_string(getpid());
  int sent_ = 0;
};
INSTANTIATE_TEST_SUITE_P(ByAnHour, SteppedClock, ::testing::Values(3600, -3600),
                         [](const auto& tested) { return tested.param > 0 ? "forward" : "backward"; });

TEST_P(SteppedClock, takes_no_request_from_anybody) {
  // No renewal corrects an idle time soon: what a peer sees after the step is an hour, and a lease is never so long.
  // The first has all it takes, so that its peer is given the rest, and looks around.
  start_first({{"Sidecar__Messaging__LeaseDuration", "60s"}, {"Sidecar__MaxInFlight", "2"}}, {{"Gateway__Workers", "1"}});
  send_two_until_held();
  start_second({{"Sidecar__Messaging__LeaseDuration", "60s"}});
  const long long before = server_seconds();

  step_to(std::chrono::seconds(GetParam()));
  EXPECT_GT(std::abs(server_seconds() - before), 3000) << "the clock did not step";
  expect_served_again();
  // Both have looked at what is pending several times, at two addresses each.
  const std::uint64_t looks = valkey().calls_of("xpending");
  ASSERT_TRUE(eventually("some looks", [&] { return valkey().calls_of("xpending") >= looks + 16; }));
  service_.release();
  twin_.release();

  expect_both_answered();
  EXPECT_EQ(runs("/hold/post"), 1);
  // The reply stream's time ran out with the step: what may run twice was written again. Nobody was robbed.
  for (const Sidecar* sidecar : {first_.get(), second_.get()}) {
    EXPECT_EQ(metric(sidecar->health_port(), "outrigger_taken_over_total{service=\"orders\"}"), "0");
  }
  EXPECT_TRUE(serves_again());
  EXPECT_TRUE(gateway().wait_until_ready());

  // And back again: NTP has found it out.
  step_to(0s);
  expect_served_again();
  EXPECT_TRUE(serves_again());
}

TEST_P(SteppedClock, takes_instances_and_routes_from_nobody) {
  start_first({}, {{"Gateway__Workers", "1"}});
  step_to(std::chrono::seconds(GetParam()));
  expect_served_again();
  // Of several heartbeats none makes the instance, or its route, look old or of the future for good. Where one program
  // notices the step before the other, what it sends in between may be told at once that its time is over.
  const Stopwatch watch;
  int told_over = 0;
  ASSERT_TRUE(eventually("three seconds to pass", [&] {
    const RawResponse response = gateway().get("/orders/");
    if (code_of(response) == "timeout") {
      ++told_over;
    } else {
      EXPECT_EQ(response.status, 200) << response.body;
    }
    return watch.elapsed() > 3s;
  }));
  EXPECT_LE(told_over, 2);
  // Who comes now learns of it, too.
  Gateway newcomer(valkey());
  EXPECT_TRUE(newcomer.wait_for_route("/orders/", kBack));
}

// --- nothing grows, nothing stays -----------------------------------------------------------------------------------

TEST_F(ValkeyFault, keys_do_not_grow_with_requests) {
  start_first(kShortLease, {{"Gateway__Workers", "1"}});
  const std::string large(2'000'000, 'b');
  for (int i = 0; i < 300; ++i) {
    const bool is_large = i % 100 == 50;
    ASSERT_EQ(gateway().ask(make_request(i % 2 == 0 ? "GET" : "POST", "/orders/", {}, is_large ? large : "x")).status, 200);
  }
  ASSERT_TRUE(is_settled(valkey(), "orders"));
  // What was read is trimmed, what was settled deleted: every stream but the control stream is empty.
  EXPECT_TRUE(eventually("the streams to be empty", [&] {
    std::istringstream keys(describe_keys(valkey()));
    for (std::string line; std::getline(keys, line);) {
      const bool is_ours = line.starts_with("router:requests:") || line.starts_with("router:responses:") ||
                           line.starts_with("router:inbox:");
      if (is_ours && !line.ends_with(" length 0")) return false;
    }
    return true;
  })) << describe_keys(valkey());
  EXPECT_TRUE(keys_are_bounded(valkey()));
}

TEST_F(ValkeyFault, clean_end_after_many_faults_leaves_the_queue_its_group_and_what_ends_by_itself) {
  start_first(kShortLease);
  second_ = start(twin_);
  // A sidecar dies with requests in it, its service breaks, a gateway dies, everything is lost, connections are killed.
  post_ = send("POST", "/hold/post");
  get_ = send("GET", "/hold/get");
  ASSERT_TRUE(eventually("both to be at a service", [&] { return service_.held() + twin_.held() == 2; }));
  first_->process().kill_hard();
  service_.release();
  twin_.release();
  (void)get_->answer();
  (void)post_->answer();
  first_ = start(service_);
  service_.refuse();
  for (int i = 0; i < 10; ++i) (void)gateway().ask(make_request(i % 2 == 0 ? "GET" : "POST", "/orders/", {}, "x"));
  service_.listen();
  {
    Gateway other(valkey());
    ASSERT_TRUE(other.wait_for_route("/orders/"));
    service_.hold_again();
    twin_.hold_again();
    Asking asking(other.port(), make_request("POST", "/orders/hold/orphan", {}, "x"));
    ASSERT_TRUE(eventually("it to be at a service", [&] { return service_.held() + twin_.held() == 1; }));
    other.process().kill_hard();
    service_.release();
    twin_.release();
  }
  ASSERT_EQ(valkey().cli({"CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"}).find("error"), std::string::npos);
  ASSERT_TRUE(gateway().wait_for_route("/orders/"));
  ASSERT_EQ(valkey().cli({"FLUSHALL"}), "OK");
  ASSERT_TRUE(gateway().wait_for_route("/orders/"));
  second_->process().kill_hard();
  second_ = start(twin_);
  ASSERT_TRUE(gateway().wait_for_route("/orders/"));

  EXPECT_TRUE(is_settled(valkey(), "orders"));
  EXPECT_TRUE(gateway().process().terminate());
  EXPECT_TRUE(first_->process().terminate());
  EXPECT_TRUE(second_->process().terminate());

  EXPECT_TRUE(keys_are_bounded(valkey()));
  std::string for_ever;
  std::istringstream keys(describe_keys(valkey()));
  for (std::string line; std::getline(keys, line);) {
    if (line.find(" ttl -1 ms ") != std::string::npos) for_ever += line.substr(0, line.find(' ')) + " ";
  }
  EXPECT_TRUE(for_ever == "router:control router:requests:orders " || for_ever == "router:requests:orders router:control ")
      << for_ever << "\n" << describe_keys(valkey());
  EXPECT_EQ(valkey().field({"XINFO", "GROUPS", kQueue}, "name"), kGroup);
  EXPECT_EQ(valkey().field({"XINFO", "GROUPS", kQueue}, "pending"), "0");
  EXPECT_EQ(valkey().cli({"PUBSUB", "CHANNELS", "*"}), "");
}

}  // namespace
}  // namespace outrigger::tests
