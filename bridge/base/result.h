// Result<T>: a value or an Error. The project's way to report what went wrong where exceptions are not used: on every
// loop callback and in every parser. Member names follow std::expected, which neither gcc 12 nor clang 14 has.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <variant>

#include "bridge/base/check.h"

namespace outrigger::base {

// A closed list: what the caller does next depends on the code alone. `detail` is for logs, never for clients.
enum class Code : std::uint8_t {
  closed,           // the connection or object is gone; nothing was written
  refused,          // the peer refused (connection refused, definite server error)
  deadline,         // the deadline passed
  overloaded,       // a limit of ours or the peer's (OOM, queue full) was reached
  malformed,        // bytes that do not follow the grammar
  too_large,        // a size limit was passed
  not_found,        // the named thing is not there
  unsupported,      // well-formed, but not something we do
  unauthenticated,  // credentials missing or wrong
  forbidden,        // credentials fine, action not allowed
  invalid,          // bad configuration or argument
  upstream_failed,  // the service broke off before its answer was complete
  outcome_unknown,  // written, and then the connection was lost: it may or may not have taken effect
};

// The code's name as written above; stable, used in logs and metrics.
std::string_view name_of(Code code);

struct Error {
  Code code;
  std::string detail;
};

template <class T>
class [[nodiscard]] Result {
 public:
  Result(T value) : state_(std::in_place_index<0>, std::move(value)) {}      // NOLINT: implicit by design
  Result(Error error) : state_(std::in_place_index<1>, std::move(error)) {}  // NOLINT: implicit by design

  bool has_value() const { return state_.index() == 0; }
  explicit operator bool() const { return has_value(); }

  // REQUIRES has_value().
  T& value() & {
    CHECK(has_value());
    return *std::get_if<0>(&state_);
  }
  const T& value() const& {
    CHECK(has_value());
    return *std::get_if<0>(&state_);
  }
  T&& value() && {
    CHECK(has_value());
    return std::move(*std::get_if<0>(&state_));
  }
  T& operator*() & { return value(); }
  const T& operator*() const& { return value(); }
  T&& operator*() && { return std::move(*this).value(); }
  T* operator->() { return &value(); }
  const T* operator->() const { return &value(); }

  // REQUIRES !has_value().
  const Error& error() const {
    CHECK(!has_value());
    return *std::get_if<1>(&state_);
  }

 private:
  std::variant<T, Error> state_;
};

template <>
class [[nodiscard]] Result<void> {
 public:
  Result() = default;
  Result(Error error) : error_(std::move(error)), ok_(false) {}  // NOLINT: implicit by design

  bool has_value() const { return ok_; }
  explicit operator bool() const { return ok_; }
  // REQUIRES !has_value().
  const Error& error() const {
    CHECK(!ok_);
    return error_;
  }

 private:
  Error error_{Code::closed, {}};
  bool ok_ = true;
};

}  // namespace outrigger::base
