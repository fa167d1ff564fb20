#include "tests/support/raw_client.h"

#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <thread>

#include "bridge/base/check.h"
#include "tests/support/reserved_port.h"

namespace outrigger::tests {
namespace {

constexpr auto kShort = std::chrono::milliseconds(20);

// Accepts one client, sends `answer`, then closes, or waits for the client to do so.
class OneAnswer {
 public:
  explicit OneAnswer(std::string answer, bool closes = true)
      : listener_(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    CHECK(bind(listener_, reinterpret_cast<sockaddr*>(&address), size) == 0 && listen(listener_, 1) == 0);
    CHECK(getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size) == 0);
    port_ = ntohs(address.sin_port);
    thread_ = std::thread([this, answer = std::move(answer), closes] {
      const int peer = accept(listener_, nullptr, nullptr);
      (void)!write(peer, answer.data(), answer.size());
      if (closes) shutdown(peer, SHUT_WR);
      char bytes[1024];
      ssize_t count = 0;
      while ((count = read(peer, bytes, sizeof bytes)) > 0) {
        received_.append(bytes, static_cast<std::size_t>(count));
        reads_.emplace_back(bytes, static_cast<std::size_t>(count));
      }
      close(peer);
    });
  }
  ~OneAnswer() {
    if (thread_.joinable()) thread_.join();
    close(listener_);
  }
  std::uint16_t port() const { return port_; }
  // After the client has ended.
  const std::string& received() {
    thread_.join();
    return received_;
  }
  // The same as it was read. REQUIRES received().
  const std::vector<std::string>& reads() const { return reads_; }

 private:
  int listener_;
  std::uint16_t port_ = 0;
  std::string received_;
  std::vector<std::string> reads_;
  std::thread thread_;
};

RawResponse response_to(const std::string& answer, bool is_to_head = false) {
  OneAnswer server(answer);
  RawClient client(server.port());
  return client.read_response(is_to_head);
}

TEST(RawClient, pieces_arrive_as_they_are) {
  OneAnswer server("");
  {
    RawClient client(server.port());
    EXPECT_TRUE(client.send({"GET /", " HTTP/1.1\r\n", "\r\n"}));
    EXPECT_TRUE(client.send_in_pieces("abcdefg", 3));
  }
  EXPECT_EQ(server.received(), "GET / HTTP/1.1\r\n\r\nabcdefg");
}

TEST(RawClient, a_piece_waits_until_the_one_before_was_read) {
  OneAnswer server("");
  {
    RawClient client(server.port());
    EXPECT_TRUE(client.send({"a", "bc", "d", "efg"}));
  }
  EXPECT_EQ(server.received(), "abcdefg");
  EXPECT_THAT(server.reads(), testing::ElementsAre("a", "bc", "d", "efg"));
}

TEST(RawClient, reads_by_count_by_mark_and_to_the_end) {
  OneAnswer server("abcd--efgh");
  RawClient client(server.port());
  EXPECT_EQ(client.read(2), "ab");
  EXPECT_EQ(client.read_until("--"), "cd--");
  EXPECT_EQ(client.read_to_close(), "efgh");
  EXPECT_EQ(client.problem(), "");
  EXPECT_TRUE(client.is_closed_by_peer());
}

TEST(RawClient, silence_ends_with_the_deadline) {
  OneAnswer server("ab", false);
  RawClient client(server.port());
  EXPECT_EQ(client.read(1), "a");
  client.set_patience(kShort);
  EXPECT_EQ(client.read(2), "b");
  EXPECT_EQ(client.problem(), "deadline");
  EXPECT_FALSE(client.is_closed_by_peer());
}

TEST(RawClient, nobody_there_is_a_problem) {
  const ReservedPort port;
  RawClient client(port.port());
  EXPECT_NE(client.problem(), "");
}

TEST(RawClient, responses_of_every_framing_are_read) {
  const auto sized = response_to("HTTP/1.1 200 OK\r\nContent-Length: 3\r\nX-A: 1 \r\nx-a:2\r\n\r\nabcrest");
  EXPECT_EQ(sized.problem, "");
  EXPECT_EQ(sized.status, 200);
  EXPECT_EQ(sized.body, "abc");
  EXPECT_EQ(sized.header("X-a"), "1, 2");

  const auto chunked = response_to(
      "HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\nA\r\n0123456789\r\n0\r\nT: v\r\n\r\n");
  EXPECT_EQ(chunked.problem, "");
  EXPECT_EQ(chunked.body, "abc0123456789");
  EXPECT_EQ(chunked.trailers.size(), 1u);

  EXPECT_EQ(response_to("HTTP/1.0 200 OK\r\n\r\nto the end").body, "to the end");
  EXPECT_EQ(response_to("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n", true).problem, "");
  EXPECT_EQ(response_to("HTTP/1.1 304 Not Modified\r\nContent-Length: 3\r\n\r\n").problem, "");
  EXPECT_EQ(response_to("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\n").status, 100);
}

TEST(RawClient, broken_responses_have_a_problem) {
  for (const char* answer : {"", "HTTP/1.1 20", "HTTP/1.1 2000 OK\r\n\r\n", "HTTP/2 200\r\n\r\n",
                             "HTTP/1.1 200 OK\r\nno field\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nab",
                             "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\nabc",
                             "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabcd\r\n0\r\n\r\n",
                             "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
                             "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n0\r\n\r\n"}) {
    EXPECT_NE(response_to(answer).problem, "") << answer;
  }
}

}  // namespace
}  // namespace outrigger::tests
