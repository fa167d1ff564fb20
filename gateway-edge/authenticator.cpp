#include "gateway-edge/authenticator.h"

#include <algorithm>
#include <utility>

namespace outrigger::gateway {
namespace {

using identity::Principal;
using identity::TokenProblem;
using router::ProblemCode;

constexpr std::string_view kUnclear = "unclear-authorization";
constexpr std::string_view kNoToken = "no-token";
constexpr std::string_view kUnfitClaim = "unfit-claim";
constexpr std::string_view kAccess = "lacks-access";

// RFC 6749 section 3.3.
bool is_scope_token(std::string_view text) {
  return !text.empty() &&
         std::all_of(text.begin(), text.end(), [](char c) { return c > ' ' && c <= '~' && c != '"' && c != '\\'; });
}

Authenticator::Refusal forbidden(const identity::OverrideRefusal& why) {
  return {ProblemCode::forbidden, std::string(why.code).append(": ").append(why.detail),
          Authenticator::challenge("insufficient_scope"), why.code};
}

}  // namespace

Authenticator::Refusal Authenticator::refuse_access(bool needs_token, const std::string& missing) {
  // Where none is verified, none would help.
  if (!options_.verifies) return refuse({ProblemCode::forbidden, "Nobody may do this.", {}, kAccess});
  if (needs_token) return refuse({ProblemCode::unauthenticated, "A token is needed.", challenge(), kNoToken});
  // A document may ask for scopes that cannot stand in a field.
  constexpr std::string_view kScope = "scope ";
  const bool is_scope = missing.compare(0, kScope.size(), kScope) == 0 && is_scope_token(missing.substr(kScope.size()));
  return refuse({ProblemCode::forbidden,
                 missing.empty() ? std::string("Nobody may do this.") : "The token lacks: " + missing + ".",
                 challenge("insufficient_scope", {}, is_scope ? missing.substr(kScope.size()) : std::string()),
                 kAccess});
}

std::vector<std::string_view> Authenticator::reasons() {
  std::vector<std::string_view> reasons = {identity::kScopeHeaderForbidden, identity::kTenantOverrideForbidden,
                                           kUnclear, kNoToken, kUnfitClaim, kAccess};
  for (int i = 1; i <= static_cast<int>(TokenProblem::wrong_audience); ++i) {
    reasons.push_back(identity::name_of(static_cast<TokenProblem>(i)));
  }
  return reasons;
}

std::string Authenticator::challenge(std::string_view error, std::string_view description, std::string_view scope) {
  std::string value = R"(Bearer realm="outrigger")";
  for (const auto& [name, text] : {std::pair{"error", error}, {"error_description", description}, {"scope", scope}}) {
    if (!text.empty()) value.append(", ").append(name).append("=\"").append(text).append("\"");
  }
  return value;
}

Authenticator::Authenticator(const base::Clock& clock, const identity::HeaderPolicy& policy, KeySource* keys,
                             Options options)
    : clock_(clock),
      policy_(policy),
      keys_(keys),
      options_(std::move(options)),
      cache_(options_.cached_tokens),
      anonymous_(std::make_shared<const Principal>(identity::anonymous_principal())) {}

void Authenticator::set_verifier(std::shared_ptr<const identity::TokenVerifier> verifier) {
  verifier_ = std::move(verifier);
  cache_.clear();  // a key may have been withdrawn
}

Credentials Authenticator::read(const base::HeaderList& fields) const {
  if (!options_.verifies) return {};
  return identity::read_credentials(fields, policy_, options_.enable_tenant_override);
}

Authenticator::Answer Authenticator::authenticate(const Credentials& credentials, bool may_be_anonymous,
                                                  Missing missing) {
  switch (credentials.kind) {
    case Credentials::Kind::bearer:
      return verify(credentials, missing);
    case Credentials::Kind::unclear:
      return refuse({ProblemCode::bad_request, "Authorization must be one field with one token.",
                     challenge("invalid_request"), kUnclear});
    case Credentials::Kind::none:
      break;
  }
  if (!options_.allow_anonymous && !may_be_anonymous) {
    return refuse({ProblemCode::unauthenticated, "A token is needed.", challenge(), kNoToken});
  }
  ++counters_.anonymous;
  return anonymous_;
}

net::Pending Authenticator::await(const MissingKey& missing, KeySource::Done done) {
  ++counters_.awaited;
  return keys_->want_key(missing.issuer, missing.key_id, std::move(done));
}

Authenticator::Answer Authenticator::verify(const Credentials& credentials, Missing missing) {
  const base::WallMillis now = clock_.wall();
  if (const Who cached = cache_.find(credentials.token, now)) {
    ++counters_.cached;
    return adapt(cached, credentials);
  }
  identity::Verdict verdict;
  if (verifier_ == nullptr) {
    verdict.problem = TokenProblem::no_keys;
  } else {
    verdict = verifier_->verify(credentials.token, now);
  }
  const bool is_in_doubt = verdict.may_need_newer_keys() || verdict.problem == TokenProblem::no_keys;
  if (is_in_doubt && missing == Missing::wait && keys_ != nullptr) return MissingKey{verdict.issuer, verdict.key_id};
  if (verdict.problem == TokenProblem::no_keys || (is_in_doubt && missing == Missing::cannot_look)) {
    // The token may well be good: its sender is not to be told otherwise.
    return refuse({ProblemCode::keys_unavailable, {}, {}, identity::name_of(verdict.problem)});
  }
  if (verdict.problem != TokenProblem::none) {
    const std::string_view why = identity::name_of(verdict.problem);
    return refuse({ProblemCode::unauthenticated, "The token is refused: " + std::string(why) + ".",
                   challenge("invalid_token", why), why});
  }
  auto principal = identity::derive_principal(std::move(*verdict.token), options_.claims);
  if (!principal) {
    return refuse(
        {ProblemCode::forbidden, principal.error().detail + ".", challenge("insufficient_scope"), kUnfitClaim});
  }
  ++counters_.verified;
  const auto who = std::make_shared<const Principal>(std::move(*principal));
  // Within the issuer's skew after that, it is verified each time.
  if (const base::WallMillis until = std::chrono::seconds(who->expires_s); until > now)
    cache_.insert(credentials.token, who, until);
  return adapt(who, credentials);
}

Authenticator::Answer Authenticator::adapt(const Who& who, const Credentials& credentials) {
  auto adapted = identity::apply_overrides(who, credentials, options_.allow_scope_header);
  if (const auto* refusal = std::get_if<identity::OverrideRefusal>(&adapted)) return refuse(forbidden(*refusal));
  return std::get<Who>(std::move(adapted));
}

Authenticator::Refusal Authenticator::refuse(Refusal refusal) {
  ++counters_.refused[refusal.why];
  return refusal;
}

}  // namespace outrigger::gateway
