// Settling against a real server: how many commands it costs, and that neither lag nor length ever lie.
#include <algorithm>
#include <random>

#include "tests/integration/valkey/valkey_test.h"

namespace outrigger::tests {
namespace {

using namespace std::chrono_literals;

class ValkeySettlement : public ValkeyTest {
 protected:
  void SetUp() override {
    ValkeyTest::SetUp();
    make_group();
  }
  // `count` more entries go to `bus`' consumer, which notes them.
  Ids deliver_to(messaging::Bus& bus, std::string_view consumer, const Ids& ids, std::size_t first, std::size_t count) {
    deliver(consumer, static_cast<int>(count));
    const Ids delivered(ids.begin() + static_cast<std::ptrdiff_t>(first),
                        ids.begin() + static_cast<std::ptrdiff_t>(first + count));
    for (const Id id : delivered) bus.note_delivered(queue_, id);
    return delivered;
  }
  void settle(messaging::Bus& bus, Id id) {
    EXPECT_EQ(fault<void>([&](auto done) { bus.settle(queue_, id, std::move(done)); }), "");
  }
  void expect_empty() {
    EXPECT_TRUE(loop_.run_until("an empty queue", [&] { return length() == "0"; }));
    EXPECT_EQ(lag(), "0");
    EXPECT_EQ(server_->cli({"XPENDING", queue_, "router"}).substr(0, 1), "0");
  }
};

TEST_F(ValkeySettlement, one_turn_costs_one_XACK_and_one_XDEL) {
  const Ids ids = add_many(50);
  deliver_to(*bus_, "a", ids, 0, 50);
  int settled = 0;

  for (const Id id : ids) bus_->settle(queue_, id, [&](auto result) { settled += result.has_value() ? 1 : 100; });
  ASSERT_TRUE(loop_.run_until("all replies", [&] { return settled >= 50; }));

  EXPECT_EQ(settled, 50);
  EXPECT_EQ(server_->calls_of("xack"), 1u);
  EXPECT_EQ(server_->calls_of("xdel"), 1u);
  EXPECT_EQ(length(), "1");  // the highest waits for a delivery or the sweep
  expect_empty();
}

TEST_F(ValkeySettlement, lag_is_known_in_every_order_of_settling) {
  std::mt19937 random(20240607);
  for (int round = 0; round < 5; ++round) {
    const Ids ids = add_many(40);
    Ids in_hand;
    for (std::size_t first = 0; first < ids.size(); first += 5) {
      for (const Id id : deliver_to(*bus_, "a", ids, first, 5)) in_hand.push_back(id);
      std::shuffle(in_hand.begin(), in_hand.end(), random);
      while (in_hand.size() > 4 || (first + 5 == ids.size() && !in_hand.empty())) {
        settle(*bus_, in_hand.back());
        in_hand.pop_back();
        ASSERT_EQ(lag(), std::to_string(ids.size() - first - 5)) << "round " << round;
      }
    }
    expect_empty();
  }
}

TEST_F(ValkeySettlement, lag_is_known_when_two_processes_share_a_queue) {
  const auto other = connected_bus();
  const Ids ids = add_many(8);
  std::vector<std::pair<messaging::Bus*, Id>> in_hand;
  for (std::size_t i = 0; i < ids.size(); ++i) {
    messaging::Bus& bus = i % 3 == 0 ? static_cast<messaging::Bus&>(*other) : *bus_;
    in_hand.emplace_back(&bus, deliver_to(bus, i % 3 == 0 ? "b" : "a", ids, i, 1)[0]);
  }
  std::mt19937 random(7);
  std::shuffle(in_hand.begin(), in_hand.end(), random);

  for (const auto& [bus, id] : in_hand) {
    settle(*bus, id);
    ASSERT_EQ(lag(), "0") << text(id);
  }

  expect_empty();
}

TEST_F(ValkeySettlement, held_entry_goes_although_nothing_is_settled_after_it) {
  const Ids ids = add_many(3);
  deliver_to(*bus_, "a", ids, 0, 2);
  settle(*bus_, ids[1]);
  deliver_to(*bus_, "a", ids, 2, 1);

  EXPECT_TRUE(loop_.run_until("the deletion", [&] { return length() == "2"; }));
  EXPECT_EQ(lag(), "0");
}

TEST_F(ValkeySettlement, what_a_lost_connection_held_is_swept_by_another) {
  const auto other = connected_bus();
  const Ids ids = add_many(3);
  deliver_to(*bus_, "a", ids, 0, 3);
  settle(*bus_, ids[2]);
  bus_.reset();
  EXPECT_EQ(length(), "3");

  settle(*other, ids[0]);
  settle(*other, ids[1]);
  EXPECT_EQ(fault<void>([&](auto done) { other->sweep(queue_, "b", 60'000, std::move(done)); }), "");

  expect_empty();
}

TEST_F(ValkeySettlement, settlement_in_a_lost_connection_is_unknown_and_may_be_repeated) {
  const Ids ids = add_many(1);
  deliver_to(*bus_, "a", ids, 0, 1);
  std::string outcome;
  server_->suspend();
  bus_->settle(queue_, ids[0], [&](auto result) { outcome = result ? "done" : base::name_of(result.error().code); });
  pass_time(20ms);
  server_->kill_hard();
  ASSERT_TRUE(loop_.run_until("the loss", [&] { return !bus_->is_connected(); }));
  EXPECT_EQ(outcome, base::name_of(base::Code::outcome_unknown));
  EXPECT_EQ(fault<void>([&](auto done) { bus_->settle(queue_, ids[0], std::move(done)); }),
            base::name_of(base::Code::closed));

  server_->start_again();
  ASSERT_TRUE(loop_.run_until("the bus", [&] { return bus_->is_connected(); }));

  settle(*bus_, ids[0]);
}

}  // namespace
}  // namespace outrigger::tests
