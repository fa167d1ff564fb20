// Where services appear outside: mounts by path, at the root and by host; what is the gateway's own; and what of a service's
// answers is made right for its mount.
#include "tests/e2e/programs.h"

namespace outrigger::tests {
namespace {

class Mounts : public ::testing::Test {
 protected:
  void SetUp() override {
    OUTRIGGER_NEEDS_VALKEY();
    valkey_.emplace();
  }
  // A service that answers with its name and what it was asked for.
  ScriptedService& serve(std::string name, std::string_view mount, Environment environment = {}) {
    auto& service = *services_.emplace_back(std::make_unique<ScriptedService>());
    service.set_script([name](const RawRequest& request, ScriptedService::Connection& connection) {
      connection.send(make_response("200 OK", {}, name + " " + request.target + " " + request.field("Host") + " " +
                                                               request.field("X-Forwarded-Prefix")));
    });
    environment.emplace_back("Sidecar__Service__Mount", mount);
    sidecars_.push_back(std::make_unique<Sidecar>(*valkey_, name, service, std::move(environment)));
    return service;
  }
  static std::string get_of_host(std::string_view target, std::string_view host) {
    return "GET " + std::string(target) + " HTTP/1.1\r\nHost: " + std::string(host) + "\r\n\r\n";
  }

  std::optional<ValkeyServer> valkey_;
  std::vector<std::unique_ptr<ScriptedService>> services_;
  std::vector<std::unique_ptr<Sidecar>> sidecars_;
};

TEST_F(Mounts, by_host_in_any_case_and_with_any_port) {
  serve("web", "host:Web.example");
  serve("api", "host:web.example/api");
  serve("wild", "host:*.wild.example");
  serve("rest", "/");
  Gateway gateway(*valkey_);
  const auto body_of = [&](std::string_view target, std::string_view host) {
    return gateway.ask(get_of_host(target, host)).body;
  };
  ASSERT_TRUE(eventually("all four routes", [&] {
    return body_of("/", "web.example").starts_with("web ") && body_of("/api/x", "web.example").starts_with("api ") &&
           body_of("/", "a.wild.example").starts_with("wild ") && body_of("/", "other.example").starts_with("rest ");
  }));

  EXPECT_EQ(body_of("/x?y", "web.example"), "web /x?y web.example ");
  EXPECT_EQ(body_of("/x", "WEB.Example:8080"), "web /x WEB.Example:8080 ");
  EXPECT_EQ(body_of("/x", "web.example."), "web /x web.example. ");
  EXPECT_EQ(body_of("/api/x", "web.example"), "api /x web.example /api");
  EXPECT_EQ(body_of("/apix", "web.example"), "web /apix web.example ");
  EXPECT_EQ(body_of("/x", "b.a.wild.example:1"), "wild /x b.a.wild.example:1 ");
  EXPECT_EQ(body_of("/x", "wild.example"), "rest /x wild.example ");
  EXPECT_EQ(body_of("/api/x", "127.0.0.1"), "rest /api/x 127.0.0.1 ");
}

TEST_F(Mounts, at_the_root_beside_others_and_beside_the_gateways_own) {
  ScriptedService& root = serve("root", "/");
  serve("billing", "/billing");
  Gateway gateway(*valkey_);
  ASSERT_TRUE(eventually("both routes", [&] {
    return gateway.get("/").body.starts_with("root ") && gateway.get("/billing").body.starts_with("billing ");
  }));
  root.forget_requests();

  EXPECT_EQ(gateway.get("/billing/x").body, "billing /x example.test /billing");
  EXPECT_EQ(gateway.get("/billing?x").body, "billing /?x example.test /billing");
  EXPECT_EQ(gateway.get("/billings").body, "root /billings example.test ");
  EXPECT_EQ(root.request_count(), 1U);
  for (const char* own : {"/openapi.json", "//openapi.json", "/%6fpenapi.json", "/x/../openapi.json"}) {
    EXPECT_EQ(gateway.get(own).header("Content-Type"), "application/json") << own;
  }
  for (const char* own : {"/docs", "/docs/x", "/%64ocs/", "/x/../docs", "//docs", "/api/v1/gateway", "/api/v1/gateway/routes",
                          "/api/./v1/gateway"}) {
    EXPECT_EQ(code_of(gateway.get(own)), "no-route") << own;
  }
  EXPECT_EQ(gateway.ask(make_request("OPTIONS", "/openapi.json")).header("Allow"), "GET, HEAD, OPTIONS");
  EXPECT_EQ(root.request_count(), 1U);
  EXPECT_EQ(gateway.get("/docs2").body, "root /docs2 example.test ");
  EXPECT_EQ(gateway.get("/api/v1").body, "root /api/v1 example.test ");
}

TEST_F(Mounts, unlisted_paths_and_methods_are_refused_where_the_service_says_so) {
  ScriptedService& service = serve("orders", "/orders", {{"Sidecar__Service__UnlistedPaths", "refuse"}});
  service.set_document(R"({"openapi":"3.0.3","info":{"title":"Orders","version":"1"},"paths":{
    "/items":{"get":{"responses":{}},"post":{"responses":{}}},"/items/{id}":{"delete":{"responses":{}}}}})");
  Gateway gateway(*valkey_);
  ASSERT_TRUE(gateway.wait_for_route("/orders/items"));
  service.forget_requests();

