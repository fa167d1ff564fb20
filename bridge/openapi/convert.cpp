#include "bridge/openapi/convert.h"

#include <algorithm>
#include <initializer_list>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <vector>

#include "bridge/openapi/document.h"

namespace outrigger::openapi {

using nlohmann::json;

namespace {

using Names = std::initializer_list<const char*>;

constexpr const char kJson[] = "application/json";
constexpr const char kForm[] = "application/x-www-form-urlencoded";
constexpr const char kMultipart[] = "multipart/form-data";

// What a parameter or header says about its value beside everything else; in 3.0 that is its schema.
constexpr Names kValueKeywords = {"type",      "format",    "items",   "default",    "maximum",     "exclusiveMaximum",
                                  "minimum",   "minLength", "pattern", "maxItems",   "minItems",    "exclusiveMinimum",
                                  "maxLength", "enum",      "example", "multipleOf", "uniqueItems", "x-nullable"};

const json* find(const json& object, const char* key) {
  if (!object.is_object()) return nullptr;
  const auto found = object.find(key);
  return found == object.end() ? nullptr : &*found;
}

std::string text_of(const json& object, const char* key) {
  const json* value = find(object, key);
  return value != nullptr && value->is_string() ? value->get<std::string>() : std::string();
}

bool is_true(const json& object, const char* key) {
  const json* value = find(object, key);
  return value != nullptr && *value == json(true);
}

void copy(const json& from, json& to, Names keys) {
  for (const char* key : keys) {
    if (const json* value = find(from, key)) to[key] = *value;
  }
}

void copy_extensions(const json& from, json& to) {
  for (const auto& [key, value] : from.items()) {
    if (key.rfind("x-", 0) == 0 && key != "x-nullable") to[key] = value;
  }
}

std::vector<std::string> texts_of(const json* list) {
  std::vector<std::string> texts;
  if (list == nullptr || !list->is_array()) return texts;
  for (const json& one : *list) {
    if (one.is_string()) texts.push_back(one.get<std::string>());
  }
  return texts;
}

// `%C2%AB` and `~1` of a reference as the characters they stand for (RFC 6901 section 6).
std::string decode_pointer(const std::string& text) {
  std::string plain;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto digit = [&text](std::size_t at) {
      return at < text.size() ? std::string("0123456789abcdef").find(static_cast<char>(text[at] | 0x20))
                              : std::string::npos;
    };
    if (text[i] == '%' && digit(i + 1) != std::string::npos && digit(i + 2) != std::string::npos) {
      plain += static_cast<char>(digit(i + 1) * 16 + digit(i + 2));
      i += 2;
    } else if (text[i] == '~' && i + 1 < text.size()) {
      plain += text[++i] == '1' ? '/' : '~';
    } else {
      plain += text[i];
    }
  }
  return plain;
}

class Converter {
 public:
  explicit Converter(const json& source) : source_(source) {
    name_all("definitions", "schemas");
    name_all("parameters", "parameters");
    name_all("responses", "responses");
    name_all("securityDefinitions", "securitySchemes");
    consumes_ = texts_of(find(source, "consumes"));
    produces_ = texts_of(find(source, "produces"));
  }

  json convert() {
    json document = {{"openapi", "3.0.3"}};
    copy(source_, document, {"info", "tags", "externalDocs"});
    copy_extensions(source_, document);
    if (const std::string base_path = text_of(source_, "basePath"); !base_path.empty()) {
      document["servers"] = json::array({{{"url", base_path}}});
    }
    if (const json* security = find(source_, "security")) document["security"] = convert_security(*security);
    if (const json* paths = find(source_, "paths")) document["paths"] = convert_paths(*paths);
    add_components("definitions", document, [this](const json& schema) { return convert_schema(schema); });
    add_components("responses", document, [this](const json& one) { return convert_response(one, produces_); });
    add_components("securityDefinitions", document, [](const json& one) { return convert_scheme(one); });
    // Those of body and form are written out where they are used: 3.0 has no such parameters.
    add_components("parameters", document,
                   [this](const json& one) { return is_of_body(one) ? json() : convert_parameter(one); });
    return document;
  }

 private:
  struct Section {
    std::string target;
    std::map<std::string, std::string> names;  // what 2.0 allows as a name -> what 3.x does
  };

