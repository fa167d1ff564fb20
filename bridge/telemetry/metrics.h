// Numbers for Prometheus: a histogram of durations, and the writer of both exposition formats (text 0.0.4 and OpenMetrics).
// Plain values without locks: each thread counts for itself, and whoever answers a scrape adds copies up. What requests
// are counted by is request_metrics.h. Names, units and labels: docs/metrics.md.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "bridge/base/clock.h"

namespace outrigger::telemetry {

// Which upper bounds a histogram has.
enum class Buckets : std::uint8_t {
  requests,     // as OpenTelemetry advises for HTTP: 5 ms to 10 s
  round_trips,  // those, and five below them: a healthy bus answers in a fraction of a millisecond
};

class DurationHistogram {
 public:
  DurationHistogram() = default;
  explicit DurationHistogram(Buckets buckets) : buckets_(buckets) {}

  // Negative durations count as 0.
  void observe(base::Duration value);
  // REQUIRES the same buckets.
  void add(const DurationHistogram& other);
  std::uint64_t count() const;
  base::Duration sum() const { return sum_; }

 private:
  friend class MetricsWriter;
  struct Bound {
    base::Duration at;
    std::string_view label;  // value of `le`, as OpenMetrics spells numbers
  };
  static std::span<const Bound> bounds_of(Buckets buckets);
  static constexpr std::size_t kMostBounds = 19;

  Buckets buckets_ = Buckets::requests;
  std::array<std::uint64_t, kMostBounds + 1> counts_{};  // not cumulative; behind the last bound: +Inf
  base::Duration sum_{};
};

// Well-formed by RFC 3629: as label values must be.
bool is_utf8(std::string_view text);

enum class MetricsFormat : std::uint8_t { text, openmetrics };

// What an Accept field asks for: OpenMetrics where it is named with a weight above 0 and not below that of text/plain.
MetricsFormat choose_format(std::string_view accept);
std::string_view content_type(MetricsFormat format);

enum class MetricType : std::uint8_t { counter, gauge, histogram };

// Writes one family after another. The caller sees to it that no family comes twice and no sample has the labels of
// another one of its family.
class MetricsWriter {
 public:
  using Label = std::pair<std::string_view, std::string_view>;

  explicit MetricsWriter(MetricsFormat format) : format_(format) {}

  // Begins a family: `name` in full and, for a counter, with its `_total`; both views must last until the next one.
  // `help` is one line, without backslashes.
  void family(MetricType type, std::string_view name, std::string_view help);
  // Samples of the present family. Values may hold any bytes: what is not UTF-8 becomes U+FFFD.
  void sample(std::initializer_list<Label> labels, std::uint64_t value);
  void sample(std::initializer_list<Label> labels, double value);
  void sample(std::initializer_list<Label> labels, const DurationHistogram& value);
  // The common case: a family of one sample.
  template <class Value>
  void single(MetricType type, std::string_view name, std::string_view help, Value value) {
    family(type, name, help);
    sample({}, value);
  }

  // Ends the page.
  std::string finish() &&;

 private:
  void begin_sample(std::string_view suffix, std::initializer_list<Label> labels, std::string_view le = {});
  void end_sample(std::uint64_t value);
  void end_sample(double value);

  MetricsFormat format_;
  std::string_view name_;
  std::string out_;
};

}  // namespace outrigger::telemetry
