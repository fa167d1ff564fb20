// `outrigger token check` as an operator runs it: what is accepted, why each kind of token is refused, with which keys, and
// that a gateway with the same configuration says the same. No output ever has the token, or a secret.
#include <fcntl.h>
#include <gmock/gmock.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "tests/e2e/programs.h"
#include "tests/support/token_maker.h"

namespace outrigger::tests {
namespace {

using namespace std::chrono_literals;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::MatchesRegex;
using ::testing::Not;
using Json = nlohmann::json;

const std::string kIssuer = "https://id.test";
const std::string kSecret = "a-secret-that-nobody-may-ever-see-anywhere";

struct Ran {
  int status = 0;
  std::string out;
  std::string err;
};

class TokenCheck : public ::testing::Test {
 protected:
  TokenCheck() {
    char name[] = "/tmp/outrigger-token-XXXXXX";
    folder_ = ::mkdtemp(name);
    write("keys.json", maker_.jwks());
  }
  ~TokenCheck() override { std::filesystem::remove_all(folder_); }

  std::string write(const std::string& name, const std::string& text) const {
    std::ofstream(folder_ + "/" + name, std::ios::binary) << text;
    return folder_ + "/" + name;
  }
  // A configuration whose one issuer has these members besides its name, then others of Auth.
  std::string config(const std::string& issuer, const std::string& auth = {}) const {
    return write("gateway.yaml",
                 "Gateway:\n  Auth:\n    Issuers:\n      - { Issuer: '" + kIssuer + "', " + issuer + " }\n" + auth);
  }
  std::string usual_config(const std::string& auth = {}) const {
    return config("Audiences: [orders, billing], JwksFile: '" + folder_ + "/keys.json'", auth);
  }

  static std::int64_t now_s() {
    return std::chrono::duration_cast<std::chrono::seconds>(base::system_clock().wall()).count();
  }
  static std::string seconds_from_now(std::int64_t seconds) { return std::to_string(now_s() + seconds); }
  // Good but for what `members` say; theirs count.
  static std::string payload(const Json& members = Json::object()) {
    Json claims = {{"iss", kIssuer}, {"aud", "orders"}, {"sub", "ada"}, {"tid", "acme"}, {"exp", now_s() + 600}};
    claims.merge_patch(members);
    return claims.dump();
  }

  // `input` is what standard input has. Of it nothing may come out again.
  Ran run(const std::string& input, std::vector<std::string> arguments, Environment environment = {}) const {
    return run_from(write("input", input), input, std::move(arguments), std::move(environment));
  }
  Ran run_from(const std::string& file, const std::string& input, std::vector<std::string> arguments,
               Environment environment = {}) const {
    arguments.insert(arguments.begin(), {"sh", "-c", "exec \"$0\" \"$@\" < " + file, OUTRIGGER, "token", "check"});
    ChildProcess process({.command = std::move(arguments), .environment = std::move(environment), .directory = {}});
    EXPECT_TRUE(process.wait_for_exit());
    const int status = process.status().value_or(-1);
    process.expect_status(status);
    const Ran ran{status, process.out(), process.err()};
    for (const std::string& text : {ran.out, ran.err}) {
      EXPECT_THAT(text, Not(HasSubstr(kSecret)));
      for (std::size_t from = 0; from < input.size();) {  // header, payload and signature, each by itself
        const std::size_t dot = std::min(input.find_first_of(". \r\n", from), input.size());
        if (dot - from > 16) {
          EXPECT_THAT(text, Not(HasSubstr(input.substr(from, dot - from))));
        }
        from = dot + 1;
      }
    }
    return ran;
  }
  Json json(const std::string& token, std::vector<std::string> arguments, int status, Environment environment = {}) const {
    arguments.insert(arguments.end(), {"-o", "json"});
    const Ran ran = run(token, std::move(arguments), std::move(environment));
    EXPECT_EQ(ran.status, status) << ran.out << ran.err;
    EXPECT_EQ(ran.err, "");
    const Json all = Json::parse(ran.out, nullptr, false);
    return all.is_object() ? all : Json::object();
  }

  // "step: reason", or the verdict of what is not refused.
  static std::string why(const Json& all) {
    return all.contains("step") ? all.value("step", "") + ": " + all.value("reason", "") : all.value("verdict", "");
  }

