// What every implementation of messaging::Bus must do, as a typed test suite over a fixture: run against the memory bus
// (tests/unit/support) and against a real server (tests/integration). It uses the interface alone.
//
//   INSTANTIATE_TYPED_TEST_SUITE_P(Memory, BusContract, MemoryBusFixture);
//
// A fixture derives from BusFixture, is default-constructible and starts with an empty server of its own.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "bridge/base/limits.h"
#include "bridge/frames/queue_names.h"
#include "bridge/messaging/bus.h"
#include "tests/support/recording_handlers.h"

namespace outrigger::tests {

class BusFixture {
 public:
  virtual ~BusFixture() = default;
  // A bus of its own, as of another process; not yet connected. All have the same group. Dies before the fixture.
  virtual std::unique_ptr<messaging::Bus> make_bus() = 0;
  // Turns the loop until `condition` holds; false if it does not within what is generous for this fixture.
  virtual bool run_until(const std::function<bool()>& condition) = 0;
  // Time passes for the processes and for the server, while the loop turns.
  virtual void pass_time(std::chrono::milliseconds time) = 0;
  // Every connection of every bus breaks; they come back by themselves.
  virtual void break_connections() = 0;
  virtual void flush_all() = 0;
  virtual void set_out_of_memory(bool is_out_of_memory) = 0;
  // As XINFO GROUPS says; nothing where it says null.
  virtual std::optional<std::int64_t> lag(const std::string& queue) = 0;
  // Wake mode `notify`: who reads is woken, not served in turn, and learns of a missing queue when it looks.
  virtual bool is_notified() const { return false; }
};

using messaging::Done;
using Id = messaging::EntryId;
using Ids = std::vector<Id>;

template <class Fixture>
class BusContract : public ::testing::Test {
 protected:
  Fixture fixture_;
  std::unique_ptr<messaging::Bus> bus_ = connected_bus();
  const std::string queue_ = "router:requests:billing";

  std::unique_ptr<messaging::Bus> connected_bus() {
    std::unique_ptr<messaging::Bus> bus = fixture_.make_bus();
    EXPECT_TRUE(fixture_.run_until([&] { return bus->is_connected(); }));
    return bus;
  }

  // Starts an operation and waits for its completion, which must not come inside the call.
  template <class T>
  base::Result<T> ask(const std::function<void(Done<T>)>& start) {
    const auto result = std::make_shared<std::optional<base::Result<T>>>();
    start([result](base::Result<T> outcome) {
      EXPECT_FALSE(result->has_value()) << "completed twice";
      result->emplace(std::move(outcome));
    });
    EXPECT_FALSE(result->has_value()) << "completed inside the call";
    EXPECT_TRUE(fixture_.run_until([&] { return result->has_value(); })) << "never completed";
    if (!result->has_value()) return base::Error{base::Code::deadline, "never completed"};
    return *std::move(*result);
  }
  template <class T>
  T get(const std::function<void(Done<T>)>& start) {
    base::Result<T> result = ask<T>(start);
    EXPECT_TRUE(result.has_value()) << result.error().detail;
    return result.has_value() ? std::move(*result) : T{};
  }
  template <class T>
  std::optional<base::Code> error(const std::function<void(Done<T>)>& start) {
    const base::Result<T> result = ask<T>(start);
    if (result.has_value()) return std::nullopt;
    return result.error().code;
  }

