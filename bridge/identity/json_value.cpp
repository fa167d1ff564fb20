#include "bridge/identity/json_value.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

namespace outrigger::identity {
namespace {

using Kind = JsonValue::Kind;

// Called by the parser for each piece; false ends it.
class Builder final : public nlohmann::json_sax<nlohmann::json> {
 public:
  bool null() override { return add(Kind::null, "null"); }
  bool boolean(bool value) override { return add(Kind::boolean, value ? "true" : "false"); }
  bool number_integer(number_integer_t value) override { return add(Kind::integer, std::to_string(value)); }
  bool number_unsigned(number_unsigned_t value) override { return add(Kind::integer, std::to_string(value)); }
  bool number_float(number_float_t, const string_t& text) override { return add(Kind::fraction, text); }
  bool string(string_t& value) override { return add(Kind::text, std::move(value)); }
  bool binary(binary_t&) override { return false; }
  bool start_object(std::size_t) override { return open(Kind::object); }
  bool key(string_t& name) override {
    name_ = std::move(name);
    return true;
  }
  bool end_object() override {
    const JsonValue& object = open_.back();
    std::vector<std::string_view> names;
    names.reserve(object.items.size());
    for (const JsonValue& member : object.items) names.push_back(member.name);
    std::sort(names.begin(), names.end());
    if (std::adjacent_find(names.begin(), names.end()) != names.end()) {
      problem_ = "an object has two members of the same name";
      return false;
    }
    return end_array();
  }
  bool start_array(std::size_t) override { return open(Kind::array); }
  bool end_array() override {
    JsonValue value = std::move(open_.back());
    open_.pop_back();
    place(std::move(value));
    return true;
  }
  bool parse_error(std::size_t, const std::string&, const nlohmann::detail::exception&) override { return false; }

  JsonValue take() { return std::move(root_); }
  const char* problem() const { return problem_; }

 private:
  bool add(Kind kind, std::string text) {
    place({kind, std::exchange(name_, {}), std::move(text), {}});
    return true;
  }
  bool open(Kind kind) {
    if (open_.size() == kJsonDepth) {
      problem_ = "nested too deeply";
      return false;
    }
    open_.push_back({kind, std::exchange(name_, {}), {}, {}});
    return true;
  }
  void place(JsonValue value) {
    if (open_.empty()) {
      root_ = std::move(value);
    } else {
      open_.back().items.push_back(std::move(value));
    }
  }

  JsonValue root_;
  std::vector<JsonValue> open_;
  std::string name_;  // of the member whose value comes next
  const char* problem_ = "not JSON";
};

}  // namespace

const JsonValue* JsonValue::find(std::string_view member) const {
  for (const JsonValue& item : items) {
    if (item.name == member) return &item;
  }
  return nullptr;
}

base::Result<JsonValue> parse_json(std::string_view json) {
  // The library takes a NUL for the end, whatever follows, and passes over a byte order mark.
  if (json.find('\0') != std::string_view::npos || json.substr(0, 1) == "\xef") {
    return base::Error{base::Code::malformed, "not JSON"};
  }
  Builder builder;
  if (!nlohmann::json::sax_parse(json.begin(), json.end(), &builder)) {
    return base::Error{base::Code::malformed, builder.problem()};
  }
  return builder.take();
}

}  // namespace outrigger::identity
