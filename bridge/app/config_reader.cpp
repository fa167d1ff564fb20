#include "bridge/app/config_reader.h"

#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <fstream>
#include <memory>
#include <optional>
#include <tuple>

#include "bridge/app/config_value.h"
#include "bridge/base/check.h"
#include "bridge/base/header_list.h"

namespace outrigger::app {
namespace {

using base::equals_ignoring_case;

constexpr std::string_view kFileSuffix = "File";
constexpr std::size_t kSecretFileBytes = 64 * 1024;  // a secret is a line; more is the wrong file
constexpr int kMergeDepth = 8;                       // `<<` within `<<`: an anchor may contain itself

std::string lower(std::string_view text) {
  std::string lowered(text);
  for (char& c : lowered) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c + ('a' - 'A'));
  }
  return lowered;
}

std::vector<std::string> split(std::string_view text, std::string_view separator) {
  std::vector<std::string> parts;
  for (;;) {
    const std::size_t at = text.find(separator);
    parts.emplace_back(text.substr(0, at));
    if (at == std::string_view::npos) return parts;
    text.remove_prefix(at + separator.size());
  }
}

// A section of the configuration or, as a leaf, a key.
struct Name {
  std::string spelled;  // as declared
  std::string path;
  const ConfigKey* key = nullptr;
  bool is_file_variant = false;
  std::map<std::string, std::unique_ptr<Name>> children;  // by lower-case name

  const Name* child(std::string_view name) const {
    const auto found = children.find(lower(name));
    return found == children.end() ? nullptr : found->second.get();
  }
};

Name& add_name(Name& root, std::string_view path, const ConfigKey& key) {
  Name* at = &root;
  for (const std::string& part : split(path, ":")) {
    auto& child = at->children[lower(part)];
    if (!child) {
      child = std::make_unique<Name>();
      child->spelled = part;
      child->path = at->path.empty() ? part : at->path + ":" + part;
    }
    at = child.get();
  }
  at->key = &key;
  return *at;
}

Name names_of(const ConfigTable& table) {
  Name root;
  for (const ConfigKey& key : table.keys()) {
    std::vector<std::string> paths = key.aliases;
    paths.push_back(key.path);
    for (const std::string& path : paths) {
      add_name(root, path, key);
      if (key.is_secret) add_name(root, path + std::string(kFileSuffix), key).is_file_variant = true;
    }
  }
  return root;
}

// Levenshtein, on lower-case text.
std::size_t distance(const std::string& a, const std::string& b) {
  std::vector<std::size_t> row(b.size() + 1);
  for (std::size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (std::size_t i = 1; i <= a.size(); ++i) {
    std::size_t diagonal = std::exchange(row[0], i);
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t change = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = std::exchange(row[j], std::min({change, row[j] + 1, row[j - 1] + 1}));
    }
  }
  return row[b.size()];
}

const Name* find_below(const Name& section, const std::string& lower_name) {
  for (const auto& [name, child] : section.children) {
    if (name == lower_name) return child.get();
    if (const Name* found = find_below(*child, lower_name)) return found;
  }
  return nullptr;
}

// "; did you mean 'BatchSize'?": a near name beside it, else the same name elsewhere, else what there is.
std::string suggestion(const Name& root, const Name& section, std::string_view unknown) {
  constexpr std::size_t kLongestName = 64;  // the comparison is quadratic
  const std::string wanted = lower(unknown.substr(0, kLongestName));
  const Name* nearest = nullptr;
  std::size_t least = std::min(wanted.size(), std::max<std::size_t>(2, wanted.size() / 3) + 1);
  for (const auto& [name, child] : section.children) {
    const std::size_t changes = distance(wanted, name);
    if (changes >= least) continue;
    least = changes;
    nearest = child.get();
  }
  if (nearest != nullptr) return "; did you mean '" + nearest->spelled + "'?";
  if (const Name* elsewhere = find_below(root, wanted)) return "; did you mean '" + elsewhere->path + "'?";
  std::string known;
  for (const auto& [name, child] : section.children) known += (known.empty() ? "" : ", ") + child->spelled;
  return "; known here: " + known;
}

