// What an endpoint demands of its callers, and whether a principal has it: what the service's document says
// (`security`, `x-router-claims`), changed by the rules of the gateway's configuration. Plain values, immutable once
// made; any thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "bridge/base/result.h"
#include "bridge/identity/principal.h"
#include "bridge/openapi/endpoints.h"
#include "gateway-edge/path_pattern.h"

namespace outrigger::gateway {

inline constexpr std::size_t kAccessRules = 256;       // each is compared with each endpoint: of 20,000, about a second
inline constexpr std::size_t kAccessPathBytes = 2048;  // of a rule's path
inline constexpr std::size_t kAccessScopes = 64;       // per rule, and as many claims

struct AccessRule {
  enum class Mode : std::uint8_t {
    add,       // demanded besides what else is
    override,  // in place of what the document says; of several the most specific
  };
  std::string service;  // empty or `*`: any
  std::string method;   // in capitals; empty: any. GET is HEAD, too
  // As the service's own document has them: a template, `/orders/{id}` (names of parameters do not matter), or the
  // beginning of paths, `/orders/*` or `/orders*`. Empty: any path.
  std::string path;
  Mode mode = Mode::add;
  bool allow_anonymous = false;        // no token is needed; with `override` alone, and without scopes and claims
  std::vector<std::string> scopes;     // all of them
  std::vector<openapi::Claim> claims;  // all of them. Without both: a verified token, whatever is in it
  friend bool operator==(const AccessRule&, const AccessRule&) = default;
};

// Error `invalid`, for people, naming the member: the rule cannot be meant as it stands.
base::Result<void> check_access_rule(const AccessRule& rule);

// What one source says of an endpoint.
struct AccessDemand {
  std::string source;        // `document: security`, `rule: override orders GET /orders/*`; for people
  bool needs_token = false;  // else it demands nothing
  openapi::Security one_of;  // empty: none of these
  std::vector<std::string> scopes;
  std::vector<openapi::Claim> claims;
  friend bool operator==(const AccessDemand&, const AccessDemand&) = default;
};

// All demands must be satisfied. Does not depend on the order of the rules, except among overrides of equal selectors.
struct Requirement {
  std::string denied;  // why nobody is let in, whatever he has; empty: see the demands. For operators
  std::vector<AccessDemand> demands;
  bool needs_token() const;
  friend bool operator==(const Requirement&, const Requirement&) = default;
};

struct AccessDecision {
  enum class Kind : std::uint8_t {
    allowed,
    unauthenticated,  // 401: there is no verified token, and one may help
    forbidden,        // 403: this token, or any, does not
  };
  Kind kind = Kind::allowed;
  // With forbidden, what is missing, to be told: `scope orders:write`, `claim tenant`. Never a value of a claim,
  // neither one that is had nor one that is wanted. Empty if no token would help. From documents: escape it.
  std::string missing;
};

// A claim `scope` or `scp` with a value is one of the principal's scopes; every other claim must be there, and, if it
// is demanded with a value, have that value.
AccessDecision check_access(const Requirement& requirement, const identity::Principal& principal);

class AccessRules {
 public:
  // REQUIRES at most kAccessRules rules that pass check_access_rule. `deny_by_default`: nobody is let in where neither
  // document nor rule says anything. Without `reads_security` a document's `security` is left to the service itself, since
  // nobody verifies tokens here; `x-router-claims` are meant for us and stay.
  explicit AccessRules(std::vector<AccessRule> rules = {}, bool deny_by_default = false, bool reads_security = true);

  bool is_deny_by_default() const { return deny_by_default_; }

  // What a request with `method` must have. `endpoint`: the one of `service` it goes to, and then `path` is not looked
  // at; or nullptr for a path that the document does not list (an undocumented endpoint is the same), and then `path`
  // is what the service will see, as it is spelled, without query.
  //
  // Listed: the document's `security` and `x-router-claims`, or instead of them the most specific override that covers
  // the template (first those with a method, then exact templates, then the longest beginning, then those with a
  // service; of equals the later); and every added rule that holds for some path of the template. A template that the
  // document lists is meant by a rule for that one alone, whatever else it may stand for.
  //
  // Unlisted: only rules can say something of it. Where the document or a rule for a path makes demands, nobody is let
  // in unless a rule speaks of the path: frameworks that fold `/orders/1/`, `//orders/1` or `/Orders/1` would else
  // serve them without what `/orders/{id}` demands. Beside demands of the document only an override speaks, else an
  // added rule for the path, too. For the same reason overrides for a path cover none that may be read as another one
  // (see is_plain), all added rules hold for such a path, and added rules are compared ignoring case and a slash at the
  // end. OPTIONS that neither the document lists nor a rule names demands nothing: CORS preflights carry no token.
  Requirement effective(const openapi::ServiceMetadata& service, const openapi::Endpoint* endpoint,
                        std::string_view method, std::string_view path) const;

 private:
  friend class AccessTable;
  struct Compiled {
    AccessRule rule;
    PathPattern pattern;  // of added rules in lower case
    AccessDemand demand;
    std::size_t place = 0;  // in the configuration
  };
  // The rules that may concern one service, and what follows from them and its document for every unlisted path.
  struct Selection {
    struct Item {
      const Compiled* compiled;
      bool is_listed;  // its template is one of the document's
    };
    std::vector<Item> items;
    bool document_demands = false;
    bool rules_demand = false;          // for some path
    bool is_by_path_or_method = false;  // what holds for an unlisted request depends on it
  };

  Selection select(const openapi::ServiceMetadata& service) const;
  Requirement listed(const Selection& selection, const openapi::Endpoint& endpoint) const;
  Requirement unlisted(const Selection& selection, std::string_view method, std::string_view path) const;

  std::vector<Compiled> rules_;  // by what they say
  bool deny_by_default_ = false;
  bool reads_security_ = true;
};

}  // namespace outrigger::gateway
