// Wake mode `notify` against a scripted server on a fake clock: nothing ever blocks there, no wake-up is lost, and
// nobody sleeps for ever.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <unistd.h>

#include <filesystem>
#include <optional>

#include "bridge/valkey/valkey_bus.h"
#include "tests/support/fake_clock.h"
#include "tests/support/recording_handlers.h"
#include "tests/support/resp_peer.h"

namespace outrigger::tests {
namespace {

using namespace std::chrono_literals;
using ::testing::ElementsAre;

constexpr char kQueue[] = "router:requests:billing";
constexpr char kChannel[] = "router:notify:router:requests:billing";
constexpr base::Duration kBlock = 5s;
constexpr base::Duration kUnheard = 500ms;       // between looks while nothing would be heard
constexpr base::Duration kSilentStream = 1s;     // and at a stream whose writers do not notify
constexpr base::Duration kRenewAtLeast = 60s;
constexpr base::Duration kRenewAtMost = 120s;

// What a read of `stream` brings: one entry.
std::string one_entry(std::string_view stream, std::string_view id = "1700000000000-1") {
  return "*1\r\n*2\r\n" + bulk(stream) + "*1\r\n*2\r\n" + bulk(id) + "*2\r\n" + bulk("h") + bulk("{}");
}

class Notify : public ::testing::Test {
 protected:
  Notify() {
    ::testing::internal::CaptureStderr();
    peer_.emplace(loop_.loop, net::Endpoint::unix_socket(path_));
    peer_->script = [this](const Words& command) -> std::optional<std::string> {
      if (command[0] != "XREADGROUP" && command[0] != "XREAD") return std::nullopt;
      if (is_holding_) return "";
      if (!has_entry_) return std::nullopt;
      has_entry_ = false;
      return one_entry(command[0] == "XREAD" ? command[command.size() - 2] : std::string(kQueue));
    };
  }
  ~Notify() override {
    reader_.reset();
    cursor_.reset();
    bus_.reset();
    peer_.reset();
    loop_.settle();
    std::filesystem::remove_all(directory_);
    ::testing::internal::GetCapturedStderr();
  }

  void start_bus(frames::WakeMode wake = frames::WakeMode::notify, int database = 0) {
    frames::NameConfig config;
    config.database = database;
    names_.emplace(*frames::QueueNames::make(config));
    valkey::ValkeyBus::Options options;
    options.address.unix_path = path_;
    options.address.database = database;
    options.name = "test";
    options.group = "router";
    options.block_time = kBlock;
    options.wake = wake;
    options.names = &*names_;
    bus_ = std::make_unique<valkey::ValkeyBus>(loop_.loop, std::move(options));
    loop_.advance(0s);
  }
  void start_reader() {
    reader_ = bus_->make_group_reader("a", handler_);
    loop_.advance(0s);
    ASSERT_TRUE(reader_->is_connected());
  }
  // A read that found nothing, with its subscription confirmed.
  void start_reading() {
    start_reader();
    reader_->read({kQueue}, 10);
    loop_.advance(0s);
    ASSERT_TRUE(reader_->is_reading());
  }
  int reads() const { return peer_->count("XREADGROUP"); }
  void publish(const std::string& stream, bool notify = true) {
    bus_->publish(stream, make_frame(), {.notify = notify}, {});
  }

