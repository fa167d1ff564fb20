#include "bridge/identity/jwks.h"

#include <cjose/cjose.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>

#include <algorithm>
#include <array>
#include <initializer_list>
#include <optional>
#include <type_traits>
#include <utility>

#include "bridge/base/check.h"
#include "bridge/identity/base64url.h"
#include "bridge/identity/json_value.h"
#include "bridge/identity/printable.h"

namespace outrigger::identity {
namespace {

using base::Code;
using base::Error;
using base::Result;

template <auto free_function>
struct FreedBy {
  template <class T>
  void operator()(T* object) const {
    free_function(object);
  }
};
using Jwk = std::unique_ptr<cjose_jwk_t, FreedBy<cjose_jwk_release>>;
using Jws = std::unique_ptr<cjose_jws_t, FreedBy<cjose_jws_release>>;
using EvpKey = std::unique_ptr<EVP_PKEY, FreedBy<EVP_PKEY_free>>;
using EvpContext = std::unique_ptr<EVP_MD_CTX, FreedBy<EVP_MD_CTX_free>>;

std::size_t hash_bytes(Algorithm algorithm) {
  const std::string_view name = name_of(algorithm);
  return name.ends_with("256") ? 32 : name.ends_with("384") ? 48 : 64;
}

// RSA, EC and symmetric keys. cjose only reads a key while it verifies: what it counts is a key's owners, here one.
class JoseKey final : public Key {
 public:
  // signature_bytes: of all signatures by this key; 0: of the algorithm's hash.
  JoseKey(std::string id, AlgorithmSet algorithms, Jwk jwk, std::size_t signature_bytes)
      : Key(std::move(id), algorithms), jwk_(std::move(jwk)), signature_bytes_(signature_bytes) {}

 private:
  bool check(Algorithm algorithm, const SignedText& text) const override {
    // cjose halves whatever it gets for ECDSA, and takes PSS signatures without their leading zeros; for us a token has
    // one form (RFC 7518 sections 3.3, 3.4 and 3.5 fix the length).
    if (text.signature.size() != (signature_bytes_ != 0 ? signature_bytes_ : hash_bytes(algorithm))) return false;
    const Jws jws(cjose_jws_import(text.token.data(), text.token.size(), nullptr));
    if (jws == nullptr) return false;
    // It reads the header itself and goes by what that says: it must have read what we did.
    const char* alg = cjose_header_get(cjose_jws_get_protected(jws.get()), CJOSE_HDR_ALG, nullptr);
    return alg != nullptr && alg == name_of(algorithm) && cjose_jws_verify(jws.get(), jwk_.get(), nullptr);
  }

  Jwk jwk_;
  std::size_t signature_bytes_;
};

// Ed25519, which cjose 0.6 does not have.
class EdwardsKey final : public Key {
 public:
  EdwardsKey(std::string id, EvpKey key) : Key(std::move(id), {Algorithm::eddsa}), key_(std::move(key)) {}

 private:
  bool check(Algorithm, const SignedText& text) const override {
    const std::string_view input = text.token.substr(0, text.token.rfind('.'));
    const auto bytes = [](std::string_view view) { return reinterpret_cast<const unsigned char*>(view.data()); };
    const EvpContext context(EVP_MD_CTX_new());
    return context != nullptr && EVP_DigestVerifyInit(context.get(), nullptr, nullptr, nullptr, key_.get()) == 1 &&
           EVP_DigestVerify(context.get(), bytes(text.signature), text.signature.size(), bytes(input), input.size()) ==
               1;
  }