std::string unknown_name(const Name& root, const Name& section, std::string_view name) {
  const std::string path = section.path.empty() ? std::string(name) : section.path + ":" + std::string(name);
  return "unknown key '" + path + "'" + suggestion(root, section, name);
}

// Names and values are quoted as they were written, and may have line ends or a terminal's control characters.
std::string printable(const std::string& text) {
  constexpr std::string_view kHex = "0123456789abcdef";
  std::string out;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x20 || byte == 0x7f) {
      out.append({'\\', 'x', kHex[byte >> 4], kHex[byte & 15]});
    } else {
      out += c;
    }
  }
  return out;
}

std::string print(const ConfigOrigin& origin) {
  if (origin.level == ConfigLevel::environment) return "environment variable " + origin.name;
  if (origin.level != ConfigLevel::file) return origin.name;
  return origin.name + ":" + std::to_string(origin.line) + ":" + std::to_string(origin.column);
}

base::Result<std::string> read_secret(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::string text(kSecretFileBytes + 1, '\0');
  if (!file) return base::Error{base::Code::invalid, "cannot open the file '" + path + "'"};
  file.read(text.data(), static_cast<std::streamsize>(text.size()));
  if (file.bad()) return base::Error{base::Code::invalid, "cannot read the file '" + path + "'"};
  text.resize(static_cast<std::size_t>(file.gcount()));
  if (text.size() > kSecretFileBytes) {
    return base::Error{base::Code::invalid, "the file '" + path + "' is larger than 64 KiB: not a secret"};
  }
  if (!text.empty() && text.back() == '\n') text.pop_back();
  if (!text.empty() && text.back() == '\r') text.pop_back();
  return text;
}

}  // namespace

// One reading: collects what each source gives for each key, then sets what won.
class ConfigReader {
 public:
  ConfigReader(const ConfigTable& table, const ConfigSources& sources, ConfigReading& reading)
      : table_(table), sources_(sources), reading_(reading), root_(names_of(table)) {}

  void run() {
    read_file();
    read_environment();
    read_flags();
    for (const ConfigKey& key : table_.keys()) {
      const auto found = given_.find(&key);
      if (found == given_.end()) continue;
      reading_.origins_[key.path] = found->second.origin;
      if (found->second.is_broken) continue;
      if (auto set = key.set(found->second.items); !set) reading_.fail(key.path, set.error().detail);
    }
  }

 private:
  struct Given {
    std::vector<std::string> items;
    ConfigOrigin origin;
    bool is_broken = false;  // reported already
  };

  void give(const Name& name, std::vector<std::string> items, ConfigOrigin origin) {
    if (table_.is_ignored(*name.key)) return;
    const auto before = given_.find(name.key);
    if (before != given_.end() && before->second.origin.level == origin.level) {
      reading_.fail(std::move(origin), name.path + " is given twice, also at " + print(before->second.origin));
      return;
    }
    Given given{std::move(items), std::move(origin)};
    if (name.is_file_variant) {
      auto secret = read_secret(given.items.front());
      if (secret) {
        given.items.front() = std::move(*secret);
      } else {
        given.is_broken = true;
        reading_.fail(given.origin, name.path + ": " + secret.error().detail);
      }
    }
    given_[name.key] = std::move(given);
  }

  ConfigOrigin at(const YAML::Mark& mark) const {
    return {ConfigLevel::file, sources_.file_name, mark.line + 1, mark.column + 1};
  }

  void read_file() {
    try {
      const std::vector<YAML::Node> documents = YAML::LoadAll(sources_.file_text);
      if (documents.size() > 1) {
        reading_.fail(at(documents[1].Mark()), "a second YAML document; all keys belong into one");
      }
      if (!documents.empty() && !documents[0].IsNull()) read_section(documents[0], documents[0].Mark(), root_);
    } catch (const YAML::Exception& error) {
      reading_.fail(at(error.mark), error.msg);
    }
  }

  using Entries = std::vector<std::pair<YAML::Node, YAML::Node>>;

