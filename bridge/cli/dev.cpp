#include "bridge/cli/dev.h"

#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <memory>

#include "bridge/app/process.h"
#include "bridge/cli/child.h"
#include "bridge/cli/sample_service.h"
#include "bridge/net/connector.h"
#include "bridge/net/event_loop.h"
#include "bridge/net/listener.h"
#include "bridge/net/timer.h"

namespace outrigger::cli {
namespace {

using namespace std::chrono_literals;

constexpr base::Duration kValkeyStart = 10s;
constexpr base::Duration kStopAfter = 8s;      // then a child that has not ended is killed
constexpr const char* kDrainTime = "5s";

void say(std::string_view line) {
  std::printf("%.*s\n", static_cast<int>(line.size()), line.data());
  std::fflush(stdout);
}

// "2025-01-31T08:15:00.123Z info outrigger-gateway: text" -> "text", with the level in front unless it is info.
std::string readable(std::string_view line) {
  const std::size_t level_at = line.find(' ');
  const std::size_t program_at = level_at == std::string_view::npos ? level_at : line.find(' ', level_at + 1);
  const std::size_t text_at = program_at == std::string_view::npos ? program_at : line.find(": ", program_at);
  if (text_at == std::string_view::npos || line.find("outrigger-") != program_at + 1) return std::string(line);
  const std::string_view level = line.substr(level_at + 1, program_at - level_at - 1);
  const std::string text(line.substr(text_at + 2));
  return level == "info" ? text : std::string(level) + ": " + text;
}

class Dev {
 public:
  explicit Dev(const DevOptions& options)
      : options_(options),
        loop_(base::system_clock()),
        signals_(loop_, [this] { stop(0); }, [this] { kill_all(); }),
        wait_timer_(loop_, [this] { wait_for_valkey(); }),
        kill_timer_(loop_, [this] { kill_all(); }) {}

  int run() {
    folder_ = std::filesystem::read_symlink("/proc/self/exe").parent_path().string();
    // Said before anything starts: the gateway's own message would come among the others'.
    if (const auto free = net::Listener::open(loop_, net::Endpoint::tcp("127.0.0.1", options_.port), {}, [](net::Accepted) {});
        !free) {
      return fail(free.error().detail + "; choose another port with --port N");
    }
    if (options_.services.empty()) {
      auto sample = SampleService::open(loop_);
      if (!sample) return fail(sample.error().detail);
      sample_ = std::move(*sample);
      options_.services.emplace_back("sample", "http://" + net::to_string(sample_->endpoint()));
    }
    if (options_.valkey.empty()) {
      if (!start_valkey()) return 1;
    } else {
      valkey_url_ = options_.valkey;
      start_programs();
    }
    loop_.run();
    children_.clear();
    remove_workspace();
    return code_;
  }

 private:
  int fail(const std::string& why) {
    std::fprintf(stderr, "outrigger dev: %s\n", why.c_str());
    remove_workspace();
    return 1;
  }

  bool start_valkey() {
    char name[] = "/tmp/outrigger-dev-XXXXXX";
    if (::mkdtemp(name) == nullptr) return fail("cannot make a folder in /tmp") == 0;
    workspace_ = name;
    socket_ = workspace_ + "/valkey.sock";
    valkey_url_ = "unix://" + socket_;
    for (const char* program : {"valkey-server", "redis-server"}) {
      auto child = Child::start(
          loop_,
          {program,
           {program, "--port", "0", "--unixsocket", socket_, "--unixsocketperm", "700", "--save", "", "--appendonly", "no",
            "--maxmemory-policy", "noeviction", "--dir", workspace_, "--loglevel", "warning"},
           {}},
          [](std::string_view line) {
            // True of production, noise on a developer's machine: nothing is saved here.
            if (line.find("Memory overcommit") == std::string_view::npos) say("valkey    | " + std::string(line));
          },
          [this](int status) { on_exit("the Valkey server", status, true); });
      if (!child) continue;
      say(std::string("private ") + program + " on " + socket_);
      children_.push_back(std::move(*child));
      give_up_at_ = loop_.now() + kValkeyStart;
      wait_timer_.arm(0s);
      return true;
    }
    fail("neither valkey-server nor redis-server is installed: run scripts/setup, or name a server with --valkey");
    return false;
  }

  void wait_for_valkey() {
    connecting_ = net::connect(loop_, net::Endpoint::unix_socket(socket_), loop_.now() + 1s, [this](auto transport) {
      connecting_.cancel();
      if (transport) return start_programs();
      if (loop_.now() > give_up_at_) {
        std::fprintf(stderr, "outrigger dev: the Valkey server does not answer\n");
        return stop(1);
      }
      wait_timer_.arm(50ms);
    });
  }

