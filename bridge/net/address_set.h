// AddressSet: which addresses are meant, as ranges: 10.0.0.0/8, 2001:db8::/32, 192.0.2.7, and `unix:` for peers on unix
// sockets. Immutable; any thread.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "bridge/base/result.h"

namespace outrigger::net {

class AddressSet {
 public:
  // The empty set.
  AddressSet() = default;
  // Error `invalid`, naming the entry: it is no address, its prefix is too long, or bits behind the prefix are set (then
  // something else was meant). An IPv4 range may be written as IPv6 maps it (::ffff:10.0.0.0/104).
  static base::Result<AddressSet> make(const std::vector<std::string>& ranges);

  bool empty() const { return !has_unix_ && ranges_.empty(); }
  // `address` as host_of() has it: without a port; empty for a peer on a unix socket. False for what is no address.
  bool contains(std::string_view address) const;

 private:
  // IPv4 as IPv6 maps it (RFC 4291 section 2.5.5.2), so that a listener on [::] sees no other addresses.
  struct Range {
    std::array<std::uint8_t, 16> address;
    unsigned bits;
  };
  std::vector<Range> ranges_;
  bool has_unix_ = false;
};

}  // namespace outrigger::net
