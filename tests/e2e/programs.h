// The two programs under test as child processes, and how tests talk to them. Every one ends with its object, and the
// test fails if one ended otherwise than it should (child_process.h).
#pragma once

#include <gtest/gtest.h>

#include <cstdlib>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "tests/support/child_process.h"
#include "tests/support/eventually.h"
#include "tests/support/raw_client.h"
#include "tests/support/scripted_service.h"
#include "tests/support/valkey_server.h"

namespace outrigger::tests {

using Environment = std::vector<std::pair<std::string, std::string>>;

// Wake modes of the programs that are started from now on, unless their environment says otherwise; empty: the default.
struct WakeModes {
  std::string gateway;
  std::string sidecar;
};
// OUTRIGGER_WAKE=notify: a binary that knows nothing of modes, run once more in the other one.
inline WakeModes wake_modes_of_environment() {
  const char* mode = std::getenv("OUTRIGGER_WAKE");
  return mode == nullptr ? WakeModes{} : WakeModes{mode, mode};
}
inline WakeModes wake_modes = wake_modes_of_environment();

// A suite that runs in both.
class InBothWakeModes : public ::testing::TestWithParam<const char*> {
 protected:
  InBothWakeModes() { wake_modes = {GetParam(), GetParam()}; }
  ~InBothWakeModes() override { wake_modes = {}; }
};
#define OUTRIGGER_IN_BOTH_WAKE_MODES(suite)                                  \
  INSTANTIATE_TEST_SUITE_P(Wake, suite, ::testing::Values("block", "notify"), \
                           [](const auto& mode) { return std::string(mode.param); })

// HTTP/1.1 with a Host field (example.test), and Content-Length if there is a body.
std::string make_request(std::string_view method, std::string_view target, const Fields& fields = {},
                         std::string_view body = {});
// `body` in chunks of `chunk_bytes`, with Transfer-Encoding: chunked.
std::string make_chunked_request(std::string_view method, std::string_view target, std::string_view body,
                                 std::size_t chunk_bytes);
// Not compressible, not text; the same for the same size.
std::string make_binary(std::size_t size);

// One request on a connection of its own.
RawResponse ask(std::uint16_t port, std::string_view request);
RawResponse get(std::uint16_t port, std::string_view target);
// The member `code` of a problem+json body; empty if it is none.
std::string code_of(const RawResponse& response);

// How long something took.
class Stopwatch {
 public:
  base::Duration elapsed() const { return base::system_clock().monotonic() - started_; }

 private:
  base::TimePoint started_ = base::system_clock().monotonic();
};

class Gateway {
 public:
  // Listening when this returns; connected to Valkey a little later, see wait_until_ready().
  explicit Gateway(const ValkeyServer& valkey, Environment environment = {}, std::vector<std::string> flags = {});

  std::uint16_t port() const { return port_; }
  std::uint16_t health_port() const { return health_port_; }
  ChildProcess& process() { return process_; }
  bool is_ready() const { return tests::get(health_port_, "/readyz").status == 200; }
  ::testing::AssertionResult wait_until_ready() {
    return eventually("the gateway's /readyz", [this] { return is_ready(); });
  }
  // A GET of `target` answers 200, and what one worker knows for that all of them know.
  ::testing::AssertionResult wait_for_route(std::string_view target, base::Duration within = kPatience);
  RawResponse ask(std::string_view request) const { return tests::ask(port_, request); }
  RawResponse get(std::string_view target) const { return tests::get(port_, target); }

 private:
  ChildProcess process_;
  std::uint16_t port_ = 0;
  std::uint16_t health_port_ = 0;
};

class Sidecar {
 public:
  // `health`: as --health has it; with an address, health_port() is where it is.
  Sidecar(const ValkeyServer& valkey, std::string_view name, const ScriptedService& service,
          Environment environment = {}, std::string health = "off");

  ChildProcess& process() { return process_; }
  std::uint16_t health_port() const { return health_port_; }
  // HELLO was written: it reads, and gateways know.
  ::testing::AssertionResult wait_until_registered() { return process_.wait_for_line("registered"); }

 private:
  ChildProcess process_;
  std::uint16_t health_port_ = 0;
};

// A client's request on its way in another thread, until answer().
class Asking {
 public:
  Asking(std::uint16_t port, std::string request)
      : thread_([this, port, request = std::move(request)] {
          response_ = tests::ask(port, request);
          took_ = watch_.elapsed();
          is_answered_ = true;
        }) {}
  ~Asking() {
    if (thread_.joinable()) thread_.join();
  }
  Asking(const Asking&) = delete;
  Asking& operator=(const Asking&) = delete;

  bool is_answered() const { return is_answered_; }
  // Waits for it.
  const RawResponse& answer() {
    if (thread_.joinable()) thread_.join();
    return response_;
  }
  base::Duration took() {
    answer();
    return took_;
  }

 private:
  Stopwatch watch_;
  RawResponse response_;
  base::Duration took_{};
  std::atomic<bool> is_answered_{false};
  std::thread thread_;
};

// Every entry of every work stream of `service` was settled.
::testing::AssertionResult is_settled(ValkeyServer& valkey, std::string_view service);

// The value of a sample `name` (with its labels, as written) in what the listener at `health_port` shows; empty if absent.
std::string metric(std::uint16_t health_port, std::string_view name);

// Every key with its type, time to live and length, one a line.
std::string describe_keys(ValkeyServer& valkey);
// No key of ours may grow, or stay, without bound: the control stream is capped, base queues are empty once everything is
// settled, all else ends by itself (docs/protocol.md, Keys). Fails with those that do not, beside all the others.
::testing::AssertionResult keys_are_bounded(ValkeyServer& valkey);

}  // namespace outrigger::tests
