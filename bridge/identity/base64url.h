// Base64url without padding (RFC 7515 section 2, RFC 4648 section 5), as JOSE uses it. Any thread.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace outrigger::identity {

std::string encode_base64url(std::string_view bytes);
// nullopt unless encode_base64url makes the same text of the result: no padding, no white space, no other alphabet, and
// no bits set in the last character that stand for nothing (else several texts would be one token).
std::optional<std::string> decode_base64url(std::string_view text);

}  // namespace outrigger::identity
