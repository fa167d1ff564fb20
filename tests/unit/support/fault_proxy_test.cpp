#include "tests/support/fault_proxy.h"

#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>

#include "tests/support/eventually.h"
#include "tests/support/raw_client.h"
#include "tests/support/scripted_service.h"

namespace outrigger::tests {
namespace {

using namespace std::chrono_literals;
using Way = FaultProxy::Way;

constexpr auto kShort = 50ms;
constexpr char kRequest[] = "GET /x HTTP/1.1\r\nHost: a\r\n\r\n";
constexpr char kAnswer[] = "GET /x ";

class FaultProxyTest : public ::testing::Test {
 protected:
  RawClient client() { return RawClient(proxy_.endpoint()); }
  static std::string ask(RawClient& client) {
    client.send(kRequest);
    const RawResponse response = client.read_response();
    return response.problem.empty() ? response.body : client.problem();
  }
  ::testing::AssertionResult arrives(std::size_t count) {
    return eventually("the service to see it", [&] { return service_.request_count() == count; });
  }

  // As a child is between its fork and its exec: with a copy of every socket there is.
  class Fork {
   public:
    Fork() : pid_(fork()) {
      if (pid_ != 0) return;
      prctl(PR_SET_PDEATHSIG, SIGKILL);
      for (;;) pause();
    }
    ~Fork() {
      kill(pid_, SIGKILL);
      waitpid(pid_, nullptr, 0);
    }
    Fork(const Fork&) = delete;
    Fork& operator=(const Fork&) = delete;

   private:
    const pid_t pid_;
  };

