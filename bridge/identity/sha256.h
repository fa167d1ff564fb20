// SHA-256 (FIPS 180-4) of bytes that are there at once. Any thread.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

namespace outrigger::identity {

using Sha256 = std::array<std::uint8_t, 32>;
Sha256 sha256(std::string_view bytes);

}  // namespace outrigger::identity
