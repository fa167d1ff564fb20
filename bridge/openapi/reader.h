// Reads what a service publishes as its OpenAPI document, of any kind: JSON or YAML, versions 2.0, 3.0 and 3.1. Pure:
// bytes in, values out, bounded by the limits of endpoints.h. docs/openapi.md says what is read.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "bridge/base/result.h"
#include "bridge/openapi/endpoints.h"

namespace outrigger::openapi {

struct ParsedDocument {
  std::string document;  // OpenAPI 3.x as JSON, as ServiceMetadata carry it; JSON of 3.x stays as it was spelled
  std::string version;   // as it was written: "2.0", "3.0.3"
  bool is_yaml = false;
  std::vector<Endpoint> endpoints;   // every operation, sorted by path and method
  std::vector<std::string> remarks;  // what could not be used and was passed over, at most kRemarks
};

inline constexpr std::size_t kRemarks = 20;  // one for each of 20,000 operations would be a log of its own

// Any thread; takes up to seconds for the largest. Errors say what is wrong and where: malformed (neither JSON nor
// YAML), unsupported (not an OpenAPI document, or of another version), invalid (breaks OpenAPI), too_large (size,
// depth, number of values or operations), deadline (YAML that takes longer than kYamlTime).
base::Result<ParsedDocument> read_document(std::string_view text);

// Some services answer /.well-known/openapi with where their document is: {"openapi": "/openapi.json"}. That text, or
// empty if `text` is no such object.
std::string link_in(std::string_view text);

}  // namespace outrigger::openapi