  void start_programs() {
    const std::string at = "127.0.0.1:" + std::to_string(options_.port);
    const std::string admin = workspace_.empty() ? "off" : "unix:" + workspace_ + "/gateway.sock";
    start("gateway",
          {folder_ + "/outrigger-gateway", "--listen", at, "--valkey", valkey_url_, "--health", "off", "--admin", admin,
           "--drain-time", kDrainTime, "--log-format", "text"},
          {{"Gateway__AccessLog", "brief"}}, true);
    for (const auto& [name, url] : options_.services) {
      start(name,
            {folder_ + "/outrigger-sidecar", "--service", name, "--upstream", url, "--valkey", valkey_url_, "--health",
             "off", "--admin", "off", "--drain-time", kDrainTime, "--log-format", "text"},
            {}, false);
    }
    if (code_ != 0) return;
    say("gateway on http://" + at + "   (Ctrl-C ends everything)");
    for (const auto& [name, url] : options_.services) say("  /" + name + "  ->  " + url);
    if (admin != "off") say("routes and instances: outrigger status --admin " + admin);
    say("try: curl http://" + at + (sample_ != nullptr ? "/sample/hello/you" : "/" + options_.services[0].first + "/"));
  }

  void start(const std::string& name, std::vector<std::string> arguments,
             std::vector<std::pair<std::string, std::string>> environment, bool is_needed) {
    if (code_ != 0) return;
    std::string prefix = name + std::string(name.size() < 9 ? 9 - name.size() : 0, ' ') + " | ";
    auto child = Child::start(
        loop_, {name, std::move(arguments), std::move(environment)},
        [prefix](std::string_view line) { say(prefix + readable(line)); },
        [this, name, is_needed](int status) { on_exit(name, status, is_needed); });
    if (!child) {
      std::fprintf(stderr, "outrigger dev: %s\n", child.error().detail.c_str());
      return stop(1);
    }
    children_.push_back(std::move(*child));
  }

  void on_exit(const std::string& name, int status, bool is_needed) {
    if (!is_stopping_) {
      const std::string how = WIFSIGNALED(status) ? "was killed by signal " + std::to_string(WTERMSIG(status))
                                                  : "ended with code " + std::to_string(WEXITSTATUS(status));
      std::fprintf(stderr, "outrigger dev: %s %s\n", name.c_str(), how.c_str());
      // A configuration that is wrong will not get better; a killed sidecar leaves the others at work.
      if (is_needed || WIFEXITED(status)) stop(1);
    }
    if (is_stopping_) stop_next();
  }

  void stop(int code) {
    if (std::exchange(is_stopping_, true)) return;
    code_ = code;
    wait_timer_.cancel();
    connecting_.cancel();
    say("stopping");
    kill_timer_.arm(kStopAfter);
    loop_.defer([this] { stop_next(); });
  }

  // Sidecars and gateway first, together; the server they say goodbye through last.
  void stop_next() {
    bool is_any_running = false;
    const bool has_server = !workspace_.empty();
    for (std::size_t i = has_server ? 1 : 0; i < children_.size(); ++i) {
      if (!children_[i]->is_running()) continue;
      is_any_running = true;
      if (!has_told_) children_[i]->send_signal(SIGTERM);
    }
    has_told_ = true;
    if (is_any_running) return;
    if (has_server && !children_.empty() && children_[0]->is_running()) {
      if (!std::exchange(has_told_server_, true)) children_[0]->send_signal(SIGTERM);
      return;
    }
    loop_.stop();
  }

  void kill_all() {
    for (auto& child : children_) child->send_signal(SIGKILL);
  }

  void remove_workspace() {
    if (workspace_.empty()) return;
    std::error_code ignored;
    std::filesystem::remove_all(workspace_, ignored);
  }

  DevOptions options_;
  net::EventLoop loop_;
  app::SignalWatcher signals_;
  net::Timer wait_timer_;
  net::Timer kill_timer_;
  net::Pending connecting_;
  base::TimePoint give_up_at_;
  std::string folder_;     // where the programs are: beside this one
  std::string workspace_;  // of the private server; empty without one
  std::string socket_;
  std::string valkey_url_;
  std::unique_ptr<SampleService> sample_;
  std::vector<std::unique_ptr<Child>> children_;
  int code_ = 0;
  bool is_stopping_ = false;
  bool has_told_ = false;
  bool has_told_server_ = false;
};

}  // namespace

int run_dev(const DevOptions& options) { return Dev(options).run(); }

}  // namespace outrigger::cli
