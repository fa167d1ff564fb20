#include "bridge/base/result.h"

#include <cstdio>
#include <cstdlib>

namespace outrigger::base {

std::string_view name_of(Code code) {
  switch (code) {
    case Code::closed: return "closed";
    case Code::refused: return "refused";
    case Code::deadline: return "deadline";
    case Code::overloaded: return "overloaded";
    case Code::malformed: return "malformed";
    case Code::too_large: return "too-large";
    case Code::not_found: return "not-found";
    case Code::unsupported: return "unsupported";
    case Code::unauthenticated: return "unauthenticated";
    case Code::forbidden: return "forbidden";
    case Code::invalid: return "invalid";
    case Code::upstream_failed: return "upstream-failed";
    case Code::outcome_unknown: return "outcome-unknown";
  }
  return "unknown";
}

void check_failed(const char* expression, const char* file, int line) noexcept {
  std::fprintf(stderr, "CHECK failed: %s at %s:%d\n", expression, file, line);
  std::abort();
}

}  // namespace outrigger::base
