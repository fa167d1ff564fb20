// TokenVerifier: is this JWT one of ours, now (RFC 7515, 7519, 8725)? Everything is decided by what was configured: a
// token's header chooses neither keys nor algorithms, and nothing is ever fetched because a token says so. No sockets.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "bridge/base/clock.h"
#include "bridge/identity/algorithm.h"
#include "bridge/identity/jwks.h"
#include "bridge/identity/principal.h"

namespace outrigger::identity {

inline constexpr std::size_t kTokenBytes =
    16 * 1024;                        // a quarter of what all header fields may take; real ones have 1 to 4
inline constexpr int kTriedKeys = 8;  // for a token without `kid`: what a stranger's token may cost in verifications
inline constexpr std::chrono::seconds kMostSkew{60};

// Why a token is refused: a closed list. In the order of the steps that find it.
enum class TokenProblem : std::uint8_t {
  none,
  too_large,              // more than kTokenBytes
  malformed,              // no JWT in compact serialization, or a member that must have another type
  unsupported_critical,   // `crit`, `b64` or `zip`: it may not be understood as if they were not there
  wrong_type,             // `typ`: some other kind of JWT
  algorithm_not_allowed,  // by the issuer's rules or by the key; `none`, too
  unknown_issuer,         // `iss` is missing or none that is configured
  no_keys,                // the issuer's keys have not been had yet
  unknown_key,            // none of the issuer's keys is meant
  bad_signature,
  no_expiry,  // `exp` is missing
  expired,
  not_yet_valid,   // `nbf` or `iat` is in the future
  wrong_audience,  // `aud` is missing or names none of ours
};
// As above with a hyphen (bad-signature); stable, for operators, logs and metrics.
std::string_view name_of(TokenProblem problem);

// What is expected of the tokens of one issuer.
struct IssuerRules {
  std::string issuer;                  // as `iss` has it, character by character
  std::vector<std::string> audiences;  // one of them must be in `aud`; with none here, tokens must have no `aud`
  AlgorithmSet algorithms = AlgorithmSet::asymmetric();
  std::chrono::seconds skew{30};  // by which the issuer's clock and ours may differ; 0 to kMostSkew
};

struct TrustedIssuer {
  IssuerRules rules;
  std::shared_ptr<const KeySet> keys;  // nullptr: not had yet
};

struct Verdict {
  TokenProblem problem = TokenProblem::none;
  // For operators, never for clients: what was expected and found. Of the token it has at most the names in `alg`,
  // `typ`, `kid` and `iss` and its times, cut and made printable.
  std::string detail;
  std::optional<VerifiedToken> token;  // if and only if it is accepted
  std::string issuer;                  // as configured; empty if it did not come that far
  std::string key_id;                  // `kid` as the token has it, at most kKeyIdBytes of anything; may be empty

  bool accepted() const { return problem == TokenProblem::none; }
  // The issuer may have a key by now that this set has not: unknown_key, and bad_signature of a token without `kid`.
  bool may_need_newer_keys() const {
    return problem == TokenProblem::unknown_key || (problem == TokenProblem::bad_signature && key_id.empty());
  }
};

// Immutable; any number of threads at once. A new one replaces it whole when keys or rules change.
class TokenVerifier {
 public:
  // REQUIRES: skews in range. Of several with the same issuer the first is used.
  explicit TokenVerifier(std::vector<TrustedIssuer> issuers);

  // Verifies what follows `Bearer `. Times and audience are looked at only once the signature was found right, so that
  // what a refusal says about them is no news to a forger.
  Verdict verify(std::string_view token, base::WallMillis now) const;

  const std::vector<TrustedIssuer>& issuers() const { return issuers_; }

 private:
  std::vector<TrustedIssuer> issuers_;
};

// The form and the signature alone, by any of `keys` and any algorithm that is theirs: for a person at the command
// line. An accepted token's `issuer` is what it says itself (empty: nothing), `expires_s` 0 if it has no proper `exp`.
Verdict verify_signature(std::string_view token, const KeySet& keys);

// What a token says of itself, with nothing verified: for a person who asks why it is refused, and for nothing else.
struct TokenText {
  std::vector<Claim> header;
  std::vector<Claim> claims;
};
// Empty where it cannot be read: what is no JWT in compact serialization is not quoted.
TokenText read_unverified(std::string_view token);

}  // namespace outrigger::identity
