#include "bridge/base/header_list.h"

namespace outrigger::base {
namespace {

char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c; }

}  // namespace

bool equals_ignoring_case(std::string_view a, std::string_view b) {
  if (a.size() != b.size()) return false;
  for (std::size_t i = 0; i < a.size(); ++i) {
    if (lower(a[i]) != lower(b[i])) return false;
  }
  return true;
}

bool starts_in_any_spelling(std::string_view name, std::string_view start) {
  if (name.size() < start.size()) return false;
  for (std::size_t i = 0; i < start.size(); ++i) {
    if (spelling_of(name[i]) != spelling_of(start[i])) return false;
  }
  return true;
}

void HeaderList::add(std::string_view name, std::string_view value) {
  // The views may point into this very list: append goes through a copy only in that (rare) case.
  const auto inside = [this](std::string_view view) {
    return !view.empty() && view.data() >= text_.data() && view.data() < text_.data() + text_.size();
  };
  if (inside(name) || inside(value)) {
    const std::string name_copy(name);
    const std::string value_copy(value);
    add(name_copy, value_copy);
    return;
  }
  slots_.push_back({static_cast<std::uint32_t>(text_.size()), static_cast<std::uint32_t>(name.size()),
                    static_cast<std::uint32_t>(value.size())});
  text_.append(name).append(value);
}

std::optional<std::string_view> HeaderList::find(std::string_view name) const {
  for (const HeaderField field : *this) {
    if (equals_ignoring_case(field.name, name)) return field.value;
  }
  return std::nullopt;
}

std::size_t HeaderList::count(std::string_view name) const {
  std::size_t found = 0;
  for (const HeaderField field : *this) found += equals_ignoring_case(field.name, name) ? 1 : 0;
  return found;
}

bool operator==(const HeaderList& a, const HeaderList& b) {
  if (a.size() != b.size()) return false;
  for (std::size_t i = 0; i < a.size(); ++i) {
    if (a[i].name != b[i].name || a[i].value != b[i].value) return false;
  }
  return true;
}

}  // namespace outrigger::base
