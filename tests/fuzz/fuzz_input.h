// Reads a fuzz target's input piece by piece: option bytes first, then lines or records of text, so that a corpus can
// be written and read by people.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>

namespace outrigger::fuzz {

class Input {
 public:
  Input(const std::uint8_t* data, std::size_t size) : text_(reinterpret_cast<const char*>(data), size) {}

  bool empty() const { return text_.empty(); }
  // 0 at the end.
  std::uint8_t byte() {
    if (text_.empty()) return 0;
    const auto first = static_cast<std::uint8_t>(text_.front());
    text_.remove_prefix(1);
    return first;
  }
  // Up to `end`, which is taken off with it, or all that is left.
  std::string_view until(char end) {
    const std::size_t at = std::min(text_.find(end), text_.size());
    const std::string_view piece = text_.substr(0, at);
    text_.remove_prefix(std::min(at + 1, text_.size()));
    return piece;
  }
  std::string_view line() { return until('\n'); }
  std::string_view rest() const { return text_; }

 private:
  std::string_view text_;
};

// Calls use(piece) for each piece of `piece_size` bytes, while it returns true. Each is in memory of its own, so that a
// sanitizer sees any read beyond it.
template <class Use>
void for_each_piece(std::string_view bytes, std::size_t piece_size, Use use) {
  while (!bytes.empty()) {
    const std::size_t size = std::min(piece_size, bytes.size());
    const auto piece = std::make_unique<char[]>(size);
    bytes.copy(piece.get(), size);
    bytes.remove_prefix(size);
    if (!use(std::string_view(piece.get(), size))) return;
  }
}

}  // namespace outrigger::fuzz
