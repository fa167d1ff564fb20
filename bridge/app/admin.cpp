#include "bridge/app/admin.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <nlohmann/json.hpp>

#include "bridge/app/command_line.h"
#include "bridge/app/process.h"
#include "bridge/base/log_level.h"

namespace outrigger::app {
namespace {

using Json = nlohmann::ordered_json;
using namespace std::chrono_literals;

constexpr std::size_t kConnections = 32;        // an operator and his scripts
constexpr std::size_t kBodyBytes = 4096;        // no route reads one
constexpr base::Duration kPatience = 10s;       // for heads and bodies; whoever is slower is no operator
constexpr std::string_view kBearer = "Bearer "; // RFC 6750 section 2.1

std::string dump(const Json& json) { return json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n"; }

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

std::optional<std::string> decoded(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      out.push_back(text[i]);
      continue;
    }
    if (i + 2 >= text.size()) return std::nullopt;
    const int high = hex_digit(text[i + 1]);
    const int low = hex_digit(text[i + 2]);
    if (high < 0 || low < 0) return std::nullopt;
    out.push_back(static_cast<char>(high * 16 + low));
    i += 2;
  }
  return out;
}

std::string folder_of(const std::string& path) {
  const std::size_t slash = path.rfind('/');
  return slash == std::string::npos ? "." : slash == 0 ? "/" : path.substr(0, slash);
}

// The folder is there, or could be made, and files can be made in it. Else why not.
std::string make_folder(const std::string& folder, mode_t mode) {
  if (::mkdir(folder.c_str(), mode) != 0 && errno != EEXIST) return "cannot make " + folder + ": " + std::strerror(errno);
  if (::access(folder.c_str(), W_OK | X_OK) != 0) return "cannot write to " + folder + ": " + std::strerror(errno);
  return {};
}

// Where the default socket can be.
base::Result<ListenAddress> place_default(const ListenAddress& wanted) {
  const std::string problem = make_folder(folder_of(wanted.unix_path), 0755);
  if (problem.empty()) return wanted;
  const char* runtime = std::getenv("XDG_RUNTIME_DIR");
  if (runtime == nullptr || *runtime != '/') return base::Error{base::Code::refused, problem + ", and XDG_RUNTIME_DIR is not set"};
  const std::string folder = std::string(runtime) + "/outrigger";
  const std::string second = make_folder(folder, 0700);
  if (!second.empty()) return base::Error{base::Code::refused, problem + "; " + second};
  auto placed = parse_listen_address("unix:" + folder + wanted.unix_path.substr(wanted.unix_path.rfind('/')));
  if (!placed) return placed.error();
  return *placed;
}

std::string origin_text(const ConfigOrigin& origin) {
  switch (origin.level) {
    case ConfigLevel::fallback: return "default";
    case ConfigLevel::file:
      return origin.name + ":" + std::to_string(origin.line) + ":" + std::to_string(origin.column);
    case ConfigLevel::environment: return "environment variable " + origin.name;
    case ConfigLevel::flag: return "flag " + origin.name;
  }
  return "default";
}

}  // namespace

AdminAnswer admin_error(int status, std::string_view what) { return {dump({{"error", what}}), status}; }

base::Result<AdminQuery> AdminQuery::parse(std::string_view query, const std::vector<std::string>& allowed) {
  const auto invalid = [](std::string why) { return base::Error{base::Code::invalid, std::move(why)}; };
  AdminQuery parsed;
  while (!query.empty()) {
    const std::string_view part = query.substr(0, query.find('&'));
    query.remove_prefix(std::min(query.size(), part.size() + 1));
    if (part.empty()) continue;
    const std::size_t equals = part.find('=');
    auto name = decoded(part.substr(0, equals));
    auto value = decoded(equals == std::string_view::npos ? "" : part.substr(equals + 1));
    if (!name || !value) return invalid("'%' must be followed by two hex digits");
    if (std::find(allowed.begin(), allowed.end(), *name) == allowed.end()) {
      std::string names;
      for (const std::string& each : allowed) names += (names.empty() ? "" : ", ") + each;
      return invalid("unknown parameter '" + *name + "'" + (names.empty() ? "; there are none" : "; there is: " + names));
    }
    if (parsed.find(*name) != nullptr) return invalid("parameter '" + *name + "' is given twice");
    parsed.values_.emplace_back(std::move(*name), std::move(*value));
  }
  return parsed;
}

const std::string* AdminQuery::find(std::string_view name) const {
  for (const auto& [key, value] : values_) {
    if (key == name) return &value;
  }
  return nullptr;
}

void Admin::add_view(std::string path, std::string help, std::vector<std::string> parameters, Action action) {
  routes_.push_back({std::move(path), std::move(help), false, std::move(parameters), std::move(action)});
}

void Admin::add_command(std::string path, std::string help, std::vector<std::string> parameters, Action action) {
  routes_.push_back({std::move(path), std::move(help), true, std::move(parameters), std::move(action)});
}

void Admin::add_process_routes(const ProcessConfig& config, base::UniqueFunction<void()> drain) {
  add_view("/config", "The configuration in effect, and where each value came from.", {},
           [shown = config.shown](const AdminQuery&) { return AdminAnswer{shown.empty() ? "{}\n" : shown}; });
  add_command("/drain", "As the first SIGTERM: finish what runs, then end.", {},
              [drain = std::move(drain)](const AdminQuery&) mutable {
                drain();
                return AdminAnswer{dump({{"draining", true}}), 202};
              });
  add_command("/log-level", "Changes the log's level until the end of the process: debug, info, warn or error.", {"level"},
              [](const AdminQuery& query) {
                const std::string* wanted = query.find("level");
                for (const auto level :
                     {base::LogLevel::debug, base::LogLevel::info, base::LogLevel::warn, base::LogLevel::error}) {
                  if (wanted == nullptr || base::to_string(level) != *wanted) continue;
                  const std::string before(base::to_string(base::log_level()));
                  base::set_log_level(level);
                  return AdminAnswer{dump({{"level", *wanted}, {"before", before}})};
                }
                return admin_error(400, "level must be debug, info, warn or error");
              });
}

