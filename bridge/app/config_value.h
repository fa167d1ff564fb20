// The scalar values of configuration and how they are written: 30s, 8MiB, true. Pure functions; errors are
// Code::invalid and say how the value should have been written.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

#include "bridge/base/result.h"

namespace outrigger::app {

base::Result<std::int64_t> parse_integer(std::string_view text);
// true or false, in any case (.NET writes True).
base::Result<bool> parse_boolean(std::string_view text);
// A whole number with ms, s, m, h or d, or as .NET writes a TimeSpan: [days.]hh:mm[:ss[.fraction]], not finer than a
// millisecond. A bare number is refused, since it could be seconds or milliseconds; only 0 needs no unit.
base::Result<std::chrono::milliseconds> parse_duration(std::string_view text);
// Bytes: a whole number alone or with B, KiB, MiB, GiB (1024) or KB, MB, GB (1000), in any case.
base::Result<std::int64_t> parse_size(std::string_view text);

// The shortest exact spelling that the parsers above read back: 90s -> "90s", 60s -> "1m", 8388608 -> "8MiB".
std::string print_duration(std::chrono::milliseconds duration);
std::string print_size(std::int64_t bytes);

}  // namespace outrigger::app
