#include "gateway-edge/access_rules.h"

#include <algorithm>
#include <numeric>

#include "tests/unit/gateway-edge/access_samples.h"

namespace outrigger::gateway {
namespace {

using openapi::Endpoint;
using openapi::Security;
using openapi::ServiceMetadata;

Endpoint endpoint(std::string method, std::string path, std::optional<Security> security,
                  std::vector<openapi::Claim> claims = {}) {
  return {std::move(method), std::move(path), {}, {}, false, std::move(claims), std::move(security)};
}

// A service with demands of every kind.
ServiceMetadata orders() {
  ServiceMetadata service;
  service.service = "orders";
  service.endpoints = {endpoint("GET", "/orders", Security{{{"read"}}}),
                       endpoint("GET", "/orders/{id}", Security{{{"read"}}, {{"admin", "audit"}}}),
                       endpoint("POST", "/orders/{id}", Security{{{"write"}}}, {{"tenant", std::nullopt}}),
                       endpoint("GET", "/orders/special", Security{{{}}}),
                       endpoint("GET", "/health", Security{}),
                       endpoint("GET", "/silent", std::nullopt),
                       endpoint("GET", "/slip", Security{{{""}}})};
  return service;
}
ServiceMetadata without_document(std::string name = "legacy") {
  ServiceMetadata service;
  service.service = std::move(name);
  service.catch_all = true;
  return service;
}

// What a request gets by `rules`; `path` is listed if one of the service's templates is spelled so.
struct Asked {
  ServiceMetadata service;
  AccessRules rules;

