#include "bridge/identity/header_policy.h"

namespace outrigger::identity {
namespace {

constexpr std::size_t kNameBytes = 256;

constexpr std::array<char, 256> make_normal_form() {
  std::array<char, 256> table{};
  for (std::size_t i = 0; i < table.size(); ++i) {
    const char c = static_cast<char>(i);
    if ((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9')) {
      table[i] = c;
    } else if (c >= 'A' && c <= 'Z') {
      table[i] = static_cast<char>(c - 'A' + 'a');
    } else {
      table[i] = '-';
    }
  }
  return table;
}
constexpr std::array<char, 256> kNormalForm = make_normal_form();

char normal(char c) {
  return kNormalForm[static_cast<unsigned char>(c)];
}

// RFC 9110 section 5.6.2.
bool is_token(std::string_view text) {
  for (const char c : text) {
    if (normal(c) == '-' && std::string_view("!#$%&'*+-.^_`|~").find(c) == std::string_view::npos) return false;
  }
  return !text.empty();
}

}  // namespace

HeaderPolicy::HeaderPolicy() {
  for (const std::string_view prefix : {"X-StellaOps-", "X-Stella-"}) add(prefix, true);
  for (const std::string_view name : {"sub", "tid", "scope", "scp", "cnf"}) add(name, false);
}

base::Result<HeaderPolicy> HeaderPolicy::make(const std::vector<std::string>& prefixes,
                                              const std::vector<std::string>& names) {
  HeaderPolicy policy;
  policy.entries_.clear();
  policy.first_characters_ = {};
  for (const auto* list : {&prefixes, &names}) {
    for (const std::string& text : *list) {
      if (!is_token(text) || text.size() > kNameBytes) {
        return base::Error{base::Code::invalid, "reserved header \"" + text + "\" is not a field name"};
      }
      policy.add(text, list == &prefixes);
    }
  }
  return policy;
}

void HeaderPolicy::add(std::string_view text, bool is_prefix) {
  Entry entry{std::string(text), is_prefix};
  for (char& c : entry.text) c = normal(c);
  first_characters_[static_cast<unsigned char>(entry.text.front())] = true;
  entries_.push_back(std::move(entry));
}

bool HeaderPolicy::is_reserved(std::string_view name) const {
  if (name.empty() || !first_characters_[static_cast<unsigned char>(normal(name.front()))]) return false;
  for (const Entry& entry : entries_) {
    if (entry.is_prefix ? name.size() < entry.text.size() : name.size() != entry.text.size()) continue;
    std::size_t i = 0;
    while (i < entry.text.size() && normal(name[i]) == entry.text[i]) ++i;
    if (i == entry.text.size()) return true;
  }
  return false;
}

std::size_t HeaderPolicy::strip_reserved(base::HeaderList& fields) const {
  const std::size_t before = fields.size();
  fields.remove_if([this](base::HeaderField field) { return is_reserved(field.name); });
  return before - fields.size();
}

}  // namespace outrigger::identity
