// HeaderList: header fields in the order they came, repeated ones kept apart. One string holds all the text, so that a
// list of twenty fields costs two allocations. Shared by frames (layer 2) and http1 (layer 4).
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace outrigger::base {

// True if `a` and `b` are equal but for the case of ASCII letters (RFC 9110 section 5.1: names are case-insensitive).
bool equals_ignoring_case(std::string_view a, std::string_view b);
// A character of a field name as CGI, WSGI and their likes see it: letters in one case, and everything but letters and
// digits the same, here `-`. To them X_Forwarded.For is X-Forwarded-For.
constexpr char spelling_of(char c) {
  const bool is_plain = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
  return is_plain ? c : c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : '-';
}
// True if `name` begins with `start` in any such spelling.
bool starts_in_any_spelling(std::string_view name, std::string_view start);

struct HeaderField {
  std::string_view name;
  std::string_view value;
};

class HeaderList {
 public:
  // Appends a field. Total text is limited to 4 GiB; callers limit it long before.
  void add(std::string_view name, std::string_view value);

  std::size_t size() const { return slots_.size(); }
  bool empty() const { return slots_.empty(); }
  std::size_t text_bytes() const { return text_.size(); }
  // The field at `index` < size(). The views die with the next add, remove or set.
  HeaderField operator[](std::size_t index) const {
    const Slot& slot = slots_[index];
    return {std::string_view(text_).substr(slot.at, slot.name_size),
            std::string_view(text_).substr(slot.at + slot.name_size, slot.value_size)};
  }

  class Iterator {
   public:
    Iterator(const HeaderList& list, std::size_t index) : list_(&list), index_(index) {}
    HeaderField operator*() const { return (*list_)[index_]; }
    Iterator& operator++() {
      ++index_;
      return *this;
    }
    bool operator!=(const Iterator& other) const { return index_ != other.index_; }

   private:
    const HeaderList* list_;
    std::size_t index_;
  };
  Iterator begin() const { return {*this, 0}; }
  Iterator end() const { return {*this, slots_.size()}; }

  // The first value of `name` (any case), if there is one.
  std::optional<std::string_view> find(std::string_view name) const;
  std::size_t count(std::string_view name) const;

  // Removes every field for which `predicate(HeaderField)` is true; order of the others stays.
  template <class Predicate>
  void remove_if(Predicate predicate) {
    std::size_t kept = 0;
    for (std::size_t i = 0; i < slots_.size(); ++i) {
      if (!predicate((*this)[i])) slots_[kept++] = slots_[i];
    }
    slots_.resize(kept);
  }
  void remove(std::string_view name) {
    remove_if([name](HeaderField field) { return equals_ignoring_case(field.name, name); });
  }
  // Removes every field called `name`, then appends one.
  void set(std::string_view name, std::string_view value) {
    remove(name);
    add(name, value);
  }
  void reserve(std::size_t fields, std::size_t text) {
    slots_.reserve(fields);
    text_.reserve(text);
  }
  void clear() {
    slots_.clear();
    text_.clear();
  }

  // Same fields in the same order; names compared byte for byte.
  friend bool operator==(const HeaderList& a, const HeaderList& b);

 private:
  struct Slot {
    std::uint32_t at;
    std::uint32_t name_size;
    std::uint32_t value_size;
  };
  std::string text_;
  std::vector<Slot> slots_;
};

}  // namespace outrigger::base
