#include "bridge/openapi/merge.h"

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <tuple>

#include "bridge/openapi/document.h"
#include "bridge/openapi/metadata_codec.h"

namespace outrigger::openapi {

using nlohmann::json;

namespace {

constexpr std::size_t kMergedBytes = 64 * base::limits::kMiB;  // sum of the documents: a client has to load it
constexpr int kRenameRounds = 8;

using Component = std::pair<std::string, std::string>;  // section of `components`, name

bool is_one_of(std::string_view key, std::initializer_list<std::string_view> keys) {
  return std::find(keys.begin(), keys.end(), key) != keys.end();
}

// Keys whose value is an object with names for keys: `properties: {default: ...}` has no default.
bool is_name_map(std::string_view key) {
  return is_one_of(key, {"properties", "patternProperties", "$defs",      "definitions", "dependentSchemas",
                         "schemas",    "responses",         "parameters", "examples",    "requestBodies",
                         "headers",    "securitySchemes",   "links",      "callbacks",   "pathItems",
                         "content",    "encoding",          "variables",  "scopes",      "mapping"});
}

// Keys whose value is data, in which "$ref" means nothing.
bool is_literal(std::string_view key, const json& value) {
  return is_one_of(key, {"example", "default", "const", "enum", "value"}) || (key == "examples" && value.is_array()) ||
         key.rfind("x-", 0) == 0;
}

// Calls on_object for every object whose keys are keywords of OpenAPI or JSON Schema.
template <class F>
void walk(json& node, bool keys_are_names, const F& on_object) {
  if (node.is_array()) {
    for (json& child : node) walk(child, false, on_object);
  } else if (node.is_object()) {
    if (!keys_are_names) on_object(node);
    for (auto& [key, child] : node.items()) {
      if (!keys_are_names && is_literal(key, child)) continue;
      walk(child, !keys_are_names && is_name_map(key), on_object);
    }
  }
}

enum class NameKind { reference, security_scheme, operation_id, schema_name };

// Calls visit(kind, text) for every name that `node` uses of the document around it; visit may change the text.
template <class F>
void visit_names(json& node, const F& visit) {
  walk(node, false, [&visit](json& object) {
    for (const char* key : {"$ref", "operationRef"}) {
      if (auto found = object.find(key); found != object.end() && found->is_string()) {
        visit(NameKind::reference, found->get_ref<std::string&>());
      }
    }
    if (auto id = object.find("operationId"); id != object.end() && id->is_string()) {
      visit(NameKind::operation_id, id->get_ref<std::string&>());
    }
    if (auto security = object.find("security"); security != object.end() && security->is_array()) {
      for (json& requirement : *security) {
        if (!requirement.is_object()) continue;
        json renamed = json::object();
        for (auto& [scheme, scopes] : requirement.items()) {
          std::string name = scheme;
          visit(NameKind::security_scheme, name);
          renamed[name] = std::move(scopes);
        }
        requirement = std::move(renamed);
      }
    }
    if (auto discriminator = object.find("discriminator");
        discriminator != object.end() && discriminator->is_object()) {
      if (auto mapping = discriminator->find("mapping"); mapping != discriminator->end() && mapping->is_object()) {
        for (auto& [value, schema] : mapping->items()) {
          if (!schema.is_string()) continue;
          auto& text = schema.template get_ref<std::string&>();
          visit(text.find('/') == std::string::npos ? NameKind::schema_name : NameKind::reference, text);
        }
      }
    }
  });
}

// `#/components/schemas/Order/properties/id` -> {schemas, Order}, and where what follows begins.
bool split_reference(const std::string& reference, Component& component, std::size_t& rest) {
  constexpr std::string_view kStart = "#/components/";
  if (reference.rfind(kStart, 0) != 0) return false;
  const auto slash = reference.find('/', kStart.size());
  if (slash == std::string::npos) return false;
  rest = std::min(reference.find('/', slash + 1), reference.size());
  component = {reference.substr(kStart.size(), slash - kStart.size()), reference.substr(slash + 1, rest - slash - 1)};
  return true;
}

// Schemas of OpenAPI 3.0 say some things in a way that JSON Schema 2020-12, and so 3.1, does not know.
void modernise(json& node) {
  walk(node, false, [](json& object) {
    if (auto nullable = object.find("nullable"); nullable != object.end() && nullable->is_boolean()) {
      const bool is_nullable = nullable->get<bool>();
      object.erase(nullable);
      if (is_nullable && object.contains("type") && object["type"].is_string()) {
        object["type"] = json::array({object["type"], "null"});
        if (object.contains("enum") && object["enum"].is_array() &&
            std::find(object["enum"].begin(), object["enum"].end(), json()) == object["enum"].end()) {
          object["enum"].push_back(nullptr);
        }
      }
    }
    for (const auto& [exclusive, bound] : {std::pair("exclusiveMinimum", "minimum"), {"exclusiveMaximum", "maximum"}}) {
      auto found = object.find(exclusive);
      if (found == object.end() || !found->is_boolean()) continue;
      if (found->get<bool>() && object.contains(bound)) {
        object[exclusive] = object[bound];
        object.erase(bound);
      } else {
        object.erase(exclusive);
      }
    }
  });
}

std::string escape_pointer(const std::string& text) {
  std::string escaped;
  for (const char c : text) {
    if (c == '~') {
      escaped += "~0";
    } else if (c == '/') {
      escaped += "~1";
    } else {
      escaped += c;
    }
  }
  return escaped;
}

std::string unescape_pointer(const std::string& text) {
  std::string plain;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const bool is_escape = text[i] == '~' && i + 1 < text.size();
    plain += !is_escape ? text[i] : text[++i] == '1' ? '/' : '~';
  }
  return plain;
}

// A service's document taken apart: what it would publish, and what it would publish it with.
struct Part {
  const ServiceMetadata* metadata = nullptr;
  std::string host;                          // of a Host mount
  std::string mount;                         // its path, without a trailing slash
  std::map<std::string, json> paths;         // template outside -> path item, published operations only
  std::map<std::string, std::string> moved;  // template of the document -> where it (its first operation) is outside
  std::map<Component, json> components;
  json tags = json::array();
};

std::string mount_of(const ServiceMetadata& metadata, std::string& host) {
  std::string mount = metadata.mount.empty() ? "/" + metadata.service : metadata.mount;
  if (mount.rfind("host:", 0) == 0) {
    const auto slash = std::min(mount.find('/'), mount.size());
    host = mount.substr(5, slash - 5);
    mount.erase(0, slash);
  }
  while (!mount.empty() && mount.back() == '/') mount.pop_back();
  return mount;
}

void collect_reach(json& node, const std::map<Component, json>& components, std::set<Component>& reached) {
  std::vector<Component> found;
  visit_names(node, [&found](NameKind kind, const std::string& text) {
    Component component;
    std::size_t rest = 0;
    if (kind == NameKind::reference && split_reference(text, component, rest)) found.push_back(component);
    if (kind == NameKind::security_scheme) found.emplace_back("securitySchemes", text);
    if (kind == NameKind::schema_name) found.emplace_back("schemas", text);
  });
  // Not recursive: a chain of references may be as long as the document.
  while (!found.empty()) {
    const Component component = std::move(found.back());
    found.pop_back();
    const auto at = components.find(component);
    if (at == components.end() || !reached.insert(component).second) continue;
    json copy = at->second;
    visit_names(copy, [&found](NameKind kind, const std::string& text) {
      Component next;
      std::size_t rest = 0;
      if (kind == NameKind::reference && split_reference(text, next, rest)) found.push_back(next);
      if (kind == NameKind::schema_name) found.emplace_back("schemas", text);
    });
  }
}

// Leaves out components that nothing but hidden operations leads to: they would tell what is hidden.
void drop_hidden_components(Part& part, std::vector<json>& hidden) {
  if (hidden.empty()) return;
  std::set<Component> behind_hidden;
  for (json& operation : hidden) collect_reach(operation, part.components, behind_hidden);
  std::set<Component> kept;
  for (auto& [path, item] : part.paths) collect_reach(item, part.components, kept);
  for (auto& [component, value] : part.components) {
    if (behind_hidden.count(component) == 0) collect_reach(value, part.components, kept);
  }
  for (const Component& component : behind_hidden) {
    if (kept.count(component) == 0) part.components.erase(component);
  }
}

Part take_apart(const ServiceMetadata& metadata, json document) {
  Part part;
  part.metadata = &metadata;
  part.mount = mount_of(metadata, part.host);
  if (document["openapi"].get_ref<const std::string&>().rfind("3.0", 0) == 0) modernise(document);
  if (document.contains("tags") && document["tags"].is_array()) part.tags = document["tags"];
  if (document.contains("components") && document["components"].is_object()) {
    for (auto& [section, entries] : document["components"].items()) {
      if (!entries.is_object() || section.rfind("x-", 0) == 0) continue;
      for (auto& [name, value] : entries.items()) part.components[{section, name}] = value;
    }
  }
  std::vector<json> hidden;
  const json paths = document.value("paths", json::object());
  for (const auto& [path, path_item] : paths.items()) {
    const json* item = path.empty() || path.front() != '/' ? nullptr : resolve_path_item(document, path_item);
    if (item == nullptr) continue;
    for (const char* key : kOperations) {
      if (!item->contains(key) || !(*item)[key].is_object()) continue;
      json operation = (*item)[key];
      if (is_hidden(document, *item, operation)) {
        hidden.push_back(std::move(operation));
        continue;
      }
      // Servers of its own give an operation a base path of its own, and so a place of its own.
      const std::string outside = part.mount + base_path_of(document, *item, operation) + path;
      part.moved.try_emplace(path, outside);
      const auto [at, is_new] = part.paths.try_emplace(outside, json::object());
      json& published = at->second;
      if (!is_new && published.contains(key)) continue;
      operation.erase("servers");
      if (!operation.contains("security") && document.contains("security"))
        operation["security"] = document["security"];
      if (!operation.contains("tags")) operation["tags"] = json::array({metadata.service});
      published[key] = std::move(operation);
      for (const char* shared : {"parameters", "summary", "description"}) {
        if (is_new && item->contains(shared)) published[shared] = (*item)[shared];
      }
    }
  }
  drop_hidden_components(part, hidden);
  return part;
}

class Merger {
 public:
  explicit Merger(const MergeOptions& options) {
    document_ = {{"openapi", "3.1.0"},
                 {"info", {{"title", options.title}, {"version", options.version}}},
                 {"servers", json::array({{{"url", "/"}}})},
                 {"paths", json::object()}};
  }

