#include "bridge/app/config_reader.h"

#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <memory>
#include <optional>
#include <set>
#include <sstream>
#include <tuple>
#include <utility>

#include "bridge/app/config_value.h"
#include "bridge/base/check.h"
#include "bridge/base/header_list.h"

namespace outrigger::app {
namespace {

using base::equals_ignoring_case;

constexpr std::string_view kFileSuffix = "File";
constexpr std::string_view kPattern = "[]";
constexpr std::size_t kSecretFileBytes = 64 * 1024;  // a secret is a line; more is the wrong file
constexpr int kMergeDepth = 8;                       // `<<` within `<<`: an anchor may contain itself
constexpr std::size_t kMergedKeys = 10000;           // of one file, all `<<` together: a few lines could make billions

// Where the first node of each document stands.
class DocumentStarts final : public YAML::EventHandler {
 public:
  void OnDocumentStart(const YAML::Mark&) override { is_before_its_node_ = true; }
  void OnDocumentEnd() override {}
  void OnNull(const YAML::Mark& mark, YAML::anchor_t) override { note(mark); }
  void OnAlias(const YAML::Mark& mark, YAML::anchor_t) override { note(mark); }
  void OnScalar(const YAML::Mark& mark, const std::string&, YAML::anchor_t, const std::string&) override { note(mark); }
  void OnSequenceStart(const YAML::Mark& mark, const std::string&, YAML::anchor_t, YAML::EmitterStyle::value) override {
    note(mark);
  }
  void OnSequenceEnd() override {}
  void OnMapStart(const YAML::Mark& mark, const std::string&, YAML::anchor_t, YAML::EmitterStyle::value) override {
    note(mark);
  }
  void OnMapEnd() override {}

  std::vector<YAML::Mark> marks;

 private:
  void note(const YAML::Mark& mark) {
    if (std::exchange(is_before_its_node_, false)) marks.push_back(mark);
  }
  bool is_before_its_node_ = false;
};

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

// A section of the configuration, a list of objects or, as a leaf, a key.
struct Name {
  std::string spelled;  // as declared
  std::string path;
  const ConfigKey* key = nullptr;  // in an item: the pattern of its key
  std::string key_path;            // of the key itself: without aliases, and with the item's number
  bool is_file_variant = false;
  const ConfigList* list = nullptr;                       // below it: its items by number, and the pattern as "[]"
  std::map<std::string, std::unique_ptr<Name>> children;  // by lower-case name

  Name* child(std::string_view name) const {
    const auto found = children.find(lower(name));
    return found == children.end() ? nullptr : found->second.get();
  }
};

Name& add_name(Name& root, std::string_view path) {
  Name* at = &root;
  for (const std::string& part : split(path, ":")) {
    auto& child = at->children[lower(part)];
    if (!child) {
      child = std::make_unique<Name>();
      child->spelled = part;
      child->path = at->path.empty() ? part : at->path + (part == kPattern ? "" : ":") + part;
    }
    at = child.get();
  }
  return *at;
}

// `number` is that of an item, whose names are made from the pattern `key`.
void add_names(Name& root, const ConfigKey& key, const std::string& number = std::string(kPattern)) {
  const auto numbered = [&](std::string path) {
    if (key.is_pattern) path.replace(key.list.size(), kPattern.size(), ":" + number);
    return path;
  };
  const auto add = [&](const std::string& path) -> Name& {
    Name& name = add_name(root, numbered(path));
    name.key = &key;
    name.key_path = numbered(key.path);
    return name;
  };
  std::vector<std::string> paths = key.aliases;
  paths.push_back(key.path);
  for (const std::string& path : paths) {
    add(path);
    if (key.is_secret) add(path + std::string(kFileSuffix)).is_file_variant = true;
  }
}

Name names_of(const ConfigTable& table) {
  Name root;
  for (const ConfigList& list : table.lists()) add_name(root, list.path).list = &list;
  for (const ConfigKey& key : table.keys()) add_names(root, key);
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
  if (section.list != nullptr) return find_below(*section.child(kPattern), lower_name);
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
  const auto invalid = [](const std::string& why) { return base::Error{base::Code::invalid, why}; };
  if (path.empty()) return invalid("the name of the file is empty");
  errno = 0;
  std::ifstream file(path, std::ios::binary);
  std::string text(kSecretFileBytes + 1, '\0');
  if (!file) return invalid("cannot open the file '" + path + "': " + std::strerror(errno));
  file.read(text.data(), static_cast<std::streamsize>(text.size()));
  if (file.bad()) return invalid("cannot read the file '" + path + "': " + std::strerror(errno));
  text.resize(static_cast<std::size_t>(file.gcount()));
  if (text.size() > kSecretFileBytes) return invalid("the file '" + path + "' is larger than 64 KiB: not a secret");
  if (!text.empty() && text.back() == '\n') text.pop_back();
  if (!text.empty() && text.back() == '\r') text.pop_back();
  if (text.empty()) return invalid("the file '" + path + "' is empty");
  return text;
}

}  // namespace

// One reading: collects what each source gives for each key, then sets what won.
class ConfigReader {
 public:
  ConfigReader(ConfigTable& table, const ConfigSources& sources, ConfigReading& reading)
      : table_(table), sources_(sources), reading_(reading) {
    for (const ConfigList& list : table_.lists()) table_.set_items(list, 0);
    root_ = names_of(table_);
  }

