// Who a request comes from, through the shipped programs: which tokens are believed, what the service is told of their
// holders, what it proves it with, and where nothing of all that may ever appear.
#include <fcntl.h>
#include <unistd.h>

#include <openssl/sha.h>
#include <nlohmann/json.hpp>

#include "bridge/identity/base64url.h"
#include "bridge/identity/envelope.h"
#include "tests/e2e/identity_stage.h"

namespace outrigger::tests {
namespace {

using namespace std::chrono_literals;
using identity::encode_base64url;
using nlohmann::json;

constexpr char kSharedSecret[] = "shared-secret-of-the-tests-0123456789abcdef";
constexpr char kEnvelopeSecret[] = "envelope-secret-of-the-tests-0123456789";

// A JSON text whose kid is `key_id`, in front of `more` members.
std::string header(std::string_view algorithm, std::string_view key_id, std::string_view more = {}) {
  return R"({"alg":")" + std::string(algorithm) + R"(","kid":")" + std::string(key_id) + '"' + std::string(more) + "}";
}

std::vector<std::string> parts_of(const std::string& token) {
  std::vector<std::string> parts;
  for (std::size_t at = 0; at <= token.size();) {
    const std::size_t dot = std::min(token.find('.', at), token.size());
    parts.push_back(token.substr(at, dot - at));
    at = dot + 1;
  }
  return parts;
}

std::int64_t now_s() {
  return std::chrono::duration_cast<std::chrono::seconds>(base::system_clock().wall()).count();
}

class Identity : public IdentityStage {
 protected:
  // Each is refused as RFC 6750 has it, and nobody behind the gateway hears of it.
  void expect_refused(const std::string& name, const RawResponse& response, const std::string& token) {
    SCOPED_TRACE(name);
    EXPECT_EQ(response.problem, "");
    EXPECT_EQ(response.status, 401) << response.body;
    EXPECT_EQ(code_of(response), "unauthenticated");
    const std::string challenge = response.header("WWW-Authenticate");
    EXPECT_TRUE(challenge.starts_with("Bearer ")) << challenge;
    EXPECT_NE(challenge.find(R"(error="invalid_token")"), std::string::npos) << challenge;
    for (const std::string& part : parts_of(token)) {
      if (part.size() < 16) continue;
      EXPECT_EQ((challenge + response.body).find(part), std::string::npos);
    }
  }
};

// --- which tokens are believed --------------------------------------------------------------------------------------

class BadTokens : public Identity {
 protected:
  using Named = std::vector<std::pair<std::string, std::string>>;