  void add(Part part) {
    const std::map<Component, std::string> renames = find_renames(part);
    const std::map<std::string, std::string> operations = find_operation_renames(part);
    for (auto& [component, value] : part.components) {
      rewrite(value, part, renames, operations);
      const auto renamed = renames.find(component);
      components_[{component.first, renamed == renames.end() ? component.second : renamed->second}] = std::move(value);
    }
    for (auto& [path, item] : part.paths) {
      rewrite(item, part, renames, operations);
      add_path(part, path, std::move(item));
    }
    for (json& tag : part.tags) {
      if (!tag.is_object() || !tag.contains("name") || !tag["name"].is_string()) continue;
      tags_.try_emplace(tag["name"].get<std::string>(), std::move(tag));
    }
  }

  void report(const ServiceMetadata& metadata, const std::string& problem) {
    problems_.push_back(metadata.service + ": " + problem);
  }

  MergedDocument finish() {
    for (auto& [path, entry] : paths_) document_["paths"][path] = std::move(entry.item);
    for (auto& [component, value] : components_) {
      document_["components"][component.first][component.second] = std::move(value);
    }
    for (auto& [name, tag] : tags_) document_["tags"].push_back(std::move(tag));
    MergedDocument merged;
    merged.json = document_.dump(-1, ' ', false, json::error_handler_t::replace);
    merged.etag = '"' + sha256_hex(merged.json).substr(0, 32) + '"';
    merged.problems = std::move(problems_);
    return merged;
  }

