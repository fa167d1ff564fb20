// Listener and connector over real sockets on free ports.
#include <netdb.h>
#include <unistd.h>

#include <filesystem>

#include "bridge/net/connection.h"
#include "bridge/net/connector.h"
#include "bridge/net/listener.h"
#include "tests/support/real_loop.h"

namespace outrigger::net {
namespace {

using tests::RealLoop;
using namespace std::chrono_literals;

struct Echo final : ConnectionHandler {
  std::unique_ptr<Connection> connection;
  std::string data;
  bool is_echoing = false;
  bool has_ended = false;
  void on_data(std::string_view bytes) override {
    data.append(bytes);
    if (is_echoing) connection->write(bytes);
  }
  void on_end() override {
    has_ended = true;
    connection->close_when_flushed();
  }
  void on_closed(const base::Error&) override {}
};

struct SocketTest : ::testing::Test {
  RealLoop real;
  base::TimePoint soon() { return real.loop.now() + 10s; }
};

TEST_F(SocketTest, echo_over_tcp_and_orderly_close) {
  Echo server;
  server.is_echoing = true;
  auto listener = Listener::open(real.loop, Endpoint::tcp("127.0.0.1", 0), {}, [&](Accepted accepted) {
    EXPECT_EQ(host_of(accepted.peer), "127.0.0.1");
    server.connection = std::make_unique<Connection>(real.loop, std::move(accepted.transport), server);
  });
  ASSERT_TRUE(listener.has_value());
  Echo client;
  const Pending pending = connect(real.loop, (*listener)->endpoint(), soon(), [&](auto transport) {
    ASSERT_TRUE(transport.has_value());
    client.connection = std::make_unique<Connection>(real.loop, std::move(*transport), client);
    client.connection->write(std::string(300000, 'z'));
    client.connection->shutdown_write();
  });

  ASSERT_TRUE(real.run_until("echo and end", [&] { return client.has_ended; }));
  EXPECT_EQ(client.data.size(), 300000U);
}

TEST_F(SocketTest, refused_names_the_address) {
  Endpoint closed;
  {
    auto listener = Listener::open(real.loop, Endpoint::tcp("127.0.0.1", 0), {}, [](Accepted) {});
    ASSERT_TRUE(listener.has_value());
    closed = (*listener)->endpoint();
  }
  std::optional<base::Error> error;
  const Pending pending = connect(real.loop, closed, soon(), [&](auto result) { error = result.error(); });
  EXPECT_FALSE(error.has_value());  // never inside the call
  ASSERT_TRUE(real.run_until("refusal", [&] { return error.has_value(); }));
  EXPECT_EQ(error->code, base::Code::refused);
  EXPECT_NE(error->detail.find(to_string(closed)), std::string::npos);
}

TEST_F(SocketTest, names_resolve_and_unknown_ones_are_not_found) {
  auto listener = Listener::open(real.loop, Endpoint::tcp("127.0.0.1", 0), {}, [](Accepted) {});
  ASSERT_TRUE(listener.has_value());
  bool connected = false;
  const Pending good = connect(real.loop, Endpoint::tcp("localhost", (*listener)->endpoint().port), soon(),
                               [&](auto result) { connected = result.has_value(); });
  ASSERT_TRUE(real.run_until("connection by name", [&] { return connected; }));

  std::optional<base::Error> error;
  const Pending bad = connect(real.loop, Endpoint::tcp("no-such-host.invalid", 1), soon(),
                              [&](auto result) { error = result.error(); });
  ASSERT_TRUE(real.run_until("resolution failure", [&] { return error.has_value(); }));
  EXPECT_EQ(error->code, base::Code::not_found);
}

TEST_F(SocketTest, addresses_of_a_name_are_tried_in_their_order) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  ASSERT_EQ(::getaddrinfo("localhost", nullptr, &hints, &found), 0);
  std::vector<std::string> hosts;
  for (const addrinfo* at = found; at != nullptr; at = at->ai_next) {
    char text[NI_MAXHOST];
    ASSERT_EQ(::getnameinfo(at->ai_addr, at->ai_addrlen, text, sizeof text, nullptr, 0, NI_NUMERICHOST), 0);
    hosts.emplace_back(text);
  }
  ::freeaddrinfo(found);
  if (hosts.size() < 2) GTEST_SKIP() << "localhost has the one address " << hosts.front();

  // Nobody listens at the ones before it.
  auto listener = Listener::open(real.loop, Endpoint::tcp(hosts.back(), 0), {}, [](Accepted) {});
  if (!listener) GTEST_SKIP() << "cannot listen at " << hosts.back() << ": " << listener.error().detail;
  std::optional<bool> is_connected;
  const Pending pending = connect(real.loop, Endpoint::tcp("localhost", (*listener)->endpoint().port), soon(),
                                  [&](auto result) { is_connected = result.has_value(); });
  ASSERT_TRUE(real.run_until("the outcome", [&] { return is_connected.has_value(); }));
  EXPECT_TRUE(*is_connected);
}

TEST_F(SocketTest, a_cancelled_connect_stays_silent) {
  auto listener = Listener::open(real.loop, Endpoint::tcp("127.0.0.1", 0), {}, [](Accepted) {});
  ASSERT_TRUE(listener.has_value());
  bool called = false;
  Pending pending = connect(real.loop, (*listener)->endpoint(), soon(), [&](auto) { called = true; });
  pending.cancel();
  for (int i = 0; i < 10; ++i) real.loop.run_turn(EventLoop::Wait::no);
  EXPECT_FALSE(called);
}

TEST_F(SocketTest, a_stale_unix_socket_is_replaced_a_live_one_is_refused) {
  const std::string folder = std::filesystem::temp_directory_path() / ("outrigger-net-" + std::to_string(getpid()));
  std::filesystem::create_directories(folder);
  const Endpoint at = Endpoint::unix_socket(folder + "/s.sock");
  {
    auto first = Listener::open(real.loop, at, {}, [](Accepted) {});
    ASSERT_TRUE(first.has_value());
    EXPECT_FALSE(Listener::open(real.loop, at, {}, [](Accepted) {}).has_value());
    std::filesystem::create_hard_link(at.unix_path, folder + "/kept");
  }
  std::filesystem::rename(folder + "/kept", at.unix_path);  // a file left behind by a process that died
  EXPECT_TRUE(Listener::open(real.loop, at, {}, [](Accepted) {}).has_value());
  std::filesystem::remove_all(folder);
}

TEST(Endpoint, parses_and_prints) {
  for (const char* text : {"127.0.0.1:8080", "[::1]:80", "unix:/run/x.sock", "valkey:6379"}) {
    const auto endpoint = parse_endpoint(text);
    ASSERT_TRUE(endpoint.has_value()) << text;
    EXPECT_EQ(to_string(*endpoint), text);
  }
  for (const char* text : {"", "8080", ":8080", "host:", "host:99999", "host:1x", "unix:"}) {
    EXPECT_FALSE(parse_endpoint(text).has_value()) << text;
  }
}

}  // namespace
}  // namespace outrigger::net
