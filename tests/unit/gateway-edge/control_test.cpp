// The gateway's view of a fleet that the test plays by hand, on the bus in memory.
#include "gateway-edge/control.h"

#include "bridge/openapi/metadata_codec.h"
#include "tests/support/memory_bus.h"
#include "tests/support/stream_frames.h"

namespace outrigger::gateway {
namespace {

using frames::FrameType;
using frames::InstanceFrame;
using frames::ResyncRequest;
using tests::MemoryBus;
using tests::Op;
using namespace std::chrono_literals;

const std::string kService = "billing";

// One gateway process.
struct Process {
  Process(tests::FakeLoop& fake, tests::MemoryServer& server, const frames::QueueNames& names, std::string id)
      : bus(server), control(fake.loop, bus, names, {std::move(id), {}}, [this](auto made) { view = std::move(made); }) {}
  bool has_route() const { return view != nullptr && view->routes->mounted().size() == 1; }
  // Of the metadata it routes by.
  std::string version() const { return view->routes->match("GET", "", "/billing").metadata->service_version; }
  bool has_address() const { return view != nullptr && view->addresses->find(kService) != nullptr; }

  MemoryBus bus;
  std::shared_ptr<const RoutingView> view;
  Control control;
};

class ControlTest : public ::testing::Test {
 protected:
  ControlTest() { fake_.advance(1s); }
  static openapi::EncodedMetadata metadata(std::string version) {
    openapi::ServiceMetadata metadata;
    metadata.service = kService;
    metadata.service_version = std::move(version);
    metadata.catch_all = true;
    return *openapi::encode_metadata(metadata);
  }
  void store(const openapi::EncodedMetadata& metadata) {
    fleet_.set(names_.endpoints_key(kService, metadata.hash), metadata.bytes, 1h, false, {});
    fake_.settle();
  }
  void say(FrameType type, const std::string& hash, char digit = '1') {
    InstanceFrame frame;
    frame.type = type;
    frame.instance = std::string(19, '0') + digit;
    frame.seq = ++seq_;
    frame.service = kService;
    frame.queues = {names_.request_queue(kService)};
    frame.group = names_.consumer_group();
    frame.inbox = inbox_;
    frame.state = frames::InstanceState::healthy;
    frame.interval_ms = 60'000;
    frame.metadata_hash = hash;
    server_.add(names_.control(), tests::fields_of(frame));
    fake_.advance(2s);
  }
  std::unique_ptr<Process> start(std::string id = "000000000000000000aa") {
    auto process = std::make_unique<Process>(fake_, server_, names_, std::move(id));
    fake_.advance(1s);
    return process;
  }

