// What the frame tests share: the default names, encoding of any frame, a decoder, and random frames from a seed.
#pragma once

#include <random>
#include <string>
#include <type_traits>
#include <variant>
#include <vector>

#include "bridge/base/check.h"
#include "bridge/frames/frame_codec.h"

namespace outrigger::frames {

// Fields of an entry that own their text.
using OwnedEntry = std::vector<std::pair<std::string, std::string>>;

inline const QueueNames& default_names() {
  static const QueueNames names = QueueNames::make({}).value();
  return names;
}

inline base::Result<OwnedEntry> encode_any(const Frame& frame) {
  return std::visit(
      [](const auto& value) -> base::Result<OwnedEntry> {
        if constexpr (std::is_same_v<std::decay_t<decltype(value)>, Cancel>) {
          base::Result<std::string> text = encode_cancel(value);
          if (!text) return text.error();
          return OwnedEntry{{"cancel", *text}};
        } else {
          base::Result<EncodedFrame> encoded = encode(value);
          if (!encoded) return encoded.error();
          OwnedEntry entry;
          for (const EntryField& field : encoded->fields()) entry.emplace_back(field.name, field.value);
          return entry;
        }
      },
      frame);
}

inline base::Result<Frame> decode_any(FrameDecoder& decoder, const OwnedEntry& entry) {
  if (entry.size() == 1 && entry[0].first == "cancel") {
    base::Result<Message> message = decoder.decode_message(entry[0].second);
    if (!message) return message.error();
    return Frame(std::get<Cancel>(std::move(*message)));
  }
  std::vector<EntryField> fields;
  for (const auto& [name, value] : entry) fields.push_back({name, value});
  return decoder.decode(fields);
}

class FrameGenerator {
 public:
  static constexpr int kKinds = 12;  // every FrameType

  explicit FrameGenerator(unsigned seed) : random_(seed) {}

  std::uint64_t below(std::uint64_t bound) {
    return std::uniform_int_distribution<std::uint64_t>(0, bound - 1)(random_);
  }

  // A frame of the kind `kind` in [0, kKinds), with any mix of its optional members.
  Frame frame(int kind) {
    switch (kind) {
      case 0:
        return instance_frame(FrameType::hello);
      case 1:
        return instance_frame(FrameType::heartbeat);
      case 2:
        return instance_frame(FrameType::goodbye);
      case 3:
        return request();
      case 4:
        return response();
      case 5:
        return stream_data(FrameType::request_stream_data);
      case 6:
        return stream_data(FrameType::response_stream_data);
      case 7:
        return Cancel{id(), any_text()};
      case 8:
        return ResyncRequest{hex(20), maybe(letters(32)), any_text()};
      case 9:
        return EndpointsUpdate{hex(20), number(), letters(8), maybe("1.2+x"), "abc_DEF-1", "router:endpoints:a:b"};
      case 10:
        return Accept{id(), hex(20), attempt(), "router:inbox:a:" + hex(20), static_cast<WakeMode>(below(2))};
      default:
        return Credit{id(), hex(20), attempt(), number()};
    }
  }

