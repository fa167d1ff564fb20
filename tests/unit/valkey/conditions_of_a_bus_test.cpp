// A bus and a scripted server on a fake clock: what is wrong is said once, tried again at the documented pace, and over
// when it is over.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <unistd.h>

#include <filesystem>
#include <optional>

#include "bridge/valkey/valkey_bus.h"
#include "tests/support/fake_clock.h"
#include "tests/support/resp_peer.h"

namespace outrigger::tests {
namespace {

using namespace std::chrono_literals;
using ::testing::HasSubstr;
using ::testing::Not;

// Back-off: 50 ms doubled up to 1 s, of which the upper half is random. What that gives at most and at least.
constexpr int kMostTriesIn60s = 4 + 2 * 60 + 1;
constexpr int kLeastTriesIn60s = 60;

class BusConditions : public ::testing::Test {
 protected:
  BusConditions() {
    ::testing::internal::CaptureStderr();
    start_peer();
  }
  ~BusConditions() override {
    bus_.reset();
    peer_.reset();
    loop_.settle();
    std::filesystem::remove_all(directory_);
    if (!is_log_read_) ::testing::internal::GetCapturedStderr();
  }

  void start_peer() { peer_.emplace(loop_.loop, net::Endpoint::unix_socket(path_)); }
  void stop_peer() {
    peer_->close_all();
    peer_.reset();
    std::filesystem::remove(path_);
    loop_.settle();
  }
  void start_bus(std::string password = {}, int database = 0) {
    valkey::ValkeyBus::Options options;
    options.address.unix_path = path_;
    options.address.password = std::move(password);
    options.address.database = database;
    options.name = "test";
    options.group = "router";
    options.probe_key = "router:probe";
    bus_ = std::make_unique<valkey::ValkeyBus>(loop_.loop, std::move(options));
    loop_.advance(0s);
  }
  std::string publish(const std::string& stream = "router:requests:billing") {
    const auto frame = frames::encode(frames::ResyncRequest{"0123456789abcdef0123", "hash", "why"});
    EXPECT_TRUE(frame.has_value());
    std::string outcome = "nothing";
    bus_->publish(stream, *frame, {}, [&](auto result) {
      outcome = result ? "done" : std::string(base::name_of(result.error().code));
      if (!result) last_detail_ = result.error().detail;
    });
    loop_.settle();
    return outcome;
  }
  std::string condition() { return std::string(bus_->status().condition); }
  // Everything logged by this test; once, at its end.
  std::string log() {
    is_log_read_ = true;
    return ::testing::internal::GetCapturedStderr();
  }
  static int count(std::string_view text, std::string_view part) {
    int count = 0;
    for (std::size_t at = text.find(part); at != std::string_view::npos; at = text.find(part, at + 1)) ++count;
    return count;
  }

