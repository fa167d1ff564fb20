#include "gateway-edge/mount_rewrite.h"

#include <gtest/gtest.h>

namespace outrigger::gateway {
namespace {

// The value of `name` after the service at /billing answered a request for `path` of example.com with it.
std::string rewritten(std::string_view name, std::string_view value, std::string_view path = "/billing/a/b",
                      std::string_view authority = "example.com") {
  base::HeaderList headers;
  headers.add("X-Before", "1");
  headers.add(name, value);
  headers.add("X-After", "/2");
  constexpr std::string_view kMount = "/billing";
  restore_mount(headers, {kMount, authority, path, path.substr(kMount.size())});
  EXPECT_EQ(headers.size(), 3U);
  EXPECT_EQ(headers[0].value, "1");
  EXPECT_EQ(headers[2].value, "/2");
  EXPECT_EQ(headers[1].name, name);
  return std::string(headers[1].value);
}

std::string location(std::string_view value, std::string_view path = "/billing/a/b",
                     std::string_view authority = "example.com") {
  const std::string of_location = rewritten("Location", value, path, authority);
  EXPECT_EQ(rewritten("content-location", value, path, authority), of_location);
  return of_location;
}

TEST(RestoreMount, absolute_paths_get_the_mount) {
  EXPECT_EQ(location("/orders/1"), "/billing/orders/1");
  EXPECT_EQ(location("/"), "/billing/");
  EXPECT_EQ(location("/x?to=/y#/z"), "/billing/x?to=/y#/z");
  EXPECT_EQ(location("/?q"), "/billing/?q");
  EXPECT_EQ(location(" /x\t"), "/billing/x");
  EXPECT_EQ(location("/a%2Fb//c"), "/billing/a%2Fb//c");
  // The service speaks of its own paths, whatever they look like.
  EXPECT_EQ(location("/billing/x"), "/billing/billing/x");
}

TEST(RestoreMount, dot_segments_do_not_lead_out_of_the_mount) {
  EXPECT_EQ(location("/../x"), "/billing/x");
  EXPECT_EQ(location("/a/../../../x"), "/billing/x");
  EXPECT_EQ(location("/%2e%2E/x"), "/billing/x");
  EXPECT_EQ(location("/a/./b/..?c=/../d"), "/billing/a/?c=/../d");
  EXPECT_EQ(location("http://example.com/../x"), "http://example.com/billing/x");
}

TEST(RestoreMount, urls_of_the_service_itself_get_the_mount_and_others_do_not) {
  EXPECT_EQ(location("http://example.com/x?y#z"), "http://example.com/billing/x?y#z");
  EXPECT_EQ(location("HTTPS://Example.COM/x"), "HTTPS://Example.COM/billing/x");
  EXPECT_EQ(location("//example.com/x"), "//example.com/billing/x");
  EXPECT_EQ(location("http://example.com"), "http://example.com/billing/");
  EXPECT_EQ(location("http://example.com?x"), "http://example.com/billing/?x");
  EXPECT_EQ(location("http://example.com:80/x"), "http://example.com:80/billing/x");
  EXPECT_EQ(location("https://example.com/x", "/billing/", "example.com:443"), "https://example.com/billing/x");
  EXPECT_EQ(location("http://example.com:8080/x", "/billing/", "example.com:8080"),
            "http://example.com:8080/billing/x");
  for (const char* other :
       {"http://other.com/x", "http://example.com:8080/x", "https://example.com:80/x", "//other.com/x", "http:///x",
        "http://user@example.com/x", "http://example.com.evil/x", "http://127.0.0.1:8080/x", "ftp://example.com/x",
        "mailto:a@example.com", "urn:x:/y", "http:/x", "javascript:/x"}) {
    EXPECT_EQ(location(other), other);
  }
  EXPECT_EQ(location("http:///x", "/billing/", ""), "http:///x");
}

TEST(RestoreMount, relative_references_stay_while_they_lead_to_the_same_place) {
  for (const char* relative : {"x", "./x", "../x", "x/../y", "?q", "#f", "", "x?u=http://e/f"}) {
    EXPECT_EQ(location(relative), relative);
  }
  // One level too many ends at the root: of the service for the service, of the gateway for the client.
  EXPECT_EQ(location("../../x"), "/billing/x");
  EXPECT_EQ(location("../..?q#f"), "/billing/?q#f");
  EXPECT_EQ(location("%2e%2e/../../x", "/billing/a/"), "/billing/x");
  // Without the slash behind the mount the client would look beside it.
  EXPECT_EQ(location("login", "/billing"), "/billing/login");
  EXPECT_EQ(location("./login?next=%2F", "/billing"), "/billing/login?next=%2F");
  EXPECT_EQ(location("login", "/billing/"), "login");
  EXPECT_EQ(location("?page=2", "/billing"), "?page=2");
}

TEST(RestoreMount, cookie_paths_get_the_mount) {
  const auto cookie = [](std::string_view value) { return rewritten("set-COOKIE", value); };
  EXPECT_EQ(cookie("a=1; Path=/x; Secure"), "a=1; Path=/billing/x; Secure");
  EXPECT_EQ(cookie("a=1;path=/"), "a=1;path=/billing");
  EXPECT_EQ(cookie("a=1; PATH = /x/ ;HttpOnly"), "a=1; PATH = /billing/x/ ;HttpOnly");
  EXPECT_EQ(cookie("a=1; Path=\"/x\"; Max-Age=1"), "a=1; Path=\"/billing/x\"; Max-Age=1");
  EXPECT_EQ(cookie("a=1; Path=\"/\""), "a=1; Path=\"/billing\"");
  EXPECT_EQ(cookie("a=1; Path=/x; Path=/"), "a=1; Path=/billing/x; Path=/billing");
  EXPECT_EQ(cookie("__Secure-a=1; Path=/; Secure"), "__Secure-a=1; Path=/billing; Secure");
  for (const char* same : {"a=1", "a=1; Secure", "a=1; Path", "a=1; Path=", "a=1; Path=x", "Path=/x", "a=Path=/x",
                           "a=1; XPath=/x", "a=1; Domain=/x", "", ";", "__Host-a=1; Path=/; Secure",
                           "__host-a=1; Path=/; Secure"}) {
    EXPECT_EQ(cookie(same), same);
  }
}

TEST(RestoreMount, each_field_is_looked_at_and_the_order_stays) {
  base::HeaderList headers;
  headers.add("Set-Cookie", "a=1; Path=/a");
  headers.add("Location", "/x");
  headers.add("Set-Cookie", "b=2");
  headers.add("Set-Cookie", "c=3; Path=/c");
  headers.add("Link", "</y>; rel=next");
  headers.add("Refresh", "1; url=/z");

  restore_mount(headers, {"/m", "h", "/m/", "/"});

  base::HeaderList expected;
  expected.add("Set-Cookie", "a=1; Path=/m/a");
  expected.add("Location", "/m/x");
  expected.add("Set-Cookie", "b=2");
  expected.add("Set-Cookie", "c=3; Path=/m/c");
  expected.add("Link", "</y>; rel=next");
  expected.add("Refresh", "1; url=/z");
  EXPECT_EQ(headers, expected);
}

TEST(RestoreMount, at_the_root_nothing_changes) {
  base::HeaderList headers;
  headers.add("Location", "/../x");
  headers.add("Set-Cookie", "a=1; Path=/a");
  const base::HeaderList before = headers;

  restore_mount(headers, {"", "h", "/", "/"});

  EXPECT_EQ(headers, before);
}

}  // namespace
}  // namespace outrigger::gateway
