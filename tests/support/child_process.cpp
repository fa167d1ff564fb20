#include "tests/support/child_process.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <iostream>
#include <thread>

#include "bridge/base/check.h"

namespace outrigger::tests {
namespace {

constexpr base::Duration kPollInterval = std::chrono::milliseconds(2);

std::string contents(int file) {
  struct stat info {};
  CHECK(fstat(file, &info) == 0);
  std::string text(static_cast<std::size_t>(info.st_size), '\0');
  const ssize_t count = pread(file, text.data(), text.size(), 0);
  text.resize(count > 0 ? static_cast<std::size_t>(count) : 0);
  return text;
}

bool has_line(const std::string& output, std::string_view text) {
  const std::size_t at = output.find(text);
  return at != std::string::npos && output.find('\n', at) != std::string::npos;
}

}  // namespace

std::string find_report(std::string_view output) {
  for (const std::string_view mark : {"ERROR: AddressSanitizer", "ERROR: LeakSanitizer", "WARNING: ThreadSanitizer",
                                      "runtime error:", "CHECK failed"}) {
    const std::size_t at = output.find(mark);
    if (at != std::string_view::npos) return std::string(output.substr(at, output.find('\n', at) - at));
  }
  return {};
}

ChildProcess::ChildProcess(Options options)
    : options_(std::move(options)),
      out_(memfd_create("stdout", MFD_CLOEXEC)),
      err_(memfd_create("stderr", MFD_CLOEXEC)) {
  CHECK(out_ >= 0 && err_ >= 0 && !options_.command.empty());
  // Everything is laid out before the fork: between fork and exec nothing may allocate.
  std::vector<std::string> environment;
  for (const auto& [name, value] : options_.environment) environment.push_back(name + "=" + value);
  for (char** variable = environ; *variable != nullptr; ++variable) {
    const std::string_view text = *variable;
    const std::string_view name = text.substr(0, text.find('='));
    bool is_replaced = false;
    for (const auto& replacement : options_.environment) is_replaced = is_replaced || replacement.first == name;
    if (!is_replaced) environment.emplace_back(text);
  }
  std::vector<char*> argument_pointers;
  std::vector<char*> environment_pointers;
  for (std::string& argument : options_.command) argument_pointers.push_back(argument.data());
  for (std::string& variable : environment) environment_pointers.push_back(variable.data());
  argument_pointers.push_back(nullptr);
  environment_pointers.push_back(nullptr);

  const pid_t parent = getpid();
  pid_ = fork();
  CHECK(pid_ >= 0);
  if (pid_ > 0) return;
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != parent) _exit(127);  // the test died before the line above
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  std::signal(SIGPIPE, SIG_DFL);  // loops ignore it, and what is ignored stays so through exec
  const int null = open("/dev/null", O_RDONLY);
  dup2(null, STDIN_FILENO);
  dup2(out_, STDOUT_FILENO);
  dup2(err_, STDERR_FILENO);
  if (options_.directory.empty() || chdir(options_.directory.c_str()) == 0) {
    execvpe(argument_pointers[0], argument_pointers.data(), environment_pointers.data());
  }
  const char* why = strerrordesc_np(errno);
  (void)!write(STDERR_FILENO, why, std::strlen(why));
  _exit(127);
}

ChildProcess::~ChildProcess() {
  const bool ended_by_itself = !is_running();
  if (!ended_by_itself && kIsSanitized && options_.ends_by_signals) {
    for (const int signal : {SIGCONT, SIGTERM, SIGINT}) kill(pid_, signal);
    EXPECT_TRUE(wait_for_exit());
    // 1: it was told twice, and did not wait for what was under way.
    EXPECT_TRUE(status() == 0 || status() == 1) << options_.command[0] << " ended with status " << status().value_or(0);
  }
  if (is_running()) {
    kill(pid_, SIGKILL);
    EXPECT_TRUE(wait_for_exit());
  }
  const std::string output = out() + err();
  const std::string report = find_report(output);
  if (!report.empty()) ADD_FAILURE() << options_.command[0] << " reported: " << report;
  if (ended_by_itself && status_ != options_.expected_status) {
    ADD_FAILURE() << options_.command[0] << " ended with status " << *status_ << ", expected "
                  << options_.expected_status;
  }
  if (::testing::Test::HasFailure()) {
    std::cerr << "---- output of " << options_.command[0] << "\n" << output << "----\n";
  }
  close(out_);
  close(err_);
}

bool ChildProcess::is_running() {
  return !status().has_value();
}

std::optional<int> ChildProcess::status() {
  int raw = 0;
  if (!status_ && waitpid(pid_, &raw, WNOHANG) == pid_) status_ = WIFEXITED(raw) ? WEXITSTATUS(raw) : -WTERMSIG(raw);
  return status_;
}

::testing::AssertionResult ChildProcess::wait_for_line(std::string_view text, base::Duration within) {
  const base::TimePoint give_up = base::system_clock().monotonic() + within;
  for (;;) {
    const bool has_ended = !is_running();  // asked first: what it wrote before it ended is seen below
    if (has_line(out(), text) || has_line(err(), text)) return ::testing::AssertionSuccess();
    if (has_ended) {
      return ::testing::AssertionFailure() << "ended with status " << *status_ << " before it said '" << text << "'";
    }
    if (base::system_clock().monotonic() > give_up)
      return ::testing::AssertionFailure() << "waited for '" << text << "'";
    std::this_thread::sleep_for(kPollInterval);
  }
}

::testing::AssertionResult ChildProcess::wait_for_exit(base::Duration within) {
  const base::TimePoint give_up = base::system_clock().monotonic() + within;
  while (is_running()) {
    if (base::system_clock().monotonic() > give_up) {
      return ::testing::AssertionFailure() << "waited for the end of " << options_.command[0];
    }
    std::this_thread::sleep_for(kPollInterval);
  }
  return ::testing::AssertionSuccess();
}

void ChildProcess::send_signal(int signal) {
  if (is_running()) kill(pid_, signal);
}

::testing::AssertionResult ChildProcess::terminate(base::Duration within) {
  send_signal(SIGTERM);
  return wait_for_exit(within);
}

void ChildProcess::kill_hard() {
  if (!is_running()) return;
  expect_status(-SIGKILL);
  send_signal(SIGKILL);
  EXPECT_TRUE(wait_for_exit());
}

std::string ChildProcess::out() const {
  return contents(out_);
}
std::string ChildProcess::err() const {
  return contents(err_);
}

}  // namespace outrigger::tests
