// What attackers send, and other implementations have let pass: each token is refused, for the reason it deserves.
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/rsa.h>

#include <algorithm>
#include <array>

#include "bridge/identity/base64url.h"
#include "tests/unit/identity/test_keys.h"

namespace outrigger::identity {
namespace {

using std::string_literals::operator""s;
using tests::TokenMaker;
using Problem = TokenProblem;

constexpr AlgorithmSet everything() {
  AlgorithmSet set = AlgorithmSet::asymmetric();
  for (const Algorithm algorithm : {Algorithm::hs256, Algorithm::hs384, Algorithm::hs512}) set.add(algorithm);
  return set;
}

// Both keys, as an issuer would have them.
std::shared_ptr<const KeySet> all_keys() {
  static const auto keys = keys_of(TokenMaker::jwks({rsa_key(), ec_key()}));
  return keys;
}
Verdict verdict_on(std::string_view token) {
  return verify(token, all_keys(), everything());
}
Problem problem_of(std::string_view token) {
  return verdict_on(token).problem;
}

struct Parts {
  std::string header, payload, signature;
};
Parts split(const std::string& token) {
  const std::size_t first = token.find('.');
  const std::size_t second = token.rfind('.');
  return {token.substr(0, first), token.substr(first + 1, second - first - 1), token.substr(second + 1)};
}
std::string with_signature(const std::string& token, std::string_view signature) {
  return token.substr(0, token.rfind('.') + 1) + encode_base64url(signature);
}
std::string signature_of(const std::string& token) {
  return *decode_base64url(split(token).signature);
}

TEST(JwtAttack, a_public_key_is_never_a_secret) {
  std::vector<std::string> secrets;
  for (const TokenMaker& maker : {rsa_key(), ec_key()}) {
    const std::string pem = maker.public_pem();
    secrets.insert(secrets.end(), {pem, pem.substr(0, pem.size() - 1), maker.public_der(), maker.jwk(), maker.jwks(),
                                   encode_base64url(maker.public_der())});
    // The same without line ends, as a configuration file would have it.
    std::string line = pem;
    line.erase(std::remove(line.begin(), line.end(), '\n'), line.end());
    secrets.push_back(line);
  }
  secrets.push_back("");
  for (const std::string& secret : secrets) {
    for (const char* algorithm : {"HS256", "HS384", "HS512"}) {
      const TokenMaker forger = TokenMaker::secret(secret, algorithm);
      for (const char* key_id : {"rsa-1", "ec-1"}) {
        const std::string token = forger.with_key_id(key_id).token(kPayload);
        EXPECT_EQ(problem_of(token), Problem::algorithm_not_allowed);
        EXPECT_EQ(verify(token, all_keys()).problem, Problem::algorithm_not_allowed);
      }
      EXPECT_EQ(problem_of(forger.token(kPayload)), Problem::unknown_key);
    }
  }
}

TEST(JwtAttack, a_secret_is_never_a_public_key) {
  const auto keys = std::make_shared<const KeySet>(
      std::move(*KeySet::shared_secret(rsa_key().public_pem(), AlgorithmSet::symmetric())));
  EXPECT_EQ(verify(rsa_key().with_key_id("").token(kPayload), keys, everything()).problem, Problem::unknown_key);
  EXPECT_EQ(verify(ec_key().with_key_id("").token(kPayload), keys, everything()).problem, Problem::unknown_key);
}

TEST(JwtAttack, none_is_no_algorithm_in_any_spelling) {
  for (const char* name : {"none", "None",         "NONE",   "nOnE",     "none ", " none",  "\\u006eone", "none\\u0000",
                           "",     "null",         "RS0",    "rs256",    "Rs256", "RS256 ", "RS-256",     "RS1",
                           "HS1",  "HS256\\u0000", "ES256K", "RSA-OAEP", "dir",   "A128GCM"}) {
    for (const char* rest : {"", R"(,"kid":"rsa-1")"}) {
      const std::string header = R"({"alg":")" + std::string(name) + "\"" + rest + "}";
      const std::string token = rsa_key().sign(header, kPayload);
      EXPECT_EQ(problem_of(token), Problem::algorithm_not_allowed) << header;
      EXPECT_EQ(problem_of(with_signature(token, "")), Problem::algorithm_not_allowed) << header;
    }
  }
}

TEST(JwtAttack, a_stripped_algorithm_or_signature_is_missed) {
  for (const char* header : {R"({"typ":"JWT","kid":"rsa-1"})", R"({"alg":null})", R"({"alg":["RS256"]})",
                             R"({"alg":1})", R"({"alg":{"":"RS256"}})", R"({"ALG":"RS256"})", "{}"}) {
    EXPECT_EQ(problem_of(rsa_key().sign(header, kPayload)), Problem::malformed) << header;
  }
  const std::string token = rsa_key().token(kPayload);
  EXPECT_EQ(problem_of(with_signature(token, "")), Problem::bad_signature);
  EXPECT_EQ(problem_of(token.substr(0, token.rfind('.'))), Problem::malformed);
}

TEST(JwtAttack, a_curve_is_for_its_own_algorithm) {
  const std::array<const char*, 3> algorithms = {"ES256", "ES384", "ES512"};
  for (const char* curve : algorithms) {
    const TokenMaker maker = TokenMaker::ec("k", curve);
    const auto keys = keys_of(maker.jwks());
    for (const char* algorithm : algorithms) {
      const std::string token = maker.with_algorithm(algorithm).token(kPayload);
      EXPECT_EQ(verify(token, keys).problem, curve == algorithm ? Problem::none : Problem::algorithm_not_allowed)
          << curve << " " << algorithm;
    }
  }
}

TEST(JwtAttack, one_type_of_key_is_not_another) {
  const std::string rsa_header = R"({"alg":"RS256","kid":"ec-1"})";
  EXPECT_EQ(problem_of(rsa_key().sign(rsa_header, kPayload)), Problem::algorithm_not_allowed);
  EXPECT_EQ(problem_of(ec_key().sign(R"({"alg":"ES256","kid":"rsa-1"})", kPayload)), Problem::algorithm_not_allowed);
  EXPECT_EQ(problem_of(ec_key().sign(R"({"alg":"RS256","kid":"rsa-1"})", kPayload)), Problem::bad_signature);
  EXPECT_EQ(problem_of(rsa_key().sign(R"({"alg":"PS256","kid":"rsa-1"})", kPayload)), Problem::bad_signature);
  EXPECT_EQ(problem_of(rsa_key().sign(R"({"alg":"RS512","kid":"rsa-1"})", kPayload)), Problem::bad_signature);
}

TEST(JwtAttack, size_is_bounded) {
  const auto token_of = [](std::size_t filling) {
    return ec_key().token(R"({"iss":"https://issuer.test/","aud":"api","exp":1700000300,"x":")" +
                          std::string(filling, 'x') + "\"}");
  };
  std::size_t filling = kTokenBytes * 3 / 4;
  while (token_of(filling).size() > kTokenBytes) --filling;
  EXPECT_EQ(problem_of(token_of(filling)), Problem::none);
  EXPECT_EQ(problem_of(token_of(filling + 3)), Problem::too_large);
  EXPECT_EQ(problem_of(std::string(kTokenBytes + 1, '.')), Problem::too_large);
  EXPECT_EQ(problem_of(std::string(10'000'000, 'a')), Problem::too_large);
}

TEST(JwtAttack, members_that_come_twice_are_refused_though_signed) {
  for (const char* header :
       {R"({"alg":"none","alg":"ES256"})", R"({"alg":"ES256","alg":"ES256"})", R"({"alg":"ES256","\u0061lg":"none"})",
        R"({"alg":"ES256","kid":"ec-1","kid":"x"})", R"({"alg":"ES256","x":{"a":1,"a":2}})"}) {
    EXPECT_EQ(problem_of(ec_key().sign(header, kPayload)), Problem::malformed) << header;
  }
  for (const char* member :
       {R"("sub":"root")", R"("exp":9999999999)", R"("\u0073ub":"root")", R"("iss":"x")", R"("x":[{"a":1,"a":2}])"}) {
    const std::string payload = std::string(kPayload.substr(0, kPayload.size() - 1)) + "," + member + "}";
    EXPECT_EQ(problem_of(ec_key().token(payload)), Problem::malformed) << payload;
  }
}

TEST(JwtAttack, what_changes_the_meaning_of_a_token_is_refused_though_signed) {
  for (const char* member :
       {R"("crit":["exp"])", R"("crit":["b64"],"b64":false)", R"("crit":[])", R"("crit":null)",
        R"("crit":["http://x/"],"http://x/":1)", R"("b64":false)", R"("b64":true)", R"("zip":"DEF")"}) {
    const std::string header = R"({"alg":"ES256","kid":"ec-1",)" + std::string(member) + "}";
    EXPECT_EQ(problem_of(ec_key().sign(header, kPayload)), Problem::unsupported_critical) << header;
  }
}

TEST(JwtAttack, keys_in_the_header_are_not_looked_at) {
  const TokenMaker forger = TokenMaker::ec("ec-1");
  for (const std::string& member :
       {R"("jwk":)" + forger.jwk(), R"("jku":"https://evil.test/jwks.json")"s, R"("x5u":"file:///etc/passwd")"s,
        R"("x5c":["MIIB"])"s, R"("x5t":"AAAA","x5t#S256":"AAAA")"s, R"("jwk":17,"jku":{},"x5u":[],"x5c":null)"s}) {
    const std::string header = R"({"alg":"ES256","kid":"ec-1",)" + member + "}";
    const std::string no_key_id = R"({"alg":"ES256",)" + member + "}";
    EXPECT_EQ(problem_of(forger.sign(header, kPayload)), Problem::bad_signature) << header;
    EXPECT_EQ(problem_of(forger.sign(no_key_id, kPayload)), Problem::bad_signature) << header;
    EXPECT_EQ(problem_of(ec_key().sign(header, kPayload)), Problem::none) << header;
  }
}

TEST(JwtAttack, a_key_id_is_compared_and_nothing_else) {
  for (const char* key_id : {"",
                             "ec-1 ",
                             " ec-1",
                             "EC-1",
                             "ec-1\\u0000",
                             "ec-1\\u0000.pem",
                             "ec",
                             "ec-1ec-1",
                             "../../../../dev/null",
                             "/dev/null",
                             "..\\\\..\\\\x",
                             "file:///etc/passwd",
                             "http://evil.test/key",
                             "x' UNION SELECT 'secret' -- ",
                             "' OR '1'='1",
                             "| whoami",
                             "$(id)",
                             "`id`",
                             "%00",
                             "%s%s%n",
                             "*",
                             "{{7*7}}",
                             "\\ud83d\\ude00",
                             "<script>",
                             "\\r\\nX-Injected: 1",
                             "\\u001b[2J"}) {
    const std::string header = R"({"alg":"ES256","kid":")" + std::string(key_id) + "\"}";
    const Verdict verdict = verdict_on(ec_key().sign(header, kPayload));
    EXPECT_EQ(verdict.problem, Problem::unknown_key) << header;
    EXPECT_LE(verdict.key_id.size(), kKeyIdBytes);
    for (const char c : verdict.detail) EXPECT_TRUE(c >= ' ' && c <= '~') << header;
  }
  for (const char* key_id : {"null", "0", "true", "[\"ec-1\"]", "{}"}) {
    const std::string header = R"({"alg":"ES256","kid":)" + std::string(key_id) + "}";
    EXPECT_EQ(problem_of(ec_key().sign(header, kPayload)), Problem::malformed) << header;
  }
  for (const std::size_t size : {kKeyIdBytes, kKeyIdBytes + 1, std::size_t{10000}}) {
    const std::string header = R"({"alg":"ES256","kid":")" + std::string(size, 'k') + "\"}";
    const Verdict verdict = verdict_on(ec_key().sign(header, kPayload));
    EXPECT_EQ(verdict.problem, size > kKeyIdBytes ? Problem::malformed : Problem::unknown_key);
    EXPECT_LE(verdict.detail.size(), 200U);
  }
}

TEST(JwtAttack, what_a_refusal_says_is_short_and_printable) {
  const std::string nasty = std::string(5000, 'x') + "\\u001b[2J\\r\\n";
  for (const std::string& token :
       {ec_key().sign(R"({"alg":")" + nasty + "\"}", kPayload),
        ec_key().sign(R"({"alg":"ES256","typ":")" + nasty + "\"}", kPayload),
        ec_key().token(R"({"iss":")" + nasty + "\"}"), ec_key().token("\x1b[2J"), "\x1b[2J.\r\n.\x7f"s}) {
    const Verdict verdict = verdict_on(token);
    EXPECT_FALSE(verdict.accepted());
    EXPECT_LE(verdict.detail.size(), 200U);
    for (const char c : verdict.detail) EXPECT_TRUE(c >= ' ' && c <= '~') << verdict.detail;
  }
}

