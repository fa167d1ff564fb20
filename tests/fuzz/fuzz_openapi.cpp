// OpenAPI documents in JSON: reading their endpoints and merging two of them. Input: a byte of options, a document, and
// behind a record separator (0x1e, RFC 7464) a second one. What can be read can be announced, routed and merged; the
// merged document does not depend on the order, is readable itself, and offers exactly what is not hidden.
#include <cstddef>
#include <cstdint>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "bridge/base/check.h"
#include "bridge/openapi/endpoints.h"
#include "bridge/openapi/merge.h"
#include "bridge/openapi/metadata_codec.h"
#include "bridge/router/route_table.h"
#include "tests/fuzz/fuzz_input.h"

namespace {

using namespace outrigger::openapi;
using outrigger::base::Code;
using outrigger::fuzz::Input;
using Offers = std::set<std::pair<std::string, std::string>>;

bool is_method(const std::string& method) {
  static const std::set<std::string> methods = {"GET", "PUT", "POST", "DELETE", "OPTIONS", "HEAD", "PATCH", "TRACE"};
  return methods.count(method) != 0;
}

void check_endpoints(const std::vector<Endpoint>& endpoints) {
  const Endpoint* last = nullptr;
  for (const Endpoint& endpoint : endpoints) {
    CHECK(is_method(endpoint.method) && endpoint.path.front() == '/');
    if (last != nullptr) CHECK(std::tie(last->path, last->method) < std::tie(endpoint.path, endpoint.method));
    if (endpoint.timeout) CHECK(endpoint.timeout->count() >= 1 && *endpoint.timeout <= kLongestTimeout);
    last = &endpoint;
  }
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

ServiceMetadata service(const char* name, const char* mount, std::string_view document, bool& is_readable) {
  ServiceMetadata metadata;
  metadata.service = name;
  metadata.mount = mount;
  metadata.document = document;
  const auto endpoints = endpoints_of(document);
  if (endpoints) {
    check_endpoints(*endpoints);
    metadata.endpoints = *endpoints;
    check_announcement(metadata);
    const outrigger::router::RouteTable table({{std::make_shared<ServiceMetadata>(metadata), 0}});
    CHECK(table.mounted().size() == 1);
  } else {
    CHECK(!endpoints.error().detail.empty());
    is_readable = false;
  }
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
  bool is_readable = true;
  const ServiceMetadata a = service("a", (options & 1) != 0 ? "/" : "/a", first, is_readable);
  const ServiceMetadata b = service("b", (options & 2) != 0 ? "/a/b" : "/b", input.rest(), is_readable);

  const MergedDocument merged = merge({&a, &b});
  const MergedDocument reversed = merge({&b, &a});
  CHECK(merged.json == reversed.json && merged.etag == reversed.etag && merged.problems == reversed.problems);
  CHECK(merged.json.find('\n') == std::string::npos);
  if (!is_readable) return 0;
  const auto endpoints = endpoints_of(merged.json);
  CHECK(endpoints);
  Offers expected;
  add_offers(expected, a);
  add_offers(expected, b);
  Offers offered;
  for (const Endpoint& endpoint : *endpoints) offered.emplace(endpoint.path, endpoint.method);
  if (merged.problems.empty()) {
    CHECK(offered == expected);
  } else {
    for (const auto& offer : offered) CHECK(expected.count(offer) == 1);
  }
  return 0;
}
