// outrigger: the operator's command line.
#include <CLI/CLI.hpp>
#include <cstdio>

#include "bridge/app/command_line.h"
#include "bridge/cli/dead.h"
#include "bridge/cli/dev.h"
#include "bridge/cli/status.h"
#include "bridge/cli/token_check.h"
#include "bridge/frames/queue_names.h"
#include "bridge/valkey/valkey_url.h"

int main(int argc, char** argv) {
  using namespace outrigger;
  CLI::App cli("Outrigger: HTTP services over Valkey.", "outrigger");
  cli.set_version_flag("--version", "outrigger " + std::string(app::version()));
  cli.require_subcommand(1);

  cli::DevOptions dev;
  std::vector<std::string> services;
  CLI::App* dev_command = cli.add_subcommand(
      "dev", "Runs a private Valkey server, a gateway and a sidecar per service; without services a built-in sample.");
  dev_command->add_option("--port", dev.port, "Port of the gateway on 127.0.0.1")->capture_default_str();
  dev_command->add_option("--valkey", dev.valkey, "Use this server instead of a private one");
  dev_command->add_option("services", services, "NAME=URL, as in mine=http://127.0.0.1:3000; a name given twice gets two instances");
  cli::StatusOptions status;
  CLI::App* status_command =
      cli.add_subcommand("status", "Shows the routes and instances of a running gateway, or the state of a running sidecar.");
  status_command->add_option("--admin", status.admin,
                             "Its admin listener, HOST:PORT or unix:PATH; default: the gateway's socket in /run/outrigger "
                             "or $XDG_RUNTIME_DIR/outrigger");
  status_command->add_option("--token-file", status.token_file, "File with the token that a TCP address demands");
  status_command->add_option("-o,--output", status.output, "table or json")
      ->check(CLI::IsMember({"table", "json"}))
      ->capture_default_str();
  cli::DeadOptions dead;
  const CLI::App* dead_command = cli::declare_dead(cli, dead);
  cli::TokenCheckOptions token;
  const CLI::App* token_command = cli::declare_token(cli, token);
  try {
    cli.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return cli.exit(error) == 0 ? 0 : 2;
  }

  if (status_command->parsed()) return cli::run_status(status);
  if (dead_command->parsed()) return cli::run_dead(dead);
  if (token_command->parsed()) return cli::run_token_check(token);
  for (const std::string& service : services) {
    const std::size_t equals = service.find('=');
    const std::string name = service.substr(0, equals);
    const std::string url = equals == std::string::npos ? "" : service.substr(equals + 1);
    if (!frames::is_service_name(name) || !url.starts_with("http://")) {
      std::fprintf(stderr,
                   "outrigger dev: '%s' is not NAME=URL: a name of a-z 0-9 . _ - and an http:// URL, as in "
                   "mine=http://127.0.0.1:3000\n",
                   service.c_str());
      return 2;
    }
    dev.services.emplace_back(name, url);
  }
  if (!dev.valkey.empty()) {
    if (const auto address = valkey::parse_valkey_address(dev.valkey); !address) {
      std::fprintf(stderr, "outrigger dev: --valkey: %s\n", address.error().detail.c_str());
      return 2;
    }
  }
  return cli::run_dev(dev);
}
