#include "bridge/identity/jwt.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <utility>

#include "bridge/base/check.h"
#include "bridge/identity/base64url.h"
#include "bridge/identity/json_value.h"
#include "bridge/identity/printable.h"

namespace outrigger::identity {
namespace {

using base::WallMillis;
using Kind = JsonValue::Kind;

constexpr std::array<std::string_view, 14> kProblemNames = {
    "none",           "too-large",     "malformed",   "unsupported-critical", "wrong-type", "algorithm-not-allowed",
    "unknown-issuer", "no-keys",       "unknown-key", "bad-signature",        "no-expiry",  "expired",
    "not-yet-valid",  "wrong-audience"};
static_assert(kProblemNames.size() == static_cast<std::size_t>(TokenProblem::wrong_audience) + 1);

constexpr std::int64_t kLatestSecond = 253402300799;  // the last of the year 9999: sums and dates stay in range

// A token taken apart, with nothing verified yet.
struct Opened {
  JsonValue payload;
  std::string signature;
  Algorithm algorithm = Algorithm::rs256;
  std::optional<std::string> key_id;
};

// What a step finds wrong; nullopt: nothing, go on.
using Refusal = std::optional<Verdict>;

Verdict refused(TokenProblem problem, std::string detail) {
  Verdict verdict;
  verdict.problem = problem;
  verdict.detail = std::move(detail);
  return verdict;
}

// RFC 7519 section 5.1 and RFC 9068 section 2.1; "application/" may be left out (RFC 7515 section 4.1.9).
bool is_token_type(std::string_view type) {
  std::string lowered(type);
  for (char& c : lowered) c = static_cast<char>(c >= 'A' && c <= 'Z' ? c + ('a' - 'A') : c);
  std::string_view rest = lowered;
  if (rest.starts_with("application/")) rest.remove_prefix(12);
  return rest == "jwt" || rest == "at+jwt";
}

Refusal read_header(const JsonValue& header, Opened& opened) {
  if (header.kind != Kind::object) return refused(TokenProblem::malformed, "the header is not a JSON object");
  for (const std::string_view name : {"crit", "b64", "zip"}) {
    if (header.find(name) != nullptr) {
      return refused(TokenProblem::unsupported_critical, "the header has " + std::string(name));
    }
  }
  for (const std::string_view name : {"alg", "typ", "kid"}) {
    const JsonValue* value = header.find(name);
    if (value != nullptr && !value->is_text()) {
      return refused(TokenProblem::malformed, std::string(name) + " in the header is not a string");
    }
  }
  if (const JsonValue* type = header.find("typ"); type != nullptr && !is_token_type(type->text)) {
    return refused(TokenProblem::wrong_type, "typ is " + printable(type->text) + ", not JWT or at+jwt");
  }
  const JsonValue* alg = header.find("alg");
  if (alg == nullptr) return refused(TokenProblem::malformed, "the header has no alg");
  const auto algorithm = parse_algorithm(alg->text);
  if (!algorithm) {
    return refused(TokenProblem::algorithm_not_allowed, "alg is " + printable(alg->text) + ", which is never allowed");
  }
  opened.algorithm = *algorithm;
  if (const JsonValue* key_id = header.find("kid"); key_id != nullptr) {
    if (key_id->text.size() > kKeyIdBytes) {
      return refused(TokenProblem::malformed, "kid is longer than " + std::to_string(kKeyIdBytes) + " bytes");
    }
    opened.key_id = key_id->text;
  }
  return std::nullopt;
}

// Member of the compact serialization, as JSON; nullopt with `why`.
std::optional<JsonValue> read_part(std::string_view part, std::string_view name, std::string& why) {
  const auto bytes = decode_base64url(part);
  if (!bytes) {
    why = std::string(name) + " is not base64url without padding";
    return std::nullopt;
  }
  auto value = parse_json(*bytes);
  if (!value) {
    why = std::string(name) + ": " + value.error().detail;
    return std::nullopt;
  }
  return std::move(*value);
}

Refusal open(std::string_view token, Opened& opened) {
  if (token.size() > kTokenBytes) {
    return refused(TokenProblem::too_large,
                   std::to_string(token.size()) + " bytes; the limit is " + std::to_string(kTokenBytes));
  }
  const auto dots = std::count(token.begin(), token.end(), '.');
  if (dots != 2) {
    return refused(TokenProblem::malformed,
                   std::to_string(dots + 1) + " parts between dots, not 3" + (dots == 4 ? ": it is encrypted" : ""));
  }
  const std::size_t first = token.find('.');
  const std::size_t second = token.rfind('.');
  std::string why;
  const auto header = read_part(token.substr(0, first), "the header", why);
  if (!header) return refused(TokenProblem::malformed, std::move(why));
  if (auto refusal = read_header(*header, opened)) return refusal;
  auto payload = read_part(token.substr(first + 1, second - first - 1), "the payload", why);
  if (!payload) return refused(TokenProblem::malformed, std::move(why));
  if (payload->kind != Kind::object) return refused(TokenProblem::malformed, "the payload is not a JSON object");
  opened.payload = std::move(*payload);
  auto signature = decode_base64url(token.substr(second + 1));
  if (!signature) return refused(TokenProblem::malformed, "the signature is not base64url without padding");
  opened.signature = std::move(*signature);
  return std::nullopt;
}

// By `kid`. A configured secret has none, and is meant whatever its issuer calls it.
bool is_meant(const Key& key, const std::optional<std::string>& key_id) {
  return !key_id || key.id() == *key_id || AlgorithmSet::symmetric().contains(key.algorithms());
}

Refusal check_signature(std::string_view token, const Opened& opened, const KeySet& keys, const Key*& verified_by) {
  const std::string alg(name_of(opened.algorithm));
  const SignedText text{token, opened.signature};
  bool is_known = false;
  int tried = 0;
  for (const auto& key : keys.keys()) {
    if (!is_meant(*key, opened.key_id)) continue;
    is_known = true;
    if (!key->algorithms().contains(opened.algorithm)) continue;
    if (tried++ == kTriedKeys) break;
    if (!key->verifies(opened.algorithm, text)) continue;
    verified_by = key.get();
    return std::nullopt;
  }
  const std::string shown = printable(opened.key_id.value_or(""));
  if (!is_known) return refused(TokenProblem::unknown_key, "kid " + shown + " is none of the issuer's keys");
  if (tried != 0) {
    return refused(TokenProblem::bad_signature,
                   "the signature is not the key's" + (opened.key_id ? ", kid " + shown : ""));
  }
  if (opened.key_id) {
    return refused(TokenProblem::algorithm_not_allowed, "key " + shown + " is not for " + alg);
  }
  return refused(TokenProblem::unknown_key, "no kid, and none of the issuer's keys is for " + alg);
}

// NumericDate (RFC 7519 section 2) in milliseconds, a fraction rounded down; nullopt: out of range, or no number.
std::optional<std::int64_t> milliseconds_of(const JsonValue& value) {
  const char* end = value.text.data() + value.text.size();
  if (value.kind == Kind::integer) {
    std::int64_t seconds = 0;
    const auto [rest, error] = std::from_chars(value.text.data(), end, seconds);
    if (error != std::errc{} || rest != end || seconds < 0 || seconds > kLatestSecond) return std::nullopt;
    return seconds * 1000;
  }
  double seconds = 0;
  if (value.kind != Kind::fraction) return std::nullopt;
  const auto [rest, error] = std::from_chars(value.text.data(), end, seconds);
  if (error != std::errc{} || rest != end || !(seconds >= 0 && seconds <= static_cast<double>(kLatestSecond))) {
    return std::nullopt;
  }
  return static_cast<std::int64_t>(std::floor(seconds * 1000));
}

// A claim that is there but no time is in `wrong`.
std::optional<std::int64_t> time_of(const JsonValue& payload, std::string_view name, std::string_view& wrong) {
  const JsonValue* value = payload.find(name);
  if (value == nullptr) return std::nullopt;
  const auto milliseconds = milliseconds_of(*value);
  if (!milliseconds) wrong = name;
  return milliseconds;
}

Refusal check_times(const JsonValue& payload, std::chrono::seconds skew, WallMillis now) {
  std::string_view wrong;
  const auto expires = time_of(payload, "exp", wrong);
  const auto not_before = time_of(payload, "nbf", wrong);
  const auto issued = time_of(payload, "iat", wrong);
  if (!wrong.empty()) {
    return refused(TokenProblem::malformed, std::string(wrong) + " is not a number of seconds between 1970 and 9999");
  }
  if (!expires) return refused(TokenProblem::no_expiry, "there is no exp");
  const auto against_our_clock = [&](std::int64_t milliseconds) {
    return base::to_rfc3339(WallMillis(milliseconds)) + ", and it is " + base::to_rfc3339(now) + " here (skew " +
           std::to_string(skew.count()) + " s)";
  };
  if (now - skew >= WallMillis(*expires))
    return refused(TokenProblem::expired, "exp is " + against_our_clock(*expires));
  for (const auto& [name, time] : {std::pair("nbf", not_before), std::pair("iat", issued)}) {
    if (time && now + skew < WallMillis(*time)) {
      return refused(TokenProblem::not_yet_valid, std::string(name) + " is " + against_our_clock(*time));
    }
  }
  return std::nullopt;
}

// RFC 7519 section 4.1.3.
Refusal check_audience(const JsonValue& payload, const std::vector<std::string>& audiences) {
  const JsonValue* audience = payload.find("aud");
  if (audience == nullptr) {
    if (audiences.empty()) return std::nullopt;
    return refused(TokenProblem::wrong_audience, "there is no aud; expected is " + printable(audiences.front()));
  }
  const auto is_text = [](const JsonValue& item) { return item.is_text(); };
  if (!audience->is_text() &&
      !(audience->kind == Kind::array && std::all_of(audience->items.begin(), audience->items.end(), is_text))) {
    return refused(TokenProblem::malformed, "aud is neither a string nor an array of strings");
  }
  const auto is_ours = [&](const JsonValue& item) {
    return std::find(audiences.begin(), audiences.end(), item.text) != audiences.end();
  };
  if (audience->is_text() ? is_ours(*audience) : std::any_of(audience->items.begin(), audience->items.end(), is_ours)) {
    return std::nullopt;
  }
  return refused(TokenProblem::wrong_audience, audiences.empty()
                                                   ? "there is an aud, and no audience is configured"
                                                   : "aud does not name " + printable(audiences.front()) +
                                                         (audiences.size() > 1 ? " or another of ours" : ""));
}

bool has_value(const JsonValue& value) {
  return value.kind != Kind::null && value.kind != Kind::array && value.kind != Kind::object;
}

std::vector<Claim> take_claims(JsonValue&& payload) {
  std::vector<Claim> claims;
  claims.reserve(payload.items.size());
  for (JsonValue& member : payload.items) {
    Claim claim{std::move(member.name), {}, member.kind == Kind::array};
    if (has_value(member)) claim.values.push_back(std::move(member.text));
    if (member.kind == Kind::array) {
      for (JsonValue& item : member.items) {
        if (has_value(item)) claim.values.push_back(std::move(item.text));
      }
    }
    claims.push_back(std::move(claim));
  }
  return claims;
}

Verdict accept(Opened&& opened, const Key& key) {
  Verdict verdict;
  verdict.key_id = opened.key_id.value_or("");
  VerifiedToken& token = verdict.token.emplace();
  if (const JsonValue* issuer = opened.payload.find("iss"); issuer != nullptr && issuer->is_text()) {
    token.issuer = issuer->text;
  }
  token.key_id = key.id();
  token.algorithm = name_of(opened.algorithm);
  std::string_view wrong;
  token.expires_s = time_of(opened.payload, "exp", wrong).value_or(0) / 1000;
  token.claims = take_claims(std::move(opened.payload));
  return verdict;
}

}  // namespace

std::string_view name_of(TokenProblem problem) {
  return kProblemNames[static_cast<std::size_t>(problem)];
}

TokenVerifier::TokenVerifier(std::vector<TrustedIssuer> issuers) : issuers_(std::move(issuers)) {
  for (const TrustedIssuer& issuer : issuers_) {
    CHECK(issuer.rules.skew.count() >= 0 && issuer.rules.skew <= kMostSkew);
  }
}

Verdict TokenVerifier::verify(std::string_view token, WallMillis now) const {
  Opened opened;
  if (auto refusal = open(token, opened)) return *std::move(refusal);

  const JsonValue* issuer = opened.payload.find("iss");
  if (issuer == nullptr || !issuer->is_text()) {
    return refused(TokenProblem::unknown_issuer, "there is no iss, or it is not a string");
  }
  const auto trusted = std::find_if(issuers_.begin(), issuers_.end(),
                                    [&](const TrustedIssuer& one) { return one.rules.issuer == issuer->text; });
  if (trusted == issuers_.end()) {
    return refused(TokenProblem::unknown_issuer, "iss " + printable(issuer->text) + " is not configured");
  }
  const IssuerRules& rules = trusted->rules;

  const Key* verified_by = nullptr;
  Refusal refusal;
  if (!rules.algorithms.contains(opened.algorithm)) {
    refusal =
        refused(TokenProblem::algorithm_not_allowed, "alg is " + std::string(name_of(opened.algorithm)) +
                                                         "; of this issuer are allowed " + rules.algorithms.names());
  } else if (trusted->keys == nullptr) {
    refusal = refused(TokenProblem::no_keys, "the issuer's keys could not be had yet");
  } else {
    refusal = check_signature(token, opened, *trusted->keys, verified_by);
  }
  // From here on the token is its issuer's.
  if (!refusal) refusal = check_times(opened.payload, rules.skew, now);
  if (!refusal) refusal = check_audience(opened.payload, rules.audiences);
  if (refusal) refusal->key_id = opened.key_id.value_or("");
  Verdict verdict = refusal ? *std::move(refusal) : accept(std::move(opened), *verified_by);
  verdict.issuer = rules.issuer;
  return verdict;
}

Verdict verify_signature(std::string_view token, const KeySet& keys) {
  Opened opened;
  if (auto refusal = open(token, opened)) return *std::move(refusal);
  const Key* verified_by = nullptr;
  if (auto refusal = check_signature(token, opened, keys, verified_by)) {
    refusal->key_id = opened.key_id.value_or("");
    return *std::move(refusal);
  }
  return accept(std::move(opened), *verified_by);
}

TokenText read_unverified(std::string_view token) {
  TokenText text;
  if (token.size() > kTokenBytes || std::count(token.begin(), token.end(), '.') != 2) return text;
  const std::size_t first = token.find('.');
  const std::string_view payload = token.substr(first + 1, token.rfind('.') - first - 1);
  for (const auto& [part, to] : {std::pair(token.substr(0, first), &text.header), std::pair(payload, &text.claims)}) {
    std::string why;
    auto value = read_part(part, {}, why);
    if (value && value->kind == Kind::object) *to = take_claims(std::move(*value));
  }
  return text;
}

}  // namespace outrigger::identity
