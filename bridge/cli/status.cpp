#include "bridge/cli/status.h"

#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <nlohmann/json.hpp>
#include <vector>

#include "bridge/app/listen_address.h"
#include "bridge/app/process.h"
#include "bridge/cli/table.h"
#include "bridge/http1/client_pool.h"
#include "bridge/net/event_loop.h"

namespace outrigger::cli {
namespace {

using Json = nlohmann::ordered_json;
using namespace std::chrono_literals;

constexpr base::Duration kPatience = 10s;

int complain(const std::string& what, int code) {
  std::fprintf(stderr, "outrigger status: %s\n", what.c_str());
  return code;
}

std::string default_admin() {
  const std::string usual = "/run/outrigger/gateway.sock";
  if (::access(usual.c_str(), F_OK) == 0) return "unix:" + usual;
  const char* runtime = std::getenv("XDG_RUNTIME_DIR");
  const std::string other = std::string(runtime == nullptr ? "" : runtime) + "/outrigger/gateway.sock";
  return "unix:" + (runtime != nullptr && ::access(other.c_str(), F_OK) == 0 ? other : usual);
}

// Asks one question after another, each until it is answered.
class Asker final : private http1::ClientHandler {
 public:
  Asker(const app::ListenAddress& at, std::string token)
      : pool_(loop_, app::to_endpoint(at)), host_(at.is_unix() ? "localhost" : app::to_string(at)), token_(std::move(token)) {}

  // Error: nobody answered, or not 200 with JSON.
  base::Result<Json> get(const std::string& target) {
    http1::ClientRequest request;
    request.method = "GET";
    request.target = target;
    request.headers.add("Host", host_);
    if (!token_.empty()) request.headers.add("Authorization", "Bearer " + token_);
    request.repeatable = true;
    status_ = 0;
    body_.clear();
    problem_.clear();
    is_done_ = false;
    const http1::ClientCall call = pool_.request(std::move(request), loop_.now() + kPatience, *this);
    while (!is_done_) loop_.run_turn();
    const auto fault = [](std::string why) { return base::Error{base::Code::invalid, std::move(why)}; };
    if (!problem_.empty()) return fault(problem_);
    Json json = Json::parse(body_, nullptr, false);
    if (status_ == 200 && !json.is_discarded()) return json;
    const bool has_words = json.is_object() && json.contains("error") && json["error"].is_string();
    return fault("GET " + target + " was answered " + std::to_string(status_) +
                 (has_words ? ": " + json["error"].get<std::string>() : ""));
  }

 private:
  void on_response_head(http1::ResponseHead head, bool) override { status_ = head.status; }
  void on_response_body(std::string_view bytes) override { body_.append(bytes); }
  void on_response_end() override { finish(); }
  void on_failed(const http1::ClientFailure& failure) override {
    problem_ = failure.error.detail;
    finish();
  }
  void finish() {
    is_done_ = true;
    loop_.defer([] {});  // so that the turn ends without a wait
  }

  net::EventLoop loop_{base::system_clock()};
  http1::ClientPool pool_;
  std::string host_;
  std::string token_;
  int status_ = 0;
  std::string body_;
  std::string problem_;
  bool is_done_ = false;
};

std::string text_of(const Json& object, const char* member) {
  const auto at = object.find(member);
  if (at == object.end() || at->is_null()) return "-";
  if (!at->is_string()) return printable(at->dump());
  auto text = at->get<std::string>();
  return text.empty() ? "-" : printable(std::move(text));
}

void print_table(std::vector<std::string> titles, const Json& rows, const std::vector<const char*>& members) {
  std::vector<std::vector<std::string>> cells;
  for (const Json& row : rows) {
    std::vector<std::string>& line = cells.emplace_back();
    for (const char* member : members) line.push_back(text_of(row, member));
  }
  std::fputs(make_table(std::move(titles), std::move(cells)).c_str(), stdout);
}

void print_gateway(const Json& routes, const Json& instances) {
  print_table({"SERVICE", "MOUNT", "VERSION", "ENDPOINTS", "INSTANCES", "QUEUE"}, routes.value("routes", Json::array()),
              {"service", "mount", "version", "endpoints", "usable_instances", "queue"});
  std::printf("\n");
  print_table({"INSTANCE", "SERVICE", "VERSION", "REGION", "STATE", "SEEN MS AGO"},
              instances.value("instances", Json::array()),
              {"instance", "service", "version", "region", "state", "last_seen_ms_ago"});
  const Json conflicts = routes.value("conflicts", Json::array());
  for (const Json& conflict : conflicts) {
    std::printf("\nnot routed: %s at %s: %s\n", text_of(conflict, "service").c_str(), text_of(conflict, "mount").c_str(),
                text_of(conflict, "reason").c_str());
  }
}

void print_sidecar(const Json& status) {
  const Json upstream = status.value("upstream", Json::object());
  Json row = status;
  row["upstream_url"] = text_of(upstream, "url");
  row["up"] = upstream.value("healthy", false) ? "up" : "down";
  print_table({"SERVICE", "INSTANCE", "STATE", "IN FLIGHT", "WAITING", "UPSTREAM", "IS"}, Json::array({row}),
              {"service", "instance", "state", "in_flight", "waiting", "upstream_url", "up"});
}

}  // namespace

int run_status(const StatusOptions& options) {
  const std::string admin = options.admin.empty() ? default_admin() : options.admin;
  const auto at = app::parse_listen_address(admin);
  if (!at) return complain("--admin: " + at.error().detail, 2);
  std::string token;
  if (!options.token_file.empty()) {
    std::ifstream file(options.token_file);
    if (!std::getline(file, token)) return complain("--token-file: cannot read " + options.token_file, 2);
  }
  Asker asker(*at, token);
  const auto index = asker.get("/");
  if (!index) {
    // Without a folder it may write to, a program started by hand has no admin listener of its own accord.
    const char* remedy = options.admin.empty() ? "; start the program with --admin ADDR, and name the same ADDR here" : "";
    return complain("nobody answers: " + index.error().detail + remedy, 1);
  }
  if (index->value("program", "") == "outrigger-sidecar") {
    const auto status = asker.get("/status");
    if (!status) return complain(app::to_string(*at) + ": " + status.error().detail, 1);
    if (options.output == "json") {
      std::printf("%s\n", status->dump(2).c_str());
    } else {
      print_sidecar(*status);
    }
    return 0;
  }
  const auto routes = asker.get("/routes");
  const auto instances = asker.get("/instances");
  if (!routes || !instances) {
    return complain(app::to_string(*at) + ": " + (routes ? instances : routes).error().detail, 1);
  }
  if (options.output == "json") {
    Json both = *routes;
    both["instances"] = instances->value("instances", Json::array());
    std::printf("%s\n", both.dump(2).c_str());
  } else {
    print_gateway(*routes, *instances);
  }
  return 0;
}

}  // namespace outrigger::cli