TEST(JwtAttack, every_bit_of_a_signature_counts) {
  const TokenMaker edwards = TokenMaker::ed25519("ed-1");
  const std::string secret(32, 's');
  const auto secret_keys =
      std::make_shared<const KeySet>(std::move(*KeySet::shared_secret(secret, {Algorithm::hs256})));
  const std::pair<std::string, std::shared_ptr<const KeySet>> cases[] = {
      {rsa_key().token(kPayload), all_keys()},
      {rsa_key().with_algorithm("PS256").token(kPayload), all_keys()},
      {ec_key().token(kPayload), all_keys()},
      {edwards.token(kPayload), keys_of(edwards.jwks())},
      {TokenMaker::secret(secret).token(kPayload), secret_keys}};
  for (const auto& [token, keys] : cases) {
    ASSERT_TRUE(verify(token, keys, everything()).accepted());
    const std::string signature = signature_of(token);
    for (std::size_t bit = 0; bit < signature.size() * 8; ++bit) {
      std::string flipped = signature;
      flipped[bit / 8] = static_cast<char>(flipped[bit / 8] ^ (1 << bit % 8));
      ASSERT_EQ(verify(with_signature(token, flipped), keys, everything()).problem, Problem::bad_signature) << bit;
    }
  }
}

TEST(JwtAttack, every_character_of_a_token_counts) {
  const std::string token = ec_key().token(kPayload);
  for (std::size_t i = 0; i < token.size(); ++i) {
    for (const int mask : {1, 2, 4, 0x20, 0x80}) {
      std::string changed = token;
      changed[i] = static_cast<char>(changed[i] ^ mask);
      ASSERT_FALSE(verdict_on(changed).accepted()) << i << " " << mask;
    }
    std::string shorter = token;
    ASSERT_FALSE(verdict_on(shorter.erase(i, 1)).accepted()) << i;
    ASSERT_FALSE(verdict_on(token.substr(0, i)).accepted()) << i;
    ASSERT_FALSE(verdict_on(token.substr(i + 1)).accepted()) << i;
    for (const char c : {' ', '\n', '\r', '\t', '\0', '=', '+', '/', '.', '\x7f', '\xff'}) {
      std::string longer = token;
      ASSERT_FALSE(verdict_on(longer.insert(i, 1, c)).accepted()) << i << " " << static_cast<int>(c);
    }
  }
  for (const std::string& around : {" "s, "\n"s, "\r\n"s, "\t"s, "\0"s, "="s, "=="s, "."s, ".."s, "Bearer "s, "\""s}) {
    EXPECT_EQ(problem_of(token + around), Problem::malformed) << around;
    EXPECT_FALSE(verdict_on(around + token).accepted()) << around;
  }
}