  void run() {
    read_file();
    read_environment();
    read_flags();
    for (const ConfigList& list : table_.lists()) set_items(list);
    for (const ConfigKey& key : table_.keys()) {
      const auto found = given_.find(key.path);
      if (found == given_.end()) continue;
      reading_.origins_[key.path] = found->second.origin;
      if (found->second.is_broken) continue;
      if (auto set = key.set(found->second.items); !set) {
        reading_.fail(key.path, set.error().detail);
      } else if (!key.has_effect && key.get() != std::vector<std::string>{key.fallback}) {
        reading_.warnings_.push_back(printable(print(found->second.origin)) + ": " + key.path +
                                     " has no effect in this version");
      }
    }
  }

 private:
  struct Given {
    std::vector<std::string> items;
    ConfigOrigin origin;
    bool is_broken = false;  // reported already
  };
  struct GivenList {
    std::optional<ConfigOrigin> origin;            // in the file
    std::vector<ConfigOrigin> items;               // where each begins
    std::map<std::size_t, ConfigOrigin> numbered;  // in the environment, the first variable of each
  };

  void give(const Name& name, std::vector<std::string> items, ConfigOrigin origin) {
    if (table_.is_ignored(*name.key)) return;
    const auto before = given_.find(name.key_path);
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
    given_[name.key_path] = std::move(given);
  }

  ConfigOrigin at(const YAML::Mark& mark) const {
    return {ConfigLevel::file, sources_.file_name, mark.line + 1, mark.column + 1};
  }

  void read_file() {
    const std::size_t nul = sources_.file_text.find('\0');
    if (nul != std::string::npos) {
      YAML::Mark mark;
      mark.line = static_cast<int>(std::count(sources_.file_text.begin(), sources_.file_text.begin() + nul, '\n'));
      mark.column = static_cast<int>(nul - (sources_.file_text.rfind('\n', nul) + 1));
      reading_.fail(at(mark), "a NUL byte: this is not YAML in UTF-8");
      return;
    }
    try {
      // Two are looked for, not all: before a comma that begins a document the library finds empty ones without end.
      std::istringstream stream(sources_.file_text);
      YAML::Parser parser(stream);
      DocumentStarts starts;
      while (starts.marks.size() < 2 && parser.HandleNextDocument(starts)) {
      }
      if (starts.marks.size() > 1) {
        const bool is_stuck = starts.marks[1].pos == starts.marks[0].pos;
        reading_.fail(at(starts.marks[1]), is_stuck ? "a document cannot begin with this"
                                                    : "a second YAML document; all keys belong into one");
        if (is_stuck) return;
      }
      const YAML::Node document = YAML::Load(sources_.file_text);
      if (!document.IsNull()) read_section(document, document.Mark(), root_);
    } catch (const YAML::Exception& error) {
      reading_.fail(at(error.mark), error.msg);
    } catch (const std::exception& error) {  // the library promises no more than that what it throws is one
      reading_.fail(at(YAML::Mark()), std::string("cannot be read as YAML: ") + error.what());
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
        if (merged_keys_ > kMergedKeys) break;
      }
    }
    if (merged.empty()) return own;
    merged_keys_ += merged.size();
    if (merged_keys_ > kMergedKeys) {
      if (!std::exchange(has_merged_too_much_, true)) {
        reading_.fail(at(map.Mark()),
                      "the merge keys '<<' of this file bring more than " + std::to_string(kMergedKeys) + " keys");
      }
      return own;
    }
    std::set<std::string> names;
    for (const auto& entry : own) names.insert(lower(entry.first.Scalar()));
    for (auto& entry : merged) {
      if (names.insert(lower(entry.first.Scalar())).second) own.push_back(std::move(entry));
    }
    return own;
  }

