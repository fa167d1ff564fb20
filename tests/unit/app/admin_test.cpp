#include "bridge/app/admin.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "bridge/base/log_level.h"
#include "tests/support/loop_client.h"
#include "tests/support/real_loop.h"

namespace outrigger::app {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

class AdminTest : public ::testing::Test {
 protected:
  AdminTest() {
    char name[] = "/tmp/outrigger-admin-XXXXXX";
    folder_ = ::mkdtemp(name);
    config_.admin = ListenAddress{{}, 0, folder_ + "/admin.sock"};
    admin_.add_view("/view", "Shows.", {"name"}, [](const AdminQuery& query) {
      const std::string* name_given = query.find("name");
      return AdminAnswer{name_given == nullptr ? "{}" : *name_given};
    });
    admin_.add_command("/command", "Does.", {}, [this](const AdminQuery&) {
      ++commands_;
      return AdminAnswer{"{}", 202};
    });
  }
  ~AdminTest() override { std::filesystem::remove_all(folder_); }

  base::Result<void> open() { return admin_.open(real_.loop, "outrigger-test", config_); }
  std::string ask(const std::string& start, const std::string& fields = "", const std::string& body = "") {
    tests::LoopClient client(real_.loop, *admin_.endpoint());
    client.send(start + " HTTP/1.1\r\nHost: a\r\nConnection: close\r\n" + fields + "\r\n" + body);
    EXPECT_TRUE(real_.run_until("the answer's end", [&] { return client.has_ended || client.is_closed; }));
    client.close();
    return client.received;
  }