  tests::FakeLoop fake_;
  const frames::QueueNames names_ = *frames::QueueNames::make({});
  tests::MemoryServer server_{fake_};
  MemoryBus fleet_{server_};  // of the sidecars
  std::string inbox_ = names_.inbox(kService, "00000000000000000001");
  std::uint64_t seq_ = 0;
};

TEST_F(ControlTest, announced_service_gets_a_route_and_an_address) {
  const auto gateway = start();
  ASSERT_NE(gateway->view, nullptr);
  EXPECT_FALSE(gateway->has_route());
  store(metadata("1"));
  say(FrameType::hello, metadata("1").hash);
  EXPECT_TRUE(gateway->has_route());
  EXPECT_TRUE(gateway->has_address());
}

TEST_F(ControlTest, view_has_what_its_routes_demand) {
  const auto rules = std::make_shared<const AccessRules>(
      std::vector<AccessRule>{{kService, "", "", AccessRule::Mode::add, false, {"use"}, {}}});
  MemoryBus bus(server_);
  std::shared_ptr<const RoutingView> view;
  Control control(fake_.loop, bus, names_, {.gateway = "000000000000000000aa", .region = {}, .access_rules = rules},
                  [&view](auto made) { view = std::move(made); });
  store(metadata("1"));
  say(FrameType::hello, metadata("1").hash);

  ASSERT_NE(view, nullptr);
  const router::Match match = view->routes->match("GET", "", "/billing/x");
  const identity::Principal nobody;
  EXPECT_EQ(view->access->check(match, "GET", "/x", nobody).kind, AccessDecision::Kind::unauthenticated);
  EXPECT_EQ(control.access(), view->access.get());

  // Without rules nothing is demanded of whoever calls a service without a document.
  const auto gateway = start("000000000000000000bb");
  const router::Match free = gateway->view->routes->match("GET", "", "/billing/x");
  EXPECT_EQ(gateway->view->access->check(free, "GET", "/x", nobody).kind, AccessDecision::Kind::allowed);
}

TEST_F(ControlTest, instances_without_a_document_do_not_open_what_that_of_another_guards) {
  openapi::ServiceMetadata with_document;
  with_document.service = kService;
  with_document.service_version = "1";
  const openapi::Security security{openapi::SecurityAlternative{{"use"}}};
  with_document.endpoints.push_back({"GET", "/a", {}, {}, false, {}, security});
  const openapi::EncodedMetadata guarded = *openapi::encode_metadata(with_document);
  const auto gateway = start();
  const auto decision = [&] {
    const router::Match match = gateway->view->routes->match("GET", "", "/billing/a");
    return gateway->view->access->check(match, "GET", "/a", identity::Principal()).kind;
  };
  store(guarded);
  store(metadata("1"));
  say(FrameType::hello, guarded.hash, '1');
  EXPECT_EQ(decision(), AccessDecision::Kind::unauthenticated);

  say(FrameType::hello, metadata("1").hash, '2');
  EXPECT_EQ(decision(), AccessDecision::Kind::unauthenticated);
  say(FrameType::hello, metadata("1").hash, '3');
  EXPECT_EQ(decision(), AccessDecision::Kind::unauthenticated);
  // It is gone: what is left has none.
  say(FrameType::goodbye, guarded.hash, '1');
  EXPECT_EQ(decision(), AccessDecision::Kind::allowed);
}

// Of two services on one mount the first has it. Each change is told once, with both names.
TEST_F(ControlTest, service_on_a_taken_mount_is_refused_and_reported_once) {
  const auto gateway = start();
  const auto announce = [this](const std::string& service, char digit) {
    openapi::ServiceMetadata metadata;
    metadata.service = service;
    metadata.mount = "/pay";
    metadata.document = R"({"openapi":"3.0.3","info":{"title":")" + service +
                        R"(","version":"1"},"paths":{"/)" + service + R"(":{"get":{"responses":{}}}}})";
    metadata.endpoints = {{"GET", "/" + service, {}, {}, false}};
    const auto encoded = *openapi::encode_metadata(metadata);
    fleet_.set(names_.endpoints_key(service, encoded.hash), encoded.bytes, 1h, false, {});
    fake_.settle();
    InstanceFrame frame;
    frame.type = FrameType::hello;
    frame.instance = std::string(19, '0') + digit;
    frame.seq = ++seq_;
    frame.service = service;
    frame.queues = {names_.request_queue(service)};
    frame.group = names_.consumer_group();
    frame.inbox = names_.inbox(service, frame.instance);
    frame.state = frames::InstanceState::healthy;
    frame.interval_ms = 60'000;
    frame.metadata_hash = encoded.hash;
    server_.add(names_.control(), tests::fields_of(frame));
    fake_.advance(2s);
    return frame;
  };
  testing::internal::CaptureStderr();
  announce("billing", '1');
  InstanceFrame second = announce("cashier", '2');
  announce("third", '3');  // another change: the conflict is not told again
  second.type = FrameType::goodbye;
  second.seq = ++seq_;
  server_.add(names_.control(), tests::fields_of(second));
  fake_.advance(62s);
  const std::string log = testing::internal::GetCapturedStderr();

  const std::string line =
      "warn not routed service=cashier mount=/pay why=\"taken by service billing\" "
      "what_to_do=\"give cashier or billing another Sidecar:Service:Mount\"";
  const auto at = log.find(line);
  ASSERT_NE(at, std::string::npos) << log;
  EXPECT_EQ(log.find(line, at + 1), std::string::npos) << log;
  EXPECT_NE(log.find("no longer in conflict what=\"cashier at /pay: taken by service billing\""), std::string::npos) << log;
  EXPECT_EQ(log.find("route cashier"), std::string::npos) << log;
  EXPECT_EQ(gateway->view->openapi_json->find("/pay/cashier"), std::string::npos);
  EXPECT_NE(gateway->view->openapi_json->find("/pay/billing"), std::string::npos);
}

// Heartbeats are refused like every other write: nobody is gone for that, and no route becomes a 404.
TEST_F(ControlTest, instances_and_routes_stay_while_the_bus_refuses_writes) {
  const auto gateway = start();
  store(metadata("1"));
  say(FrameType::hello, metadata("1").hash);
  ASSERT_TRUE(gateway->has_address());

  server_.set_out_of_memory(true);
  fake_.advance(1h);
  EXPECT_TRUE(gateway->has_route());
  EXPECT_TRUE(gateway->has_address());
  server_.set_out_of_memory(false);
  say(FrameType::heartbeat, metadata("1").hash);
  fake_.advance(10s);
  EXPECT_TRUE(gateway->has_address());

  // Who was gone before keeps his route, too.
  fake_.advance(190s);
  ASSERT_FALSE(gateway->has_address());
  server_.set_out_of_memory(true);
  fake_.advance(1h);
  EXPECT_TRUE(gateway->has_route());
}

