#include "tests/support/child_process.h"

#include <gtest/gtest-spi.h>

namespace outrigger::tests {
namespace {

ChildProcess::Options shell(std::string script, int expected_status = 0) {
  return {{"sh", "-c", std::move(script)}, {{"OUTRIGGER_WORD", "hello"}}, {}, expected_status};
}

TEST(ChildProcess, output_and_exit_code_are_collected) {
  ChildProcess child(shell("echo out $OUTRIGGER_WORD; echo err >&2; exit 3", 3));

  EXPECT_TRUE(child.wait_for_exit());

  EXPECT_EQ(child.status(), 3);
  EXPECT_EQ(child.out(), "out hello\n");
  EXPECT_EQ(child.err(), "err\n");
}

TEST(ChildProcess, readiness_is_a_whole_line_of_either_output) {
  ChildProcess child(shell("printf 'listening on'; echo ' 1' ; echo ready >&2; read line < /dev/zero", 0));

  EXPECT_TRUE(child.wait_for_line("listening on"));
  EXPECT_EQ(child.out(), "listening on 1\n");
  EXPECT_TRUE(child.wait_for_line("ready"));
  EXPECT_FALSE(child.wait_for_line("never said", std::chrono::milliseconds(1)));
}

TEST(ChildProcess, end_before_the_line_is_told_at_once) {
  ChildProcess child(shell("exit 4", 4));
  EXPECT_FALSE(child.wait_for_line("ready"));
}

TEST(ChildProcess, signals_arrive_and_show_in_the_status) {
  ChildProcess gentle(shell("trap 'exit 7' TERM; echo ready; while :; do sleep 0.01; done", 7));
  ASSERT_TRUE(gentle.wait_for_line("ready"));
  EXPECT_TRUE(gentle.terminate());
  EXPECT_EQ(gentle.status(), 7);

  ChildProcess hard(shell("echo ready; sleep 60"));
  ASSERT_TRUE(hard.wait_for_line("ready"));
  hard.kill_hard();
  EXPECT_EQ(hard.status(), -SIGKILL);
}

TEST(ChildProcess, running_child_is_killed_by_the_destructor) {
  pid_t pid = 0;
  {
    ChildProcess child({{"sleep", "60"}, {}, {}, 0});
    pid = child.pid();
  }
  EXPECT_EQ(kill(pid, 0), -1);
}

TEST(ChildProcess, unexpected_end_fails_the_test) {
  EXPECT_NONFATAL_FAILURE(
      {
        ChildProcess child(shell("exit 5"));
        (void)child.wait_for_exit();
      },
      "ended with status 5");
  EXPECT_NONFATAL_FAILURE(
      {
        ChildProcess child({{"/does/not/exist"}, {}, {}, 0});
        (void)child.wait_for_exit();
      },
      "ended with status 127");
}

TEST(ChildProcess, sanitizer_report_fails_the_test) {
  EXPECT_NONFATAL_FAILURE(
      {
        ChildProcess child(shell("echo 'x.cpp:1:2: runtime error: signed overflow' >&2; echo done; sleep 60"));
        (void)child.wait_for_line("done");
      },
      "runtime error: signed overflow");
  EXPECT_EQ(find_report("all is well"), "");
  EXPECT_NE(find_report("==1==ERROR: AddressSanitizer: heap-use-after-free\n"), "");
  EXPECT_NE(find_report("WARNING: ThreadSanitizer: data race"), "");
  EXPECT_NE(find_report("CHECK failed: x at y:1"), "");
}

}  // namespace
}  // namespace outrigger::tests