  // In 2.0 any text may be a name, and generics of Java are: `Page«Order»`.
  void name_all(const char* section, const char* target) {
    Section& named = sections_[section];
    named.target = target;
    const json* entries = find(source_, section);
    if (entries == nullptr || !entries->is_object()) return;
    std::set<std::string> taken;
    const auto clean = [](std::string name) {
      for (char& c : name) {
        const bool is_letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
        if (!is_letter && c != '.' && c != '-' && c != '_') c = '_';
      }
      return name.empty() ? std::string("_") : name;
    };
    for (const auto& [name, value] : entries->items()) {
      if (clean(name) == name) taken.insert(name);
    }
    for (const auto& [name, value] : entries->items()) {
      std::string cleaned = clean(name);
      while (cleaned != name && !taken.insert(cleaned).second) cleaned += '_';
      named.names[name] = std::move(cleaned);
    }
  }

  template <class F>
  void add_components(const char* section, json& document, const F& convert_one) {
    const json* entries = find(source_, section);
    if (entries == nullptr || !entries->is_object()) return;
    const Section& named = sections_.at(section);
    for (const auto& [name, value] : entries->items()) {
      if (!value.is_object()) continue;
      json converted = convert_one(value);
      if (!converted.is_null()) document["components"][named.target][named.names.at(name)] = std::move(converted);
    }
  }

  // `#/definitions/Order/properties/id` -> `#/components/schemas/Order/properties/id`; others as they are.
  std::string convert_reference(const std::string& reference) const {
    if (reference.rfind("#/", 0) != 0) return reference;
    const auto slash = reference.find('/', 2);
    if (slash == std::string::npos) return reference;
    const auto section = sections_.find(reference.substr(2, slash - 2));
    if (section == sections_.end()) return reference;
    const auto end = std::min(reference.find('/', slash + 1), reference.size());
    const std::string name = reference.substr(slash + 1, end - slash - 1);
    const auto renamed = section->second.names.find(decode_pointer(name));
    return "#/components/" + section->second.target + "/" +
           (renamed == section->second.names.end() ? name : renamed->second) + reference.substr(end);
  }

  json convert_security(const json& security) const {
    // What is broken stays so: left out, it would mean that anyone may come in.
    if (!security.is_array()) return security;
    json converted = json::array();
    for (const json& requirement : security) {
      if (!requirement.is_object()) {
        converted.push_back(requirement);
        continue;
      }
      json renamed = json::object();
      for (const auto& [name, scopes] : requirement.items()) {
        const auto at = sections_.at("securityDefinitions").names.find(name);
        renamed[at == sections_.at("securityDefinitions").names.end() ? name : at->second] = scopes;
      }
      converted.push_back(std::move(renamed));
    }
    return converted;
  }

  // Schemas of 2.0 are those of 3.0 but for references, `discriminator`, and what 2.0 did not have.
  json convert_schema(const json& schema) const {
    if (!schema.is_object()) return schema;
    json converted = json::object();
    for (const auto& [key, value] : schema.items()) {
      if (key == "$ref" && value.is_string()) {
        converted[key] = convert_reference(value.get_ref<const std::string&>());
      } else if (key == "discriminator" && value.is_string()) {
        converted[key] = {{"propertyName", value}};
      } else if (key == "x-nullable") {
        converted["nullable"] = value;
      } else if (key == "type" && value == json("file")) {
        converted["type"] = "string";
        converted["format"] = "binary";
      } else if (key == "properties" && value.is_object()) {
        converted[key] = json::object();
        for (const auto& [name, property] : value.items()) converted[key][name] = convert_schema(property);
      } else if ((key == "items" || key == "allOf") && value.is_array()) {
        converted[key] = json::array();
        for (const json& one : value) converted[key].push_back(convert_schema(one));
      } else if (key == "items" || key == "additionalProperties") {
        converted[key] = convert_schema(value);
      } else if (key != "collectionFormat" && !(key == "format" && schema.value("type", json()) == json("file"))) {
        converted[key] = value;
      }
    }
    return converted;
  }

