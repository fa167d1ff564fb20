#include "bridge/openapi/yaml.h"

#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/exceptions.h>
#include <yaml-cpp/parser.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <istream>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <streambuf>
#include <utility>
#include <vector>

#include "bridge/base/clock.h"
#include "bridge/openapi/endpoints.h"

namespace outrigger::openapi {

using base::Code;
using base::Error;
using base::Result;
using nlohmann::json;

namespace {

// The parser looks ahead for what makes a flow collection a key, to its end if need be, and a token takes it 200 to 400
// bytes: so many indicators without an event is more than any document has, and less than 100 MiB.
constexpr std::size_t kIndicatorsAhead = 200000;

// How the handler leaves the parser; never leaves this file.
struct Stop {
  Error error;
};

bool is_one_of(std::string_view text, std::initializer_list<std::string_view> texts) {
  return std::find(texts.begin(), texts.end(), text) != texts.end();
}

template <class Number>
bool read_number(std::string_view text, Number& number, int base) {
  const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), number, base);
  return failure == std::errc{} && end == text.data() + text.size();
}

std::size_t skip_digits(std::string_view text, std::size_t at) {
  return std::min(text.find_first_not_of("0123456789", at), text.size());
}

// [-+]? ( \. [0-9]+ | [0-9]+ ( \. [0-9]* )? ) ( [eE] [-+]? [0-9]+ )?
bool is_decimal(std::string_view text) {
  std::size_t at = text.empty() || (text[0] != '-' && text[0] != '+') ? 0 : 1;
  const std::size_t whole = skip_digits(text, at) - at;
  at += whole;
  std::size_t fraction = 0;
  if (at < text.size() && text[at] == '.') {
    fraction = skip_digits(text, at + 1) - at - 1;
    at += fraction + 1;
  }
  if (whole + fraction == 0) return false;
  if (at < text.size() && (text[at] == 'e' || text[at] == 'E')) {
    ++at;
    if (at < text.size() && (text[at] == '-' || text[at] == '+')) ++at;
    const std::size_t exponent = skip_digits(text, at) - at;
    if (exponent == 0) return false;
    at += exponent;
  }
  return at == text.size();
}

// A plain scalar by the core schema. What JSON has no number for (.inf, .nan, 1e999) stays text.
json resolve_plain(const std::string& text) {
  if (text.empty() || is_one_of(text, {"~", "null", "Null", "NULL"})) return nullptr;
  if (is_one_of(text, {"true", "True", "TRUE"})) return true;
  if (is_one_of(text, {"false", "False", "FALSE"})) return false;
  std::uint64_t natural = 0;
  std::int64_t integer = 0;
  const std::string_view digits = std::string_view(text).substr(text[0] == '+' ? 1 : 0);
  if (text.rfind("0x", 0) == 0 && read_number(std::string_view(text).substr(2), natural, 16)) return natural;
  if (text.rfind("0o", 0) == 0 && read_number(std::string_view(text).substr(2), natural, 8)) return natural;
  if (!is_decimal(text)) return text;
  if (read_number(digits, natural, 10)) return natural;
  if (read_number(digits, integer, 10)) return integer;
  double number = 0;
  const auto [end, failure] = std::from_chars(digits.data(), digits.data() + digits.size(), number);
  if (failure != std::errc{} || end != digits.data() + digits.size() || !std::isfinite(number)) return text;
  return number;
}

// Builds the value from the parser's events. Nothing recurses here.
class Builder final : public YAML::EventHandler {
 public:
  json take() { return std::move(root_); }
  std::size_t values() const { return values_; }

