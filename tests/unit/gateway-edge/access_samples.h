// Principals and requirements as the tests of access read them.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "gateway-edge/access_rules.h"

namespace outrigger::gateway {

inline identity::Principal somebody(std::vector<std::string> scopes, std::vector<identity::Claim> claims = {}) {
  identity::Principal principal;
  principal.is_anonymous = false;
  principal.scopes = std::move(scopes);
  principal.claims = std::move(claims);
  return principal;
}
inline identity::Principal nobody() {
  return identity::Principal{};
}

// "200", "401", "403 scope orders:write"
inline std::string text_of(const AccessDecision& decision) {
  switch (decision.kind) {
    case AccessDecision::Kind::allowed:
      return "200" + decision.missing;
    case AccessDecision::Kind::unauthenticated:
      return "401" + decision.missing;
    case AccessDecision::Kind::forbidden:
      return "403" + (decision.missing.empty() ? "" : " " + decision.missing);
  }
  return "";
}

inline AccessRule add_rule(std::string service, std::string method, std::string path, std::vector<std::string> scopes) {
  return {std::move(service), std::move(method), std::move(path), AccessRule::Mode::add, false, std::move(scopes), {}};
}
// Without scopes: anyone.
inline AccessRule override_rule(std::string service, std::string method, std::string path,
                                std::vector<std::string> scopes = {}) {
  const bool is_open = scopes.empty();
  return {std::move(service),
          std::move(method),
          std::move(path),
          AccessRule::Mode::override,
          is_open,
          std::move(scopes),
          {}};
}

}  // namespace outrigger::gateway
