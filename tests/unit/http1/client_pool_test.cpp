#include "bridge/http1/client_pool.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <optional>

#include "tests/support/fake_service.h"
#include "tests/support/real_loop.h"

namespace outrigger::http1 {
namespace {

using base::Code;
using tests::FakeService;
using tests::RawService;
using tests::RealLoop;
using namespace std::chrono_literals;

// What one call was told.
class Recorder final : public ClientHandler {
 public:
  void on_response_head(ResponseHead response, bool end) override {
    EXPECT_FALSE(head.has_value());
    head = std::move(response);
    head_was_end = end;
    if (drops_at_head) call->cancel();
  }
  void on_response_body(std::string_view bytes) override { body.append(bytes); }
  void on_response_end() override {
    EXPECT_FALSE(is_over());
    has_ended = true;
  }
  void on_failed(const ClientFailure& why) override {
    EXPECT_FALSE(is_over());
    failure = why;
  }
  bool is_over() const { return has_ended || failure.has_value(); }

  std::optional<ResponseHead> head;
  bool head_was_end = false;
  std::string body;
  bool has_ended = false;
  std::optional<ClientFailure> failure;
  ClientCall* call = nullptr;
  bool drops_at_head = false;
};

ClientRequest get(std::string target, bool repeatable = true) {
  ClientRequest request;
  request.method = "GET";
  request.target = std::move(target);
  request.headers.add("Host", "service.test");
  request.repeatable = repeatable;
  return request;
}

class ClientPoolTest : public ::testing::Test {
 protected:
  base::TimePoint in(base::Duration time) { return real.loop.now() + time; }
  // Sends and waits for the end.
  Recorder ask(ClientPool& pool, ClientRequest request) {
    Recorder recorder;
    ClientCall call = pool.request(std::move(request), in(10s), recorder);
    EXPECT_TRUE(real.run_until("the answer", [&] { return recorder.is_over(); }));
    return recorder;
  }