 private:
  struct Entry {
    json item;
    std::size_t mount_size;
    const ServiceMetadata* metadata;
  };

  // A component keeps its name if nobody has it, or if what stands there is what it would become itself. Renaming one
  // changes those that refer to it, hence the rounds; after the last one all that share a name are renamed, which is
  // always right and never more than longer.
  std::map<Component, std::string> find_renames(const Part& part) const {
    std::map<Component, std::string> renames;
    bool has_changed = true;
    for (int round = 0; has_changed; ++round) {
      has_changed = false;
      for (const auto& [component, value] : part.components) {
        const auto present = components_.find(component);
        if (present == components_.end() || renames.count(component) != 0) continue;
        if (round < kRenameRounds) {
          json rewritten = value;
          rewrite(rewritten, part, renames, {});
          if (rewritten == present->second) continue;
        }
        std::string name = part.metadata->service + "_" + component.second;
        while (components_.count({component.first, name}) != 0 || part.components.count({component.first, name}) != 0) {
          name += "_";
        }
        renames[component] = std::move(name);
        has_changed = true;
      }
    }
    return renames;
  }

  std::map<std::string, std::string> find_operation_renames(Part& part) {
    std::set<std::string> own;
    for (auto& [path, item] : part.paths) {
      for (const char* key : kOperations) {
        if (item.contains(key) && item[key].contains("operationId") && item[key]["operationId"].is_string()) {
          own.insert(item[key]["operationId"].get<std::string>());
        }
      }
    }
    std::map<std::string, std::string> renames;
    for (const std::string& id : own) {
      std::string name = id;
      if (operation_ids_.count(name) != 0) name = part.metadata->service + "_" + id;
      while (operation_ids_.count(name) != 0 || (name != id && own.count(name) != 0)) name += "_";
      operation_ids_.insert(name);
      if (name != id) renames[id] = name;
    }
    return renames;
  }

