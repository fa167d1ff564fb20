#include "bridge/cli/dead_format.h"

#include <algorithm>

#include "bridge/base/clock.h"
#include "bridge/cli/table.h"

namespace outrigger::cli {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::size_t kTargetColumns = 80;  // a table is for the eye; JSON has all of it
constexpr char kRedacted[] = "***";

std::string or_dash(std::string text) { return text.empty() ? "-" : text; }

// The age of what happened at `at_ms`, where that is known.
std::string age_since(std::uint64_t at_ms, std::int64_t now_ms) {
  return at_ms == 0 ? "-" : age_text(now_ms - static_cast<std::int64_t>(at_ms));
}

std::string time_text(std::uint64_t at_ms, std::int64_t now_ms) {
  constexpr std::uint64_t kLatest = 253'402'300'799'999;  // the year 9999: what a calendar can say
  if (at_ms == 0 || at_ms > kLatest) return "-";
  return base::to_rfc3339(std::chrono::milliseconds(at_ms)) + " (" + age_since(at_ms, now_ms) + " ago)";
}

std::string value_of(base::HeaderField field, const ShowOptions& options) {
  return is_secret_field(field.name) && !options.with_secrets ? kRedacted : std::string(field.value);
}

}  // namespace

std::string age_text(std::int64_t ms) {
  if (ms < 0) return "-";
  const std::int64_t seconds = ms / 1000;
  if (seconds < 2 * 60) return std::to_string(seconds) + "s";
  if (seconds < 2 * 60 * 60) return std::to_string(seconds / 60) + "m";
  if (seconds < 2 * 24 * 60 * 60) return std::to_string(seconds / (60 * 60)) + "h";
  return std::to_string(seconds / (24 * 60 * 60)) + "d";
}

std::string_view target_of(const frames::Request& request, bool with_query) {
  const std::string_view target = request.target;
  return with_query ? target : target.substr(0, target.find('?'));
}

bool is_secret_field(std::string_view name) {
  std::string lowered(name);
  for (char& c : lowered) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c + ('a' - 'A'));
    if (c == '_') c = '-';
  }
  for (const std::string_view part : {"authorization", "cookie", "token", "secret", "password", "passwd", "api-key", "apikey",
                                      "credential", "session", "signature", "-jwt", "client-cert"}) {
    if (lowered.find(part) != std::string::npos) return true;
  }
  return false;
}

std::string base64(std::string_view bytes) {
  constexpr char kDigits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string out;
  out.reserve((bytes.size() + 2) / 3 * 4);
  for (std::size_t i = 0; i < bytes.size(); i += 3) {
    const auto byte = [&](std::size_t at) -> unsigned {
      return at < bytes.size() ? static_cast<unsigned char>(bytes[at]) : 0;
    };
    const unsigned group = byte(i) << 16 | byte(i + 1) << 8 | byte(i + 2);
    out += kDigits[group >> 18];
    out += kDigits[group >> 12 & 63];
    out += i + 1 < bytes.size() ? kDigits[group >> 6 & 63] : '=';
    out += i + 2 < bytes.size() ? kDigits[group & 63] : '=';
  }
  return out;
}

std::string dump(const Json& json) { return json.dump(2, ' ', false, Json::error_handler_t::replace); }

std::string list_table(const std::vector<FoundLetter>& letters, std::int64_t now_ms, bool with_query) {
  std::vector<std::vector<std::string>> rows;
  for (const auto& [service, id, letter, body_bytes] : letters) {
    std::string method = "-";
    std::string target = "unreadable";
    std::string repeatable = "-";
    if (letter.request) {
      method = letter.request->method;
      target = target_of(*letter.request, with_query);
      if (target.size() > kTargetColumns) target = target.substr(0, kTargetColumns - 3) + "...";
      repeatable = letter.request->repeatable ? "yes" : "no";
    }
    rows.push_back({service, messaging::to_string(id), age_since(id.ms, now_ms), or_dash(letter.reason), method, target,
                    std::to_string(letter.attempts), age_since(letter.first_seen_ms, now_ms), or_dash(letter.entry),
                    repeatable});
  }
  return make_table({"SERVICE", "ID", "AGE", "REASON", "METHOD", "TARGET", "ATTEMPTS", "FIRST SEEN", "ENTRY", "REPEATABLE"},
                    std::move(rows));
}

