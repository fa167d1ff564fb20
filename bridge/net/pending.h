// Pending: an operation under way. Destroying the handle cancels it; after that its completion does not run. The
// operation's memory belongs to the handle.
#pragma once

#include <memory>

namespace outrigger::net {

class PendingOperation {
 public:
  virtual ~PendingOperation() = default;
};

class [[nodiscard]] Pending {
 public:
  Pending() = default;
  explicit Pending(std::unique_ptr<PendingOperation> operation) : operation_(std::move(operation)) {}
  void cancel() { operation_.reset(); }
  explicit operator bool() const { return operation_ != nullptr; }

 private:
  std::unique_ptr<PendingOperation> operation_;
};

}  // namespace outrigger::net