  // The shared parameter that is referred to, or the parameter itself.
  const json& resolve_parameter(const json& parameter) const {
    const std::string reference = text_of(parameter, "$ref");
    constexpr std::string_view kShared = "#/parameters/";
    const json* shared = find(source_, "parameters");
    if (reference.rfind(kShared, 0) != 0 || shared == nullptr) return parameter;
    const json* found = find(*shared, decode_pointer(reference.substr(kShared.size())).c_str());
    return found == nullptr ? parameter : *found;
  }

  static bool is_of_body(const json& parameter) {
    const std::string in = text_of(parameter, "in");
    return in == "body" || in == "formData";
  }

  json value_schema(const json& holder) const {
    json schema = json::object();
    copy(holder, schema, kValueKeywords);
    return convert_schema(schema);
  }

  // csv is the default of 2.0; in 3.0 the default of query and form is one pair per item.
  static void set_style(const json& parameter, const std::string& in, json& to) {
    if (text_of(parameter, "type") != "array") return;
    const std::string format = text_of(parameter, "collectionFormat");
    const bool is_query = in == "query" || in == "formData";
    to["style"] = !is_query           ? "simple"
                  : format == "ssv"   ? "spaceDelimited"
                  : format == "pipes" ? "pipeDelimited"
                                      : "form";
    to["explode"] = is_query && format == "multi";
  }

  json convert_parameter(const json& parameter) const {
    if (const std::string reference = text_of(parameter, "$ref"); !reference.empty()) {
      return {{"$ref", convert_reference(reference)}};
    }
    json converted = json::object();
    copy(parameter, converted, {"name", "in", "description", "required", "allowEmptyValue"});
    copy_extensions(parameter, converted);
    converted["schema"] = value_schema(parameter);
    set_style(parameter, text_of(parameter, "in"), converted);
    if (text_of(parameter, "in") == "path") converted["required"] = true;
    return converted;
  }

  static json content_of(const std::vector<std::string>& types, const char* otherwise, const json& media) {
    json content = json::object();
    for (const std::string& type : types) content[type] = media;
    if (content.empty()) content[otherwise] = media;
    return content;
  }

  json convert_body(const json& parameter, const std::vector<std::string>& consumes) const {
    json media = json::object();
    if (const json* schema = find(parameter, "schema")) media["schema"] = convert_schema(*schema);
    json body = {{"content", content_of(consumes, kJson, media)}};
    copy(parameter, body, {"description", "required"});
    copy_extensions(parameter, body);
    return body;
  }

  json convert_form(const std::vector<const json*>& fields, const std::vector<std::string>& consumes) const {
    json schema = {{"type", "object"}, {"properties", json::object()}};
    json encoding = json::object();
    bool has_file = false;
    for (const json* field : fields) {
      const std::string name = text_of(*field, "name");
      json property = value_schema(*field);
      copy(*field, property, {"description"});
      schema["properties"][name] = std::move(property);
      if (is_true(*field, "required")) schema["required"].push_back(name);
      has_file = has_file || text_of(*field, "type") == "file";
      if (text_of(*field, "type") == "array") set_style(*field, "formData", encoding[name]);
    }
    json media = {{"schema", std::move(schema)}};
    if (!encoding.empty()) media["encoding"] = std::move(encoding);
    std::vector<std::string> types;
    for (const std::string& type : consumes) {
      if (type == kMultipart || (type == kForm && !has_file)) types.push_back(type);
    }
    json body = {{"content", content_of(types, has_file ? kMultipart : kForm, media)}};
    if (media["schema"].contains("required")) body["required"] = true;
    return body;
  }

  json convert_response(const json& response, const std::vector<std::string>& produces) const {
    if (const std::string reference = text_of(response, "$ref"); !reference.empty()) {
      return {{"$ref", convert_reference(reference)}};
    }
    json converted = {{"description", text_of(response, "description")}};
    copy_extensions(response, converted);
    if (const json* schema = find(response, "schema")) {
      const bool is_file = text_of(*schema, "type") == "file";
      converted["content"] =
          content_of(produces, is_file ? "application/octet-stream" : kJson, {{"schema", convert_schema(*schema)}});
    }
    if (const json* examples = find(response, "examples"); examples != nullptr && examples->is_object()) {
      for (const auto& [type, example] : examples->items()) converted["content"][type]["example"] = example;
    }
    if (const json* headers = find(response, "headers"); headers != nullptr && headers->is_object()) {
      for (const auto& [name, header] : headers->items()) {
        if (!header.is_object()) continue;
        json one = {{"schema", value_schema(header)}};
        copy(header, one, {"description"});
        set_style(header, "header", one);
        converted["headers"][name] = std::move(one);
      }
    }
    return converted;
  }

