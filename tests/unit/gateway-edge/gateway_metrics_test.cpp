// What the page of the gateway says when threads and the bus are slow, on the bus in memory.
#include "gateway-edge/gateway_metrics.h"

#include "tests/support/memory_bus.h"
#include "tests/support/stream_frames.h"

namespace outrigger::gateway {
namespace {

using namespace std::chrono_literals;
using ::testing::HasSubstr;
using ::testing::Not;
using tests::MemoryBus;
using tests::Op;

class GatewayMetricsTest : public ::testing::Test {
 protected:
  GatewayMetricsTest() {
    fake_.advance(3s);
    metrics_ = std::make_unique<GatewayMetrics>(fake_.loop, bus_, round_trips_, control_, names_, GatewayMetrics::Shares{connections_, buffered_}, 2, [this](std::uint64_t scrape) {
      for (std::size_t worker = 0; worker < 2; ++worker) {
        if (!is_silent_[worker]) metrics_->on_report(worker, scrape, report_of(worker));
      }
    });
  }

  static WorkerReport report_of(std::size_t worker, std::uint64_t requests = 1) {
    WorkerReport report;
    report.bus.is_connected = true;
    for (std::uint64_t i = 0; i < requests; ++i) {
      report.requests.count({.service = "billing", .route = "/billing/" + std::to_string(worker), .method = "GET", .status = 200});
    }
    return report;
  }
  // A sidecar: its HELLO, and its connection.
  void join(const std::string& service, unsigned number, frames::InstanceState state = frames::InstanceState::healthy) {
    char id[21];
    std::snprintf(id, sizeof id, "%020x", number);
    frames::InstanceFrame frame;
    frame.instance = id;
    frame.seq = ++seq_;
    frame.service = service;
    frame.queues = {names_.request_queue(service)};
    frame.group = names_.consumer_group();
    frame.inbox = names_.inbox(service, id);
    frame.state = state;
    frame.interval_ms = 60'000;
    server_.add(names_.control(), tests::fields_of(frame));
  }
  void publish(const std::string& service) {
    fleet_.ensure_group(names_.request_queue(service), {});
    fake_.settle();
    server_.add(names_.request_queue(service), {{"v", "1"}});
    fake_.settle();
  }
  // The page, if it came within `time`.
  std::string scrape(base::Duration time = 0s) {
    bool is_done = false;
    metrics_->collect([&is_done] { is_done = true; });
    fake_.settle();
    if (time > 0s) fake_.advance(time);
    EXPECT_TRUE(is_done);
    telemetry::MetricsWriter writer(telemetry::MetricsFormat::text);
    metrics_->write(writer);
    return std::move(writer).finish();
  }