  void OnDocumentStart(const YAML::Mark&) override {}
  void OnDocumentEnd() override {}
  void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    if (awaits_key()) return set_key("null");
    add(mark, nullptr, anchor, 0);
  }
  void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                const std::string& text) override {
    count(mark, 1, text.size());
    const bool is_plain = tag == "?";
    if (awaits_key()) {
      if (anchor != 0) keep(mark, anchor, text, 0);
      open_.back().is_merge = is_plain && text == "<<";
      return set_key(text);
    }
    const bool is_typed = is_one_of(
        tag, {"tag:yaml.org,2002:null", "tag:yaml.org,2002:bool", "tag:yaml.org,2002:int", "tag:yaml.org,2002:float"});
    add(mark, is_plain || is_typed ? resolve_plain(text) : json(text), anchor, 0);
  }
  void OnAlias(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    const auto kept = anchors_.find(anchor);
    if (kept == anchors_.end()) throw Stop{at(mark, Code::malformed, "an alias inside of what it stands for")};
    count(mark, kept->second.values, kept->second.bytes);
    if (!awaits_key()) return add(mark, kept->second.value, 0, kept->second.height);
    if (!kept->second.value.is_string()) throw Stop{at(mark, Code::malformed, "a key that is not a scalar")};
    set_key(kept->second.value.get<std::string>());
  }
  void OnSequenceStart(const YAML::Mark& mark, const std::string&, YAML::anchor_t anchor,
                       YAML::EmitterStyle::value) override {
    open(mark, json::array(), anchor);
  }
  void OnSequenceEnd() override { close(); }
  void OnMapStart(const YAML::Mark& mark, const std::string&, YAML::anchor_t anchor,
                  YAML::EmitterStyle::value) override {
    open(mark, json::object(), anchor);
  }
  void OnMapEnd() override {
    Open& map = open_.back();
    for (json& source : map.merges) {
      for (auto& [key, value] : source.items()) {
        if (!map.value.contains(key)) map.value[key] = std::move(value);
      }
    }
    close();
  }

 private:
  struct Open {
    json value;
    YAML::anchor_t anchor;
    YAML::Mark mark;
    std::size_t values_before;
    std::size_t bytes_before;
    std::string key = {};
    bool has_key = false;
    bool is_merge = false;  // the key is `<<`
    int height = 0;         // levels below
    std::vector<json> merges = {};
  };
  struct Kept {
    json value;
    std::size_t values;
    std::size_t bytes;
    int height;
  };

  static Error at(const YAML::Mark& mark, Code code, const std::string& why) {
    return {code, "not YAML: line " + std::to_string(mark.line + 1) + ", column " + std::to_string(mark.column + 1) +
                      ": " + why};
  }

  bool awaits_key() const { return !open_.empty() && open_.back().value.is_object() && !open_.back().has_key; }
  void set_key(std::string key) {
    open_.back().key = std::move(key);
    open_.back().has_key = true;
  }

  void count(const YAML::Mark& mark, std::size_t values, std::size_t bytes) {
    values_ += values;
    bytes_ += bytes;
    if (values_ > kDocumentValues || bytes_ > kDocumentBytes) {
      const bool is_many = values_ > kDocumentValues;
      const std::string most = std::to_string(is_many ? kDocumentValues : kDocumentBytes);
      throw Stop{at(mark, Code::too_large,
                    "more than " + most + (is_many ? " values" : " bytes") + " with all its aliases written out")};
    }
  }

  void open(const YAML::Mark& mark, json value, YAML::anchor_t anchor) {
    if (awaits_key()) throw Stop{at(mark, Code::malformed, "a key that is not a scalar")};
    if (open_.size() == static_cast<std::size_t>(kDocumentDepth)) {
      throw Stop{at(mark, Code::too_large, "nested deeper than " + std::to_string(kDocumentDepth) + " levels")};
    }
    const std::size_t values_before = values_;
    count(mark, 1, 0);
    open_.push_back({std::move(value), anchor, mark, values_before, bytes_});
  }

  void close() {
    Open done = std::move(open_.back());
    open_.pop_back();
    place(done.mark, std::move(done.value), done.anchor, done.height + 1, values_ - done.values_before,
          bytes_ - done.bytes_before);
  }

  void add(const YAML::Mark& mark, json value, YAML::anchor_t anchor, int height) {
    const std::size_t bytes = value.is_string() ? value.get_ref<const std::string&>().size() : 0;
    place(mark, std::move(value), anchor, height, 1, bytes);
  }

  void keep(const YAML::Mark& mark, YAML::anchor_t anchor, json value, int height, std::size_t values = 1,
            std::size_t bytes = 0) {
    count(mark, values, bytes);  // a copy of it is held
    anchors_[anchor] = {std::move(value), values, bytes, height};
  }

  void place(const YAML::Mark& mark, json value, YAML::anchor_t anchor, int height, std::size_t values,
             std::size_t bytes) {
    if (static_cast<int>(open_.size()) + height > kDocumentDepth) {
      throw Stop{at(mark, Code::too_large, "nested deeper than " + std::to_string(kDocumentDepth) + " levels")};
    }
    if (anchor != 0) keep(mark, anchor, value, height, values, bytes);
    if (open_.empty()) {
      root_ = std::move(value);
      return;
    }
    Open& parent = open_.back();
    parent.height = std::max(parent.height, height);
    if (parent.value.is_array()) return parent.value.push_back(std::move(value));
    parent.has_key = false;
    if (!std::exchange(parent.is_merge, false)) {
      parent.value[std::move(parent.key)] = std::move(value);
      return;
    }
    const auto merge = [&](json source) {
      if (!source.is_object()) throw Stop{at(mark, Code::malformed, "<< must name a mapping, or a list of mappings")};
      parent.merges.push_back(std::move(source));
    };
    if (!value.is_array()) return merge(std::move(value));
    for (json& source : value) merge(std::move(source));
  }

  json root_;
  std::vector<Open> open_;
  std::map<YAML::anchor_t, Kept> anchors_;
  std::size_t values_ = 0;
  std::size_t bytes_ = 0;
};

