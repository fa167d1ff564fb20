#include "bridge/base/ids.h"

#include <sys/random.h>

#include <array>
#include <random>

#include "bridge/base/check.h"

namespace outrigger::base {
namespace {

// A pool of kernel randomness per thread: one system call serves many ids.
struct Pool {
  std::array<unsigned char, 512> bytes{};
  std::size_t used = bytes.size();

  unsigned char next() {
    if (used == bytes.size()) {
      std::size_t have = 0;
      while (have < bytes.size()) {
        const ssize_t n = getrandom(bytes.data() + have, bytes.size() - have, 0);
        if (n > 0) have += static_cast<std::size_t>(n);
      }
      used = 0;
    }
    return bytes[used++];
  }
};

Pool& pool() {
  thread_local Pool instance;
  return instance;
}

}  // namespace

std::string random_hex(std::size_t bytes) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string out;
  out.reserve(bytes * 2);
  Pool& source = pool();
  for (std::size_t i = 0; i < bytes; ++i) {
    const unsigned char byte = source.next();
    out.push_back(kDigits[byte >> 4]);
    out.push_back(kDigits[byte & 15]);
  }
  return out;
}

std::uint64_t random_below(std::uint64_t bound) {
  CHECK(bound > 0);
  thread_local std::mt19937_64 engine = [] {
    std::uint64_t seed = 0;
    for (int i = 0; i < 8; ++i) seed = seed << 8 | pool().next();
    return std::mt19937_64(seed);
  }();
  return std::uniform_int_distribution<std::uint64_t>(0, bound - 1)(engine);
}

}  // namespace outrigger::base
