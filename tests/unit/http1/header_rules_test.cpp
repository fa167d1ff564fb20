#include "bridge/http1/header_rules.h"

#include <gtest/gtest.h>

#include "bridge/http1/serializer.h"

namespace outrigger::http1 {
namespace {

base::HeaderList list(std::initializer_list<std::pair<const char*, const char*>> fields) {
  base::HeaderList headers;
  for (const auto& [name, value] : fields) headers.add(name, value);
  return headers;
}

std::string text(const base::HeaderList& headers) {
  std::string out;
  for (const base::HeaderField field : headers) out.append(field.name).append(": ").append(field.value).append("\n");
  return out;
}

TEST(RemoveHopByHop, fields_for_one_hop_and_those_named_by_connection_go) {
  base::HeaderList headers = list({{"Host", "a"},
                                   {"Connection", "close, X-Secret ,, keep-alive"},
                                   {"x-secret", "1"},
                                   {"X-Kept", "2"},
                                   {"connection", "X-Other"},
                                   {"X-Other", "3"},
                                   {"Keep-Alive", "timeout=5"},
                                   {"Proxy-Connection", "keep-alive"},
                                   {"Proxy", "http://203.0.113.9:3128"},
                                   {"TE", "trailers"},
                                   {"Trailer", "X"},
                                   {"Transfer-Encoding", "chunked"},
                                   {"Upgrade", "h2c"},
                                   {"HTTP2-Settings", "AAMAAABkAAQCAAAAAAIAAAAA"},
                                   {"Proxy-Authorization", "Basic x"},
                                   {"Proxy-Authenticate", "Basic"},
                                   {"Content-Length", "5"}});

  remove_hop_by_hop(headers);

  EXPECT_EQ(text(headers), "Host: a\nX-Kept: 2\nContent-Length: 5\n");
}

TEST(RemoveHopByHop, connection_cannot_strip_end_to_end_fields) {
  base::HeaderList headers =
      list({{"Host", "a"},
            {"Connection", "Host, content-length, Cache-Control, X-Forwarded-For, Authorization"},
            {"Content-Length", "5"},
            {"Cache-Control", "no-store"},
            {"X-Forwarded-For", "192.0.2.1"},
            {"Authorization", "Bearer x"}});

  remove_hop_by_hop(headers);

  EXPECT_EQ(headers.size(), 5u);
  EXPECT_FALSE(headers.find("Connection"));
}

TEST(AddVia, names_the_received_version_behind_earlier_ones) {
  base::HeaderList headers = list({{"Via", "1.1 first"}});

  add_via(headers, 0, "outrigger");

  EXPECT_EQ(text(headers), "Via: 1.1 first\nVia: 1.0 outrigger\n");
}

TEST(SetForwarded, untrusted_peer_has_its_claims_dropped) {
  base::HeaderList headers = list({{"X-Forwarded-For", "10.0.0.1"},
                                   {"x-forwarded-proto", "https"},
                                   {"X-Forwarded-Port", "443"},
                                   {"Forwarded", "for=10.0.0.1"},
                                   {"X-Real-IP", "10.0.0.1"},
                                   {"X_Forwarded_For", "10.0.0.1"},
                                   {"x.forwarded-HOST", "b.test"},
                                   {"FORWARDED", "for=10.0.0.1"},
                                   {"X_Real_IP", "10.0.0.1"},
                                   {"X-Original-URL", "/admin"},
                                   {"X_REWRITE_URL", "/admin"},
                                   {"Accept", "*/*"},
                                   {"X-Forward", "kept"}});

  set_forwarded(headers, {.client_address = "192.0.2.7", .proto = "http", .host = "a.test", .prefix = "/api"});

  EXPECT_EQ(text(headers),
            "Accept: */*\nX-Forward: kept\nX-Forwarded-For: 192.0.2.7\nX-Forwarded-Proto: http\nX-Forwarded-Host: a.test\n"
            "X-Forwarded-Prefix: /api\n");
}

TEST(SetForwarded, trusted_peer_is_believed_and_appended) {
  base::HeaderList headers = list({{"X-Forwarded-For", "10.0.0.1"},
                                   {"X-Forwarded-For", "10.0.0.2"},
                                   {"X-Forwarded-Proto", "https"},
                                   {"Forwarded", "for=10.0.0.1"}});

  set_forwarded(
      headers, {.client_address = "192.0.2.7", .proto = "http", .host = "a.test", .prefix = "", .trust_inbound = true});

  EXPECT_EQ(text(headers),
            "X-Forwarded-Proto: https\nX-Forwarded-For: 10.0.0.1, 10.0.0.2, 192.0.2.7\nX-Forwarded-Host: a.test\n");
}

TEST(SetForwarded, trusted_peer_speaks_in_the_usual_spelling_and_prefixes_add_up) {
  base::HeaderList headers = list({{"X_Forwarded_For", "10.6.6.6"},
                                   {"X-Forwarded_Proto", "https"},
                                   {"X-Forwarded.Host", "evil.test"},
                                   {"X_Real_IP", "10.6.6.6"},
                                   {"X-Real-IP", "10.0.0.1"},
                                   {"X_Original_URL", "/admin"},
                                   {"X-Original-URL", "/before"},
                                   {"X-Forwarded-Port", "443"},
                                   {"X-Forwarded-Prefix", "/outer/"}});

  set_forwarded(headers, {.client_address = "192.0.2.7", .proto = "http", .host = "a.test", .prefix = "/api", .trust_inbound = true});

  EXPECT_EQ(text(headers),
            "X-Real-IP: 10.0.0.1\nX-Original-URL: /before\nX-Forwarded-Port: 443\nX-Forwarded-For: 192.0.2.7\n"
            "X-Forwarded-Proto: http\n"
            "X-Forwarded-Host: a.test\nX-Forwarded-Prefix: /outer/api\n");
}

TEST(EnsureRequestId, inbound_is_kept_only_if_trusted_and_sane) {
  base::HeaderList trusted = list({{"X-Request-Id", "abc-123"}});
  EXPECT_EQ(ensure_request_id(trusted, true), "abc-123");
  EXPECT_EQ(text(trusted), "X-Request-Id: abc-123\n");

  base::HeaderList untrusted = list({{"x-request-id", "abc-123"}});
  const std::string fresh = ensure_request_id(untrusted, false);
  EXPECT_EQ(fresh.size(), 32u);
  EXPECT_EQ(text(untrusted), "X-Request-Id: " + fresh + "\n");

  base::HeaderList insane = list({{"X-Request-Id", "a b\"c"}});
  EXPECT_EQ(ensure_request_id(insane, true).size(), 32u);
  base::HeaderList repeated = list({{"X-Request-Id", "a"}, {"X-Request-Id", "b"}});
  EXPECT_EQ(ensure_request_id(repeated, true).size(), 32u);
  EXPECT_EQ(repeated.size(), 1u);
  // One variable of CGI with the right one.
  for (const bool trusted_peer : {false, true}) {
    base::HeaderList spelled = list({{"X_Request_Id", "a"}, {"X-Request-Id", "b"}, {"x.request-ID", "c"}});
    const std::string id = ensure_request_id(spelled, trusted_peer);
    EXPECT_EQ(text(spelled), "X-Request-Id: " + id + "\n");
  }
}

TEST(CountHop, counts_down_for_trace_and_options_only) {
  base::HeaderList headers = list({{"Max-Forwards", "1"}});
  EXPECT_EQ(count_hop("GET", headers), HopStep::forward);
  EXPECT_EQ(count_hop("OPTIONS", headers), HopStep::forward);
  EXPECT_EQ(*headers.find("Max-Forwards"), "0");
  EXPECT_EQ(count_hop("TRACE", headers), HopStep::answer_here);
  base::HeaderList none;
  EXPECT_EQ(count_hop("OPTIONS", none), HopStep::forward);
}

TEST(Serializer, request_head_has_its_framing_behind_the_fields) {
  std::string out = "before ";

  ASSERT_TRUE(append_request_head(out, "POST", "/x?y", list({{"Host", "a"}, {"content-length", "9"}}),
                                  {Framing::Body::length, 3, Framing::Connection::close}));

  EXPECT_EQ(out, "before POST /x?y HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nConnection: close\r\n\r\n");
}

TEST(Serializer, nothing_can_be_injected) {
  const std::string with_nul("a\0b", 3);
  std::string out = "before";
  for (const std::string& bad : {std::string("a\r\nb"), std::string("a\nb"), std::string("a\rb"), with_nul,
                                 std::string("a\x01"), std::string("a\x7f")}) {
    base::HeaderList value = list({{"Host", "a"}});
    value.add("X-A", bad);
    base::HeaderList name = list({{"Host", "a"}});
    name.add(bad, "x");
    ResponseHead reason;
    reason.reason = bad;
    ResponseHead head_value;
    head_value.headers = value;

    EXPECT_FALSE(append_request_head(out, "GET", "/", value, {}));
    EXPECT_FALSE(append_request_head(out, "GET", "/", name, {}));
    EXPECT_FALSE(append_request_head(out, bad, "/", {}, {}));
    EXPECT_FALSE(append_request_head(out, "GET", "/" + bad, {}, {}));
    EXPECT_FALSE(append_response_head(out, reason, {}));
    EXPECT_FALSE(append_response_head(out, head_value, {}));
  }
  EXPECT_FALSE(append_request_head(out, "GET", "/a b", {}, {}));
  EXPECT_FALSE(append_request_head(out, "GET", "", {}, {}));
  EXPECT_FALSE(append_request_head(out, "GET", "/", list({{"", "x"}}), {}));
  EXPECT_FALSE(append_request_head(out, "GET", "/", list({{"a b", "x"}}), {}));
  EXPECT_FALSE(append_request_head(out, "GET", "/", list({{"a:", "x"}}), {}));
  ResponseHead status;
  status.status = 42;
  EXPECT_FALSE(append_response_head(out, status, {}));
  EXPECT_EQ(out, "before");
}

TEST(Serializer, chunk_headers_and_dates_have_their_exact_form) {
  std::string out;
  append_chunk_header(out, 0x1f4);

  EXPECT_EQ(out, "1f4\r\n");
  EXPECT_EQ(to_http_date(784111777), "Sun, 06 Nov 1994 08:49:37 GMT");
  EXPECT_EQ(parse_content_length("18446744073709551615"), UINT64_MAX);
  for (const char* bad : {"", "-1", "+1", "1 ", " 1", "1x", "18446744073709551616"}) {
    EXPECT_FALSE(parse_content_length(bad)) << bad;
  }
}

}  // namespace
}  // namespace outrigger::http1
