// Checks for text keys whose values become parts of names at Valkey; the grammars are those of frames/queue_names.
#pragma once

#include <string>

#include "bridge/base/result.h"
#include "bridge/frames/queue_names.h"

namespace outrigger::app {

inline base::Result<void> check_service_name(const std::string& text) {
  if (frames::is_service_name(text)) return {};
  return base::Error{base::Code::invalid, "'" + text +
                                              "' is not a service name: 1 to 63 of a-z, 0-9, '.', '_', '-', the first "
                                              "a letter or digit"};
}

inline base::Result<void> check_version(const std::string& text) {
  if (frames::is_version_or_region(text)) return {};
  return base::Error{base::Code::invalid, "'" + text + "' must be 1 to 32 of letters, digits, '.', '_', '+', '-'"};
}

// As a version, or empty: none.
inline base::Result<void> check_region(const std::string& text) {
  return text.empty() ? base::Result<void>{} : check_version(text);
}

}  // namespace outrigger::app
