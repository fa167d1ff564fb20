// KeySet: the keys that an issuer's tokens are verified with, from a JWK Set (RFC 7517) or a shared secret. Immutable
// once made and without counts inside: any number of threads may verify with one at once, each holding a
// shared_ptr<const KeySet>. A new set replaces it whole.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "bridge/base/result.h"
#include "bridge/identity/algorithm.h"

namespace outrigger::identity {

inline constexpr std::size_t kKeySetBytes = 1024 * 1024;  // a JWK Set; with certificate chains a key takes about 8 KiB
inline constexpr std::size_t kKeys = 256;                 // real issuers have 2 to 10
inline constexpr std::size_t kKeyIdBytes = 256;           // longer ones are nobody's
inline constexpr int kLeastRsaBits = 2048;                // RFC 7518 section 3.3
inline constexpr int kMostRsaBits = 8192;                 // the time of a verification grows with the square

// A token in compact serialization whose signature is to be checked.
struct SignedText {
  std::string_view token;      // all three parts, already found well-formed
  std::string_view signature;  // the third, decoded
};

class Key {
 public:
  virtual ~Key() = default;
  Key(const Key&) = delete;
  Key& operator=(const Key&) = delete;

  const std::string& id() const { return id_; }  // `kid`; may be empty
  // Fixed when the key was made: the `alg` it came with, else what its type is fit for.
  AlgorithmSet algorithms() const { return algorithms_; }
  // REQUIRES algorithms().contains(algorithm), and a header whose `alg` is `algorithm`.
  bool verifies(Algorithm algorithm, const SignedText& text) const;

 protected:
  Key(std::string id, AlgorithmSet algorithms) : id_(std::move(id)), algorithms_(algorithms) {}

 private:
  virtual bool check(Algorithm algorithm, const SignedText& text) const = 0;

  std::string id_;
  AlgorithmSet algorithms_;
};

class KeySet {
 public:
  // Public keys from a JWK Set. A key that is no good for verifying here is passed over, and `remarks` gets a line
  // about it, fit for logs (which key, why, never what it consists of): `use` other than sig, `key_ops` without verify,
  // an unknown kty, curve or alg, an alg that is not its type's, RSA of too few or too many bits, a point that is not
  // on its curve, private or symmetric (`oct`) material. Keys of one `kid` are all kept, and tried in turn. `x5c`,
  // `x5u` and their likes are ignored. Error `malformed` (no JWK Set), `too_large` (kKeySetBytes, kKeys) or `invalid`
  // (no key remained); `remarks` is valid then, too.
  static base::Result<KeySet> parse(std::string_view json, std::vector<std::string>& remarks);
  // One key without an id, for `algorithms` out of AlgorithmSet::symmetric(). Error `invalid`: another algorithm or
  // none is named, or `secret` is shorter than the longest hash of them (RFC 7518 section 3.2).
  static base::Result<KeySet> shared_secret(std::string_view secret, AlgorithmSet algorithms);

  const std::vector<std::unique_ptr<const Key>>& keys() const { return keys_; }
  bool has_key_id(std::string_view id) const;

 private:
  std::vector<std::unique_ptr<const Key>> keys_;  // never empty
};

}  // namespace outrigger::identity