// A stopped process, or a machine without time for it, finds its timers due and the heartbeats of that time unread.
TEST_F(ControlTest, instances_stay_when_the_gateway_itself_was_held_up) {
  const auto gateway = start();
  store(metadata("1"));
  say(FrameType::hello, metadata("1").hash);
  fake_.advance(10s);
  ASSERT_TRUE(gateway->has_address());
  testing::internal::CaptureStderr();

  fake_.clock.move(1h);
  say(FrameType::heartbeat, metadata("1").hash);
  EXPECT_TRUE(gateway->has_address());
  const std::string log = testing::internal::GetCapturedStderr();
  EXPECT_EQ(log.find("instance left"), std::string::npos) << log;

  fake_.advance(182s);
  EXPECT_FALSE(gateway->has_address()) << "who is silent while we listen is gone";
}

TEST_F(ControlTest, routes_are_unknown_until_the_bus_was_asked) {
  server_.set_out_of_memory(true);  // a trouble that leaves the connection
  const auto gateway = start();
  fake_.advance(5s);
  EXPECT_FALSE(gateway->view != nullptr && gateway->view->is_known);
  server_.set_out_of_memory(false);
  fake_.advance(2s);
  ASSERT_NE(gateway->view, nullptr);
  EXPECT_TRUE(gateway->view->is_known);
}

TEST_F(ControlTest, routes_stay_while_newer_metadata_are_fetched) {
  const auto gateway = start();
  store(metadata("1"));
  say(FrameType::hello, metadata("1").hash, '1');
  ASSERT_TRUE(gateway->has_route());
  say(FrameType::hello, metadata("2").hash, '2');  // which are not there yet
  say(FrameType::goodbye, metadata("1").hash, '1');
  ASSERT_TRUE(gateway->has_route());
  EXPECT_EQ(gateway->version(), "1");
  store(metadata("2"));
  fake_.advance(2s);
  ASSERT_TRUE(gateway->has_route());
  EXPECT_EQ(gateway->version(), "2");
}

TEST_F(ControlTest, metadata_that_nobody_announces_are_forgotten) {
  const auto gateway = start();
  store(metadata("1"));
  store(metadata("2"));
  say(FrameType::hello, metadata("1").hash);
  EXPECT_EQ(gateway->bus.calls(Op::get), 1U);
  say(FrameType::heartbeat, metadata("2").hash);
  EXPECT_EQ(gateway->bus.calls(Op::get), 2U);
  say(FrameType::heartbeat, metadata("2").hash);
  EXPECT_EQ(gateway->bus.calls(Op::get), 2U);
  say(FrameType::heartbeat, metadata("1").hash);
  EXPECT_EQ(gateway->bus.calls(Op::get), 3U);
  EXPECT_TRUE(gateway->has_route());
}

TEST_F(ControlTest, metadata_of_a_service_without_instances_are_kept_for_their_return) {
  const auto gateway = start();
  store(metadata("1"));
  say(FrameType::hello, metadata("1").hash, '1');
  say(FrameType::goodbye, metadata("1").hash, '1');
  fake_.advance(30s);
  say(FrameType::hello, metadata("1").hash, '2');
  EXPECT_TRUE(gateway->has_route());
  EXPECT_EQ(gateway->bus.calls(Op::get), 1U);
}