  const TokenMaker maker_ = TokenMaker::ec("one");
  std::string folder_;
};

TEST_F(TokenCheck, accepted_token_shows_key_caller_and_fields) {
  const std::string token = maker_.token(payload({{"scope", "orders:read orders:write"}, {"stellaops:project", "apollo"}}));

  const Ran ran = run(token, {"--config", usual_config()});

  EXPECT_EQ(ran.status, 0) << ran.err;
  EXPECT_EQ(ran.err, "");
  EXPECT_THAT(ran.out, MatchesRegex("verdict          accepted\n"
                                    "key              one, ES256\n"
                                    "of issuer        https://id.test\n"
                                    "from             " + folder_ + "/keys.json\n"
                                    "\n"
                                    "The token says:\n"
                                    "alg              ES256\n"
                                    "typ              JWT\n"
                                    "kid              one\n"
                                    "iss              https://id.test\n"
                                    "aud              orders\n"
                                    "exp              [0-9]+, [0-9]+-[0-9]+-[0-9T:]+.000Z, in [0-9]+m\n"
                                    "\n"
                                    "The caller:\n"
                                    "actor            ada\n"
                                    "tenant           acme\n"
                                    "project          apollo\n"
                                    "scopes           orders:read orders:write\n"
                                    "\n"
                                    "A service is told:\n"
                                    "X-StellaOps-Tenant: acme\n"
                                    "X-Stella-Tenant: acme\n"
                                    "X-StellaOps-Project: apollo\n"
                                    "X-Stella-Project: apollo\n"
                                    "X-StellaOps-Actor: ada\n"
                                    "X-Stella-Actor: ada\n"
                                    "X-StellaOps-Scopes: orders:read orders:write\n"
                                    "X-Stella-Scopes: orders:read orders:write\n"));
}

TEST_F(TokenCheck, white_space_and_the_scheme_around_a_token_are_not_its_own) {
  const std::string token = maker_.token(payload());
  for (const std::string& input : {token + "\n", "Bearer " + token + "\r\n", "\n  bearer   " + token + "  \n\n"}) {
    EXPECT_EQ(run(input, {"--config", usual_config()}).status, 0) << input;
  }
}

struct Refused {
  std::string token;
  std::string why;   // "step: reason"
  std::string hint;  // part of detail and hint
};

class Refusals : public TokenCheck {
 protected:
  std::vector<Refused> cases() const {
    const std::string good = maker_.token(payload());
    std::string changed = good;
    changed[good.size() / 2] = changed[good.size() / 2] == 'a' ? 'b' : 'a';
    const auto with_header = [&](const std::string& members) {
      return maker_.sign(R"({"kid":"one",)" + members + "}", payload());
    };
    const TokenMaker other = TokenMaker::ec("one");
    return {
        {std::string(17 * 1024, 'a'), "form: too-large", "16384"},
        {"an-opaque-token-of-some-length", "form: malformed", "1 parts between dots"},
        {"aaaaaaaaaaaaaaaaaaaa.b.c.d.e", "form: malformed", "encrypted"},
        {'"' + good + '"', "form: unclear-authorization", "quotes"},
        {good + "\n" + good, "form: unclear-authorization", "more than one"},
        {with_header(R"("alg":"ES256","crit":["exp"])"), "form: unsupported-critical", "crit"},
        {with_header(R"("alg":"ES256","typ":"logout+jwt")"), "form: wrong-type", "at+jwt"},
        {with_header(R"("alg":"none")"), "algorithm: algorithm-not-allowed", "Algorithms"},
        {TokenMaker::secret(maker_.public_pem()).token(payload()), "algorithm: algorithm-not-allowed",
         "Gateway:Auth:Issuers:0:Algorithms has RS256"},
        {maker_.token(payload({{"iss", kIssuer + "/"}})), "issuer: unknown-issuer",
         "has https://id.test. They differ in the slash"},
        {maker_.token(payload({{"iss", nullptr}})), "issuer: unknown-issuer", "has https://id.test: compare them"},
        {maker_.with_key_id("two").token(payload()), "key: unknown-key", "one (ES256), from " + folder_ + "/keys.json"},
        {other.token(payload()), "signature: bad-signature", "another environment"},
        {maker_.token(payload({{"exp", nullptr}})), "times: no-expiry", "exp"},
        {maker_.token(payload({{"exp", now_s() - 1000}})), "times: expired", "it ended 16m ago"},
        {maker_.token(payload({{"nbf", now_s() + 1000}})), "times: not-yet-valid", "it begins in 16m"},
        {maker_.token(payload({{"exp", "soon"}})), "claims: malformed", "exp is not a number"},
        {maker_.token(payload({{"aud", {"else", "where"}}})), "audience: wrong-audience",
         "aud is else, where; Gateway:Auth:Issuers:0:Audiences has orders, billing"},
        {maker_.token(payload({{"sub", "anonymous"}})), "caller: unfit-claim", "without a token"},
    };
  }
};

TEST_F(Refusals, are_told_with_their_step_reason_and_remedy) {
  const std::string config = usual_config();
  for (const Refused& each : cases()) {
    SCOPED_TRACE(each.why + " " + each.hint);
    const Json all = json(each.token, {"--config", config}, 1);

    EXPECT_EQ(all.value("verdict", ""), "refused");
    EXPECT_EQ(why(all), each.why);
    EXPECT_THAT(all.value("detail", "") + ". " + all.value("hint", ""), HasSubstr(each.hint));
    EXPECT_EQ(all.value("headers", Json()), Json::array());
    // From the times on, what the token says is its issuer's word.
    const std::string step = all.value("step", "");
    const bool is_proved = step == "times" || step == "claims" || step == "audience" || step == "caller";
    EXPECT_EQ(all.value("signature_proved", !is_proved), is_proved);
    EXPECT_EQ(all.contains("key"), is_proved);
    const std::string said = run(each.token, {"--config", config}).out;
    EXPECT_THAT(said, HasSubstr("reason           " + each.why.substr(each.why.find(' ') + 1)));
    if (all["token"].empty()) continue;
    EXPECT_THAT(said, HasSubstr(is_proved ? "The token says:\n" : "The token says, and anybody can have written it:\n"));
  }
}

TEST_F(Refusals, are_those_of_a_gateway_with_the_same_configuration) {
  OUTRIGGER_NEEDS_VALKEY();
  ValkeyServer valkey;
  Gateway gateway(valkey, {}, {"--config", usual_config()});
  ASSERT_TRUE(gateway.wait_until_ready());
  const auto answer = [&](const std::string& token) {
    return gateway.ask(make_request("GET", "/nowhere", {{"Authorization", "Bearer " + token}}));
  };
  for (const Refused& each : cases()) {
    if (each.token.find('\n') != std::string::npos) continue;  // no field
    SCOPED_TRACE(each.why);
    const RawResponse refused = answer(each.token);
    const std::string reason = each.why.substr(each.why.find(' ') + 1);
    if (reason == "unclear-authorization") {
      EXPECT_EQ(refused.status, 400);
    } else if (reason == "unfit-claim") {
      EXPECT_EQ(refused.status, 403);
    } else {
      EXPECT_EQ(refused.status, 401);
      EXPECT_THAT(refused.header("WWW-Authenticate"), HasSubstr("error_description=\"" + reason + "\""));
    }
  }
  EXPECT_EQ(answer(maker_.token(payload())).status, 404) << "a good one goes on, to no route";
}

TEST_F(TokenCheck, what_the_request_asks_for_is_granted_or_refused) {
  const std::string token =
      maker_.token(payload({{"scope", "read write"}, {"stellaops:allowed_tenants", {"beta", "gamma"}}}));
  const auto ask = [&](const std::string& auth, std::vector<std::string> arguments, int status,
                       Environment environment = {}) {
    arguments.insert(arguments.begin(), {"--config", usual_config(auth)});
    return json(token, std::move(arguments), status, std::move(environment));
  };
  const std::string on = "    EnableTenantOverride: true\n    AllowScopeHeader: true\n    EnableLegacyHeaders: false\n";

  EXPECT_EQ(ask(on, {"--tenant", "beta", "--scopes", "write"}, 0)["headers"],
            Json::parse(R"([["X-StellaOps-Tenant","beta"],["X-StellaOps-Actor","ada"],["X-StellaOps-Scopes","write"]])"));
  const Json tenant = ask(on, {"--tenant", "delta"}, 1);
  EXPECT_EQ(why(tenant), "request: ERR_TENANT_OVERRIDE_FORBIDDEN");
  EXPECT_EQ(tenant["hint"], "claim stellaops:allowed_tenants has beta, gamma");
  EXPECT_EQ(tenant["caller"]["tenant"], "acme") << "as the token says";
  const Json scopes = ask(on, {"--scopes", "write admin"}, 1);
  EXPECT_EQ(why(scopes), "request: ERR_SCOPE_HEADER_FORBIDDEN");
  EXPECT_EQ(scopes["hint"], "ask for some of these: read, write");

  const Json passed_over = ask("", {"--tenant", "beta"}, 0);
  EXPECT_EQ(passed_over["caller"]["tenant"], "acme");
  EXPECT_THAT(passed_over["notes"].dump(), HasSubstr("EnableTenantOverride is off"));
  EXPECT_THAT(ask("", {"--scopes", "write"}, 1).value("hint", ""), HasSubstr("Gateway:Auth:AllowScopeHeader is off"));
  EXPECT_EQ(ask("", {"--scopes", "write"}, 0, {{"Gateway__Auth__AllowScopeHeader", "true"}})["caller"]["scopes"],
            Json::array({"write"}))
      << "the environment counts, as for the gateway";
}

TEST_F(TokenCheck, keys_come_from_where_the_gateway_has_them_from) {
  ScriptedService issuer;
  const std::string name = issuer.url();
  std::string discovered = name;
  issuer.set_script([&](const RawRequest& request, ScriptedService::Connection& connection) {
    const std::string document = R"({"issuer":")" + discovered + R"(","jwks_uri":")" + name + R"(/jwks"})";
    connection.send(request.target == "/jwks" ? make_response("200 OK", {}, maker_.jwks())
                    : request.target == "/.well-known/openid-configuration" ? make_response("200 OK", {}, document)
                                                                            : make_response("404 Not Found", {}, ""));
  });
  const std::string token = maker_.token(payload({{"iss", name}}));
  const auto check = [&](const std::string& source, int status) {
    return json(token,
                {"--config", write("url.yaml", "Gateway: { Auth: { Issuers: [ { Issuer: '" + name +
                                                   "', Audiences: [orders]" + source + " } ] } }\n")},
                status);
  };

  EXPECT_EQ(check(", JwksUrl: '" + name + "/jwks'", 0)["key"]["from"], name + "/jwks");
  EXPECT_EQ(check("", 0)["key"]["from"], name + "/jwks") << "by discovery";
  const Json absent = check(", JwksUrl: '" + name + "/absent'", 1);
  EXPECT_EQ(why(absent), "key: no-keys");
  EXPECT_THAT(absent.value("hint", ""), AllOf(HasSubstr(name + "/absent"), HasSubstr("404")));
  discovered = "http://other.test";
  EXPECT_THAT(check("", 1).value("hint", ""), HasSubstr(R"(the discovery document is of issuer "http://other.test")"));
  issuer.refuse();
  const Json away = check("", 1);
  EXPECT_EQ(why(away), "key: no-keys");
  EXPECT_THAT(away.value("hint", ""), HasSubstr(name));
}

TEST_F(TokenCheck, token_of_a_secret_may_have_any_kid) {
  const std::string config = this->config("Audiences: [orders], Algorithms: [HS256], Secret: '" + kSecret + "'");
  const TokenMaker signer = TokenMaker::secret(kSecret);

  for (const TokenMaker& each : {signer, signer.with_key_id("theirs")}) {
    const Json all = json(each.token(payload()), {"--config", config}, 0);
    EXPECT_EQ(all["key"]["from"], "Gateway:Auth:Issuers:0:Secret");
    EXPECT_EQ(all["key"]["algorithm"], "HS256");
  }
  const Json forged = json(TokenMaker::secret(std::string(32, 'x')).token(payload()), {"--config", config}, 1);
  EXPECT_EQ(why(forged), "signature: bad-signature");
  EXPECT_THAT(forged.value("hint", ""), HasSubstr("another Secret"));
}

TEST_F(TokenCheck, signed_envelope_is_announced_by_its_key_alone) {
  const std::string config =
      usual_config("    Envelope: { Keys: [ { Id: '2026-01', Secret: '" + kSecret + "' } ] }\n");

  EXPECT_THAT(json(maker_.token(payload()), {"--config", config}, 0)["notes"].dump(), HasSubstr("2026-01"));
}

TEST_F(TokenCheck, gateway_that_verifies_nothing_accepts_nothing) {
  for (const std::string& config :
       {usual_config("    Mode: passthrough\n"), write("empty.yaml", "Gateway: { Listen: ['127.0.0.1:0'] }\n")}) {
    const Json all = json(maker_.token(payload()), {"--config", config}, 1);

    EXPECT_EQ(all.value("verdict", ""), "not verified");
    EXPECT_EQ(all.value("reason", ""), "passthrough");
    EXPECT_EQ(all["caller"]["actor"], "anonymous");
    EXPECT_EQ(all["headers"][0], Json::array({"X-StellaOps-Actor", "anonymous"}));
  }
}

TEST_F(TokenCheck, signature_alone_can_be_looked_at) {
  const std::string keys = folder_ + "/keys.json";
  const std::string old = maker_.token(payload({{"exp", 1700000000}, {"iss", "who knows"}}));

  const Json good = json(old, {"--jwks", keys, "--signature-only"}, 0);
  const Json unknown = json(maker_.with_key_id("two").token(payload()), {"--jwks", keys, "--signature-only"}, 1);
  const Json forged = json(TokenMaker::ec("one").token(payload()), {"--jwks", keys, "--signature-only"}, 1);

  EXPECT_EQ(good["key"]["id"], "one");
  EXPECT_EQ(good["token"]["iss"], "who knows");
  EXPECT_THAT(good["notes"].dump(), HasSubstr("the signature alone"));
  EXPECT_FALSE(good.contains("caller"));
  EXPECT_EQ(why(unknown), "key: unknown-key");
  EXPECT_THAT(unknown.value("hint", ""), HasSubstr("has one (ES256)"));
  EXPECT_EQ(why(forged), "signature: bad-signature");
}

TEST_F(TokenCheck, exit_status_tells_usage_from_what_is_wrong) {
  const std::string token = maker_.token(payload());
  const std::string config = usual_config();
  const std::string keys = folder_ + "/keys.json";
  const auto fails = [&](const std::vector<std::string>& arguments, int status, const char* word, const std::string& input) {
    const Ran ran = run(input, arguments);
    EXPECT_EQ(ran.status, status) << word;
    EXPECT_EQ(ran.out, "") << word;
    EXPECT_THAT(ran.err, HasSubstr(word));
  };
  fails({}, 2, "--config", token);
  fails({"--config", "-"}, 2, "standard input is the token's", token);
  fails({"--jwks", keys}, 2, "--signature-only", token);
  fails({"--signature-only", "--config", config}, 2, "--jwks", token);
  fails({"--jwks", keys, "--signature-only", "--tenant", "beta"}, 2, "alone", token);
  fails({"--config", config, "-o", "xml"}, 2, "xml", token);
  fails({"--config", config}, 2, "no token on standard input", " \n");
  fails({"--config", config}, 2, "no token on standard input", "Bearer \n");
  fails({"--config", folder_ + "/absent.yaml"}, 1, "absent.yaml", token);
  fails({"--config", write("bad.yaml", "Gateway: { Auth: { Isuers: [] } }\n")}, 1, "Isuers", token);
  fails({"--jwks", folder_ + "/absent.json", "--signature-only"}, 1, "absent.json", token);
  fails({"--jwks", config, "--signature-only"}, 1, "no keys in", token);
}

TEST_F(TokenCheck, terminal_is_told_what_to_paste) {
  const int terminal = ::posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
  ASSERT_GE(terminal, 0);
  ASSERT_EQ(::grantpt(terminal), 0);
  ASSERT_EQ(::unlockpt(terminal), 0);
  const std::string line = maker_.token(payload()) + "\n";
  ASSERT_EQ(::write(terminal, line.data(), line.size()), static_cast<ssize_t>(line.size()));

  const Ran ran = run_from(::ptsname(terminal), line, {"--config", usual_config()});

  EXPECT_EQ(ran.status, 0) << ran.out << ran.err;
  EXPECT_EQ(ran.err, "outrigger token check: paste the token, then press Enter\n");
  ::close(terminal);
}

// What a stranger wrote does not steer the operator's terminal.
TEST_F(TokenCheck, control_characters_of_a_token_are_not_printed) {
  const std::string token = maker_.with_key_id("two").sign(R"({"alg":"ES256","kid":"\u001b[2J\u009b1m"})", payload());

  const Ran ran = run(token, {"--config", usual_config()});

  EXPECT_EQ(ran.status, 1);
  EXPECT_THAT(ran.out, AllOf(Not(HasSubstr("\x1b")), Not(HasSubstr("\xc2\x9b")), HasSubstr("[2J")));
}

}  // namespace
}  // namespace outrigger::tests
