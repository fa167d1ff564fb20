#include "bridge/http1/server_session.h"

#include <gtest/gtest.h>

#include <functional>

#include "tests/support/fake_clock.h"
#include "tests/support/memory_transport.h"

namespace outrigger::http1 {
namespace {

using base::Code;
using namespace std::chrono_literals;

constexpr const char* kDate = "Date: Tue, 14 Nov 2023 23:13:20 GMT\r\n";
constexpr const char* kGet = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

// One exchange as the test sees it: kept after the exchange is gone.
struct Work {
  Exchange* exchange = nullptr;
  RequestHead request;
  std::string body;
  bool has_ended = false;
  bool is_destroyed = false;
  bool refuses = false;  // on_refused answers itself
  bool was_cut = false;  // at the end
  std::uint64_t body_bytes_sent = 0;
  std::optional<base::Error> aborted;
  std::vector<bool> pressure;
};

class ServerSessionTest : public ::testing::Test, protected SessionHandler {
 protected:
  class Handler final : public ExchangeHandler {
   public:
    Handler(ServerSessionTest& test, Work& work) : test_(test), work_(work) {}
    ~Handler() override {
      work_.is_destroyed = true;
      work_.was_cut = work_.exchange->was_cut();
      work_.body_bytes_sent = work_.exchange->body_bytes_sent();
    }
    bool on_refused(ParseProblem problem, ResponseHead& head, std::string& body) override {
      if (!work_.refuses) return false;
      head.headers.add("X-Why", name_of(problem));
      body = "own";
      return true;
    }
    void on_body(std::string_view bytes) override {
      EXPECT_FALSE(work_.has_ended || work_.aborted);
      work_.body.append(bytes);
      if (test_.on_body_hook) test_.on_body_hook(work_);
    }
    void on_request_end() override {
      EXPECT_FALSE(work_.has_ended || work_.aborted);
      work_.has_ended = true;
      if (test_.on_end_hook) test_.on_end_hook(work_);
    }
    void on_aborted(const base::Error& why) override {
      EXPECT_FALSE(work_.aborted.has_value());
      work_.aborted = why;
    }
    void on_write_pressure(bool is_above) override { work_.pressure.push_back(is_above); }

   private:
    ServerSessionTest& test_;
    Work& work_;
  };

  void on_request(Exchange& exchange) override {
    works.push_back(std::make_unique<Work>());
    Work& work = *works.back();
    work.exchange = &exchange;
    work.request = exchange.request();
    exchange.set_handler(std::make_unique<Handler>(*this, work));
    if (on_request_hook) on_request_hook(work);
  }
  void on_session_closed(ServerSession& closed) override {
    EXPECT_EQ(&closed, session.get());
    EXPECT_FALSE(is_closed);
    is_closed = true;
    fake.loop.release(std::move(session));
  }

  ServerSessionTest() {
    options.head_timeout = 60s;
    options.idle_timeout = 75s;
    options.body_timeout = 60s;
    options.write_timeout = 60s;
    options.min_rate = 0;
  }
  void start() {
    session = std::make_unique<ServerSession>(fake.loop, peer.make_transport(), "192.0.2.1", options,
                                              static_cast<SessionHandler&>(*this));
  }
  std::string exchange_bytes(std::string_view bytes) {
    peer.send(bytes);
    fake.settle();
    return peer.take_received();
  }
  // Answers each request when it is complete, with what it was.
  void echo() {
    on_request_hook = [](Work& work) { work.exchange->accept_body(); };
    on_end_hook = [](Work& work) {
      work.exchange->send({}, work.request.method + " " + work.request.target + " " + work.body);
    };
  }
  static std::string ok(const std::string& body, const std::string& fields = {}) {
    return "HTTP/1.1 200 OK\r\n" + std::string(kDate) + "Content-Length: " + std::to_string(body.size()) + "\r\n" +
           fields + "\r\n" + body;
  }
  static std::string answer(const std::string& status_line, const std::string& fields, const std::string& body = {}) {
    return "HTTP/1.1 " + status_line + "\r\n" + kDate + fields + "\r\n" + body;
  }

  tests::FakeLoop fake;
  tests::MemoryPeer peer{fake.loop};
  ServerOptions options;
  std::unique_ptr<ServerSession> session;
  std::vector<std::unique_ptr<Work>> works;
  std::function<void(Work&)> on_request_hook, on_body_hook, on_end_hook;
  bool is_closed = false;

