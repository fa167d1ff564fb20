// The table of configuration keys: each is declared once with type, default, range and help, bound to the member it
// fills. Reading, --mode show, --help and generated documents all follow from it. Start-up only, one thread.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "bridge/app/listen_address.h"
#include "bridge/base/check.h"
#include "bridge/base/result.h"

namespace outrigger::app {

class ConfigTable;

enum class ValueKind : std::uint8_t { text, boolean, integer, duration, size, choice, address };

// Says what is wrong with a text value: Code::invalid.
using TextCheck = std::function<base::Result<void>(const std::string&)>;

struct ConfigKey {
  std::string path;  // "Gateway:Transports:Messaging:BatchSize"
  // Of a key in an item of a list of objects: the list's path. "Gateway:Auth:Issuers:0:Issuer" is the key of an item that
  // was read; "Gateway:Auth:Issuers[]:Issuer" is a pattern: it says what each item's key is and holds no value.
  std::string list;
  bool is_pattern = false;
  ValueKind kind = ValueKind::text;
  std::string help;
  std::string fallback;      // the default, as it would be written
  std::int64_t minimum = 0;  // integer; duration in milliseconds; size in bytes
  std::int64_t maximum = 0;
  std::vector<std::string> choices;
  bool is_list = false;
  bool is_secret = false;  // never printed; `<path>File` names a file with the value
  std::vector<std::string> aliases;
  std::string flag_name;   // "--listen"; empty: it has none. Repeatable if is_list
  std::string flag_value;  // "ADDR", how --help calls its value
  bool has_effect = true;

  // One item unless is_list. The target is unchanged after an error.
  std::function<base::Result<void>(const std::vector<std::string>&)> set;
  // What the target holds now, secrets redacted, in spellings that `set` reads.
  std::function<std::vector<std::string>()> get;

  ConfigKey& alias(std::string other_path);
  // `redacted` prints the value without its secret part; without it the whole value is `***`.
  ConfigKey& secret(std::function<std::string(const std::string&)> redacted = nullptr);
  ConfigKey& flag(std::string name, std::string value_name);
  // Accepted, and loading says so, but this version does nothing with it.
  ConfigKey& no_effect();
};

// A list of objects. After a reading it has as many items as the sources gave.
struct ConfigList {
  std::string path;  // "Gateway:Auth:Issuers"
  std::size_t most = 0;
  std::string help;

  // Makes the target `count` new items.
  std::function<void(std::size_t count)> resize;
  // Declares the keys below `path` of item `index`, or of the one that nobody reads.
  std::function<void(ConfigTable&, const std::string& path, std::optional<std::size_t> index)> declare;
};

// The keys of a program. Targets must outlive the table; their values when declared are the defaults.
class ConfigTable {
 public:
  ConfigKey& add_text(std::string path, std::string& target, std::string help, TextCheck check = nullptr);
  ConfigKey& add_boolean(std::string path, bool& target, std::string help);
  ConfigKey& add_duration(std::string path, std::chrono::milliseconds& target, std::chrono::milliseconds minimum,
                          std::chrono::milliseconds maximum, std::string help);
  // A duration that is written as a plain number of seconds.
  ConfigKey& add_seconds(std::string path, std::chrono::milliseconds& target, int minimum, int maximum,
                         std::string help);
  ConfigKey& add_size(std::string path, std::size_t& target, std::size_t minimum, std::size_t maximum,
                      std::string help);
  // "off" or an empty text: none.
  ConfigKey& add_address(std::string path, std::optional<ListenAddress>& target, std::string help);
  // At least one.
  ConfigKey& add_addresses(std::string path, std::vector<ListenAddress>& target, std::string help);

  // Each item is looked at by `check`. May be empty.
  ConfigKey& add_texts(std::string path, std::vector<std::string>& target, std::string help, TextCheck check);

  ConfigKey& add_integer(std::string path, int& target, int minimum, int maximum, std::string help);
  ConfigKey& add_integer(std::string path, std::size_t& target, std::size_t minimum, std::size_t maximum,
                         std::string help);

  // A list of at most `most` objects, which has no default: `target` is empty, and every reading gives it new items.
  // `declare` adds the keys of one item below `path`: of "Gateway:Auth:Issuers:0" for each item of a reading, and once of
  // "Gateway:Auth:Issuers[]", whose keys stand for those of every item. They have no flags, and no such lists among them.
  // As long as the table is used, items may change, but `target` must keep its size.
  template <class Item>
  void add_items(std::string path, std::vector<Item>& target, std::size_t most, std::string help,
                 std::type_identity_t<std::function<void(ConfigTable&, const std::string& path, Item&)>> declare) {
    CHECK(target.empty());
    ConfigList& list = lists_.emplace_back();
    list.path = std::move(path);
    list.most = most;
    list.help = std::move(help);
    list.resize = [&target](std::size_t count) {
      target.clear();
      target.resize(count);
    };
    list.declare = [&target, nobodys = std::make_shared<Item>(), declare = std::move(declare)](
                       ConfigTable& table, const std::string& at, std::optional<std::size_t> index) {
      declare(table, at, index ? target[*index] : *nobodys);
    };
    declare_item(list, std::nullopt);
  }

  template <class Enum>
  ConfigKey& add_choice(std::string path, Enum& target, std::vector<std::pair<std::string, Enum>> choices,
                        std::string help) {
    std::vector<std::string> names;
    for (const auto& [name, value] : choices) names.push_back(name);
    const auto select = [&target, choices](std::size_t index) { target = choices[index].second; };
    const auto selected = [&target, choices] {
      std::size_t index = 0;
      while (index + 1 < choices.size() && choices[index].second != target) ++index;
      return index;
    };
    return add_choice_by_index(std::move(path), std::move(names), select, selected, std::move(help));
  }

  // The names below `root` are checked, their values ignored: they are another program's.
  void ignore_values_below(std::string root) { ignored_root_ = std::move(root); }
  // Keys that are not in this table are passed over in files and environment: whoever reads one block of a file leaves
  // the rest to the programs it is written for.
  void pass_over_other_keys() { passes_over_other_keys_ = true; }
  bool passes_over_other_keys() const { return passes_over_other_keys_; }

  bool is_ignored(const ConfigKey& key) const { return is_ignored(key.path); }
  bool is_ignored(std::string_view path) const;
  // As declared, those of items last.
  const std::deque<ConfigKey>& keys() const { return keys_; }
  const std::deque<ConfigList>& lists() const { return lists_; }
  const ConfigKey* find(std::string_view path) const;  // exact spelling

  // For read_config: `list`, one of lists(), becomes `count` new items, whose keys take the place of the last ones'.
  void set_items(const ConfigList& list, std::size_t count);

 private:
  void declare_item(const ConfigList& list, std::optional<std::size_t> index);
  ConfigKey& add(std::string path, ValueKind kind, std::string help,
                 std::function<base::Result<void>(const std::string&)> set, std::function<std::string()> get);
  ConfigKey& add_ranged(std::string path, ValueKind kind, std::int64_t minimum, std::int64_t maximum, std::string help,
                        std::function<void(std::int64_t)> set, std::function<std::int64_t()> get);
  ConfigKey& add_choice_by_index(std::string path, std::vector<std::string> names,
                                 std::function<void(std::size_t)> select, std::function<std::size_t()> selected,
                                 std::string help);

  // Neither moves while a configuration is read, which points at them.
  std::deque<ConfigKey> keys_;
  std::deque<ConfigList> lists_;
  std::string ignored_root_;
  bool passes_over_other_keys_ = false;
};

}  // namespace outrigger::app
