// The probe on real sockets, but on a clock of the test: five seconds between two looks take none.
#include "sidecar/service_probe.h"

#include <unistd.h>

#include <filesystem>

#include "tests/support/fake_clock.h"
#include "tests/support/fake_service.h"

namespace outrigger::sidecar {
namespace {

using namespace std::chrono_literals;
using tests::FakeService;

class ServiceProbeTest : public ::testing::Test {
 protected:
  ServiceProbeTest() { std::filesystem::create_directories(folder_); }
  ~ServiceProbeTest() override { std::filesystem::remove_all(folder_); }

  // A service that has no document and answers /health while `answers_health_`.
  std::unique_ptr<FakeService> make_service() {
    const auto answer = [this](FakeService&, FakeService::Seen& seen) {
      if (seen.head.target != "/health") return FakeService::reply(seen, 404, "");
      ++health_questions_;
      if (answers_health_) return FakeService::reply(seen, 200, "");
    };
    return std::make_unique<FakeService>(fake_.loop, answer, http1::HttpServerOptions{}, at_);
  }
  std::unique_ptr<ServiceProbe> make_probe(std::string health_path) {
    return std::make_unique<ServiceProbe>(
        fake_.loop, ServiceProbe::Options{at_, "service.test", std::move(health_path), {}},
        [this](bool is_up) { events_.emplace_back(is_up ? "up" : "down"); },
        [this](ServiceProbe::Scraped) { events_.emplace_back("scraped"); });
  }
  // Turns while the clock stands still; the sockets are real, so it may take a moment.
  ::testing::AssertionResult run_until(const std::string& what, const std::function<bool()>& condition) {
    const base::TimePoint give_up = base::system_clock().monotonic() + 20s;
    while (!condition()) {
      if (base::system_clock().monotonic() > give_up) return ::testing::AssertionFailure() << "waited for " << what;
      fake_.settle();
    }
    return ::testing::AssertionSuccess();
  }

  using Events = std::vector<std::string>;
  tests::FakeLoop fake_;
  const std::string folder_ = std::filesystem::temp_directory_path() / ("outrigger-probe-" + std::to_string(getpid()));
  // Its name can be taken again by the service that comes back.
  const net::Endpoint at_ = net::Endpoint::unix_socket(folder_ + "/s.sock");
  bool answers_health_ = true;
  std::size_t health_questions_ = 0;
  Events events_;
};

TEST_F(ServiceProbeTest, service_that_comes_up_is_scraped_first) {
  const auto probe = make_probe({});
  probe->start();
  ASSERT_TRUE(run_until("the first look", [&] { return !events_.empty(); }));
  EXPECT_FALSE(probe->is_healthy());

  const auto service = make_service();
  fake_.advance(250ms);
  ASSERT_TRUE(run_until("the service to be up", [&] { return probe->is_healthy(); }));
  EXPECT_EQ(events_, (Events{"down", "scraped", "up"}));
}

TEST_F(ServiceProbeTest, refusal_while_a_probe_is_under_way_takes_the_service_down_until_the_next) {
  const auto service = make_service();
  const auto probe = make_probe("/health");
  probe->start();
  ASSERT_TRUE(run_until("the service to be up", [&] { return probe->is_healthy(); }));
  answers_health_ = false;
  fake_.advance(5s);
  ASSERT_TRUE(run_until("a probe under way", [&] { return health_questions_ == 2; }));

  probe->report_refused();
  EXPECT_EQ(events_, (Events{"scraped", "up", "down"}));

  answers_health_ = true;
  fake_.advance(250ms);
  ASSERT_TRUE(run_until("the service to be up again", [&] { return probe->is_healthy(); }));
  EXPECT_EQ(events_, (Events{"scraped", "up", "down", "scraped", "up"}));
}

TEST_F(ServiceProbeTest, scrape_that_is_refused_is_made_again_when_the_service_returns) {
  const auto probe = make_probe("/health");
  probe->start();
  ASSERT_TRUE(run_until("the first look", [&] { return !events_.empty(); }));
  // It says that it is healthy, and is gone.
  answers_health_ = false;
  auto service = make_service();
  fake_.advance(250ms);
  ASSERT_TRUE(run_until("a probe under way", [&] { return health_questions_ == 1; }));
  bool is_gone = false;
  service->server().begin_drain([&] { is_gone = true; });
  FakeService::reply(*service->seen()[0], 200, "");
  ASSERT_TRUE(run_until("the service to be gone", [&] { return is_gone; }));
  service.reset();
  fake_.settle(100);
  EXPECT_EQ(events_, (Events{"down"}));

  answers_health_ = true;
  service = make_service();
  fake_.advance(250ms);
  ASSERT_TRUE(run_until("the service to be up", [&] { return probe->is_healthy(); }));
  EXPECT_EQ(events_, (Events{"down", "scraped", "up"}));
}

TEST_F(ServiceProbeTest, refusals_of_a_service_that_is_down_say_nothing_new) {
  const auto probe = make_probe({});
  probe->start();
  ASSERT_TRUE(run_until("the first look", [&] { return !events_.empty(); }));
  probe->report_refused();
  probe->report_refused();
  fake_.advance(10s);
  EXPECT_EQ(events_, (Events{"down"}));
}

}  // namespace
}  // namespace outrigger::sidecar
