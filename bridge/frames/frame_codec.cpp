#include "bridge/frames/frame_codec.h"

#include <simdjson.h>

#include <algorithm>
#include <cstring>
#include <limits>
#include <optional>
#include <utility>

#include "bridge/base/check.h"
#include "bridge/base/limits.h"
#include "bridge/frames/dead_letter.h"

namespace outrigger::frames {
namespace {

using base::Code;
using base::Error;
using base::Result;
namespace limits = base::limits;
namespace dom = simdjson::dom;

// Integers stay exact in every JSON reader, those that only know doubles included.
constexpr std::uint64_t kMaxInteger = (std::uint64_t{1} << 53) - 1;
constexpr std::uint64_t kMaxAttempt = 1000;
constexpr std::uint64_t kMaxIntervalMs = 3'600'000;
constexpr std::size_t kMaxQueues = 16;

// ---- Strings: bytes on our side, U+0000..U+00FF on the wire. One table drives the writer, the reader and the checks.

using ByteClass = std::uint8_t;
constexpr ByteClass kEscaped = 1;        // cannot stand in a JSON string as it is
constexpr ByteClass kHigh = 2;           // 0x80 and above: two bytes of UTF-8
constexpr ByteClass kControl = 4;        // 0x00-0x1F but tab, 0x7F
constexpr ByteClass kBlank = 8;          // space and tab
constexpr ByteClass kNotToken = 16;      // RFC 9110 section 5.6.2
constexpr ByteClass kNotPrintable = 32;  // outside 0x21-0x7E

constexpr std::array<ByteClass, 256> make_byte_classes() {
  std::array<ByteClass, 256> classes{};
  constexpr std::string_view kTokenMarks = "!#$%&'*+-.^_`|~";
  for (unsigned c = 0; c < 256; ++c) {
    const bool is_alphanumeric = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
    ByteClass bits = 0;
    if (c < 0x20 || c == '"' || c == '\\') bits |= kEscaped;
    if (c >= 0x80) bits |= kHigh;
    if ((c < 0x20 && c != '\t') || c == 0x7F) bits |= kControl;
    if (c == ' ' || c == '\t') bits |= kBlank;
    if (!is_alphanumeric && (c >= 0x80 || kTokenMarks.find(static_cast<char>(c)) == std::string_view::npos)) {
      bits |= kNotToken;
    }
    if (c <= 0x20 || c >= 0x7F) bits |= kNotPrintable;
    classes[c] = bits;
  }
  return classes;
}
constexpr std::array<ByteClass, 256> kByteClasses = make_byte_classes();
constexpr ByteClass class_of(char c) {
  return kByteClasses[static_cast<unsigned char>(c)];
}

// What a string may hold, as the classes it may not.
constexpr ByteClass kAnyText = 0;  // for people and logs
constexpr ByteClass kFieldValue = kControl;
constexpr ByteClass kTarget = kControl | kBlank;
constexpr ByteClass kToken = kNotToken;
constexpr ByteClass kPrintable = kNotPrintable;

// The first byte from `at` on that is of a class in `stops`, or the end. Four at a time: most strings have none.
std::size_t find_class(std::string_view bytes, std::size_t at, ByteClass stops) {
  for (; bytes.size() - at >= 4; at += 4) {
    const char* four = bytes.data() + at;
    if (((class_of(four[0]) | class_of(four[1]) | class_of(four[2]) | class_of(four[3])) & stops) != 0) break;
  }
  while (at < bytes.size() && (class_of(bytes[at]) & stops) == 0) ++at;
  return at;
}

// Appends `bytes` as a JSON string. False if a byte is of a class in `forbidden`.
bool append_json_string(std::string& out, std::string_view bytes, ByteClass forbidden) {
  constexpr char kHex[] = "0123456789abcdef";
  const ByteClass stops = kEscaped | kHigh | forbidden;
  out += '"';
  for (std::size_t run = 0;;) {
    const std::size_t i = find_class(bytes, run, stops);
    out.append(bytes, run, i - run);
    if (i == bytes.size()) break;
    const ByteClass bits = class_of(bytes[i]);
    if ((bits & forbidden) != 0) return false;
    run = i + 1;
    const auto c = static_cast<unsigned char>(bytes[i]);
    if ((bits & kHigh) != 0) {
      out += static_cast<char>(0xC0 | (c >> 6));
      out += static_cast<char>(0x80 | (c & 0x3F));
    } else if (c == '"' || c == '\\') {
      out += '\\';
      out += static_cast<char>(c);
    } else if (c == '\t') {
      out += "\\t";
    } else {
      out += "\\u00";
      out += kHex[c >> 4];
      out += kHex[c & 15];
    }
  }
  out += '"';
  return true;
}

// The bytes that valid UTF-8 `text` stands for: `text` itself where it is ASCII, else `scratch`. None if a code point
// is above U+00FF or a byte of a class in `forbidden`.
std::optional<std::string_view> bytes_of(std::string_view text, ByteClass forbidden, std::string& scratch) {
  const ByteClass stops = kHigh | forbidden;
  std::size_t i = find_class(text, 0, stops);
  if (i == text.size()) return text;
  scratch.assign(text, 0, i);
  for (; i < text.size(); ++i) {
    auto c = static_cast<unsigned char>(text[i]);
    if (c >= 0x80) {
      if ((c != 0xC2 && c != 0xC3) || i + 1 == text.size()) return std::nullopt;
      c = static_cast<unsigned char>((c << 6) | (static_cast<unsigned char>(text[++i]) & 0x3F));
    }
    if ((kByteClasses[c] & forbidden) != 0) return std::nullopt;
    scratch += static_cast<char>(c);
  }
  return scratch;
}

// ---- Writing

std::size_t head_limit(FrameType type) {
  switch (type) {
    case FrameType::request:
    case FrameType::response:
    case FrameType::request_stream_data:
    case FrameType::response_stream_data:
      return limits::kFrameHeadBytes;
    default:
      return limits::kControlFrameBytes;
  }
}

std::size_t entry_limit(FrameType type) {
  return head_limit(type) == limits::kFrameHeadBytes ? limits::kFrameEntryBytes : limits::kControlFrameBytes;
}

static_assert(kMinProtocolVersion == 1 && kMaxProtocolVersion == 1, "the writer knows one version");
constexpr std::string_view kVersionText = "1";

std::string_view type_text(FrameType type) {
  switch (type) {
    case FrameType::hello:
      return "1";
    case FrameType::heartbeat:
      return "2";
    case FrameType::request:
      return "3";
    case FrameType::response:
      return "4";
    case FrameType::request_stream_data:
      return "5";
    case FrameType::response_stream_data:
      return "6";
    case FrameType::cancel:
      return "7";
    case FrameType::resync_request:
      return "8";
    case FrameType::endpoints_update:
      return "9";
    case FrameType::accept:
      return "32";
    case FrameType::goodbye:
      return "33";
    case FrameType::credit:
      return "34";
    case FrameType::look:
      return "35";
  }
  return {};
}

// Writes one object, members in the order of the calls. The first fault is kept and reported by finish().
class HeadWriter {
 public:
  explicit HeadWriter(std::size_t estimate) {
    out_.reserve(estimate);
    out_ += '{';
  }

