// DeadLetter: a REQUEST that was given up, as it stands in the dead stream of its service: the frame's own fields, and
// notes beside them (docs/protocol.md, "Dead letters"). Pure values; nothing here knows sockets.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "bridge/base/result.h"
#include "bridge/frames/frame_codec.h"

namespace outrigger::frames {

// Why a request was given up. The names are stored in Valkey and frozen; a reader meets others, too.
enum class DeadReason : std::uint8_t {
  exhausted,        // begun as often as it may be, without an answer
  outcome_unknown,  // may have been run, and may not be run twice
  restored,         // written under another incarnation of the bus, and may not be run twice
  expired,          // its deadline passed before it was begun
};
inline constexpr int kDeadReasons = 4;
std::string_view name_of(DeadReason reason);
// What a reason looks like, known or not: 1 to 64 of a-z and -.
bool is_dead_reason(std::string_view text);

struct DeadLetter {
  // An unreadable one is still listed and can be deleted; the error is FrameDecoder's.
  base::Result<Request> request;
  // The notes. Any that is missing or not of its form is empty, or 0.
  std::string reason;
  std::string queue;  // the address it came from
  std::string entry;  // its id there
  std::uint64_t attempts = 0;
  std::uint64_t first_seen_ms = 0;  // Valkey's clock
  std::string instance;             // the sidecar that gave it up
  std::string detail;               // for people: any bytes
};

// Any fields; never fails as a whole. The frame's limits hold for its own fields alone.
DeadLetter read_dead_letter(FrameDecoder& decoder, const QueueNames& names, std::span<const EntryField> fields);

}  // namespace outrigger::frames
