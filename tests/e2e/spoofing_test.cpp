// Whatever a client writes about who it is: nothing of it reaches a service, on any route, with or without a token; and
// what the gateway says of it is there exactly once.
#include <algorithm>
#include <fstream>

#include "tests/e2e/http_stage.h"
#include "tests/support/token_maker.h"

namespace outrigger::tests {
namespace {

constexpr std::string_view kForged = "forged";

struct Who {
  std::string authorization;  // a field with its line end, or nothing
  Fields told;                // the identity fields the service must see, and no other
};

// The reserved names, as documented, and one more of each prefix.
const std::vector<std::string> kNames = {"X-StellaOps-Tenant",
                                         "X-StellaOps-Project",
                                         "X-StellaOps-Actor",
                                         "X-StellaOps-Scopes",
                                         "X-StellaOps-Identity-Envelope",
                                         "X-StellaOps-Identity-Envelope-Signature",
                                         "X-StellaOps-Identity-Envelope-Alg",
                                         "X-StellaOps-Identity-Envelope-Kid",
                                         "X-StellaOps-Identity-Envelope-Iat",
                                         "X-StellaOps-Identity-Envelope-Exp",
                                         "X-StellaOps-Anything",
                                         "X-Stella-Tenant",
                                         "X-Stella-Project",
                                         "X-Stella-Actor",
                                         "X-Stella-Scopes",
                                         "X-Stella-Anything",
                                         "sub",
                                         "tid",
                                         "scope",
                                         "scp",
                                         "cnf"};

std::string replaced(std::string text, std::string_view from, std::string_view to) {
  for (std::size_t at = 0; (at = text.find(from, at)) != std::string::npos; at += to.size())
    text.replace(at, from.size(), to);
  return text;
}

std::vector<std::string> spellings_of(const std::string& name) {
  std::string lower = name;
  std::string upper = name;
  std::string mixed = name;
  for (std::size_t i = 0; i < name.size(); ++i) {
    const auto c = static_cast<unsigned char>(name[i]);
    lower[i] = static_cast<char>(std::tolower(c));
    upper[i] = static_cast<char>(std::toupper(c));
    mixed[i] = i % 2 == 0 ? lower[i] : upper[i];
  }
  std::vector<std::string> all = {name, lower, upper, mixed};
  if (name.find('-') != std::string::npos) {
    std::string last = name;
    last[last.rfind('-')] = '_';
    std::string first = name;
    first[first.find('-')] = '_';
    for (const std::string& one :
         {replaced(name, "-", "_"), replaced(upper, "-", "_"), replaced(name, "-", "."), first, last}) {
      all.push_back(one);
    }
  }
  std::sort(all.begin(), all.end());
  all.erase(std::unique(all.begin(), all.end()), all.end());
  return all;
}

std::string field(const std::string& name, const std::string& value = std::string(kForged)) {
  return name + ": " + value + "\r\n";
}

// Where and how a forged field stands in a request. Each has the fields of who sends it, too.
std::vector<std::string> requests_with(const std::string& name, const Who& who) {
  const std::string line = field(name);
  const std::string host = "Host: example.test\r\n";
  std::string others;
  for (int i = 0; i < 150; ++i) others += field("X-Other-" + std::to_string(i), "1");
  const std::string get = "GET /a HTTP/1.1\r\n";
  const std::string post = "POST /billing/a HTTP/1.1\r\n";
  const std::string chunked = "Transfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n";
  const std::string end = "\r\n";
  return {
      get + line + host + who.authorization + end,
      get + host + who.authorization + line + end,
      get + host + others + line + who.authorization + end,
      get + host + line + line + who.authorization + field(name, "forged,forged") + end,
      get + host + "Connection: " + name + ", X-StellaOps-Actor, sub, Authorization\r\n" + line + who.authorization +
          end,
      get + host + who.authorization + line + "Connection: close\r\nConnection: " + name + end + end,
      post + host + who.authorization + line + "Content-Length: 4\r\n\r\nbody",
      post + host + who.authorization + "Trailer: " + name + end + chunked + line + end,
      post + host + line + who.authorization + chunked + line + line + end,
      "OPTIONS /a HTTP/1.1\r\n" + host + line + who.authorization + end,
      "GET /a HTTP/1.0\r\n" + host + line + who.authorization + end,
      "GET http://example.test/a HTTP/1.1\r\n" + host + who.authorization + line + end,
  };
}

// As the most lenient framework sees it.
std::string plain(std::string_view name) {
  std::string text;
  for (const char c : name)
    text += std::isalnum(static_cast<unsigned char>(c)) ? static_cast<char>(std::tolower(c)) : '-';
  return text;
}

bool is_about_identity(std::string_view name) {
  const std::string text = plain(name);
  return text.starts_with("x-stellaops-") || text.starts_with("x-stella-") || text == "sub" || text == "tid" ||
         text == "scope" || text == "scp" || text == "cnf";
}

class Spoofing : public ::testing::Test {
 protected:
  void SetUp() override { OUTRIGGER_NEEDS_VALKEY(); }

