// The signed identity envelope: six header fields in which the gateway tells a service who the caller is, for this one
// request, under a key that both know. docs/identity.md has it byte by byte, with an example that tests hold against this.
#pragma once

#include <array>
#include <chrono>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "bridge/base/clock.h"
#include "bridge/base/header_list.h"
#include "bridge/base/result.h"
#include "bridge/identity/principal.h"

typedef struct evp_mac_ctx_st EVP_MAC_CTX;  // OpenSSL's

namespace outrigger::identity {

// Most that a verifier may allow clocks to differ. A captured envelope works for its lifetime and once this after it, at
// most.
inline constexpr std::chrono::seconds kEnvelopeSkew{300};
// RFC 7518 section 3.2: a key for HS256 has at least as many bits as the hash.
inline constexpr std::size_t kEnvelopeSecretBytes = 32;
// Above it, somebody named the wrong file.
inline constexpr std::size_t kEnvelopeSecretBytesMost = 1024;
// One signs; one or two more are on their way in or out.
inline constexpr std::size_t kEnvelopeKeys = 8;

struct EnvelopeKey {
  std::string id;      // field -Kid: 1 to 64 of letters, digits, '.', '_', '-'
  std::string secret;  // these bytes, not decoded: 32 to 1024
};

struct EnvelopeOptions {
  std::vector<EnvelopeKey> keys;     // the first one signs; the others are only accepted by verify(), while keys change
  std::string issuer = "outrigger";  // member `iss`, for logs: which gateway; 1 to 256 visible ASCII characters
  // 1 s to 1 h. Twice the usual RequestTimeout: who gets a request in time gets it with a valid envelope even if clocks are
  // a little apart; and short, since whoever captures one can use it for as long.
  std::chrono::seconds lifetime{60};
  std::string prefix = "X-StellaOps-Identity-Envelope";  // names of the fields; the header policy must reserve it
};

// What an envelope is good for: this request and no other.
struct EnvelopeFacts {
  std::string_view service;     // `aud`: the name of the service, never empty
  std::string_view method;      // `method`
  std::string_view host;        // `host`: the Host the service is shown
  std::string_view target;      // path and query as the service gets them, byte for byte; `target_sha256`
  std::string_view request_id;  // `rid`: X-Request-Id
  base::Duration timeout{};     // for how long the request may be on its way: an envelope lives at least that long
};

// Immutable; any thread, all at once. Movable.
class EnvelopeSigner {
 public:
  // Error `invalid`, saying which key or setting is wrong and why, never a secret: no key, more than kEnvelopeKeys, two of
  // one id, or a value outside of what is said above.
  static base::Result<EnvelopeSigner> make(EnvelopeOptions options);

  // Appends the six fields to `headers`: after what a client sent in their names was removed. About 2 us.
  void sign(const Principal& principal, const EnvelopeFacts& facts, base::WallMillis now, base::HeaderList& headers) const;

  // For tools and tests: the envelope's JSON text, if the six fields are there once each, a key of ours made the
  // signature and `now` is within the times, `skew` (0 s to kEnvelopeSkew) more or less. Whether the envelope is meant
  // for the request it came with is for the caller to compare. Error `unauthenticated`: what was wrong, for operators.
  base::Result<std::string> verify(const base::HeaderList& headers, base::WallMillis now,
                                   std::chrono::seconds skew = kEnvelopeSkew) const;

 private:
  struct MacDeleter {
    void operator()(EVP_MAC_CTX* context) const;
  };
  struct Key {
    std::string id;
    std::unique_ptr<EVP_MAC_CTX, MacDeleter> mac;  // has taken the secret; copied for each signature
  };
  EnvelopeSigner() = default;

  std::vector<Key> keys_;
  std::string issuer_;
  std::chrono::seconds lifetime_{};
  std::array<std::string, 6> names_;  // in the order of kSuffixes
};

}  // namespace outrigger::identity
