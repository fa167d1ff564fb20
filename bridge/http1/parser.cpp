#include "bridge/http1/parser.h"

#include <llhttp.h>

#include <algorithm>
#include <cstring>
#include <limits>

#include "bridge/http1/serializer.h"

namespace outrigger::http1 {
namespace {

using base::equals_ignoring_case;

// "M-SEARCH " and " HTTP/1.1\r\n" around the target.
constexpr std::size_t kRequestLineOverhead = 48;
constexpr std::size_t kStatusLineBytes = 1024;
// Chunk headers may cost this much plus eight bytes per byte of content: one-byte chunks pass, endless extensions or
// leading zeros do not.
constexpr std::uint64_t kChunkFramingBytes = 16 * 1024;
constexpr std::uint64_t kChunkFramingPerByte = 8;
constexpr unsigned kMaxInterimResponses = 16;
constexpr std::size_t kKeptPending = 1024;  // memory for the next section that comes in pieces

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}
bool is_alpha(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

std::string_view trim(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
  return text;
}

// uri-host [ ":" port ] (RFC 9110 section 7.2), by its characters; a comma would be two hosts to somebody.
bool is_authority(std::string_view text) {
  return std::all_of(
             text.begin(), text.end(),
             [](char c) { return is_alpha(c) || is_digit(c) || std::strchr("-._~%!$&'()*+;=:[]", c) != nullptr; }) &&
         text.find('\0') == std::string_view::npos;
}

bool is_framing_field(std::string_view name) {
  return equals_ignoring_case(name, "Content-Length") || equals_ignoring_case(name, "Transfer-Encoding") ||
         equals_ignoring_case(name, "Host") || equals_ignoring_case(name, "Connection");
}

}  // namespace

struct LlhttpCallbacks {
  static MessageParser& self(llhttp_t* p) { return *static_cast<MessageParser*>(p->data); }

  static int on_method(llhttp_t* p, const char* at, std::size_t size) {
    self(p).method_ = {at, size};
    return 0;
  }
  static int on_url(llhttp_t* p, const char* at, std::size_t size) {
    self(p).target_ = {at, size};
    return 0;
  }
  static int on_status(llhttp_t* p, const char* at, std::size_t size) {
    self(p).reason_ = {at, size};
    return 0;
  }
  static int on_header_field(llhttp_t* p, const char* at, std::size_t size) {
    MessageParser& parser = self(p);
    parser.name_ = {at, size};
    parser.value_ = {};
    if (++parser.field_count_ > parser.limits_.header_count) {
      parser.fail(ParseProblem::headers_too_large, "too many header fields");
      return -1;
    }
    return 0;
  }
  static int on_header_value(llhttp_t* p, const char* at, std::size_t size) {
    self(p).value_ = {at, size};
    return 0;
  }
  static int on_header_value_complete(llhttp_t* p) {
    MessageParser& parser = self(p);
    if (parser.state_ == MessageParser::State::trailers) {
      // Trailer fields are dropped (RFC 9110 section 6.5.1 allows it); those that would change the framing are an
      // attack.
      if (!is_framing_field(parser.name_)) return 0;
      parser.fail(ParseProblem::bad_request, "framing field in trailers");
      return -1;
    }
    parser.headers().add(parser.name_, trim(parser.value_));
    return 0;
  }
  static int on_headers_complete(llhttp_t* p) {
    MessageParser& parser = self(p);
    parser.flags_ = p->flags;
    parser.announced_ = p->content_length;
    parser.keeps_alive_ =
        (p->flags & F_CONNECTION_CLOSE) == 0 && (p->http_minor > 0 || (p->flags & F_CONNECTION_KEEP_ALIVE) != 0);
    parser.is_head_complete_ = true;
    // We never switch protocols (RFC 9110 section 7.8 lets a server ignore Upgrade), so llhttp must not stop for one.
    p->upgrade = 0;
    // Only chunked bodies are llhttp's; counting is done here.
    return (p->flags & F_CHUNKED) != 0 ? 0 : 1;
  }
  static int on_chunk_header(llhttp_t* p) {
    MessageParser& parser = self(p);
    if (p->content_length > parser.limits_.body_bytes - parser.body_received_) {
      parser.fail(ParseProblem::body_too_large, "chunks pass the body limit");
      return -1;
    }
    parser.is_last_chunk_ = p->content_length == 0;
    return parser.is_last_chunk_ ? static_cast<int>(HPE_PAUSED) : 0;
  }
  static int on_body(llhttp_t* p, const char* at, std::size_t size) {
    self(p).body_ = {at, size};
    return 0;
  }
  // One chunk per step: at most one piece of body is ever waiting to be handed out.
  static int on_chunk_complete(llhttp_t*) { return HPE_PAUSED; }

