#include "bridge/frames/dead_letter.h"

#include <algorithm>
#include <charconv>
#include <utility>
#include <vector>

namespace outrigger::frames {
namespace {

constexpr std::size_t kDetailBytes = 4096;  // of what is written for people

std::uint64_t number_of(std::string_view text) {
  std::uint64_t value = 0;
  const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), value);
  return failure == std::errc() && end == text.data() + text.size() ? value : 0;
}

base::Result<Request> read_request(FrameDecoder& decoder, std::span<const EntryField> fields) {
  auto frame = decoder.decode(fields);
  if (!frame) return frame.error();
  if (Request* request = std::get_if<Request>(&*frame)) return std::move(*request);
  return base::Error{base::Code::malformed, "it is no REQUEST"};
}

}  // namespace

std::string_view name_of(DeadReason reason) {
  switch (reason) {
    case DeadReason::exhausted:
      return "exhausted";
    case DeadReason::outcome_unknown:
      return "outcome-unknown";
    case DeadReason::restored:
      return "restored";
    case DeadReason::expired:
      return "expired";
  }
  return "unknown";
}

bool is_dead_reason(std::string_view text) {
  return !text.empty() && text.size() <= 64 &&
         std::all_of(text.begin(), text.end(), [](char c) { return (c >= 'a' && c <= 'z') || c == '-'; });
}

DeadLetter read_dead_letter(FrameDecoder& decoder, const QueueNames& names, std::span<const EntryField> fields) {
  std::vector<EntryField> of_frame;
  DeadLetter letter{base::Error{base::Code::malformed, {}}, {}, {}, {}, 0, 0, {}, {}};
  for (const EntryField& field : fields) {
    if (field.name.size() == 1) {
      of_frame.push_back(field);
    } else if (field.name == "reason" && is_dead_reason(field.value)) {
      letter.reason = field.value;
    } else if (field.name == "queue" && names.is_request_queue(field.value)) {
      letter.queue = field.value;
    } else if (field.name == "entry" && is_entry_id(field.value)) {
      letter.entry = field.value;
    } else if (field.name == "attempts") {
      letter.attempts = number_of(field.value);
    } else if (field.name == "first_seen") {
      letter.first_seen_ms = number_of(field.value);
    } else if (field.name == "instance" && is_process_id(field.value)) {
      letter.instance = field.value;
    } else if (field.name == "detail") {
      letter.detail = field.value.substr(0, kDetailBytes);
    }
  }
  letter.request = read_request(decoder, of_frame);
  return letter;
}

}  // namespace outrigger::frames
