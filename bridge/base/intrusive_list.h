// IntrusiveList: a doubly linked list whose nodes live inside the elements. Linking and unlinking are O(1); a hook
// unlinks itself when destroyed, and unlinking twice is harmless. The list owns nothing.
#pragma once

#include "bridge/base/check.h"

namespace outrigger::base {

class ListHook {
 public:
  ListHook() = default;
  ListHook(const ListHook&) = delete;
  ListHook& operator=(const ListHook&) = delete;
  ~ListHook() { unlink(); }

  bool is_linked() const { return next_ != this; }
  void unlink() {
    previous_->next_ = next_;
    next_->previous_ = previous_;
    next_ = previous_ = this;
  }

 private:
  template <class T, ListHook T::*Hook>
  friend class IntrusiveList;
  ListHook* next_ = this;
  ListHook* previous_ = this;
};

template <class T, ListHook T::*Hook>
class IntrusiveList {
 public:
  IntrusiveList() = default;
  IntrusiveList(const IntrusiveList&) = delete;
  IntrusiveList& operator=(const IntrusiveList&) = delete;
  // Elements that are still linked are left unlinked; they belong to somebody else.
  ~IntrusiveList() {
    while (!empty()) head_.next_->unlink();
  }

  bool empty() const { return head_.next_ == &head_; }
  void push_back(T& element) {
    ListHook& hook = element.*Hook;
    DCHECK(!hook.is_linked());
    hook.previous_ = head_.previous_;
    hook.next_ = &head_;
    head_.previous_->next_ = &hook;
    head_.previous_ = &hook;
  }
  // nullptr when empty.
  T* front() { return empty() ? nullptr : owner(head_.next_); }
  T* back() { return empty() ? nullptr : owner(head_.previous_); }

 private:
  static T* owner(ListHook* hook) {
    // Offset of the hook inside T, computed on an address that is never dereferenced.
    alignas(T) static unsigned char probe[sizeof(T)];
    T* base = reinterpret_cast<T*>(probe);
    const auto offset = reinterpret_cast<unsigned char*>(&(base->*Hook)) - probe;
    return reinterpret_cast<T*>(reinterpret_cast<unsigned char*>(hook) - offset);
  }
  ListHook head_;
};

}  // namespace outrigger::base
