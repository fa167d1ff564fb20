// Tokens and JWK Sets. Input: a byte of options, the lower two bits of which say what follows: 0 a token for known
// keys; 1 a line of header and then a payload, which are signed here, so that what comes after the signature is
// reached, too; 2 a JWK Set; 3 a JWK Set and, behind a record separator (0x1e), a token. The next two bits choose the
// time. What is accepted is one of the tokens that were really signed, is spelled in the one way there is, and says
// what it must; what is refused is refused in few and printable words.
#include <openssl/err.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "bridge/base/check.h"
#include "bridge/identity/base64url.h"
#include "bridge/identity/jwt.h"
#include "bridge/identity/principal.h"
#include "tests/fuzz/fuzz_input.h"
#include "tests/support/token_maker.h"

namespace {

using namespace outrigger::identity;
using outrigger::base::WallMillis;
using outrigger::fuzz::Input;
using outrigger::tests::TokenMaker;

// RFC 7515, appendix A.2 and A.3: public keys, and what was signed with them.
constexpr std::string_view kKnownKeys =
    R"({"keys":[{"kty":"RSA","kid":"rsa","n":"ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrc)"
    R"(S2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBY)"
    R"(UsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8)"
    R"(q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ","e":"AQAB"},{"kty":"EC","crv":"P-256","kid":"ec","x":"f83OJ3D2xF1Bg8vub9tL)"
    R"(e1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"},{"kty":"OKP","crv":"Ed25519",)"
    R"("kid":"ed","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]})";
#define OUTRIGGER_JOE "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ"
constexpr std::array<std::string_view, 2> kSigned = {
    "eyJhbGciOiJSUzI1NiJ9." OUTRIGGER_JOE
    ".cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_"
    "O8W2Fp5jujGbds9uJdbF9CUAr7t1dn"
    "ZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--"
    "xi12jzDwusC-eO"
    "kHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw",
    "eyJhbGciOiJFUzI1NiJ9." OUTRIGGER_JOE
    ".DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q"};
constexpr std::int64_t kExpires = 1300819380;
constexpr std::chrono::seconds kSkew{30};

const TokenMaker& secret() {
  static const TokenMaker maker = TokenMaker::secret(std::string(32, 's'));
  return maker;
}

WallMillis time_of(std::uint8_t options) {
  constexpr std::array<std::int64_t, 4> seconds = {kExpires - 300, kExpires + kSkew.count() - 1,
                                                   kExpires + kSkew.count(), 0};
  return std::chrono::seconds(seconds[options >> 2 & 3]);
}

void check_printable(std::string_view text) {
  CHECK(text.size() <= 400);
  for (const char c : text) CHECK(c >= ' ' && c <= '~');
}

// r and s, or r and the order less s: the same equation holds, and who has one signature can make the other (no more).
bool is_known_ecdsa_token(std::string_view token) {
  return token.substr(0, token.rfind('.')) == kSigned[1].substr(0, kSigned[1].rfind('.'));
}

void check_verdict(const Verdict& verdict, std::string_view token) {
  CHECK(verdict.accepted() == verdict.token.has_value() && verdict.accepted() == verdict.detail.empty());
  CHECK(!name_of(verdict.problem).empty() && verdict.key_id.size() <= kKeyIdBytes);
  check_printable(verdict.detail);
  CHECK(ERR_peek_error() == 0);
  const TokenText said = read_unverified(token);
  if (!verdict.accepted()) return;

  CHECK(said.claims == verdict.token->claims);
  CHECK(token.size() <= kTokenBytes);
  Input parts(reinterpret_cast<const std::uint8_t*>(token.data()), token.size());
  std::string again;
  for (int i = 0; i < 3; ++i) {
    const auto bytes = decode_base64url(parts.until('.'));
    CHECK(bytes);
    again += (i == 0 ? "" : ".") + encode_base64url(*bytes);
  }
  CHECK(again == token);
  const std::vector<Claim>& claims = verdict.token->claims;
  std::vector<std::string> names;
  for (const Claim& claim : claims) names.push_back(claim.name);
  std::sort(names.begin(), names.end());
  CHECK(std::adjacent_find(names.begin(), names.end()) == names.end());
  const auto principal = derive_principal(*verdict.token, ClaimNames{});
  if (!principal) check_printable(principal.error().detail);
}

