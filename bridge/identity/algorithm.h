// Algorithm: the signature algorithms a token may be signed with (RFC 7518 section 3, RFC 8037 section 3.1), and sets
// of them. `none` is not one of them and cannot be expressed. Plain values.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>

namespace outrigger::identity {

enum class Algorithm : std::uint8_t {
  rs256,
  rs384,
  rs512,  // RSASSA-PKCS1-v1_5
  ps256,
  ps384,
  ps512,  // RSASSA-PSS
  es256,
  es384,
  es512,  // ECDSA: P-256, P-384 and P-521, each with its own hash only
  eddsa,  // Ed25519
  hs256,
  hs384,
  hs512,  // HMAC: whoever verifies can also sign
};

inline constexpr std::array<std::string_view, 13> kAlgorithmNames = {"RS256", "RS384", "RS512", "PS256", "PS384",
                                                                     "PS512", "ES256", "ES384", "ES512", "EdDSA",
                                                                     "HS256", "HS384", "HS512"};

// As the `alg` of a header has it.
constexpr std::string_view name_of(Algorithm algorithm) {
  return kAlgorithmNames[static_cast<std::size_t>(algorithm)];
}

// Exactly, with its case (RFC 7515 section 4.1.1); nullopt for anything else, `none` among it.
constexpr std::optional<Algorithm> parse_algorithm(std::string_view name) {
  for (std::size_t i = 0; i < kAlgorithmNames.size(); ++i) {
    if (kAlgorithmNames[i] == name) return static_cast<Algorithm>(i);
  }
  return std::nullopt;
}

class AlgorithmSet {
 public:
  constexpr AlgorithmSet() = default;
  constexpr AlgorithmSet(std::initializer_list<Algorithm> algorithms) {
    for (const Algorithm algorithm : algorithms) add(algorithm);
  }
  // All that need no secret on this side: what is allowed where nothing is configured.
  static constexpr AlgorithmSet asymmetric() {
    AlgorithmSet set;
    for (std::size_t i = 0; i < static_cast<std::size_t>(Algorithm::hs256); ++i) set.add(static_cast<Algorithm>(i));
    return set;
  }
  static constexpr AlgorithmSet symmetric() { return {Algorithm::hs256, Algorithm::hs384, Algorithm::hs512}; }

  constexpr void add(Algorithm algorithm) { bits_ = static_cast<std::uint16_t>(bits_ | bit(algorithm)); }
  constexpr bool contains(Algorithm algorithm) const { return (bits_ & bit(algorithm)) != 0; }
  constexpr bool contains(AlgorithmSet all) const { return (bits_ & all.bits_) == all.bits_; }
  constexpr bool empty() const { return bits_ == 0; }
  friend constexpr bool operator==(AlgorithmSet, AlgorithmSet) = default;

  // For people: "RS256, ES256".
  std::string names() const {
    std::string names;
    for (std::size_t i = 0; i < kAlgorithmNames.size(); ++i) {
      if (!contains(static_cast<Algorithm>(i))) continue;
      if (!names.empty()) names += ", ";
      names += kAlgorithmNames[i];
    }
    return names;
  }

 private:
  static constexpr std::uint16_t bit(Algorithm algorithm) {
    return static_cast<std::uint16_t>(1U << static_cast<unsigned>(algorithm));
  }
  std::uint16_t bits_ = 0;
};

}  // namespace outrigger::identity
