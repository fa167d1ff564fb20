// Who may call what, through the shipped programs: what a service's document and the gateway's rules demand is demanded
// of every request that could reach it, however it spells its path, and told to those who lack it without a value.
#include <nlohmann/json.hpp>

#include "tests/e2e/identity_stage.h"

namespace outrigger::tests {
namespace {

using nlohmann::json;

constexpr char kDocument[] = R"({
  "openapi": "3.0.3", "info": {"title": "orders", "version": "1"},
  "security": [{"o": ["orders:read"]}],
  "components": {"securitySchemes": {
    "o": {"type": "oauth2", "flows": {}}, "k": {"type": "apiKey", "in": "header", "name": "X-Api-Key"}}},
  "paths": {
    "/orders": {"get": {}, "post": {"security": [{"o": ["orders:read", "orders:write"]}]}},
    "/orders/{id}": {"get": {}, "delete": {"x-router-claims": ["role=clerk-of-the-house", "badge"]}},
    "/public": {"get": {"security": []}},
    "/either": {"get": {"security": [{"o": ["orders:read"]}, {}]}},
    "/alternatives": {"get": {"security": [{"o": ["a:one", "a:two"]}, {"o": ["b:one"]}]}},
    "/keyed": {"get": {"security": [{"k": []}]}},
    "/unreadable": {"get": {"security": [{"missing": []}]}},
    "/strange": {"get": {"security": [], "x-router-claims": 7}},
    "/reports/{name}": {"get": {"security": []}},
    "/reports/internal": {"get": {"security": [{"o": ["reports:internal"]}]}}}})";

class Access : public IdentityStage {
 protected:
  void SetUp() override {
    IdentityStage::SetUp();
    if (!IsSkipped()) service_.set_document(kDocument);
  }
  static Fields nobody() { return {}; }
  static Fields with_scopes(const std::string& scopes, const std::string& more = {}) {
    return bearer(token(",\"scope\":\"" + scopes + "\"" + more));
  }
  void start_with_document(Environment environment) {
    start_gateway(std::move(environment));
    start_sidecar();
    // The document has come when what it permits to everybody passes, and what it does not, does not.
    ASSERT_TRUE(eventually("the document", [&] {
      return ask("GET", "/orders/public").status == 200 && ask("GET", "/orders/strange").status / 100 == 4;
    }));
    service_.forget_requests();
  }
  static std::string said(const RawResponse& response) {
    return response.header("WWW-Authenticate") + "\n" + response.body;
  }
};

TEST_F(Access, document_says_what_a_token_must_have) {
  start_with_document(trusting());
  const Fields plain = bearer(token());
  const Fields reader = with_scopes("orders:read");
  const Fields writer = with_scopes("orders:write orders:read");
  const Fields clerk = with_scopes("orders:read", R"(,"role":["other","clerk-of-the-house"],"badge":false)");
  struct Row {
    const char* method;
    const char* target;
    Fields who;
    const char* verdict;
  };
  const char* const no_token = "401 unauthenticated";
  const char* const no = "403 forbidden";
  const std::vector<Row> rows = {
      {"GET", "/orders", nobody(), no_token},
      {"GET", "/orders", plain, no},
      {"GET", "/orders", reader, "200"},
      {"GET", "/orders?all", reader, "200"},
      {"POST", "/orders", nobody(), no_token},
      {"POST", "/orders", reader, no},
      {"POST", "/orders", with_scopes("orders:write"), no},
      {"POST", "/orders", writer, "200"},
      {"GET", "/orders/7", nobody(), no_token},
      {"GET", "/orders/7", reader, "200"},
      {"DELETE", "/orders/7", nobody(), no_token},
      {"DELETE", "/orders/7", reader, no},
      {"DELETE", "/orders/7", with_scopes("orders:read", R"(,"role":"clerk-of-the-house")"), no},
      {"DELETE", "/orders/7", with_scopes("orders:read", R"(,"role":"clerk","badge":1)"), no},
      {"DELETE", "/orders/7", with_scopes("", R"(,"role":"clerk-of-the-house","badge":1)"), no},
      {"DELETE", "/orders/7", clerk, "200"},
      {"GET", "/public", nobody(), "200"},
      {"GET", "/public", plain, "200"},
      {"GET", "/either", nobody(), "200"},
      {"GET", "/either", plain, "200"},
      {"GET", "/alternatives", nobody(), no_token},
      {"GET", "/alternatives", with_scopes("a:one"), no},
      {"GET", "/alternatives", with_scopes("a:one a:two"), "200"},
      {"GET", "/alternatives", with_scopes("b:one"), "200"},
      {"GET", "/keyed", nobody(), "200"},
      {"GET", "/unreadable", nobody(), no},
      {"GET", "/unreadable", clerk, no},
      {"GET", "/strange", nobody(), no},
      {"GET", "/strange", clerk, no},
      {"GET", "/reports/sales", nobody(), "200"},
      {"GET", "/reports/internal", nobody(), no_token},
      {"GET", "/reports/internal", reader, no},
      {"GET", "/reports/internal", with_scopes("reports:internal"), "200"},
      {"GET", "/unlisted", nobody(), no},
      {"GET", "/unlisted", clerk, no},
      {"PUT", "/orders/7", clerk, no},
      {"OPTIONS", "/orders/7", nobody(), "200"},  // a CORS preflight
  };
  std::size_t served = 0;
  for (const Row& row : rows) {
    const RawResponse response = ask(row.method, "/orders" + std::string(row.target), row.who);
    EXPECT_EQ(verdict(response), row.verdict) << row.method << " " << row.target << " " << said(response);
    served += response.status == 200 ? 1 : 0;
  }
  EXPECT_EQ(service_.request_count(), served);
}

