// The readers against a real server.
#include "tests/integration/valkey/valkey_test.h"

namespace outrigger::tests {
namespace {

using namespace std::chrono_literals;

class ValkeyReader : public ValkeyWakeTest {
 protected:
  void make_reader() {
    reader_ = bus_->make_group_reader("a", handler_);
    EXPECT_TRUE(loop_.run_until("the reader", [&] { return reader_->is_connected(); }));
  }
  // The read found nothing, and waits: at the server, or here.
  bool is_waiting() {
    if (GetParam() == frames::WakeMode::block) return server_->info("clients", "blocked_clients") == "1";
    return server_->calls_of("xreadgroup") > 0 && server_->calls_of("subscribe") > 0;
  }

  RecordingGroupHandler handler_;
  std::unique_ptr<messaging::GroupReader> reader_;

  void TearDown() override { reader_.reset(); }
};

TEST_P(ValkeyReader, unblock_that_overtakes_its_read_ends_it) {
  make_group();
  make_reader();
  const base::TimePoint began = base::system_clock().monotonic();

  // So long that the server has it piecemeal: CLIENT UNBLOCK arrives before the read is complete.
  reader_->read(std::vector<std::string>(50'000, queue_), 1);
  reader_->unblock();
  EXPECT_TRUE(loop_.run_until("the end of the read", [&] { return handler_.done == 1; }));

  EXPECT_LT(base::system_clock().monotonic() - began, 3s);  // BLOCK would be 5 s
  EXPECT_EQ(handler_.lost, 0);
}

TEST_P(ValkeyReader, destroyed_group_is_told_as_a_missing_queue) {
  make_group();
  make_reader();
  reader_->read({queue_}, 1);
  ASSERT_TRUE(loop_.run_until("the block", [&] { return is_waiting(); }));

  server_->cli({"XGROUP", "DESTROY", queue_, "router"});

  if (GetParam() == frames::WakeMode::notify) server_->cli({"PUBLISH", "router:notify:" + queue_, ""});
  EXPECT_TRUE(loop_.run_until("the news", [&] { return handler_.missing == 1; }));
  EXPECT_EQ(handler_.lost, 0);
}

TEST_P(ValkeyReader, queue_of_another_type_backs_off_instead_of_spinning) {
  server_->cli({"SET", "router:control", "no stream"});
  const std::uint64_t before = std::stoull(server_->info("stats", "total_connections_received"));
  RecordingCursorHandler handler;

  const auto cursor = bus_->make_cursor_reader({{"router:control", {}}}, handler);
  pass_time(1s);

  // 50, 100, 200, 400, 800 ms at most, halved at best: six or so.
  EXPECT_LE(std::stoull(server_->info("stats", "total_connections_received")) - before, 8u);
}

TEST_P(ValkeyReader, batch_of_large_entries_arrives_whole) {
  make_group();
  make_reader();
  server_->cli(
      {"EVAL",
       "for i = 1, 24 do redis.call('XADD', KEYS[1], '*', 'h', '{}', 'b', string.rep(tostring(i % 10), 1000000)) end",
       "1", queue_});

  reader_->read({queue_}, 24);
  ASSERT_TRUE(loop_.run_until("the batch", [&] { return handler_.done == 1; }));

  ASSERT_EQ(handler_.delivered.size(), 24u);
  for (std::size_t i = 0; i < 24; ++i) {
    EXPECT_EQ(handler_.delivered[i].fields[1].second, std::string(1'000'000, static_cast<char>('0' + (i + 1) % 10)));
  }
}

TEST_P(ValkeyReader, entry_without_fields_to_read_does_not_harm) {
  make_group();
  make_reader();
  server_->cli({"XADD", queue_, "*", "", ""});
  server_->cli({"XADD", queue_, "*", std::string_view("\0\r\n", 3), "x", "h", "1", "h", "2"});

  reader_->read({queue_}, 5);
  ASSERT_TRUE(loop_.run_until("both", [&] { return handler_.delivered.size() == 2; }));

  EXPECT_EQ(handler_.delivered[0].fields.size(), 1u);
  EXPECT_EQ(handler_.delivered[1].fields.size(), 3u);
}

TEST_P(ValkeyReader, cursor_finds_a_stream_that_was_made_anew_with_lower_ids) {
  RecordingCursorHandler handler;
  server_->cli({"XADD", "router:control", "9999999999999-1", "h", "{}"});
  const auto cursor = bus_->make_cursor_reader({{"router:control", {}}}, handler);
  ASSERT_TRUE(loop_.run_until("the first", [&] { return handler.seen.size() == 1; }));

  server_->kill_hard();
  ASSERT_TRUE(loop_.run_until("the loss", [&] { return !bus_->is_connected(); }));
  server_->start_again();
  server_->cli({"XADD", "router:control", "5-1", "h", "{}"});

  ASSERT_TRUE(loop_.run_until("the second", [&] { return handler.seen.size() == 2; }));
  EXPECT_EQ(handler.seen[1].second, (Id{5, 1}));
}

TEST_P(ValkeyReader, subscription_shows_as_long_as_the_process_lives_and_no_longer) {
  auto other = connected_bus();
  auto alive = other->make_subscription({"router:alive:billing:a"}, [](bool) {}, {});
  ASSERT_TRUE(loop_.run_until("the subscription", [&] { return alive->is_confirmed(); }));
  server_->cli({"PUBLISH", "router:alive:billing:a", "nobody should"});
  pass_time(20ms);
  EXPECT_TRUE(alive->is_confirmed());
  EXPECT_EQ(server_->cli({"PUBSUB", "NUMSUB", "router:alive:billing:a"}), "router:alive:billing:a\n1");

  alive.reset();
  other.reset();

  EXPECT_TRUE(loop_.run_until("its end", [&] {
    return server_->cli({"PUBSUB", "NUMSUB", "router:alive:billing:a"}) == "router:alive:billing:a\n0";
  }));
}

TEST_P(ValkeyReader, entry_wakes_who_waits_for_it) {
  make_group();
  make_reader();
  reader_->read({queue_}, 1);
  ASSERT_TRUE(loop_.run_until("the wait", [&] { return is_waiting(); }));
  const base::TimePoint began = base::system_clock().monotonic();
  const Id id = add();
  ASSERT_TRUE(loop_.run_until("the entry", [&] { return handler_.done == 1; }));
  EXPECT_LT(base::system_clock().monotonic() - began, 2s);
  EXPECT_EQ(handler_.ids(), Ids{id});
}

TEST_P(ValkeyReader, killed_connections_lose_no_entry) {
  make_group();
  make_reader();
  RecordingCursorHandler cursor_handler;
  const auto cursor = bus_->make_cursor_reader({{"router:control", {}}}, cursor_handler);
  std::size_t sent = 0;
  for (const char* type : {"pubsub", "normal", "pubsub"}) {
    server_->cli({"CLIENT", "KILL", "TYPE", type});
    for (int i = 0; i < 20; ++i) {
      server_->cli({"XADD", queue_, "*", "h", "{}"});
      server_->cli({"XADD", "router:control", "*", "h", "{}"});
      server_->cli({"PUBLISH", "router:notify:" + queue_, ""});
      server_->cli({"PUBLISH", "router:notify:router:control", ""});
      ++sent;
      loop_.loop.run_turn(net::EventLoop::Wait::no);
      if (reader_->is_connected() && !reader_->is_reading()) reader_->read({queue_}, 100);
    }
  }
  EXPECT_TRUE(loop_.run_until("all", [&] {
    if (reader_->is_connected() && !reader_->is_reading()) reader_->read({queue_}, 100);
    // What was delivered over a connection that was killed is pending and not handed over.
    const std::string pending = server_->cli({"XPENDING", queue_, "router"});
    return cursor_handler.seen.size() == sent && pending.starts_with(std::to_string(sent) + "\n");
  }));
}

OUTRIGGER_IN_BOTH_WAKE_MODES(ValkeyReader);

}  // namespace
}  // namespace outrigger::tests
