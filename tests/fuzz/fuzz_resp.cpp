// The reader of Valkey's replies. Input: a byte for the cuts, a byte for the limit, then what a server sends. The
// replies are the same whole and in pieces, and strings that were read can be sent as a command and read back.
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "bridge/base/check.h"
#include "bridge/valkey/resp.h"
#include "tests/fuzz/fuzz_input.h"

namespace {

using namespace outrigger::valkey;
using outrigger::fuzz::Input;

void describe(std::string& log, const Reply& reply) {
  log += std::to_string(static_cast<int>(reply.type())) + ":" + std::to_string(reply.integer()) + ":";
  log.append(reply.text());
  if (reply.is_array()) {
    log += "[";
    for (std::size_t i = 0; i < reply.size(); ++i) describe(log, reply[i]);
    log += "]";
  }
  log += "\n";
}

void check_round_trip(const Reply& reply) {
  std::vector<std::string> arguments;
  for (std::size_t i = 0; i < reply.size(); ++i) {
    if (reply[i].type() != Reply::Type::string) return;
    arguments.emplace_back(reply[i].text());
  }
  std::string command;
  append_command(command, arguments);
  ReplyReader reader(command.size());
  reader.feed(command);
  const auto again = reader.next();
  CHECK(again && again->has_value() && (*again)->size() == arguments.size());
  for (std::size_t i = 0; i < arguments.size(); ++i) CHECK((**again)[i].text() == arguments[i]);
  CHECK(!reader.next()->has_value());
}

std::string replies(std::string_view bytes, std::size_t piece_size, std::size_t limit) {
  ReplyReader reader(limit);
  std::string log;
  outrigger::fuzz::for_each_piece(bytes, piece_size, [&](std::string_view piece) {
    reader.feed(piece);
    for (;;) {
      const auto reply = reader.next();
      if (!reply) {
        log += "failed";
        return false;
      }
      if (!*reply) return true;
      describe(log, **reply);
      if ((*reply)->is_array()) check_round_trip(**reply);
    }
  });
  return log;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  Input input(data, size);
  const std::size_t piece_size = std::size_t{1} + input.byte() % 64;
  const std::size_t limit = std::size_t{16} * (1 + input.byte());
  const std::string whole = replies(input.rest(), size, limit);
  CHECK(replies(input.rest(), piece_size, limit) == whole);
  CHECK(replies(input.rest(), 1, limit) == whole);
  return 0;
}