base::Result<void> Admin::open(net::EventLoop& loop, std::string program, const ProcessConfig& config) {
  program_ = std::move(program);
  if (!config.admin) return {};
  http1::HttpServerOptions options;
  options.max_connections = kConnections;
  options.session.limits.body_bytes = kBodyBytes;
  options.session.head_timeout = options.session.body_timeout = options.session.write_timeout = kPatience;
  options.listen.unix_mode = 0600;
  const auto try_to_open = [&]() -> base::Result<void> {
    ListenAddress at = *config.admin;
    if (config.admin_is_default) {
      auto placed = place_default(at);
      if (!placed) return placed.error();
      at = *placed;
    }
    if (!at.is_unix()) token_ = config.admin_token;
    auto server = http1::HttpServer::open(loop, to_endpoint(at), options, *this);
    if (!server) return server.error();
    server_ = std::move(*server);
    return {};
  };
  const auto opened = try_to_open();
  if (opened) {
    base::log_info("admin listener is open", {{"address", net::to_string(server_->endpoint())}});
    return {};
  }
  if (!config.admin_is_default) return opened.error();
  base::log_warn("no admin listener: choose its place with --admin ADDR, or --admin off", {{"why", opened.error().detail}});
  return {};
}

std::optional<net::Endpoint> Admin::endpoint() const {
  if (server_ == nullptr) return std::nullopt;
  return server_->endpoint();
}

bool Admin::may_pass(const http1::RequestHead& request) const {
  if (token_.empty()) return true;
  const std::string_view given = request.headers.find("Authorization").value_or("");
  return given.size() > kBearer.size() && base::equals_ignoring_case(given.substr(0, kBearer.size()), kBearer) &&
         is_same_secret(given.substr(kBearer.size()), token_);
}

void Admin::on_request(http1::Exchange& exchange) {
  const http1::RequestHead& request = exchange.request();
  http1::ResponseHead head;
  head.headers.add("Content-Type", "application/json");
  head.headers.add("Cache-Control", "no-store");
  AdminAnswer answered = answer(request, head);
  head.status = answered.status;
  exchange.send(head, std::move(answered.json));
}

AdminAnswer Admin::answer(const http1::RequestHead& request, http1::ResponseHead& head) {
  if (!may_pass(request)) {
    head.headers.add("WWW-Authenticate", "Bearer realm=\"outrigger\"");
    return admin_error(401, "the token of AdminToken is needed: Authorization: Bearer TOKEN");
  }
  const std::string_view target = request.target;
  const std::string_view path = target.substr(0, target.find('?'));
  const bool is_view_asked = request.method == "GET" || request.method == "HEAD";
  if (path == "/" && is_view_asked) return index();
  const auto route = std::find_if(routes_.begin(), routes_.end(), [&](const Route& each) { return each.path == path; });
  if (route == routes_.end()) return admin_error(404, "there is no such path; GET / lists what there is");
  if (route->is_command ? request.method != "POST" : !is_view_asked) {
    head.headers.add("Allow", route->is_command ? "POST" : "GET, HEAD");
    return admin_error(405, route->is_command ? "this changes something: only POST" : "only GET");
  }
  if (request.has_body()) return admin_error(400, "no body is read: parameters stand in the query");
  auto query = AdminQuery::parse(path.size() < target.size() ? target.substr(path.size() + 1) : std::string_view(),
                                 route->parameters);
  if (!query) return admin_error(400, query.error().detail);
  AdminAnswer answered = route->action(*query);
  if (route->is_command) base::log_info("operator's command", {{"target", target}, {"status", answered.status}});
  return answered;
}

AdminAnswer Admin::index() const {
  Json routes = Json::array();
  for (const Route& route : routes_) {
    std::string path = route.path;
    for (const std::string& name : route.parameters) path += (path.size() == route.path.size() ? "?" : "&") + name + "=";
    routes.push_back({{"method", route.is_command ? "POST" : "GET"}, {"path", path}, {"help", route.help}});
  }
  return {dump({{"program", program_}, {"version", version()}, {"routes", std::move(routes)}})};
}

void Admin::on_bad_request(http1::ParseProblem problem, const http1::RequestHead*, std::string_view, http1::ResponseHead& head,
                           std::string& body) {
  head.headers.add("Content-Type", "application/json");
  body = admin_error(head.status, http1::name_of(problem)).json;
}

std::string describe_config(const ConfigTable& table, const ConfigReading& reading) {
  Json all = Json::object();
  for (const ConfigKey& key : table.keys()) {
    if (key.is_pattern || table.is_ignored(key)) continue;
    const std::vector<std::string> values = key.get();
    Json value = key.is_list ? Json(values) : Json(values.empty() ? "" : values.front());
    all[key.path] = {{"value", std::move(value)}, {"origin", origin_text(reading.origin_of(key.path))}};
  }
  return dump(all);
}

bool is_same_secret(std::string_view given, std::string_view expected) {
  unsigned char difference = given.size() == expected.size() ? 0 : 1;
  for (std::size_t i = 0; i < given.size(); ++i) {
    // An `expected` that is shorter is walked round: the time says nothing but the length of what was given.
    const char other = expected.empty() ? '\0' : expected[i % expected.size()];
    difference = static_cast<unsigned char>(difference | static_cast<unsigned char>(given[i] ^ other));
  }
  return difference == 0;
}

}  // namespace outrigger::app
