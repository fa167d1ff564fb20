#include "bridge/identity/principal.h"

#include <algorithm>
#include <optional>

namespace outrigger::identity {
namespace {

using base::Result;

constexpr std::size_t kValueBytes = 512;  // longer than any name of a person, tenant or permission

base::Error unfit(std::string_view claim, std::string_view why) {
  return {base::Code::invalid, "claim \"" + std::string(claim) + "\" " + std::string(why)};
}

// What one field value may hold, spaces inside allowed: names of people and tenants have them.
bool is_field_text(std::string_view text) {
  if (text.empty() || text.size() > kValueBytes || text.front() == ' ' || text.back() == ' ') return false;
  return std::all_of(text.begin(), text.end(), [](char c) { return c >= ' ' && c <= '~'; });
}

// RFC 6749 section 3.3.
bool is_scope(std::string_view text) {
  return !text.empty() && text.size() <= kValueBytes &&
         std::all_of(text.begin(), text.end(), [](char c) { return c > ' ' && c <= '~' && c != '"' && c != '\\'; });
}

const Claim* find(const std::vector<Claim>& claims, std::string_view name) {
  const auto found = std::find_if(claims.begin(), claims.end(), [name](const Claim& claim) { return claim.name == name; });
  return found == claims.end() ? nullptr : &*found;
}

// The value of the first of `names` that is there; empty if none is. One that is there without a value is an error, never
// passed over for the next: what was meant to say who somebody is must not come to mean somebody else.
Result<std::string> single(const std::vector<Claim>& claims, const std::vector<std::string>& names) {
  for (const std::string& name : names) {
    const Claim* claim = find(claims, name);
    if (claim == nullptr) continue;
    if (claim->values.empty()) return unfit(name, "has no value");
    if (std::any_of(claim->values.begin(), claim->values.end(),
                    [claim](const std::string& value) { return value != claim->values.front(); })) {
      return unfit(name, "has several values");
    }
    if (!is_field_text(claim->values.front())) return unfit(name, "is empty, too long, or not printable ASCII");
    return claim->values.front();
  }
  return std::string();
}

// Every item of the claim's values, which may be lists separated by spaces themselves. `keeps_spaces`: but not in an array,
// whose items may have spaces inside: who may be "acme corp" may not be "corp".
template <class Valid>
Result<void> append_items(const std::vector<Claim>& claims, const std::string& name, bool keeps_spaces, Valid valid,
                          std::vector<std::string>& items) {
  const Claim* claim = find(claims, name);
  if (claim == nullptr) return {};
  for (const std::string& value : claim->values) {
    for (std::string_view rest = value; !rest.empty();) {
      const std::size_t space = keeps_spaces && claim->is_list ? rest.size() : std::min(rest.find(' '), rest.size());
      const std::string_view item = rest.substr(0, space);
      rest.remove_prefix(std::min(space + 1, rest.size()));
      if (item.empty()) continue;
      if (!valid(item)) return unfit(name, "has an item that is too long or has characters it may not have");
      if (std::find(items.begin(), items.end(), item) == items.end()) items.emplace_back(item);
    }
  }
  return {};
}

}  // namespace

bool Principal::has_scope(std::string_view scope) const {
  return std::find(scopes.begin(), scopes.end(), scope) != scopes.end();
}

const Claim* Principal::find_claim(std::string_view name) const {
  return find(claims, name);
}

Principal anonymous_principal() {
  Principal nobody;
  nobody.actor = "anonymous";
  return nobody;
}

Result<Principal> derive_principal(VerifiedToken token, const ClaimNames& names) {
  Principal principal;
  principal.is_anonymous = false;
  const auto take = [&](std::string& to, const std::vector<std::string>& from) -> Result<void> {
    auto value = single(token.claims, from);
    if (!value) return value.error();
    to = std::move(*value);
    return {};
  };
  for (const auto& [to, from] : {std::pair{&principal.tenant, &names.tenant}, std::pair{&principal.project, &names.project},
                                 std::pair{&principal.actor, &names.actor}}) {
    if (auto taken = take(*to, *from); !taken) return taken.error();
  }
  if (auto taken = take(principal.subject, {"sub"}); !taken) return taken.error();
  // Nobody real is to be taken for nobody in particular.
  if (principal.actor == anonymous_principal().actor) return unfit(names.actor.front(), "is the name of those without a token");
  for (const std::string& name : names.scopes) {
    if (auto taken = append_items(token.claims, name, false, is_scope, principal.scopes); !taken) return taken.error();
  }
  std::size_t bytes = 0;
  for (const std::string& scope : principal.scopes) bytes += scope.size() + 1;
  if (bytes > kScopesBytes) return unfit(names.scopes.front(), "has more than 8 KiB of scopes");
  auto taken = append_items(token.claims, names.allowed_tenants, true, is_field_text, principal.allowed_tenants);
  if (!taken) return taken.error();
  principal.issuer = std::move(token.issuer);
  principal.claims = std::move(token.claims);
  principal.expires_s = token.expires_s;
  return principal;
}

}  // namespace outrigger::identity