  FakeLoop loop_;
  std::string directory_ = [] {
    std::string name = std::filesystem::temp_directory_path().string() + "/outrigger-XXXXXX";
    CHECK(mkdtemp(name.data()) != nullptr);
    return name;
  }();
  std::string path_ = directory_ + "/s";
  std::optional<RespPeer> peer_;
  std::unique_ptr<valkey::ValkeyBus> bus_;
  std::string last_detail_;
  bool is_log_read_ = false;
};

TEST_F(BusConditions, healthy_server_is_connected_and_nothing_is_said) {
  start_bus();
  loop_.advance(60s);

  EXPECT_TRUE(bus_->is_connected());
  EXPECT_EQ(condition(), "ok");
  EXPECT_EQ(bus_->status().problem, "");
  EXPECT_EQ(bus_->status().warning, "");
  EXPECT_EQ(publish(), "done");
  EXPECT_EQ(peer_->connections, 1);
  EXPECT_EQ(log(), "");
}

struct Refusal {
  const char* condition;
  const char* command;  // beginning of the command that is answered so
  std::string answer;
};

class RefusedGreeting : public BusConditions, public ::testing::WithParamInterface<Refusal> {};

TEST_P(RefusedGreeting, is_said_once_retried_with_back_off_and_over_when_it_is_over) {
  const Refusal& refusal = GetParam();
  peer_->overrides[refusal.command] = refusal.answer;
  start_bus("", 9);
  loop_.advance(60s);

  EXPECT_FALSE(bus_->is_connected());
  EXPECT_EQ(condition(), refusal.condition);
  EXPECT_THAT(bus_->status().problem, HasSubstr(path_));
  EXPECT_EQ(publish(), "closed");
  EXPECT_GE(peer_->connections, kLeastTriesIn60s);
  EXPECT_LE(peer_->connections, kMostTriesIn60s);
  EXPECT_EQ(peer_->count("XADD"), 0);

  peer_->overrides.clear();
  loop_.advance(1s);
  EXPECT_TRUE(bus_->is_connected());
  EXPECT_EQ(condition(), "ok");
  EXPECT_EQ(publish(), "done");
  const std::string said = log();
  EXPECT_EQ(count(said, "bus connection is down"), 1) << said;
  EXPECT_EQ(count(said, "bus connection is back"), 1) << said;
  EXPECT_EQ(count(said, "\n"), 2) << said;
  EXPECT_THAT(said, HasSubstr(refusal.condition));
}

INSTANTIATE_TEST_SUITE_P(
    Each, RefusedGreeting,
    ::testing::Values(
        Refusal{"no-password", "CLIENT", "-NOAUTH Authentication required.\r\n"},
        Refusal{"wrong-database", "SELECT", "-ERR DB index is out of range\r\n"},
        Refusal{"too-many-clients", "SELECT", "-ERR max number of clients reached\r\n"},
        Refusal{"protected-mode", "SELECT", "-DENIED Running in protected mode because\r\n"},
        Refusal{"loading", "SELECT", "-LOADING Valkey is loading the dataset in memory\r\n"},
        Refusal{"loading", "INFO persistence", bulk("# Persistence\r\nloading:1\r\n")},
        Refusal{"replica", "INFO replication", bulk("# Replication\r\nrole:slave\r\n")},
        Refusal{"cluster", "INFO cluster", bulk("# Cluster\r\ncluster_enabled:1\r\n")},
        Refusal{"cluster", "SELECT", "-ERR SELECT is not allowed in cluster mode\r\n"},
        Refusal{"too-old", "INFO server", bulk("# Server\r\nredis_version:6.2.14\r\nrun_id:aaaa\r\n")},
        Refusal{"too-old", "INFO server", bulk("# Server\r\nrun_id:aaaa\r\n")},
        Refusal{"no-permission", "INFO", "-NOPERM User app has no permissions to run the 'info' command\r\n"},
        Refusal{"unknown-command", "CLIENT", "-ERR unknown command 'CLIENT', with args beginning with: 'x'\r\n"},
        Refusal{"http-server", "SELECT", "HTTP/1.1 400 Bad Request\r\n\r\n"},
        Refusal{"tls-server", "SELECT", std::string("\x15\x03\x01\x00\x02\x02\x46", 7)},
        Refusal{"not-valkey", "SELECT", "220 mail.example.test ESMTP\r\n"}),
    [](const auto& each) {
      std::string name = each.param.condition + std::string("_") + std::to_string(each.index);
      for (char& c : name) c = c == '-' ? '_' : c;
      return name;
    });

TEST_F(BusConditions, forbidden_first_command_is_no_connection_and_said_once) {
  peer_->overrides["TIME"] = "-NOPERM User app has no permissions to run the 'time' command\r\n";
  start_bus();
  loop_.advance(60s);
  EXPECT_FALSE(bus_->is_connected());
  EXPECT_EQ(condition(), "no-permission");
  EXPECT_THAT(bus_->status().problem, HasSubstr("(TIME)"));
  EXPECT_LE(peer_->connections, kMostTriesIn60s);

  peer_->overrides.clear();
  loop_.advance(3s);
  EXPECT_TRUE(bus_->is_connected());
  EXPECT_EQ(condition(), "ok");
  const std::string said = log();
  EXPECT_EQ(count(said, "the bus refuses"), 1) << said;
  EXPECT_EQ(count(said, "bus connection is"), 1) << said;  // back
}

TEST_F(BusConditions, server_that_closes_at_once_is_said_once) {
  peer_->closes_at_once = true;
  start_bus();
  loop_.advance(60s);
  EXPECT_EQ(condition(), "closed-unanswered");
  EXPECT_THAT(bus_->status().problem, HasSubstr("TLS"));
  EXPECT_LE(peer_->connections, kMostTriesIn60s);
  EXPECT_EQ(count(log(), "\n"), 1);
}

TEST_F(BusConditions, client_that_is_one_too_many_is_told_so_before_it_asked) {
  peer_->greeting = "-ERR max number of clients reached\r\n";
  peer_->closes_at_once = true;
  start_bus();
  loop_.advance(60s);
  EXPECT_EQ(condition(), "too-many-clients");
  EXPECT_EQ(count(log(), "\n"), 1);
}

TEST_F(BusConditions, server_that_is_away_is_said_once_and_found_within_the_cap) {
  start_bus();
  loop_.advance(2s);
  stop_peer();
  loop_.advance(60s);
  EXPECT_EQ(condition(), "unreachable");

  start_peer();
  loop_.advance(1s);
  EXPECT_TRUE(bus_->is_connected());
  EXPECT_EQ(bus_->status().reconnects, 1u);
  const std::string said = log();
  // The loss, what became of it, the end.
  EXPECT_EQ(count(said, "\n"), 3) << said;
  EXPECT_EQ(count(said, "connection-lost"), 1) << said;
  EXPECT_EQ(count(said, "unreachable"), 1) << said;
}

TEST_F(BusConditions, silent_server_is_left_at_the_deadline_each_time) {
  start_bus();
  for (const char* command : {"CLIENT", "TIME", "INFO", "XADD"}) peer_->overrides[command] = "";
  loop_.advance(10s);  // the next probe
  loop_.advance(60s);
  EXPECT_EQ(condition(), "silent");
  EXPECT_LE(peer_->connections, 1 + 60 / 5 + 1);
  EXPECT_GE(peer_->connections, 55 / 6);

  peer_->overrides.clear();
  loop_.advance(6s);
  EXPECT_TRUE(bus_->is_connected());
  const std::string said = log();
  EXPECT_EQ(count(said, "\n"), 2) << said;
}

TEST_F(BusConditions, other_trouble_at_the_same_connection_is_said_too) {
  peer_->overrides["CLIENT"] = "-NOAUTH Authentication required.\r\n";
  start_bus();
  loop_.advance(5s);
  peer_->overrides = {{"INFO persistence", bulk("loading:1\r\n")}};
  loop_.advance(5s);
  EXPECT_EQ(condition(), "loading");
  const std::string said = log();
  EXPECT_EQ(count(said, "\n"), 2) << said;
}

TEST_F(BusConditions, password_is_never_said) {
  for (const std::string text : {"-ERR unknown command 'AUTH', with args beginning with: 'hunter2'\r\n",
                                 "-ERR what is hunter2?\r\n", "-WRONGPASS invalid username-password pair\r\n"}) {
    peer_->overrides["AUTH"] = text;
    start_bus("hunter2");
    loop_.advance(2s);
    EXPECT_FALSE(bus_->is_connected());
    EXPECT_THAT(bus_->status().problem, Not(HasSubstr("hunter2")));
  }
  EXPECT_THAT(log(), Not(HasSubstr("hunter2")));
}

TEST_F(BusConditions, refused_writes_are_definite_said_once_and_probed_until_they_are_taken) {
  for (const auto& [answer, name, code] :
       {std::tuple{"-OOM command not allowed\r\n", "out-of-memory", "overloaded"},
        std::tuple{"-MISCONF Valkey is configured to\r\n", "cannot-persist", "refused"},
        std::tuple{"-NOREPLICAS Not enough\r\n", "too-few-replicas", "refused"}}) {
    start_bus();
    const int connections = peer_->connections;
    peer_->overrides["XADD"] = answer;
    for (int i = 0; i < 100; ++i) EXPECT_EQ(publish("router:requests:s" + std::to_string(i)), code);
    EXPECT_TRUE(bus_->status().refuses_writes);
    EXPECT_EQ(condition(), name);
    EXPECT_TRUE(bus_->is_connected());
    loop_.advance(2s);
    const int asked = peer_->count("XADD");
    loop_.advance(60s);
    EXPECT_GE(peer_->count("XADD") - asked, 59);
    EXPECT_LE(peer_->count("XADD") - asked, 61);

    peer_->overrides.clear();
    loop_.advance(1s);
    EXPECT_FALSE(bus_->status().refuses_writes);
    EXPECT_EQ(condition(), "ok");
    EXPECT_EQ(publish(), "done");
    EXPECT_EQ(peer_->connections, connections);
  }
  const std::string said = log();
  EXPECT_EQ(count(said, "the bus refuses"), 3) << said;
  EXPECT_EQ(count(said, "the bus no longer refuses"), 3) << said;
}

TEST_F(BusConditions, refused_writes_are_noticed_by_who_writes_nothing) {
  start_bus();
  peer_->overrides["XADD"] = "-OOM command not allowed\r\n";
  loop_.advance(10s);
  EXPECT_TRUE(bus_->status().refuses_writes);
}

TEST_F(BusConditions, server_at_the_edge_of_its_memory_does_not_fill_the_log) {
  start_bus();
  for (int i = 0; i < 1000; ++i) {
    peer_->overrides["XADD"] = i % 2 == 0 ? "-OOM command not allowed\r\n" : peer_->healthy({"XADD"});
    publish();
    loop_.advance(10ms);
  }
  EXPECT_LE(count(log(), "\n"), 2 * 11);
}

TEST_F(BusConditions, refused_place_is_named_and_others_go_on) {
  start_bus();
  peer_->overrides["XADD router:requests:billing"] = "-WRONGTYPE Operation against a key\r\n";
  peer_->overrides["XADD router:requests:orders"] = "-NOPERM No permissions to access a key\r\n";
  for (int i = 0; i < 10; ++i) {
    EXPECT_EQ(publish("router:requests:billing"), "refused");
    EXPECT_THAT(last_detail_, HasSubstr("(XADD router:requests:billing)"));
    EXPECT_EQ(publish("router:requests:orders"), "forbidden");
    EXPECT_EQ(publish("router:requests:other"), "done");
    loop_.advance(1s);
  }
  EXPECT_FALSE(bus_->status().refuses_writes);
  EXPECT_THAT(bus_->status().problem, HasSubstr("(XADD router:requests:"));

  peer_->overrides.erase("XADD router:requests:billing");
  EXPECT_EQ(publish("router:requests:billing"), "done");
  EXPECT_THAT(bus_->status().problem, HasSubstr("XADD router:requests:orders"));
  loop_.advance(61s);  // nobody tried again: no news any more
  EXPECT_EQ(condition(), "ok");
  const std::string said = log();
  EXPECT_EQ(count(said, "the bus refuses"), 2) << said;
  EXPECT_EQ(count(said, "the bus no longer refuses"), 1) << said;
}

TEST_F(BusConditions, script_is_named_with_its_key) {
  start_bus();
  peer_->overrides["EVAL"] = "-ERR ACL failure in script: User app has no permissions to run the 'xclaim' command\r\n";
  std::string code;
  bus_->renew("router:requests:billing", "a", {{1, 1}},
              [&](auto result) { code = result ? "" : base::name_of(result.error().code); });
  loop_.settle();
  EXPECT_EQ(code, "forbidden");
  const std::string said = log();
  EXPECT_THAT(said, HasSubstr("script renew router:requests:billing"));
  EXPECT_THAT(said, HasSubstr("'xclaim'"));
}

class ReaderHandler final : public messaging::GroupReaderHandler {
 public:
  void on_reader_connected(const std::string&) override { wants_read = true; }
  void on_delivered(const std::string&, std::span<const messaging::EntryView>) override {}
  void on_read_done() override {}
  void on_queue_missing() override {}
  void on_reader_lost() override {}
  bool wants_read = false;
};

TEST_F(BusConditions, forbidden_read_is_said_once_and_tried_at_the_documented_pace) {
  start_bus();
  ReaderHandler handler;
  auto reader = bus_->make_group_reader("a", handler);
  peer_->overrides["XREADGROUP"] = "-NOPERM No permissions to access a key\r\n";
  const int before = peer_->connections;
  for (int i = 0; i < 6000; ++i) {
    loop_.advance(10ms);
    if (std::exchange(handler.wants_read, false)) reader->read({"router:requests:billing"}, 1);
  }
  loop_.settle();  // the last read may just have been asked for
  EXPECT_GE(peer_->count("XREADGROUP"), kLeastTriesIn60s - 1);
  EXPECT_LE(peer_->count("XREADGROUP"), kMostTriesIn60s);
  EXPECT_EQ(peer_->connections - before, peer_->count("XREADGROUP") + (handler.wants_read ? 1 : 0));
  EXPECT_EQ(condition(), "no-permission");
  EXPECT_TRUE(bus_->is_connected());

  peer_->overrides.clear();
  for (int i = 0; i < 300; ++i) {
    loop_.advance(10ms);
    if (std::exchange(handler.wants_read, false)) reader->read({"router:requests:billing"}, 1);
  }
  reader.reset();
  const std::string said = log();
  EXPECT_EQ(count(said, "the bus refuses"), 1) << said;
  EXPECT_EQ(count(said, "bus connection is down"), 0) << said;
  EXPECT_EQ(count(said, "bus connection is back"), 1) << said;
  EXPECT_THAT(said, HasSubstr("XREADGROUP router:requests:billing"));
}

TEST_F(BusConditions, reader_given_up_while_it_was_down_is_not_remembered) {
  start_bus();
  ReaderHandler handler;
  auto reader = bus_->make_group_reader("a", handler);
  stop_peer();
  loop_.advance(2s);
  reader.reset();
  start_peer();
  loop_.advance(2s);
  EXPECT_EQ(condition(), "ok");
}

// A connection that is not used during a failover and back again meets no error, and would know an old incarnation for ever.
TEST_F(BusConditions, role_change_that_one_connection_sees_makes_all_of_them_greet_anew) {
  start_bus();
  ReaderHandler handler;
  auto reader = bus_->make_group_reader("a", handler);
  loop_.advance(0s);
  ASSERT_EQ(peer_->connections, 2);
  const std::string before = bus_->incarnation();
  peer_->overrides["INFO replication"] = bulk("# Replication\r\nrole:master\r\nmaster_replid:another\r\n");
  peer_->overrides["XREADGROUP"] = "-UNBLOCKED force unblock from blocking operation, instance state changed\r\n";
  reader->read({"router:requests:billing"}, 1);
  loop_.settle();
  loop_.advance(1s);

  EXPECT_EQ(peer_->connections, 4);
  EXPECT_NE(bus_->incarnation(), before);
  EXPECT_EQ(reader->incarnation(), bus_->incarnation());
}

TEST_F(BusConditions, errors_of_another_role_end_a_blocked_readers_connection) {
  start_bus();
  ReaderHandler handler;
  auto reader = bus_->make_group_reader("a", handler);
  loop_.advance(0s);
  for (const char* error : {"-READONLY You can't write against a read only replica.\r\n", "-LOADING is loading\r\n",
                            "-MASTERDOWN Link with MASTER is down\r\n", "-UNBLOCKED force unblock\r\n"}) {
    ASSERT_TRUE(reader->is_connected()) << error;
    peer_->overrides["XREADGROUP"] = error;
    const int before = peer_->connections;
    reader->read({"router:requests:billing"}, 1);
    loop_.settle();
    EXPECT_FALSE(reader->is_connected()) << error;
    loop_.advance(2s);
    EXPECT_EQ(peer_->connections, before + 2) << error << ": the reader's, and the commands'";
  }
}

// A write to the server that was demoted is refused for certain; without its answer its caller would wait for nothing.
TEST_F(BusConditions, what_was_written_before_a_role_change_is_answered_first) {
  start_bus();
  ReaderHandler handler;
  auto reader = bus_->make_group_reader("a", handler);
  loop_.advance(0s);
  peer_->overrides["XADD"] = "-READONLY You can't write against a read only replica.\r\n";
  peer_->overrides["XREADGROUP"] = "-UNBLOCKED force unblock from blocking operation, instance state changed\r\n";
  reader->read({"router:requests:billing"}, 1);
  EXPECT_EQ(publish(), "refused");
  EXPECT_FALSE(bus_->is_connected());
}

TEST_F(BusConditions, reader_may_end_when_a_subscription_is_lost_with_the_servers_role) {
  start_bus();
  ReaderHandler handler;
  std::unique_ptr<messaging::GroupReader> reader;
  const auto alive = bus_->make_subscription({"router:alive"}, [&](bool is_confirmed) {
    if (!is_confirmed) reader.reset();
  }, [](std::string_view, std::string_view) {});
  reader = bus_->make_group_reader("a", handler);  // the last to be told
  loop_.advance(0s);
  ASSERT_TRUE(alive->is_confirmed());
  bus_->state().role_changed();
  loop_.settle();
  EXPECT_EQ(reader, nullptr);
}

TEST_F(BusConditions, role_change_of_a_bus_that_ends_harms_nobody) {
  start_bus();
  bus_->state().role_changed();
  bus_.reset();
  loop_.settle();
}

TEST_F(BusConditions, role_change_that_nobody_saw_is_noticed_with_the_next_question_for_the_time) {
  start_bus();
  const std::string before = bus_->incarnation();
  peer_->overrides["INFO replication"] = bulk("# Replication\r\nrole:master\r\nmaster_replid:another\r\n");
  loop_.advance(60s);
  loop_.advance(1s);
  EXPECT_EQ(peer_->connections, 2);
  EXPECT_NE(bus_->incarnation(), before);
}

// An idle process asks seldom; an entry of another time than its own makes it ask at once.
TEST_F(BusConditions, entry_of_another_time_makes_it_ask_for_the_time) {
  start_bus();
  loop_.advance(5s);
  const int asked = peer_->count("TIME");
  const std::int64_t before = bus_->now_ms();
  const std::int64_t moved = peer_->now_ms() + 3'600'000;
  peer_->overrides["TIME"] = "*2\r\n" + bulk(std::to_string(moved / 1000)) + bulk("0");
  EXPECT_EQ(publish(), "done");
  EXPECT_EQ(peer_->count("TIME"), asked);
  peer_->overrides["XADD"] = bulk(std::to_string(moved) + "-0");
  EXPECT_EQ(publish(), "done");
  loop_.settle();
  EXPECT_EQ(peer_->count("TIME"), asked + 1);
  EXPECT_GT(bus_->now_ms() - before, 3'500'000);
  EXPECT_NE(log().find("clock was moved"), std::string::npos);
}

TEST_F(BusConditions, eviction_is_warned_of_once_and_withdrawn) {
  peer_->overrides["INFO memory"] = bulk("maxmemory:1000\r\nmaxmemory_policy:allkeys-lru\r\n");
  start_bus();
  loop_.advance(60s);
  EXPECT_TRUE(bus_->is_connected());
  EXPECT_EQ(condition(), "evicts");
  EXPECT_EQ(bus_->status().problem, "");
  EXPECT_THAT(bus_->status().warning, HasSubstr("allkeys-lru"));

  peer_->overrides.clear();
  loop_.advance(400s);
  EXPECT_EQ(bus_->status().warning, "");
  EXPECT_EQ(condition(), "ok");
  const std::string said = log();
  EXPECT_EQ(count(said, "\n"), 2) << said;
}

TEST_F(BusConditions, eviction_without_a_limit_is_no_danger) {
  peer_->overrides["INFO memory"] = bulk("maxmemory:0\r\nmaxmemory_policy:allkeys-lru\r\n");
  start_bus();
  EXPECT_EQ(bus_->status().warning, "");
}

}  // namespace
}  // namespace outrigger::tests
