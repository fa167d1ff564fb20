#include "bridge/openapi/endpoints.h"

#include <algorithm>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <tuple>

#include "bridge/openapi/document.h"

namespace outrigger::openapi {

using base::Code;
using base::Error;
using base::Result;
using nlohmann::json;

namespace {

std::optional<std::chrono::milliseconds> parse_timeout(const json& value) {
  if (!value.is_string()) return std::nullopt;
  const std::string& text = value.get_ref<const std::string&>();
  const auto digits = std::min(text.find_first_not_of("0123456789"), text.size());
  if (digits == 0 || digits > 9) return std::nullopt;
  const std::int64_t count = std::stoll(text.substr(0, digits));
  const std::string_view unit = std::string_view(text).substr(digits);
  std::int64_t factor = 0;
  if (unit == "ms") factor = 1;
  if (unit == "s") factor = 1000;
  if (unit == "m") factor = 60 * 1000;
  if (unit == "h") factor = 3600 * 1000;
  const std::chrono::milliseconds timeout(count * factor);
  if (timeout.count() < 1 || timeout > kLongestTimeout) return std::nullopt;
  return timeout;
}

Error wrong(const std::string& where, const char* extension, const char* expected) {
  return Error{Code::invalid, where + "." + extension + ": expected " + expected};
}

}  // namespace

Result<std::vector<Endpoint>> endpoints_of(std::string_view text) {
  const auto document = parse_document(text);
  if (!document) return document.error();
  const std::string base_path = base_path_of(*document);
  std::vector<Endpoint> endpoints;
  const auto paths = document->find("paths");
  if (paths == document->end()) return endpoints;

  for (const auto& [path, path_item] : paths->items()) {
    if (path.rfind("x-", 0) == 0) continue;
    if (path.empty() || path.front() != '/') return Error{Code::invalid, "paths." + path + ": does not begin with /"};
    const json* item = resolve_path_item(*document, path_item);
    if (item == nullptr)
      return Error{Code::invalid, "paths." + path + ": not an object, or a $ref outside the document"};
    for (const char* key : kOperations) {
      const auto operation = item->find(key);
      if (operation == item->end()) continue;
      const std::string where = "paths." + path + "." + key;
      if (!operation->is_object()) return Error{Code::invalid, where + ": not an object"};
      if (endpoints.size() == kEndpoints) {
        return Error{Code::too_large, "more than " + std::to_string(kEndpoints) + " operations"};
      }
      Endpoint endpoint;
      endpoint.method = key;
      for (char& c : endpoint.method) c = static_cast<char>(c - 'a' + 'A');
      endpoint.path = base_path + path;
      if (const json* value = find_extension(*item, *operation, "x-router-repeatable")) {
        if (!value->is_boolean()) return wrong(where, "x-router-repeatable", "true or false");
        endpoint.repeatable = value->get<bool>();
      }
      if (const json* value = find_extension(*item, *operation, "x-router-hidden")) {
        if (!value->is_boolean()) return wrong(where, "x-router-hidden", "true or false");
        endpoint.hidden = value->get<bool>();
      }
      if (const json* value = find_extension(*item, *operation, "x-router-timeout")) {
        endpoint.timeout = parse_timeout(*value);
        if (!endpoint.timeout)
          return wrong(where, "x-router-timeout", "a text such as \"30s\" or \"500ms\", up to 24h");
      }
      endpoints.push_back(std::move(endpoint));
    }
  }
  std::sort(endpoints.begin(), endpoints.end(), [](const Endpoint& a, const Endpoint& b) {
    return std::tie(a.path, a.method) < std::tie(b.path, b.method);
  });
  return endpoints;
}

}  // namespace outrigger::openapi
