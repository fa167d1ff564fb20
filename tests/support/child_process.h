// A program as a child of the test: its output is collected, it is waited for with a deadline, and it never outlives
// the test. At the end the test fails if the child's output has a sanitizer's report or it ended other than expected.
#pragma once

#include <gtest/gtest.h>
#include <sys/types.h>

#include <csignal>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "bridge/base/clock.h"

namespace outrigger::tests {

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
inline constexpr bool kIsSanitized = true;
#else
inline constexpr bool kIsSanitized = false;
#endif
// Far beyond what any wait needs; a program with a sanitizer is several times slower.
inline constexpr base::Duration kPatience = std::chrono::seconds(kIsSanitized ? 60 : 20);

class ChildProcess {
 public:
  struct Options {
    std::vector<std::string> command;                              // [0] the program, a path or found in PATH
    std::vector<std::pair<std::string, std::string>> environment;  // on top of the test's own
    std::string directory;                                         // where it starts; empty: where the test is
    int expected_status = 0;  // see status(); only if it ends before the destructor
    // Ends after SIGTERM and SIGINT. If it still runs and has a sanitizer, the destructor lets it: a killed program does
    // not report its leaks.
    bool ends_by_signals = false;
  };

  // Starts it. A program that cannot be executed ends at once with status 127.
  explicit ChildProcess(Options options);
  // Ends it if it still runs, then adds the failures named above; the output is printed if the test has failed.
  ~ChildProcess();
  ChildProcess(const ChildProcess&) = delete;
  ChildProcess& operator=(const ChildProcess&) = delete;

  pid_t pid() const { return pid_; }
  bool is_running();
  // The exit code, or the negative number of the signal that ended it; nothing while it runs.
  std::optional<int> status();

  // Until a complete line of stdout or stderr contains `text`. Fails at once if the child ends without having said it.
  ::testing::AssertionResult wait_for_line(std::string_view text, base::Duration within = kPatience);
  ::testing::AssertionResult wait_for_exit(base::Duration within = kPatience);
  // Does nothing once it has ended.
  void send_signal(int signal);
  // SIGTERM, then wait_for_exit.
  ::testing::AssertionResult terminate(base::Duration within = kPatience);
  // SIGKILL, and that is what is expected from now on; it is gone when this returns.
  void kill_hard();
  void expect_status(int status) { options_.expected_status = status; }

  // Everything written so far.
  std::string out() const;
  std::string err() const;

 private:
  Options options_;
  int out_ = -1;  // memory files: nothing to pump, and a child that writes much never waits for its reader
  int err_ = -1;
  pid_t pid_ = -1;
  std::optional<int> status_;
};

// The line of a sanitizer's or CHECK's report in a program's output; empty if there is none.
std::string find_report(std::string_view output);

}  // namespace outrigger::tests