  ~ServerSessionTest() override {
    if (session != nullptr) session->close();
    fake.settle();
  }
};

TEST_F(ServerSessionTest, simple_request_is_answered_and_connection_kept) {
  echo();
  start();

  EXPECT_EQ(exchange_bytes(kGet), ok("GET / "));
  EXPECT_TRUE(works[0]->is_destroyed);
  EXPECT_EQ(exchange_bytes("POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi"), ok("POST /x hi"));
  EXPECT_FALSE(is_closed);
}

TEST_F(ServerSessionTest, single_bytes_give_the_same_answer) {
  echo();
  start();

  for (const char c :
       std::string("POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n")) {
    peer.send(std::string(1, c));
    fake.settle(2);
  }
  fake.settle();

  EXPECT_EQ(peer.take_received(), ok("POST /x hi"));
}

TEST_F(ServerSessionTest, pipelined_requests_are_answered_in_order_one_at_a_time) {
  start();

  peer.send(std::string(kGet) + "POST /2 HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc" + kGet);
  fake.settle();
  ASSERT_EQ(works.size(), 1u);
  works[0]->exchange->send({}, "one");
  fake.settle();
  ASSERT_EQ(works.size(), 2u);
  works[1]->exchange->accept_body();
  fake.settle();
  EXPECT_EQ(works[1]->body, "abc");
  EXPECT_EQ(works.size(), 2u);
  works[1]->exchange->send({}, "two");
  fake.settle();
  ASSERT_EQ(works.size(), 3u);
  works[2]->exchange->send({}, "three");
  fake.settle();

  EXPECT_EQ(peer.take_received(), ok("one") + ok("two") + ok("three"));
}

TEST_F(ServerSessionTest, many_pipelined_requests_answered_at_once_use_no_stack_and_one_write) {
  on_request_hook = [](Work& work) { work.exchange->send({}, "x"); };
  start();
  std::string many;
  for (int i = 0; i < 2000; ++i) many += kGet;

  const std::string received = exchange_bytes(many);

  EXPECT_EQ(works.size(), 2000u);
  EXPECT_EQ(received.size(), 2000 * ok("x").size());
}

TEST_F(ServerSessionTest, look_ahead_is_bounded_and_goes_on_when_the_work_is_done) {
  options.look_ahead_bytes = 100;
  start();

  for (int i = 0; i < 100; ++i) peer.send(kGet);  // 26 bytes each, one per read
  fake.settle(300);
  EXPECT_EQ(works.size(), 1u);
  on_request_hook = [](Work& work) { work.exchange->send({}, "x"); };
  works[0]->exchange->send({}, "x");
  fake.settle(300);

  EXPECT_EQ(works.size(), 100u);
}

TEST_F(ServerSessionTest, no_body_before_accept) {
  start();

  peer.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello");
  fake.settle();
  EXPECT_EQ(works[0]->body, "");
  works[0]->exchange->accept_body();
  EXPECT_EQ(works[0]->body, "");  // not inside the call
  fake.settle();

  EXPECT_EQ(works[0]->body, "hello");
  EXPECT_TRUE(works[0]->has_ended);
}

TEST_F(ServerSessionTest, paused_body_waits) {
  on_request_hook = [](Work& work) { work.exchange->accept_body(); };
  on_body_hook = [](Work& work) { work.exchange->pause_body(); };
  start();

  peer.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n1\r\nb\r\n0\r\n\r\n");
  fake.settle();
  EXPECT_EQ(works[0]->body, "a");
  works[0]->exchange->resume_body();
  fake.settle();
  EXPECT_EQ(works[0]->body, "ab");
  EXPECT_FALSE(works[0]->has_ended);
  works[0]->exchange->resume_body();
  fake.settle();

  EXPECT_TRUE(works[0]->has_ended);
}

TEST_F(ServerSessionTest, accept_sends_continue_to_a_client_that_waits) {
  start();

  EXPECT_EQ(exchange_bytes("PUT / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n"), "");
  works[0]->exchange->accept_body();
  fake.settle();
  EXPECT_EQ(peer.take_received(), "HTTP/1.1 100 Continue\r\n\r\n");
  peer.send("ok");
  fake.settle();
  works[0]->exchange->send({}, "done");
  fake.settle();

  EXPECT_EQ(works[0]->body, "ok");
  EXPECT_EQ(peer.take_received(), ok("done"));
}

TEST_F(ServerSessionTest, refused_expectation_gets_no_continue_and_closes) {
  on_request_hook = [](Work& work) {
    ResponseHead head;
    head.status = 413;
    work.exchange->send(head, "");
  };
  start();

  EXPECT_EQ(exchange_bytes("PUT / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n"),
            answer("413 Content Too Large", "Content-Length: 0\r\nConnection: close\r\n"));
  EXPECT_TRUE(peer.saw_end());
}

TEST_F(ServerSessionTest, head_is_answered_with_length_and_no_body) {
  on_request_hook = [](Work& work) {
    if (work.request.target == "/whole") {
      work.exchange->send({}, "four");
    } else {
      ResponseHead head;
      head.headers.add("Content-Length", "12345");
      work.exchange->send_head(head);
      work.exchange->send_body("ignored");
      work.exchange->send_end();
    }
  };
  start();

  EXPECT_EQ(exchange_bytes("HEAD /whole HTTP/1.1\r\nHost: a\r\n\r\n"), answer("200 OK", "Content-Length: 4\r\n"));
  EXPECT_EQ(exchange_bytes("HEAD /given HTTP/1.1\r\nHost: a\r\n\r\n"), answer("200 OK", "Content-Length: 12345\r\n"));
}

TEST_F(ServerSessionTest, no_content_and_not_modified_have_no_body) {
  on_request_hook = [](Work& work) {
    ResponseHead head;
    head.status = work.request.target == "/204" ? 204 : 304;
    head.headers.add("Content-Length", "9");
    work.exchange->send(head, "ignored");
  };
  start();

  EXPECT_EQ(exchange_bytes("GET /204 HTTP/1.1\r\nHost: a\r\n\r\n"), answer("204 No Content", ""));
  EXPECT_EQ(exchange_bytes("GET /304 HTTP/1.1\r\nHost: a\r\n\r\n"),
            answer("304 Not Modified", "Content-Length: 9\r\n"));
}

TEST_F(ServerSessionTest, streamed_answer_is_chunked_in_1_1_and_close_delimited_in_1_0) {
  on_request_hook = [](Work& work) {
    work.exchange->send_head({});
    work.exchange->send_body("hello");
    work.exchange->send_body("");
    work.exchange->send_body(" world, this is 0x1b bytes");
    work.exchange->send_end();
  };
  start();
  EXPECT_EQ(exchange_bytes(kGet), answer("200 OK", "Transfer-Encoding: chunked\r\n",
                                         "5\r\nhello\r\n1a\r\n world, this is 0x1b bytes\r\n0\r\n\r\n"));

  EXPECT_EQ(exchange_bytes("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"),
            answer("200 OK", "Connection: close\r\n", "hello world, this is 0x1b bytes"));
  EXPECT_TRUE(peer.saw_end());
}

TEST_F(ServerSessionTest, http_1_0_keep_alive_is_confirmed) {
  echo();
  start();

  EXPECT_EQ(exchange_bytes("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"),
            ok("GET / ", "Connection: keep-alive\r\n"));
  EXPECT_EQ(exchange_bytes("GET / HTTP/1.0\r\n\r\n"), ok("GET / ", "Connection: close\r\n"));
  EXPECT_TRUE(peer.saw_end());
}

TEST_F(ServerSessionTest, close_asked_by_either_side_closes_after_the_answer) {
  on_request_hook = [](Work& work) {
    ResponseHead head;
    head.headers.add("Connection", "close");
    work.exchange->send(head, "x");
  };
  start();

  EXPECT_EQ(exchange_bytes(kGet), ok("x", "Connection: close\r\n"));
  EXPECT_TRUE(peer.saw_end());
  peer.send_end();
  fake.settle();
  EXPECT_TRUE(is_closed);
}

TEST_F(ServerSessionTest, answers_that_a_client_left_behind_are_known_as_cut) {
  const std::string first(2000, 'x');
  const std::string second(3000, 'y');
  on_request_hook = [&](Work& work) { work.exchange->send({}, works.size() == 1 ? first : second); };
  start();
  const std::size_t head_size = ok(first).size() - first.size();
  peer.set_write_room(head_size + first.size() + head_size + 500);

  peer.send(std::string(kGet) + kGet);
  fake.settle();
  EXPECT_FALSE(works[1]->is_destroyed);
  peer.reset();
  fake.settle();

  EXPECT_TRUE(works[0]->is_destroyed);
  EXPECT_EQ(works[0]->body_bytes_sent, first.size());
  EXPECT_FALSE(works[0]->was_cut);
  EXPECT_TRUE(works[1]->is_destroyed);
  EXPECT_TRUE(works[1]->was_cut);
  EXPECT_EQ(works[1]->body_bytes_sent, 500U);
  EXPECT_FALSE(works[1]->aborted);  // it was over for its handler
}

TEST_F(ServerSessionTest, answer_that_closes_ends_with_its_last_byte_and_not_with_the_linger) {
  on_request_hook = [](Work& work) { work.exchange->send({}, "x"); };
  start();

  exchange_bytes("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");

  EXPECT_TRUE(works[0]->is_destroyed);
  EXPECT_FALSE(works[0]->was_cut);
  EXPECT_EQ(works[0]->body_bytes_sent, 1U);
  EXPECT_FALSE(is_closed);
}

TEST_F(ServerSessionTest, handler_may_word_the_refusal_of_its_request) {
  on_request_hook = [](Work& work) {
    work.refuses = true;
    work.exchange->accept_body();
  };
  start();

  const std::string answer =
      exchange_bytes("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nno chunk\r\n");

  EXPECT_NE(answer.find("HTTP/1.1 400 "), std::string::npos) << answer;
  EXPECT_NE(answer.find("\r\nX-Why: "), std::string::npos) << answer;
  EXPECT_NE(answer.find("\r\n\r\nown"), std::string::npos) << answer;
  EXPECT_TRUE(works[0]->aborted.has_value());
  EXPECT_TRUE(works[0]->is_destroyed);
  EXPECT_EQ(works[0]->body_bytes_sent, 3U);
  EXPECT_FALSE(works[0]->was_cut);
}

TEST_F(ServerSessionTest, large_body_goes_out_whole) {
  const std::string large(3'000'000, 'x');
  on_request_hook = [&](Work& work) { work.exchange->send({}, large); };
  start();
  peer.set_write_room(1000);

  peer.send(kGet);
  fake.settle();
  EXPECT_FALSE(works[0]->is_destroyed);  // its end is not known before its last byte is out
  peer.set_write_room({});
  fake.settle();
  EXPECT_TRUE(works[0]->is_destroyed);
  EXPECT_FALSE(works[0]->was_cut);
  EXPECT_EQ(works[0]->body_bytes_sent, large.size());

  EXPECT_EQ(peer.take_received(), ok(large));
  EXPECT_EQ(exchange_bytes(kGet).size(), ok(large).size());
}

TEST_F(ServerSessionTest, write_pressure_reaches_the_handler) {
  start();
  peer.set_write_room(0);
  peer.send(kGet);
  fake.settle();

  works[0]->exchange->send_head({});
  works[0]->exchange->send_body(std::string(net::Connection::kHighMark + 1, 'x'));
  fake.settle();
  EXPECT_EQ(works[0]->pressure, std::vector<bool>{true});
  peer.set_write_room({});
  fake.settle();

  EXPECT_EQ(works[0]->pressure, (std::vector<bool>{true, false}));
}

TEST_F(ServerSessionTest, body_longer_or_shorter_than_announced_breaks_the_connection) {
  on_request_hook = [](Work& work) {
    ResponseHead head;
    head.headers.add("Content-Length", "3");
    work.exchange->send_head(head);
  };
  start();
  peer.send(kGet);
  fake.settle();

  works[0]->exchange->send_body("four");

  EXPECT_TRUE(is_closed);
  EXPECT_FALSE(works[0]->aborted.has_value());  // its own doing
  fake.settle();
  EXPECT_TRUE(works[0]->is_destroyed);
}

TEST_F(ServerSessionTest, short_body_breaks_the_connection) {
  on_request_hook = [](Work& work) {
    ResponseHead head;
    head.headers.add("Content-Length", "3");
    work.exchange->send_head(head);
    work.exchange->send_body("ab");
    work.exchange->send_end();
  };
  start();

  peer.send(kGet);
  fake.settle();

  EXPECT_TRUE(is_closed);
}

TEST_F(ServerSessionTest, header_injection_becomes_an_empty_500) {
  on_request_hook = [](Work& work) {
    ResponseHead head;
    head.headers.add("Location", "/x\r\nSet-Cookie: a=b");
    EXPECT_FALSE(work.exchange->send(head, "body"));
    EXPECT_TRUE(work.exchange->is_over());
  };
  start();

  EXPECT_EQ(exchange_bytes(kGet),
            "HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
  EXPECT_TRUE(peer.saw_end());
}

TEST_F(ServerSessionTest, framing_fields_of_the_handler_are_replaced) {
  on_request_hook = [](Work& work) {
    ResponseHead head;
    head.reason = "Fine";
    head.headers.add("Transfer-Encoding", "gzip");
    head.headers.add("Keep-Alive", "timeout=5");
    head.headers.add("Content-Length", "999");
    head.headers.add("Date", "today");
    work.exchange->send(head, "x");
  };
  start();

  EXPECT_EQ(exchange_bytes(kGet), "HTTP/1.1 200 Fine\r\nDate: today\r\nContent-Length: 1\r\n\r\nx");
}

TEST_F(ServerSessionTest, early_answer_discards_a_small_body_and_keeps_the_connection) {
  on_request_hook = [](Work& work) { work.exchange->send({}, "early"); };
  start();

  EXPECT_EQ(exchange_bytes("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n12345"), ok("early"));
  EXPECT_TRUE(works[0]->is_destroyed);
  EXPECT_EQ(exchange_bytes("67890" + std::string(kGet)), ok("early"));
}

TEST_F(ServerSessionTest, early_answer_to_a_large_body_closes_lingering) {
  on_request_hook = [](Work& work) { work.exchange->send({}, "early"); };
  start();

  EXPECT_EQ(exchange_bytes("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n12345"),
            ok("early", "Connection: close\r\n"));
  EXPECT_TRUE(peer.saw_end());
  EXPECT_FALSE(peer.is_closed());  // the client may still read the answer
  fake.advance(net::Connection::kLinger);
  EXPECT_TRUE(is_closed);
}

TEST_F(ServerSessionTest, endless_chunks_after_an_early_answer_close) {
  options.discard_bytes = 10;
  on_request_hook = [](Work& work) { work.exchange->send({}, "early"); };
  start();

  EXPECT_EQ(exchange_bytes("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"), ok("early"));
  peer.send("20\r\n12345678901234567890123456789012\r\n");
  fake.settle();

  EXPECT_TRUE(peer.saw_end());
}

TEST_F(ServerSessionTest, client_that_leaves_aborts_the_work) {
  start();
  peer.send(kGet);
  fake.settle();

  peer.send_end();
  fake.settle();

  EXPECT_EQ(works[0]->aborted->code, Code::closed);
  EXPECT_TRUE(works[0]->is_destroyed);
  EXPECT_TRUE(is_closed);
}

TEST_F(ServerSessionTest, half_closed_client_gets_its_answer_if_asked_for) {
  options.aborts_on_half_close = false;
  start();
  peer.send(kGet);
  peer.send_end();
  fake.settle();

  works[0]->exchange->send({}, "late");
  fake.settle();

  EXPECT_EQ(peer.take_received(), ok("late", "Connection: close\r\n"));
  EXPECT_TRUE(is_closed);
}

TEST_F(ServerSessionTest, reset_in_the_body_aborts_the_work) {
  on_request_hook = [](Work& work) { work.exchange->accept_body(); };
  start();
  peer.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n12345");
  fake.settle();

  peer.reset();
  fake.settle();

  EXPECT_EQ(works[0]->body, "12345");
  EXPECT_EQ(works[0]->aborted->code, Code::closed);
  EXPECT_TRUE(is_closed);
}

TEST_F(ServerSessionTest, answer_and_end_of_stream_in_one_turn_lose_nothing) {
  echo();
  start();

  peer.set_write_room(10);
  peer.send(kGet);
  peer.send_end();
  fake.settle();
  peer.set_write_room({});
  fake.settle();

  EXPECT_EQ(peer.take_received(), ok("GET / "));
  EXPECT_TRUE(is_closed);
}

TEST_F(ServerSessionTest, abort_before_the_head_closes_without_an_answer) {
  start();
  peer.send(kGet);
  fake.settle();

  works[0]->exchange->abort();
  fake.settle();

  EXPECT_EQ(peer.take_received(), "");
  EXPECT_TRUE(is_closed);
  EXPECT_FALSE(works[0]->aborted.has_value());
}

TEST_F(ServerSessionTest, calls_after_the_end_are_harmless) {
  on_request_hook = [](Work& work) {
    Exchange& exchange = *work.exchange;
    exchange.send({}, "x");
    exchange.send({}, "again");
    exchange.send_head({});
    exchange.send_body("y");
    exchange.send_end();
    exchange.accept_body();
    exchange.abort();
  };
  start();

  EXPECT_EQ(exchange_bytes(kGet), ok("x"));
  EXPECT_FALSE(is_closed);
}

TEST_F(ServerSessionTest, body_over_the_limit_is_answered_and_closes) {
  options.limits.body_bytes = 4;
  on_request_hook = [](Work& work) { work.exchange->accept_body(); };
  start();

  const std::string received =
      exchange_bytes("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n3\r\ndef\r\n");

  EXPECT_EQ(received.substr(0, 12), "HTTP/1.1 413");
  EXPECT_EQ(works[0]->aborted->code, Code::too_large);
  EXPECT_TRUE(peer.saw_end());
}

TEST_F(ServerSessionTest, broken_chunk_after_the_head_was_sent_closes) {
  on_request_hook = [](Work& work) {
    work.exchange->accept_body();
    work.exchange->send_head({});
  };
  start();

  exchange_bytes("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nx");

  EXPECT_EQ(works[0]->aborted->code, Code::malformed);
  EXPECT_TRUE(is_closed);
}

TEST_F(ServerSessionTest, slow_head_gets_408) {
  start();
  peer.send("GET / HT");
  fake.settle();
  fake.advance(30s);
  peer.send("TP/1.1\r\n");  // more bytes do not buy more time
  fake.settle();
  fake.advance(29s);
  EXPECT_EQ(peer.take_received(), "");

  fake.advance(1s);

  EXPECT_EQ(peer.take_received().substr(0, 12), "HTTP/1.1 408");
  EXPECT_TRUE(peer.saw_end());
}

TEST_F(ServerSessionTest, idle_connection_is_closed_without_a_word) {
  echo();
  start();
  exchange_bytes(kGet);
  fake.advance(70s);
  exchange_bytes(kGet);
  fake.advance(74s);
  EXPECT_FALSE(is_closed);

  fake.advance(1s);

  EXPECT_TRUE(is_closed);
  EXPECT_EQ(peer.take_received(), "");
}

TEST_F(ServerSessionTest, slow_work_is_not_timed_by_the_session) {
  start();
  peer.send(kGet);
  fake.settle();

  fake.advance(1000s);
  works[0]->exchange->send({}, "at last");
  fake.settle();

  EXPECT_FALSE(is_closed);
  EXPECT_NE(peer.take_received().find("at last"), std::string::npos);
  fake.advance(74s);
  EXPECT_FALSE(is_closed);
}

TEST_F(ServerSessionTest, stalled_body_gets_408_but_a_slow_one_goes_on) {
  on_request_hook = [](Work& work) { work.exchange->accept_body(); };
  start();
  peer.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n");
  for (int i = 0; i < 5; ++i) {
    fake.advance(59s);
    peer.send("x");
    fake.settle();
  }
  EXPECT_EQ(works[0]->body, "xxxxx");

  fake.advance(60s);

  EXPECT_EQ(peer.take_received().substr(0, 12), "HTTP/1.1 408");
  EXPECT_EQ(works[0]->aborted->code, Code::deadline);
}

TEST_F(ServerSessionTest, client_that_stops_reading_is_aborted) {
  start();
  peer.set_write_room(100);
  peer.send(kGet);
  fake.settle();
  works[0]->exchange->send_head({});
  works[0]->exchange->send_body(std::string(10000, 'x'));
  fake.advance(59s);
  peer.set_write_room(10);  // some progress
  fake.advance(60s);
  EXPECT_FALSE(is_closed);

  fake.advance(60s);

  EXPECT_TRUE(is_closed);
  EXPECT_EQ(works[0]->aborted->code, Code::deadline);
}

TEST_F(ServerSessionTest, drain_closes_an_idle_connection_at_once) {
  start();
  fake.settle();

  session->begin_drain();

  EXPECT_TRUE(is_closed);
}

TEST_F(ServerSessionTest, drain_lets_the_work_finish_and_says_close) {
  start();
  peer.send(kGet);
  fake.settle();

  session->begin_drain();
  EXPECT_FALSE(is_closed);
  works[0]->exchange->send({}, "last");
  fake.settle();

  EXPECT_EQ(peer.take_received(), ok("last", "Connection: close\r\n"));
  EXPECT_TRUE(peer.saw_end());
}

TEST_F(ServerSessionTest, drain_after_the_head_was_sent_closes_at_the_end) {
  start();
  peer.send(kGet);
  fake.settle();
  works[0]->exchange->send_head({});

  session->begin_drain();
  works[0]->exchange->send_end();
  fake.settle();

  EXPECT_EQ(peer.take_received(), answer("200 OK", "Transfer-Encoding: chunked\r\n", "0\r\n\r\n"));
  EXPECT_TRUE(peer.saw_end());
}

TEST_F(ServerSessionTest, close_by_the_owner_tells_the_work_once) {
  start();
  peer.send(kGet);
  fake.settle();

  session->close();

  EXPECT_TRUE(is_closed);
  EXPECT_EQ(works[0]->aborted->code, Code::closed);
  fake.settle();
  EXPECT_TRUE(works[0]->is_destroyed);
}

TEST_F(ServerSessionTest, handler_may_close_the_session_in_any_call) {
  on_request_hook = [](Work& work) { work.exchange->accept_body(); };
  on_body_hook = [this](Work&) { session->close(); };
  start();

  peer.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n1\r\nb\r\n0\r\n\r\n" +
            std::string(kGet));
  fake.settle();

  EXPECT_EQ(works.size(), 1u);
  EXPECT_EQ(works[0]->body, "a");
  EXPECT_TRUE(is_closed);
}

TEST_F(ServerSessionTest, peer_address_is_known) {
  start();
  peer.send(kGet);
  fake.settle();

  EXPECT_EQ(works[0]->exchange->peer_address(), "192.0.2.1");
}

// Every time and count below is of a client that does what a hostile or broken one would.
class SlowClientTest : public ServerSessionTest {
 protected:
  SlowClientTest() {
    options.head_timeout = 20s;
    options.body_timeout = 30s;
    options.write_timeout = 30s;
    options.min_rate = 100;
    options.buffered = &buffered;
    on_request_hook = [](Work& work) { work.exchange->accept_body(); };
  }
  ~SlowClientTest() override {
    if (session != nullptr) session->close();
    fake.settle();
    EXPECT_EQ(buffered.used(), 0u);
  }
  const HttpServerCounters& counters() const { return counters_; }
  bool is_told(int status) { return peer.received().starts_with("HTTP/1.1 " + std::to_string(status)); }