 private:
  std::string from(std::string_view alphabet, std::size_t size) {
    std::string out;
    while (out.size() < size) out += alphabet[below(alphabet.size())];
    return out;
  }
  std::string hex(std::size_t size) { return from("0123456789abcdef", size); }
  std::string letters(std::size_t size) { return from("abcdefghijklmnopqrstuvwxyz", size); }
  std::string id() { return from("ABCXYZabcxyz0189_-", 16 + below(49)); }
  std::string token() { return from("!#$%&'*+-.^_`|~azAZ09", 1 + below(12)); }
  std::string maybe(std::string text) { return below(2) == 0 ? std::string() : text; }
  std::string bytes(std::size_t max, bool (*may)(unsigned char)) {
    std::string out;
    for (std::size_t left = below(max + 1); left > 0; --left) {
      const auto c = static_cast<unsigned char>(below(256));
      if (may(c)) out += static_cast<char>(c);
    }
    return out;
  }
  std::string any_text() {
    return bytes(40, [](unsigned char) { return true; });
  }
  std::string value() {
    return bytes(40, [](unsigned char c) { return (c >= 0x20 && c != 0x7F) || c == '\t'; });
  }
  std::string target() {
    return bytes(40, [](unsigned char c) { return c > 0x20 && c != 0x7F; });
  }
  std::uint64_t number() { return 1 + below(below(2) == 0 ? 1000 : (std::uint64_t{1} << 53) - 1); }
  std::uint32_t attempt() { return static_cast<std::uint32_t>(1 + below(1000)); }
  bool coin() { return below(2) == 0; }
  base::HeaderList headers() {
    base::HeaderList list;
    for (std::size_t left = below(6); left > 0; --left) list.add(token(), value());
    return list;
  }

  Frame instance_frame(FrameType type) {
    InstanceFrame frame;
    frame.type = type;
    frame.instance = hex(20);
    frame.seq = number();
    frame.service = letters(1 + below(63));
    frame.service_version = maybe("1.0.0");
    frame.region = maybe("eu-west");
    frame.name = any_text();
    for (std::size_t left = below(5); left > 0; --left) frame.queues.push_back("router:requests:" + letters(5));
    frame.group = "router-gateway";
    frame.inbox = "router:inbox:a:" + hex(20);
    frame.state = static_cast<InstanceState>(below(4));
    frame.interval_ms = static_cast<std::uint32_t>(1 + below(3'600'000));
    frame.wake = static_cast<WakeMode>(below(2));
    frame.metadata_hash = maybe(hex(64));
    frame.min_version = static_cast<int>(1 + below(3));
    frame.max_version = frame.min_version + static_cast<int>(below(3));
    return frame;
  }
  Frame request() {
    Request frame;
    frame.id = id();
    frame.method = token();
    frame.target = "/" + target();
    frame.scheme = coin() ? "http" : "https";
    frame.authority = target();
    frame.headers = headers();
    frame.reply_to = "router:responses:" + hex(20) + ".0.1";
    frame.deadline_ms = static_cast<std::int64_t>(number());
    frame.bus = hex(40) + "." + hex(40);
    frame.repeatable = coin();
    frame.max_attempts = attempt();
    frame.traceparent = value();
    frame.tracestate = value();
    if (coin()) {
      frame.streamed.emplace();
      if (coin()) frame.streamed->length = number();
    } else {
      frame.body = any_text();
    }
    if (coin()) {
      frame.origin = Origin{std::to_string(number()) + "-" + std::to_string(below(1000)), id(), letters(1 + below(64)),
                            number()};
    }
    frame.wake = static_cast<WakeMode>(below(2));
    return frame;
  }
  Frame response() {
    Response frame;
    frame.id = id();
    frame.instance = hex(20);
    frame.attempt = attempt();
    if (coin()) {
      frame.status = static_cast<int>(200 + below(800));
      frame.reason = value();
    } else {
      frame.fault = static_cast<Fault>(below(7));
      frame.detail = any_text();
    }
    frame.headers = headers();
    frame.end = coin();
    if (coin()) frame.length = number();
    frame.service_ms = static_cast<std::uint32_t>(below(std::uint64_t{1} << 32));
    if (coin()) frame.queue_ms = number();
    frame.body = any_text();
    return frame;
  }
  Frame stream_data(FrameType type) {
    StreamData frame;
    frame.type = type;
    frame.id = id();
    frame.instance = hex(20);
    frame.attempt = attempt();
    frame.seq = number();
    frame.end = coin();
    frame.abort = coin();
    frame.detail = any_text();
    frame.body = any_text();
    return frame;
  }

  std::mt19937 random_;
};

}  // namespace outrigger::frames
