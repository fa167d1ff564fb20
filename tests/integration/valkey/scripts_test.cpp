// What the Lua scripts leave behind at a real server, beyond what the bus contract asks of every bus.
#include "tests/integration/valkey/valkey_test.h"

namespace outrigger::tests {
namespace {

using namespace std::chrono_literals;
using messaging::ClaimedEntry;
using ::testing::IsEmpty;

class ValkeyScripts : public ValkeyTest {
 protected:
  void SetUp() override {
    ValkeyTest::SetUp();
    make_group();
  }
  template <class T>
  T get(const std::function<void(Done<T>)>& start) {
    auto result = ask<T>(start);
    EXPECT_TRUE(result.has_value()) << result.error().detail;
    return result.has_value() ? *std::move(result) : T{};
  }
  Ids renew(const std::string& consumer, const Ids& ids) {
    return get<Ids>([&](auto done) { bus_->renew(queue_, consumer, ids, std::move(done)); });
  }
  Ids hand_back(const std::string& consumer, const std::vector<messaging::HandBack>& entries) {
    return get<Ids>([&](auto done) { bus_->hand_back(queue_, consumer, entries, std::move(done)); });
  }
  Ids take(const Ids& ids) {
    return get<Ids>([&](auto done) { bus_->take(queue_, ids, false, std::move(done)); });
  }
  std::vector<ClaimedEntry> own_pending(const std::string& consumer, const Ids& in_hand, std::uint32_t limit) {
    return get<std::vector<ClaimedEntry>>(
        [&](auto done) { bus_->own_pending(queue_, consumer, in_hand, limit, std::move(done)); });
  }
  void sweep(const std::string& queue) {
    EXPECT_EQ(fault<void>([&](auto done) { bus_->sweep(queue, "a", 60'000, std::move(done)); }), "");
  }
  bool ensure_stream(const std::string& stream, base::Duration ttl, Id cursor = {}) {
    return get<bool>([&](auto done) { bus_->ensure_stream(stream, ttl, cursor, std::move(done)); });
  }
};

TEST_F(ValkeyScripts, renew_keeps_the_count_and_leaves_out_what_is_deleted_or_anothers) {
  const Ids ids = add_many(3);
  deliver("a", 2);
  deliver("b", 1);
  server_->cli({"XDEL", queue_, text(ids[1])});

  EXPECT_EQ(renew("a", ids), Ids{ids[0]});

  EXPECT_EQ(pending(ids[0]), "a 1");
  EXPECT_EQ(pending(ids[2]), "b 1");
}

TEST_F(ValkeyScripts, hand_back_parks_with_the_count_it_was_told) {
  const Ids ids = add_many(2);
  deliver("a", 2);

  EXPECT_EQ(hand_back("a", {{ids[0], 1, 0}, {ids[1], 1, 2}}), ids);

  EXPECT_EQ(pending(ids[0]), "parked 0");
  EXPECT_EQ(pending(ids[1]), "parked 2");
  EXPECT_THAT(hand_back("parked", {{ids[0], 1, 0}}), IsEmpty());
}

TEST_F(ValkeyScripts, hand_back_after_a_detour_is_refused_by_the_count) {
  const Id id = add();
  deliver("a", 1);
  server_->cli({"XCLAIM", queue_, "router", "b", "0", text(id)});
  server_->cli({"XCLAIM", queue_, "router", "a", "0", text(id)});

  EXPECT_THAT(hand_back("a", {{id, 1, 0}}), IsEmpty());

  EXPECT_EQ(pending(id), "a 3");
}

TEST_F(ValkeyScripts, own_pending_drops_what_was_deleted_meanwhile) {
  const Ids ids = add_many(3);
  deliver("a", 3);
  server_->cli({"XDEL", queue_, text(ids[1])});

  const auto found = own_pending("a", {ids[0]}, 10);

  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found[0].entry.id, ids[2]);
  EXPECT_EQ(pending(ids[1]), "");
  EXPECT_EQ(pending(ids[2]), "a 1");
  EXPECT_THAT(own_pending("nobody", {}, 10), IsEmpty());
}

TEST_F(ValkeyScripts, claim_skips_what_was_deleted_meanwhile) {
  const Ids ids = add_many(2);
  deliver("a", 2);
  server_->cli({"XDEL", queue_, text(ids[0])});

  const auto claimed = get<std::vector<ClaimedEntry>>([&](auto done) {
    bus_->claim(queue_, "b", "a", {{ids[0], "a", 0, 1}, {ids[1], "a", 0, 1}}, std::move(done));
  });

  ASSERT_EQ(claimed.size(), 1u);
  EXPECT_EQ(claimed[0].entry.id, ids[1]);
  EXPECT_EQ(claimed[0].delivery_count, 2u);
  EXPECT_EQ(pending(ids[1]), "b 2");
}

TEST_F(ValkeyScripts, take_parks_the_older_ones_of_others_untouched) {
  const Ids ids = add_many(4);

  EXPECT_EQ(take({ids[2]}), Ids{ids[2]});

  EXPECT_EQ(pending(ids[0]), "parked 0");
  EXPECT_EQ(pending(ids[1]), "parked 0");
  EXPECT_EQ(pending(ids[2]), "");
  EXPECT_EQ(lag(), "1");
  deliver("a", 5);
  EXPECT_EQ(pending(ids[3]), "a 1");
}

TEST_F(ValkeyScripts, take_keeps_the_lag_known_and_the_entry_goes_when_it_can) {
  const Ids ids = add_many(4);
  deliver("a", 1);

  EXPECT_EQ(take({ids[1], ids[2]}), (Ids{ids[1], ids[2]}));

  EXPECT_EQ(lag(), "1");
  EXPECT_THAT(take({ids[1], ids[2]}), IsEmpty());
  EXPECT_EQ(fault<void>([&](auto done) { bus_->settle(queue_, ids[0], std::move(done)); }), "");
  EXPECT_TRUE(loop_.run_until("the deletions", [&] { return length() == "1"; }));
  EXPECT_EQ(lag(), "1");
}

TEST_F(ValkeyScripts, take_of_an_empty_narrow_address_leaves_nothing) {
  const Ids ids = add_many(2);

  EXPECT_EQ(take({ids[1], ids[0]}), ids);

  EXPECT_EQ(length(), "0");
  EXPECT_EQ(lag(), "0");
}

TEST_F(ValkeyScripts, take_from_a_server_that_has_become_another_one_proves_nothing) {
  const Ids ids = add_many(1);
  // Down to a replica and up again: the connection stays, the history does not.
  ASSERT_EQ(server_->cli({"REPLICAOF", "127.0.0.1", "1"}), "OK");
  ASSERT_EQ(server_->cli({"REPLICAOF", "NO", "ONE"}), "OK");

  EXPECT_EQ(fault<Ids>([&](auto done) { bus_->take(queue_, ids, false, std::move(done)); }), "outcome-unknown");
}

TEST_F(ValkeyScripts, take_far_behind_others_needs_several_calls) {
  server_->cli({"EVAL", "for i = 1, 1500 do redis.call('XADD', KEYS[1], '*', 'h', '{}') end", "1", queue_});
  const Id own = add();

  EXPECT_THAT(take({own}), IsEmpty());
  EXPECT_EQ(take({own}), Ids{own});

  EXPECT_EQ(server_->cli({"XPENDING", queue_, "router"}).substr(0, 5), "1500\n");
  EXPECT_EQ(lag(), "0");
}

TEST_F(ValkeyScripts, sweep_spares_pending_and_undelivered_entries) {
  const Ids ids = add_many(4);
  deliver("a", 3);
  server_->cli({"XACK", queue_, "router", text(ids[0])});
  server_->cli({"XACK", queue_, "router", text(ids[2])});

  sweep(queue_);

  EXPECT_EQ(server_->cli({"XRANGE", queue_, "-", "+", "COUNT", "1"}).substr(0, text(ids[1]).size()), text(ids[1]));
  EXPECT_EQ(length(), "3");
  EXPECT_EQ(lag(), "1");
  sweep("router:requests:missing");
  EXPECT_EQ(server_->cli({"EXISTS", "router:requests:missing"}), "0");
}

TEST_F(ValkeyScripts, sweep_never_removes_parked) {
  const Ids ids = add_many(1);
  deliver("a", 1);
  hand_back("a", {{ids[0], 1, 0}});
  take(ids);
  pass_time(20ms);

  EXPECT_EQ(fault<void>([&](auto done) { bus_->sweep(queue_, "self", 1, std::move(done)); }), "");

  EXPECT_EQ(server_->field({"XINFO", "CONSUMERS", queue_, "router"}, "name"), "parked");
}

TEST_F(ValkeyScripts, ensured_stream_is_empty_accepts_and_ends) {
  EXPECT_TRUE(ensure_stream("router:inbox:billing:a", 120s));
  EXPECT_EQ(server_->cli({"XLEN", "router:inbox:billing:a"}), "0");
  EXPECT_EQ(server_->cli({"XINFO", "GROUPS", "router:inbox:billing:a"}), "");
  const auto ttl = [&] { return std::stoll(server_->cli({"PTTL", "router:inbox:billing:a"})); };
  EXPECT_GT(ttl(), 100'000);
  EXPECT_LE(ttl(), 120'000);

  const auto id = publish(*bus_, "router:inbox:billing:a", false);
  ASSERT_TRUE(id.has_value() && id->has_value());
  EXPECT_FALSE(ensure_stream("router:inbox:billing:a", 60s));
  EXPECT_LE(ttl(), 60'000);
  EXPECT_EQ(server_->cli({"XLEN", "router:inbox:billing:a"}), "1");
}

TEST_F(ValkeyScripts, ensured_stream_never_falls_to_the_cursor) {
  const auto last = [&] { return server_->field({"XINFO", "STREAM", "router:responses:g.0.1"}, "last-generated-id"); };
  EXPECT_TRUE(ensure_stream("router:responses:g.0.1", 120s, {9'999'999'999'999, 7}));
  EXPECT_EQ(last(), "9999999999999-7");
  const auto id = publish(*bus_, "router:responses:g.0.1", false);
  ASSERT_TRUE(id.has_value() && id->has_value());
  EXPECT_EQ(**id, (Id{9'999'999'999'999, 8}));

  EXPECT_FALSE(ensure_stream("router:responses:g.0.1", 120s, {5, 5}));
  EXPECT_EQ(last(), "9999999999999-8");
  EXPECT_FALSE(ensure_stream("router:responses:g.0.1", 120s, {9'999'999'999'999, 9}));
  EXPECT_EQ(last(), "9999999999999-9");
  EXPECT_EQ(server_->cli({"XLEN", "router:responses:g.0.1"}), "1");
}

TEST_F(ValkeyScripts, work_can_be_finished_at_maxmemory) {
  const Ids ids = add_many(4);
  deliver("a", 2);
  server_->cli({"CONFIG", "SET", "maxmemory", "1"});

  EXPECT_EQ(fault<std::optional<Id>>([&](auto done) { bus_->publish(queue_, make_frame(), {}, std::move(done)); }),
            base::name_of(base::Code::overloaded));
  EXPECT_EQ(renew("a", {ids[0]}), Ids{ids[0]});
  EXPECT_EQ(own_pending("a", {}, 10).size(), 2u);
  EXPECT_EQ(take({ids[3]}), Ids{ids[3]});
  for (const Id id : {ids[0], ids[1]}) {
    EXPECT_EQ(fault<void>([&](auto done) { bus_->settle(queue_, id, std::move(done)); }), "");
  }
  EXPECT_TRUE(loop_.run_until("the deletions", [&] { return length() == "2"; }));  // one parked, one held behind it
  EXPECT_EQ(pending(ids[2]), "parked 0");
}

TEST_F(ValkeyScripts, queue_statistics_say_when_the_lag_is_not_known) {
  const auto statistics = [&] {
    return get<messaging::QueueStatistics>([&](auto done) { bus_->queue_statistics({queue_}, std::move(done)); });
  };
  const Ids ids = add_many(5);
  EXPECT_EQ(statistics().lag, 5u);
  deliver("a", 2);
  EXPECT_EQ(statistics().lag, 3u);

  // Somebody deletes what was not delivered: the server cannot tell any more, and neither can we.
  server_->cli({"XDEL", queue_, text(ids[3])});
  EXPECT_EQ(statistics().lag, std::nullopt);
  EXPECT_EQ(statistics().length, 4u);
  EXPECT_EQ(statistics().pending, 2u);

  // Once all of the rest is delivered, or nothing before it is left, the ids alone say it.
  deliver("a", 2);
  EXPECT_EQ(statistics().lag, 0u);
  add_many(2);
  for (const Id id : {ids[0], ids[1], ids[2], ids[4]}) {
    server_->cli({"XACK", queue_, "router", text(id)});
    server_->cli({"XDEL", queue_, text(id)});
  }
  EXPECT_EQ(statistics().lag, 2u);
}

TEST_F(ValkeyScripts, queue_statistics_of_a_group_that_began_late_are_right) {
  const std::string late = queue_ + ":late";
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(publish(*bus_, late).has_value());
  server_->cli({"XGROUP", "CREATE", late, "router", "$"});

  const auto found = get<messaging::QueueStatistics>([&](auto done) { bus_->queue_statistics({late}, std::move(done)); });

  EXPECT_EQ(found.length, 3u);
  EXPECT_EQ(found.lag, 0u);
}

TEST_F(ValkeyScripts, queue_statistics_of_another_kind_of_key_are_an_error) {
  server_->cli({"SET", queue_ + ":text", "x"});

  EXPECT_NE(fault<messaging::QueueStatistics>([&](auto done) { bus_->queue_statistics({queue_ + ":text"}, std::move(done)); }),
            "");
}

// As docs/protocol.md has it.
TEST_F(ValkeyScripts, charged_bucket_holds_the_microsecond_it_is_full_again_and_ends_then) {
  const messaging::RateBucket bucket{"router:rate:a:all", {10min, 3}};
  const auto micros = [&] {
    const std::string time = server_->cli({"TIME"});
    return std::stoll(time) * 1'000'000 + std::stoll(time.substr(time.find('\n') + 1));
  };
  const std::int64_t before = micros();

  get<std::vector<base::Duration>>([&](auto done) { bus_->charge({bucket}, std::move(done)); });
  get<std::vector<base::Duration>>([&](auto done) { bus_->charge({bucket}, std::move(done)); });

  const std::int64_t arrival = std::stoll(server_->cli({"GET", bucket.key}));
  const std::int64_t after = micros();
  constexpr std::int64_t kTwenty = 20LL * 60 * 1'000'000;
  EXPECT_GE(arrival, before + kTwenty);
  EXPECT_LE(arrival, after + kTwenty);
  const std::int64_t ends = std::stoll(server_->cli({"PEXPIRETIME", bucket.key})) * 1000;
  EXPECT_GE(ends, arrival - 1000);  // the server's milliseconds are cut off
  EXPECT_LE(ends, after + kTwenty + 1000);
}

}  // namespace
}  // namespace outrigger::tests
