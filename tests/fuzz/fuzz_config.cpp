// Configuration as the two programs read it. Input: a byte of options, environment variables one per line up to an
// empty line, then the YAML file. Whatever it is, there are messages of one line each or a configuration; what is shown
// reads back as what is shown.
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "bridge/app/config_reader.h"
#include "bridge/base/check.h"
#include "gateway-edge/gateway_config.h"
#include "sidecar/sidecar_config.h"
#include "tests/fuzz/fuzz_input.h"

namespace {

using namespace outrigger;
using app::ConfigReading;
using app::ConfigSources;

// An item with a key of most kinds.
struct Item {
  std::string text;
  std::string secret;
  std::vector<std::string> texts;
  std::chrono::milliseconds duration{1};
  int integer = 1;
  bool boolean = false;
};

void declare_item(app::ConfigTable& table, const std::string& path, Item& item) {
  using namespace std::chrono_literals;
  table.add_text(path + ":Text", item.text, "");
  table.add_text(path + ":Secret", item.secret, "").secret();
  table.add_texts(path + ":Texts", item.texts, "", [](const std::string&) { return base::Result<void>(); });
  table.add_duration(path + ":Inner:Duration", item.duration, 1ms, 24h, "");
  table.add_integer(path + ":Inner:Integer", item.integer, 1, 99, "").alias(path + ":Integer");
  table.add_boolean(path + ":Boolean", item.boolean, "");
}

// A program's table with the members it fills, and a list of objects.
struct Program {
  explicit Program(bool gateway_is_it) : is_gateway(gateway_is_it) {
    declare_gateway(table, gateway);
    declare_sidecar(table, sidecar);
    table.add_items("Gateway:Fuzz:Items", items, 4, "", declare_item);
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
  std::string show(const ConfigReading* reading = nullptr) const { return print_config(table, reading); }

  bool is_gateway;
  gateway::GatewayConfig gateway;
  sidecar::SidecarConfig sidecar;
  std::vector<Item> items;
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
  // The same table, read again: of what is shown with origins.
  const ConfigReading from_origins = next.read({"shown.yaml", program.show(&reading), {}, {}});
  CHECK(!from_origins.has_errors());
  CHECK(next.show() == shown);
  return 0;
}
