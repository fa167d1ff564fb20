// Configuration as the two programs read it. Input: a byte of options, environment variables one per line up to an
// empty line, then the YAML file. Whatever it is, there are messages of one line each or a configuration; what is shown
// reads back as what is shown.
#include <cstddef>
#include <cstdint>
#include <string>

#include "bridge/app/config_reader.h"
#include "bridge/base/check.h"
#include "gateway-edge/gateway_config.h"
#include "sidecar/sidecar_config.h"
#include "tests/fuzz/fuzz_input.h"

namespace {

using namespace outrigger;
using app::ConfigReading;
using app::ConfigSources;

// A program's table with the members it fills.
struct Program {
  explicit Program(bool gateway_is_it) : is_gateway(gateway_is_it) {
    declare_gateway(table, gateway);
    declare_sidecar(table, sidecar);
    table.ignore_values_below(is_gateway ? "Sidecar" : "Gateway");
  }
  ConfigReading read(const ConfigSources& sources) {
    ConfigReading reading = read_config(table, sources);
    if (is_gateway) {
      finish_gateway(reading, gateway);
    } else {
      finish_sidecar(reading, sidecar);
    }
    return reading;
  }
  std::string show() const { return print_config(table); }

  bool is_gateway;
  gateway::GatewayConfig gateway;
  sidecar::SidecarConfig sidecar;
  app::ConfigTable table;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  fuzz::Input input(data, size);
  const bool is_gateway = (input.byte() & 1) == 0;
  ConfigSources sources;
  sources.file_name = "outrigger.yaml";
  for (std::string_view line = input.line(); !line.empty(); line = input.line()) {
    const std::size_t equals = std::min(line.find('='), line.size());
    sources.environment.emplace_back(line.substr(0, equals), line.substr(std::min(equals + 1, line.size())));
  }
  sources.file_text = input.rest();

  Program program(is_gateway);
  const ConfigReading reading = program.read(sources);
  for (const std::string& line : reading.errors()) {
    CHECK(!line.empty());
    for (const char c : line) CHECK(static_cast<unsigned char>(c) >= 0x20 && c != 0x7f);
  }
  if (reading.has_errors()) return 0;

  const std::string shown = program.show();
  Program next(is_gateway);
  const ConfigReading again = next.read({"shown.yaml", shown, {}, {}});
  CHECK(!again.has_errors());
  CHECK(next.show() == shown);
  return 0;
}