  void text(std::string_view member, std::string_view value, ByteClass forbidden) {
    key(member);
    if (!append_json_string(out_, value, forbidden)) fail(member);
  }
  void text_unless_empty(std::string_view member, std::string_view value, ByteClass forbidden) {
    if (!value.empty()) text(member, value, forbidden);
  }
  void number(std::string_view member, std::uint64_t value) {
    key(member);
    if (value > kMaxInteger) fail(member);
    out_ += std::to_string(value);
  }
  void number(std::string_view member, std::optional<std::uint64_t> value) {
    if (value) number(member, *value);
  }
  void flag(std::string_view member, bool value) {
    key(member);
    out_ += value ? "true" : "false";
  }
  void flag_if_set(std::string_view member, bool value) {
    if (value) flag(member, true);
  }
  void headers(const base::HeaderList& list) {
    key("headers");
    out_ += '[';
    bool is_first = true;
    for (const base::HeaderField field : list) {
      if (!std::exchange(is_first, false)) out_ += ',';
      out_ += '[';
      const bool is_name = !field.name.empty() && append_json_string(out_, field.name, kToken);
      out_ += ',';
      if (!is_name || !append_json_string(out_, field.value, kFieldValue)) return fail("headers");
      out_ += ']';
    }
    out_ += ']';
  }
  void raw(std::string_view member, std::string_view json) {
    key(member);
    out_ += json;
  }
  void origin(const Origin& origin) {
    key("origin");
    if (!is_entry_id(origin.dead) || !is_request_id(origin.id) || !is_dead_reason(origin.reason) ||
        origin.first_seen_ms > kMaxInteger) {
      return fail("origin");
    }
    out_.append("{\"dead\":\"").append(origin.dead).append("\",\"id\":\"").append(origin.id);
    out_.append("\",\"reason\":\"").append(origin.reason).append("\",\"first_seen\":");
    out_.append(std::to_string(origin.first_seen_ms)).append("}");
  }
  void strings(std::string_view member, const std::vector<std::string>& values) {
    key(member);
    out_ += '[';
    for (std::size_t i = 0; i < values.size(); ++i) {
      if (i != 0) out_ += ',';
      if (!append_json_string(out_, values[i], kPrintable)) return fail(member);
    }
    out_ += ']';
  }

  // The object, at most `limit` bytes long.
  Result<std::string> finish(std::size_t limit) {
    if (!invalid_.empty())
      return Error{Code::invalid, std::string(invalid_).append(" has a value that cannot be sent")};
    out_ += '}';
    if (out_.size() > limit) return Error{Code::too_large, "head is above its limit"};
    return std::move(out_);
  }
  Result<EncodedFrame> finish(FrameType type, std::string_view body = {}) {
    Result<std::string> head = finish(head_limit(type));
    if (!head) return head.error();
    EncodedFrame frame{.type = type, .head = std::move(*head), .body = body};
    std::size_t entry_bytes = 0;
    for (const EntryField& field : frame.fields()) entry_bytes += field.name.size() + field.value.size();
    if (entry_bytes > entry_limit(type)) return Error{Code::too_large, "entry is above its limit"};
    return frame;
  }

