// RouteTable: which service a request goes to, and which of its endpoints that is. Built whole from the services'
// metadata, never changed, swapped whole: workers share it as shared_ptr<const RouteTable>, and a request keeps the one
// it began with. The gateway's own paths (/openapi.json, ...) are looked at before it, by the caller.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "bridge/openapi/endpoints.h"

namespace outrigger::router {

// Of two services on one mount, the one that registered first has it; at the same time, the lower name.
struct RouteSource {
  std::shared_ptr<const openapi::ServiceMetadata> metadata;
  std::int64_t registered_ms = 0;
};

// What could not be routed as announced.
struct RouteConflict {
  std::string service;
  std::string mount;
  std::string reason;
  std::string advice;  // what an operator can do about it
};

struct Match {
  enum class Kind : std::uint8_t {
    matched,
    method_not_allowed,  // the path is listed, the method is not, and the service refuses what is unlisted: 405
    no_route,            // 404
    bad_path,            // dot segments lead out of the mount: 400
  };
  Kind kind = Kind::no_route;
  // The views and pointers below live as long as the table. Set whenever a service is mounted there, except for
  // bad_path.
  const openapi::ServiceMetadata* metadata = nullptr;
  std::string_view mount;  // path of the mount without a trailing slash; empty for `/`. For X-Forwarded-Prefix
  std::string_view route;  // mount and template, for metrics and logs: /billing/orders/{id}; unlisted: /billing/{path}
  const openapi::Endpoint* endpoint = nullptr;  // nullptr: not listed, but passed
  // Bytes to take off the path as it was spelled; what remains goes to the service. Nothing remains: it gets `/`.
  std::size_t target_path_offset = 0;
  std::string allow;  // value of Allow, with method_not_allowed
};

class RouteTable {
 public:
  // Sources may be in any order. Those without a usable mount, or whose mount is taken, are in conflicts().
  explicit RouteTable(std::vector<RouteSource> sources);
  RouteTable(const RouteTable&) = delete;
  RouteTable& operator=(const RouteTable&) = delete;

  // `method` as sent; `host` the value of Host, with or without a port; `path` the target as spelled, without query.
  // Mounts of the host go before others (of wildcards the longest name first), and then the longest mount wins.
  // Templates are compared segment by segment on the path as
  // spelled, except that percent-encoded unreserved characters equal themselves (RFC 3986 section 6.2.2.2); literal
  // segments go before parameters; a trailing slash counts. HEAD passes where GET is listed, OPTIONS wherever the path
  // is. No allocation unless the path has a `%` or a dot segment, or the method is refused.
  Match match(std::string_view method, std::string_view host, std::string_view path) const;

  const std::vector<RouteConflict>& conflicts() const { return conflicts_; }

  struct Mounted {
    std::string_view service;
    std::string_view mount;  // as announced or defaulted: /billing, /, host:example.com
  };
  // Every service that has a mount, by mount.
  std::vector<Mounted> mounted() const;

 private:
  struct Listed {
    const openapi::Endpoint* endpoint;
    std::string route;
  };
  // A segment that is part text, part parameter: `{id}.json`, `v{major}-{minor}`. Texts surround the parameters.
  struct Pattern {
    std::vector<std::string> texts;
    std::size_t text_bytes;
    std::uint32_t child;
    bool matches(std::string_view segment) const;
  };
  struct Node {
    std::vector<std::pair<std::string, std::uint32_t>> literals;  // sorted
    std::vector<Pattern> patterns;                                // most text first
    std::uint32_t parameter = 0;                                  // child for `{id}`; 0 = none (0 is the root)
    std::vector<Listed> listed;                                   // endpoints that end here
  };
  struct Service {
    std::shared_ptr<const openapi::ServiceMetadata> metadata;
    std::string mount;           // as announced or defaulted
    std::string path;            // of the mount
    std::string unlisted_route;  // label
    std::vector<Node> nodes;     // the root first
  };
  struct TextHash {
    using is_transparent = void;
    std::size_t operator()(std::string_view text) const { return std::hash<std::string_view>()(text); }
  };
  template <class Value>
  using TextMap = std::unordered_map<std::string, Value, TextHash, std::equal_to<>>;
  struct Mounts {
    TextMap<const Service*> by_path;
    std::size_t most_segments = 0;
    const Service* find(std::string_view path) const;
  };

  void add(const RouteSource& source);
  bool add_endpoint(Service& service, const openapi::Endpoint& endpoint);
  Match match_host(std::string_view method, std::string_view host, std::string_view path) const;
  Match match_in(const Mounts& mounts, std::string_view method, std::string_view path) const;

  std::deque<Service> services_;
  Mounts mounts_;
  TextMap<Mounts> mounts_of_hosts_;
  bool has_wildcards_ = false;
  std::vector<RouteConflict> conflicts_;
};

}  // namespace outrigger::router
