#include "bridge/telemetry/metrics.h"

#include <algorithm>
#include <charconv>
#include <cmath>

#include "bridge/base/check.h"
#include "bridge/base/header_list.h"

namespace outrigger::telemetry {
namespace {

using namespace std::chrono_literals;

// Length of the well-formed UTF-8 sequence at the beginning of `text` (RFC 3629), 0 if there is none.
std::size_t utf8_sequence(std::string_view text) {
  const auto byte = [&](std::size_t i) { return i < text.size() ? static_cast<unsigned char>(text[i]) : 0U; };
  const auto follows = [&](std::size_t i) { return (byte(i) & 0xC0U) == 0x80U; };
  const unsigned first = byte(0);
  if (first < 0x80) return 1;
  if (first < 0xC2 || first > 0xF4) return 0;
  if (first < 0xE0) return follows(1) ? 2 : 0;
  if (first < 0xF0) {
    const bool is_good = (first != 0xE0 || byte(1) >= 0xA0) && (first != 0xED || byte(1) < 0xA0);
    return is_good && follows(1) && follows(2) ? 3 : 0;
  }
  const bool is_good = (first != 0xF0 || byte(1) >= 0x90) && (first != 0xF4 || byte(1) < 0x90);
  return is_good && follows(1) && follows(2) && follows(3) ? 4 : 0;
}

void append_label_value(std::string& out, std::string_view value) {
  for (std::size_t i = 0; i < value.size();) {
    const std::size_t length = utf8_sequence(value.substr(i));
    if (length == 0) {
      out.append("\xEF\xBF\xBD");
      ++i;
      continue;
    }
    const char c = value[i];
    if (c == '\n') {
      out.append("\\n");
    } else {
      if (c == '"' || c == '\\') out.push_back('\\');
      out.append(value.substr(i, length));
    }
    i += length;
  }
}

std::string_view trimmed(std::string_view text) {
  const auto is_space = [](char c) { return c == ' ' || c == '\t'; };
  while (!text.empty() && is_space(text.front())) text.remove_prefix(1);
  while (!text.empty() && is_space(text.back())) text.remove_suffix(1);
  return text;
}

// Cuts `text` at the next `separator` and returns what stood before it.
std::string_view next_part(std::string_view& text, char separator) {
  const std::size_t at = text.find(separator);
  const std::string_view part = trimmed(text.substr(0, at));
  text.remove_prefix(at == std::string_view::npos ? text.size() : at + 1);
  return part;
}

// Weight of the best range of an Accept field that names `type` itself, in thousandths (RFC 9110 section 12.4.2); 0: none.
int weight_of(std::string_view accept, std::string_view type) {
  int best = 0;
  while (!accept.empty()) {
    std::string_view range = next_part(accept, ',');
    if (!base::equals_ignoring_case(next_part(range, ';'), type)) continue;
    double weight = 1;
    while (!range.empty()) {
      const std::string_view parameter = next_part(range, ';');
      if (!parameter.starts_with("q=") && !parameter.starts_with("Q=")) continue;
      const auto [end, failure] = std::from_chars(parameter.data() + 2, parameter.data() + parameter.size(), weight);
      if (failure != std::errc{}) weight = 0;
    }
    best = std::max(best, static_cast<int>(std::clamp(weight, 0.0, 1.0) * 1000));
  }
  return best;
}

}  // namespace

std::span<const DurationHistogram::Bound> DurationHistogram::bounds_of(Buckets buckets) {
  static constexpr std::size_t kBelow = 5;
  static constexpr std::array<Bound, kMostBounds> kBounds{
      {{100us, "0.0001"}, {250us, "0.00025"}, {500us, "0.0005"}, {1ms, "0.001"}, {2500us, "0.0025"},
       {5ms, "0.005"},    {10ms, "0.01"},     {25ms, "0.025"},   {50ms, "0.05"}, {75ms, "0.075"},
       {100ms, "0.1"},    {250ms, "0.25"},    {500ms, "0.5"},    {750ms, "0.75"}, {1s, "1.0"},
       {2500ms, "2.5"},   {5s, "5.0"},        {7500ms, "7.5"},   {10s, "10.0"}}};
  const std::span<const Bound> all(kBounds);
  return buckets == Buckets::requests ? all.subspan(kBelow) : all;
}

void DurationHistogram::observe(base::Duration value) {
  value = std::max(value, base::Duration::zero());
  const std::span<const Bound> bounds = bounds_of(buckets_);
  std::size_t i = 0;
  while (i < bounds.size() && value > bounds[i].at) ++i;
  ++counts_[i];
  sum_ += value;
}

void DurationHistogram::add(const DurationHistogram& other) {
  DCHECK(buckets_ == other.buckets_);
  for (std::size_t i = 0; i < counts_.size(); ++i) counts_[i] += other.counts_[i];
  sum_ += other.sum_;
}

std::uint64_t DurationHistogram::count() const {
  std::uint64_t total = 0;
  for (const std::uint64_t one : counts_) total += one;
  return total;
}

bool is_utf8(std::string_view text) {
  while (!text.empty()) {
    const std::size_t length = utf8_sequence(text);
    if (length == 0) return false;
    text.remove_prefix(length);
  }
  return true;
}

MetricsFormat choose_format(std::string_view accept) {
  const int openmetrics = weight_of(accept, "application/openmetrics-text");
  const bool is_wanted = openmetrics > 0 && openmetrics >= weight_of(accept, "text/plain");
  return is_wanted ? MetricsFormat::openmetrics : MetricsFormat::text;
}

std::string_view content_type(MetricsFormat format) {
  return format == MetricsFormat::text ? "text/plain; version=0.0.4; charset=utf-8"
                                       : "application/openmetrics-text; version=1.0.0; charset=utf-8";
}

void MetricsWriter::family(MetricType type, std::string_view name, std::string_view help) {
  static constexpr std::string_view kTotal = "_total";
  name_ = name;
  // OpenMetrics names the family of a counter without the suffix that its samples have.
  if (format_ == MetricsFormat::openmetrics && type == MetricType::counter && name.ends_with(kTotal)) {
    name.remove_suffix(kTotal.size());
  }
  const std::string_view type_name = type == MetricType::counter ? "counter"
                                     : type == MetricType::gauge ? "gauge"
                                                                 : "histogram";
  out_.append("# HELP ").append(name).append(" ").append(help);
  out_.append("\n# TYPE ").append(name).append(" ").append(type_name).append("\n");
}

void MetricsWriter::begin_sample(std::string_view suffix, std::initializer_list<Label> labels, std::string_view le) {
  out_.append(name_).append(suffix);
  char separator = '{';
  const auto begin_label = [&](std::string_view name) {
    out_.push_back(separator);
    out_.append(name).append("=\"");
    separator = ',';
  };
  for (const auto& [name, value] : labels) {
    begin_label(name);
    append_label_value(out_, value);
    out_.push_back('"');
  }
  if (!le.empty()) {
    begin_label("le");
    out_.append(le).push_back('"');
  }
  if (separator == ',') out_.push_back('}');
  out_.push_back(' ');
}

void MetricsWriter::end_sample(std::uint64_t value) { out_.append(std::to_string(value)).push_back('\n'); }

void MetricsWriter::end_sample(double value) {
  if (!std::isfinite(value)) {
    out_.append(std::isnan(value) ? "NaN" : value > 0 ? "+Inf" : "-Inf").push_back('\n');
    return;
  }
  char digits[32];
  const auto [end, failure] = std::to_chars(digits, digits + sizeof digits, value);
  CHECK(failure == std::errc{});
  out_.append(digits, end).push_back('\n');
}

void MetricsWriter::sample(std::initializer_list<Label> labels, std::uint64_t value) {
  begin_sample("", labels);
  end_sample(value);
}

void MetricsWriter::sample(std::initializer_list<Label> labels, double value) {
  begin_sample("", labels);
  end_sample(value);
}

void MetricsWriter::sample(std::initializer_list<Label> labels, const DurationHistogram& value) {
  const auto bounds = DurationHistogram::bounds_of(value.buckets_);
  std::uint64_t below = 0;
  for (std::size_t i = 0; i < bounds.size(); ++i) {
    below += value.counts_[i];
    begin_sample("_bucket", labels, bounds[i].label);
    end_sample(below);
  }
  below += value.counts_[bounds.size()];
  begin_sample("_bucket", labels, "+Inf");
  end_sample(below);
  begin_sample("_sum", labels);
  end_sample(std::chrono::duration<double>(value.sum_).count());
  begin_sample("_count", labels);
  end_sample(below);
}

std::string MetricsWriter::finish() && {
  if (format_ == MetricsFormat::openmetrics) out_.append("# EOF\n");
  return std::move(out_);
}

}  // namespace outrigger::telemetry