 private:
  void key(std::string_view member) {
    if (out_.size() > 1) out_ += ',';
    out_ += '"';
    out_ += member;
    out_ += "\":";
  }
  void fail(std::string_view member) {
    if (invalid_.empty()) invalid_ = member;
  }

  std::string out_;
  std::string_view invalid_;
};

constexpr std::size_t kSmallHead = 256;

// Room for each field's text and its quotes, and for the other members.
std::size_t estimate(const base::HeaderList& headers) {
  return headers.text_bytes() + headers.size() * 8 + 2 * kSmallHead;
}

// ---- Reading

// Every member of every head. Senders write in this order, so the next name is nearly always the first one tried.
constexpr auto kMembers = std::to_array<std::string_view>(
    {"v",         "t",           "gateway",     "id",         "method",        "target",       "scheme",
     "authority", "instance",    "attempt",     "seq",        "status",        "reason",       "headers",
     "reply_to",  "deadline_ms", "bus",         "repeatable", "max_attempts",  "traceparent",  "tracestate",
     "streamed",  "origin",      "fault",       "detail",      "end",        "abort",         "length",       "service_ms",   "queue_ms",
     "bytes",     "service",     "version",     "region",     "name",          "queues",       "group",
     "inbox",     "state",       "interval_ms", "wake",       "metadata_hash", "metadata_key", "protocol"});
static_assert(kMembers.size() <= 64, "HeadReader keeps one bit for each");

// A member's place in kMembers; a name that is not there does not compile.
struct Member {
  consteval Member(const char* name) : index(0) {  // NOLINT: implicit by design
    while (kMembers.at(index) != name) ++index;
  }
  std::size_t index;
};

enum class Presence : std::uint8_t { required, optional };
using enum Presence;

// The known members of one head, and what is wrong with them. The first fault is kept; reading goes on harmlessly.
class HeadReader {
 public:
  HeadReader(const QueueNames& names, std::string& scratch) : names_(names), scratch_(scratch) {}

  void collect(const dom::object& head) {
    std::size_t guess = 0;
    for (const dom::key_value_pair member : head) {
      const std::size_t index = find(member.key, guess);
      if (index == kMembers.size()) continue;
      const std::uint64_t bit = std::uint64_t{1} << index;
      if ((present_ & bit) != 0) fail(Code::malformed, index, "stands twice");
      present_ |= bit;
      values_[index] = member.value;
      guess = index + 1;
    }
  }

  void text(Member member, std::string& out, Presence presence, ByteClass forbidden) {
    if (const std::optional<std::string_view> value = string(member, presence, forbidden)) {
      if (value->empty() && presence == required) return fail(Code::malformed, member.index, "is empty");
      out = *value;
    }
  }
  // A string that `is_valid` must accept; empty counts as absent where that is allowed.
  void checked(Member member, std::string& out, Presence presence, bool (*is_valid)(std::string_view)) {
    if (const std::optional<std::string_view> value = string(member, presence, kPrintable)) {
      if (value->empty() && presence == optional) return;
      if (!is_valid(*value)) return fail(Code::malformed, member.index, "is not of its form");
      out = *value;
    }
  }
  // The name of a queue or key.
  void queue_name(Member member, std::string& out, bool (QueueNames::*is_of_kind)(std::string_view) const) {
    if (const std::optional<std::string_view> value = string(member, required, kAnyText)) {
      if (!(names_.*is_of_kind)(*value)) return fail(Code::forbidden, member.index, "is not a name of its kind");
      out = *value;
    }
  }
  template <class T>
  void number(Member member, T& out, Presence presence, std::uint64_t min, std::uint64_t max) {
    if (const dom::element* element = find(member, presence)) number_in(*element, member, out, min, max);
  }
  void number(Member member, std::optional<std::uint64_t>& out) {
    if (const dom::element* element = find(member, optional))
      number_in(*element, member, out.emplace(), 0, kMaxInteger);
  }
  void flag(Member member, bool& out, Presence presence) {
    const dom::element* element = find(member, presence);
    if (element != nullptr && element->get(out) != simdjson::SUCCESS) {
      fail(Code::malformed, member.index, "is not true or false");
    }
  }
  // One of the enumeration's names, from its first value to `last`. False if the name is none of them.
  template <class E>
  bool choice(Member member, E& out, E last, Presence presence) {
    const std::optional<std::string_view> value = string(member, presence, kAnyText);
    if (!value) return true;
    for (int i = 0; i <= static_cast<int>(last); ++i) {
      if (name_of(static_cast<E>(i)) == *value) {
        out = static_cast<E>(i);
        return true;
      }
    }
    return false;
  }

