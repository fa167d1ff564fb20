// The examples of RFC 7515, appendix A.1 to A.3, and of RFC 8037, appendix A.4, byte by byte.
#include "bridge/identity/base64url.h"
#include "tests/unit/identity/test_keys.h"

namespace outrigger::identity {
namespace {

constexpr std::string_view kClaims =
    "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";

void expect_joe(const Verdict& verdict) {
  ASSERT_TRUE(verdict.accepted()) << name_of(verdict.problem) << ": " << verdict.detail;
  EXPECT_EQ(verdict.token->expires_s, 1300819380);
  const std::vector<Claim> expected = {
      {"iss", {"joe"}}, {"exp", {"1300819380"}}, {"http://example.com/is_root", {"true"}}};
  EXPECT_EQ(verdict.token->claims, expected);
}

std::string compact(std::string_view header, std::string_view signature) {
  return std::string(header) + "." + std::string(kClaims) + "." + std::string(signature);
}

TEST(Rfc7515, a1_hmac_sha_256) {
  // The key's k, decoded: 64 bytes.
  constexpr unsigned char key[] = {3,   35,  53, 75,  43,  15, 165, 188, 131, 126, 6,   101, 119, 123, 166, 143,
                                   90,  179, 40, 230, 240, 84, 201, 40,  169, 15,  132, 178, 210, 80,  46,  191,
                                   211, 251, 90, 146, 210, 6,  71,  239, 150, 138, 180, 195, 119, 98,  61,  34,
                                   61,  46,  33, 114, 5,   46, 79,  8,   192, 205, 154, 245, 103, 208, 128, 163};
  const auto keys = KeySet::shared_secret({reinterpret_cast<const char*>(key), sizeof key}, {Algorithm::hs256});
  ASSERT_TRUE(keys);

  expect_joe(verify_signature(
      compact("eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9", "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"), *keys));
}

TEST(Rfc7515, a2_rsassa_pkcs1_v1_5_sha_256) {
  const auto keys = keys_of(
      R"({"keys":[{"kty":"RSA","n":"ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2)"
      R"(mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5r)"
      R"(exMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoud)"
      R"(F8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ","e":"AQAB"}]})");

  expect_joe(verify_signature(
      compact("eyJhbGciOiJSUzI1NiJ9",
              "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_"
              "O8W2Fp5jujGbds9uJdbF9CUA"
              "r7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_"
              "eSN9383LcOLn6_dO-"
              "-xi12jzDwusC-"
              "eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_"
              "IoypGlUPQGe77Rw"),
      *keys));
}

TEST(Rfc7515, a3_ecdsa_p_256_sha_256) {
  const auto keys = keys_of(R"({"keys":[{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",)"
                            R"("y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}]})");

  expect_joe(verify_signature(
      compact("eyJhbGciOiJFUzI1NiJ9",
              "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q"),
      *keys));
}

// Its payload is a sentence, which is no JWT.
TEST(Rfc8037, a4_ed25519) {
  const auto keys =
      keys_of(R"({"keys":[{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]})");
  const std::string token =
      "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc."
      "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg";
  const std::string signature = *decode_base64url(token.substr(token.rfind('.') + 1));

  EXPECT_TRUE(keys->keys().front()->verifies(Algorithm::eddsa, {token, signature}));
  EXPECT_FALSE(keys->keys().front()->verifies(Algorithm::eddsa, {"a" + token, signature}));
  EXPECT_EQ(verify_signature(token, *keys).problem, TokenProblem::malformed);
}

}  // namespace
}  // namespace outrigger::identity