  const RawResponse refused = gateway.ask(make_request("PUT", "/orders/items", {}, "x"));
  EXPECT_EQ(refused.status, 405);
  EXPECT_EQ(refused.header("Allow"), "GET, HEAD, OPTIONS, POST");
  EXPECT_EQ(gateway.get("/orders/items/1").header("Allow"), "DELETE, OPTIONS");
  EXPECT_EQ(code_of(gateway.get("/orders/other")), "no-route");
  EXPECT_EQ(code_of(gateway.ask(make_request("OPTIONS", "/orders/other"))), "no-route");
  EXPECT_EQ(service.request_count(), 0U);
  EXPECT_EQ(gateway.ask(make_request("OPTIONS", "/orders/items")).status, 200);
  EXPECT_EQ(gateway.ask(make_request("OPTIONS", "/orders/items/1")).status, 200);
  EXPECT_EQ(gateway.ask(make_request("HEAD", "/orders/items")).status, 200);
  EXPECT_EQ(service.request_count(), 3U);
}

TEST_F(Mounts, that_are_taken_are_refused_and_reported) {
  serve("first", "/pay");
  Gateway gateway(*valkey_);
  ASSERT_TRUE(gateway.wait_for_route("/pay"));
  serve("second", "/pay");
  ASSERT_TRUE(sidecars_.back()->wait_until_registered());

  ASSERT_TRUE(gateway.process().wait_for_line("not routed service=second mount=/pay why=\"taken by service first\" "
                                              "what_to_do=\"give second or first another Sidecar:Service:Mount\""));
  for (int i = 0; i < 10; ++i) EXPECT_EQ(gateway.get("/pay/x").body, "first /x example.test /pay");
  const std::string log = gateway.process().err();
  EXPECT_EQ(log.find("not routed"), log.rfind("not routed")) << log;
  EXPECT_EQ(log.find("route second"), std::string::npos) << log;
}

class Rewrite : public Mounts {
 protected:
  // What the service's answer with these fields becomes for a client of /billing/a/b.
  RawResponse through(bool rewrites, const Fields& fields, std::string_view target = "/billing/a/b") {
    if (gateway_ == nullptr) {
      ScriptedService& service = serve("billing", "/billing", {{"Sidecar__Service__RewriteLocation", rewrites ? "true" : "false"}});
      service_ = &service;
      gateway_ = std::make_unique<Gateway>(*valkey_);
      EXPECT_TRUE(gateway_->wait_for_route("/billing/"));
    }
    service_->set_script([fields](const RawRequest&, ScriptedService::Connection& connection) {
      connection.send(make_response("302 Found", fields, "x"));
    });
    return gateway_->get(target);
  }
  ScriptedService* service_ = nullptr;
  std::unique_ptr<Gateway> gateway_;
};

TEST_F(Rewrite, places_and_cookies_get_the_mount) {
  const RawResponse response = through(true, {{"Location", "/orders/1?x#y"},
                                              {"Content-Location", "http://example.test/orders/1"},
                                              {"Set-Cookie", "a=1; Path=/; HttpOnly"},
                                              {"Set-Cookie", "b=2"},
                                              {"set-cookie", "c=3; path=\"/x\"; Secure"},
                                              {"Link", "</next>; rel=next"},
                                              {"Refresh", "0; url=/x"}});
  EXPECT_EQ(response.status, 302);
  EXPECT_EQ(response.header("Location"), "/billing/orders/1?x#y");
  EXPECT_EQ(response.header("Content-Location"), "http://example.test/billing/orders/1");
  EXPECT_EQ(response.header("Set-Cookie"), "a=1; Path=/billing; HttpOnly, b=2, c=3; path=\"/billing/x\"; Secure");
  EXPECT_EQ(response.header("Link"), "</next>; rel=next");
  EXPECT_EQ(response.header("Refresh"), "0; url=/x");
  EXPECT_EQ(through(true, {{"Location", "next"}}).header("Location"), "next");
  EXPECT_EQ(through(true, {{"Location", "login"}}, "/billing").header("Location"), "/billing/login");
  EXPECT_EQ(through(true, {{"Location", "https://other.test/x"}}).header("Location"), "https://other.test/x");
  // Followed, it leads to where the service meant.
  const RawResponse followed = through(true, {{"Location", "/orders/1"}});
  gateway_->get(followed.header("Location"));
  EXPECT_EQ(service_->last_request().target, "/orders/1");
}

TEST_F(Rewrite, is_left_to_the_service_if_it_says_so) {
  const RawResponse response = through(false, {{"Location", "/orders/1"}, {"Set-Cookie", "a=1; Path=/"}});
  EXPECT_EQ(response.header("Location"), "/orders/1");
  EXPECT_EQ(response.header("Set-Cookie"), "a=1; Path=/");
}

}  // namespace
}  // namespace outrigger::tests
