#include "bridge/app/command_line.h"

#include <sstream>

#include "bridge/app/process_config.h"

namespace outrigger::app {
namespace {

using testing::HasSubstr;

class CommandLineTest : public testing::Test {
 protected:
  CommandLineTest() {
    table_.add_addresses("Top:Listen", listen_, "Where to listen.").flag("--listen", "ADDR");
    table_.add_text("Top:Token", token_, "A secret.").secret();
    declare_process(table_, "Top:Process", process_);
  }

  std::optional<ExitNow> run(std::vector<const char*> arguments, const std::string& standard_input = "",
                             Environment environment = {}) {
    arguments.insert(arguments.begin(), "outrigger-top");
    const Program program{"outrigger-top", "Tops."};
    std::istringstream input(standard_input);
    const auto finish = [this](ConfigReading& reading) { finish_process(reading, "Top:Process", "top", process_); };
    return configure(program, table_, finish, static_cast<int>(arguments.size()), arguments.data(), environment, input);
  }

  std::vector<ListenAddress> listen_{{"0.0.0.0", 8080, ""}};
  std::string token_;
  ProcessConfig process_;
  ConfigTable table_;
};

TEST_F(CommandLineTest, nothing_given_serves_with_defaults) {
  EXPECT_FALSE(run({}).has_value());
  EXPECT_EQ(to_string(*process_.health), "0.0.0.0:9464");
  EXPECT_EQ(to_string(*process_.admin), "unix:/run/outrigger/top.sock");
  EXPECT_TRUE(process_.admin_is_default);
  EXPECT_EQ(process_.drain_time, std::chrono::seconds(25));
  EXPECT_EQ(process_.log_level, base::LogLevel::info);
  EXPECT_EQ(process_.log_format, base::LogFormat::json);
}

TEST_F(CommandLineTest, common_flags_fill_the_process_section) {
  EXPECT_FALSE(
      run({"--health", "off", "--admin", "unix:/a", "--drain-time=3s", "--log-level", "debug", "--log-format", "text"})
          .has_value());
  EXPECT_FALSE(process_.health.has_value());
  EXPECT_EQ(process_.admin->unix_path, "/a");
  EXPECT_FALSE(process_.admin_is_default);
  EXPECT_EQ(process_.drain_time, std::chrono::seconds(3));
  EXPECT_EQ(process_.log_level, base::LogLevel::debug);
  EXPECT_EQ(process_.log_format, base::LogFormat::text);
}

TEST_F(CommandLineTest, list_flags_repeat_and_others_do_not) {
  EXPECT_FALSE(run({"--listen", "a:1", "--listen", "b:2"}).has_value());
  ASSERT_EQ(listen_.size(), 2U);
  EXPECT_EQ(listen_[1].host, "b");
  EXPECT_EQ(run({"--log-level", "info", "--log-level", "warn"})->code, 2);
  EXPECT_EQ(run({"--listen", "a:1", "b:2"})->code, 2);
}

TEST_F(CommandLineTest, help_and_version_exit_with_zero) {
  const auto help = run({"--help"});
  EXPECT_EQ(help->code, 0);
  EXPECT_EQ(help->err, "");
  for (const char* text : {"Tops.", "--config", "--mode", "--listen ADDR ...", "(Top:Listen, default 0.0.0.0:8080)",
                           "One of: debug info warn error.", "--drain-time", "default 25s"}) {
    EXPECT_THAT(help->out, HasSubstr(text));
  }
  const auto version_text = run({"--version"});
  EXPECT_EQ(version_text->code, 0);
  EXPECT_EQ(version_text->out, "outrigger-top " + std::string(version()) + "\n");
}

TEST_F(CommandLineTest, usage_errors_exit_with_two) {
  for (const auto& arguments : std::vector<std::vector<const char*>>{{"--no-such-flag"},
                                                                     {"stray"},
                                                                     {"--listen"},
                                                                     {"--mode", "dance"},
                                                                     {"--log-level", "loud"},
                                                                     {"--listen", "x"}}) {
    const auto exit = run(arguments);
    ASSERT_TRUE(exit.has_value()) << arguments.back();
    EXPECT_EQ(exit->code, 2) << arguments.back();
    EXPECT_EQ(exit->out, "");
    EXPECT_NE(exit->err, "");
  }
  EXPECT_EQ(run({"--log-level", "loud"})->err,
            "--log-level: 'loud' is not allowed; allowed: debug, info, warn, error\n");
}

TEST_F(CommandLineTest, wrong_configuration_exits_with_one_and_all_errors) {
  const auto exit = run({"-c", "-"}, "Top:\n  Lisen: x\n  Process: { LogLevel: loud }\n");
  EXPECT_EQ(exit->code, 1);
  EXPECT_EQ(exit->err,
            "standard input:2:3: unknown key 'Top:Lisen'; did you mean 'Listen'?\n"
            "standard input:3:24: Top:Process:LogLevel: 'loud' is not allowed; allowed: debug, info, warn, error\n");
  EXPECT_EQ(run({"--config", "/nowhere/f.yaml"})->err,
            "/nowhere/f.yaml: cannot open the file: No such file or directory\n");
  EXPECT_EQ(run({"--config", "/"})->code, 1);
  EXPECT_EQ(run({"--config", "-"}, std::string(2 << 20, '#'))->err, "-: larger than 1 MiB\n");
}

TEST_F(CommandLineTest, validate_says_ok_and_show_prints_what_is_in_effect) {
  const auto valid = run({"--mode", "validate", "-c", "-"}, "Top: { Listen: ['a:1'] }");
  EXPECT_EQ(valid->code, 0);
  EXPECT_EQ(valid->out, "configuration OK\n");
  const auto shown = run({"--mode", "show", "-c", "-", "--drain-time", "7s"}, "Top: { Listen: ['a:1'], Token: hush }");
  EXPECT_EQ(shown->code, 0);
  EXPECT_THAT(shown->out, HasSubstr("Listen: [a:1]  # standard input:1:16\n"));
  EXPECT_THAT(shown->out, HasSubstr("DrainTime: 7s  # --drain-time\n"));
  EXPECT_THAT(shown->out, HasSubstr("Token: \"***\"  # standard input:1:"));
  EXPECT_EQ(shown->out.find("hush"), std::string::npos);
}

TEST_F(CommandLineTest, admin_over_tcp_needs_a_token) {
  const auto exit = run({}, "", {{"Top__Process__Admin", "127.0.0.1:9000"}});
  EXPECT_EQ(exit->code, 1);
  EXPECT_EQ(
      exit->err,
      "environment variable Top__Process__Admin: Top:Process:Admin: the TCP address '127.0.0.1:9000' needs a token: "
      "set Top:Process:AdminTokenFile, or use unix:PATH\n");
  EXPECT_FALSE(run({"--admin", "127.0.0.1:9000"}, "", {{"Top__Process__AdminToken", "t"}}).has_value());
}

}  // namespace
}  // namespace outrigger::app
