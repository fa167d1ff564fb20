// The admin listener: whatever changes a program, or shows its traffic, for its operator alone. By default a unix socket
// that only the program's own user may open; a TCP address demands a token in every request. Views answer GET, commands
// answer POST, both in JSON; parameters stand in the query. Loop thread only.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "bridge/app/config_reader.h"
#include "bridge/app/process_config.h"
#include "bridge/base/unique_function.h"
#include "bridge/http1/http_server.h"

namespace outrigger::app {

struct AdminAnswer {
  std::string json;
  int status = 200;
};
// {"error": "..."}
AdminAnswer admin_error(int status, std::string_view what);

// The query of a request, parsed: names are those the route declares, each given once.
class AdminQuery {
 public:
  // Percent-encoding is undone. Error invalid: a parameter that is unknown or given twice, or bad encoding.
  static base::Result<AdminQuery> parse(std::string_view query, const std::vector<std::string>& allowed);
  // nullptr if it was not given.
  const std::string* find(std::string_view name) const;

 private:
  std::vector<std::pair<std::string, std::string>> values_;
};

class Admin final : private http1::RequestHandler {
 public:
  using Action = base::UniqueFunction<AdminAnswer(const AdminQuery&)>;

  // A view is asked by GET (or HEAD), a command by POST; every other method gets 405. `parameters` are the names its
  // query may have.
  void add_view(std::string path, std::string help, std::vector<std::string> parameters, Action action);
  // Each command is logged. One route may have several paths: call it again.
  void add_command(std::string path, std::string help, std::vector<std::string> parameters, Action action);
  // What every program has: GET /config, POST /log-level?level=, POST /drain. `drain` must bear to be called again.
  void add_process_routes(const ProcessConfig& config, base::UniqueFunction<void()> drain);

  // Opens the listener, if there is to be one. The default socket's folder is made if it may be, else it falls back to
  // $XDG_RUNTIME_DIR/outrigger; a default socket that cannot be opened is a warning in the log. Error refused: a
  // configured one cannot be opened, or a live process has it.
  base::Result<void> open(net::EventLoop& loop, std::string program, const ProcessConfig& config);
  // Nothing if it is not open.
  std::optional<net::Endpoint> endpoint() const;

 private:
  struct Route {
    std::string path;
    std::string help;
    bool is_command;
    std::vector<std::string> parameters;
    Action action;
  };
  void on_request(http1::Exchange& exchange) override;
  void on_bad_request(http1::ParseProblem problem, const http1::RequestHead* request, std::string_view peer_address,
                      http1::ResponseHead& head, std::string& body) override;
  bool may_pass(const http1::RequestHead& request) const;
  AdminAnswer answer(const http1::RequestHead& request, http1::ResponseHead& head);
  AdminAnswer index() const;

  std::string program_;
  std::vector<Route> routes_;
  std::string token_;  // demanded if not empty
  std::unique_ptr<http1::HttpServer> server_;
};

// Every key with its value (secrets redacted) and where that came from: {"Gateway:Listen": {"value": [...], "origin":
// "file.yaml:3:11"}, ...}; what is ignored is left out.
std::string describe_config(const ConfigTable& table, const ConfigReading& reading);

// True if both are the same; takes the same time wherever they differ.
bool is_same_secret(std::string_view given, std::string_view expected);

}  // namespace outrigger::app
