#include "bridge/valkey/valkey_url.h"

namespace outrigger::valkey {
namespace {

ValkeyAddress parsed(std::string_view text) {
  auto address = parse_valkey_address(text);
  EXPECT_TRUE(address.has_value()) << text << ": " << (address ? "" : address.error().detail);
  return address ? *address : ValkeyAddress{};
}

std::string error_of(std::string_view text) {
  const auto address = parse_valkey_address(text);
  EXPECT_FALSE(address.has_value()) << text;
  return address ? "" : address.error().detail;
}

TEST(ValkeyUrl, url_with_everything) {
  const ValkeyAddress address = parsed("valkey://ann:p%40ss%3A%2f@valkey.example:7000/3");

  EXPECT_EQ(address.host, "valkey.example");
  EXPECT_EQ(address.port, 7000);
  EXPECT_EQ(address.user, "ann");
  EXPECT_EQ(address.password, "p@ss:/");
  EXPECT_EQ(address.database, 3);
  EXPECT_TRUE(address.has_database);
  EXPECT_FALSE(address.tls);
  EXPECT_EQ(address.unix_path, "");
}

TEST(ValkeyUrl, schemes_and_defaults) {
  EXPECT_EQ(parsed("redis://h").port, 6379);
  EXPECT_FALSE(parsed("redis://h").has_database);
  EXPECT_FALSE(parsed("redis://h/").has_database);
  EXPECT_TRUE(parsed("valkeys://h").tls);
  EXPECT_TRUE(parsed("REDISS://h").tls);
  EXPECT_EQ(parsed("redis://h?db=4").database, 4);
  EXPECT_EQ(parsed("redis://:secret@h").password, "secret");
  EXPECT_EQ(parsed("redis://:secret@h").user, "");
  EXPECT_EQ(parsed("redis://ann@h").user, "ann");
}

TEST(ValkeyUrl, unix_sockets) {
  EXPECT_EQ(parsed("unix:///run/valkey.sock").unix_path, "/run/valkey.sock");
  EXPECT_EQ(parsed("unix:/run/valkey.sock").unix_path, "/run/valkey.sock");
  EXPECT_EQ(parsed("unix:///run/valkey.sock?db=2").database, 2);
  EXPECT_EQ(parsed("unix://:secret@/run/valkey.sock").password, "secret");
  EXPECT_EQ(parsed("unix:///run/a@b.sock").unix_path, "/run/a@b.sock");
}

TEST(ValkeyUrl, ipv6_in_brackets) {
  EXPECT_EQ(parsed("valkey://[::1]:6380/1").host, "::1");
  EXPECT_EQ(parsed("valkey://[::1]:6380/1").port, 6380);
  EXPECT_EQ(parsed("[fe80::2]").host, "fe80::2");
  EXPECT_EQ(parsed("[fe80::2]").to_string_redacted(), "valkey://[fe80::2]:6379");
}

TEST(ValkeyUrl, bare_and_dotnet_forms) {
  EXPECT_EQ(parsed("valkey:6379").host, "valkey");
  EXPECT_EQ(parsed("valkey").port, 6379);

  const ValkeyAddress address = parsed("h:7000,password=a=b://c, User=ann,ssl=True,defaultDatabase=5");
  EXPECT_EQ(address.host, "h");
  EXPECT_EQ(address.port, 7000);
  EXPECT_EQ(address.password, "a=b://c");
  EXPECT_EQ(address.user, "ann");
  EXPECT_TRUE(address.tls);
  EXPECT_EQ(address.database, 5);
}

TEST(ValkeyUrl, errors_say_what_is_wrong) {
  EXPECT_EQ(error_of(""), "the address of Valkey is empty");
  EXPECT_EQ(error_of("http://h"),
            "the scheme 'http' is not supported; supported are valkey, redis, valkeys, rediss, unix");
  EXPECT_EQ(error_of("h:6379,abortConnect=false"),
            "the option 'abortConnect' is not supported; supported are password, user, ssl, defaultDatabase");
  EXPECT_EQ(error_of("a:1,b:2"), "more than one host is not supported (options are written name=value)");
  EXPECT_EQ(error_of("h:1,ssl=maybe"), "ssl must be true or false");
  EXPECT_EQ(error_of("valkey://h?timeout=3"), "the option 'timeout' is not supported in a URL; only db=N is");
  EXPECT_EQ(error_of("valkey://h/1?db=2"), "the database is given twice, in the path and as db=");
  EXPECT_EQ(error_of("valkey://h/-1"), "the database must be a number from 0 to 65535");
  EXPECT_EQ(error_of("valkey://h/one"), "the database must be a number from 0 to 65535");
  EXPECT_EQ(error_of("valkey://h:0"), "the port must be a number from 1 to 65535");
  EXPECT_EQ(error_of("valkey://h:65536"), "the port must be a number from 0 to 65535");
  EXPECT_EQ(error_of("valkey://:6379"), "the host is missing");
  EXPECT_EQ(error_of("::1"), "more than one ':' (an IPv6 address is written in brackets: [::1]:8080)");
  EXPECT_EQ(error_of("valkey://[::1"), "the ']' of the IPv6 address is missing");
  EXPECT_EQ(error_of("unix://host/path"), "a unix socket has no host: write unix:///path");
  EXPECT_EQ(error_of("unix:///"), "the path of the unix socket is missing (unix:///path)");
  EXPECT_EQ(error_of("unix:///" + std::string(120, 'x')), "the path of a unix socket has at most 107 bytes");
  EXPECT_EQ(error_of("ann:x@h:1"), "user and password need the URL form: valkey://user:password@host:port");
  EXPECT_EQ(error_of("valkey://h\n"), "control characters are not allowed");
}

TEST(ValkeyUrl, passwords_never_reach_messages) {
  for (const char* text :
       {"valkey://ann:sec/ret@h:1", "valkey://ann:x@y?secret@h:1", "valkey://ann:secret%4@h",
        "valkey://ann:secret%zz@h", "valkey://ann:secret@h:x", "h,password=secret,bad=1", "ann:secret@h"}) {
    EXPECT_EQ(error_of(text).find("sec"), std::string::npos) << text;
  }
}

TEST(ValkeyUrl, redacted_text_reads_back_without_secrets) {
  EXPECT_EQ(parsed("valkey://ann:secret@h:1/2").to_string_redacted(), "valkey://***@h:1/2");
  EXPECT_EQ(parsed("h,password=secret,ssl=true").to_string_redacted(), "valkeys://***@h:6379");
  EXPECT_EQ(parsed("unix:///run/v.sock?db=2").to_string_redacted(), "unix:///run/v.sock?db=2");
  EXPECT_EQ(parsed("valkey:6379").to_string_redacted(), "valkey://valkey:6379");
}

}  // namespace
}  // namespace outrigger::valkey
