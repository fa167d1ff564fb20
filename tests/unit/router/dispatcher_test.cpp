#include "bridge/router/dispatcher.h"

#include "bridge/base/limits.h"
#include "tests/unit/router/delivery_stage.h"

namespace outrigger::tests {
namespace {

using base::Code;
using frames::Fault;
namespace limits = base::limits;

// One gateway; the sidecar is played by hand: REQUESTs are looked at in the queue, RESPONSEs are put into the reply
// stream.
class DispatcherTest : public DeliveryTest {
 protected:
  DispatcherTest() {
    settle();
    make_queue();
    book_->add(kService, {kQueue, {instance_}});
    alive_ = sidecar_.make_subscription({names_.alive_channel(kService, instance_)}, [](bool) {}, {});
  }
  Gateway& add(router::Dispatcher::Options options = {}) {
    Gateway& gateway = add_gateway('f', std::move(options));
    gateway.dispatcher.set_addresses(book_);
    return gateway;
  }
  void make_queue() {
    sidecar_.ensure_group(kQueue, [](base::Result<void>) {});
    settle();
  }
  std::vector<frames::Request> requests() { return frames_in<frames::Request>(server_, names_, kQueue); }
  frames::Response response(const Caller& to, std::string body = "done") {
    frames::Response made;
    made.id = to.handle.id();
    made.instance = instance_;
    made.status = 200;
    made.body = std::move(body);
    return made;
  }
  frames::StreamData piece(const Caller& to, std::uint64_t seq, std::string body, bool is_last = false) {
    frames::StreamData made;
    made.id = to.handle.id();
    made.instance = instance_;
    made.seq = seq;
    made.body = std::move(body);
    made.end = is_last;
    return made;
  }
  template <class F>
  void reply(Gateway& gateway, const F& frame) {
    server_.add(gateway.reply_to, fields_of(frame));
    settle();
  }