TEST(JwtAttack, other_spellings_of_the_same_bytes_are_refused) {
  // Of 64 bytes the last of 86 characters stands for 2 bits, and 4 are left over.
  const std::string token = ec_key().token(kPayload);
  constexpr std::string_view alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
  const std::size_t last = alphabet.find(token.back());
  for (std::size_t bits = 1; bits < 16; ++bits) {
    EXPECT_EQ(problem_of(token.substr(0, token.size() - 1) + alphabet[last | bits]), Problem::malformed);
  }
  for (const char* parts : {"", ".", "..", "...", "....", "a.b.c", "a.b.c.d.e", "e30.e30.", ".e30.", "e30..", "e30"}) {
    EXPECT_EQ(problem_of(parts), Problem::malformed) << parts;
  }
  // JSON serialization (RFC 7515 section 7.2).
  const Parts parts = split(token);
  EXPECT_EQ(problem_of(R"({"protected":")" + parts.header + R"(","payload":")" + parts.payload + R"(","signature":")" +
                       parts.signature + "\"}"),
            Problem::malformed);
}

TEST(JwtAttack, headers_and_payloads_are_objects) {
  for (const char* json : {"", "null", "[]", "\"x\"", "1", "{", "{}x", "[{}]", "\xef\xbb\xbf{}", "{\"a\":\"\xff\"}"}) {
    EXPECT_EQ(problem_of(ec_key().sign(json, kPayload)), Problem::malformed) << json;
    EXPECT_EQ(problem_of(ec_key().token(json)), Problem::malformed) << json;
  }
  EXPECT_EQ(problem_of(ec_key().token(std::string(kPayload) + "\0"s)), Problem::malformed);
  EXPECT_EQ(problem_of(ec_key().sign(ec_key().header() + "\0{}"s, kPayload)), Problem::malformed);
  EXPECT_EQ(problem_of(ec_key().token(std::string(5000, '[') + std::string(5000, ']'))), Problem::malformed);
  EXPECT_EQ(problem_of(ec_key().token(ec_key().token(kPayload))), Problem::malformed);  // a token in a token
}

