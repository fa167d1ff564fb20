#include "bridge/telemetry/metrics.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <string>

#include "bridge/telemetry/request_metrics.h"

namespace outrigger::telemetry {
namespace {

using namespace std::chrono_literals;
using ::testing::HasSubstr;
using ::testing::Not;

std::string page(const RequestMetrics& metrics) {
  MetricsWriter writer(MetricsFormat::text);
  metrics.write(writer);
  return std::move(writer).finish();
}

// Samples of requests_total on a page.
std::size_t series_of(const std::string& text) {
  std::size_t found = 0;
  for (std::size_t at = text.find("\noutrigger_requests_total{"); at != std::string::npos;
       at = text.find("\noutrigger_requests_total{", at + 1)) {
    ++found;
  }
  return found;
}

TEST(MetricsWriter, text_form_is_as_prometheus_documents_it) {
  MetricsWriter writer(MetricsFormat::text);
  writer.family(MetricType::counter, "a_total", "Things.");
  writer.sample({{"kind", "x\"\\\n"}, {"of", "\xC3\xA9"}}, std::uint64_t{18446744073709551615U});
  writer.sample({{"kind", "\xFF\xC0\xAF\xED\xA0\x80"}}, std::uint64_t{0});
  writer.single(MetricType::gauge, "b", "One.", 0.1);

  EXPECT_EQ(std::move(writer).finish(),
            "# HELP a_total Things.\n"
            "# TYPE a_total counter\n"
            "a_total{kind=\"x\\\"\\\\\\n\",of=\"\xC3\xA9\"} 18446744073709551615\n"
            "a_total{kind=\"\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD\"} 0\n"
            "# HELP b One.\n"
            "# TYPE b gauge\n"
            "b 0.1\n");
}

TEST(MetricsWriter, openmetrics_names_counters_without_total_and_ends_with_eof) {
  MetricsWriter writer(MetricsFormat::openmetrics);
  writer.single(MetricType::counter, "a_total", "Things.", std::uint64_t{2});

  EXPECT_EQ(std::move(writer).finish(), "# HELP a Things.\n# TYPE a counter\na_total 2\n# EOF\n");
}

TEST(MetricsWriter, histogram_is_cumulative_and_a_bound_includes_its_value) {
  DurationHistogram histogram;
  for (const base::Duration value : {base::Duration(5ms), base::Duration(5ms + 1ns), base::Duration(-1s),
                                     base::Duration(1s), base::Duration(11s)}) {
    histogram.observe(value);
  }
  MetricsWriter writer(MetricsFormat::text);
  writer.family(MetricType::histogram, "h_seconds", "Time.");
  writer.sample({{"service", "a"}}, histogram);
  const std::string text = std::move(writer).finish();

  EXPECT_THAT(text, HasSubstr("h_seconds_bucket{service=\"a\",le=\"0.005\"} 2\n"));
  EXPECT_THAT(text, HasSubstr("h_seconds_bucket{service=\"a\",le=\"0.01\"} 3\n"));
  EXPECT_THAT(text, HasSubstr("h_seconds_bucket{service=\"a\",le=\"1.0\"} 4\n"));
  EXPECT_THAT(text, HasSubstr("h_seconds_bucket{service=\"a\",le=\"10.0\"} 4\n"));
  EXPECT_THAT(text, HasSubstr("h_seconds_bucket{service=\"a\",le=\"+Inf\"} 5\n"));
  EXPECT_THAT(text, HasSubstr("h_seconds_sum{service=\"a\"} 12.010000001\n"));
  EXPECT_THAT(text, HasSubstr("h_seconds_count{service=\"a\"} 5\n"));
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 2 + 15 + 2);
}

TEST(MetricsFormat, accept_decides) {
  const auto is_openmetrics = [](std::string_view accept) { return choose_format(accept) == MetricsFormat::openmetrics; };

  // What Prometheus 2.42 sends.
  EXPECT_TRUE(is_openmetrics("application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
                             "text/plain;version=0.0.4;q=0.5,*/*;q=0.1"));
  EXPECT_TRUE(is_openmetrics("Application/OpenMetrics-Text ; q=0.5"));
  EXPECT_FALSE(is_openmetrics(""));
  EXPECT_FALSE(is_openmetrics("*/*"));
  EXPECT_FALSE(is_openmetrics("text/plain, application/openmetrics-text;q=0.5"));
  EXPECT_FALSE(is_openmetrics("application/openmetrics-text;q=0"));
  EXPECT_FALSE(is_openmetrics("application/openmetrics-text;q=x"));
}

TEST(RequestMetrics, request_is_counted_by_what_it_was) {
  RequestMetrics metrics(RequestMetrics::Side::caller, "inbound");
  metrics.begin();
  metrics.begin();
  metrics.end({.service = "billing", .route = "/billing/{id}", .method = "GET", .status = 200, .duration = 1ms});

  const std::string text = page(metrics);
  EXPECT_THAT(text, HasSubstr("outrigger_requests_total{direction=\"inbound\",service=\"billing\",route=\"/billing/{id}\","
                              "method=\"GET\",code=\"200\"} 1\n"));
  EXPECT_THAT(text, HasSubstr("outrigger_requests_in_flight{direction=\"inbound\"} 1\n"));
  EXPECT_THAT(text, HasSubstr("outrigger_request_duration_seconds_count{direction=\"inbound\",service=\"billing\"} 1\n"));
}

TEST(RequestMetrics, what_is_not_routed_has_labels_of_its_own) {
  RequestMetrics metrics(RequestMetrics::Side::caller, "inbound");
  metrics.count({.method = "BREW", .status = 404, .problem = "no-route"});

  const std::string text = page(metrics);
  EXPECT_THAT(text, HasSubstr("{direction=\"inbound\",service=\"none\",route=\"unmatched\",method=\"_OTHER\",code=\"404\"} 1\n"));
  EXPECT_THAT(text, HasSubstr("outrigger_problems_total{problem=\"no-route\"} 1\n"));
  EXPECT_THAT(text, HasSubstr("outrigger_request_duration_seconds_count{direction=\"inbound\",service=\"none\"} 0\n"));
}

TEST(RequestMetrics, ends_are_counted_by_their_kind) {
  RequestMetrics metrics(RequestMetrics::Side::caller, "inbound");
  metrics.add_service("billing");
  EXPECT_THAT(page(metrics), HasSubstr("outrigger_expired_total{service=\"billing\"} 0\n"));

  for (const RequestEnd end : {RequestEnd::answered, RequestEnd::expired, RequestEnd::expired, RequestEnd::cancelled}) {
    metrics.count({.service = "billing", .route = "/", .method = "GET", .status = 200, .end = end});
  }

  const std::string text = page(metrics);
  EXPECT_THAT(text, HasSubstr("outrigger_expired_total{service=\"billing\"} 2\n"));
  EXPECT_THAT(text, HasSubstr("outrigger_cancelled_total{service=\"billing\"} 1\n"));
  EXPECT_THAT(text, HasSubstr("outrigger_outcome_unknown_total{service=\"billing\"} 0\n"));
}

TEST(RequestMetrics, one_service_cannot_take_more_than_its_share) {
  RequestMetrics metrics(RequestMetrics::Side::caller, "inbound");
  for (std::size_t i = 0; i < 2 * kMetricSeriesPerService; ++i) {
    metrics.count({.service = "huge", .route = "/" + std::to_string(i), .method = "GET", .status = 200});
  }
  metrics.count({.service = "small", .route = "/x", .method = "GET", .status = 200});

  const std::string text = page(metrics);
  EXPECT_EQ(series_of(text), kMetricSeriesPerService + 2);
  EXPECT_THAT(text, HasSubstr("{direction=\"inbound\",service=\"huge\",route=\"other\",method=\"GET\",code=\"2xx\"} " +
                              std::to_string(kMetricSeriesPerService) + "\n"));
  EXPECT_THAT(text, HasSubstr("service=\"small\",route=\"/x\",method=\"GET\",code=\"200\"} 1\n"));
}

TEST(RequestMetrics, series_stay_below_the_limit_and_every_request_is_in_one) {
  RequestMetrics metrics(RequestMetrics::Side::caller, "inbound");
  std::uint64_t counted = 0;
  for (int service = 0; service < 400; ++service) {
    for (int route = 0; route < 100; ++route) {
      metrics.count({.service = "s" + std::to_string(service),
                     .route = "/" + std::to_string(route),
                     .method = route % 2 == 0 ? "GET" : "M" + std::to_string(route),
                     .status = 100 + route * 9});
      ++counted;
    }
  }

  const std::string text = page(metrics);
  EXPECT_LE(series_of(text), kMetricSeries + 100);
  EXPECT_THAT(text, HasSubstr("service=\"other\",route=\"other\""));
  std::uint64_t shown = 0;
  for (std::size_t at = text.find("\noutrigger_requests_total{"); at != std::string::npos;
       at = text.find("\noutrigger_requests_total{", at + 1)) {
    shown += std::stoull(text.substr(text.find("} ", at) + 2));
  }
  EXPECT_EQ(shown, counted);
}

TEST(RequestMetrics, announced_services_leave_places_for_those_with_requests) {
  RequestMetrics metrics(RequestMetrics::Side::caller, "inbound");
  for (std::size_t i = 0; i < 2 * kMetricServices; ++i) metrics.add_service("a" + std::to_string(i));
  metrics.count({.service = "billing", .route = "/billing/x", .method = "GET", .status = 200});
  metrics.count({.method = "GET", .status = 404});

  const std::string text = page(metrics);
  EXPECT_THAT(text, HasSubstr("outrigger_expired_total{service=\"billing\"} 0\n"));
  EXPECT_THAT(text, HasSubstr("service=\"billing\",route=\"/billing/x\""));
  EXPECT_THAT(text, HasSubstr("service=\"none\",route=\"unmatched\""));
  EXPECT_THAT(text, Not(HasSubstr("service=\"other\"")));
}

TEST(RequestMetrics, template_that_cannot_be_a_label_is_other) {
  RequestMetrics metrics(RequestMetrics::Side::caller, "inbound");
  metrics.count({.service = "a", .route = "/\xFF", .method = "GET", .status = 200});
  metrics.count({.service = "a", .route = "/\xFE", .method = "GET", .status = 200});
  metrics.count({.service = "a", .route = std::string(kMetricRouteBytes + 1, 'x'), .method = "GET", .status = 200});

  const std::string text = page(metrics);
  EXPECT_EQ(series_of(text), 1u);
  EXPECT_THAT(text, HasSubstr("service=\"a\",route=\"other\",method=\"GET\",code=\"2xx\"} 3\n"));
}

TEST(RequestMetrics, threads_are_added_up_without_anything_moving) {
  RequestMetrics first(RequestMetrics::Side::caller, "inbound");
  RequestMetrics second(RequestMetrics::Side::caller, "inbound");
  RequestMetrics sum(RequestMetrics::Side::caller, "inbound");
  for (std::size_t i = 0; i < kMetricSeriesPerService; ++i) {
    first.count({.service = "a", .route = "/1/" + std::to_string(i), .method = "GET", .status = 200, .duration = 1s});
    second.count({.service = "a", .route = "/2/" + std::to_string(i), .method = "GET", .status = 200, .duration = 1s});
  }
  sum.add(first);
  sum.add(second);
  const std::string before = page(sum);

  sum.clear_counts();
  sum.add(first);
  sum.add(second);

  EXPECT_EQ(page(sum), before);
  EXPECT_THAT(before, HasSubstr("service=\"a\",route=\"other\",method=\"GET\",code=\"2xx\"} " +
                                std::to_string(kMetricSeriesPerService) + "\n"));
  EXPECT_THAT(before, HasSubstr("outrigger_request_duration_seconds_count{direction=\"inbound\",service=\"a\"} " +
                                std::to_string(2 * kMetricSeriesPerService) + "\n"));
  EXPECT_THAT(before, Not(HasSubstr("service=\"other\"")));
}

TEST(RequestMetrics, service_side_shows_wait_and_service_time) {
  RequestMetrics metrics(RequestMetrics::Side::server, "inbound");
  metrics.count({.service = "a", .route = "/", .method = "GET", .status = 200, .duration = 30ms, .queue_wait = 20ms, .service_time = 10ms});

  const std::string text = page(metrics);
  EXPECT_THAT(text, HasSubstr("outrigger_queue_wait_seconds_sum{direction=\"inbound\",service=\"a\"} 0.02\n"));
  EXPECT_THAT(text, HasSubstr("outrigger_service_duration_seconds_sum{direction=\"inbound\",service=\"a\"} 0.01\n"));
  EXPECT_THAT(text, HasSubstr("outrigger_request_duration_seconds_sum{direction=\"inbound\",service=\"a\"} 0.03\n"));
}

TEST(MethodLabel, unknown_methods_share_one) {
  EXPECT_EQ(method_label("PATCH"), "PATCH");
  EXPECT_EQ(method_label("get"), "_OTHER");
  EXPECT_EQ(method_label(""), "_OTHER");
  EXPECT_EQ(method_label("PROPFIND"), "_OTHER");
}

}  // namespace
}  // namespace outrigger::telemetry
