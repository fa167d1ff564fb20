#include "bridge/app/health.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "tests/support/loop_client.h"
#include "tests/support/real_loop.h"

namespace outrigger::app {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;
using tests::LoopClient;

class Source final : public MetricsSource {
 public:
  void collect(base::UniqueFunction<void()> done) override {
    ++collections;
    pending = std::move(done);
  }
  void write(telemetry::MetricsWriter& out) const override {
    out.single(telemetry::MetricType::counter, "tests_total", "Tests.", std::uint64_t{7});
  }
  base::UniqueFunction<void()> pending;
  int collections = 0;
};

class HealthTest : public ::testing::Test {
 protected:
  void SetUp() override {
    health_.add_check("bus", [this] { return is_bus_up_ ? "" : "not connected"; });
    health_.add_check("service", [this] { return is_service_up_ ? "" : "not reachable"; });
    health_.set_metrics(source_);
    const auto at = health_.listen(real_.loop, {"127.0.0.1", 0, {}});
    ASSERT_TRUE(at.has_value());
    endpoint_ = *at;
  }

  std::unique_ptr<LoopClient> send(std::string_view method, std::string_view target, std::string_view fields = "") {
    auto client = std::make_unique<LoopClient>(real_.loop, endpoint_);
    client->send(std::string(method) + " " + std::string(target) + " HTTP/1.1\r\nHost: a\r\nConnection: close\r\n" +
                 std::string(fields) + "\r\n");
    return client;
  }
  std::string wait_for(LoopClient& client) {
    EXPECT_TRUE(real_.run_until("the answer", [&] { return client.has_ended; }));
    return client.take_received();
  }
  std::string ask(std::string_view method, std::string_view target) { return wait_for(*send(method, target)); }
  int status_of(std::string_view target) { return std::stoi(ask("GET", target).substr(9, 3)); }
  std::string body_of(std::string_view target) {
    const std::string answer = ask("GET", target);
    return answer.substr(answer.find("\r\n\r\n") + 4);
  }

  tests::RealLoop real_;
  Source source_;
  bool is_bus_up_ = true;
  bool is_service_up_ = true;
  net::Endpoint endpoint_;
  Health health_;
};

TEST_F(HealthTest, live_is_the_loop_alone) {
  is_bus_up_ = false;
  health_.begin_drain();

  for (const char* path : {"/livez", "/health/live", "/healthz"}) {
    EXPECT_EQ(status_of(path), 200) << path;
    EXPECT_EQ(body_of(path), "ok\n") << path;
  }
}

TEST_F(HealthTest, started_once_the_listeners_are_open) {
  EXPECT_EQ(status_of("/health/startup"), 503);
  EXPECT_EQ(status_of("/readyz"), 503);

  health_.mark_started();

  EXPECT_EQ(status_of("/health/startup"), 200);
  EXPECT_EQ(status_of("/readyz"), 200);
}

TEST_F(HealthTest, ready_is_what_the_checks_say_and_unready_first_when_draining) {
  health_.mark_started();
  for (const char* path : {"/readyz", "/health", "/health/ready"}) {
    is_bus_up_ = true;
    EXPECT_EQ(status_of(path), 200) << path;
    is_bus_up_ = false;
    EXPECT_EQ(status_of(path), 503) << path;
    EXPECT_EQ(body_of(path), "not ready\n") << path;
  }
  is_bus_up_ = true;

  health_.begin_drain();

  EXPECT_EQ(status_of("/readyz"), 503);
  EXPECT_EQ(status_of("/health/startup"), 200);
}

TEST_F(HealthTest, verbose_lists_the_checks) {
  health_.mark_started();
  is_service_up_ = false;

  const std::string expected =
      "[+]serving ok\n[+]bus ok\n[-]service failed: not reachable\nready check failed\n";
  EXPECT_EQ(body_of("/readyz?verbose"), expected);
  EXPECT_EQ(body_of("/readyz?a=b&verbose=1"), expected);
  EXPECT_EQ(body_of("/livez?verbose"), "[+]loop ok\nlive check passed\n");
  // A name that only contains the word is not the parameter.
  EXPECT_EQ(body_of("/readyz?not-verbose"), "not ready\n");
  EXPECT_EQ(body_of("/readyz?exclude=verbose"), "not ready\n");
}

TEST_F(HealthTest, excluded_checks_do_not_count) {
  health_.mark_started();
  is_service_up_ = false;

  EXPECT_EQ(status_of("/readyz?exclude=service"), 200);
  EXPECT_EQ(body_of("/readyz?verbose&exclude=service"),
            "[+]serving ok\n[+]bus ok\n[+]service excluded: ok\nready check passed\n");
  is_bus_up_ = false;
  EXPECT_EQ(status_of("/readyz?exclude=service"), 503);
  EXPECT_EQ(status_of("/readyz?exclude=service&exclude=bus"), 200);
  EXPECT_THAT(body_of("/readyz?verbose&exclude=disk"), HasSubstr("warn: some checks cannot be excluded: no such name\n"));
}

TEST_F(HealthTest, other_methods_and_paths_are_refused) {
  EXPECT_THAT(ask("POST", "/livez"), AllOf(StartsWith("HTTP/1.1 405"), HasSubstr("Allow: GET, HEAD\r\n")));
  EXPECT_THAT(ask("GET", "/"), StartsWith("HTTP/1.1 404"));
  const std::string head = ask("HEAD", "/livez");
  EXPECT_THAT(head, AllOf(StartsWith("HTTP/1.1 200"), HasSubstr("Content-Length: 3\r\n"), testing::EndsWith("\r\n\r\n")));
}

TEST_F(HealthTest, scrapes_that_come_together_share_one_collection_and_have_their_own_form) {
  const auto text = send("GET", "/metrics");
  const auto open = send("GET", "/metrics?x=1", "Accept: application/openmetrics-text;version=1.0.0\r\n");
  const auto head = send("HEAD", "/metrics");
  const auto gone = send("GET", "/metrics");
  ASSERT_TRUE(real_.run_until("the scrape", [&] { return source_.collections == 1; }));
  gone->close();
  EXPECT_EQ(body_of("/livez"), "ok\n");  // not behind the collection; by now the others have arrived, too

  source_.pending();

  EXPECT_THAT(wait_for(*text), AllOf(HasSubstr("Content-Type: text/plain; version=0.0.4; charset=utf-8\r\n"),
                                     HasSubstr("# TYPE tests_total counter\n"), testing::EndsWith("tests_total 7\n")));
  EXPECT_THAT(wait_for(*open),
              AllOf(HasSubstr("Content-Type: application/openmetrics-text; version=1.0.0; charset=utf-8\r\n"),
                    HasSubstr("# TYPE tests counter\n"), testing::EndsWith("tests_total 7\n# EOF\n")));
  EXPECT_THAT(wait_for(*head), testing::EndsWith("\r\n\r\n"));
  EXPECT_EQ(source_.collections, 1);
  const auto next = send("GET", "/metrics");
  ASSERT_TRUE(real_.run_until("the next scrape", [&] { return source_.collections == 2; }));
}

TEST(Health, without_a_source_there_are_no_metrics) {
  tests::RealLoop real;
  Health health;
  const auto at = health.listen(real.loop, {"127.0.0.1", 0, {}});
  ASSERT_TRUE(at.has_value());
  LoopClient client(real.loop, *at);
  client.send("GET /metrics HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");

  ASSERT_TRUE(real.run_until("the answer", [&] { return client.has_ended; }));

  EXPECT_THAT(client.received, StartsWith("HTTP/1.1 404"));
}

}  // namespace
}  // namespace outrigger::app