  tests::RealLoop real_;
  std::string folder_;
  ProcessConfig config_;
  Admin admin_;
  int commands_ = 0;
};

TEST_F(AdminTest, index_lists_what_there_is) {
  ASSERT_TRUE(open());

  const std::string answer = ask("GET /");

  EXPECT_THAT(answer, StartsWith("HTTP/1.1 200"));
  EXPECT_THAT(answer, HasSubstr("Content-Type: application/json"));
  EXPECT_THAT(answer, HasSubstr("outrigger-test"));
  EXPECT_THAT(answer, HasSubstr("\"/view?name=\""));
  EXPECT_THAT(answer, HasSubstr("\"/command\""));
}

TEST_F(AdminTest, views_are_read_and_commands_are_posted) {
  ASSERT_TRUE(open());

  EXPECT_THAT(ask("GET /view"), StartsWith("HTTP/1.1 200"));
  EXPECT_THAT(ask("HEAD /view"), StartsWith("HTTP/1.1 200"));
  EXPECT_THAT(ask("GET /view?name=a%2Fb%20c"), HasSubstr("\r\n\r\na/b c"));
  for (const char* method : {"POST", "PUT", "DELETE", "OPTIONS"}) {
    const std::string refused = ask(std::string(method) + " /view");
    EXPECT_THAT(refused, StartsWith("HTTP/1.1 405")) << method;
    EXPECT_THAT(refused, HasSubstr("Allow: GET, HEAD\r\n")) << method;
  }
  for (const char* method : {"GET", "HEAD", "PUT", "DELETE"}) {
    const std::string refused = ask(std::string(method) + " /command");
    EXPECT_THAT(refused, StartsWith("HTTP/1.1 405")) << method;
    EXPECT_THAT(refused, HasSubstr("Allow: POST\r\n")) << method;
  }
  EXPECT_EQ(commands_, 0);
  EXPECT_THAT(ask("POST /command"), StartsWith("HTTP/1.1 202"));
  EXPECT_EQ(commands_, 1);
}

TEST_F(AdminTest, what_is_not_declared_is_refused_before_anything_is_done) {
  ASSERT_TRUE(open());

  EXPECT_THAT(ask("GET /nothing"), StartsWith("HTTP/1.1 404"));
  EXPECT_THAT(ask("GET /view?nmae=x"), HasSubstr("unknown parameter 'nmae'; there is: name"));
  EXPECT_THAT(ask("GET /view?name=x&name=y"), StartsWith("HTTP/1.1 400"));
  EXPECT_THAT(ask("GET /view?name=%4"), StartsWith("HTTP/1.1 400"));
  EXPECT_THAT(ask("POST /command?instance=1"), StartsWith("HTTP/1.1 400"));
  EXPECT_THAT(ask("POST /command", "Content-Length: 2\r\n", "{}"), StartsWith("HTTP/1.1 400"));
  EXPECT_THAT(ask("POST /command", "Content-Length: 5000\r\n"), StartsWith("HTTP/1.1 413"));
  EXPECT_EQ(commands_, 0);
}

TEST_F(AdminTest, tcp_listener_demands_the_token_for_everything) {
  config_.admin = ListenAddress{"127.0.0.1", 0, {}};
  config_.admin_token = "s3cret";
  ASSERT_TRUE(open());

  for (const char* fields : {"", "Authorization: Bearer s3cre\r\n", "Authorization: Bearer s3crett\r\n", "Authorization: Bearer \r\n",
                             "Authorization: Bearer S3CRET\r\n", "Authorization: Basic s3cret\r\n", "Authorization: s3cret\r\n"}) {
    for (const char* start : {"GET /", "GET /view", "GET /nothing", "POST /command"}) {
      const std::string refused = ask(start, fields);
      EXPECT_THAT(refused, StartsWith("HTTP/1.1 401")) << start << " " << fields;
      EXPECT_THAT(refused, HasSubstr("WWW-Authenticate: Bearer")) << start << " " << fields;
      EXPECT_THAT(refused, Not(HasSubstr("s3cret"))) << start << " " << fields;
    }
  }
  EXPECT_EQ(commands_, 0);
  EXPECT_THAT(ask("GET /view", "Authorization: Bearer s3cret\r\n"), StartsWith("HTTP/1.1 200"));
  EXPECT_THAT(ask("POST /command", "authorization: bearer s3cret\r\n"), StartsWith("HTTP/1.1 202"));
}

TEST_F(AdminTest, unix_socket_is_its_owners_alone_and_goes_with_the_listener) {
  const std::string path = config_.admin->unix_path;
  {
    Admin admin;
    ASSERT_TRUE(admin.open(real_.loop, "outrigger-test", config_));
    struct stat found {};
    ASSERT_EQ(::lstat(path.c_str(), &found), 0);
    EXPECT_TRUE(S_ISSOCK(found.st_mode));
    EXPECT_EQ(found.st_mode & 0777U, 0600U);
  }
  EXPECT_FALSE(std::filesystem::exists(path));
}

TEST_F(AdminTest, socket_of_a_live_process_is_refused) {
  Admin first;
  ASSERT_TRUE(first.open(real_.loop, "outrigger-test", config_));

  const auto second = open();

  ASSERT_FALSE(second.has_value());
  EXPECT_THAT(second.error().detail, HasSubstr("another process has it"));
  EXPECT_TRUE(std::filesystem::exists(config_.admin->unix_path));
}

TEST_F(AdminTest, file_that_is_no_socket_is_left_alone) {
  std::ofstream(config_.admin->unix_path) << "precious";

  const auto opened = open();

  ASSERT_FALSE(opened.has_value());
  EXPECT_THAT(opened.error().detail, HasSubstr("is no socket"));
  EXPECT_EQ(std::filesystem::file_size(config_.admin->unix_path), 8U);
}

TEST_F(AdminTest, configured_socket_that_cannot_be_made_is_an_error_a_default_one_is_not) {
  ::unsetenv("XDG_RUNTIME_DIR");
  config_.admin->unix_path = folder_ + "/missing/folder/admin.sock";
  EXPECT_FALSE(open().has_value());

  config_.admin_is_default = true;
  EXPECT_TRUE(open().has_value());
  EXPECT_FALSE(admin_.endpoint().has_value());
}

TEST_F(AdminTest, default_socket_falls_back_to_the_runtime_folder) {
  ::setenv("XDG_RUNTIME_DIR", folder_.c_str(), 1);
  config_.admin->unix_path = folder_ + "/missing/folder/billing.sock";
  config_.admin_is_default = true;

  ASSERT_TRUE(open());
  ::unsetenv("XDG_RUNTIME_DIR");

  ASSERT_TRUE(admin_.endpoint().has_value());
  EXPECT_EQ(admin_.endpoint()->unix_path, folder_ + "/outrigger/billing.sock");
  EXPECT_THAT(ask("GET /view"), StartsWith("HTTP/1.1 200"));
}

TEST_F(AdminTest, default_socket_makes_its_folder) {
  config_.admin->unix_path = folder_ + "/made/admin.sock";
  config_.admin_is_default = true;
  ASSERT_TRUE(open());
  EXPECT_EQ(admin_.endpoint()->unix_path, config_.admin->unix_path);
}

TEST_F(AdminTest, off_opens_nothing) {
  config_.admin.reset();
  ASSERT_TRUE(open());
  EXPECT_FALSE(admin_.endpoint().has_value());
}

TEST_F(AdminTest, process_routes_show_the_configuration_change_the_level_and_drain) {
  config_.shown = "{\"Key\": 1}";
  int drains = 0;
  admin_.add_process_routes(config_, [&] { ++drains; });
  ASSERT_TRUE(open());
  const base::LogLevel before = base::log_level();

  EXPECT_THAT(ask("GET /config"), HasSubstr(config_.shown));
  EXPECT_THAT(ask("POST /log-level?level=error"), StartsWith("HTTP/1.1 200"));
  EXPECT_EQ(base::log_level(), base::LogLevel::error);
  EXPECT_FALSE(base::log_is_enabled(base::LogLevel::warn));
  EXPECT_THAT(ask("POST /log-level?level=loud"), StartsWith("HTTP/1.1 400"));
  EXPECT_THAT(ask("POST /log-level"), StartsWith("HTTP/1.1 400"));
  EXPECT_EQ(base::log_level(), base::LogLevel::error);
  base::set_log_level(before);
  EXPECT_THAT(ask("POST /drain"), StartsWith("HTTP/1.1 202"));
  EXPECT_EQ(drains, 1);
}

TEST(DescribeConfig, says_where_each_value_came_from_and_no_secret) {
  ConfigTable table;
  std::string name = "a";
  std::string token;
  std::vector<ListenAddress> listen{{"0.0.0.0", 8080, {}}};
  int count = 1;
  table.add_text("Program:Name", name, "");
  table.add_text("Program:Token", token, "").secret();
  table.add_addresses("Program:Listen", listen, "");
  table.add_integer("Program:Count", count, 0, 9, "");
  ConfigSources sources;
  sources.file_name = "test.yaml";
  sources.file_text = "Program:\n  Name: b\n  Listen: [\"127.0.0.1:1\", \"127.0.0.1:2\"]\n";
  sources.environment = {{"Program__Token", "s3cret"}};
  sources.flags = {{"--count", "Program:Count", {"7"}}};
  const ConfigReading reading = read_config(table, sources);
  ASSERT_FALSE(reading.has_errors());

  const std::string shown = describe_config(table, reading);

  EXPECT_THAT(shown, HasSubstr("test.yaml:2:"));
  EXPECT_THAT(shown, HasSubstr("environment variable Program__Token"));
  EXPECT_THAT(shown, HasSubstr("flag --count"));
  EXPECT_THAT(shown, HasSubstr("\"127.0.0.1:2\""));
  EXPECT_THAT(shown, Not(HasSubstr("s3cret")));
}

TEST(IsSameSecret, is_true_for_the_same_bytes_only) {
  EXPECT_TRUE(is_same_secret("", ""));
  EXPECT_TRUE(is_same_secret("abc", "abc"));
  EXPECT_FALSE(is_same_secret("abcabc", "abc"));
  EXPECT_FALSE(is_same_secret("ab", "abc"));
  EXPECT_FALSE(is_same_secret("abd", "abc"));
  EXPECT_FALSE(is_same_secret("", "abc"));
  EXPECT_FALSE(is_same_secret("abc", ""));
}

}  // namespace
}  // namespace outrigger::app
