#include "bridge/app/config_table.h"

#include "bridge/app/config_value.h"
#include "bridge/base/header_list.h"

namespace outrigger::app {
namespace {

using base::Code;
using base::equals_ignoring_case;
using base::Error;
using base::Result;

std::string print_ranged(ValueKind kind, std::int64_t value) {
  if (kind == ValueKind::duration) return print_duration(std::chrono::milliseconds(value));
  return kind == ValueKind::size ? print_size(value) : std::to_string(value);
}

Result<std::int64_t> parse_ranged(ValueKind kind, const std::string& text) {
  if (kind == ValueKind::size) return parse_size(text);
  if (kind == ValueKind::integer) return parse_integer(text);
  const auto duration = parse_duration(text);
  if (!duration) return duration.error();
  return std::int64_t{duration->count()};
}

std::string joined(const std::vector<std::string>& items) {
  std::string text;
  for (const std::string& item : items) text += (text.empty() ? "" : ", ") + item;
  return text;
}

}  // namespace

ConfigKey& ConfigKey::alias(std::string other_path) {
  aliases.push_back(std::move(other_path));
  return *this;
}

ConfigKey& ConfigKey::secret(std::function<std::string(const std::string&)> redacted) {
  DCHECK(!is_list);
  is_secret = true;
  get = [plain = std::move(get), redacted = std::move(redacted)]() -> std::vector<std::string> {
    const std::string value = plain().front();
    if (value.empty()) return {value};
    return {redacted ? redacted(value) : "***"};
  };
  fallback = get().front();
  return *this;
}

ConfigKey& ConfigKey::flag(std::string name, std::string value_name) {
  flag_name = std::move(name);
  flag_value = std::move(value_name);
  return *this;
}

ConfigKey& ConfigKey::no_effect() {
  has_effect = false;
  return *this;
}

ConfigKey& ConfigTable::add(std::string path, ValueKind kind, std::string help,
                            std::function<Result<void>(const std::string&)> set, std::function<std::string()> get) {
  ConfigKey& key = keys_.emplace_back();
  key.path = std::move(path);
  key.kind = kind;
  key.help = std::move(help);
  key.fallback = get();
  key.set = [set = std::move(set)](const std::vector<std::string>& items) { return set(items.front()); };
  key.get = [get = std::move(get)] { return std::vector<std::string>{get()}; };
  return key;
}

ConfigKey& ConfigTable::add_text(std::string path, std::string& target, std::string help, TextCheck check) {
  const auto set = [&target, check = std::move(check)](const std::string& text) -> Result<void> {
    if (check) {
      if (auto checked = check(text); !checked) return checked;
    }
    target = text;
    return {};
  };
  return add(std::move(path), ValueKind::text, std::move(help), set, [&target] { return target; });
}

ConfigKey& ConfigTable::add_boolean(std::string path, bool& target, std::string help) {
  const auto set = [&target](const std::string& text) -> Result<void> {
    const auto value = parse_boolean(text);
    if (!value) return value.error();
    target = *value;
    return {};
  };
  return add(std::move(path), ValueKind::boolean, std::move(help), set,
             [&target] { return target ? "true" : "false"; });
}

ConfigKey& ConfigTable::add_ranged(std::string path, ValueKind kind, std::int64_t minimum, std::int64_t maximum,
                                   std::string help, std::function<void(std::int64_t)> set,
                                   std::function<std::int64_t()> get) {
  const auto parse_and_set = [=](const std::string& text) -> Result<void> {
    const auto value = parse_ranged(kind, text);
    if (!value) return value.error();
    if (*value < minimum || *value > maximum) {
      return Error{Code::invalid, "'" + text + "' is out of range: " + print_ranged(kind, minimum) + " to " +
                                      print_ranged(kind, maximum)};
    }
    set(*value);
    return {};
  };
  const auto print = [kind, get] { return print_ranged(kind, get()); };
  ConfigKey& key = add(std::move(path), kind, std::move(help), parse_and_set, print);
  key.minimum = minimum;
  key.maximum = maximum;
  return key;
}

ConfigKey& ConfigTable::add_integer(std::string path, int& target, int minimum, int maximum, std::string help) {
  return add_ranged(
      std::move(path), ValueKind::integer, minimum, maximum, std::move(help),
      [&target](std::int64_t value) { target = static_cast<int>(value); }, [&target] { return std::int64_t{target}; });
}

ConfigKey& ConfigTable::add_integer(std::string path, std::size_t& target, std::size_t minimum, std::size_t maximum,
                                    std::string help) {
  return add_ranged(
      std::move(path), ValueKind::integer, static_cast<std::int64_t>(minimum), static_cast<std::int64_t>(maximum),
      std::move(help), [&target](std::int64_t value) { target = static_cast<std::size_t>(value); },
      [&target] { return static_cast<std::int64_t>(target); });
}

ConfigKey& ConfigTable::add_size(std::string path, std::size_t& target, std::size_t minimum, std::size_t maximum,
                                 std::string help) {
  return add_ranged(
      std::move(path), ValueKind::size, static_cast<std::int64_t>(minimum), static_cast<std::int64_t>(maximum),
      std::move(help), [&target](std::int64_t value) { target = static_cast<std::size_t>(value); },
      [&target] { return static_cast<std::int64_t>(target); });
}

ConfigKey& ConfigTable::add_duration(std::string path, std::chrono::milliseconds& target,
                                     std::chrono::milliseconds minimum, std::chrono::milliseconds maximum,
                                     std::string help) {
  return add_ranged(
      std::move(path), ValueKind::duration, minimum.count(), maximum.count(), std::move(help),
      [&target](std::int64_t value) { target = std::chrono::milliseconds(value); },
      [&target] { return std::int64_t{target.count()}; });
}

ConfigKey& ConfigTable::add_seconds(std::string path, std::chrono::milliseconds& target, int minimum, int maximum,
                                    std::string help) {
  return add_ranged(
      std::move(path), ValueKind::integer, minimum, maximum, std::move(help),
      [&target](std::int64_t value) { target = std::chrono::seconds(value); },
      [&target] { return std::int64_t{std::chrono::duration_cast<std::chrono::seconds>(target).count()}; });
}

ConfigKey& ConfigTable::add_choice_by_index(std::string path, std::vector<std::string> names,
                                            std::function<void(std::size_t)> select,
                                            std::function<std::size_t()> selected, std::string help) {
  const auto set = [names, select = std::move(select)](const std::string& text) -> Result<void> {
    for (std::size_t i = 0; i < names.size(); ++i) {
      if (!equals_ignoring_case(names[i], text)) continue;
      select(i);
      return {};
    }
    return Error{Code::invalid, "'" + text + "' is not allowed; allowed: " + joined(names)};
  };
  ConfigKey& key = add(std::move(path), ValueKind::choice, std::move(help), set,
                       [names, selected = std::move(selected)] { return names[selected()]; });
  key.choices = std::move(names);
  return key;
}

ConfigKey& ConfigTable::add_address(std::string path, std::optional<ListenAddress>& target, std::string help) {
  const auto set = [&target](const std::string& text) -> Result<void> {
    if (text.empty() || equals_ignoring_case(text, "off")) {
      target.reset();
      return {};
    }
    auto address = parse_listen_address(text);
    if (!address) return address.error();
    target = std::move(*address);
    return {};
  };
  return add(std::move(path), ValueKind::address, std::move(help), set,
             [&target] { return target ? to_string(*target) : std::string("off"); });
}

ConfigKey& ConfigTable::add_addresses(std::string path, std::vector<ListenAddress>& target, std::string help) {
  const auto print = [&target] {
    std::vector<std::string> items;
    for (const ListenAddress& address : target) items.push_back(to_string(address));
    return items;
  };
  ConfigKey& key = keys_.emplace_back();
  key.path = std::move(path);
  key.kind = ValueKind::address;
  key.help = std::move(help);
  key.fallback = joined(print());
  key.is_list = true;
  key.get = print;
  key.set = [&target](const std::vector<std::string>& items) -> Result<void> {
    if (items.empty()) return Error{Code::invalid, "the list is empty; it needs at least one address"};
    std::vector<ListenAddress> addresses;
    for (const std::string& item : items) {
      auto address = parse_listen_address(item);
      if (!address) return address.error();
      addresses.push_back(std::move(*address));
    }
    target = std::move(addresses);
    return {};
  };
  return key;
}

ConfigKey& ConfigTable::add_texts(std::string path, std::vector<std::string>& target, std::string help, TextCheck check) {
  ConfigKey& key = keys_.emplace_back();
  key.path = std::move(path);
  key.help = std::move(help);
  key.fallback = joined(target);
  key.is_list = true;
  key.get = [&target] { return target; };
  key.set = [&target, check = std::move(check)](const std::vector<std::string>& items) -> Result<void> {
    for (const std::string& item : items) {
      if (auto checked = check(item); !checked) return checked;
    }
    target = items;
    return {};
  };
  return key;
}

void ConfigTable::declare_item(const ConfigList& list, std::optional<std::size_t> index) {
  const std::size_t lists_before = lists_.size();
  const std::size_t keys_before = keys_.size();
  list.declare(*this, list.path + (index ? ":" + std::to_string(*index) : "[]"), index);
  CHECK(keys_.size() > keys_before && lists_.size() == lists_before);
  for (std::size_t i = keys_before; i < keys_.size(); ++i) {
    CHECK(keys_[i].flag_name.empty());
    for (const std::string& alias : keys_[i].aliases) CHECK(alias.starts_with(list.path));
    keys_[i].list = list.path;
    keys_[i].is_pattern = !index;
  }
}

void ConfigTable::set_items(const ConfigList& list, std::size_t count) {
  CHECK(count <= list.most);
  std::erase_if(keys_, [&list](const ConfigKey& key) { return key.list == list.path && !key.is_pattern; });
  list.resize(count);
  for (std::size_t i = 0; i < count; ++i) declare_item(list, i);
}

bool ConfigTable::is_ignored(std::string_view path) const {
  return !ignored_root_.empty() && path.starts_with(ignored_root_ + ":");
}

const ConfigKey* ConfigTable::find(std::string_view path) const {
  for (const ConfigKey& key : keys_) {
    if (key.path == path) return &key;
  }
  return nullptr;
}

}  // namespace outrigger::app