  // The pairs of a map with those of its merge keys (`<<: *anchor`), which yield to the map's own.
  Entries entries_of(const YAML::Node& map, int depth) {
    Entries own;
    Entries merged;
    for (const auto& pair : map) {
      if (!pair.first.IsScalar() || pair.first.Scalar() != "<<") {
        own.emplace_back(pair.first, pair.second);
        continue;
      }
      std::vector<YAML::Node> sources;
      if (pair.second.IsSequence()) {
        for (const auto& source : pair.second) sources.push_back(source);
      } else {
        sources.push_back(pair.second);
      }
      for (const YAML::Node& source : sources) {
        if (!source.IsMap() || depth == kMergeDepth) {
          reading_.fail(at(pair.first.Mark()), "'<<' needs a section to merge (an alias such as *messaging)");
          continue;
        }
        for (auto& entry : entries_of(source, depth + 1)) merged.push_back(std::move(entry));
      }
    }
    for (auto& entry : merged) {
      const auto same = [&](const auto& other) {
        return equals_ignoring_case(entry.first.Scalar(), other.first.Scalar());
      };
      if (std::none_of(own.begin(), own.end(), same)) own.push_back(std::move(entry));
    }
    return own;
  }

  void read_section(const YAML::Node& node, const YAML::Mark& mark, const Name& section) {
    if (node.IsNull()) return;
    if (!node.IsMap()) {
      const std::string name = section.path.empty() ? "the file" : section.path;
      reading_.fail(at(mark), name + " is a section: keys and values belong below it");
      return;
    }
    std::map<std::string, YAML::Mark> seen;
    for (const auto& [key, value] : entries_of(node, 0)) {
      if (!key.IsScalar()) {
        reading_.fail(at(key.Mark()), "a key must be a name");
        continue;
      }
      const Name* name = section.child(key.Scalar());
      if (name == nullptr) {
        reading_.fail(at(key.Mark()), unknown_name(root_, section, key.Scalar()));
        continue;
      }
      const auto [first, is_new] = seen.emplace(lower(key.Scalar()), key.Mark());
      if (!is_new) {
        reading_.fail(at(key.Mark()), name->path + " is given twice, also at " + print(at(first->second)));
      } else if (name->key == nullptr) {
        read_section(value, key.Mark(), *name);
      } else {
        read_value(value, key.Mark(), *name);
      }
    }
  }

  void read_value(const YAML::Node& node, const YAML::Mark& mark, const Name& name) {
    std::vector<std::string> items;
    const bool is_list = name.key->is_list && node.IsSequence();
    if (node.IsNull()) {
      items.emplace_back();
    } else if (node.IsScalar()) {
      items.push_back(node.Scalar());
    } else if (is_list) {
      for (const auto& item : node) {
        if (!item.IsScalar()) {
          reading_.fail(at(item.Mark()), name.path + ": each item must be one value");
          return;
        }
        items.push_back(item.Scalar());
      }
    } else {
      reading_.fail(at(mark), name.path + (name.key->is_list ? " needs a list of values" : " needs one value") +
                                  ", not " + (node.IsMap() ? "a section" : "a list"));
      return;
    }
    // Values of an alias stand where the anchor does: that is the place to change.
    give(name, std::move(items), at(node.IsNull() ? mark : node.Mark()));
  }

  void read_environment() {
    std::map<const Name*, std::map<std::size_t, std::pair<std::string, std::string>>> items;
    for (const auto& [variable, value] : sources_.environment) {
      const std::vector<std::string> parts = split(variable, "__");
      if (parts.size() < 2 || root_.child(parts[0]) == nullptr) continue;  // somebody else's variable
      const ConfigOrigin origin{ConfigLevel::environment, variable};
      const Name* name = &root_;
      std::size_t used = 0;
      for (; used < parts.size() && name->key == nullptr; ++used) {
        const Name* next = name->child(parts[used]);
        if (next == nullptr) {
          reading_.fail(origin, unknown_name(root_, *name, parts[used]));
          break;
        }
        name = next;
      }
      if (used < parts.size() && name->key == nullptr) continue;
      const std::size_t left = parts.size() - used;
      const auto index = left == 1 && name->key->is_list ? parse_integer(parts.back()) : std::int64_t{-1};
      if (name->key == nullptr) {
        reading_.fail(origin, name->path + " is a section: set the keys below it");
      } else if (left == 0) {
        give(*name, {value}, origin);
      } else if (index && *index >= 0) {
        items[name][static_cast<std::size_t>(*index)] = {variable, value};
      } else {
        reading_.fail(origin, name->path + " is a key: nothing can stand below it" +
                                  (name->key->is_list ? " but the number of an item (__0)" : ""));
      }
    }
    for (const auto& [name, numbered] : items) give_items(*name, numbered);
  }

