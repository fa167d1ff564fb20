#include "bridge/http1/http_server.h"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/support/fake_service.h"
#include "tests/support/loop_client.h"
#include "tests/support/real_loop.h"

namespace outrigger::http1 {
namespace {

using tests::FakeService;
using tests::LoopClient;
using tests::RealLoop;

constexpr const char* kGet = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

TEST(HttpServer, serves_a_socket) {
  RealLoop real;
  FakeService service(real.loop);
  LoopClient client(real.loop, service.endpoint());

  client.send(kGet);
  ASSERT_TRUE(real.run_until("the answer", [&] { return client.received.find("GET / ") != std::string::npos; }));

  EXPECT_EQ(client.received.substr(0, 17), "HTTP/1.1 200 OK\r\n");
  EXPECT_EQ(service.server().connection_count(), 1u);
  EXPECT_EQ(service.server().requests_total(), 1u);
  client.close();
  EXPECT_TRUE(real.run_until("the session's end", [&] { return service.server().connection_count() == 0; }));
}

TEST(HttpServer, bad_request_gets_the_default_answer) {
  RealLoop real;
  FakeService service(real.loop);
  LoopClient client(real.loop, service.endpoint());

  client.send("GET / HTTP/1.1\r\n\r\n");
  ASSERT_TRUE(real.run_until("the close", [&] { return client.has_ended; }));

  EXPECT_EQ(client.received.substr(0, 26), "HTTP/1.1 400 Bad Request\r\n");
  EXPECT_EQ(client.received.substr(client.received.size() - 16), "400 Bad Request\n");
}

TEST(HttpServer, drain_waits_for_work_and_tells_once) {
  RealLoop real;
  FakeService::Seen* held = nullptr;
  FakeService service(real.loop, [&](FakeService&, FakeService::Seen& seen) { held = &seen; });
  LoopClient busy(real.loop, service.endpoint());
  LoopClient idle(real.loop, service.endpoint());
  busy.send(kGet);
  ASSERT_TRUE(
      real.run_until("the request", [&] { return held != nullptr && service.server().connection_count() == 2; }));
  int drained = 0;

  service.server().begin_drain([&] { ++drained; });
  ASSERT_TRUE(real.run_until("the idle one closes", [&] { return idle.has_ended; }));
  EXPECT_EQ(drained, 0);
  FakeService::reply(*held, 200, "last");
  ASSERT_TRUE(real.run_until("the end", [&] { return busy.has_ended; }));
  busy.close();
  ASSERT_TRUE(real.run_until("the drain", [&] { return drained > 0; }));

  EXPECT_NE(busy.received.find("Connection: close"), std::string::npos);
  EXPECT_EQ(drained, 1);
}

TEST(HttpServer, drain_without_connections_tells_in_a_later_turn) {
  RealLoop real;
  FakeService service(real.loop);
  bool drained = false;

  service.server().begin_drain([&] { drained = true; });

  EXPECT_FALSE(drained);
  EXPECT_TRUE(real.run_until("the drain", [&] { return drained; }));
}

// Holds every request until the test answers it.
struct Held {
  std::vector<FakeService::Seen*> seen;
  FakeService::Answer answer() {
    return [this](FakeService&, FakeService::Seen& one) { seen.push_back(&one); };
  }
};

TEST(HttpServer, connections_over_the_limit_wait_for_a_place) {
  RealLoop real;
  Held held;
  HttpServerOptions options;
  options.max_connections = 1;
  FakeService service(real.loop, held.answer(), options);
  LoopClient first(real.loop, service.endpoint());
  first.send(kGet);
  ASSERT_TRUE(real.run_until("the first request", [&] { return held.seen.size() == 1; }));
  LoopClient second(real.loop, service.endpoint());
  second.send(kGet);
  LoopClient third(real.loop, service.endpoint());
  third.send(kGet);
  ASSERT_TRUE(real.run_until("it is noticed", [&] { return service.server().counters().accept_stops > 0; }));
  for (int i = 0; i < 5; ++i) real.loop.run_turn(net::EventLoop::Wait::no);
  EXPECT_EQ(service.server().accepted_total(), 1u);
  EXPECT_EQ(service.server().connection_count(), 1u);

  first.close();

  ASSERT_TRUE(real.run_until("the second request", [&] { return held.seen.size() == 2; }));
  EXPECT_EQ(service.server().connection_count(), 1u);
  FakeService::reply(*held.seen[1], 200, "done");
  EXPECT_TRUE(real.run_until("the second answer", [&] { return second.received.starts_with("HTTP/1.1 200"); }));
  EXPECT_TRUE(real.run_until("the third request", [&] { return held.seen.size() == 3; }));
}

TEST(HttpServer, longest_without_a_request_makes_room_for_a_new_connection) {
  RealLoop real;
  Held held;
  HttpServerOptions options;
  options.max_connections = 3;
  FakeService service(real.loop, held.answer(), options);
  LoopClient busy(real.loop, service.endpoint());
  busy.send(kGet);
  ASSERT_TRUE(real.run_until("the first request", [&] { return held.seen.size() == 1; }));
  LoopClient slow(real.loop, service.endpoint());
  slow.send("GET / HT");
  ASSERT_TRUE(real.run_until("the slow one", [&] { return service.server().connection_count() == 2; }));
  LoopClient idle(real.loop, service.endpoint());
  idle.send(kGet);
  ASSERT_TRUE(real.run_until("the third request", [&] { return held.seen.size() == 2; }));
  FakeService::reply(*held.seen[1], 200, "done");
  ASSERT_TRUE(real.run_until("its answer", [&] { return !idle.received.empty(); }));

  LoopClient late(real.loop, service.endpoint());
  late.send(kGet);
  ASSERT_TRUE(real.run_until("the late request", [&] { return held.seen.size() == 3; }));
  EXPECT_TRUE(real.run_until("the slow one is gone", [&] { return slow.has_ended || slow.is_closed; }));
  EXPECT_FALSE(idle.has_ended);
  LoopClient later(real.loop, service.endpoint());
  later.send(kGet);
  ASSERT_TRUE(real.run_until("one more request", [&] { return held.seen.size() == 4; }));
  EXPECT_TRUE(real.run_until("the idle one is gone", [&] { return idle.has_ended || idle.is_closed; }));

  EXPECT_FALSE(busy.has_ended);
  EXPECT_EQ(service.server().counters().closed_for_room, 2u);
  EXPECT_EQ(service.server().counters().accept_stops, 0u);
}

TEST(HttpServer, servers_that_share_a_limit_leave_places_to_each_other) {
  RealLoop real;
  Held held;
  ConnectionPlaces places(1);
  HttpServerOptions options;
  options.places = &places;
  FakeService first(real.loop, held.answer(), options);
  FakeService second(real.loop, held.answer(), options);
  LoopClient here(real.loop, first.endpoint());
  here.send(kGet);
  ASSERT_TRUE(real.run_until("the first request", [&] { return held.seen.size() == 1; }));
  LoopClient there(real.loop, second.endpoint());
  there.send(kGet);
  ASSERT_TRUE(real.run_until("it is noticed", [&] { return second.server().counters().accept_stops == 1; }));
  EXPECT_EQ(second.server().connection_count(), 0u);

  here.close();

  EXPECT_TRUE(real.run_until("the second request", [&] { return held.seen.size() == 2; }));
  EXPECT_EQ(places.taken.used(), 1u);
}

TEST(HttpServer, one_without_anybody_to_close_is_helped_by_the_others) {
  RealLoop real;
  ConnectionPlaces places(1);
  HttpServerOptions options;
  options.places = &places;
  FakeService first(real.loop, {}, options);
  FakeService second(real.loop, {}, options);
  LoopClient idle(real.loop, first.endpoint());
  idle.send(kGet);
  ASSERT_TRUE(real.run_until("the first answer", [&] { return !idle.received.empty(); }));

  LoopClient client(real.loop, second.endpoint());
  client.send(kGet);

  EXPECT_TRUE(real.run_until("the second answer", [&] { return !client.received.empty(); }));
  EXPECT_EQ(first.server().connection_count(), 0u);
  EXPECT_EQ(places.wanted, 0u);
}

// As few files as are open now, until its end.
class NoMoreFiles {
 public:
  NoMoreFiles() {
    ::getrlimit(RLIMIT_NOFILE, &before_);
    const int next = ::dup(0);
    ::close(next);
    rlimit now = before_;
    now.rlim_cur = static_cast<rlim_t>(next);
    EXPECT_EQ(::setrlimit(RLIMIT_NOFILE, &now), 0);
  }
  ~NoMoreFiles() { ::setrlimit(RLIMIT_NOFILE, &before_); }

