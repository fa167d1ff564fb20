// The grammars of names that become parts of keys at Valkey (docs/protocol.md): checks for text keys.
#pragma once

#include <string>
#include <string_view>

#include "bridge/base/result.h"

namespace outrigger::app {

// [a-z0-9][a-z0-9._-]{0,62}
inline base::Result<void> check_service_name(const std::string& text) {
  constexpr std::string_view kFirst = "abcdefghijklmnopqrstuvwxyz0123456789";
  constexpr std::string_view kRest = "abcdefghijklmnopqrstuvwxyz0123456789._-";
  if (!text.empty() && text.size() <= 63 && kFirst.find(text[0]) != std::string_view::npos &&
      text.find_first_not_of(kRest) == std::string::npos) {
    return {};
  }
  return base::Error{base::Code::invalid,
                     "'" + text + "' is not a service name: 1 to 63 of a-z, 0-9, '.', '_', '-', the first a letter or digit"};
}

// [A-Za-z0-9._+-]{1,32}
inline base::Result<void> check_version(const std::string& text) {
  constexpr std::string_view kAllowed = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._+-";
  if (!text.empty() && text.size() <= 32 && text.find_first_not_of(kAllowed) == std::string::npos) return {};
  return base::Error{base::Code::invalid,
                     "'" + text + "' must be 1 to 32 of letters, digits, '.', '_', '+', '-'"};
}

// As a version, or empty: none.
inline base::Result<void> check_region(const std::string& text) {
  return text.empty() ? base::Result<void>{} : check_version(text);
}

}  // namespace outrigger::app
