#include "bridge/identity/envelope.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>

#include <algorithm>
#include <fstream>
#include <functional>
#include <map>
#include <sstream>
#include <thread>

namespace outrigger::identity {
namespace {

using namespace std::chrono_literals;
using base::WallMillis;
using testing::HasSubstr;

constexpr std::string_view kPrefix = "X-StellaOps-Identity-Envelope";
const std::string kSecret = "secret-of-the-worked-example-do-not-use-it-anywhere";

EnvelopeOptions options_with(std::vector<EnvelopeKey> keys) {
  EnvelopeOptions options;
  options.keys = std::move(keys);
  options.issuer = "gateway.example";
  return options;
}

EnvelopeSigner make_signer(EnvelopeOptions options) {
  auto signer = EnvelopeSigner::make(std::move(options));
  EXPECT_TRUE(signer) << signer.error().detail;
  return std::move(*signer);
}
EnvelopeSigner make_signer() {
  return make_signer(options_with({{"2026-01", kSecret}}));
}

Principal ada() {
  Principal principal;
  principal.is_anonymous = false;
  principal.issuer = "https://id.example.com";
  principal.subject = "ada";
  principal.actor = "ada";
  principal.tenant = "acme";
  principal.project = "apollo";
  principal.scopes = {"orders:read", "orders:write"};
  return principal;
}

EnvelopeFacts facts() {
  return {.service = "orders",
          .method = "POST",
          .host = "api.example.com",
          .target = "/v1/orders?draft=1",
          .request_id = "8c6f0e2d4b1a49d7a35c7e9f10b2d4c6",
          .timeout = 30s};
}
constexpr WallMillis kNow = 1767225600s + 999ms;

base::HeaderList sign(const EnvelopeSigner& signer, const Principal& principal, const EnvelopeFacts& request = facts(),
                      WallMillis now = kNow) {
  base::HeaderList headers;
  signer.sign(principal, request, now, headers);
  return headers;
}

std::string field(const base::HeaderList& headers, std::string_view suffix) {
  return std::string(headers.find(std::string(kPrefix) + std::string(suffix)).value_or("missing"));
}

std::string json_of(const EnvelopeSigner& signer, const base::HeaderList& headers, WallMillis now = kNow) {
  auto json = signer.verify(headers, now, 0s);
  return json ? *json : json.error().detail;
}

// base64url by another path than the code's: OpenSSL's base64, its alphabet changed.
std::string base64url(std::string_view bytes) {
  std::string text(bytes.size() / 3 * 4 + 5, '\0');
  text.resize(static_cast<std::size_t>(EVP_EncodeBlock(reinterpret_cast<unsigned char*>(text.data()),
                                                       reinterpret_cast<const unsigned char*>(bytes.data()),
                                                       static_cast<int>(bytes.size()))));
  for (char& c : text) c = c == '+' ? '-' : c == '/' ? '_' : c;
  text.erase(text.find_last_not_of('=') + 1);
  return text;
}

std::string hmac(std::string_view secret, std::string_view input) {
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned size = 0;
  HMAC(EVP_sha256(), secret.data(), static_cast<int>(secret.size()), reinterpret_cast<const unsigned char*>(input.data()),
       input.size(), digest, &size);
  return base64url({reinterpret_cast<const char*>(digest), size});
}

TEST(Envelope, the_page_shows_what_the_signer_makes) {
  std::ifstream file(OUTRIGGER_SOURCE_DIR "/docs/identity.md");
  std::stringstream page;
  page << file.rdbuf();
  std::string shown;
  const base::HeaderList headers = sign(make_signer(), ada());
  for (const base::HeaderField line : headers) shown.append(line.name).append(": ").append(line.value).append("\n");
  EXPECT_THAT(page.str(), HasSubstr("```http envelope\n" + shown + "```\n"));
  EXPECT_THAT(page.str(), HasSubstr("```json envelope\n" + json_of(make_signer(), headers) + "\n```\n"));
}

TEST(Envelope, signs_every_field_in_one_text) {
  const base::HeaderList headers = sign(make_signer(), ada());
  ASSERT_EQ(headers.size(), 6u);
  EXPECT_EQ(field(headers, "-Alg"), "HS256");
  EXPECT_EQ(field(headers, "-Kid"), "2026-01");
  EXPECT_EQ(field(headers, "-Iat"), "1767225600");  // the part of a second is dropped
  EXPECT_EQ(field(headers, "-Exp"), "1767225660");
  EXPECT_EQ(field(headers, "-Signature"),
            hmac(kSecret, "identity-envelope-v1\nHS256\n2026-01\n1767225600\n1767225660\n" + field(headers, "")));
}

TEST(Envelope, has_every_member_in_a_fixed_order) {
  const std::string json = json_of(make_signer(), sign(make_signer(), ada()));
  EXPECT_EQ(json,
            R"({"iss":"gateway.example","aud":"orders","method":"POST","host":"api.example.com",)"
            R"("target_sha256":"vKRxQ6r-HB9q2HYue-PjWISXPxim3P3inWzcZcHWGUE","rid":"8c6f0e2d4b1a49d7a35c7e9f10b2d4c6",)"
            R"("actor":"ada","sub":"ada","token_iss":"https://id.example.com","tenant":"acme","project":"apollo",)"
            R"("scopes":["orders:read","orders:write"]})");
}

TEST(Envelope, says_that_nobody_in_particular_asks) {
  const std::string json = json_of(make_signer(), sign(make_signer(), anonymous_principal()));
  EXPECT_THAT(json, HasSubstr(R"("rid":"8c6f0e2d4b1a49d7a35c7e9f10b2d4c6","actor":"anonymous","scopes":[]})"));
  EXPECT_THAT(json, testing::Not(HasSubstr("token_iss")));
}

TEST(Envelope, text_from_outside_stays_text) {
  Principal principal = ada();
  principal.subject = "a\"b\\c\n\x01\x7F é\xFF \",\"tenant\":\"other";
  principal.scopes = {"x\"],\"tenant\":\"other"};
  const std::string json = json_of(make_signer(), sign(make_signer(), principal));
  EXPECT_THAT(json, HasSubstr(R"("sub":"a\"b\\c\u000a\u0001\u007f é\ufffd \",\"tenant\":\"other","token_iss")"));
  EXPECT_THAT(json, HasSubstr(R"("scopes":["x\"],\"tenant\":\"other"]})"));
}

TEST(Envelope, every_length_of_text_survives_base64url) {
  for (std::size_t size = 1; size < 70; ++size) {
    Principal principal = ada();
    principal.tenant = std::string(size, '~');
    const base::HeaderList headers = sign(make_signer(), principal);
    const std::string json = json_of(make_signer(), headers);
    EXPECT_THAT(json, HasSubstr("\"tenant\":\"" + principal.tenant + "\","));
    EXPECT_EQ(field(headers, ""), base64url(json));
  }
}

TEST(Envelope, lives_as_long_as_its_request) {
  EnvelopeFacts request = facts();
  for (const auto& [timeout, lifetime] : std::map<base::Duration, int>{{0s, 60}, {60s, 60}, {60s + 1ns, 61}, {1h, 3600}}) {
    request.timeout = timeout;
    EXPECT_EQ(field(sign(make_signer(), ada(), request), "-Exp"), std::to_string(1767225600 + lifetime));
  }
}

TEST(Envelope, each_fact_and_each_field_changes_what_is_signed) {
  const EnvelopeSigner signer = make_signer();
  std::vector<std::string> seen{field(sign(signer, ada()), "-Signature")};
  for (auto EnvelopeFacts::*fact : {&EnvelopeFacts::service, &EnvelopeFacts::method, &EnvelopeFacts::host,
                                    &EnvelopeFacts::target, &EnvelopeFacts::request_id}) {
    EnvelopeFacts request = facts();
    request.*fact = "other";
    seen.push_back(field(sign(signer, ada(), request), "-Signature"));
  }
  for (auto Principal::*text :
       {&Principal::actor, &Principal::subject, &Principal::issuer, &Principal::tenant, &Principal::project}) {
    Principal principal = ada();
    principal.*text = "other";
    seen.push_back(field(sign(signer, principal), "-Signature"));
  }
  Principal principal = ada();
  principal.scopes = {"orders:read orders:write"};
  seen.push_back(field(sign(signer, principal), "-Signature"));
  seen.push_back(field(sign(signer, ada(), facts(), kNow + 1s), "-Signature"));
  std::sort(seen.begin(), seen.end());
  EXPECT_EQ(std::unique(seen.begin(), seen.end()), seen.end());
}

// What verify() says of the fields of ada's envelope after `change`.
std::string verdict(const std::function<void(base::HeaderList&)>& change, WallMillis now = kNow,
                    std::chrono::seconds skew = 0s) {
  const EnvelopeSigner signer = make_signer(options_with({{"2026-01", kSecret}, {"2025-07", std::string(32, 'k')}}));
  base::HeaderList headers = sign(signer, ada());
  change(headers);
  auto json = signer.verify(headers, now, skew);
  return json ? "accepted" : json.error().detail;
}

TEST(Envelope, is_refused_once_a_byte_of_it_changed) {
  EXPECT_EQ(verdict([](base::HeaderList&) {}), "accepted");
  for (const std::string_view suffix : {"", "-Signature", "-Alg", "-Kid", "-Iat", "-Exp"}) {
    const std::string name = std::string(kPrefix) + std::string(suffix);
    const std::string value = field(sign(make_signer(), ada()), suffix);
    for (std::size_t i = 0; i < value.size(); ++i) {
      std::string other = value;
      other[i] = other[i] == 'A' ? 'B' : 'A';
      EXPECT_NE(verdict([&](base::HeaderList& headers) { headers.set(name, other); }), "accepted") << name << i;
      EXPECT_NE(verdict([&](base::HeaderList& headers) { headers.set(name, value.substr(0, i)); }), "accepted") << name << i;
    }
    EXPECT_NE(verdict([&](base::HeaderList& headers) { headers.set(name, value + "="); }), "accepted") << name;
    EXPECT_THAT(verdict([&](base::HeaderList& headers) { headers.remove(name); }), HasSubstr(name));
    EXPECT_THAT(verdict([&](base::HeaderList& headers) { headers.add(name, value); }), HasSubstr("missing or repeated"));
  }
}

TEST(Envelope, names_what_was_wrong) {
  const auto with = [](std::string_view suffix, std::string_view value) {
    return verdict([&](base::HeaderList& headers) { headers.set(std::string(kPrefix) + std::string(suffix), value); });
  };
  EXPECT_EQ(with("-Alg", "none"), "X-StellaOps-Identity-Envelope-Alg is not HS256");
  EXPECT_EQ(with("-Alg", "hs256"), "X-StellaOps-Identity-Envelope-Alg is not HS256");
  EXPECT_EQ(with("-Kid", "2024-01"), "no key has the id in X-StellaOps-Identity-Envelope-Kid");
  EXPECT_EQ(with("-Kid", "2025-07"), "the signature is wrong");  // a key of ours, but another
  EXPECT_EQ(with("-Exp", "1767225661"), "the signature is wrong");
}

TEST(Envelope, other_unused_bits_of_the_signature_are_another_signature) {
  const std::string alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
  std::string signature = field(sign(make_signer(), ada()), "-Signature");
  ASSERT_EQ(signature.size(), 43u);
  signature.back() = alphabet[alphabet.find(signature.back()) + 1];  // the last character holds 4 bits of 6
  EXPECT_EQ(verdict([&](base::HeaderList& headers) { headers.set(std::string(kPrefix) + "-Signature", signature); }),
            "the signature is wrong");
}

TEST(Envelope, has_a_first_and_a_last_moment) {
  const auto at = [](WallMillis now, std::chrono::seconds skew) { return verdict([](base::HeaderList&) {}, now, skew); };
  EXPECT_EQ(at(1767225600s - 1ms, 0s), "not valid yet");
  EXPECT_EQ(at(1767225600s, 0s), "accepted");
  EXPECT_EQ(at(1767225660s - 1ms, 0s), "accepted");
  EXPECT_EQ(at(1767225660s, 0s), "expired");
  EXPECT_EQ(at(1767225600s - 300s, 300s), "accepted");
  EXPECT_EQ(at(1767225600s - 300s - 1ms, 300s), "not valid yet");
  EXPECT_EQ(at(1767225960s - 1ms, 300s), "accepted");
  EXPECT_EQ(at(1767225960s, 1h), "expired");  // more than kEnvelopeSkew is not allowed
}

TEST(Envelope, keys_change_without_a_refusal) {
  const EnvelopeKey old_key{"old", std::string(32, 'o')};
  const EnvelopeKey new_key{"new", std::string(32, 'n')};
  const EnvelopeSigner before = make_signer(options_with({old_key, new_key}));
  const EnvelopeSigner after = make_signer(options_with({new_key, old_key}));
  EXPECT_EQ(field(sign(before, ada()), "-Kid"), "old");
  EXPECT_EQ(field(sign(after, ada()), "-Kid"), "new");
  EXPECT_TRUE(after.verify(sign(before, ada()), kNow));
  EXPECT_TRUE(before.verify(sign(after, ada()), kNow));
  EXPECT_FALSE(make_signer(options_with({new_key})).verify(sign(before, ada()), kNow));
}

TEST(Envelope, field_names_follow_the_prefix) {
  EnvelopeOptions options = options_with({{"2026-01", kSecret}});
  options.prefix = "X-Acme-Id";
  const base::HeaderList headers = sign(make_signer(std::move(options)), ada());
  std::vector<std::string> names;
  for (const base::HeaderField line : headers) names.emplace_back(line.name);
  EXPECT_EQ(names, (std::vector<std::string>{"X-Acme-Id", "X-Acme-Id-Signature", "X-Acme-Id-Alg", "X-Acme-Id-Kid",
                                             "X-Acme-Id-Iat", "X-Acme-Id-Exp"}));
}

TEST(Envelope, settings_that_cannot_work_are_refused_without_telling_a_secret) {
  const auto error = [](EnvelopeOptions options) {
    auto signer = EnvelopeSigner::make(std::move(options));
    return signer ? "accepted" : std::string(base::name_of(signer.error().code)) + ": " + signer.error().detail;
  };
  const std::string good(32, 's');
  EXPECT_THAT(error(options_with({})), HasSubstr("invalid: an envelope needs 1 to 8 keys, not 0"));
  std::vector<EnvelopeKey> many;
  for (int i = 0; i < 9; ++i) many.push_back({std::to_string(i), good});
  EXPECT_THAT(error(options_with(many)), HasSubstr("not 9"));
  EXPECT_THAT(error(options_with({{"a", good}, {"a", good}})), HasSubstr("two envelope keys are called 'a'"));
  for (const std::string& id : {std::string(), std::string("a b"), std::string("a\n"), std::string(65, 'a')}) {
    EXPECT_THAT(error(options_with({{id, good}})), HasSubstr("the id of an envelope key"));
  }
  EXPECT_EQ(error(options_with({{std::string(64, 'a'), good}})), "accepted");
  EXPECT_EQ(error(options_with({{"a", std::string(1024, 's')}})), "accepted");
  for (const std::size_t size : {0, 31, 1025}) {
    EXPECT_THAT(error(options_with({{"a", std::string(size, 's')}})),
                testing::AllOf(HasSubstr("the secret of envelope key 'a' has " + std::to_string(size) + " bytes"),
                               testing::Not(HasSubstr("sss"))));
  }
  for (const auto lifetime : {0s, 3601s}) {
    EnvelopeOptions options = options_with({{"a", good}});
    options.lifetime = lifetime;
    EXPECT_THAT(error(options), HasSubstr("the lifetime of envelopes is 1 s to 1 h"));
  }
  for (const std::string& issuer : {std::string(), std::string("a b"), std::string(257, 'a')}) {
    EnvelopeOptions options = options_with({{"a", good}});
    options.issuer = issuer;
    EXPECT_THAT(error(options), HasSubstr("the issuer of envelopes"));
  }
}

TEST(Envelope, one_signer_serves_all_threads) {
  const EnvelopeSigner signer = make_signer();
  const base::HeaderList expected = sign(signer, ada());
  std::vector<std::thread> threads;
  std::array<int, 4> wrong{};
  for (int& count : wrong) {
    threads.emplace_back([&] {
      for (int i = 0; i < 500; ++i) count += sign(signer, ada()) == expected ? 0 : 1;
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, (std::array<int, 4>{}));
}

}  // namespace
}  // namespace outrigger::identity
