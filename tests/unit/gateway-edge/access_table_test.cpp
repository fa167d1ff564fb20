// What a request gets that the route table has matched.
#include "gateway-edge/access_table.h"

#include "tests/unit/gateway-edge/access_samples.h"

namespace outrigger::gateway {
namespace {

using openapi::Endpoint;
using openapi::Security;
using openapi::ServiceMetadata;

struct Stage {
  Stage(std::vector<Endpoint> endpoints, std::vector<AccessRule> listed = {}, bool catch_all = false)
      : rules(std::make_shared<const AccessRules>(std::move(listed))) {
    auto made = std::make_shared<ServiceMetadata>();
    made->service = "s";
    made->mount = "/m";
    made->endpoints = std::move(endpoints);
    made->catch_all = catch_all;
    metadata = std::move(made);
    routes = std::make_unique<router::RouteTable>(std::vector<router::RouteSource>{{metadata, 0}});
    access = std::make_unique<AccessTable>(rules, AccessTable::Services{{"s", metadata}});
  }
  std::string ask(const std::string& method, const std::string& path, const identity::Principal& principal) const {
    const std::string spelled = "/m" + path;
    const router::Match match = routes->match(method, "", spelled);
    if (match.kind != router::Match::Kind::matched) return "unmatched";
    return text_of(access->check(match, method, std::string_view(spelled).substr(match.target_path_offset), principal));
  }

