// Looking through streams: pages, names, deletion.
#include "bridge/valkey/stream_browser.h"

#include "tests/integration/valkey/valkey_test.h"

namespace outrigger::tests {
namespace {

using messaging::OwnedEntry;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

class StreamBrowser : public ValkeyTest {
 protected:
  void SetUp() override {
    ValkeyTest::SetUp();
    browser_ = std::make_unique<valkey::StreamBrowser>(*bus_);
    ASSERT_TRUE(loop_.run_until("the browser", [&] { return browser_->is_ready(); }));
  }
  std::vector<OwnedEntry> page(const std::string& stream, Id after, std::uint32_t count) {
    auto entries = ask<std::vector<OwnedEntry>>([&](auto done) { browser_->page(stream, after, count, std::move(done)); });
    EXPECT_TRUE(entries.has_value());
    return entries ? *entries : std::vector<OwnedEntry>{};
  }

  std::unique_ptr<valkey::StreamBrowser> browser_;
};

TEST_F(StreamBrowser, pages_go_on_behind_the_last_id) {
  for (const char* id : {"5-0", "5-1", "7-0"}) server_->cli({"XADD", "s", id, "b", std::string_view("\0\xff\r\n", 4)});

  const auto first = page("s", {}, 2);
  ASSERT_EQ(first.size(), 2U);
  EXPECT_EQ(text(first[0].id) + " " + text(first[1].id), "5-0 5-1");
  EXPECT_EQ(first[0].fields[0].second, std::string("\0\xff\r\n", 4));
  const auto second = page("s", first[1].id, 2);
  ASSERT_EQ(second.size(), 1U);
  EXPECT_EQ(text(second[0].id), "7-0");
  EXPECT_THAT(page("s", second[0].id, 2), IsEmpty());
  EXPECT_THAT(page("nothing", {}, 2), IsEmpty());
}

TEST_F(StreamBrowser, streams_are_found_by_pattern_among_many_keys) {
  for (int i = 0; i < 3000; ++i) server_->cli({"SET", "router:dead:x" + std::to_string(i), "no stream"});
  for (const char* name : {"router:dead:b", "router:dead:a", "router:deadly", "other:dead:a"}) {
    server_->cli({"XADD", name, "*", "v", "1"});
  }

  const auto found =
      ask<std::vector<std::string>>([&](auto done) { browser_->streams("router:dead:*", std::move(done)); });

  ASSERT_TRUE(found.has_value());
  EXPECT_THAT(*found, ElementsAre("router:dead:a", "router:dead:b"));
}

TEST_F(StreamBrowser, erased_entries_are_counted) {
  server_->cli({"XADD", "s", "5-0", "v", "1"});
  server_->cli({"XADD", "s", "6-0", "v", "1"});

  const auto erased = ask<std::uint64_t>([&](auto done) {
    browser_->erase("s", {{5, 0}, {5, 1}}, std::move(done));
  });

  EXPECT_EQ(erased.value(), 1U);
  EXPECT_EQ(server_->cli({"XLEN", "s"}), "1");
}

TEST_F(StreamBrowser, other_kinds_of_keys_and_lost_connections_are_errors) {
  server_->cli({"SET", "s", "x"});
  EXPECT_EQ(fault<std::vector<OwnedEntry>>([&](auto done) { browser_->page("s", {}, 1, std::move(done)); }), "refused");
  server_->kill_hard();
  EXPECT_TRUE(loop_.run_until("the loss", [&] { return !browser_->is_ready(); }));
  EXPECT_EQ(fault<std::uint64_t>([&](auto done) { browser_->erase("s", {{1, 0}}, std::move(done)); }), "closed");
}

}  // namespace
}  // namespace outrigger::tests
