#include "gateway-edge/authenticator.h"

#include <algorithm>

#include "tests/support/fake_clock.h"
#include "tests/support/token_maker.h"

namespace outrigger::gateway {
namespace {

using namespace std::chrono_literals;
using router::ProblemCode;
using Kind = Credentials::Kind;
using Missing = Authenticator::Missing;

class Keys final : public KeySource {
 public:
  net::Pending want_key(const std::string& issuer, const std::string& key_id,
                        Done done) override {
    asked.push_back(issuer + " " + key_id);
    done_ = std::move(done);
    return {};
  }
  void answer(bool could_look) { std::exchange(done_, nullptr)(could_look); }

  std::vector<std::string> asked;

 private:
  Done done_;
};

base::HeaderList fields_of(std::initializer_list<std::pair<const char*, std::string>> fields) {
  base::HeaderList list;
  for (const auto& [name, value] : fields) list.add(name, value);
  return list;
}

class AuthenticatorTest : public ::testing::Test {
 protected:
  AuthenticatorTest() { options_.verifies = true; }

  Authenticator& authenticator() {
    if (!authenticator_) {
      authenticator_.emplace(clock_, policy_, &keys_, options_);
      trust({&maker_});
    }
    return *authenticator_;
  }
  void trust(std::initializer_list<const tests::TokenMaker*> makers, bool has_keys = true) {
    std::string jwks;
    for (const tests::TokenMaker* maker : makers) jwks += (jwks.empty() ? "" : ",") + maker->jwk();
    std::vector<std::string> remarks;
    auto keys = identity::KeySet::parse("{\"keys\":[" + jwks + "]}", remarks);
    EXPECT_TRUE(keys || !has_keys);
    identity::TrustedIssuer issuer;
    issuer.rules.issuer = "https://id.test";
    issuer.rules.audiences = {"orders"};
    if (has_keys) issuer.keys = std::make_shared<const identity::KeySet>(std::move(*keys));
    authenticator_->set_verifier(std::make_shared<const identity::TokenVerifier>(std::vector{std::move(issuer)}));
  }
  // `claims` begin with a comma, if there are any.
  std::string token(const std::string& claims = {}, std::chrono::seconds lives = 60s) const {
    const auto now = std::chrono::duration_cast<std::chrono::seconds>(clock_.wall());
    return maker_.token(R"({"iss":"https://id.test","aud":"orders","sub":"ann","exp":)" +
                        std::to_string((now + lives).count()) + claims + "}");
  }
  Authenticator::Answer ask(const base::HeaderList& fields, bool may_be_anonymous = false,
                            Missing missing = Missing::wait) {
    Authenticator& asked = authenticator();
    return asked.authenticate(asked.read(fields), may_be_anonymous, missing);
  }
  Authenticator::Answer ask_with(const std::string& token,
                                 std::pair<const char*, std::string> more = {"Accept", "*/*"}) {
    return ask(fields_of({{"Authorization", "Bearer " + token}, more}));
  }
  // "401 why detail | challenge", or "ann acme scopes".
  static std::string text(const Authenticator::Answer& answer) {
    if (const auto* refusal = std::get_if<Authenticator::Refusal>(&answer)) {
      return std::to_string(router::describe(refusal->code).status) + " " + std::string(refusal->why) + " " +
             refusal->detail + " | " + refusal->challenge;
    }
    if (const auto* missing = std::get_if<Authenticator::MissingKey>(&answer))
      return "missing " + missing->issuer + " " + missing->key_id;
    const identity::Principal& who = *std::get<Authenticator::Who>(answer);
    std::string scopes;
    for (const std::string& scope : who.scopes) scopes += "," + scope;
    return who.actor + " " + who.tenant + " " + scopes;
  }

