#include "bridge/router/mount.h"

#include <gtest/gtest.h>

namespace outrigger::router {
namespace {

TEST(Mount, is_read_in_all_its_forms) {
  const struct {
    std::string_view text;
    std::string_view host;
    std::string_view path;
  } cases[] = {
      {"/", "", ""},
      {"/billing", "", "/billing"},
      {"/billing/", "", "/billing"},
      {"/a/b", "", "/a/b"},
      {"host:example.com", "example.com", ""},
      {"host:example.com/", "example.com", ""},
      {"host:Example.COM./api/", "example.com", "/api"},
      {"host:*.example.com", "*.example.com", ""},
      {"host:*.Example.com/api", "*.example.com", "/api"},
      {"host:localhost", "localhost", ""},
      {"host:my_host", "my_host", ""},
      {"host:192.0.2.1", "192.0.2.1", ""},
      {"host:[::1]/x", "[::1]", "/x"},
  };
  for (const auto& [text, host, path] : cases) {
    const auto mount = parse_mount(text);
    ASSERT_TRUE(mount) << text << ": " << mount.error().detail;
    EXPECT_EQ(mount->host, host) << text;
    EXPECT_EQ(mount->path, path) << text;
  }
}

TEST(Mount, says_what_is_wrong) {
  const std::string long_label(64, 'a');
  const struct {
    std::string text;
    std::string_view why;
  } cases[] = {
      {"", "must begin with '/' or 'host:'"},
      {"billing", "must begin with '/' or 'host:'"},
      {"Host:example.com", "must begin with '/' or 'host:'"},
      {"host:", "names no host"},
      {"host:/api", "names no host"},
      {"host:example.com:8080", "must not name a port"},
      {"host:[::1]:80/x", "must not name a port"},
      {"host:user@example.com", "names no host that can be"},
      {"host:a..b", "names no host that can be"},
      {"host:-a.example", "names no host that can be"},
      {"host:a-.example", "names no host that can be"},
      {"host:*", "names no host that can be"},
      {"host:*.", "names no host that can be"},
      {"host:a.*.example", "names no host that can be"},
      {"host:*.*.example", "names no host that can be"},
      {"host:ex ample", "names no host that can be"},
      {"host:b\xc3\xbc" "cher.example", "names no host that can be"},
      {"host:" + long_label, "names no host that can be"},
      {"host:[::g]", "names no host that can be"},
  };
  for (const auto& [text, why] : cases) {
    const auto mount = parse_mount(text);
    ASSERT_FALSE(mount) << text;
    EXPECT_NE(mount.error().detail.find(why), std::string::npos) << mount.error().detail;
    EXPECT_EQ(mount.error().detail.find("'" + text + "' "), 0U) << mount.error().detail;
  }
}

TEST(OwnPath, is_found_in_any_spelling_that_leads_to_it) {
  for (const std::string_view path :
       {"/openapi.json", "//openapi.json", "/./openapi.json", "/%6Fpenapi.json", "/openapi%2ejson", "/x/../openapi.json",
        "/x//..//openapi.json", "/%2e/openapi.json", "/docs/../openapi.json", "/../openapi.json"}) {
    EXPECT_EQ(own_path_of(path), OwnPath::openapi_json) << path;
  }
  EXPECT_EQ(own_path_of("/openapi.yaml"), OwnPath::openapi_yaml);
  for (const std::string_view path :
       {"/.well-known/openapi", "/%2Ewell-known/openapi", "//.well-known//openapi", "/x/%2e%2E/.well-known/openapi"}) {
    EXPECT_EQ(own_path_of(path), OwnPath::openapi_links) << path;
  }
  for (const std::string_view path : {"/docs", "/docs/", "/docs/a/b", "/docs//", "/doc%73/x", "//docs", "/docs/x/.."}) {
    EXPECT_EQ(own_path_of(path), OwnPath::docs) << path;
  }
  for (const std::string_view path :
       {"/api/v1/gateway", "/api/v1/gateway/", "/api/v1/gateway/routes", "/api//v1/gateway", "/api/v1/x/../gateway/y"}) {
    EXPECT_EQ(own_path_of(path), OwnPath::gateway_api) << path;
  }
}

TEST(OwnPath, leaves_everything_else_to_services) {
  for (const std::string_view path :
       {"", "*", "/", "/openapi", "/openapi.json/", "/openapi.json/x", "/openapi.jsonx", "/OpenAPI.json", "/docs2", "/doc",
        "/docs/..", "/docs/../x", "/docs%2Fx", "/api/v1", "/api/v1/gateways", "/api/v1/gateway/..", "/x/docs",
        "/.well-known/openapi/x", "/.well-known", "/.well-known/x", "/%zz", "//", "/.", "/.."}) {
    EXPECT_EQ(own_path_of(path), OwnPath::none) << path;
  }
}

}  // namespace
}  // namespace outrigger::router