TEST_F(Access, refusals_tell_names_and_no_values) {
  start_with_document(trusting());

  RawResponse response = ask("DELETE", "/orders/orders/7");
  EXPECT_EQ(verdict(response), "401 unauthenticated");
  EXPECT_EQ(response.header("WWW-Authenticate"), R"(Bearer realm="outrigger")");

  response = ask("POST", "/orders/orders", with_scopes("orders:read private:scope"));
  EXPECT_EQ(verdict(response), "403 forbidden");
  EXPECT_EQ(response.header("WWW-Authenticate"),
            R"(Bearer realm="outrigger", error="insufficient_scope", scope="orders:write")");
  EXPECT_NE(response.body.find("scope orders:write"), std::string::npos) << response.body;
  EXPECT_EQ(said(response).find("private"), std::string::npos);

  response =
      ask("DELETE", "/orders/orders/7", with_scopes("orders:read", R"(,"role":"visitor-of-the-house","badge":"b-77")"));
  EXPECT_EQ(verdict(response), "403 forbidden");
  EXPECT_NE(response.body.find("claim role"), std::string::npos) << response.body;
  EXPECT_EQ(said(response).find("of-the-house"), std::string::npos) << said(response);  // neither had nor wanted
  EXPECT_EQ(said(response).find("b-77"), std::string::npos);
  EXPECT_EQ(response.header("WWW-Authenticate"), R"(Bearer realm="outrigger", error="insufficient_scope")");

  response = ask("DELETE", "/orders/orders/7", with_scopes("orders:read", R"(,"role":"clerk-of-the-house")"));
  EXPECT_NE(response.body.find("claim badge"), std::string::npos) << response.body;
  EXPECT_EQ(service_.request_count(), 0U);
}

// What a lenient service takes for the same path.
std::vector<std::string> other_spellings(const std::string& path) {
  std::vector<std::string> all = {
      path + "/",     path + "//",           "/" + path,     path + ";x",   path + ";x=1/", path + ".json",
      path + ".html", path + "%20",          path + "%00",   path + ".",    path + "%2f",   path + "%3f",
      path + "%23",   path + "%2e",          "/." + path,    "/%2e" + path, "/x/.." + path, "/x/%2e%2e" + path,
      path + "/.",    path + "/%2e",         path + "/x/..", "/;" + path,   "/;x" + path,   path + "%09",
      path + "%0a",   path + "%3bx",         path + ";",     path + "/;x",  path + "?",     path + "?x=1",
      path + "%5c",   "%2f" + path.substr(1)};
  std::string upper;
  std::string title;
  std::string encoded;
  std::string twice;
  std::string doubled;
  std::string backslashed;
  std::string parameters;
  for (std::size_t i = 0; i < path.size(); ++i) {
    const char c = path[i];
    char code[8];
    std::snprintf(code, sizeof code, "%%%02x", static_cast<unsigned>(c));
    upper += static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
    title += i == 1 ? upper.back() : c;
    encoded += c == '/' ? std::string("/") : std::string(code);
    twice += c == '/' ? std::string("/") : "%25" + std::string(code + 1);
    doubled += c == '/' ? std::string("//") : std::string(1, c);
    backslashed += c == '/' && i > 0 ? std::string("%5c") : std::string(1, c);
    parameters += c == '/' && i > 0 ? std::string(";v=1/") : std::string(1, c);
  }
  for (const std::string& each : {upper, title, encoded, twice, doubled, backslashed, parameters, upper + "/",
                                  encoded + ";x", title + ".json", "/." + encoded}) {
    all.push_back(each);
  }
  std::string first = path;
  char code[8];
  std::snprintf(code, sizeof code, "%%%02X", static_cast<unsigned>(path[1]));
  all.push_back(first.replace(1, 1, code));
  return all;
}

