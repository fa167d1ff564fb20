#include "bridge/app/config_reference.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "bridge/app/config_value.h"

namespace outrigger::app {
namespace {

using Json = nlohmann::ordered_json;

// What parse_duration and parse_size read, their ranges aside.
constexpr const char* kDurationPattern =
    "^(0|[0-9]+ *([mM]?[sS]|[mMhHdD])|([0-9]+\\.)?[0-9]{1,2}:[0-9]{2}(:[0-9]{2}(\\.[0-9]{1,7})?)?)$";
constexpr const char* kSizePattern = "^[0-9]+ *([kKmMgG][iI]?[bB]|[bB])?$";

// "Gateway:Limits:BodyBytes" -> "Gateway:Limits", "BodyBytes".
std::pair<std::string, std::string> section_and_name(const std::string& path) {
  const std::size_t at = path.rfind(':');
  return at == std::string::npos ? std::pair("", path) : std::pair(path.substr(0, at), path.substr(at + 1));
}

// The same for each program, whichever section it declared first.
std::vector<const ConfigKey*> by_program(const ConfigTable& table) {
  std::vector<const ConfigKey*> keys;
  for (const ConfigKey& key : table.keys()) {
    if (key.list.empty() || key.is_pattern) keys.push_back(&key);
  }
  const auto root = [](const ConfigKey* key) { return std::string_view(key->path).substr(0, key->path.find(':')); };
  std::stable_sort(keys.begin(), keys.end(), [&](const auto* a, const auto* b) { return root(a) < root(b); });
  return keys;
}

std::string range_of(const ConfigKey& key) {
  switch (key.kind) {
    case ValueKind::duration:
      return print_duration(std::chrono::milliseconds(key.minimum)) + " to " +
             print_duration(std::chrono::milliseconds(key.maximum));
    case ValueKind::size:
      return print_size(key.minimum) + " to " + print_size(key.maximum);
    default:
      return std::to_string(key.minimum) + " to " + std::to_string(key.maximum);
  }
}

std::string describe(const ConfigKey& key) {
  return key.help + (key.has_effect ? "" : " **No effect in this version.**");
}

// The type of one value, without default and description.
Json type_of(const ConfigKey& key) {
  switch (key.kind) {
    case ValueKind::text:  // YAML takes `1.0` for a number
      return {{"type", {"string", "number", "boolean", "null"}}};
    case ValueKind::boolean:
      return {{"enum", {true, false, "true", "false", "True", "False"}}};
    case ValueKind::integer:
      return {
          {"type", {"integer", "string"}}, {"minimum", key.minimum}, {"maximum", key.maximum}, {"pattern", "^[0-9]+$"}};
    case ValueKind::duration:  // the only number is 0
      return {{"type", {"string", "integer"}}, {"pattern", kDurationPattern}, {"minimum", 0}, {"maximum", 0}};
    case ValueKind::size:
      return {{"type", {"integer", "string"}},
              {"minimum", key.minimum},
              {"maximum", key.maximum},
              {"pattern", kSizePattern}};
    case ValueKind::choice:
      return {{"enum", key.choices}};
    case ValueKind::address:
      return {{"type", key.is_list ? Json("string") : Json{"string", "null"}}};
  }
  return Json::object();
}

Json default_of(const ConfigKey& key) {
  if (key.is_list) {
    Json items = Json::array();
    for (const std::string& item : key.get()) items.push_back(item);
    return items;
  }
  if (key.kind == ValueKind::integer) return parse_integer(key.fallback).value();
  if (key.kind == ValueKind::boolean) return parse_boolean(key.fallback).value();
  return key.fallback;
}

Json schema_of(const ConfigKey& key) {
  Json schema = type_of(key);
  if (key.is_list) schema = {{"anyOf", {{{"type", "array"}, {"items", schema}}, schema}}};
  std::string description = describe(key);
  if (key.kind == ValueKind::duration || key.kind == ValueKind::size) description += " " + range_of(key) + ".";
  schema["description"] = description;
  schema["default"] = default_of(key);
  return schema;
}

// The member `properties` of the object at `section`, which is made if it is not there; "[]" ends the name of a list of
// objects.
Json& properties_of(Json& root, std::string_view section) {
  Json* at = &root;
  while (!section.empty()) {
    const std::size_t end = std::min(section.find(':'), section.size());
    const std::string_view part = section.substr(0, end);
    const bool is_list = part.ends_with("[]");
    Json& next = (*at)["properties"][std::string(part.substr(0, part.size() - (is_list ? 2 : 0)))];
    if (next.is_null()) {
      next = {{"type", {"object", "null"}}, {"additionalProperties", false}, {"properties", Json::object()}};
      if (is_list) next = {{"type", {"array", "null"}}, {"items", next}};
    }
    at = is_list ? &next["items"] : &next;
    section.remove_prefix(std::min(end + 1, section.size()));
  }
  return (*at)["properties"];
}

void add_property(Json& root, const std::string& path, const Json& schema) {
  const auto [section, name] = section_and_name(path);
  properties_of(root, section)[name] = schema;
}

std::string variable_of(std::string path) {
  if (const std::size_t at = path.find("[]"); at != std::string::npos) path.replace(at, 2, "__0");
  for (std::size_t at; (at = path.find(':')) != std::string::npos;) path.replace(at, 1, "__");
  return path;
}

std::string code(const std::string& text) {
  return "`" + text + "`";
}

std::string values_of(const ConfigKey& key) {
  const std::string list = key.is_list ? "list of " : "";
  switch (key.kind) {
    case ValueKind::text:
      return list + "text";
    case ValueKind::boolean:
      return list + "`true`, `false`";
    case ValueKind::integer:
      return list + range_of(key);
    case ValueKind::duration:
    case ValueKind::size:
      return list + (key.kind == ValueKind::size ? "size, " : "duration, ") + range_of(key);
    case ValueKind::address:
      return key.is_list ? "list of addresses" : "address or `off`";
    case ValueKind::choice:
      break;
  }
  std::string choices;
  for (const std::string& choice : key.choices) choices += (choices.empty() ? "" : ", ") + code(choice);
  return list + choices;
}

std::string row_of(const ConfigKey& key) {
  std::string cell = "**" + section_and_name(key.path).second + "**<br>" + code(variable_of(key.path));
  if (!key.flag_name.empty()) cell += "<br>" + code(key.flag_name + " " + key.flag_value);
  std::string notes;
  if (key.is_secret) {
    notes += " Secret: never printed; " + code(section_and_name(key.path).second + "File") + " names a file with it.";
  }
  for (const std::string& alias : key.aliases) notes += " Also spelled " + code(alias) + ".";
  const std::string fallback = key.fallback.empty() ? "empty" : code(key.fallback);
  return "| " + cell + " | " + values_of(key) + " | " + fallback + " | " + describe(key) + notes + " |\n";
}

}  // namespace

std::string print_schema(const ConfigTable& table) {
  Json root = {{"$schema", "https://json-schema.org/draft/2020-12/schema"},
               {"title", "Configuration of Outrigger"},
               {"description", "One file serves outrigger-gateway and outrigger-sidecar."},
               {"type", {"object", "null"}},
               {"additionalProperties", false},
               {"properties", Json::object()}};
  for (const ConfigKey* key : by_program(table)) {
    Json schema = schema_of(*key);
    std::vector<std::string> paths = key->aliases;
    paths.insert(paths.begin(), key->path);
    for (const std::string& path : paths) {
      add_property(root, path, schema);
      if (key->is_secret) {
        add_property(root, path + "File",
                     {{"type", "string"}, {"description", "A file with the value of " + key->path + "."}});
      }
      schema["description"] = "The same as " + key->path + ".";  // of its other names
    }
  }
  for (const ConfigList& list : table.lists()) {
    const auto [section, name] = section_and_name(list.path);
    Json& property = properties_of(root, section)[name];
    property["maxItems"] = list.most;
    property["description"] = list.help;
    property["default"] = Json::array();
  }
  return root.dump(2) + "\n";
}

std::string print_reference(const ConfigTable& table) {
  const std::vector<const ConfigKey*> keys = by_program(table);
  std::vector<std::string> sections;
  for (const ConfigKey* key : keys) {
    const std::string section = section_and_name(key->path).first;
    if (std::find(sections.begin(), sections.end(), section) == sections.end()) sections.push_back(section);
  }
  std::string text;
  for (const std::string& section : sections) {
    text += (text.empty() ? "### " : "\n### ") + section + "\n";
    for (const ConfigList& list : table.lists()) {
      if (list.path + "[]" == section) {
        text += "\n" + list.help + " A list of at most " + std::to_string(list.most) +
                "; in a variable's name the number of the item, from 0, stands where the 0 is.\n";
      }
    }
    text += "\n| key, variable, flag | values | default | what it does |\n| --- | --- | --- | --- |\n";
    for (const ConfigKey* key : keys) {
      if (section_and_name(key->path).first == section) text += row_of(*key);
    }
  }
  return text;
}

}  // namespace outrigger::app
