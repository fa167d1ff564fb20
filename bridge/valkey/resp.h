// RESP2 as bytes: commands out, replies in (Valkey's "Redis serialization protocol specification"). Replies are read by
// hiredis' redisReader into one flat arena, so that a batch of entries does not become a tree of allocations.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "bridge/base/result.h"

struct redisReader;

namespace outrigger::valkey {

// Appends one command as an array of bulk strings.
void append_command(std::string& out, std::initializer_list<std::string_view> arguments);
void append_command(std::string& out, std::span<const std::string> arguments);
// For long commands: the header first, then each argument.
void append_command_header(std::string& out, std::size_t argument_count);
void append_argument(std::string& out, std::string_view argument);

class ReplyReader;

// One value of a reply. A view: valid until the reader is asked for the next reply.
class Reply {
 public:
  enum class Type : std::uint8_t { nil, integer, string, status, error, array };

  Type type() const;
  bool is_nil() const { return type() == Type::nil; }
  bool is_array() const { return type() == Type::array; }
  // Text of a string, status or error; empty for others.
  std::string_view text() const;
  // Value of an integer; 0 for others.
  std::int64_t integer() const;
  // Number of elements; 0 for anything but an array.
  std::size_t size() const;
  // REQUIRES index < size().
  Reply operator[](std::size_t index) const;

 private:
  friend class ReplyReader;
  Reply(const ReplyReader& reader, std::uint32_t node) : reader_(&reader), node_(node) {}
  const ReplyReader* reader_;
  std::uint32_t node_;
};

class ReplyReader {
 public:
  // A reply of more than `limit_bytes` (all of it) or with more than kMaxElements values is an error.
  explicit ReplyReader(std::size_t limit_bytes);
  ~ReplyReader();
  ReplyReader(const ReplyReader&) = delete;
  ReplyReader& operator=(const ReplyReader&) = delete;

  static constexpr std::size_t kMaxElements = 1024 * 1024;

  void feed(std::string_view bytes);
  // The next whole reply, nothing if more bytes are needed, or malformed / too_large; after an error the reader is dead.
  base::Result<std::optional<Reply>> next();

 private:
  friend class Reply;
  struct Node {
    Reply::Type type = Reply::Type::nil;
    std::int64_t integer = 0;
    std::uint32_t at = 0;    // into text_, or first child in children_
    std::uint32_t size = 0;  // bytes of text, or number of children
  };
  struct Builder;

  std::uint32_t add(const void* task, Node node);

  struct ReaderFree {
    void operator()(redisReader* reader) const;
  };
  std::unique_ptr<redisReader, ReaderFree> reader_;
  std::size_t limit_bytes_;
  std::size_t fed_since_reply_ = 0;
  std::vector<Node> nodes_;
  std::vector<std::uint32_t> children_;
  std::string text_;
};

}  // namespace outrigger::valkey
