#include "bridge/identity/token_cache.h"

#include <openssl/evp.h>

#include "bridge/base/check.h"

namespace outrigger::identity {

TokenHash hash_token(std::string_view token) {
  TokenHash hash;
  CHECK(EVP_Digest(token.data(), token.size(), hash.data(), nullptr, EVP_sha256(), nullptr) == 1);
  return hash;
}

}  // namespace outrigger::identity
