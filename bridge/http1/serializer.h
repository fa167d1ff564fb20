// HTTP/1 messages as bytes. Names, values, targets and reasons are checked on the way out, so that a CR, LF or NUL from
// anywhere (a decoded frame, a token's claim) never becomes a header of its own.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "bridge/http1/message.h"

namespace outrigger::http1 {

// token of RFC 9110 section 5.6.2: methods and field names.
bool is_token(std::string_view text);
// No control characters but horizontal tab (RFC 9110 section 5.5).
bool is_field_value(std::string_view text);

// How the receiver finds the end of the body, and whether the connection goes on. The fields that say so (Connection,
// Content-Length, Transfer-Encoding, Keep-Alive, Proxy-Connection, TE, Trailer, Upgrade) are written from here; those
// in the head's list are left out.
struct Framing {
  enum class Body : std::uint8_t { none, length, chunked, until_close };
  enum class Connection : std::uint8_t { unsaid, close, keep_alive };
  Body body = Body::none;
  std::uint64_t length = 0;
  Connection connection = Connection::unsaid;
};

// Append to `out`. False, with `out` as it was, if a part may not be sent (see above) or the status is not 100..999.
[[nodiscard]] bool append_request_head(std::string& out, std::string_view method, std::string_view target,
                                       const base::HeaderList& headers, const Framing& framing);
// `date` is added unless empty or the head has one.
[[nodiscard]] bool append_response_head(std::string& out, const ResponseHead& head, const Framing& framing,
                                        std::string_view date = {});

// "1f4\r\n"; after the chunk's bytes comes kChunkEnd, after the last chunk kLastChunk.
void append_chunk_header(std::string& out, std::size_t size);
inline constexpr std::string_view kChunkEnd = "\r\n";
inline constexpr std::string_view kLastChunk = "0\r\n\r\n";

// IMF-fixdate (RFC 9110 section 5.6.7): "Sun, 06 Nov 1994 08:49:37 GMT".
std::string to_http_date(std::int64_t seconds_since_1970);

// The value of Content-Length, if it is one.
std::optional<std::uint64_t> parse_content_length(std::string_view text);

}  // namespace outrigger::http1
