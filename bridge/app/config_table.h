// The table of configuration keys: each is declared once with type, default, range and help, bound to the member it
// fills. Reading, --mode show, --help and generated documents all follow from it. Start-up only, one thread.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "bridge/app/listen_address.h"
#include "bridge/base/result.h"

namespace outrigger::app {

enum class ValueKind : std::uint8_t { text, boolean, integer, duration, size, choice, address };

// Says what is wrong with a text value: Code::invalid.
using TextCheck = std::function<base::Result<void>(const std::string&)>;

struct ConfigKey {
  std::string path;  // "Gateway:Transports:Messaging:BatchSize"
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

  bool is_ignored(const ConfigKey& key) const;
  const std::deque<ConfigKey>& keys() const { return keys_; }
  const ConfigKey* find(std::string_view path) const;  // exact spelling

 private:
  ConfigKey& add(std::string path, ValueKind kind, std::string help,
                 std::function<base::Result<void>(const std::string&)> set, std::function<std::string()> get);
  ConfigKey& add_ranged(std::string path, ValueKind kind, std::int64_t minimum, std::int64_t maximum, std::string help,
                        std::function<void(std::int64_t)> set, std::function<std::int64_t()> get);
  ConfigKey& add_choice_by_index(std::string path, std::vector<std::string> names,
                                 std::function<void(std::size_t)> select, std::function<std::size_t()> selected,
                                 std::string help);

  std::deque<ConfigKey> keys_;  // keys never move: a ConfigReading points at them
  std::string ignored_root_;
  bool passes_over_other_keys_ = false;
};

}  // namespace outrigger::app
