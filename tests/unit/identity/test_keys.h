// Keys that the tests of one process share, since an RSA key takes a while to make.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "bridge/base/check.h"
#include "bridge/identity/jwt.h"
#include "tests/support/token_maker.h"

namespace outrigger::identity {

inline const tests::TokenMaker& rsa_key() {
  static const tests::TokenMaker key = tests::TokenMaker::rsa("rsa-1");
  return key;
}
// P-256.
inline const tests::TokenMaker& ec_key() {
  static const tests::TokenMaker key = tests::TokenMaker::ec("ec-1");
  return key;
}

inline std::shared_ptr<const KeySet> keys_of(std::string_view jwks) {
  std::vector<std::string> remarks;
  auto keys = KeySet::parse(jwks, remarks);
  CHECK(keys && remarks.empty());
  return std::make_shared<const KeySet>(std::move(*keys));
}

inline constexpr std::string_view kIssuer = "https://issuer.test/";
inline constexpr base::WallMillis kNow{1'700'000'000'000};
// Good for another five minutes at kNow.
inline constexpr std::string_view kPayload =
    R"({"iss":"https://issuer.test/","aud":"api","sub":"ada","iat":1700000000,"exp":1700000300})";

inline TrustedIssuer trusted(std::shared_ptr<const KeySet> keys, AlgorithmSet algorithms = AlgorithmSet::asymmetric()) {
  return {{std::string(kIssuer), {"api"}, algorithms, std::chrono::seconds(30)}, std::move(keys)};
}

inline Verdict verify(std::string_view token, std::shared_ptr<const KeySet> keys,
                      AlgorithmSet algorithms = AlgorithmSet::asymmetric()) {
  return TokenVerifier({trusted(std::move(keys), algorithms)}).verify(token, kNow);
}

}  // namespace outrigger::identity
