// What the configuration says of an issuer of tokens, and what the places its keys come from answer. Without a loop: the
// gateway's KeyKeeper asks them again and again, `outrigger token check` once. docs/identity.md has the rules.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "bridge/app/http_fetcher.h"
#include "bridge/base/result.h"
#include "bridge/identity/jwks.h"
#include "bridge/identity/jwt.h"

namespace outrigger::app {

// An issuer, and where its keys come from.
struct IssuerSettings {
  enum class Source : std::uint8_t {
    file,       // `location` is a path
    url,        // `location` is that of a JWK Set
    discovery,  // `location` is that of a discovery document (OpenID Connect Discovery 1.0); empty: where its section 4 says
    given,      // `keys`, for good: a shared secret
  };
  identity::IssuerRules rules;
  Source source = Source::discovery;
  std::string location;
  std::shared_ptr<const identity::KeySet> keys;
};

// Where the discovery document of `issuer` is (OpenID Connect Discovery 1.0 section 4).
std::string discovery_url(std::string_view issuer);
// What is asked first for its keys; empty: nothing, they are given.
std::string location_of(const IssuerSettings& issuer);
// The `jwks_uri` of a discovery document. Error `malformed` or `invalid`, for operators: not such a document, one of another
// issuer (section 4.3: its `issuer` is exactly the one that was asked for), or one whose keys travel without TLS though the
// issuer's name is an https URL.
base::Result<std::string> read_discovery(std::string_view document, std::string_view issuer);

// A regular file of at most FetchOptions::max_bytes, with status 200. Error `invalid` names the file. Any thread.
base::Result<Fetched> read_document(const std::string& path);
// The keys in what was had from `from`; keys that were passed over are in `remarks`, in words fit for a log. Error
// `upstream_failed` (another status than 200), or as KeySet::parse, naming `from`.
base::Result<identity::KeySet> read_key_set(const Fetched& document, const std::string& from, std::string& remarks);

}  // namespace outrigger::app
