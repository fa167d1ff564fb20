#include "bridge/openapi/metadata_codec.h"

#include <openssl/evp.h>
#include <zlib.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <tuple>

#include "bridge/openapi/document.h"

namespace outrigger::openapi {

using base::Code;
using base::Error;
using base::Result;
using nlohmann::json;

namespace {

// Each with all that it may have.
constexpr std::size_t kTextValues = kEndpoints * (16 + 3 * kClaims + 2 * kSecurityAlternatives + kSecurityScopes);
constexpr int kTextDepth = 8;  // the object, its endpoints, and room for members to come

Result<std::string> deflate_text(const std::string& text) {
  uLongf size = compressBound(text.size());
  std::string bytes(size, '\0');
  const int rc = compress2(reinterpret_cast<Bytef*>(bytes.data()), &size, reinterpret_cast<const Bytef*>(text.data()),
                           text.size(), Z_DEFAULT_COMPRESSION);
  if (rc != Z_OK) return Error{Code::invalid, "zlib: compress failed with " + std::to_string(rc)};
  bytes.resize(size);
  return bytes;
}

Result<std::string> inflate_text(std::string_view bytes) {
  z_stream stream{};
  if (inflateInit(&stream) != Z_OK) return Error{Code::malformed, "zlib: cannot start"};
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(bytes.data()));  // zlib's API; it only reads
  stream.avail_in = static_cast<uInt>(bytes.size());
  std::string text;
  char chunk[16 * 1024];
  int rc = Z_OK;
  while (rc == Z_OK && text.size() <= kMetadataTextBytes) {
    stream.next_out = reinterpret_cast<Bytef*>(chunk);
    stream.avail_out = sizeof(chunk);
    rc = inflate(&stream, Z_NO_FLUSH);
    text.append(chunk, sizeof(chunk) - stream.avail_out);
  }
  const bool has_rest = stream.avail_in != 0;
  inflateEnd(&stream);
  if (text.size() > kMetadataTextBytes) {
    return Error{Code::too_large, "metadata inflate to more than " + std::to_string(kMetadataTextBytes) + " bytes"};
  }
  if (rc != Z_STREAM_END || has_rest) return Error{Code::malformed, "metadata are not one whole zlib stream"};
  return text;
}

Result<Security> security_from(const json& list) {
  if (list.size() > kSecurityAlternatives) return Error{Code::too_large, "endpoints: too many alternatives of security"};
  if (!list.is_array()) return Error{Code::malformed, "endpoints: security is not an array"};
  Security security;
  std::size_t scopes = 0;
  for (const json& alternative : list) {
    const json& named = alternative.at("scopes");
    if (!named.is_array()) return Error{Code::malformed, "endpoints: scopes are not an array"};
    if ((scopes += named.size()) > kSecurityScopes) return Error{Code::too_large, "endpoints: too many scopes"};
    security.push_back({named.get<std::vector<std::string>>()});
  }
  return security;
}

Result<ServiceMetadata> from_json(const json& object) {
  ServiceMetadata metadata;
  try {
    object.at("service").get_to(metadata.service);
    metadata.service_version = object.value("serviceVersion", "");
    metadata.mount = object.value("mount", "");
    metadata.refuse_unlisted = object.value("refuseUnlisted", false);
    metadata.rewrite_location = object.value("rewriteLocation", true);
    metadata.idempotency_key = object.value("idempotencyKey", false);
    metadata.catch_all = object.value("catchAll", false);
    metadata.document = object.value("document", "");
    if (metadata.service.empty()) return Error{Code::malformed, "service: empty"};
    if (metadata.document.size() > kDocumentBytes) return Error{Code::too_large, "document: too large"};
    const auto endpoints = object.find("endpoints");
    if (endpoints == object.end()) return metadata;
    if (!endpoints->is_array()) return Error{Code::malformed, "endpoints: not an array"};
    if (endpoints->size() > kEndpoints) return Error{Code::too_large, "endpoints: too many"};
    for (const json& entry : *endpoints) {
      Endpoint endpoint;
      entry.at("method").get_to(endpoint.method);
      entry.at("path").get_to(endpoint.path);
      endpoint.hidden = entry.value("hidden", false);
      if (entry.contains("repeatable")) endpoint.repeatable = entry.at("repeatable").get<bool>();
      if (entry.contains("timeoutMs")) {
        // Looked at before it is converted: no number that does not fit becomes one that does.
        const json& timeout = entry.at("timeoutMs");
        if (!timeout.is_number_integer() || timeout < 1 || timeout > kLongestTimeout.count()) {
          return Error{Code::malformed, "endpoints: timeoutMs out of range"};
        }
        endpoint.timeout = std::chrono::milliseconds(timeout.get<std::int64_t>());
      }
      if (const auto claims = entry.find("claims"); claims != entry.end()) {
        if (claims->size() > kClaims) return Error{Code::too_large, "endpoints: too many claims"};
        for (const json& claim : *claims) {
          endpoint.claims.push_back({claim.at("name").get<std::string>(), std::nullopt});
          if (claim.contains("value")) endpoint.claims.back().value = claim.at("value").get<std::string>();
        }
      }
      if (const auto security = entry.find("security"); security != entry.end()) {
        auto alternatives = security_from(*security);
        if (!alternatives) return alternatives.error();
        endpoint.security = *std::move(alternatives);
      }
      endpoint.undocumented = entry.value("undocumented", false);
      if (endpoint.method.empty() || endpoint.path.empty() || endpoint.path.front() != '/') {
        return Error{Code::malformed, "endpoints: \"" + endpoint.method + " " + endpoint.path + "\" is none"};
      }
      metadata.endpoints.push_back(std::move(endpoint));
    }
  } catch (const json::exception& e) {
    return Error{Code::malformed, std::string("metadata: ") + e.what()};
  }
  return metadata;
}

}  // namespace