  std::string ask(const identity::Principal& principal, const std::string& method, const std::string& path) const {
    return text_of(check_access(requirement(method, path), principal));
  }
  Requirement requirement(const std::string& method, const std::string& path) const {
    const auto found = std::find_if(service.endpoints.begin(), service.endpoints.end(),
                                    [&](const Endpoint& one) { return one.path == path && one.method == method; });
    return rules.effective(service, found == service.endpoints.end() ? nullptr : &*found, method, path);
  }
};

std::vector<std::string> sources(const Requirement& requirement) {
  std::vector<std::string> list;
  for (const AccessDemand& demand : requirement.demands) list.push_back(demand.source);
  return list;
}
using Lines = std::vector<std::string>;

TEST(AccessRules, document_alone) {
  const Asked asked{orders(), AccessRules()};
  const auto tenant = somebody({"write"}, {{"tenant", {"acme"}}});

  EXPECT_EQ(asked.ask(nobody(), "GET", "/orders"), "401");
  EXPECT_EQ(asked.ask(somebody({}), "GET", "/orders"), "403 scope read");
  EXPECT_EQ(asked.ask(somebody({"readx", "rea"}), "GET", "/orders"), "403 scope read");
  EXPECT_EQ(asked.ask(somebody({"x", "read"}), "GET", "/orders"), "200");
  EXPECT_EQ(asked.ask(somebody({}), "GET", "/orders/special"), "200");
  EXPECT_EQ(asked.ask(nobody(), "GET", "/orders/special"), "401");
  EXPECT_EQ(asked.ask(somebody({"write"}), "POST", "/orders/{id}"), "403 claim tenant");
  EXPECT_EQ(asked.ask(tenant, "POST", "/orders/{id}"), "200");
  EXPECT_EQ(asked.ask(nobody(), "GET", "/health"), "200");
  EXPECT_EQ(asked.ask(nobody(), "GET", "/silent"), "200");
  EXPECT_EQ(sources(asked.requirement("POST", "/orders/{id}")),
            (Lines{"document: security", "document: x-router-claims"}));
}

TEST(AccessRules, any_alternative_will_do_and_the_nearest_is_named) {
  const Asked asked{orders(), AccessRules()};
  const auto ask = [&asked](std::vector<std::string> scopes) {
    return asked.ask(somebody(std::move(scopes)), "GET", "/orders/{id}");
  };

  EXPECT_EQ(ask({"read"}), "200");
  EXPECT_EQ(ask({"admin", "audit"}), "200");
  EXPECT_EQ(ask({"admin"}), "403 scope read");
  EXPECT_EQ(ask({}), "403 scope read");
  Asked other{orders(), AccessRules()};
  other.service.endpoints[1].security = Security{{{"a", "b", "c"}}, {{""}}, {{"d", "e"}}};
  EXPECT_EQ(other.ask(somebody({"a", "b"}), "GET", "/orders/{id}"), "403 scope c");
  EXPECT_EQ(other.ask(somebody({"d"}), "GET", "/orders/{id}"), "403 scope e");
  EXPECT_EQ(other.ask(somebody({}), "GET", "/orders/{id}"), "403 scope d");
}

TEST(AccessRules, what_nobody_has_is_forbidden_to_everyone_at_once) {
  Asked asked{orders(), AccessRules()};

  EXPECT_EQ(asked.ask(nobody(), "GET", "/slip"), "403");
  EXPECT_EQ(asked.ask(somebody({"", "read"}, {{"", {""}}}), "GET", "/slip"), "403");
  asked.service.endpoints[0].claims = {openapi::Claim{}};
  EXPECT_EQ(asked.ask(nobody(), "GET", "/orders"), "403");
  EXPECT_EQ(asked.ask(somebody({"read"}, {{"", {""}}}), "GET", "/orders"), "403");
  // Even without effective() to say so.
  EXPECT_EQ(text_of(check_access({{}, {{"", true, {{{""}}}, {}, {}}}}, somebody({"read"}))), "403");
}

TEST(AccessRules, claims_are_there_or_have_the_value_and_no_value_is_told) {
  const auto ask = [](openapi::Claim wanted, std::vector<identity::Claim> has, std::vector<std::string> scopes = {}) {
    Requirement requirement;
    requirement.demands.push_back({"test", true, {}, {}, {std::move(wanted)}});
    return text_of(check_access(requirement, somebody(std::move(scopes), std::move(has))));
  };

  EXPECT_EQ(ask({"role", {}}, {}), "403 claim role");
  EXPECT_EQ(ask({"role", {}}, {{"role", {}}}), "200");
  EXPECT_EQ(ask({"role", {}}, {{"Role", {"admin"}}}), "403 claim role");
  EXPECT_EQ(ask({"role", "admin"}, {{"role", {"user", "admin"}}}), "200");
  EXPECT_EQ(ask({"role", "admin"}, {{"role", {"user", "Admin"}}}), "403 claim role");
  EXPECT_EQ(ask({"role", "admin"}, {{"role", {}}}), "403 claim role");
  EXPECT_EQ(ask({"role", ""}, {{"role", {"x"}}}), "403 claim role");
  // These are scopes, however the token spells them.
  EXPECT_EQ(ask({"scope", "read"}, {}, {"read"}), "200");
  EXPECT_EQ(ask({"scp", "read"}, {{"scope", {"x read"}}}, {"read", "x"}), "200");
  EXPECT_EQ(ask({"scope", "read"}, {{"scope", {"read"}}}), "403 scope read");
  EXPECT_EQ(ask({"scope", {}}, {{"scope", {""}}}), "200");
}

TEST(AccessRules, of_overrides_the_most_specific_counts_in_any_order) {
  // From the least specific; each beats those before.
  std::vector<AccessRule> rules = {override_rule("", "", "", {"any"}),
                                   override_rule("orders", "", "", {"service"}),
                                   override_rule("", "", "/orders*", {"short"}),
                                   override_rule("", "", "/orders/*", {"long"}),
                                   override_rule("orders", "", "/orders/*", {"long-service"}),
                                   override_rule("*", "", "/orders/{x}", {"exact"}),
                                   override_rule("", "POST", "", {"method"}),
                                   override_rule("", "POST", "/orders/{x}", {"method-exact"})};
  for (std::size_t count = 1; count <= rules.size(); ++count) {
    std::vector<std::size_t> order(count);
    std::iota(order.begin(), order.end(), 0);
    for (int shuffle = 0; shuffle < 24; ++shuffle) {
      std::vector<AccessRule> shuffled;
      for (const std::size_t i : order) shuffled.push_back(rules[i]);
      const Asked asked{orders(), AccessRules(shuffled)};
      EXPECT_EQ(asked.ask(somebody({}), "POST", "/orders/{id}"), "403 scope " + rules[count - 1].scopes[0]);
      std::next_permutation(order.rbegin(), order.rend());
      std::rotate(order.begin(), order.begin() + 1, order.end());
    }
  }
  const Asked later{orders(), AccessRules({override_rule("orders", "", "/orders/{a}", {"first"}),
                                           override_rule("orders", "", "/orders/{b}", {"second"})})};
  EXPECT_EQ(later.ask(somebody({}), "GET", "/orders/{id}"), "403 scope second");
}

TEST(AccessRules, override_takes_the_place_of_all_that_the_document_says) {
  const Asked asked{orders(), AccessRules({override_rule("orders", "", "/orders/{id}", {"mine"}),
                                           override_rule("orders", "GET", "/slip")})};

  EXPECT_EQ(asked.ask(somebody({"mine"}), "POST", "/orders/{id}"), "200");
  EXPECT_EQ(asked.ask(nobody(), "POST", "/orders/{id}"), "401");
  EXPECT_EQ(asked.ask(nobody(), "GET", "/slip"), "200");
  EXPECT_EQ(asked.ask(nobody(), "GET", "/orders/special"), "401");  // `/orders/{id}` is another template
  EXPECT_EQ(sources(asked.requirement("POST", "/orders/{id}")), (Lines{"rule: override orders * /orders/{id}"}));
}

TEST(AccessRules, all_added_rules_hold_in_any_order) {
  std::vector<AccessRule> rules = {add_rule("orders", "", "", {"a"}),
                                   add_rule("", "", "/orders/*", {"b"}),
                                   add_rule("*", "POST", "", {"c"}),
                                   add_rule("orders", "POST", "/orders/{x}", {"d"}),
                                   add_rule("orders", "POST", "/orders/{x}", {"e"}),
                                   override_rule("orders", "", "", {"f"})};
  const auto is_less = [](const AccessRule& a, const AccessRule& b) { return a.scopes < b.scopes; };
  const Requirement first = Asked{orders(), AccessRules(rules)}.requirement("POST", "/orders/{id}");
  const auto sorted = [&first](Requirement requirement) {
    EXPECT_EQ(requirement, first);
    return requirement;
  };
  ASSERT_EQ(first.demands.size(), 6U);
  EXPECT_EQ(first.demands[0].source, "rule: override orders * *");
  std::size_t permutations = 0;
  do {
    const Asked asked{orders(), AccessRules(rules)};
    sorted(asked.requirement("POST", "/orders/{id}"));
    EXPECT_EQ(asked.requirement("POST", "/nowhere"),
              (Asked{orders(), AccessRules(rules)}.requirement("POST", "/nowhere")));
    ++permutations;
  } while (std::next_permutation(rules.begin(), rules.end(), is_less));
  EXPECT_EQ(permutations, 720U);
  for (const std::string lacking : {"a", "b", "c", "d", "e", "f"}) {
    std::vector<std::string> scopes = {"a", "b", "c", "d", "e", "f"};
    scopes.erase(std::find(scopes.begin(), scopes.end(), lacking));
    EXPECT_EQ(text_of(check_access(first, somebody(scopes))), "403 scope " + lacking);
  }
  EXPECT_EQ(text_of(check_access(first, somebody({"a", "b", "c", "d", "e", "f"}))), "200");
}

TEST(AccessRules, added_rules_come_on_top_of_the_document) {
  const Asked asked{orders(), AccessRules({add_rule("orders", "", "", {"use"}), add_rule("other", "", "", {"x"})})};

  EXPECT_EQ(asked.ask(somebody({"read"}), "GET", "/orders"), "403 scope use");
  EXPECT_EQ(asked.ask(somebody({"use"}), "GET", "/orders"), "403 scope read");
  EXPECT_EQ(asked.ask(somebody({"use", "read"}), "GET", "/orders"), "200");
  EXPECT_EQ(asked.ask(nobody(), "GET", "/health"), "401");  // public to the document, not to the operator
}

TEST(AccessRules, added_rule_holds_for_every_template_that_its_path_may_be_one_of) {
  ServiceMetadata service;
  service.service = "pages";
  for (const char* path :
       {"/{area}/list", "/admin/users", "/admin/{x}", "/Admin/list", "/public/{x}", "/adm{rest}", "/admin"}) {
    service.endpoints.push_back(endpoint("GET", path, Security{}));
  }
  const auto guarded = [&service](const std::string& path) {
    const Asked asked{service, AccessRules({add_rule("pages", "", path, {"s"})})};
    std::string text;
    for (const Endpoint& one : service.endpoints) {
      if (asked.ask(nobody(), "GET", one.path) == "401") text += (text.empty() ? "" : " ") + one.path;
    }
    return text;
  };

  EXPECT_EQ(guarded("/admin/*"), "/{area}/list /admin/users /admin/{x} /Admin/list");
  EXPECT_EQ(guarded("/admin*"), "/{area}/list /admin/users /admin/{x} /Admin/list /adm{rest} /admin");
  EXPECT_EQ(guarded("/admin/list"), "/{area}/list /admin/{x} /Admin/list");
  EXPECT_EQ(guarded("/public/list"), "/{area}/list /public/{x}");
  // Listed themselves, they mean themselves.
  EXPECT_EQ(guarded("/admin/{y}"), "/admin/{x}");
  EXPECT_EQ(guarded("/admin/users"), "/admin/users");
  EXPECT_EQ(guarded("/admin"), "/admin");
  EXPECT_EQ(guarded("/ADMIN/"), "/adm{rest} /admin");
  EXPECT_EQ(guarded("/*"), "/{area}/list /admin/users /admin/{x} /Admin/list /public/{x} /adm{rest} /admin");
  EXPECT_EQ(guarded("/nowhere/at/all"), "");
}

TEST(AccessRules, override_holds_for_templates_wholly_below_its_path) {
  ServiceMetadata service;
  service.service = "pages";
  for (const char* path : {"/{area}/list", "/admin/users", "/admin/{x}/y", "/Admin/list", "/adm{rest}/x"}) {
    service.endpoints.push_back(endpoint("GET", path, Security{{{"s"}}}));
  }
  const auto open = [&service](const std::string& path) {
    const Asked asked{service, AccessRules({override_rule("pages", "", path)})};
    std::string text;
    for (const Endpoint& one : service.endpoints) {
      if (asked.ask(nobody(), "GET", one.path) == "200") text += (text.empty() ? "" : " ") + one.path;
    }
    return text;
  };

  EXPECT_EQ(open("/admin/*"), "/admin/users /admin/{x}/y");
  EXPECT_EQ(open("/adm*"), "/admin/users /admin/{x}/y /adm{rest}/x");
  EXPECT_EQ(open("/admi*"), "/admin/users /admin/{x}/y");
  EXPECT_EQ(open("/{a}/*"), "/{area}/list /admin/users /admin/{x}/y /Admin/list /adm{rest}/x");
  EXPECT_EQ(open("/admin/list"), "");
  EXPECT_EQ(open("/{x}/list"), "/{area}/list");
}

TEST(AccessRules, spellings_of_a_listed_path_do_not_get_around_it) {
  const Asked asked{orders(), AccessRules()};
  for (const char* path : {"/orders/", "/orders/1/", "//orders/1", "/Orders/1", "/orders//1", "/orders/1;x",
                           "/x/../orders/1", "/orders%2F1", "/orders/1.json", "/anything"}) {
    EXPECT_EQ(asked.ask(nobody(), "GET", path), "403") << path;
    EXPECT_EQ(asked.ask(somebody({"read", "write", "admin", "audit"}), "GET", path), "403") << path;
  }
  EXPECT_EQ(asked.ask(somebody({"read", "write"}), "DELETE", "/orders/1"), "403");
  // Where nothing is demanded there is nothing to get around.
  ServiceMetadata open = orders();
  std::erase_if(open.endpoints, [](const Endpoint& one) { return one.path != "/health" && one.path != "/silent"; });
  EXPECT_EQ((Asked{open, AccessRules()}).ask(nobody(), "GET", "/Health/"), "200");
}

TEST(AccessRules, override_speaks_of_unlisted_paths_that_can_be_read_in_one_way) {
  const Asked asked{orders(), AccessRules({override_rule("orders", "GET", "/assets/*"),
                                           override_rule("orders", "", "/up/{name}", {"up"})})};

  EXPECT_EQ(asked.ask(nobody(), "GET", "/assets/a/b.css"), "200");
  EXPECT_EQ(asked.ask(nobody(), "HEAD", "/assets/a"), "200");
  EXPECT_EQ(asked.ask(nobody(), "GET", "/%61ssets/a"), "200");  // which is the same path, RFC 3986 section 6.2.2.2
  EXPECT_EQ(asked.ask(nobody(), "PUT", "/assets/a"), "403");
  EXPECT_EQ(asked.ask(nobody(), "PUT", "/up/a"), "401");
  EXPECT_EQ(asked.ask(somebody({}), "PUT", "/up/a"), "403 scope up");
  EXPECT_EQ(asked.ask(somebody({"up"}), "PUT", "/up/a"), "200");
  EXPECT_EQ(asked.ask(somebody({"up"}), "PUT", "/up/a/b"), "403");
  EXPECT_EQ(asked.ask(somebody({"up"}), "PUT", "/up/"), "403");
  for (const char* path :
       {"/assets", "/Assets/a", "/assets/../orders/1", "/assets/%2e%2e/orders/1", "/assets/..;/orders/1",
        "/assets//orders", "/assets/..%2Forders", "/assets/%252e%252e/orders/1", "/assets/..\\orders", "/assets/a;b",
        "/assets/\xc3\xa4", "/assets/%00", "//assets/a"}) {
    EXPECT_EQ(asked.ask(nobody(), "GET", path), "403") << path;
  }
}

TEST(AccessRules, override_for_the_whole_service_speaks_of_every_path) {
  const Asked asked{orders(),
                    AccessRules({override_rule("orders", "", ""), add_rule("orders", "", "/orders*", {"o"})})};

  EXPECT_EQ(asked.ask(nobody(), "GET", "/anything"), "200");
  EXPECT_EQ(asked.ask(nobody(), "GET", "/orders/1/"), "401");
  EXPECT_EQ(asked.ask(nobody(), "GET", "/Orders"), "401");
  // Wherever these lead, what is added for some path holds.
  for (const char* path : {"//orders", "/x/../orders", "/x%2F..%2Forders", "/x;/../orders"}) {
    EXPECT_EQ(asked.ask(nobody(), "GET", path), "401") << path;
    EXPECT_EQ(asked.ask(somebody({"o"}), "GET", path), "200") << path;
  }
}

TEST(AccessRules, added_rules_do_not_open_what_the_document_does_not_list) {
  const Asked asked{orders(), AccessRules({add_rule("", "", "", {"use"}), add_rule("orders", "", "/orders/*", {"o"})})};

  EXPECT_EQ(asked.ask(somebody({"use", "o"}), "GET", "/orders/1/"), "403");
  EXPECT_EQ(asked.ask(nobody(), "GET", "/orders/1/"), "403");
}

TEST(AccessRules, service_without_a_document_has_what_rules_say) {
  const Asked none{without_document(), AccessRules()};
  EXPECT_EQ(none.ask(nobody(), "GET", "/Any//path"), "200");

  const Asked whole{without_document(),
                    AccessRules({add_rule("legacy", "", "", {"use"}), add_rule("legacy", "PUT", "", {"put"})})};
  EXPECT_EQ(whole.ask(nobody(), "GET", "/x/../y"), "401");
  EXPECT_EQ(whole.ask(somebody({"use"}), "GET", "/x/../y"), "200");
  EXPECT_EQ(whole.ask(somebody({"use"}), "PUT", "/x"), "403 scope put");

  const Asked part{without_document(), AccessRules({add_rule("legacy", "", "/admin/*", {"admin"})})};
  EXPECT_EQ(part.ask(nobody(), "GET", "/admin/x"), "401");
  EXPECT_EQ(part.ask(somebody({"admin"}), "GET", "/admin/x"), "200");
  EXPECT_EQ(part.ask(somebody({"admin"}), "GET", "/Admin/x"), "200");
  EXPECT_EQ(part.ask(somebody({"admin"}), "GET", "//admin/x"), "403");
  EXPECT_EQ(part.ask(somebody({"admin"}), "GET", "/else"), "403");

  const Asked both{without_document(),
                   AccessRules({add_rule("legacy", "", "/admin/*", {"admin"}), override_rule("legacy", "", "")})};
  EXPECT_EQ(both.ask(nobody(), "GET", "/else"), "200");
  EXPECT_EQ(both.ask(nobody(), "GET", "/ADMIN/x"), "401");
  EXPECT_EQ(both.ask(nobody(), "GET", "//admin/x"), "401");
}

TEST(AccessRules, rule_for_a_path_of_any_service_concerns_those_that_list_it) {
  const std::vector<AccessRule> rules = {add_rule("", "", "/silent", {"s"})};
  ServiceMetadata silent = orders();
  std::erase_if(silent.endpoints, [](const Endpoint& one) { return one.path != "/health" && one.path != "/silent"; });

  EXPECT_EQ((Asked{silent, AccessRules(rules)}).ask(nobody(), "GET", "/unlisted"), "403");
  EXPECT_EQ((Asked{without_document(), AccessRules(rules)}).ask(nobody(), "GET", "/unlisted"), "200");
  EXPECT_EQ((Asked{without_document(), AccessRules(rules)}).ask(nobody(), "GET", "/SILENT/"), "401");
}

TEST(AccessRules, options_needs_nothing_unless_it_is_listed_or_named) {
  Asked asked{orders(), AccessRules({add_rule("orders", "", "", {"use"})}, true)};
  EXPECT_EQ(asked.ask(nobody(), "OPTIONS", "/orders"), "200");
  EXPECT_EQ(asked.ask(nobody(), "OPTIONS", "/nowhere//"), "200");
  EXPECT_EQ(asked.ask(nobody(), "options", "/orders"), "403");

  asked.service.endpoints.push_back(endpoint("OPTIONS", "/orders", Security{{{"read"}}}));
  EXPECT_EQ(asked.ask(nobody(), "OPTIONS", "/orders"), "401");
  const Asked named{orders(), AccessRules({add_rule("orders", "OPTIONS", "/orders*", {"use"})})};
  EXPECT_EQ(named.ask(nobody(), "OPTIONS", "/orders/1"), "401");
  EXPECT_EQ(named.ask(nobody(), "OPTIONS", "/health"), "200");
}

TEST(AccessRules, head_is_get) {
  Asked asked{orders(), AccessRules({add_rule("orders", "GET", "", {"use"})})};
  asked.service.endpoints.push_back(endpoint("HEAD", "/orders", Security{}));

  EXPECT_EQ(asked.ask(nobody(), "HEAD", "/orders"), "401");
  EXPECT_EQ(asked.ask(somebody({"use"}), "HEAD", "/orders"), "200");
}

TEST(AccessRules, deny_by_default_forbids_what_nothing_is_said_of) {
  const Asked asked{orders(), AccessRules({}, true)};
  EXPECT_EQ(asked.ask(nobody(), "GET", "/silent"), "403");
  EXPECT_EQ(asked.ask(somebody({"read"}), "GET", "/silent"), "403");
  EXPECT_EQ(asked.ask(nobody(), "GET", "/health"), "200");
  EXPECT_EQ(asked.ask(somebody({"read"}), "GET", "/orders"), "200");

  EXPECT_EQ((Asked{without_document(), AccessRules({}, true)}).ask(nobody(), "GET", "/x"), "403");
  const AccessRules spoken({override_rule("legacy", "", ""), add_rule("orders", "", "/silent", {"s"})}, true);
  EXPECT_EQ((Asked{without_document(), spoken}).ask(nobody(), "GET", "/x"), "200");
  EXPECT_EQ((Asked{without_document("other"), spoken}).ask(nobody(), "GET", "/x"), "403");
  EXPECT_EQ((Asked{orders(), spoken}).ask(somebody({"s"}), "GET", "/silent"), "200");
}

TEST(AccessRules, undocumented_endpoint_is_as_unlisted) {
  Asked asked{orders(), AccessRules()};
  asked.service.endpoints.push_back(*openapi::parse_operation("POST /orders/{id}/"));
  EXPECT_EQ(asked.ask(somebody({"write"}), "POST", "/orders/{id}/"), "403");

  asked.service.endpoints = {*openapi::parse_operation("POST /x")};
  EXPECT_EQ(asked.ask(nobody(), "POST", "/x"), "200");
}

TEST(AccessRules, rules_that_cannot_be_meant_are_refused) {
  const auto error = [](const AccessRule& rule) {
    const auto checked = check_access_rule(rule);
    return checked ? std::string() : checked.error().detail;
  };
  for (const char* path : {"", "/", "/*", "/a", "/a/", "/a*", "/a/*", "/{x}", "/{x}/*", "/a/{x}.json",
                           "/gr\xc3\xb6\xc3\x9f"
                           "e"}) {
    EXPECT_EQ(error(add_rule("s", "GET", path, {"a"})), "") << path;
  }
  for (const char* path : {"a", "*", "/a*b", "/a**", "/*/a", "/a?b", "/a#b", "/a;b", "/a\\b", "/a b", "//a", "/a//b",
                           "/a/../b", "/.", "/%2e/a", "/{x", "/x}", "/{a/b}", "/a/{x}*"}) {
    EXPECT_EQ(error(add_rule("s", "GET", path, {"a"})).substr(0, 5), "path:") << path;
  }
  EXPECT_EQ(error(add_rule("", "", "/" + std::string(kAccessPathBytes, 'a'), {})).substr(0, 5), "path:");
  EXPECT_EQ(error(add_rule("", "get", "", {})).substr(0, 7), "method:");
  EXPECT_EQ(error(add_rule("", "HEAD", "", {})).substr(0, 7), "method:");
  EXPECT_EQ(error(add_rule("", "", "", {""})).substr(0, 7), "scopes:");
  EXPECT_EQ(error(add_rule("", "", "", {"a b"})).substr(0, 7), "scopes:");
  EXPECT_NE(error(add_rule("", "", "", std::vector<std::string>(kAccessScopes + 1, "a"))), "");
  AccessRule rule = override_rule("", "", "");
  EXPECT_EQ(error(rule), "");
  rule.scopes = {"a"};
  EXPECT_EQ(error(rule).substr(0, 16), "allow_anonymous:");
  rule = override_rule("", "", "");
  rule.mode = AccessRule::Mode::add;
  EXPECT_EQ(error(rule).substr(0, 16), "allow_anonymous:");
  rule.allow_anonymous = false;
  rule.claims = {{"", {}}};
  EXPECT_EQ(error(rule).substr(0, 7), "claims:");
}

}  // namespace
}  // namespace outrigger::gateway
