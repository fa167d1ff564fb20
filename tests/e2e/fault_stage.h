// The stage of the fault tests: a Valkey, a gateway, one or two sidecars of `orders` over services that hold requests until
// they are told, so that a stage of a request's way lasts as long as a test needs it; and questions about what became
// of each.
#pragma once

#include <algorithm>

#include "tests/e2e/programs.h"
#include "tests/support/fault_proxy.h"

namespace outrigger::tests {

using namespace std::chrono_literals;

inline constexpr char kAnyPort[] = "127.0.0.1:0";
inline constexpr base::Duration kTakenOver = 3s;  // within which a repeatable request of a dead instance is answered
inline const Environment kShortLease{{"Sidecar__Messaging__LeaseDuration", "1s"}};

class FaultStage : public ::testing::Test {
 protected:
  void SetUp() override {
    OUTRIGGER_NEEDS_VALKEY();
    start_valkey({});
  }
  void start_valkey(ValkeyServer::Options options) {
    valkey_.emplace(std::move(options));
    hold_on(service_);
    hold_on(twin_);
  }
  void TearDown() override {
    service_.release();
    twin_.release();
  }
  ValkeyServer& valkey() { return *valkey_; }
  Gateway& gateway() { return *gateway_; }

  // Targets that begin with /hold wait for release(), others are answered at once.
  static void hold_on(ScriptedService& service) {
    service.set_script([](const RawRequest& request, ScriptedService::Connection& connection) {
      if (request.target.starts_with("/hold")) connection.hold();
      ScriptedService::echo(request, connection);
    });
  }
  std::unique_ptr<Sidecar> start(ScriptedService& service, Environment environment = kShortLease) {
    auto sidecar = std::make_unique<Sidecar>(valkey(), "orders", service, std::move(environment), kAnyPort);
    EXPECT_TRUE(sidecar->wait_until_registered());
    return sidecar;
  }
  // A gateway, and one sidecar of `orders` over service_ that it knows.
  void start_first(Environment environment = kShortLease, Environment gateway = {}) {
    gateway_.emplace(valkey(), std::move(gateway));
    first_ = start(service_, std::move(environment));
    ASSERT_TRUE(gateway_->wait_for_route("/orders/"));
    service_.forget_requests();
  }
  // Its peer over twin_. Shortly after one's own connect others' silence proves nothing, so nobody takes over in the first
  // two seconds: they are waited for where a test measures how soon it happens.
  void start_second(Environment environment = kShortLease) {
    second_ = start(twin_, std::move(environment));
    const Stopwatch watch;
    ASSERT_TRUE(eventually("the first two seconds to be over", [&] { return watch.elapsed() > 2200ms; }));
  }
  std::unique_ptr<Asking> send(std::string_view method, std::string_view target) {
    return std::make_unique<Asking>(gateway().port(),
                                    make_request(method, "/orders" + std::string(target), {}, method == "POST" ? "x" : ""));
  }
  std::unique_ptr<Asking> send_until_held(std::string_view method, std::string_view target) {
    const std::size_t before = service_.held();
    auto asking = send(method, target);
    EXPECT_TRUE(eventually("it to be at the service", [&] { return service_.held() == before + 1; }));
    return asking;
  }
  static int runs(const ScriptedService& service, std::string_view target) {
    const auto requests = service.requests();
    return static_cast<int>(
        std::count_if(requests.begin(), requests.end(), [&](const auto& each) { return each.target == target; }));
  }
  int runs(std::string_view target) const { return runs(service_, target) + runs(twin_, target); }
  std::string pending() {
    const std::string summary = valkey().cli({"XPENDING", "router:requests:orders", "router-gateway"});
    return summary.substr(0, summary.find('\n'));
  }
  // Requests that nobody was given yet. The stream's length would count what was settled and is not deleted yet.
  std::string undelivered_count() { return valkey().field({"XINFO", "GROUPS", "router:requests:orders"}, "lag"); }
  // Instances that wait at Valkey for work.
  std::size_t readers() {
    if (wake_modes.sidecar == "notify") {  // nothing is blocked: what they say themselves
      std::size_t count = 0;
      for (const auto* sidecar : {&first_, &second_}) {
        if (*sidecar != nullptr && metric((*sidecar)->health_port(), "outrigger_reading") == "1") ++count;
      }
      return count;
    }
    const std::string clients = valkey().cli({"CLIENT", "LIST"});
    std::size_t count = 0;
    for (std::size_t at = clients.find("cmd=xreadgroup"); at != std::string::npos;
         at = clients.find("cmd=xreadgroup", at + 1)) {
      const std::size_t line = clients.rfind('\n', at) + 1;
      const std::size_t flags = clients.find(" flags=", line);
      if (clients.substr(flags, clients.find(' ', flags + 1) - flags).find('b') != std::string::npos) ++count;
    }
    return count;
  }
  // Of the first sidecar.
  std::string counter(const std::string& name) const {
    return metric(first_->health_port(), name + "{service=\"orders\"}");
  }
  std::string late_answers() const { return metric(gateway_->health_port(), "outrigger_late_answers_total"); }

  ScriptedService service_;
  ScriptedService twin_;
  std::optional<ValkeyServer> valkey_;
  std::optional<Gateway> gateway_;
  std::unique_ptr<Sidecar> first_;
  std::unique_ptr<Sidecar> second_;
};

}  // namespace outrigger::tests
