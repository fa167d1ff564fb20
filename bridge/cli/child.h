// A child process whose output arrives line by line on a loop. It is in a process group of its own (the terminal's Ctrl-C
// is ours to pass on) and dies with this process.
#pragma once

#include <sys/types.h>

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "bridge/base/result.h"
#include "bridge/base/unique_function.h"
#include "bridge/net/event_loop.h"
#include "bridge/net/libevent_ptr.h"
#include "bridge/net/timer.h"

namespace outrigger::cli {

class Child {
 public:
  struct Options {
    std::string name;  // for messages
    std::vector<std::string> arguments;  // the first one is the program's path
    std::vector<std::pair<std::string, std::string>> environment;  // added to ours
  };
  // `on_line` is called with each line of either stream; `on_exit` once, with the status of waitpid(2), after the last
  // line. Error not_found: the program cannot be run.
  static base::Result<std::unique_ptr<Child>> start(net::EventLoop& loop, Options options,
                                                    base::UniqueFunction<void(std::string_view)> on_line,
                                                    base::UniqueFunction<void(int)> on_exit);
  // Kills it if it still runs.
  ~Child();
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;

  void send_signal(int number);
  bool is_running() const { return pid_ > 0; }
  const std::string& name() const { return name_; }

 private:
  Child(net::EventLoop& loop, std::string name, pid_t pid, int out, base::UniqueFunction<void(std::string_view)> on_line,
        base::UniqueFunction<void(int)> on_exit);
  void on_readable();
  void reap();

  net::EventLoop& loop_;
  std::string name_;
  pid_t pid_;
  int out_;
  net::FdEvent event_;
  std::string partial_;
  base::UniqueFunction<void(std::string_view)> on_line_;
  base::UniqueFunction<void(int)> on_exit_;
  net::Timer reap_timer_;
};

}  // namespace outrigger::cli
