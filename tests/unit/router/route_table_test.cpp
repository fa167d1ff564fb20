#include "bridge/router/route_table.h"

namespace outrigger::router {
namespace {

using openapi::Endpoint;
using openapi::ServiceMetadata;

// Endpoints as "GET /a"; no endpoints at all = catch-all.
RouteSource source(const std::string& service, const std::string& mount, const std::vector<std::string>& endpoints,
                   bool refuse_unlisted = false, std::int64_t registered_ms = 0) {
  ServiceMetadata metadata;
  metadata.service = service;
  metadata.mount = mount;
  metadata.refuse_unlisted = refuse_unlisted;
  metadata.catch_all = endpoints.empty();
  for (const std::string& line : endpoints) {
    const auto space = line.find(' ');
    metadata.endpoints.push_back({line.substr(0, space), line.substr(space + 1), {}, {}, false});
  }
  return {std::make_shared<const ServiceMetadata>(metadata), registered_ms};
}

// What a test wants to know, in one line: "service route rest", with "-" for an endpoint that is not listed.
std::string result(const RouteTable& table, std::string_view method, std::string_view path,
                   std::string_view host = "gateway.example") {
  const Match match = table.match(method, host, path);
  switch (match.kind) {
    case Match::Kind::no_route:
      return "no_route";
    case Match::Kind::bad_path:
      return "bad_path";
    case Match::Kind::method_not_allowed:
      return "not_allowed " + match.allow;
    case Match::Kind::matched:
      break;
  }
  return match.metadata->service + " " + (match.endpoint == nullptr ? "-" : match.endpoint->path) + " " +
         std::string(match.route) + " " + std::string(path.substr(match.target_path_offset));
}

TEST(RouteTable, longest_mount_wins_at_segment_borders) {
  const RouteTable table({source("root", "/", {}), source("a", "/a", {}), source("ab", "/a/b/", {})});

  EXPECT_EQ(result(table, "GET", "/"), "root - /{path} /");
  EXPECT_EQ(result(table, "GET", "/x"), "root - /{path} /x");
  EXPECT_EQ(result(table, "GET", "/ab"), "root - /{path} /ab");
  EXPECT_EQ(result(table, "GET", "/A"), "root - /{path} /A");
  EXPECT_EQ(result(table, "GET", "/a"), "a - /a/{path} ");
  EXPECT_EQ(result(table, "GET", "/a/"), "a - /a/{path} /");
  EXPECT_EQ(result(table, "GET", "/a/bc"), "a - /a/{path} /bc");
  EXPECT_EQ(result(table, "GET", "/a/b"), "ab - /a/b/{path} ");
  EXPECT_EQ(result(table, "GET", "/a/b//c"), "ab - /a/b/{path} //c");
  EXPECT_EQ(result(table, "GET", "//a/x"), "root - /{path} //a/x");
}

TEST(RouteTable, default_mount_is_the_name_and_nothing_else_matches) {
  const RouteTable table({source("billing", "", {})});

  EXPECT_EQ(result(table, "GET", "/billing/1"), "billing - /billing/{path} /1");
  for (const std::string_view path : {"/", "/bill", "/billings", "", "*", "billing", "http://h/billing"}) {
    EXPECT_EQ(result(table, "GET", path), "no_route") << path;
  }
}

TEST(RouteTable, host_mounts_go_before_the_others) {
  const RouteTable table({source("a", "/a", {}), source("h", "host:API.example.com", {"GET /x"}),
                          source("hv", "host:api.example.com/v1", {}), source("only", "host:only.example/p", {})});

  for (const std::string_view host : {"api.example.com", "API.Example.Com:8443", "api.example.com."}) {
    EXPECT_EQ(result(table, "GET", "/a/1", host), "h - host:api.example.com/{path} /a/1") << host;
  }
  EXPECT_EQ(result(table, "GET", "/x", "api.example.com"), "h /x host:api.example.com/x /x");
  EXPECT_EQ(result(table, "GET", "/v1/x", "api.example.com"), "hv - host:api.example.com/v1/{path} /x");
  EXPECT_EQ(result(table, "GET", "/a/1", "other.example"), "a - /a/{path} /1");
  EXPECT_EQ(result(table, "GET", "/a/1", "only.example"), "a - /a/{path} /1");  // nothing of the host fits
  EXPECT_EQ(result(table, "GET", "/p/1", "only.example:80"), "only - host:only.example/p/{path} /1");
  EXPECT_EQ(result(table, "GET", "/a/1", ""), "a - /a/{path} /1");
  EXPECT_EQ(result(table, "GET", "/a/1", std::string(300, 'h')), "a - /a/{path} /1");
  EXPECT_EQ(result(table, "GET", "/a/1", "[::1]:80"), "a - /a/{path} /1");
}

TEST(RouteTable, templates_prefer_literals_and_fall_back) {
  const RouteTable table({source("s", "/s",
                                 {"GET /o/{id}", "GET /o/me", "GET /o/{id}/items", "GET /o/me/x", "GET /o/", "GET /",
                                  "GET /f/{id}.json", "GET /f/{name}", "GET /f/v{major}-{minor}.x"})});

  EXPECT_EQ(result(table, "GET", "/s"), "s / /s/ ");
  EXPECT_EQ(result(table, "GET", "/s/"), "s / /s/ /");
  EXPECT_EQ(result(table, "GET", "/s/o/me"), "s /o/me /s/o/me /o/me");
  EXPECT_EQ(result(table, "GET", "/s/o/7"), "s /o/{id} /s/o/{id} /o/7");
  EXPECT_EQ(result(table, "GET", "/s/o/"), "s /o/ /s/o/ /o/");
  EXPECT_EQ(result(table, "GET", "/s/o/me/items"), "s /o/{id}/items /s/o/{id}/items /o/me/items");
  EXPECT_EQ(result(table, "GET", "/s/f/7.json"), "s /f/{id}.json /s/f/{id}.json /f/7.json");
  EXPECT_EQ(result(table, "GET", "/s/f/.json"), "s /f/{name} /s/f/{name} /f/.json");
  EXPECT_EQ(result(table, "GET", "/s/f/v1-2.x"), "s /f/v{major}-{minor}.x /s/f/v{major}-{minor}.x /f/v1-2.x");
  EXPECT_EQ(result(table, "GET", "/s/f/v-2.x"), "s /f/{name} /s/f/{name} /f/v-2.x");
  EXPECT_EQ(result(table, "GET", "/s/f/v1-.x"), "s /f/{name} /s/f/{name} /f/v1-.x");
  // A trailing slash is another path, an empty segment no parameter.
  EXPECT_EQ(result(table, "GET", "/s/o/7/"), "s - /s/{path} /o/7/");
  EXPECT_EQ(result(table, "GET", "/s/o//items"), "s - /s/{path} /o//items");
  EXPECT_EQ(result(table, "GET", "/s/f/"), "s - /s/{path} /f/");
}

TEST(RouteTable, encoded_unreserved_characters_are_themselves_and_the_rest_is_not_decoded) {
  const RouteTable table(
      {source("s", "/s-x", {"GET /ab/{id}", "GET /a%2fb", "GET /gr\xc3\xb6\xc3\x9f\x65", "GET /a b"})});

  EXPECT_EQ(result(table, "GET", "/%73%2Dx/%61b/1%2F2"), "s /ab/{id} /s-x/ab/{id} /%61b/1%2F2");
  EXPECT_EQ(result(table, "GET", "/s-x/a%2Fb"), "s /a%2fb /s-x/a%2fb /a%2Fb");
  EXPECT_EQ(result(table, "GET", "/s-x/gr%c3%b6%C3%9fe"),
            "s /gr\xc3\xb6\xc3\x9f\x65 /s-x/gr\xc3\xb6\xc3\x9f\x65 /gr%c3%b6%C3%9fe");
  EXPECT_EQ(result(table, "GET", "/s-x/a%20b"), "s /a b /s-x/a b /a%20b");
  EXPECT_EQ(result(table, "GET", "/s-x/%zz%"), "s - /s-x/{path} /%zz%");
  EXPECT_EQ(result(table, "GET", "/s%2fx"), "no_route");
}

TEST(RouteTable, unlisted_is_forwarded_unless_refused) {
  const std::vector<std::string> endpoints = {"GET /o", "POST /o", "PUT /o/{id}", "DELETE /o/x"};
  const RouteTable open({source("s", "/s", endpoints)});
  const RouteTable closed({source("s", "/s", endpoints, /*refuse_unlisted=*/true), source("root", "/", {})});

  EXPECT_EQ(result(open, "PATCH", "/s/o"), "s - /s/o /o");
  EXPECT_EQ(result(open, "GET", "/s/other"), "s - /s/{path} /other");
  EXPECT_EQ(result(open, "PROPFIND", "/s/o"), "s - /s/o /o");
  EXPECT_EQ(result(closed, "PATCH", "/s/o"), "not_allowed GET, HEAD, OPTIONS, POST");
  EXPECT_EQ(result(closed, "get", "/s/o"), "not_allowed GET, HEAD, OPTIONS, POST");
  EXPECT_EQ(result(closed, "GET", "/s/o/x"), "not_allowed DELETE, OPTIONS, PUT");
  EXPECT_EQ(result(closed, "GET", "/s/other"), "no_route");
  EXPECT_EQ(result(closed, "OPTIONS", "/s/other"), "no_route");
  for (const RouteTable* table : {&open, &closed}) {
    EXPECT_EQ(result(*table, "HEAD", "/s/o"), "s /o /s/o /o");
    EXPECT_EQ(result(*table, "OPTIONS", "/s/o"), "s - /s/o /o");
    EXPECT_EQ(result(*table, "PUT", "/s/o/x"), "s /o/{id} /s/o/{id} /o/x");
  }
}

TEST(RouteTable, an_own_head_goes_before_that_of_get) {
  const RouteTable table({source("s", "/s", {"GET /o", "HEAD /o"})});

  EXPECT_EQ(table.match("HEAD", "", "/s/o").endpoint->method, "HEAD");
}

TEST(RouteTable, dot_segments_never_leave_the_mount) {
  const RouteTable table({source("a", "/a", {}), source("ab", "/a/b", {}), source("c", "/c", {"GET /{x}/{y}"}, true)});

  for (const std::string_view path :
       {"/a/..", "/a/../c/x", "/a/%2e%2e/c", "/a/.%2E/c", "/a/x/../../c/x", "/a/../a/x", "/a/x/../../../a/x",
        "/a/x/../b/y", "/a/./b/y", "/a/b/../x", "/a//../c/x", "/a/%2E%2e", "/a/.%2e/"}) {
    EXPECT_EQ(result(table, "GET", path), "bad_path") << path;
  }
  for (const std::string_view path : {"/..", "/../a/x", "/./a", "/%2e/a/x"}) {
    EXPECT_EQ(result(table, "GET", path), "no_route") << path;
  }
  EXPECT_EQ(result(table, "GET", "/a/x/../y"), "a - /a/{path} /x/../y");
  EXPECT_EQ(result(table, "GET", "/a/%2e/y"), "a - /a/{path} /%2e/y");
  EXPECT_EQ(result(table, "GET", "/a/."), "a - /a/{path} /.");
  EXPECT_EQ(result(table, "GET", "/a/..."), "a - /a/{path} /...");
  EXPECT_EQ(result(table, "GET", "/a/..x/.y"), "a - /a/{path} /..x/.y");
  EXPECT_EQ(result(table, "GET", "/c/x/.."), "no_route");  // no parameter is called `..`
}

TEST(RouteTable, below_a_root_mount_dot_segments_reach_no_other_service) {
  const RouteTable table({source("root", "/", {}), source("a", "/a", {})});

  for (const std::string_view path : {"/..", "/x/../a/y", "/./a", "/x/../../y", "/%2e%2e/a"}) {
    EXPECT_EQ(result(table, "GET", path), "bad_path") << path;
  }
  EXPECT_EQ(result(table, "GET", "/x/../y"), "root - /{path} /x/../y");
}

TEST(RouteTable, first_to_register_has_the_mount_and_the_other_is_reported) {
  const RouteTable by_time({source("a", "/m", {}, false, 20), source("b", "/m/", {}, false, 10)});
  const RouteTable by_name({source("b", "/m", {}), source("a", "/%6D", {}), source("c", "host:h", {})});

  EXPECT_EQ(result(by_time, "GET", "/m/x"), "b - /m/{path} /x");
  ASSERT_EQ(by_time.conflicts().size(), 1U);
  EXPECT_EQ(by_time.conflicts()[0].service, "a");
  EXPECT_EQ(by_time.conflicts()[0].reason, "taken by service b");
  EXPECT_EQ(result(by_name, "GET", "/m/x"), "a - /m/{path} /x");
  ASSERT_EQ(by_name.mounted().size(), 2U);
  EXPECT_EQ(by_name.mounted()[1].service, "c");
}

TEST(RouteTable, conflict_names_both_services_and_what_to_do) {
  const RouteTable table({source("a", "host:H.example/m", {}, false, 20), source("b", "host:h.EXAMPLE./m/", {}, false, 10)});

  ASSERT_EQ(table.conflicts().size(), 1U);
  EXPECT_EQ(table.conflicts()[0].service, "a");
  EXPECT_EQ(table.conflicts()[0].mount, "host:H.example/m");
  EXPECT_EQ(table.conflicts()[0].reason, "taken by service b");
  EXPECT_EQ(table.conflicts()[0].advice, "give a or b another Sidecar:Service:Mount");
}

TEST(RouteTable, wildcard_hosts_take_what_no_exact_host_has) {
  const RouteTable table({source("exact", "host:a.example.com", {}), source("near", "host:*.b.example.com", {}),
                          source("far", "host:*.example.com/api", {}), source("root", "/", {})});

  EXPECT_EQ(result(table, "GET", "/x", "A.Example.com:8080"), "exact - host:a.example.com/{path} /x");
  EXPECT_EQ(result(table, "GET", "/x", "c.b.example.com"), "near - host:*.b.example.com/{path} /x");
  EXPECT_EQ(result(table, "GET", "/api/x", "d.c.b.example.com."), "near - host:*.b.example.com/{path} /api/x");
  EXPECT_EQ(result(table, "GET", "/api/x", "c.example.com"), "far - host:*.example.com/api/{path} /x");
  EXPECT_EQ(result(table, "GET", "/x", "c.example.com"), "root - /{path} /x");
  EXPECT_EQ(result(table, "GET", "/api/x", "example.com"), "root - /{path} /api/x");
  EXPECT_EQ(result(table, "GET", "/api/x", "xexample.com"), "root - /{path} /api/x");
  for (const std::string_view host : {"", ".", "..", ".example.net", "[::1]:80", "com"}) {
    EXPECT_EQ(result(table, "GET", "/x", host), "root - /{path} /x") << host;
  }
}

TEST(RouteTable, mounts_at_the_gateways_own_paths_are_refused) {
  for (const std::string_view mount : {"/docs", "/docs/", "/%64ocs", "/docs/x", "/openapi.json", "/openapi.yaml",
                                       "/.well-known/openapi", "/api/v1/gateway/x", "host:h.example/docs"}) {
    const RouteTable table({source("s", std::string(mount), {})});
    ASSERT_EQ(table.conflicts().size(), 1U) << mount;
    EXPECT_NE(table.conflicts()[0].reason.find("is the gateway's own"), std::string::npos);
    EXPECT_TRUE(table.mounted().empty());
  }
  for (const std::string_view mount : {"/api/v1", "/doc", "/docs2", "/.well-known", "/openapi", "/Docs"}) {
    EXPECT_TRUE(RouteTable({source("s", std::string(mount), {})}).conflicts().empty()) << mount;
  }
  const RouteTable hidden({source("root", "/", {"GET /docs", "GET /x"})});
  ASSERT_EQ(hidden.conflicts().size(), 1U);
  EXPECT_EQ(hidden.conflicts()[0].reason, "not reachable: GET /docs is a path of the gateway's own");
  EXPECT_EQ(hidden.mounted().size(), 1U);
}

TEST(RouteTable, unusable_mounts_are_reported) {
  for (const std::string_view mount :
       {"m", "host:", "host:/x", "/a//b", "/a/../b", "/a/%2e%2e/b", "/a?b", "/{x}", "//"}) {
    const RouteTable table({source("s", std::string(mount), {})});
    // `//` is only slashes: the root.
    EXPECT_EQ(table.conflicts().size(), mount == "//" ? 0U : 1U) << mount;
  }
}

TEST(RouteTable, endpoints_that_cannot_be_told_apart_or_are_too_deep_are_reported) {
  std::string deep;
  for (int i = 0; i < 65; ++i) deep += "/x";
  const RouteTable table({source("s", "/s", {"GET /a/{x}", "GET /a/{y}", "PUT /a/{z}", "GET " + deep})});

  EXPECT_EQ(table.conflicts().size(), 2U);
  EXPECT_EQ(result(table, "GET", "/s/a/1"), "s /a/{x} /s/a/{x} /a/1");
  EXPECT_EQ(result(table, "PUT", "/s/a/1"), "s /a/{z} /s/a/{z} /a/1");
}

TEST(RouteTable, a_hostile_set_of_templates_costs_bounded_time) {
  // Every segment fits a literal and a parameter, and nothing ends where the path does: 2^12 ways to fail.
  std::vector<std::string> endpoints;
  for (int bits = 0; bits < 4096; ++bits) {
    std::string path;
    for (int i = 0; i < 12; ++i) path += (bits >> i & 1) != 0 ? "/x" : "/{p}";
    endpoints.push_back("GET " + path + "/end");
  }
  const RouteTable table({source("s", "/s", endpoints)});

  EXPECT_EQ(result(table, "GET", "/s/x/x/x/x/x/x/x/x/x/x/x/x/no"), "s - /s/{path} /x/x/x/x/x/x/x/x/x/x/x/x/no");
}

TEST(RouteTable, an_empty_table_routes_nothing) {
  EXPECT_EQ(result(RouteTable({}), "GET", "/"), "no_route");
}

}  // namespace
}  // namespace outrigger::router
