#include "gateway-edge/gateway_admin.h"

#include <nlohmann/json.hpp>

namespace outrigger::gateway {
namespace {

using Json = nlohmann::ordered_json;
using app::AdminAnswer;
using app::AdminQuery;

AdminAnswer answer(const Json& json, int status = 200) {
  // Names come from frames, which anyone who may write to the bus can make: what is not UTF-8 is replaced.
  return {json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n", status};
}

std::string_view to_string(frames::InstanceState state) {
  switch (state) {
    case frames::InstanceState::starting: return "starting";
    case frames::InstanceState::healthy: return "healthy";
    case frames::InstanceState::degraded: return "degraded";
    case frames::InstanceState::draining: return "draining";
  }
  return "starting";
}

AdminAnswer show_instances(const Control& control, const AdminQuery& query) {
  const std::string* wanted = query.find("service");
  Json shown = Json::array();
  for (const auto& service : control.registry().services()) {
    if (wanted != nullptr && *wanted != service.service) continue;
    for (const router::Instance* instance : control.registry().instances(service.service)) {
      const frames::InstanceFrame& frame = instance->latest;
      shown.push_back({{"instance", frame.instance},
                       {"service", frame.service},
                       {"version", frame.service_version},
                       {"region", frame.region},
                       {"name", frame.name},
                       {"state", to_string(instance->state)},
                       {"registered", base::to_rfc3339(control.wall_of(instance->registered_ms))},
                       {"last_seen", base::to_rfc3339(control.wall_of(instance->last_seen_ms))},
                       {"last_seen_ms_ago", control.now_ms() - instance->last_seen_ms},
                       {"interval_ms", frame.interval_ms},
                       {"queues", frame.queues},
                       {"group", frame.group},
                       {"inbox", frame.inbox},
                       {"wake_mode", frames::name_of(frame.wake)},
                       {"protocol", {{"min", frame.min_version}, {"max", frame.max_version}}},
                       {"metadata_hash", instance->metadata_hash}});
    }
  }
  return answer({{"instances", std::move(shown)}});
}

// What it takes to be let in, and who says so.
Json access_of(const Requirement& requirement) {
  const bool is_denied = !requirement.denied.empty();
  Json access{{"anonymous", !is_denied && !requirement.needs_token()}};
  if (is_denied) access["denied"] = requirement.denied;
  Json all = Json::array();
  for (const AccessDemand& demand : requirement.demands) {
    Json one{{"source", demand.source}, {"token", demand.needs_token}};
    for (const auto& alternative : demand.one_of) one["one_of"].push_back({{"scopes", alternative.scopes}});
    if (!demand.scopes.empty()) one["scopes"] = demand.scopes;
    for (const openapi::Claim& claim : demand.claims) {
      one["claims"].push_back(claim.value ? claim.name + "=" + *claim.value : claim.name);
    }
    all.push_back(std::move(one));
  }
  access["all_of"] = std::move(all);
  return access;
}

Json endpoints_of(const openapi::ServiceMetadata& metadata, const AccessTable& table) {
  Json endpoints = Json::array();
  for (const openapi::Endpoint& endpoint : metadata.endpoints) {
    Json one{{"method", endpoint.method}, {"path", endpoint.path}};
    if (endpoint.repeatable) one["repeatable"] = *endpoint.repeatable;
    if (endpoint.timeout) one["timeout_ms"] = endpoint.timeout->count();
    if (endpoint.hidden) one["hidden"] = true;
    if (endpoint.undocumented) one["undocumented"] = true;
    if (const Requirement* requirement = table.find(metadata, endpoint)) one["access"] = access_of(*requirement);
    endpoints.push_back(std::move(one));
  }
  return endpoints;
}

AdminAnswer show_routes(const Control& control, const AdminQuery& query) {
  const std::string* wanted = query.find("service");
  std::map<std::string_view, router::Registry::ServiceView> services;
  for (const auto& service : control.registry().services()) services.emplace(service.service, service);
  Json routes = Json::array();
  Json conflicts = Json::array();
  if (const router::RouteTable* table = control.routes()) {
    for (const auto& mounted : table->mounted()) {
      if (wanted != nullptr && *wanted != mounted.service) continue;
      const auto metadata = control.routed().find(std::string(mounted.service));
      if (metadata == control.routed().end()) continue;
      const openapi::ServiceMetadata& service = *metadata->second;
      Json route{{"service", mounted.service},
                 {"mount", mounted.mount},
                 {"version", service.service_version},
                 {"endpoints", service.endpoints.size()},
                 {"unlisted_paths", service.catch_all || !service.refuse_unlisted ? "forward" : "refuse"},
                 {"rewrite_location", service.rewrite_location},
                 {"has_openapi", !service.document.empty()}};
      const auto known = services.find(mounted.service);
      route["instances"] = known == services.end() ? 0 : known->second.live_instances;
      if (const auto* address = control.registry().choose_address(mounted.service, {}, control.region())) {
        route["queue"] = address->queue;
        route["usable_instances"] = address->instances.size();
      } else {
        route["queue"] = nullptr;
        route["usable_instances"] = 0;
      }
      if (known != services.end()) route["metadata_hash"] = known->second.metadata_hash;
      if (wanted != nullptr) {
        if (const Requirement* requirement = control.access()->find_unlisted(service)) {
          route["unlisted_access"] = access_of(*requirement);
          // Some of them change that for the paths and methods they name.
          route["unlisted_access"]["particular_rules"] = control.access()->particular_rules(service);
        }
        route["endpoint_list"] = endpoints_of(service, *control.access());
      }
      routes.push_back(std::move(route));
    }
    for (const auto& conflict : table->conflicts()) {
      if (wanted != nullptr && *wanted != conflict.service) continue;
      conflicts.push_back({{"service", conflict.service}, {"mount", conflict.mount}, {"reason", conflict.reason}});
    }
  }
  return answer({{"routes", std::move(routes)},
                 {"conflicts", std::move(conflicts)},
                 {"openapi_problems", control.openapi_problems()}});
}

AdminAnswer resync(Control& control, const AdminQuery& query) {
  const std::string* instance = query.find("instance");
  if (instance != nullptr && control.registry().find(*instance) == nullptr) {
    return app::admin_error(404, "no live instance has the id '" + *instance + "'; GET /instances lists them");
  }
  if (!control.is_bus_connected()) return app::admin_error(503, "the bus is not connected");
  return answer({{"asked", control.ask_to_replay(instance == nullptr ? "" : *instance)}}, 202);
}

}  // namespace

void add_gateway_routes(app::Admin& admin, Control& control) {
  admin.add_view("/routes", "Which service is mounted where, what could not be routed, what the merged document lacks; "
                 "with a service, its endpoints and what they demand of callers.", {"service"},
                 [&control](const AdminQuery& query) { return show_routes(control, query); });
  admin.add_view("/instances", "Every live instance, as its control frames tell.", {"service"},
                 [&control](const AdminQuery& query) { return show_instances(control, query); });
  for (const char* path : {"/resync", "/api/v1/gateway/administration/router/resync"}) {
    admin.add_command(path, "Asks one instance, or all, to register anew.", {"instance"},
                      [&control](const AdminQuery& query) { return resync(control, query); });
  }
}

}  // namespace outrigger::gateway
