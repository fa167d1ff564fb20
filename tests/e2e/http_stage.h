// One Valkey, gateway, sidecar and service for all tests of HTTP itself: the service is mounted at / (so that the very
// same bytes can be sent to it directly) and, under the name billing, at /billing.
#pragma once

#include <memory>

#include "tests/e2e/programs.h"

namespace outrigger::tests {

class HttpStage : public ::testing::Test {
 protected:
  struct Stage {
    ValkeyServer valkey;
    ScriptedService service;
    Sidecar at_root{valkey, "plain", service, {{"Sidecar__Service__Mount", "/"}}};
    Sidecar at_name{valkey, "billing", service};
    Gateway gateway{valkey};
  };

  static void SetUpTestSuite() {
    if (ValkeyServer::program().empty()) return;
    stage_ = std::make_unique<Stage>();
    ASSERT_TRUE(stage_->gateway.wait_until_ready());
    ASSERT_TRUE(stage_->gateway.wait_for_route("/"));
    // The service at the root answers 200 for it, too, as long as the other is not there.
    ASSERT_TRUE(eventually("the route /billing", [] { return stage_->gateway.get("/billing/x").body == "GET /x "; }));
    ASSERT_TRUE(stage_->gateway.wait_for_route("/billing/"));  // of every worker
  }
  static void TearDownTestSuite() {
    if (stage_ == nullptr) return;
    EXPECT_TRUE(is_settled(stage_->valkey, ""));
    for (ChildProcess* process : {&stage_->gateway.process(), &stage_->at_root.process(), &stage_->at_name.process()}) {
      EXPECT_TRUE(process->terminate());
    }
    stage_.reset();
  }
  void SetUp() override {
    OUTRIGGER_NEEDS_VALKEY();
    service().set_script(ScriptedService::echo);
    service().forget_requests();
  }

  static ScriptedService& service() { return stage_->service; }
  static std::uint16_t direct() { return stage_->service.port(); }
  static std::uint16_t gateway() { return stage_->gateway.port(); }

  // Sends it through the gateway and returns what the service received.
  static RawRequest seen_by_service(std::string_view request) {
    const RawResponse response = ask(gateway(), request);
    EXPECT_TRUE(response.problem.empty() && response.status == 200) << response.problem << response.status_line;
    return service().request_count() > 0 ? service().last_request() : RawRequest{};
  }

  static inline std::unique_ptr<Stage> stage_;
};

}  // namespace outrigger::tests
