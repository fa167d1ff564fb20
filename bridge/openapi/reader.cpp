#include "bridge/openapi/reader.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "bridge/openapi/convert.h"
#include "bridge/openapi/document.h"
#include "bridge/openapi/yaml.h"

namespace outrigger::openapi {

using base::Code;
using base::Error;
using base::Result;
using nlohmann::json;

namespace {

std::string_view without_mark(std::string_view text) {
  constexpr std::string_view kByteOrderMark = "\xef\xbb\xbf";
  return text.substr(text.rfind(kByteOrderMark, 0) == 0 ? kByteOrderMark.size() : 0);
}

// The first character that says something; 0 if there is none.
char first_of(std::string_view text) {
  const auto at = text.find_first_not_of(" \t\r\n");
  return at == std::string_view::npos ? '\0' : text[at];
}

// `swagger: 2.0` without quotes is a number in YAML, and stands in many documents.
void spell_version(json& document, const char* key) {
  const auto version = document.find(key);
  if (version != document.end() && version->is_number()) *version = version->dump();
}

}  // namespace

Result<ParsedDocument> read_document(std::string_view text) {
  text = without_mark(text);
  const char first = first_of(text);
  // What a web server answers for every path it does not know.
  if (first == '<') return Error{Code::unsupported, "this is HTML or XML, not an OpenAPI document"};
  ParsedDocument parsed;
  parsed.is_yaml = first != '{' && first != '[' && first != '\0';
  auto value = parsed.is_yaml ? parse_yaml(text) : parse_json(text);
  if (!value) return value.error();
  json document = *std::move(value);
  if (!document.is_object()) {
    return Error{parsed.is_yaml ? Code::unsupported : Code::invalid,
                 parsed.is_yaml ? "neither a JSON object nor a YAML mapping" : "the document is not a JSON object"};
  }
  spell_version(document, "swagger");
  spell_version(document, "openapi");
  const json swagger = document.value("swagger", json());
  const bool is_old = !document.contains("openapi") && !swagger.is_null();
  if (is_old) {
    if (swagger != json("2.0")) {
      const std::string version = swagger.dump(-1, ' ', false, json::error_handler_t::replace);
      return Error{Code::unsupported, "swagger: version " + version.substr(0, 40) + " is not 2.0"};
    }
    const auto paths = document.find("paths");
    if (paths != document.end() && !paths->is_object()) return Error{Code::invalid, "paths: not an object"};
    parsed.version = "2.0";
    document = convert_swagger2(std::move(document));
  } else {
    if (auto checked = check_openapi3(document); !checked) return checked.error();
    parsed.version = document["openapi"].get<std::string>();
  }
  if (is_old || parsed.is_yaml) {
    // Unlike the JSON library, the YAML library lets bytes pass that are not UTF-8; then nobody could be told of it.
    try {
      parsed.document = document.dump();
    } catch (const json::exception& e) {
      return Error{Code::malformed, std::string("not UTF-8: ") + e.what()};
    }
    if (parsed.document.size() > kDocumentBytes) {
      return Error{Code::too_large, "as JSON the document has " + std::to_string(parsed.document.size()) +
                                        " bytes, at most " + std::to_string(kDocumentBytes) + " are kept"};
    }
  } else {
    parsed.document = text;
  }
  auto endpoints = endpoints_of(document, parsed.remarks);
  if (!endpoints) return endpoints.error();
  parsed.endpoints = *std::move(endpoints);
  return parsed;
}

std::string link_in(std::string_view text) {
  constexpr std::size_t kLinkBytes = 16 * base::limits::kKiB;  // a handful of members
  text = without_mark(text);
  if (text.size() > kLinkBytes || first_of(text) != '{' || !check_shape(text, 8, kLinkBytes)) return {};
  const json object = json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!object.is_object() || object.contains("paths") || object.contains("info")) return {};
  for (const char* key : {"openapi", "openapi.json", "url", "href"}) {
    const auto link = object.find(key);
    if (link == object.end() || !link->is_string()) continue;
    const std::string& target = link->get_ref<const std::string&>();
    if (target.rfind("/", 0) == 0 || target.rfind("http", 0) == 0) return target;
  }
  return {};
}

}  // namespace outrigger::openapi
