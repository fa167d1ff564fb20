// SipHash-2-4 (Aumasson and Bernstein, 2012): a hash whose collisions nobody can look for without the key. For tables
// whose keys strangers choose. Not for anything that is stored or sent.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace outrigger::base {

struct SipKey {
  std::uint64_t low = 0;
  std::uint64_t high = 0;
};

inline std::uint64_t siphash(SipKey key, std::string_view bytes) {
  std::uint64_t a = key.low ^ 0x736f6d6570736575;
  std::uint64_t b = key.high ^ 0x646f72616e646f6d;
  std::uint64_t c = key.low ^ 0x6c7967656e657261;
  std::uint64_t d = key.high ^ 0x7465646279746573;
  const auto rounds = [&](int count) {
    for (; count > 0; --count) {
      a += b;
      b = std::rotl(b, 13) ^ a;
      a = std::rotl(a, 32);
      c += d;
      d = std::rotl(d, 16) ^ c;
      a += d;
      d = std::rotl(d, 21) ^ a;
      c += b;
      b = std::rotl(b, 17) ^ c;
      c = std::rotl(c, 32);
    }
  };
  const auto take = [&](std::uint64_t word) {
    d ^= word;
    rounds(2);
    a ^= word;
  };
  const auto little_endian = [](std::string_view part) {
    std::uint64_t word = 0;
    for (std::size_t i = part.size(); i > 0; --i) word = word << 8 | static_cast<unsigned char>(part[i - 1]);
    return word;
  };
  const std::uint64_t size = bytes.size();
  for (; bytes.size() >= 8; bytes.remove_prefix(8)) take(little_endian(bytes.substr(0, 8)));
  take(size << 56 | little_endian(bytes));
  c ^= 0xff;
  rounds(4);
  return a ^ b ^ c ^ d;
}

}  // namespace outrigger::base