  void headers(base::HeaderList& out) {
    const Member member = "headers";
    const dom::element* element = find(member, required);
    if (element == nullptr) return;
    dom::array list;
    if (element->get(list) != simdjson::SUCCESS) return fail(Code::malformed, member.index, "is not an array");
    // A head is bounded, so its text is: one pass for the sizes saves the list from growing by doubling.
    std::size_t fields = 0;
    std::size_t text = 0;
    for (const dom::element pair : list) {
      dom::array parts;
      if (pair.get(parts) != simdjson::SUCCESS || parts.size() != 2) {
        return fail(Code::malformed, member.index, "has an item that is no pair");
      }
      for (const dom::element part : parts) {
        std::string_view value;
        if (part.get(value) != simdjson::SUCCESS) {
          return fail(Code::malformed, member.index, "has an item that is no string");
        }
        text += value.size();
      }
      ++fields;
    }
    out.reserve(fields, text);
    for (const dom::element pair : list) {
      dom::array parts;
      std::string_view name;
      std::string_view value;
      if (pair.get(parts) != simdjson::SUCCESS) return;
      dom::array::iterator part = parts.begin();
      if ((*part).get(name) != simdjson::SUCCESS) return;
      ++part;
      if ((*part).get(value) != simdjson::SUCCESS) return;
      // A name is ASCII, so it never lives in the scratch that the value may need.
      const std::optional<std::string_view> name_bytes = bytes_of(name, kToken, scratch_);
      if (!name_bytes || name_bytes->empty()) return fail(Code::malformed, member.index, "has a name that is no token");
      const std::optional<std::string_view> value_bytes = bytes_of(value, kFieldValue, scratch_);
      if (!value_bytes) return fail(Code::malformed, member.index, "has a value with bytes that may not be there");
      out.add(*name_bytes, *value_bytes);
    }
  }

  void queues(std::vector<std::string>& out) {
    const Member member = "queues";
    const dom::element* element = find(member, required);
    if (element == nullptr) return;
    dom::array list;
    if (element->get(list) != simdjson::SUCCESS) return fail(Code::malformed, member.index, "is not an array");
    for (const dom::element item : list) {
      std::string_view name;
      if (item.get(name) != simdjson::SUCCESS) {
        return fail(Code::malformed, member.index, "has an item that is no string");
      }
      if (out.size() == kMaxQueues) return fail(Code::malformed, member.index, "has too many items");
      if (!names_.is_request_queue(name))
        return fail(Code::forbidden, member.index, "has a name that is not of its kind");
      out.emplace_back(name);
    }
  }

  void protocol(int& min, int& max) {
    const Member member = "protocol";
    const dom::element* element = find(member, required);
    if (element == nullptr) return;
    dom::element low;
    dom::element high;
    if ((*element)["min"].get(low) != simdjson::SUCCESS || (*element)["max"].get(high) != simdjson::SUCCESS) {
      return fail(Code::malformed, member.index, "is not an object with min and max");
    }
    number_in(low, member, min, 1, 1000);
    number_in(high, member, max, 1, 1000);
    if (min > max) fail(Code::malformed, member.index, "has min above max");
  }

  void streamed(std::optional<StreamedBody>& out) {
    const Member member = "streamed";
    const dom::element* element = find(member, optional);
    if (element == nullptr) return;
    dom::object object;
    if (element->get(object) != simdjson::SUCCESS) return fail(Code::malformed, member.index, "is not an object");
    out.emplace();
    dom::element length;
    if (object["length"].get(length) == simdjson::SUCCESS) {
      number_in(length, member, out->length.emplace(), 0, kMaxInteger);
    }
  }

  void origin(std::optional<Origin>& out) {
    const Member member = "origin";
    const dom::element* element = find(member, optional);
    if (element == nullptr) return;
    dom::object object;
    if (element->get(object) != simdjson::SUCCESS) return fail(Code::malformed, member.index, "is not an object");
    out.emplace();
    // Each has its form, and all of these are ASCII: nothing to convert.
    const auto text = [&](std::string_view name, std::string& value, bool (*is_valid)(std::string_view)) {
      std::string_view given;
      if (object[name].get(given) != simdjson::SUCCESS || !is_valid(given)) {
        return fail(Code::malformed, member.index, "has a member that is missing or not of its form");
      }
      value = given;
    };
    text("dead", out->dead, is_entry_id);
    text("id", out->id, is_request_id);
    text("reason", out->reason, is_dead_reason);
    dom::element first_seen;
    if (object["first_seen"].get(first_seen) != simdjson::SUCCESS) {
      return fail(Code::malformed, member.index, "has a member that is missing or not of its form");
    }
    number_in(first_seen, member, out->first_seen_ms, 0, kMaxInteger);
  }

  bool has(Member member) const { return (present_ >> member.index & 1) != 0; }
  void fail(Member member, std::string_view what) { fail(Code::malformed, member.index, what); }
  void unsupported(Member member) { fail(Code::unsupported, member.index, "is not one of ours"); }

  // The value if nothing was wrong with it.
  template <class T, class Made>
  Result<T> finish(Made&& made) {
    if (error_) return std::move(*error_);
    return T(std::forward<Made>(made));
  }

