#include "gateway-edge/authenticator.h"

#include <algorithm>
#include <utility>

namespace outrigger::gateway {
namespace {

using identity::Principal;
using identity::TokenProblem;
using router::ProblemCode;

// Codes of the original protocol.
constexpr std::string_view kScopeHeaderForbidden = "ERR_SCOPE_HEADER_FORBIDDEN";
constexpr std::string_view kTenantOverrideForbidden = "ERR_TENANT_OVERRIDE_FORBIDDEN";

constexpr std::string_view kUnclear = "unclear-authorization";
constexpr std::string_view kNoToken = "no-token";
constexpr std::string_view kUnfitClaim = "unfit-claim";
constexpr std::string_view kAccess = "lacks-access";

// RFC 6750 section 2.1: b64token.
bool is_bearer_token(std::string_view text) {
  const auto is_inner = [](char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
           std::string_view("-._~+/").find(c) != std::string_view::npos;
  };
  const std::size_t padding = text.find('=');
  const std::string_view inner = text.substr(0, padding);
  return !inner.empty() && std::all_of(inner.begin(), inner.end(), is_inner) &&
         text.find_first_not_of('=', inner.size()) == std::string_view::npos;
}

// RFC 6749 section 3.3.
bool is_scope_token(std::string_view text) {
  return !text.empty() &&
         std::all_of(text.begin(), text.end(), [](char c) { return c > ' ' && c <= '~' && c != '"' && c != '\\'; });
}

std::vector<std::string> split(std::string_view text) {
  std::vector<std::string> items;
  while (!text.empty()) {
    const std::size_t space = std::min(text.find(' '), text.size());
    if (space > 0) items.emplace_back(text.substr(0, space));
    text.remove_prefix(std::min(space + 1, text.size()));
  }
  return items;
}

bool has(const std::vector<std::string>& list, std::string_view item) {
  return std::find(list.begin(), list.end(), item) != list.end();
}

Authenticator::Refusal forbidden(std::string_view code, std::string detail) {
  return {ProblemCode::forbidden, std::string(code) + ": " + std::move(detail),
          Authenticator::challenge("insufficient_scope"), code};
}

}  // namespace

Authenticator::Refusal Authenticator::refuse_access(bool needs_token, const std::string& missing) {
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
  std::vector<std::string_view> reasons = {kScopeHeaderForbidden, kTenantOverrideForbidden, kUnclear, kNoToken,
                                           kUnfitClaim};
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
  Credentials credentials;
  if (!options_.verifies) return credentials;
  constexpr std::string_view kBearer = "Bearer";
  std::size_t count = 0;
  for (const base::HeaderField field : fields) {
    if (!base::equals_ignoring_case(field.name, "Authorization")) continue;
    if (++count > 1) {
      credentials.kind = Credentials::Kind::unclear;  // which one a service believes is anybody's guess
      break;
    }
    const std::string_view scheme = field.value.substr(0, field.value.find(' '));
    if (!base::equals_ignoring_case(scheme, kBearer)) continue;
    std::string_view token = field.value.substr(scheme.size());
    token.remove_prefix(std::min(token.find_first_not_of(' '), token.size()));
    credentials.kind = is_bearer_token(token) ? Credentials::Kind::bearer : Credentials::Kind::unclear;
    credentials.token = token;
  }
  if (options_.enable_tenant_override) credentials.tenant = policy_.requested_tenant(fields);
  if (std::string scopes = policy_.requested_scopes(fields); !scopes.empty()) credentials.scopes = std::move(scopes);
  return credentials;
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

// What the client asked to be instead, as far as it may.
Authenticator::Answer Authenticator::adapt(const Who& who, const Credentials& credentials) {
  if (credentials.scopes && !options_.allow_scope_header) {
    return refuse(forbidden(kScopeHeaderForbidden, "scopes come from the token, not from a header"));
  }
  const bool changes_tenant = !credentials.tenant.empty() && credentials.tenant != who->tenant;
  if (!changes_tenant && !credentials.scopes) return who;
  Principal changed = *who;
  if (changes_tenant) {
    if (!has(who->allowed_tenants, credentials.tenant)) {
      return refuse(forbidden(kTenantOverrideForbidden, "the token does not allow this tenant"));
    }
    changed.tenant = credentials.tenant;
  }
  if (credentials.scopes) {
    changed.scopes = split(*credentials.scopes);
    for (const std::string& scope : changed.scopes) {
      if (!who->has_scope(scope))
        return refuse(forbidden(kScopeHeaderForbidden, "the token does not have all of these scopes"));
    }
  }
  return std::make_shared<const Principal>(std::move(changed));
}

Authenticator::Refusal Authenticator::refuse(Refusal refusal) {
  ++counters_.refused[refusal.why];
  return refusal;
}

}  // namespace outrigger::gateway
