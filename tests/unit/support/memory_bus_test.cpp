#include "tests/support/memory_bus.h"

#include "tests/support/bus_contract.h"

namespace outrigger::tests {
namespace {

using base::Code;
using messaging::EntryId;
using namespace std::chrono_literals;

const std::string kQueue = "router:requests:billing";

// A server and two processes, a caller and a sidecar, both connected.
class MemoryBusTest : public ::testing::Test {
 protected:
  MemoryBusTest() {
    loop_.settle();
    sidecar_.ensure_group(kQueue, {});
    loop_.settle();
  }
  // What an operation came to: nothing, "ok" or the error's name.
  struct Outcome {
    std::string text;
    template <class T>
    messaging::Done<T> done() {
      return [this](base::Result<T> result) {
        text += result.has_value() ? "ok" : std::string(base::name_of(result.error().code));
      };
    }
  };
  void publish(MemoryBus& bus, Outcome& outcome) {
    bus.publish(kQueue, make_frame(), {}, outcome.done<std::optional<EntryId>>());
  }

  FakeLoop loop_;
  MemoryServer server_{loop_};
  MemoryBus caller_{server_};
  MemoryBus sidecar_{server_};
  RecordingGroupHandler seen_;
  Outcome outcome_;
};

TEST_F(MemoryBusTest, effect_and_reply_come_in_different_turns) {
  publish(caller_, outcome_);
  EXPECT_EQ(server_.length(kQueue), 0u);
  loop_.settle(1);
  EXPECT_EQ(server_.length(kQueue), 1u);
  EXPECT_EQ(outcome_.text, "");
  loop_.settle(1);
  EXPECT_EQ(outcome_.text, "ok");
  EXPECT_EQ(caller_.calls(Op::publish), 1u);
}

TEST_F(MemoryBusTest, read_blocks_for_the_block_time) {
  const auto reader = sidecar_.make_group_reader("a", seen_);
  loop_.settle();
  reader->read({kQueue}, 1);
  loop_.advance(base::limits::kBlockTime - 1ms);
  EXPECT_TRUE(reader->is_reading());
  EXPECT_EQ(server_.blocked_readers(), 1u);
  loop_.advance(1ms);
  EXPECT_EQ(seen_.done, 1);
  EXPECT_EQ(server_.blocked_readers(), 0u);
}

TEST_F(MemoryBusTest, killed_process_leaves_its_pending_entries_and_hears_nothing) {
  server_.add(kQueue, {});
  RecordingBusObserver observer;
  sidecar_.add_observer(observer);
  const auto reader = sidecar_.make_group_reader("a", seen_);
  const auto alive = sidecar_.make_subscription({"alive"}, [](bool is_alive) { EXPECT_TRUE(is_alive); }, {});
  loop_.settle();
  reader->read({kQueue}, 1);
  sidecar_.get("key", outcome_.done<std::optional<std::string>>());
  loop_.settle(1);
  EXPECT_EQ(server_.subscribers("alive"), 1u);

  sidecar_.kill();
  publish(sidecar_, outcome_);
  loop_.advance(10s);

  EXPECT_EQ(outcome_.text, "");
  EXPECT_EQ(observer.lost + seen_.lost + seen_.done, 0);
  EXPECT_EQ(server_.subscribers("alive"), 0u);
  ASSERT_EQ(server_.pending(kQueue).size(), 1u);
  EXPECT_EQ(server_.pending(kQueue)[0].consumer, "a");
}

TEST_F(MemoryBusTest, killed_reader_gets_no_entry) {
  const auto reader = sidecar_.make_group_reader("a", seen_);
  loop_.settle();
  reader->read({kQueue}, 1);
  loop_.settle();
  sidecar_.kill();
  server_.add(kQueue, {});
  EXPECT_TRUE(server_.pending(kQueue).empty());
}

TEST_F(MemoryBusTest, cut_connection_leaves_the_outcome_unknown) {
  RecordingBusObserver observer;
  caller_.add_observer(observer);
  publish(caller_, outcome_);

  caller_.cut();
  EXPECT_EQ(outcome_.text, "");
  loop_.settle();
  EXPECT_EQ(outcome_.text, "outcome-unknown");
  EXPECT_EQ(observer.lost, 1);
  EXPECT_FALSE(caller_.is_connected());
  publish(caller_, outcome_);
  EXPECT_EQ(outcome_.text, "outcome-unknown");
  loop_.advance(10s);
  EXPECT_EQ(outcome_.text, "outcome-unknownclosed");
  EXPECT_EQ(server_.length(kQueue), 0u);

  caller_.restore();
  loop_.settle();
  EXPECT_TRUE(caller_.is_connected());
  EXPECT_EQ(observer.connected, 1);
  EXPECT_EQ(observer.new_incarnations, 0);
  caller_.remove_observer(observer);
}

TEST_F(MemoryBusTest, effect_may_come_after_the_connection_is_lost) {
  publish(caller_, outcome_);
  caller_.cut({.in_flight = InFlight::late});
  loop_.settle();
  EXPECT_EQ(outcome_.text, "outcome-unknown");
  EXPECT_EQ(server_.length(kQueue), 0u);

  server_.run_late_effects();

  EXPECT_EQ(server_.length(kQueue), 1u);
  EXPECT_EQ(outcome_.text, "outcome-unknown");
}

TEST_F(MemoryBusTest, late_read_gives_entries_to_nobody) {
  server_.add(kQueue, {});
  const auto reader = sidecar_.make_group_reader("a", seen_);
  loop_.settle();
  reader->read({kQueue}, 1);
  sidecar_.break_connections({.in_flight = InFlight::late});
  loop_.advance(1s);
  EXPECT_EQ(seen_.lost, 1);
  EXPECT_TRUE(server_.pending(kQueue).empty());

  server_.run_late_effects();

  EXPECT_EQ(server_.pending(kQueue).size(), 1u);
  EXPECT_TRUE(seen_.delivered.empty());
}

TEST_F(MemoryBusTest, half_open_connection_swallows_an_entry_and_keeps_its_subscription) {
  const auto reader = sidecar_.make_group_reader("a", seen_);
  const auto alive = sidecar_.make_subscription({"alive"}, [](bool) {}, {});
  loop_.settle();
  reader->read({kQueue}, 1);
  loop_.settle();

  sidecar_.cut({.server_notices = false});
  server_.add(kQueue, {});
  loop_.settle();

  EXPECT_EQ(seen_.lost, 1);
  EXPECT_TRUE(seen_.delivered.empty());
  EXPECT_EQ(server_.pending(kQueue).size(), 1u);
  EXPECT_EQ(server_.subscribers("alive"), 1u);
  server_.drop_ghosts();
  EXPECT_EQ(server_.subscribers("alive"), 0u);
}

TEST_F(MemoryBusTest, lost_reply_means_that_the_effect_happened) {
  caller_.lose_reply_of(Op::publish);
  publish(caller_, outcome_);
  loop_.settle();
  EXPECT_EQ(outcome_.text, "outcome-unknown");
  EXPECT_EQ(server_.length(kQueue), 1u);
  loop_.advance(1s);
  EXPECT_TRUE(caller_.is_connected());
}

TEST_F(MemoryBusTest, lost_reply_of_a_read_leaves_entries_pending) {
  const auto reader = sidecar_.make_group_reader("a", seen_);
  loop_.settle();
  sidecar_.lose_reply_of(Op::read);
  reader->read({kQueue}, 1);
  loop_.settle();
  server_.add(kQueue, {});
  loop_.advance(1s);

  EXPECT_EQ(seen_.lost, 1);
  EXPECT_TRUE(seen_.delivered.empty());
  EXPECT_EQ(server_.pending(kQueue).size(), 1u);
  EXPECT_TRUE(reader->is_connected());
  EXPECT_TRUE(sidecar_.is_connected());
}

TEST_F(MemoryBusTest, held_command_waits_and_keeps_the_order) {
  Outcome later;
  caller_.hold(Op::publish);
  publish(caller_, outcome_);
  caller_.queue_length(kQueue, later.done<std::uint64_t>());
  loop_.settle();
  EXPECT_EQ(server_.length(kQueue), 0u);
  EXPECT_EQ(later.text, "");
  caller_.set_overtaking(true);
  caller_.get("key", {});
  loop_.settle();
  EXPECT_EQ(later.text, "ok");
  EXPECT_EQ(caller_.outstanding(), 1u);

  caller_.release(Op::publish);
  loop_.settle();
  EXPECT_EQ(outcome_.text, "ok");
}

TEST_F(MemoryBusTest, held_reply_comes_when_released) {
  caller_.hold(Op::publish, MemoryBus::Hold::reply);
  publish(caller_, outcome_);
  loop_.settle();
  EXPECT_EQ(server_.length(kQueue), 1u);
  EXPECT_EQ(outcome_.text, "");
  caller_.release(Op::publish);
  loop_.settle();
  EXPECT_EQ(outcome_.text, "ok");
}

TEST_F(MemoryBusTest, hook_may_kill_the_process_right_after_the_effect) {
  caller_.after_next(Op::publish, [&] { caller_.kill(); });
  publish(caller_, outcome_);
  loop_.advance(1s);
  EXPECT_EQ(server_.length(kQueue), 1u);
  EXPECT_EQ(outcome_.text, "");
}

TEST_F(MemoryBusTest, hook_before_the_effect_may_cut_it_off) {
  caller_.before_next(Op::publish, [&] { caller_.cut(); });
  publish(caller_, outcome_);
  loop_.settle();
  EXPECT_EQ(server_.length(kQueue), 0u);
  EXPECT_EQ(outcome_.text, "outcome-unknown");
}

TEST_F(MemoryBusTest, failed_command_has_no_effect) {
  caller_.fail_next(Op::publish, {Code::refused, "ERR"});
  publish(caller_, outcome_);
  loop_.settle();
  EXPECT_EQ(outcome_.text, "refused");
  EXPECT_EQ(server_.length(kQueue), 0u);
}

TEST_F(MemoryBusTest, rollback_brings_settled_entries_back_under_a_new_incarnation) {
  const EntryId id = server_.add(kQueue, {});
  const auto reader = sidecar_.make_group_reader("a", seen_);
  RecordingBusObserver observer;
  sidecar_.add_observer(observer);
  loop_.settle();
  reader->read({kQueue}, 1);
  loop_.settle();
  const MemoryServer::Snapshot before = server_.snapshot();
  const std::string old_incarnation = reader->incarnation();
  sidecar_.settle(kQueue, id, outcome_.done<void>());
  loop_.settle();
  EXPECT_EQ(server_.length(kQueue), 0u);

  server_.restore(before);
  loop_.advance(1s);

  EXPECT_EQ(server_.length(kQueue), 1u);
  EXPECT_EQ(server_.pending(kQueue).size(), 1u);
  EXPECT_EQ(observer.lost, 1);
  EXPECT_EQ(observer.new_incarnations, 1);
  EXPECT_NE(reader->incarnation(), old_incarnation);
  EXPECT_EQ(reader->incarnation(), sidecar_.incarnation());
  sidecar_.remove_observer(observer);
}

TEST_F(MemoryBusTest, server_comes_back_empty) {
  const auto reader = sidecar_.make_group_reader("a", seen_);
  loop_.settle();
  server_.restart_empty();
  loop_.advance(1s);
  reader->read({kQueue}, 1);
  loop_.settle();
  EXPECT_EQ(seen_.missing, 1);
  EXPECT_FALSE(server_.exists(kQueue));
}

TEST_F(MemoryBusTest, stopped_server_lets_nobody_in_until_it_starts) {
  server_.stop();
  loop_.advance(60s);
  EXPECT_FALSE(caller_.is_connected());
  EXPECT_FALSE(caller_.incarnation().empty());
  server_.start();
  loop_.advance(1s);
  EXPECT_TRUE(caller_.is_connected());
}

TEST_F(MemoryBusTest, ids_rise_although_the_clock_goes_back) {
  const EntryId first = server_.add(kQueue, {});
  server_.step_clock(-10s);
  const EntryId second = server_.add(kQueue, {});
  EXPECT_EQ(second, (EntryId{first.ms, first.seq + 1}));
  EXPECT_EQ(caller_.now_ms(), server_.now_ms());
  caller_.set_clock_estimate(25, 30);
  EXPECT_EQ(caller_.now_ms(), server_.now_ms() + 25);
  EXPECT_EQ(caller_.clock_error_ms(), 30);
}

// Each row was tried on Valkey 8.0.1: `a` adds an entry, `r` reads the next one, a digit deletes that one. The last rows
// are Valkey's own mistakes: an undelivered entry deleted between others counts as lag for good.
struct LagCase {
  const char* steps;
  std::optional<std::int64_t> lag;
};
class MemoryServerLag : public MemoryBusTest, public ::testing::WithParamInterface<LagCase> {};

TEST_P(MemoryServerLag, is_told_as_valkey_tells_it) {
  const auto reader = sidecar_.make_group_reader("a", seen_);
  loop_.settle();
  std::vector<EntryId> ids;
  for (const char* step = GetParam().steps; *step != '\0'; ++step) {
    if (*step == 'a') {
      ids.push_back(server_.add(kQueue, {}));
    } else if (*step == 'r') {
      reader->read({kQueue}, 1);
      loop_.settle();
    } else {
      EXPECT_TRUE(server_.remove_entry(kQueue, ids.at(static_cast<std::size_t>(*step - '1'))));
    }
  }
  EXPECT_EQ(server_.lag(kQueue), GetParam().lag);
}

INSTANTIATE_TEST_SUITE_P(Tried, MemoryServerLag,
                         ::testing::Values(LagCase{"", 0}, LagCase{"a", 1}, LagCase{"a1", 0}, LagCase{"aar1", 1},
                                           LagCase{"aaarr2", std::nullopt}, LagCase{"aaarr2r", 0},
                                           LagCase{"aaarr2ar", 1}, LagCase{"aaar3", std::nullopt},
                                           LagCase{"aaar2", std::nullopt}, LagCase{"aarr21", 0}, LagCase{"aarr21a", 1},
                                           LagCase{"aarr2a", std::nullopt}, LagCase{"aa1", 1}, LagCase{"aa1r", 0},
                                           LagCase{"aaa2", std::nullopt}, LagCase{"aaa1r", 1}, LagCase{"aaar2r", 1},
                                           LagCase{"aaar12r", 1}),
                         [](const auto& one) {
                           return one.index == 0 ? std::string("empty") : std::string(one.param.steps);
                         });

}  // namespace
}  // namespace outrigger::tests
