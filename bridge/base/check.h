// CHECK: an invariant whose violation would corrupt data or leak between clients; aborts in every build.
// DCHECK: the same, where going on is harmless; only in debug and sanitizer builds.
#pragma once

namespace outrigger::base {
[[noreturn]] void check_failed(const char* expression, const char* file, int line) noexcept;
}

#define CHECK(expression)                                                                     \
  (static_cast<bool>(expression) ? static_cast<void>(0)                                       \
                                 : ::outrigger::base::check_failed(#expression, __FILE__, __LINE__))

#ifdef OUTRIGGER_DEBUG_CHECKS
#define DCHECK(expression) CHECK(expression)
#else
#define DCHECK(expression) static_cast<void>(sizeof(!(expression)))
#endif
