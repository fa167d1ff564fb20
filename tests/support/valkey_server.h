// A private valkey-server (or redis-server, where there is no valkey) in a directory of its own, by default on a unix
// socket. It holds nothing on disk unless the test says SAVE, and ends with the object.
#pragma once

#include <gtest/gtest.h>

#include <initializer_list>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "bridge/net/endpoint.h"
#include "tests/support/child_process.h"
#include "tests/support/raw_client.h"
#include "tests/support/reserved_port.h"

// At the start of a test or of SetUp().
#define OUTRIGGER_NEEDS_VALKEY()                           \
  if (::outrigger::tests::ValkeyServer::program().empty()) \
  GTEST_SKIP() << "neither valkey-server nor redis-server is installed"

namespace outrigger::tests {

class ValkeyServer {
 public:
  enum class Transport { unix_socket, tcp };
  struct Options {
    Transport transport = Transport::unix_socket;
    std::vector<std::string> arguments;  // more of the command line, e.g. {"--maxmemory", "10mb"}
    std::vector<std::pair<std::string, std::string>> environment = {};  // on top of the test's own
  };

  // The program that is used, as found in PATH; empty if there is none. OUTRIGGER_TEST_SERVER=redis-server chooses.
  static const std::string& program();

  // REQUIRES !program().empty(). Running and answering afterwards, else the test has failed.
  ValkeyServer() : ValkeyServer(Options{}) {}
  explicit ValkeyServer(Options options);
  ~ValkeyServer();
  ValkeyServer(const ValkeyServer&) = delete;
  ValkeyServer& operator=(const ValkeyServer&) = delete;

  const net::Endpoint& endpoint() const { return endpoint_; }
  // What --valkey accepts: `unix:///…` or `valkey://127.0.0.1:port`.
  std::string url() const;
  // `user:password` in every later url().
  void set_login(std::string login) { login_ = std::move(login) + "@"; }
  const std::string& directory() const { return directory_; }

  // SIGKILL; gone when this returns.
  void kill_hard();
  // After kill_hard(): at the same address with what the last SAVE wrote, or empty. `more`: arguments for this run.
  // Ready::listening returns as soon as it answers anything, if only that it is loading.
  enum class Ready { answering, listening };
  void start_again(std::vector<std::string> more = {}, Ready ready = Ready::answering);
  void restart_empty();
  // SIGSTOP and SIGCONT: connections stay, nothing is answered.
  void suspend() { process_->send_signal(SIGSTOP); }
  void resume() { process_->send_signal(SIGCONT); }

  // One command on the fixture's own connection, which comes back by itself. Integers and texts as they are, arrays as
  // one line per value, "(nil)", errors as "(error) …"; "(lost) …" if there was no answer.
  std::string cli(std::initializer_list<std::string_view> arguments);
  // The value of a line `name:value` of `INFO section`, and calls=N of its commandstats for `command` in small letters.
  std::string info(std::string_view section, std::string_view name);
  std::uint64_t calls_of(std::string_view command);
  // The value behind `name` in the flat map that `arguments` (an XINFO) answers.
  std::string field(std::initializer_list<std::string_view> arguments, std::string_view name);

 private:
  bool start(const std::vector<std::string>& more, Ready ready);
  std::string read_reply();

  Options options_;
  std::string login_;
  std::string directory_;
  std::optional<ReservedPort> port_;  // none: a unix socket
  net::Endpoint endpoint_;
  std::unique_ptr<ChildProcess> process_;
  std::optional<RawClient> client_;
};

}  // namespace outrigger::tests
