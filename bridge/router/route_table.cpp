#include "bridge/router/route_table.h"

#include <algorithm>
#include <optional>
#include <set>
#include <tuple>

#include "bridge/router/mount.h"

namespace outrigger::router {
namespace {

constexpr std::size_t kTemplateSegments = 64;  // bounds the recursion of a match
constexpr int kMatchSteps = 10000;             // nodes one match may visit: templates come from services
constexpr std::size_t kHostBytes = 255;

// The first segment of `path`, which begins after a slash; `path` becomes what follows the next slash, or nothing.
std::string_view next_segment(std::optional<std::string_view>& path) {
  const auto slash = path->find('/');
  const std::string_view segment = path->substr(0, slash);
  path = slash == std::string_view::npos ? std::nullopt : std::optional(path->substr(slash + 1));
  return segment;
}

bool is_dot_segment(std::string_view segment) {
  return segment == "." || segment == "..";
}

bool has_dot_segment(std::string_view path) {
  for (auto at = path.find("/."); at != std::string_view::npos; at = path.find("/.", at + 1)) {
    if (is_dot_segment(path.substr(at + 1, path.find('/', at + 1) - at - 1))) return true;
  }
  return false;
}

// True if following `path` never leads above where it begins. Empty segments do not count as a level, since many
// services merge slashes before they look at dots.
bool stays_inside(std::string_view path) {
  std::optional<std::string_view> rest = path.substr(std::min<std::size_t>(1, path.size()));
  int depth = 0;
  while (rest) {
    const std::string_view segment = next_segment(rest);
    if (segment == "..") {
      if (--depth < 0) return false;
    } else if (!segment.empty() && segment != ".") {
      ++depth;
    }
  }
  return true;
}

// Position in `path` after as many segments as `prefix` has.
std::size_t size_of_same_segments(std::string_view path, std::string_view prefix) {
  std::size_t at = 0;
  for (auto slashes = std::count(prefix.begin(), prefix.end(), '/'); slashes > 0; --slashes) {
    at = std::min(path.find('/', at + 1), path.size());
  }
  return at;
}

// Host in lower case without port and trailing dot, in `buffer`; empty if it is too long.
std::string_view normal_host(std::string_view host, char (&buffer)[kHostBytes]) {
  const auto bracket = host.empty() || host.front() != '[' ? 0 : std::min(host.find(']'), host.size());
  host = host.substr(0, host.find(':', bracket));
  if (!host.empty() && host.back() == '.') host.remove_suffix(1);
  if (host.size() > kHostBytes) return {};
  std::transform(host.begin(), host.end(), buffer,
                 [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; });
  return {buffer, host.size()};
}

// Texts around the parameters of a template's segment: {"", ""} for `{id}`, one text for a literal. A brace without
// its partner is text.
std::vector<std::string> split_segment(std::string_view segment) {
  std::vector<std::string> texts;
  for (;;) {
    const auto open = segment.find('{');
    const auto close = open == std::string_view::npos ? open : segment.find('}', open);
    if (close == std::string_view::npos) break;
    texts.push_back(canonical_path(segment.substr(0, open), /*encode=*/true));
    segment.remove_prefix(close + 1);
  }
  texts.push_back(canonical_path(segment, /*encode=*/true));
  return texts;
}

// Calls on_leaf(node) for each node that `path` leads to, best first, until it returns true. Returns whether it did.
template <class Node, class F>
bool visit_leaves(const std::vector<Node>& nodes, std::uint32_t at, std::optional<std::string_view> path, int& steps,
                  const F& on_leaf) {
  if (--steps < 0) return false;
  const Node& node = nodes[at];
  if (!path) return !node.listed.empty() && on_leaf(node);
  const std::string_view segment = next_segment(path);
  const auto literal = std::lower_bound(node.literals.begin(), node.literals.end(), segment,
                                        [](const auto& entry, std::string_view text) { return entry.first < text; });
  if (literal != node.literals.end() && literal->first == segment &&
      visit_leaves(nodes, literal->second, path, steps, on_leaf)) {
    return true;
  }
  // A parameter is never empty, and never a dot segment: the service would see another path than the template says.
  if (segment.empty() || is_dot_segment(segment)) return false;
  for (const auto& pattern : node.patterns) {
    if (pattern.matches(segment) && visit_leaves(nodes, pattern.child, path, steps, on_leaf)) return true;
  }
  return node.parameter != 0 && visit_leaves(nodes, node.parameter, path, steps, on_leaf);
}

}  // namespace

bool RouteTable::Pattern::matches(std::string_view segment) const {
  if (segment.size() < text_bytes + texts.size() - 1) return false;
  const std::string& last = texts.back();
  if (segment.substr(0, texts.front().size()) != texts.front()) return false;
  if (segment.substr(segment.size() - last.size()) != last) return false;
  const std::size_t end = segment.size() - last.size();
  std::size_t at = texts.front().size();
  for (std::size_t i = 1; i + 1 < texts.size(); ++i) {
    at = segment.find(texts[i], at + 1);
    if (at == std::string_view::npos) return false;
    at += texts[i].size();
  }
  return at < end;
}

const RouteTable::Service* RouteTable::Mounts::find(std::string_view path) const {
  const Service* best = nullptr;
  std::size_t end = 0;
  for (std::size_t segments = 0; segments <= most_segments; ++segments) {
    if (const auto found = by_path.find(path.substr(0, end)); found != by_path.end()) best = found->second;
    if (end == path.size()) break;
    end = std::min(path.find('/', end + 1), path.size());
  }
  return best;
}

RouteTable::RouteTable(std::vector<RouteSource> sources) {
  std::sort(sources.begin(), sources.end(), [](const RouteSource& a, const RouteSource& b) {
    return std::tie(a.registered_ms, a.metadata->service, a.metadata->service_version) <
           std::tie(b.registered_ms, b.metadata->service, b.metadata->service_version);
  });
  for (const RouteSource& source : sources) add(source);
}

void RouteTable::add(const RouteSource& source) {
  const openapi::ServiceMetadata& metadata = *source.metadata;
  Service service;
  service.metadata = source.metadata;
  service.mount = metadata.mount.empty() ? "/" + metadata.service : metadata.mount;
  const auto refuse = [this, &service](std::string reason, std::string advice) {
    conflicts_.push_back({service.metadata->service, service.mount, std::move(reason), std::move(advice)});
  };
  constexpr std::string_view kSetMount = "set another Sidecar:Service:Mount";

  auto mount = parse_mount(service.mount);
  if (!mount) return refuse(mount.error().detail, std::string(kSetMount));
  service.path = std::move(mount->path);
  if (service.path.find_first_of("?#{}") != std::string::npos || service.path.find("//") != std::string::npos) {
    return refuse("a mount is a plain path without empty segments", std::string(kSetMount));
  }
  service.path = canonical_path(service.path, /*encode=*/true);
  if (has_dot_segment(service.path)) return refuse("a mount has no dot segments", std::string(kSetMount));
  if (const OwnPath own = own_path_of(service.path); own != OwnPath::none) {
    return refuse("the path " + std::string(to_string(own)) + " is the gateway's own", std::string(kSetMount));
  }
  const std::string prefix = (mount->host.empty() ? "" : "host:" + mount->host) + service.path;
  service.unlisted_route = prefix + "/{path}";

  Mounts& mounts = mount->host.empty() ? mounts_ : mounts_of_hosts_[mount->host];
  if (const auto taken = mounts.by_path.find(service.path); taken != mounts.by_path.end()) {
    const std::string& other = taken->second->metadata->service;
    return refuse("taken by service " + other,
                  "give " + metadata.service + " or " + other + " another Sidecar:Service:Mount");
  }
  has_wildcards_ = has_wildcards_ || mount->host.substr(0, 1) == "*";
  service.nodes.emplace_back();
  std::vector<const openapi::Endpoint*> sorted;
  for (const openapi::Endpoint& endpoint : metadata.endpoints) sorted.push_back(&endpoint);
  std::sort(sorted.begin(), sorted.end(), [](const openapi::Endpoint* a, const openapi::Endpoint* b) {
    return std::tie(a->path, a->method) < std::tie(b->path, b->method);
  });
  for (const openapi::Endpoint* endpoint : sorted) {
    const std::string name = endpoint->method + " " + endpoint->path;
    if (own_path_of(service.path + endpoint->path) != OwnPath::none) {
      refuse("not reachable: " + name + " is a path of the gateway's own", "change the service's mount or this path");
    } else if (!add_endpoint(service, *endpoint)) {
      refuse("treated as unlisted: " + name, "of paths that differ in names of parameters only, list one");
    }
  }
  for (Node& node : service.nodes) {
    std::stable_sort(node.patterns.begin(), node.patterns.end(),
                     [](const Pattern& a, const Pattern& b) { return a.text_bytes > b.text_bytes; });
    for (Listed& listed : node.listed) listed.route.insert(0, prefix);
  }
  const auto segments = static_cast<std::size_t>(std::count(service.path.begin(), service.path.end(), '/'));
  mounts.most_segments = std::max(mounts.most_segments, segments);
  services_.push_back(std::move(service));
  mounts.by_path.emplace(services_.back().path, &services_.back());
}

bool RouteTable::add_endpoint(Service& service, const openapi::Endpoint& endpoint) {
  const auto slashes = static_cast<std::size_t>(std::count(endpoint.path.begin(), endpoint.path.end(), '/'));
  if (endpoint.path.empty() || endpoint.path.front() != '/' || slashes > kTemplateSegments) return false;
  std::vector<Node>& nodes = service.nodes;
  // Children are made by index: the vector moves its elements when it grows.
  const auto new_node = [&nodes] {
    nodes.emplace_back();
    return static_cast<std::uint32_t>(nodes.size() - 1);
  };
  std::uint32_t at = 0;
  std::optional<std::string_view> rest = std::string_view(endpoint.path).substr(1);
  while (rest) {
    std::vector<std::string> texts = split_segment(next_segment(rest));
    if (texts.size() == 1) {
      const auto less = [](const auto& entry, const std::string& text) { return entry.first < text; };
      const auto position = std::lower_bound(nodes[at].literals.begin(), nodes[at].literals.end(), texts[0], less);
      if (position != nodes[at].literals.end() && position->first == texts[0]) {
        at = position->second;
        continue;
      }
      const auto index = position - nodes[at].literals.begin();
      const std::uint32_t child = new_node();
      nodes[at].literals.emplace(nodes[at].literals.begin() + index, std::move(texts[0]), child);
      at = child;
    } else if (texts.size() == 2 && texts[0].empty() && texts[1].empty()) {
      if (nodes[at].parameter == 0) {
        const std::uint32_t child = new_node();
        nodes[at].parameter = child;
      }
      at = nodes[at].parameter;
    } else {
      const auto same = std::find_if(nodes[at].patterns.begin(), nodes[at].patterns.end(),
                                     [&texts](const Pattern& pattern) { return pattern.texts == texts; });
      if (same != nodes[at].patterns.end()) {
        at = same->child;
        continue;
      }
      std::size_t text_bytes = 0;
      for (const std::string& text : texts) text_bytes += text.size();
      const std::uint32_t child = new_node();
      nodes[at].patterns.push_back({std::move(texts), text_bytes, child});
      at = child;
    }
  }
  for (const Listed& listed : nodes[at].listed) {
    if (listed.endpoint->method == endpoint.method) return false;  // /a/{x} and /a/{y}: the first has it
  }
  nodes[at].listed.push_back({&endpoint, endpoint.path});
  return true;
}

Match RouteTable::match(std::string_view method, std::string_view host, std::string_view path) const {
  if (path.empty() || path.front() != '/') return {};
  std::string decoded;
  std::string_view compared = path;
  if (path.find('%') != std::string_view::npos) {
    decoded = canonical_path(path);
    compared = decoded;
  }
  Match match;
  if (!mounts_of_hosts_.empty()) match = match_host(method, host, compared);
  if (match.metadata == nullptr && match.kind == Match::Kind::no_route) match = match_in(mounts_, method, compared);
  match.target_path_offset = size_of_same_segments(path, match.mount);
  return match;
}

// The host itself, then, of the wildcards, the longest.
Match RouteTable::match_host(std::string_view method, std::string_view host, std::string_view path) const {
  char buffer[kHostBytes];
  std::string_view name = normal_host(host, buffer);
  for (;;) {
    const auto mounts = mounts_of_hosts_.find(name);
    if (mounts != mounts_of_hosts_.end()) {
      Match match = match_in(mounts->second, method, path);
      if (match.metadata != nullptr || match.kind != Match::Kind::no_route) return match;
    }
    if (!has_wildcards_) return {};
    // `*.example.com` in place of `a.example.com`: the star overwrites the character before the dot.
    const auto dot = name.find('.', name.substr(0, 1) == "*" ? 2 : 1);
    if (dot == std::string_view::npos) return {};
    const auto at = static_cast<std::size_t>(name.data() - buffer) + dot - 1;
    buffer[at] = '*';
    name = {buffer + at, name.size() - (dot - 1)};
  }
}

Match RouteTable::match_in(const Mounts& mounts, std::string_view method, std::string_view path) const {
  Match match;
  const Service* service = mounts.find(path);
  if (service == nullptr) return match;
  std::string_view rest = path.substr(service->path.size());
  if (rest.empty()) rest = "/";
  if (has_dot_segment(path) && (!stays_inside(rest) || mounts.find(remove_dot_segments(path)) != service)) {
    match.kind = Match::Kind::bad_path;
    return match;
  }

  const openapi::ServiceMetadata& metadata = *service->metadata;
  match.metadata = &metadata;
  match.mount = service->path;
  match.route = service->unlisted_route;
  const Listed* first = nullptr;
  int steps = kMatchSteps;
  const bool is_listed =
      visit_leaves(service->nodes, 0, rest.substr(1), steps, [&first, &match, method](const Node& node) {
        if (first == nullptr) first = &node.listed.front();
        const Listed* found = nullptr;
        for (const Listed& listed : node.listed) {
          if (listed.endpoint->method == method) found = &listed;
          if (found == nullptr && method == "HEAD" && listed.endpoint->method == "GET") found = &listed;
        }
        if (found == nullptr) return false;
        match.endpoint = found->endpoint;
        match.route = found->route;
        return true;
      });
  if (!is_listed && first != nullptr) match.route = first->route;
  if (is_listed || !metadata.refuse_unlisted || metadata.catch_all || (first != nullptr && method == "OPTIONS")) {
    match.kind = Match::Kind::matched;
    return match;
  }
  // Unlisted here stays unlisted: another mount, if one fits, belongs to another service.
  if (first == nullptr) return match;

  match.kind = Match::Kind::method_not_allowed;
  std::set<std::string_view> methods = {"OPTIONS"};
  steps = kMatchSteps;
  visit_leaves(service->nodes, 0, rest.substr(1), steps, [&methods](const Node& node) {
    for (const Listed& listed : node.listed) {
      methods.insert(listed.endpoint->method);
      if (listed.endpoint->method == "GET") methods.insert("HEAD");
    }
    return false;
  });
  for (const std::string_view allowed : methods) {
    if (!match.allow.empty()) match.allow += ", ";
    match.allow += allowed;
  }
  return match;
}

std::vector<RouteTable::Mounted> RouteTable::mounted() const {
  std::vector<Mounted> list;
  for (const Service& service : services_) list.push_back({service.metadata->service, service.mount});
  std::sort(list.begin(), list.end(), [](const Mounted& a, const Mounted& b) { return a.mount < b.mount; });
  return list;
}

}  // namespace outrigger::router