  void SetUp() override {
    Identity::SetUp();
    if (IsSkipped()) return;
    write_file("keys.json", TokenMaker::jwks({key(), rsa(), edwards()}));
    start(trusting());
  }
  static const TokenMaker& rsa() {
    static const TokenMaker maker = TokenMaker::rsa("rsa");
    return maker;
  }
  static const TokenMaker& edwards() {
    static const TokenMaker maker = TokenMaker::ed25519("ed");
    return maker;
  }
  // All at once: those with an unknown key id wait for the same reading of the file.
  void try_all(const Named& tokens) {
    std::vector<std::unique_ptr<Asking>> asking;
    for (const auto& [name, token] : tokens) {
      asking.push_back(std::make_unique<Asking>(gateway_->port(), make_request("GET", "/orders/a", bearer(token))));
    }
    for (std::size_t i = 0; i < tokens.size(); ++i)
      expect_refused(tokens[i].first, asking[i]->answer(), tokens[i].second);
    EXPECT_TRUE(gateway_->process().is_running());
    EXPECT_EQ(service_.request_count(), 0U);
    EXPECT_EQ(ask_with(token()).status, 200);
  }
};

TEST_F(BadTokens, of_another_algorithm) {
  const std::string unsigned_input = encode_base64url(R"({"alg":"none"})") + "." + encode_base64url(claims()) + ".";
  Named tokens = {
      {"none", unsigned_input},
      {"none with a signature", key().sign(R"({"alg":"none","kid":"one"})", claims())},
      {"None", key().sign(R"({"alg":"None","kid":"one"})", claims())},
      {"no alg", key().sign(R"({"kid":"one"})", claims())},
      {"alg is no text", key().sign(R"({"alg":["ES256"],"kid":"one"})", claims())},
      {"alg of its case", key().sign(header("es256", "one"), claims())},
      {"RS key for PS by its signature", rsa().with_algorithm("RS256").sign(header("PS256", "rsa"), claims())},
      {"ES256 with the name of ES384", key().sign(header("ES384", "one"), claims())},
      {"a P-384 key under the id of P-256", TokenMaker::ec("one", "ES384").token(claims())},
      {"a P-384 key that calls itself ES256", TokenMaker::ec("one", "ES384").sign(header("ES256", "one"), claims())},
      {"Ed25519 under the id of P-256", TokenMaker::ed25519("one").token(claims())},
      {"ES256 by the key of RS256", key().sign(header("ES256", "rsa"), claims())},
  };
  // A public key is no secret: neither as PEM, nor as DER, nor as JWK.
  const std::string pem = rsa().public_pem();
  for (const std::string& secret :
       {pem, pem.substr(0, pem.size() - 1), rsa().public_der(), rsa().jwk(), std::string()}) {
    for (const char* algorithm : {"HS256", "HS384", "HS512"}) {
      tokens.emplace_back(std::string(algorithm) + " with the public key, " + std::to_string(secret.size()) + " bytes",
                          TokenMaker::secret(secret, algorithm).sign(header(algorithm, "rsa"), claims()));
    }
  }
  try_all(tokens);
}

TEST_F(BadTokens, of_another_form) {
  const std::string good = token();
  const std::vector<std::string> parts = parts_of(good);
  const std::string input = parts[0] + "." + parts[1];
  std::string flipped = good;
  flipped[flipped.size() - 10] = flipped[flipped.size() - 10] == 'A' ? 'B' : 'A';
  std::string deep(20'000, '[');
  deep.resize(9'000);
  const std::string twice = claims(R"(,"sub":"root")");
  try_all({
      {"a bit of the signature", flipped},
      {"no signature", input + "."},
      {"two parts", input},
      {"four parts", good + ".AAAA"},
      {"five parts", good + ".AAAA.AAAA"},
      {"dots", "...."},
      {"one letter", "a"},
      {"zero signature", input + "." + encode_base64url(std::string(64, '\0'))},
      {"a DER signature", input + "." + encode_base64url(std::string("\x30\x06\x02\x01\x01\x02\x01\x01", 8))},
      {"half a signature", input + "." + parts[2].substr(0, 43)},
      {"a longer signature", good + "AAAA"},
      {"padding", good + "=="},
      {"base64 instead of base64url", good + "+/"},
      {"another payload", parts[0] + "." + encode_base64url(claims(R"(,"scope":"all")")) + "." + parts[2]},
      {"payload is no JSON", key().sign(key().header(), "ann")},
      {"payload is an array", key().sign(key().header(), "[" + claims() + "]")},
      {"payload is empty", key().sign(key().header(), "")},
      {"payload with something behind it", key().sign(key().header(), claims() + claims())},
      {"payload nested deeply", key().sign(key().header(), claims(",\"x\":" + deep))},
      {"payload is no UTF-8", key().sign(key().header(), claims(",\"x\":\"\xff\xfe\""))},
      {"header is no JSON", key().sign("alg", claims())},
      {"header is a text", key().sign(R"("ES256")", claims())},
      {"alg twice", key().sign(R"({"alg":"none","alg":"ES256","kid":"one"})", claims())},
      {"kid twice", key().sign(R"({"alg":"ES256","kid":"rsa","kid":"one"})", claims())},
      {"alg twice by an escape", key().sign(R"({"alg":"ES256","\u0061lg":"none","kid":"one"})", claims())},
      {"sub twice", key().token(twice)},
      {"sub twice by an escape", key().token(claims(R"(,"s\u0075b":"root")"))},
      {"exp twice", key().token(claims(R"(,"exp":1)"))},
      {"oversized payload", key().token(claims(",\"x\":\"" + std::string(20'000, 'x') + "\""))},
      {"oversized header", key().sign(header("ES256", "one", ",\"x\":\"" + std::string(20'000, 'x') + "\""), claims())},
      {"oversized signature", good + std::string(30'000, 'A')},
      {"oversized nonsense", std::string(40'000, 'a')},
      {"crit", key().sign(header("ES256", "one", R"(,"crit":["exp"],"exp":1)"), claims())},
      {"crit, empty", key().sign(header("ES256", "one", R"(,"crit":[])"), claims())},
      {"b64", key().sign(header("ES256", "one", R"(,"b64":false,"crit":["b64"])"), claims())},
      {"zip", key().sign(header("ES256", "one", R"(,"zip":"DEF")"), claims())},
      {"typ of a logout", key().sign(header("ES256", "one", R"(,"typ":"logout+jwt")"), claims())},
      {"typ of DPoP", key().sign(header("ES256", "one", R"(,"typ":"dpop+jwt")"), claims())},
  });
}

TEST_F(BadTokens, of_another_key) {
  const TokenMaker thief = TokenMaker::ec("one");
  const std::string thiefs = R"(,"jwk":)" + thief.jwk();
  const std::string urls = R"(,"jku":"http://127.0.0.1:9/keys","x5u":"http://127.0.0.1:9/cert","x5c":["AAAA"])";
  const auto with_key_id = [&](const std::string& key_id) { return thief.sign(header("ES256", key_id), claims()); };
  Named tokens = {
      {"the id of a key", thief.token(claims())},
      {"its own key in jwk", thief.sign(header("ES256", "one", thiefs), claims())},
      {"its own key in jwk, its own id", thief.sign(header("ES256", "thief", thiefs), claims())},
      {"its own key in jwk, no id", thief.sign(R"({"alg":"ES256")" + thiefs + "}", claims())},
      {"jku and x5u", thief.sign(header("ES256", "thief", urls), claims())},
      {"no id", thief.sign(R"({"alg":"ES256"})", claims())},
      {"an empty id", with_key_id("")},
      {"an id that is no text", thief.sign(R"({"alg":"ES256","kid":1})", claims())},
      {"an id that is an object", thief.sign(R"({"alg":"ES256","kid":{"$ne":""}})", claims())},
  };
  for (const std::string& key_id :
       {std::string("../../../../dev/null"), std::string("/proc/self/environ"), std::string("x' UNION SELECT 'one"),
        std::string("http://127.0.0.1:9/"), std::string("one\\u0000"), std::string("one\\r\\nX-StellaOps-Actor: root"),
        std::string("%00"), std::string("$(id)"), std::string(200, 'k'), std::string(5000, 'k')}) {
    tokens.emplace_back("id " + key_id.substr(0, 40), with_key_id(key_id));
  }
  try_all(tokens);

  // What a header says of keys is of no use to a good token, nor does it harm.
  EXPECT_EQ(ask_with(key().sign(header("ES256", "one", thiefs + urls), claims())).status, 200);
}

TEST_F(BadTokens, of_another_time_or_place) {
  const auto with = [](const std::string& members) { return key().token("{" + members + "}"); };
  const std::string who = R"("sub":"ann")";
  const std::string iss = R"("iss":"https://id.test")";
  const std::string aud = R"("aud":"orders")";
  const std::string exp = R"("exp":4102444800)";
  const std::string soon = std::to_string(now_s() + 3600);
  const auto at = [&](const std::string& time) { return with(who + "," + iss + "," + aud + "," + time); };
  const auto from = [&](const std::string& issuer) { return with(who + "," + issuer + "," + aud + "," + exp); };
  const auto for_whom = [&](const std::string& audience) { return with(who + "," + iss + "," + audience + "," + exp); };
  try_all({
      {"expired", at(R"("exp":)" + std::to_string(now_s() - 3600))},
      {"expired in 1970", at(R"("exp":0)")},
      {"expired before", at(R"("exp":-1)")},
      {"exp is a text", at(R"("exp":"4102444800")")},
      {"exp is null", at(R"("exp":null)")},
      {"exp beyond all numbers", at(R"("exp":1e999)")},
      {"exp is beyond 64 bits", at(R"("exp":99999999999999999999)")},
      {"exp is missing", with(who + "," + iss + "," + aud)},
      {"not yet valid", at(exp + R"(,"nbf":)" + soon)},
      {"nbf is a text", at(exp + R"(,"nbf":"0")")},
      {"issued in the future", at(exp + R"(,"iat":)" + soon)},
      {"another audience", for_whom(R"("aud":"billing")")},
      {"other audiences", for_whom(R"("aud":["billing","orders-admin"])")},
      {"an audience in capitals", for_whom(R"("aud":"Orders")")},
      {"no audience", with(who + "," + iss + "," + exp)},
      {"an empty list of audiences", for_whom(R"("aud":[])")},
      {"an audience that is an object", for_whom(R"("aud":{"orders":1})")},
      {"another issuer", from(R"("iss":"https://id.test.evil")")},
      {"an issuer with a slash", from(R"("iss":"https://id.test/")")},
      {"an issuer in capitals", from(R"("iss":"https://ID.test")")},
      {"issuers", from(R"("iss":["https://id.test"])")},
      {"no issuer", with(who + "," + aud + "," + exp)},
  });
}

TEST_F(Identity, every_algorithm_is_good_with_its_key) {
  const TokenMaker rsa = TokenMaker::rsa("rsa");
  const TokenMaker p384 = TokenMaker::ec("p384", "ES384");
  const TokenMaker p521 = TokenMaker::ec("p521", "ES512");
  const TokenMaker edwards = TokenMaker::ed25519("ed");
  write_file("keys.json", TokenMaker::jwks({key(), rsa, p384, p521, edwards}));
  start(trusting());

  std::vector<TokenMaker> makers = {key(), p384, p521, edwards};
  for (const char* name : {"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"})
    makers.push_back(rsa.with_algorithm(name));
  for (const TokenMaker& maker : makers) {
    SCOPED_TRACE(maker.algorithm());
    const std::string token =
        maker.token(R"({"iss":"https://id.test","aud":["other","orders"],"exp":4102444800.5,"sub":")" +
                    maker.algorithm() + R"("})");
    EXPECT_EQ(seen(bearer(token)).field("X-StellaOps-Actor"), maker.algorithm());
    EXPECT_EQ(seen({{"authorization", "bearer  " + token}}).field("X-StellaOps-Actor"), maker.algorithm());
  }
}

TEST_F(Identity, issuers_do_not_speak_for_one_another) {
  const std::string other = "https://other.test";
  const TokenMaker others = TokenMaker::ec("one");  // of the same id
  const TokenMaker shared = TokenMaker::secret(kSharedSecret);
  write_file("other.json", others.jwks());
  start(trusting() + Environment{{"Gateway__Auth__Issuers__1__Issuer", other},
                                 {"Gateway__Auth__Issuers__1__Audiences", kAudience},
                                 {"Gateway__Auth__Issuers__1__JwksFile", path_of("other.json")},
                                 {"Gateway__Auth__Issuers__1__Algorithms", "ES256"},
                                 {"Gateway__Auth__Issuers__2__Issuer", "partner"},
                                 {"Gateway__Auth__Issuers__2__Audiences", kAudience},
                                 {"Gateway__Auth__Issuers__2__Secret", kSharedSecret},
                                 {"Gateway__Auth__Issuers__2__Algorithms", "HS256"}});

  EXPECT_EQ(ask_with(token()).status, 200);
  EXPECT_EQ(ask_with(others.token(claims({}, other))).status, 200);
  EXPECT_EQ(ask_with(shared.token(claims({}, "partner"))).status, 200);

  service_.forget_requests();
  const std::vector<std::pair<std::string, std::string>> bad = {
      {"the first in the other's name", key().token(claims({}, other))},
      {"the other in the first's name", others.token(claims())},
      {"the secret in the first's name", shared.token(claims())},
      {"the secret in the other's name", shared.token(claims({}, other))},
      {"the first in the partner's name", key().token(claims({}, "partner"))},
      {"another secret",
       TokenMaker::secret("another-secret-of-the-tests-0123456789abcdef").token(claims({}, "partner"))},
      {"an HS algorithm that is not named", shared.with_algorithm("HS512").token(claims({}, "partner"))},
  };
  for (const auto& [name, token] : bad) expect_refused(name, ask_with(token), token);
  EXPECT_EQ(service_.request_count(), 0U);
}

TEST_F(Identity, without_anonymous_callers_everything_but_options_needs_a_token) {
  start(trusting() + Environment{{"Gateway__Auth__AllowAnonymous", "false"}});
  const Fields nobody;
  const Fields basic = {{"Authorization", "Basic YW5uOnB3"}};

  for (const Fields& fields : {nobody, basic}) {
    for (const char* target :
         {"/orders/a", "/openapi.json", "/openapi.yaml", "/.well-known/openapi", "/docs", "/none"}) {
      const RawResponse response = ask("GET", target, fields);
      EXPECT_EQ(verdict(response), "401 unauthenticated") << target;
      // RFC 6750 section 3.1: no error where nothing was presented.
      EXPECT_EQ(response.header("WWW-Authenticate"), R"(Bearer realm="outrigger")") << target;
    }
    for (const char* method : {"HEAD", "POST", "DELETE", "PATCH"}) {
      EXPECT_EQ(gateway_->ask(make_request(method, "/orders/a", fields)).status, 401) << method;
    }
  }
  EXPECT_EQ(service_.request_count(), 0U);
  EXPECT_EQ(ask("OPTIONS", "/orders/a").status, 200);
  EXPECT_EQ(service_.last_request().field("X-StellaOps-Actor"), "anonymous");
  EXPECT_EQ(ask("OPTIONS", "*").status, 204);
  // One that sends a token is not let through with a bad one for it.
  EXPECT_EQ(verdict(ask("OPTIONS", "/orders/a", bearer("a.b.c"))), "401 unauthenticated");
  EXPECT_EQ(ask_with(token(), "/openapi.json").status, 200);
  EXPECT_EQ(ask_with(token(), "/none").status, 404);
  EXPECT_TRUE(gateway_->wait_until_ready());
}

TEST_F(Identity, authorization_must_be_one_field_with_one_token) {
  start(trusting());
  const std::string good = token();
  const std::vector<Fields> malformed = {
      bearer(good) + bearer(good),
      bearer(good) + Fields{{"authorization", "Basic YW5uOnB3"}},
      Fields{{"AUTHORIZATION", "Basic YW5uOnB3"}} + bearer(good),
      {{"Authorization", "Basic YTpi"}, {"Authorization", "Basic YTpi"}},
      {{"Authorization", "Bearer"}},
      {{"Authorization", "Bearer  "}},
      {{"Authorization", "Bearer\t" + good}},
      {{"Authorization", "Bearer \t" + good}},
      {{"Authorization", "Bearer\xa0" + good}},  // a space to those who read Latin-1
      {{"Authorization", "Bearer," + good}},
      {{"Authorization", "Bearer=" + good}},
      {{"Authorization", "Bearer " + good + ", Basic YTpi"}},
      {{"Authorization", "Bearer " + good + " " + good}},
      {{"Authorization", "Bearer \"" + good + "\""}},
      {{"Authorization", "bearer a%2eb"}},
      {{"Authorization", "Bearer ==="}},
  };
  for (const Fields& fields : malformed) {
    const RawResponse response = ask("GET", "/orders/a", fields);
    EXPECT_EQ(verdict(response), "400 bad-request") << fields[0].second;
    EXPECT_NE(response.header("WWW-Authenticate").find(R"(error="invalid_request")"), std::string::npos);
  }
  EXPECT_EQ(service_.request_count(), 0U);
}

// --- what the service is told ---------------------------------------------------------------------------------------

TEST_F(Identity, tenant_is_overridden_only_where_that_is_on_and_allowed) {
  const std::string more = R"(,"stellaops:tenant":"acme","stellaops:allowed_tenants":["globex","initech"])";
  const Fields who = bearer(token(more));
  start(trusting());
  EXPECT_EQ(seen(who + Fields{{"X-StellaOps-Tenant", "globex"}}).field("X-StellaOps-Tenant"), "acme");

  ASSERT_TRUE(gateway_->process().terminate());
  start_gateway(trusting() + Environment{{"Gateway__Auth__EnableTenantOverride", "true"}});
  ASSERT_TRUE(is_up());
  const auto tenant = [&](const Fields& fields) {
    const RawRequest request = seen(fields);
    EXPECT_EQ(request.field("X-StellaOps-Tenant"), request.field("X-Stella-Tenant"));
    return request.field("X-StellaOps-Tenant");
  };
  EXPECT_EQ(tenant(who), "acme");
  EXPECT_EQ(tenant(who + Fields{{"x-stellaops-TENANT", "globex"}}), "globex");
  EXPECT_EQ(tenant(who + Fields{{"X-Stella-Tenant", "initech"}}), "initech");
  EXPECT_EQ(tenant(who + Fields{{"X-StellaOps-Tenant", "acme"}}), "acme");
  EXPECT_EQ(tenant(who + Fields{{"X_StellaOps_Tenant", "globex"}}), "acme");  // no field of ours
  EXPECT_EQ(tenant({{"X-StellaOps-Tenant", "globex"}}), "");                  // nobody's
  service_.forget_requests();
  const std::vector<Fields> asking = {{{"X-StellaOps-Tenant", "umbrella"}},
                                      {{"X-StellaOps-Tenant", "GLOBEX"}},
                                      {{"X-StellaOps-Tenant", "globex"}, {"X-StellaOps-Tenant", "initech"}},
                                      {{"X-StellaOps-Tenant", "globex,initech"}},
                                      {{"X-StellaOps-Tenant", "umbrella"}, {"X-Stella-Tenant", "globex"}}};
  for (const Fields& fields : asking) {
    const RawResponse response = ask("GET", "/orders/a", who + fields);
    EXPECT_EQ(verdict(response), "403 forbidden") << fields[0].second;
    EXPECT_NE(response.body.find("ERR_TENANT_OVERRIDE_FORBIDDEN"), std::string::npos) << response.body;
    EXPECT_EQ(response.body.find("globex"), std::string::npos) << response.body;
  }
  // Nobody's token but this one allows it.
  EXPECT_EQ(verdict(ask("GET", "/orders/a", bearer(token()) + Fields{{"X-StellaOps-Tenant", "globex"}})),
            "403 forbidden");
  EXPECT_EQ(service_.request_count(), 0U);
}

TEST_F(Identity, scope_header_is_refused_or_narrows) {
  const Fields who = bearer(token(R"(,"scope":"orders:read orders:write")"));
  const Fields fewer = {{"X-StellaOps-Scopes", "orders:read"}};
  start(trusting());
  for (const Fields& asking : {fewer, Fields{{"x-stella-scopes", "orders:read"}}}) {
    const RawResponse response = ask("GET", "/orders/a", who + asking);
    EXPECT_EQ(verdict(response), "403 forbidden");
    EXPECT_NE(response.body.find("ERR_SCOPE_HEADER_FORBIDDEN"), std::string::npos) << response.body;
  }
  EXPECT_EQ(service_.request_count(), 0U);
  EXPECT_EQ(seen(fewer).field("X-StellaOps-Scopes"), "");  // nobody's
  EXPECT_EQ(seen(who + Fields{{"X_StellaOps_Scopes", "all"}}).field("X-StellaOps-Scopes"), "orders:read orders:write");

  ASSERT_TRUE(gateway_->process().terminate());
  start_gateway(trusting() + Environment{{"Gateway__Auth__AllowScopeHeader", "true"}});
  ASSERT_TRUE(is_up());
  const RawRequest narrowed = seen(who + fewer);
  EXPECT_EQ(narrowed.field("X-StellaOps-Scopes"), "orders:read");
  EXPECT_EQ(narrowed.field("X-Stella-Scopes"), "orders:read");
  EXPECT_EQ(seen(who).field("X-StellaOps-Scopes"), "orders:read orders:write");
  EXPECT_EQ(seen(fewer).field("X-StellaOps-Scopes"), "");
  service_.forget_requests();
  for (const char* wider : {"orders:read admin", "admin", "orders:read,orders:write", "ORDERS:READ"}) {
    const RawResponse response = ask("GET", "/orders/a", who + Fields{{"X-StellaOps-Scopes", wider}});
    EXPECT_EQ(verdict(response), "403 forbidden") << wider;
    EXPECT_NE(response.body.find("ERR_SCOPE_HEADER_FORBIDDEN"), std::string::npos) << response.body;
  }
  EXPECT_EQ(service_.request_count(), 0U);
}

TEST_F(Identity, legacy_headers_may_be_off) {
  start(trusting() + Environment{{"Gateway__Auth__EnableLegacyHeaders", "false"}});
  const std::string rich = token(R"(,"tid":"acme","stellaops:project":"apollo","scp":["a","b"],"scope":"b c")");
  const RawRequest request = seen(bearer(rich) + Fields{{"X-Stella-Actor", "forged"}});
  EXPECT_EQ(request.field("X-StellaOps-Actor"), "ann");
  EXPECT_EQ(request.field("X-StellaOps-Tenant"), "acme");
  EXPECT_EQ(request.field("X-StellaOps-Project"), "apollo");
  EXPECT_EQ(request.field("X-StellaOps-Scopes"), "a b c");
  for (const auto& [name, value] : request.fields) EXPECT_FALSE(name.starts_with("X-Stella-")) << name << ": " << value;
}

TEST_F(Identity, names_of_headers_and_claims_are_a_set) {
  start_gateway(trusting() + Environment{{"Gateway__Auth__HeaderPrefix", "X-Acme-"},
                                         {"Gateway__Auth__LegacyHeaderPrefix", "X-Old-"},
                                         {"Gateway__Auth__ReservedNames__0", "X-Role"},
                                         {"Gateway__Auth__ReservedNames__1", "sub"},
                                         {"Gateway__Auth__Claims__Tenant", "org"},
                                         {"Gateway__Auth__Claims__Project", "team"},
                                         {"Gateway__Auth__Claims__Actor", "email"},
                                         {"Gateway__Auth__Claims__Scopes", "permissions"},
                                         {"Gateway__Auth__Claims__AllowedTenants", "orgs"},
                                         {"Gateway__Auth__EnableTenantOverride", "true"},
                                         {"Gateway__Auth__Envelope__Keys__0__Id", "k1"},
                                         {"Gateway__Auth__Envelope__Keys__0__Secret", kEnvelopeSecret}});
  start_sidecar();
  ASSERT_TRUE(is_up("/orders/", {}));
  const std::string token =
      key().token(claims(R"(,"email":"ann@acme","org":"acme","orgs":["globex"],"team":"apollo","permissions":["read"])"
                         R"(,"tid":"no","scope":"no")"));

  const RawRequest request = seen(bearer(token) + Fields{{"X-Acme-Tenant", "globex"},
                                                         {"x_acme_actor", "forged"},
                                                         {"X-Acme-Anything", "forged"},
                                                         {"X-Old-Actor", "forged"},
                                                         {"X_ROLE", "forged"},
                                                         {"sub", "forged"},
                                                         {"X-StellaOps-Actor", "forged"}});
  EXPECT_EQ(request.head.find("forged"), std::string::npos) << request.head;
  for (const char* prefix : {"X-Acme-", "X-Old-"}) {
    EXPECT_EQ(request.field(std::string(prefix) + "Tenant"), "globex");
    EXPECT_EQ(request.field(std::string(prefix) + "Project"), "apollo");
    EXPECT_EQ(request.field(std::string(prefix) + "Actor"), "ann@acme");
    EXPECT_EQ(request.field(std::string(prefix) + "Scopes"), "read");
  }
  EXPECT_NE(request.field("X-Acme-Identity-Envelope-Signature"), "");
  EXPECT_FALSE(request.has_field("X-StellaOps-Actor"));
  // What has no value is not set.
  EXPECT_FALSE(seen(bearer(IdentityStage::token())).has_field("X-Acme-Actor"));
}

TEST_F(Identity, credentials_go_on_where_nobody_verified_a_token) {
  start(trusting());
  const Fields cookie = {{"Cookie", "session=1"}};
  const Fields basic = Fields{{"Authorization", "Basic YW5uOnB3"}} + cookie;

  RawRequest request = seen(basic);
  EXPECT_EQ(request.field("Authorization"), "Basic YW5uOnB3");
  EXPECT_EQ(request.field("Cookie"), "session=1");
  EXPECT_EQ(request.field("X-StellaOps-Actor"), "anonymous");
  request = seen(bearer(token()) + cookie);
  EXPECT_FALSE(request.has_field("Authorization"));
  EXPECT_FALSE(request.has_field("Cookie"));
  EXPECT_EQ(request.field("X-StellaOps-Actor"), "ann");
}

TEST_F(Identity, credentials_go_on_as_configured_for_each_service) {
  start(trusting() + Environment{{"Gateway__Auth__ForwardCookie", "never"},
                                 {"Gateway__Auth__Services__0__Service", "reader"},
                                 {"Gateway__Auth__Services__0__ForwardAuthorization", "always"},
                                 {"Gateway__Auth__Services__0__ForwardCookie", "always"},
                                 {"Gateway__Auth__Services__1__Service", "deaf"},
                                 {"Gateway__Auth__Services__1__ForwardAuthorization", "never"}});
  for (const char* name : {"reader", "deaf"}) {
    start_sidecar({}, name);
    ASSERT_TRUE(is_up("/" + std::string(name) + "/"));
  }
  const Fields cookie = {{"Cookie", "session=1"}};
  const std::string good = token();
  const Fields ann = bearer(good) + cookie;
  const Fields basic = Fields{{"Authorization", "Basic YW5uOnB3"}} + cookie;
  // What of it arrives, of Authorization and Cookie.
  const auto arrives = [&](const Fields& fields, const char* target) {
    const RawRequest request = seen(fields, target);
    return request.field("Authorization") + "|" + request.field("Cookie");
  };

  EXPECT_EQ(arrives(ann, "/orders/a"), "|");
  EXPECT_EQ(arrives(basic, "/orders/a"), "Basic YW5uOnB3|");
  EXPECT_EQ(arrives(ann, "/reader/a"), "Bearer " + good + "|session=1");
  EXPECT_EQ(arrives(basic, "/reader/a"), "Basic YW5uOnB3|session=1");
  EXPECT_EQ(arrives(ann, "/deaf/a"), "|");
  // What a service's own entry does not say is auto.
  EXPECT_EQ(arrives(basic, "/deaf/a"), "|session=1");
}

TEST_F(Identity, passthrough_believes_nobody_and_forwards_what_it_got) {
  start_gateway(trusting() + Environment{{"Gateway__Auth__Mode", "passthrough"}});
  start_sidecar();
  ASSERT_TRUE(is_up());
  for (const std::string& value : {"Bearer " + token(), std::string("Bearer nonsense"), std::string("Basic YTpi")}) {
    const RawRequest request =
        seen({{"Authorization", value}, {"Cookie", "session=1"}, {"X-StellaOps-Actor", "forged"}});
    EXPECT_EQ(request.field("Authorization"), value);
    EXPECT_EQ(request.field("Cookie"), "session=1");
    EXPECT_EQ(request.field("X-StellaOps-Actor"), "anonymous");
    EXPECT_FALSE(request.has_field("X-StellaOps-Tenant"));
  }
}

// --- keys and time --------------------------------------------------------------------------------------------------

// How often a result was counted.
std::string counted(const Gateway& gateway, const std::string& result) {
  return metric(gateway.health_port(), "outrigger_authentications_total{result=\"" + result + "\"}");
}

TEST_F(Identity, remembered_token_ends_with_its_time) {
  if (kIsSanitized) GTEST_SKIP() << "a sanitizer's runtime must be the first library";
  // The gateway's wall clock is off by what is in this file (stepped_clock.cpp).
  write_file("clock", std::string(8, '\0'));
  start_gateway(trusting() + Environment{{"Gateway__Workers", "1"},
                                         {"Gateway__Auth__Issuers__0__ClockSkew", "0s"},
                                         {"LD_PRELOAD", OUTRIGGER_STEPPED_CLOCK},
                                         {"STEPPED_CLOCK_FILE", path_of("clock")}});
  start_sidecar();
  ASSERT_TRUE(is_up());
  const std::string brief = key().token(R"({"iss":"https://id.test","aud":"orders","sub":"ann","exp":)" +
                                        std::to_string(now_s() + 3600) + "}");
  const std::string cached = counted(*gateway_, "cached");
  ASSERT_NE(cached, "");

  for (int i = 0; i < 3; ++i) EXPECT_EQ(ask_with(brief).status, 200);
  EXPECT_EQ(std::atoi(counted(*gateway_, "cached").c_str()), std::atoi(cached.c_str()) + 2);

  service_.forget_requests();
  const std::int64_t hours_ms = 2 * 3600 * 1000;
  const int file = open(path_of("clock").c_str(), O_WRONLY | O_CLOEXEC);
  ASSERT_EQ(pwrite(file, &hours_ms, sizeof hours_ms, 0), 8);
  close(file);
  for (int i = 0; i < 2; ++i) expect_refused("expired", ask_with(brief), brief);
  EXPECT_EQ(counted(*gateway_, "expired"), "2");
  EXPECT_EQ(service_.request_count(), 0U);
}

TEST_F(Identity, tokens_of_a_key_that_is_taken_out_of_the_file_end) {
  const TokenMaker next = TokenMaker::ec("next");
  start(trusting());
  for (int i = 0; i < 4; ++i) EXPECT_EQ(ask_with(token()).status, 200);  // every worker's cache has it

  write_file("keys.json", next.jwks());

  EXPECT_TRUE(eventually("the old key to be forgotten", [&] { return ask_with(token()).status == 401; }));
  expect_refused("an old key", ask_with(token()), token());
  EXPECT_EQ(ask_with(next.token(claims())).status, 200);
}

TEST_F(Identity, unreadable_keys_leave_the_last_good_ones) {
  start(trusting());
  write_file("keys.json", R"({"keys":[{"kty":"EC","crv":"P-256","kid":"one","x":"AA","y":"AA"}]})");
  // Whether there is such a key cannot be told: 503, not 401.
  EXPECT_EQ(verdict(ask_with(TokenMaker::ec("other").token(claims()))), "503 keys-unavailable");
  EXPECT_EQ(ask_with(token()).status, 200);

  std::filesystem::remove(path_of("keys.json"));
  EXPECT_EQ(verdict(ask_with(TokenMaker::ec("another").token(claims()))), "503 keys-unavailable");
  EXPECT_EQ(ask_with(token()).status, 200);
  EXPECT_TRUE(gateway_->wait_until_ready());
}

TEST_F(Identity, request_that_waits_for_keys_keeps_its_body_and_its_place) {
  const TokenMaker next = TokenMaker::ec("next");
  const std::string fresh = next.token(R"({"iss":"https://id.test","aud":"orders","sub":"ben","exp":4102444800})");
  const std::string body = make_binary(300'000);
  start(trusting());
  write_file("keys.json", TokenMaker::jwks({key(), next}));

  // Three on one connection: the first waits for a key, and none is taken for another's.
  RawClient client(gateway_->port());
  client.send(make_request("POST", "/orders/first", bearer(fresh), body) +
              make_request("GET", "/orders/second", bearer(token())) + make_request("GET", "/orders/third"));
  // Others leave while they wait, or are cut off while they still send.
  for (const std::string& request :
       {make_request("GET", "/orders/left", bearer(TokenMaker::ec("none").token(claims()))),
        make_request("POST", "/orders/cut", bearer(fresh), body).substr(0, 100'000)}) {
    RawClient leaving(gateway_->port());
    leaving.send(request);
  }
  std::vector<std::string> answers;
  for (int i = 0; i < 3; ++i) answers.push_back(client.read_response().body.substr(0, 11));

  EXPECT_EQ(answers, (std::vector<std::string>{"POST /first", "GET /second", "GET /third "}));
  std::vector<std::string> actors;
  for (const RawRequest& request : service_.requests()) {
    actors.push_back(request.target + " " + request.field("X-StellaOps-Actor"));
    EXPECT_EQ(request.body, request.target == "/first" ? body : "");
  }
  EXPECT_EQ(actors, (std::vector<std::string>{"/first ben", "/second ann", "/third anonymous"}));
  EXPECT_TRUE(gateway_->process().is_running());
}

TEST_F(Identity, gateway_ends_while_requests_wait_for_keys) {
  start(trusting() + Environment{{"Gateway__Process__DrainTime", "2s"}});
  Asking first(gateway_->port(), make_request("GET", "/orders/a", bearer(TokenMaker::ec("none").token(claims()))));
  EXPECT_EQ(first.answer().status, 401);  // the next of its kind waits for some seconds
  Asking second(gateway_->port(), make_request("GET", "/orders/a", bearer(TokenMaker::ec("other").token(claims()))));
  ASSERT_TRUE(eventually(
      "it to wait", [&] { return metric(gateway_->health_port(), "outrigger_authentications_awaited_total") == "2"; }));
  EXPECT_TRUE(gateway_->process().terminate());
  EXPECT_NE(second.answer().status, 200);
  EXPECT_EQ(service_.request_count(), 0U);
}

// As Kubernetes replaces the files of a ConfigMap: keys.json -> data/keys.json, data -> version-1.
TEST_F(Identity, file_behind_symbolic_links_is_followed) {
  namespace fs = std::filesystem;
  const TokenMaker next = TokenMaker::ec("next");
  for (const auto& [folder, maker] : {std::pair{"version-1", key()}, {"version-2", next}}) {
    fs::create_directory(path_of(folder));
    std::ofstream(path_of(std::string(folder) + "/keys.json")) << maker.jwks();
  }
  fs::create_directory_symlink("version-1", path_of("data"));
  fs::create_symlink("data/keys.json", path_of("linked.json"));
  start(trusting("linked.json"));

  fs::create_directory_symlink("version-2", path_of("data.new"));
  fs::rename(path_of("data.new"), path_of("data"));
  fs::remove_all(path_of("version-1"));

  // Its key is not known yet: the request waits for it.
  EXPECT_EQ(ask_with(next.token(claims())).status, 200);
  EXPECT_TRUE(eventually("the old key to be forgotten", [&] { return ask_with(token()).status == 401; }));
}

// --- where nothing of it may appear ---------------------------------------------------------------------------------

TEST_F(Identity, no_token_and_no_secret_is_ever_printed) {
  const TokenMaker shared = TokenMaker::secret(kSharedSecret);
  write_file("shared-secret", std::string(kSharedSecret) + "\n");
  const std::string gateway_socket = path_of("g.sock");
  const std::string sidecar_socket = path_of("s.sock");
  const Environment environment =
      trusting() + Environment{{"Gateway__Auth__Issuers__1__Issuer", "partner"},
                               {"Gateway__Auth__Issuers__1__Audiences", kAudience},
                               {"Gateway__Auth__Issuers__1__SecretFile", path_of("shared-secret")},
                               {"Gateway__Auth__Issuers__1__Algorithms", "HS256"},
                               {"Gateway__Auth__Envelope__Keys__0__Id", "k1"},
                               {"Gateway__Auth__Envelope__Keys__0__Secret", kEnvelopeSecret},
                               {"Gateway__Auth__Services__0__Service", "reader"},
                               {"Gateway__Auth__Services__0__ForwardAuthorization", "always"},
                               {"Gateway__RateLimit__Rules__0__Name", "all"},
                               {"Gateway__RateLimit__Rules__0__Per", "subject"},
                               {"Gateway__RateLimit__Rules__0__Scope", "environment"},
                               {"Gateway__RateLimit__Rules__0__Limit", "100000"},
                               {"Gateway__RateLimit__Rules__0__Window", "1h"},
                               {"Gateway__AccessLogQuery", "true"},
                               {"Gateway__Process__LogLevel", "debug"},
                               {"Gateway__Process__Admin", "unix:" + gateway_socket}};
  const Environment of_sidecar = {{"Sidecar__AccessLog", "json"},
                                  {"Sidecar__Process__LogLevel", "debug"},
                                  {"Sidecar__Process__Admin", "unix:" + sidecar_socket}};
  start(environment, of_sidecar);
  start_sidecar({{"Sidecar__AccessLog", "json"}, {"Sidecar__Process__LogLevel", "debug"}}, "reader");
  ASSERT_TRUE(is_up("/reader/"));

  const TokenMaker thief = TokenMaker::ec("thief");
  const std::vector<std::string> tokens = {
      token(),
      shared.token(claims({}, "partner")),
      shared.with_algorithm("HS512").token(claims({}, "partner")),
      thief.token(claims()),
      thief.with_key_id("one").token(claims()),
      key().token(claims({}, "https://elsewhere.test")),
      key().token(R"({"iss":"https://id.test","aud":"orders","sub":"ann","exp":1})"),
      key().token(R"({"iss":"https://id.test","aud":"billing","sub":"ann","exp":4102444800})"),
      key().token(R"({"iss":"https://id.test","aud":"orders","sub":"with\u0001control","exp":4102444800})"),
      key().sign("{", claims()),
      "nonsense-that-is-no-token-at-all",
  };
  std::size_t sent = 0;
  for (const std::string& each : tokens) {
    for (const char* target : {"/orders/a", "/reader/a", "/none", "/openapi.json", "/orders/../a"}) {
      const RawResponse response = ask("GET", target, bearer(each));
      EXPECT_NE(response.status, 0) << response.problem;
      ++sent;
    }
    (void)ask("GET", "/orders/a", bearer(each) + bearer(each));
    (void)ask("GET", "/orders/a", {{"Authorization", "Bearer \"" + each + "\""}});
    (void)gateway_->ask("GET /orders/a HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer " + each + "\r\n bad\r\n\r\n");
    (void)gateway_->ask(make_chunked_request("POST", "/orders/a", each, 100) + "x");
  }
  EXPECT_GT(service_.request_count(), 4U);

  std::string printed;
  const auto add_views = [&printed](const std::string& socket, std::initializer_list<const char*> targets) {
    for (const char* target : targets) {
      RawClient client(net::Endpoint::unix_socket(socket));
      client.send(make_request("GET", target));
      const RawResponse response = client.read_response();
      EXPECT_EQ(response.status, 200) << target << response.problem;
      printed += response.body;
    }
  };
  add_views(gateway_socket, {"/", "/config", "/routes?service=orders", "/routes", "/instances"});
  add_views(sidecar_socket, {"/", "/config", "/status"});
  for (const char* target : {"/metrics", "/readyz?verbose", "/livez?verbose"}) {
    printed += get(gateway_->health_port(), target).body;
  }
  printed += valkey_->cli({"KEYS", "*"});
  ASSERT_TRUE(gateway_->process().terminate());
  for (const auto& sidecar : sidecars_) {
    ASSERT_TRUE(sidecar->process().terminate());
    printed += sidecar->process().out() + sidecar->process().err();
  }
  printed += gateway_->process().out() + gateway_->process().err();
  for (const char* mode : {"show", "validate"}) {
    ChildProcess::Options options;
    options.command = {OUTRIGGER_GATEWAY, "--mode", mode};
    options.environment = environment;
    ChildProcess process(std::move(options));
    EXPECT_TRUE(process.wait_for_exit());
    printed += process.out() + process.err();
  }

  std::vector<std::string> secrets = {kSharedSecret, kEnvelopeSecret};
  for (const std::string& each : tokens) {
    for (const std::string& part : parts_of(each)) {
      if (part.size() >= 16) secrets.push_back(part);
    }
  }
  for (const std::string& secret : secrets) {
    const std::size_t at = printed.find(secret);
    EXPECT_EQ(at, std::string::npos) << secret << ": ..." << printed.substr(at < 200 ? 0 : at - 200, 400);
  }
  EXPECT_NE(printed.find("\"subject\":\"ann\""), std::string::npos);
  EXPECT_NE(printed.find(" debug "), std::string::npos);
  EXPECT_GE(std::count(printed.begin(), printed.end(), '\n'), static_cast<std::ptrdiff_t>(sent));
}

TEST_F(Identity, record_has_the_verified_subject_and_no_other) {
  start(trusting());
  (void)ask("GET", "/orders/verified", bearer(token()) + Fields{{"sub", "forged"}});
  (void)ask("GET", "/orders/anonymous", {{"sub", "forged"}, {"X-StellaOps-Actor", "forged"}});
  (void)ask("GET", "/orders/refused", bearer(TokenMaker::ec("one").token(claims())));

  const auto subject_of = [&](const std::string& path) {
    json found;
    EXPECT_TRUE(eventually("a record of " + path, [&] {
      const std::string text = gateway_->process().out();
      const std::size_t at = text.find("\"path\":\"" + path + "\"");
      if (at == std::string::npos) return false;
      const std::size_t begin = text.rfind('\n', at) + 1;  // npos + 1: the first line
      const std::size_t end = text.find('\n', at);
      if (end == std::string::npos) return false;
      found = json::parse(text.substr(begin, end - begin));
      return true;
    }));
    return found["subject"];
  };
  EXPECT_EQ(subject_of("/orders/verified"), "ann");
  EXPECT_TRUE(subject_of("/orders/anonymous").is_null());
  EXPECT_TRUE(subject_of("/orders/refused").is_null());
  EXPECT_EQ(gateway_->process().out().find("forged"), std::string::npos);
}

// --- the envelope ---------------------------------------------------------------------------------------------------

class Enveloped : public Identity {
 protected:
  static base::HeaderList fields_of(const RawRequest& request) {
    base::HeaderList fields;
    for (const auto& [name, value] : request.fields) fields.add(name, value);
    return fields;
  }
  // What a service that has both keys finds in it.
  static json opened(const RawRequest& request) {
    const auto signer = identity::EnvelopeSigner::make(
        {.keys = {{"other", "another-envelope-secret-of-the-tests-01"}, {"k1", kEnvelopeSecret}}});
    EXPECT_TRUE(signer.has_value());
    const auto text = signer->verify(fields_of(request), base::system_clock().wall(), 0s);
    EXPECT_TRUE(text.has_value()) << text.error().detail << "\n" << request.head;
    return text ? json::parse(*text) : json::object();
  }
  static std::string hash_of(const std::string& text) {
    unsigned char digest[SHA256_DIGEST_LENGTH];
    SHA256(reinterpret_cast<const unsigned char*>(text.data()), text.size(), digest);
    return encode_base64url(std::string_view(reinterpret_cast<const char*>(digest), sizeof digest));
  }
  Environment signing() const {
    return trusting() + Environment{{"Gateway__Auth__Envelope__Keys__0__Id", "k1"},
                                    {"Gateway__Auth__Envelope__Keys__0__Secret", kEnvelopeSecret},
                                    {"Gateway__Auth__Envelope__Issuer", "gateway.test"}};
  }
};

TEST_F(Enveloped, every_request_proves_itself) {
  start(signing());
  start_sidecar({{"Sidecar__Service__Mount", "/"}}, "root");
  ASSERT_TRUE(is_up("/a"));
  const Fields ann = bearer(token(R"(,"tid":"acme","stellaops:project":"apollo","scope":"orders:read")"));
  struct Sent {
    std::string request;
    std::string service;
    bool is_anonymous;
  };
  const std::string forged = "X-StellaOps-Identity-Envelope: forged";
  const std::vector<Sent> all = {
      {make_request("GET", "/orders/a?x=1&y=%20", ann), "orders", false},
      {make_request("GET", "/orders?x", ann), "orders", false},
      {make_request("POST", "/orders/a", ann, "body"), "orders", false},
      {make_request("DELETE", "/a/%c3%a4;p=1", ann), "root", false},
      {make_request("OPTIONS", "/a", {}), "root", true},
      {make_request("GET", "/orders/a?/../b"), "orders", true},
      {make_chunked_request("PUT", "/a", "body of a chunked request", 5), "root", true},
      {"GET /orders/a HTTP/1.0\r\n\r\n", "orders", true},
      {"GET http://example.test/orders/a?z HTTP/1.1\r\nHost: example.test\r\n\r\n", "orders", true},
      {make_request("GET", "/orders/a", ann + Fields{{"X-StellaOps-Identity-Envelope-Kid", "k1"}, {forged, "1"}}),
       "orders", false},
  };
  std::vector<std::string> ids;
  for (const Sent& each : all) {
    SCOPED_TRACE(each.request);
    service_.forget_requests();
    const RawResponse response = gateway_->ask(each.request);
    ASSERT_EQ(response.status, 200) << response.problem << response.body;
    const RawRequest request = service_.last_request();
    for (const char* end : {"", "-Signature", "-Alg", "-Kid", "-Iat", "-Exp"}) {
      EXPECT_EQ(values_of(request.fields, "X-StellaOps-Identity-Envelope" + std::string(end)).size(), 1U) << end;
    }
    const json envelope = opened(request);
    EXPECT_EQ(envelope.value("iss", ""), "gateway.test");
    EXPECT_EQ(envelope.value("aud", ""), each.service);
    EXPECT_EQ(envelope.value("method", ""), request.method);
    EXPECT_EQ(envelope.value("host", ""), request.field("Host"));
    EXPECT_EQ(envelope.value("target_sha256", ""), hash_of(request.target)) << request.target;
    EXPECT_EQ(envelope.value("rid", ""), request.field("X-Request-Id"));
    EXPECT_EQ(envelope.value("rid", ""), response.header("X-Request-Id"));
    EXPECT_EQ(envelope.value("actor", ""), each.is_anonymous ? "anonymous" : "ann");
    EXPECT_EQ(envelope.contains("token_iss"), !each.is_anonymous);
    EXPECT_EQ(envelope.contains("tenant"), !each.is_anonymous);
    if (!each.is_anonymous) {
      EXPECT_EQ(envelope["sub"], "ann");
      EXPECT_EQ(envelope["token_iss"], kIssuer);
      EXPECT_EQ(envelope["tenant"], "acme");
      EXPECT_EQ(envelope["project"], "apollo");
      EXPECT_EQ(envelope["scopes"], json({"orders:read"}));
    }
    ids.push_back(envelope.value("rid", ""));
    // It outlives the request's time, 30 s.
    EXPECT_EQ(std::atoll(request.field("X-StellaOps-Identity-Envelope-Exp").c_str()) -
                  std::atoll(request.field("X-StellaOps-Identity-Envelope-Iat").c_str()),
              60);
  }
  std::sort(ids.begin(), ids.end());
  EXPECT_EQ(std::unique(ids.begin(), ids.end()), ids.end());
}

TEST_F(Enveloped, what_is_changed_on_the_way_does_not_verify) {
  start(signing());
  RawRequest request = seen(bearer(token()));
  ASSERT_FALSE(opened(request).empty());
  const auto signer = identity::EnvelopeSigner::make({.keys = {{"k1", kEnvelopeSecret}}});
  for (auto& [name, value] : request.fields) {
    if (!name.starts_with("X-StellaOps-Identity-Envelope")) continue;
    const std::string good = value;
    value.back() = value.back() == '1' ? '2' : '1';
    EXPECT_FALSE(signer->verify(fields_of(request), base::system_clock().wall())) << name;
    value = good;
  }
  EXPECT_TRUE(signer->verify(fields_of(request), base::system_clock().wall()));
}

TEST_F(Enveloped, never_leaves_with_an_answer) {
  start(signing());
  service_.set_script([](const RawRequest& request, ScriptedService::Connection& connection) {
    std::string head = "HTTP/1.1 200 OK\r\n";
    std::string trailers;
    for (const char* end : {"", "-Signature", "-Alg", "-Kid", "-Iat", "-Exp", "-Other"}) {
      const std::string value = request.field("X-StellaOps-Identity-Envelope" + std::string(end));
      for (std::string name :
           {"X-StellaOps-Identity-Envelope", "x-stellaops-identity-envelope", "X_StellaOps_Identity_Envelope",
            "X-STELLAOPS.IDENTITY-ENVELOPE", "X-Stella-Identity-Envelope"}) {
        name += end;
        head += name + ": " + value + "\r\n";
        trailers += name + ": " + value + "\r\n";
      }
    }
    connection.send(head + "X-StellaOps-Kept: 1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n" + trailers +
                    "\r\n");
  });
  for (const Fields& who : {bearer(token()), Fields{}}) {
    const RawResponse response = ask("GET", "/orders/a", who);
    ASSERT_EQ(response.status, 200) << response.body;
    EXPECT_EQ(response.body, "ok");
    EXPECT_EQ(response.header("X-StellaOps-Kept"), "1");
    std::string fields;
    for (const auto* each : {&response.headers, &response.trailers}) {
      for (const auto& [name, value] : *each) fields += name + ": " + value + "\n";
    }
    std::string lower = fields;
    std::transform(lower.begin(), lower.end(), lower.begin(), [](unsigned char c) { return std::tolower(c); });
    EXPECT_EQ(lower.find("envelope"), std::string::npos) << fields;
    EXPECT_EQ(fields.find(service_.last_request().field("X-StellaOps-Identity-Envelope-Signature")), std::string::npos);
  }
}

// --- proxies in front -----------------------------------------------------------------------------------------------

std::vector<std::string> spellings_of(const std::string& name) {
  std::string upper = name;
  std::string lower = name;
  std::string underscored = name;
  std::string dotted = name;
  for (std::size_t i = 0; i < name.size(); ++i) {
    upper[i] = static_cast<char>(std::toupper(static_cast<unsigned char>(name[i])));
    lower[i] = static_cast<char>(std::tolower(static_cast<unsigned char>(name[i])));
    if (name[i] == '-') underscored[i] = '_', dotted[i] = '.';
  }
  std::string last = name;
  if (last.find('-') != std::string::npos) last[last.rfind('-')] = '_';
  std::vector<std::string> all = {name, upper, lower, underscored, dotted, last};
  std::sort(all.begin(), all.end());
  all.erase(std::unique(all.begin(), all.end()), all.end());
  return all;
}

class Proxied : public Identity {
 protected:
  static inline const std::vector<std::string> kNames = {
      "X-Forwarded-For",      "X-Forwarded-Proto",  "X-Forwarded-Host",   "X-Forwarded-Prefix",
      "X-Forwarded-Port",     "X-Forwarded-Server", "X-Forwarded-Scheme", "X-Forwarded-User",
      "X-Forwarded-Whatever", "Forwarded",          "X-Real-IP",          "X-Request-Id"};
  static std::string about_origin(const RawRequest& request) {
    std::string text;
    for (const char* name : {"X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host", "X-Forwarded-Prefix"}) {
      text += std::string(text.empty() ? "" : " ") + request.field(name);
    }
    return text;
  }
};

TEST_F(Proxied, what_a_stranger_says_of_where_it_comes_from_is_replaced) {
  for (const char* trusted : {"", "192.0.2.7", "10.0.0.0/8"}) {
    start_gateway(std::string_view(trusted).empty() ? trusting()
                                                    : trusting() + Environment{{"Gateway__TrustedProxies", trusted}});
    if (sidecars_.empty()) start_sidecar();
    ASSERT_TRUE(is_up());
    for (const std::string& name : kNames) {
      for (const std::string& spelling : spellings_of(name)) {
        for (const char* value : {"forged", "127.0.0.1, forged", "for=forged"}) {
          const RawRequest request = seen({{spelling, value}, {spelling, value}});
          EXPECT_EQ(request.head.find("forged"), std::string::npos) << request.head;
          EXPECT_EQ(about_origin(request), "127.0.0.1 http example.test /orders") << request.head;
          EXPECT_EQ(values_of(request.fields, "X-Request-Id").size(), 1U);
        }
      }
    }
    ASSERT_TRUE(gateway_->process().terminate());
  }
}

TEST_F(Proxied, what_a_trusted_proxy_says_goes_on) {
  start(trusting() +
        Environment{{"Gateway__TrustedProxies__0", "192.0.2.7"}, {"Gateway__TrustedProxies__1", "127.0.0.0/8"}});
  const RawRequest request = seen({{"X-Forwarded-For", "203.0.113.9"},
                                   {"X-Forwarded-Proto", "https"},
                                   {"X-Forwarded-Host", "shop.test"},
                                   {"X-Forwarded-Prefix", "/outer"},
                                   {"X-Real-IP", "203.0.113.9"},
                                   {"X-Request-Id", "id-of-the-proxy"},
                                   {"Forwarded", "for=forged"}});
  EXPECT_EQ(about_origin(request), "203.0.113.9, 127.0.0.1 https shop.test /outer/orders");
  EXPECT_EQ(request.field("X-Real-IP"), "203.0.113.9");
  EXPECT_EQ(request.field("X-Request-Id"), "id-of-the-proxy");
  EXPECT_FALSE(request.has_field("Forwarded"));

  // What the proxy did not write itself: the spellings that only clients use, and who the caller is.
  for (const std::string& name : kNames) {
    for (const std::string& spelling : spellings_of(name)) {
      if (spelling.find_first_of("_.") == std::string::npos) continue;
      const RawRequest other = seen({{spelling, "forged"}});
      EXPECT_EQ(other.head.find("forged"), std::string::npos) << other.head;
    }
  }
  EXPECT_EQ(seen({{"X-StellaOps-Actor", "forged"}, {"X-Forwarded-For", "203.0.113.9"}}).field("X-StellaOps-Actor"),
            "anonymous");
  // An id that is not fit for logs is nobody's.
  EXPECT_EQ(seen({{"X-Request-Id", "forged id\""}}).head.find("forged"), std::string::npos);
}

}  // namespace
}  // namespace outrigger::tests
