#include "tests/support/token_maker.h"

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>

#include <array>
#include <utility>
#include <vector>

#include "bridge/base/check.h"
#include "bridge/identity/base64url.h"

namespace outrigger::tests {
namespace {

using identity::encode_base64url;

const unsigned char* bytes_of(std::string_view text) {
  return reinterpret_cast<const unsigned char*>(text.data());
}

const EVP_MD* hash_of(std::string_view algorithm) {
  return algorithm.ends_with("256") ? EVP_sha256() : algorithm.ends_with("384") ? EVP_sha384() : EVP_sha512();
}

std::string_view curve_of(std::string_view algorithm) {
  return algorithm == "ES256" ? "P-256" : algorithm == "ES384" ? "P-384" : "P-521";
}

// size 0: as short as it goes.
std::string number_of(const BIGNUM* number, std::size_t size) {
  std::string bytes(size != 0 ? size : static_cast<std::size_t>(BN_num_bytes(number)), '\0');
  CHECK(BN_bn2binpad(number, reinterpret_cast<unsigned char*>(bytes.data()), static_cast<int>(bytes.size())) >= 0);
  return bytes;
}

std::string parameter_of(EVP_PKEY* key, const char* name, std::size_t size = 0) {
  BIGNUM* number = nullptr;
  CHECK(EVP_PKEY_get_bn_param(key, name, &number) == 1);
  std::string encoded = encode_base64url(number_of(number, size));
  BN_free(number);
  return encoded;
}

std::size_t coordinate_bytes(EVP_PKEY* key) {
  return (static_cast<std::size_t>(EVP_PKEY_get_bits(key)) + 7) / 8;
}

}  // namespace

TokenMaker::TokenMaker(std::shared_ptr<EVP_PKEY> key, std::string key_id, std::string algorithm)
    : key_(std::move(key)), key_id_(std::move(key_id)), algorithm_(std::move(algorithm)) {}

TokenMaker TokenMaker::rsa(std::string key_id, std::string algorithm, int bits) {
  std::shared_ptr<EVP_PKEY> key(EVP_RSA_gen(static_cast<unsigned>(bits)), EVP_PKEY_free);
  CHECK(key != nullptr);
  return {std::move(key), std::move(key_id), std::move(algorithm)};
}

TokenMaker TokenMaker::ec(std::string key_id, std::string algorithm) {
  std::shared_ptr<EVP_PKEY> key(EVP_EC_gen(std::string(curve_of(algorithm)).c_str()), EVP_PKEY_free);
  CHECK(key != nullptr);
  return {std::move(key), std::move(key_id), std::move(algorithm)};
}

TokenMaker TokenMaker::ed25519(std::string key_id) {
  std::shared_ptr<EVP_PKEY> key(EVP_PKEY_Q_keygen(nullptr, nullptr, "ED25519"), EVP_PKEY_free);
  CHECK(key != nullptr);
  return {std::move(key), std::move(key_id), "EdDSA"};
}

TokenMaker TokenMaker::secret(std::string secret, std::string algorithm) {
  TokenMaker maker(nullptr, {}, std::move(algorithm));
  maker.secret_ = std::move(secret);
  return maker;
}

TokenMaker TokenMaker::with_algorithm(std::string algorithm) const {
  TokenMaker other = *this;
  other.algorithm_ = std::move(algorithm);
  return other;
}

TokenMaker TokenMaker::with_key_id(std::string key_id) const {
  TokenMaker other = *this;
  other.key_id_ = std::move(key_id);
  return other;
}

std::string TokenMaker::jwk(std::string_view more) const {
  std::string jwk = "{";
  if (key_ == nullptr) {
    jwk += R"("kty":"oct","k":")" + encode_base64url(secret_) + '"';
  } else if (EVP_PKEY_is_a(key_.get(), "RSA") == 1) {
    jwk += R"("kty":"RSA","n":")" + parameter_of(key_.get(), OSSL_PKEY_PARAM_RSA_N) + R"(","e":")" +
           parameter_of(key_.get(), OSSL_PKEY_PARAM_RSA_E) + '"';
  } else if (EVP_PKEY_is_a(key_.get(), "EC") == 1) {
    const std::size_t size = coordinate_bytes(key_.get());
    const std::string_view curve = size == 32 ? "P-256" : size == 48 ? "P-384" : "P-521";
    jwk += R"("kty":"EC","crv":")" + std::string(curve) + R"(","x":")" +
           parameter_of(key_.get(), OSSL_PKEY_PARAM_EC_PUB_X, size) + R"(","y":")" +
           parameter_of(key_.get(), OSSL_PKEY_PARAM_EC_PUB_Y, size) + '"';
  } else {
    std::string bytes(32, '\0');
    std::size_t size = bytes.size();
    CHECK(EVP_PKEY_get_raw_public_key(key_.get(), reinterpret_cast<unsigned char*>(bytes.data()), &size) == 1);
    jwk += R"("kty":"OKP","crv":"Ed25519","x":")" + encode_base64url(bytes) + '"';
  }
  if (!key_id_.empty()) jwk += R"(,"kid":")" + key_id_ + '"';
  jwk += R"(,"use":"sig")";
  jwk += more;
  return jwk + "}";
}

