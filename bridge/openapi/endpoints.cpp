#include "bridge/openapi/endpoints.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <set>
#include <tuple>

#include "bridge/openapi/document.h"
#include "bridge/openapi/reader.h"

namespace outrigger::openapi {

using base::Code;
using base::Error;
using base::Result;
using nlohmann::json;

namespace {

std::optional<std::chrono::milliseconds> parse_timeout(const json& value) {
  if (!value.is_string()) return std::nullopt;
  const std::string& text = value.get_ref<const std::string&>();
  const auto digits = std::min(text.find_first_not_of("0123456789"), text.size());
  if (digits == 0 || digits > 9) return std::nullopt;
  const std::int64_t count = std::stoll(text.substr(0, digits));
  const std::string_view unit = std::string_view(text).substr(digits);
  std::int64_t factor = 0;
  if (unit == "ms") factor = 1;
  if (unit == "s") factor = 1000;
  if (unit == "m") factor = 60 * 1000;
  if (unit == "h") factor = 3600 * 1000;
  const std::chrono::milliseconds timeout(count * factor);
  if (timeout.count() < 1 || timeout > kLongestTimeout) return std::nullopt;
  return timeout;
}

// Reads one extension after the other, each from the operation, else its path item, else the document. What cannot be
// read is passed over for the next outer level, and told once for each place it stands at.
class Extensions {
 public:
  explicit Extensions(std::vector<std::string>& remarks) : remarks_(remarks) {}
  void at(std::string where, const json& document, const json& item, const json& operation) {
    where_ = std::move(where);
    levels_ = {&operation, &item, &document};
  }
  // `read` sets what it reads and returns whether it could.
  template <class F>
  void read(const char* name, const char* expected, const F& read) {
    for (const json* level : levels_) {
      const auto found = level->find(name);
      if (found == level->end()) continue;
      if (read(*found)) return;
      if (!told_.insert(&*found).second || remarks_.size() >= kRemarks) continue;
      const std::size_t dot = level == levels_[0] ? where_.size() : level == levels_[1] ? where_.rfind('.') : 0;
      remarks_.push_back(where_.substr(0, dot) + (dot == 0 ? "" : ".") + name + ": expected " + expected);
    }
  }
  // `security` is no extension: an operation's, else the document's; path items have none.
  void read_security(Endpoint& endpoint) {
    for (const json* level : {levels_[0], levels_[2]}) {
      const auto found = level->find("security");
      if (found == level->end()) continue;
      std::string problem;
      endpoint.security = openapi::read_security(*levels_[2], *found, problem);
      if (!problem.empty() && told_.insert(&*found).second && remarks_.size() < kRemarks) {
        remarks_.push_back((level == levels_[0] ? where_ + "." : std::string()) + "security" + problem +
                           "; nobody is let in by it");
      }
      return;
    }
  }

