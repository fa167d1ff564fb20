// The suite that every bus must pass, over a real server.
#include "tests/integration/valkey/valkey_test.h"

namespace outrigger::tests {
namespace {

template <frames::WakeMode kWake>
class ValkeyBusFixture final : public BusFixture {
 public:
  std::unique_ptr<messaging::Bus> make_bus() override {
    valkey::ValkeyBus::Options options;
    options.address = address_of(server_.url());
    options.name = "contract";
    options.group = "router";
    options.wake = kWake;
    // What a reader that is not blocked learns of by itself, it learns of after this.
    if (kWake == frames::WakeMode::notify) options.block_time = std::chrono::seconds(2);
    return std::make_unique<valkey::ValkeyBus>(loop_.loop, std::move(options));
  }
  bool run_until(const std::function<bool()>& condition) override {
    return static_cast<bool>(loop_.run_until("the condition", condition));
  }
  void pass_time(std::chrono::milliseconds time) override {
    const base::TimePoint end = base::system_clock().monotonic() + time;
    run_until([&] { return base::system_clock().monotonic() >= end; });
  }
  void break_connections() override {
    server_.cli({"CLIENT", "KILL", "TYPE", "normal"});
    server_.cli({"CLIENT", "KILL", "TYPE", "pubsub"});
  }
  void flush_all() override { server_.cli({"FLUSHALL"}); }
  void set_out_of_memory(bool is_out_of_memory) override {
    server_.cli({"CONFIG", "SET", "maxmemory", is_out_of_memory ? "1" : "0"});
  }
  std::optional<std::int64_t> lag(const std::string& queue) override {
    const std::string lag = server_.field({"XINFO", "GROUPS", queue}, "lag");
    if (lag.empty() || lag == "(nil)") return std::nullopt;
    return std::stoll(lag);
  }
  bool is_notified() const override { return kWake == frames::WakeMode::notify; }

 private:
  RealLoop loop_;
  ValkeyServer server_;
};

using InBlockMode = ValkeyBusFixture<frames::WakeMode::block>;
using InNotifyMode = ValkeyBusFixture<frames::WakeMode::notify>;
INSTANTIATE_TYPED_TEST_SUITE_P(Valkey, BusContract, InBlockMode);
INSTANTIATE_TYPED_TEST_SUITE_P(ValkeyNotify, BusContract, InNotifyMode);

}  // namespace
}  // namespace outrigger::tests
