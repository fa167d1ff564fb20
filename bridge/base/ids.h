// Random identifiers. Not secrets, but unguessable enough that two processes never make the same one.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace outrigger::base {

// `bytes` random bytes as lower-case hex (2 * bytes characters). Seeded per thread from getrandom(2).
std::string random_hex(std::size_t bytes);

// Uniform in [0, bound). REQUIRES bound > 0. For jitter and choice among equals, not for identifiers.
std::uint64_t random_below(std::uint64_t bound);

inline std::string new_process_id() { return random_hex(10); }  // 80 bits: `instance` and `gateway` ids
inline std::string new_request_id() { return random_hex(16); }  // 128 bits: REQUEST ids

}  // namespace outrigger::base