  tests::FakeLoop fake_;
  const frames::QueueNames names_ = *frames::QueueNames::make({});
  tests::MemoryServer server_{fake_};
  MemoryBus fleet_{server_};
  MemoryBus bus_{server_};
  Control control_{fake_.loop, bus_, names_, {"000000000000000000aa", {}}, [](auto) {}};
  telemetry::DurationHistogram round_trips_{telemetry::Buckets::round_trips};
  base::Budget connections_{100};
  base::Budget buffered_{1000};
  bool is_silent_[2] = {false, false};
  std::unique_ptr<GatewayMetrics> metrics_;
  std::uint64_t seq_ = 0;
};

TEST_F(GatewayMetricsTest, silent_thread_keeps_its_counts_and_is_told_of) {
  EXPECT_THAT(scrape(), HasSubstr("outrigger_scrape_workers_missing 0\n"));
  is_silent_[1] = true;

  const std::string page = scrape(kCollectTime);

  EXPECT_THAT(page, HasSubstr("route=\"/billing/1\",method=\"GET\",code=\"200\"} 1\n"));
  EXPECT_THAT(page, HasSubstr("outrigger_scrape_workers_missing 1\n"));
  EXPECT_THAT(page, HasSubstr("outrigger_scrapes_incomplete_total 1\n"));
  metrics_->on_report(1, 2, report_of(1, 5));  // too late for that one, but newer
  EXPECT_THAT(scrape(kCollectTime), HasSubstr("route=\"/billing/1\",method=\"GET\",code=\"200\"} 5\n"));
}

TEST_F(GatewayMetricsTest, rate_limits_of_all_threads_are_added_up_and_stand_at_0_from_the_start) {
  EXPECT_THAT(scrape(), Not(HasSubstr("rate_limit")));
  const RateLimits limits({{.name = "per-tenant", .limit = 5, .window = 1s},
                           {.name = "all", .scope = RateLimitScope::environment, .limit = 5, .window = 1s}});
  metrics_->set_rate_limits(limits);

  const std::string page = scrape();
  EXPECT_THAT(page, HasSubstr("outrigger_rate_limited_total{rule=\"per-tenant\",scope=\"instance\"} 0\n"));
  EXPECT_THAT(page, HasSubstr("outrigger_rate_limited_total{rule=\"all\",scope=\"environment\"} 0\n"));
  for (const std::string reason : {"disconnected", "timeout", "refused", "circuit_open"}) {
    EXPECT_THAT(page, HasSubstr("outrigger_rate_limit_fail_open_total{reason=\"" + reason + "\"} 0\n"));
  }
  EXPECT_THAT(page, HasSubstr("outrigger_rate_limit_evictions_total 0\n"));

  is_silent_[0] = is_silent_[1] = true;
  for (std::size_t worker = 0; worker < 2; ++worker) {
    WorkerReport report = report_of(worker);
    report.rate_limits.limited = {1, worker};
    report.rate_limits.failed_open[1] = 3;
    metrics_->on_report(worker, 2, std::move(report));
  }

  const std::string later = scrape(kCollectTime);
  EXPECT_THAT(later, HasSubstr("outrigger_rate_limited_total{rule=\"per-tenant\",scope=\"instance\"} 2\n"));
  EXPECT_THAT(later, HasSubstr("outrigger_rate_limited_total{rule=\"all\",scope=\"environment\"} 1\n"));
  EXPECT_THAT(later, HasSubstr("outrigger_rate_limit_fail_open_total{reason=\"timeout\"} 6\n"));
}

TEST_F(GatewayMetricsTest, thread_that_has_drained_is_not_waited_for) {
  WorkerReport last = report_of(1, 7);
  last.is_final = true;
  last.bus.is_connected = false;
  metrics_->on_report(1, 0, std::move(last));
  is_silent_[1] = true;

  const std::string page = scrape();

  EXPECT_THAT(page, HasSubstr("route=\"/billing/1\",method=\"GET\",code=\"200\"} 7\n"));
  EXPECT_THAT(page, HasSubstr("outrigger_scrape_workers_missing 0\n"));
  EXPECT_THAT(page, HasSubstr("outrigger_valkey_connected 1\n"));
}

TEST_F(GatewayMetricsTest, thread_that_drains_during_a_scrape_ends_its_wait) {
  is_silent_[1] = true;
  bool is_done = false;
  metrics_->collect([&] { is_done = true; });
  fake_.settle();
  EXPECT_FALSE(is_done);
  WorkerReport last = report_of(1);
  last.is_final = true;

  metrics_->on_report(1, 0, std::move(last));

  EXPECT_TRUE(is_done);
}

TEST_F(GatewayMetricsTest, queue_that_was_not_told_of_is_not_shown_and_late_numbers_are_not_used) {
  join("billing", 1);
  publish("billing");
  fake_.advance(2s);
  EXPECT_THAT(scrape(), HasSubstr("outrigger_queue_lag{service=\"billing\"} 1\n"));

  bus_.hold(Op::queue_statistics, MemoryBus::Hold::reply);
  const std::string without = scrape(kCollectTime);
  EXPECT_THAT(without, HasSubstr("outrigger_queue_lag_known{service=\"billing\"} 0\n"));
  EXPECT_THAT(without, Not(HasSubstr("outrigger_queue_lag{")));
  EXPECT_THAT(without, Not(HasSubstr("outrigger_queue_length{")));
  EXPECT_THAT(without, HasSubstr("outrigger_scrapes_incomplete_total 1\n"));

  bus_.release(Op::queue_statistics);
  fake_.settle();
  publish("billing");
  EXPECT_THAT(scrape(), HasSubstr("outrigger_queue_lag{service=\"billing\"} 2\n"));
  bus_.fail_next(Op::queue_statistics, {base::Code::refused, "NOPERM"});
  EXPECT_THAT(scrape(), HasSubstr("outrigger_queue_lag_known{service=\"billing\"} 0\n"));
  bus_.cut();
  const std::string away = scrape();
  EXPECT_THAT(away, HasSubstr("outrigger_valkey_connected 0\n"));
  EXPECT_THAT(away, Not(HasSubstr("outrigger_queue_consumers{")));
}

TEST_F(GatewayMetricsTest, consumers_are_announced_as_serving_and_connected) {
  join("billing", 1);
  join("billing", 2);
  join("billing", 3, frames::InstanceState::draining);
  fake_.advance(2s);
  EXPECT_THAT(scrape(), HasSubstr("outrigger_queue_consumers{service=\"billing\"} 0\n"));

  const auto first = fleet_.make_subscription({names_.alive_channel("billing", "00000000000000000001")}, [](bool) {}, {});
  const auto third = fleet_.make_subscription({names_.alive_channel("billing", "00000000000000000003")}, [](bool) {}, {});
  fake_.advance(1s);

  const std::string page = scrape();
  EXPECT_THAT(page, HasSubstr("outrigger_queue_consumers{service=\"billing\"} 1\n"));
  EXPECT_THAT(page, HasSubstr("outrigger_instances{service=\"billing\",state=\"healthy\"} 2\n"));
  EXPECT_THAT(page, HasSubstr("outrigger_instances{service=\"billing\",state=\"draining\"} 1\n"));
  EXPECT_THAT(page, HasSubstr("outrigger_instances{service=\"billing\",state=\"starting\"} 0\n"));
}

TEST_F(GatewayMetricsTest, service_that_was_there_keeps_its_place) {
  join("zebra", 1);
  fake_.advance(2s);
  scrape();
  for (unsigned i = 0; i < telemetry::kMetricServices + 50; ++i) join("a" + std::to_string(i), 100 + i);
  fake_.advance(2s);

  const std::string page = scrape();

  EXPECT_THAT(page, HasSubstr("outrigger_queue_length{service=\"zebra\"} 0\n"));
  EXPECT_THAT(page, HasSubstr("outrigger_services_not_shown 51\n"));
  EXPECT_THAT(page, HasSubstr("outrigger_instances{service=\"other\",state=\"healthy\"} 51\n"));
}

}  // namespace
}  // namespace outrigger::gateway
