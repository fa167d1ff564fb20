#include "tests/support/valkey_server.h"

#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <iostream>
#include <thread>

#include "bridge/base/check.h"

namespace outrigger::tests {
namespace {

constexpr int kPortAttempts = 5;

// "Valkey server v=8.0.1 …"
bool is_version_7(const std::string& program) {
  FILE* pipe = popen((program + " --version").c_str(), "r");
  if (pipe == nullptr) return false;
  char text[256] = {};
  const std::size_t size = fread(text, 1, sizeof text - 1, pipe);
  pclose(pipe);
  const std::size_t at = std::string_view(text, size).find(" v=");
  return at != std::string_view::npos && std::atoi(text + at + 3) >= 7;
}

std::string find_program() {
  const char* path = std::getenv("PATH");
  const char* wanted = std::getenv("OUTRIGGER_TEST_SERVER");
  std::vector<std::string> names{"valkey-server", "redis-server"};
  if (wanted != nullptr) names = {wanted};
  for (const std::string& name : names) {
    std::string_view rest = path == nullptr ? "" : path;
    while (!rest.empty()) {
      const std::size_t end = std::min(rest.find(':'), rest.size());
      std::string candidate = std::string(rest.substr(0, end)) + "/" + name;
      if (access(candidate.c_str(), X_OK) == 0 && (wanted == nullptr || is_version_7(candidate))) {
        std::cerr << "server under test: " << candidate << "\n";
        return candidate;
      }
      rest.remove_prefix(std::min(end + 1, rest.size()));
    }
  }
  if (wanted != nullptr) std::cerr << "no " << wanted << " 7 to test is installed\n";
  return {};
}

// Short, since a unix socket's path has at most 107 bytes: TMPDIR is used only where that leaves room.
std::string make_directory() {
  const char* wanted = std::getenv("TMPDIR");
  std::string path = wanted != nullptr && std::string_view(wanted).size() < 64 ? wanted : "/tmp";
  path += "/outrigger-XXXXXX";
  CHECK(mkdtemp(path.data()) != nullptr);
  return path;
}

}  // namespace

const std::string& ValkeyServer::program() {
  static const std::string found = find_program();
  return found;
}

ValkeyServer::ValkeyServer(Options options) : options_(std::move(options)), directory_(make_directory()) {
  CHECK(!program().empty());
  const bool is_unix = options_.transport == Transport::unix_socket;
  for (int attempt = 0; attempt < (is_unix ? 1 : kPortAttempts); ++attempt) {
    endpoint_ = is_unix ? net::Endpoint::unix_socket(directory_ + "/valkey.sock")
                        : net::Endpoint::tcp("127.0.0.1", port_.emplace().port());
    if (start({}, Ready::answering)) return;
    if (!is_unix) process_->expect_status(1);  // a cluster needs the port 10,000 above, too
  }
  ADD_FAILURE() << program() << " does not answer";
}

ValkeyServer::~ValkeyServer() {
  process_.reset();
  std::error_code ignored;
  std::filesystem::remove_all(directory_, ignored);
}

std::string ValkeyServer::url() const {
  return endpoint_.is_unix() ? "unix://" + login_ + endpoint_.unix_path
                             : "valkey://" + login_ + "127.0.0.1:" + std::to_string(endpoint_.port);
}

bool ValkeyServer::start(const std::vector<std::string>& more, Ready ready) {
  client_.reset();
  std::vector<std::string> command{program(), "--save", "", "--appendonly", "no", "--dir", directory_};
  if (endpoint_.is_unix()) {
    command.insert(command.end(), {"--port", "0", "--unixsocket", endpoint_.unix_path});
  } else {
    command.insert(command.end(), {"--bind", "127.0.0.1", "--port", std::to_string(endpoint_.port)});
  }
  command.insert(command.end(), options_.arguments.begin(), options_.arguments.end());
  command.insert(command.end(), more.begin(), more.end());
  ChildProcess::Options child;
  child.command = std::move(command);
  child.environment = options_.environment;
  child.directory = directory_;
  process_ = std::make_unique<ChildProcess>(std::move(child));
  const base::TimePoint give_up = base::system_clock().monotonic() + kPatience;
  while (process_->is_running() && base::system_clock().monotonic() < give_up) {
    const std::string answer = cli({"PING"});
    if (answer == "PONG" || (ready == Ready::listening && answer.starts_with("(error)"))) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  return false;
}

void ValkeyServer::kill_hard() {
  process_->kill_hard();
}

void ValkeyServer::start_again(std::vector<std::string> more, Ready ready) {
  EXPECT_FALSE(process_->is_running());
  EXPECT_TRUE(start(more, ready)) << program() << " does not answer after its restart";
}

void ValkeyServer::restart_empty() {
  kill_hard();
  std::error_code ignored;
  std::filesystem::remove(directory_ + "/dump.rdb", ignored);
  start_again();
}

std::string ValkeyServer::cli(std::initializer_list<std::string_view> arguments) {
  std::string command = "*" + std::to_string(arguments.size()) + "\r\n";
  for (const std::string_view argument : arguments) {
    command += "$" + std::to_string(argument.size()) + "\r\n" + std::string(argument) + "\r\n";
  }
  for (int attempt = 0; attempt < 2; ++attempt) {
    if (!client_) client_.emplace(endpoint_);
    if (client_->problem().empty() && client_->send(command)) {
      std::string reply = read_reply();
      // A kept connection that had been closed since: nothing was carried out.
      if (client_->problem().empty() || client_->problem() == "deadline") return reply;
    }
    const std::string why = client_->problem();
    client_.reset();
    if (attempt == 1) return "(lost) " + why;
  }
  return {};
}

std::string ValkeyServer::read_reply() {
  std::string line = client_->read_until("\r\n");
  if (!client_->problem().empty()) return "(lost) " + client_->problem();
  line.resize(line.size() - 2);
  const char type = line[0];
  std::string text = line.substr(1);
  if (type == '+' || type == ':') return text;
  if (type == '-') return "(error) " + text;
  const long count = std::atol(text.c_str());
  if (count < 0) return "(nil)";
  if (type == '$') {
    text = client_->read(static_cast<std::size_t>(count) + 2);
    text.resize(static_cast<std::size_t>(count));
    return text;
  }
  text.clear();
  for (long i = 0; i < count; ++i) text += (i == 0 ? "" : "\n") + read_reply();
  return text;
}

std::string ValkeyServer::info(std::string_view section, std::string_view name) {
  const std::string text = "\n" + cli({"INFO", section});
  const std::size_t at = text.find("\n" + std::string(name) + ":");
  if (at == std::string::npos) return {};
  const std::size_t from = at + name.size() + 2;
  return text.substr(from, text.find_first_of("\r\n", from) - from);
}

std::uint64_t ValkeyServer::calls_of(std::string_view command) {
  const std::string stats = info("commandstats", "cmdstat_" + std::string(command));
  return stats.starts_with("calls=") ? std::strtoull(stats.c_str() + 6, nullptr, 10) : 0;
}

std::string ValkeyServer::field(std::initializer_list<std::string_view> arguments, std::string_view name) {
  const std::string text = "\n" + cli(arguments) + "\n";
  const std::string key = "\n" + std::string(name) + "\n";
  const std::size_t at = text.find(key);
  if (at == std::string::npos) return {};
  const std::size_t from = at + key.size();
  return text.substr(from, text.find('\n', from) - from);
}

}  // namespace outrigger::tests
