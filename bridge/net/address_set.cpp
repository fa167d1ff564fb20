#include "bridge/net/address_set.h"

#include <arpa/inet.h>

#include <algorithm>
#include <charconv>
#include <cstring>
#include <optional>

namespace outrigger::net {
namespace {

using Bytes = std::array<std::uint8_t, 16>;

struct Parsed {
  Bytes bytes{};
  bool is_v4 = false;
};

std::optional<Parsed> parse(std::string_view text) {
  std::array<char, INET6_ADDRSTRLEN> terminated{};
  if (text.size() >= terminated.size()) return std::nullopt;
  text.copy(terminated.data(), text.size());
  if (std::strlen(terminated.data()) != text.size()) return std::nullopt;  // a NUL inside
  Parsed parsed;
  if (inet_pton(AF_INET, terminated.data(), parsed.bytes.data() + 12) == 1) {
    parsed.bytes[10] = parsed.bytes[11] = 0xff;
    parsed.is_v4 = true;
    return parsed;
  }
  if (inet_pton(AF_INET6, terminated.data(), parsed.bytes.data()) == 1) return parsed;
  return std::nullopt;
}

bool has_prefix(const Bytes& address, const Bytes& prefix, unsigned bits) {
  const unsigned whole = bits / 8;
  if (!std::equal(prefix.begin(), prefix.begin() + whole, address.begin())) return false;
  if (bits % 8 == 0) return true;
  const auto mask = static_cast<std::uint8_t>(0xff << (8 - bits % 8));
  return (address[whole] & mask) == (prefix[whole] & mask);
}

}  // namespace

base::Result<AddressSet> AddressSet::make(const std::vector<std::string>& ranges) {
  AddressSet set;
  for (const std::string& range : ranges) {
    if (range == "unix:") {
      set.has_unix_ = true;
      continue;
    }
    const auto unfit = [&range](std::string_view why) {
      return base::Error{base::Code::invalid, "'" + range + "' " + std::string(why)};
    };
    const std::size_t slash = range.find('/');
    const auto parsed = parse(std::string_view(range).substr(0, slash));
    if (!parsed) return unfit("is not an address, a range like 10.0.0.0/8 or 2001:db8::/32, or unix:");
    const unsigned most = parsed->is_v4 ? 32 : 128;
    unsigned bits = most;
    if (slash != std::string::npos) {
      const char* end = range.data() + range.size();
      const auto [stop, failure] = std::from_chars(range.data() + slash + 1, end, bits);
      if (failure != std::errc() || stop != end || bits > most) {
        return unfit("has a prefix that is no number up to " + std::to_string(most));
      }
    }
    bits += 128 - most;
    Bytes cleared = parsed->bytes;
    for (unsigned bit = bits; bit < 128; ++bit) cleared[bit / 8] &= static_cast<std::uint8_t>(~(0x80U >> (bit % 8)));
    if (cleared != parsed->bytes) return unfit("has bits behind its prefix; write the first address of the range");
    set.ranges_.push_back({parsed->bytes, bits});
  }
  return set;
}

bool AddressSet::contains(std::string_view address) const {
  if (address.empty()) return has_unix_;
  if (ranges_.empty()) return false;
  const auto parsed = parse(address);
  return parsed && std::any_of(ranges_.begin(), ranges_.end(), [&parsed](const Range& range) {
           return has_prefix(parsed->bytes, range.address, range.bits);
         });
}

}  // namespace outrigger::net