TEST_F(ControlTest, control_frames_are_read_once_the_clock_is_known) {
  store(metadata("1"));
  say(FrameType::hello, metadata("1").hash);
  Process gateway(fake_, server_, names_, "000000000000000000aa");
  gateway.bus.cut({.readers = false, .subscriptions = false});
  gateway.bus.set_clock_estimate(1'000'000'000, 0);  // by which every frame is of long ago
  fake_.advance(3s);
  EXPECT_EQ(gateway.bus.calls(Op::read_cursor), 0U);
  EXPECT_FALSE(gateway.control.has_looked());

  gateway.bus.set_clock_estimate(0, 0);
  gateway.bus.restore();
  fake_.advance(1s);
  EXPECT_TRUE(gateway.control.has_looked());
  EXPECT_TRUE(gateway.has_route());
  EXPECT_TRUE(gateway.has_address());
}

// What the registry counts by is no time of day: people are shown one.
TEST_F(ControlTest, times_of_instances_are_shown_by_the_wall_clock) {
  const auto gateway = start();
  const base::WallMillis said = fake_.clock.wall();
  say(FrameType::hello, metadata("1").hash);
  fake_.advance(10s);
  const auto instances = gateway->control.registry().instances(kService);
  ASSERT_EQ(instances.size(), 1U);
  EXPECT_EQ(gateway->control.wall_of(instances[0]->registered_ms), said);
  EXPECT_EQ(gateway->control.wall_of(instances[0]->last_seen_ms), said);
}

// The retained stretch is longer than one read, and who died in it long ago is no younger for that.
TEST_F(ControlTest, instances_of_long_ago_are_gone_however_many_reads_it_takes_to_see_them) {
  store(metadata("1"));
  for (int i = 0; i < 100; ++i) say(FrameType::heartbeat, metadata("1").hash, '1');
  say(FrameType::hello, metadata("1").hash, '2');
  fake_.advance(1h);
  const auto gateway = start();
  ASSERT_TRUE(gateway->control.has_looked());
  EXPECT_FALSE(gateway->has_address());
}

TEST_F(ControlTest, one_gateway_of_many_asks_for_missing_metadata) {
  const auto first = start("000000000000000000aa");
  const auto second = start("000000000000000000bb");
  fleet_.ensure_stream(inbox_, 1h, {}, {});
  const auto asked = [&] { return tests::frames_in<ResyncRequest>(server_, names_, inbox_); };
  say(FrameType::hello, metadata("1").hash);
  ASSERT_EQ(asked().size(), 1U);
  EXPECT_EQ(asked()[0].metadata_hash, metadata("1").hash);
  EXPECT_TRUE(server_.exists(names_.endpoints_key(kService, metadata("1").hash) + ":asked"));
  fake_.advance(2s);
  EXPECT_EQ(asked().size(), 1U);
  fake_.advance(4s);
  EXPECT_EQ(asked().size(), 2U);  // it may have been lost
  EXPECT_FALSE(first->has_route());

  store(metadata("1"));
  server_.add(names_.control(),
              tests::fields_of(frames::EndpointsUpdate{"00000000000000000001", ++seq_, kService, {}, metadata("1").hash,
                                                       names_.endpoints_key(kService, metadata("1").hash)}));
  fake_.settle();
  EXPECT_TRUE(first->has_route());
  EXPECT_TRUE(second->has_route());
}

TEST_F(ControlTest, operator_asks_one_instance_or_all_to_replay) {
  const auto gateway = start();
  const std::string other = names_.inbox(kService, "00000000000000000002");
  for (const std::string& inbox : {inbox_, other}) fleet_.ensure_stream(inbox, 1h, {}, {});
  const auto asked = [&](const std::string& inbox) {
    return tests::frames_in<ResyncRequest>(server_, names_, inbox).size();
  };
  store(metadata("1"));
  EXPECT_EQ(gateway->control.ask_to_replay(""), 0U);
  say(FrameType::hello, metadata("1").hash, '1');
  inbox_ = other;
  say(FrameType::hello, metadata("1").hash, '2');
  const std::string first = names_.inbox(kService, "00000000000000000001");

  EXPECT_EQ(gateway->control.ask_to_replay(""), 2U);
  EXPECT_EQ(gateway->control.ask_to_replay("00000000000000000002"), 1U);
  EXPECT_EQ(gateway->control.ask_to_replay("00000000000000000003"), 0U);
  fake_.settle();

  EXPECT_EQ(asked(first), 1U);
  EXPECT_EQ(asked(other), 2U);
  EXPECT_EQ(tests::frames_in<ResyncRequest>(server_, names_, first)[0].metadata_hash, "");
}

TEST_F(ControlTest, routes_stay_for_a_minute_after_the_last_goodbye) {
  const auto gateway = start();
  store(metadata("1"));
  say(FrameType::hello, metadata("1").hash, '1');
  say(FrameType::goodbye, metadata("1").hash, '1');
  EXPECT_FALSE(gateway->has_address());
  fake_.advance(55s);
  EXPECT_TRUE(gateway->has_route());  // 503, not 404
  fake_.advance(6s);
  EXPECT_FALSE(gateway->has_route());
  say(FrameType::hello, metadata("1").hash, '2');
  EXPECT_TRUE(gateway->has_route());
  EXPECT_TRUE(gateway->has_address());
}

}  // namespace
}  // namespace outrigger::gateway
