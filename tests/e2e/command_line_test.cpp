// The programs as a user meets them first: help, mistakes, exit codes.
#include "tests/e2e/programs.h"

namespace outrigger::tests {
namespace {

struct Ended {
  int status;
  std::string out;
  std::string err;
};

// Runs until it ends by itself.
Ended run(std::vector<std::string> command, Environment environment = {}) {
  ChildProcess::Options options;
  options.command = std::move(command);
  options.environment = std::move(environment);
  ChildProcess process(std::move(options));
  EXPECT_TRUE(process.wait_for_exit());
  const int status = process.status().value_or(-1);
  process.expect_status(status);
  return {status, process.out(), process.err()};
}

TEST(CommandLine, help_and_version_go_to_standard_output) {
  for (const std::string program : {OUTRIGGER_GATEWAY, OUTRIGGER_SIDECAR}) {
    const Ended help = run({program, "--help"});
    EXPECT_EQ(help.status, 0);
    EXPECT_NE(help.out.find("--valkey"), std::string::npos);
    EXPECT_EQ(help.err, "");
    const Ended version = run({program, "--version"});
    EXPECT_EQ(version.status, 0);
    EXPECT_TRUE(version.out.starts_with("outrigger-")) << version.out;
  }
}

TEST(CommandLine, usage_errors_exit_with_2) {
  const std::vector<std::pair<std::string, std::vector<std::string>>> mistakes = {
      {"--no-such-flag", {OUTRIGGER_GATEWAY, "--no-such-flag"}},
      {"--listen", {OUTRIGGER_GATEWAY, "--listen", "nowhere"}},
      {"--valkey", {OUTRIGGER_GATEWAY, "--valkey", "http://valkey"}},
      {"--service", {OUTRIGGER_SIDECAR, "--service", "Not A Name", "--upstream", "http://127.0.0.1:1"}},
      {"--upstream", {OUTRIGGER_SIDECAR, "--service", "orders", "--upstream", "https://127.0.0.1:1"}}};
  for (const auto& [flag, command] : mistakes) {
    const Ended ended = run(command);
    EXPECT_EQ(ended.status, 2) << flag;
    EXPECT_NE(ended.err.find(flag), std::string::npos) << ended.err;
    EXPECT_EQ(ended.out, "");
  }
}

TEST(CommandLine, validate_says_ok_or_what_is_wrong_and_opens_nothing) {
  const Ended good = run({OUTRIGGER_GATEWAY, "--mode", "validate", "--listen", "127.0.0.1:1"});
  EXPECT_EQ(good.status, 0);
  EXPECT_EQ(good.out, "configuration OK\n");

  const Ended typo = run({OUTRIGGER_GATEWAY, "--mode", "validate"}, {{"Gateway__Lisen__0", "127.0.0.1:1"}});
  EXPECT_EQ(typo.status, 1);
  EXPECT_NE(typo.err.find("Gateway__Lisen"), std::string::npos) << typo.err;
  EXPECT_NE(typo.err.find("Listen"), std::string::npos) << typo.err;

  const Ended missing = run({OUTRIGGER_SIDECAR, "--mode", "validate", "--service", "orders"});
  EXPECT_EQ(missing.status, 1);
  EXPECT_NE(missing.err.find("--upstream"), std::string::npos) << missing.err;
}

TEST(CommandLine, address_in_use_ends_a_gateway_with_1) {
  ScriptedService holder;
  const Ended ended = run({OUTRIGGER_GATEWAY, "--listen", "127.0.0.1:" + std::to_string(holder.port()), "--health",
                           "off", "--admin", "off", "--workers", "1"});
  EXPECT_EQ(ended.status, 1);
  EXPECT_NE(ended.err.find("cannot start"), std::string::npos) << ended.err;
}

TEST(CommandLine, port_of_another_gateway_with_workers_is_in_use) {
  OUTRIGGER_NEEDS_VALKEY();
  const ValkeyServer valkey;
  Gateway first(valkey);  // its workers share the port by SO_REUSEPORT
  const std::string address = "127.0.0.1:" + std::to_string(first.port());
  const Ended second = run({OUTRIGGER_GATEWAY, "--listen", address, "--health", "off", "--admin", "off", "--valkey",
                            valkey.url(), "--workers", "2"});
  EXPECT_EQ(second.status, 1);
  EXPECT_NE(second.err.find("cannot start"), std::string::npos) << second.err;
  EXPECT_NE(second.err.find(address), std::string::npos) << second.err;
  EXPECT_TRUE(first.process().terminate());
}

TEST(CommandLine, programs_without_a_bus_wait_for_it_and_leave_on_request) {
  ScriptedService service;
  ChildProcess::Options gateway;
  gateway.command = {OUTRIGGER_GATEWAY,
                     "--listen",
                     "127.0.0.1:0",
                     "--health",
                     "127.0.0.1:0",
                     "--admin",
                     "off",
                     "--valkey",
                     "unix:///nonexistent/valkey.sock",
                     "--log-format",
                     "text"};
  ChildProcess::Options sidecar;
  sidecar.command = {OUTRIGGER_SIDECAR,
                     "--service",
                     "orders",
                     "--upstream",
                     service.url(),
                     "--health",
                     "off",
                     "--admin",
                     "off",
                     "--valkey",
                     "unix:///nonexistent/valkey.sock",
                     "--log-format",
                     "text"};
  ChildProcess of_gateway(std::move(gateway));
  ChildProcess of_sidecar(std::move(sidecar));
  ASSERT_TRUE(of_gateway.wait_for_line("health listener is open"));
  ASSERT_TRUE(of_sidecar.wait_for_line("the service is up"));
  const std::string said = of_gateway.err();
  const auto port = static_cast<std::uint16_t>(
      std::atoi(said.c_str() + said.find("127.0.0.1:", said.find("health listener is open")) + 10));
  EXPECT_EQ(get(port, "/livez").status, 200);
  EXPECT_EQ(get(port, "/readyz").status, 503);

  EXPECT_TRUE(of_gateway.terminate());
  EXPECT_TRUE(of_sidecar.terminate());
}

}  // namespace
}  // namespace outrigger::tests