TEST_F(Access, no_spelling_of_a_path_gets_around_its_demand) {
  start_with_document(trusting());
  const Fields plain = bearer(token());
  std::size_t count = 0;
  for (const std::string& path : {std::string("/orders"), std::string("/orders/7"), std::string("/reports/internal"),
                                  std::string("/alternatives")}) {
    std::vector<std::string> spellings = other_spellings(path);
    spellings.push_back(path);
    for (const std::string& spelling : spellings) {
      for (const char* method : {"GET", "HEAD", "POST", "DELETE", "PUT", "get", "PROPFIND"}) {
        for (const Fields& who : {nobody(), plain}) {
          for (const char* mount : {"/orders", "/%6frders", "/orders/."}) {
            const RawResponse response = gateway_->ask(make_request(method, mount + spelling, who));
            EXPECT_NE(response.status, 200) << method << " " << mount << spelling;
            EXPECT_NE(response.status, 0) << method << " " << mount << spelling << response.problem;
            ++count;
          }
        }
      }
    }
  }
  for (const RawRequest& request : service_.requests()) ADD_FAILURE() << request.head;
  std::printf("%zu requests\n", count);
  // It is not the paths that are refused.
  EXPECT_EQ(ask("GET", "/orders/orders/7", with_scopes("orders:read")).status, 200);
  EXPECT_EQ(ask("HEAD", "/orders/orders/7", with_scopes("orders:read")).status, 200);
  EXPECT_EQ(ask("HEAD", "/orders/public").status, 200);
}

TEST_F(Access, rules_of_the_configuration_add_and_override) {
  start_with_document(trusting() + Environment{{"Gateway__Auth__Rules__0__Service", "orders"},
                                               {"Gateway__Auth__Rules__0__Method", "GET"},
                                               {"Gateway__Auth__Rules__0__Path", "/orders/{number}"},
                                               {"Gateway__Auth__Rules__0__Mode", "override"},
                                               {"Gateway__Auth__Rules__0__AllowAnonymous", "true"},
                                               {"Gateway__Auth__Rules__1__Path", "/orders"},
                                               {"Gateway__Auth__Rules__1__Method", "POST"},
                                               {"Gateway__Auth__Rules__1__Claims", "mfa=done"},
                                               {"Gateway__Auth__Rules__2__Service", "orders"},
                                               {"Gateway__Auth__Rules__2__Path", "/either"},
                                               {"Gateway__Auth__Rules__2__Mode", "override"},
                                               {"Gateway__Auth__Rules__2__Scopes", "either:use"},
                                               {"Gateway__Auth__Rules__3__Service", "orders"},
                                               {"Gateway__Auth__Rules__3__Path", "/unlisted/*"},
                                               {"Gateway__Auth__Rules__3__Mode", "override"},
                                               {"Gateway__Auth__Rules__3__Claims__0", "team"}});
  const auto at = [&](const char* method, const std::string& target, const Fields& who) {
    return verdict(ask(method, "/orders" + target, who));
  };
  EXPECT_EQ(at("GET", "/orders/7", nobody()), "200");
  EXPECT_EQ(at("DELETE", "/orders/7", nobody()), "401 unauthenticated");
  EXPECT_EQ(at("GET", "/orders", nobody()), "401 unauthenticated");
  EXPECT_EQ(at("POST", "/orders", with_scopes("orders:read orders:write")), "403 forbidden");
  EXPECT_EQ(at("POST", "/orders", with_scopes("orders:read", R"(,"mfa":"done")")), "403 forbidden");
  EXPECT_EQ(at("POST", "/orders", with_scopes("orders:read orders:write", R"(,"mfa":"no")")), "403 forbidden");
  EXPECT_EQ(at("POST", "/orders", with_scopes("orders:read orders:write", R"(,"mfa":"done")")), "200");
  EXPECT_EQ(at("GET", "/either", nobody()), "401 unauthenticated");
  EXPECT_EQ(at("GET", "/either", with_scopes("orders:read")), "403 forbidden");
  EXPECT_EQ(at("GET", "/either", with_scopes("either:use")), "200");
  EXPECT_EQ(at("GET", "/unlisted/a", nobody()), "401 unauthenticated");
  EXPECT_EQ(at("GET", "/unlisted/a", bearer(token())), "403 forbidden");
  EXPECT_EQ(at("GET", "/unlisted/a", bearer(token(R"(,"team":"x")"))), "200");
  EXPECT_EQ(at("GET", "/unlistedbutnear", bearer(token(R"(,"team":"x")"))), "403 forbidden");

  const RawResponse refused = ask("POST", "/orders/orders", with_scopes("orders:read orders:write"));
  EXPECT_NE(refused.body.find("claim mfa"), std::string::npos) << refused.body;
  EXPECT_EQ(said(refused).find("done"), std::string::npos);
}