TEST(JwtAttack, ecdsa_signatures_have_one_form) {
  const std::string token = ec_key().token(kPayload);
  const std::string signature = signature_of(token);
  const std::string r = signature.substr(0, 32);
  const std::string s = signature.substr(32);
  ECDSA_SIG* pair = ECDSA_SIG_new();
  const auto number = [](const std::string& bytes) {
    return BN_bin2bn(reinterpret_cast<const unsigned char*>(bytes.data()), 32, nullptr);
  };
  ASSERT_EQ(ECDSA_SIG_set0(pair, number(r), number(s)), 1);
  unsigned char* der = nullptr;
  const int der_size = i2d_ECDSA_SIG(pair, &der);
  const std::string in_der(reinterpret_cast<char*>(der), static_cast<std::size_t>(der_size));
  OPENSSL_free(der);
  ECDSA_SIG_free(pair);

  const std::string zero(32, '\0');
  const std::string one = std::string(31, '\0') + "\x01";
  const std::string order = *decode_base64url("_____wAAAAD__________7zm-q2nF56E87nKwvxjJVE");  // of P-256
  for (const std::string& other : {in_der,
                                   zero + zero,
                                   r + zero,
                                   zero + s,
                                   one + one,
                                   order + s,
                                   r + order,
                                   order + order,
                                   zero + one,
                                   std::string(64, '\xff'),
                                   s + r,
                                   signature + "\0"s,
                                   "\0"s + signature,
                                   signature + signature,
                                   "\0"s + r + "\0"s + s,
                                   signature + std::string(1000, '\0'),
                                   signature.substr(1),
                                   signature.substr(0, 63),
                                   r,
                                   ""s}) {
    EXPECT_EQ(problem_of(with_signature(token, other)), Problem::bad_signature) << encode_base64url(other);
  }
}

