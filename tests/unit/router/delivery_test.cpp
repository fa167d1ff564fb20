// Callers and sidecars together: what a client is told when something dies, is cut off, comes back or loses its memory.
#include "bridge/base/limits.h"
#include "tests/unit/router/delivery_stage.h"

namespace outrigger::tests {
namespace {

using Reaction = ScriptedService::Reaction;
namespace limits = base::limits;

class TogetherTest : public DeliveryTest {
 protected:
  // Two gateways, two sidecars, all connected for long.
  void set_stage() {
    for (Gateway* gateway : {&one_, &two_}) ASSERT_TRUE(gateway->dispatcher.is_ready());
    let_grace_pass();
  }
  // Who of the two has the request now.
  Sidecar& runner() { return a_.service.running() > 0 ? a_ : b_; }
  Sidecar& other() { return a_.service.running() > 0 ? b_ : a_; }
  void hang_all() { a_.service.reaction = b_.service.reaction = Reaction::hang; }

  Gateway& one_ = add_gateway('e');
  Gateway& two_ = add_gateway('f');
  Sidecar& a_ = add_sidecar('a');
  Sidecar& b_ = add_sidecar('b');
};

TEST_F(TogetherTest, every_call_is_answered_once_and_to_its_caller) {
  set_stage();
  for (int i = 0; i < 50; ++i) {
    one_.post();
    two_.get();
  }
  advance(100ms);
  for (Gateway* gateway : {&one_, &two_}) {
    for (const auto& caller : gateway->calls) {
      EXPECT_EQ(caller->outcome, "200");
      EXPECT_EQ(times_begun(caller->handle.id()), 1u);
    }
  }
  EXPECT_GT(a_.service.begun.size(), 0u);
  EXPECT_GT(b_.service.begun.size(), 0u);
  advance(limits::kStreamTtlRefresh);
  EXPECT_TRUE(is_queue_empty());
}

TEST_F(TogetherTest, bodies_that_do_not_fit_an_entry_go_both_ways) {
  set_stage();
  router::Call call = Gateway::make_call("POST");
  for (std::size_t i = 0; i < 3 * limits::kInlineBodyBytes; ++i) call.body += static_cast<char>('a' + i % 19);
  const std::string body = call.body;
  a_.service.answer_body = b_.service.answer_body = body + body;
  Caller& caller = one_.call(std::move(call));
  settle();
  Sidecar& ran = a_.service.begun.empty() ? b_ : a_;
  EXPECT_TRUE(ran.service.bodies[caller.handle.id()] == body);
  EXPECT_EQ(caller.outcome, "200");
  EXPECT_TRUE(caller.body == body + body);
  EXPECT_EQ(caller.head->length, 2 * body.size());
}

// ---- Take over

TEST_F(TogetherTest, repeatable_of_a_killed_sidecar_is_answered_within_three_seconds_of_the_death) {
  set_stage();
  hang_all();
  // At every phase of the survivors' clockwork.
  for (int phase = 0; phase < 20; ++phase) {
    advance(phase * 50ms);
    Sidecar& dying = add_sidecar(static_cast<char>(phase < 10 ? '0' + phase : 'c'));
    dying.service.reaction = Reaction::hang;
    a_.consumer.set_service_ready(false);
    b_.consumer.set_service_ready(false);
    settle();
    Caller& caller = one_.get();
    settle();
    ASSERT_EQ(dying.service.running(), 1u);
    a_.service.reaction = Reaction::answer;
    a_.consumer.set_service_ready(true);
    const base::TimePoint death = loop_.loop.now();
    dying.kill();
    advance(3s);
    EXPECT_EQ(caller.outcome, "200") << phase;
    EXPECT_LE(caller.began + caller.took - death, 2600ms) << phase;  // the rest is for the network and the service
    sidecars_.pop_back();
  }
}

TEST_F(TogetherTest, non_repeatable_of_a_killed_sidecar_is_never_run_again) {
  set_stage();
  hang_all();
  Caller& caller = one_.post(60s);
  settle();
  Sidecar& survivor = other();
  runner().kill();
  advance(limits::kLeaseDuration - 1s);
  EXPECT_FALSE(caller.has_ended());  // its sidecar may only be cut off
  advance(3s);
  EXPECT_EQ(caller.outcome, "outcome-unknown");
  EXPECT_TRUE(survivor.service.begun.empty());
  EXPECT_EQ(times_begun(caller.handle.id()), 1u);
}

TEST_F(TogetherTest, non_repeatable_of_a_killed_sidecar_ends_at_the_deadline_at_the_latest) {
  set_stage();
  hang_all();
  Caller& caller = one_.post(5s);
  settle();
  runner().kill();
  advance(5s);
  EXPECT_EQ(caller.outcome, "timeout");
  advance(limits::kLeaseDuration + 2s);
  EXPECT_EQ(times_begun(caller.handle.id()), 1u);
}

TEST_F(TogetherTest, instance_that_only_reconnects_is_not_robbed) {
  set_stage();
  hang_all();
  Caller& caller = one_.get(120s);
  settle();
  Sidecar& busy = runner();
  Sidecar& taker = other();
  for (int i = 0; i < 40; ++i) {  // each time it is away for less than the half second between two readings
    advance(1700ms);
    busy.bus.cut();
    advance(400ms);
    busy.bus.restore();
  }
  EXPECT_EQ(taker.counters().taken_over, 0u);
  busy.service.answer_all();
  advance(1s);
  EXPECT_EQ(caller.outcome, "200");
  EXPECT_EQ(times_begun(caller.handle.id()), 1u);
}

TEST_F(TogetherTest, silence_long_ago_does_not_count_at_the_next_reconnect) {
  set_stage();
  hang_all();
  Caller& caller = one_.get(120s);
  settle();
  Sidecar& busy = runner();
  Sidecar& taker = other();
  advance(2s);
  // Seen silent once; its entry is then settled, so that nobody looks at it again for long.
  busy.bus.cut({.commands = false, .readers = false});
  taker.bus.after_next(Op::subscribers, [&] { busy.bus.restore(); });
  advance(1s);
  busy.service.answer_all();
  advance(20s);
  ASSERT_EQ(caller.outcome, "200");
  a_.consumer.set_service_ready(&a_ == &busy);
  b_.consumer.set_service_ready(&b_ == &busy);
  settle();
  Caller& next = one_.get(120s);
  advance(1200ms);
  ASSERT_EQ(busy.service.running(), 1u);
  taker.consumer.set_service_ready(true);
  busy.bus.cut({.commands = false, .readers = false});
  taker.bus.after_next(Op::subscribers, [&] { busy.bus.restore(); });
  advance(5s);
  EXPECT_EQ(taker.counters().taken_over, 0u);
  busy.service.answer_all();
  settle();
  EXPECT_EQ(next.outcome, "200");
}

TEST_F(TogetherTest, nobody_is_robbed_shortly_after_ones_own_reconnect) {
  set_stage();
  hang_all();
  Caller& caller = one_.get(60s);
  advance(3s);
  Sidecar& busy = runner();
  Sidecar& taker = other();
  server_.stop();
  advance(1s);
  server_.set_reconnect_delay(0ms);
  busy.bus.cut();  // comes back as late as its back-off allows
  server_.start();
  advance(limits::kReconnectCap);
  busy.bus.restore();
  advance(5s);
  EXPECT_EQ(taker.counters().taken_over, 0u);
  busy.service.answer_all();
  advance(1s);
  EXPECT_EQ(caller.outcome, "200");
  EXPECT_EQ(times_begun(caller.handle.id()), 1u);
}

TEST_F(TogetherTest, one_of_two_takers_wins) {
  Sidecar& c = add_sidecar('c');
  set_stage();
  hang_all();
  c.service.reaction = Reaction::hang;
  std::vector<Caller*> callers;
  for (int i = 0; i < 9; ++i) callers.push_back(&one_.get());
  settle();
  a_.kill();
  advance(3s);
  b_.service.answer_all();
  c.service.answer_all();
  settle();
  std::size_t rerun = 0;
  for (Caller* caller : callers) {
    EXPECT_EQ(caller->outcome, "200");
    EXPECT_EQ(times_begun(caller->handle.id()), 1 + a_.service.times_begun(caller->handle.id()));
    rerun += a_.service.times_begun(caller->handle.id());
  }
  EXPECT_GT(rerun, 0u);
  EXPECT_EQ(b_.counters().taken_over + c.counters().taken_over, rerun);
}

TEST_F(TogetherTest, sidecar_that_was_cut_off_and_comes_back_gives_no_second_answer) {
  set_stage();
  hang_all();
  Caller& caller = one_.get(60s);
  settle();
  Sidecar& away = runner();
  Sidecar& taker = other();
  taker.service.reaction = Reaction::answer;
  away.bus.cut();
  advance(4s);
  EXPECT_EQ(caller.outcome, "200");
  EXPECT_EQ(caller.head->instance, taker.instance);
  away.bus.restore();
  away.service.answer_all();
  advance(2s);
  EXPECT_EQ(one_.dispatcher.counters().late_answers, 1u);
  EXPECT_EQ(away.consumer.in_hand(), 0u);
  advance(limits::kStreamTtlRefresh);
  EXPECT_TRUE(is_queue_empty());
}

TEST_F(TogetherTest, entry_that_was_renewed_since_the_look_is_not_taken_over) {
  set_stage();
  hang_all();
  one_.get(60s);
  settle();
  Sidecar& busy = runner();
  Sidecar& taker = other();
  taker.bus.hold(Op::claim);
  busy.bus.cut({.commands = false, .readers = false});  // it looks dead, and is at work
  const auto renewals = busy.bus.calls(Op::renew);
  while (taker.bus.calls(Op::claim) == 0) advance(100ms);
  while (busy.bus.calls(Op::renew) == renewals) advance(100ms);
  taker.bus.release(Op::claim);
  settle();
  EXPECT_EQ(taker.counters().taken_over, 0u);
}

TEST_F(TogetherTest, nothing_is_taken_over_before_ones_own_alive_subscription_is_confirmed) {
  set_stage();
  hang_all();
  one_.get(60s);
  settle();
  Sidecar& dying = runner();
  Sidecar& taker = other();
  taker.bus.hold(Op::subscribe);
  taker.bus.break_connections({.commands = false, .readers = false});
  advance(1s);
  dying.kill();
  advance(5s);
  EXPECT_EQ(taker.counters().taken_over, 0u);  // others would rob it at once
  taker.bus.release(Op::subscribe);
  advance(3s);
  EXPECT_EQ(taker.counters().taken_over, 1u);
}

// ---- Hand back

TEST_F(TogetherTest, service_that_refuses_is_no_matter_while_another_answers) {
  set_stage();
  a_.service.reaction = Reaction::refuse;
  std::vector<Caller*> callers;
  for (int i = 0; i < 10; ++i) callers.push_back(&one_.post());
  advance(3s);
  for (Caller* caller : callers) {
    EXPECT_EQ(caller->outcome, "200");
    EXPECT_EQ(times_begun(caller->handle.id()), 1u);
  }
}

TEST_F(TogetherTest, both_services_down_is_said_within_seconds) {
  set_stage();
  a_.service.reaction = b_.service.reaction = Reaction::refuse;
  Caller& post = one_.post();
  Caller& get = two_.get();
  advance(5s);
  EXPECT_EQ(post.outcome, "service-unreachable");
  EXPECT_EQ(get.outcome, "service-unreachable");
  EXPECT_TRUE(server_.pending(kQueue).empty());
}

TEST_F(TogetherTest, both_services_down_and_a_lost_hand_back_is_said_within_seconds) {
  set_stage();
  a_.service.reaction = b_.service.reaction = Reaction::refuse;
  a_.bus.lose_reply_of(Op::hand_back);
  b_.bus.lose_reply_of(Op::hand_back);
  Caller& caller = one_.post();
  advance(7s);
  // 502 in time; a reply that was lost leaves nothing to promise about a request that may not run twice.
  EXPECT_EQ(caller.outcome, "outcome-unknown");
}

// ---- Nobody there

TEST_F(TogetherTest, all_dead_is_503_within_two_seconds) {
  set_stage();
  a_.kill();
  b_.kill();
  Caller& post = one_.post();
  Caller& get = two_.get();
  advance(2s);
  EXPECT_EQ(post.outcome, "no-instance");
  EXPECT_EQ(get.outcome, "no-instance");
  EXPECT_TRUE(is_queue_empty());
}

TEST_F(TogetherTest, request_delivered_to_the_dead_waits_for_another_instance) {
  set_stage();
  hang_all();
  Caller& get = one_.get(60s);
  Caller& post = one_.post(60s);
  settle();
  a_.kill();
  b_.kill();
  advance(10s);
  EXPECT_FALSE(get.has_ended());
  EXPECT_FALSE(post.has_ended());
  add_sidecar('c');
  advance(5s);
  EXPECT_EQ(get.outcome, "200");
  EXPECT_FALSE(post.has_ended());
  advance(limits::kLeaseDuration);
  EXPECT_EQ(post.outcome, "outcome-unknown");
  EXPECT_EQ(times_begun(post.handle.id()), 1u);
}

TEST_F(TogetherTest, request_taken_back_by_one_caller_leaves_those_of_others) {
  set_stage();
  Caller& post = one_.post();
  settle();
  ASSERT_EQ(post.outcome, "200");
  a_.kill();
  b_.kill();
  Caller& first = one_.post();
  advance(700ms);
  Caller& second = two_.post();
  advance(600ms);
  EXPECT_EQ(first.outcome, "no-instance");
  EXPECT_FALSE(second.has_ended());
  Sidecar& c = add_sidecar('c');
  advance(1s);
  EXPECT_EQ(second.outcome, "200");
  EXPECT_EQ(c.service.begun, std::vector{second.handle.id()});
}

// ---- The bus loses its memory

class MemoryLossTest : public TogetherTest {
 protected:
  // A repeatable and a non-repeatable request, both begun; their services answer what they are given from now on.
  void begin_both() {
    set_stage();
    hang_all();
    get_ = &one_.get(60s);
    post_ = &two_.post(60s);
    settle();
    a_.service.reaction = b_.service.reaction = Reaction::answer;
    advance(2s);
  }
  Caller* get_ = nullptr;
  Caller* post_ = nullptr;
};

TEST_F(MemoryLossTest, restart_without_data) {
  begin_both();
  server_.restart_empty();
  advance(3s);
  a_.service.answer_all();
  b_.service.answer_all();
  advance(3s);
  EXPECT_EQ(get_->outcome, "200");
  EXPECT_EQ(post_->outcome, "200");
  EXPECT_EQ(times_begun(post_->handle.id()), 1u);
  advance(limits::kStreamTtlRefresh);
  EXPECT_TRUE(is_queue_empty());
}

TEST_F(MemoryLossTest, everything_deleted_under_way) {
  begin_both();
  server_.flush_all();
  advance(3s);
  a_.service.answer_all();
  b_.service.answer_all();
  advance(3s);
  EXPECT_EQ(get_->outcome, "200");
  EXPECT_EQ(post_->outcome, "200");
  EXPECT_EQ(times_begun(post_->handle.id()), 1u);
}

TEST_F(MemoryLossTest, undelivered_requests_that_were_deleted_are_answered_within_three_seconds_if_repeatable) {
  set_stage();
  a_.consumer.set_service_ready(false);
  b_.consumer.set_service_ready(false);
  settle();
  Caller& get = one_.get(20s);
  Caller& post = one_.post(20s);
  advance(2s);
  server_.flush_all();
  a_.consumer.set_service_ready(true);
  b_.consumer.set_service_ready(true);
  advance(3s);
  EXPECT_EQ(get.outcome, "200");
  advance(20s);
  EXPECT_EQ(post.outcome, "timeout");
  EXPECT_EQ(times_begun(post.handle.id()), 0u);
}

TEST_F(MemoryLossTest, deleted_while_the_reader_was_away_the_groups_are_made_anew) {
  set_stage();
  for (Sidecar* sidecar : {&a_, &b_}) sidecar->bus.cut({.commands = false, .subscriptions = false});
  settle();
  server_.flush_all();
  for (Sidecar* sidecar : {&a_, &b_}) sidecar->bus.restore();
  advance(2s);
  ASSERT_TRUE(server_.exists(kQueue));
  Caller& caller = one_.post();
  advance(3s);  // its reply stream was not known to be gone
  EXPECT_EQ(caller.outcome, "200");
}

TEST_F(MemoryLossTest, executed_request_that_comes_back_is_never_run_again) {
  set_stage();
  hang_all();
  Caller& post = one_.post(60s);
  Caller& get = one_.get(60s);
  MemoryServer::Snapshot undelivered;
  one_.bus.after_next(Op::publish,
                      [&] { one_.bus.after_next(Op::publish, [&] { undelivered = server_.snapshot(); }); });
  settle();
  const MemoryServer::Snapshot delivered = server_.snapshot();
  a_.service.answer_all();
  b_.service.answer_all();
  settle();
  ASSERT_EQ(post.outcome, "200");
  ASSERT_EQ(get.outcome, "200");

  a_.service.reaction = b_.service.reaction = Reaction::answer;
  for (const auto& snapshot : {delivered, undelivered}) {
    server_.restore(snapshot);
    advance(2 * limits::kLeaseDuration);
    EXPECT_EQ(times_begun(post.handle.id()), 1u);
    EXPECT_TRUE(server_.pending(kQueue).empty());
  }
}

TEST_F(MemoryLossTest, request_that_was_taken_back_and_comes_back_is_not_run) {
  set_stage();
  a_.consumer.set_service_ready(false);
  b_.consumer.set_service_ready(false);
  settle();
  Caller& caller = one_.post();
  settle();
  const MemoryServer::Snapshot queued = server_.snapshot();
  a_.kill();
  b_.kill();
  advance(2s);
  ASSERT_EQ(caller.outcome, "no-instance");
  server_.restore(queued);
  add_sidecar('c');
  advance(3s);
  EXPECT_EQ(times_begun(caller.handle.id()), 0u);
  EXPECT_TRUE(server_.pending(kQueue).empty());
}

TEST_F(MemoryLossTest, no_memory_loses_nothing) {
  begin_both();
  server_.set_out_of_memory(true);
  a_.service.answer_all();
  b_.service.answer_all();
  Caller& refused = one_.post();
  advance(10s);
  EXPECT_EQ(refused.outcome, "bus-unavailable");
  EXPECT_FALSE(get_->has_ended());
  EXPECT_FALSE(post_->has_ended());
  server_.set_out_of_memory(false);
  advance(2s);
  EXPECT_EQ(get_->outcome, "200");
  EXPECT_EQ(post_->outcome, "200");
  EXPECT_EQ(times_begun(get_->handle.id()), 1u);
  EXPECT_EQ(times_begun(post_->handle.id()), 1u);
}

// ---- Drain

TEST_F(TogetherTest, rolling_restart_loses_nothing) {
  set_stage();
  a_.service.takes = b_.service.takes = 40ms;
  std::vector<Caller*> callers;
  const auto send_some = [&] {
    for (int i = 0; i < 10; ++i) {
      callers.push_back(&one_.post());
      callers.push_back(&two_.get());
      advance(7ms);
    }
  };
  int drained = 0;
  send_some();
  a_.consumer.drain([&] {
    ++drained;
    a_.kill();
  });
  send_some();
  Sidecar& c = add_sidecar('c');
  c.service.takes = 40ms;
  send_some();
  b_.consumer.drain([&] {
    ++drained;
    b_.kill();
  });
  send_some();
  advance(5s);
  EXPECT_EQ(drained, 2);
  for (Caller* caller : callers) {
    EXPECT_EQ(caller->outcome, "200");
    EXPECT_EQ(times_begun(caller->handle.id()), 1u);
  }
}

}  // namespace
}  // namespace outrigger::tests