  void ensure_group(const std::string& queue) {
    EXPECT_TRUE(ask<void>([&](auto done) { bus_->ensure_group(queue, std::move(done)); }).has_value());
  }
  std::optional<Id> publish(const std::string& stream, messaging::Bus::PublishOptions options = {},
                            const std::string& head = "{}") {
    options.notify = fixture_.is_notified();
    return get<std::optional<Id>>([&](auto done) { bus_->publish(stream, make_frame(head), options, std::move(done)); });
  }
  Ids publish_many(const std::string& stream, int count) {
    Ids ids;
    for (int i = 0; i < count; ++i) ids.push_back(publish(stream, {.may_create = true}).value_or(Id{}));
    return ids;
  }
  // A reader with its handler.
  struct Reader {
    RecordingGroupHandler seen;
    std::unique_ptr<messaging::GroupReader> reader;
  };
  std::unique_ptr<Reader> connected_reader(messaging::Bus& bus, const std::string& consumer) {
    auto made = std::make_unique<Reader>();
    made->reader = bus.make_group_reader(consumer, made->seen);
    EXPECT_TRUE(fixture_.run_until([&] { return made->reader->is_connected() && made->seen.connected == 1; }));
    return made;
  }
  // Has `consumer` read `count` entries that are there.
  Ids deliver(const std::string& queue, const std::string& consumer, std::uint32_t count) {
    const auto reader = connected_reader(*bus_, consumer);
    reader->reader->read({queue}, count);
    EXPECT_TRUE(fixture_.run_until([&] { return reader->seen.done == 1; }));
    return reader->seen.ids();
  }
  std::vector<messaging::PendingEntry> pending(std::int64_t min_idle_ms = 0, std::uint32_t limit = 1000) {
    return get<std::vector<messaging::PendingEntry>>(
        [&](auto done) { bus_->pending_entries(queue_, min_idle_ms, limit, std::move(done)); });
  }
  std::uint64_t length(const std::string& queue) {
    return get<std::uint64_t>([&](auto done) { bus_->queue_length(queue, std::move(done)); });
  }
  void settle(Id id) {
    EXPECT_TRUE(ask<void>([&](auto done) { bus_->settle(queue_, id, std::move(done)); }).has_value());
  }
  void sweep(const std::string& self, std::int64_t dead_after_ms) {
    EXPECT_TRUE(ask<void>([&](auto done) { bus_->sweep(queue_, self, dead_after_ms, std::move(done)); }).has_value());
  }
  Ids hand_back(const std::string& consumer, std::vector<messaging::HandBack> entries) {
    return get<Ids>([&](auto done) { bus_->hand_back(queue_, consumer, entries, std::move(done)); });
  }
  Ids take(const Ids& ids) {
    return get<Ids>([&](auto done) { bus_->take(queue_, ids, false, std::move(done)); });
  }
  std::vector<messaging::ClaimedEntry> claim(const std::string& consumer, const std::string& from,
                                             const std::vector<messaging::PendingEntry>& entries) {
    return get<std::vector<messaging::ClaimedEntry>>(
        [&](auto done) { bus_->claim(queue_, consumer, from, entries, std::move(done)); });
  }
  std::vector<std::string> consumers() {
    return get<std::vector<std::string>>([&](auto done) { bus_->consumers(queue_, std::move(done)); });
  }
};

TYPED_TEST_SUITE_P(BusContract);

TYPED_TEST_P(BusContract, connects_and_learns_the_incarnation) {
  const auto other = this->connected_bus();

  EXPECT_FALSE(this->bus_->incarnation().empty());
  EXPECT_EQ(this->bus_->incarnation(), other->incarnation());
  const auto reader = this->connected_reader(*other, "a");
  EXPECT_EQ(reader->reader->incarnation(), other->incarnation());
  EXPECT_EQ(reader->seen.incarnation, other->incarnation());
}

TYPED_TEST_P(BusContract, publish_to_a_missing_stream_writes_nothing) {
  EXPECT_EQ(this->publish(this->queue_), std::nullopt);
  EXPECT_EQ(this->length(this->queue_), 0u);
}

TYPED_TEST_P(BusContract, publish_gives_rising_ids_near_the_servers_clock) {
  const auto first = this->publish(this->queue_, {.may_create = true});
  const auto second = this->publish(this->queue_);

  ASSERT_TRUE(first && second);
  EXPECT_LT(*first, *second);
  EXPECT_EQ(this->length(this->queue_), 2u);
  const std::int64_t off = this->bus_->now_ms() - static_cast<std::int64_t>(second->ms);
  EXPECT_LE(std::abs(off), this->bus_->clock_error_ms() + 1000);
}

TYPED_TEST_P(BusContract, publish_keeps_a_capped_stream_short) {
  for (int i = 0; i < 500; ++i) this->publish("router:control", {.may_create = true, .max_length = 100});

  EXPECT_GE(this->length("router:control"), 100u);
  EXPECT_LT(this->length("router:control"), 400u);
}

TYPED_TEST_P(BusContract, publish_takes_the_bytes_before_it_returns) {
  this->ensure_group(this->queue_);
  {
    std::string body("\x00\xff", 2);
    std::string head = "{\"id\":1}";
    this->bus_->publish(this->queue_, make_frame(head, body), {}, {});
    body = "gone";
  }
  const auto reader = this->connected_reader(*this->bus_, "a");
  reader->reader->read({this->queue_}, 1);
  ASSERT_TRUE(this->fixture_.run_until([&] { return reader->seen.delivered.size() == 1; }));

  using Field = std::pair<std::string, std::string>;
  EXPECT_THAT(reader->seen.delivered[0].fields,
              ::testing::IsSupersetOf({Field("t", "3"), Field("h", "{\"id\":1}"), Field("b", std::string("\x00\xff", 2))}));
}

TYPED_TEST_P(BusContract, group_made_twice_is_made_once) {
  this->ensure_group(this->queue_);
  const auto ids = this->publish_many(this->queue_, 3);
  this->ensure_group(this->queue_);

  EXPECT_EQ(this->deliver(this->queue_, "a", 2), (Ids{ids[0], ids[1]}));
  EXPECT_EQ(this->deliver(this->queue_, "b", 2), (Ids{ids[2]}));
}

// Who had them, and how far they were, went with the group: they count as given to somebody.
TYPED_TEST_P(BusContract, entries_of_a_stream_that_lost_its_group_are_parked_as_delivered_once) {
  const auto ids = this->publish_many(this->queue_, 40);
  this->ensure_group(this->queue_);
  const auto later = this->publish_many(this->queue_, 1);

  const auto found = this->pending();
  ASSERT_EQ(found.size(), 40u);
  EXPECT_EQ(found[39].id, ids[39]);
  EXPECT_EQ(found[39].consumer, "parked");
  EXPECT_EQ(found[39].delivery_count, 1u);
  EXPECT_EQ(this->deliver(this->queue_, "a", 2), later);
  const auto claimed = this->claim("a", "parked", {{ids[0], "parked", 0, 0}});
  ASSERT_EQ(claimed.size(), 1u);
  EXPECT_EQ(claimed[0].delivery_count, 2u);
  EXPECT_EQ(this->fixture_.lag(this->queue_), 0);
}

TYPED_TEST_P(BusContract, buried_entry_is_copied_with_what_is_said_of_it) {
  this->ensure_group(this->queue_);
  const auto ids = this->publish_many(this->queue_, 2);
  this->deliver(this->queue_, "a", 2);
  const auto bury = [&](Id id, messaging::DeadLetterLimits limits) {
    return this->template get<std::optional<Id>>([&](auto done) {
      this->bus_->bury(this->queue_, id, "router:dead:billing", {{"reason", "exhausted"}, {"detail", std::string("\0\xff", 2)}},
                       limits, std::move(done));
    });
  };

  const auto letter = bury(ids[0], {10, 1 << 20});
  ASSERT_TRUE(letter);
  EXPECT_FALSE(bury({1, 1}, {10, 1 << 20}));
  const auto found = this->template get<std::vector<messaging::OwnedEntry>>(
      [&](auto done) { this->bus_->read_entries("router:dead:billing", {*letter}, std::move(done)); });
  ASSERT_EQ(found.size(), 1u);
  auto fields = this->template get<std::vector<messaging::OwnedEntry>>(
      [&](auto done) { this->bus_->read_entries(this->queue_, {ids[0]}, std::move(done)); })[0].fields;
  fields.emplace_back("reason", "exhausted");
  fields.emplace_back("detail", std::string("\0\xff", 2));
  EXPECT_EQ(found[0].fields, fields);
  EXPECT_EQ(this->pending().size(), 2u);  // it is for its owner to settle

  // The newest stay: by count, then by bytes.
  std::vector<Id> letters;
  for (int i = 0; i < 5; ++i) letters.push_back(*bury(ids[1], {3, 1 << 20}));
  const auto kept = [&] {
    return this->template get<std::uint64_t>(
        [&](auto done) { this->bus_->queue_length("router:dead:billing", std::move(done)); });
  };
  EXPECT_EQ(kept(), 3u);
  bury(ids[1], {3, 1});
  EXPECT_EQ(kept(), 1u);
}

TYPED_TEST_P(BusContract, cancellations_are_told_at_once_and_kept_until_they_end) {
  std::vector<std::string> heard;
  const auto other = this->connected_bus();
  const auto subscription =
      other->make_subscription({"alive", "cancel"}, [](bool) {},
                               [&](std::string_view channel, std::string_view message) {
                                 heard.push_back(std::string(channel) + " " + std::string(message));
                               });
  ASSERT_TRUE(this->fixture_.run_until([&] { return subscription->is_confirmed(); }));
  const std::int64_t now = this->bus_->now_ms();
  const auto kept = [&] {
    return this->template get<std::vector<std::string>>(
        [&](auto done) { other->cancelled("cancelled", std::move(done)); });
  };
  EXPECT_TRUE(kept().empty());

  this->bus_->tell("cancel", "first");
  this->bus_->tell("nobody", "unheard");
  this->bus_->cancel("cancel", "cancelled", {{"second", now + 60'000}, {"third", now + 90'000}});
  this->bus_->cancel("cancel", "cancelled", {{"over", now - 60'000}});

  ASSERT_TRUE(this->fixture_.run_until([&] { return heard.size() == 4; }));
  EXPECT_THAT(heard, ::testing::ElementsAre("cancel first", "cancel second", "cancel third", "cancel over"));
  EXPECT_THAT(kept(), ::testing::UnorderedElementsAre("second", "third"));
}

TYPED_TEST_P(BusContract, read_gives_up_to_count_of_each_queue) {
  const std::string other = this->queue_ + ":2";
  this->ensure_group(this->queue_);
  this->ensure_group(other);
  this->publish_many(this->queue_, 3);
  this->publish_many(other, 3);
  const auto reader = this->connected_reader(*this->bus_, "a");

  reader->reader->read({this->queue_, other}, 2);
  EXPECT_TRUE(reader->reader->is_reading());
  ASSERT_TRUE(this->fixture_.run_until([&] { return reader->seen.done == 1; }));

  EXPECT_FALSE(reader->reader->is_reading());
  ASSERT_EQ(reader->seen.delivered.size(), 4u);
  EXPECT_EQ(reader->seen.delivered[0].queue, this->queue_);
  EXPECT_EQ(reader->seen.delivered[3].queue, other);
}

TYPED_TEST_P(BusContract, blocked_read_ends_with_the_entry_that_comes) {
  this->ensure_group(this->queue_);
  const auto reader = this->connected_reader(*this->bus_, "a");
  reader->reader->read({this->queue_}, 5);
  this->fixture_.pass_time(std::chrono::milliseconds(20));
  EXPECT_TRUE(reader->reader->is_reading());

  const auto id = this->publish(this->queue_);
  ASSERT_TRUE(this->fixture_.run_until([&] { return reader->seen.done == 1; }));

  EXPECT_EQ(reader->seen.ids(), (Ids{*id}));
}

TYPED_TEST_P(BusContract, blocked_readers_share_entries_in_the_order_they_came) {
  this->ensure_group(this->queue_);
  const auto other = this->connected_bus();
  const auto first = this->connected_reader(*this->bus_, "a");
  const auto second = this->connected_reader(*other, "b");
  first->reader->read({this->queue_}, 5);
  this->fixture_.pass_time(std::chrono::milliseconds(20));
  second->reader->read({this->queue_}, 5);
  this->fixture_.pass_time(std::chrono::milliseconds(20));

  const auto ids = this->publish_many(this->queue_, 2);
  if (this->fixture_.is_notified()) {
    ASSERT_TRUE(this->fixture_.run_until(
        [&] { return first->seen.delivered.size() + second->seen.delivered.size() == 2; }));
    Ids seen = first->seen.ids();
    for (const Id id : second->seen.ids()) seen.push_back(id);
    EXPECT_THAT(seen, ::testing::UnorderedElementsAreArray(ids));
    return;
  }
  ASSERT_TRUE(this->fixture_.run_until([&] { return first->seen.done + second->seen.done == 2; }));

  EXPECT_EQ(first->seen.ids(), (Ids{ids[0]}));
  EXPECT_EQ(second->seen.ids(), (Ids{ids[1]}));
}

TYPED_TEST_P(BusContract, unblock_ends_a_blocked_read_without_entries) {
  this->ensure_group(this->queue_);
  const auto reader = this->connected_reader(*this->bus_, "a");
  reader->reader->read({this->queue_}, 5);
  this->fixture_.pass_time(std::chrono::milliseconds(20));

  reader->reader->unblock();
  ASSERT_TRUE(this->fixture_.run_until([&] { return reader->seen.done == 1; }));

  EXPECT_TRUE(reader->seen.delivered.empty());
  EXPECT_FALSE(reader->reader->is_reading());
}

TYPED_TEST_P(BusContract, one_missing_queue_fails_the_whole_read) {
  const std::string other = this->queue_ + ":2";
  this->ensure_group(this->queue_);
  this->publish(this->queue_);
  const auto reader = this->connected_reader(*this->bus_, "a");

  reader->reader->read({this->queue_, other}, 5);
  ASSERT_TRUE(this->fixture_.run_until([&] { return reader->seen.missing == 1; }));
  EXPECT_FALSE(reader->reader->is_reading());
  EXPECT_TRUE(reader->seen.delivered.empty());

  this->ensure_group(other);
  ASSERT_TRUE(this->fixture_.run_until([&] { return reader->reader->is_connected(); }));
  reader->reader->read({this->queue_, other}, 5);
  ASSERT_TRUE(this->fixture_.run_until([&] { return reader->seen.done == 1; }));
  EXPECT_EQ(reader->seen.delivered.size(), 1u);
}

TYPED_TEST_P(BusContract, blocked_read_is_told_that_its_queue_was_removed) {
  this->ensure_group(this->queue_);
  const auto reader = this->connected_reader(*this->bus_, "a");
  reader->reader->read({this->queue_}, 5);
  this->fixture_.pass_time(std::chrono::milliseconds(20));

  this->bus_->remove_key(this->queue_);

  EXPECT_TRUE(this->fixture_.run_until([&] { return reader->seen.missing == 1; }));
  EXPECT_FALSE(reader->reader->is_reading());
}

TYPED_TEST_P(BusContract, blocked_read_is_told_that_everything_was_flushed) {
  this->ensure_group(this->queue_);
  const auto reader = this->connected_reader(*this->bus_, "a");
  reader->reader->read({this->queue_}, 5);
  this->fixture_.pass_time(std::chrono::milliseconds(20));

  this->fixture_.flush_all();

  EXPECT_TRUE(this->fixture_.run_until([&] { return reader->seen.missing == 1; }));
  EXPECT_TRUE(this->bus_->is_connected());
}

TYPED_TEST_P(BusContract, delivered_entry_is_pending_with_count_1) {
  this->ensure_group(this->queue_);
  const auto ids = this->publish_many(this->queue_, 2);
  this->deliver(this->queue_, "a", 2);
  this->fixture_.pass_time(std::chrono::milliseconds(30));

  const auto found = this->pending();
  ASSERT_EQ(found.size(), 2u);
  EXPECT_EQ(found[0].id, ids[0]);
  EXPECT_EQ(found[0].consumer, "a");
  EXPECT_EQ(found[0].delivery_count, 1u);
  EXPECT_GE(found[0].idle_ms, 25);
  EXPECT_EQ(this->pending(60'000).size(), 0u);
  EXPECT_EQ(this->pending(0, 1).size(), 1u);
}

TYPED_TEST_P(BusContract, settled_entries_vanish_and_the_lag_stays_known) {
  this->ensure_group(this->queue_);
  const auto ids = this->publish_many(this->queue_, 4);
  for (const auto id : this->deliver(this->queue_, "a", 3)) this->bus_->note_delivered(this->queue_, id);

  this->settle(ids[2]);  // the highest delivered one, with older ones still there
  EXPECT_EQ(this->pending().size(), 2u);
  EXPECT_EQ(this->fixture_.lag(this->queue_), 1);
  this->settle(ids[1]);
  EXPECT_EQ(this->fixture_.lag(this->queue_), 1);
  this->settle(ids[0]);
  EXPECT_EQ(this->fixture_.lag(this->queue_), 1);
  for (const auto id : this->deliver(this->queue_, "a", 3)) this->bus_->note_delivered(this->queue_, id);
  this->settle(ids[3]);
  this->sweep("a", 3600'000);

  EXPECT_EQ(this->pending().size(), 0u);
  EXPECT_EQ(this->fixture_.lag(this->queue_), 0);
  EXPECT_EQ(this->length(this->queue_), 0u);
}

TYPED_TEST_P(BusContract, held_entry_is_deleted_once_a_higher_one_was_delivered) {
  this->ensure_group(this->queue_);
  const auto ids = this->publish_many(this->queue_, 3);
  for (const auto id : this->deliver(this->queue_, "a", 2)) this->bus_->note_delivered(this->queue_, id);
  this->settle(ids[1]);
  for (const auto id : this->deliver(this->queue_, "a", 1)) this->bus_->note_delivered(this->queue_, id);

  EXPECT_TRUE(this->fixture_.run_until([&] { return this->length(this->queue_) == 2; }));
  EXPECT_EQ(this->fixture_.lag(this->queue_), 0);
}

TYPED_TEST_P(BusContract, settling_what_is_gone_succeeds) {
  this->ensure_group(this->queue_);
  const auto ids = this->publish_many(this->queue_, 1);
  this->deliver(this->queue_, "a", 1);
  this->settle(ids[0]);
  this->settle(ids[0]);
  this->bus_->remove_key(this->queue_);
  this->settle(ids[0]);
}

TYPED_TEST_P(BusContract, renew_resets_the_idle_time_of_own_entries_only) {
  this->ensure_group(this->queue_);
  const auto ids = this->publish_many(this->queue_, 3);
  this->deliver(this->queue_, "a", 1);
  this->deliver(this->queue_, "b", 1);
  this->fixture_.pass_time(std::chrono::milliseconds(300));

  const auto renewed = this->template get<Ids>(
      [&](auto done) { this->bus_->renew(this->queue_, "a", ids, std::move(done)); });

  EXPECT_EQ(renewed, (Ids{ids[0]}));
  const auto found = this->pending();
  ASSERT_EQ(found.size(), 2u);
  EXPECT_LT(found[0].idle_ms, 300);
  EXPECT_EQ(found[0].delivery_count, 1u);
  EXPECT_GE(found[1].idle_ms, 290);
}

TYPED_TEST_P(BusContract, hand_back_needs_the_owner_and_the_count) {
  this->ensure_group(this->queue_);
  const auto ids = this->publish_many(this->queue_, 2);
  this->deliver(this->queue_, "a", 2);

  EXPECT_TRUE(this->hand_back("b", {{ids[0], 1, 0}}).empty());
  EXPECT_TRUE(this->hand_back("a", {{ids[0], 2, 0}}).empty());
  EXPECT_EQ(this->hand_back("a", {{ids[0], 1, 0}, {ids[1], 3, 0}}), (Ids{ids[0]}));
  EXPECT_TRUE(this->hand_back("a", {{ids[0], 1, 0}}).empty());

  const auto found = this->pending();
  ASSERT_EQ(found.size(), 2u);
  EXPECT_EQ(found[0].consumer, frames::kParkedConsumer);
  EXPECT_EQ(found[0].delivery_count, 0u);
  EXPECT_GT(found[0].idle_ms, std::chrono::milliseconds(base::limits::kLeaseDuration).count());
  EXPECT_EQ(found[1].consumer, "a");
}

TYPED_TEST_P(BusContract, claim_from_parked_raises_the_count_to_1) {
  this->ensure_group(this->queue_);
  this->publish(this->queue_, {}, "{\"n\":7}");
  const auto ids = this->deliver(this->queue_, "a", 1);
  this->hand_back("a", {{ids[0], 1, 0}});

  const auto claimed = this->claim("b", "parked", this->pending());

  ASSERT_EQ(claimed.size(), 1u);
  EXPECT_EQ(claimed[0].entry.id, ids[0]);
  EXPECT_EQ(claimed[0].delivery_count, 1u);
  EXPECT_THAT(claimed[0].entry.fields, ::testing::Contains(std::pair<std::string, std::string>("h", "{\"n\":7}")));
  EXPECT_EQ(this->pending()[0].consumer, "b");
}

TYPED_TEST_P(BusContract, claim_needs_the_owner_and_the_idle_time) {
  this->ensure_group(this->queue_);
  this->publish(this->queue_);
  this->deliver(this->queue_, "a", 1);
  this->fixture_.pass_time(std::chrono::milliseconds(200));
  auto seen = this->pending();
  ASSERT_EQ(seen.size(), 1u);

  EXPECT_TRUE(this->claim("b", "c", seen).empty());
  auto idler = seen;
  idler[0].idle_ms += 60'000;
  EXPECT_TRUE(this->claim("b", "a", idler).empty());
  const auto claimed = this->claim("b", "a", seen);
  ASSERT_EQ(claimed.size(), 1u);
  EXPECT_EQ(claimed[0].delivery_count, 2u);
  EXPECT_TRUE(this->claim("c", "a", seen).empty());  // the second of two takers
  EXPECT_TRUE(this->claim("c", "b", seen).empty());
}

TYPED_TEST_P(BusContract, own_pending_tells_what_is_not_in_hand_and_changes_nothing) {
  this->ensure_group(this->queue_);
  const auto ids = this->publish_many(this->queue_, 4);
  this->deliver(this->queue_, "a", 3);
  this->deliver(this->queue_, "b", 1);
  this->fixture_.pass_time(std::chrono::milliseconds(30));
  const auto own = [&](Ids in_hand, std::uint32_t limit) {
    return this->template get<std::vector<messaging::ClaimedEntry>>(
        [&](auto done) { this->bus_->own_pending(this->queue_, "a", in_hand, limit, std::move(done)); });
  };

  const auto found = own({ids[0]}, 10);

  ASSERT_EQ(found.size(), 2u);
  EXPECT_EQ(found[0].entry.id, ids[1]);
  EXPECT_EQ(found[1].entry.id, ids[2]);
  EXPECT_EQ(found[0].delivery_count, 1u);
  EXPECT_FALSE(found[0].entry.fields.empty());
  EXPECT_EQ(own({ids[0]}, 1).size(), 1u);
  EXPECT_EQ(own(ids, 10).size(), 0u);
  for (const auto& entry : this->pending()) {
    EXPECT_EQ(entry.delivery_count, 1u);
    EXPECT_GE(entry.idle_ms, 25);
  }
}

TYPED_TEST_P(BusContract, take_gets_what_is_undelivered_or_parked) {
  this->ensure_group(this->queue_);
  const auto ids = this->publish_many(this->queue_, 4);
  this->deliver(this->queue_, "a", 3);
  this->hand_back("a", {{ids[1], 1, 0}});
  this->settle(ids[2]);

  EXPECT_EQ(this->take(ids), (Ids{ids[1], ids[3]}));
  EXPECT_TRUE(this->take({ids[1], ids[3]}).empty());
  const auto found = this->pending();
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found[0].id, ids[0]);
}

// What a lost group left behind, or a service broke off: it may have been begun.
TYPED_TEST_P(BusContract, what_is_parked_with_a_count_is_taken_only_if_it_may_run_twice) {
  const auto ids = this->publish_many(this->queue_, 1);
  this->ensure_group(this->queue_);
  const auto take = [&](bool only_unbegun) {
    return this->template get<Ids>(
        [&](auto done) { this->bus_->take(this->queue_, ids, only_unbegun, std::move(done)); });
  };
  EXPECT_TRUE(take(true).empty());
  EXPECT_EQ(this->pending().size(), 1u);
  EXPECT_EQ(take(false), ids);
}

TYPED_TEST_P(BusContract, read_entries_leaves_missing_ones_out) {
  const auto ids = this->publish_many(this->queue_, 2);
  const auto found = this->template get<std::vector<messaging::OwnedEntry>>(
      [&](auto done) { this->bus_->read_entries(this->queue_, {{1, 1}, ids[1]}, std::move(done)); });

  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found[0].id, ids[1]);
  EXPECT_FALSE(found[0].fields.empty());
}

TYPED_TEST_P(BusContract, sweep_deletes_acknowledged_entries_in_front) {
  this->ensure_group(this->queue_);
  const auto ids = this->publish_many(this->queue_, 4);
  this->deliver(this->queue_, "a", 3);
  {
    const auto crashed = this->connected_bus();  // acknowledges, but dies with its deletions held back
    this->template ask<void>([&](auto done) { crashed->settle(this->queue_, ids[0], std::move(done)); }).has_value();
    this->template ask<void>([&](auto done) { crashed->settle(this->queue_, ids[1], std::move(done)); }).has_value();
  }

  this->sweep("b", 3600'000);

  EXPECT_EQ(this->length(this->queue_), 2u);
  EXPECT_EQ(this->pending().size(), 1u);
  EXPECT_EQ(this->fixture_.lag(this->queue_), 1);
}

TYPED_TEST_P(BusContract, sweep_removes_dead_consumers_that_own_nothing) {
  this->ensure_group(this->queue_);
  this->publish_many(this->queue_, 3);
  this->deliver(this->queue_, "owner", 1);
  this->settle(this->deliver(this->queue_, "gone", 1)[0]);
  this->settle(this->deliver(this->queue_, "self", 1)[0]);
  this->fixture_.pass_time(std::chrono::milliseconds(50));

  this->sweep("self", 3600'000);
  EXPECT_EQ(this->consumers().size(), 3u);
  this->sweep("self", 20);

  EXPECT_THAT(this->consumers(), ::testing::UnorderedElementsAre("owner", "self"));
}

TYPED_TEST_P(BusContract, remove_consumer_spares_one_with_pending_entries) {
  this->ensure_group(this->queue_);
  this->publish_many(this->queue_, 2);
  this->deliver(this->queue_, "owner", 1);
  this->settle(this->deliver(this->queue_, "idle", 1)[0]);

  for (const char* name : {"owner", "idle", "unknown"}) {
    EXPECT_TRUE(this->template ask<void>([&](auto done) {
                      this->bus_->remove_consumer(this->queue_, name, std::move(done));
                    }).has_value());
  }

  EXPECT_THAT(this->consumers(), ::testing::UnorderedElementsAre("owner"));
  EXPECT_EQ(this->pending().size(), 1u);
}

TYPED_TEST_P(BusContract, queue_statistics_count_what_is_undelivered_pending_and_parked) {
  const std::string narrow = this->queue_ + ":1.0.0";
  const std::string missing = this->queue_ + ":2.0.0";
  const auto statistics = [&] {
    return this->template get<messaging::QueueStatistics>([&](auto done) {
      this->bus_->queue_statistics({this->queue_, narrow, missing}, std::move(done));
    });
  };
  const auto expect = [&](const char* when, std::uint64_t length, std::uint64_t lag, std::uint64_t pending,
                          std::uint64_t parked) {
    const messaging::QueueStatistics now = statistics();
    EXPECT_EQ(now.length, length) << when;
    EXPECT_EQ(now.lag, lag) << when;
    EXPECT_EQ(now.pending, pending) << when;
    EXPECT_EQ(now.parked, parked) << when;
    if (lag + pending == 0) {
      EXPECT_EQ(now.oldest_age_ms, 0) << when;
    }
  };
  expect("nothing is there", 0, 0, 0, 0);
  this->publish_many(narrow, 1);
  expect("a stream without a group", 1, 1, 0, 0);

  this->bus_->remove_key(narrow);
  this->ensure_group(narrow);
  this->publish_many(narrow, 1);
  this->ensure_group(this->queue_);
  this->publish_many(this->queue_, 5);
  this->fixture_.pass_time(std::chrono::milliseconds(30));
  expect("published", 6, 6, 0, 0);
  EXPECT_GE(statistics().oldest_age_ms, 25);

  const Ids ids = this->deliver(this->queue_, "a", 4);
  expect("delivered", 6, 2, 4, 0);
  EXPECT_EQ(this->hand_back("a", {{ids[1], 1, 0}}).size(), 1u);
  expect("one handed back", 6, 2, 4, 1);

  // The highest delivered one is acknowledged and still there: neither undelivered nor pending.
  this->settle(ids[3]);
  const messaging::QueueStatistics held = statistics();
  EXPECT_EQ(held.pending, 3u);
  EXPECT_EQ(held.lag, 2u);

  this->settle(ids[0]);
  this->settle(ids[2]);
  EXPECT_EQ(this->claim("b", "parked", {{ids[1], "parked", 0, 0}}).size(), 1u);
  this->settle(ids[1]);
  for (const Id id : this->deliver(this->queue_, "b", 2)) this->settle(id);
  for (const Id id : this->deliver(narrow, "b", 1)) {
    EXPECT_TRUE(this->template ask<void>([&](auto done) { this->bus_->settle(narrow, id, std::move(done)); }).has_value());
  }
  EXPECT_EQ(statistics().lag, 0u);
  for (const std::string& queue : {this->queue_, narrow}) {
    EXPECT_TRUE(this->template ask<void>([&](auto done) {
                      this->bus_->sweep(queue, "b", 3600'000, std::move(done));
                    }).has_value());
  }
  expect("all is done", 0, 0, 0, 0);
}

TYPED_TEST_P(BusContract, member_of_a_group_is_seen_before_anything_was_delivered_to_it) {
  const auto join = [&](const char* name) {
    EXPECT_TRUE(this->template ask<void>([&](auto done) {
                      this->bus_->join_group(this->queue_, name, std::move(done));
                    }).has_value());
  };
  join("a");
  join("b");
  join("a");
  EXPECT_THAT(this->consumers(), ::testing::UnorderedElementsAre("a", "b"));
  this->publish_many(this->queue_, 1);
  EXPECT_EQ(this->deliver(this->queue_, "b", 1).size(), 1u);
}

TYPED_TEST_P(BusContract, queue_is_removed_only_when_nobody_uses_it) {
  std::int64_t dead_after_ms = 3600'000;
  const auto remove = [&](const std::string& queue) {
    return this->template ask<bool>([&](auto done) { this->bus_->remove_unused(queue, dead_after_ms, std::move(done)); }).value();
  };
  const auto leave = [&](const char* name) {
    EXPECT_TRUE(this->template ask<void>([&](auto done) {
                      this->bus_->remove_consumer(this->queue_, name, std::move(done));
                    }).has_value());
  };
  EXPECT_FALSE(remove("router:requests:missing"));
  EXPECT_TRUE(this->template ask<void>([&](auto done) {
                    this->bus_->join_group(this->queue_, "waiting", std::move(done));
                  }).has_value());
  EXPECT_FALSE(remove(this->queue_)) << "somebody waits for its entries";
  leave("waiting");
  const auto ids = this->publish_many(this->queue_, 2);
  EXPECT_FALSE(remove(this->queue_)) << "an entry is undelivered";
  this->deliver(this->queue_, "owner", 2);
  this->settle(ids[0]);
  EXPECT_FALSE(remove(this->queue_)) << "an entry is pending";
  this->settle(ids[1]);
  this->sweep("other", 3600'000);
  EXPECT_EQ(this->length(this->queue_), 0u);
  EXPECT_FALSE(remove(this->queue_)) << "its owner is still a member";
  this->fixture_.pass_time(std::chrono::milliseconds(30));
  dead_after_ms = 20;

  EXPECT_TRUE(remove(this->queue_)) << "its owner owns nothing and was not seen for long";

  EXPECT_FALSE(remove(this->queue_));
  this->ensure_group(this->queue_);
  this->publish_many(this->queue_, 1);
  EXPECT_EQ(this->deliver(this->queue_, "next", 1).size(), 1u);
}

TYPED_TEST_P(BusContract, scripts_tell_that_the_group_is_missing) {
  messaging::Bus& bus = *this->bus_;
  const std::string& queue = this->queue_;
  const Id id{1, 1};

  EXPECT_EQ(this->template error<Ids>([&](auto done) { bus.renew(queue, "a", {id}, std::move(done)); }),
            base::Code::not_found);
  EXPECT_EQ(this->template error<Ids>([&](auto done) { bus.hand_back(queue, "a", {{id, 1, 0}}, std::move(done)); }),
            base::Code::not_found);
  EXPECT_EQ(this->template error<std::vector<messaging::ClaimedEntry>>(
                [&](auto done) { bus.own_pending(queue, "a", {}, 10, std::move(done)); }),
            base::Code::not_found);
  EXPECT_EQ(this->template error<std::vector<messaging::PendingEntry>>(
                [&](auto done) { bus.pending_entries(queue, 0, 10, std::move(done)); }),
            base::Code::not_found);
  EXPECT_EQ(this->template error<std::vector<messaging::ClaimedEntry>>(
                [&](auto done) { bus.claim(queue, "a", "b", {{id, "b", 0, 1}}, std::move(done)); }),
            base::Code::not_found);
  EXPECT_EQ(this->template error<Ids>([&](auto done) { bus.take(queue, {id}, false, std::move(done)); }),
            base::Code::not_found);
  EXPECT_EQ(this->template error<std::vector<std::string>>([&](auto done) { bus.consumers(queue, std::move(done)); }),
            base::Code::not_found);
}

TYPED_TEST_P(BusContract, ensure_stream_makes_it_once_and_above_the_cursor) {
  const std::string stream = "router:responses:g.0.1";
  const auto later = static_cast<std::uint64_t>(this->bus_->now_ms()) + 3600'000;
  const auto ensure = [&](Id cursor) {
    return this->template get<bool>(
        [&](auto done) { this->bus_->ensure_stream(stream, std::chrono::seconds(120), cursor, std::move(done)); });
  };

  EXPECT_TRUE(ensure({later, 5}));
  EXPECT_FALSE(ensure({later, 5}));
  EXPECT_EQ(this->length(stream), 0u);
  const auto id = this->publish(stream);
  ASSERT_TRUE(id);
  EXPECT_GT(*id, (Id{later, 5}));
}

TYPED_TEST_P(BusContract, ensured_stream_ends_unless_refreshed) {
  const std::string stream = "router:inbox:billing:a";
  const auto refresh = [&](std::chrono::milliseconds ttl) {
    return this->template get<bool>([&](auto done) { this->bus_->refresh_ttl(stream, ttl, std::move(done)); });
  };
  EXPECT_FALSE(refresh(std::chrono::seconds(1)));
  this->template get<bool>(
      [&](auto done) { this->bus_->ensure_stream(stream, std::chrono::seconds(120), {}, std::move(done)); });
  EXPECT_TRUE(this->publish(stream));

  EXPECT_TRUE(refresh(std::chrono::milliseconds(50)));
  this->fixture_.pass_time(std::chrono::milliseconds(100));

  EXPECT_EQ(this->publish(stream), std::nullopt);
}

TYPED_TEST_P(BusContract, trim_deletes_up_to_and_including_the_id) {
  const auto ids = this->publish_many("router:responses:g.0.1", 3);
  this->bus_->trim("router:responses:g.0.1", ids[1]);
  EXPECT_EQ(this->length("router:responses:g.0.1"), 1u);
}

TYPED_TEST_P(BusContract, keys_are_set_read_and_end) {
  const auto set = [&](const std::string& value, base::Duration ttl, bool only_if_absent) {
    return this->template get<bool>(
        [&](auto done) { this->bus_->set("router:key", value, ttl, only_if_absent, std::move(done)); });
  };
  const auto get = [&] {
    return this->template get<std::optional<std::string>>(
        [&](auto done) { this->bus_->get("router:key", std::move(done)); });
  };

  EXPECT_EQ(get(), std::nullopt);
  EXPECT_TRUE(set("one", std::chrono::seconds(60), true));
  EXPECT_FALSE(set("two", std::chrono::seconds(60), true));
  EXPECT_EQ(get(), "one");
  EXPECT_TRUE(set(std::string("\0\r\n", 3), std::chrono::milliseconds(50), false));
  EXPECT_EQ(get(), std::string("\0\r\n", 3));
  this->fixture_.pass_time(std::chrono::milliseconds(100));
  EXPECT_EQ(get(), std::nullopt);
  EXPECT_TRUE(set("three", std::chrono::seconds(60), true));
  this->bus_->remove_key("router:key");
  EXPECT_EQ(get(), std::nullopt);
}

// The buckets refill slowly, so that it does not matter how much time passes between the steps.
TYPED_TEST_P(BusContract, buckets_are_charged_all_or_none_and_by_every_bus) {
  using std::chrono::hours;
  const auto other = this->connected_bus();
  const messaging::RateBucket wide{"router:rate:wide:all", {hours(1), 5}};
  const messaging::RateBucket narrow{"router:rate:narrow:all", {hours(2), 2}};
  // Hours of backlog before, rounded: what refilled meanwhile is less than half an hour.
  const auto charge = [&](messaging::Bus& bus, std::vector<messaging::RateBucket> buckets) {
    std::vector<std::int64_t> found;
    for (const base::Duration backlog : this->template get<std::vector<base::Duration>>(
             [&](auto done) { bus.charge(buckets, std::move(done)); })) {
      found.push_back(std::chrono::round<hours>(backlog).count());
    }
    return found;
  };
  using Hours = std::vector<std::int64_t>;

  EXPECT_EQ(charge(*this->bus_, {wide, narrow}), (Hours{0, 0}));
  EXPECT_EQ(charge(*other, {narrow, wide}), (Hours{2, 1}));
  EXPECT_EQ(charge(*this->bus_, {wide, narrow}), (Hours{2, 4})) << "narrow is used up: neither is charged";
  EXPECT_EQ(charge(*other, {wide}), (Hours{2}));
  EXPECT_EQ(charge(*this->bus_, {wide}), (Hours{3}));
}

TYPED_TEST_P(BusContract, bucket_refills_with_time_and_its_key_ends_when_it_is_full) {
  const messaging::RateBucket bucket{"router:rate:quick:all", {std::chrono::milliseconds(200), 2}};
  const auto charge = [&] {
    return this->template get<std::vector<base::Duration>>(
        [&](auto done) { this->bus_->charge({bucket}, std::move(done)); });
  };
  const auto key = [&] {
    return this->template get<std::optional<std::string>>([&](auto done) { this->bus_->get(bucket.key, std::move(done)); });
  };
  EXPECT_EQ(charge(), std::vector<base::Duration>{base::Duration(0)});

  EXPECT_TRUE(this->fixture_.run_until([&] {
    this->fixture_.pass_time(std::chrono::milliseconds(50));
    return !key().has_value();
  }));
  EXPECT_EQ(charge(), std::vector<base::Duration>{base::Duration(0)});
}

// A stricter rule, or a server whose clock was set back: an empty bucket, not one that is closed for a year.
TYPED_TEST_P(BusContract, bucket_far_ahead_is_empty_and_no_more) {
  const std::string key = "router:rate:odd:all";
  this->template get<bool>([&](auto done) {
    this->bus_->set(key, "4000000000000000", std::chrono::hours(1), false, std::move(done));
  });

  const auto backlogs = this->template get<std::vector<base::Duration>>([&](auto done) {
    this->bus_->charge({{key, {std::chrono::hours(1), 3}}}, std::move(done));
  });

  EXPECT_EQ(backlogs, std::vector<base::Duration>{std::chrono::hours(3)});
}

TYPED_TEST_P(BusContract, charge_says_what_the_server_refuses) {
  const messaging::RateBucket bucket{"router:rate:a:all", {std::chrono::hours(1), 3}};
  const auto fault = [&](std::vector<messaging::RateBucket> buckets) {
    return this->template error<std::vector<base::Duration>>(
        [&](auto done) { this->bus_->charge(buckets, std::move(done)); });
  };
  this->publish("router:stream", {.may_create = true});

  EXPECT_EQ(fault({bucket, {"router:stream", bucket.rate}}), base::Code::refused);
  this->fixture_.set_out_of_memory(true);
  EXPECT_EQ(fault({bucket}), base::Code::overloaded);
  this->fixture_.set_out_of_memory(false);
  const auto backlogs = this->template get<std::vector<base::Duration>>(
      [&](auto done) { this->bus_->charge({bucket}, std::move(done)); });
  EXPECT_EQ(backlogs, std::vector<base::Duration>{base::Duration(0)}) << "neither refusal had charged it";
}

TYPED_TEST_P(BusContract, alive_subscription_is_counted_while_it_lives) {
  const auto count = [&] {
    return this->template get<std::vector<std::uint64_t>>([&](auto done) {
      this->bus_->subscribers({"router:alive:billing:a", "router:alive:billing:b"}, std::move(done));
    });
  };
  EXPECT_THAT(count(), ::testing::ElementsAre(0, 0));
  std::vector<bool> changes;
  const auto other = this->connected_bus();
  auto alive = other->make_subscription({"router:alive:billing:b"}, [&](bool is_alive) { changes.push_back(is_alive); }, {});
  EXPECT_FALSE(alive->is_confirmed());
  ASSERT_TRUE(this->fixture_.run_until([&] { return alive->is_confirmed(); }));

  EXPECT_THAT(count(), ::testing::ElementsAre(0, 1));
  EXPECT_THAT(changes, ::testing::ElementsAre(true));
  alive.reset();
  EXPECT_TRUE(this->fixture_.run_until([&] { return count()[1] == 0; }));
}

TYPED_TEST_P(BusContract, cursor_reader_sees_everything_after_its_cursors) {
  using Seen = std::pair<std::string, Id>;
  const auto ids = this->publish_many("router:control", 3);
  RecordingCursorHandler handler;
  const auto reader =
      this->bus_->make_cursor_reader({{"router:control", ids[0]}, {"router:responses:g.0.1", {}}}, handler);
  ASSERT_TRUE(this->fixture_.run_until([&] { return handler.seen.size() == 2; }));

  const auto more = this->publish("router:responses:g.0.1", {.may_create = true});
  ASSERT_TRUE(this->fixture_.run_until([&] { return handler.seen.size() == 3; }));
  const auto last = this->publish("router:control");
  ASSERT_TRUE(this->fixture_.run_until([&] { return handler.seen.size() == 4; }));

  EXPECT_THAT(handler.seen,
              ::testing::ElementsAre(Seen("router:control", ids[1]), Seen("router:control", ids[2]),
                                     Seen("router:responses:g.0.1", *more), Seen("router:control", *last)));
}

TYPED_TEST_P(BusContract, cursor_reader_goes_on_after_a_lost_connection) {
  RecordingCursorHandler handler;
  const auto reader = this->bus_->make_cursor_reader({{"router:control", {}}}, handler);
  this->publish_many("router:control", 200);
  ASSERT_TRUE(this->fixture_.run_until([&] { return handler.seen.size() == 200; }));

  this->fixture_.break_connections();
  ASSERT_TRUE(this->fixture_.run_until([&] { return !this->bus_->is_connected(); }));
  ASSERT_TRUE(this->fixture_.run_until([&] { return this->bus_->is_connected(); }));
  this->publish("router:control");

  ASSERT_TRUE(this->fixture_.run_until([&] { return handler.seen.size() >= 201; }));
  EXPECT_EQ(handler.seen.size(), 201u);
}

TYPED_TEST_P(BusContract, lost_connections_are_told_and_come_back) {
  this->ensure_group(this->queue_);
  RecordingBusObserver observer;
  this->bus_->add_observer(observer);
  const auto reader = this->connected_reader(*this->bus_, "a");
  std::vector<bool> changes;
  const auto alive =
      this->bus_->make_subscription({"router:alive:billing:a"}, [&](bool is_alive) { changes.push_back(is_alive); }, {});
  ASSERT_TRUE(this->fixture_.run_until([&] { return alive->is_confirmed(); }));
  reader->reader->read({this->queue_}, 5);
  const std::string incarnation = this->bus_->incarnation();

  this->fixture_.break_connections();
  ASSERT_TRUE(this->fixture_.run_until(
      [&] { return observer.lost == 1 && reader->seen.lost == 1 && changes.size() >= 2; }));
  ASSERT_TRUE(this->fixture_.run_until([&] {
    return this->bus_->is_connected() && reader->reader->is_connected() && alive->is_confirmed();
  }));

  EXPECT_EQ(observer.connected, 1);
  EXPECT_EQ(observer.new_incarnations, 0);
  EXPECT_EQ(this->bus_->incarnation(), incarnation);
  EXPECT_THAT(changes, ::testing::ElementsAre(true, false, true));
  EXPECT_FALSE(reader->reader->is_reading());
  EXPECT_EQ(reader->seen.connected, 2);
  EXPECT_EQ(reader->seen.done, 0);
  reader->reader->read({this->queue_}, 5);
  this->publish(this->queue_);
  EXPECT_TRUE(this->fixture_.run_until([&] { return reader->seen.delivered.size() == 1; }));
  this->bus_->remove_observer(observer);
}

TYPED_TEST_P(BusContract, out_of_memory_refuses_what_grows_and_lets_work_finish) {
  this->ensure_group(this->queue_);
  const auto ids = this->publish_many(this->queue_, 3);
  this->deliver(this->queue_, "a", 1);

  this->fixture_.set_out_of_memory(true);

  EXPECT_EQ(this->template error<std::optional<Id>>([&](auto done) {
              this->bus_->publish(this->queue_, make_frame(), {}, std::move(done));
            }),
            base::Code::overloaded);
  EXPECT_EQ(this->template error<void>([&](auto done) { this->bus_->ensure_group("router:requests:other", std::move(done)); }),
            base::Code::overloaded);
  EXPECT_EQ(this->template error<bool>([&](auto done) {
              this->bus_->ensure_stream("router:responses:g.0.1", std::chrono::seconds(9), {}, std::move(done));
            }),
            base::Code::overloaded);
  EXPECT_EQ(this->deliver(this->queue_, "a", 1), (Ids{ids[1]}));
  EXPECT_EQ(this->hand_back("a", {{ids[1], 1, 0}}).size(), 1u);
  EXPECT_EQ(this->claim("b", "parked", {{ids[1], "parked", 0, 0}}).size(), 1u);
  this->settle(ids[0]);
  EXPECT_EQ(this->pending().size(), 1u);
  this->fixture_.set_out_of_memory(false);
  EXPECT_TRUE(this->publish(this->queue_));
}

TYPED_TEST_P(BusContract, completions_die_with_the_bus) {
  auto other = this->connected_bus();
  bool was_called = false;
  other->get("router:key", [&](auto) { was_called = true; });
  other.reset();
  this->fixture_.pass_time(std::chrono::milliseconds(20));
  EXPECT_FALSE(was_called);
}

REGISTER_TYPED_TEST_SUITE_P(BusContract, connects_and_learns_the_incarnation, publish_to_a_missing_stream_writes_nothing,
                            publish_gives_rising_ids_near_the_servers_clock, publish_keeps_a_capped_stream_short,
                            publish_takes_the_bytes_before_it_returns,
                            group_made_twice_is_made_once,
                            entries_of_a_stream_that_lost_its_group_are_parked_as_delivered_once,
                            buried_entry_is_copied_with_what_is_said_of_it,
                            cancellations_are_told_at_once_and_kept_until_they_end,
                            read_gives_up_to_count_of_each_queue, blocked_read_ends_with_the_entry_that_comes,
                            blocked_readers_share_entries_in_the_order_they_came,
                            unblock_ends_a_blocked_read_without_entries, one_missing_queue_fails_the_whole_read,
                            blocked_read_is_told_that_its_queue_was_removed,
                            blocked_read_is_told_that_everything_was_flushed, delivered_entry_is_pending_with_count_1,
                            settled_entries_vanish_and_the_lag_stays_known,
                            held_entry_is_deleted_once_a_higher_one_was_delivered, settling_what_is_gone_succeeds,
                            renew_resets_the_idle_time_of_own_entries_only, hand_back_needs_the_owner_and_the_count,
                            claim_from_parked_raises_the_count_to_1, claim_needs_the_owner_and_the_idle_time,
                            own_pending_tells_what_is_not_in_hand_and_changes_nothing,
                            take_gets_what_is_undelivered_or_parked,
                            what_is_parked_with_a_count_is_taken_only_if_it_may_run_twice, read_entries_leaves_missing_ones_out,
                            sweep_deletes_acknowledged_entries_in_front,
                            sweep_removes_dead_consumers_that_own_nothing,
                            remove_consumer_spares_one_with_pending_entries,
                           queue_statistics_count_what_is_undelivered_pending_and_parked,
                            member_of_a_group_is_seen_before_anything_was_delivered_to_it,
                            queue_is_removed_only_when_nobody_uses_it, scripts_tell_that_the_group_is_missing,
                            ensure_stream_makes_it_once_and_above_the_cursor, ensured_stream_ends_unless_refreshed,
                            trim_deletes_up_to_and_including_the_id, keys_are_set_read_and_end,
                            buckets_are_charged_all_or_none_and_by_every_bus,
                            bucket_refills_with_time_and_its_key_ends_when_it_is_full,
                            bucket_far_ahead_is_empty_and_no_more, charge_says_what_the_server_refuses,
                            alive_subscription_is_counted_while_it_lives,
                            cursor_reader_sees_everything_after_its_cursors,
                            cursor_reader_goes_on_after_a_lost_connection, lost_connections_are_told_and_come_back,
                            out_of_memory_refuses_what_grows_and_lets_work_finish, completions_die_with_the_bus);

}  // namespace outrigger::tests