  std::shared_ptr<const AccessRules> rules;
  std::shared_ptr<const ServiceMetadata> metadata;
  std::unique_ptr<router::RouteTable> routes;
  std::unique_ptr<AccessTable> access;
};

Endpoint get(std::string path, std::optional<Security> security) {
  return {"GET", std::move(path), {}, {}, false, {}, std::move(security)};
}
Security scope(std::string name) {
  return {{{std::move(name)}}};
}

TEST(AccessTable, listed_and_unlisted_paths) {
  const Stage stage({get("/a/{id}", scope("a")), get("/", Security{}), get("/open", std::nullopt)});

  EXPECT_EQ(stage.ask("GET", "/a/1", nobody()), "401");
  EXPECT_EQ(stage.ask("HEAD", "/a/1", nobody()), "401");
  EXPECT_EQ(stage.ask("GET", "/a/1", somebody({"a"})), "200");
  EXPECT_EQ(stage.ask("GET", "/a/1", somebody({"b"})), "403 scope a");
  EXPECT_EQ(stage.ask("OPTIONS", "/a/1", nobody()), "200");
  EXPECT_EQ(stage.ask("DELETE", "/a/1", somebody({"a"})), "403");
  EXPECT_EQ(stage.ask("GET", "/open", nobody()), "200");
  EXPECT_EQ(stage.ask("GET", "", nobody()), "200");
  for (const char* path : {"/a/1/", "//a/1", "/A/1", "/b"})
    EXPECT_EQ(stage.ask("GET", path, somebody({"a"})), "403") << path;
}

TEST(AccessTable, service_is_guarded_where_it_demands_something_of_somebody) {
  const auto is_guarded = [](const Stage& stage) { return stage.access->is_guarded(*stage.metadata); };
  EXPECT_FALSE(is_guarded(Stage({get("/open", std::nullopt), get("/", Security{})})));
  EXPECT_FALSE(is_guarded(Stage({get("/open", std::nullopt)}, {add_rule("other", "GET", "/open", {"a"})})));
  EXPECT_TRUE(is_guarded(Stage({get("/open", std::nullopt), get("/a", scope("a"))})));
  EXPECT_TRUE(is_guarded(Stage({get("/open", std::nullopt)}, {add_rule("s", "DELETE", "/a", {"a"})})));
  EXPECT_TRUE(is_guarded(Stage({}, {add_rule("s", "", "", {"a"})}, /*catch_all=*/true)));
  EXPECT_TRUE(Stage({}).access->is_guarded(ServiceMetadata())) << "nothing is known of it";
}

TEST(AccessTable, rules_hold_for_unlisted_paths_as_they_are_spelled) {
  const Stage stage({get("/a/{id}", scope("a"))},
                    {override_rule("s", "GET", "/static/*"), override_rule("s", "GET", "/up", {"up"})});

  EXPECT_EQ(stage.ask("GET", "/static/x.css", nobody()), "200");
  EXPECT_EQ(stage.ask("GET", "/static/../a/1", nobody()), "403");
  EXPECT_EQ(stage.ask("GET", "/up", nobody()), "401");
  EXPECT_EQ(stage.ask("GET", "/up", somebody({"up"})), "200");
  EXPECT_EQ(stage.ask("OPTIONS", "/elsewhere", nobody()), "200");
}

// `/reports/Internal` is a report to us, and the internal page to a service that ignores case.
TEST(AccessTable, another_spelling_of_a_listed_path_has_its_demands_too) {
  const Stage stage({get("/reports/internal", scope("internal")), get("/reports/{id}", scope("read")),
                     get("/reports/Twin", scope("t")), get("/reports/twin", scope("u"))});

  EXPECT_EQ(stage.ask("GET", "/reports/internal", somebody({"internal"})), "200");
  EXPECT_EQ(stage.ask("GET", "/reports/%69nternal", somebody({"internal"})), "200");
  EXPECT_EQ(stage.ask("GET", "/reports/1", somebody({"read"})), "200");
  EXPECT_EQ(stage.ask("GET", "/reports/ABC", somebody({"read"})), "200");
  EXPECT_EQ(stage.ask("GET", "/reports/a.json", somebody({"read"})), "200");
  for (const char* path : {"/reports/Internal", "/reports/internal;x=1", "/reports/internal.json",
                           "/reports/%2569nternal", "/reports/x%2F..%2Finternal", "/reports/internal%2F",
                           "/reports/internal%00.html", "/reports/x\\..\\internal", "/reports/INTERNAL.html",
                           "/reports/internal%0A", "/reports/%20Internal%09", "/reports/internal%3Fx",
                           "/reports/internal%23", "/reports/internal%2520"}) {
    EXPECT_EQ(stage.ask("GET", path, somebody({"read"})), "403 scope internal") << path;
    EXPECT_EQ(stage.ask("HEAD", path, somebody({"read"})), "403 scope internal") << path;
    EXPECT_EQ(stage.ask("GET", path, somebody({"read", "internal"})), "200") << path;
  }
  // Told apart by the service's document, told apart here.
  EXPECT_EQ(stage.ask("GET", "/reports/Twin", somebody({"t"})), "200");
  EXPECT_EQ(stage.ask("GET", "/reports/twin", somebody({"u"})), "200");
  EXPECT_EQ(stage.ask("GET", "/reports/TWIN", somebody({"read", "u"})), "403 scope t");
}

TEST(AccessTable, service_opened_by_a_rule_keeps_what_is_said_of_single_endpoints) {
  const Stage stage({get("/a/{id}", scope("a")), get("/Big/%C3%B6%3A", scope("a"))},
                    {override_rule("s", "", ""), override_rule("s", "GET", "/a/{x}", {"mine"}),
                     override_rule("s", "GET", "/Big/\xc3\xb6%3a", {"big"})});

  EXPECT_EQ(stage.ask("GET", "/anything", nobody()), "200");
  EXPECT_EQ(stage.ask("GET", "/a/1", nobody()), "401");
  EXPECT_EQ(stage.ask("GET", "/Big/%c3%b6%3a", nobody()), "401");
  for (const char* path :
       {"/a/1/", "//a/1", "/A/1", "/x/../a/1", "/a/1;v=2", "/%61/1/", "/big/%C3%B6:", "/big/%C3%B6%3A/"}) {
    EXPECT_EQ(stage.ask("GET", path, nobody()), "401") << path;
  }
}

TEST(AccessTable, of_templates_that_are_one_to_the_route_table_all_hold) {
  const Stage stage({get("/a/{x}", Security{}), get("/a/{y}", scope("y")), get("/a/{z}", scope("z"))});

  EXPECT_EQ(stage.ask("GET", "/a/1", nobody()), "401");
  EXPECT_EQ(stage.ask("GET", "/a/1", somebody({"y"})), "403 scope z");
  EXPECT_EQ(stage.ask("GET", "/a/1", somebody({"y", "z"})), "200");
}

TEST(AccessTable, undocumented_endpoint_is_not_listed) {
  Endpoint repeatable = *openapi::parse_operation("POST /a/{id}/");
  const Stage stage({get("/a/{id}", scope("a")), repeatable});
  EXPECT_EQ(stage.ask("POST", "/a/1/", somebody({"a"})), "403");

  const Stage free({repeatable}, {}, true);
  EXPECT_EQ(free.ask("POST", "/a/1/", nobody()), "200");
}

TEST(AccessTable, service_that_is_not_in_it_is_forbidden) {
  const Stage stage({get("/a", Security{})});
  const Stage other({get("/a", Security{})});
  const router::Match match = other.routes->match("GET", "", "/m/a");

  EXPECT_EQ(text_of(stage.access->check(match, "GET", "/a", nobody())), "403");
  EXPECT_EQ(stage.access->find(*other.metadata, *match.endpoint), nullptr);
  EXPECT_EQ(stage.access->find_unlisted(*other.metadata), nullptr);
}

TEST(AccessTable, what_is_known_is_kept_by_the_next_one) {
  const Stage stage({get("/a", scope("a"))});
  auto newer = std::make_shared<ServiceMetadata>(*stage.metadata);
  newer->endpoints[0].security = scope("b");
  const AccessTable next(stage.rules, {{"s", stage.metadata}, {"t", newer}}, stage.access.get());
  const AccessTable other(std::make_shared<const AccessRules>(), {{"s", stage.metadata}}, stage.access.get());

  const Endpoint& endpoint = stage.metadata->endpoints[0];
  EXPECT_EQ(next.find(*stage.metadata, endpoint), stage.access->find(*stage.metadata, endpoint));
  EXPECT_NE(other.find(*stage.metadata, endpoint), stage.access->find(*stage.metadata, endpoint));
  EXPECT_EQ(next.find(*newer, newer->endpoints[0])->demands[0].one_of, scope("b"));
}

TEST(AccessTable, operators_see_what_holds_and_which_rules_are_more_particular) {
  const Stage stage({get("/a", scope("a"))},
                    {add_rule("s", "", "", {"use"}), override_rule("", "PUT", "/b*"), add_rule("x", "", "/", {})});

  EXPECT_EQ(stage.access->find(*stage.metadata, stage.metadata->endpoints[0])->demands.size(), 2U);
  EXPECT_NE(stage.access->find_unlisted(*stage.metadata)->denied, "");
  EXPECT_EQ(stage.access->particular_rules(*stage.metadata), (std::vector<std::string>{"rule: override * PUT /b*"}));
}

}  // namespace
}  // namespace outrigger::gateway