 private:
  static std::size_t find(std::string_view name, std::size_t guess) {
    for (std::size_t i = guess; i < kMembers.size(); ++i) {
      if (kMembers[i] == name) return i;
    }
    for (std::size_t i = 0; i < guess; ++i) {
      if (kMembers[i] == name) return i;
    }
    return kMembers.size();
  }

  const dom::element* find(Member member, Presence presence) {
    if (has(member)) return &values_[member.index];
    if (presence == required) fail(Code::malformed, member.index, "is missing");
    return nullptr;
  }

  std::optional<std::string_view> string(Member member, Presence presence, ByteClass forbidden) {
    const dom::element* element = find(member, presence);
    if (element == nullptr) return std::nullopt;
    std::string_view value;
    if (element->get(value) != simdjson::SUCCESS) {
      fail(Code::malformed, member.index, "is not a string");
      return std::nullopt;
    }
    const std::optional<std::string_view> bytes = bytes_of(value, forbidden, scratch_);
    if (!bytes) fail(Code::malformed, member.index, "has bytes that may not be there");
    return bytes;
  }

  template <class T>
  void number_in(const dom::element& element, Member member, T& out, std::uint64_t min, std::uint64_t max) {
    std::uint64_t value = 0;
    if (element.get(value) != simdjson::SUCCESS || value < min || value > max) {
      return fail(Code::malformed, member.index, "is not an integer in its range");
    }
    out = static_cast<T>(value);
  }

  void fail(Code code, std::size_t index, std::string_view what) {
    if (!error_) error_ = Error{code, std::string("member ").append(kMembers[index]).append(" ").append(what)};
  }

