#include "bridge/valkey/resp.h"

#include <hiredis/hiredis.h>

#include <charconv>

namespace outrigger::valkey {
namespace {

using base::Code;
using base::Error;

void append_number(std::string& out, std::size_t number) {
  char digits[24];
  const auto [end, problem] = std::to_chars(digits, digits + sizeof digits, number);
  out.append(digits, end);
}

Error too_large(std::size_t limit_bytes) {
  return Error{Code::too_large, "reply of the server above " + std::to_string(limit_bytes) + " bytes"};
}

// An arena that grew for one large reply is given back.
constexpr std::size_t kKeptArenaBytes = 1024 * 1024;

}  // namespace

void append_command_header(std::string& out, std::size_t argument_count) {
  out.push_back('*');
  append_number(out, argument_count);
  out.append("\r\n");
}

void append_argument(std::string& out, std::string_view argument) {
  out.push_back('$');
  append_number(out, argument.size());
  out.append("\r\n").append(argument).append("\r\n");
}

void append_command(std::string& out, std::initializer_list<std::string_view> arguments) {
  append_command_header(out, arguments.size());
  for (const std::string_view argument : arguments) append_argument(out, argument);
}

void append_command(std::string& out, std::span<const std::string> arguments) {
  append_command_header(out, arguments.size());
  for (const std::string& argument : arguments) append_argument(out, argument);
}

Reply::Type Reply::type() const { return reader_->nodes_[node_].type; }

std::string_view Reply::text() const {
  const auto& node = reader_->nodes_[node_];
  if (node.type != Type::string && node.type != Type::status && node.type != Type::error) return {};
  return std::string_view(reader_->text_).substr(node.at, node.size);
}

std::int64_t Reply::integer() const { return reader_->nodes_[node_].integer; }

std::size_t Reply::size() const {
  const auto& node = reader_->nodes_[node_];
  return node.type == Type::array ? node.size : 0;
}

Reply Reply::operator[](std::size_t index) const {
  DCHECK(index < size());
  return {*reader_, reader_->children_[reader_->nodes_[node_].at + index]};
}

void ReplyReader::ReaderFree::operator()(redisReader* reader) const { redisReaderFree(reader); }

// hiredis calls these while it parses. Objects are node numbers plus one, since a null pointer means failure.
struct ReplyReader::Builder {
  static ReplyReader& self(const redisReadTask* task) { return *static_cast<ReplyReader*>(task->privdata); }
  static void* object(std::uint32_t node) { return reinterpret_cast<void*>(static_cast<std::uintptr_t>(node) + 1); }
  static std::uint32_t node(const void* object) {
    return static_cast<std::uint32_t>(reinterpret_cast<std::uintptr_t>(object) - 1);
  }

  static void* create_string(const redisReadTask* task, char* text, size_t size) {
    ReplyReader& reader = self(task);
    Node made;
    made.type = task->type == REDIS_REPLY_STRING   ? Reply::Type::string
                : task->type == REDIS_REPLY_STATUS ? Reply::Type::status
                                                   : Reply::Type::error;
    made.at = static_cast<std::uint32_t>(reader.text_.size());
    made.size = static_cast<std::uint32_t>(size);
    reader.text_.append(text, size);
    return object(reader.add(task, made));
  }
  // The count's type differs between hiredis 0.14 (int) and 1.x (size_t).
  template <class Count>
  static void* create_array(const redisReadTask* task, Count count) {
    ReplyReader& reader = self(task);
    const auto elements = static_cast<std::size_t>(count);
    if (count < Count{} || reader.children_.size() + elements > kMaxElements) return nullptr;
    Node made;
    made.type = Reply::Type::array;
    made.at = static_cast<std::uint32_t>(reader.children_.size());
    made.size = static_cast<std::uint32_t>(elements);
    reader.children_.resize(reader.children_.size() + elements);
    return object(reader.add(task, made));
  }
  static void* create_integer(const redisReadTask* task, long long value) {
    Node made;
    made.type = Reply::Type::integer;
    made.integer = value;
    return object(self(task).add(task, made));
  }
  static void* create_nil(const redisReadTask* task) { return object(self(task).add(task, Node{})); }
  static void free_object(void*) {}  // the arena is cleared as a whole
};

std::uint32_t ReplyReader::add(const void* opaque, Node node) {
  const auto* task = static_cast<const redisReadTask*>(opaque);
  const auto made = static_cast<std::uint32_t>(nodes_.size());
  nodes_.push_back(node);
  if (task->parent != nullptr) {
    const Node& parent = nodes_[Builder::node(task->parent->obj)];
    children_[parent.at + static_cast<std::uint32_t>(task->idx)] = made;
  }
  return made;
}

ReplyReader::ReplyReader(std::size_t limit_bytes) : limit_bytes_(limit_bytes) {
  static redisReplyObjectFunctions functions = [] {
    redisReplyObjectFunctions made{};
    made.createString = &Builder::create_string;
    made.createArray = &Builder::create_array;
    made.createInteger = &Builder::create_integer;
    made.createNil = &Builder::create_nil;
    made.freeObject = &Builder::free_object;
    return made;
  }();
  reader_.reset(redisReaderCreateWithFunctions(&functions));
  CHECK(reader_ != nullptr);
  reader_->privdata = this;
}

ReplyReader::~ReplyReader() = default;

void ReplyReader::feed(std::string_view bytes) {
  fed_since_reply_ += bytes.size();
  redisReaderFeed(reader_.get(), bytes.data(), bytes.size());
}

base::Result<std::optional<Reply>> ReplyReader::next() {
  if (reader_->reply == nullptr && reader_->ridx == -1) {  // between replies: the last one's arena is free
    nodes_.clear();
    children_.clear();
    text_.clear();
    if (text_.capacity() > kKeptArenaBytes) text_.shrink_to_fit();
  }
  void* object = nullptr;
  if (redisReaderGetReply(reader_.get(), &object) != REDIS_OK) {
    return Error{Code::malformed, std::string("reply of the server: ") + reader_->errstr};
  }
  if (object == nullptr) {
    if (fed_since_reply_ > limit_bytes_) return too_large(limit_bytes_);
    return std::optional<Reply>();
  }
  // What was fed beyond this reply belongs to the next one.
  const std::size_t reply_bytes = fed_since_reply_ - (reader_->len - reader_->pos);
  fed_since_reply_ -= reply_bytes;
  if (reply_bytes > limit_bytes_) return too_large(limit_bytes_);
  return std::optional<Reply>(Reply(*this, Builder::node(object)));
}

}  // namespace outrigger::valkey
