// Tokens of a real issuer, npm's oidc-provider as it comes, found by discovery: they are accepted, its keys may change at
// any moment without a failed request, and those that are known stay in use when it is away.
#include <atomic>
#include <filesystem>
#include <mutex>
#include <nlohmann/json.hpp>
#include <optional>
#include <thread>

#include "tests/e2e/programs.h"
#include "tests/support/reserved_port.h"
#include "tests/support/token_maker.h"

namespace outrigger::tests {
namespace {

using namespace std::chrono_literals;

const std::string kAudience = "https://api.example.test";
const std::filesystem::path kInstalled = OUTRIGGER_OIDC_ISSUER;
const std::filesystem::path kScript = OUTRIGGER_SOURCE_DIR "/tests/e2e/oidc/issuer.mjs";

bool is_installed() {
  return std::filesystem::exists(kInstalled / "installed-lock.json") && std::system("node --version >/dev/null 2>&1") == 0;
}

class Issuer {
 public:
  // The port is part of the issuer's name: one that starts anew has it again.
  explicit Issuer(std::uint16_t port) : process_(options(port)), port_(port) {
    EXPECT_TRUE(process_.wait_for_line("issuer listens"));
  }
  std::string url() const { return "http://127.0.0.1:" + std::to_string(port_); }
  ChildProcess& process() { return process_; }

  // An access token, as any client of the issuer gets it.
  std::string token() const {
    const RawResponse response = ask(port_, make_request("POST", "/token",
                                                         {{"Content-Type", "application/x-www-form-urlencoded"},
                                                          {"Authorization", "Basic dGVzdGVyOnRlc3Rlci1zZWNyZXQ="}},
                                                         "grant_type=client_credentials&scope=read"));
    EXPECT_EQ(response.status, 200) << response.problem << response.body;
    const auto json = nlohmann::json::parse(response.body, nullptr, false);
    return json.is_object() ? json.value("access_token", "") : "";
  }
  // From now on it signs with a new key; its key set has the earlier ones, too.
  void rotate() { EXPECT_EQ(ask(port_, make_request("POST", "/-/rotate")).status, 200); }
  int key_set_fetches() const {
    const auto json = nlohmann::json::parse(get(port_, "/-/counts").body, nullptr, false);
    return json.is_object() ? json.value("jwks", -1) : -1;
  }

 private:
  // The script stands beside the packages it imports: that is where Node.js looks for them.
  static ChildProcess::Options options(std::uint16_t port) {
    std::filesystem::copy_file(kScript, kInstalled / "issuer.mjs", std::filesystem::copy_options::overwrite_existing);
    ChildProcess::Options options;
    options.command = {"node", kInstalled / "issuer.mjs", std::to_string(port)};
    return options;
  }

  ChildProcess process_;
  const std::uint16_t port_;
};

class OidcTest : public ::testing::Test {
 protected:
  void SetUp() override {
    OUTRIGGER_NEEDS_VALKEY();
    if (!is_installed()) GTEST_SKIP() << "oidc-provider is not installed: scripts/setup --for test";
    valkey_.emplace();
    issuer_.emplace(port_.port());
    service_.emplace();
    sidecar_.emplace(*valkey_, "billing", *service_);
  }
  void start_gateway() {
    gateway_.emplace(*valkey_, Environment{{"Gateway__Auth__Mode", "verify"},
                                           {"Gateway__Auth__Issuers__0__Issuer", issuer_->url()},
                                           {"Gateway__Auth__Issuers__0__Audiences", kAudience}});
  }
  void start_and_wait() {
    start_gateway();
    ASSERT_TRUE(gateway_->wait_until_ready());
    ASSERT_TRUE(gateway_->wait_for_route("/billing/"));
  }
  RawResponse ask_with(const std::string& token) const {
    return gateway_->ask(make_request("GET", "/billing/orders", {{"Authorization", "Bearer " + token}}));
  }
  // A sound token, but for its key, which the issuer never had.
  std::string made_up_token(const std::string& key_id) const {
    static const TokenMaker maker = TokenMaker::rsa("");
    return maker.with_key_id(key_id).token(R"({"iss":")" + issuer_->url() + R"(","aud":")" + kAudience +
                                           R"(","sub":"tester","exp":4102444800})");
  }

  std::optional<ValkeyServer> valkey_;
  const ReservedPort port_;  // Node.js sets SO_REUSEADDR
  std::optional<Issuer> issuer_;
  std::optional<ScriptedService> service_;
  std::optional<Sidecar> sidecar_;
  std::optional<Gateway> gateway_;
};

TEST_F(OidcTest, token_of_a_discovered_issuer_is_accepted) {
  start_and_wait();

  const RawResponse response = ask_with(issuer_->token());

  EXPECT_EQ(response.status, 200) << response.problem << response.body;
  const RawRequest seen = service_->last_request();
  EXPECT_EQ(seen.field("X-StellaOps-Tenant"), "acme");
  EXPECT_EQ(seen.field("X-StellaOps-Actor"), "tester");
  EXPECT_EQ(seen.field("X-StellaOps-Scopes"), "read");
  std::string broken = issuer_->token();
  char& last = broken[broken.size() - 2];
  last = last == 'A' ? 'B' : 'A';
  const RawResponse refused = ask_with(broken);
  EXPECT_EQ(refused.status, 401);
  EXPECT_NE(refused.header("WWW-Authenticate"), "");
}

