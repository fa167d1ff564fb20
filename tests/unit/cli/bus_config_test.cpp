// Where an operator's command finds the bus.
#include <sstream>

#include "bridge/cli/bus_session.h"

namespace outrigger::cli {
namespace {

base::Result<app::MessagingConfig> read(const std::string& file, BusOptions options = {}, const app::Environment& environment = {}) {
  std::istringstream input(file);
  if (!file.empty()) options.config = "-";
  return read_bus_config(options, environment, input);
}
std::string fault(const base::Result<app::MessagingConfig>& read) { return read ? "" : read.error().detail; }

TEST(BusConfig, flag_alone_is_enough) {
  const auto config = read("", {.valkey = "valkey://h:7/2", .config = {}, .section = {}});
  ASSERT_TRUE(config) << config.error().detail;
  EXPECT_EQ(config->valkey.host, "h");
  EXPECT_EQ(config->names.database, 2);
  EXPECT_EQ(config->names.dead_template, "router:dead:{service}");
}

TEST(BusConfig, nothing_at_all_is_a_question) {
  EXPECT_NE(fault(read("")).find("--valkey"), std::string::npos);
  EXPECT_NE(fault(read("Sidecar: {Messaging: {KeyPrefix: acme}}")).find("--valkey"), std::string::npos);
}

TEST(BusConfig, block_of_either_program_is_taken_and_the_rest_is_passed_over) {
  const std::string sidecar = "Sidecar:\n  Service: {Name: 7}\n  Messaging: {ConnectionString: 'h:1', KeyPrefix: acme}\nOther: x\n";
  const auto config = read(sidecar);
  ASSERT_TRUE(config) << config.error().detail;
  EXPECT_EQ(config->names.request_queue_template, "acme:requests:{service}");
  const auto gateway = read("Gateway: {Listen: [nonsense], 'Transports:Messaging:ConnectionString': 'g:2'}");
  ASSERT_TRUE(gateway) << gateway.error().detail;
  EXPECT_EQ(gateway->valkey.host, "g");
  const auto with_flag = read(sidecar, {.valkey = "other:9", .config = {}, .section = {}});
  ASSERT_TRUE(with_flag);
  EXPECT_EQ(with_flag->valkey.host + with_flag->names.key_prefix, "otheracme");
  const auto environment = read("", {}, {{"Sidecar__Messaging__ConnectionString", "e:1"}, {"Sidecar__Nothing", "x"}});
  ASSERT_TRUE(environment) << environment.error().detail;
  EXPECT_EQ(environment->valkey.host, "e");
}

TEST(BusConfig, two_blocks_must_agree_or_be_chosen_from) {
  const auto file = [](const std::string& gateway, const std::string& sidecar) {
    return "Gateway: {Transports: {Messaging: {" + gateway + "}}}\nSidecar: {Messaging: {" + sidecar + "}}\n";
  };
  EXPECT_EQ(fault(read(file("ConnectionString: 'h:1'", "ConnectionString: 'h:1', LeaseDuration: 3s"))), "");
  for (const char* other : {"ConnectionString: 'h:2'", "ConnectionString: 'h:1', Database: 2", "ConnectionString: 'h:1', KeyPrefix: b",
                            "ConnectionString: 'valkey://u:p@h:1'"}) {
    EXPECT_NE(fault(read(file("ConnectionString: 'h:1'", other))).find("--section"), std::string::npos) << other;
    EXPECT_EQ(fault(read(file("ConnectionString: 'h:1'", other), {.valkey = {}, .config = {}, .section = "sidecar"})), "");
  }
  EXPECT_EQ(read(file("ConnectionString: 'h:1'", "KeyPrefix: b"), {.valkey = {}, .config = {}, .section = "gateway"})->names.key_prefix,
            "router");
}

TEST(BusConfig, mistakes_are_told_with_their_place) {
  EXPECT_NE(fault(read("Sidecar:\n  Messaging: {Database: many}\n")).find("standard input:2:25: Sidecar:Messaging:Database"),
            std::string::npos);
  EXPECT_NE(fault(read("", {.valkey = "http://h", .config = {}, .section = {}})).find("--valkey"), std::string::npos);
  EXPECT_NE(fault(read("", {.valkey = {}, .config = "/no/such/file", .section = {}})).find("cannot open"), std::string::npos);
}

}  // namespace
}  // namespace outrigger::cli
