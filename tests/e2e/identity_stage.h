// The stage of the tests of identity: an issuer whose keys are in a file, a gateway that believes it, and the service
// `orders` behind a sidecar, which records what it is told of its callers.
#pragma once

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <memory>
#include <optional>

#include "tests/e2e/programs.h"
#include "tests/support/token_maker.h"

namespace outrigger::tests {

inline constexpr char kIssuer[] = "https://id.test";
inline constexpr char kAudience[] = "orders";
inline constexpr char kInFarFuture[] = "4102444800";  // 2100

// A good token's claims: those of ann, who has `more` of them, beginning with a comma.
inline std::string claims(std::string_view more = {}, std::string_view issuer = kIssuer) {
  return R"({"iss":")" + std::string(issuer) + R"(","aud":"orders","sub":"ann","exp":)" + kInFarFuture +
         std::string(more) + "}";
}

inline Fields bearer(std::string_view token) {
  return {{"Authorization", "Bearer " + std::string(token)}};
}
// Environments are Fields, too.
inline Fields operator+(Fields fields, const Fields& more) {
  fields.insert(fields.end(), more.begin(), more.end());
  return fields;
}
class IdentityStage : public ::testing::Test {
 protected:
  void SetUp() override {
    OUTRIGGER_NEEDS_VALKEY();
    valkey_.emplace();
    write_file("keys.json", key().jwks());
  }

  // Of the issuer. Made once.
  static const TokenMaker& key() {
    static const TokenMaker maker = TokenMaker::ec("one");
    return maker;
  }
  static std::string token(std::string_view more = {}) { return key().token(claims(more)); }

  std::string path_of(const std::string& name) const { return valkey_->directory() + "/" + name; }
  // Whole or not at all, as an editor does it: gateways read these files at any time.
  void write_file(const std::string& name, const std::string& text) const {
    std::ofstream(path_of(name) + ".new") << text;
    std::filesystem::rename(path_of(name) + ".new", path_of(name));
  }
  Environment trusting(const std::string& keys = "keys.json") const {
    return {{"Gateway__Auth__Issuers__0__Issuer", kIssuer},
            {"Gateway__Auth__Issuers__0__Audiences", kAudience},
            {"Gateway__Auth__Issuers__0__JwksFile", path_of(keys)}};
  }

  void start_gateway(Environment environment) { gateway_.emplace(*valkey_, std::move(environment)); }
  void start_sidecar(Environment environment = {}, const std::string& name = "orders") {
    sidecars_.push_back(std::make_unique<Sidecar>(*valkey_, name, service_, std::move(environment)));
  }
  // Until a request with a good token reaches the service.
  ::testing::AssertionResult is_up(const std::string& target = "/orders/", const Fields& fields = bearer(token())) {
    RawResponse last;
    auto result = eventually("200 from " + target, [&] {
      last = ask("GET", target, fields);
      return last.status == 200;
    });
    service_.forget_requests();
    return result ? result : result << "; the last answer was " << last.status_line << last.problem << last.body;
  }
  void start(Environment environment, const Environment& sidecar = {}) {
    start_gateway(std::move(environment));
    start_sidecar(sidecar);
    ASSERT_TRUE(is_up());
  }
  // Both end as they should, leaks and all, once a test is over.
  void TearDown() override {
    service_.release();
    if (gateway_) {
      EXPECT_TRUE(gateway_->process().terminate());
    }
    for (const auto& sidecar : sidecars_) EXPECT_TRUE(sidecar->process().terminate());
  }

  RawResponse ask(std::string_view method, std::string_view target, const Fields& fields = {}) const {
    return gateway_->ask(make_request(method, target, fields));
  }
  RawResponse ask_with(const std::string& token, std::string_view target = "/orders/a") const {
    return ask("GET", target, bearer(token));
  }
  // 200, or the status and the problem's code.
  static std::string verdict(const RawResponse& response) {
    if (!response.problem.empty()) return response.problem;
    const std::string code = code_of(response);
    return std::to_string(response.status) + (code.empty() ? "" : " " + code);
  }
  // What the service was told of a request that it must get. No fields otherwise.
  RawRequest seen(const Fields& fields, std::string_view target = "/orders/a", std::string_view method = "GET") {
    service_.forget_requests();
    const RawResponse response = ask(method, target, fields);
    EXPECT_EQ(response.status, 200) << response.problem << response.body;
    EXPECT_EQ(service_.request_count(), 1U);
    return service_.request_count() == 1 ? service_.last_request() : RawRequest{};
  }

  ScriptedService service_;
  std::optional<ValkeyServer> valkey_;
  std::optional<Gateway> gateway_;
  std::vector<std::unique_ptr<Sidecar>> sidecars_;
};

}  // namespace outrigger::tests