// Gives the text to the parser piece by piece, and ends it where the parser takes too much time or room for it.
class Feed final : public std::streambuf {
 public:
  Feed(std::string_view text, const Builder& builder) : text_(text), builder_(builder) {}
  const std::optional<Error>& error() const { return error_; }

 private:
  int_type underflow() override {
    constexpr std::size_t kPiece = 2048;
    if (error_ || text_.empty()) return traits_type::eof();
    if (std::exchange(values_, builder_.values()) != builder_.values()) indicators_ = 0;
    const std::string_view piece = text_.substr(0, kPiece);
    for (const char c : piece) indicators_ += std::string_view(",[]{}:").find(c) != std::string_view::npos ? 1 : 0;
    if (indicators_ > kIndicatorsAhead) error_ = Error{Code::too_large, "not YAML: a flow collection that is too large"};
    if (base::system_clock().monotonic() > give_up_) error_ = Error{Code::deadline, "not YAML: it takes too long to read"};
    if (error_) return traits_type::eof();
    text_.remove_prefix(piece.size());
    char* begin = const_cast<char*>(piece.data());  // the standard's API; nobody writes
    setg(begin, begin, begin + piece.size());
    return traits_type::to_int_type(*begin);
  }

  std::string_view text_;
  const Builder& builder_;
  std::size_t values_ = 0;
  std::size_t indicators_ = 0;  // since the last value
  std::optional<Error> error_;
  const base::TimePoint give_up_ = base::system_clock().monotonic() + kYamlTime;
};

}  // namespace

Result<json> parse_yaml(std::string_view text) {
  if (text.size() > kDocumentBytes) {
    return Error{Code::too_large, "document of " + std::to_string(text.size()) + " bytes, at most " +
                                      std::to_string(kDocumentBytes) + " are read"};
  }
  Builder builder;
  Feed feed(text, builder);
  try {
    std::istream stream(&feed);
    YAML::Parser parser(stream);
    parser.HandleNextDocument(builder);
  } catch (const Stop& stop) {
    return feed.error().value_or(stop.error);
  } catch (const std::exception& e) {  // YAML::Exception, or what the standard library throws beneath it
    if (feed.error()) return *feed.error();
    std::string why = e.what();
    const std::string_view prefix = "yaml-cpp: error at ";  // the library's name says nothing to who wrote the document
    if (why.rfind(prefix, 0) == 0) why.erase(0, prefix.size());
    return Error{Code::malformed, "not YAML: " + why};
  }
  if (feed.error()) return *feed.error();
  return builder.take();
}

}  // namespace outrigger::openapi
