// OpenAPI documents as JSON values: what reading, converting and merging have in common. Inside bridge/openapi only;
// the JSON library is named here, but not included.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "bridge/base/result.h"
#include "bridge/openapi/endpoints.h"

namespace outrigger::openapi {

// Parses JSON of bounded size, depth and number of values. Errors: too_large, malformed (with line and column).
base::Result<nlohmann::json> parse_json(std::string_view text);
// parse_json, and then check_openapi3.
base::Result<nlohmann::json> parse_document(std::string_view json);
// That it is an OpenAPI 3.x object whose `paths`, if it has them, is an object. Errors: unsupported, invalid.
base::Result<void> check_openapi3(const nlohmann::json& document);

// Error{too_large} if brackets nest deeper than `depth`, or there are more values than `values` (counted by what
// separates them): JSON values are walked, compared and printed recursively, and each takes many times its text.
// Error{malformed} if there is a NUL byte outside texts.
base::Result<void> check_shape(std::string_view json, int depth, std::size_t values);

// The path of servers[0].url of the innermost level that has servers: operation, path item, document. Without its
// trailing slash, variables replaced by their defaults; empty for the root.
std::string base_path_of(const nlohmann::json& document, const nlohmann::json& item, const nlohmann::json& operation);
// That of the document alone.
std::string base_path_of(const nlohmann::json& document);

// The path item `item` stands for: itself, or what its local `$ref` names. nullptr if that is not an object.
const nlohmann::json* resolve_path_item(const nlohmann::json& document, const nlohmann::json& item);

// An extension of an operation, else of its path item, else of the document: the value, and whether it says yes. A
// value that is neither true nor false is taken for true: what is meant to be hidden does not appear because of a slip.
bool is_hidden(const nlohmann::json& document, const nlohmann::json& item, const nlohmann::json& operation);

// `security` of an operation or of the document, with the schemes of `document` (OpenAPI 3.1 section 4.8.30). Scopes of
// oauth2, openIdConnect and http bearer count; what other schemes need is left to the service. What cannot be read is an
// alternative, or the whole, that nobody satisfies; then `problem` says what and where.
Security read_security(const nlohmann::json& document, const nlohmann::json& security, std::string& problem);

// Every operation of an OpenAPI 3.x document, sorted by path and method; one that two path items list is there once.
// Extensions that cannot be read are told in `remarks`. Errors: invalid, too_large.
base::Result<std::vector<Endpoint>> endpoints_of(const nlohmann::json& document, std::vector<std::string>& remarks);

// The eight operation keys of a path item, lower case (OpenAPI 3.1 section 4.8.9).
inline constexpr const char* kOperations[] = {"get", "put", "post", "delete", "options", "head", "patch", "trace"};

}  // namespace outrigger::openapi
