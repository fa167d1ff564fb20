// What strangers send, in access records and problem documents. Input: a byte that chooses a problem, then values, one
// per line. Each output is one line without control characters; JSON is JSON and holds the values; in a text record the
// quoted fields can be told apart.
#include <array>
#include <cstddef>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "bridge/base/check.h"
#include "bridge/router/problem.h"
#include "bridge/telemetry/access_log.h"
#include "tests/fuzz/fuzz_input.h"

namespace {

using namespace outrigger;
using nlohmann::json;
using telemetry::AccessFormat;
using telemetry::AccessRecord;

bool is_utf8(std::string_view text) {
  const std::string valid_part = json(text).dump(-1, ' ', false, json::error_handler_t::ignore);
  return json::parse(valid_part).get<std::string>() == text;
}

void check_line(const std::string& line) {
  for (const char c : line) CHECK(static_cast<unsigned char>(c) >= 0x20 && c != 0x7f);
  // U+0080 to U+009F: some terminals obey them, too.
  for (std::size_t at = line.find('\xc2'); at != std::string::npos; at = line.find('\xc2', at + 1)) {
    CHECK(at + 1 < line.size() && static_cast<unsigned char>(line[at + 1]) >= 0xa0);
  }
  CHECK(is_utf8(line));
}

void check_member(const json& object, const char* name, std::string_view value, bool has_null) {
  if (value.empty()) {
    CHECK(has_null ? object.at(name).is_null() : !object.contains(name));
  } else if (is_utf8(value)) {
    CHECK(object.at(name).get<std::string>() == value);
  } else {
    CHECK(object.at(name).get<std::string>().find("\xef\xbf\xbd") != std::string::npos);
  }
}

// The inside of each quoted field.
std::vector<std::string> quoted_fields(const std::string& line) {
  std::vector<std::string> fields;
  for (std::size_t i = line.find('"'); i < line.size(); i = line.find('"', i + 1)) {
    std::string field;
    for (++i; line.at(i) != '"'; ++i) {
      field += line[i];
      if (line[i] == '\\') field += line.at(++i);
    }
    fields.push_back(std::move(field));
  }
  return fields;
}

std::string format_access(AccessFormat format, const AccessRecord& record) {
  std::string line;
  telemetry::append_access(line, format, record);
  return line;
}

void check_access(const AccessRecord& record) {
  const std::string line = format_access(AccessFormat::json, record);
  check_line(line);
  const json object = json::parse(line);
  CHECK(object.is_object());
  check_member(object, "method", record.method, true);
  check_member(object, "path", record.path, true);
  check_member(object, "x_forwarded_for", record.forwarded_for, true);
  check_member(object, "user_agent", record.user_agent, true);
  check_member(object, "request_id", record.request_id, true);
  check_member(object, "authority", record.authority, true);
  CHECK(object.at("response_code") == record.status);

  const std::string text = format_access(AccessFormat::text, record);
  check_line(text);
  CHECK(quoted_fields(text).size() == 6);
  check_line(format_access(AccessFormat::brief, record));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  fuzz::Input input(data, size);
  const auto code = static_cast<router::ProblemCode>(input.byte() % router::kProblemCodes);
  std::array<std::string_view, 6> values;
  for (std::string_view& value : values) value = input.line();
  AccessRecord record;
  record.status = router::describe(code).status;
  record.flags = router::describe(code).response_flag;
  record.code_details = router::describe(code).code;
  record.method = values[0];
  record.path = values[1];
  record.forwarded_for = values[2];
  record.user_agent = values[3];
  record.request_id = values[4];
  record.authority = values[5];
  check_access(record);

  const std::string problem = router::problem_json(code, values[1], values[4], values[5]);
  check_line(problem);
  const json object = json::parse(problem);
  CHECK(object.at("status") == record.status && object.at("code") == record.code_details);
  check_member(object, "detail", values[1], false);
  check_member(object, "traceId", values[4], false);
  check_member(object, "instance", values[5], false);
  return 0;
}