 private:
  std::vector<std::string>& remarks_;
  std::string where_;
  std::array<const json*, 3> levels_{};
  std::set<const json*> told_;
};

bool is_claim_text(const std::string& text) {
  return text.size() <= kClaimBytes &&
         std::none_of(text.begin(), text.end(), [](unsigned char c) { return c < ' ' || c == 0x7f; });
}

// The value of a claim: text, or a number or boolean as it would be written; null asks for none.
bool read_claim(std::string name, const json& value, std::vector<Claim>& claims) {
  Claim claim{std::move(name), std::nullopt};
  if (value.is_string()) {
    claim.value = value.get<std::string>();
  } else if (value.is_boolean() || value.is_number_integer()) {
    claim.value = value.dump();
  } else if (!value.is_null()) {
    return false;
  }
  if (claim.name.empty() || !is_claim_text(claim.name) || (claim.value && !is_claim_text(*claim.value))) return false;
  claims.push_back(std::move(claim));
  return claims.size() <= kClaims;
}

// ["name", "name=value", {"type": "name", "value": "value"}] or {"name": "value", "other": ["a", "b"], "present": null}
bool read_claims(const json& value, std::vector<Claim>& claims) {
  const auto read_values = [&claims](const std::string& name, const json& values) {
    if (!values.is_array()) return read_claim(name, values, claims);
    return !values.empty() &&
           std::all_of(values.begin(), values.end(), [&](const json& one) { return read_claim(name, one, claims); });
  };
  if (value.is_object()) {
    for (const auto& [name, values] : value.items()) {
      if (!read_values(name, values)) return false;
    }
    return true;
  }
  if (!value.is_array()) return false;
  for (const json& one : value) {
    if (one.is_string()) {
      const std::string& text = one.get_ref<const std::string&>();
      const auto equals = text.find('=');
      const json part = equals == std::string::npos ? json() : json(text.substr(equals + 1));
      if (!read_claim(text.substr(0, equals), part, claims)) return false;
    } else {
      if (!one.is_object() || !one.contains("type") || !one["type"].is_string()) return false;
      if (!read_values(one["type"].get<std::string>(), one.value("value", json()))) return false;
    }
  }
  return true;
}

void read_extensions(Extensions& extensions, Endpoint& endpoint) {
  extensions.read("x-router-repeatable", "true or false", [&endpoint](const json& value) {
    if (value.is_boolean()) endpoint.repeatable = value.get<bool>();
    return value.is_boolean();
  });
  // For its remark alone; see is_hidden.
  extensions.read("x-router-hidden", "true or false (taken for true)",
                  [](const json& value) { return value.is_boolean(); });
  extensions.read("x-router-timeout", "a text such as \"30s\" or \"500ms\", up to 24h", [&endpoint](const json& value) {
    endpoint.timeout = parse_timeout(value);
    return endpoint.timeout.has_value();
  });
  bool is_readable = true;
  extensions.read(
      "x-router-claims",
      "a list such as [\"scope=orders:read\"], or an object such as {\"scope\": \"orders:read\"}; nobody is let "
      "in until it is one",
      [&](const json& value) {
        if (!is_readable) return true;  // no outer level takes the place of what was meant here
        endpoint.claims.clear();
        if (!read_claims(value, endpoint.claims)) is_readable = false;
        return is_readable;
      });
  if (!is_readable) endpoint.claims = {Claim{}};
  extensions.read_security(endpoint);
}

}  // namespace

Result<std::vector<Endpoint>> endpoints_of(const json& document, std::vector<std::string>& remarks) {
  std::vector<Endpoint> endpoints;
  const auto paths = document.find("paths");
  if (paths == document.end()) return endpoints;
  Extensions extensions(remarks);

  for (const auto& [path, path_item] : paths->items()) {
    if (path.rfind("x-", 0) == 0) continue;
    if (path.empty() || path.front() != '/') return Error{Code::invalid, "paths." + path + ": does not begin with /"};
    const json* item = resolve_path_item(document, path_item);
    if (item == nullptr)
      return Error{Code::invalid, "paths." + path + ": not an object, or a $ref outside the document"};
    for (const char* key : kOperations) {
      const auto operation = item->find(key);
      if (operation == item->end()) continue;
      std::string where = "paths." + path + "." + key;
      if (!operation->is_object()) return Error{Code::invalid, where + ": not an object"};
      if (endpoints.size() == kEndpoints) {
        return Error{Code::too_large, "more than " + std::to_string(kEndpoints) + " operations"};
      }
      Endpoint endpoint;
      endpoint.method = key;
      for (char& c : endpoint.method) c = static_cast<char>(c - 'a' + 'A');
      endpoint.path = base_path_of(document, *item, *operation) + path;
      endpoint.hidden = is_hidden(document, *item, *operation);
      extensions.at(std::move(where), document, *item, *operation);
      read_extensions(extensions, endpoint);
      endpoints.push_back(std::move(endpoint));
    }
  }
  const auto place = [](const Endpoint& endpoint) { return std::tie(endpoint.path, endpoint.method); };
  std::stable_sort(endpoints.begin(), endpoints.end(),
                   [&place](const Endpoint& a, const Endpoint& b) { return place(a) < place(b); });
  endpoints.erase(std::unique(endpoints.begin(), endpoints.end(),
                              [&place](const Endpoint& a, const Endpoint& b) { return place(a) == place(b); }),
                  endpoints.end());
  return endpoints;
}

std::optional<Endpoint> parse_operation(std::string_view text) {
  const auto space = text.find(' ');
  if (space == 0 || space == std::string_view::npos) return std::nullopt;
  const std::string_view method = text.substr(0, space);
  const std::string_view path = text.substr(space + 1);
  if (method.find_first_not_of("ABCDEFGHIJKLMNOPQRSTUVWXYZ") != std::string_view::npos) return std::nullopt;
  if (path.empty() || path.front() != '/') return std::nullopt;
  if (std::any_of(path.begin(), path.end(), [](char c) { return c <= ' ' || c > '~' || c == '?' || c == '#'; })) return std::nullopt;
  Endpoint endpoint{std::string(method), std::string(path), true, std::nullopt, true};
  endpoint.undocumented = true;
  return endpoint;
}

namespace {

// `/a/{id}/b` and `/a/{key}/b` are one template.
std::string without_names(std::string_view path) {
  std::string text;
  bool is_name = false;
  for (const char c : path) {
    if (c == '}') is_name = false;
    if (!is_name) text += c;
    if (c == '{') is_name = true;
  }
  return text;
}

}  // namespace

void mark_repeatable(std::vector<Endpoint>& endpoints, const std::vector<Endpoint>& repeatable, bool adds_unlisted) {
  for (const Endpoint& wanted : repeatable) {
    const std::string path = without_names(wanted.path);
    bool is_listed = false;
    for (Endpoint& endpoint : endpoints) {
      if (endpoint.method != wanted.method || without_names(endpoint.path) != path) continue;
      endpoint.repeatable = is_listed = true;
    }
    if (!is_listed && adds_unlisted) endpoints.push_back(wanted);
  }
}

}  // namespace outrigger::openapi
