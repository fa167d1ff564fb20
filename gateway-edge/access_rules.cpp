#include "gateway-edge/access_rules.h"

#include <algorithm>
#include <set>
#include <tuple>
#include <utility>

#include "bridge/base/check.h"
#include "bridge/router/mount.h"

namespace outrigger::gateway {

using base::Code;
using base::Error;
using base::Result;
using openapi::Claim;
using openapi::Endpoint;
using openapi::ServiceMetadata;

namespace {

bool is_of_method(const AccessRule& rule, std::string_view method) {
  return rule.method.empty() || rule.method == method || (rule.method == "GET" && method == "HEAD");
}

std::string or_any(const std::string& text) {
  return text.empty() ? "*" : text;
}

bool is_demanding(const Endpoint& endpoint, bool reads_security) {
  return !endpoint.claims.empty() || (reads_security && endpoint.security && !endpoint.security->empty());
}

bool is_impossible(const AccessDemand& demand) {
  const auto is_nobodys = [](const openapi::SecurityAlternative& alternative) {
    return std::find(alternative.scopes.begin(), alternative.scopes.end(), "") != alternative.scopes.end();
  };
  return std::any_of(demand.claims.begin(), demand.claims.end(),
                     [](const Claim& claim) { return claim.name.empty(); }) ||
         (!demand.one_of.empty() && std::all_of(demand.one_of.begin(), demand.one_of.end(), is_nobodys));
}

bool is_scope_claim(const Claim& claim) {
  return claim.value && (claim.name == "scope" || claim.name == "scp");
}

bool has_claim(const identity::Principal& principal, const Claim& wanted) {
  if (is_scope_claim(wanted)) return principal.has_scope(*wanted.value);
  const identity::Claim* found = principal.find_claim(wanted.name);
  if (found == nullptr) return false;
  return !wanted.value || std::find(found->values.begin(), found->values.end(), *wanted.value) != found->values.end();
}

// nullptr if one alternative is satisfied, else the first scope that is missing of the one of which the fewest are.
const std::string* missing_scope(const openapi::Security& one_of, const identity::Principal& principal) {
  const std::string* missing = nullptr;
  std::ptrdiff_t fewest = 0;
  for (const openapi::SecurityAlternative& alternative : one_of) {
    const auto is_missing = [&principal](const std::string& scope) { return !principal.has_scope(scope); };
    const auto& scopes = alternative.scopes;
    const auto first = std::find_if(scopes.begin(), scopes.end(), is_missing);
    if (first == scopes.end()) return nullptr;
    const auto count = std::count_if(first, scopes.end(), is_missing);
    if (missing != nullptr && !missing->empty() && (count >= fewest || first->empty())) continue;
    fewest = count;
    missing = &*first;
  }
  return missing;
}

bool are_claims_less(const std::vector<Claim>& a, const std::vector<Claim>& b) {
  return std::lexicographical_compare(a.begin(), a.end(), b.begin(), b.end(), [](const Claim& one, const Claim& other) {
    return std::tie(one.name, one.value) < std::tie(other.name, other.value);
  });
}

// Of several overrides the greatest counts.
auto specificity(const AccessRule& rule, const PathPattern& pattern, std::size_t place) {
  const bool is_exact = !pattern.is_prefix && !pattern.is_any;
  std::size_t bytes = 0;
  if (pattern.is_prefix && !pattern.is_any) {
    for (const std::string& segment : pattern.segments) bytes += 1 + segment.size();
  }
  return std::tuple(!rule.method.empty(), is_exact, bytes, !rule.service.empty(), place);
}

// Of what nobody has it says so at once: no token would help.
Requirement finish(Requirement requirement) {
  if (requirement.denied.empty() &&
      std::any_of(requirement.demands.begin(), requirement.demands.end(), is_impossible)) {
    requirement.denied = "what the document demands cannot be read; the log of its sidecar says where";
  }
  return requirement;
}

std::string joined(const Segments& segments) {
  std::string text;
  for (const std::string& segment : segments) text.append("/").append(segment);
  return text;
}

constexpr const char* kNothingSaid =
    "neither the document nor a rule says anything of it, and what is not allowed is denied";
constexpr const char* kUnlisted =
    "the document does not list it, and others of the service's paths have demands; a rule of mode override may allow "
    "it";

}  // namespace

Result<void> check_access_rule(const AccessRule& rule) {
  const auto invalid = [](std::string why) -> Result<void> { return Error{Code::invalid, std::move(why)}; };
  if (rule.method.find_first_not_of("ABCDEFGHIJKLMNOPQRSTUVWXYZ") != std::string::npos) {
    return invalid("method: '" + rule.method + "' is no method in capitals");
  }
  if (rule.method == "HEAD") return invalid("method: HEAD passes where GET does; name GET");
  const std::string_view path = rule.path;
  if (!path.empty()) {
    if (path.front() != '/') return invalid("path: '" + rule.path + "' does not begin with /");
    if (path.size() > kAccessPathBytes)
      return invalid("path: longer than " + std::to_string(kAccessPathBytes) + " bytes");
    if (path.find_first_of("*?#;\\ ") < path.size() - (path.back() == '*' ? 1 : 0)) {
      return invalid("path: '" + rule.path + "' is no path of a document; a '*' may stand at its end alone");
    }
    if (path.find("//") != std::string_view::npos) return invalid("path: '" + rule.path + "' has an empty segment");
    for (const std::string& segment : template_segments(path)) {
      if (segment == "." || segment == "..") return invalid("path: '" + rule.path + "' has a dot segment");
      if (segment.find("%7B") != std::string::npos || segment.find("%7D") != std::string::npos) {
        return invalid("path: '" + rule.path + "' has a brace without its partner");
      }
    }
    if (path.back() == '*' && path.find('{', path.rfind('/')) != std::string_view::npos) {
      return invalid("path: '" + rule.path + "': no parameter in the same segment as '*'");
    }
  }
  if (rule.allow_anonymous && rule.mode == AccessRule::Mode::add) {
    return invalid("allow_anonymous: what others demand cannot be taken away by adding; set mode: override");
  }
  if (rule.allow_anonymous && !(rule.scopes.empty() && rule.claims.empty())) {
    return invalid("allow_anonymous: contradicts scopes and claims");
  }
  if (rule.scopes.size() > kAccessScopes || rule.claims.size() > kAccessScopes) {
    return invalid("scopes, claims: more than " + std::to_string(kAccessScopes));
  }
  for (const std::string& scope : rule.scopes) {
    if (scope.empty() || scope.find_first_of(" \"\\\t") != std::string::npos) {
      return invalid("scopes: '" + scope + "' is none; list each by itself");
    }
  }
  for (const Claim& claim : rule.claims) {
    if (claim.name.empty()) return invalid("claims: one has no name");
  }
  return {};
}

bool Requirement::needs_token() const {
  return std::any_of(demands.begin(), demands.end(), [](const AccessDemand& demand) { return demand.needs_token; });
}

AccessDecision check_access(const Requirement& requirement, const identity::Principal& principal) {
  using Kind = AccessDecision::Kind;
  if (!requirement.denied.empty()) return {Kind::forbidden, {}};
  if (principal.is_anonymous) return {requirement.needs_token() ? Kind::unauthenticated : Kind::allowed, {}};
  for (const AccessDemand& demand : requirement.demands) {
    const std::string* missing = missing_scope(demand.one_of, principal);
    for (const std::string& scope : demand.scopes) {
      if (missing == nullptr && !principal.has_scope(scope)) missing = &scope;
    }
    if (missing != nullptr) return {Kind::forbidden, missing->empty() ? std::string() : "scope " + *missing};
    for (const Claim& claim : demand.claims) {
      if (has_claim(principal, claim)) continue;
      return {Kind::forbidden, is_scope_claim(claim) ? "scope " + *claim.value : "claim " + claim.name};
    }
  }
  return {};
}

AccessRules::AccessRules(std::vector<AccessRule> rules, bool deny_by_default, bool reads_security)
    : deny_by_default_(deny_by_default), reads_security_(reads_security) {
  CHECK(rules.size() <= kAccessRules);
  for (AccessRule& rule : rules) {
    CHECK(check_access_rule(rule));
    if (rule.service == "*") rule.service.clear();
    const bool is_add = rule.mode == AccessRule::Mode::add;
    Compiled compiled;
    compiled.pattern = parse_pattern(rule.path);
    if (is_add) to_lower(compiled.pattern.segments);
    compiled.demand = {std::string("rule: ") + (is_add ? "add " : "override ") + or_any(rule.service) + ' ' +
                           or_any(rule.method) + ' ' + or_any(rule.path),
                       !rule.allow_anonymous,
                       {},
                       rule.scopes,
                       rule.claims};
    compiled.place = rules_.size();
    compiled.rule = std::move(rule);
    rules_.push_back(std::move(compiled));
  }
  std::stable_sort(rules_.begin(), rules_.end(), [](const Compiled& a, const Compiled& b) {
    const int order = a.demand.source.compare(b.demand.source);
    if (order != 0) return order < 0;
    if (a.rule.scopes != b.rule.scopes) return a.rule.scopes < b.rule.scopes;
    return are_claims_less(a.rule.claims, b.rule.claims);
  });
}

Requirement AccessRules::effective(const ServiceMetadata& service, const Endpoint* endpoint, std::string_view method,
                                   std::string_view path) const {
  const Selection selection = select(service);
  const bool is_listed = endpoint != nullptr && !endpoint->undocumented;
  return is_listed ? listed(selection, *endpoint) : unlisted(selection, method, path);
}

AccessRules::Selection AccessRules::select(const ServiceMetadata& service) const {
  Selection selection;
  for (const Compiled& compiled : rules_) {
    if (!compiled.rule.service.empty() && compiled.rule.service != service.service) continue;
    selection.items.push_back({&compiled, false});
    selection.is_by_path_or_method =
        selection.is_by_path_or_method || !compiled.pattern.is_any || !compiled.rule.method.empty();
  }
  for (const Endpoint& endpoint : service.endpoints) {
    if (!endpoint.undocumented && is_demanding(endpoint, reads_security_)) selection.document_demands = true;
  }
  if (!selection.is_by_path_or_method) return selection;

  std::set<std::string> templates;
  std::vector<std::pair<const Endpoint*, Segments>> listed;
  for (const Endpoint& endpoint : service.endpoints) {
    if (endpoint.undocumented) continue;
    listed.emplace_back(&endpoint, template_segments(endpoint.path));
    templates.insert(joined(listed.back().second));
    to_lower(listed.back().second);
  }
  for (Selection::Item& item : selection.items) {
    const Compiled& compiled = *item.compiled;
    if (compiled.pattern.is_any) continue;
    item.is_listed = !compiled.pattern.is_prefix && templates.contains(joined(template_segments(compiled.rule.path)));
    // A rule for any service makes demands of those that have such a path.
    PathPattern pattern = compiled.pattern;
    to_lower(pattern.segments);
    const auto is_met = [&compiled, &pattern](const auto& one) {
      return is_of_method(compiled.rule, one.first->method) && touches(pattern, one.second);
    };
    selection.rules_demand = selection.rules_demand ||
                             (compiled.demand.needs_token &&
                              (!compiled.rule.service.empty() || std::any_of(listed.begin(), listed.end(), is_met)));
  }
  return selection;
}

Requirement AccessRules::listed(const Selection& selection, const Endpoint& endpoint) const {
  Segments exact = template_segments(endpoint.path);
  Segments folded = exact;
  to_lower(folded);
  const Compiled* replacement = nullptr;
  std::vector<const Compiled*> added;
  for (const Selection::Item& item : selection.items) {
    const Compiled& compiled = *item.compiled;
    if (!is_of_method(compiled.rule, endpoint.method)) continue;
    const PathPattern& pattern = compiled.pattern;
    if (compiled.rule.mode == AccessRule::Mode::add) {
      if (item.is_listed ? pattern.segments == folded : touches(pattern, folded)) added.push_back(&compiled);
    } else if (pattern.is_any || pattern.is_prefix ? covers(pattern, exact) : pattern.segments == exact) {
      const auto order = [](const Compiled& one) { return specificity(one.rule, one.pattern, one.place); };
      if (replacement == nullptr || order(*replacement) < order(compiled)) replacement = &compiled;
    }
  }
  Requirement requirement;
  if (replacement != nullptr) {
    requirement.demands.push_back(replacement->demand);
  } else {
    if (endpoint.security && !reads_security_) {
      requirement.demands.push_back({"document: security, left to the service", false, {}, {}, {}});
    } else if (endpoint.security) {
      requirement.demands.push_back({"document: security", !endpoint.security->empty(), *endpoint.security, {}, {}});
    }
    if (!endpoint.claims.empty()) {
      requirement.demands.push_back({"document: x-router-claims", true, {}, {}, endpoint.claims});
    }
  }
  for (const Compiled* one : added) requirement.demands.push_back(one->demand);
  if (requirement.demands.empty() && deny_by_default_) requirement.denied = kNothingSaid;
  return finish(std::move(requirement));
}

Requirement AccessRules::unlisted(const Selection& selection, std::string_view method, std::string_view path) const {
  const std::string canonical = router::canonical_path(path);
  const Segments exact = path_segments(canonical);
  Segments folded = exact;
  to_lower(folded);
  const bool is_readable = is_plain(canonical);
  const bool is_options = method == "OPTIONS";
  const Compiled* replacement = nullptr;
  std::vector<const Compiled*> added;
  bool speaks = false;
  for (const Selection::Item& item : selection.items) {
    const Compiled& compiled = *item.compiled;
    if (is_options ? compiled.rule.method != method : !is_of_method(compiled.rule, method)) continue;
    const PathPattern& pattern = compiled.pattern;
    if (compiled.rule.mode == AccessRule::Mode::add) {
      if (is_readable && !touches(pattern, folded)) continue;
      added.push_back(&compiled);
      speaks = speaks || (is_readable && !pattern.is_any);
    } else if (pattern.is_any || (is_readable && covers(pattern, exact))) {
      const auto order = [](const Compiled& one) { return specificity(one.rule, one.pattern, one.place); };
      if (replacement == nullptr || order(*replacement) < order(compiled)) replacement = &compiled;
    }
  }
  Requirement requirement;
  if (replacement != nullptr) requirement.demands.push_back(replacement->demand);
  for (const Compiled* one : added) requirement.demands.push_back(one->demand);
  if (is_options || replacement != nullptr) return finish(std::move(requirement));
  if (selection.document_demands || (selection.rules_demand && !speaks)) {
    requirement.denied = kUnlisted;
  } else if (requirement.demands.empty() && deny_by_default_) {
    requirement.denied = kNothingSaid;
  }
  return finish(std::move(requirement));
}

}  // namespace outrigger::gateway