std::string TokenMaker::jwks(std::initializer_list<TokenMaker> makers) {
  std::string set = R"({"keys":[)";
  for (const TokenMaker& maker : makers) set += (set.back() == '[' ? "" : ",") + maker.jwk();
  return set + "]}";
}

std::string TokenMaker::public_pem() const {
  BIO* memory = BIO_new(BIO_s_mem());
  CHECK(PEM_write_bio_PUBKEY(memory, key_.get()) == 1);
  char* data = nullptr;
  const long size = BIO_get_mem_data(memory, &data);
  std::string pem(data, static_cast<std::size_t>(size));
  BIO_free(memory);
  return pem;
}

std::string TokenMaker::public_der() const {
  unsigned char* data = nullptr;
  const int size = i2d_PUBKEY(key_.get(), &data);
  CHECK(size > 0);
  std::string der(reinterpret_cast<char*>(data), static_cast<std::size_t>(size));
  OPENSSL_free(data);
  return der;
}

std::string TokenMaker::header() const {
  std::string header = R"({"alg":")" + algorithm_ + R"(","typ":"JWT")";
  if (!key_id_.empty()) header += R"(,"kid":")" + key_id_ + '"';
  return header + "}";
}

std::string TokenMaker::sign(std::string_view header, std::string_view payload) const {
  const std::string input = encode_base64url(header) + "." + encode_base64url(payload);
  return input + "." + encode_base64url(signature(input));
}

std::string TokenMaker::signature(std::string_view input) const {
  const bool is_edwards = algorithm_ == "EdDSA";
  const EVP_MD* hash = is_edwards ? nullptr : hash_of(algorithm_);
  if (key_ == nullptr) {
    std::array<unsigned char, EVP_MAX_MD_SIZE> code{};
    unsigned size = 0;
    CHECK(HMAC(hash, secret_.data(), static_cast<int>(secret_.size()), bytes_of(input), input.size(), code.data(),
               &size) != nullptr);
    return {reinterpret_cast<char*>(code.data()), size};
  }
  const std::unique_ptr<EVP_MD_CTX, void (*)(EVP_MD_CTX*)> context(EVP_MD_CTX_new(), EVP_MD_CTX_free);
  EVP_PKEY_CTX* options = nullptr;
  CHECK(EVP_DigestSignInit(context.get(), &options, hash, nullptr, key_.get()) == 1);
  if (algorithm_.starts_with("PS")) {
    CHECK(EVP_PKEY_CTX_set_rsa_padding(options, RSA_PKCS1_PSS_PADDING) == 1);
    CHECK(EVP_PKEY_CTX_set_rsa_pss_saltlen(options, RSA_PSS_SALTLEN_DIGEST) == 1);
  }
  std::size_t size = 0;
  CHECK(EVP_DigestSign(context.get(), nullptr, &size, bytes_of(input), input.size()) == 1);
  std::string signature(size, '\0');
  CHECK(EVP_DigestSign(context.get(), reinterpret_cast<unsigned char*>(signature.data()), &size, bytes_of(input),
                       input.size()) == 1);
  signature.resize(size);
  if (EVP_PKEY_is_a(key_.get(), "EC") != 1) return signature;

  // Two numbers of full length instead of a DER structure (RFC 7518 section 3.4).
  const unsigned char* der = bytes_of(signature);
  ECDSA_SIG* pair = d2i_ECDSA_SIG(nullptr, &der, static_cast<long>(size));
  CHECK(pair != nullptr);
  const std::size_t half = coordinate_bytes(key_.get());
  std::string joined = number_of(ECDSA_SIG_get0_r(pair), half) + number_of(ECDSA_SIG_get0_s(pair), half);
  ECDSA_SIG_free(pair);
  return joined;
}

}  // namespace outrigger::tests
