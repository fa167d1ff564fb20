#include "bridge/cli/child.h"

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>

namespace outrigger::cli {

base::Result<std::unique_ptr<Child>> Child::start(net::EventLoop& loop, Options options,
                                                  base::UniqueFunction<void(std::string_view)> on_line,
                                                  base::UniqueFunction<void(int)> on_exit) {
  int output[2];
  int failure[2];  // carries errno of a failed exec; closed by a successful one
  if (::pipe2(output, O_CLOEXEC) != 0 || ::pipe2(failure, O_CLOEXEC) != 0) {
    return base::Error{base::Code::overloaded, std::string("pipe: ") + std::strerror(errno)};
  }
  std::vector<char*> arguments;
  for (std::string& argument : options.arguments) arguments.push_back(argument.data());
  arguments.push_back(nullptr);
  const pid_t parent = ::getpid();
  const pid_t pid = ::fork();
  if (pid == 0) {
    ::setpgid(0, 0);
    ::prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (::getppid() != parent) ::_exit(1);
    sigset_t none;
    sigemptyset(&none);
    ::sigprocmask(SIG_SETMASK, &none, nullptr);
    ::signal(SIGPIPE, SIG_DFL);
    ::dup2(output[1], STDOUT_FILENO);
    ::dup2(output[1], STDERR_FILENO);
    const int null = ::open("/dev/null", O_RDONLY);
    if (null >= 0) ::dup2(null, STDIN_FILENO);
    for (const auto& [name, value] : options.environment) ::setenv(name.c_str(), value.c_str(), 1);
    ::execvp(arguments[0], arguments.data());
    const int number = errno;
    [[maybe_unused]] const ssize_t written = ::write(failure[1], &number, sizeof number);
    ::_exit(127);
  }
  ::close(output[1]);
  ::close(failure[1]);
  int number = pid < 0 ? errno : 0;
  if (pid > 0 && ::read(failure[0], &number, sizeof number) != static_cast<ssize_t>(sizeof number)) number = 0;
  ::close(failure[0]);
  if (number != 0) {
    ::close(output[0]);
    if (pid > 0) ::waitpid(pid, nullptr, 0);
    return base::Error{base::Code::not_found, "cannot run " + options.arguments[0] + ": " + std::strerror(number)};
  }
  ::fcntl(output[0], F_SETFL, O_NONBLOCK);
  return std::unique_ptr<Child>(
      new Child(loop, std::move(options.name), pid, output[0], std::move(on_line), std::move(on_exit)));
}

Child::Child(net::EventLoop& loop, std::string name, pid_t pid, int out,
             base::UniqueFunction<void(std::string_view)> on_line, base::UniqueFunction<void(int)> on_exit)
    : loop_(loop), name_(std::move(name)), pid_(pid), out_(out), on_line_(std::move(on_line)), on_exit_(std::move(on_exit)),
      reap_timer_(loop, [this] { reap(); }) {
  event_.assign(
      loop_.base(), out_, EV_READ, [](int, short, void* self) { static_cast<Child*>(self)->on_readable(); }, this);
  event_.enable();
}

Child::~Child() {
  event_.disable();
  ::close(out_);
  if (pid_ > 0) {
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
  }
}

void Child::send_signal(int number) {
  if (pid_ > 0) ::kill(pid_, number);
}

void Child::on_readable() {
  char bytes[16384];
  for (;;) {
    const ssize_t count = ::read(out_, bytes, sizeof bytes);
    if (count < 0) return;
    if (count == 0) break;
    partial_.append(bytes, static_cast<std::size_t>(count));
    std::size_t at = 0;
    for (std::size_t end; (end = partial_.find('\n', at)) != std::string::npos; at = end + 1) {
      on_line_(std::string_view(partial_).substr(at, end - at));
    }
    partial_.erase(0, at);
  }
  // Its output is closed: it is gone, or about to be.
  event_.disable();
  if (!partial_.empty()) on_line_(partial_);
  reap();
}

// Not waited for in one go: a child may close its output and live on.
void Child::reap() {
  int status = 0;
  if (::waitpid(pid_, &status, WNOHANG) == 0) return reap_timer_.arm(std::chrono::milliseconds(20));
  pid_ = -1;
  on_exit_(status);
}

}  // namespace outrigger::cli