  RealLoop real;
};

TEST_F(ClientPoolTest, requests_one_after_another_use_one_connection) {
  FakeService service(real.loop);
  ClientPool pool(real.loop, service.endpoint());

  const Recorder first = ask(pool, get("/one"));
  const Recorder second = ask(pool, get("/two"));

  EXPECT_EQ(first.body, "GET /one ");
  EXPECT_EQ(second.body, "GET /two ");
  EXPECT_EQ(second.head->status, 200);
  EXPECT_EQ(service.server().accepted_total(), 1u);
  EXPECT_EQ(pool.idle_count(), 1u);
}

TEST_F(ClientPoolTest, body_is_sent_with_its_length_and_framing_fields_are_ours) {
  FakeService service(real.loop);
  ClientPool pool(real.loop, service.endpoint());
  ClientRequest request = get("/thing", false);
  request.method = "POST";
  request.body = std::string(100'000, 'x');
  request.headers.add("Content-Length", "5");
  request.headers.add("Transfer-Encoding", "chunked");
  request.headers.add("Connection", "close");
  request.headers.add("Expect", "100-continue");

  const Recorder done = ask(pool, std::move(request));

  EXPECT_EQ(done.body.size(), 100'000 + std::string("POST /thing ").size());
  const RequestHead& seen = service.seen()[0]->head;
  EXPECT_EQ(seen.content_length, 100'000u);
  EXPECT_EQ(seen.headers.size(), 2u);  // Host and Content-Length
}

TEST_F(ClientPoolTest, nobody_listening_is_refused_and_certainly_not_sent) {
  net::Endpoint gone;
  {
    const FakeService service(real.loop);
    gone = const_cast<FakeService&>(service).endpoint();
  }
  ClientPool pool(real.loop, gone);

  const Recorder failed = ask(pool, get("/"));

  EXPECT_EQ(failed.failure->error.code, Code::refused);
  EXPECT_FALSE(failed.failure->request_was_sent);
}

TEST_F(ClientPoolTest, never_calls_back_inside_request) {
  ClientPool pool(real.loop, net::Endpoint::unix_socket("/nonexistent/socket"));
  pool.close();
  Recorder recorder;

  const ClientCall call = pool.request(get("/"), in(1s), recorder);

  EXPECT_FALSE(recorder.is_over());
  ASSERT_TRUE(real.run_until("the failure", [&] { return recorder.is_over(); }));
  EXPECT_EQ(recorder.failure->error.code, Code::closed);
}

TEST_F(ClientPoolTest, deadline_ends_a_silent_service_and_its_connection) {
  RawService service(real.loop);
  ClientPool pool(real.loop, service.endpoint());
  Recorder recorder;

  const ClientCall call = pool.request(get("/"), in(50ms), recorder);
  ASSERT_TRUE(real.run_until("the deadline", [&] { return recorder.is_over(); }));

  EXPECT_EQ(recorder.failure->error.code, Code::deadline);
  EXPECT_TRUE(recorder.failure->request_was_sent);
  EXPECT_FALSE(recorder.failure->response_started);
  EXPECT_EQ(pool.connection_count(), 0u);
  EXPECT_TRUE(real.run_until("the service sees it", [&] { return service.peers[0]->has_ended; }));
}

TEST_F(ClientPoolTest, deadline_in_the_queue_was_not_sent) {
  RawService service(real.loop);
  ClientPoolOptions options;
  options.max_connections = 1;
  ClientPool pool(real.loop, service.endpoint(), options);
  Recorder first;
  Recorder second;

  const ClientCall one = pool.request(get("/"), in(10s), first);
  const ClientCall two = pool.request(get("/"), in(30ms), second);
  ASSERT_TRUE(real.run_until("the deadline", [&] { return second.is_over(); }));

  EXPECT_EQ(second.failure->error.code, Code::deadline);
  EXPECT_FALSE(second.failure->request_was_sent);
  EXPECT_FALSE(first.is_over());
  EXPECT_EQ(pool.waiting_count(), 0u);
}

TEST_F(ClientPoolTest, waiting_requests_go_in_order_over_few_connections) {
  FakeService service(real.loop);
  ClientPoolOptions options;
  options.max_connections = 2;
  ClientPool pool(real.loop, service.endpoint(), options);
  std::vector<Recorder> recorders(20);
  std::vector<ClientCall> calls;

  for (std::size_t i = 0; i < recorders.size(); ++i) {
    calls.push_back(pool.request(get("/" + std::to_string(i)), in(10s), recorders[i]));
  }
  ASSERT_TRUE(real.run_until("all answers", [&] {
    return std::all_of(recorders.begin(), recorders.end(), [](const Recorder& r) { return r.is_over(); });
  }));

  EXPECT_EQ(service.server().accepted_total(), 2u);
  ASSERT_EQ(service.seen().size(), 20u);
  for (std::size_t i = 0; i < recorders.size(); ++i) {
    EXPECT_EQ(recorders[i].body, "GET /" + std::to_string(i) + " ");
  }
}

TEST_F(ClientPoolTest, idle_connection_is_given_up_after_its_lifetime) {
  RawService service(real.loop, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
  ClientPoolOptions options;
  options.idle_lifetime = 30ms;
  ClientPool pool(real.loop, service.endpoint(), options);

  ask(pool, get("/one"));

  EXPECT_EQ(pool.idle_count(), 1u);
  EXPECT_TRUE(real.run_until("the pool lets go", [&] { return pool.connection_count() == 0; }));
  EXPECT_TRUE(real.run_until("the service sees it", [&] { return service.peers[0]->has_ended; }));
}

TEST_F(ClientPoolTest, connection_closed_while_idle_is_noticed_at_once) {
  FakeService service(real.loop);
  ClientPool pool(real.loop, service.endpoint());
  ask(pool, get("/one"));
  ASSERT_EQ(pool.idle_count(), 1u);

  service.server().begin_drain();

  EXPECT_TRUE(real.run_until("the pool sees it", [&] { return pool.connection_count() == 0; }));
}

// Answers the first request of each connection; on the second it closes without a word.
constexpr const char* kTinyAnswer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

TEST_F(ClientPoolTest, stale_connection_costs_a_repeatable_request_one_retry) {
  RawService service(real.loop, kTinyAnswer);
  ClientPool pool(real.loop, service.endpoint());
  ask(pool, get("/one"));
  Recorder recorder;

  const ClientCall call = pool.request(get("/two"), in(10s), recorder);
  ASSERT_TRUE(real.run_until("the request on the old connection",
                             [&] { return service.peers[0]->received.find("/two") != std::string::npos; }));
  service.peers[0]->connection.close();
  ASSERT_TRUE(real.run_until("the answer", [&] { return recorder.is_over(); }));

  EXPECT_TRUE(recorder.has_ended);
  ASSERT_EQ(service.peers.size(), 2u);
  EXPECT_NE(service.peers[1]->received.find("GET /two "), std::string::npos);
}

TEST_F(ClientPoolTest, stale_connection_fails_a_request_that_may_not_be_repeated) {
  RawService service(real.loop, kTinyAnswer);
  ClientPool pool(real.loop, service.endpoint());
  ask(pool, get("/one"));
  Recorder recorder;

  const ClientCall call = pool.request(get("/two", false), in(10s), recorder);
  ASSERT_TRUE(real.run_until("the request on the old connection",
                             [&] { return service.peers[0]->received.find("/two") != std::string::npos; }));
  service.peers[0]->connection.close();
  ASSERT_TRUE(real.run_until("the failure", [&] { return recorder.is_over(); }));

  EXPECT_EQ(recorder.failure->error.code, Code::closed);
  EXPECT_TRUE(recorder.failure->request_was_sent);
  EXPECT_EQ(service.peers.size(), 1u);
}

TEST_F(ClientPoolTest, fresh_connection_that_closes_is_not_retried) {
  RawService service(real.loop);
  ClientPool pool(real.loop, service.endpoint());
  Recorder recorder;

  const ClientCall call = pool.request(get("/"), in(10s), recorder);
  ASSERT_TRUE(
      real.run_until("the request", [&] { return !service.peers.empty() && !service.peers[0]->received.empty(); }));
  service.peers[0]->connection.close();
  ASSERT_TRUE(real.run_until("the failure", [&] { return recorder.is_over(); }));

  EXPECT_EQ(recorder.failure->error.code, Code::closed);
  EXPECT_TRUE(recorder.failure->request_was_sent);
  EXPECT_EQ(service.peers.size(), 1u);
}

struct Reply {
  const char* name;
  const char* bytes;
  bool closes;
  std::optional<Code> failure;
  bool response_started;
  std::size_t kept;  // connections that can be used again
};

TEST_F(ClientPoolTest, replies_end_as_they_should) {
  const Reply replies[] = {
      {"keep-alive", kTinyAnswer, false, {}, true, 1},
      {"connection close", "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok", false, {}, true, 0},
      {"http/1.0", "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", false, {}, true, 0},
      {"close-delimited", "HTTP/1.1 200 OK\r\n\r\nok", true, {}, true, 0},
      {"more than asked for",
       "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\n\r\n",
       false,
       {},
       true,
       0},
      {"keep-alive for one second",
       "HTTP/1.1 200 OK\r\nKeep-Alive: timeout=1\r\nContent-Length: 2\r\n\r\nok",
       false,
       {},
       true,
       0},
      {"interim first",
       "HTTP/1.1 103 Early Hints\r\nLink: <a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
       false,
       {},
       true,
       1},
      {"cut in the body", "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nok", true, Code::closed, true, 0},
      {"cut between chunks", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n", true, Code::closed,
       true, 0},
      {"cut in the head", "HTTP/1.1 200 OK\r\nContent-", true, Code::closed, false, 0},
      {"garbage", "SSH-2.0-OpenSSH\r\n", false, Code::malformed, false, 0},
      {"upgrade", "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n", false, Code::malformed, false, 0},
      {"length and coding", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
       false, Code::malformed, false, 0},
      {"announced too large", "HTTP/1.1 200 OK\r\nContent-Length: 101\r\n\r\n", false, Code::too_large, false, 0},
      {"chunks too large", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n65\r\n", false,
       Code::too_large, true, 0},
  };
  for (const Reply& reply : replies) {
    SCOPED_TRACE(reply.name);
    RawService service(real.loop, reply.bytes, reply.closes);
    ClientPoolOptions options;
    options.limits.body_bytes = 100;
    ClientPool pool(real.loop, service.endpoint(), options);

    const Recorder recorder = ask(pool, get("/"));

    EXPECT_EQ(recorder.has_ended, !reply.failure.has_value());
    EXPECT_EQ(recorder.head.has_value(), reply.response_started);
    if (reply.failure) {
      ASSERT_TRUE(recorder.failure.has_value());
      EXPECT_EQ(recorder.failure->error.code, *reply.failure);
      EXPECT_TRUE(recorder.failure->request_was_sent);
      EXPECT_EQ(recorder.failure->response_started, reply.response_started);
    }
    EXPECT_EQ(recorder.body, recorder.head ? "ok" : "");
    EXPECT_EQ(pool.connection_count(), reply.kept);
    EXPECT_EQ(pool.idle_count(), reply.kept);
  }
}

TEST_F(ClientPoolTest, head_says_whether_a_body_follows) {
  RawService service(real.loop, "HTTP/1.1 204 No Content\r\n\r\n");
  ClientPool pool(real.loop, service.endpoint());

  EXPECT_TRUE(ask(pool, get("/")).head_was_end);

  RawService other(real.loop, kTinyAnswer);
  ClientPool other_pool(real.loop, other.endpoint());
  EXPECT_FALSE(ask(other_pool, get("/")).head_was_end);
}

TEST_F(ClientPoolTest, answer_to_head_has_no_body_and_keeps_the_connection) {
  RawService service(real.loop, "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n");
  ClientPool pool(real.loop, service.endpoint());
  ClientRequest request = get("/");
  request.method = "HEAD";

  const Recorder recorder = ask(pool, std::move(request));

  EXPECT_TRUE(recorder.has_ended);
  EXPECT_TRUE(recorder.head_was_end);
  EXPECT_EQ(*recorder.head->headers.find("Content-Length"), "1000");
  EXPECT_EQ(pool.idle_count(), 1u);
}

TEST_F(ClientPoolTest, cancelled_call_closes_its_connection_and_is_silent) {
  RawService service(real.loop);
  ClientPool pool(real.loop, service.endpoint());
  Recorder recorder;
  ClientCall call = pool.request(get("/"), in(10s), recorder);
  ASSERT_TRUE(
      real.run_until("the request", [&] { return !service.peers.empty() && !service.peers[0]->received.empty(); }));

  call.cancel();

  EXPECT_EQ(pool.connection_count(), 0u);
  ASSERT_TRUE(real.run_until("the service sees it", [&] { return service.peers[0]->has_ended; }));
  EXPECT_FALSE(recorder.is_over());
}

TEST_F(ClientPoolTest, call_cancelled_while_connecting_leaves_the_connection_to_others) {
  FakeService service(real.loop);
  ClientPool pool(real.loop, service.endpoint());
  Recorder recorder;

  pool.request(get("/"), in(10s), recorder).cancel();

  ASSERT_TRUE(real.run_until("the idle connection", [&] { return pool.idle_count() == 1; }));
  EXPECT_TRUE(service.seen().empty());
}

TEST_F(ClientPoolTest, handler_may_cancel_in_its_call) {
  RawService service(real.loop, kTinyAnswer);
  ClientPool pool(real.loop, service.endpoint());
  Recorder recorder;
  recorder.drops_at_head = true;
  ClientCall call = pool.request(get("/"), in(10s), recorder);
  recorder.call = &call;

  ASSERT_TRUE(real.run_until("the head", [&] { return recorder.head.has_value(); }));
  ASSERT_TRUE(real.run_until("the service sees it", [&] { return service.peers[0]->has_ended; }));

  EXPECT_EQ(recorder.body, "");
  EXPECT_FALSE(recorder.is_over());
  EXPECT_EQ(pool.connection_count(), 0u);
}

TEST_F(ClientPoolTest, paused_body_waits_and_survives_the_end_of_the_connection) {
  RawService service(real.loop, "HTTP/1.1 200 OK\r\n\r\n");
  ClientPool pool(real.loop, service.endpoint());
  Recorder recorder;
  ClientCall call = pool.request(get("/"), in(10s), recorder);
  ASSERT_TRUE(real.run_until("the head", [&] { return recorder.head.has_value(); }));
  call.pause_body();

  service.peers[0]->connection.write("hello");
  service.peers[0]->connection.close_when_flushed();
  for (int i = 0; i < 10; ++i) real.loop.run_turn(net::EventLoop::Wait::no);
  EXPECT_EQ(recorder.body, "");
  call.resume_body();
  ASSERT_TRUE(real.run_until("the end", [&] { return recorder.is_over(); }));

  EXPECT_EQ(recorder.body, "hello");
  EXPECT_TRUE(recorder.has_ended);
}

TEST_F(ClientPoolTest, drain_lets_work_finish_and_refuses_new_requests) {
  FakeService::Seen* held = nullptr;
  FakeService service(real.loop, [&](FakeService&, FakeService::Seen& seen) { held = &seen; });
  ClientPool pool(real.loop, service.endpoint());
  Recorder recorder;
  const ClientCall call = pool.request(get("/"), in(10s), recorder);
  ASSERT_TRUE(real.run_until("the request", [&] { return held != nullptr; }));

  pool.begin_drain();
  EXPECT_EQ(ask(pool, get("/")).failure->error.code, Code::closed);
  FakeService::reply(*held, 200, "done");
  ASSERT_TRUE(real.run_until("the answer", [&] { return recorder.is_over(); }));

  EXPECT_EQ(recorder.body, "done");
  EXPECT_EQ(pool.connection_count(), 0u);
}

TEST_F(ClientPoolTest, close_fails_what_is_in_work) {
  RawService service(real.loop);
  ClientPool pool(real.loop, service.endpoint());
  Recorder recorder;
  const ClientCall call = pool.request(get("/"), in(10s), recorder);
  ASSERT_TRUE(
      real.run_until("the request", [&] { return !service.peers.empty() && !service.peers[0]->received.empty(); }));

  pool.close();
  EXPECT_FALSE(recorder.is_over());
  ASSERT_TRUE(real.run_until("the failure", [&] { return recorder.is_over(); }));

  EXPECT_EQ(recorder.failure->error.code, Code::closed);
  EXPECT_TRUE(recorder.failure->request_was_sent);
}

TEST_F(ClientPoolTest, pool_may_die_before_its_calls) {
  RawService service(real.loop);
  auto pool = std::make_unique<ClientPool>(real.loop, service.endpoint());
  Recorder recorder;
  ClientCall busy = pool->request(get("/"), in(20ms), recorder);
  ASSERT_TRUE(
      real.run_until("the request", [&] { return !service.peers.empty() && !service.peers[0]->received.empty(); }));
  const ClientCall waiting = pool->request(get("/"), in(20ms), recorder);

  pool.reset();
  ASSERT_TRUE(real.run_until("the service sees it", [&] { return service.peers[0]->has_ended; }));

  EXPECT_FALSE(recorder.is_over());
}

TEST_F(ClientPoolTest, request_that_may_not_be_sent_is_invalid_and_harms_nothing) {
  FakeService service(real.loop);
  ClientPool pool(real.loop, service.endpoint());
  ClientRequest request = get("/");
  request.headers.add("X-Evil", "a\r\nHost: b");

  const Recorder failed = ask(pool, std::move(request));
  const Recorder fine = ask(pool, get("/fine"));

  EXPECT_EQ(failed.failure->error.code, Code::invalid);
  EXPECT_FALSE(failed.failure->request_was_sent);
  EXPECT_EQ(fine.body, "GET /fine ");
  EXPECT_EQ(service.seen().size(), 1u);
}

TEST_F(ClientPoolTest, early_answer_to_an_unsent_body_gives_the_connection_up) {
  RawService service(real.loop, "HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\n\r\n");
  ClientPool pool(real.loop, service.endpoint());
  Recorder recorder;
  ClientRequest request = get("/", false);
  request.method = "POST";
  request.body = std::string(64 * 1024 * 1024, 'x');
  const ClientCall call = pool.request(std::move(request), in(10s), recorder);
  ASSERT_TRUE(real.run_until("the connection", [&] { return !service.peers.empty(); }));

  ASSERT_TRUE(real.run_until("the answer", [&] {
    if (!service.peers[0]->received.empty() && service.peers[0]->connection.is_reading()) {
      service.peers[0]->connection.pause_reading();
    }
    return recorder.is_over();
  }));

  EXPECT_EQ(recorder.head->status, 413);
  EXPECT_EQ(pool.connection_count(), 0u);
}

TEST_F(ClientPoolTest, service_without_a_head_in_time_fails_with_deadline) {
  RawService service(real.loop);
  ClientPoolOptions options;
  options.head_timeout = 50ms;
  ClientPool pool(real.loop, service.endpoint(), options);
  const base::TimePoint began = real.loop.now();

  const Recorder failed = ask(pool, get("/"));

  EXPECT_EQ(failed.failure->error.code, Code::deadline);
  EXPECT_TRUE(failed.failure->request_was_sent);
  EXPECT_GE(real.loop.now() - began, 50ms);
  EXPECT_EQ(pool.counters().timed_out_head, 1u);
  EXPECT_EQ(pool.connection_count(), 0u);
}

TEST_F(ClientPoolTest, head_that_never_ends_has_no_more_time_than_none) {
  RawService service(real.loop, "HTTP/1.1 200 OK\r\nX-A: ");
  ClientPoolOptions options;
  options.head_timeout = 50ms;
  ClientPool pool(real.loop, service.endpoint(), options);
  Recorder recorder;
  const ClientCall call = pool.request(get("/"), in(10s), recorder);
  ASSERT_TRUE(real.run_until("the failure", [&] {
    const bool is_asked = !service.peers.empty() && !service.peers[0]->received.empty();
    if (is_asked && !recorder.is_over()) service.peers[0]->connection.write("x");
    return recorder.is_over();
  }));

  EXPECT_EQ(recorder.failure->error.code, Code::deadline);
  EXPECT_EQ(pool.counters().timed_out_head, 1u);
}

TEST_F(ClientPoolTest, response_that_stops_in_its_body_fails_with_deadline) {
  RawService service(real.loop, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf");
  ClientPoolOptions options;
  options.body_timeout = 50ms;
  ClientPool pool(real.loop, service.endpoint(), options);
  const base::TimePoint began = real.loop.now();

  const Recorder failed = ask(pool, get("/"));

  EXPECT_EQ(failed.failure->error.code, Code::deadline);
  EXPECT_TRUE(failed.failure->response_started);
  EXPECT_GE(real.loop.now() - began, 50ms);
  EXPECT_EQ(pool.counters().timed_out_body, 1u);
}

TEST_F(ClientPoolTest, body_that_keeps_coming_or_is_not_asked_for_is_not_slow) {
  RawService service(real.loop, "HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\n");
  ClientPoolOptions options;
  options.body_timeout = 60ms;
  ClientPool pool(real.loop, service.endpoint(), options);
  Recorder recorder;
  ClientCall call = pool.request(get("/"), in(20s), recorder);
  ASSERT_TRUE(real.run_until("the head", [&] { return recorder.head.has_value(); }));
  call.pause_body();
  base::TimePoint next = real.loop.now() + 150ms;
  ASSERT_TRUE(real.run_until("more than the timeout", [&] { return real.loop.now() >= next; }));
  EXPECT_FALSE(recorder.is_over());
  call.resume_body();
  for (int i = 0; i < 8; ++i) {
    service.peers[0]->connection.write("x");
    next = real.loop.now() + 20ms;
    ASSERT_TRUE(real.run_until("the next byte's time", [&] { return real.loop.now() >= next; }));
  }

  EXPECT_TRUE(recorder.has_ended);
  EXPECT_EQ(pool.counters().timed_out_body, 0u);
}

TEST_F(ClientPoolTest, service_that_takes_nothing_of_a_request_fails_with_deadline) {
  RawService service(real.loop);
  ClientPoolOptions options;
  options.write_timeout = 50ms;
  ClientPool pool(real.loop, service.endpoint(), options);
  Recorder recorder;
  ClientRequest request = get("/", false);
  request.method = "POST";
  request.body = std::string(64 * 1024 * 1024, 'x');
  const ClientCall call = pool.request(std::move(request), in(10s), recorder);
  ASSERT_TRUE(real.run_until("the failure", [&] {
    if (!service.peers.empty() && service.peers[0]->connection.is_reading()) {
      service.peers[0]->connection.pause_reading();
    }
    return recorder.is_over();
  }));

  EXPECT_EQ(recorder.failure->error.code, Code::deadline);
  EXPECT_EQ(pool.counters().timed_out_write, 1u);
}

TEST_F(ClientPoolTest, refused_attempts_are_counted) {
  ClientPool pool(real.loop, net::Endpoint::unix_socket("/nonexistent/socket"));

  ask(pool, get("/"));

  EXPECT_EQ(pool.counters().refused, 1u);
  EXPECT_EQ(pool.counters().connected, 0u);
}

}  // namespace
}  // namespace outrigger::http1
