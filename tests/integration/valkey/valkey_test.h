// What the tests of bridge/valkey against a real server share: the server, a loop, a bus, and waiting for replies.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "bridge/valkey/valkey_bus.h"
#include "tests/support/bus_contract.h"
#include "tests/support/real_loop.h"
#include "tests/support/valkey_server.h"

namespace outrigger::tests {

inline std::string text(Id id) {
  return messaging::to_string(id);
}

inline valkey::ValkeyAddress address_of(const std::string& url) {
  const auto address = valkey::parse_valkey_address(url);
  EXPECT_TRUE(address.has_value()) << url;
  return address.has_value() ? *address : valkey::ValkeyAddress{};
}

// Skips the whole binary where there is no server.
class NeedsValkey final : public ::testing::Environment {
  void SetUp() override { OUTRIGGER_NEEDS_VALKEY(); }
};
inline ::testing::Environment* const kNeedsValkey = ::testing::AddGlobalTestEnvironment(new NeedsValkey);

class ValkeyTest : public ::testing::Test {
 protected:
  void SetUp() override {
    server_.emplace();
    bus_ = connected_bus();
  }

  std::unique_ptr<valkey::ValkeyBus> make_bus(valkey::ValkeyAddress address) {
    valkey::ValkeyBus::Options options;
    options.address = std::move(address);
    options.name = "test";
    options.group = "router";
    options.wake = wake_;
    return std::make_unique<valkey::ValkeyBus>(loop_.loop, std::move(options));
  }
  std::unique_ptr<valkey::ValkeyBus> connected_bus() {
    auto bus = make_bus(address_of(server_->url()));
    EXPECT_TRUE(loop_.run_until("a connected bus", [&] { return bus->is_connected(); }));
    return bus;
  }
  void pass_time(base::Duration time) {
    const base::TimePoint end = base::system_clock().monotonic() + time;
    EXPECT_TRUE(loop_.run_until("time", [&] { return base::system_clock().monotonic() >= end; }));
  }

  // The outcome of one operation.
  template <class T>
  base::Result<T> ask(const std::function<void(Done<T>)>& start) {
    const auto result = std::make_shared<std::optional<base::Result<T>>>();
    start([result](base::Result<T> outcome) { result->emplace(std::move(outcome)); });
    EXPECT_TRUE(loop_.run_until("a reply", [&] { return result->has_value(); }));
    if (!result->has_value()) return base::Error{base::Code::deadline, "no reply"};
    return *std::move(*result);
  }
  // "" or the error's code by name.
  template <class T>
  std::string fault(const std::function<void(Done<T>)>& start) {
    const auto result = ask<T>(start);
    return result.has_value() ? "" : std::string(base::name_of(result.error().code));
  }
  base::Result<std::optional<Id>> publish(messaging::Bus& bus, const std::string& stream, bool may_create = true) {
    return ask<std::optional<Id>>(
        [&](auto done) {
          const bool notify = wake_ == frames::WakeMode::notify;
          bus.publish(stream, make_frame(), {.may_create = may_create, .notify = notify}, std::move(done));
        });
  }
  Id add() {
    const auto id = publish(*bus_, queue_);
    EXPECT_TRUE(id.has_value() && id->has_value());
    return id.has_value() ? id->value_or(Id{}) : Id{};
  }
  Ids add_many(int count) {
    Ids ids;
    for (int i = 0; i < count; ++i) ids.push_back(add());
    return ids;
  }
  void make_group() {
    EXPECT_EQ(fault<void>([&](auto done) { bus_->ensure_group(queue_, std::move(done)); }), "");
  }
  // Another client reads `count` entries for `consumer`.
  void deliver(std::string_view consumer, int count) {
    server_->cli({"XREADGROUP", "GROUP", "router", consumer, "COUNT", std::to_string(count), "STREAMS", queue_, ">"});
  }
  std::string length() { return server_->cli({"XLEN", queue_}); }
  std::string lag() { return server_->field({"XINFO", "GROUPS", queue_}, "lag"); }
  // "id\nconsumer\nidle\ncount" of one pending entry, without the idle time.
  std::string pending(Id id) {
    const std::string line = server_->cli({"XPENDING", queue_, "router", text(id), text(id), "1"});
    const std::size_t consumer = line.find('\n') + 1;
    const std::size_t idle = line.find('\n', consumer);
    return line.empty() ? "" : line.substr(consumer, idle - consumer) + " " + line.substr(line.rfind('\n') + 1);
  }

  frames::WakeMode wake_ = frames::WakeMode::block;  // of the buses that are made
  RealLoop loop_;
  std::optional<ValkeyServer> server_;
  std::unique_ptr<valkey::ValkeyBus> bus_;
  const std::string queue_ = "router:requests:billing";
};

// In both wake modes.
class ValkeyWakeTest : public ValkeyTest, public ::testing::WithParamInterface<frames::WakeMode> {
 protected:
  ValkeyWakeTest() { wake_ = GetParam(); }
};
inline std::string name_of_wake(const ::testing::TestParamInfo<frames::WakeMode>& mode) {
  return std::string(frames::name_of(mode.param));
}
#define OUTRIGGER_IN_BOTH_WAKE_MODES(suite)                                                              \
  INSTANTIATE_TEST_SUITE_P(Wake, suite, ::testing::Values(frames::WakeMode::block, frames::WakeMode::notify), \
                           name_of_wake)

}  // namespace outrigger::tests