  FakeLoop loop_;
  std::string directory_ = [] {
    std::string name = std::filesystem::temp_directory_path().string() + "/outrigger-XXXXXX";
    CHECK(mkdtemp(name.data()) != nullptr);
    return name;
  }();
  std::string path_ = directory_ + "/s";
  std::optional<RespPeer> peer_;
  std::optional<frames::QueueNames> names_;
  std::unique_ptr<valkey::ValkeyBus> bus_;
  RecordingGroupHandler handler_;
  RecordingCursorHandler cursor_handler_;
  std::unique_ptr<messaging::GroupReader> reader_;
  std::unique_ptr<messaging::CursorReader> cursor_;
  bool is_holding_ = false;  // reads are answered by say_to() only
  bool has_entry_ = false;   // the next read brings it
};

TEST_F(Notify, nothing_that_blocks_is_ever_sent) {
  start_bus();
  cursor_ = bus_->make_cursor_reader({{"router:control", {}, false}}, cursor_handler_);
  start_reading();
  for (int i = 0; i < 10; ++i) {
    peer_->tell(kChannel);
    loop_.advance(kBlock / 2);
    if (!reader_->is_reading()) reader_->read({kQueue}, 10);
    if (i == 5) reader_->unblock();
    if (i == 7) peer_->close_all();
  }
  EXPECT_GT(reads(), 10);
  for (const Words& command : peer_->commands) {
    EXPECT_THAT(command, ::testing::Not(::testing::Contains("BLOCK")));
    EXPECT_THAT(command, ::testing::Not(::testing::Contains("UNBLOCK")));
  }
}

TEST_F(Notify, block_mode_reads_as_before_and_subscribes_to_nothing) {
  start_bus(frames::WakeMode::block);
  start_reading();
  EXPECT_THAT(peer_->commands.back(), ElementsAre("XREADGROUP", "GROUP", "router", "a", "COUNT", "10", "BLOCK", "5000",
                                                  "STREAMS", kQueue, ">"));
  EXPECT_EQ(peer_->count("SUBSCRIBE"), 0);
  EXPECT_EQ(peer_->connections, 2);
}

TEST_F(Notify, message_ends_the_sleep_with_what_has_come) {
  start_bus();
  start_reading();
  const int before = reads();
  loop_.advance(1s);
  EXPECT_EQ(reads(), before) << "it sleeps";

  has_entry_ = true;
  EXPECT_EQ(peer_->tell(kChannel), 1);
  loop_.advance(0s);

  EXPECT_EQ(handler_.delivered.size(), 1u);
  EXPECT_EQ(handler_.delivered[0].queue, kQueue);
  EXPECT_EQ(handler_.delivered[0].fields, (std::vector<std::pair<std::string, std::string>>{{"h", "{}"}}));
  EXPECT_EQ(handler_.done, 1);
  EXPECT_FALSE(reader_->is_reading());
}

TEST_F(Notify, wake_up_for_what_another_took_sleeps_on) {
  start_bus();
  start_reading();
  const int before = reads();
  peer_->tell(kChannel);
  loop_.advance(1s);
  EXPECT_EQ(reads(), before + 1);
  EXPECT_TRUE(reader_->is_reading());
  EXPECT_EQ(handler_.done, 0);
}

TEST_F(Notify, message_while_a_read_is_under_way_makes_another_one_follow) {
  start_bus();
  start_reading();
  is_holding_ = true;
  peer_->tell(kChannel);  // asks, and is kept waiting
  loop_.advance(0s);
  const int before = reads();
  peer_->tell(kChannel);
  loop_.advance(0s);
  EXPECT_EQ(reads(), before) << "one at a time";

  is_holding_ = false;
  has_entry_ = true;  // came after the server had looked
  EXPECT_TRUE(peer_->say_to("XREADGROUP", "*-1\r\n"));
  loop_.advance(0s);

  EXPECT_EQ(reads(), before + 1);
  EXPECT_EQ(handler_.delivered.size(), 1u);
}

TEST_F(Notify, what_comes_before_the_subscription_is_confirmed_is_found_when_it_is) {
  peer_->overrides["SUBSCRIBE"] = "";
  start_bus();
  start_reading();
  const int before = reads();
  has_entry_ = true;  // nobody hears of it
  EXPECT_EQ(peer_->tell(kChannel), 0);

  EXPECT_TRUE(peer_->say_to("SUBSCRIBE", peer_->healthy({"SUBSCRIBE", kChannel})));
  loop_.advance(0s);

  EXPECT_EQ(reads(), before + 1);
  EXPECT_EQ(handler_.delivered.size(), 1u);
}

TEST_F(Notify, unconfirmed_subscription_is_made_up_for_by_looking_more_often) {
  peer_->overrides["SUBSCRIBE"] = "-NOPERM User app has no permissions to access one of the channels\r\n";
  start_bus();
  start_reading();
  has_entry_ = true;
  loop_.advance(kUnheard);
  EXPECT_EQ(handler_.delivered.size(), 1u);
  EXPECT_EQ(bus_->status().condition, "no-permission");
  EXPECT_THAT(bus_->status().problem, ::testing::HasSubstr("(SUBSCRIBE router:notify:router:requests:billing)"));

  peer_->overrides.clear();
  loop_.advance(2s);
  EXPECT_EQ(peer_->tell(kChannel), 1);
  EXPECT_EQ(bus_->status().condition, "ok");
}

TEST_F(Notify, lost_message_costs_the_block_time_at_most) {
  start_bus();
  start_reading();
  has_entry_ = true;  // and nobody says so
  loop_.advance(kBlock - 1ms);
  EXPECT_TRUE(handler_.delivered.empty());
  loop_.advance(1ms);
  EXPECT_EQ(handler_.delivered.size(), 1u);
}

TEST_F(Notify, block_time_without_entries_ends_the_read_after_a_last_look) {
  start_bus();
  start_reading();
  const int before = reads();
  loop_.advance(kBlock);
  EXPECT_EQ(reads(), before + 1);
  EXPECT_EQ(handler_.done, 1);
  EXPECT_FALSE(reader_->is_reading());
}

TEST_F(Notify, many_wake_ups_for_nothing_do_not_stretch_the_block_time) {
  start_bus();
  start_reading();
  for (int i = 0; i < 11; ++i) {
    peer_->tell(kChannel);
    loop_.advance(kBlock / 10);
  }
  EXPECT_EQ(handler_.done, 1);
}

TEST_F(Notify, subscription_that_dies_quietly_is_left_and_made_anew) {
  start_bus();
  start_reading();
  peer_->overrides["PING"] = "";
  has_entry_ = true;
  loop_.advance(kBlock);  // no message comes, and the fallback finds it
  EXPECT_EQ(handler_.delivered.size(), 1u);
  reader_->read({kQueue}, 10);
  loop_.advance(0s);
  const int connections = peer_->connections;
  const int subscriptions = peer_->count("SUBSCRIBE");

  loop_.advance(15s);  // PING, and the deadline of its answer
  EXPECT_EQ(peer_->connections, connections + 1);
  EXPECT_EQ(peer_->count("SUBSCRIBE"), subscriptions + 1);
}

TEST_F(Notify, lost_subscription_is_read_over_when_it_is_back) {
  start_bus();
  start_reading();
  const int before = reads();
  peer_->close_subscribers();
  loop_.advance(0s);
  EXPECT_EQ(reads(), before + 1) << "nothing is heard from now on";
  has_entry_ = true;
  loop_.advance(100ms);  // the first back-off is 50 ms at most
  EXPECT_EQ(handler_.delivered.size(), 1u);
  EXPECT_EQ(handler_.lost, 0);
  EXPECT_EQ(peer_->tell(kChannel), 1);
}

TEST_F(Notify, subscription_is_renewed_at_random_times_and_each_time_looked_again) {
  start_bus();
  cursor_ = bus_->make_cursor_reader({{"router:inbox:billing:a", {}}}, cursor_handler_);
  loop_.advance(0s);
  ASSERT_EQ(peer_->count("SUBSCRIBE"), 1);
  const int connections = peer_->connections;

  loop_.advance(kRenewAtLeast - 1s);
  EXPECT_EQ(peer_->count("SUBSCRIBE"), 1);
  loop_.advance(kRenewAtMost - kRenewAtLeast + 1s);
  EXPECT_EQ(peer_->count("SUBSCRIBE"), 2);
  loop_.advance(10 * kRenewAtMost);
  EXPECT_GE(peer_->count("SUBSCRIBE"), 12);
  EXPECT_LE(peer_->count("SUBSCRIBE"), 22);
  EXPECT_EQ(peer_->connections, connections);

  // A server that forgot: the renewal heals it, and what was not heard is found.
  has_entry_ = true;
  const int before = peer_->count("SUBSCRIBE");
  while (peer_->count("SUBSCRIBE") == before) loop_.advance(1s);
  EXPECT_EQ(cursor_handler_.seen.size(), 1u);
}

TEST_F(Notify, unblock_ends_a_sleep_at_once_and_not_inside_the_call) {
  start_bus();
  start_reading();
  const int before = reads();
  reader_->unblock();
  EXPECT_EQ(handler_.done, 0);
  EXPECT_TRUE(reader_->is_reading());
  loop_.advance(0s);
  EXPECT_EQ(handler_.done, 1);
  EXPECT_FALSE(reader_->is_reading());
  EXPECT_EQ(reads(), before);
}

TEST_F(Notify, unblock_while_a_read_is_under_way_ends_with_its_reply) {
  start_bus();
  start_reader();
  is_holding_ = true;
  for (const std::string& reply : {std::string("*-1\r\n"), one_entry(kQueue)}) {
    handler_.done = 0;
    reader_->read({kQueue}, 10);
    loop_.advance(0s);
    reader_->unblock();
    peer_->tell(kChannel);
    loop_.advance(1s);
    EXPECT_EQ(handler_.done, 0);
    EXPECT_TRUE(peer_->say_to("XREADGROUP", reply));
    loop_.advance(0s);
    EXPECT_EQ(handler_.done, 1);
  }
  EXPECT_EQ(handler_.delivered.size(), 1u);
}

TEST_F(Notify, unblock_and_a_message_in_the_same_turn_end_it_once) {
  start_bus();
  start_reading();
  reader_->unblock();
  peer_->tell(kChannel);
  loop_.advance(kBlock);
  EXPECT_EQ(handler_.done, 1);
}

TEST_F(Notify, entries_are_handed_over_only_by_the_server_that_was_greeted) {
  for (const char* replication : {"# Replication\r\nrole:master\r\nmaster_replid:cccc\r\n",
                                  "# Replication\r\nrole:slave\r\nmaster_replid:bbbb\r\n"}) {
    start_bus();
    start_reading();
    handler_.lost = 0;
    peer_->overrides["INFO replication"] = bulk(replication);
    has_entry_ = true;
    peer_->tell(kChannel);
    loop_.advance(0s);
    EXPECT_TRUE(handler_.delivered.empty()) << replication;
    EXPECT_EQ(handler_.lost, 1);
    EXPECT_EQ(handler_.done, 0);
    EXPECT_FALSE(reader_->is_reading());
    reader_.reset();
    peer_->overrides.clear();
  }
}

TEST_F(Notify, claims_are_handed_over_only_by_the_server_that_was_greeted) {
  const std::string claimed = "*1\r\n*3\r\n" + bulk("1700000000000-1") + ":1\r\n*2\r\n" + bulk("h") + bulk("{}");
  for (const bool is_same : {true, false}) {
    for (const bool is_own : {true, false}) {
      start_bus();
      peer_->overrides["EVAL"] = claimed;
      if (!is_same) peer_->overrides["INFO replication"] = bulk("# Replication\r\nrole:master\r\nmaster_replid:cccc\r\n");
      std::string outcome = "nothing";
      const auto done = [&](base::Result<std::vector<messaging::ClaimedEntry>> found) {
        outcome = found ? std::to_string(found->size()) : std::string(base::name_of(found.error().code));
      };
      if (is_own) {
        bus_->own_pending(kQueue, "a", {}, 10, done);
      } else {
        bus_->claim(kQueue, "a", "b", {{{1, 1}, "b", 0, 1}}, done);
      }
      loop_.settle();
      EXPECT_EQ(outcome, is_same ? "1" : "outcome-unknown");
      EXPECT_EQ(bus_->is_connected(), is_same);
      peer_->overrides.clear();
    }
  }
}

// The connection is left once what was written is answered: whether it is still the same server cannot be asked over it.
TEST_F(Notify, claim_that_is_answered_during_a_role_change_is_in_doubt) {
  start_bus();
  peer_->overrides["EVAL"] = "*1\r\n*3\r\n" + bulk("1700000000000-1") + ":1\r\n*2\r\n" + bulk("h") + bulk("{}");
  std::string outcome = "nothing";
  bus_->claim(kQueue, "a", "b", {{{1, 1}, "b", 0, 1}}, [&](base::Result<std::vector<messaging::ClaimedEntry>> found) {
    outcome = found ? "claimed" : std::string(base::name_of(found.error().code));
  });
  bus_->state().role_changed();
  loop_.settle();
  EXPECT_EQ(outcome, "outcome-unknown");
  loop_.advance(2s);
  EXPECT_TRUE(bus_->is_connected());
}

TEST_F(Notify, one_question_for_the_incarnation_per_read_that_brought_something) {
  start_bus();
  start_reading();
  const int before = peer_->count("INFO");
  peer_->tell(kChannel);
  loop_.advance(0s);
  EXPECT_EQ(peer_->count("INFO"), before);
  has_entry_ = true;
  peer_->tell(kChannel);
  loop_.advance(0s);
  EXPECT_EQ(peer_->count("INFO"), before + 1);
}

TEST_F(Notify, errors_end_the_read_or_the_connection_as_they_do_in_block_mode) {
  start_bus();
  start_reading();
  peer_->script = nullptr;
  peer_->overrides["XREADGROUP"] = "-NOGROUP No such key\r\n";
  peer_->tell(kChannel);
  loop_.advance(0s);
  EXPECT_EQ(handler_.missing, 1);
  EXPECT_FALSE(reader_->is_reading());
  EXPECT_TRUE(reader_->is_connected());
  for (const char* error : {"-READONLY You can't write against a read only replica.\r\n", "-LOADING is loading\r\n",
                            "-UNBLOCKED force unblock\r\n", "-NOAUTH Authentication required.\r\n"}) {
    handler_.lost = 0;
    peer_->overrides["XREADGROUP"] = error;
    reader_->read({kQueue}, 10);
    loop_.advance(0s);
    EXPECT_EQ(handler_.lost, 1) << error;
    EXPECT_FALSE(reader_->is_connected());
    loop_.advance(2s);
    EXPECT_TRUE(reader_->is_connected());
  }
}

TEST_F(Notify, reader_that_ends_is_not_woken_and_leaves_its_channels) {
  start_bus();
  start_reading();
  cursor_ = bus_->make_cursor_reader({{"router:inbox:billing:a", {}}}, cursor_handler_);
  loop_.advance(0s);
  EXPECT_EQ(peer_->connections, 4) << "commands, reader, cursor, and one subscription for both";
  reader_.reset();
  loop_.advance(0s);
  EXPECT_EQ(peer_->tell(kChannel), 0);
  EXPECT_EQ(peer_->tell("router:notify:router:inbox:billing:a"), 1);
}

TEST_F(Notify, other_queues_are_other_channels) {
  start_bus();
  start_reading();
  reader_->unblock();
  loop_.advance(0s);
  reader_->read({"router:requests:billing:1", kQueue}, 10);
  loop_.advance(0s);
  EXPECT_EQ(peer_->tell("router:notify:router:requests:billing:1"), 1);
  EXPECT_EQ(peer_->tell(kChannel), 1);
}

TEST_F(Notify, cursor_reader_reads_on_until_nothing_is_left_and_then_sleeps) {
  start_bus();
  has_entry_ = true;
  cursor_ = bus_->make_cursor_reader({{"router:inbox:billing:a", {}}}, cursor_handler_);
  loop_.advance(0s);
  EXPECT_EQ(cursor_handler_.seen.size(), 1u);
  const int before = peer_->count("XREAD");
  loop_.advance(kBlock - 1ms);
  EXPECT_EQ(peer_->count("XREAD"), before);
  loop_.advance(1ms);
  EXPECT_EQ(peer_->count("XREAD"), before + 1);
  has_entry_ = true;
  peer_->tell("router:notify:router:inbox:billing:a");
  loop_.advance(0s);
  EXPECT_EQ(cursor_handler_.seen.size(), 2u);
}

TEST_F(Notify, stream_whose_writers_do_not_notify_is_looked_at_every_second) {
  start_bus();
  cursor_ = bus_->make_cursor_reader({{"router:control", {}, false}}, cursor_handler_);
  loop_.advance(0s);
  const int before = peer_->count("XREAD");
  loop_.advance(10 * kSilentStream);
  EXPECT_EQ(peer_->count("XREAD"), before + 10);
  has_entry_ = true;
  EXPECT_EQ(peer_->tell("router:notify:router:control"), 1) << "some do";
  loop_.advance(0s);
  EXPECT_EQ(cursor_handler_.seen.size(), 1u);
}

TEST_F(Notify, cursor_of_a_stream_that_is_gone_goes_back_however_often_it_is_woken) {
  start_bus();
  has_entry_ = true;
  cursor_ = bus_->make_cursor_reader({{"router:inbox:billing:a", {}}}, cursor_handler_);
  loop_.advance(0s);
  const auto last_read = [&] {
    std::string after;
    for (const Words& command : peer_->commands) after = command[0] == "XREAD" ? command.back() : after;
    return after;
  };
  ASSERT_EQ(last_read(), "1700000000000-1");
  peer_->overrides["XINFO"] = "-ERR no such key\r\n";
  const int before = peer_->count("XINFO");
  for (base::Duration passed{}; passed <= 3 * kBlock; passed += kBlock / 10) {
    peer_->tell("router:notify:router:inbox:billing:a");
    loop_.advance(kBlock / 10);
  }
  EXPECT_EQ(peer_->count("XINFO"), before + 1);
  EXPECT_EQ(last_read(), "0-0");
}

TEST_F(Notify, notification_follows_the_entries_once_per_stream_and_turn) {
  start_bus(frames::WakeMode::block, 3);
  peer_->commands.clear();
  publish("router:requests:a");
  publish("router:requests:b");
  publish("router:requests:a");
  publish("router:requests:c", false);
  loop_.advance(0s);

  std::vector<std::string> seen;
  for (const Words& command : peer_->commands) seen.push_back(command[0] + " " + command[1]);
  EXPECT_THAT(seen, ElementsAre("XADD router:requests:a", "XADD router:requests:b", "XADD router:requests:a",
                                "XADD router:requests:c", "PUBLISH router:notify:router:requests:a:3",
                                "PUBLISH router:notify:router:requests:b:3"));
  EXPECT_THAT(peer_->commands.back(), ElementsAre("PUBLISH", "router:notify:router:requests:b:3", ""));
  publish("router:requests:a");
  loop_.advance(0s);
  EXPECT_EQ(peer_->count("PUBLISH"), 3);
}

TEST_F(Notify, notification_of_a_bus_that_ends_harms_nobody) {
  start_bus();
  publish(kQueue);
  bus_.reset();
  loop_.advance(0s);
}

}  // namespace
}  // namespace outrigger::tests
