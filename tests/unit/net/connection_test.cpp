#include "bridge/net/connection.h"

#include "tests/support/fake_clock.h"
#include "tests/support/memory_transport.h"

namespace outrigger::net {
namespace {

using tests::FakeLoop;
using tests::MemoryPeer;
using namespace std::chrono_literals;

struct Recorder final : ConnectionHandler {
  std::string data;
  int ends = 0;
  int closes = 0;
  std::vector<bool> pressure;
  base::UniqueFunction<void()> when_data;

  void on_data(std::string_view bytes) override {
    data.append(bytes);
    if (when_data) when_data();
  }
  void on_end() override { ++ends; }
  void on_closed(const base::Error&) override { ++closes; }
  void on_write_pressure(bool is_above) override { pressure.push_back(is_above); }
};

struct ConnectionTest : ::testing::Test {
  FakeLoop fake;
  MemoryPeer peer{fake.loop};
  Recorder recorder;
  std::unique_ptr<Connection> connection =
      std::make_unique<Connection>(fake.loop, peer.make_transport(), recorder);
};

TEST_F(ConnectionTest, writes_of_one_turn_leave_at_its_end) {
  connection->write("a");
  connection->write("b");
  EXPECT_EQ(peer.received(), "");

  fake.loop.run_turn(EventLoop::Wait::no);

  EXPECT_EQ(peer.received(), "ab");
}

TEST_F(ConnectionTest, paused_twice_reads_after_the_second_resume) {
  connection->pause_reading();
  connection->pause_reading();
  peer.send("x");
  fake.settle();
  connection->resume_reading();
  fake.settle();
  EXPECT_EQ(recorder.data, "");

  connection->resume_reading();
  fake.settle();
  EXPECT_EQ(recorder.data, "x");
}

TEST_F(ConnectionTest, closing_inside_on_data_stops_everything) {
  recorder.when_data = [&] {
    connection->close();
    fake.loop.release(std::move(connection));
  };
  peer.send("one");
  peer.send("two");

  fake.settle();

  EXPECT_EQ(recorder.data, "one");
  EXPECT_EQ(recorder.closes, 0);
  EXPECT_TRUE(peer.is_closed());
}

TEST_F(ConnectionTest, reset_is_told_once) {
  peer.reset();
  fake.settle();
  connection->write("late");
  fake.settle();
  EXPECT_EQ(recorder.closes, 1);
}

TEST_F(ConnectionTest, orderly_close_sends_everything_then_end_then_waits_for_the_peer) {
  peer.set_write_room(3);
  connection->write("abcdef");
  connection->close_when_flushed();
  fake.settle();
  EXPECT_EQ(peer.received(), "abc");
  EXPECT_FALSE(peer.saw_end());

  peer.set_write_room(std::nullopt);
  peer.send("ignored");
  fake.settle();
  EXPECT_EQ(peer.received(), "abcdef");
  EXPECT_TRUE(peer.saw_end());
  EXPECT_EQ(recorder.closes, 0);

  peer.send_end();
  fake.settle();
  EXPECT_EQ(recorder.closes, 1);
  EXPECT_EQ(recorder.data, "");
}

TEST_F(ConnectionTest, orderly_close_waits_for_as_long_as_the_peer_takes_something) {
  peer.set_write_room(1);
  connection->write("abcd");
  connection->close_when_flushed();
  for (int i = 0; i < 3; ++i) {
    fake.advance(Connection::kFlushPatience - 1s);
    EXPECT_EQ(recorder.closes, 0);
    peer.set_write_room(1);
    fake.advance(1s);
  }
  EXPECT_EQ(peer.received(), "abcd");
  EXPECT_TRUE(peer.saw_end());
}

TEST_F(ConnectionTest, orderly_close_gives_up_on_a_peer_that_takes_nothing) {
  peer.set_write_room(1);
  connection->write("abcd");
  connection->close_when_flushed();
  fake.settle();

  fake.advance(2 * Connection::kFlushPatience);

  EXPECT_EQ(recorder.closes, 1);
}

TEST_F(ConnectionTest, orderly_close_does_not_wait_for_ever) {
  connection->close_when_flushed();
  fake.advance(Connection::kLinger);
  EXPECT_EQ(recorder.closes, 1);
}

TEST_F(ConnectionTest, pressure_is_told_above_the_mark_and_below_half) {
  peer.set_write_room(0);
  connection->write(std::string(Connection::kHighMark + 1, 'x'));
  fake.settle();
  EXPECT_EQ(recorder.pressure, (std::vector<bool>{true}));

  peer.set_write_room(Connection::kHighMark / 2 + 1);
  fake.settle();
  EXPECT_EQ(recorder.pressure, (std::vector<bool>{true, false}));
}

}  // namespace
}  // namespace outrigger::net