// Under load, each time at once: the very first token of a new key is sent before the gateway can have heard of it.
TEST_F(OidcTest, rotated_keys_are_followed_without_a_failed_request) {
  constexpr int kRotations = 3;
  start_and_wait();
  std::mutex mutex;
  std::string token = issuer_->token();
  std::string failure;
  std::atomic<int> answered{0};
  std::atomic<bool> is_over{false};
  const auto send = [&] {
    while (!is_over) {
      std::string bearer;
      {
        const std::lock_guard lock(mutex);
        bearer = token;
      }
      const RawResponse response = ask_with(bearer);
      if (response.status == 200) {
        ++answered;
        continue;
      }
      const std::lock_guard lock(mutex);
      failure = "after " + std::to_string(answered) + ": " + response.problem + response.status_line + response.body;
      is_over = true;
    }
  };
  std::vector<std::thread> clients;
  for (int i = 0; i < 8; ++i) clients.emplace_back(send);
  const auto more_are_answered = [&] {
    return eventually("50 more answers", [&, enough = answered + 50] { return answered >= enough || is_over; });
  };

  EXPECT_TRUE(more_are_answered());
  for (int i = 0; i < kRotations; ++i) {
    const std::string before = issuer_->token();
    issuer_->rotate();
    const std::string after = issuer_->token();
    {
      const std::lock_guard lock(mutex);
      token = after;
    }
    EXPECT_TRUE(more_are_answered());
    EXPECT_EQ(ask_with(before).status, 200);
  }

  is_over = true;
  for (std::thread& client : clients) client.join();
  EXPECT_EQ(failure, "");
  // One at the start, one for each rotation, and no more than one again for questions during a fetch.
  EXPECT_LE(issuer_->key_set_fetches(), 1 + 2 * kRotations);
}

TEST_F(OidcTest, tokens_of_known_keys_pass_while_the_issuer_is_down) {
  start_and_wait();
  const std::string known = issuer_->token();
  ASSERT_EQ(ask_with(known).status, 200);

  ASSERT_TRUE(issuer_->process().terminate());

  EXPECT_EQ(ask_with(known).status, 200);
  const int status_of_unknown = ask_with(made_up_token("unknown")).status;
  EXPECT_TRUE(status_of_unknown == 401 || status_of_unknown == 503) << status_of_unknown;
  EXPECT_EQ(ask_with(known).status, 200);  // also after a fetch that failed
  EXPECT_TRUE(gateway_->is_ready());
  // It returns, with another key.
  issuer_.emplace(port_.port());
  const std::string fresh = issuer_->token();
  EXPECT_TRUE(eventually("the new key's token to pass", [&] { return ask_with(fresh).status == 200; }));
}

TEST_F(OidcTest, gateway_that_starts_before_its_issuer_is_ready_once_it_has_keys) {
  ASSERT_TRUE(issuer_->process().terminate());
  start_gateway();
  const auto verdict = [this] { return get(gateway_->health_port(), "/readyz?verbose").body; };
  EXPECT_TRUE(eventually("all but the keys to be ready", [&] {
    const std::string body = verdict();
    std::size_t failed = 0;
    for (std::size_t at = 0; (at = body.find("[-]", at)) != std::string::npos; ++at) ++failed;
    return failed == 1 && body.find("[-]keys") != std::string::npos;
  })) << verdict();

  issuer_.emplace(port_.port());

  EXPECT_TRUE(gateway_->wait_until_ready());
  ASSERT_TRUE(gateway_->wait_for_route("/billing/"));
  EXPECT_EQ(ask_with(issuer_->token()).status, 200);
}

TEST_F(OidcTest, made_up_keys_cost_few_fetches) {
  start_and_wait();
  const int before = issuer_->key_set_fetches();
  const Stopwatch watch;
  for (int round = 0; round < 2; ++round) {
    std::vector<std::unique_ptr<Asking>> asking;
    for (int i = 0; i < 50; ++i) {
      const std::string token = made_up_token("made-up-" + std::to_string(round) + "-" + std::to_string(i));
      asking.push_back(std::make_unique<Asking>(
          gateway_->port(), make_request("GET", "/billing/orders", {{"Authorization", "Bearer " + token}})));
    }
    for (const auto& each : asking) EXPECT_EQ(each->answer().status, 401) << each->answer().problem;
  }
  EXPECT_EQ(service_->request_count(), 1U);  // that looked for the route
  const int fetches = issuer_->key_set_fetches() - before;
  EXPECT_LE(fetches, 2 + watch.elapsed() / 5s);
  EXPECT_EQ(ask_with(issuer_->token()).status, 200);
}

}  // namespace
}  // namespace outrigger::tests