  EvpKey key_;
};

// A key in the making: what it is, or why it is passed over.
using MadeKey = Result<std::unique_ptr<const Key>>;

Error passed_over(std::string why) {
  return {Code::unsupported, std::move(why)};
}

// Member `name` of a JWK as bytes; nullopt if it is missing or not base64url.
std::optional<std::string> bytes_of(const JsonValue& jwk, std::string_view name) {
  const JsonValue* value = jwk.find(name);
  if (value == nullptr || !value->is_text()) return std::nullopt;
  return decode_base64url(value->text);
}

std::uint8_t* data_of(std::string& bytes) {
  return reinterpret_cast<std::uint8_t*>(bytes.data());
}

int bits_of(std::string_view number) {
  int bits = static_cast<int>(number.size()) * 8;
  for (auto first = static_cast<unsigned char>(number.front()); (first & 0x80U) == 0;
       first = static_cast<unsigned char>(first << 1))
    --bits;
  return bits;
}

MadeKey make_rsa(const JsonValue& jwk, std::string id, AlgorithmSet algorithms) {
  auto modulus = bytes_of(jwk, "n");
  auto exponent = bytes_of(jwk, "e");
  if (!modulus || !exponent) return passed_over("n or e is missing or not base64url");
  for (std::string* number : {&*modulus, &*exponent}) {
    // Not the shortest form, but common enough that RFC 7518 section 6.3.1.1 warns of it.
    number->erase(0, std::min(number->find_first_not_of('\0'), number->size()));
    if (number->empty()) return passed_over("n or e is zero");
  }
  const int bits = modulus->size() > kMostRsaBits / 8 ? kMostRsaBits + 1 : bits_of(*modulus);
  if (bits < kLeastRsaBits || bits > kMostRsaBits) {
    return passed_over("RSA of " +
                       (bits > kMostRsaBits ? "more than " + std::to_string(kMostRsaBits) : std::to_string(bits)) +
                       " bits; it must have " + std::to_string(kLeastRsaBits) + " to " + std::to_string(kMostRsaBits));
  }
  // What OpenSSL, too, demands of large keys; 65537 in practice.
  if (exponent->size() > 8 || *exponent == "\x01" || (exponent->back() & 1) == 0 || (modulus->back() & 1) == 0) {
    return passed_over("e is not an odd number above 1 of at most 64 bits, or n is even");
  }
  cjose_jwk_rsa_keyspec spec{};
  spec.n = data_of(*modulus);
  spec.nlen = modulus->size();
  spec.e = data_of(*exponent);
  spec.elen = exponent->size();
  Jwk made(cjose_jwk_create_RSA_spec(&spec, nullptr));
  if (made == nullptr) return passed_over("no RSA key can be made of it");
  return {std::make_unique<JoseKey>(std::move(id), algorithms, std::move(made), modulus->size())};
}

struct Curve {
  std::string_view name;
  cjose_jwk_ec_curve id;
  std::size_t bytes;  // of a coordinate
  Algorithm algorithm;
};
constexpr std::array<Curve, 3> kCurves = {{{"P-256", CJOSE_JWK_EC_P_256, 32, Algorithm::es256},
                                           {"P-384", CJOSE_JWK_EC_P_384, 48, Algorithm::es384},
                                           {"P-521", CJOSE_JWK_EC_P_521, 66, Algorithm::es512}}};

MadeKey make_ec(const JsonValue& jwk, std::string id, const Curve& curve) {
  auto x = bytes_of(jwk, "x");
  auto y = bytes_of(jwk, "y");
  // RFC 7518 section 6.2.1.2: full length, leading zeros and all.
  if (!x || !y || x->size() != curve.bytes || y->size() != curve.bytes) {
    return passed_over("x or y is missing, not base64url or not " + std::to_string(curve.bytes) + " bytes");
  }
  cjose_jwk_ec_keyspec spec{};
  spec.crv = curve.id;
  spec.x = data_of(*x);
  spec.xlen = x->size();
  spec.y = data_of(*y);
  spec.ylen = y->size();
  Jwk made(cjose_jwk_create_EC_spec(&spec, nullptr));
  if (made == nullptr) return passed_over("x and y are not a point of " + std::string(curve.name));
  return {std::make_unique<JoseKey>(std::move(id), AlgorithmSet{curve.algorithm}, std::move(made), 2 * curve.bytes)};
}

MadeKey make_edwards(const JsonValue& jwk, std::string id) {
  const auto x = bytes_of(jwk, "x");
  if (!x || x->size() != 32) return passed_over("x is missing, not base64url or not 32 bytes");
  EvpKey made(EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, nullptr, reinterpret_cast<const unsigned char*>(x->data()),
                                          x->size()));
  if (made == nullptr) return passed_over("no Ed25519 key can be made of it");
  return {std::make_unique<EdwardsKey>(std::move(id), std::move(made))};
}

// The text of member `name`; empty if it is missing or something else.
std::string_view text_of(const JsonValue& jwk, std::string_view name) {
  const JsonValue* value = jwk.find(name);
  return value != nullptr && value->is_text() ? std::string_view(value->text) : std::string_view{};
}

MadeKey make_key(const JsonValue& jwk) {
  if (jwk.kind != JsonValue::Kind::object) return passed_over("not an object");
  for (const std::string_view name : {"kty", "use", "alg", "kid", "crv"}) {
    const JsonValue* value = jwk.find(name);
    if (value != nullptr && !value->is_text()) return passed_over(std::string(name) + " is not a string");
  }
  std::string id(text_of(jwk, "kid"));
  if (id.size() > kKeyIdBytes) return passed_over("kid is longer than " + std::to_string(kKeyIdBytes) + " bytes");
  const std::string_view type = text_of(jwk, "kty");
  const auto is_secret = [](const JsonValue& member) {
    constexpr std::array<std::string_view, 9> names = {"d", "p", "q", "dp", "dq", "qi", "oth", "k", "priv"};
    return std::find(names.begin(), names.end(), member.name) != names.end();
  };
  if (type == "oct" || std::any_of(jwk.items.begin(), jwk.items.end(), is_secret)) {
    return passed_over(
        "it is secret, and a JWK Set for verifying has public keys only: have its issuer give out those");
  }
  if (const JsonValue* use = jwk.find("use"); use != nullptr && use->text != "sig") {
    return passed_over("use is " + printable(use->text) + ", not \"sig\"");
  }
  if (const JsonValue* operations = jwk.find("key_ops"); operations != nullptr) {
    const auto is_verify = [](const JsonValue& item) { return item.is_text() && item.text == "verify"; };
    if (operations->kind != JsonValue::Kind::array ||
        std::none_of(operations->items.begin(), operations->items.end(), is_verify)) {
      return passed_over("key_ops has no \"verify\"");
    }
  }

  const std::string_view curve_name = text_of(jwk, "crv");
  const auto* curve =
      std::find_if(kCurves.begin(), kCurves.end(), [&](const Curve& one) { return one.name == curve_name; });
  AlgorithmSet algorithms;
  if (type == "RSA") {
    algorithms = {Algorithm::rs256, Algorithm::rs384, Algorithm::rs512,
                  Algorithm::ps256, Algorithm::ps384, Algorithm::ps512};
  } else if (type == "EC" && curve != kCurves.end()) {
    algorithms = {curve->algorithm};
  } else if (type == "OKP" && curve_name == "Ed25519") {
    algorithms = {Algorithm::eddsa};
  } else {
    return passed_over("kty " + printable(type) + (curve_name.empty() ? "" : " with crv " + printable(curve_name)) +
                       " is not supported");
  }
  if (const JsonValue* alg = jwk.find("alg"); alg != nullptr) {
    const auto only = parse_algorithm(alg->text);
    if (!only || !algorithms.contains(*only)) {
      return passed_over("alg " + printable(alg->text) + " is not one of its type's (" + algorithms.names() + ")");
    }
    algorithms = {*only};
  }
  if (type == "RSA") return make_rsa(jwk, std::move(id), algorithms);
  return type == "EC" ? make_ec(jwk, std::move(id), *curve) : make_edwards(jwk, std::move(id));
}

// What OpenSSL remembers of a failure belongs to the thread, and the next TLS connection on it would take it for its
// own.
class ErrorsForgotten {
 public:
  ErrorsForgotten() { ERR_set_mark(); }
  ~ErrorsForgotten() { ERR_pop_to_mark(); }
  ErrorsForgotten(const ErrorsForgotten&) = delete;
  ErrorsForgotten& operator=(const ErrorsForgotten&) = delete;
};

}  // namespace

