#include "bridge/router/consumer.h"

#include "bridge/base/limits.h"
#include "tests/unit/router/delivery_stage.h"

namespace outrigger::tests {
namespace {

using base::Code;
using frames::Fault;
using messaging::EntryId;
using Reaction = ScriptedService::Reaction;
namespace limits = base::limits;

// One or more sidecars; the caller is played by hand: REQUESTs are put into the queue, and what is in its reply stream
// is what it was told.
class ConsumerTest : public DeliveryTest {
 protected:
  ConsumerTest() {
    settle();
    caller_.ensure_stream(reply_to_, 600s, {}, [](base::Result<bool>) {});
    settle();
  }
  // Lives and is known as a consumer, but its service is away.
  Sidecar& add_unready(char digit) {
    Sidecar& sidecar = add_sidecar(digit);
    sidecar.consumer.set_service_ready(false);
    settle();
    return sidecar;
  }
  frames::Request request(std::string id, bool is_repeatable) {
    frames::Request made;
    id.resize(16, '0');
    made.id = std::move(id);
    made.method = is_repeatable ? "GET" : "POST";
    made.target = "/";
    made.scheme = "http";
    made.authority = "billing.test";
    made.reply_to = reply_to_;
    made.deadline_ms = server_.now_ms() + 120'000;
    made.bus = server_.incarnation();
    made.repeatable = is_repeatable;
    return made;
  }
  frames::Request post(std::string id) { return request(std::move(id), false); }
  frames::Request get(std::string id) { return request(std::move(id), true); }
  std::string put(const frames::Request& made, const std::string& queue = kQueue) {
    server_.add(queue, fields_of(made));
    return made.id;
  }
  std::vector<frames::Response> answers() { return frames_in<frames::Response>(server_, names_, reply_to_); }
  // The status or fault of each answer, in order: "200 outcome-unknown".
  std::string told() {
    std::string text;
    for (const frames::Response& answer : answers()) {
      if (!text.empty()) text += ' ';
      text += answer.fault ? std::string(frames::name_of(*answer.fault)) : std::to_string(answer.status);
    }
    return text;
  }
  std::string owner() { return server_.pending(kQueue).empty() ? "" : server_.pending(kQueue)[0].consumer; }

