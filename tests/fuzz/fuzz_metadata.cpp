// Metadata as they stand at Valkey. Input: a byte of options, then the bytes; with bit 0 they are the JSON inside and
// are compressed here, since no mutation makes a whole zlib stream. What decodes must encode, and decode again to the
// same.
#include <zlib.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>

#include "bridge/base/check.h"
#include "bridge/openapi/metadata_codec.h"
#include "tests/fuzz/fuzz_input.h"

namespace {

using namespace outrigger::openapi;
using outrigger::base::Code;

std::string deflated(std::string_view text) {
  uLongf size = compressBound(text.size());
  std::string bytes(size, '\0');
  CHECK(compress(reinterpret_cast<Bytef*>(bytes.data()), &size, reinterpret_cast<const Bytef*>(text.data()),
                 text.size()) == Z_OK);
  bytes.resize(size);
  return bytes;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  outrigger::fuzz::Input input(data, size);
  const bool is_text = (input.byte() & 1) != 0;
  const std::string bytes(is_text ? deflated(input.rest()) : std::string(input.rest()));
  auto metadata = decode_metadata(bytes, is_text ? sha256_hex(input.rest()) : "");
  if (!metadata) {
    CHECK(metadata.error().code == Code::malformed || metadata.error().code == Code::too_large);
    return 0;
  }
  CHECK(!decode_metadata(bytes, std::string(64, '0')));

  const auto encoded = encode_metadata(*metadata);
  if (!encoded) {
    CHECK(encoded.error().code == Code::too_large);
    return 0;
  }
  const auto again = decode_metadata(encoded->bytes, encoded->hash);
  CHECK(again && again->endpoints.size() == metadata->endpoints.size());
  CHECK(std::is_permutation(again->endpoints.begin(), again->endpoints.end(), metadata->endpoints.begin()));
  const auto encoded_again = encode_metadata(*again);
  CHECK(encoded_again && encoded_again->hash == encoded->hash && encoded_again->bytes == encoded->bytes);

  // The order of the endpoints does not matter.
  std::reverse(metadata->endpoints.begin(), metadata->endpoints.end());
  const auto reversed = encode_metadata(*metadata);
  CHECK(reversed && reversed->hash == encoded->hash);
  metadata->endpoints = again->endpoints;
  CHECK(*metadata == *again);
  return 0;
}
