#include "bridge/openapi/document.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <vector>

#include "bridge/openapi/endpoints.h"

namespace outrigger::openapi {

using base::Code;
using base::Error;
using base::Result;
using nlohmann::json;

namespace {

// `{basePath}` becomes the default of variable basePath; one without a default stays as it is.
std::string expand_variables(const std::string& url, const json& server) {
  const auto variables = server.find("variables");
  if (variables == server.end() || !variables->is_object()) return url;
  std::string expanded;
  std::size_t at = 0;
  while (at < url.size()) {
    const auto open = url.find('{', at);
    const auto close = open == std::string::npos ? open : url.find('}', open);
    if (close == std::string::npos) break;
    const auto variable = variables->find(url.substr(open + 1, close - open - 1));
    expanded += url.substr(at, open - at);
    if (variable != variables->end() && variable->is_object() && variable->contains("default") &&
        (*variable)["default"].is_string()) {
      expanded += (*variable)["default"].get_ref<const std::string&>();
    } else {
      expanded += url.substr(open, close - open + 1);
    }
    at = close + 1;
  }
  return expanded + url.substr(std::min(at, url.size()));
}

}  // namespace

Result<void> check_shape(std::string_view text, int limit, std::size_t values) {
  int depth = 0;
  std::size_t seen = 1;
  bool in_string = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (in_string) {
      if (c == '\\') {
        ++i;
      } else if (c == '"') {
        in_string = false;
      }
    } else if (c == '\0') {
      // The library takes it for the end: what stands behind it would travel unread.
      return Error{Code::malformed, "a NUL byte"};
    } else if (c == '"') {
      in_string = true;
    } else if (c == '{' || c == '[') {
      if (++depth > limit) return Error{Code::too_large, "nested deeper than " + std::to_string(limit) + " levels"};
      ++seen;
    } else if (c == '}' || c == ']') {
      --depth;
    } else if (c == ',') {
      ++seen;
    }
  }
  if (seen > values) return Error{Code::too_large, "more than " + std::to_string(values) + " values"};
  return {};
}

Result<json> parse_json(std::string_view text) {
  if (text.size() > kDocumentBytes) {
    return Error{Code::too_large, "document of " + std::to_string(text.size()) + " bytes, at most " +
                                      std::to_string(kDocumentBytes) + " are read"};
  }
  if (auto checked = check_shape(text, kDocumentDepth, kDocumentValues); !checked) return checked.error();
  try {
    return json::parse(text);
  } catch (const json::exception& e) {
    return Error{Code::malformed, std::string("not JSON: ") + e.what()};
  }
}

Result<void> check_openapi3(const json& document) {
  if (!document.is_object()) return Error{Code::invalid, "the document is not a JSON object"};
  const auto version = document.find("openapi");
  if (version == document.end() || !version->is_string()) {
    return Error{Code::unsupported, "openapi: missing; this is not an OpenAPI document"};
  }
  if (version->get_ref<const std::string&>().rfind("3.", 0) != 0) {
    return Error{Code::unsupported, "openapi: version \"" + version->get<std::string>() + "\" is not 3.x"};
  }
  const auto paths = document.find("paths");
  if (paths != document.end() && !paths->is_object()) return Error{Code::invalid, "paths: not an object"};
  return {};
}

Result<json> parse_document(std::string_view text) {
  auto document = parse_json(text);
  if (!document) return document;
  if (auto checked = check_openapi3(*document); !checked) return checked.error();
  return document;
}

std::string base_path_of(const json& document, const json& item, const json& operation) {
  for (const json* level : {&operation, &item}) {
    const auto servers = level->find("servers");
    if (servers != level->end() && servers->is_array() && !servers->empty()) return base_path_of(*level);
  }
  return base_path_of(document);
}

std::string base_path_of(const json& document) {
  const auto servers = document.find("servers");
  if (servers == document.end() || !servers->is_array() || servers->empty()) return {};
  const json& server = servers->front();
  if (!server.is_object() || !server.contains("url") || !server["url"].is_string()) return {};
  std::string path = expand_variables(server["url"].get<std::string>(), server);
  path.resize(std::min(path.find_first_of("?#"), path.size()));
  if (const auto scheme = path.find("://"); scheme != std::string::npos) {
    path.erase(0, std::min(path.find('/', scheme + 3), path.size()));
  } else if (path.rfind("//", 0) == 0) {
    path.erase(0, std::min(path.find('/', 2), path.size()));
  }
  // A relative reference is resolved against the service's root: that is all we know of where its document lies.
  std::vector<std::string> segments;
  for (std::size_t at = 0; at <= path.size();) {
    const auto end = std::min(path.find('/', at), path.size());
    const std::string segment = path.substr(at, end - at);
    at = end + 1;
    if (segment == "..") {
      if (!segments.empty()) segments.pop_back();
    } else if (!segment.empty() && segment != ".") {
      segments.push_back(segment);
    }
  }
  std::string clean;
  for (const std::string& segment : segments) clean += '/' + segment;
  return clean;
}

const json* resolve_path_item(const json& document, const json& item) {
  const json* at = &item;
  for (int hops = 0; hops < 8; ++hops) {
    if (!at->is_object()) return nullptr;
    const auto ref = at->find("$ref");
    if (ref == at->end()) return at;
    if (!ref->is_string()) return nullptr;
    const std::string& text = ref->get_ref<const std::string&>();
    if (text.rfind("#/", 0) != 0) return nullptr;
    try {
      const json::json_pointer pointer(text.substr(1));
      if (!document.contains(pointer)) return nullptr;
      at = &document.at(pointer);
    } catch (const json::exception&) {
      return nullptr;
    }
  }
  return nullptr;
}

bool is_hidden(const json& document, const json& item, const json& operation) {
  for (const json* level : {&operation, &item, &document}) {
    const auto found = level->find("x-router-hidden");
    if (found != level->end()) return *found != json(false);
  }
  return false;
}

}  // namespace outrigger::openapi
