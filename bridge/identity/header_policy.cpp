#include "bridge/identity/header_policy.h"

#include "bridge/base/check.h"

namespace outrigger::identity {
namespace {

constexpr std::size_t kNameBytes = 256;

// RFC 9110 section 5.6.2.
bool is_token(std::string_view text) {
  for (const char c : text) {
    if (base::spelling_of(c) == '-' && std::string_view("!#$%&'*+-.^_`|~").find(c) == std::string_view::npos) return false;
  }
  return !text.empty();
}

}  // namespace

HeaderPolicy::HeaderPolicy() {
  CHECK(assign({}).has_value());
}

base::Result<HeaderPolicy> HeaderPolicy::make(const HeaderNames& names) {
  HeaderPolicy policy;
  if (auto assigned = policy.assign(names); !assigned) return assigned.error();
  return policy;
}

base::Result<void> HeaderPolicy::assign(const HeaderNames& names) {
  entries_.clear();
  first_characters_ = {};
  const auto reserve = [this](const std::string& text, bool is_prefix) -> base::Result<void> {
    if (!is_token(text) || text.size() > kNameBytes) {
      return base::Error{base::Code::invalid, "reserved header \"" + text + "\" is not a field name"};
    }
    add(text, is_prefix);
    return {};
  };
  for (const std::string& text : names.reserved_prefixes) {
    if (auto reserved = reserve(text, true); !reserved) return reserved;
  }
  for (const std::string& text : names.reserved_names) {
    if (auto reserved = reserve(text, false); !reserved) return reserved;
  }
  // What is set must never be believed: services cannot tell who set it.
  if (auto reserved = reserve(names.prefix, true); !reserved) return reserved;
  if (auto reserved = reserve(names.legacy_prefix, true); !reserved) return reserved;
  names_ = names;
  const auto field = [&names](std::string_view last) {
    return FieldNames{names.prefix + std::string(last), names.legacy_prefix + std::string(last)};
  };
  tenant_ = field("Tenant");
  project_ = field("Project");
  actor_ = field("Actor");
  scopes_ = field("Scopes");
  return {};
}

void HeaderPolicy::add(std::string_view text, bool is_prefix) {
  Entry entry{std::string(text), is_prefix};
  for (char& c : entry.text) c = base::spelling_of(c);
  first_characters_[static_cast<unsigned char>(entry.text.front())] = true;
  entries_.push_back(std::move(entry));
}

bool HeaderPolicy::is_reserved(std::string_view name) const {
  if (name.empty() || !first_characters_[static_cast<unsigned char>(base::spelling_of(name.front()))]) return false;
  for (const Entry& entry : entries_) {
    if (entry.is_prefix ? name.size() < entry.text.size() : name.size() != entry.text.size()) continue;
    std::size_t i = 0;
    while (i < entry.text.size() && base::spelling_of(name[i]) == entry.text[i]) ++i;
    if (i == entry.text.size()) return true;
  }
  return false;
}

std::size_t HeaderPolicy::strip_reserved(base::HeaderList& fields) const {
  const std::size_t before = fields.size();
  fields.remove_if([this](base::HeaderField field) { return is_reserved(field.name); });
  return before - fields.size();
}

std::string HeaderPolicy::requested(const base::HeaderList& fields, const FieldNames& names) {
  for (const std::string* name : {&names.name, &names.legacy}) {
    std::string value;
    bool is_there = false;
    for (const base::HeaderField field : fields) {
      if (!base::equals_ignoring_case(field.name, *name) || (is_there && field.value == value)) continue;
      if (is_there) value += ',';
      value += field.value;
      is_there = true;
    }
    if (is_there) return value;
  }
  return {};
}

void HeaderPolicy::add_field(base::HeaderList& fields, const FieldNames& names, std::string_view value) const {
  if (value.empty()) return;
  fields.add(names.name, value);
  if (names_.sets_legacy) fields.add(names.legacy, value);
}

void HeaderPolicy::add_identity(base::HeaderList& fields, const Principal& principal) const {
  add_field(fields, tenant_, principal.tenant);
  add_field(fields, project_, principal.project);
  add_field(fields, actor_, principal.actor);
  std::string scopes;
  for (const std::string& scope : principal.scopes) scopes.append(scopes.empty() ? "" : " ").append(scope);
  add_field(fields, scopes_, scopes);
}

void HeaderPolicy::strip_from_answer(base::HeaderList& fields) const {
  fields.remove_if([this](base::HeaderField field) {
    if (!is_reserved(field.name)) return false;
    for (const Entry& entry : entries_) {
      if (entry.is_prefix && base::starts_in_any_spelling(field.name, entry.text) &&
          base::starts_in_any_spelling(field.name.substr(entry.text.size()), "Identity-Envelope")) {
        return true;
      }
    }
    return false;
  });
}

}  // namespace outrigger::identity
