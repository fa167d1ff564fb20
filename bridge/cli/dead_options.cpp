#include "bridge/cli/dead_options.h"

#include <CLI/CLI.hpp>
#include <algorithm>

#include "bridge/app/config_value.h"
#include "bridge/app/name_rules.h"
#include "bridge/frames/dead_letter.h"

namespace outrigger::cli {
namespace {

using messaging::EntryId;

std::vector<std::string> reasons() {
  std::vector<std::string> names;
  for (int i = 0; i < frames::kDeadReasons; ++i) names.emplace_back(name_of(static_cast<frames::DeadReason>(i)));
  return names;
}

CLI::Validator duration_check(std::chrono::milliseconds least) {
  return CLI::Validator(
      [least](std::string& text) -> std::string {
        const auto duration = app::parse_duration(text);
        if (!duration) return duration.error().detail;
        return *duration >= least ? "" : "must be at least " + app::print_duration(least);
      },
      "");
}

const CLI::Validator kServiceCheck(
    [](std::string& text) {
      const auto checked = app::check_service_name(text);
      return checked ? std::string() : checked.error().detail;
    },
    "");

const CLI::Validator kIdCheck(
    [](std::string& text) {
      return messaging::parse_entry_id(text) ? std::string() : "'" + text + "' is no entry id, such as 1767225630000-0";
    },
    "");

void add_bus(CLI::App& command, BusOptions& bus) {
  command.add_option("--valkey", bus.valkey, "The server; wins over the configuration's")->type_name("URL");
  command.add_option("-c,--config", bus.config,
                     "Configuration of a gateway or a sidecar, for the server and the names of keys; - is standard input")
      ->type_name("FILE");
  command.add_option("--section", bus.section, "Whose messaging block, where a configuration has both and they differ")
      ->type_name("WHOSE")
      ->check(CLI::IsMember({"gateway", "sidecar"}));
}

void add_output(CLI::App& command, DeadOptions& options) {
  command.add_option("-o,--output", options.output, "table or json")
      ->type_name("FORMAT")
      ->check(CLI::IsMember({"table", "json"}))
      ->capture_default_str();
}

void add_filter(CLI::App& command, DeadFilter& filter) {
  command.add_option("--service", filter.services, "Only this service's; may be given again")
      ->type_name("NAME")
      ->check(kServiceCheck)
      ->allow_extra_args(false);
  command.add_option("--reason", filter.reasons, "Only those given up for this reason; may be given again")
      ->type_name("REASON")
      ->check(CLI::IsMember(reasons()))
      ->allow_extra_args(false);
  command
      .add_option_function<std::vector<std::string>>(
          "--id",
          [&filter](const std::vector<std::string>& texts) {
            for (const std::string& text : texts) filter.ids.push_back(*messaging::parse_entry_id(text));
            std::sort(filter.ids.begin(), filter.ids.end());
            filter.ids.erase(std::unique(filter.ids.begin(), filter.ids.end()), filter.ids.end());
          },
          "Only the letter with this id; may be given again")
      ->type_name("ENTRY")
      ->check(kIdCheck)
      ->allow_extra_args(false);
  const auto add_age = [&](const char* name, std::optional<std::chrono::milliseconds>& age, const char* help) {
    command
        .add_option_function<std::string>(
            name, [&age](const std::string& text) { age = *app::parse_duration(text); }, help)
        ->type_name("DURATION")
        ->check(duration_check(std::chrono::milliseconds(0)));
  };
  add_age("--older-than", filter.older_than, "Only those given up longer ago, such as 1h");
  add_age("--newer-than", filter.newer_than, "Only those given up since, such as 10m");
}

}  // namespace

bool DeadFilter::admits(EntryId id, std::string_view reason, std::int64_t at_ms, std::int64_t now_ms) const {
  const auto age = std::chrono::milliseconds(now_ms - at_ms);
  if (older_than && age < *older_than) return false;
  if (newer_than && age >= *newer_than) return false;
  if (!ids.empty() && !std::binary_search(ids.begin(), ids.end(), id)) return false;
  return reasons.empty() || std::find(reasons.begin(), reasons.end(), reason) != reasons.end();
}

CLI::App* declare_dead(CLI::App& cli, DeadOptions& options) {
  using Command = DeadOptions::Command;
  CLI::App* dead = cli.add_subcommand("dead", "Lists, shows, runs again and deletes requests that were given up.");
  dead->require_subcommand(1);
  const auto add = [&](const char* name, Command which, const char* help) {
    CLI::App* command = dead->add_subcommand(name, help);
    command->callback([&options, which] { options.command = which; });
    add_bus(*command, options.bus);
    return command;
  };

  CLI::App* list = add("list", Command::list, "Lists dead letters, oldest first, one service after another.");
  add_filter(*list, options.filter);
  add_output(*list, options);
  list->add_option("--limit", options.limit, "At most so many; how many more there are is said")
      ->type_name("N")
      ->check(CLI::Range(1, 1'000'000))
      ->capture_default_str();
  list->add_flag("--query", options.shows_query, "With the query of the target: it may hold tokens");

  CLI::App* show = add("show", Command::show, "Shows one dead letter.");
  show->add_option_function<std::string>(
          "id", [&options](const std::string& text) { options.filter.ids = {*messaging::parse_entry_id(text)}; },
          "The letter's id, as list has it")
      ->type_name("ENTRY")
      ->check(kIdCheck)
      ->required();
  show->add_option_function<std::string>(
          "--service", [&options](const std::string& text) { options.filter.services = {text}; }, "Whose letter it is")
      ->type_name("NAME")
      ->check(kServiceCheck)
      ->required();
  add_output(*show, options);
  show->add_flag("--body", options.writes_body, "Writes the body's bytes and nothing else; with -o json adds it in base64");
  show->add_flag("--secrets", options.shows_secrets, "With the values of header fields that hold secrets, else ***");

  CLI::App* redrive =
      add("redrive", Command::redrive, "Runs dead letters again, as new requests, and waits for their answers.");
  add_filter(*redrive, options.filter);
  redrive->add_flag("--all", options.all, "Every dead letter of every service, without a filter");
  redrive->add_flag("--may-run-twice", options.may_run_twice,
                    "Also those that may have been run already and may not be run twice: you have looked");
  redrive
      ->add_option_function<std::string>(
          "--timeout", [&options](const std::string& text) { options.timeout = *app::parse_duration(text); },
          "How long each may take, and is waited for (default 30s)")
      ->type_name("DURATION")
      ->check(duration_check(std::chrono::milliseconds(1)));
  redrive->add_flag_callback(
      "--no-wait", [&options] { options.waits = false; }, "Writes the requests, and does not wait for answers");

  CLI::App* purge = add("purge", Command::purge, "Deletes dead letters; with --redriven, takes redriven requests back.");
  add_filter(*purge, options.filter);
  purge->add_flag("--all", options.all, "Every dead letter of every service, without a filter");
  purge->add_flag("--redriven", options.redriven,
                  "Not letters, but requests that were redriven and that no sidecar has begun. They are gone then");
  return dead;
}

std::string fault_of(const DeadOptions& options) {
  const bool changes = options.command == DeadOptions::Command::redrive || options.command == DeadOptions::Command::purge;
  if (changes && options.filter.is_empty() && !options.all) {
    return "this would be every dead letter of every service: choose by --service, --reason, --id, --older-than or "
           "--newer-than, or say --all if you mean all of them";
  }
  return {};
}

std::string_view name_of(DeadOptions::Command command) {
  switch (command) {
    case DeadOptions::Command::list: return "dead list";
    case DeadOptions::Command::show: return "dead show";
    case DeadOptions::Command::redrive: return "dead redrive";
    case DeadOptions::Command::purge: return "dead purge";
  }
  return "dead";
}

}  // namespace outrigger::cli