bool Key::verifies(Algorithm algorithm, const SignedText& text) const {
  CHECK(algorithms_.contains(algorithm));
  const ErrorsForgotten scope;
  return check(algorithm, text);
}

Result<KeySet> KeySet::parse(std::string_view json, std::vector<std::string>& remarks) {
  if (json.size() > kKeySetBytes) {
    return Error{Code::too_large, "JWK Set of more than " + std::to_string(kKeySetBytes) + " bytes"};
  }
  const auto root = parse_json(json);
  if (!root) return Error{Code::malformed, "JWK Set: " + root.error().detail};
  const JsonValue* list = root->find("keys");
  if (root->kind != JsonValue::Kind::object || list == nullptr || list->kind != JsonValue::Kind::array) {
    return Error{Code::malformed, "JWK Set: an object with an array \"keys\" is expected (RFC 7517 section 5)"};
  }
  if (list->items.size() > kKeys) {
    return Error{Code::too_large, "JWK Set of more than " + std::to_string(kKeys) + " keys"};
  }
  const ErrorsForgotten scope;
  KeySet set;
  std::size_t number = 0;
  for (const JsonValue& jwk : list->items) {
    ++number;
    auto key = make_key(jwk);
    if (key) {
      set.keys_.push_back(std::move(*key));
      continue;
    }
    const std::string_view id = text_of(jwk, "kid");
    remarks.push_back("key " + std::to_string(number) + (id.empty() ? "" : ", kid " + printable(id)) +
                      ", is passed over: " + key.error().detail);
  }
  if (set.keys_.empty()) {
    return Error{Code::invalid, "JWK Set: none of its " + std::to_string(number) + " keys can verify a token"};
  }
  return set;
}

Result<KeySet> KeySet::shared_secret(std::string_view secret, AlgorithmSet algorithms) {
  if (algorithms.empty() || !AlgorithmSet::symmetric().contains(algorithms)) {
    return Error{Code::invalid, "a shared secret is for HS256, HS384 and HS512 only, and for those that are named"};
  }
  for (const Algorithm algorithm : {Algorithm::hs512, Algorithm::hs384, Algorithm::hs256}) {
    if (!algorithms.contains(algorithm) || secret.size() >= hash_bytes(algorithm)) continue;
    return Error{Code::invalid, std::string(name_of(algorithm)) + " needs a secret of at least " +
                                    std::to_string(hash_bytes(algorithm)) + " bytes (RFC 7518 section 3.2)"};
  }
  Jwk jwk(cjose_jwk_create_oct_spec(reinterpret_cast<const std::uint8_t*>(secret.data()), secret.size(), nullptr));
  if (jwk == nullptr) return Error{Code::invalid, "no key can be made of the secret"};
  KeySet set;
  set.keys_.push_back(std::make_unique<JoseKey>(std::string(), algorithms, std::move(jwk), 0));
  return set;
}

bool KeySet::has_key_id(std::string_view id) const {
  return std::any_of(keys_.begin(), keys_.end(), [id](const auto& key) { return key->id() == id; });
}

}  // namespace outrigger::identity