TEST(JwtAttack, rsa_signatures_have_one_form) {
  for (const char* algorithm : {"RS256", "PS256"}) {
    const TokenMaker maker = rsa_key().with_algorithm(algorithm);
    // One whose first byte is zero, which a number would not need.
    std::string token;
    for (int i = 0; token.empty() || signature_of(token).front() != '\0'; ++i) {
      token = maker.token(std::string(kPayload.substr(0, kPayload.size() - 1)) + ",\"jti\":" + std::to_string(i) + "}");
      ASSERT_LT(i, 20000);
    }
    const std::string signature = signature_of(token);
    EXPECT_EQ(problem_of(token), Problem::none);
    for (const std::string& other :
         {signature.substr(1), "\0"s + signature, signature + "\0"s, signature.substr(0, 255), std::string(256, '\0'),
          std::string(256, '\xff'), std::string(255, '\0') + "\x01", ""s, std::string(5000, 'x')}) {
      EXPECT_EQ(problem_of(with_signature(token, other)), Problem::bad_signature) << algorithm << other.size();
    }
  }
}

// RFC 7518 section 3.5: as much salt as hash, and MGF1 with the same hash.
TEST(JwtAttack, pss_has_the_salt_and_mask_of_its_hash) {
  const auto signed_with = [](int salt, const EVP_MD* mask) {
    const std::string unsigned_token = with_signature(rsa_key().with_algorithm("PS256").token(kPayload), "");
    const std::string input = unsigned_token.substr(0, unsigned_token.size() - 1);
    EVP_MD_CTX* context = EVP_MD_CTX_new();
    EVP_PKEY_CTX* options = nullptr;
    std::string signature(256, '\0');
    std::size_t size = signature.size();
    CHECK(EVP_DigestSignInit(context, &options, EVP_sha256(), nullptr, rsa_key().key()) == 1);
    CHECK(EVP_PKEY_CTX_set_rsa_padding(options, RSA_PKCS1_PSS_PADDING) == 1);
    CHECK(EVP_PKEY_CTX_set_rsa_pss_saltlen(options, salt) == 1);
    CHECK(EVP_PKEY_CTX_set_rsa_mgf1_md(options, mask) == 1);
    CHECK(EVP_DigestSign(context, reinterpret_cast<unsigned char*>(signature.data()), &size,
                         reinterpret_cast<const unsigned char*>(input.data()), input.size()) == 1);
    EVP_MD_CTX_free(context);
    return input + "." + encode_base64url(signature);
  };
  EXPECT_EQ(problem_of(signed_with(32, EVP_sha256())), Problem::none);
  EXPECT_EQ(problem_of(signed_with(0, EVP_sha256())), Problem::bad_signature);
  EXPECT_EQ(problem_of(signed_with(20, EVP_sha256())), Problem::bad_signature);
  EXPECT_EQ(problem_of(signed_with(222, EVP_sha256())), Problem::bad_signature);
  EXPECT_EQ(problem_of(signed_with(32, EVP_sha1())), Problem::bad_signature);
}

TEST(JwtAttack, failures_leave_no_errors_behind_for_tls) {
  const std::string token = rsa_key().token(kPayload);
  EXPECT_EQ(problem_of(with_signature(token, std::string(256, '\x01'))), Problem::bad_signature);
  std::vector<std::string> remarks;
  EXPECT_FALSE(KeySet::parse(R"({"keys":[{"kty":"EC","crv":"P-256","x":")" + encode_base64url(std::string(32, 'x')) +
                                 R"(","y":")" + encode_base64url(std::string(32, 'y')) + "\"}]}",
                             remarks));
  EXPECT_EQ(ERR_peek_error(), 0U);
}

}  // namespace
}  // namespace outrigger::identity
