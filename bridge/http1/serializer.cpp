#include "bridge/http1/serializer.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <ctime>

namespace outrigger::http1 {
namespace {

using base::equals_ignoring_case;

constexpr std::array<bool, 256> make_token_table() {
  std::array<bool, 256> table{};
  for (int c = '0'; c <= '9'; ++c) table[static_cast<std::size_t>(c)] = true;
  for (int c = 'a'; c <= 'z'; ++c) table[static_cast<std::size_t>(c)] = true;
  for (int c = 'A'; c <= 'Z'; ++c) table[static_cast<std::size_t>(c)] = true;
  for (const char c : std::string_view("!#$%&'*+-.^_`|~")) table[static_cast<unsigned char>(c)] = true;
  return table;
}
constexpr std::array<bool, 256> kTokenTable = make_token_table();

bool is_control(char c) {
  const auto byte = static_cast<unsigned char>(c);
  return (byte < 0x20 && byte != '\t') || byte == 0x7f;
}

// Written from the framing, never from the list.
bool is_ours(std::string_view name) {
  switch (name.size()) {
    case 2:
      return equals_ignoring_case(name, "TE");
    case 7:
      return equals_ignoring_case(name, "Trailer") || equals_ignoring_case(name, "Upgrade");
    case 10:
      return equals_ignoring_case(name, "Connection") || equals_ignoring_case(name, "Keep-Alive");
    case 14:
      return equals_ignoring_case(name, "Content-Length");
    case 16:
      return equals_ignoring_case(name, "Proxy-Connection");
    case 17:
      return equals_ignoring_case(name, "Transfer-Encoding");
    default:
      return false;
  }
}

void append_number(std::string& out, std::uint64_t number, int base = 10) {
  char digits[20];
  const auto end = std::to_chars(digits, digits + sizeof digits, number, base).ptr;
  out.append(digits, end);
}

bool append_fields(std::string& out, const base::HeaderList& headers, const Framing& framing) {
  for (const base::HeaderField field : headers) {
    if (!is_token(field.name) || !is_field_value(field.value)) return false;
    if (is_ours(field.name)) continue;
    out.append(field.name).append(": ").append(field.value).append("\r\n");
  }
  if (framing.body == Framing::Body::length) {
    out.append("Content-Length: ");
    append_number(out, framing.length);
    out.append("\r\n");
  } else if (framing.body == Framing::Body::chunked) {
    out.append("Transfer-Encoding: chunked\r\n");
  }
  if (framing.connection == Framing::Connection::close) {
    out.append("Connection: close\r\n");
  } else if (framing.connection == Framing::Connection::keep_alive) {
    out.append("Connection: keep-alive\r\n");
  }
  out.append("\r\n");
  return true;
}

}  // namespace

bool is_token(std::string_view text) {
  return !text.empty() &&
         std::all_of(text.begin(), text.end(), [](char c) { return kTokenTable[static_cast<unsigned char>(c)]; });
}

bool is_field_value(std::string_view text) {
  return std::none_of(text.begin(), text.end(), is_control);
}

bool append_request_head(std::string& out, std::string_view method, std::string_view target,
                         const base::HeaderList& headers, const Framing& framing) {
  const bool is_sendable_target = !target.empty() && std::none_of(target.begin(), target.end(), [](char c) {
    return is_control(c) || c == ' ' || c == '\t';
  });
  if (!is_token(method) || !is_sendable_target) return false;
  const std::size_t before = out.size();
  out.append(method).append(" ").append(target).append(" HTTP/1.1\r\n");
  if (append_fields(out, headers, framing)) return true;
  out.resize(before);
  return false;
}

bool append_response_head(std::string& out, const ResponseHead& head, const Framing& framing, std::string_view date) {
  if (head.status < 100 || head.status > 999 || !is_field_value(head.reason)) return false;
  const std::size_t before = out.size();
  out.append("HTTP/1.1 ");
  append_number(out, static_cast<std::uint64_t>(head.status));
  out.append(" ").append(head.reason.empty() ? reason_phrase(head.status) : head.reason).append("\r\n");
  if (!date.empty() && !head.headers.find("Date")) out.append("Date: ").append(date).append("\r\n");
  if (append_fields(out, head.headers, framing)) return true;
  out.resize(before);
  return false;
}

void append_chunk_header(std::string& out, std::size_t size) {
  append_number(out, size, 16);
  out.append("\r\n");
}

std::string to_http_date(std::int64_t seconds) {
  static constexpr const char* kDays[] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
  static constexpr const char* kMonths[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                            "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
  const std::time_t time = static_cast<std::time_t>(seconds);
  std::tm parts{};
  ::gmtime_r(&time, &parts);
  char text[64];
  // Not by locale: the names are fixed by the grammar.
  std::snprintf(text, sizeof text, "%s, %02d %s %04d %02d:%02d:%02d GMT", kDays[parts.tm_wday], parts.tm_mday,
                kMonths[parts.tm_mon], parts.tm_year + 1900, parts.tm_hour, parts.tm_min, parts.tm_sec);
  return text;
}

std::optional<std::uint64_t> parse_content_length(std::string_view text) {
  std::uint64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return number;
}

}  // namespace outrigger::http1
