#include "bridge/identity/envelope.h"

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/params.h>

#include <algorithm>
#include <cstdint>
#include <optional>
#include <utility>

#include "bridge/base/check.h"
#include "bridge/base/log.h"
#include "bridge/identity/base64url.h"
#include "bridge/identity/sha256.h"

namespace outrigger::identity {
namespace {

// After the prefix, in the order the fields are written in.
constexpr std::array<std::string_view, 6> kSuffixes = {"", "-Signature", "-Alg", "-Kid", "-Iat", "-Exp"};
enum Field : std::size_t { kEnvelope, kSignature, kAlg, kKid, kIat, kExp };

// Begins what is signed, so that a signature for anything else under the same key is never one for an envelope. What is
// signed, or how, does not change under this name: services check it.
constexpr std::string_view kVersion = "identity-envelope-v1";
constexpr std::string_view kAlgorithm = "HS256";

base::Error invalid(std::string detail) {
  return {base::Code::invalid, std::move(detail)};
}

bool is_visible(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return c > 0x20 && c < 0x7F; });
}

bool is_key_id(std::string_view text) {
  return !text.empty() && text.size() <= 64 && std::all_of(text.begin(), text.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '_' || c == '-';
  });
}

// Seconds since 1970 as the gateway writes them: no sign, no leading zero, good until the year 33658.
std::optional<std::int64_t> parse_seconds(std::string_view text) {
  if (text.empty() || text.size() > 12 || text.front() == '0') return std::nullopt;
  std::int64_t value = 0;
  for (const char c : text) {
    if (c < '0' || c > '9') return std::nullopt;
    value = 10 * value + (c - '0');
  }
  return value;
}

std::string base64url_of(const Sha256& digest) {
  return encode_base64url({reinterpret_cast<const char*>(digest.data()), digest.size()});
}

EVP_MAC_CTX* new_mac(std::string_view secret) {
  EVP_MAC* const hmac = EVP_MAC_fetch(nullptr, "HMAC", nullptr);
  EVP_MAC_CTX* const context = EVP_MAC_CTX_new(hmac);
  EVP_MAC_free(hmac);  // the context has a reference of its own
  char name[] = "SHA256";
  const OSSL_PARAM parameters[] = {OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, name, 0),
                                   OSSL_PARAM_construct_end()};
  CHECK(context != nullptr &&
        EVP_MAC_init(context, reinterpret_cast<const unsigned char*>(secret.data()), secret.size(), parameters) == 1);
  return context;
}

void append_text(std::string& json, std::string_view name, std::string_view value) {
  if (value.empty()) return;
  json.append(json.empty() ? "{\"" : ",\"").append(name).append("\":\"");
  base::append_json_escaped(json, value);
  json.push_back('"');
}

// All members in this order; what there is no value for is left out, but for `scopes`.
std::string envelope_json(std::string_view issuer, const Principal& principal, const EnvelopeFacts& facts) {
  std::string json;
  json.reserve(512);
  append_text(json, "iss", issuer);
  append_text(json, "aud", facts.service);
  append_text(json, "method", facts.method);
  append_text(json, "host", facts.host);
  append_text(json, "target_sha256", base64url_of(sha256(facts.target)));
  append_text(json, "rid", facts.request_id);
  append_text(json, "actor", principal.actor);
  append_text(json, "sub", principal.subject);
  append_text(json, "token_iss", principal.issuer);
  append_text(json, "tenant", principal.tenant);
  append_text(json, "project", principal.project);
  json.append(",\"scopes\":[");
  for (std::size_t i = 0; i < principal.scopes.size(); ++i) {
    json.append(i == 0 ? "\"" : ",\"");
    base::append_json_escaped(json, principal.scopes[i]);
    json.push_back('"');
  }
  json.append("]}");
  return json;
}

// None of the parts can hold a line feed, so that no two of these are alike unless all of their parts are.
std::string signing_input(std::string_view envelope, std::string_view key_id, std::string_view iat, std::string_view exp) {
  std::string input;
  input.reserve(kVersion.size() + kAlgorithm.size() + key_id.size() + iat.size() + exp.size() + envelope.size() + 5);
  for (const std::string_view part : {kVersion, kAlgorithm, key_id, iat, exp}) input.append(part).push_back('\n');
  return input.append(envelope);
}

// `keyed` stays as it is: copying only reads it, so that all threads may.
std::string signature_of(const EVP_MAC_CTX* keyed, std::string_view input) {
  EVP_MAC_CTX* const mac = EVP_MAC_CTX_dup(keyed);
  Sha256 digest;
  std::size_t size = 0;
  CHECK(mac != nullptr && EVP_MAC_update(mac, reinterpret_cast<const unsigned char*>(input.data()), input.size()) == 1 &&
        EVP_MAC_final(mac, digest.data(), &size, digest.size()) == 1 && size == digest.size());
  EVP_MAC_CTX_free(mac);
  return base64url_of(digest);
}

}  // namespace

void EnvelopeSigner::MacDeleter::operator()(EVP_MAC_CTX* context) const {
  EVP_MAC_CTX_free(context);
}