  static json convert_scheme(const json& scheme) {
    const std::string type = text_of(scheme, "type");
    json converted = json::object();
    copy(scheme, converted, {"description"});
    copy_extensions(scheme, converted);
    if (type == "basic") {
      converted["type"] = "http";
      converted["scheme"] = "basic";
    } else if (type == "oauth2") {
      json flow = {{"scopes", json::object()}};
      copy(scheme, flow, {"authorizationUrl", "tokenUrl", "scopes"});
      std::string name = text_of(scheme, "flow");
      if (name == "application") name = "clientCredentials";
      if (name == "accessCode") name = "authorizationCode";
      converted["type"] = "oauth2";
      converted["flows"][name.empty() ? "implicit" : name] = std::move(flow);
    } else {
      copy(scheme, converted, {"type", "name", "in"});
    }
    return converted;
  }

  json convert_operation(const json& operation, const json* shared) const {
    const json* own_consumes = find(operation, "consumes");
    const json* own_produces = find(operation, "produces");
    const std::vector<std::string> consumes = own_consumes != nullptr ? texts_of(own_consumes) : consumes_;
    const std::vector<std::string> produces = own_produces != nullptr ? texts_of(own_produces) : produces_;
    json converted = json::object();
    copy(operation, converted, {"tags", "summary", "description", "externalDocs", "operationId", "deprecated"});
    copy_extensions(operation, converted);
    if (const json* security = find(operation, "security")) converted["security"] = convert_security(*security);

    const json* body = nullptr;
    std::vector<const json*> fields;
    const auto add = [&](const json* parameters, bool is_own) {
      if (parameters == nullptr || !parameters->is_array()) return;
      for (const json& entry : *parameters) {
        const json& parameter = resolve_parameter(entry);
        const std::string in = text_of(parameter, "in");
        if (in == "body") {
          body = &parameter;
        } else if (in == "formData") {
          fields.push_back(&parameter);
        } else if (is_own && entry.is_object()) {
          converted["parameters"].push_back(convert_parameter(entry));
        }
      }
    };
    add(shared, false);  // its other parameters stay at the path item
    add(find(operation, "parameters"), true);
    if (body != nullptr) {
      converted["requestBody"] = convert_body(*body, consumes);
    } else if (!fields.empty()) {
      converted["requestBody"] = convert_form(fields, consumes);
    }

    converted["responses"] = json::object();
    if (const json* responses = find(operation, "responses"); responses != nullptr && responses->is_object()) {
      for (const auto& [code, response] : responses->items()) {
        const bool is_extension = code.rfind("x-", 0) == 0;
        if (is_extension || response.is_object()) {
          converted["responses"][code] = is_extension ? response : convert_response(response, produces);
        }
      }
    }
    return converted;
  }

  json convert_paths(const json& paths) const {
    if (!paths.is_object()) return paths;
    json converted = json::object();
    for (const auto& [path, item] : paths.items()) {
      json& to = converted[path];
      to = item;
      if (!item.is_object()) continue;
      const json* shared = find(item, "parameters");
      for (const char* key : kOperations) {
        if (item.contains(key) && item[key].is_object()) to[key] = convert_operation(item[key], shared);
      }
      if (shared == nullptr) continue;
      to["parameters"] = json::array();
      if (!shared->is_array()) continue;
      for (const json& parameter : *shared) {
        if (parameter.is_object() && !is_of_body(resolve_parameter(parameter))) {
          to["parameters"].push_back(convert_parameter(parameter));
        }
      }
    }
    return converted;
  }

  const json& source_;
  std::map<std::string, Section> sections_;
  std::vector<std::string> consumes_;
  std::vector<std::string> produces_;
};

}  // namespace

json convert_swagger2(json document) {
  return Converter(document).convert();
}

}  // namespace outrigger::openapi
