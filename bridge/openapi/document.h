// Reading an OpenAPI 3 document: what endpoints and merge have in common. Inside bridge/openapi only; the JSON library
// is named here, but not included.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>

#include "bridge/base/result.h"

namespace outrigger::openapi {

// Parses a JSON document of bounded size and depth and checks that it is an OpenAPI 3.x object whose `paths`, if it has
// them, is an object. Errors: too_large, malformed (with line and column), unsupported (another version), invalid.
base::Result<nlohmann::json> parse_document(std::string_view text);

// Error{too_large} if brackets nest deeper than `limit`: JSON values are walked, compared and printed recursively.
// Error{malformed} if there is a NUL byte outside texts.
base::Result<void> check_depth(std::string_view json, int limit);

// The path of servers[0].url without its trailing slash, variables replaced by their defaults; empty for the root.
std::string base_path_of(const nlohmann::json& document);

// The path item `item` stands for: itself, or what its local `$ref` names. nullptr if that is not an object.
const nlohmann::json* resolve_path_item(const nlohmann::json& document, const nlohmann::json& item);

// Value of an `x-router-*` extension of an operation, else of its path item, else nullptr.
const nlohmann::json* find_extension(const nlohmann::json& item, const nlohmann::json& operation, const char* name);

// The eight operation keys of a path item, lower case (OpenAPI 3.1 section 4.8.9).
inline constexpr const char* kOperations[] = {"get", "put", "post", "delete", "options", "head", "patch", "trace"};

}  // namespace outrigger::openapi