std::string sha256_hex(std::string_view bytes) {
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned size = 0;
  // Fails only without memory, which ends the process anyway.
  CHECK(EVP_Digest(bytes.data(), bytes.size(), digest, &size, EVP_sha256(), nullptr) == 1);
  std::string hex;
  for (unsigned i = 0; i < size; ++i) {
    hex += "0123456789abcdef"[digest[i] >> 4];
    hex += "0123456789abcdef"[digest[i] & 15];
  }
  return hex;
}

Result<EncodedMetadata> encode_metadata(const ServiceMetadata& metadata) {
  json endpoints = json::array();
  for (const Endpoint& endpoint : metadata.endpoints) {
    json entry = {{"method", endpoint.method}, {"path", endpoint.path}};
    if (endpoint.repeatable) entry["repeatable"] = *endpoint.repeatable;
    if (endpoint.timeout) entry["timeoutMs"] = endpoint.timeout->count();
    if (endpoint.hidden) entry["hidden"] = true;
    for (const Claim& claim : endpoint.claims) {
      json& claims = entry["claims"];
      claims.push_back({{"name", claim.name}});
      if (claim.value) claims.back()["value"] = *claim.value;
    }
    if (endpoint.security) {
      json& security = entry["security"] = json::array();
      for (const SecurityAlternative& alternative : *endpoint.security) security.push_back({{"scopes", alternative.scopes}});
    }
    if (endpoint.undocumented) entry["undocumented"] = true;
    endpoints.push_back(std::move(entry));
  }
  // Twins of one path and method stand in the order of what else they say.
  std::sort(endpoints.begin(), endpoints.end(), [](const json& a, const json& b) {
    return std::tie(a["path"], a["method"], a) < std::tie(b["path"], b["method"], b);
  });
  json object = {{"service", metadata.service},
                       {"serviceVersion", metadata.service_version},
                       {"mount", metadata.mount},
                       {"refuseUnlisted", metadata.refuse_unlisted},
                       {"rewriteLocation", metadata.rewrite_location},
                       {"catchAll", metadata.catch_all},
                       {"document", metadata.document},
                       {"endpoints", std::move(endpoints)}};
  // Left out where it is false: what older sidecars announce keeps its hash.
  if (metadata.idempotency_key) object["idempotencyKey"] = true;
  std::string text;
  try {
    text = object.dump();
  } catch (const json::exception& e) {
    return Error{Code::invalid, std::string("metadata: ") + e.what()};
  }
  if (text.size() > kMetadataTextBytes) return Error{Code::too_large, "metadata: too large"};
  auto bytes = deflate_text(text);
  if (!bytes) return bytes.error();
  if (bytes->size() > base::limits::kMetadataBytes) {
    return Error{Code::too_large, "metadata have " + std::to_string(bytes->size()) + " bytes compressed, at most " +
                                      std::to_string(base::limits::kMetadataBytes) + " may be stored"};
  }
  return EncodedMetadata{*std::move(bytes), sha256_hex(text)};
}

Result<ServiceMetadata> decode_metadata(std::string_view bytes, std::string_view expected_hash) {
  if (bytes.size() > base::limits::kMetadataBytes) return Error{Code::too_large, "metadata: too large"};
  const auto text = inflate_text(bytes);
  if (!text) return text.error();
  if (!expected_hash.empty() && sha256_hex(*text) != expected_hash) {
    return Error{Code::malformed, "metadata do not have the hash they are stored under"};
  }
  if (auto shallow = check_shape(*text, kTextDepth, kTextValues); !shallow) return shallow.error();
  const json object = json::parse(*text, nullptr, /*allow_exceptions=*/false);
  if (!object.is_object()) return Error{Code::malformed, "metadata are not a JSON object"};
  return from_json(object);
}

}  // namespace outrigger::openapi
