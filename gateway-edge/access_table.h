// What every endpoint of the route table demands, worked out once when the table is made: immutable, shared by the
// workers as part of the RoutingView, so that a request pays a look-up.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "bridge/identity/principal.h"
#include "bridge/openapi/endpoints.h"
#include "bridge/router/route_table.h"
#include "gateway-edge/access_rules.h"

namespace outrigger::gateway {

class AccessTable {
 public:
  using Services = std::map<std::string, std::shared_ptr<const openapi::ServiceMetadata>>;  // by name
  // For the metadata the route table is made of. REQUIRES rules. What `previous` (nullptr: nothing) knows of the same
  // metadata by the same rules is taken from it.
  AccessTable(std::shared_ptr<const AccessRules> rules, const Services& services,
              const AccessTable* previous = nullptr);
  AccessTable(const AccessTable&) = delete;
  AccessTable& operator=(const AccessTable&) = delete;

  // Whether `principal` may do what `match` found (REQUIRES Kind::matched). `path` is the path as the service will see
  // it: what remains of the spelled one from target_path_offset on, without query. Of a service that the table does not
  // know: forbidden. No allocation for a listed endpoint whose path is spelled in lower case without `%`, `;`, dots
  // behind a slash, an extension or a slash at the end, and for an unlisted one of a service of which no rule names a
  // path or method.
  //
  // What the service's document lists under another spelling of `path` is demanded, too: services that ignore case,
  // slashes, `;` and all behind, or `.json` behind a name, read `/reports/Internal` as `/reports/internal`, though here
  // it is one of `/reports/{id}`.
  AccessDecision check(const router::Match& match, std::string_view method, std::string_view path,
                       const identity::Principal& principal) const;

  // Whether anything of the service is not for everybody. True of one that the table does not know.
  bool is_guarded(const openapi::ServiceMetadata& service) const;

  // For operators: what check() goes by. nullptr: not of this table.
  const Requirement* find(const openapi::ServiceMetadata& service, const openapi::Endpoint& endpoint) const;
  // What is demanded for unlisted paths and methods, but for OPTIONS and for what the rules below name.
  const Requirement* find_unlisted(const openapi::ServiceMetadata& service) const;
  // The sources of the rules that hold for some paths or methods of the service, or might.
  std::vector<std::string> particular_rules(const openapi::ServiceMetadata& service) const;

 private:
  // Of one service. Lives as long as some table does.
  struct Service {
    std::shared_ptr<const openapi::ServiceMetadata> metadata;
    AccessRules::Selection selection;  // points into the rules
    std::vector<Requirement> listed;   // as metadata->endpoints
    Requirement unlisted;              // of a path and method that no rule names
    // The templates folded, each with the endpoints it stands for; nullptr where all endpoints may be called by anyone.
    std::shared_ptr<const openapi::ServiceMetadata> folded_metadata;
    std::unique_ptr<const router::RouteTable> folded;
    std::vector<std::vector<std::size_t>> spelled;  // as folded_metadata->endpoints
    bool has_folded_templates = true;               // none changes by folding
    bool is_guarded = false;
  };
  std::shared_ptr<const Service> make_service(std::shared_ptr<const openapi::ServiceMetadata> metadata) const;
  static void unite_twins(Service& service);
  static void add_folded(Service& service);
  AccessDecision check_unlisted(const Service& service, std::string_view method, std::string_view path,
                                const identity::Principal& principal) const;
  static AccessDecision check_folded(const Service& service, const openapi::Endpoint* endpoint, std::string_view method,
                                     const std::string& folded, const identity::Principal& principal);

  std::shared_ptr<const AccessRules> rules_;
  std::unordered_map<const openapi::ServiceMetadata*, std::shared_ptr<const Service>> services_;
};

}  // namespace outrigger::gateway