  static const llhttp_settings_t* settings() {
    static const llhttp_settings_t kSettings = [] {
      llhttp_settings_t s;
      llhttp_settings_init(&s);
      s.on_method = on_method;
      s.on_url = on_url;
      s.on_status = on_status;
      s.on_header_field = on_header_field;
      s.on_header_value = on_header_value;
      s.on_header_value_complete = on_header_value_complete;
      s.on_headers_complete = on_headers_complete;
      s.on_chunk_header = on_chunk_header;
      s.on_body = on_body;
      s.on_chunk_complete = on_chunk_complete;
      return s;
    }();
    return &kSettings;
  }
};

void MessageParser::FreeLlhttp::operator()(llhttp__internal_s* parser) const {
  delete parser;
}

MessageParser::MessageParser(Kind kind, const MessageLimits& limits)
    : kind_(kind), limits_(limits), llhttp_(new llhttp__internal_s) {
  reset_llhttp();
}

MessageParser::~MessageParser() = default;

void MessageParser::reset_llhttp() {
  llhttp_init(llhttp_.get(), kind_ == Kind::request ? HTTP_REQUEST : HTTP_RESPONSE, LlhttpCallbacks::settings());
  llhttp_->data = this;
}

std::uint64_t MessageParser::remaining_body() const {
  if (state_ == State::fixed_body) return remaining_;
  if (state_ == State::message_end || state_ == State::head) return 0;
  return std::numeric_limits<std::uint64_t>::max();
}

Step MessageParser::fail(ParseProblem problem, std::string_view detail) {
  if (state_ != State::failed) {
    state_ = State::failed;
    problem_ = problem;
    detail_ = detail;
  }
  return Step::failed;
}

Step MessageParser::next(std::string_view& input) {
  switch (state_) {
    case State::head:
      return parse_head(input);
    case State::fixed_body:
      return parse_fixed_body(input);
    case State::chunked_body:
      return parse_chunked_body(input);
    case State::trailers:
      return parse_trailers(input);
    case State::body_until_close:
      if (input.empty()) return Step::need_more;
      // What is within the limit is handed out first, whatever the cuts.
      body_ = input.substr(0, static_cast<std::size_t>(limits_.body_bytes - body_received_));
      if (body_.empty()) return fail(ParseProblem::body_too_large, "body passes the limit");
      body_received_ += body_.size();
      input.remove_prefix(body_.size());
      return Step::body;
    case State::message_end:
      state_ = State::head;
      return Step::end;
    case State::failed:
      return Step::failed;
  }
  return Step::failed;
}

Step MessageParser::collect_section(std::string_view& input, bool has_first_line, std::string_view& section) {
  // Without a piece waiting, the section is looked for in the input itself and not copied.
  const std::size_t had = pending_.size();
  if (had > 0) pending_.append(input);
  const std::string_view bytes = had > 0 ? std::string_view(pending_) : input;
  for (;;) {
    const void* found =
        scanned_ < bytes.size() ? std::memchr(bytes.data() + scanned_, '\n', bytes.size() - scanned_) : nullptr;
    const std::size_t line_end =
        found == nullptr ? bytes.size() : static_cast<std::size_t>(static_cast<const char*>(found) - bytes.data());
    const bool is_first_line = has_first_line && first_line_size_ == 0;
    // Limits come before the line's own faults, so that the verdict does not depend on the cuts.
    if (is_first_line) {
      // Garbage is refused by its first byte: it may never contain a line end.
      if (line_start_ < bytes.size()) {
        const char first = bytes[line_start_];
        const bool may_be_empty = kind_ == Kind::request && !skipped_empty_line_ && first == '\r';
        const bool is_start = kind_ == Kind::request ? first >= 'A' && first <= 'Z' : first == 'H';
        if (!is_start && !may_be_empty) return fail(ParseProblem::bad_request, "not an HTTP message");
      }
      const std::size_t line_limit =
          kind_ == Kind::request ? limits_.target_bytes + kRequestLineOverhead : kStatusLineBytes;
      if (line_end - line_start_ > line_limit) return fail(ParseProblem::uri_too_long, "first line too long");
    } else if (line_end - first_line_size_ > limits_.header_bytes + 1) {
      return fail(ParseProblem::headers_too_large, "header section too large");
    }
    if (found == nullptr) {
      scanned_ = bytes.size();
      if (had == 0) pending_.assign(input);
      input = {};
      return Step::need_more;
    }
    const std::string_view line = bytes.substr(line_start_, line_end - line_start_);
    if (!check_line(line, is_first_line)) return Step::failed;
    scanned_ = line_start_ = line_end + 1;
    const bool is_empty = line.size() == 1;
    if (is_first_line) {
      if (is_empty) {
        // One empty line before a request is forgiven (RFC 9112 section 2.2).
        skipped_empty_line_ = true;
        input.remove_prefix(scanned_ - had);
        pending_.clear();
        scanned_ = line_start_ = 0;
        return collect_section(input, has_first_line, section);
      }
      first_line_size_ = scanned_;
      continue;
    }
    if (!is_empty) continue;
    section = bytes.substr(0, scanned_);
    input.remove_prefix(scanned_ - had);
    scanned_ = line_start_ = first_line_size_ = 0;
    skipped_empty_line_ = false;
    return Step::head;
  }
}

// `line` is without its line feed. What llhttp is lenient about even when strict: line feeds without carriage return
// after the first line and at the end of the section, folded lines, empty names; carriage returns elsewhere by
// some 8.x.
bool MessageParser::check_line(std::string_view line, bool is_first_line) {
  if (line.empty() || line.back() != '\r' || std::memchr(line.data(), '\r', line.size() - 1) != nullptr) {
    fail(ParseProblem::bad_request, "line end is not CRLF");
    return false;
  }
  if (is_first_line) return line.size() == 1 || check_first_line(line.substr(0, line.size() - 1));
  if (line.front() == ' ' || line.front() == '\t') {
    fail(ParseProblem::bad_request, "folded header line");
    return false;
  }
  if (line.front() == ':') {
    fail(ParseProblem::bad_request, "empty field name");
    return false;
  }
  return true;
}

// "METHOD target HTTP/1.1" or "HTTP/1.1 200 OK": the version, and that what surrounds it has its exact width.
bool MessageParser::check_first_line(std::string_view line) {
  const bool is_request = kind_ == Kind::request;
  constexpr std::size_t kVersionSize = 8;
  bool is_well_formed = line.size() >= kVersionSize + 4;
  std::string_view version;
  if (is_well_formed) {
    version = is_request ? line.substr(line.size() - kVersionSize) : line.substr(0, kVersionSize);
    is_well_formed =
        version.substr(0, 5) == "HTTP/" && is_digit(version[5]) && version[6] == '.' && is_digit(version[7]);
  }
  if (is_well_formed && !is_request) {
    is_well_formed = line[8] == ' ' && line[9] >= '1' && line[9] <= '9' && is_digit(line[10]) && is_digit(line[11]) &&
                     (line.size() == 12 || line[12] == ' ');
  } else if (is_well_formed) {
    is_well_formed = line[line.size() - kVersionSize - 1] == ' ';
  }
  if (!is_well_formed) {
    fail(ParseProblem::bad_request, is_request ? "malformed request line" : "malformed status line");
    return false;
  }
  if (version[5] != '1' || version[7] > '1') {
    fail(ParseProblem::version, "HTTP version");
    return false;
  }
  (is_request ? request_.minor_version : response_.minor_version) = version[7] - '0';
  return true;
}

Step MessageParser::parse_head(std::string_view& input) {
  if (pending_.empty() && scanned_ == 0) {
    if (kind_ == Kind::request) {
      request_ = {};
    } else {
      response_ = {};
    }
  }
  std::string_view section;
  const Step step = collect_section(input, true, section);
  if (step != Step::head) return step;
  method_ = target_ = reason_ = {};
  field_count_ = 0;
  is_head_complete_ = false;
  headers().reserve(16, std::min<std::size_t>(section.size(), 1024));
  const llhttp_errno error = llhttp_execute(llhttp_.get(), section.data(), section.size());
  Step accepted = Step::failed;
  if (state_ == State::failed) {
    // A callback of ours said why.
  } else if (error == HPE_INVALID_METHOD) {
    const std::string_view method = section.substr(0, section.find(' '));
    if (is_token(method)) {
      request_.method = method;
      fail(ParseProblem::unsupported, "unknown method");
    } else {
      fail(ParseProblem::bad_request, "malformed method");
    }
  } else if (error != HPE_OK || !is_head_complete_) {
    const char* reason = llhttp_get_error_reason(llhttp_.get());
    fail(ParseProblem::bad_request, reason != nullptr ? reason : "malformed head");
  } else {
    accepted = accept_head(section);
  }
  if (accepted == Step::failed && kind_ == Kind::request && request_.method.empty()) {
    request_.method = method_;  // for logs
    request_.target = target_;
  }
  drop_pending();
  method_ = target_ = reason_ = name_ = value_ = {};
  if (accepted == Step::need_more) return parse_head(input);  // an interim response was skipped
  return accepted;
}

Step MessageParser::accept_head(std::string_view section) {
  const Step step = kind_ == Kind::request ? accept_request(section) : accept_response(section);
  if (step == Step::failed) return step;
  body_received_ = chunk_framing_ = 0;
  is_last_chunk_ = false;
  if (state_ != State::chunked_body) reset_llhttp();
  return step;
}

// True if the message's transfer codings are exactly `chunked`, once; `has_coding` if there is any. llhttp's flag is
// not enough: it does not see an empty field.
bool MessageParser::has_only_chunked(const base::HeaderList& fields, bool& has_coding) {
  has_coding = false;
  bool is_chunked = false;
  for (const base::HeaderField field : fields) {
    if (!equals_ignoring_case(field.name, "Transfer-Encoding")) continue;
    if (has_coding) return false;
    has_coding = true;
    is_chunked = equals_ignoring_case(field.value, "chunked");
  }
  return is_chunked && (flags_ & F_CHUNKED) != 0;
}

Step MessageParser::accept_request(std::string_view section) {
  RequestHead& head = request_;
  head.method = method_;
  head.target = target_;
  head.keep_alive = keeps_alive_;
  const std::size_t line_size = section.find('\r');
  // Exactly one space each: llhttp takes more.
  if (method_.size() + target_.size() + 10 != line_size) {
    return fail(ParseProblem::bad_request, "malformed request line");
  }
  if (target_.size() > limits_.target_bytes) return fail(ParseProblem::uri_too_long, "request target too long");

  bool has_coding = false;
  const bool is_chunked = has_only_chunked(head.headers, has_coding);
  if (has_coding) {
    if (head.minor_version == 0) return fail(ParseProblem::bad_request, "transfer coding in HTTP/1.0");
    if (!is_chunked) {
      // With chunked last the framing is clear and only the coding is foreign; otherwise nothing is (RFC
      // 9112 6.1, 6.3).
      return (flags_ & F_CHUNKED) != 0 ? fail(ParseProblem::unsupported, "unknown transfer coding")
                                       : fail(ParseProblem::bad_request, "transfer coding does not end in chunked");
    }
    head.is_chunked = true;
  }
  if ((flags_ & F_CONTENT_LENGTH) != 0) head.content_length = announced_;

  std::size_t host_count = 0;
  for (const base::HeaderField field : head.headers) {
    if (equals_ignoring_case(field.name, "Host")) {
      ++host_count;
      if (!is_authority(field.value)) return fail(ParseProblem::bad_request, "malformed Host");
    } else if (head.minor_version == 1 && equals_ignoring_case(field.name, "Expect")) {
      head.expects_continue = equals_ignoring_case(field.value, "100-continue");
    }
  }
  if (host_count > 1 || (host_count == 0 && head.minor_version == 1)) {
    return fail(ParseProblem::bad_request, host_count > 1 ? "repeated Host" : "missing Host");
  }
  if (head.method == "CONNECT") return fail(ParseProblem::unsupported, "CONNECT");
  if (!accept_target()) return fail(ParseProblem::bad_request, "malformed request target");
  if (head.content_length && *head.content_length > limits_.body_bytes) {
    return fail(ParseProblem::body_too_large, "Content-Length passes the body limit");
  }
  // A body that will not come is not worth a 100 (Continue).
  head.expects_continue = head.expects_continue && head.has_body();
  remaining_ = head.content_length.value_or(0);
  state_ = head.is_chunked ? State::chunked_body : remaining_ > 0 ? State::fixed_body : State::message_end;
  return Step::head;
}

bool MessageParser::accept_target() {
  RequestHead& head = request_;
  if (head.target.find('#') != std::string::npos) return false;
  if (head.target.front() == '/') return true;
  if (head.target == "*") return head.method == "OPTIONS";
  // absolute-form: http://authority[/path][?query]
  const std::string_view target = head.target;
  const std::size_t scheme_end = target.find("://");
  if (scheme_end == std::string_view::npos) return false;
  const std::string_view scheme = target.substr(0, scheme_end);
  if (!equals_ignoring_case(scheme, "http") && !equals_ignoring_case(scheme, "https")) return false;
  const std::size_t authority_start = scheme_end + 3;
  const std::size_t authority_end = std::min(target.find_first_of("/?", authority_start), target.size());
  const std::string_view authority = target.substr(authority_start, authority_end - authority_start);
  if (authority.empty() || !is_authority(authority)) return false;
  std::string path(target.substr(authority_end));
  if (path.empty() && head.method == "OPTIONS") {
    path = "*";  // RFC 9112 section 3.2.4
  } else if (path.empty() || path.front() == '?') {
    path.insert(path.begin(), '/');
  }
  head.headers.set("Host", authority);
  head.target = std::move(path);
  return true;
}

Step MessageParser::accept_response(std::string_view section) {
  ResponseHead& head = response_;
  head.status = (section[9] - '0') * 100 + (section[10] - '0') * 10 + (section[11] - '0');
  if (!is_field_value(reason_)) return fail(ParseProblem::bad_request, "control character in reason");
  head.reason = reason_;
  response_keep_alive_ = keeps_alive_;
  if (head.status == 101) return fail(ParseProblem::bad_request, "upgrade that nobody asked for");
  if (head.status < 200) {
    if (++interim_count_ > kMaxInterimResponses) return fail(ParseProblem::bad_request, "too many interim responses");
    response_ = {};
    reset_llhttp();
    return Step::need_more;
  }
  interim_count_ = 0;
  bool has_coding = false;
  const bool is_chunked = has_only_chunked(head.headers, has_coding);
  if (has_coding && (!is_chunked || head.minor_version == 0)) {
    return fail(ParseProblem::unsupported, "transfer coding");
  }
  if ((flags_ & F_CONTENT_LENGTH) != 0) head.content_length = announced_;
  if (skips_body_ || head.status == 204 || head.status == 304) {
    // llhttp believed in the body: its state is thrown away with the message.
    reset_llhttp();
    state_ = State::message_end;
    return Step::head;
  }
  if (is_chunked) {
    state_ = State::chunked_body;
  } else if (head.content_length) {
    if (*head.content_length > limits_.body_bytes) {
      return fail(ParseProblem::body_too_large, "Content-Length passes the body limit");
    }
    remaining_ = *head.content_length;
    state_ = remaining_ > 0 ? State::fixed_body : State::message_end;
  } else {
    response_keep_alive_ = false;
    state_ = State::body_until_close;
  }
  return Step::head;
}

Step MessageParser::parse_fixed_body(std::string_view& input) {
  if (input.empty()) return Step::need_more;
  const std::size_t size = static_cast<std::size_t>(std::min<std::uint64_t>(remaining_, input.size()));
  body_ = input.substr(0, size);
  input.remove_prefix(size);
  remaining_ -= size;
  if (remaining_ == 0) state_ = State::message_end;
  return Step::body;
}

Step MessageParser::parse_chunked_body(std::string_view& input) {
  while (!input.empty()) {
    body_ = {};
    const llhttp_errno error = llhttp_execute(llhttp_.get(), input.data(), input.size());
    if (state_ == State::failed) return Step::failed;
    std::size_t taken = input.size();
    if (error == HPE_PAUSED) {
      taken = static_cast<std::size_t>(llhttp_get_error_pos(llhttp_.get()) - input.data());
      llhttp_resume(llhttp_.get());
    } else if (error != HPE_OK) {
      const char* reason = llhttp_get_error_reason(llhttp_.get());
      fail(ParseProblem::bad_request, reason != nullptr ? reason : "malformed chunk");
      // The content before the fault is handed out first, whatever the cuts.
      return body_.empty() ? Step::failed : Step::body;
    }
    input.remove_prefix(taken);
    body_received_ += body_.size();
    chunk_framing_ += taken - body_.size();
    if (chunk_framing_ > kChunkFramingBytes + kChunkFramingPerByte * body_received_) {
      return fail(ParseProblem::bad_request, "chunk headers out of proportion");
    }
    if (is_last_chunk_) {
      state_ = State::trailers;
      field_count_ = 0;
      return parse_trailers(input);
    }
    if (!body_.empty()) return Step::body;
  }
  return Step::need_more;
}

// A long section that came in pieces is no reason to keep its memory for the life of the connection.
void MessageParser::drop_pending() {
  pending_.clear();
  if (pending_.capacity() > kKeptPending) std::string().swap(pending_);
}

Step MessageParser::parse_trailers(std::string_view& input) {
  std::string_view section;
  const Step step = collect_section(input, false, section);
  if (step != Step::head) return step;
  const llhttp_errno error = llhttp_execute(llhttp_.get(), section.data(), section.size());
  if (state_ == State::failed) return Step::failed;
  // It pauses at the end of the last chunk, which is the end of the section.
  if (error != HPE_OK && error != HPE_PAUSED) return fail(ParseProblem::bad_request, "malformed trailers");
  drop_pending();
  reset_llhttp();
  state_ = State::head;
  return Step::end;
}

Step ResponseParser::finish() {
  if (state_ == State::body_until_close) {
    state_ = State::head;
    return Step::end;
  }
  if (state_ == State::message_end) {
    state_ = State::head;
    return Step::end;
  }
  return fail(ParseProblem::bad_request, "connection closed inside the response");
}

}  // namespace outrigger::http1
