// Incremental, strict HTTP/1 parsers (RFC 9112) over llhttp, without any of its leniencies and with the checks that it
// leaves to its user. They are asked for one step at a time, so that the caller can stop anywhere: nothing beyond the
// end of a message is ever taken. The same bytes give the same steps however they are cut (tests/data/http).
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "bridge/http1/message.h"

struct llhttp__internal_s;

namespace outrigger::http1 {

enum class Step : std::uint8_t {
  need_more,  // all input is taken; come back with more
  head,       // head() is complete
  body,       // body() has bytes of the content, valid until the input's memory is
  end,        // the message is complete; the next call begins the next message
  failed,     // problem() says why; final
};

// What requests and responses share. Not used by itself.
class MessageParser {
 public:
  ~MessageParser();
  MessageParser(const MessageParser&) = delete;
  MessageParser& operator=(const MessageParser&) = delete;

  // Takes bytes off the front of `input`. Legal with empty input: a message without a body ends without more bytes.
  Step next(std::string_view& input);

  std::string_view body() const { return body_; }
  ParseProblem problem() const { return problem_; }
  // For logs.
  std::string_view detail() const { return detail_; }
  // Bytes of an unfinished message were seen.
  bool is_in_message() const { return state_ != State::head || !pending_.empty() || skipped_empty_line_; }
  // Bytes kept of a section that did not come in one piece.
  std::size_t held_bytes() const { return pending_.capacity(); }
  // Content bytes still announced by Content-Length; the maximum if that is not known.
  std::uint64_t remaining_body() const;

 protected:
  enum class Kind : std::uint8_t { request, response };
  enum class State : std::uint8_t { head, fixed_body, chunked_body, trailers, body_until_close, message_end, failed };

  MessageParser(Kind kind, const MessageLimits& limits);

  Step fail(ParseProblem problem, std::string_view detail);

  Kind kind_;
  State state_ = State::head;
  MessageLimits limits_;
  ParseProblem problem_ = ParseProblem::none;
  std::string_view detail_;  // literals only
  bool skips_body_ = false;  // responses to HEAD

  RequestHead request_;
  ResponseHead response_;
  bool response_keep_alive_ = false;

 private:
  friend struct LlhttpCallbacks;
  struct FreeLlhttp {
    void operator()(llhttp__internal_s* parser) const;
  };
  struct Section;  // where a run of lines ends

  void reset_llhttp();
  void drop_pending();
  Step parse_head(std::string_view& input);
  Step parse_trailers(std::string_view& input);
  Step parse_fixed_body(std::string_view& input);
  Step parse_chunked_body(std::string_view& input);
  // Finds the end of the section that began in pending_ and goes on in `input`; on success `section` is the whole of it
  // and `input` is what follows.
  Step collect_section(std::string_view& input, bool has_first_line, std::string_view& section);
  bool check_line(std::string_view line, bool is_first_line);
  bool check_first_line(std::string_view line);
  Step accept_head(std::string_view section);
  Step accept_request(std::string_view section);
  Step accept_response(std::string_view section);
  bool accept_target();
  bool has_only_chunked(const base::HeaderList& headers, bool& has_coding);
  base::HeaderList& headers() { return kind_ == Kind::request ? request_.headers : response_.headers; }

  std::unique_ptr<llhttp__internal_s, FreeLlhttp> llhttp_;

  // The section being collected, if it did not come in one piece.
  std::string pending_;
  std::size_t scanned_ = 0;  // of pending_ (or of the input): no line feed before this
  std::size_t line_start_ = 0;
  std::size_t first_line_size_ = 0;
  bool skipped_empty_line_ = false;

  // Filled by llhttp's callbacks while a section is parsed; the views point into it.
  std::string_view method_;
  std::string_view target_;
  std::string_view reason_;
  std::string_view name_;
  std::string_view value_;
  std::size_t field_count_ = 0;
  std::uint16_t flags_ = 0;
  std::uint64_t announced_ = 0;
  bool keeps_alive_ = false;
  bool is_head_complete_ = false;

  std::string_view body_;
  std::uint64_t remaining_ = 0;  // of a fixed body
  std::uint64_t body_received_ = 0;
  std::uint64_t chunk_framing_ = 0;  // bytes of chunk headers seen: bounded in proportion to the content
  bool is_last_chunk_ = false;
  unsigned interim_count_ = 0;
};

class RequestParser final : public MessageParser {
 public:
  explicit RequestParser(const MessageLimits& limits = {}) : MessageParser(Kind::request, limits) {}
  // After Step::head, or in part after a failure (as far as it was understood). May be moved from.
  RequestHead& head() { return request_; }
};

class ResponseParser final : public MessageParser {
 public:
  explicit ResponseParser(const MessageLimits& limits = {}) : MessageParser(Kind::response, limits) {}
  // Before each response: a response to HEAD has no body. Interim responses (1xx) are skipped; 101 is a failure, since
  // nobody asks for an upgrade.
  void expect(std::string_view request_method) { skips_body_ = request_method == "HEAD"; }
  ResponseHead& head() { return response_; }
  // The server allows another request on this connection. After Step::head.
  bool keep_alive() const { return response_keep_alive_; }
  // The peer sent end-of-stream: Step::end if that is how this response ends, Step::failed if it cuts one.
  Step finish();
};

}  // namespace outrigger::http1