  MemoryBus caller_{server_};
  const std::string reply_to_ = names_.reply_stream(process_id('f'), 0, 1);
};

// ---- Dead letters

class DeadLetterTest : public ConsumerTest {
 protected:
  // "reason attempts" of each, in order.
  std::vector<std::string> letters() {
    std::vector<std::string> told;
    for (const auto& entry : server_.entries(dead_)) {
      std::map<std::string, std::string> fields(entry.fields.begin(), entry.fields.end());
      EXPECT_EQ(fields.at("queue"), kQueue);
      EXPECT_TRUE(messaging::parse_entry_id(fields.at("entry")));
      told.push_back(fields.at("reason") + " " + fields.at("attempts"));
    }
    return told;
  }
  const std::string dead_ = names_.dead_stream(kService);
};
using Letters = std::vector<std::string>;

TEST_F(DeadLetterTest, poison_is_kept_with_its_request) {
  Sidecar& a = add_sidecar('a');
  Sidecar& b = add_sidecar('b');
  a.service.reaction = b.service.reaction = Reaction::break_off;
  frames::Request made = get("poison");
  made.body = "the body";
  put(made);
  const EntryId entry = server_.entries(kQueue)[0].id;
  for (int i = 0; i < 20; ++i) advance(500ms);

  ASSERT_EQ(letters(), Letters{"exhausted 3"});
  const auto fields = server_.entries(dead_)[0].fields;
  std::vector<frames::EntryField> views;
  for (const auto& [name, value] : fields) views.push_back({name, value});
  frames::FrameDecoder decoder(names_);
  const auto frame = decoder.decode(views);
  ASSERT_TRUE(frame);
  EXPECT_EQ(std::get<frames::Request>(*frame), made);
  const std::map<std::string, std::string> all(fields.begin(), fields.end());
  EXPECT_EQ(all.at("entry"), messaging::to_string(entry));
  EXPECT_EQ(all.at("first_seen"), std::to_string(entry.ms));
  EXPECT_EQ(told(), "bad-answer");
  EXPECT_TRUE(is_queue_empty());
  const auto counted = [](const Sidecar& sidecar) {
    return sidecar.counters().dead_letters[static_cast<std::size_t>(frames::DeadReason::exhausted)];
  };
  EXPECT_EQ(counted(a) + counted(b), 1u);
}

TEST_F(DeadLetterTest, what_may_have_been_run_and_what_was_restored_are_told_apart) {
  add_sidecar('a');
  frames::Request made = post("restored");
  made.bus = "run-0:replid-0";
  put(made);
  settle();
  Sidecar& b = add_sidecar('b');
  b.service.reaction = Reaction::hang;
  Sidecar& a = *sidecars_.front();
  a.service.reaction = Reaction::hang;
  put(post("begun"));
  settle();
  Sidecar& holder = a.service.running() > 0 ? a : b;
  holder.kill();
  for (int i = 0; i < 40; ++i) advance(500ms);

  EXPECT_EQ(letters(), (Letters{"restored 1", "outcome-unknown 2"}));
  EXPECT_EQ(told(), "outcome-unknown outcome-unknown");
  EXPECT_TRUE(is_queue_empty());
}

TEST_F(DeadLetterTest, expired_ones_are_kept_only_where_configured) {
  add_sidecar('a');
  frames::Request made = post("late");
  made.deadline_ms = server_.now_ms() - 1000;
  put(made);
  settle();
  EXPECT_TRUE(letters().empty());

  auto options = sidecar_options('b');
  options.keeps_expired = true;
  sidecars_.front()->consumer.set_service_ready(false);
  settle();
  Sidecar& b = add_sidecar(options);
  made.id[0] = 'x';
  put(made);
  settle();
  EXPECT_EQ(letters(), Letters{"expired 1"});
  EXPECT_TRUE(b.service.begun.empty());
  EXPECT_TRUE(is_queue_empty());
}

TEST_F(DeadLetterTest, redriven_request_that_fails_again_keeps_when_it_was_first_seen) {
  add_sidecar('a');
  frames::Request made = post("redriven");
  made.bus = "run-0:replid-0";
  made.origin = frames::Origin{"1767225600000-0", "8c6f0e2d4b1a49d7a35c7e9f", "exhausted", 1'767'225'000'000};
  put(made);
  settle();
  const auto fields = server_.entries(dead_).at(0).fields;
  EXPECT_EQ((std::map<std::string, std::string>(fields.begin(), fields.end()).at("first_seen")), "1767225000000");
}

TEST_F(DeadLetterTest, request_is_settled_only_when_its_letter_is_written) {
  Sidecar& a = add_sidecar('a');
  frames::Request made = post("restored");
  made.bus = "run-0:replid-0";
  a.bus.fail_next(Op::bury, {Code::overloaded, "OOM"});
  put(made);
  settle();
  EXPECT_TRUE(letters().empty());
  EXPECT_EQ(server_.pending(kQueue).size(), 1u);

  advance(1s);
  EXPECT_EQ(letters(), Letters{"restored 1"});
  EXPECT_TRUE(is_queue_empty());
}

TEST_F(DeadLetterTest, letter_that_may_not_be_written_keeps_nobody_waiting) {
  Sidecar& a = add_sidecar('a');
  frames::Request made = post("restored");
  made.bus = "run-0:replid-0";
  a.bus.fail_next(Op::bury, {Code::refused, "NOPERM"});
  put(made);
  settle();
  EXPECT_EQ(told(), "outcome-unknown");
  EXPECT_TRUE(is_queue_empty());
  EXPECT_TRUE(letters().empty());
}

// ---- Cancel

class CancelTest : public ConsumerTest {
 protected:
  void cancel(const std::string& id, bool is_kept = true) {
    const std::string text = *frames::encode_cancel({id, "client left"});
    if (is_kept) {
      caller_.cancel(names_.cancel_channel(kService), names_.cancelled_set(kService), {{text, server_.now_ms() + 60'000}});
    } else {
      caller_.tell(names_.cancel_channel(kService), text);
    }
    settle();
  }
};

TEST_F(CancelTest, who_left_before_any_sidecar_started_causes_no_call) {
  Sidecar& first = add_sidecar('a');
  first.consumer.drain([] {});  // it made the queue
  settle();
  const std::string left = put(post("left"));
  const std::string stays = put(post("stays"));
  cancel(left);
  Sidecar& b = add_sidecar('b');
  settle();
  EXPECT_EQ(b.service.begun, std::vector{stays});
  EXPECT_EQ(b.counters().cancelled, 1u);
  EXPECT_EQ(b.ended, (std::vector<std::string>{"cancelled", "answered"}));
  EXPECT_TRUE(is_queue_empty());
}

TEST_F(CancelTest, nothing_is_read_before_the_set_was) {
  Sidecar& first = add_sidecar('a');
  first.consumer.drain([] {});
  settle();
  const std::string left = put(post("left"));
  cancel(left);
  auto& b = *sidecars_.emplace_back(std::make_unique<Sidecar>(loop_, server_, names_, sidecar_options('b')));
  b.bus.hold(Op::cancelled);
  b.consumer.start();
  b.consumer.set_service_ready(true);
  settle();
  EXPECT_FALSE(b.consumer.is_reading());
  EXPECT_EQ(server_.pending(kQueue).size(), 0u);
  b.bus.release(Op::cancelled);
  settle();
  EXPECT_TRUE(b.consumer.is_reading());
  EXPECT_TRUE(b.service.begun.empty());
  EXPECT_TRUE(is_queue_empty());
}

TEST_F(CancelTest, set_that_cannot_be_read_stops_nobody) {
  auto& a = *sidecars_.emplace_back(std::make_unique<Sidecar>(loop_, server_, names_, sidecar_options('a')));
  a.bus.fail_next(Op::cancelled, {Code::refused, "NOPERM"});
  a.consumer.start();
  a.consumer.set_service_ready(true);
  settle();
  put(post("one"));
  settle();
  EXPECT_EQ(told(), "200");
}

TEST_F(CancelTest, cancelled_while_its_sidecar_was_cut_off_is_known_after_the_reconnect) {
  auto options = sidecar_options('a');
  options.max_in_flight = 1;
  Sidecar& a = add_sidecar(options);
  a.service.reaction = Reaction::hang;
  put(post("first"));
  settle();
  a.bus.cut();
  settle();
  const std::string left = put(post("left"));
  cancel(left);
  a.bus.restore();
  settle();
  a.service.answer_all();
  settle();
  EXPECT_EQ(a.service.begun.size(), 1u);
  EXPECT_EQ(a.counters().cancelled, 1u);
  EXPECT_TRUE(is_queue_empty());
}

TEST_F(CancelTest, running_call_is_broken_off_and_its_place_is_free) {
  auto options = sidecar_options('a');
  options.max_in_flight = 1;
  Sidecar& a = add_sidecar(options);
  a.service.reaction = Reaction::hang;
  const std::string first = put(post("first"));
  settle();
  const std::string second = put(post("second"));
  settle();
  ASSERT_EQ(a.service.begun, std::vector{first});
  cancel(first, false);
  EXPECT_EQ(a.service.begun, (std::vector{first, second}));
  EXPECT_EQ(a.service.running(), 1u);
  EXPECT_EQ(a.ended, std::vector<std::string>{"cancelled"});
  EXPECT_EQ(told(), "");
  cancel(second);
  EXPECT_TRUE(is_queue_empty());
  EXPECT_EQ(a.consumer.in_hand(), 0u);
}

TEST_F(CancelTest, cancel_that_comes_after_the_answer_changes_nothing) {
  Sidecar& a = add_sidecar('a');
  a.bus.hold(Op::settle, MemoryBus::Hold::reply);
  const std::string id = put(post("one"));
  settle();
  ASSERT_EQ(told(), "200");
  cancel(id);
  a.bus.release(Op::settle);
  settle();
  EXPECT_EQ(a.ended, std::vector<std::string>{"answered"});
  EXPECT_EQ(a.counters().cancelled, 0u);
  EXPECT_EQ(a.consumer.in_hand(), 0u);
}

TEST_F(CancelTest, answer_that_the_bus_does_not_take_is_kept_no_longer) {
  Sidecar& a = add_sidecar('a');
  server_.set_out_of_memory(true);
  const auto made = post("one");
  put(made);
  settle();
  EXPECT_EQ(a.service.begun.size(), 1u);
  ASSERT_EQ(a.consumer.in_hand(), 1u);
  cancel(made.id, false);
  EXPECT_EQ(a.consumer.in_hand(), 0u);
  EXPECT_TRUE(is_queue_empty());
}

// ---- Many at once

TEST_F(ConsumerTest, orphans_that_are_more_than_one_claim_takes_are_taken_one_claim_after_the_other) {
  Sidecar& a = add_sidecar('a');
  Sidecar& b = add_unready('b');
  a.service.reaction = Reaction::break_off;
  for (int i = 0; i < 200; ++i) put(get("many" + std::to_string(1000 + i)));
  for (int i = 0; i < 20; ++i) settle();
  ASSERT_EQ(a.counters().moved_on, 200u);
  b.consumer.set_service_ready(true);
  const auto since = loop_.loop.now();
  while (b.service.begun.size() < 200 && loop_.loop.now() - since < 5s) advance(10ms);
  EXPECT_EQ(b.service.begun.size(), 200u);
  EXPECT_LE(loop_.loop.now() - since, 700ms);
  EXPECT_TRUE(is_queue_empty());
}

TEST_F(ConsumerTest, request_of_another_incarnation_makes_it_ask_whose_server_this_is) {
  Sidecar& a = add_sidecar('a');
  frames::Request made = post("restored");
  made.bus = "run-0:replid-0";
  put(made);
  settle();
  EXPECT_EQ(a.bus.server_doubts(), 1u);
}

// ---- NUMSUB, and one's own subscription

// A proxy in between, or an ACL: who lives cannot be asked.
TEST_F(ConsumerTest, where_numsub_cannot_be_used_the_lease_alone_decides) {
  Sidecar& a = add_sidecar('a');
  a.service.reaction = Reaction::hang;
  const std::string repeatable = put(get("again"));
  const std::string once = put(post("once"));
  const auto delivered = loop_.loop.now();
  settle();
  ASSERT_EQ(a.service.begun.size(), 2u);
  Sidecar& b = add_sidecar('b');
  for (int i = 0; i < 200; ++i) b.bus.fail_next(Op::subscribers, {Code::refused, "NOPERM"});
  let_grace_pass();
  a.kill();
  while (loop_.loop.now() - delivered < limits::kLeaseDuration - 1s) advance(500ms);
  EXPECT_TRUE(b.service.begun.empty());
  EXPECT_EQ(told(), "");
  while (loop_.loop.now() - delivered < limits::kLeaseDuration + 3s) advance(500ms);
  EXPECT_EQ(b.service.begun, std::vector{repeatable});
  EXPECT_EQ(told(), "outcome-unknown 200");
  EXPECT_EQ(times_begun(once), 1u);
  EXPECT_TRUE(is_queue_empty());
}

TEST_F(ConsumerTest, who_may_look_dead_reads_nothing_new) {
  Sidecar& a = add_sidecar('a');
  a.bus.cut({.commands = false, .readers = false});
  settle();
  EXPECT_FALSE(a.consumer.is_reading());
  advance(base::limits::kBlockTime);  // the read that was out ends
  put(post("one"));
  advance(10s);
  EXPECT_TRUE(a.service.begun.empty());
  a.bus.restore();
  settle();
  EXPECT_EQ(told(), "200");
}

// Its caller needs neither, its operator the letter.
TEST_F(CancelTest, letter_is_written_though_the_caller_left) {
  Sidecar& a = add_sidecar('a');
  frames::Request made = post("restored");
  made.bus = "run-0:replid-0";
  a.bus.fail_next(Op::bury, {Code::overloaded, "OOM"});
  put(made);
  settle();
  cancel(made.id, false);
  advance(1s);
  EXPECT_EQ(server_.length(names_.dead_stream(kService)), 1u);
  EXPECT_TRUE(is_queue_empty());
}

TEST_F(CancelTest, call_that_is_broken_off_after_its_head_has_no_status) {
  Sidecar& a = add_sidecar('a');
  a.service.reaction = Reaction::hang;
  a.service.begins_answer = true;
  const std::string id = put(post("one"));
  settle();
  cancel(id, false);
  EXPECT_EQ(a.ended, std::vector<std::string>{"cancelled"});
  EXPECT_EQ(a.last_status, 0);
}

// They hold no place in the line, nor does their number grow while nothing else ends.
TEST_F(CancelTest, who_is_cancelled_while_it_waits_leaves_the_line) {
  auto options = sidecar_options('a');
  options.queues = {kQueue, kQueue + ":1"};
  options.max_in_flight = 1;
  Sidecar& a = add_sidecar(options, false);
  a.service.reaction = Reaction::hang;
  put(post("first"), kQueue);
  const std::string second = put(post("second"), kQueue + ":1");
  a.consumer.set_service_ready(true);  // one read brings both
  settle();
  ASSERT_EQ(a.service.begun.size(), 1u);
  ASSERT_EQ(a.consumer.waiting(), 1u);
  const std::string waits = a.service.begun[0] == second ? "first" : "second";
  cancel(post(waits).id, false);
  EXPECT_EQ(a.consumer.in_hand(), 1u);
  EXPECT_EQ(a.consumer.waiting(), 0u);
}

// ---- The server's clock is moved

TEST_F(ConsumerTest, idle_time_that_jumps_with_the_servers_clock_ends_no_lease) {
  caller_.refresh_ttl(reply_to_, 10h, {});
  Sidecar& a = add_sidecar('a');
  Sidecar& b = add_sidecar('b');
  a.service.reaction = b.service.reaction = Reaction::hang;
  put(get("held"));
  put(post("too"));
  settle();
  let_grace_pass();
  server_.step_clock(1h);
  for (int i = 0; i < 60; ++i) advance(500ms);
  EXPECT_EQ(a.counters().taken_over + b.counters().taken_over, 0u);
  EXPECT_EQ(told(), "");
  a.service.answer_all();
  b.service.answer_all();
  settle();
  EXPECT_EQ(told(), "200 200");
  EXPECT_TRUE(is_queue_empty());
}

// ---- Idle

TEST_F(ConsumerTest, idle_instance_looks_seldom_and_at_once_when_asked) {
  add_sidecar('a');
  Sidecar& b = add_sidecar('b');
  for (int i = 0; i < 120; ++i) advance(500ms);
  const auto before = b.bus.calls(Op::pending_entries);
  for (int i = 0; i < 120; ++i) advance(500ms);
  EXPECT_LE(b.bus.calls(Op::pending_entries) - before, 4u);  // in a minute

  const auto asked = b.bus.calls(Op::pending_entries);
  caller_.tell(names_.cancel_channel(kService), frames::encode_look());
  settle();
  advance(10ms);
  EXPECT_EQ(b.bus.calls(Op::pending_entries), asked + 1);
  // Again within the moment is once more, not once each.
  for (int i = 0; i < 50; ++i) caller_.tell(names_.cancel_channel(kService), frames::encode_look());
  settle();
  advance(200ms);
  EXPECT_EQ(b.bus.calls(Op::pending_entries), asked + 2);
}

// LOOK is kept nowhere: who did not hear it looks when it can hear again.
TEST_F(ConsumerTest, idle_instance_looks_when_its_subscription_is_back) {
  Sidecar& a = add_sidecar('a');
  Sidecar& b = add_sidecar('b');
  a.service.reaction = Reaction::refuse;
  for (int i = 0; i < 120; ++i) advance(500ms);
  b.bus.cut({.commands = false, .readers = false, .server_notices = false});
  for (int i = 0; i < 12; ++i) advance(500ms);  // its read is over
  const std::string id = put(post("one"));
  settle();
  ASSERT_EQ(owner(), "parked");
  server_.drop_ghosts();
  b.bus.restore();
  advance(1s);
  EXPECT_EQ(b.service.begun, std::vector{id});
  EXPECT_EQ(told(), "200");
}

// Until it is answered nothing is read.
TEST_F(ConsumerTest, idle_instance_whose_question_for_its_own_is_refused_asks_again_soon) {
  Sidecar& a = add_sidecar('a');
  for (int i = 0; i < 120; ++i) advance(500ms);
  a.bus.fail_next(Op::own_pending, {Code::refused, "ERR"});
  a.bus.break_connections({.commands = false, .subscriptions = false});
  advance(500ms);
  put(post("one"));
  advance(1s);
  EXPECT_EQ(told(), "200");
}

TEST_F(DeliveryTest, idle_peer_answers_within_three_seconds_of_a_death) {
  Gateway& gateway = add_gateway('9');
  Sidecar& a = add_sidecar('a');
  Sidecar& b = add_sidecar('b');
  a.service.reaction = b.service.reaction = Reaction::hang;
  for (int i = 0; i < 120; ++i) advance(500ms);
  Caller& caller = gateway.get(120s);
  for (int i = 0; i < 60; ++i) advance(500ms);  // long after the last delivery to anybody
  Sidecar& holder = a.service.begun.empty() ? b : a;
  Sidecar& peer = a.service.begun.empty() ? a : b;
  ASSERT_TRUE(peer.service.begun.empty());
  peer.service.reaction = Reaction::answer;

  const auto died = loop_.loop.now();
  holder.kill();
  while (!caller.has_ended() && loop_.loop.now() - died < 10s) advance(100ms);
  EXPECT_EQ(caller.outcome, "200");
  EXPECT_LE(loop_.loop.now() - died, 3s);
}

// It is still subscribed as far as the server knows: a machine without power, a process that is stopped.
TEST_F(DeliveryTest, idle_peer_takes_over_from_who_hangs_when_the_lease_is_over) {
  Gateway& gateway = add_gateway('9');
  Sidecar& a = add_sidecar('a');
  Sidecar& b = add_sidecar('b');
  a.service.reaction = b.service.reaction = Reaction::hang;
  for (int i = 0; i < 120; ++i) advance(500ms);
  Caller& caller = gateway.get(120s);
  settle();
  Sidecar& holder = a.service.begun.empty() ? b : a;
  (a.service.begun.empty() ? a : b).service.reaction = Reaction::answer;
  holder.bus.cut({.server_notices = false});
  holder.service.is_dead = true;
  const auto since = loop_.loop.now();
  while (!caller.has_ended() && loop_.loop.now() - since < 100s) advance(500ms);
  EXPECT_EQ(caller.outcome, "200");
  EXPECT_LE(loop_.loop.now() - since, base::limits::kLeaseDuration + 10s);
}

TEST_F(DeliveryTest, handed_back_is_taken_at_once_by_an_idle_peer) {
  Gateway& gateway = add_gateway('9');
  Sidecar& a = add_sidecar('a');
  add_sidecar('b');
  a.service.reaction = Reaction::refuse;
  for (int i = 0; i < 120; ++i) advance(500ms);
  for (int i = 0; i < 3; ++i) {
    Caller& caller = gateway.post();
    for (int k = 0; k < 5 && !caller.has_ended(); ++k) advance(100ms);
    EXPECT_EQ(caller.outcome, "200");
  }
  EXPECT_EQ(a.service.refused, 1u);
}

// ---- Callers that leave

TEST_F(DeliveryTest, client_that_left_is_told_of_and_its_call_broken_off) {
  Gateway& gateway = add_gateway('9');
  Sidecar& a = add_sidecar('a');
  a.service.reaction = Reaction::hang;
  Caller& caller = gateway.post();
  settle();
  ASSERT_EQ(a.service.running(), 1u);
  caller.handle.cancel();
  settle();
  EXPECT_EQ(a.service.running(), 0u);
  EXPECT_EQ(a.counters().cancelled, 1u);
  EXPECT_EQ(gateway.dispatcher.counters().cancelled, 1u);
  EXPECT_TRUE(is_queue_empty());
}

TEST_F(DeliveryTest, client_that_left_while_its_sidecar_was_away_causes_no_call) {
  Gateway& gateway = add_gateway('9');
  Sidecar& a = add_sidecar('a');
  a.bus.cut();
  settle();
  Caller& caller = gateway.post();
  settle();
  caller.handle.cancel();
  settle();
  a.bus.restore();
  settle();
  EXPECT_TRUE(a.service.begun.empty());
  EXPECT_EQ(a.counters().cancelled, 1u);
  EXPECT_TRUE(is_queue_empty());
}

TEST_F(DeliveryTest, ended_calls_are_not_cancelled_and_deadlines_are_not_kept) {
  Gateway& gateway = add_gateway('9');
  Sidecar& a = add_sidecar('a');
  gateway.post();
  settle();
  gateway.calls[0]->handle.cancel();
  settle();
  EXPECT_EQ(gateway.dispatcher.counters().cancelled, 0u);

  a.service.reaction = Reaction::hang;
  Caller& late = gateway.post(2s);
  settle();
  advance(2s);
  EXPECT_EQ(late.outcome, "timeout");
  EXPECT_EQ(gateway.dispatcher.counters().cancelled, 1u);
  EXPECT_EQ(a.service.running(), 0u);
  EXPECT_FALSE(server_.exists(names_.cancelled_set(kService)));
}

// ---- A service that breaks off

TEST_F(ConsumerTest, repeatable_that_the_service_broke_off_is_moved_to_a_peer_as_the_next_attempt) {
  Sidecar& a = add_sidecar('a');
  a.service.reaction = Reaction::break_off;
  a.service.begins_answer = true;  // and what was to come of it does not count
  const std::string id = put(get("moved"));
  settle();
  EXPECT_EQ(told(), "bad-answer");  // nobody else is there

  Sidecar& b = add_unready('b');
  const std::string second = put(get("again"));
  settle();
  EXPECT_EQ(a.service.times_begun(second), 1u);
  EXPECT_EQ(owner(), "parked");
  EXPECT_EQ(server_.pending(kQueue)[0].delivery_count, 1u);
  b.consumer.set_service_ready(true);
  advance(1s);
  EXPECT_EQ(b.service.begun, std::vector{second});
  EXPECT_EQ(told(), "bad-answer 200");
  EXPECT_EQ(answers()[1].attempt, 2u);
  EXPECT_EQ(a.ended, (std::vector<std::string>{"broken", "moved_on"}));
  EXPECT_EQ(a.last_status, 0);
  EXPECT_EQ(a.counters().moved_on, 1u);
  EXPECT_EQ(a.counters().handed_back, 0u);
  EXPECT_TRUE(is_queue_empty());
}

TEST_F(ConsumerTest, what_breaks_every_service_is_begun_max_attempts_times) {
  Sidecar& a = add_sidecar('a');
  Sidecar& b = add_sidecar('b');
  a.service.reaction = b.service.reaction = Reaction::break_off;
  const std::string id = put(get("poison"));
  for (int i = 0; i < 20; ++i) advance(500ms);
  EXPECT_EQ(times_begun(id), 3u);
  EXPECT_EQ(told(), "bad-answer");
  EXPECT_TRUE(is_queue_empty());
}

TEST_F(ConsumerTest, what_may_not_run_twice_is_not_moved_when_the_service_breaks_off) {
  Sidecar& a = add_sidecar('a');
  a.service.reaction = Reaction::break_off;
  Sidecar& b = add_unready('b');
  const std::string id = put(post("once"));
  settle();
  b.consumer.set_service_ready(true);
  for (int i = 0; i < 6; ++i) advance(500ms);
  EXPECT_EQ(times_begun(id), 1u);
  EXPECT_EQ(told(), "bad-answer");
  EXPECT_TRUE(is_queue_empty());
}

// ---- Claim

TEST_F(ConsumerTest, request_is_run_answered_and_settled) {
  Sidecar& a = add_sidecar('a');
  const std::string id = put(post("one"));
  settle();
  EXPECT_EQ(a.service.begun, std::vector{id});
  ASSERT_EQ(told(), "200");
  EXPECT_EQ(answers()[0].instance, a.instance);
  EXPECT_EQ(answers()[0].attempt, 1u);
  EXPECT_TRUE(server_.pending(kQueue).empty());
  EXPECT_EQ(a.consumer.in_hand(), 0u);
}

TEST_F(ConsumerTest, non_repeatable_of_another_incarnation_is_not_run) {
  Sidecar& a = add_sidecar('a');
  frames::Request made = post("other");
  made.bus = "run-0:replid-0";
  put(made);
  settle();
  EXPECT_TRUE(a.service.begun.empty());
  EXPECT_EQ(told(), "outcome-unknown");
  EXPECT_TRUE(server_.pending(kQueue).empty());
}

TEST_F(ConsumerTest, repeatable_of_another_incarnation_is_run) {
  Sidecar& a = add_sidecar('a');
  frames::Request made = get("other");
  made.bus = "run-0:replid-0";
  put(made);
  settle();
  EXPECT_EQ(a.service.begun.size(), 1u);
  EXPECT_EQ(told(), "200");
}

TEST_F(ConsumerTest, expired_entry_is_dropped_silently_once_its_owner_knows) {
  Sidecar& a = add_unready('a');
  a.bus.set_clock_estimate(0, 200);
  frames::Request made = post("late");
  made.deadline_ms = server_.now_ms() + 100;
  put(made);
  made = post("perhaps");
  made.deadline_ms = server_.now_ms() + 102;  // its owner's clock may say that there is time left
  put(made);
  advance(301ms);
  a.consumer.set_service_ready(true);
  settle();
  EXPECT_EQ(a.counters().expired, 1u);
  EXPECT_NE(told(), "");
  EXPECT_EQ(answers()[0].id, made.id);
  EXPECT_TRUE(is_queue_empty());
  EXPECT_EQ(a.bus.server_doubts(), 0u);
}

// The server's clock was moved, and caller and sidecar do not know of it at the same time.
TEST_F(ConsumerTest, entry_that_is_younger_than_its_deadline_is_told_of) {
  Sidecar& a = add_sidecar('a');
  frames::Request made = post("strange");
  made.deadline_ms = server_.now_ms() - 3'600'000;
  put(made);
  settle();
  EXPECT_TRUE(a.service.begun.empty());
  EXPECT_EQ(told(), "expired");
  EXPECT_EQ(a.bus.server_doubts(), 1u);
  EXPECT_EQ(a.ended, std::vector<std::string>{"expired"});
  EXPECT_TRUE(is_queue_empty());

  made = post("nobody");
  made.deadline_ms = server_.now_ms() - 3'600'000;
  made.reply_to = names_.reply_stream(process_id('e'), 0, 1);  // is not there: its owner is gone, too
  put(made);
  settle();
  EXPECT_TRUE(is_queue_empty());
  EXPECT_EQ(a.counters().undeliverable, 0u);
}

TEST_F(ConsumerTest, malformed_entries_are_removed_and_counted) {
  Sidecar& a = add_sidecar('a');
  server_.add(kQueue, {{"v", "1"}, {"t", "3"}, {"h", "{"}});
  server_.add(kQueue, fields_of(frames::Accept{"id0000000000000000", a.instance, 1, a.inbox}));
  put(post("good"));
  settle();
  EXPECT_EQ(a.counters().malformed, 2u);
  EXPECT_EQ(told(), "200");
  EXPECT_TRUE(server_.pending(kQueue).empty());
}

TEST_F(ConsumerTest, no_more_is_read_than_there_are_free_slots) {
  Sidecar::Options options = sidecar_options('a');
  options.max_in_flight = 2;
  Sidecar& a = add_sidecar(options);
  a.service.reaction = Reaction::hang;
  for (int i = 0; i < 5; ++i) put(post("number" + std::to_string(i)));
  settle();
  EXPECT_EQ(server_.pending(kQueue).size(), 2u);
  EXPECT_EQ(a.consumer.in_hand(), 2u);
  for (int i = 0; i < 5; ++i) {
    a.service.answer_all();
    settle();
  }
  EXPECT_EQ(a.service.begun.size(), 5u);
  EXPECT_EQ(a.service.most_at_once, 2u);
}

TEST_F(ConsumerTest, no_more_than_the_limit_is_with_the_service_when_it_takes_over) {
  Sidecar& dead = add_sidecar('d');
  dead.service.reaction = Reaction::hang;
  for (int i = 0; i < 6; ++i) put(get("number" + std::to_string(i)));
  settle();
  Sidecar::Options options = sidecar_options('a');
  options.max_in_flight = 2;
  Sidecar& a = add_sidecar(options);
  a.service.takes = 100ms;
  let_grace_pass();
  dead.kill();
  advance(5s);
  EXPECT_EQ(a.service.begun.size(), 6u);
  EXPECT_EQ(a.service.most_at_once, 2u);
}

TEST_F(ConsumerTest, every_address_is_read_where_there_are_fewer_slots) {
  Sidecar::Options options = sidecar_options('a');
  options.queues = {kQueue + ":2", kQueue};
  options.max_in_flight = 1;
  Sidecar& a = add_sidecar(options);
  for (int i = 0; i < 3; ++i) {
    put(post("narrow" + std::to_string(i)), kQueue + ":2");
    put(post("broad" + std::to_string(i)));
  }
  settle();
  ASSERT_EQ(a.service.begun.size(), 6u);
  EXPECT_EQ(a.service.most_at_once, 1u);
  // A read that blocked on one address would leave the other unread for its block time.
  put(post("narrow_again"), kQueue + ":2");
  put(post("broad_again"));
  settle();
  EXPECT_EQ(a.service.begun.size(), 8u);
}

TEST_F(ConsumerTest, nothing_is_read_while_half_of_the_memory_is_used) {
  base::Budget buffered(1024 * 1024);
  Sidecar::Options options = sidecar_options('a');
  options.buffered = &buffered;
  Sidecar& sidecar = add_sidecar(options);
  sidecar.service.reaction = Reaction::hang;
  for (int i = 0; i < 4; ++i) {
    frames::Request made = post("r" + std::to_string(i));
    made.body = std::string(300'000, 'x');
    put(made);
    settle();
  }
  EXPECT_EQ(sidecar.service.begun.size(), 2u);
  EXPECT_GE(buffered.used(), 600'000u);

  sidecar.service.answer_all();
  settle();

  EXPECT_EQ(sidecar.service.begun.size(), 4u);
  sidecar.service.answer_all();
  settle();
  EXPECT_EQ(told(), "200 200 200 200");
  EXPECT_EQ(buffered.used(), 0u);
}

TEST_F(ConsumerTest, answer_without_memory_is_told_as_lost_since_it_ran) {
  base::Budget buffered(1024 * 1024);
  Sidecar::Options options = sidecar_options('a');
  options.buffered = &buffered;
  Sidecar& sidecar = add_sidecar(options);
  sidecar.service.answer_body = std::string(2 * 1024 * 1024, 'x');
  put(post("large"));
  settle();

  EXPECT_EQ(told(), "outcome-unknown");
  EXPECT_EQ(sidecar.counters().no_room, 1u);
  EXPECT_EQ(buffered.used(), 0u);
  EXPECT_TRUE(is_queue_empty());
}

TEST_F(ConsumerTest, batch_size_caps_a_read) {
  Sidecar::Options options = sidecar_options('a');
  options.batch_size = 2;
  Sidecar& a = add_sidecar(options);
  a.bus.hold(Op::read);
  for (int i = 0; i < 5; ++i) put(post("number" + std::to_string(i)));
  advance(limits::kBlockTime);  // whatever it was blocked with is over
  a.bus.release(Op::read);
  a.bus.hold(Op::read, MemoryBus::Hold::reply);
  settle();
  EXPECT_EQ(server_.pending(kQueue).size(), 2u);
  a.bus.release(Op::read);
  settle();
  EXPECT_EQ(a.service.begun.size(), 5u);
}

TEST_F(ConsumerTest, nothing_is_read_before_the_alive_subscription_is_confirmed) {
  Sidecar::Options options = sidecar_options('a');
  sidecars_.push_back(std::make_unique<Sidecar>(loop_, server_, names_, options));
  Sidecar& a = *sidecars_.back();
  a.bus.hold(Op::subscribe, MemoryBus::Hold::reply);
  a.consumer.start();
  a.consumer.set_service_ready(true);
  settle();
  put(post("early"));
  advance(3s);
  EXPECT_FALSE(a.consumer.is_reading());
  EXPECT_TRUE(server_.pending(kQueue).empty());
  a.bus.release(Op::subscribe);
  settle();
  EXPECT_TRUE(a.consumer.is_reading());
  EXPECT_EQ(told(), "200");
}

TEST_F(ConsumerTest, request_written_twice_is_answered_once_while_it_is_in_hand) {
  Sidecar& a = add_sidecar('a');
  a.service.reaction = Reaction::hang;
  const frames::Request made = get("twice");
  put(made);
  put(made);
  settle();
  a.service.answer_all();
  settle();
  EXPECT_EQ(a.service.begun.size(), 1u);
  EXPECT_EQ(a.counters().duplicates, 1u);
  EXPECT_EQ(told(), "200");
  EXPECT_TRUE(server_.pending(kQueue).empty());
}

// ---- Answer, then settle

TEST_F(ConsumerTest, answer_whose_reply_was_lost_is_written_again_before_it_is_settled) {
  Sidecar& a = add_sidecar('a');
  a.bus.lose_reply_of(Op::publish);
  std::size_t told_at_settlement = 0;
  a.bus.before_next(Op::settle, [&] { told_at_settlement = answers().size(); });
  put(post("one"));
  advance(2s);
  EXPECT_EQ(told_at_settlement, 2u);
  EXPECT_EQ(told(), "200 200");
  EXPECT_EQ(a.service.begun.size(), 1u);
  EXPECT_TRUE(server_.pending(kQueue).empty());
}

TEST_F(ConsumerTest, answer_that_never_arrived_is_written_again) {
  Sidecar& a = add_sidecar('a');
  a.bus.before_next(Op::publish, [&] { a.bus.break_connections({.readers = false, .subscriptions = false}); });
  put(post("one"));
  advance(2s);
  EXPECT_EQ(told(), "200");
  EXPECT_EQ(a.service.begun.size(), 1u);
  EXPECT_TRUE(server_.pending(kQueue).empty());
}

TEST_F(ConsumerTest, answer_that_finds_no_memory_is_kept_until_there_is_some) {
  Sidecar& a = add_sidecar('a');
  a.service.reaction = Reaction::hang;
  put(post("one"));
  settle();
  server_.set_out_of_memory(true);
  a.service.answer_all();
  advance(5s);
  EXPECT_EQ(a.bus.calls(Op::settle), 0u);
  EXPECT_EQ(server_.pending(kQueue).size(), 1u);

  server_.set_out_of_memory(false);
  advance(limits::kReconnectCap);
  EXPECT_EQ(told(), "200");
  EXPECT_EQ(a.service.begun.size(), 1u);
  EXPECT_TRUE(server_.pending(kQueue).empty());
}

TEST_F(ConsumerTest, missing_reply_stream_is_no_proof_of_a_dead_caller) {
  Sidecar& a = add_sidecar('a');
  server_.remove(reply_to_);
  put(post("one"));
  advance(5s);
  EXPECT_EQ(a.bus.calls(Op::settle), 0u);
  caller_.ensure_stream(reply_to_, 600s, {}, [](base::Result<bool>) {});
  advance(limits::kReconnectCap);
  EXPECT_EQ(told(), "200");
  EXPECT_TRUE(server_.pending(kQueue).empty());
}

TEST_F(ConsumerTest, answer_nobody_can_be_given_is_settled_at_the_deadline_and_counted) {
  Sidecar& a = add_sidecar('a');
  server_.remove(reply_to_);
  frames::Request made = post("one");
  made.deadline_ms = server_.now_ms() + 8000;
  put(made);
  advance(7900ms);
  EXPECT_EQ(server_.pending(kQueue).size(), 1u);
  advance(limits::kReconnectCap + 100ms);
  EXPECT_TRUE(server_.pending(kQueue).empty());
  EXPECT_EQ(a.counters().undeliverable, 1u);
  EXPECT_EQ(a.consumer.in_hand(), 0u);
}

TEST_F(ConsumerTest, new_incarnation_before_the_settlement_is_answered_again_first) {
  Sidecar& a = add_sidecar('a');
  a.service.reaction = Reaction::hang;
  put(post("one"));
  settle();
  const MemoryServer::Snapshot before_the_answer = server_.snapshot();
  a.bus.hold(Op::settle);
  a.service.answer_all();
  settle();
  ASSERT_EQ(told(), "200");

  server_.restore(before_the_answer);
  ASSERT_EQ(told(), "");
  a.bus.release(Op::settle);
  std::size_t told_at_settlement = 0;
  a.bus.before_next(Op::settle, [&] { told_at_settlement = answers().size(); });
  advance(2s);
  EXPECT_EQ(told_at_settlement, 1u);
  EXPECT_EQ(told(), "200");
  EXPECT_EQ(a.service.begun.size(), 1u);
  EXPECT_TRUE(server_.pending(kQueue).empty());
}

TEST_F(ConsumerTest, settlement_whose_reply_was_lost_is_settled_again_and_never_run_again) {
  Sidecar& a = add_sidecar('a');
  a.bus.lose_reply_of(Op::settle);
  put(post("one"));
  advance(3s);
  EXPECT_EQ(a.bus.calls(Op::settle), 2u);
  EXPECT_EQ(told(), "200");
  EXPECT_EQ(a.service.begun.size(), 1u);
  EXPECT_EQ(a.consumer.in_hand(), 0u);
}

TEST_F(ConsumerTest, settlement_that_never_arrived_is_settled_and_never_run_again) {
  Sidecar& a = add_sidecar('a');
  // All connections go: whoever forgot the id would find it as its own pending entry and run it.
  a.bus.before_next(Op::settle, [&] { a.bus.break_connections(); });
  put(post("one"));
  advance(3s);
  EXPECT_EQ(a.service.begun.size(), 1u);
  EXPECT_EQ(told(), "200");
  EXPECT_TRUE(server_.pending(kQueue).empty());
  EXPECT_EQ(a.consumer.in_hand(), 0u);
}

TEST_F(ConsumerTest, settlement_that_is_refused_is_tried_until_it_succeeds) {
  Sidecar& a = add_sidecar('a');
  // For longer than the lease: an entry that is not renewed meanwhile must not be forgotten, nor its slot be lost.
  for (int i = 0; i < 6; ++i) a.bus.fail_next(Op::settle, {Code::refused, "NOPERM"});
  put(post("one"));
  advance(60s);
  EXPECT_EQ(a.service.begun.size(), 1u);
  EXPECT_EQ(told(), "200");
  EXPECT_TRUE(server_.pending(kQueue).empty());
  EXPECT_EQ(a.consumer.in_hand(), 0u);
}

// ---- Bodies that do not fit an entry

std::vector<std::string> in_pieces(const std::string& body) {
  std::vector<std::string> pieces;
  for (std::size_t at = 0; at < body.size(); at += limits::kInlineBodyBytes) {
    pieces.push_back(body.substr(at, limits::kInlineBodyBytes));
  }
  return pieces;
}

class StreamedTest : public ConsumerTest {
 protected:
  StreamedTest() {
    for (std::size_t i = 0; i < 2 * limits::kInlineBodyBytes + 10; ++i) body_ += static_cast<char>('a' + i % 23);
  }
  frames::Request streamed(std::string id) {
    frames::Request made = post(std::move(id));
    made.streamed = frames::StreamedBody{body_.size()};
    return made;
  }
  void send_piece(Sidecar& to, const std::string& id, std::size_t index, std::uint32_t attempt = 1) {
    frames::StreamData piece;
    piece.type = frames::FrameType::request_stream_data;
    piece.id = id;
    piece.instance = to.instance;
    piece.attempt = attempt;
    piece.seq = index + 1;
    const auto pieces = in_pieces(body_);
    piece.body = pieces[index];
    piece.end = index + 1 == pieces.size();
    server_.add(to.inbox, fields_of(piece));
  }
  std::vector<frames::Accept> accepts() { return frames_in<frames::Accept>(server_, names_, reply_to_); }

  std::string body_;
};

TEST_F(StreamedTest, request_is_begun_once_its_body_is_whole) {
  Sidecar& a = add_sidecar('a');
  const std::string id = put(streamed("large"));
  settle();
  ASSERT_EQ(accepts().size(), 1u);
  EXPECT_EQ(accepts()[0].inbox, a.inbox);
  send_piece(a, id, 0);
  send_piece(a, id, 1);
  settle();
  EXPECT_TRUE(a.service.begun.empty());
  send_piece(a, id, 2);
  settle();
  EXPECT_TRUE(a.service.bodies[id] == body_);
  EXPECT_EQ(told(), "200");
}

TEST_F(StreamedTest, caller_in_wake_mode_notify_is_told_of_everything) {
  Sidecar::Options options = sidecar_options('a');
  options.wake = frames::WakeMode::notify;
  Sidecar& a = add_sidecar(std::move(options));
  const std::string blocked = put(streamed("blocked"));
  settle();
  EXPECT_EQ(accepts()[0].wake, frames::WakeMode::notify) << "ours, whatever theirs is";
  for (std::size_t i = 0; i < 3; ++i) send_piece(a, blocked, i);
  settle();
  EXPECT_EQ(told(), "200");
  EXPECT_EQ(server_.notified(reply_to_), 0u);

  frames::Request made = streamed("notified");
  made.wake = frames::WakeMode::notify;
  const std::string notified = put(made);
  settle();
  EXPECT_EQ(server_.notified(reply_to_), 1u) << "ACCEPT";
  for (std::size_t i = 0; i < 3; ++i) send_piece(a, notified, i);
  settle();
  EXPECT_EQ(server_.notified(reply_to_), 2u) << "RESPONSE";
}

TEST_F(StreamedTest, missing_piece_of_a_request_is_never_passed_off_as_whole) {
  Sidecar& a = add_sidecar('a');
  const std::string id = put(streamed("large"));
  settle();
  send_piece(a, id, 0);
  send_piece(a, id, 2);
  settle();
  EXPECT_TRUE(a.service.begun.empty());
  EXPECT_EQ(told(), "bad-answer");
  EXPECT_TRUE(server_.pending(kQueue).empty());
}

TEST_F(StreamedTest, pieces_of_another_attempt_are_not_mixed_in) {
  Sidecar& a = add_sidecar('a');
  const std::string id = put(streamed("large"));
  settle();
  send_piece(a, id, 0, 2);
  for (std::size_t i = 0; i < 3; ++i) send_piece(a, id, i);
  settle();
  EXPECT_TRUE(a.service.bodies[id] == body_);
}

TEST_F(StreamedTest, pieces_that_come_twice_are_used_once) {
  Sidecar& a = add_sidecar('a');
  const std::string id = put(streamed("large"));
  settle();
  for (const std::size_t i : {0, 1, 0, 1, 2}) send_piece(a, id, i);
  settle();
  EXPECT_TRUE(a.service.bodies[id] == body_);
  EXPECT_EQ(told(), "200");
}

TEST_F(StreamedTest, body_is_asked_for_when_there_is_memory_for_it) {
  base::Budget buffered(2 * 1024 * 1024);
  base::Charge others(&buffered);
  others.set(1024 * 1024);
  Sidecar::Options options = sidecar_options('a');
  options.buffered = &buffered;
  Sidecar& a = add_sidecar(options);
  const std::string id = put(streamed("large"));
  advance(5s);
  EXPECT_EQ(a.consumer.in_hand(), 1u);
  EXPECT_TRUE(accepts().empty());

  others.set(0);
  advance(1s);

  ASSERT_EQ(accepts().size(), 1u);
  for (std::size_t i = 0; i < 3; ++i) send_piece(a, id, i);
  settle();
  EXPECT_EQ(told(), "200");
  EXPECT_EQ(buffered.used(), 0u);
}

TEST_F(StreamedTest, body_that_never_comes_is_dropped_at_the_deadline) {
  Sidecar& a = add_sidecar('a');
  frames::Request made = streamed("large");
  made.deadline_ms = server_.now_ms() + 5000;
  const std::string id = put(made);
  settle();
  send_piece(a, id, 0);
  advance(4900ms);
  EXPECT_EQ(a.consumer.in_hand(), 1u);
  advance(200ms);
  EXPECT_EQ(a.consumer.in_hand(), 0u);
  EXPECT_TRUE(a.service.begun.empty());
  EXPECT_TRUE(server_.pending(kQueue).empty());
}

TEST_F(StreamedTest, accept_that_could_not_be_written_is_written_again) {
  Sidecar& a = add_sidecar('a');
  a.bus.fail_next(Op::publish, {Code::overloaded, "OOM"});
  put(streamed("large"));
  advance(1s);
  EXPECT_EQ(accepts().size(), 1u);
}

TEST_F(StreamedTest, accept_lost_with_the_connection_is_written_again) {
  Sidecar& a = add_sidecar('a');
  a.bus.before_next(Op::publish, [&] { a.bus.break_connections(); });
  put(streamed("large"));
  advance(1s);
  EXPECT_EQ(accepts().size(), 1u);
}

TEST_F(StreamedTest, accept_is_written_again_for_a_request_that_is_written_again) {
  add_sidecar('a');
  const frames::Request made = streamed("large");
  put(made);
  settle();
  put(made);  // its caller lost the reply stream, and the ACCEPT with it
  settle();
  EXPECT_EQ(accepts().size(), 2u);
  EXPECT_EQ(server_.pending(kQueue).size(), 1u);
}

TEST_F(StreamedTest, large_answer_is_settled_after_all_its_pieces_were_confirmed) {
  Sidecar& a = add_sidecar('a');
  a.service.answer_body = body_;
  a.bus.fail_next(Op::publish, {Code::overloaded, "OOM"});
  const std::string id = put(post("one"));
  advance(1s);
  const auto pieces = frames_in<frames::StreamData>(server_, names_, reply_to_);
  ASSERT_EQ(pieces.size(), 6u);  // the head found no memory, the pieces did: all of it once more
  EXPECT_TRUE(pieces[3].body + pieces[4].body + pieces[5].body == body_);
  EXPECT_TRUE(pieces[5].end);
  EXPECT_EQ(told(), "200");
  EXPECT_EQ(a.service.begun.size(), 1u);
  EXPECT_TRUE(server_.pending(kQueue).empty());
}

// ---- Renew

TEST_F(ConsumerTest, work_longer_than_the_lease_is_renewed_and_not_run_twice) {
  Sidecar& a = add_sidecar('a');
  a.service.reaction = Reaction::hang;
  put(post("long"));
  put(get("longer"));
  settle();
  Sidecar& b = add_sidecar('b');
  advance(4 * limits::kLeaseDuration);
  a.service.answer_all();
  settle();
  EXPECT_TRUE(b.service.begun.empty());
  EXPECT_EQ(told(), "200 200");
  EXPECT_EQ(a.counters().leases_lost, 0u);
}

TEST_F(ConsumerTest, work_whose_lease_went_to_another_is_finished_without_settling) {
  Sidecar& a = add_sidecar('a');
  a.service.reaction = Reaction::hang;
  const std::string id = put(post("long"));
  settle();
  Sidecar& b = add_sidecar('b');
  b.bus.set_overtaking(true);
  b.bus.hold(Op::settle);  // it stays the other's
  a.bus.cut({.subscriptions = false});
  advance(limits::kLeaseDuration + 2s);
  ASSERT_EQ(told(), "outcome-unknown");
  a.bus.restore();
  advance(limits::kLeaseDuration);
  a.service.answer_all();
  advance(1s);
  EXPECT_EQ(told(), "outcome-unknown 200");  // the caller has ended, or takes either
  EXPECT_EQ(a.bus.calls(Op::settle), 0u);
  EXPECT_EQ(a.counters().leases_lost, 1u);
  EXPECT_EQ(owner(), b.instance);
  EXPECT_EQ(times_begun(id), 1u);
  b.bus.release(Op::settle);
  settle();
}

TEST_F(ConsumerTest, renewals_stop_when_the_last_confirmed_one_is_older_than_the_lease) {
  Sidecar& a = add_sidecar('a');
  a.service.reaction = Reaction::hang;
  put(post("long"));
  settle();
  a.bus.cut();
  advance(limits::kLeaseDuration + 5s);
  a.bus.restore();
  const auto renewals = a.bus.calls(Op::renew);
  advance(limits::kLeaseDuration);
  EXPECT_EQ(a.bus.calls(Op::renew), renewals);
  EXPECT_EQ(a.counters().leases_lost, 1u);
}

TEST_F(ConsumerTest, non_repeatable_finished_after_its_lease_is_not_run_again_by_the_same_instance) {
  Sidecar& a = add_sidecar('a');
  a.service.reaction = Reaction::hang;
  const std::string id = put(post("long"));
  settle();
  a.bus.cut();
  advance(limits::kLeaseDuration + 5s);  // nobody else is there to take it
  a.bus.restore();
  advance(limits::kLeaseDuration);
  a.service.answer_all();
  advance(limits::kLeaseDuration);
  EXPECT_EQ(times_begun(id), 1u);
  EXPECT_EQ(told().substr(0, 3), "200");
  EXPECT_TRUE(server_.pending(kQueue).empty());
}

// ---- Own pending entries

TEST_F(ConsumerTest, delivery_lost_with_the_reader_is_found_and_run_once) {
  Sidecar& a = add_sidecar('a');
  a.bus.lose_reply_of(Op::read);
  const std::string id = put(post("one"));
  settle();
  EXPECT_EQ(owner(), a.instance);
  EXPECT_TRUE(a.service.begun.empty());
  advance(500ms);
  EXPECT_EQ(times_begun(id), 1u);
  EXPECT_EQ(told(), "200");
  advance(20s);
  EXPECT_EQ(times_begun(id), 1u);
}

TEST_F(ConsumerTest, delivery_to_a_reader_the_server_takes_for_alive_is_found_and_run_once) {
  Sidecar& a = add_sidecar('a');
  a.bus.break_connections({.commands = false, .subscriptions = false, .server_notices = false});
  advance(500ms);  // it has come back, asked for what is its own, and reads again
  const std::string id = put(post("one"));
  settle();
  ASSERT_EQ(owner(), a.instance);
  ASSERT_TRUE(a.service.begun.empty());
  advance(3s);
  EXPECT_EQ(times_begun(id), 1u);
  EXPECT_EQ(told(), "200");
}

TEST_F(ConsumerTest, own_pending_entry_of_another_incarnation_is_not_run) {
  Sidecar& a = add_sidecar('a');
  a.bus.lose_reply_of(Op::read);
  put(post("one"));
  settle();
  server_.restore(server_.snapshot());
  advance(1s);
  EXPECT_TRUE(a.service.begun.empty());
  EXPECT_EQ(told(), "outcome-unknown");
}

TEST_F(ConsumerTest, own_pending_entries_are_not_asked_for_while_a_read_is_unanswered) {
  Sidecar& a = add_sidecar('a');
  // A look around finds an entry that is ours and not in hand, because the delivery's reply is slow.
  a.bus.hold(Op::read, MemoryBus::Hold::reply);
  const std::string id = put(post("one"));
  advance(4s);
  EXPECT_EQ(a.bus.calls(Op::own_pending), 0u);
  a.bus.release(Op::read);
  advance(4s);
  EXPECT_EQ(times_begun(id), 1u);
  EXPECT_EQ(told(), "200");
}

TEST_F(ConsumerTest, own_pending_entries_are_not_asked_for_while_a_claim_is_unanswered) {
  Sidecar& a = add_unready('a');
  Sidecar& b = add_sidecar('b');
  b.service.reaction = Reaction::refuse;
  const std::string id = put(post("one"));
  settle();
  ASSERT_EQ(owner(), frames::kParkedConsumer);
  a.bus.set_overtaking(true);
  a.bus.hold(Op::claim, MemoryBus::Hold::reply);
  a.consumer.set_service_ready(true);
  advance(1s);
  ASSERT_EQ(owner(), a.instance);
  a.bus.break_connections({.commands = false, .subscriptions = false});
  advance(2s);
  EXPECT_EQ(a.bus.calls(Op::own_pending), 0u);
  a.bus.release(Op::claim);
  advance(2s);
  EXPECT_EQ(a.bus.calls(Op::own_pending), 1u);
  EXPECT_EQ(times_begun(id), 1u);
  EXPECT_EQ(told(), "200");
}

TEST_F(ConsumerTest, what_leaves_the_hand_while_own_pending_entries_are_asked_for_is_not_run_again) {
  Sidecar& a = add_sidecar('a');
  a.service.reaction = Reaction::hang;
  const std::string id = put(post("one"));
  settle();
  a.bus.set_overtaking(true);
  a.bus.hold(Op::own_pending, MemoryBus::Hold::reply);
  a.bus.break_connections({.commands = false, .subscriptions = false});
  advance(500ms);
  ASSERT_EQ(a.bus.calls(Op::own_pending), 1u);
  a.service.answer_all();
  settle();
  ASSERT_EQ(a.consumer.in_hand(), 0u);
  a.bus.release(Op::own_pending);
  advance(5s);
  EXPECT_EQ(times_begun(id), 1u);
  EXPECT_EQ(told(), "200");
}

TEST_F(ConsumerTest, nothing_is_read_or_claimed_while_own_pending_entries_are_asked_for) {
  Sidecar& a = add_sidecar('a');
  a.bus.set_overtaking(true);
  a.bus.hold(Op::own_pending, MemoryBus::Hold::reply);
  a.bus.break_connections({.commands = false, .subscriptions = false});
  advance(500ms);
  ASSERT_EQ(a.bus.calls(Op::own_pending), 1u);
  Sidecar& b = add_sidecar('b');
  b.service.reaction = Reaction::refuse;
  put(post("one"));
  advance(5s);
  EXPECT_EQ(a.bus.calls(Op::claim), 0u);
  a.bus.release(Op::own_pending);
  advance(1s);
  EXPECT_NE(told(), "");
}

TEST_F(ConsumerTest, claim_of_a_parked_entry_whose_reply_was_lost_is_run_once) {
  Sidecar& a = add_unready('a');
  Sidecar& b = add_sidecar('b');
  b.service.reaction = Reaction::refuse;
  const std::string id = put(post("one"));
  settle();
  a.bus.lose_reply_of(Op::claim);
  a.consumer.set_service_ready(true);
  advance(5s);
  EXPECT_EQ(times_begun(id), 1u);
  EXPECT_EQ(told(), "200");
}

TEST_F(ConsumerTest, taken_over_entry_whose_claim_was_lost_keeps_its_evidence) {
  Sidecar& b = add_sidecar('b');
  b.service.reaction = Reaction::hang;
  const std::string id = put(post("one"));
  settle();
  b.kill();
  Sidecar& a = add_sidecar('a');
  a.bus.lose_reply_of(Op::claim);
  advance(limits::kLeaseDuration + 5s);
  EXPECT_EQ(a.bus.calls(Op::claim), 1u);
  EXPECT_TRUE(a.service.begun.empty());
  EXPECT_EQ(told(), "outcome-unknown");
}

TEST_F(ConsumerTest, own_pending_entry_is_renewed_at_once) {
  Sidecar& a = add_sidecar('a');
  a.service.reaction = Reaction::hang;
  a.bus.lose_reply_of(Op::read);
  a.bus.hold(Op::own_pending);
  put(post("one"));
  advance(10s);
  a.bus.release(Op::own_pending);
  settle();
  ASSERT_EQ(a.service.begun.size(), 1u);
  // Its idle time counts from the delivery that was lost: others would soon take it for abandoned.
  EXPECT_LT(server_.pending(kQueue)[0].idle_ms, 100);
}

// ---- Hand back

TEST_F(ConsumerTest, refused_request_is_run_by_another_instance) {
  Sidecar& a = add_sidecar('a');
  a.service.reaction = Reaction::refuse;
  Sidecar& b = add_unready('b');
  const std::string id = put(post("one"));
  settle();
  ASSERT_EQ(owner(), frames::kParkedConsumer);
  EXPECT_EQ(server_.pending(kQueue)[0].delivery_count, 0u);
  EXPECT_EQ(a.refusals, 1);
  b.consumer.set_service_ready(true);
  advance(1s);
  EXPECT_EQ(b.service.begun, std::vector{id});
  EXPECT_EQ(told(), "200");
  EXPECT_EQ(answers()[0].attempt, 1u);
}

TEST_F(ConsumerTest, nothing_is_claimed_after_a_hand_back_until_the_probe_passes) {
  Sidecar& a = add_sidecar('a');
  a.service.reaction = Reaction::refuse;
  add_unready('b');
  put(post("one"));
  settle();
  advance(limits::kBlockTime);  // the read that was on its way is over
  const auto refused = a.service.refused;
  put(post("two"));
  advance(1s);
  EXPECT_FALSE(a.consumer.is_reading());
  EXPECT_EQ(a.service.refused, refused);
  a.service.reaction = Reaction::answer;
  a.consumer.set_service_ready(true);
  settle();
  EXPECT_EQ(a.service.begun.size(), 1u);
}

TEST_F(ConsumerTest, sender_of_a_hand_back_never_runs_that_id_again) {
  Sidecar& a = add_sidecar('a');
  a.service.reaction = Reaction::refuse;
  add_unready('b');
  const std::string id = put(post("one"));
  settle();
  ASSERT_EQ(owner(), frames::kParkedConsumer);
  a.service.reaction = Reaction::answer;
  a.consumer.set_service_ready(true);
  advance(5s);
  EXPECT_EQ(times_begun(id), 0u);
  EXPECT_EQ(told(), "service-unreachable");
  EXPECT_TRUE(server_.pending(kQueue).empty());
}

TEST_F(ConsumerTest, sender_of_a_hand_back_whose_reply_was_lost_never_runs_that_id_again) {
  Sidecar& a = add_sidecar('a');
  a.service.reaction = Reaction::refuse;
  add_unready('b');
  a.bus.lose_reply_of(Op::hand_back);
  const std::string id = put(post("one"));
  settle();
  ASSERT_EQ(owner(), frames::kParkedConsumer);
  a.service.reaction = Reaction::answer;
  a.consumer.set_service_ready(true);
  advance(6s);
  EXPECT_EQ(times_begun(id), 0u);
  EXPECT_EQ(told(), "outcome-unknown") << "a late hand-back may still give it to a peer";
  EXPECT_TRUE(server_.pending(kQueue).empty());
}

TEST_F(ConsumerTest, hand_back_that_never_arrived_is_asked_for_again) {
  Sidecar& a = add_sidecar('a');
  a.service.reaction = Reaction::refuse;
  Sidecar& b = add_unready('b');
  a.bus.before_next(Op::hand_back, [&] { a.bus.break_connections({.readers = false}); });
  const std::string id = put(post("one"));
  settle();
  ASSERT_EQ(owner(), a.instance);
  b.consumer.set_service_ready(true);
  advance(2s);
  EXPECT_EQ(b.service.begun, std::vector{id});
  EXPECT_EQ(told(), "200");
}

TEST_F(ConsumerTest, late_hand_back_takes_nothing_from_the_next_owner) {
  Sidecar& a = add_sidecar('a');
  a.service.reaction = Reaction::refuse;
  Sidecar& b = add_unready('b');
  b.service.reaction = Reaction::hang;
  a.bus.before_next(Op::hand_back, [&] { a.bus.break_connections({.in_flight = InFlight::late, .readers = false}); });
  const std::string id = put(post("one"));
  settle();
  b.consumer.set_service_ready(true);
  advance(2s);  // handed back by the second try, and begun
  ASSERT_EQ(b.service.begun, std::vector{id});
  server_.run_late_effects();
  EXPECT_EQ(owner(), b.instance);
}

TEST_F(ConsumerTest, refused_request_is_answered_at_once_where_nobody_else_lives) {
  Sidecar& a = add_sidecar('a');
  a.service.reaction = Reaction::refuse;
  const std::string id = put(post("one"));
  settle();
  EXPECT_EQ(told(), "service-unreachable");
  EXPECT_EQ(a.bus.calls(Op::hand_back), 0u);
  EXPECT_TRUE(server_.pending(kQueue).empty());
}

// It was being given up when it was to be asked who lives: that says nothing about the others.
TEST_F(ConsumerTest, hand_back_goes_on_when_the_bus_is_back_if_nobody_could_be_asked_for) {
  Sidecar& a = add_sidecar('a');
  add_unready('b');
  a.service.reaction = Reaction::refuse;
  a.bus.fail_next(Op::subscribers, {Code::closed, "not connected to the bus"});
  put(post("one"));
  settle();
  EXPECT_EQ(told(), "");
  a.bus.break_connections();
  advance(1s);
  EXPECT_EQ(owner(), "parked");
}

TEST_F(ConsumerTest, hand_back_that_is_refused_is_answered_instead) {
  Sidecar& a = add_sidecar('a');
  a.service.reaction = Reaction::refuse;
  add_unready('b');
  a.bus.fail_next(Op::hand_back, {Code::refused, "NOPERM"});
  put(post("one"));
  advance(1s);
  EXPECT_EQ(told(), "service-unreachable");
  EXPECT_EQ(a.consumer.in_hand(), 0u);

  a.consumer.set_service_ready(true);
  a.bus.fail_next(Op::consumers, {Code::refused, "NOPERM"});
  put(post("two"));
  advance(1s);
  EXPECT_EQ(told(), "service-unreachable service-unreachable");
  EXPECT_EQ(a.consumer.in_hand(), 0u);
}

// 503 would tell its client that it was not run.
TEST_F(ConsumerTest, what_may_have_been_begun_is_never_told_as_unreachable_where_redelivery_is_always) {
  for (const char digit : {'a', 'b'}) {
    auto options = sidecar_options(digit);
    options.redelivery_always = true;
    add_sidecar(options);
  }
  Sidecar& a = *sidecars_[0];
  Sidecar& b = *sidecars_[1];
  a.service.reaction = b.service.reaction = Reaction::hang;
  put(post("one"));
  settle();
  let_grace_pass();
  Sidecar& first = a.service.begun.empty() ? b : a;
  Sidecar& second = a.service.begun.empty() ? a : b;
  second.service.reaction = Reaction::refuse;
  first.kill();
  for (int i = 0; i < 10; ++i) advance(500ms);
  EXPECT_EQ(second.service.refused, 1u);
  EXPECT_EQ(told(), "outcome-unknown");
  EXPECT_TRUE(is_queue_empty());
}

TEST_F(ConsumerTest, taken_over_non_repeatable_is_answered_and_never_handed_back) {
  Sidecar& dead = add_sidecar('d');
  dead.service.reaction = Reaction::hang;
  put(post("one"));
  settle();
  dead.kill();
  Sidecar& a = add_sidecar('a');
  add_unready('b');
  a.service.reaction = Reaction::refuse;
  advance(limits::kLeaseDuration + 5s);
  EXPECT_EQ(a.bus.calls(Op::hand_back), 0u);
  EXPECT_EQ(a.service.refused, 0u);
  EXPECT_EQ(told(), "outcome-unknown");
}

// ---- The bus fails

TEST_F(ConsumerTest, groups_are_made_anew_after_everything_was_deleted) {
  Sidecar& a = add_sidecar('a');
  advance(10ms);
  server_.flush_all();
  advance(500ms);
  EXPECT_EQ(a.emptied, 1);
  ASSERT_TRUE(server_.exists(kQueue));
  ASSERT_TRUE(server_.exists(a.inbox));
  caller_.ensure_stream(reply_to_, 600s, {}, [](base::Result<bool>) {});
  put(post("one"));
  settle();
  EXPECT_EQ(told(), "200");
}

TEST_F(ConsumerTest, groups_are_made_anew_even_while_no_slot_is_free_to_read) {
  Sidecar::Options options = sidecar_options('a');
  options.max_in_flight = 1;
  Sidecar& a = add_sidecar(options);
  a.service.reaction = Reaction::hang;
  put(post("one"));
  settle();
  server_.flush_all();
  advance(3s);
  EXPECT_TRUE(server_.exists(kQueue));  // else every caller would be told that there is no queue
}

TEST_F(ConsumerTest, groups_are_made_once_there_is_memory) {
  server_.set_out_of_memory(true);
  Sidecar& a = add_sidecar('a');
  advance(3s);
  EXPECT_FALSE(a.consumer.is_reading());
  server_.set_out_of_memory(false);
  advance(limits::kReconnectCap);
  EXPECT_TRUE(a.consumer.is_reading());
}

// ---- Records: each delivered request is reported once, when it leaves our hands

using Ends = std::vector<std::string>;

TEST_F(ConsumerTest, answered_request_is_reported_with_what_is_known_of_it) {
  Sidecar& a = add_sidecar('a');
  a.service.reaction = Reaction::hang;
  frames::Request made = post("one");
  made.body = "12345";
  put(made);
  settle();
  EXPECT_EQ(a.ended, Ends{});
  a.service.answer_all();
  advance(1s);
  EXPECT_EQ(a.ended, Ends{"answered"});
  EXPECT_EQ(a.last_status, 200);
  EXPECT_EQ(a.last_attempt, 1u);
  EXPECT_EQ(a.last_bytes, (std::pair<std::uint64_t, std::uint64_t>{5, 4}));
  ASSERT_EQ(answers().size(), 1u);
  EXPECT_EQ(answers()[0].queue_ms, 0u);
}

TEST_F(ConsumerTest, wait_in_the_queue_goes_into_the_answer_and_the_report) {
  add_unready('a');
  Sidecar& a = *sidecars_.back();
  put(get("one"));
  advance(2s);
  a.consumer.set_service_ready(true);
  advance(1s);
  ASSERT_EQ(answers().size(), 1u);
  EXPECT_GE(answers()[0].queue_ms.value_or(0), 2000u);
  EXPECT_EQ(a.last_queue_wait, std::chrono::milliseconds(*answers()[0].queue_ms));
}

TEST_F(ConsumerTest, every_other_end_is_reported_once_too) {
  Sidecar& a = add_sidecar('a');
  a.service.reaction = Reaction::break_off;
  put(post("broken"));
  advance(1s);
  EXPECT_EQ(a.ended, Ends{"broken"});
  EXPECT_EQ(a.last_status, 0);

  a.service.reaction = Reaction::answer;
  frames::Request made = post("late");
  made.deadline_ms = server_.now_ms() - 1000;
  put(made);
  made = post("other");
  made.bus = "run-0:replid-0";
  put(made);
  made = get("large");
  made.streamed = frames::StreamedBody{100 * limits::kMiB};
  put(made);
  advance(1s);
  EXPECT_EQ(a.ended, (Ends{"broken", "expired", "outcome_unknown", "body_too_large"}));

  a.service.reaction = Reaction::refuse;
  put(post("refused"));  // and nobody else is there
  advance(1s);
  EXPECT_EQ(a.ended.back(), "unreachable");
  EXPECT_EQ(a.ended.size(), 5u);
}

TEST_F(ConsumerTest, hand_back_is_reported_by_one_and_the_answer_by_the_other) {
  Sidecar& a = add_sidecar('a');
  a.service.reaction = Reaction::refuse;
  Sidecar& b = add_unready('b');
  put(post("one"));
  settle();
  b.consumer.set_service_ready(true);
  advance(1s);
  EXPECT_EQ(a.ended, Ends{"handed_back"});
  EXPECT_EQ(b.ended, Ends{"answered"});
}

TEST_F(ConsumerTest, what_is_in_hand_at_the_end_is_reported_as_unfinished) {
  Sidecar& a = add_sidecar('a');
  a.service.reaction = Reaction::hang;
  put(post("one"));
  put(get("two"));
  settle();
  a.consumer.report_unfinished();
  EXPECT_EQ(a.ended, (Ends{"unfinished", "unfinished"}));
}

// ---- Drain

class DrainTest : public ConsumerTest {
 protected:
  void drain(Sidecar& sidecar) {
    sidecar.consumer.drain([this] { ++drained_; });
  }
  int drained_ = 0;
};

TEST_F(DrainTest, idle_consumer_is_done_once) {
  Sidecar& a = add_sidecar('a');
  drain(a);
  settle();
  EXPECT_EQ(drained_, 1);
  drain(a);
  advance(10s);
  EXPECT_EQ(drained_, 1);
  put(post("one"));
  advance(2s);
  EXPECT_TRUE(server_.pending(kQueue).empty());
}

TEST_F(DrainTest, begun_is_finished_and_the_rest_handed_back) {
  Sidecar& dead = add_sidecar('d');
  dead.service.reaction = Reaction::hang;
  for (int i = 0; i < 3; ++i) put(get("number" + std::to_string(i)));
  settle();
  Sidecar::Options options = sidecar_options('a');
  options.max_in_flight = 1;
  Sidecar& a = add_sidecar(options);
  a.service.reaction = Reaction::hang;
  let_grace_pass();
  dead.kill();
  advance(3s);  // one is begun; what was claimed with it waits
  ASSERT_EQ(a.consumer.with_service(), 1u);

  drain(a);
  settle();
  EXPECT_EQ(drained_, 0);
  EXPECT_EQ(a.consumer.in_hand(), 1u);
  a.service.answer_all();
  settle();
  EXPECT_EQ(drained_, 1);
  EXPECT_EQ(a.consumer.in_hand(), 0u);
  a.kill();
  add_sidecar('b');
  advance(5s);
  EXPECT_EQ(told(), "200 200 200");
  EXPECT_TRUE(server_.pending(kQueue).empty());
}

TEST_F(DrainTest, entry_that_arrives_with_the_last_read_is_handed_back) {
  Sidecar& a = add_sidecar('a');
  a.bus.hold(Op::read, MemoryBus::Hold::reply);
  const std::string id = put(post("one"));
  settle();
  ASSERT_EQ(owner(), a.instance);
  drain(a);
  settle();
  EXPECT_EQ(drained_, 0);
  a.bus.release(Op::read);
  settle();
  EXPECT_EQ(drained_, 1);
  a.kill();
  add_sidecar('b');
  advance(2s);
  EXPECT_EQ(told(), "200");
  EXPECT_EQ(times_begun(id), 1u);
}

TEST_F(DrainTest, entry_whose_claim_is_under_way_is_handed_back_before_it_is_done) {
  Sidecar& a = add_unready('a');
  Sidecar& c = add_sidecar('c');
  c.service.reaction = Reaction::refuse;
  const std::string id = put(post("one"));
  settle();
  ASSERT_EQ(owner(), frames::kParkedConsumer);
  a.bus.set_overtaking(true);
  a.bus.hold(Op::claim, MemoryBus::Hold::reply);
  a.consumer.set_service_ready(true);
  advance(1s);
  ASSERT_EQ(owner(), a.instance);
  drain(a);
  settle();
  EXPECT_EQ(drained_, 0);
  a.bus.release(Op::claim);
  settle();
  EXPECT_EQ(drained_, 1);
  EXPECT_EQ(owner(), frames::kParkedConsumer);
}

TEST_F(DrainTest, delivery_lost_with_the_reader_is_found_and_handed_back) {
  Sidecar& a = add_sidecar('a');
  a.bus.lose_reply_of(Op::read);
  const std::string id = put(post("one"));
  settle();
  ASSERT_EQ(owner(), a.instance);
  drain(a);
  advance(1s);
  EXPECT_EQ(drained_, 1);
  EXPECT_EQ(owner(), frames::kParkedConsumer);
  a.kill();
  add_sidecar('b');
  advance(2s);
  EXPECT_EQ(told(), "200");
  EXPECT_EQ(times_begun(id), 1u);
}

TEST_F(DrainTest, reader_that_is_lost_or_finds_no_queue_ends_the_drain_too) {
  Sidecar& a = add_sidecar('a');
  a.bus.hold(Op::unblock);
  drain(a);
  settle();
  EXPECT_EQ(drained_, 0);
  a.bus.release(Op::unblock);
  a.bus.break_connections();
  advance(1s);
  EXPECT_EQ(drained_, 1);

  Sidecar& b = add_sidecar('b');
  b.bus.hold(Op::unblock);
  drain(b);
  server_.flush_all();
  settle();
  EXPECT_EQ(drained_, 2);
}

}  // namespace
}  // namespace outrigger::tests
