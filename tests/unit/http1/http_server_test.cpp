#include "bridge/http1/http_server.h"

#include <gtest/gtest.h>

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

TEST(HttpServer, connections_over_the_limit_wait_for_a_place) {
  RealLoop real;
  HttpServerOptions options;
  options.max_connections = 1;
  FakeService service(real.loop, {}, options);
  LoopClient first(real.loop, service.endpoint());
  first.send(kGet);
  ASSERT_TRUE(real.run_until("the first answer", [&] { return !first.received.empty(); }));
  LoopClient second(real.loop, service.endpoint());
  second.send(kGet);
  ASSERT_TRUE(real.run_until("the second connects", [&] { return second.is_connected(); }));
  for (int i = 0; i < 5; ++i) real.loop.run_turn(net::EventLoop::Wait::no);
  EXPECT_EQ(service.server().accepted_total(), 1u);

  first.close();

  EXPECT_TRUE(real.run_until("the second answer", [&] { return !second.received.empty(); }));
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
