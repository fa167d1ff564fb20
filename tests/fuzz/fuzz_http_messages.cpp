// The HTTP/1 parsers. Input: a byte of options, a byte for the cuts, then what a peer sends. Whatever it is, the steps
// are the same whole and in pieces, nothing is read beyond a piece, and what was accepted can be sent on.
// Built twice: OUTRIGGER_FUZZ_RESPONSES chooses the side.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "bridge/base/check.h"
#include "bridge/http1/header_rules.h"
#include "bridge/http1/parser.h"
#include "bridge/http1/serializer.h"

namespace {

using namespace outrigger::http1;

#ifdef OUTRIGGER_FUZZ_RESPONSES
using Parser = ResponseParser;
#else
using Parser = RequestParser;
#endif

// Small enough that every limit is reached.
MessageLimits limits() {
  MessageLimits small;
  small.body_bytes = 200;
  small.header_bytes = 400;
  small.header_count = 8;
  small.target_bytes = 60;
  return small;
}

void check_sendable(Parser& parser) {
  std::string out;
#ifdef OUTRIGGER_FUZZ_RESPONSES
  CHECK(append_response_head(out, parser.head(), {}));
#else
  RequestHead& head = parser.head();
  CHECK(append_request_head(out, head.method, head.target, head.headers, {}));
#endif
  remove_hop_by_hop(parser.head().headers);
  CHECK(!parser.head().headers.find("Connection"));
}

std::string steps(std::string_view bytes, std::size_t piece_size, bool is_head_request) {
  Parser parser(limits());
#ifdef OUTRIGGER_FUZZ_RESPONSES
  parser.expect(is_head_request ? "HEAD" : "GET");
#else
  static_cast<void>(is_head_request);
#endif
  std::string log;
  std::string body;
  const auto flush = [&] {
    if (!body.empty()) log += "body " + std::exchange(body, {}) + "\n";
  };
  while (!bytes.empty()) {
    const std::size_t size = std::min(piece_size, bytes.size());
    // Its own memory, so that a sanitizer sees any read beyond it.
    const auto piece = std::make_unique<char[]>(size);
    bytes.copy(piece.get(), size);
    bytes.remove_prefix(size);
    std::string_view input(piece.get(), size);
    for (bool goes_on = true; goes_on;) {
      switch (parser.next(input)) {
        case Step::need_more:
          CHECK(input.empty());
          goes_on = false;
          break;
        case Step::head:
          flush();
          log += "head\n";
          check_sendable(parser);
          break;
        case Step::body:
          CHECK(!parser.body().empty());
          body.append(parser.body());
          CHECK(body.size() <= limits().body_bytes);
          break;
        case Step::end:
          flush();
          log += "end\n";
          break;
        case Step::failed:
          flush();
          CHECK(parser.problem() != ParseProblem::none);
          return log + "failed " + std::string(name_of(parser.problem()));
      }
    }
  }
  flush();
  return log;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 2) return 0;
  const std::string_view bytes(reinterpret_cast<const char*>(data) + 2, size - 2);
  const bool is_head_request = (data[0] & 1) != 0;
  const std::string whole = steps(bytes, bytes.size(), is_head_request);
  CHECK(steps(bytes, 1 + data[1] % 64, is_head_request) == whole);
  CHECK(steps(bytes, 1, is_head_request) == whole);
  return 0;
}