  // Items by number replace those of the list so far, or extend it.
  void give_items(const Name& name, const std::map<std::size_t, std::pair<std::string, std::string>>& numbered) {
    if (table_.is_ignored(*name.key)) return;
    const auto before = given_.find(name.key);
    std::vector<std::string> list;
    if (before != given_.end()) {
      if (before->second.origin.level == ConfigLevel::environment) {
        reading_.fail({ConfigLevel::environment, numbered.begin()->second.first},
                      name.path + " is given twice, also at " + print(before->second.origin));
        return;
      }
      list = before->second.items;
    }
    for (const auto& [index, variable] : numbered) {
      if (index > list.size()) {
        reading_.fail({ConfigLevel::environment, variable.first},
                      name.path + " has no item " + std::to_string(list.size()) + " before this one");
        return;
      }
      if (index == list.size()) list.emplace_back();
      list[index] = variable.second;
    }
    give(name, std::move(list), {ConfigLevel::environment, numbered.begin()->second.first});
  }

  void read_flags() {
    for (const FlagValue& flag : sources_.flags) {
      const Name* name = &root_;
      for (const std::string& part : split(flag.path, ":")) {
        name = name->child(part);
        CHECK(name != nullptr);  // flags are declared beside the table
      }
      give(*name, flag.values, {ConfigLevel::flag, flag.flag});
    }
  }

  const ConfigTable& table_;
  const ConfigSources& sources_;
  ConfigReading& reading_;
  const Name root_;
  std::map<const ConfigKey*, Given> given_;
};

void ConfigReading::fail(std::string_view path, std::string message) {
  const ConfigOrigin origin = origin_of(path);
  // A flag names itself; elsewhere the key's path says which of its names is meant.
  fail(origin, origin.level == ConfigLevel::flag ? std::move(message) : std::string(path) + ": " + message);
}

ConfigOrigin ConfigReading::origin_of(std::string_view path) const {
  const auto found = origins_.find(path);
  return found == origins_.end() ? ConfigOrigin{} : found->second;
}

bool ConfigReading::blames_a_flag() const {
  return std::any_of(errors_.begin(), errors_.end(),
                     [](const Failure& failure) { return failure.origin.level == ConfigLevel::flag; });
}

std::vector<std::string> ConfigReading::errors() const {
  std::vector<Failure> sorted = errors_;
  std::stable_sort(sorted.begin(), sorted.end(), [](const Failure& a, const Failure& b) {
    // Missing keys (fallback) come last: often they are missing because of an error above.
    const auto rank = [](const ConfigOrigin& origin) {
      return origin.level == ConfigLevel::fallback ? 255 : static_cast<int>(origin.level);
    };
    return std::tuple(rank(a.origin), a.origin.line, a.origin.column) <
           std::tuple(rank(b.origin), b.origin.line, b.origin.column);
  });
  std::vector<std::string> lines;
  for (const Failure& failure : sorted) {
    const std::string where = print(failure.origin);
    lines.push_back(printable(where.empty() ? failure.message : where + ": " + failure.message));
  }
  return lines;
}

ConfigReading read_config(const ConfigTable& table, const ConfigSources& sources) {
  ConfigReading reading;
  ConfigReader(table, sources, reading).run();
  return reading;
}

std::string print_config(const ConfigTable& table) {
  YAML::Node root(YAML::NodeType::Map);
  for (const ConfigKey& key : table.keys()) {
    if (table.is_ignored(key)) continue;
    const std::vector<std::string> parts = split(key.path, ":");
    YAML::Node section;
    section.reset(root);
    for (std::size_t i = 0; i + 1 < parts.size(); ++i) section.reset(section[parts[i]]);
    const std::vector<std::string> items = key.get();
    if (key.is_list) {
      section[parts.back()] = items;
    } else {
      section[parts.back()] = items.front();
    }
  }
  YAML::Emitter out;
  out << root;
  return std::string(out.c_str()) + "\n";
}

}  // namespace outrigger::app