TEST_F(Access, rule_for_a_path_without_a_document_holds_for_its_spellings) {
  service_.set_document("");
  start(trusting() + Environment{{"Gateway__Auth__Rules__0__Service", "orders"},
                                 {"Gateway__Auth__Rules__0__Path", "/admin/*"},
                                 {"Gateway__Auth__Rules__0__Scopes", "admin"},
                                 {"Gateway__Auth__Rules__1__Service", "orders"},
                                 {"Gateway__Auth__Rules__1__Mode", "override"},
                                 {"Gateway__Auth__Rules__1__AllowAnonymous", "true"}});
  EXPECT_EQ(ask("GET", "/orders/else").status, 200);
  EXPECT_EQ(ask("GET", "/orders/admin/users", with_scopes("admin")).status, 200);
  service_.forget_requests();
  for (const std::string& spelling : other_spellings("/admin/users")) {
    for (const char* method : {"GET", "HEAD", "POST", "DELETE"}) {
      const RawResponse response = gateway_->ask(make_request(method, "/orders" + spelling));
      EXPECT_NE(response.status, 200) << method << " " << spelling;
    }
  }
  for (const RawRequest& request : service_.requests()) ADD_FAILURE() << request.head;
}

TEST_F(Access, deny_by_default_lets_nobody_in_of_whom_nothing_is_said) {
  service_.set_document("");
  start_gateway(trusting() + Environment{{"Gateway__Auth__DenyByDefault", "true"},
                                         {"Gateway__Auth__Rules__0__Service", "orders"},
                                         {"Gateway__Auth__Rules__0__Path", "/open/*"},
                                         {"Gateway__Auth__Rules__0__Mode", "override"},
                                         {"Gateway__Auth__Rules__0__AllowAnonymous", "true"}});
  start_sidecar();
  ASSERT_TRUE(is_up("/orders/open/a", nobody()));
  for (const Fields& who : {nobody(), bearer(token()), with_scopes("admin")}) {
    for (const char* method : {"GET", "HEAD", "POST", "DELETE"}) {
      for (const char* target :
           {"/orders/a", "/orders/", "/orders", "/orders/opened", "/orders/OPEN/a", "/orders/open%2fa"}) {
        const RawResponse response = gateway_->ask(make_request(method, target, who));
        EXPECT_EQ(response.status, 403) << method << " " << target << response.problem;
      }
    }
  }
  EXPECT_EQ(service_.request_count(), 0U);
  EXPECT_EQ(ask("GET", "/openapi.json").status, 200);
  EXPECT_EQ(ask("GET", "/none").status, 404);
}

TEST_F(Access, passthrough_leaves_security_to_the_service_and_nothing_else) {
  start_gateway(trusting() + Environment{{"Gateway__Auth__Mode", "passthrough"}});
  start_sidecar();
  ASSERT_TRUE(eventually("the document", [&] { return ask("DELETE", "/orders/orders/7").status == 403; }));
  service_.forget_requests();

  EXPECT_EQ(ask("GET", "/orders/orders").status, 200);
  EXPECT_EQ(ask("POST", "/orders/orders", {{"Authorization", "Bearer any"}}).status, 200);
  EXPECT_EQ(ask("GET", "/orders/unreadable").status, 200);
  EXPECT_EQ(service_.request_count(), 3U);
  // No token would help: 403, and no challenge to send one.
  for (const Fields& who : {nobody(), bearer(token(R"(,"role":"clerk-of-the-house","badge":1)"))}) {
    const RawResponse response = ask("DELETE", "/orders/orders/7", who);
    EXPECT_EQ(verdict(response), "403 forbidden");
    EXPECT_EQ(said(response).find("A token is needed"), std::string::npos) << said(response);
  }
  EXPECT_EQ(verdict(ask("GET", "/orders/strange")), "403 forbidden");
  EXPECT_EQ(service_.request_count(), 3U);
}

