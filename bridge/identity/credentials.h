// What the head of a request says of who sent it, and what of that may hold: the token, and the tenant and scopes that it
// asks for instead of the token's. docs/identity.md has the rules. Pure functions; any thread.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <variant>

#include "bridge/base/header_list.h"
#include "bridge/identity/header_policy.h"
#include "bridge/identity/principal.h"

namespace outrigger::identity {

// Codes of the original protocol.
inline constexpr std::string_view kScopeHeaderForbidden = "ERR_SCOPE_HEADER_FORBIDDEN";
inline constexpr std::string_view kTenantOverrideForbidden = "ERR_TENANT_OVERRIDE_FORBIDDEN";

struct Credentials {
  enum class Kind : std::uint8_t {
    none,  // or of a scheme that is not ours
    bearer,
    unclear,  // several Authorization fields, or a Bearer without one token (RFC 6750 section 2.1)
  };
  Kind kind = Kind::none;
  std::string token;
  std::string tenant;  // asked for by a field; only if overrides are on
  std::optional<std::string> scopes;
};

// REQUIRES fields as they came, before any are stripped.
Credentials read_credentials(const base::HeaderList& fields, const HeaderPolicy& policy, bool enable_tenant_override);

// A request that may not be what it asks to be.
struct OverrideRefusal {
  std::string_view code;
  std::string_view detail;  // for the client: nothing of the token
};
// What the request asks to be instead of `who`, as far as it may; `who` itself if that is nothing else.
std::variant<std::shared_ptr<const Principal>, OverrideRefusal> apply_overrides(const std::shared_ptr<const Principal>& who,
                                                                                const Credentials& credentials,
                                                                                bool allow_scope_header);

}  // namespace outrigger::identity
