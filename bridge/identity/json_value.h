// JSON as JOSE wants it read (RFC 8259, and RFC 7515 section 4, RFC 7519 section 4 for names that come twice): small
// documents from strangers, strictly. Not for the data path's frames. Any thread.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "bridge/base/result.h"

namespace outrigger::identity {

struct JsonValue {
  enum class Kind : std::uint8_t { null, boolean, integer, fraction, text, array, object };

  Kind kind = Kind::null;
  std::string name;              // in an object: its member's
  std::string text;              // of a text, unescaped; a number or boolean as JSON writes it
  std::vector<JsonValue> items;  // of an array or object

  bool is_text() const { return kind == Kind::text; }
  // Of an object: its member `name`, else nullptr.
  const JsonValue* find(std::string_view member) const;
};

inline constexpr std::size_t kJsonDepth =
    32;  // real tokens nest 5 deep; every further level costs stack when it is freed

// Error `malformed`, saying what is wrong but quoting nothing: `json` is not one JSON value in UTF-8 (a byte order mark
// or NUL bytes beside it are not), nests deeper than kJsonDepth, or has an object with two members of one name.
base::Result<JsonValue> parse_json(std::string_view json);

}  // namespace outrigger::identity