  const QueueNames& names_;
  std::string& scratch_;
  std::array<dom::element, kMembers.size()> values_;
  std::uint64_t present_ = 0;
  std::optional<Error> error_;
};

// Decimal digits and nothing else; at most 1,000,000.
std::optional<unsigned> small_number(std::string_view text) {
  if (text.empty() || text.size() > 6) return std::nullopt;
  unsigned value = 0;
  for (const char c : text) {
    if (c < '0' || c > '9') return std::nullopt;
    value = value * 10 + static_cast<unsigned>(c - '0');
  }
  return value;
}

bool is_bus(std::string_view text) {
  return !text.empty() && text.size() <= 128;
}
bool is_group(std::string_view text) {
  return !text.empty() && text.size() <= 128;
}
bool is_scheme(std::string_view text) {
  return text == "http" || text == "https";
}

Result<Frame> read_instance_frame(HeadReader& head, FrameType type) {
  InstanceFrame frame;
  frame.type = type;
  head.checked("instance", frame.instance, required, is_process_id);
  head.number("seq", frame.seq, required, 1, kMaxInteger);
  head.checked("service", frame.service, required, is_service_name);
  head.checked("version", frame.service_version, optional, is_version_or_region);
  head.checked("region", frame.region, optional, is_version_or_region);
  head.text("name", frame.name, optional, kAnyText);
  head.queues(frame.queues);
  head.checked("group", frame.group, required, is_group);
  head.queue_name("inbox", frame.inbox, &QueueNames::is_inbox);
  if (!head.choice("state", frame.state, InstanceState::draining, required)) head.fail("state", "is not known");
  head.number("interval_ms", frame.interval_ms, required, 1, kMaxIntervalMs);
  if (!head.choice("wake", frame.wake, WakeMode::notify, required)) head.fail("wake", "is not known");
  head.checked("metadata_hash", frame.metadata_hash, optional, is_metadata_hash);
  head.protocol(frame.min_version, frame.max_version);
  return head.finish<Frame>(std::move(frame));
}

Result<Frame> read_endpoints_update(HeadReader& head) {
  EndpointsUpdate frame;
  head.checked("instance", frame.instance, required, is_process_id);
  head.number("seq", frame.seq, required, 1, kMaxInteger);
  head.checked("service", frame.service, required, is_service_name);
  head.checked("version", frame.service_version, optional, is_version_or_region);
  head.checked("metadata_hash", frame.metadata_hash, required, is_metadata_hash);
  head.queue_name("metadata_key", frame.metadata_key, &QueueNames::is_endpoints_key);
  return head.finish<Frame>(std::move(frame));
}

Result<Frame> read_resync_request(HeadReader& head) {
  ResyncRequest frame;
  head.checked("gateway", frame.gateway, required, is_process_id);
  head.text("reason", frame.reason, optional, kAnyText);
  head.checked("metadata_hash", frame.metadata_hash, optional, is_metadata_hash);
  return head.finish<Frame>(std::move(frame));
}

// Of REQUEST and ACCEPT. A mode that a newer process has is none that we could wake it by: it has its timer.
void read_wake(HeadReader& head, WakeMode& wake) {
  if (!head.choice("wake", wake, WakeMode::notify, optional)) wake = WakeMode::block;
}

Result<Frame> read_request(HeadReader& head, std::string_view body) {
  Request frame;
  head.checked("id", frame.id, required, is_request_id);
  head.text("method", frame.method, required, kToken);
  head.text("target", frame.target, required, kTarget);
  head.checked("scheme", frame.scheme, required, is_scheme);
  head.text("authority", frame.authority, optional, kTarget);
  head.headers(frame.headers);
  head.queue_name("reply_to", frame.reply_to, &QueueNames::is_reply_stream);
  head.number("deadline_ms", frame.deadline_ms, required, 1, kMaxInteger);
  head.checked("bus", frame.bus, required, is_bus);
  head.flag("repeatable", frame.repeatable, optional);
  head.number("max_attempts", frame.max_attempts, optional, 1, kMaxAttempt);
  head.text("traceparent", frame.traceparent, optional, kFieldValue);
  head.text("tracestate", frame.tracestate, optional, kFieldValue);
  head.streamed(frame.streamed);
  head.origin(frame.origin);
  read_wake(head, frame.wake);
  if (frame.streamed && !body.empty()) head.fail("streamed", "stands beside a body");
  frame.body = body;
  return head.finish<Frame>(std::move(frame));
}

Result<Frame> read_response(HeadReader& head, std::string_view body) {
  Response frame;
  head.checked("id", frame.id, required, is_request_id);
  head.checked("instance", frame.instance, required, is_process_id);
  head.number("attempt", frame.attempt, required, 1, kMaxAttempt);
  head.number("seq", frame.seq, required, 0, 0);
  if (head.has("fault")) {
    if (head.has("status")) head.fail("status", "stands beside a fault");
    // A fault made by a newer sidecar promises nothing that this one knows of.
    if (!head.choice("fault", frame.fault.emplace(), Fault::unavailable, required))
      frame.fault = Fault::outcome_unknown;
  } else {
    head.number("status", frame.status, required, 200, 999);
  }
  head.text("reason", frame.reason, optional, kFieldValue);
  head.headers(frame.headers);
  head.text("detail", frame.detail, optional, kAnyText);
  head.flag("end", frame.end, required);
  head.number("length", frame.length);
  head.number("service_ms", frame.service_ms, optional, 0, std::numeric_limits<std::uint32_t>::max());
  head.number("queue_ms", frame.queue_ms);
  frame.body = body;
  return head.finish<Frame>(std::move(frame));
}

Result<Frame> read_stream_data(HeadReader& head, FrameType type, std::string_view body) {
  StreamData frame;
  frame.type = type;
  head.checked("id", frame.id, required, is_request_id);
  head.checked("instance", frame.instance, required, is_process_id);
  head.number("attempt", frame.attempt, required, 1, kMaxAttempt);
  head.number("seq", frame.seq, required, 1, kMaxInteger);
  head.text("detail", frame.detail, optional, kAnyText);
  head.flag("end", frame.end, optional);
  head.flag("abort", frame.abort, optional);
  frame.body = body;
  return head.finish<Frame>(std::move(frame));
}

Result<Frame> read_accept(HeadReader& head) {
  Accept frame;
  head.checked("id", frame.id, required, is_request_id);
  head.checked("instance", frame.instance, required, is_process_id);
  head.number("attempt", frame.attempt, required, 1, kMaxAttempt);
  head.queue_name("inbox", frame.inbox, &QueueNames::is_inbox);
  read_wake(head, frame.wake);
  return head.finish<Frame>(std::move(frame));
}

Result<Frame> read_credit(HeadReader& head) {
  Credit frame;
  head.checked("id", frame.id, required, is_request_id);
  head.checked("instance", frame.instance, required, is_process_id);
  head.number("attempt", frame.attempt, required, 1, kMaxAttempt);
  head.number("bytes", frame.bytes, required, 1, kMaxInteger);
  return head.finish<Frame>(std::move(frame));
}

bool is_known_in_streams(unsigned type) {
  const bool is_message = type == static_cast<unsigned>(FrameType::cancel) || type == static_cast<unsigned>(FrameType::look);
  return type <= 255 && !is_message &&
         !type_text(static_cast<FrameType>(type)).empty();
}

}  // namespace

EntryFields EncodedFrame::fields() const {
  EntryFields out;
  out.fields_ = {EntryField{"v", kVersionText}, EntryField{"t", type_text(type)}, EntryField{"h", head},
                 EntryField{"b", body}};
  out.size_ = body.empty() ? 3 : 4;
  return out;
}

Result<EncodedFrame> encode(const InstanceFrame& frame) {
  CHECK(frame.type == FrameType::hello || frame.type == FrameType::heartbeat || frame.type == FrameType::goodbye);
  HeadWriter head(2 * kSmallHead);
  head.text("instance", frame.instance, kPrintable);
  head.number("seq", frame.seq);
  head.text("service", frame.service, kPrintable);
  head.text_unless_empty("version", frame.service_version, kPrintable);
  head.text_unless_empty("region", frame.region, kPrintable);
  head.text_unless_empty("name", frame.name, kAnyText);
  head.strings("queues", frame.queues);
  head.text("group", frame.group, kPrintable);
  head.text("inbox", frame.inbox, kPrintable);
  head.text("state", name_of(frame.state), kPrintable);
  head.number("interval_ms", frame.interval_ms);
  head.text("wake", name_of(frame.wake), kPrintable);
  head.text_unless_empty("metadata_hash", frame.metadata_hash, kPrintable);
  head.raw("protocol",
           "{\"min\":" + std::to_string(frame.min_version) + ",\"max\":" + std::to_string(frame.max_version) + "}");
  return head.finish(frame.type);
}

Result<EncodedFrame> encode(const EndpointsUpdate& frame) {
  HeadWriter head(2 * kSmallHead);
  head.text("instance", frame.instance, kPrintable);
  head.number("seq", frame.seq);
  head.text("service", frame.service, kPrintable);
  head.text_unless_empty("version", frame.service_version, kPrintable);
  head.text("metadata_hash", frame.metadata_hash, kPrintable);
  head.text("metadata_key", frame.metadata_key, kPrintable);
  return head.finish(FrameType::endpoints_update);
}

Result<EncodedFrame> encode(const ResyncRequest& frame) {
  HeadWriter head(kSmallHead);
  head.text("gateway", frame.gateway, kPrintable);
  head.text_unless_empty("reason", frame.reason, kAnyText);
  head.text_unless_empty("metadata_hash", frame.metadata_hash, kPrintable);
  return head.finish(FrameType::resync_request);
}

Result<EncodedFrame> encode(const Request& frame) {
  DCHECK(!frame.streamed || frame.body.empty());
  HeadWriter head(estimate(frame.headers) + frame.target.size() + frame.tracestate.size());
  head.text("id", frame.id, kPrintable);
  head.text("method", frame.method, kToken);
  head.text("target", frame.target, kTarget);
  head.text("scheme", frame.scheme, kPrintable);
  head.text_unless_empty("authority", frame.authority, kTarget);
  head.headers(frame.headers);
  head.text("reply_to", frame.reply_to, kPrintable);
  head.number("deadline_ms", static_cast<std::uint64_t>(frame.deadline_ms));  // a negative one is above every maximum
  head.text("bus", frame.bus, kPrintable);
  head.flag_if_set("repeatable", frame.repeatable);
  head.number("max_attempts", frame.max_attempts);
  head.text_unless_empty("traceparent", frame.traceparent, kFieldValue);
  head.text_unless_empty("tracestate", frame.tracestate, kFieldValue);
  if (frame.streamed) {
    const std::optional<std::uint64_t>& length = frame.streamed->length;
    head.raw("streamed", length ? "{\"length\":" + std::to_string(*length) + "}" : "{}");
  }
  if (frame.origin) head.origin(*frame.origin);
  if (frame.wake != WakeMode::block) head.text("wake", name_of(frame.wake), kPrintable);
  return head.finish(FrameType::request, frame.body);
}

Result<EncodedFrame> encode(const Response& frame) {
  HeadWriter head(estimate(frame.headers) + frame.detail.size());
  head.text("id", frame.id, kPrintable);
  head.text("instance", frame.instance, kPrintable);
  head.number("attempt", frame.attempt);
  head.number("seq", frame.seq);
  if (frame.fault) {
    head.text("fault", name_of(*frame.fault), kPrintable);
  } else {
    head.number("status", static_cast<std::uint64_t>(frame.status));
  }
  head.text_unless_empty("reason", frame.reason, kFieldValue);
  head.headers(frame.headers);
  head.text_unless_empty("detail", frame.detail, kAnyText);
  head.flag("end", frame.end);
  head.number("length", frame.length);
  if (frame.service_ms != 0) head.number("service_ms", frame.service_ms);
  head.number("queue_ms", frame.queue_ms);
  return head.finish(FrameType::response, frame.body);
}

Result<EncodedFrame> encode(const StreamData& frame) {
  CHECK(frame.type == FrameType::request_stream_data || frame.type == FrameType::response_stream_data);
  HeadWriter head(kSmallHead);
  head.text("id", frame.id, kPrintable);
  head.text("instance", frame.instance, kPrintable);
  head.number("attempt", frame.attempt);
  head.number("seq", frame.seq);
  head.flag_if_set("end", frame.end);
  head.flag_if_set("abort", frame.abort);
  head.text_unless_empty("detail", frame.detail, kAnyText);
  return head.finish(frame.type, frame.body);
}

Result<EncodedFrame> encode(const Accept& frame) {
  HeadWriter head(kSmallHead);
  head.text("id", frame.id, kPrintable);
  head.text("instance", frame.instance, kPrintable);
  head.number("attempt", frame.attempt);
  head.text("inbox", frame.inbox, kPrintable);
  if (frame.wake != WakeMode::block) head.text("wake", name_of(frame.wake), kPrintable);
  return head.finish(FrameType::accept);
}

Result<EncodedFrame> encode(const Credit& frame) {
  HeadWriter head(kSmallHead);
  head.text("id", frame.id, kPrintable);
  head.text("instance", frame.instance, kPrintable);
  head.number("attempt", frame.attempt);
  head.number("bytes", frame.bytes);
  return head.finish(FrameType::credit);
}

Result<std::string> encode_cancel(const Cancel& frame) {
  HeadWriter head(kSmallHead);
  head.number("v", static_cast<std::uint64_t>(kMaxProtocolVersion));
  head.number("t", static_cast<std::uint64_t>(FrameType::cancel));
  head.text("id", frame.id, kPrintable);
  head.text_unless_empty("reason", frame.reason, kAnyText);
  return head.finish(limits::kControlFrameBytes);
}

std::string encode_look() { return R"({"v":1,"t":35})"; }

struct FrameDecoder::State {
  dom::parser parser{limits::kFrameHeadBytes};
  std::array<char, limits::kFrameHeadBytes + simdjson::SIMDJSON_PADDING> head;  // the parser reads past the end
  std::string scratch;                                                          // of strings that are not ASCII

