// Swagger 2.0 as OpenAPI 3.0: the same operations, said in the newer words. docs/openapi.md has the table of what
// becomes what. Inside bridge/openapi only.
#pragma once

#include <nlohmann/json_fwd.hpp>

namespace outrigger::openapi {

// REQUIRES an object. What breaks 2.0 is left out where it stands rather than refused; path items and operations that
// are no objects stay, so that reading the result reports them where they are.
nlohmann::json convert_swagger2(nlohmann::json document);

}  // namespace outrigger::openapi