  ScriptedService service_;
  FaultProxy proxy_{net::Endpoint::tcp("127.0.0.1", service_.port())};
};

TEST_F(FaultProxyTest, bytes_and_ends_pass_both_ways) {
  RawClient first = client();
  RawClient second = client();
  EXPECT_EQ(ask(first), kAnswer);
  EXPECT_EQ(ask(second), kAnswer);
  const std::string body(3'000'000, 'b');
  first.send("PUT /x HTTP/1.1\r\nContent-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body);
  EXPECT_EQ(first.read_response().body, "PUT /x " + body);
  EXPECT_EQ(proxy_.accepted(), 2u);
  EXPECT_GT(proxy_.passed(Way::to_server), 3'000'000u);
  EXPECT_GT(proxy_.passed(Way::to_client), 3'000'000u);

  first.close();
  EXPECT_TRUE(eventually("one to be gone", [&] { return proxy_.connections() == 1; }));
  service_.refuse();
  EXPECT_TRUE(second.is_closed_by_peer());
  RawClient third = client();
  EXPECT_TRUE(third.is_closed_by_peer()) << "nobody is there to forward to";
}

TEST_F(FaultProxyTest, unix_sockets_are_forwarded_too) {
  const std::string path = "/tmp/outrigger-proxy-" + std::to_string(getpid()) + ".sock";
  FaultProxy outer(proxy_.endpoint(), path);
  RawClient through(outer.endpoint());
  EXPECT_EQ(ask(through), kAnswer);
  EXPECT_EQ(outer.valkey_url(), "unix://" + path);
}

TEST_F(FaultProxyTest, refusing_concerns_new_connections_and_ends) {
  RawClient present = client();
  ASSERT_EQ(ask(present), kAnswer);
  proxy_.set_refusing(true);
  EXPECT_NE(client().problem(), "");
  EXPECT_EQ(ask(present), kAnswer);
  proxy_.set_refusing(false);
  RawClient later = client();
  EXPECT_EQ(ask(later), kAnswer);
}

TEST_F(FaultProxyTest, refusing_and_resets_are_done_when_the_call_returns_whoever_has_the_socket_too) {
  const std::string path = "/tmp/outrigger-proxy-" + std::to_string(getpid()) + ".sock";
  FaultProxy outer(proxy_.endpoint(), path);
  RawClient present = client();
  RawClient through(outer.endpoint());
  ASSERT_EQ(ask(present), kAnswer);
  ASSERT_EQ(ask(through), kAnswer);
  const Fork fork;

  outer.set_refusing(true);
  EXPECT_NE(RawClient(outer.endpoint()).problem(), "");
  outer.reset_all();
  EXPECT_TRUE(through.is_closed_by_peer());
  proxy_.set_refusing(true);
  EXPECT_NE(client().problem(), "");
  proxy_.reset_all();
  EXPECT_TRUE(present.is_closed_by_peer());
  EXPECT_NE(present.problem(), "closed") << "an orderly end";
  proxy_.set_refusing(false);
  EXPECT_EQ(RawClient(proxy_.endpoint()).problem(), "");
}

TEST_F(FaultProxyTest, hanging_connections_lead_nowhere) {
  RawClient present = client();
  ASSERT_EQ(ask(present), kAnswer);
  proxy_.set_hanging(true);
  RawClient hung = client();
  EXPECT_EQ(hung.problem(), "");
  hung.set_patience(kShort);
  EXPECT_EQ(ask(hung), "deadline");
  EXPECT_EQ(ask(present), kAnswer);
  proxy_.set_hanging(false);
  EXPECT_EQ(ask(hung), "deadline");
  RawClient later = client();
  EXPECT_EQ(ask(later), kAnswer);
}

TEST_F(FaultProxyTest, delay_is_added_each_way) {
  RawClient slow = client();
  ASSERT_EQ(ask(slow), kAnswer);
  proxy_.set_delay(kShort);
  const base::TimePoint before = base::system_clock().monotonic();
  EXPECT_EQ(ask(slow), kAnswer);
  EXPECT_GE(base::system_clock().monotonic() - before, 2 * kShort);
}

TEST_F(FaultProxyTest, stalled_way_goes_on_where_it_stopped) {
  RawClient present = client();
  ASSERT_EQ(ask(present), kAnswer);
  proxy_.set_stalled(Way::to_client, true);
  RawClient later = client();
  present.set_patience(kShort);
  later.set_patience(kShort);
  EXPECT_EQ(ask(present), "deadline");
  EXPECT_EQ(ask(later), "deadline");
  EXPECT_TRUE(arrives(3)) << "the other way is open";

  RawClient patient = client();
  proxy_.set_stalled(Way::to_server, true);
  patient.send(kRequest);
  ASSERT_TRUE(eventually("the proxy to have it", [&] { return proxy_.connections() == 3; }));
  proxy_.set_stalled(Way::to_client, false);
  EXPECT_EQ(service_.request_count(), 3u);
  proxy_.set_stalled(Way::to_server, false);
  EXPECT_EQ(patient.read_response().body, kAnswer);
}

TEST_F(FaultProxyTest, swallowed_way_is_lost_for_good_and_nobody_is_told) {
  RawClient half_open = client();
  ASSERT_EQ(ask(half_open), kAnswer);
  half_open.set_patience(kShort);
  proxy_.swallow(Way::to_client);
  EXPECT_EQ(ask(half_open), "deadline");
  EXPECT_TRUE(arrives(2));
  service_.refuse();  // closes its end
  EXPECT_FALSE(half_open.is_closed_by_peer());
  service_.listen();
  RawClient later = client();
  EXPECT_EQ(ask(later), kAnswer);

  proxy_.swallow(Way::to_server);
  later.send(kRequest);
  later.close();
  RawClient last = client();
  EXPECT_EQ(ask(last), kAnswer);
  EXPECT_EQ(service_.request_count(), 4u) << "what was swallowed arrived";
}

TEST_F(FaultProxyTest, connection_is_reset_after_so_many_bytes) {
  RawClient cut = client();
  ASSERT_EQ(ask(cut), kAnswer);
  proxy_.cut_after(Way::to_client, 12);
  cut.send(kRequest);
  EXPECT_EQ(cut.read(13), "HTTP/1.1 200");
  EXPECT_NE(cut.problem(), "deadline");
  RawClient later = client();
  EXPECT_EQ(ask(later), kAnswer);
}

TEST_F(FaultProxyTest, connection_stalls_before_a_text_and_the_others_do_not) {
  RawClient caught = client();
  RawClient other = client();
  ASSERT_EQ(ask(caught), kAnswer);
  proxy_.stall_at(Way::to_server, "PUT ");
  EXPECT_EQ(ask(other), kAnswer);
  EXPECT_FALSE(proxy_.is_caught());
  caught.send("GET /x HTTP/1.1\r\n\r\nPUT /y HTTP/1.1\r\n\r\n");
  EXPECT_EQ(caught.read_response().body, kAnswer) << "what came before it passes";
  EXPECT_TRUE(proxy_.is_caught());
  EXPECT_EQ(ask(other), kAnswer);
  EXPECT_EQ(service_.last_request().method, "GET");
  proxy_.release();
  EXPECT_EQ(caught.read_response().body, "PUT /y ");
}

TEST_F(FaultProxyTest, every_connection_is_reset) {
  RawClient first = client();
  RawClient second = client();
  ASSERT_EQ(ask(first), kAnswer);
  ASSERT_EQ(ask(second), kAnswer);
  proxy_.reset_all();
  EXPECT_TRUE(first.is_closed_by_peer());
  EXPECT_TRUE(second.is_closed_by_peer());
  EXPECT_EQ(proxy_.connections(), 0u);
}

}  // namespace
}  // namespace outrigger::tests