  tests::FakeClock clock_;
  identity::HeaderPolicy policy_;
  Keys keys_;
  Authenticator::Options options_;
  tests::TokenMaker maker_ = tests::TokenMaker::ec("one");
  std::optional<Authenticator> authenticator_;
};

TEST_F(AuthenticatorTest, token_is_one_field_of_one_bearer) {
  Authenticator& asked = authenticator();
  const auto kind = [&](std::initializer_list<std::pair<const char*, std::string>> fields) {
    return asked.read(fields_of(fields)).kind;
  };
  EXPECT_EQ(kind({}), Kind::none);
  EXPECT_EQ(kind({{"Authorization", "Basic YTpi"}}), Kind::none);
  EXPECT_EQ(kind({{"Proxy-Authorization", "Bearer a"}}), Kind::none);
  EXPECT_EQ(kind({{"AUTHORIZATION", "bEARER  a.b-c_d~e+f/g=="}}), Kind::bearer);
  EXPECT_EQ(asked.read(fields_of({{"authorization", "Bearer   abc"}})).token, "abc");
  for (const char* unclear :
       {"Bearer", "Bearer ", "Bearer a b", "Bearer a=b", "Bearer =", "Bearer a,b", "Bearer \"a\"", "bearer a\tb",
        "Bearer\ta", "Bearer\xa0" "a", "Bearer,a", "Bearer=a"}) {
    EXPECT_EQ(kind({{"Authorization", unclear}}), Kind::unclear) << unclear;
  }
  EXPECT_EQ(kind({{"Authorization", "Bearer a"}, {"authorization", "Bearer a"}}), Kind::unclear);
  EXPECT_EQ(kind({{"Authorization", "Basic YTpi"}, {"Authorization", "Bearer a"}}), Kind::unclear);
  EXPECT_EQ(text(ask(fields_of({{"Authorization", "Bearer"}}))),
            "400 unclear-authorization Authorization must be one field with one token. | Bearer realm=\"outrigger\", "
            "error=\"invalid_request\"");
}

TEST_F(AuthenticatorTest, good_token_is_verified_once_and_then_known_until_it_expires) {
  const std::string good = token(R"(,"tid":"acme","scope":"a b")");
  EXPECT_EQ(text(ask_with(good)), "ann acme ,a,b");
  EXPECT_EQ(text(ask_with(good)), "ann acme ,a,b");
  EXPECT_EQ(authenticator().counters().verified, 1U);
  EXPECT_EQ(authenticator().counters().cached, 1U);
  clock_.move(61s);
  EXPECT_EQ(text(ask_with(good)), "ann acme ,a,b") << "within the skew";
  EXPECT_EQ(authenticator().counters().verified, 2U);
  clock_.move(30s);
  EXPECT_EQ(text(ask_with(good)),
            "401 expired The token is refused: expired. | Bearer realm=\"outrigger\", error=\"invalid_token\", "
            "error_description=\"expired\"");
  EXPECT_EQ(authenticator().counters().refused.at("expired"), 1U);
}

TEST_F(AuthenticatorTest, withdrawn_key_verifies_nothing_that_was_remembered) {
  const std::string good = token();
  EXPECT_EQ(text(ask_with(good)), "ann  ");
  const tests::TokenMaker other = tests::TokenMaker::ec("two");
  trust({&other});
  EXPECT_EQ(text(ask_with(good)), "missing https://id.test one");
}

TEST_F(AuthenticatorTest, unknown_key_is_waited_for_once) {
  const tests::TokenMaker other = tests::TokenMaker::ec("two");
  authenticator();
  trust({&other});
  const std::string good = token();
  auto answer = ask_with(good);
  ASSERT_EQ(text(answer), "missing https://id.test one");
  std::optional<bool> told;
  auto pending =
      authenticator().await(std::get<Authenticator::MissingKey>(answer), [&](bool could_look) { told = could_look; });
  EXPECT_EQ(keys_.asked, (std::vector<std::string>{"https://id.test one"}));
  EXPECT_FALSE(told);
  keys_.answer(true);
  EXPECT_EQ(told, true);
  const auto fields = fields_of({{"Authorization", "Bearer " + good}});
  EXPECT_EQ(text(ask(fields, false, Missing::does_not_exist)).substr(0, 15), "401 unknown-key");
  EXPECT_EQ(text(ask(fields, false, Missing::cannot_look)), "503 unknown-key  | ") << "the issuer may well have it";
  trust({&other, &maker_});
  EXPECT_EQ(text(ask(fields, false, Missing::does_not_exist)), "ann  ");
}

TEST_F(AuthenticatorTest, without_keys_a_token_is_not_called_bad) {
  authenticator();
  trust({}, /*has_keys=*/false);
  const auto fields = fields_of({{"Authorization", "Bearer " + token()}});
  EXPECT_EQ(text(ask(fields, false, Missing::does_not_exist)), "503 no-keys  | ");
}

TEST_F(AuthenticatorTest, nobody_is_anonymous_where_it_is_permitted) {
  EXPECT_EQ(text(ask({})), "anonymous  ");
  authenticator_.reset();
  options_.allow_anonymous = false;
  EXPECT_EQ(text(ask({})), "401 no-token A token is needed. | Bearer realm=\"outrigger\"");
  EXPECT_EQ(text(ask(fields_of({{"Authorization", "Basic YTpi"}}))).substr(0, 12), "401 no-token");
  EXPECT_EQ(text(ask({}, /*may_be_anonymous=*/true)), "anonymous  ");
  EXPECT_EQ(text(ask(fields_of({{"Authorization", "Bearer nonsense"}}), /*may_be_anonymous=*/true)).substr(0, 13),
            "401 malformed");
}

TEST_F(AuthenticatorTest, nothing_is_read_where_nothing_is_verified) {
  options_.verifies = false;
  EXPECT_EQ(text(ask_with("nonsense")), "anonymous  ");
  EXPECT_EQ(text(ask_with(token(), {"X-StellaOps-Scopes", "admin"})), "anonymous  ");
}

TEST_F(AuthenticatorTest, tenant_is_chosen_only_where_that_is_on_and_the_token_allows_it) {
  const std::string claims = R"(,"tid":"acme","stellaops:allowed_tenants":["umbra","zeta"])";
  EXPECT_EQ(text(ask_with(token(claims), {"X-StellaOps-Tenant", "umbra"})), "ann acme ");
  authenticator_.reset();
  options_.enable_tenant_override = true;
  EXPECT_EQ(text(ask_with(token(claims), {"X-StellaOps-Tenant", "umbra"})), "ann umbra ");
  EXPECT_EQ(text(ask_with(token(claims), {"x-stella-tenant", "zeta"})), "ann zeta ");
  EXPECT_EQ(text(ask_with(token(claims), {"X-StellaOps-Tenant", "acme"})), "ann acme ");
  EXPECT_EQ(text(ask_with(token(claims), {"X_StellaOps_Tenant", "umbra"})), "ann acme ");
  for (const char* other : {"evil", "umbra,zeta", "umbra zeta", "UMBRA"}) {
    EXPECT_EQ(text(ask_with(token(claims), {"X-StellaOps-Tenant", other})),
              "403 ERR_TENANT_OVERRIDE_FORBIDDEN ERR_TENANT_OVERRIDE_FORBIDDEN: the token does not allow this tenant | "
              "Bearer "
              "realm=\"outrigger\", error=\"insufficient_scope\"");
  }
  const std::string spaced = R"(,"tid":"acme","stellaops:allowed_tenants":["umbra corp"])";
  EXPECT_EQ(text(ask_with(token(spaced), {"X-StellaOps-Tenant", "umbra corp"})), "ann umbra corp ");
  EXPECT_EQ(text(ask_with(token(spaced), {"X-StellaOps-Tenant", "corp"})).substr(0, 4), "403 ") << "another tenant";
  EXPECT_EQ(text(ask(fields_of({{"X-StellaOps-Tenant", "umbra"}}))), "anonymous  ") << "nobody has no other tenant";
}

TEST_F(AuthenticatorTest, scopes_of_a_header_are_refused_or_make_fewer_of_the_tokens) {
  const std::string good = token(R"(,"scope":"a b c")");
  EXPECT_EQ(text(ask_with(good, {"X-StellaOps-Scopes", "a"})).substr(0, 30), "403 ERR_SCOPE_HEADER_FORBIDDEN");
  EXPECT_EQ(text(ask(fields_of({{"X-StellaOps-Scopes", "a"}}))), "anonymous  ");
  authenticator_.reset();
  options_.allow_scope_header = true;
  EXPECT_EQ(text(ask_with(good, {"X-StellaOps-Scopes", "c  a"})), "ann  ,c,a");
  EXPECT_EQ(text(ask_with(good)), "ann  ,a,b,c");
  EXPECT_EQ(text(ask_with(good, {"X-StellaOps-Scopes", "a admin"})).substr(0, 30), "403 ERR_SCOPE_HEADER_FORBIDDEN");
  EXPECT_EQ(text(ask(fields_of({{"X-StellaOps-Scopes", "admin"}}))), "anonymous  ");
}

TEST_F(AuthenticatorTest, scopes_of_a_header_are_each_once_and_no_longer_than_a_tokens) {
  options_.allow_scope_header = true;
  const std::string good = token(R"(,"scope":"a b")");
  EXPECT_EQ(text(ask_with(good, {"X-StellaOps-Scopes", "b a b  b a"})), "ann  ,b,a");
  std::string flood;
  while (flood.size() <= 8 * 1024) flood += "a ";
  EXPECT_EQ(text(ask_with(good, {"X-StellaOps-Scopes", flood})).substr(0, 30), "403 ERR_SCOPE_HEADER_FORBIDDEN");
}

TEST_F(AuthenticatorTest, every_reason_is_announced_to_metrics) {
  authenticator().refuse_access(false, "scope a");
  authenticator().refuse_access(true, {});
  const auto reasons = Authenticator::reasons();
  for (const auto& [reason, count] : authenticator().counters().refused) {
    EXPECT_EQ(std::count(reasons.begin(), reasons.end(), reason), 1) << reason;
  }
}

TEST_F(AuthenticatorTest, claim_that_does_not_fit_is_named_without_its_value) {
  EXPECT_EQ(text(ask_with(token(R"(,"tid":"a\nb")"))),
            "403 unfit-claim claim \"tid\" is empty, too long, or not printable ASCII. | Bearer realm=\"outrigger\", "
            "error=\"insufficient_scope\"");
}

}  // namespace
}  // namespace outrigger::gateway