  // Returns how many requests were made.
  static std::size_t try_all(Gateway& gateway, ScriptedService& service, const Who& who) {
    std::size_t count = 0;
    std::size_t refused = 0;
    service.forget_requests();
    for (const std::string& name : kNames) {
      for (const std::string& spelling : spellings_of(name)) {
        for (const std::string& request : requests_with(spelling, who)) {
          const RawResponse response = gateway.ask(request);
          ++count;
          if (response.status == 403 && response.body.find("ERR_SCOPE_HEADER_FORBIDDEN") != std::string::npos) {
            ++refused;  // told, instead of passed without it
            continue;
          }
          EXPECT_EQ(response.status, 200) << response.problem << response.body << "\n" << request;
          EXPECT_EQ(response.body.find(kForged), std::string::npos) << request;
        }
      }
    }
    const std::vector<RawRequest> seen = service.requests();
    EXPECT_EQ(seen.size(), count - refused);
    std::size_t forged = 0;
    for (const RawRequest& request : seen) {
      Fields told;
      for (const auto& one : request.fields) {
        if (is_about_identity(one.first)) told.push_back(one);
      }
      EXPECT_EQ(told, who.told) << request.head;
      forged +=
          request.head.find(kForged) != std::string::npos || request.body.find(kForged) != std::string::npos ? 1 : 0;
    }
    EXPECT_EQ(forged, 0U);
    std::printf("%zu requests, %zu seen by the service, %zu refused, %zu with something forged\n", count, seen.size(),
                refused, forged);
    return count;
  }
};

TEST_F(Spoofing, nothing_a_client_says_of_itself_reaches_a_service) {
  ValkeyServer valkey;
  ScriptedService service;
  const TokenMaker maker = TokenMaker::rsa("one");
  const std::string keys = valkey.directory() + "/keys.json";
  std::ofstream(keys) << maker.jwks();
  const Environment verifying = {{"Gateway__Auth__Issuers__0__Issuer", "https://id.test"},
                                 {"Gateway__Auth__Issuers__0__Audiences__0", "orders"},
                                 {"Gateway__Auth__Issuers__0__JwksFile", keys}};
  Gateway gateway(valkey, verifying);
  Gateway passing(valkey);
  Sidecar at_root(valkey, "plain", service, {{"Sidecar__Service__Mount", "/"}});
  Sidecar at_name(valkey, "billing", service);
  for (Gateway* each : {&gateway, &passing}) {
    ASSERT_TRUE(each->wait_until_ready());
    ASSERT_TRUE(each->wait_for_route("/"));
    ASSERT_TRUE(each->wait_for_route("/billing/"));
  }

  const Who nobody{"", {{"X-StellaOps-Actor", "anonymous"}, {"X-Stella-Actor", "anonymous"}}};
  const Who ann{"Authorization: Bearer " +
                    maker.token(R"({"iss":"https://id.test","aud":"orders","exp":4102444800,"sub":"ann",)"
                                R"("stellaops:tenant":"acme","scope":"orders:read"})") +
                    "\r\n",
                {{"X-StellaOps-Tenant", "acme"},
                 {"X-Stella-Tenant", "acme"},
                 {"X-StellaOps-Actor", "ann"},
                 {"X-Stella-Actor", "ann"},
                 {"X-StellaOps-Scopes", "orders:read"},
                 {"X-Stella-Scopes", "orders:read"}}};
  const Who unread{ann.authorization, nobody.told};

  EXPECT_GE(try_all(gateway, service, nobody), 500U);
  EXPECT_GE(try_all(gateway, service, ann), 500U);
  EXPECT_GE(try_all(passing, service, unread), 500U);

  for (ChildProcess* process : {&gateway.process(), &passing.process(), &at_root.process(), &at_name.process()}) {
    EXPECT_TRUE(process->terminate());
  }
}

}  // namespace
}  // namespace outrigger::tests
