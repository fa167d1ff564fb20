// The flags of `outrigger dead`, and which letters they choose.
#include "bridge/cli/dead_options.h"

#include <CLI/CLI.hpp>

namespace outrigger::cli {
namespace {

using namespace std::chrono_literals;
using Command = DeadOptions::Command;

struct Parsed {
  DeadOptions options;
  bool is_good = false;
};

Parsed parse(const std::string& line) {
  Parsed parsed;
  CLI::App cli("test", "outrigger");
  declare_dead(cli, parsed.options);
  try {
    cli.parse("dead " + line);
    parsed.is_good = true;
  } catch (const CLI::ParseError&) {
  }
  return parsed;
}

TEST(DeadOptions, list_has_its_defaults) {
  const auto [options, is_good] = parse("list");
  EXPECT_TRUE(is_good);
  EXPECT_EQ(options.command, Command::list);
  EXPECT_EQ(options.output, "table");
  EXPECT_EQ(options.limit, 100U);
  EXPECT_TRUE(options.filter.is_empty());
  EXPECT_FALSE(options.shows_query);
  EXPECT_EQ(fault_of(options), "");
}

TEST(DeadOptions, filters_are_collected) {
  const auto [options, is_good] = parse(
      "purge --service a --service b-c --reason exhausted --reason expired --id 7-1 --id 5-0 --id 7-1 --older-than 1h "
      "--newer-than 2d --valkey unix:/s --section sidecar -c f.yaml");
  ASSERT_TRUE(is_good);
  EXPECT_EQ(options.command, Command::purge);
  EXPECT_EQ(options.filter.services, (std::vector<std::string>{"a", "b-c"}));
  EXPECT_EQ(options.filter.reasons, (std::vector<std::string>{"exhausted", "expired"}));
  EXPECT_EQ(options.filter.ids, (std::vector<messaging::EntryId>{{5, 0}, {7, 1}}));
  EXPECT_EQ(options.filter.older_than, 1h);
  EXPECT_EQ(options.filter.newer_than, 48h);
  EXPECT_EQ(options.bus.valkey + options.bus.section + options.bus.config, "unix:/ssidecarf.yaml");
  EXPECT_EQ(fault_of(options), "");
}

TEST(DeadOptions, show_takes_its_letter_in_any_place) {
  for (const char* line : {"show 5-1 --service a --body", "show --service a --body 5-1"}) {
    const auto [options, is_good] = parse(line);
    ASSERT_TRUE(is_good) << line;
    EXPECT_EQ(options.command, Command::show);
    EXPECT_EQ(options.filter.ids, (std::vector<messaging::EntryId>{{5, 1}}));
    EXPECT_EQ(options.filter.services, std::vector<std::string>{"a"});
    EXPECT_TRUE(options.writes_body);
  }
}

TEST(DeadOptions, redrive_waits_unless_told_otherwise) {
  const auto [waiting, is_good] = parse("redrive --all");
  EXPECT_TRUE(is_good && waiting.waits && !waiting.may_run_twice);
  EXPECT_EQ(waiting.timeout, 30s);
  const auto [other, is_good_too] = parse("redrive --all --no-wait --may-run-twice --timeout 90s");
  EXPECT_TRUE(is_good_too && !other.waits && other.may_run_twice);
  EXPECT_EQ(other.timeout, 90s);
}

TEST(DeadOptions, everything_must_be_meant) {
  for (const char* line : {"redrive", "purge", "purge --redriven", "redrive --may-run-twice --no-wait"}) {
    const auto [options, is_good] = parse(line);
    EXPECT_TRUE(is_good) << line;
    EXPECT_NE(fault_of(options).find("--all"), std::string::npos) << line;
  }
  for (const char* line : {"purge --all", "purge --service a", "redrive --older-than 0", "redrive --id 1-1", "list"}) {
    EXPECT_EQ(fault_of(parse(line).options), "") << line;
  }
}

TEST(DeadOptions, nonsense_is_refused) {
  for (const char* line :
       {"", "burn", "show", "show 5-1", "show --service a", "show 5 --service a", "list --id x-1", "list --reason late",
        "list --service A", "list --older-than 5", "list --older-than=-5s", "list --limit 0", "list -o yaml", "list extra",
        "redrive --timeout 0", "list --section client", "list --all", "purge --body", "show 5-1 6-1 --service a"}) {
    EXPECT_FALSE(parse(line).is_good) << line;
  }
}

TEST(DeadFilter, every_part_must_admit) {
  const DeadFilter none;
  EXPECT_TRUE(none.admits({1, 0}, "", 0, 100));
  const DeadFilter reasons{.services = {}, .reasons = {"restored"}, .ids = {}, .older_than = {}, .newer_than = {}};
  EXPECT_TRUE(reasons.admits({1, 0}, "restored", 0, 0));
  EXPECT_FALSE(reasons.admits({1, 0}, "", 0, 0));
  const DeadFilter ids{.services = {}, .reasons = {}, .ids = {{1, 0}, {1, 2}}, .older_than = {}, .newer_than = {}};
  EXPECT_TRUE(ids.admits({1, 2}, "x", 0, 0));
  EXPECT_FALSE(ids.admits({1, 1}, "x", 0, 0));
}

TEST(DeadFilter, age_is_counted_from_the_letters_death) {
  const DeadFilter older{.services = {}, .reasons = {}, .ids = {}, .older_than = 10ms, .newer_than = {}};
  EXPECT_FALSE(older.admits({}, "", 91, 100));
  EXPECT_TRUE(older.admits({}, "", 90, 100));
  const DeadFilter newer{.services = {}, .reasons = {}, .ids = {}, .older_than = {}, .newer_than = 10ms};
  EXPECT_TRUE(newer.admits({}, "", 91, 100));
  EXPECT_FALSE(newer.admits({}, "", 90, 100));
  EXPECT_TRUE(newer.admits({}, "", 200, 100));  // our estimate of the server's clock may be a little behind
}

}  // namespace
}  // namespace outrigger::cli