base::Result<EnvelopeSigner> EnvelopeSigner::make(EnvelopeOptions options) {
  if (options.keys.empty() || options.keys.size() > kEnvelopeKeys) {
    return invalid("an envelope needs 1 to " + std::to_string(kEnvelopeKeys) + " keys, not " +
                   std::to_string(options.keys.size()));
  }
  if (options.issuer.empty() || options.issuer.size() > 256 || !is_visible(options.issuer)) {
    return invalid("the issuer of envelopes is 1 to 256 visible ASCII characters");
  }
  if (options.lifetime < std::chrono::seconds(1) || options.lifetime > std::chrono::hours(1)) {
    return invalid("the lifetime of envelopes is 1 s to 1 h");
  }
  EnvelopeSigner signer;
  for (EnvelopeKey& key : options.keys) {
    if (!is_key_id(key.id)) {
      return invalid("the id of an envelope key is 1 to 64 letters, digits, '.', '_' or '-', not '" + key.id + "'");
    }
    for (const Key& other : signer.keys_) {
      if (other.id == key.id) return invalid("two envelope keys are called '" + key.id + "'");
    }
    if (key.secret.size() < kEnvelopeSecretBytes || key.secret.size() > kEnvelopeSecretBytesMost) {
      return invalid("the secret of envelope key '" + key.id + "' has " + std::to_string(key.secret.size()) + " bytes; " +
                     std::to_string(kEnvelopeSecretBytes) + " to " + std::to_string(kEnvelopeSecretBytesMost) +
                     " are wanted, such as from: openssl rand -base64 48");
    }
    signer.keys_.push_back({std::move(key.id), std::unique_ptr<EVP_MAC_CTX, MacDeleter>(new_mac(key.secret))});
    OPENSSL_cleanse(key.secret.data(), key.secret.size());
  }
  signer.issuer_ = std::move(options.issuer);
  signer.lifetime_ = options.lifetime;
  for (std::size_t i = 0; i < kSuffixes.size(); ++i) signer.names_[i] = options.prefix + std::string(kSuffixes[i]);
  return signer;
}

void EnvelopeSigner::sign(const Principal& principal, const EnvelopeFacts& facts, base::WallMillis now,
                          base::HeaderList& headers) const {
  DCHECK(!facts.service.empty());
  const auto iat = std::chrono::floor<std::chrono::seconds>(now);
  const auto exp = iat + std::max(lifetime_, std::chrono::ceil<std::chrono::seconds>(facts.timeout));
  const std::string envelope = encode_base64url(envelope_json(issuer_, principal, facts));
  const Key& key = keys_.front();
  const std::string iat_text = std::to_string(iat.count());
  const std::string exp_text = std::to_string(exp.count());
  headers.add(names_[kEnvelope], envelope);
  headers.add(names_[kSignature], signature_of(key.mac.get(), signing_input(envelope, key.id, iat_text, exp_text)));
  headers.add(names_[kAlg], kAlgorithm);
  headers.add(names_[kKid], key.id);
  headers.add(names_[kIat], iat_text);
  headers.add(names_[kExp], exp_text);
}

base::Result<std::string> EnvelopeSigner::verify(const base::HeaderList& headers, base::WallMillis now,
                                                 std::chrono::seconds skew) const {
  const auto refused = [](std::string why) { return base::Error{base::Code::unauthenticated, std::move(why)}; };
  std::array<std::string_view, kSuffixes.size()> fields;
  for (std::size_t i = 0; i < fields.size(); ++i) {
    if (headers.count(names_[i]) != 1) return refused(names_[i] + " is missing or repeated");
    fields[i] = *headers.find(names_[i]);
  }
  if (fields[kAlg] != kAlgorithm) return refused(names_[kAlg] + " is not " + std::string(kAlgorithm));
  const auto key = std::find_if(keys_.begin(), keys_.end(), [&](const Key& k) { return k.id == fields[kKid]; });
  if (key == keys_.end()) return refused("no key has the id in " + names_[kKid]);
  const std::string expected =
      signature_of(key->mac.get(), signing_input(fields[kEnvelope], fields[kKid], fields[kIat], fields[kExp]));
  // The texts are compared, not the bytes they stand for: a base64url text with other unused bits is another one.
  if (fields[kSignature].size() != expected.size() ||
      CRYPTO_memcmp(fields[kSignature].data(), expected.data(), expected.size()) != 0) {
    return refused("the signature is wrong");
  }
  const auto iat = parse_seconds(fields[kIat]);
  const auto exp = parse_seconds(fields[kExp]);
  auto json = decode_base64url(fields[kEnvelope]);
  if (!iat || !exp || !json) return refused("signed, but not in the form of an envelope");
  skew = std::clamp(skew, std::chrono::seconds(0), kEnvelopeSkew);
  if (now < std::chrono::seconds(*iat) - skew) return refused("not valid yet");
  if (now >= std::chrono::seconds(*exp) + skew) return refused("expired");
  return std::move(*json);
}

}  // namespace outrigger::identity
