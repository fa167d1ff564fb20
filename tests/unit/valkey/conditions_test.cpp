#include "bridge/valkey/conditions.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <set>
#include <sstream>

namespace outrigger::valkey {
namespace {

TEST(Conditions, every_row_is_at_its_place_and_has_a_name_of_its_own) {
  std::set<std::string_view> names;
  for (int i = 0; i < kConditions; ++i) {
    const ConditionInfo& info = describe(static_cast<Condition>(i));
    EXPECT_EQ(static_cast<int>(info.condition), i) << info.name;
    EXPECT_TRUE(names.insert(info.name).second) << info.name;
    EXPECT_EQ(info.name.find_first_not_of("abcdefghijklmnopqrstuvwxyz-"), std::string_view::npos) << info.name;
    EXPECT_FALSE(info.what.empty()) << info.name;
    EXPECT_EQ(info.ends_connection, info.scope == Scope::connection) << info.name;
  }
}

// As a Valkey 8.0 and a Redis 7.0 say them.
TEST(Conditions, errors_of_real_servers_are_known) {
  const std::pair<std::string_view, Condition> said[] = {
      {"OOM command not allowed when used memory > 'maxmemory'.", Condition::out_of_memory},
      {"OOM command not allowed when used memory > 'maxmemory'. script: e3fd, on @user_script:1.",
       Condition::out_of_memory},
      {"MISCONF Valkey is configured to save RDB snapshots, but it's currently unable to persist to disk.",
       Condition::cannot_persist},
      {"NOREPLICAS Not enough good replicas to write.", Condition::too_few_replicas},
      {"LOADING Valkey is loading the dataset in memory", Condition::loading},
      {"READONLY You can't write against a read only replica.", Condition::replica},
      {"MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.", Condition::replica},
      {"UNBLOCKED the stream key no longer exists", Condition::missing},
      {"UNBLOCKED force unblock from blocking operation, instance state changed (master -> replica?)",
       Condition::role_changed},
      {"NOAUTH Authentication required.", Condition::no_password},
      {"WRONGPASS invalid username-password pair or user is disabled.", Condition::wrong_password},
      {"ERR AUTH <password> called without any password configured for the default user. Are you sure your "
       "configuration "
       "is correct?",
       Condition::wrong_password},
      {"NOPERM User app has no permissions to run the 'xclaim' command", Condition::no_permission},
      {"NOPERM No permissions to access a key", Condition::no_permission},
      {"NOPERM this user has no permissions to access one of the keys used as arguments", Condition::no_permission},
      {"ERR ACL failure in script: User app has no permissions to run the 'xclaim' command script: 7937, on "
       "@user_script:1.",
       Condition::no_permission},
      {"ERR The user executing the script can't run this command or subcommand script: 7937, on @user_script:1.",
       Condition::no_permission},
      {"ERR The user executing the script can't access at least one of the keys mentioned in the command arguments "
       "script: a2e6, on @user_script:1.",
       Condition::no_permission},
      {"WRONGTYPE Operation against a key holding the wrong kind of value", Condition::wrong_type},
      {"ERR DB index is out of range", Condition::wrong_database},
      {"NOGROUP No such key 'q' or consumer group 'router'", Condition::missing},
      {"ERR no such key script: 1f, on @user_script:11.", Condition::missing},
      {"ERR The XGROUP subcommand requires the key to exist. Note that for CREATE you may want", Condition::missing},
      {"BUSYGROUP Consumer Group name already exists", Condition::exists},
      {"BUSY Valkey is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.", Condition::busy},
      {"ERR max number of clients reached", Condition::too_many_clients},
      {"DENIED Running in protected mode because protected mode is enabled", Condition::protected_mode},
      {"MOVED 3999 127.0.0.1:6381", Condition::cluster},
      {"ASK 3999 127.0.0.1:6381", Condition::cluster},
      {"CLUSTERDOWN The cluster is down", Condition::cluster},
      {"CROSSSLOT Keys in request don't hash to the same slot", Condition::cluster},
      {"ERR SELECT is not allowed in cluster mode", Condition::cluster},
      {"ERR unknown command 'XADD', with args beginning with: 'q' ", Condition::unknown_command},
      {"ERR unknown subcommand 'SETNAME'. Try CLIENT HELP.", Condition::unknown_command},
      {"ERR something new", Condition::other_error},
      {"ASKING", Condition::other_error},
      {"OOMPH", Condition::other_error},
      {"", Condition::other_error},
  };
  for (const auto& [text, condition] : said) {
    EXPECT_EQ(describe(condition_of(text)).name, describe(condition).name) << text;
  }
}

TEST(Conditions, what_is_no_server_is_told_from_its_first_bytes) {
  EXPECT_EQ(condition_of_greeting("HTTP/1.1 400 Bad Request\r\n"), Condition::http_server);
  EXPECT_EQ(condition_of_greeting("<!DOCTYPE html>"), Condition::http_server);
  EXPECT_EQ(condition_of_greeting(std::string_view("\x15\x03\x03\x00\x02\x02\x46", 7)), Condition::tls_server);
  EXPECT_EQ(condition_of_greeting("220 mail.example.test ESMTP\r\n"), Condition::not_a_server);
  EXPECT_EQ(condition_of_greeting(""), Condition::not_a_server);
}

TEST(Conditions, version_7_is_enough_and_what_is_no_version_is_not) {
  for (const std::string_view version : {"7.0.0", "7.0.15", "7.2.4", "8.0.1", "10.0"}) {
    EXPECT_TRUE(is_version_enough(version)) << version;
  }
  for (const std::string_view version : {"6.2.14", "5.0.7", "0.9", "", "7", "seven.0", "-8.0", ".7"}) {
    EXPECT_FALSE(is_version_enough(version)) << version;
  }
}

TEST(Conditions, quotes_are_short_and_without_arguments) {
  EXPECT_EQ(quotable("ERR unknown command 'AUTH', with args beginning with: 'secret' "), "ERR unknown command 'AUTH'");
  EXPECT_EQ(quotable("ERR short"), "ERR short");
  EXPECT_LE(quotable(std::string(100'000, 'x')).size(), 163u);
}

TEST(Conditions, info_lines_are_found_whole) {
  EXPECT_EQ(info_value("# Memory\r\nmaxmemory_policy:noeviction\r\nmaxmemory:5\r\n", "maxmemory"), "5");
  EXPECT_EQ(info_value("maxmemory:5", "maxmemory"), "5");
  EXPECT_EQ(info_value("xmaxmemory:5\r\n", "maxmemory"), "");
  EXPECT_EQ(info_value("", "maxmemory"), "");
}

// The page is what an operator reads when one of these lines is in the log.
TEST(Conditions, page_has_every_row_word_for_word) {
  std::ifstream file(OUTRIGGER_SOURCE_DIR "/docs/valkey.md");
  std::stringstream text;
  text << file.rdbuf();
  const std::string page = text.str();
  for (int i = 0; i < kConditions; ++i) {
    const ConditionInfo& info = describe(static_cast<Condition>(i));
    if (info.scope == Scope::ordinary) continue;
    EXPECT_THAT(page, ::testing::HasSubstr("| `" + std::string(info.name) + "` | " + std::string(info.what) + " | "));
    EXPECT_THAT(page, ::testing::HasSubstr(" | " + std::string(info.advice))) << info.name;
  }
}

}  // namespace
}  // namespace outrigger::valkey
