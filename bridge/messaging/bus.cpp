#include "bridge/messaging/bus.h"

#include <charconv>

namespace outrigger::messaging {

std::string to_string(EntryId id) { return std::to_string(id.ms) + "-" + std::to_string(id.seq); }

std::optional<EntryId> parse_entry_id(std::string_view text) {
  EntryId id;
  const char* end = text.data() + text.size();
  const auto [dash, ms_problem] = std::from_chars(text.data(), end, id.ms);
  if (ms_problem != std::errc() || dash == end || *dash != '-') return std::nullopt;
  const auto [stop, seq_problem] = std::from_chars(dash + 1, end, id.seq);
  if (seq_problem != std::errc() || stop != end) return std::nullopt;
  return id;
}

}  // namespace outrigger::messaging