  static void rewrite(json& node, const Part& part, const std::map<Component, std::string>& renames,
                      const std::map<std::string, std::string>& operations) {
    visit_names(node, [&](NameKind kind, std::string& text) {
      const auto replace = [&renames, &text](const Component& component, std::size_t at, std::size_t size) {
        if (const auto renamed = renames.find(component); renamed != renames.end())
          text.replace(at, size, renamed->second);
      };
      Component component;
      std::size_t rest = 0;
      switch (kind) {
        case NameKind::reference:
          if (split_reference(text, component, rest)) {
            replace(component, rest - component.second.size(), component.second.size());
          } else if (text.rfind("#/paths/~1", 0) == 0) {
            const auto end = std::min(text.find('/', 8), text.size());
            const auto moved = part.moved.find(unescape_pointer(text.substr(8, end - 8)));
            if (moved != part.moved.end()) text.replace(8, end - 8, escape_pointer(moved->second));
          }
          break;
        case NameKind::security_scheme:
          replace({"securitySchemes", text}, 0, text.size());
          break;
        case NameKind::schema_name:
          replace({"schemas", text}, 0, text.size());
          break;
        case NameKind::operation_id:
          if (const auto renamed = operations.find(text); renamed != operations.end()) text = renamed->second;
          break;
      }
    });
  }

  // Mounts may be nested (/a and /a/b); requests go to the longer one, so its path is the true one.
  void add_path(const Part& part, const std::string& path, json item) {
    if (!part.host.empty()) item["servers"] = json::array({{{"url", "//" + part.host}}});
    auto [at, is_new] = paths_.try_emplace(path);
    if (!is_new) {
      const bool is_longer = part.mount.size() > at->second.mount_size;
      report(is_longer ? *at->second.metadata : *part.metadata,
             "path " + path + " is left out: another service has it");
      if (!is_longer) return;
    }
    at->second = {std::move(item), part.mount.size(), part.metadata};
  }

  json document_;
  std::map<std::string, Entry> paths_;
  std::map<Component, json> components_;
  std::map<std::string, json> tags_;
  std::set<std::string> operation_ids_;
  std::vector<std::string> problems_;
};

}  // namespace

MergedDocument merge(const std::vector<const ServiceMetadata*>& services, const MergeOptions& options) {
  auto sorted = services;
  std::sort(sorted.begin(), sorted.end(), [](const ServiceMetadata* a, const ServiceMetadata* b) {
    return std::tie(a->service, a->service_version, a->mount, a->document) <
           std::tie(b->service, b->service_version, b->mount, b->document);
  });
  Merger merger(options);
  std::size_t bytes = 0;
  for (const ServiceMetadata* metadata : sorted) {
    if (metadata->document.empty()) continue;
    if (bytes + metadata->document.size() > kMergedBytes) {
      merger.report(*metadata, "left out: all documents together are too large");
      continue;
    }
    auto document = parse_document(metadata->document);
    if (!document) {
      merger.report(*metadata, "left out: " + document.error().detail);
      continue;
    }
    bytes += metadata->document.size();
    merger.add(take_apart(*metadata, *std::move(document)));
  }
  return merger.finish();
}

}  // namespace outrigger::openapi
