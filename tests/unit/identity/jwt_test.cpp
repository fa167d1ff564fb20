#include "bridge/identity/jwt.h"

#include "tests/unit/identity/test_keys.h"

namespace outrigger::identity {
namespace {

using tests::TokenMaker;
using Problem = TokenProblem;

std::shared_ptr<const KeySet> rsa_keys() {
  static const auto keys = keys_of(rsa_key().jwks());
  return keys;
}
std::shared_ptr<const KeySet> ec_keys() {
  static const auto keys = keys_of(ec_key().jwks());
  return keys;
}

// A payload that is good but for what `members` say; they come first.
std::string payload_with(std::string_view members, std::string_view rest = R"("exp":1700000300)") {
  return R"({"iss":"https://issuer.test/",)" + std::string(members) + (members.empty() ? "" : ",") + std::string(rest) +
         "}";
}

Verdict verdict_on(std::string_view payload) {
  return verify(ec_key().token(payload), ec_keys());
}
Problem problem_of(std::string_view payload) {
  return verdict_on(payload).problem;
}
Problem problem_of_header(std::string_view header) {
  return verify(ec_key().sign(header, kPayload), ec_keys()).problem;
}

TEST(TokenVerifier, every_algorithm_is_verified) {
  for (const char* algorithm : {"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"}) {
    const Verdict verdict = verify(rsa_key().with_algorithm(algorithm).token(kPayload), rsa_keys());
    ASSERT_TRUE(verdict.accepted()) << algorithm << ": " << name_of(verdict.problem) << ": " << verdict.detail;
    EXPECT_EQ(verdict.token->algorithm, algorithm);
  }
  for (const char* algorithm : {"ES256", "ES384", "ES512"}) {
    const TokenMaker maker = TokenMaker::ec("k", algorithm);
    const Verdict verdict = verify(maker.token(kPayload), keys_of(maker.jwks()));
    ASSERT_TRUE(verdict.accepted()) << algorithm << ": " << name_of(verdict.problem) << ": " << verdict.detail;
    EXPECT_EQ(verdict.token->algorithm, algorithm);
  }
  const TokenMaker edwards = TokenMaker::ed25519("k");
  const Verdict verdict = verify(edwards.token(kPayload), keys_of(edwards.jwks()));
  ASSERT_TRUE(verdict.accepted()) << name_of(verdict.problem) << ": " << verdict.detail;
  EXPECT_EQ(verdict.token->algorithm, "EdDSA");
}

TEST(TokenVerifier, a_secret_verifies_what_it_is_configured_for) {
  const std::string secret(64, 's');
  const auto keys =
      std::make_shared<const KeySet>(std::move(*KeySet::shared_secret(secret, AlgorithmSet::symmetric())));
  for (const char* algorithm : {"HS256", "HS384", "HS512"}) {
    const std::string token = TokenMaker::secret(secret, algorithm).token(kPayload);
    EXPECT_TRUE(verify(token, keys, AlgorithmSet::symmetric()).accepted()) << algorithm;
    EXPECT_EQ(verify(token, keys).problem, Problem::algorithm_not_allowed) << algorithm;
    const std::string forged = TokenMaker::secret(std::string(64, 'S'), algorithm).token(kPayload);
    EXPECT_EQ(verify(forged, keys, AlgorithmSet::symmetric()).problem, Problem::bad_signature) << algorithm;
  }
}

TEST(TokenVerifier, a_secret_is_meant_by_any_key_id) {
  const std::string secret(32, 's');
  const AlgorithmSet hs256 = {Algorithm::hs256};
  const auto keys = std::make_shared<const KeySet>(std::move(*KeySet::shared_secret(secret, hs256)));

  const Verdict verdict = verify(TokenMaker::secret(secret).with_key_id("theirs").token(kPayload), keys, hs256);

  ASSERT_TRUE(verdict.accepted()) << verdict.detail;
  EXPECT_EQ(verdict.key_id, "theirs");
  EXPECT_EQ(verdict.token->key_id, "");
  const Verdict forged = verify(TokenMaker::secret(std::string(32, 'S')).with_key_id("theirs").token(kPayload), keys, hs256);
  EXPECT_EQ(forged.problem, Problem::bad_signature);
  EXPECT_FALSE(forged.may_need_newer_keys());
}

TEST(TokenVerifier, an_accepted_token_tells_what_it_says) {
  const Verdict verdict = verdict_on(payload_with(
      R"("aud":["x","api"],"scp":["a","b",3,true,null,{},[1]],"n":1.50,"big":12345678901234567890,"no":null,"o":{"a":1})",
      R"("exp":1700000300.9)"));

  ASSERT_TRUE(verdict.accepted()) << verdict.detail;
  EXPECT_EQ(verdict.issuer, kIssuer);
  EXPECT_EQ(verdict.key_id, "ec-1");
  EXPECT_EQ(verdict.token->issuer, kIssuer);
  EXPECT_EQ(verdict.token->key_id, "ec-1");
  EXPECT_EQ(verdict.token->expires_s, 1700000300);
  const std::vector<Claim> expected = {{"iss", {std::string(kIssuer)}},
                                       {"aud", {"x", "api"}, true},
                                       {"scp", {"a", "b", "3", "true"}, true},
                                       {"n", {"1.50"}},
                                       {"big", {"12345678901234567890"}},
                                       {"no", {}},
                                       {"o", {}},
                                       {"exp", {"1700000300.9"}}};
  EXPECT_EQ(verdict.token->claims, expected);
}

TEST(TokenVerifier, expiry_is_required_and_kept_to_with_the_skew) {
  const auto expiring = [](std::string_view at) {
    return problem_of(payload_with(R"("aud":"api")", "\"exp\":" + std::string(at)));
  };
  EXPECT_EQ(problem_of(payload_with("", R"("aud":"api")")), Problem::no_expiry);
  EXPECT_EQ(expiring("1699999971"), Problem::none);  // 29 s ago, 30 are allowed
  EXPECT_EQ(expiring("1699999970"), Problem::expired);
  EXPECT_EQ(expiring("1699999970.001"), Problem::none);
  EXPECT_EQ(expiring("1.7000003E9"), Problem::none);
  EXPECT_EQ(expiring("0"), Problem::expired);
  EXPECT_EQ(expiring("-0.0"), Problem::expired);
  EXPECT_EQ(expiring("253402300799"), Problem::none);
  for (const char* at : {"253402300800", "-1", "-0.001", "1700000300000", "9223372036854775807", "9223372036854775808",
                         "18446744073709551615", "18446744073709551616", "-9223372036854775808", "1e300", "1e-400",
                         "-1e300", "253402300799.5", "\"1700000300\"", "null", "true", "[1700000300]", "{}"}) {
    EXPECT_EQ(expiring(at), Problem::malformed) << at;
  }
}

TEST(TokenVerifier, a_token_is_not_valid_before_its_time) {
  for (const char* name : {"nbf", "iat"}) {
    const auto from = [&](std::string_view at) {
      return problem_of(payload_with("\"aud\":\"api\",\"" + std::string(name) + "\":" + std::string(at)));
    };
    EXPECT_EQ(from("1700000000"), Problem::none) << name;
    EXPECT_EQ(from("1700000030"), Problem::none) << name;
    EXPECT_EQ(from("1700000030.5"), Problem::not_yet_valid) << name;
    EXPECT_EQ(from("1700000031"), Problem::not_yet_valid) << name;
    EXPECT_EQ(from("1e18"), Problem::malformed) << name;
    EXPECT_EQ(from("\"1700000000\""), Problem::malformed) << name;
  }
}

TEST(TokenVerifier, refused_times_are_told_in_full) {
  EXPECT_EQ(verdict_on(payload_with(R"("aud":"api")", R"("exp":1699999000)")).detail,
            "exp is 2023-11-14T21:56:40.000Z, and it is 2023-11-14T22:13:20.000Z here (skew 30 s)");
}

TEST(TokenVerifier, one_audience_must_be_ours) {
  const auto meant_for = [](std::string_view audience) {
    return problem_of(payload_with("\"aud\":" + std::string(audience)));
  };
  EXPECT_EQ(meant_for(R"("api")"), Problem::none);
  EXPECT_EQ(meant_for(R"(["other","api"])"), Problem::none);
  EXPECT_EQ(problem_of(payload_with("")), Problem::wrong_audience);
  for (const char* audience :
       {R"("other")", R"("API")", R"("api ")", R"("api/")", R"("")", "[]", R"(["other"])", R"("api\u0000")"}) {
    EXPECT_EQ(meant_for(audience), Problem::wrong_audience) << audience;
  }
  for (const char* audience : {"1", "null", "{}", R"(["api",1])", R"([["api"]])", R"({"api":true})"}) {
    EXPECT_EQ(meant_for(audience), Problem::malformed) << audience;
  }
}

TEST(TokenVerifier, without_a_configured_audience_tokens_must_have_none) {
  TrustedIssuer issuer = trusted(ec_keys());
  issuer.rules.audiences.clear();
  const TokenVerifier verifier({issuer});
  EXPECT_TRUE(verifier.verify(ec_key().token(payload_with("")), kNow).accepted());
  EXPECT_EQ(verifier.verify(ec_key().token(kPayload), kNow).problem, Problem::wrong_audience);
  EXPECT_EQ(verifier.verify(ec_key().token(payload_with(R"("aud":[])")), kNow).problem, Problem::wrong_audience);
}

TEST(TokenVerifier, issuers_are_told_apart_to_the_character) {
  const auto from = [](std::string_view issuer) {
    return problem_of(R"({"aud":"api","exp":1700000300,"iss":)" + std::string(issuer) + "}");
  };
  EXPECT_EQ(from(R"("https://issuer.test/")"), Problem::none);
  for (const char* issuer : {R"("https://issuer.test")", R"("https://ISSUER.test/")", R"("https://issuer.test/\u0000")",
                             "null", R"("")", R"(["https://issuer.test/"])", "1"}) {
    EXPECT_EQ(from(issuer), Problem::unknown_issuer) << issuer;
  }
  EXPECT_EQ(problem_of(R"({"aud":"api","exp":1700000300})"), Problem::unknown_issuer);
}

TEST(TokenVerifier, each_issuer_has_its_own_keys) {
  TrustedIssuer other = trusted(rsa_keys());
  other.rules.issuer = "https://other.test/";
  const TokenVerifier verifier({trusted(ec_keys()), other});
  const std::string_view theirs = R"({"iss":"https://other.test/","aud":"api","exp":1700000300})";

  EXPECT_TRUE(verifier.verify(ec_key().token(kPayload), kNow).accepted());
  EXPECT_EQ(verifier.verify(rsa_key().token(theirs), kNow).token->issuer, "https://other.test/");
  EXPECT_EQ(verifier.verify(rsa_key().token(kPayload), kNow).problem, Problem::unknown_key);
  EXPECT_EQ(verifier.verify(ec_key().with_key_id("").token(theirs), kNow).problem, Problem::unknown_key);
  EXPECT_EQ(verifier.verify(ec_key().with_key_id("rsa-1").token(theirs), kNow).problem, Problem::algorithm_not_allowed);
}

TEST(TokenVerifier, missing_keys_and_unknown_keys_name_the_issuer) {
  const Verdict missing = verify(ec_key().token(kPayload), nullptr);
  EXPECT_EQ(missing.problem, Problem::no_keys);
  EXPECT_EQ(missing.issuer, kIssuer);
  EXPECT_FALSE(missing.may_need_newer_keys());

  const Verdict unknown = verify(ec_key().with_key_id("new").token(kPayload), ec_keys());
  EXPECT_EQ(unknown.problem, Problem::unknown_key);
  EXPECT_EQ(unknown.issuer, kIssuer);
  EXPECT_EQ(unknown.key_id, "new");
  EXPECT_TRUE(unknown.may_need_newer_keys());
}

TEST(TokenVerifier, without_a_key_id_fitting_keys_are_tried_up_to_a_number) {
  EXPECT_TRUE(
      verify(ec_key().with_key_id("").token(kPayload), keys_of(TokenMaker::jwks({rsa_key(), ec_key()}))).accepted());
  const TokenMaker last = TokenMaker::ec("");
  std::string set;
  for (int i = 1; i < kTriedKeys; ++i) set += TokenMaker::ec("k" + std::to_string(i)).jwk() + ",";
  const auto set_of = [](const std::string& keys) { return keys_of(R"({"keys":[)" + keys + "]}"); };
  EXPECT_TRUE(verify(last.token(kPayload), set_of(set + rsa_key().jwk() + "," + last.jwk())).accepted());
  const Verdict late = verify(last.token(kPayload), set_of(set + ec_key().jwk() + "," + last.jwk()));
  EXPECT_EQ(late.problem, Problem::bad_signature);
  EXPECT_TRUE(late.may_need_newer_keys());
}

TEST(TokenVerifier, kinds_of_tokens_are_told_apart) {
  for (const char* type : {"JWT", "jwt", "at+jwt", "AT+JWT", "application/jwt", "Application/At+Jwt"}) {
    EXPECT_EQ(problem_of_header(R"({"alg":"ES256","typ":")" + std::string(type) + "\"}"), Problem::none) << type;
  }
  EXPECT_EQ(problem_of_header(R"({"alg":"ES256"})"), Problem::none);
  for (const char* type :
       {"", "dpop+jwt", "logout+jwt", "secevent+jwt", "JOSE", "jwt ", "application/", "text/jwt", "JWT+at"}) {
    EXPECT_EQ(problem_of_header(R"({"alg":"ES256","typ":")" + std::string(type) + "\"}"), Problem::wrong_type) << type;
  }
  EXPECT_EQ(problem_of_header(R"({"alg":"ES256","typ":null})"), Problem::malformed);
}

TEST(TokenVerifier, the_rules_limit_what_a_key_could_do) {
  EXPECT_EQ(verify(rsa_key().token(kPayload), rsa_keys(), {Algorithm::ps256}).problem, Problem::algorithm_not_allowed);
  EXPECT_TRUE(verify(rsa_key().with_algorithm("PS256").token(kPayload), rsa_keys(), {Algorithm::ps256}).accepted());
  const auto only_rs512 = keys_of(R"({"keys":[)" + rsa_key().jwk(R"(,"alg":"RS512")") + "]}");
  EXPECT_EQ(verify(rsa_key().token(kPayload), only_rs512).problem, Problem::algorithm_not_allowed);
  EXPECT_TRUE(verify(rsa_key().with_algorithm("RS512").token(kPayload), only_rs512).accepted());
}

TEST(TokenVerifier, times_and_audience_of_a_forged_token_are_not_told) {
  const TokenMaker forger = TokenMaker::ec("ec-1");
  EXPECT_EQ(verify(forger.token(payload_with(R"("aud":"other")", R"("exp":1)")), ec_keys()).problem,
            Problem::bad_signature);
}

TEST(TokenVerifier, the_signature_alone_can_be_checked) {
  const std::string_view expired = R"({"exp":1,"sub":"ada"})";
  const Verdict verdict = verify_signature(rsa_key().token(expired), *rsa_keys());
  ASSERT_TRUE(verdict.accepted());
  EXPECT_EQ(verdict.token->issuer, "");
  EXPECT_EQ(verdict.token->expires_s, 1);
  EXPECT_EQ(verify_signature(ec_key().token(expired), *rsa_keys()).problem, Problem::unknown_key);
  EXPECT_EQ(verify_signature(TokenMaker::ec("ec-1").token(expired), *ec_keys()).problem, Problem::bad_signature);
}

TEST(TokenProblem, names_are_as_written) {
  EXPECT_EQ(name_of(Problem::none), "none");
  EXPECT_EQ(name_of(Problem::unknown_key), "unknown-key");
  EXPECT_EQ(name_of(Problem::wrong_audience), "wrong-audience");
}

TEST(UnverifiedToken, is_read_as_far_as_it_can_be) {
  const std::string token = ec_key().token(kPayload);
  const TokenText said = read_unverified(token);
  EXPECT_EQ(said.claims, verify(token, ec_keys()).token->claims);
  EXPECT_EQ(said.header.front(), (Claim{"alg", {"ES256"}}));

  const TokenText half = read_unverified("e30x." + token.substr(token.find('.') + 1));
  EXPECT_TRUE(half.header.empty());
  EXPECT_EQ(half.claims, said.claims);
  const std::string too_large = token + std::string(kTokenBytes, 'a');
  for (const std::string& none : {std::string(), std::string("opaque"), token + ".", too_large}) {
    const TokenText nothing = read_unverified(none);
    EXPECT_TRUE(nothing.header.empty() && nothing.claims.empty()) << none.size();
  }
}

}  // namespace
}  // namespace outrigger::identity
