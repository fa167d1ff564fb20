#include "sidecar/sidecar_config.h"

#include "bridge/app/name_rules.h"
#include "bridge/base/header_list.h"
#include "bridge/openapi/endpoints.h"
#include "bridge/router/mount.h"

namespace outrigger::sidecar {
namespace {

using base::Code;
using base::Error;
using base::Result;

Result<base::HostPort> parse_upstream(std::string_view url) {
  const auto invalid = [](std::string why) { return Error{Code::invalid, std::move(why)}; };
  constexpr std::string_view kScheme = "http://";
  if (!base::equals_ignoring_case(url.substr(0, kScheme.size()), kScheme)) {
    return invalid("must be http://host[:port] (the service is beside the sidecar, without TLS)");
  }
  url.remove_prefix(kScheme.size());
  if (!url.empty() && url.back() == '/') url.remove_suffix(1);
  if (url.find('@') != std::string_view::npos) return invalid("must not contain user or password");
  if (url.find_first_of("/?#") != std::string_view::npos) {
    return invalid("must be http://host[:port] without a path; where the service appears outside is Mount");
  }
  auto upstream = base::parse_host_port(url, std::uint16_t{80});
  if (!upstream) return upstream.error();
  if (upstream->host.empty()) return invalid("the host is missing");
  if (upstream->port == 0) return invalid("the port must be a number from 1 to 65535");
  return upstream;
}

Result<void> check_upstream(const std::string& text) {
  if (auto upstream = parse_upstream(text); !upstream) return upstream.error();
  return {};
}

// A path as it stands in a request target, without query; empty is allowed.
Result<void> check_path(const std::string& text) {
  const auto invalid = [&](const std::string& why) { return Error{Code::invalid, "'" + text + "' " + why}; };
  if (text.empty()) return {};
  if (text.front() != '/') return invalid("must begin with '/'");
  for (const char c : text) {
    if (c <= ' ' || c > '~' || c == '#') return invalid("has a character that must be percent-encoded in a path");
  }
  return {};
}

Result<void> check_operation(const std::string& text) {
  if (openapi::parse_operation(text)) return {};
  return Error{Code::invalid, "'" + text + "' must be a method and a path template, such as 'POST /reports/{id}'"};
}

Result<void> check_mount(const std::string& full) {
  if (full.empty()) return {};
  if (auto mount = router::parse_mount(full); !mount) return mount.error();
  const bool has_host = full.front() != '/';
  const std::string text = has_host ? full.substr(std::min(full.find('/'), full.size())) : full;
  if (auto checked = check_path(text); !checked) return checked;
  if (const auto own = router::own_path_of(text); own != router::OwnPath::none) {
    return Error{Code::invalid, "'" + full + "' is at " + std::string(to_string(own)) + ", which the gateway answers itself"};
  }
  // A mount is compared segment by segment with normalised paths, so it must be one itself.
  const std::string path = text + "/";
  for (const char* part : {"//", "/./", "/../", "?", "%"}) {
    const bool is_root = text == "/" && std::string_view(part) == "//";
    if (!text.empty() && !is_root && (text.back() == '/' ? text : path).find(part) != std::string::npos) {
      return Error{Code::invalid, "'" + text + "' must be a plain path such as /billing, without '" + part + "'"};
    }
  }
  return {};
}

}  // namespace

void declare_sidecar(app::ConfigTable& table, SidecarConfig& config) {
  SidecarConfig::Service& service = config.service;
  table
      .add_text("Sidecar:Service:Name", service.name, "Name of the service, the same in every instance. Required.",
                app::check_service_name)
      .flag("--service", "NAME");
  table.add_text("Sidecar:Service:Version", service.version, "Version of the service.", app::check_version)
      .flag("--service-version", "V");
  table.add_text("Sidecar:Service:Region", service.region, "Region of this instance.", app::check_region)
      .flag("--region", "R");
  table
      .add_text("Sidecar:Service:Upstream", service.upstream_url, "The service: http://host[:port]. Required.",
                check_upstream)
      .flag("--upstream", "URL");
  table
      .add_text("Sidecar:Service:Mount", service.mount,
                "Where the service appears outside: /path, /, host:NAME, host:*.NAME or host:NAME/path.", check_mount)
      .flag("--mount", "PATH")
      .fallback = "/{name}";
  table
      .add_text("Sidecar:Service:HealthPath", service.health_path,
                "Path to GET, healthy below 500; empty: a TCP connect is enough.", check_path)
      .flag("--health-path", "P");
  table
      .add_text("Sidecar:Service:OpenApiPath", service.openapi_path,
                "Path of the OpenAPI document; empty: the usual ones are tried.", check_path)
      .flag("--openapi-path", "P");
  table.add_duration("Sidecar:Service:OpenApiInterval", service.openapi_interval, std::chrono::milliseconds(0),
                     std::chrono::hours(24),
                     "How often the OpenAPI document is asked for again; 0s: only when the service returns.");
  table.add_choice<UnlistedPaths>(
      "Sidecar:Service:UnlistedPaths", service.unlisted_paths,
      {{"forward", UnlistedPaths::forward}, {"refuse", UnlistedPaths::refuse}},
      "What the OpenAPI document does not list: passed to the service, or answered 404/405 at the edge.");
  table.add_boolean("Sidecar:Service:RewriteLocation", service.rewrite_location,
                    "Puts the mount back into Location, Content-Location and cookie paths of answers.");
  table.add_texts("Sidecar:Service:Repeatable", service.repeatable,
                  "Operations that may run more than once, beside the idempotent methods and what x-router-repeatable says: "
                  "`POST /reports/{id}`, path template as in the OpenAPI document.",
                  check_operation);
  table.add_boolean("Sidecar:Service:IdempotencyKey", service.idempotency_key,
                    "The service runs requests with the same Idempotency-Key once: those with one may run more than once, "
                    "unless x-router-repeatable says no.");
  table.add_integer("Sidecar:MaxInFlight", config.max_in_flight, 1, 10000, "Most requests at the service at once.")
      .flag("--max-in-flight", "N");
  using namespace std::chrono_literals;
  using base::limits::kMiB;
  table.add_size("Sidecar:Limits:BodyBytes", config.limits.body_bytes, 0, 1024 * kMiB,
                 "Largest body: of a request, above: 413; of an answer, above: 502.");
  table.add_size("Sidecar:Limits:BufferedBytes", config.limits.buffered_bytes, 16 * kMiB, 1024 * 1024 * kMiB,
                 "Most bytes of requests and answers held at once. While half of it is used, nothing is read from the queue.");
  table.add_duration("Sidecar:Limits:ConnectTimeout", config.limits.connect_timeout, 10ms, 5min,
                     "Longest time to connect to the service; then it counts as down.");
  table.add_duration("Sidecar:Limits:HeadTimeout", config.limits.head_timeout, 0ms, 24h,
                     "Longest time from a request to the head of its answer; then 504. 0s: until the request's deadline.");
  table.add_duration("Sidecar:Limits:BodyTimeout", config.limits.body_timeout, 10ms, 24h,
                     "Longest pause in an answer's body; then 504.");
  table.add_duration("Sidecar:Limits:WriteTimeout", config.limits.write_timeout, 10ms, 24h,
                     "Longest time the service takes nothing of a request; then 504.");
  table.add_duration("Sidecar:Limits:IdleTimeout", config.limits.idle_timeout, 10ms, 24h,
                     "How long a connection to the service is kept unused. Below the service's own; a Keep-Alive field of "
                     "the service wins.");
  using telemetry::AccessFormat;
  table.add_choice<AccessFormat>("Sidecar:AccessLog", config.access_log,
                                 {{"off", AccessFormat::off},
                                  {"json", AccessFormat::json},
                                  {"text", AccessFormat::text},
                                  {"brief", AccessFormat::brief}},
                                 "One record per delivered request on standard output, as Gateway:AccessLog.");
  table.add_boolean("Sidecar:AccessLogQuery", config.access_log_query,
                    "Records show the query of the path, too; it may hold tokens and personal data.");
  app::declare_messaging(table, "Sidecar:Messaging", config.messaging);
  table
      .add_address("Sidecar:Egress:Listen", config.egress_listen,
                   "Listener through which the service calls others; usually 127.0.0.1:5180. Off by default.")
      .flag("--egress", "ADDR")
      .no_effect();
  app::declare_process(table, "Sidecar:Process", config.process);
}

void finish_sidecar(app::ConfigReading& reading, SidecarConfig& config) {
  SidecarConfig::Service& service = config.service;
  const auto require = [&reading](const char* path, const char* flag) {
    // Given but wrong is reported already.
    if (reading.level_of(path) == app::ConfigLevel::fallback) {
      reading.fail(path, std::string("is required: set it in the file or the environment, or use ") + flag);
    }
  };
  require("Sidecar:Service:Name", "--service");
  require("Sidecar:Service:Upstream", "--upstream");
  if (auto upstream = parse_upstream(service.upstream_url)) service.upstream = std::move(*upstream);
  if (service.mount.empty()) service.mount = "/" + service.name;
  if (service.mount.size() > 1 && service.mount.back() == '/') service.mount.pop_back();
  if (config.limits.buffered_bytes / 2 < config.limits.body_bytes) {
    reading.fail("Sidecar:Limits:BufferedBytes",
                 "must be at least twice Sidecar:Limits:BodyBytes: a request and its answer are held together");
  }
  app::finish_messaging(reading, "Sidecar:Messaging", config.messaging);
  app::finish_process(reading, "Sidecar:Process", service.name, config.process);
}

}  // namespace outrigger::sidecar
