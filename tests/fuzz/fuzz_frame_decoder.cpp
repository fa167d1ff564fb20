// The frame decoder. Input: the type's number as one byte, the head up to a line feed (compact JSON has none), the
// body. Type 7 is the text of a CANCEL. What decodes must encode, and decode again to the same frame.
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <variant>

#include "bridge/base/check.h"
#include "bridge/frames/frame_codec.h"

namespace {

using namespace outrigger::frames;
using outrigger::base::Code;
using outrigger::base::Result;

// Encoding may make a frame longer (escapes, defaults written out), so it may pass a limit; nothing else may go wrong.
template <class Encoded>
bool is_sendable(const Result<Encoded>& encoded) {
  CHECK(encoded || encoded.error().code == Code::too_large);
  return encoded.has_value();
}

void check_round_trip(FrameDecoder& decoder, const Frame& frame) {
  std::visit(
      [&](const auto& value) {
        if constexpr (!std::is_same_v<std::decay_t<decltype(value)>, Cancel>) {
          const Result<EncodedFrame> encoded = encode(value);
          if (!is_sendable(encoded)) return;
          const Result<Frame> again = decoder.decode(encoded->fields());
          CHECK(again && *again == frame);
        }
      },
      frame);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const QueueNames names = QueueNames::make({}).value();
  static FrameDecoder decoder(names);
  if (size == 0) return 0;
  const std::string type = std::to_string(data[0]);
  const std::string_view rest(reinterpret_cast<const char*>(data) + 1, size - 1);
  if (data[0] == static_cast<std::uint8_t>(FrameType::cancel)) {
    if (const Result<Message> message = decoder.decode_message(rest)) {
      const auto* cancel = std::get_if<Cancel>(&*message);
      const Result<std::string> text = cancel == nullptr ? Result<std::string>(encode_look()) : encode_cancel(*cancel);
      if (is_sendable(text)) CHECK(decoder.decode_message(*text).value() == *message);
    }
    return 0;
  }
  const std::size_t line = rest.find('\n');
  const std::string_view body = line == std::string_view::npos ? std::string_view() : rest.substr(line + 1);
  const EntryField fields[] = {{"v", "1"}, {"t", type}, {"h", rest.substr(0, line)}, {"b", body}};
  if (const Result<Frame> frame = decoder.decode(fields)) check_round_trip(decoder, *frame);
  return 0;
}
