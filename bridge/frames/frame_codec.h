// The bytes of frames: one stream entry of the fields `v` `t` `h` `b` per frame, and CANCEL as one JSON text. The
// grammar is docs/protocol.md; nothing here knows sockets. Encoding is free of state; a FrameDecoder belongs to one
// thread.
#pragma once

#include <array>
#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "bridge/base/result.h"
#include "bridge/frames/frame.h"
#include "bridge/frames/queue_names.h"

namespace outrigger::frames {

struct EntryField {
  std::string_view name;
  std::string_view value;
};

// The arguments of one XADD after the id. Views into the EncodedFrame it was asked from.
class EntryFields {
 public:
  const EntryField* begin() const { return fields_.data(); }
  const EntryField* end() const { return fields_.data() + size_; }
  std::size_t size() const { return size_; }
  const EntryField* data() const { return fields_.data(); }

 private:
  friend struct EncodedFrame;
  std::array<EntryField, 4> fields_;
  std::size_t size_ = 0;
};

struct EncodedFrame {
  FrameType type = FrameType::hello;
  std::string head;       // one JSON object
  std::string_view body;  // into the frame it was made from

  // The views die when this or the frame does, or when this is moved.
  EntryFields fields() const;
};

// Errors: too_large (head, entry or control frame above its limit of base/limits.h), invalid (a member has bytes its
// kind may not have, such as CR in a header value, or a number above 2^53-1). Nothing else of the frame is checked:
// what a process says of itself is right. Frames with a body are taken as lvalues only, because `body` points into
// them.
base::Result<EncodedFrame> encode(const InstanceFrame& frame);
base::Result<EncodedFrame> encode(const EndpointsUpdate& frame);
base::Result<EncodedFrame> encode(const ResyncRequest& frame);
base::Result<EncodedFrame> encode(const Request& frame);
base::Result<EncodedFrame> encode(const Response& frame);
base::Result<EncodedFrame> encode(const StreamData& frame);
base::Result<EncodedFrame> encode(const Accept& frame);
base::Result<EncodedFrame> encode(const Credit& frame);
base::Result<EncodedFrame> encode(Request&&) = delete;
base::Result<EncodedFrame> encode(Response&&) = delete;
base::Result<EncodedFrame> encode(StreamData&&) = delete;

// CANCEL never stands in a stream: this text is published on the channel and kept in the sorted set. Errors as above.
base::Result<std::string> encode_cancel(const Cancel& frame);
// LOOK, published on the channel and kept nowhere.
std::string encode_look();

// Reads what others wrote. Every byte is untrusted: limits come before allocations, and no detail of an error repeats a
// byte of the input. Holds a buffer for a head and a parser that grows to some 15 times the largest head seen (under 1
// MiB): one per worker, kept.
class FrameDecoder {
 public:
  // `names` must outlive the decoder.
  explicit FrameDecoder(const QueueNames& names);
  ~FrameDecoder();
  FrameDecoder(const FrameDecoder&) = delete;
  FrameDecoder& operator=(const FrameDecoder&) = delete;

  // One stream entry. Unknown fields and members are ignored. Errors:
  //   unsupported  version or type is not one of ours: count it, skip it
  //   too_large    above a limit of base/limits.h
  //   malformed    not the grammar; the detail names the field or member
  //   forbidden    a name of a queue or key is not of its configured kind; the detail names the member
  base::Result<Frame> decode(std::span<const EntryField> fields);

  // The text of a message on a channel, or of CANCEL in the sorted set. Errors as above.
  base::Result<Message> decode_message(std::string_view text);

 private:
  struct State;
  const QueueNames& names_;
  std::unique_ptr<State> state_;
};

}  // namespace outrigger::frames
