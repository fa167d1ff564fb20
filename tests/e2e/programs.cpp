#include "tests/e2e/programs.h"

#include <algorithm>
#include <cstdlib>

namespace outrigger::tests {
namespace {

// Heartbeats every 200 ms: what waits for one takes no ten seconds.
constexpr char kShortInterval[] = "200ms";

bool has(const Environment& environment, std::string_view name) {
  return std::any_of(environment.begin(), environment.end(), [&](const auto& each) { return each.first == name; });
}

// A flag would win over the variable.
void add_admin_off(ChildProcess::Options& options, const char* variable) {
  if (!has(options.environment, variable)) options.command.insert(options.command.end(), {"--admin", "off"});
}

void add_wake_mode(ChildProcess::Options& options, const char* variable, const std::string& mode) {
  if (!mode.empty() && !has(options.environment, variable)) options.environment.emplace_back(variable, mode);
}

// Tests of how the bus is named do so by themselves.
bool names_the_bus(const Environment& environment) {
  for (const auto& [name, value] : environment) {
    if (name.ends_with("__ConnectionString") || name.ends_with("__ConnectionStringFile")) return true;
  }
  return false;
}

ChildProcess::Options gateway_options(const ValkeyServer& valkey, Environment environment,
                                      std::vector<std::string> flags) {
  ChildProcess::Options options;
  options.command = {OUTRIGGER_GATEWAY, "--listen", "127.0.0.1:0", "--health", "127.0.0.1:0",
                     "--log-format",    "text"};
  if (!has(environment, "Gateway__Workers")) options.command.insert(options.command.end(), {"--workers", "2"});
  if (!names_the_bus(environment)) options.command.insert(options.command.end(), {"--valkey", valkey.url()});
  options.command.insert(options.command.end(), flags.begin(), flags.end());
  options.environment = std::move(environment);
  add_admin_off(options, "Gateway__Process__Admin");
  add_wake_mode(options, "Gateway__Transports__Messaging__WakeMode", wake_modes.gateway);
  options.ends_by_signals = true;
  return options;
}

ChildProcess::Options sidecar_options(const ValkeyServer& valkey, std::string_view name, const ScriptedService& service,
                                      Environment environment, std::string health) {
  ChildProcess::Options options;
  options.command = {OUTRIGGER_SIDECAR, "--service", std::string(name), "--upstream", service.url(),
                     "--health",        health,      "--log-format",    "text"};
  if (!names_the_bus(environment)) options.command.insert(options.command.end(), {"--valkey", valkey.url()});
  options.environment = std::move(environment);
  add_admin_off(options, "Sidecar__Process__Admin");
  add_wake_mode(options, "Sidecar__Messaging__WakeMode", wake_modes.sidecar);
  if (!has(options.environment, "Sidecar__Messaging__HeartbeatInterval")) options.environment.emplace_back("Sidecar__Messaging__HeartbeatInterval", kShortInterval);
  options.ends_by_signals = true;
  return options;
}

// Behind `what`, the line that says where a listener was opened has address=HOST:PORT.
std::uint16_t port_said_by(ChildProcess& process, std::string_view what) {
  const auto said = process.wait_for_line(what);
  EXPECT_TRUE(said);
  const std::string text = process.err();
  const std::size_t line = text.find(what);
  const std::size_t at = text.find("address=127.0.0.1:", line);
  if (line == std::string::npos || at == std::string::npos) return 0;
  return static_cast<std::uint16_t>(std::atoi(text.c_str() + at + std::string_view("address=127.0.0.1:").size()));
}

}  // namespace

std::string make_request(std::string_view method, std::string_view target, const Fields& fields,
                         std::string_view body) {
  std::string text;
  text.append(method).append(" ").append(target).append(" HTTP/1.1\r\nHost: example.test\r\n");
  for (const auto& [name, value] : fields) text.append(name).append(": ").append(value).append("\r\n");
  if (!body.empty()) text.append("Content-Length: " + std::to_string(body.size()) + "\r\n");
  return text.append("\r\n").append(body);
}

std::string make_chunked_request(std::string_view method, std::string_view target, std::string_view body,
                                 std::size_t chunk_bytes) {
  std::string text = make_request(method, target, {{"Transfer-Encoding", "chunked"}});
  for (; !body.empty(); body.remove_prefix(std::min(chunk_bytes, body.size()))) {
    const std::string_view chunk = body.substr(0, chunk_bytes);
    char size[32];
    std::snprintf(size, sizeof size, "%zx\r\n", chunk.size());
    text.append(size).append(chunk).append("\r\n");
  }
  return text.append("0\r\n\r\n");
}

std::string make_binary(std::size_t size) {
  std::string bytes(size, '\0');
  std::uint64_t state = 0x9e3779b97f4a7c15 + size;
  for (char& byte : bytes) {
    state = state * 6364136223846793005 + 1442695040888963407;
    byte = static_cast<char>(state >> 56);
  }
  return bytes;
}

RawResponse ask(std::uint16_t port, std::string_view request) {
  RawClient client(port);
  RawResponse response;
  response.problem = client.problem();
  if (!response.problem.empty()) return response;
  client.send(request);
  return client.read_response(request.starts_with("HEAD "));
}

RawResponse get(std::uint16_t port, std::string_view target) {
  return ask(port, make_request("GET", target));
}

std::string code_of(const RawResponse& response) {
  if (response.header("Content-Type") != "application/problem+json") return {};
  constexpr std::string_view kMember = "\"code\":\"";
  const std::size_t at = response.body.find(kMember);
  if (at == std::string::npos) return {};
  const std::size_t from = at + kMember.size();
  return response.body.substr(from, response.body.find('"', from) - from);
}

Gateway::Gateway(const ValkeyServer& valkey, Environment environment, std::vector<std::string> flags)
    : process_(gateway_options(valkey, std::move(environment), std::move(flags))),
      port_(port_said_by(process_, "gateway listens")),
      health_port_(port_said_by(process_, "health listener is open")) {}

::testing::AssertionResult Gateway::wait_for_route(std::string_view target, base::Duration within) {
  RawResponse last;
  const auto result = eventually(
      "200 from " + std::string(target),
      [&] {
        last = get(target);
        return last.status == 200;
      },
      within);
  // Routes reach the workers one by one, and a connection any of them. A scrape asks each, behind what it was told before.
  if (result) {
    return eventually("every worker", [this] { return metric(health_port_, "outrigger_scrape_workers_missing") == "0"; });
  }
  return ::testing::AssertionFailure() << result.message() << "; the last answer was " << last.status_line
                                       << last.problem << " " << last.body;
}

Sidecar::Sidecar(const ValkeyServer& valkey, std::string_view name, const ScriptedService& service,
                 Environment environment, std::string health)
    : process_(sidecar_options(valkey, name, service, std::move(environment), health)) {
  if (health != "off") health_port_ = port_said_by(process_, "health listener is open");
}

::testing::AssertionResult is_settled(ValkeyServer& valkey, std::string_view service) {
  std::string last;
  const auto result = eventually("every entry to be settled", [&] {
    last.clear();
    const std::string queues = valkey.cli({"KEYS", "router:requests:" + std::string(service) + "*"});
    for (std::size_t at = 0; at < queues.size();) {
      const std::string queue = queues.substr(at, queues.find('\n', at) - at);
      at += queue.size() + 1;
      const std::string pending = valkey.cli({"XPENDING", queue, "router-gateway"});
      const std::string length = valkey.cli({"XLEN", queue});
      if (!pending.starts_with("0") || length != "0")
        last += queue + ": length " + length + ", pending " + pending + "\n";
    }
    return last.empty();
  });
  return result ? result : ::testing::AssertionFailure() << result.message() << ":\n" << last;
}

std::string metric(std::uint16_t health_port, std::string_view name) {
  const std::string text = get(health_port, "/metrics").body;
  const std::string line = "\n" + std::string(name) + " ";
  const std::size_t at = text.find(line);
  if (at == std::string::npos) return {};
  const std::size_t from = at + line.size();
  return text.substr(from, text.find('\n', from) - from);
}

namespace {

struct Key {
  std::string name;
  std::string type;
  long long ttl_ms;  // -1: for ever
  std::string length;
};

std::vector<Key> all_keys(ValkeyServer& valkey) {
  std::vector<Key> keys;
  const std::string names = valkey.cli({"KEYS", "*"});
  for (std::size_t at = 0; at < names.size();) {
    Key key{names.substr(at, names.find('\n', at) - at), {}, 0, {}};
    at += key.name.size() + 1;
    key.type = valkey.cli({"TYPE", key.name});
    key.ttl_ms = std::atoll(valkey.cli({"PTTL", key.name}).c_str());
    const char* command = key.type == "stream" ? "XLEN" : key.type == "zset" ? "ZCARD" : "STRLEN";
    key.length = valkey.cli({command, key.name});
    if (key.ttl_ms != -2) keys.push_back(std::move(key));  // -2: it has just ended
  }
  return keys;
}

}  // namespace

std::string describe_keys(ValkeyServer& valkey) {
  std::string text;
  for (const Key& key : all_keys(valkey)) {
    text += key.name + " " + key.type + " ttl " + std::to_string(key.ttl_ms) + " ms length " + key.length + "\n";
  }
  return text;
}

::testing::AssertionResult keys_are_bounded(ValkeyServer& valkey) {
  constexpr long long kStreamTtl = 120'000;
  constexpr long long kMetadataTtl = 7LL * 24 * 3600 * 1000;
  constexpr long long kControlEntries = 20'000 + 100;  // trimmed by whole nodes of the stream
  std::string wrong;
  // What was settled last is deleted a moment later (docs/protocol.md, Housekeeping).
  const auto result = eventually("every key to be bounded", [&] {
    wrong.clear();
    for (const Key& key : all_keys(valkey)) {
      const long long length = std::atoll(key.length.c_str());
      bool is_bounded = key.ttl_ms > 0 && key.ttl_ms <= kStreamTtl;
      if (key.name == "router:control") is_bounded = key.type == "stream" && length <= kControlEntries;
      if (key.name.starts_with("router:endpoints:")) is_bounded = key.ttl_ms > 0 && key.ttl_ms <= kMetadataTtl;
      if (key.name.starts_with("router:requests:")) is_bounded = key.type == "stream" && length == 0;
      if (!is_bounded) wrong += key.name + " ";
    }
    return wrong.empty();
  });
  return result ? result : ::testing::AssertionFailure() << "not bounded: " << wrong << "\nof\n" << describe_keys(valkey);
}

}  // namespace outrigger::tests
