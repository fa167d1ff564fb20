// ServiceMetadata as the bytes that stand at `router:endpoints:{service}:{hash}`: one JSON object, compressed with
// zlib. The hash is taken of the JSON, so that equal metadata have one key whatever compressed them.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "bridge/base/result.h"
#include "bridge/openapi/endpoints.h"

namespace outrigger::openapi {

// Room for a document of kDocumentBytes, escaped as a JSON string, and its endpoints. Inflating stops here.
inline constexpr std::size_t kMetadataTextBytes = 48 * base::limits::kMiB;

struct EncodedMetadata {
  std::string bytes;  // at most limits::kMetadataBytes
  std::string hash;   // 64 lower-case hex characters
};

// Deterministic: the order of the endpoints does not matter. Errors: too_large, invalid (text that is not UTF-8).
base::Result<EncodedMetadata> encode_metadata(const ServiceMetadata& metadata);

// The reverse, for bytes of anyone: too_large, or malformed if they break the format or do not have the hash
// `expected_hash` (empty = not checked). Unknown members are ignored.
base::Result<ServiceMetadata> decode_metadata(std::string_view bytes, std::string_view expected_hash);

// SHA-256 as 64 lower-case hex characters.
std::string sha256_hex(std::string_view bytes);

}  // namespace outrigger::openapi
