// What `outrigger token check` found, and how it is shown: as text for people, as JSON for programs. Pure values and
// functions.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "bridge/base/clock.h"
#include "bridge/base/header_list.h"
#include "bridge/identity/jwt.h"
#include "bridge/identity/principal.h"

namespace outrigger::cli {

struct TokenReport {
  enum class Outcome : std::uint8_t { accepted, refused, not_verified };
  Outcome outcome = Outcome::accepted;
  // Of a refusal: the step that found it, its name as in metrics and records, what was expected and found, what to do.
  std::string step;
  std::string reason;
  std::string detail;
  std::string hint;
  std::vector<std::string> notes;  // what else an operator should know

  struct Key {
    std::string issuer;  // empty: any
    std::string id;      // may be empty
    std::string algorithm;
    std::string from;  // file, URL or configuration key
  };
  std::optional<Key> key;  // that the signature was found right with

  // What the token says of itself. Without `key` anybody may have written it.
  identity::TokenText token;
  std::optional<identity::Principal> caller;
  base::HeaderList fields;  // that a service is told it by
};

std::string_view name_of(TokenReport::Outcome outcome);
// Of the token's claims only those that verification looks at.
std::string token_text(const TokenReport& report, base::WallMillis now);
nlohmann::ordered_json token_json(const TokenReport& report);

// "3m ago", "in 3m".
std::string distance_text(base::WallMillis at, base::WallMillis now);
// The values of a claim, separated by commas; "" without one. What is very long is cut.
std::string values_text(const std::vector<identity::Claim>& claims, std::string_view name);

}  // namespace outrigger::cli
