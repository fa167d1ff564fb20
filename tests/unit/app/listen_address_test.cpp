#include "bridge/app/listen_address.h"

namespace outrigger::app {
namespace {

TEST(ListenAddress, spellings) {
  EXPECT_EQ(*parse_listen_address("127.0.0.1:8080"), (ListenAddress{"127.0.0.1", 8080, ""}));
  EXPECT_EQ(*parse_listen_address("localhost:0"), (ListenAddress{"localhost", 0, ""}));
  EXPECT_EQ(*parse_listen_address("[::]:8080"), (ListenAddress{"::", 8080, ""}));
  EXPECT_EQ(*parse_listen_address(":8080"), (ListenAddress{"0.0.0.0", 8080, ""}));
  EXPECT_EQ(*parse_listen_address("*:8080"), (ListenAddress{"0.0.0.0", 8080, ""}));
  EXPECT_EQ(*parse_listen_address("unix:/run/a.sock"), (ListenAddress{"", 0, "/run/a.sock"}));
  EXPECT_EQ(*parse_listen_address("unix:///run/a.sock"), (ListenAddress{"", 0, "/run/a.sock"}));
}

TEST(ListenAddress, print_reads_back) {
  for (const char* text : {"127.0.0.1:8080", "[::1]:80", "unix:/run/a.sock"}) {
    EXPECT_EQ(to_string(*parse_listen_address(text)), text);
  }
}

TEST(ListenAddress, errors) {
  const auto error_of = [](std::string_view text) { return parse_listen_address(text).error().detail; };
  EXPECT_EQ(error_of("8080"), "'8080' is not HOST:PORT or unix:PATH: the port is missing (HOST:PORT)");
  EXPECT_EQ(error_of("h:70000"), "'h:70000' is not HOST:PORT or unix:PATH: the port must be a number from 0 to 65535");
  EXPECT_EQ(error_of("h:"), "'h:' is not HOST:PORT or unix:PATH: the port must be a number from 0 to 65535");
  EXPECT_EQ(error_of("unix:"), "'unix:' is not HOST:PORT or unix:PATH: the path is missing");
  EXPECT_FALSE(parse_listen_address("").has_value());
  EXPECT_FALSE(parse_listen_address("a b:1").has_value());
  EXPECT_FALSE(parse_listen_address("[::1]8080").has_value());
  EXPECT_FALSE(parse_listen_address("[host]:80").has_value());
  EXPECT_FALSE(parse_listen_address("unix:" + std::string(108, 'x')).has_value());
}

}  // namespace
}  // namespace outrigger::app