TEST_F(Access, twin_without_its_document_opens_nothing) {
  const std::string socket = path_of("admin.sock");
  start_with_document(trusting() + Environment{{"Gateway__Process__Admin", "unix:" + socket}});
  ScriptedService twin;  // answers 404 where documents are
  const Sidecar second(*valkey_, "orders", twin);
  const Sidecar third(*valkey_, "orders", twin);
  ASSERT_TRUE(eventually("three instances", [&] {
    RawClient client(net::Endpoint::unix_socket(socket));
    client.send(make_request("GET", "/routes?service=orders"));
    const json routes = json::parse(client.read_response().body, nullptr, false);
    return routes.is_object() && routes["routes"].size() == 1 && routes["routes"][0]["usable_instances"] == 3;
  }));
  EXPECT_EQ(verdict(ask("GET", "/orders/orders/7")), "401 unauthenticated");
  EXPECT_EQ(verdict(ask("DELETE", "/orders/orders/7", with_scopes("orders:read"))), "403 forbidden");
  EXPECT_EQ(verdict(ask("GET", "/orders/orders/7", with_scopes("orders:read"))), "200");
  EXPECT_EQ(twin.request_count() + service_.request_count(), 1U);
}

TEST_F(Access, admin_shows_what_is_demanded_and_by_whom) {
  const std::string socket = path_of("admin.sock");
  start_with_document(trusting() + Environment{{"Gateway__Process__Admin", "unix:" + socket},
                                               {"Gateway__Auth__Rules__0__Service", "orders"},
                                               {"Gateway__Auth__Rules__0__Path", "/orders"},
                                               {"Gateway__Auth__Rules__0__Method", "POST"},
                                               {"Gateway__Auth__Rules__0__Claims", "mfa=done"},
                                               {"Gateway__Auth__Rules__1__Service", "orders"},
                                               {"Gateway__Auth__Rules__1__Path", "/orders/{id}"},
                                               {"Gateway__Auth__Rules__1__Mode", "override"},
                                               {"Gateway__Auth__Rules__1__AllowAnonymous", "true"}});
  RawClient client(net::Endpoint::unix_socket(socket));
  client.send(make_request("GET", "/routes?service=orders"));
  const RawResponse response = client.read_response();
  ASSERT_EQ(response.status, 200);
  const json route = json::parse(response.body)["routes"][0];
  const auto access = [&](const std::string& method, const std::string& path) {
    for (const json& endpoint : route["endpoint_list"]) {
      if (endpoint["method"] == method && endpoint["path"] == path) return endpoint["access"];
    }
    ADD_FAILURE() << method << " " << path << " is not in " << route.dump();
    return json();
  };

  const json listed = access("GET", "/orders");
  EXPECT_EQ(listed["anonymous"], false);
  EXPECT_EQ(listed["all_of"], json::parse(R"([{"source":"document: security","token":true,)"
                                          R"("one_of":[{"scopes":["orders:read"]}]}])"));
  const json both = access("POST", "/orders");
  ASSERT_EQ(both["all_of"].size(), 2U) << both;
  EXPECT_EQ(both["all_of"][0]["source"], "document: security");
  EXPECT_TRUE(both["all_of"][1]["source"].get<std::string>().starts_with("rule: add")) << both;
  EXPECT_EQ(both["all_of"][1]["claims"], json({"mfa=done"}));
  const json replaced = access("DELETE", "/orders/{id}");
  EXPECT_EQ(replaced["anonymous"], true) << replaced;
  ASSERT_EQ(replaced["all_of"].size(), 1U) << replaced;
  EXPECT_TRUE(replaced["all_of"][0]["source"].get<std::string>().starts_with("rule: override")) << replaced;
  EXPECT_EQ(access("GET", "/public")["anonymous"], true);
  EXPECT_FALSE(access("GET", "/unreadable").value("denied", "").empty());
  EXPECT_FALSE(access("GET", "/strange").value("denied", "").empty());
  EXPECT_FALSE(route["unlisted_access"].value("denied", "").empty());
  // It is what holds.
  EXPECT_EQ(verdict(ask("DELETE", "/orders/orders/7")), "200");
}

}  // namespace
}  // namespace outrigger::tests
