// TokenMaker: an issuer in a test: a key, its JWK Set, and tokens signed with it, good ones and any others. Signs with
// OpenSSL alone, so that the product's library is not checked against itself.
#pragma once

#include <initializer_list>
#include <memory>
#include <string>
#include <string_view>

#include <openssl/types.h>

namespace outrigger::tests {

// Copies share the key. Any thread.
class TokenMaker {
 public:
  // Each makes a new key. `algorithm` as in `alg`, what token() signs with; RSA of 2048 bits takes up to a second.
  static TokenMaker rsa(std::string key_id, std::string algorithm = "RS256", int bits = 2048);
  // The curve is the algorithm's: ES256, ES384 or ES512.
  static TokenMaker ec(std::string key_id, std::string algorithm = "ES256");
  static TokenMaker ed25519(std::string key_id);
  // HS256, HS384 or HS512; jwk() is then an `oct` key.
  static TokenMaker secret(std::string secret, std::string algorithm = "HS256");

  // The same key, signing with another algorithm or under another id ("": tokens and JWK have no kid).
  TokenMaker with_algorithm(std::string algorithm) const;
  TokenMaker with_key_id(std::string key_id) const;

  const std::string& key_id() const { return key_id_; }
  const std::string& algorithm() const { return algorithm_; }
  // For signatures of other kinds than signature() makes; null with a secret.
  EVP_PKEY* key() const { return key_.get(); }

  // kty, its parameters, kid and use, no alg; `more` is put in before the end (`,"alg":"RS256"`).
  std::string jwk(std::string_view more = {}) const;
  std::string jwks() const { return jwks({*this}); }
  static std::string jwks(std::initializer_list<TokenMaker> makers);
  std::string public_pem() const;
  std::string public_der() const;

  // {"alg":...,"typ":"JWT","kid":...}
  std::string header() const;
  std::string token(std::string_view payload) const { return sign(header(), payload); }
  // Whatever they are, also where they are not JSON.
  std::string sign(std::string_view header, std::string_view payload) const;
  // Of any bytes, in JOSE's form.
  std::string signature(std::string_view input) const;

 private:
  TokenMaker(std::shared_ptr<EVP_PKEY> key, std::string key_id, std::string algorithm);

  std::shared_ptr<EVP_PKEY> key_;  // null with a secret
  std::string secret_;
  std::string key_id_;
  std::string algorithm_;
};

}  // namespace outrigger::tests
