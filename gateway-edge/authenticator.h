// Authenticator: who a request comes from. Reads the token a client sent, has it verified (once, then from a cache),
// and says who that is, or why it is refused. A token whose key is not known yet waits for the next fetch of its
// issuer's keys. One per worker, loop thread; the rules are docs/identity.md.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "bridge/base/clock.h"
#include "bridge/base/header_list.h"
#include "bridge/base/unique_function.h"
#include "bridge/identity/credentials.h"
#include "bridge/identity/header_policy.h"
#include "bridge/identity/jwt.h"
#include "bridge/identity/token_cache.h"
#include "bridge/net/pending.h"
#include "bridge/router/problem.h"

namespace outrigger::gateway {

// Where keys come from.
class KeySource {
 public:
  // Wants the key `key_id` of `issuer`. `done` is called on the caller's loop, later, once a fetch that began after
  // this call ended, or none is to be made; what it brought was given to set_verifier before. `could_look` is false if
  // there is no telling whether the issuer has such a key. Destroying the handle cancels `done`.
  using Done = base::UniqueFunction<void(bool could_look)>;
  virtual net::Pending want_key(const std::string& issuer, const std::string& key_id, Done done) = 0;

 protected:
  ~KeySource() = default;
};

using identity::Credentials;

class Authenticator {
 public:
  struct Options {
    bool verifies = false;  // else nobody's token is looked at: all are anonymous
    bool allow_anonymous = true;
    bool allow_scope_header = false;
    bool enable_tenant_override = false;
    identity::ClaimNames claims;
    std::size_t cached_tokens = identity::kCachedTokens;
  };
  struct Refusal {
    router::ProblemCode code = router::ProblemCode::unauthenticated;
    std::string detail;     // for the client: nothing of the token
    std::string challenge;  // value of WWW-Authenticate (RFC 6750 section 3)
    std::string_view why;   // code for records and counters, of a closed set
  };
  using Who = std::shared_ptr<const identity::Principal>;
  struct MissingKey {
    std::string issuer;
    std::string key_id;
  };
  using Answer = std::variant<Who, Refusal, MissingKey>;
  struct Counters {
    std::uint64_t anonymous = 0;
    std::uint64_t cached = 0;  // found verified
    std::uint64_t verified = 0;
    std::uint64_t awaited = 0;                          // for a fetch of keys
    std::map<std::string_view, std::uint64_t> refused;  // by Refusal::why
  };

  // References outlive the authenticator. `keys` may be nullptr: then keys never come later.
  Authenticator(const base::Clock& clock, const identity::HeaderPolicy& policy, KeySource* keys, Options options);

  // From now on tokens are verified with this; what was verified before is verified again.
  void set_verifier(std::shared_ptr<const identity::TokenVerifier> verifier);

  // REQUIRES fields as they came. Of nobody's token, if none is verified.
  Credentials read(const base::HeaderList& fields) const;

  // May the answer be that a key is missing?
  enum class Missing : std::uint8_t {
    wait,            // MissingKey: await() it and ask again
    does_not_exist,  // the second and last time
    cannot_look,     // likewise
  };
  // `may_be_anonymous`: a request of this kind never needs a token.
  Answer authenticate(const Credentials& credentials, bool may_be_anonymous, Missing missing);
  // As KeySource::want_key.
  net::Pending await(const MissingKey& missing, KeySource::Done done);

  // What is answered to somebody who may not do what he asks for: `needs_token`, or it has one, without what `missing`
  // names. 401 only where tokens are verified.
  Refusal refuse_access(bool needs_token, const std::string& missing);
  // All that Refusal::why can be, for metrics.
  static std::vector<std::string_view> reasons();

  bool verifies() const { return options_.verifies; }
  const Counters& counters() const { return counters_; }

  // `Bearer realm="..."` with what belongs behind it.
  static std::string challenge(std::string_view error = {}, std::string_view description = {},
                               std::string_view scope = {});

 private:
  Answer verify(const Credentials& credentials, Missing missing);
  Answer adapt(const Who& who, const Credentials& credentials);
  Refusal refuse(Refusal refusal);

  const base::Clock& clock_;
  const identity::HeaderPolicy& policy_;
  KeySource* keys_;
  Options options_;
  std::shared_ptr<const identity::TokenVerifier> verifier_;
  identity::TokenCache<const identity::Principal> cache_;
  Who anonymous_;
  Counters counters_;
};

}  // namespace outrigger::gateway