  // REQUIRES text.size() <= kFrameHeadBytes. What it returns lives until the next call.
  Result<dom::object> parse(std::string_view text) {
    std::memcpy(head.data(), text.data(), text.size());
    dom::object object;
    const simdjson::error_code code = parser.parse(head.data(), text.size(), false).get(object);
    if (code == simdjson::SUCCESS) return object;
    return Error{Code::malformed, std::string("head is not a JSON object: ").append(simdjson::error_message(code))};
  }
};

FrameDecoder::FrameDecoder(const QueueNames& names) : names_(names), state_(std::make_unique<State>()) {}
FrameDecoder::~FrameDecoder() = default;

Result<Frame> FrameDecoder::decode(std::span<const EntryField> fields) {
  constexpr std::string_view kNames = "vthb";
  std::array<std::optional<std::string_view>, kNames.size()> known;
  std::size_t entry_bytes = 0;
  for (const EntryField& field : fields) {
    entry_bytes += field.name.size() + field.value.size();
    if (field.name.size() != 1) continue;
    const std::size_t index = kNames.find(field.name[0]);
    if (index == std::string_view::npos) continue;
    if (known[index]) return Error{Code::malformed, std::string("field ").append(field.name).append(" stands twice")};
    known[index] = field.value;
  }
  const auto& [version_text, type_text_in, head_text, body] = known;
  if (!version_text || !type_text_in) return Error{Code::malformed, "field v or t is missing"};
  const std::optional<unsigned> version = small_number(*version_text);
  const std::optional<unsigned> type_number = small_number(*type_text_in);
  if (!version || !type_number) return Error{Code::malformed, "field v or t is not a number"};
  if (*version < kMinProtocolVersion || *version > kMaxProtocolVersion) {
    return Error{Code::unsupported, "version " + std::to_string(*version)};
  }
  if (!is_known_in_streams(*type_number)) return Error{Code::unsupported, "type " + std::to_string(*type_number)};
  const auto type = static_cast<FrameType>(*type_number);
  if (!head_text) return Error{Code::malformed, "field h is missing"};
  if (head_text->size() > head_limit(type)) return Error{Code::too_large, "head is above its limit"};
  if (entry_bytes > entry_limit(type)) return Error{Code::too_large, "entry is above its limit"};

  const Result<dom::object> object = state_->parse(*head_text);
  if (!object) return object.error();
  HeadReader head(names_, state_->scratch);
  head.collect(*object);
  const std::string_view body_bytes = body.value_or(std::string_view());
  switch (type) {
    case FrameType::hello:
    case FrameType::heartbeat:
    case FrameType::goodbye:
      return read_instance_frame(head, type);
    case FrameType::request:
      return read_request(head, body_bytes);
    case FrameType::response:
      return read_response(head, body_bytes);
    case FrameType::request_stream_data:
    case FrameType::response_stream_data:
      return read_stream_data(head, type, body_bytes);
    case FrameType::resync_request:
      return read_resync_request(head);
    case FrameType::endpoints_update:
      return read_endpoints_update(head);
    case FrameType::accept:
      return read_accept(head);
    case FrameType::credit:
      return read_credit(head);
    case FrameType::cancel:
    case FrameType::look:
      break;  // refused above
  }
  return Error{Code::unsupported, "type " + std::to_string(*type_number)};
}

Result<Message> FrameDecoder::decode_message(std::string_view text) {
  if (text.size() > limits::kControlFrameBytes) return Error{Code::too_large, "head is above its limit"};
  const Result<dom::object> object = state_->parse(text);
  if (!object) return object.error();
  HeadReader head(names_, state_->scratch);
  head.collect(*object);
  unsigned version = 0;
  unsigned type = 0;
  Cancel frame;
  head.number("v", version, required, 0, 1'000'000);
  head.number("t", type, required, 0, 1'000'000);
  if (version < kMinProtocolVersion || version > kMaxProtocolVersion) head.unsupported("v");
  if (type == static_cast<unsigned>(FrameType::look)) return head.finish<Message>(Look{});
  if (type != static_cast<unsigned>(FrameType::cancel)) head.unsupported("t");
  head.checked("id", frame.id, required, is_request_id);
  head.text("reason", frame.reason, optional, kAnyText);
  return head.finish<Message>(std::move(frame));
}

}  // namespace outrigger::frames
