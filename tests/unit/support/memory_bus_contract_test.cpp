#include "tests/support/bus_contract.h"
#include "tests/support/memory_bus.h"

namespace outrigger::tests {
namespace {

class MemoryBusFixture final : public BusFixture {
 public:
  std::unique_ptr<messaging::Bus> make_bus() override { return std::make_unique<MemoryBus>(server_); }
  bool run_until(const std::function<bool()>& condition) override {
    for (int i = 0; i < 1000 && !condition(); ++i) {
      loop_.settle(2);
      loop_.clock.move(std::chrono::milliseconds(1));
    }
    return condition();
  }
  void pass_time(std::chrono::milliseconds time) override { loop_.advance(time); }
  void break_connections() override {
    for (MemoryBus* bus : server_.buses()) bus->break_connections();
  }
  void flush_all() override { server_.flush_all(); }
  void set_out_of_memory(bool is_out_of_memory) override { server_.set_out_of_memory(is_out_of_memory); }
  std::optional<std::int64_t> lag(const std::string& queue) override { return server_.lag(queue); }

 private:
  FakeLoop loop_;
  MemoryServer server_{loop_};
};

INSTANTIATE_TYPED_TEST_SUITE_P(Memory, BusContract, MemoryBusFixture);

}  // namespace
}  // namespace outrigger::tests
