#include "sidecar/registration.h"

#include "bridge/openapi/metadata_codec.h"
#include "tests/support/memory_bus.h"
#include "tests/support/stream_frames.h"

namespace outrigger::sidecar {
namespace {

using frames::EndpointsUpdate;
using frames::FrameType;
using frames::InstanceFrame;
using frames::InstanceState;
using tests::MemoryBus;
using tests::Op;
using namespace std::chrono_literals;

openapi::ServiceMetadata metadata_of(std::string version) {
  openapi::ServiceMetadata metadata;
  metadata.service = "billing";
  metadata.service_version = std::move(version);
  metadata.catch_all = true;
  return metadata;
}

class RegistrationTest : public ::testing::Test {
 protected:
  RegistrationTest() { fake_.advance(1s); }
  Registration::Options options() {
    InstanceFrame identity;
    identity.instance = "00000000000000000001";
    identity.service = "billing";
    identity.service_version = "1.0";
    identity.queues = {names_.request_queue("billing")};
    identity.group = names_.consumer_group();
    identity.inbox = names_.inbox("billing", identity.instance);
    return {std::move(identity), 10s};
  }
  // It says HELLO as soon as the bus lets it.
  void begin() {
    registration_.set_metadata(*openapi::encode_metadata(metadata_of("1.0")));
    registration_.set_state(InstanceState::healthy);
    fake_.settle();
  }
  // What it said, in order, without ENDPOINTS_UPDATEs.
  std::vector<FrameType> said() {
    std::vector<FrameType> types;
    for (const auto& frame : tests::frames_in<InstanceFrame>(server_, names_, names_.control())) {
      types.push_back(frame.type);
    }
    return types;
  }
  std::size_t updates() { return tests::frames_in<EndpointsUpdate>(server_, names_, names_.control()).size(); }
  bool is_metadata_there() { return server_.exists(key_); }

