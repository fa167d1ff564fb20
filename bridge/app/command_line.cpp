#include "bridge/app/command_line.h"

#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <deque>
#include <fstream>
#include <sstream>

#include "bridge/app/config_reference.h"

namespace outrigger::app {
namespace {

constexpr std::size_t kConfigFileBytes = 1024 * 1024;

struct Parsed {
  std::string config_file;
  std::string mode = "serve";
  std::vector<FlagValue> flags;
};

std::string describe(const ConfigKey& key) {
  std::string text = key.help;
  if (!key.choices.empty()) {
    text += " One of:";
    for (const std::string& choice : key.choices) text += " " + choice;
    text += ".";
  }
  return text + " (" + key.path + (key.fallback.empty() ? "" : ", default " + key.fallback) + ")";
}

// Nothing: parsed.
std::optional<ExitNow> parse(const Program& program, const ConfigTable& table, int argc, const char* const* argv,
                             Parsed& parsed) {
  CLI::App cli(program.summary, program.name);
  cli.set_help_flag("-h,--help", "Print this and exit.");
  cli.set_version_flag("--version", program.name + " " + std::string(version()), "Print the version and exit.");
  cli.add_option("-c,--config", parsed.config_file, "Configuration file in YAML; - is standard input.")
      ->type_name("FILE");
  cli.add_option("--mode", parsed.mode,
                 "serve; validate: check the configuration and exit; show: print the configuration in effect and exit; "
                 "schema, reference: print the JSON Schema of configuration files, or what each key does, and exit.")
      ->type_name("MODE")
      ->check(CLI::IsMember({"serve", "validate", "show", "schema", "reference"}));

  std::deque<FlagValue> values;  // its elements never move: the options write into them
  std::vector<CLI::Option*> options;
  for (const ConfigKey& key : table.keys()) {
    if (key.flag_name.empty() || table.is_ignored(key)) continue;
    FlagValue& value = values.emplace_back(FlagValue{key.flag_name, key.path, {}});
    CLI::Option* option =
        cli.add_option(key.flag_name, value.values, describe(key))->type_name(key.flag_value)->allow_extra_args(false);
    if (!key.is_list) option->expected(1)->multi_option_policy(CLI::MultiOptionPolicy::Throw);
    options.push_back(option);
  }
  try {
    cli.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    std::ostringstream out;
    std::ostringstream err;
    const int code = cli.exit(error, out, err);
    return ExitNow{code == 0 ? 0 : 2, out.str(), err.str()};
  }
  for (std::size_t i = 0; i < options.size(); ++i) {
    if (options[i]->count() > 0) parsed.flags.push_back(std::move(values[i]));
  }
  return std::nullopt;
}

}  // namespace

base::Result<std::string> read_config_file(const std::string& name, std::istream& standard_input) {
  std::ifstream file;
  if (name != "-") {
    file.open(name, std::ios::binary);
    if (!file) return base::Error{base::Code::invalid, name + ": cannot open the file: " + std::strerror(errno)};
  }
  std::istream& input = name == "-" ? standard_input : file;
  std::string text(kConfigFileBytes + 1, '\0');
  input.read(text.data(), static_cast<std::streamsize>(text.size()));
  if (input.bad()) return base::Error{base::Code::invalid, name + ": cannot read the file (is it a folder?)"};
  text.resize(static_cast<std::size_t>(input.gcount()));
  if (text.size() > kConfigFileBytes) return base::Error{base::Code::invalid, name + ": larger than 1 MiB"};
  return text;
}

std::optional<ExitNow> configure(const Program& program, ConfigTable& table,
                                 const std::function<void(ConfigReading&)>& finish, int argc, const char* const* argv,
                                 const Environment& environment, std::istream& standard_input) {
  Parsed parsed;
  if (auto exit = parse(program, table, argc, argv, parsed)) return exit;
  if (parsed.mode == "schema") return ExitNow{0, print_schema(table), ""};
  if (parsed.mode == "reference") return ExitNow{0, print_reference(table), ""};

  ConfigSources sources;
  sources.environment = environment;
  sources.flags = std::move(parsed.flags);
  if (!parsed.config_file.empty()) {
    auto text = read_config_file(parsed.config_file, standard_input);
    if (!text) return ExitNow{1, "", text.error().detail + "\n"};
    sources.file_name = parsed.config_file == "-" ? "standard input" : parsed.config_file;
    sources.file_text = std::move(*text);
  }
  ConfigReading reading = read_config(table, sources);
  finish(reading);
  if (reading.has_errors()) {
    ExitNow exit{reading.blames_a_flag() ? 2 : 1, "", ""};
    for (const std::string& line : reading.errors()) exit.err += line + "\n";
    return exit;
  }
  std::string warnings;
  for (const std::string& line : reading.warnings()) warnings += "warning: " + line + "\n";
  if (parsed.mode == "validate") return ExitNow{0, "configuration OK\n", warnings};
  if (parsed.mode == "show") return ExitNow{0, print_config(table, &reading), warnings};
  return std::nullopt;
}

int print_and_exit(const ExitNow& exit) {
  std::fputs(exit.out.c_str(), stdout);
  std::fputs(exit.err.c_str(), stderr);
  return exit.code;
}

Environment process_environment() {
  Environment variables;
  for (char** entry = environ; entry != nullptr && *entry != nullptr; ++entry) {
    const std::string text(*entry);
    const std::size_t equals = text.find('=');
    if (equals != std::string::npos) variables.emplace_back(text.substr(0, equals), text.substr(equals + 1));
  }
  return variables;
}

std::string_view version() {
  return OUTRIGGER_VERSION;
}

}  // namespace outrigger::app
