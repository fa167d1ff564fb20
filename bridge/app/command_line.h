// From argc/argv to a configuration to serve with, or to the text and code to exit with: flags, --help, --version,
// --config, --mode, and the flags of the table's keys. Start-up only.
#pragma once

#include <functional>
#include <istream>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "bridge/app/config_reader.h"

namespace outrigger::app {

struct Program {
  std::string name;     // "outrigger-gateway"
  std::string summary;  // one line for --help
};

// The process ends here: 0 after --help, --version and every --mode but serve; 1 if the configuration is wrong; 2 if
// the command line is.
struct ExitNow {
  int code = 0;
  std::string out;
  std::string err;
};

// Fills the table's targets from all sources; nothing returned: serve with them. `finish` runs after reading and
// reports what concerns several keys. `standard_input` is read for `--config -`.
std::optional<ExitNow> configure(const Program& program, ConfigTable& table,
                                 const std::function<void(ConfigReading&)>& finish, int argc, const char* const* argv,
                                 const Environment& environment, std::istream& standard_input);

// The text of a configuration file, `-` for the standard input. Error invalid: it cannot be read, or is above 1 MiB.
base::Result<std::string> read_config_file(const std::string& name, std::istream& standard_input);

// Prints both texts and returns the code, for main.
int print_and_exit(const ExitNow& exit);

// The environment of this process.
Environment process_environment();

// "0.1.0"
std::string_view version();

}  // namespace outrigger::app
