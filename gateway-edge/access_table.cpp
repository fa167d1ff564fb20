#include "gateway-edge/access_table.h"

#include <algorithm>
#include <utility>

#include "bridge/base/check.h"
#include "gateway-edge/path_pattern.h"

namespace outrigger::gateway {

using openapi::Endpoint;
using openapi::ServiceMetadata;
using Kind = AccessDecision::Kind;

namespace {

constexpr std::string_view kMount = "/s";  // of folded paths: somewhere where no path is the gateway's own

// A template's path as fold_path would have it. A character that paths do not have stands for the parameters meanwhile.
std::string fold_template(std::string_view path, bool& is_same) {
  std::string text;
  for (const std::string& segment : template_segments(path)) text.append("/").append(segment);
  const std::string canonical = text;
  for (auto at = text.find("{}"); at != std::string::npos; at = text.find("{}", at)) text.replace(at, 2, "\x01");
  text = fold_path(text);
  for (auto at = text.find("%01"); at != std::string::npos; at = text.find("%01", at)) text.replace(at, 3, "{}");
  is_same = text == canonical;
  return text;
}

bool is_demanding(const Requirement& requirement) {
  return !requirement.denied.empty() || requirement.needs_token();
}

// `.json` of `/a/b.json`; empty for none.
std::string_view extension_of(std::string_view path) {
  const auto dot = path.rfind('.');
  return dot == std::string_view::npos || path.find('/', dot) != std::string_view::npos ? std::string_view()
                                                                                        : path.substr(dot);
}

}  // namespace

AccessTable::AccessTable(std::shared_ptr<const AccessRules> rules, const Services& services,
                         const AccessTable* previous)
    : rules_(std::move(rules)) {
  CHECK(rules_ != nullptr);
  for (const auto& [name, metadata] : services) {
    std::shared_ptr<const Service> service;
    if (previous != nullptr && previous->rules_ == rules_) {
      const auto known = previous->services_.find(metadata.get());
      if (known != previous->services_.end()) service = known->second;
    }
    services_.emplace(metadata.get(), service != nullptr ? std::move(service) : make_service(metadata));
  }
}

std::shared_ptr<const AccessTable::Service> AccessTable::make_service(
    std::shared_ptr<const ServiceMetadata> metadata) const {
  auto service = std::make_shared<Service>();
  service->selection = rules_->select(*metadata);
  service->listed.reserve(metadata->endpoints.size());
  for (const Endpoint& endpoint : metadata->endpoints) {
    service->listed.push_back(endpoint.undocumented
                                  ? rules_->unlisted(service->selection, endpoint.method, endpoint.path)
                                  : rules_->listed(service->selection, endpoint));
  }
  service->unlisted = rules_->unlisted(service->selection, {}, {});
  service->metadata = std::move(metadata);
  unite_twins(*service);
  add_folded(*service);
  const auto& items = service->selection.items;
  service->is_guarded = service->folded != nullptr || is_demanding(service->unlisted) ||
                        std::any_of(items.begin(), items.end(), [](const AccessRules::Selection::Item& item) {
                          return item.compiled->demand.needs_token;
                        });
  return service;
}

// `/a/{x}` and `/a/{y}` are one to the route table, whichever of them the service takes: what both demand is demanded.
void AccessTable::unite_twins(Service& service) {
  std::map<std::string, std::vector<std::size_t>> twins;
  const std::vector<Endpoint>& endpoints = service.metadata->endpoints;
  for (std::size_t i = 0; i < endpoints.size(); ++i) {
    std::string name = endpoints[i].method;
    for (const std::string& segment : template_segments(endpoints[i].path)) name.append("/").append(segment);
    if (!endpoints[i].undocumented) twins[std::move(name)].push_back(i);
  }
  for (const auto& [name, indexes] : twins) {
    if (indexes.size() == 1) continue;
    Requirement all;
    for (const std::size_t i : indexes) {
      const Requirement& one = service.listed[i];
      if (all.denied.empty()) all.denied = one.denied;
      for (const AccessDemand& demand : one.demands) {
        if (std::find(all.demands.begin(), all.demands.end(), demand) == all.demands.end())
          all.demands.push_back(demand);
      }
    }
    for (const std::size_t i : indexes) service.listed[i] = all;
  }
}

void AccessTable::add_folded(Service& service) {
  if (std::none_of(service.listed.begin(), service.listed.end(), is_demanding)) return;
  auto folded = std::make_shared<ServiceMetadata>();
  folded->service = "s";
  folded->mount = kMount;
  std::map<std::pair<std::string, std::string>, std::vector<std::size_t>> spelled;
  const std::vector<Endpoint>& endpoints = service.metadata->endpoints;
  for (std::size_t i = 0; i < endpoints.size(); ++i) {
    if (endpoints[i].undocumented) continue;
    bool is_same = true;
    spelled[{fold_template(endpoints[i].path, is_same), endpoints[i].method}].push_back(i);
    service.has_folded_templates = service.has_folded_templates && is_same;
  }
  for (auto& [place, indexes] : spelled) {
    folded->endpoints.push_back({place.second, place.first, {}, {}, false});
    service.spelled.push_back(std::move(indexes));
  }
  service.folded_metadata = folded;
  service.folded = std::make_unique<const router::RouteTable>(std::vector<router::RouteSource>{{std::move(folded), 0}});
}

AccessDecision AccessTable::check(const router::Match& match, std::string_view method, std::string_view path,
                                  const identity::Principal& principal) const {
  const auto found = services_.find(match.metadata);
  if (found == services_.end()) return {Kind::forbidden, {}};
  const Service& service = *found->second;
  if (path.empty()) path = "/";
  const Endpoint* endpoint = match.endpoint != nullptr && !match.endpoint->undocumented ? match.endpoint : nullptr;
  AccessDecision decision =
      endpoint == nullptr
          ? check_unlisted(service, method, path, principal)
          : check_access(service.listed[static_cast<std::size_t>(endpoint - service.metadata->endpoints.data())],
                         principal);
  if (decision.kind != Kind::allowed || service.folded == nullptr) return decision;
  const std::string_view extension = extension_of(path);
  if (service.has_folded_templates && extension.empty() && !needs_folding(path)) return decision;
  std::string folded = fold_path(path);
  decision = check_folded(service, endpoint, method, folded, principal);
  if (decision.kind != Kind::allowed || extension_of(folded).empty()) return decision;
  folded.resize(folded.size() - extension_of(folded).size());
  return check_folded(service, endpoint, method, folded, principal);
}

AccessDecision AccessTable::check_unlisted(const Service& service, std::string_view method, std::string_view path,
                                           const identity::Principal& principal) const {
  if (service.selection.is_by_path_or_method)
    return check_access(rules_->unlisted(service.selection, method, path), principal);
  if (method == "OPTIONS") return {};
  return check_access(service.unlisted, principal);
}

AccessDecision AccessTable::check_folded(const Service& service, const Endpoint* endpoint, std::string_view method,
                                         const std::string& folded, const identity::Principal& principal) {
  const router::Match match = service.folded->match(method, {}, std::string(kMount) + folded);
  if (match.endpoint == nullptr) return {};
  const std::vector<std::size_t>& indexes =
      service.spelled[static_cast<std::size_t>(match.endpoint - service.folded_metadata->endpoints.data())];
  const auto is_own = [&](std::size_t i) { return &service.metadata->endpoints[i] == endpoint; };
  if (std::any_of(indexes.begin(), indexes.end(), is_own)) return {};
  for (const std::size_t i : indexes) {
    AccessDecision decision = check_access(service.listed[i], principal);
    if (decision.kind != Kind::allowed) return decision;
  }
  return {};
}

bool AccessTable::is_guarded(const ServiceMetadata& service) const {
  const auto found = services_.find(&service);
  return found == services_.end() || found->second->is_guarded;
}

const Requirement* AccessTable::find(const ServiceMetadata& service, const Endpoint& endpoint) const {
  const auto found = services_.find(&service);
  if (found == services_.end()) return nullptr;
  const std::vector<Endpoint>& endpoints = service.endpoints;
  if (endpoints.empty() || &endpoint < endpoints.data() || &endpoint >= endpoints.data() + endpoints.size())
    return nullptr;
  return &found->second->listed[static_cast<std::size_t>(&endpoint - endpoints.data())];
}

const Requirement* AccessTable::find_unlisted(const ServiceMetadata& service) const {
  const auto found = services_.find(&service);
  return found == services_.end() ? nullptr : &found->second->unlisted;
}

std::vector<std::string> AccessTable::particular_rules(const ServiceMetadata& service) const {
  std::vector<std::string> sources;
  const auto found = services_.find(&service);
  if (found == services_.end()) return sources;
  for (const auto& item : found->second->selection.items) {
    const bool is_particular = !item.compiled->pattern.is_any || !item.compiled->rule.method.empty();
    if (is_particular) sources.push_back(item.compiled->demand.source);
  }
  return sources;
}

}  // namespace outrigger::gateway
