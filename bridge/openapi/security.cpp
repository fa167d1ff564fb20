#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>

#include "bridge/openapi/document.h"

namespace outrigger::openapi {

using nlohmann::json;

namespace {

// Who checks what a scheme asks for.
enum class Checker { gateway, service, nobody };

const SecurityAlternative kNobody{{std::string()}};

std::string lower_text_of(const json& object, const char* key) {
  const auto found = object.find(key);
  if (found == object.end() || !found->is_string()) return {};
  std::string text = found->get<std::string>();
  for (char& c : text) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  return text;
}

Checker checker_of(const json* scheme) {
  if (scheme == nullptr) return Checker::nobody;
  const std::string type = lower_text_of(*scheme, "type");
  if (type == "oauth2" || type == "openidconnect") return Checker::gateway;
  if (type == "apikey" || type == "mutualtls") return Checker::service;
  if (type != "http") return Checker::nobody;
  const std::string name = lower_text_of(*scheme, "scheme");  // RFC 9110 section 11.1: in any case
  if (name == "bearer") return Checker::gateway;
  // IANA's registry of HTTP authentication schemes; a name that is not there is a slip of the pen.
  constexpr std::array<std::string_view, 13> kOthers = {
      "basic",     "concealed", "digest",       "dpop",        "gnap",          "hoba", "mutual",
      "negotiate", "oauth",     "privatetoken", "scram-sha-1", "scram-sha-256", "vapid"};
  return std::find(kOthers.begin(), kOthers.end(), name) != kOthers.end() ? Checker::service : Checker::nobody;
}

// RFC 6749 section 3.3, scope-token.
bool is_scope(const std::string& text) {
  return !text.empty() && text.size() <= kScopeBytes &&
         std::all_of(text.begin(), text.end(), [](char c) { return c > ' ' && c <= '~' && c != '"' && c != '\\'; });
}

bool read_scopes(const json& list, std::vector<std::string>& scopes) {
  if (!list.is_array()) return false;
  for (const json& scope : list) {
    if (!scope.is_string() || !is_scope(scope.get_ref<const std::string&>())) return false;
    scopes.push_back(scope.get<std::string>());
    if (scopes.size() > kSecurityScopes) return false;
  }
  return true;
}

// The scheme of this name, references followed; nullptr if there is none.
const json* find_scheme(const json& document, const std::string& name) {
  const json* at = &document;
  for (const std::string& key : {std::string("components"), std::string("securitySchemes"), name}) {
    const auto found = at->find(key);
    if (found == at->end() || !found->is_object()) return nullptr;
    at = &*found;
  }
  return resolve_path_item(document, *at);
}

// All schemes of one alternative; nothing if it asks for no token. `problem` says why nobody satisfies it.
std::optional<SecurityAlternative> read_alternative(const json& document, const json& requirement,
                                                    std::string& problem) {
  if (!requirement.is_object()) {
    problem = ": expected an object such as {\"oauth\": [\"orders:read\"]}";
    return kNobody;
  }
  SecurityAlternative alternative;
  bool needs_token = false;
  for (const auto& [name, scopes] : requirement.items()) {
    const json* scheme = find_scheme(document, name);
    const Checker checker = checker_of(scheme);
    if (checker == Checker::service) continue;
    needs_token = true;
    if (checker == Checker::gateway && read_scopes(scopes, alternative.scopes)) continue;
    problem = "." + name +
              (scheme == nullptr            ? ": components.securitySchemes has no such scheme"
               : checker == Checker::nobody ? ": its scheme in components.securitySchemes is of no known type"
                                            : ": expected a list of at most " + std::to_string(kSecurityScopes) +
                                                  " scopes without spaces and quotes");
    return kNobody;
  }
  if (!needs_token) return std::nullopt;
  std::sort(alternative.scopes.begin(), alternative.scopes.end());
  alternative.scopes.erase(std::unique(alternative.scopes.begin(), alternative.scopes.end()), alternative.scopes.end());
  return alternative;
}

}  // namespace

Security read_security(const json& document, const json& security, std::string& problem) {
  const auto refuse = [&problem](std::string why) -> Security {
    problem = std::move(why);
    return {kNobody};
  };
  if (!security.is_array()) return refuse(": expected a list such as [{\"oauth\": [\"orders:read\"]}]");
  if (security.size() > kSecurityAlternatives) {
    return refuse(": more than " + std::to_string(kSecurityAlternatives) + " alternatives");
  }
  Security alternatives;
  std::size_t scopes = 0;
  bool is_open = false;
  for (std::size_t i = 0; i < security.size(); ++i) {
    std::string why;
    auto alternative = read_alternative(document, security[i], why);
    if (!why.empty() && problem.empty()) problem = "[" + std::to_string(i) + "]" + why;
    is_open = is_open || !alternative;
    if (!alternative || std::find(alternatives.begin(), alternatives.end(), *alternative) != alternatives.end())
      continue;
    scopes += alternative->scopes.size();
    alternatives.push_back(*std::move(alternative));
  }
  // Whoever has nothing may take the alternative that asks for nothing.
  if (is_open) return {};
  if (scopes > kSecurityScopes) return refuse(": more than " + std::to_string(kSecurityScopes) + " scopes");
  return alternatives;
}

}  // namespace outrigger::openapi