Json list_item(const FoundLetter& found, std::int64_t now_ms, bool with_query) {
  const frames::DeadLetter& letter = found.letter;
  Json item{{"service", found.service},
            {"id", messaging::to_string(found.id)},
            {"age_ms", now_ms - static_cast<std::int64_t>(found.id.ms)},
            {"reason", letter.reason}};
  if (letter.request) {
    item["method"] = letter.request->method;
    item["target"] = target_of(*letter.request, with_query);
    item["repeatable"] = letter.request->repeatable;
    item["streamed"] = letter.request->streamed.has_value();
    item["body_bytes"] = found.body_bytes;
    item["request"] = letter.request->id;
  } else {
    item["unreadable"] = letter.request.error().detail;
  }
  item["attempts"] = letter.attempts;
  if (letter.first_seen_ms != 0) {
    item["first_seen_ms"] = letter.first_seen_ms;
    item["first_seen_age_ms"] = now_ms - static_cast<std::int64_t>(letter.first_seen_ms);
  }
  item["queue"] = letter.queue;
  item["entry"] = letter.entry;
  item["instance"] = letter.instance;
  return item;
}

std::string show_text(const FoundLetter& found, std::int64_t now_ms, const ShowOptions& options) {
  const frames::DeadLetter& letter = found.letter;
  std::string out;
  const auto line = [&out](std::string_view name, std::string value) {
    out.append(name).append(14 - name.size(), ' ').append(printable(or_dash(std::move(value)))).append("\n");
  };
  line("service", found.service);
  line("id", messaging::to_string(found.id));
  line("given up", time_text(found.id.ms, now_ms));
  line("reason", letter.reason);
  if (!letter.detail.empty()) line("detail", letter.detail);
  line("attempts", std::to_string(letter.attempts));
  line("first seen", time_text(letter.first_seen_ms, now_ms));
  line("queue", letter.queue);
  line("entry", letter.entry);
  line("instance", letter.instance);
  if (!letter.request) {
    line("unreadable", letter.request.error().detail);
    return out;
  }
  const frames::Request& request = *letter.request;
  line("request", request.id);
  line("repeatable", request.repeatable ? "yes" : "no: it is redriven with --may-run-twice only");
  line("max attempts", std::to_string(request.max_attempts));
  line("deadline", request.deadline_ms < 0 ? "" : time_text(static_cast<std::uint64_t>(request.deadline_ms), now_ms));
  if (!request.traceparent.empty()) line("traceparent", request.traceparent);
  if (request.origin) {
    line("redriven", "it was: letter " + request.origin->dead + ", request " + request.origin->id + ", " +
                         request.origin->reason);
  }
  line("body", request.streamed ? "not kept: it was streamed, and the letter cannot be redriven"
                                : std::to_string(request.body.size()) + " bytes" +
                                      (request.body.empty() ? "" : " (--body writes them)"));
  out += "\n" + printable(request.method + " " + request.target) + "\n";
  if (!request.authority.empty()) out += printable("host: " + request.authority) + "\n";
  for (const base::HeaderField field : request.headers) {
    out += printable(std::string(field.name) + ": " + value_of(field, options)) + "\n";
  }
  return out;
}

Json show_item(const FoundLetter& found, std::int64_t now_ms, const ShowOptions& options) {
  Json item = list_item(found, now_ms, true);
  if (!found.letter.detail.empty()) item["detail"] = found.letter.detail;
  if (!found.letter.request) return item;
  const frames::Request& request = *found.letter.request;
  item["scheme"] = request.scheme;
  item["authority"] = request.authority;
  item["max_attempts"] = request.max_attempts;
  item["deadline_ms"] = request.deadline_ms;
  if (!request.traceparent.empty()) item["traceparent"] = request.traceparent;
  if (request.origin) {
    item["origin"] = {{"dead", request.origin->dead},
                      {"id", request.origin->id},
                      {"reason", request.origin->reason},
                      {"first_seen", request.origin->first_seen_ms}};
  }
  item["headers"] = Json::array();
  for (const base::HeaderField field : request.headers) {
    item["headers"].push_back(Json::array({std::string(field.name), value_of(field, options)}));
  }
  if (options.with_body) item["body"] = base64(request.body);
  return item;
}

}  // namespace outrigger::cli
