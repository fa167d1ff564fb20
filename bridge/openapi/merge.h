// One OpenAPI 3.1 document for all services, as clients of the gateway see them: paths under their mounts, hidden
// operations left out, names that clash told apart. The result does not depend on the order of the services.
#pragma once

#include <string>
#include <vector>

#include "bridge/openapi/endpoints.h"

namespace outrigger::openapi {

struct MergeOptions {
  std::string title = "Outrigger gateway";
  std::string version = "1.0.0";
};

struct MergedDocument {
  std::string json;
  std::string etag;                   // strong, quoted; changes with the content alone
  std::vector<std::string> problems;  // what had to be left out, and why, one line each
};

// Services are taken in the order of their names. The first to use a component name or an operationId keeps it; equal
// components are shared, others of the name become `{service}_{name}` with every reference rewritten. Documents of
// version 3.0 are brought to 3.1 where they differ (nullable, exclusive bounds). Components that only hidden operations
// use are left out. `servers` of the services are dropped: clients have no way to them. Services without a document
// add nothing.
MergedDocument merge(const std::vector<const ServiceMetadata*>& services, const MergeOptions& options = {});

}  // namespace outrigger::openapi
