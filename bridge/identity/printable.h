// What strangers wrote, made fit for a log line or a terminal. Any thread.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace outrigger::identity {

inline constexpr std::size_t kPrintableBytes = 64;  // enough to recognise a key id or an issuer

// In quotes: at most `most` bytes of `text`, then "..."; every byte that is not visible ASCII, and `"` and `\`, as `?`.
inline std::string printable(std::string_view text, std::size_t most = kPrintableBytes) {
  std::string shown = "\"";
  for (const char c : text.substr(0, most)) {
    shown += c >= ' ' && c <= '~' && c != '"' && c != '\\' ? c : '?';
  }
  shown += text.size() > most ? "...\"" : "\"";
  return shown;
}

}  // namespace outrigger::identity