 private:
  rlimit before_{};
};

TEST(HttpServer, without_file_descriptors_an_idle_connection_is_closed_for_the_new_one) {
  RealLoop real;
  FakeService service(real.loop);
  LoopClient idle(real.loop, service.endpoint());
  idle.send(kGet);
  ASSERT_TRUE(real.run_until("the first answer", [&] { return !idle.received.empty(); }));
  // The client's own socket is there before there are no more; its connection waits in the kernel's queue.
  const int waiting = ::socket(AF_INET, SOCK_STREAM, 0);
  const auto to = net::numeric_address(service.endpoint());
  ASSERT_EQ(::connect(waiting, to->get(), to->size), 0);
  ASSERT_EQ(::send(waiting, kGet, std::string_view(kGet).size(), 0), static_cast<ssize_t>(std::string_view(kGet).size()));
  {
    const NoMoreFiles limit;
    ASSERT_TRUE(real.run_until("the second request", [&] { return service.server().requests_total() == 2; }));
  }

  EXPECT_TRUE(real.run_until("the idle one is gone", [&] { return idle.has_ended || idle.is_closed; }));
  EXPECT_EQ(service.server().exhausted_total(), 1u);
  ::close(waiting);
}

TEST(HttpServer, destruction_tells_work_in_progress) {
  RealLoop real;
  auto service = std::make_unique<FakeService>(real.loop, [](FakeService&, FakeService::Seen&) {});
  LoopClient client(real.loop, service->endpoint());
  client.send(kGet);
  ASSERT_TRUE(real.run_until("the request", [&] { return !service->seen().empty(); }));

  service->server().close();

  EXPECT_TRUE(service->seen()[0]->is_aborted);
  EXPECT_TRUE(real.run_until("the close", [&] { return client.has_ended || client.is_closed; }));
}

}  // namespace
}  // namespace outrigger::http1
