#include "bridge/identity/jwks.h"

#include <thread>

#include "bridge/identity/base64url.h"
#include "tests/unit/identity/test_keys.h"

namespace outrigger::identity {
namespace {

using tests::TokenMaker;

// The remark about the only key of a set, which is no good.
std::string remark_about(const std::string& jwk) {
  std::vector<std::string> remarks;
  const auto keys = KeySet::parse(R"({"keys":[)" + jwk + "]}", remarks);
  if (keys || keys.error().code != base::Code::invalid || remarks.size() != 1) return "(kept)";
  return remarks.front();
}

std::string replaced(std::string text, std::string_view what, std::string_view with) {
  const std::size_t at = text.find(what);
  CHECK(at != std::string::npos);
  return text.replace(at, what.size(), with);
}

AlgorithmSet algorithms_of(const std::string& jwk) {
  return keys_of(R"({"keys":[)" + jwk + "]}")->keys().front()->algorithms();
}

TEST(KeySet, algorithms_are_fixed_by_type_or_by_alg) {
  using enum Algorithm;
  EXPECT_EQ(algorithms_of(rsa_key().jwk()), (AlgorithmSet{rs256, rs384, rs512, ps256, ps384, ps512}));
  EXPECT_EQ(algorithms_of(rsa_key().jwk(R"(,"alg":"PS384")")), (AlgorithmSet{ps384}));
  EXPECT_EQ(algorithms_of(TokenMaker::ec("k", "ES256").jwk()), (AlgorithmSet{es256}));
  EXPECT_EQ(algorithms_of(TokenMaker::ec("k", "ES384").jwk()), (AlgorithmSet{es384}));
  EXPECT_EQ(algorithms_of(TokenMaker::ec("k", "ES512").jwk()), (AlgorithmSet{es512}));
  EXPECT_EQ(algorithms_of(TokenMaker::ed25519("k").jwk()), (AlgorithmSet{eddsa}));
}

TEST(KeySet, members_that_say_nothing_against_a_key_are_ignored) {
  EXPECT_FALSE(
      algorithms_of(rsa_key().jwk(R"(,"key_ops":["verify","x"],"x5u":"http://x/","x5c":[1],"x5t":"a","ext":true)"))
          .empty());
  EXPECT_FALSE(algorithms_of(replaced(ec_key().jwk(), R"(,"use":"sig")", "")).empty());
  // A leading zero, as some libraries write it.
  const std::string modulus = R"("n":")";
  const std::string jwk = rsa_key().jwk();
  const std::size_t from = jwk.find(modulus) + modulus.size();
  const std::string n = jwk.substr(from, jwk.find('"', from) - from);
  EXPECT_FALSE(algorithms_of(replaced(jwk, n, encode_base64url('\0' + *decode_base64url(n)))).empty());
}

TEST(KeySet, keys_that_cannot_verify_are_passed_over_with_a_remark) {
  const std::string rsa = rsa_key().jwk();
  const std::string ec = ec_key().jwk();
  const std::string edwards = TokenMaker::ed25519("ed").jwk();
  const std::pair<std::string, std::string> cases[] = {
      {"17", "not an object"},
      {replaced(rsa, R"("use":"sig")", R"("use":"enc")"), "use is \"enc\""},
      {rsa_key().jwk(R"(,"key_ops":["sign"])"), "key_ops"},
      {rsa_key().jwk(R"(,"key_ops":"verify")"), "key_ops"},
      {rsa_key().jwk(R"(,"alg":"RSA-OAEP")"), "alg \"RSA-OAEP\""},
      {rsa_key().jwk(R"(,"alg":"ES256")"), "alg \"ES256\""},
      {rsa_key().jwk(R"(,"alg":"HS256")"), "alg \"HS256\""},
      {rsa_key().jwk(R"(,"alg":"none")"), "alg \"none\""},
      {rsa_key().jwk(R"(,"alg":1)"), "alg is not a string"},
      {ec_key().jwk(R"(,"alg":"ES384")"), "alg \"ES384\""},
      {rsa_key().jwk(R"(,"d":"AQAB")"), "secret"},
      {ec_key().jwk(R"(,"d":null)"), "secret"},
      {TokenMaker::secret(std::string(64, 's')).jwk(), "secret"},
      {R"({"kty":"oct"})", "secret"},
      {replaced(rsa, R"("kty":"RSA")", R"("kty":"rsa")"), "kty \"rsa\""},
      {"{}", "kty \"\""},
      {replaced(ec, "P-256", "secp256k1"), "crv \"secp256k1\""},
      {replaced(ec, "P-256", "P-384"), "48 bytes"},
      {replaced(edwards, "Ed25519", "X25519"), "crv \"X25519\""},
      {replaced(edwards, R"("x":")", R"("x":"AAAA)"), "32 bytes"},
      {TokenMaker::rsa("weak", "RS256", 1024).jwk(), "RSA of 1024 bits"},
      {R"({"kty":"RSA","e":"AQAB","n":")" + encode_base64url(std::string(1025, '\xff')) + "\"}", "more than 8192 bits"},
      {R"({"kty":"RSA","e":"AQAB","n":"AAAA"})", "zero"},
      {R"({"kty":"RSA","e":"","n":"AQAB"})", "zero"},
      {R"({"kty":"RSA","e":"AQAB"})", "missing"},
      {R"({"kty":"RSA","e":"AQAB","n":17})", "missing"},
      {replaced(rsa, "AQAB", "AQ"), "odd number above 1"},
      {replaced(rsa, "AQAB", "AQAC"), "odd number above 1"},
      {replaced(rsa, "AQAB", encode_base64url(std::string(9, '\x01'))), "odd number above 1"},
      {replaced(rsa, "AQAB", "AQAB=="), "base64url"},
      {R"({"kty":"EC","crv":"P-256","x":")" + encode_base64url(std::string(32, 'x')) + R"(","y":")" +
           encode_base64url(std::string(32, 'y')) + "\"}",
       "not a point"},
      {TokenMaker::ec(std::string(257, 'k')).jwk(), "kid is longer"},
      {R"({"kty":"EC","kid":7})", "kid is not a string"},
  };
  for (const auto& [jwk, expected] : cases) {
    EXPECT_NE(remark_about(jwk).find(expected), std::string::npos) << jwk << "\n" << remark_about(jwk);
  }
}

TEST(KeySet, a_remark_names_the_key_and_nothing_it_consists_of) {
  const std::string secret = "a secret of more than thirty-two bytes";
  std::vector<std::string> remarks;
  const std::string secret_key = R"({"kty":"oct","kid":"se\u001b[2Jcret","k":")" + encode_base64url(secret) + "\"}";
  const auto keys = KeySet::parse(R"({"keys":[)" + rsa_key().jwk() + "," + secret_key + "]}", remarks);

  ASSERT_TRUE(keys);
  EXPECT_EQ(keys->keys().size(), 1U);
  ASSERT_EQ(remarks.size(), 1U);
  EXPECT_EQ(remarks.front().find("key 2, kid \"se?[2Jcret\", is passed over: "), 0U) << remarks.front();
  EXPECT_EQ(remarks.front().find(encode_base64url(secret)), std::string::npos);
}

TEST(KeySet, what_is_no_jwk_set_is_an_error) {
  std::vector<std::string> remarks;
  const auto code_of = [&](const std::string& json) {
    const auto keys = KeySet::parse(json, remarks);
    return keys ? "" : std::string(name_of(keys.error().code));
  };
  const std::string key = ec_key().jwk();
  for (const std::string& json : {std::string("<html>"), std::string("[]"), std::string("{}"),
                                  std::string(R"({"keys":{}})"), key, R"({"keys":[)" + key + R"(],"keys":[]})"}) {
    EXPECT_EQ(code_of(json), "malformed") << json;
  }
  EXPECT_EQ(code_of(R"({"keys":[]})"), "invalid");
  EXPECT_EQ(code_of(R"({"keys":[)" + key + "]}" + std::string(kKeySetBytes, ' ')), "too-large");
  std::string many = key;
  for (std::size_t i = 1; i < kKeys; ++i) many += ",{}";
  EXPECT_EQ(code_of(R"({"keys":[)" + many + "]}"), "");
  EXPECT_EQ(code_of(R"({"keys":[)" + many + ",{}]}"), "too-large");
}

TEST(KeySet, keys_of_one_id_are_all_kept) {
  const TokenMaker one = TokenMaker::ec("same");
  const TokenMaker two = TokenMaker::ec("same");
  const auto keys = keys_of(TokenMaker::jwks({one, two}));

  EXPECT_TRUE(verify(one.token(kPayload), keys).accepted());
  EXPECT_TRUE(verify(two.token(kPayload), keys).accepted());
  EXPECT_TRUE(keys->has_key_id("same"));
  EXPECT_FALSE(keys->has_key_id("sam"));
}

TEST(KeySet, a_secret_is_as_long_as_the_longest_hash_and_for_named_algorithms_only) {
  using enum Algorithm;
  const auto made = [](std::size_t bytes, AlgorithmSet algorithms) {
    return KeySet::shared_secret(std::string(bytes, 's'), algorithms).has_value();
  };
  EXPECT_TRUE(made(32, {hs256}));
  EXPECT_FALSE(made(31, {hs256}));
  EXPECT_TRUE(made(48, {hs256, hs384}));
  EXPECT_FALSE(made(47, {hs256, hs384}));
  EXPECT_TRUE(made(64, AlgorithmSet::symmetric()));
  EXPECT_FALSE(made(63, AlgorithmSet::symmetric()));
  EXPECT_FALSE(made(64, {}));
  EXPECT_FALSE(made(64, {hs256, rs256}));
  EXPECT_FALSE(made(64, AlgorithmSet::asymmetric()));
  EXPECT_NE(KeySet::shared_secret("short", {hs256}).error().detail.find("32 bytes"), std::string::npos);
}

// ThreadSanitizer sees our side of it; cjose is built without. Nothing in cjose 0.6.2 but its caller retains a key.
TEST(KeySet, threads_share_one) {
  const TokenMaker edwards = TokenMaker::ed25519("ed");
  const auto keys = keys_of(TokenMaker::jwks({rsa_key(), ec_key(), edwards}));
  const std::vector<std::string> tokens = {rsa_key().token(kPayload), rsa_key().with_algorithm("PS256").token(kPayload),
                                           ec_key().token(kPayload), edwards.token(kPayload)};
  std::vector<int> accepted(4);
  std::vector<std::thread> threads;
  for (int& count : accepted) {
    threads.emplace_back([&] {
      for (int i = 0; i < 50; ++i) {
        for (const std::string& token : tokens) count += verify(token, keys).accepted() ? 1 : 0;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();

  EXPECT_EQ(accepted, std::vector<int>(4, 200));
}

}  // namespace
}  // namespace outrigger::identity