  base::Budget buffered{1024 * 1024};
};

constexpr const char* kPost = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n";

TEST_F(SlowClientTest, silent_from_the_start_is_closed_without_a_word_after_the_head_timeout) {
  start();
  fake.advance(20s - 1ns);
  EXPECT_FALSE(is_closed);

  fake.advance(1ns);

  EXPECT_TRUE(is_closed);
  EXPECT_EQ(peer.received(), "");
  EXPECT_EQ(counters().timed_out_head, 1u);
  EXPECT_EQ(counters().closed_idle, 0u);
}

TEST_F(SlowClientTest, head_byte_by_byte_gets_408_at_the_head_timeout) {
  start();
  for (int i = 0; i < 20; ++i) {
    peer.send(i == 0 ? "G" : i == 1 ? "E" : i == 2 ? "T" : i == 3 ? " " : "/");
    fake.settle();
    EXPECT_EQ(peer.received(), "") << i;
    fake.advance(1s);
  }

  EXPECT_TRUE(is_told(408));
  EXPECT_TRUE(peer.saw_end());
  EXPECT_EQ(counters().timed_out_head, 1u);
  EXPECT_EQ(counters().refused, 1u);
}

TEST_F(SlowClientTest, second_head_has_its_own_time) {
  echo();
  start();
  exchange_bytes(kGet);
  fake.advance(60s);
  peer.send("GET");
  fake.advance(19s);
  EXPECT_EQ(peer.received(), "");

  fake.advance(1s);

  EXPECT_TRUE(is_told(408));
  EXPECT_EQ(counters().requests, 1u);
}

TEST_F(SlowClientTest, idle_after_a_request_is_closed_by_the_idle_timeout) {
  echo();
  start();
  exchange_bytes(kGet);

  fake.advance(75s);

  EXPECT_TRUE(is_closed);
  EXPECT_EQ(counters().closed_idle, 1u);
  EXPECT_EQ(counters().timed_out_head, 0u);
}

TEST_F(SlowClientTest, body_that_pauses_for_too_long_gets_408) {
  start();
  peer.send(kPost);
  fake.advance(29s);
  peer.send(std::string(50'000, 'x'));
  fake.advance(29s);
  EXPECT_EQ(peer.received(), "");

  fake.advance(1s);

  EXPECT_TRUE(is_told(408));
  EXPECT_EQ(works[0]->aborted->code, Code::deadline);
  EXPECT_EQ(counters().timed_out_body, 1u);
}

TEST_F(SlowClientTest, body_below_the_rate_gets_408_however_regular_it_is) {
  start();
  peer.send(kPost);
  int seconds = 0;
  for (; seconds < 60 && peer.received().empty(); ++seconds) {
    peer.send(std::string(99, 'x'));
    fake.advance(1s);
  }

  EXPECT_EQ(seconds, 30);
  EXPECT_TRUE(is_told(408));
}

TEST_F(SlowClientTest, body_that_came_fast_and_then_drips_gets_408) {
  start();
  peer.send(kPost);
  peer.send(std::string(900'000, 'x'));
  int seconds = 0;
  for (; seconds < 100 && peer.received().empty(); ++seconds) {
    peer.send("x");
    fake.advance(1s);
  }

  EXPECT_LE(seconds, 60);  // in the first whole window after the burst
  EXPECT_TRUE(is_told(408));
}

TEST_F(SlowClientTest, body_at_the_rate_is_served_for_as_long_as_it_takes) {
  echo();
  start();
  peer.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 33000\r\n\r\n");
  for (int i = 0; i < 300; ++i) {
    EXPECT_EQ(peer.received(), "");
    fake.advance(1s);
    peer.send(std::string(110, 'x'));
  }
  fake.settle();

  EXPECT_TRUE(is_told(200));
}

TEST_F(SlowClientTest, body_that_waits_for_us_is_not_slow) {
  on_body_hook = [](Work& work) { work.exchange->pause_body(); };
  start();
  peer.send(kPost);
  peer.send("x");
  fake.advance(1000s);
  EXPECT_EQ(peer.received(), "");

  works[0]->exchange->resume_body();
  fake.advance(29s);
  EXPECT_EQ(peer.received(), "");
  fake.advance(1s);

  EXPECT_TRUE(is_told(408));
}

TEST_F(SlowClientTest, rest_of_a_body_that_was_answered_has_one_time_in_all) {
  on_request_hook = [](Work& work) { work.exchange->send({}, "early"); };
  start();
  peer.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n");
  for (int i = 0; i < 30; ++i) {
    EXPECT_FALSE(peer.saw_end());
    peer.send("x");
    fake.advance(1s);
  }

  EXPECT_TRUE(peer.saw_end());
}

TEST_F(SlowClientTest, reader_that_stops_is_closed_after_the_write_timeout) {
  start();
  peer.set_write_room(1000);
  peer.send(kGet);
  fake.settle();
  works[0]->exchange->send({}, std::string(500'000, 'x'));
  fake.advance(29s);
  EXPECT_FALSE(is_closed);

  fake.advance(6s);  // it looks every 5 s, so that what it took at first counts as progress a little later

  EXPECT_TRUE(is_closed);
  EXPECT_EQ(counters().timed_out_write, 1u);
}

TEST_F(SlowClientTest, reader_below_the_rate_is_closed) {
  start();
  peer.set_write_room(1000);
  peer.send(kGet);
  fake.settle();
  works[0]->exchange->send({}, std::string(500'000, 'x'));
  for (int i = 0; i < 66 && !is_closed; ++i) {
    fake.advance(1s);
    peer.set_write_room(10);
  }

  EXPECT_TRUE(is_closed);
  EXPECT_EQ(counters().timed_out_write, 1u);
}

TEST_F(SlowClientTest, reader_at_the_rate_gets_all_of_a_last_answer) {
  start();
  peer.set_write_room(1000);
  peer.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
  fake.settle();
  works[0]->exchange->send({}, std::string(20'000, 'x'));
  for (int i = 0; i < 200; ++i) {
    fake.advance(1s);
    peer.set_write_room(110);
  }
  fake.settle();

  EXPECT_TRUE(peer.saw_end());
  EXPECT_EQ(peer.received().substr(peer.received().size() - 10), "xxxxxxxxxx");
  EXPECT_EQ(counters().timed_out_write, 0u);
}

TEST_F(SlowClientTest, answers_one_after_another_are_not_taken_for_a_slow_one) {
  echo();
  start();
  for (int i = 0; i < 100; ++i) {
    fake.advance(1s);
    peer.send(kGet);
    fake.settle();
    peer.set_write_room(0);
    peer.send(kGet);  // this answer waits for a moment whenever somebody looks
    fake.advance(100ms);
    peer.set_write_room({});
    fake.settle();
  }

  EXPECT_FALSE(is_closed);
  EXPECT_EQ(counters().requests, 200u);
}

TEST_F(SlowClientTest, unread_answer_is_counted_until_it_is_taken) {
  start();
  peer.set_write_room(0);
  peer.send(kGet);
  fake.settle();

  works[0]->exchange->send({}, std::string(500'000, 'x'));
  EXPECT_GE(buffered.used(), 500'000u);
  fake.settle();
  EXPECT_GE(buffered.used(), 500'000u);
  peer.set_write_room({});
  fake.settle();

  EXPECT_EQ(buffered.used(), 0u);
}

TEST_F(SlowClientTest, slow_ones_have_little_time_while_memory_is_short) {
  base::Charge others(&buffered);
  others.set(600'000);
  start();
  peer.send(kPost);
  fake.advance(5s - 1ns);
  EXPECT_EQ(peer.received(), "");

  fake.advance(1ns);

  EXPECT_TRUE(is_told(408));
}

TEST_F(SlowClientTest, unread_answers_go_soon_while_memory_is_short) {
  start();
  peer.set_write_room(0);
  peer.send(kGet);
  fake.settle();
  works[0]->exchange->send({}, std::string(600'000, 'x'));

  fake.advance(5s);

  EXPECT_TRUE(is_closed);
  EXPECT_EQ(buffered.used(), 0u);
}

TEST_F(SlowClientTest, fast_one_is_served_while_memory_is_short) {
  echo();
  base::Charge others(&buffered);
  others.set(1024 * 1024);
  start();
  peer.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n");
  for (int i = 0; i < 100; ++i) {
    peer.send(std::string(10'000, 'x'));
    fake.advance(500ms);
  }

  EXPECT_TRUE(is_told(200));
}

TEST_F(SlowClientTest, long_head_in_pieces_gets_503_while_there_is_no_memory) {
  options.limits.header_bytes = 64 * 1024;
  base::Charge others(&buffered);
  others.set(1024 * 1024);
  start();
  peer.send("GET / HTTP/1.1\r\nHost: a\r\nX-Long: ");
  peer.send(std::string(10'000, 'x'));
  fake.settle();
  EXPECT_EQ(peer.received(), "");  // as much as that is always allowed

  peer.send(std::string(20'000, 'x'));
  fake.settle();

  EXPECT_TRUE(is_told(503));
  EXPECT_EQ(counters().overloaded, 1u);
}

TEST_F(SlowClientTest, request_in_work_is_not_told_503_for_what_follows_it) {
  base::Charge others(&buffered);
  others.set(1024 * 1024);
  start();
  peer.send(kGet);
  fake.settle();
  for (int i = 0; i < 40; ++i) peer.send(std::string(1000, 'G'));
  fake.settle(100);

  EXPECT_TRUE(is_closed);
  EXPECT_EQ(peer.received(), "");
  EXPECT_EQ(works[0]->aborted->code, Code::overloaded);
}

TEST_F(SlowClientTest, pipelined_requests_answered_at_once_leave_turns_to_others) {
  on_request_hook = [](Work& work) { work.exchange->send({}, "x"); };
  start();
  std::string many;
  for (int i = 0; i < 1000; ++i) many += kGet;
  peer.send(many);
  fake.loop.run_turn(net::EventLoop::Wait::no);
  fake.loop.run_turn(net::EventLoop::Wait::no);
  EXPECT_GT(works.size(), 0u);
  EXPECT_LE(works.size(), 2u * base::limits::kRequestsPerTurn);
  fake.settle(40);

  EXPECT_EQ(works.size(), 1000u);
}

}  // namespace
}  // namespace outrigger::http1
