#include "bridge/identity/sha256.h"

#include <openssl/evp.h>

#include "bridge/base/check.h"

namespace outrigger::identity {

Sha256 sha256(std::string_view bytes) {
  // The fetched algorithm instead of EVP_sha256(), which is looked up again, under a lock, by each use. Never freed.
  static const EVP_MD* const algorithm = EVP_MD_fetch(nullptr, "SHA256", nullptr);
  Sha256 hash;
  CHECK(algorithm != nullptr && EVP_Digest(bytes.data(), bytes.size(), hash.data(), nullptr, algorithm, nullptr) == 1);
  return hash;
}

}  // namespace outrigger::identity
