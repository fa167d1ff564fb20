#include "bridge/identity/credentials.h"

#include <algorithm>
#include <array>
#include <utility>
#include <vector>

namespace outrigger::identity {
namespace {

// The name of the scheme (RFC 9110 section 11.1). It ends at the first character that no name has, whatever that is: a
// service may take it for a space.
std::string_view scheme_of(std::string_view value) {
  const auto is_of_name = [](char c) {
    return base::spelling_of(c) != '-' || std::string_view("!#$%&'*+-.^_`|~").find(c) != std::string_view::npos;
  };
  const auto* const end = std::find_if_not(value.begin(), value.end(), is_of_name);
  return value.substr(0, static_cast<std::size_t>(end - value.begin()));
}

// RFC 6750 section 2.1: b64token without its padding. A table, since every character of every request's token is looked at.
constexpr std::array<bool, 256> make_token_characters() {
  std::array<bool, 256> characters{};
  for (const char c : std::string_view("-._~+/0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")) {
    characters[static_cast<unsigned char>(c)] = true;
  }
  return characters;
}
constexpr std::array<bool, 256> kTokenCharacters = make_token_characters();

bool is_bearer_token(std::string_view text) {
  const auto is_inner = [](char c) { return kTokenCharacters[static_cast<unsigned char>(c)]; };
  const std::size_t padding = text.find('=');
  const std::string_view inner = text.substr(0, padding);
  return !inner.empty() && std::all_of(inner.begin(), inner.end(), is_inner) &&
         text.find_first_not_of('=', inner.size()) == std::string_view::npos;
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

}  // namespace

Credentials read_credentials(const base::HeaderList& fields, const HeaderPolicy& policy, bool enable_tenant_override) {
  Credentials credentials;
  constexpr std::string_view kBearer = "Bearer";
  std::size_t count = 0;
  for (const base::HeaderField field : fields) {
    if (!base::equals_ignoring_case(field.name, "Authorization")) continue;
    if (++count > 1) {
      credentials.kind = Credentials::Kind::unclear;  // which one a service believes is anybody's guess
      break;
    }
    const std::string_view scheme = scheme_of(field.value);
    if (!base::equals_ignoring_case(scheme, kBearer)) continue;
    std::string_view token = field.value.substr(scheme.size());
    token.remove_prefix(std::min(token.find_first_not_of(' '), token.size()));
    credentials.kind = is_bearer_token(token) ? Credentials::Kind::bearer : Credentials::Kind::unclear;
    credentials.token = token;
  }
  if (enable_tenant_override) credentials.tenant = policy.requested_tenant(fields);
  if (std::string scopes = policy.requested_scopes(fields); !scopes.empty()) credentials.scopes = std::move(scopes);
  return credentials;
}

std::variant<std::shared_ptr<const Principal>, OverrideRefusal> apply_overrides(const std::shared_ptr<const Principal>& who,
                                                                                const Credentials& credentials,
                                                                                bool allow_scope_header) {
  if (credentials.scopes && !allow_scope_header) {
    return OverrideRefusal{kScopeHeaderForbidden, "scopes come from the token, not from a header"};
  }
  const bool changes_tenant = !credentials.tenant.empty() && credentials.tenant != who->tenant;
  if (!changes_tenant && !credentials.scopes) return who;
  Principal changed = *who;
  if (changes_tenant) {
    if (!has(who->allowed_tenants, credentials.tenant)) {
      return OverrideRefusal{kTenantOverrideForbidden, "the token does not allow this tenant"};
    }
    changed.tenant = credentials.tenant;
  }
  if (credentials.scopes) {
    changed.scopes.clear();
    const bool is_too_long = credentials.scopes->size() > kScopesBytes;  // no token has so many
    for (std::string& scope : split(*credentials.scopes)) {
      if (is_too_long || !who->has_scope(scope))
        return OverrideRefusal{kScopeHeaderForbidden, "the token does not have all of these scopes"};
      if (!has(changed.scopes, scope)) changed.scopes.push_back(std::move(scope));
    }
  }
  return std::make_shared<const Principal>(std::move(changed));
}

}  // namespace outrigger::identity