  using Types = std::vector<FrameType>;
  tests::FakeLoop fake_;
  const frames::QueueNames names_ = *frames::QueueNames::make({});
  tests::MemoryServer server_{fake_};
  MemoryBus bus_{server_};
  Registration registration_{fake_.loop, bus_, names_, options()};
  const std::string hash_ = openapi::encode_metadata(metadata_of("1.0"))->hash;
  const std::string key_ = names_.endpoints_key("billing", hash_);
};

TEST_F(RegistrationTest, hello_waits_for_metadata_and_a_state) {
  registration_.set_metadata(*openapi::encode_metadata(metadata_of("1.0")));
  fake_.advance(1s);
  EXPECT_EQ(said(), Types{});
  registration_.set_state(InstanceState::healthy);
  fake_.settle();
  EXPECT_TRUE(is_metadata_there());
  EXPECT_EQ(said(), Types{FrameType::hello});
  EXPECT_EQ(updates(), 1U);
  EXPECT_TRUE(registration_.has_said_hello());
}

TEST_F(RegistrationTest, news_wake_gateways_where_that_mode_is_in_use) {
  begin();
  EXPECT_EQ(server_.notified(names_.control()), 0U) << "block mode";

  Registration::Options other = options();
  other.identity.instance = "00000000000000000002";
  other.identity.wake = frames::WakeMode::notify;
  MemoryBus bus{server_};
  fake_.advance(1s);
  Registration notified(fake_.loop, bus, names_, std::move(other));
  notified.set_metadata(*openapi::encode_metadata(metadata_of("1.0")));
  notified.set_state(InstanceState::healthy);
  fake_.settle();
  EXPECT_EQ(server_.notified(names_.control()), 2U) << "HELLO and ENDPOINTS_UPDATE";
  fake_.advance(60s);
  EXPECT_EQ(server_.notified(names_.control()), 2U) << "heartbeats are no news";
  notified.set_state(InstanceState::draining);
  notified.say_goodbye();
  fake_.settle();
  EXPECT_EQ(server_.notified(names_.control()), 4U);
}

TEST_F(RegistrationTest, operator_who_asks_for_a_replay_gets_all_of_it) {
  begin();
  registration_.on_resync_requested({"000000000000000000aa", {}, "asked by an operator"});
  fake_.settle();
  EXPECT_EQ(said(), (Types{FrameType::hello, FrameType::hello}));
  EXPECT_EQ(updates(), 2U);
  EXPECT_TRUE(registration_.has_said_hello());

  registration_.on_resync_requested({"000000000000000000aa", "another-hash", "missing"});
  fake_.settle();
  EXPECT_EQ(updates(), 2U) << "these are not ours to replay";
}

TEST_F(RegistrationTest, definite_error_of_the_ttl_before_hello_is_tried_again) {
  bus_.fail_next(Op::refresh_ttl, {base::Code::refused, "BUSY"});
  begin();
  EXPECT_EQ(said(), Types{});
  fake_.advance(500ms);
  EXPECT_EQ(said(), Types{FrameType::hello});
}

TEST_F(RegistrationTest, full_server_is_asked_again) {
  bus_.fail_next(Op::set, {base::Code::overloaded, "OOM"});
  begin();
  EXPECT_EQ(said(), Types{});
  fake_.advance(500ms);
  EXPECT_EQ(said(), Types{FrameType::hello});

  bus_.fail_next(Op::publish, {base::Code::overloaded, "OOM"});
  registration_.say_alive();
  fake_.advance(500ms);
  EXPECT_EQ(said(), (Types{FrameType::hello, FrameType::heartbeat}));
}

TEST_F(RegistrationTest, goodbye_is_said_while_the_reply_to_hello_is_out) {
  bus_.hold(Op::publish, MemoryBus::Hold::reply);
  begin();
  ASSERT_EQ(said(), Types{FrameType::hello});
  registration_.say_goodbye();
  bus_.release(Op::publish);
  fake_.advance(30s);
  EXPECT_EQ(said(), (Types{FrameType::hello, FrameType::goodbye}));
}

TEST_F(RegistrationTest, nothing_is_said_after_goodbye) {
  bus_.hold(Op::refresh_ttl, MemoryBus::Hold::reply);
  begin();
  registration_.say_goodbye();
  bus_.release(Op::refresh_ttl);
  fake_.advance(30s);
  EXPECT_EQ(said(), Types{});  // it had said nothing yet, and no gateway takes it for a new one now
  EXPECT_EQ(updates(), 0U);
}

TEST_F(RegistrationTest, heartbeats_come_once_per_interval_and_when_asked_for) {
  registration_.say_alive();
  begin();
  EXPECT_EQ(said(), Types{FrameType::hello});
  registration_.say_alive();
  fake_.settle();
  EXPECT_EQ(said(), (Types{FrameType::hello, FrameType::heartbeat}));
  fake_.advance(8s);  // a tenth of the interval is jitter
  EXPECT_EQ(said().size(), 2U);
  fake_.advance(2s);
  EXPECT_EQ(said().size(), 3U);
}

TEST_F(RegistrationTest, change_of_state_is_told_at_once) {
  begin();
  registration_.set_state(InstanceState::draining);
  fake_.settle();
  const auto frames = tests::frames_in<InstanceFrame>(server_, names_, names_.control());
  ASSERT_EQ(frames.size(), 2U);
  EXPECT_EQ(frames[1].type, FrameType::heartbeat);
  EXPECT_EQ(frames[1].state, InstanceState::draining);
  EXPECT_GT(frames[1].seq, frames[0].seq);
}

TEST_F(RegistrationTest, metadata_live_as_long_as_it_beats) {
  begin();
  for (int day = 0; day < 8; ++day) {  // longer than they live by themselves
    fake_.clock.move(24h);
    registration_.say_alive();
    fake_.settle();
  }
  EXPECT_TRUE(is_metadata_there());
  EXPECT_EQ(bus_.calls(Op::set), 1U);

  server_.remove(key_);
  for (int i = 0; i < 61; ++i) fake_.advance(10s);  // looked at every ten minutes: a gateway that misses them asks
  EXPECT_TRUE(is_metadata_there());
}

TEST_F(RegistrationTest, other_metadata_are_stored_and_told) {
  begin();
  registration_.set_metadata(*openapi::encode_metadata(metadata_of("1.1")));
  fake_.settle();
  const auto updates = tests::frames_in<EndpointsUpdate>(server_, names_, names_.control());
  ASSERT_EQ(updates.size(), 2U);
  EXPECT_EQ(updates[1].metadata_hash, openapi::encode_metadata(metadata_of("1.1"))->hash);
  EXPECT_TRUE(server_.exists(updates[1].metadata_key));
}

TEST_F(RegistrationTest, other_metadata_that_find_no_memory_are_stored_once_there_is_some) {
  begin();
  server_.set_out_of_memory(true);
  const auto other = *openapi::encode_metadata(metadata_of("2.0"));
  registration_.set_metadata(other);
  fake_.advance(1s);
  server_.set_out_of_memory(false);
  fake_.advance(2s);
  EXPECT_TRUE(server_.exists(names_.endpoints_key("billing", other.hash)));
}

TEST_F(RegistrationTest, resync_for_its_metadata_is_answered) {
  begin();
  server_.remove(key_);
  registration_.on_resync_requested({"gateway", "another-hash", ""});
  fake_.settle();
  EXPECT_FALSE(is_metadata_there());
  EXPECT_EQ(updates(), 1U);
  registration_.on_resync_requested({"gateway", hash_, ""});
  fake_.settle();
  EXPECT_TRUE(is_metadata_there());
  EXPECT_EQ(updates(), 2U);
}

TEST_F(RegistrationTest, bus_that_comes_back_hears_hello_again) {
  begin();
  bus_.cut();
  fake_.advance(30s);
  EXPECT_EQ(said().size(), 1U);
  server_.restart_empty();
  bus_.restore();
  fake_.advance(1s);
  EXPECT_EQ(said(), Types{FrameType::hello});
  EXPECT_TRUE(is_metadata_there());
}

}  // namespace
}  // namespace outrigger::sidecar