  // `A:B` below a section is B of its section A, as in .NET's settings. Nothing: reported, or to be passed over.
  Name* find(const YAML::Node& key, Name& section) {
    Name* name = &section;
    for (const std::string& part : split(key.Scalar(), ":")) {
      if (name->list != nullptr) {
        reading_.fail(at(key.Mark()), name->path + " is a list: its items belong below it, each with a dash");
        return nullptr;
      }
      Name* next = name->child(part);
      if (next == nullptr) {
        if (!table_.passes_over_other_keys()) {
          reading_.fail(at(key.Mark()), reading_.is_full() ? "" : unknown_name(root_, *name, part));
        }
        return nullptr;
      }
      name = next;
    }
    return name;
  }

  void read_section(const YAML::Node& node, const YAML::Mark& mark, Name& section) {
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
      Name* name = find(key, section);
      if (name == nullptr) continue;
      const auto [first, is_new] = seen.emplace(lower(key.Scalar()), key.Mark());
      if (!is_new) {
        reading_.fail(at(key.Mark()), name->path + " is given twice, also at " + print(at(first->second)));
      } else if (name->list != nullptr) {
        read_list(value, key.Mark(), *name);
      } else if (name->key == nullptr) {
        read_section(value, key.Mark(), *name);
      } else {
        read_value(value, key.Mark(), *name);
      }
    }
  }

  void read_list(const YAML::Node& node, const YAML::Mark& mark, Name& name) {
    if (node.IsNull()) return;
    if (!node.IsSequence()) {
      reading_.fail(at(mark), name.path + " needs a list of sections, not " + (node.IsMap() ? "a section" : "one value"));
      return;
    }
    GivenList& given = given_lists_[name.list];
    if (given.origin) {
      reading_.fail(at(mark), name.path + " is given twice, also at " + print(*given.origin));
      return;
    }
    given.origin = at(node.Mark());
    for (const auto& item : node) {
      if (given.items.size() == name.list->most) {
        reading_.fail(at(item.Mark()), too_many(name));
        return;
      }
      given.items.push_back(at(item.Mark()));
      read_section(item, item.Mark(), item_of(name, given.items.size() - 1));
    }
  }

  static std::string too_many(const Name& list) {
    return list.path + " has more than " + std::to_string(list.list->most) + " items";
  }

  // The names of an item, which are made when it is first spoken of.
  Name& item_of(Name& list, std::size_t index) {
    const std::string number = std::to_string(index);
    if (list.child(number) == nullptr) {
      for (const ConfigKey& key : table_.keys()) {
        if (key.list == list.list->path) add_names(root_, key, number);
      }
    }
    return *list.child(number);
  }

  // The target gets its items, those of the file and those that the environment has beyond them.
  void set_items(const ConfigList& list) {
    const auto found = given_lists_.find(&list);
    if (found == given_lists_.end() || table_.is_ignored(list.path)) return;
    GivenList& given = found->second;
    for (const auto& [index, origin] : given.numbered) {
      if (index > given.items.size()) {
        reading_.fail(origin, no_item_before(list.path, given.items.size()));
        break;
      }
      if (index == given.items.size()) given.items.push_back(origin);
    }
    table_.set_items(list, given.items.size());
    for (std::size_t i = 0; i < given.items.size(); ++i) {
      reading_.origins_[list.path + ":" + std::to_string(i)] = given.items[i];
    }
    if (given.origin || !given.items.empty()) {
      reading_.origins_[list.path] = given.origin ? *given.origin : given.items.front();
    }
  }

  static std::string no_item_before(const std::string& path, std::size_t missing) {
    return path + " has no item " + std::to_string(missing) + " before this one";
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
      Name* name = &root_;
      std::size_t used = 0;
      for (; used < parts.size() && name->key == nullptr; ++used) {
        Name* next = find(origin, *name, parts[used]);
        if (next == nullptr) break;
        name = next;
      }
      if (used < parts.size() && name->key == nullptr) continue;
      const std::size_t left = parts.size() - used;
      const auto index = left == 1 && name->key->is_list ? parse_integer(parts.back()) : std::int64_t{-1};
      if (name->key == nullptr) {
        reading_.fail(origin, name->path + (name->list != nullptr ? " is a list: set the keys of its items (__0__...)"
                                                                  : " is a section: set the keys below it"));
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

  // What `part` of a variable's name stands for below `name`. Nothing: reported, or to be passed over.
  Name* find(const ConfigOrigin& origin, Name& name, const std::string& part) {
    if (name.list == nullptr) {
      Name* next = name.child(part);
      if (next == nullptr && !table_.passes_over_other_keys()) {
        reading_.fail(origin, reading_.is_full() ? "" : unknown_name(root_, name, part));
      }
      return next;
    }
    const auto index = parse_integer(part);
    if (!index || *index < 0) {
      reading_.fail(origin, name.path + " is a list: below it stands the number of an item (__0)");
      return nullptr;
    }
    if (static_cast<std::size_t>(*index) >= name.list->most) {
      reading_.fail(origin, too_many(name));
      return nullptr;
    }
    given_lists_[name.list].numbered.emplace(static_cast<std::size_t>(*index), origin);
    return &item_of(name, static_cast<std::size_t>(*index));
  }

  // Items by number replace those of the list so far, or extend it.
  void give_items(const Name& name, const std::map<std::size_t, std::pair<std::string, std::string>>& numbered) {
    if (table_.is_ignored(*name.key)) return;
    const auto before = given_.find(name.key_path);
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
        reading_.fail({ConfigLevel::environment, variable.first}, no_item_before(name.path, list.size()));
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

  ConfigTable& table_;
  const ConfigSources& sources_;
  ConfigReading& reading_;
  Name root_;
  std::map<std::string, Given, std::less<>> given_;  // by path of the key
  std::map<const ConfigList*, GivenList> given_lists_;
  std::size_t merged_keys_ = 0;
  bool has_merged_too_much_ = false;
};

void ConfigReading::fail(ConfigOrigin origin, std::string message) {
  if (is_full()) {
    ++unlisted_errors_;
  } else {
    errors_.push_back({std::move(origin), std::move(message)});
  }
}

void ConfigReading::fail(std::string_view path, std::string message) {
  std::string_view place = path;
  while (origins_.find(place) == origins_.end() && place.find(':') != std::string_view::npos) {
    place = place.substr(0, place.rfind(':'));
  }
  const ConfigOrigin origin = origin_of(place);
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
  if (unlisted_errors_ > 0) lines.push_back("and " + std::to_string(unlisted_errors_) + " more");
  return lines;
}

ConfigReading read_config(ConfigTable& table, const ConfigSources& sources) {
  ConfigReading reading;
  ConfigReader(table, sources, reading).run();
  return reading;
}

namespace {

struct Printed {
  std::string name;
  const ConfigKey* key = nullptr;  // of a leaf
  bool is_list = false;            // of objects
  std::vector<Printed> children;

  Printed& child(const std::string& part) {
    const auto is_it = [&part](const Printed& child) { return child.name == part; };
    const auto found = std::find_if(children.begin(), children.end(), is_it);
    return found != children.end() ? *found : children.emplace_back(Printed{part, nullptr, false, {}});
  }
};

Printed& at_path(Printed& root, const std::string& path) {
  Printed* at = &root;
  for (const std::string& part : split(path, ":")) at = &at->child(part);
  return *at;
}

void print_below(const Printed& section, const ConfigReading* reading, YAML::Emitter& out) {
  if (section.is_list) {
    if (section.children.empty()) out << YAML::Flow;
    out << YAML::BeginSeq;
    for (const Printed& item : section.children) print_below(item, reading, out);
    out << YAML::EndSeq;
    return;
  }
  out << YAML::BeginMap;
  for (const Printed& child : section.children) {
    out << YAML::Key << child.name << YAML::Value;
    if (child.key == nullptr) {
      print_below(child, reading, out);
      continue;
    }
    const std::vector<std::string> items = child.key->get();
    if (child.key->is_list) {
      out << YAML::Flow << items;
    } else {
      out << items.front();
    }
    if (reading == nullptr) continue;
    const bool is_default = items.size() == 1 && items.front() == child.key->fallback;
    const std::string from = printable(print(reading->origin_of(child.key->path)));
    out << YAML::Comment(!from.empty() ? from : is_default ? "default" : "follows from other keys");
  }
  out << YAML::EndMap;
}

}  // namespace

std::string print_config(const ConfigTable& table, const ConfigReading* reading) {
  Printed root;
  for (const ConfigKey& key : table.keys()) {
    if (table.is_ignored(key)) continue;
    if (key.is_pattern) {
      at_path(root, key.list).is_list = true;  // in its place also without items
    } else {
      at_path(root, key.path).key = &key;
    }
  }
  YAML::Emitter out;
  print_below(root, reading, out);
  return std::string(out.c_str()) + "\n";
}

}  // namespace outrigger::app
