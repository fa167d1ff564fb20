// OpenAPI documents of any kind: reading them, and merging two. Input: a byte of options, a document, and behind a
// record separator (0x1e, RFC 7464) a second one; JSON or YAML, 2.0 or 3.x. What can be read can be announced, routed
// and merged, and reads again as the same; the merged document does not depend on the order, is readable itself, and
// offers exactly what is not hidden.
#include <cstddef>
#include <cstdint>
#include <memory>
#include <set>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "bridge/base/check.h"
#include "bridge/openapi/merge.h"
#include "bridge/openapi/metadata_codec.h"
#include "bridge/openapi/reader.h"
#include "bridge/router/route_table.h"
#include "tests/fuzz/fuzz_input.h"

namespace {

using namespace outrigger::openapi;
using outrigger::base::Code;
using outrigger::fuzz::Input;
using Offers = std::set<std::pair<std::string, std::string>>;

void check_endpoints(const std::vector<Endpoint>& endpoints) {
  static const std::set<std::string> methods = {"GET", "PUT", "POST", "DELETE", "OPTIONS", "HEAD", "PATCH", "TRACE"};
  const Endpoint* last = nullptr;
  for (const Endpoint& endpoint : endpoints) {
    CHECK(methods.count(endpoint.method) == 1 && endpoint.path.front() == '/');
    if (last != nullptr) CHECK(std::tie(last->path, last->method) <= std::tie(endpoint.path, endpoint.method));
    if (endpoint.timeout) CHECK(endpoint.timeout->count() >= 1 && *endpoint.timeout <= kLongestTimeout);
    CHECK(endpoint.claims.size() <= kClaims);
    last = &endpoint;
  }
}

void check_reading(const ParsedDocument& parsed) {
  check_endpoints(parsed.endpoints);
  CHECK(parsed.remarks.size() <= kRemarks);
  // As it is announced it is JSON of version 3, and says the same.
  const auto again = read_document(parsed.document);
  CHECK(again && !again->is_yaml && again->version.rfind("3.", 0) == 0);
  CHECK(again->endpoints == parsed.endpoints && again->document == parsed.document);
}

void check_announcement(const ServiceMetadata& metadata) {
  const auto encoded = encode_metadata(metadata);
  if (!encoded) {
    CHECK(encoded.error().code == Code::too_large);
    return;
  }
  const auto decoded = decode_metadata(encoded->bytes, encoded->hash);
  CHECK(decoded && *decoded == metadata);
}

ServiceMetadata service(const char* name, const char* mount, std::string_view text, bool& is_readable) {
  ServiceMetadata metadata;
  metadata.service = name;
  metadata.mount = mount;
  metadata.document = text;
  const auto parsed = read_document(text);
  if (!parsed) {
    CHECK(!parsed.error().detail.empty());
    is_readable = false;
    return metadata;
  }
  check_reading(*parsed);
  metadata.document = parsed->document;
  metadata.endpoints = parsed->endpoints;
  check_announcement(metadata);
  const outrigger::router::RouteTable table({{std::make_shared<ServiceMetadata>(metadata), 0}});
  CHECK(table.mounted().size() == 1);
  return metadata;
}

void add_offers(Offers& offers, const ServiceMetadata& metadata) {
  const std::string mount = metadata.mount == "/" ? "" : metadata.mount;
  for (const Endpoint& endpoint : metadata.endpoints) {
    if (!endpoint.hidden) offers.emplace(mount + endpoint.path, endpoint.method);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  Input input(data, size);
  const std::uint8_t options = input.byte();
  const std::string_view first = input.until('\x1e');
  static_cast<void>(link_in(first));
  bool is_readable = true;
  const ServiceMetadata a = service("a", (options & 1) != 0 ? "/" : "/a", first, is_readable);
  const ServiceMetadata b = service("b", (options & 2) != 0 ? "/a/b" : "/b", input.rest(), is_readable);

  const MergedDocument merged = merge({&a, &b});
  const MergedDocument reversed = merge({&b, &a});
  CHECK(merged.json == reversed.json && merged.etag == reversed.etag && merged.problems == reversed.problems);
  CHECK(merged.json.find('\n') == std::string::npos);
  if (!is_readable) return 0;
  const auto parsed = read_document(merged.json);
  CHECK(parsed && parsed->version == "3.1.0");
  Offers expected;
  add_offers(expected, a);
  add_offers(expected, b);
  Offers offered;
  for (const Endpoint& endpoint : parsed->endpoints) offered.emplace(endpoint.path, endpoint.method);
  for (const auto& offer : offered) CHECK(expected.count(offer) == 1);
  if (merged.problems.empty()) CHECK(offered == expected);
  return 0;
}
