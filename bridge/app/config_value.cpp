#include "bridge/app/config_value.h"

#include <array>
#include <charconv>
#include <limits>
#include <optional>

#include "bridge/base/header_list.h"

namespace outrigger::app {
namespace {

using base::Code;
using base::equals_ignoring_case;
using base::Error;
using base::Result;

struct Unit {
  std::string_view name;
  std::int64_t factor;
};
// Descending, so that printing finds the largest unit first.
constexpr std::array<Unit, 5> kTimeUnits{{{"d", 86'400'000}, {"h", 3'600'000}, {"m", 60'000}, {"s", 1'000}, {"ms", 1}}};
constexpr std::array<Unit, 7> kSizeUnits{{{"GiB", 1 << 30},
                                          {"GB", 1'000'000'000},
                                          {"MiB", 1 << 20},
                                          {"MB", 1'000'000},
                                          {"KiB", 1 << 10},
                                          {"KB", 1'000},
                                          {"B", 1}}};

std::string quoted(std::string_view text) {
  return "'" + std::string(text) + "'";
}

struct NumberAndUnit {
  std::int64_t number;
  std::string_view unit;
};

std::optional<NumberAndUnit> split(std::string_view text) {
  NumberAndUnit parts{};
  const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), parts.number);
  if (failure != std::errc{} || parts.number < 0) return std::nullopt;
  parts.unit = text.substr(static_cast<std::size_t>(end - text.data()));
  while (!parts.unit.empty() && parts.unit.front() == ' ') parts.unit.remove_prefix(1);
  return parts;
}

template <std::size_t N>
std::optional<std::int64_t> multiplied(const NumberAndUnit& parts, const std::array<Unit, N>& units) {
  for (const Unit& unit : units) {
    if (!equals_ignoring_case(unit.name, parts.unit)) continue;
    if (parts.number > std::numeric_limits<std::int64_t>::max() / unit.factor) return std::nullopt;
    return parts.number * unit.factor;
  }
  return std::nullopt;
}

template <std::size_t N>
std::string print(std::int64_t value, const std::array<Unit, N>& units) {
  for (const Unit& unit : units) {
    if (value != 0 && value % unit.factor == 0) return std::to_string(value / unit.factor) + std::string(unit.name);
  }
  return std::to_string(value);
}

// [d.]hh:mm[:ss[.fffffff]], as .NET's TimeSpan prints and reads.
std::optional<std::int64_t> parse_time_span(std::string_view text) {
  const std::size_t colon = text.find(':');
  if (colon == std::string_view::npos) return std::nullopt;
  // Takes that many digits off the text; nothing: there are fewer, or their value is not below `below`.
  const auto take = [&text](std::size_t fewest, std::size_t most, std::int64_t below) -> std::optional<std::int64_t> {
    std::size_t length = 0;
    while (length < text.size() && length < most && text[length] >= '0' && text[length] <= '9') ++length;
    if (length < fewest) return std::nullopt;
    std::int64_t value = 0;
    std::from_chars(text.data(), text.data() + length, value);
    text.remove_prefix(length);
    return value < below ? std::optional(value) : std::nullopt;
  };
  const auto skip = [&text](char c) {
    if (text.empty() || text.front() != c) return false;
    text.remove_prefix(1);
    return true;
  };
  std::optional<std::int64_t> days = 0;
  if (text.substr(0, colon).find('.') != std::string_view::npos) {
    days = take(1, 7, 10'000'000);
    if (!days || !skip('.')) return std::nullopt;
  }
  const auto hours = take(1, 2, 24);
  if (!hours || !skip(':')) return std::nullopt;
  const auto minutes = take(2, 2, 60);
  if (!minutes) return std::nullopt;
  std::optional<std::int64_t> seconds = 0;
  std::int64_t milliseconds = 0;
  if (skip(':')) {
    seconds = take(2, 2, 60);
    if (!seconds) return std::nullopt;
    if (skip('.')) {
      std::string fraction(text);
      if (fraction.empty() || fraction.size() > 7) return std::nullopt;
      fraction.resize(7, '0');
      text = fraction;
      const auto ticks = take(7, 7, 10'000'000);  // of 100 ns
      if (!ticks || *ticks % 10'000 != 0) return std::nullopt;
      milliseconds = *ticks / 10'000;
    }
  }
  if (!text.empty()) return std::nullopt;
  return ((*days * 24 + *hours) * 60 + *minutes) * 60'000 + *seconds * 1000 + milliseconds;
}

}  // namespace

Result<std::int64_t> parse_integer(std::string_view text) {
  std::int64_t value = 0;
  const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (failure != std::errc{} || end != text.data() + text.size()) {
    return Error{Code::invalid, quoted(text) + " is not a whole number"};
  }
  return value;
}

Result<bool> parse_boolean(std::string_view text) {
  if (equals_ignoring_case(text, "true")) return true;
  if (equals_ignoring_case(text, "false")) return false;
  return Error{Code::invalid, quoted(text) + " is neither true nor false"};
}

Result<std::chrono::milliseconds> parse_duration(std::string_view text) {
  if (text == "0") return std::chrono::milliseconds(0);
  if (const auto span = parse_time_span(text)) return std::chrono::milliseconds(*span);
  const auto parts = split(text);
  const auto value = parts ? multiplied(*parts, kTimeUnits) : std::nullopt;
  if (value) return std::chrono::milliseconds(*value);
  if (parts && parts->unit.empty())
    return Error{Code::invalid, quoted(text) + " has no unit: write 250ms, 30s, 5m or 1h"};
  return Error{Code::invalid, quoted(text) + " is not a duration: write 250ms, 30s, 5m or 1h"};
}

Result<std::int64_t> parse_size(std::string_view text) {
  auto parts = split(text);
  if (parts && parts->unit.empty()) return parts->number;
  const auto value = parts ? multiplied(*parts, kSizeUnits) : std::nullopt;
  if (value) return *value;
  return Error{Code::invalid, quoted(text) + " is not a size: write 8MiB, 64KiB, 1MB or a number of bytes"};
}

std::string print_duration(std::chrono::milliseconds duration) {
  return print(duration.count(), kTimeUnits);
}

std::string print_size(std::int64_t bytes) {
  return print(bytes, kSizeUnits);
}

}  // namespace outrigger::app
