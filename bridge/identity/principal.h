// Principal: who a request comes from, as far as the gateway knows: the claims of a verified token, or nobody in
// particular. Plain values; immutable once made, so that any thread may read one.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "bridge/base/result.h"

namespace outrigger::identity {

// A top-level claim (RFC 7519 section 4). A text is one value; so is a number or a boolean, as JSON writes it; an array has
// one value per item of these kinds. Objects, null and nested arrays have no value, only a name.
struct Claim {
  std::string name;
  std::vector<std::string> values;
  bool is_list = false;  // an array, of however many values
  friend bool operator==(const Claim&, const Claim&) = default;
};

// What a token says once its signature, issuer, audience and times were found right.
struct VerifiedToken {
  std::string issuer;         // as configured, which is what `iss` said
  std::string key_id;         // of the key that verified it; may be empty
  std::string algorithm;      // RS256
  std::int64_t expires_s = 0;  // `exp`, seconds since 1970
  std::vector<Claim> claims;  // in the order of the token, all of them
};

// Which claims say what: a set of names, each with the documented default.
struct ClaimNames {
  std::vector<std::string> tenant = {"stellaops:tenant", "tid"};  // the first that is there
  std::vector<std::string> project = {"stellaops:project"};
  std::vector<std::string> actor = {"sub", "client_id"};
  std::vector<std::string> scopes = {"scp", "scope"};  // all of them together
  std::string allowed_tenants = "stellaops:allowed_tenants";
};

struct Principal {
  bool is_anonymous = true;
  std::string issuer;
  std::string subject;  // `sub`
  std::string actor;    // "anonymous" for nobody in particular
  std::string tenant;
  std::string project;
  std::vector<std::string> scopes;           // no duplicates, in the order of the token
  std::vector<std::string> allowed_tenants;  // that an override may choose
  std::vector<Claim> claims;
  std::int64_t expires_s = 0;

  bool has_scope(std::string_view scope) const;
  // nullptr: it has none of this name.
  const Claim* find_claim(std::string_view name) const;
};

Principal anonymous_principal();
inline constexpr std::size_t kScopesBytes = 8 * 1024;  // all of them: makes no header block too large for a service
// What of a token becomes part of header fields must be fit for it: printable ASCII of at most 512 bytes, for scopes the
// characters of RFC 6749 section 3.3. Error `invalid`, naming the claim but no value: something is not, or is empty, has
// several values where one is meant, or is more than kScopesBytes of scopes; or the actor is called as those without a token
// are.
base::Result<Principal> derive_principal(VerifiedToken token, const ClaimNames& names);

}  // namespace outrigger::identity
