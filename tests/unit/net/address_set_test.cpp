#include "bridge/net/address_set.h"

namespace outrigger::net {
namespace {

AddressSet set_of(const std::vector<std::string>& ranges) {
  auto set = AddressSet::make(ranges);
  EXPECT_TRUE(set) << (set ? "" : set.error().detail);
  return set ? *std::move(set) : AddressSet();
}

TEST(AddressSet, ranges_have_the_addresses_of_their_prefix) {
  const AddressSet set = set_of({"10.0.0.0/8", "192.0.2.4/31", "198.51.100.7", "2001:db8::/33", "fe80::1"});
  for (const char* in : {"10.0.0.0", "10.255.255.255", "192.0.2.4", "192.0.2.5", "198.51.100.7", "2001:db8::",
                         "2001:db8:7fff:ffff:ffff:ffff:ffff:ffff", "fe80::1", "::ffff:10.1.2.3"}) {
    EXPECT_TRUE(set.contains(in)) << in;
  }
  for (const char* out : {"9.255.255.255", "11.0.0.0", "192.0.2.3", "192.0.2.6", "198.51.100.8", "2001:db8:8000::", "2001:db7::",
                          "fe80::2", "::10.1.2.3", "", "10.0.0.1:80", "10.0.0", "example.test", "10.0.0.1 "}) {
    EXPECT_FALSE(set.contains(out)) << out;
  }
}

TEST(AddressSet, everything_and_nothing) {
  EXPECT_TRUE(AddressSet().empty());
  EXPECT_FALSE(AddressSet().contains("10.0.0.1"));
  EXPECT_FALSE(AddressSet().contains(""));
  const AddressSet all = set_of({"0.0.0.0/0", "::/0"});
  EXPECT_TRUE(all.contains("10.0.0.1"));
  EXPECT_TRUE(all.contains("2001:db8::1"));
  EXPECT_FALSE(set_of({"0.0.0.0/0"}).contains("2001:db8::1"));
  EXPECT_TRUE(set_of({"::ffff:10.0.0.0/104"}).contains("10.9.9.9"));
}

TEST(AddressSet, peers_on_unix_sockets_are_meant_by_name_only) {
  EXPECT_TRUE(set_of({"unix:"}).contains(""));
  EXPECT_FALSE(set_of({"unix:"}).empty());
  EXPECT_FALSE(set_of({"0.0.0.0/0", "::/0"}).contains(""));
}

TEST(AddressSet, slips_of_the_pen_are_named) {
  for (const char* bad : {"", "10.0.0.0/", "10.0.0.0/33", "10.0.0.0/-1", "10.0.0.0/8x", "10.0.0.1/8", "2001:db8::/129", "example.test",
                          "10.0.0", "10.0.0.0 /8", "/8", "unix", "010.0.0.1/33"}) {
    const auto set = AddressSet::make({"192.0.2.1", bad});
    ASSERT_FALSE(set) << bad;
    EXPECT_NE(set.error().detail.find("'" + std::string(bad) + "'"), std::string::npos) << set.error().detail;
  }
}

}  // namespace
}  // namespace outrigger::net
