#include "bridge/openapi/metadata_codec.h"

#include <algorithm>

namespace outrigger::openapi {
namespace {

using base::Code;

ServiceMetadata sample() {
  ServiceMetadata metadata;
  metadata.service = "billing";
  metadata.service_version = "1.2.3";
  metadata.mount = "/billing";
  metadata.refuse_unlisted = true;
  metadata.rewrite_location = false;
  metadata.document = "{\"openapi\":\"3.1.0\",\"t\":\"\xc3\xa4 \\\" \"}";
  metadata.endpoints = {{"GET", "/a", true, std::chrono::seconds(30), false},
                        {"POST", "/a", std::nullopt, std::nullopt, true},
                        {"GET", "/b/{id}", false, std::nullopt, false, {{"scope", "b:read"}, {"admin", std::nullopt}}},
                        {"GET", "/c", {}, {}, false, {}, Security{{{"c:list", "c:read"}}, {{}}, {{""}}}},
                        {"PUT", "/c", {}, {}, false, {}, Security{}}};
  metadata.endpoints.back().undocumented = true;
  return metadata;
}

TEST(MetadataCodec, what_is_encoded_comes_back) {
  for (const bool catch_all : {false, true}) {
    ServiceMetadata metadata = sample();
    metadata.catch_all = catch_all;

    const auto encoded = encode_metadata(metadata);

    ASSERT_TRUE(encoded);
    const auto decoded = decode_metadata(encoded->bytes, encoded->hash);
    ASSERT_TRUE(decoded) << decoded.error().detail;
    EXPECT_EQ(*decoded, metadata);
  }
}

TEST(MetadataCodec, order_of_endpoints_does_not_change_the_hash_and_content_does) {
  ServiceMetadata shuffled = sample();
  std::reverse(shuffled.endpoints.begin(), shuffled.endpoints.end());
  ServiceMetadata other = sample();
  other.mount = "/other";

  EXPECT_EQ(encode_metadata(sample())->hash, encode_metadata(shuffled)->hash);
  EXPECT_EQ(encode_metadata(sample())->bytes, encode_metadata(shuffled)->bytes);
  EXPECT_NE(encode_metadata(sample())->hash, encode_metadata(other)->hash);
  EXPECT_EQ(encode_metadata(sample())->hash.size(), 64U);
}

// What sidecars before `security` announce has the hash it had, and says nothing of who may call.
TEST(MetadataCodec, metadata_without_security_are_as_they_were) {
  ServiceMetadata metadata = sample();
  metadata.endpoints.resize(3);
  const auto encoded = encode_metadata(metadata);

  EXPECT_EQ(encoded->hash, "3bf426a53e242cc6bcf8b04899f62c58f2aea459055024f6d17ba66489bb818c");
  EXPECT_EQ(*decode_metadata(encoded->bytes, encoded->hash), metadata);
}

TEST(MetadataCodec, security_within_its_bounds_only) {
  ServiceMetadata metadata = sample();
  const auto is_readable_with = [&metadata](Security security) {
    metadata.endpoints = {{"GET", "/a", {}, {}, false, {}, std::move(security)}};
    return decode_metadata(encode_metadata(metadata)->bytes, "").has_value();
  };

  EXPECT_TRUE(is_readable_with(Security(kSecurityAlternatives)));
  EXPECT_FALSE(is_readable_with(Security(kSecurityAlternatives + 1)));
  EXPECT_TRUE(is_readable_with({{std::vector<std::string>(kSecurityScopes - 1, "a")}, {{"b"}}}));
  EXPECT_FALSE(is_readable_with({{std::vector<std::string>(kSecurityScopes, "a")}, {{"b"}}}));
}

TEST(MetadataCodec, sha256_is_the_standard_one) {
  EXPECT_EQ(sha256_hex("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

TEST(MetadataCodec, bytes_under_the_wrong_hash_are_refused) {
  const auto encoded = encode_metadata(sample());

  EXPECT_FALSE(decode_metadata(encoded->bytes, std::string(64, '0')));
  EXPECT_TRUE(decode_metadata(encoded->bytes, ""));
}

TEST(MetadataCodec, every_cut_and_every_changed_byte_is_an_error) {
  const auto encoded = encode_metadata(sample());
  for (std::size_t size = 0; size < encoded->bytes.size(); ++size) {
    EXPECT_FALSE(decode_metadata(encoded->bytes.substr(0, size), encoded->hash)) << size;
  }
  for (std::size_t i = 0; i < encoded->bytes.size(); ++i) {
    std::string bytes = encoded->bytes;
    bytes[i] = static_cast<char>(bytes[i] ^ 0x20);
    const auto decoded = decode_metadata(bytes, encoded->hash);
    // A few header bits of zlib say nothing about the content.
    EXPECT_TRUE(!decoded || *decoded == sample()) << i;
  }
  EXPECT_FALSE(decode_metadata(encoded->bytes + "x", encoded->hash));
}

TEST(MetadataCodec, a_bomb_is_stopped_at_the_bound) {
  ServiceMetadata metadata = sample();
  metadata.document.assign(kMetadataTextBytes - 1000, ' ');  // shrinks to some 50 KB
  const auto at_bound = encode_metadata(metadata);
  ASSERT_TRUE(at_bound);
  EXPECT_LT(at_bound->bytes.size(), base::limits::kMetadataBytes);
  const auto decoded = decode_metadata(at_bound->bytes, "");
  ASSERT_FALSE(decoded);
  EXPECT_EQ(decoded.error().code, Code::too_large);

  metadata.document.assign(kMetadataTextBytes + 1, ' ');
  EXPECT_EQ(encode_metadata(metadata).error().code, Code::too_large);
}

TEST(MetadataCodec, too_much_after_compression_is_refused) {
  ServiceMetadata metadata = sample();
  metadata.document.clear();
  std::uint32_t state = 1;
  while (metadata.document.size() < 2 * base::limits::kMetadataBytes) {
    state = state * 1664525U + 1013904223U;
    metadata.document += static_cast<char>('!' + (state >> 24) % 90);
  }

  const auto encoded = encode_metadata(metadata);

  ASSERT_FALSE(encoded);
  EXPECT_EQ(encoded.error().code, Code::too_large);
  EXPECT_EQ(decode_metadata(std::string(base::limits::kMetadataBytes + 1, 'x'), "").error().code, Code::too_large);
}

TEST(MetadataCodec, text_that_is_not_utf8_is_an_error_not_an_exception) {
  ServiceMetadata metadata = sample();
  metadata.document = "\xff";

  EXPECT_EQ(encode_metadata(metadata).error().code, Code::invalid);
}

TEST(MetadataCodec, endpoints_that_are_none_are_refused) {
  for (const Endpoint& bad :
       {Endpoint{"", "/a", {}, {}, false}, Endpoint{"GET", "", {}, {}, false}, Endpoint{"GET", "a", {}, {}, false},
        Endpoint{"GET", "/a", {}, std::chrono::hours(25), false},
        Endpoint{"GET", "/a", {}, std::chrono::milliseconds(-1), false}}) {
    ServiceMetadata metadata = sample();
    metadata.endpoints = {bad};
    EXPECT_FALSE(decode_metadata(encode_metadata(metadata)->bytes, "")) << bad.method << bad.path;
  }
}

}  // namespace
}  // namespace outrigger::openapi