Verdict check_token(std::string_view token, const TokenVerifier& verifier, WallMillis now) {
  const Verdict verdict = verifier.verify(token, now);
  check_verdict(verdict, token);
  CHECK(verdict.issuer.empty() || verdict.issuer == verifier.issuers().front().rules.issuer);
  if (verdict.accepted()) {
    const VerifiedToken& verified = *verdict.token;
    CHECK(verified.issuer == "joe" && verdict.issuer == "joe");
    CHECK(verified.expires_s >= 0 && now - kSkew < std::chrono::seconds(verified.expires_s + 1));
    CHECK(verify_signature(token, *verifier.issuers().front().keys).accepted());
  }
  return verdict;
}

std::shared_ptr<const KeySet> parse_keys(std::string_view json) {
  std::vector<std::string> remarks;
  auto keys = KeySet::parse(json, remarks);
  CHECK(ERR_peek_error() == 0 && remarks.size() <= kKeys);
  for (const std::string& remark : remarks) check_printable(remark);
  if (!keys) {
    check_printable(keys.error().detail);
    return nullptr;
  }
  CHECK(!keys->keys().empty() && keys->keys().size() + remarks.size() <= kKeys);
  for (const auto& key : keys->keys()) {
    CHECK(!key->algorithms().empty() && AlgorithmSet::asymmetric().contains(key->algorithms()));
    CHECK(keys->has_key_id(key->id()));
  }
  return std::make_shared<const KeySet>(std::move(*keys));
}

TokenVerifier verifier_of(std::shared_ptr<const KeySet> keys, AlgorithmSet algorithms = AlgorithmSet::asymmetric()) {
  return TokenVerifier({{{"joe", {}, algorithms, kSkew}, std::move(keys)}});
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const TokenVerifier known = verifier_of(parse_keys(kKnownKeys));
  static const TokenVerifier shared = verifier_of(
      std::make_shared<const KeySet>(std::move(*KeySet::shared_secret(std::string(32, 's'), {Algorithm::hs256}))),
      {Algorithm::hs256});
  Input input(data, size);
  const std::uint8_t options = input.byte();
  const WallMillis now = time_of(options);
  switch (options & 3) {
    case 0: {
      const std::string_view token = input.rest();
      const Verdict verdict = check_token(token, known, now);
      // Nobody can sign here: what is accepted is what was signed.
      if (verdict.accepted()) CHECK(token == kSigned[0] || is_known_ecdsa_token(token));
      const bool is_valid = now < std::chrono::seconds(kExpires) + kSkew;
      if (token == kSigned[0] || token == kSigned[1]) CHECK(verdict.accepted() == is_valid);
      CHECK(!shared.verify(token, now).accepted());
      break;
    }
    case 1: {
      const std::string_view header = input.line();
      const std::string token = secret().sign(header, input.rest());
      const Verdict verdict = check_token(token, shared, now);
      if (header == R"({"alg":"HS256"})") CHECK(verdict.problem != TokenProblem::bad_signature);
      CHECK(!known.verify(token, now).accepted());
      break;
    }
    case 2: {
      const auto keys = parse_keys(input.rest());
      if (keys == nullptr) break;
      for (const std::string_view token : kSigned) check_token(token, verifier_of(keys), now);
      break;
    }
    default: {
      const auto keys = parse_keys(input.until('\x1e'));
      check_token(input.rest(), verifier_of(keys), now);
    }
  }
  return 0;
}
