// Addresses of Valkey in every spelling. Input: the text. What was read prints without its password, and what is
// printed reads back as the same place; messages do not quote what stands where a password may.
#include <cstddef>
#include <cstdint>
#include <string>

#include "bridge/base/check.h"
#include "bridge/valkey/valkey_url.h"

namespace {

using outrigger::valkey::parse_valkey_address;
using outrigger::valkey::ValkeyAddress;

constexpr std::string_view kSecret = "Hunter22";

bool contains(std::string_view text, std::string_view part) {
  return text.find(part) != std::string_view::npos;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto address = parse_valkey_address(text);
  if (!address) {
    CHECK(!address.error().detail.empty());
    // Where the secret stands behind something that introduces a password, no message may have it.
    const std::size_t at = text.find(kSecret);
    if (at != std::string_view::npos && text.find(kSecret, at + 1) == std::string_view::npos) {
      const std::string_view before = text.substr(0, at);
      const bool is_password = before.ends_with("valkey://user:") || before.ends_with("h:1,password=");
      if (is_password && before.size() <= 14) CHECK(!contains(address.error().detail, kSecret));
    }
    return 0;
  }
  const std::string printed = address->to_string_redacted();
  const auto again = parse_valkey_address(printed);
  CHECK(again);
  CHECK(again->host == address->host && again->port == address->port);
  CHECK(again->unix_path == address->unix_path && again->database == address->database);
  CHECK(again->unix_path.empty() ? again->tls == address->tls : true);
  CHECK(again->to_string_redacted() == printed);
  CHECK(address->host.empty() != address->unix_path.empty());
  // Whatever they are, user and password print alike.
  ValkeyAddress other = *address;
  if (!other.user.empty()) other.user = "somebody";
  if (!other.password.empty()) other.password = std::string(kSecret);
  CHECK(other.to_string_redacted() == printed);
  return 0;
}