  const std::string instance_ = process_id('a');
  MemoryBus sidecar_{server_};
  std::unique_ptr<messaging::Subscription> alive_;
  std::shared_ptr<router::AddressBook> book_ = std::make_shared<router::AddressBook>();
};

// ---- Send

TEST_F(DispatcherTest, call_is_written_and_its_answer_ends_it) {
  Gateway& gateway = add();
  Caller& caller = gateway.post();
  settle();
  ASSERT_EQ(requests().size(), 1u);
  EXPECT_EQ(requests()[0].id, caller.handle.id());
  EXPECT_EQ(requests()[0].bus, server_.incarnation());
  EXPECT_EQ(requests()[0].reply_to, gateway.reply_to);
  EXPECT_FALSE(requests()[0].repeatable);
  reply(gateway, response(caller));
  EXPECT_EQ(caller.outcome, "200");
  EXPECT_EQ(caller.body, "done");
}

TEST_F(DispatcherTest, deadline_is_stated_by_the_servers_clock_less_its_error) {
  Gateway& gateway = add();
  gateway.bus.set_clock_estimate(70, 40);
  gateway.post(10s);
  settle();
  ASSERT_EQ(requests().size(), 1u);
  EXPECT_EQ(requests()[0].deadline_ms, server_.now_ms() + 70 + 10'000 - 40);
}

TEST_F(DispatcherTest, nothing_is_written_before_the_reply_stream_is_confirmed) {
  gateways_.push_back(
      std::make_unique<Gateway>(loop_, server_, names_, router::Dispatcher::Options{.gateway = process_id('f')}));
  Gateway& gateway = *gateways_.back();
  gateway.dispatcher.set_addresses(book_);
  gateway.bus.hold(Op::ensure_stream, MemoryBus::Hold::reply);
  settle();
  ASSERT_TRUE(gateway.bus.is_connected());
  Caller& caller = gateway.get();
  settle();
  EXPECT_EQ(caller.outcome, "bus-unavailable");
  EXPECT_EQ(gateway.bus.calls(Op::publish), 0u);
  gateway.bus.release(Op::ensure_stream);
  settle();
  EXPECT_TRUE(gateway.dispatcher.is_ready());
}

TEST_F(DispatcherTest, nothing_is_written_again_before_the_reply_stream_is_confirmed) {
  Gateway& gateway = add();
  Caller& caller = gateway.get();
  settle();
  gateway.bus.cut();
  server_.restart_empty();
  advance(200ms);
  make_queue();
  gateway.bus.restore();
  gateway.bus.fail_next(Op::ensure_stream, {Code::overloaded, "OOM"});
  bool was_there = false;
  gateway.bus.before_next(Op::publish, [&] { was_there = server_.exists(gateway.reply_to); });
  advance(2s);
  EXPECT_TRUE(was_there);
  ASSERT_EQ(requests().size(), 1u);
  EXPECT_EQ(requests()[0].id, caller.handle.id());
  EXPECT_EQ(requests()[0].bus, server_.incarnation());
}

TEST_F(DispatcherTest, bus_away_is_said_at_once) {
  Gateway& gateway = add();
  gateway.bus.cut();
  settle();
  Caller& post = gateway.post();
  Caller& get = gateway.get();
  EXPECT_FALSE(post.has_ended() || get.has_ended());  // never from inside call()
  settle();
  EXPECT_EQ(post.outcome, "bus-unavailable");
  EXPECT_EQ(get.outcome, "bus-unavailable");
}

TEST_F(DispatcherTest, definite_error_is_said_at_once) {
  Gateway& gateway = add();
  for (const Code code : {Code::overloaded, Code::refused}) {
    gateway.bus.fail_next(Op::publish, {code, "no"});
    Caller& caller = gateway.post();
    settle();
    EXPECT_EQ(caller.outcome, "bus-unavailable");
    EXPECT_EQ(caller.took, 0s);
  }
  EXPECT_EQ(server_.length(kQueue), 0u);
}

TEST_F(DispatcherTest, missing_queue_is_said_at_once_and_not_made) {
  Gateway& gateway = add();
  server_.remove(kQueue);
  Caller& caller = gateway.post();
  settle();
  EXPECT_EQ(caller.outcome, "no-instance");
  EXPECT_FALSE(server_.exists(kQueue));
}

TEST_F(DispatcherTest, service_nobody_serves_is_said_at_once) {
  Gateway& gateway = add();
  gateway.dispatcher.set_addresses(std::make_shared<router::AddressBook>());
  Caller& caller = gateway.get();
  settle();
  EXPECT_EQ(caller.outcome, "no-instance");
}

TEST_F(DispatcherTest, repeatable_in_doubt_is_written_again_under_the_same_id_and_answered_once) {
  Gateway& gateway = add();
  gateway.bus.lose_reply_of(Op::publish);
  Caller& caller = gateway.get();
  advance(1s);
  ASSERT_EQ(requests().size(), 2u);
  EXPECT_EQ(requests()[0].id, requests()[1].id);
  EXPECT_EQ(gateway.dispatcher.counters().republished, 1u);
  reply(gateway, response(caller));
  reply(gateway, response(caller));
  EXPECT_EQ(caller.outcome, "200");
  EXPECT_EQ(gateway.dispatcher.counters().late_answers, 1u);
}

TEST_F(DispatcherTest, non_repeatable_in_doubt_waits_for_its_answer) {
  Gateway& gateway = add();
  gateway.bus.lose_reply_of(Op::publish);
  Caller& caller = gateway.post();
  advance(5s);
  EXPECT_EQ(requests().size(), 1u);
  EXPECT_FALSE(caller.has_ended());
  reply(gateway, response(caller));
  EXPECT_EQ(caller.outcome, "200");
}

TEST_F(DispatcherTest, non_repeatable_in_doubt_is_never_503_but_504_at_its_deadline) {
  Gateway& gateway = add();
  gateway.bus.before_next(Op::publish, [&] { gateway.bus.break_connections({.in_flight = InFlight::late}); });
  Caller& caller = gateway.post(10s);
  advance(9s);
  EXPECT_EQ(requests().size(), 0u);
  EXPECT_FALSE(caller.has_ended());
  server_.run_late_effects();  // this is why
  EXPECT_EQ(requests().size(), 1u);
  advance(1s);
  EXPECT_EQ(caller.outcome, "timeout");
  EXPECT_EQ(caller.took, 10s);
}

TEST_F(DispatcherTest, written_requests_wait_for_the_bus_until_their_deadline) {
  Gateway& gateway = add();
  Caller& caller = gateway.post(10s);
  Caller& other = gateway.get(10s);
  settle();
  gateway.bus.cut();
  advance(9900ms);
  EXPECT_FALSE(caller.has_ended() || other.has_ended());
  advance(100ms);
  EXPECT_EQ(caller.outcome, "timeout");
  EXPECT_EQ(other.outcome, "timeout");
}

TEST_F(DispatcherTest, queue_full_is_said_at_once) {
  Gateway& gateway = add({.gateway = {}, .max_queue_depth = 2});
  gateway.post();
  Caller& second = gateway.post();
  Caller& third = gateway.post();
  settle();
  EXPECT_EQ(third.outcome, "queue-full");
  EXPECT_FALSE(second.has_ended());
  reply(gateway, response(second));
  Caller& fourth = gateway.post();
  settle();
  EXPECT_FALSE(fourth.has_ended());
}

TEST_F(DispatcherTest, queue_filled_by_others_is_full_too) {
  Gateway& gateway = add({.gateway = {}, .max_queue_depth = 5});
  for (int i = 0; i < 6; ++i) server_.add(kQueue, {{"v", "1"}});
  gateway.post();
  advance(2s);  // it waits: the length is sampled
  Caller& next = gateway.post();
  settle();
  EXPECT_EQ(next.outcome, "queue-full");
}

TEST_F(DispatcherTest, full_queue_is_used_again_once_it_is_empty) {
  Gateway& gateway = add({.gateway = {}, .max_queue_depth = 5});
  for (int i = 0; i < 6; ++i) server_.add(kQueue, {{"v", "1"}});
  Caller& only = gateway.post(3s);
  advance(2s);
  Caller& refused = gateway.post();
  advance(1s);
  EXPECT_EQ(only.outcome, "timeout");
  EXPECT_EQ(refused.outcome, "queue-full");
  only.handle.cancel();
  refused.handle.cancel();
  server_.remove(kQueue);
  make_queue();
  advance(1s);
  Caller& later = gateway.post();
  settle();
  EXPECT_FALSE(later.has_ended());
}

TEST_F(DispatcherTest, too_many_pending_in_one_worker_are_refused) {
  Gateway& gateway = add({.gateway = {}, .max_pending = 1});
  gateway.post();
  Caller& second = gateway.post();
  settle();
  EXPECT_EQ(second.outcome, "queue-full");
}

TEST_F(DispatcherTest, answer_after_the_handle_is_gone_is_counted_and_dropped) {
  Gateway& gateway = add();
  Caller& caller = gateway.post();
  settle();
  const frames::Response answer = response(caller);
  caller.handle.cancel();
  reply(gateway, answer);
  EXPECT_EQ(caller.outcome, "");
  EXPECT_EQ(gateway.dispatcher.counters().late_answers, 1u);
  EXPECT_EQ(gateway.dispatcher.pending(), 0u);
}

// ---- Answers

TEST_F(DispatcherTest, first_head_binds_and_pieces_of_others_are_late) {
  Gateway& gateway = add();
  Caller& caller = gateway.post();
  settle();
  frames::Response head = response(caller, "one ");
  head.end = false;
  reply(gateway, head);
  frames::Response other = head;
  other.instance = process_id('b');
  reply(gateway, other);
  frames::StreamData stray = piece(caller, 1, "stray", true);
  stray.instance = process_id('b');
  reply(gateway, stray);
  stray = piece(caller, 1, "stray", true);
  stray.attempt = 2;
  reply(gateway, stray);
  EXPECT_FALSE(caller.has_ended());
  reply(gateway, piece(caller, 1, "two", true));
  EXPECT_EQ(caller.outcome, "200");
  EXPECT_EQ(caller.body, "one two");
  EXPECT_EQ(gateway.dispatcher.counters().late_answers, 3u);
}

TEST_F(DispatcherTest, answer_published_again_from_its_head_is_used_once) {
  Gateway& gateway = add();
  Caller& caller = gateway.post();
  settle();
  frames::Response head = response(caller, "");
  head.end = false;
  reply(gateway, head);
  reply(gateway, piece(caller, 1, "a"));
  reply(gateway, head);
  reply(gateway, piece(caller, 1, "a"));
  reply(gateway, piece(caller, 2, "b"));
  reply(gateway, piece(caller, 3, "c", true));
  EXPECT_EQ(caller.outcome, "200");
  EXPECT_EQ(caller.body, "abc");
}

TEST_F(DispatcherTest, missing_piece_is_waited_for_and_never_passed_off_as_whole) {
  Gateway& gateway = add();
  Caller& healed = gateway.post(5s);
  Caller& never = gateway.post(5s);
  settle();
  for (Caller* caller : {&healed, &never}) {
    frames::Response head = response(*caller, "");
    head.end = false;
    reply(gateway, head);
    reply(gateway, piece(*caller, 2, "b", true));
    EXPECT_FALSE(caller->has_ended());
  }
  reply(gateway, piece(healed, 1, "a"));
  reply(gateway, piece(healed, 2, "b", true));
  EXPECT_EQ(healed.outcome, "200");
  EXPECT_EQ(healed.body, "ab");
  advance(5s);
  EXPECT_EQ(never.outcome, "timeout");
}

// After a role change that lasted for an instant: nothing else would tell for some seconds.
TEST_F(DispatcherTest, outcome_unknown_makes_it_ask_whose_server_this_is) {
  Gateway& gateway = add_gateway('9');
  gateway.dispatcher.set_addresses(book_);
  Caller& caller = gateway.post();
  settle();
  frames::Response fault = response(caller);
  fault.status = 0;
  fault.fault = frames::Fault::outcome_unknown;
  reply(gateway, fault);
  EXPECT_EQ(caller.outcome, "outcome-unknown");
  EXPECT_EQ(gateway.bus.server_doubts(), 1u);
}

TEST_F(DispatcherTest, answer_that_is_broken_off_or_never_ends_is_not_whole) {
  Gateway& gateway = add();
  Caller& broken = gateway.post(5s);
  Caller& endless = gateway.post(5s);
  settle();
  for (Caller* caller : {&broken, &endless}) {
    frames::Response head = response(*caller, "");
    head.end = false;
    reply(gateway, head);
  }
  frames::StreamData abort = piece(broken, 1, "");
  abort.abort = true;
  reply(gateway, abort);
  EXPECT_EQ(broken.outcome, "bad-answer");
  advance(5s);
  EXPECT_EQ(endless.outcome, "timeout");
}

TEST_F(DispatcherTest, faults_of_a_sidecar_become_problems) {
  const std::vector<std::pair<Fault, std::string>> rows{{Fault::service_unreachable, "service-unreachable"},
                                                        {Fault::bad_answer, "bad-answer"},
                                                        {Fault::outcome_unknown, "outcome-unknown"},
                                                        {Fault::timeout, "timeout"},
                                                        {Fault::expired, "timeout"},
                                                        {Fault::body_too_large, "body-too-large"},
                                                        {Fault::unavailable, "no-instance"}};
  Gateway& gateway = add();
  for (const auto& [fault, code] : rows) {
    Caller& caller = gateway.post();
    settle();
    frames::Response answer = response(caller, "");
    answer.status = 0;
    answer.fault = fault;
    reply(gateway, answer);
    EXPECT_EQ(caller.outcome, code);
  }
}

TEST_F(DispatcherTest, malformed_entries_of_the_reply_stream_are_counted) {
  Gateway& gateway = add();
  Caller& caller = gateway.post();
  settle();
  server_.add(gateway.reply_to, {{"v", "1"}, {"t", "4"}, {"h", "{"}});
  reply(gateway, response(caller));
  EXPECT_EQ(gateway.dispatcher.counters().malformed, 1u);
  EXPECT_EQ(caller.outcome, "200");
}

TEST_F(DispatcherTest, what_was_read_is_trimmed) {
  Gateway& gateway = add();
  Caller& caller = gateway.post();
  settle();
  reply(gateway, response(caller));
  advance(100ms);
  EXPECT_EQ(server_.length(gateway.reply_to), 0u);
}

// ---- Bodies that do not fit an entry

class LargeCallTest : public DispatcherTest {
 protected:
  LargeCallTest() {
    sidecar_.ensure_stream(inbox_, 600s, {}, [](base::Result<bool>) {});
  }
  Caller& post_large(Gateway& gateway, base::Duration timeout = 30s) {
    router::Call call = Gateway::make_call("POST", timeout);
    for (std::size_t i = 0; i < 2 * limits::kInlineBodyBytes + 10; ++i) call.body += static_cast<char>('a' + i % 23);
    body_ = call.body;
    Caller& caller = gateway.call(std::move(call));
    settle();
    return caller;
  }
  frames::Accept accept(const Caller& caller) { return {caller.handle.id(), instance_, 1, inbox_}; }
  std::vector<frames::StreamData> pieces() { return frames_in<frames::StreamData>(server_, names_, inbox_); }

  const std::string inbox_ = names_.inbox(kService, instance_);
  std::string body_;
};

TEST_F(LargeCallTest, body_is_handed_over_in_pieces_to_who_accepts) {
  Gateway& gateway = add();
  Caller& caller = post_large(gateway);
  ASSERT_EQ(requests().size(), 1u);
  EXPECT_TRUE(requests()[0].body.empty());
  EXPECT_EQ(requests()[0].streamed->length, body_.size());
  EXPECT_TRUE(pieces().empty());
  reply(gateway, accept(caller));
  ASSERT_EQ(pieces().size(), 3u);
  EXPECT_TRUE(pieces()[0].body + pieces()[1].body + pieces()[2].body == body_);
  EXPECT_EQ(pieces()[0].seq, 1u);
  EXPECT_FALSE(pieces()[1].end);
  EXPECT_TRUE(pieces()[2].end);
  reply(gateway, accept(caller));  // the next attempt needs it, too
  EXPECT_EQ(pieces().size(), 6u);
}

TEST_F(LargeCallTest, who_is_in_wake_mode_notify_is_told_and_nobody_else) {
  Gateway& blocked = add();
  reply(blocked, accept(post_large(blocked)));
  EXPECT_EQ(requests()[0].wake, frames::WakeMode::block);
  EXPECT_EQ(server_.notified(kQueue) + server_.notified(inbox_), 0u);

  Gateway& gateway = add_gateway('e', {.gateway = {}, .wake = frames::WakeMode::notify});
  book_->add(kService, {kQueue, {instance_}, true});
  gateway.dispatcher.set_addresses(book_);
  Caller& caller = post_large(gateway);
  EXPECT_EQ(requests()[1].wake, frames::WakeMode::notify) << "ours, whatever theirs is";
  EXPECT_EQ(server_.notified(kQueue), 1u);
  frames::Accept accepted = accept(caller);
  accepted.wake = frames::WakeMode::notify;
  reply(gateway, accepted);
  EXPECT_EQ(server_.notified(inbox_), 3u);
}

TEST_F(LargeCallTest, piece_that_was_certainly_not_written_ends_the_call) {
  Gateway& gateway = add();
  Caller& caller = post_large(gateway);
  server_.remove(inbox_);
  reply(gateway, accept(caller));
  EXPECT_EQ(caller.outcome, "bus-unavailable");
}

TEST_F(LargeCallTest, body_that_broke_off_with_the_connection_is_handed_over_again) {
  Gateway& gateway = add();
  Caller& caller = post_large(gateway);
  gateway.bus.lose_reply_of(Op::publish);
  reply(gateway, accept(caller));
  ASSERT_EQ(pieces().size(), 1u);
  advance(1s);
  ASSERT_EQ(pieces().size(), 4u);
  EXPECT_TRUE(pieces()[3].end);
  EXPECT_FALSE(caller.has_ended());
}

TEST_F(LargeCallTest, piece_refused_after_the_body_was_sent_before_is_no_503) {
  Gateway& gateway = add();
  Caller& caller = post_large(gateway, 10s);
  reply(gateway, accept(caller));
  ASSERT_EQ(pieces().size(), 3u);  // whole: it may have been begun
  server_.remove(inbox_);
  reply(gateway, accept(caller));
  EXPECT_FALSE(caller.has_ended());
  advance(10s);
  EXPECT_EQ(caller.outcome, "timeout");
}

// ---- The reply stream and the queue disappear

TEST_F(DispatcherTest, everything_deleted_repeatable_requests_are_written_again) {
  Gateway& gateway = add();
  Caller& caller = gateway.get();
  gateway.post();
  advance(3s);
  server_.flush_all();
  make_queue();
  advance(1600ms);
  EXPECT_TRUE(server_.exists(gateway.reply_to));
  ASSERT_EQ(requests().size(), 1u);
  EXPECT_EQ(requests()[0].id, caller.handle.id());
}

TEST_F(DispatcherTest, everything_deleted_while_cut_off_repeatable_requests_are_written_again) {
  Gateway& gateway = add();
  Caller& caller = gateway.get();
  settle();
  gateway.bus.cut();
  settle();
  server_.flush_all();  // same server: no new incarnation tells
  make_queue();
  gateway.bus.restore();
  settle();
  ASSERT_EQ(requests().size(), 1u);
  EXPECT_EQ(requests()[0].id, caller.handle.id());
}

TEST_F(DispatcherTest, queue_that_is_not_made_anew_yet_does_not_end_a_request_written_before) {
  Gateway& gateway = add();
  Caller& caller = gateway.get();
  advance(3s);
  server_.flush_all();
  advance(2s);  // written again: there is no queue yet
  EXPECT_FALSE(caller.has_ended());
  make_queue();
  advance(600ms);
  ASSERT_EQ(requests().size(), 1u);
  reply(gateway, response(caller));
  EXPECT_EQ(caller.outcome, "200");
}

TEST_F(DispatcherTest, reply_stream_made_anew_goes_on_above_the_cursor) {
  Gateway& gateway = add();
  Caller& first = gateway.post();
  settle();
  reply(gateway, response(first));
  Caller& second = gateway.post();
  advance(3s);
  server_.remove(gateway.reply_to);
  server_.step_clock(-60s);
  advance(1500ms);
  ASSERT_TRUE(server_.exists(gateway.reply_to));
  reply(gateway, response(second));
  EXPECT_EQ(second.outcome, "200");
}

// ---- Nobody there

class NobodyTest : public DispatcherTest {
 protected:
  // The one instance of the book is dead.
  Gateway& add_after_grace() {
    alive_.reset();
    Gateway& gateway = add();
    let_grace_pass();
    return gateway;
  }
};

TEST_F(NobodyTest, undelivered_request_is_taken_back_and_503) {
  Gateway& gateway = add_after_grace();
  Caller& post = gateway.post();
  Caller& get = gateway.get();
  advance(2s);
  EXPECT_EQ(post.outcome, "no-instance");
  EXPECT_EQ(get.outcome, "no-instance");
  EXPECT_GE(post.took, 1s);
  EXPECT_EQ(server_.length(kQueue), 0u);
  EXPECT_EQ(gateway.lost, std::vector{instance_});
}

TEST_F(NobodyTest, said_only_after_the_take_was_confirmed) {
  Gateway& gateway = add_after_grace();
  gateway.bus.hold(Op::take, MemoryBus::Hold::reply);
  Caller& caller = gateway.post();
  advance(4s);
  EXPECT_EQ(server_.length(kQueue), 0u);
  EXPECT_FALSE(caller.has_ended());
  gateway.bus.release(Op::take);
  settle();
  EXPECT_EQ(caller.outcome, "no-instance");
}

TEST_F(NobodyTest, take_that_is_refused_ends_nothing) {
  Gateway& gateway = add_after_grace();
  for (int i = 0; i < 40; ++i) gateway.bus.fail_next(Op::take, {Code::refused, "NOPERM"});
  Caller& caller = gateway.post(10s);
  advance(9s);
  EXPECT_FALSE(caller.has_ended());
  EXPECT_EQ(server_.length(kQueue), 1u);
  advance(1s);
  EXPECT_EQ(caller.outcome, "timeout");
}

TEST_F(NobodyTest, take_whose_reply_was_lost_is_no_503_for_a_non_repeatable_one) {
  Gateway& gateway = add_after_grace();
  gateway.bus.lose_reply_of(Op::take);
  Caller& caller = gateway.post(10s);
  advance(2s);
  EXPECT_EQ(server_.length(kQueue), 0u);
  advance(7s);
  EXPECT_FALSE(caller.has_ended());
  advance(1s);
  EXPECT_EQ(caller.outcome, "timeout");
}

TEST_F(NobodyTest, take_whose_reply_was_lost_lets_a_repeatable_one_be_written_again) {
  Gateway& gateway = add_after_grace();
  gateway.bus.lose_reply_of(Op::take);
  Caller& caller = gateway.get();
  advance(2s);
  ASSERT_EQ(requests().size(), 1u);
  EXPECT_EQ(gateway.dispatcher.counters().published, 2u);
  reply(gateway, response(caller));
  EXPECT_EQ(caller.outcome, "200");
}

TEST_F(NobodyTest, delivered_request_is_not_taken) {
  Gateway& gateway = add_after_grace();
  Sidecar& sidecar = add_sidecar('a');
  sidecar.service.reaction = ScriptedService::Reaction::hang;
  Caller& caller = gateway.post(10s);
  settle();
  sidecar.kill();
  advance(9s);
  EXPECT_FALSE(caller.has_ended());
  EXPECT_EQ(server_.pending(kQueue).size(), 1u);
  advance(1s);
  EXPECT_EQ(caller.outcome, "timeout");
}

TEST_F(NobodyTest, request_of_an_earlier_incarnation_is_not_taken) {
  Gateway& gateway = add_after_grace();
  Caller& caller = gateway.post(15s);
  settle();
  server_.restore(server_.snapshot());
  advance(10s);
  EXPECT_FALSE(caller.has_ended());
  EXPECT_EQ(server_.length(kQueue), 1u);
  advance(5s);
  EXPECT_EQ(caller.outcome, "timeout");
}

TEST_F(NobodyTest, nobody_is_declared_dead_shortly_after_ones_own_reconnect) {
  Gateway& gateway = add_after_grace();
  Caller& caller = gateway.post();
  settle();
  gateway.bus.break_connections();
  advance(limits::kReconnectCap + 900ms);
  EXPECT_EQ(gateway.bus.calls(Op::take), 0u);
  advance(1s);
  EXPECT_EQ(caller.outcome, "no-instance");
}

TEST_F(NobodyTest, request_goes_to_the_address_that_has_somebody) {
  Gateway& gateway = add_after_grace();
  Caller& caller = gateway.post(10s);
  advance(500ms);
  const std::string narrow = kQueue + ":2";
  sidecar_.ensure_group(narrow, [](base::Result<void>) {});
  const auto book = std::make_shared<router::AddressBook>();
  book->add(kService, {narrow, {process_id('b')}});
  gateway.dispatcher.set_addresses(book);
  advance(1s);
  EXPECT_EQ(server_.length(kQueue), 0u);
  const auto moved = frames_in<frames::Request>(server_, names_, narrow);
  ASSERT_EQ(moved.size(), 1u);
  EXPECT_EQ(moved[0].id, caller.handle.id());
  EXPECT_LE(moved[0].deadline_ms, server_.now_ms() + 9000);
  reply(gateway, response(caller));
  EXPECT_EQ(caller.outcome, "200");
}

// Its queue lost the group, and with it who had been given what.
TEST_F(NobodyTest, request_that_may_have_been_begun_is_not_taken_back) {
  Gateway& gateway = add_after_grace();
  Caller& post = gateway.post(10s);
  Caller& get = gateway.get(10s);
  settle();
  server_.lose_group(kQueue);
  sidecar_.ensure_group(kQueue, [](base::Result<void>) {});
  for (int i = 0; i < 30; ++i) advance(500ms);
  EXPECT_EQ(post.outcome, "timeout");
  EXPECT_EQ(get.outcome, "no-instance");
}

// Taken back it was certainly not run; written again, and no reply: it may be, and 503 would be a lie.
TEST_F(NobodyTest, re_homed_request_whose_reply_is_lost_is_never_503) {
  Gateway& gateway = add_after_grace();
  Caller& caller = gateway.post(10s);
  advance(500ms);
  const std::string narrow = kQueue + ":2";
  sidecar_.ensure_group(narrow, [](base::Result<void>) {});
  const auto book = std::make_shared<router::AddressBook>();
  book->add(kService, {narrow, {process_id('b')}});
  gateway.dispatcher.set_addresses(book);
  gateway.bus.lose_reply_of(Op::publish);
  for (int i = 0; i < 30; ++i) advance(500ms);
  EXPECT_EQ(gateway.dispatcher.counters().taken_back, 1u);
  EXPECT_EQ(server_.length(narrow), 1u);
  EXPECT_EQ(caller.outcome, "timeout");
  EXPECT_LE(caller.took, 10s);
}

TEST_F(NobodyTest, rewritten_request_without_a_queue_ends_when_the_dead_are_known) {
  Gateway& gateway = add_after_grace();
  Caller& caller = gateway.get();
  settle();
  server_.flush_all();
  advance(3s);
  EXPECT_EQ(gateway.lost.empty(), false);
  gateway.dispatcher.set_addresses(std::make_shared<router::AddressBook>());  // what the registry makes of it
  advance(1s);
  EXPECT_EQ(caller.outcome, "no-instance");
}

}  // namespace
}  // namespace outrigger::tests
