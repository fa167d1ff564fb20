// Many clients while sidecars are killed and started again: every client gets an end, and nobody is told what is not
// so.
#include <array>
#include <iostream>
#include <map>

#include "tests/e2e/programs.h"

namespace outrigger::tests {
namespace {

using namespace std::chrono_literals;

struct Told {
  std::string target;
  int status;
  std::string code;
  base::Duration took;
};

// Asks again and again, GET and POST in turn, each with a target of its own, on a kept connection.
class Client {
 public:
  Client(std::uint16_t port, int number) : thread_([this, port, number] { run(port, number); }) {}
  ~Client() { stop(); }
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  std::vector<Told> stop() {
    is_stopping_ = true;
    if (thread_.joinable()) thread_.join();
    return std::move(told_);
  }

 private:
  void run(std::uint16_t port, int number) {
    auto client = std::make_unique<RawClient>(port);
    for (int i = 0; !is_stopping_; ++i) {
      const std::string method = i % 2 == 0 ? "GET" : "POST";
      const std::string target = "/" + method + "/" + std::to_string(number) + "/" + std::to_string(i);
      const Stopwatch watch;
      client->send(make_request(method, "/orders" + target, {}, method == "POST" ? "x" : ""));
      const RawResponse response = client->read_response();
      told_.push_back({target, response.status, code_of(response) + response.problem, watch.elapsed()});
      if (!response.problem.empty()) client = std::make_unique<RawClient>(port);
    }
  }

  std::atomic<bool> is_stopping_{false};
  std::vector<Told> told_;
  std::thread thread_;
};

// Of the gateway, and of each sidecar.
struct Fleet {
  const char* name;
  const char* gateway;
  std::array<const char*, 2> sidecars;
};

class Chaos : public ::testing::TestWithParam<Fleet> {};

TEST_P(Chaos, killed_sidecars_cost_no_get_and_run_no_post_twice) {
  OUTRIGGER_NEEDS_VALKEY();
  ValkeyServer valkey;
  ScriptedService service;
  Gateway gateway(valkey, {{"Gateway__Transports__Messaging__WakeMode", GetParam().gateway}});
  const auto start = [&](std::size_t index) {
    const Environment environment{{"Sidecar__Messaging__LeaseDuration", "1s"},
                                  {"Sidecar__Messaging__WakeMode", GetParam().sidecars[index]}};
    auto sidecar = std::make_unique<Sidecar>(valkey, "orders", service, environment);
    EXPECT_TRUE(sidecar->wait_until_registered());
    return sidecar;
  };
  std::array<std::unique_ptr<Sidecar>, 2> sidecars{start(0), start(1)};
  ASSERT_TRUE(gateway.wait_for_route("/orders/"));
  service.forget_requests();
  std::vector<std::unique_ptr<Client>> clients;
  for (int i = 0; i < 8; ++i) clients.push_back(std::make_unique<Client>(gateway.port(), i));

  for (std::size_t i = 0; i < 4; ++i) {
    // Who has just connected takes nothing over for two seconds, so that only then the other may die.
    const Stopwatch watch;
    ASSERT_TRUE(eventually("the first two seconds to be over", [&] { return watch.elapsed() > 2200ms; }));
    std::unique_ptr<Sidecar>& victim = sidecars[i % 2];
    victim->process().kill_hard();
    victim = start(i % 2);
  }

  std::vector<Told> told;
  for (auto& client : clients) {
    std::vector<Told> its = client->stop();
    told.insert(told.end(), its.begin(), its.end());
  }
  EXPECT_TRUE(is_settled(valkey, "orders"));
  std::map<std::string, int> runs;
  for (const RawRequest& request : service.requests()) ++runs[request.target];
  std::map<std::string, int> ends;
  for (const Told& each : told) {
    const bool is_get = each.target.starts_with("/GET");
    ++ends[std::string(is_get ? "GET " : "POST ") + std::to_string(each.status) + " " + each.code];
    EXPECT_LT(each.took, 4s) << each.target;
    if (is_get) {
      EXPECT_EQ(each.status, 200) << each.target << " " << each.code;
      continue;
    }
    EXPECT_LE(runs[each.target], 1) << each.target;
    if (each.status == 200) {
      EXPECT_EQ(runs[each.target], 1) << each.target;
    } else if (each.status == 503) {
      EXPECT_EQ(runs[each.target], 0) << each.target;
    }
    EXPECT_TRUE(each.status == 200 || each.status == 503 || each.code == "outcome-unknown")
        << each.target << " " << each.status << " " << each.code;
  }
  for (const auto& [end, count] : ends) std::cerr << end << ": " << count << "\n";
  EXPECT_GT(told.size(), 100u);
}

INSTANTIATE_TEST_SUITE_P(Wake, Chaos,
                         ::testing::Values(Fleet{"block", "block", {"block", "block"}},
                                           Fleet{"notify", "notify", {"notify", "notify"}},
                                           Fleet{"mixed", "notify", {"block", "notify"}}),
                         [](const auto& fleet) { return std::string(fleet.param.name); });

}  // namespace
}  // namespace outrigger::tests
