#include "bridge/app/issuer_keys.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <nlohmann/json.hpp>
#include <utility>
#include <vector>

#include "bridge/base/header_list.h"
#include "bridge/identity/printable.h"

namespace outrigger::app {
namespace {

using base::Code;
using base::Error;
using base::Result;
using identity::KeySet;

constexpr std::size_t kShownUrlBytes = 512;  // of what a discovery document says: it stands in logs and in /readyz
constexpr std::size_t kShownRemarks = 5;  // of a document whose every key is no good the rest says nothing new

bool is_https(std::string_view url) { return base::equals_ignoring_case(url.substr(0, 8), "https://"); }

std::string joined(const std::vector<std::string>& remarks) {
  std::string text;
  for (std::size_t i = 0; i < std::min(remarks.size(), kShownRemarks); ++i) {
    if (i > 0) text += "; ";
    text += remarks[i];
  }
  if (remarks.size() > kShownRemarks) text += "; and " + std::to_string(remarks.size() - kShownRemarks) + " more";
  return text;
}

// Closes what it holds.
struct Descriptor {
  int fd;
  ~Descriptor() {
    if (fd >= 0) ::close(fd);
  }
};

}  // namespace

std::string discovery_url(std::string_view issuer) {
  while (issuer.ends_with('/')) issuer.remove_suffix(1);
  return std::string(issuer) + "/.well-known/openid-configuration";
}

std::string location_of(const IssuerSettings& issuer) {
  const bool is_usual_place = issuer.source == IssuerSettings::Source::discovery && issuer.location.empty();
  return is_usual_place ? discovery_url(issuer.rules.issuer) : issuer.location;
}

Result<std::string> read_discovery(std::string_view document, std::string_view issuer) {
  const auto json = nlohmann::json::parse(document, nullptr, false);
  if (!json.is_object()) return Error{Code::malformed, "the discovery document is not a JSON object"};
  const auto text = [&json](const char* name) {
    const auto member = json.find(name);
    return member != json.end() && member->is_string() ? member->get<std::string>() : std::string();
  };
  if (const std::string named = text("issuer"); named != issuer) {
    return Error{Code::invalid, "the discovery document is of issuer " + identity::printable(named, kShownUrlBytes) +
                                    ", not of \"" + std::string(issuer) + "\": both must be the same to the letter"};
  }
  std::string uri = text("jwks_uri");
  if (uri.empty()) return Error{Code::invalid, "the discovery document has no jwks_uri"};
  const bool is_visible = std::all_of(uri.begin(), uri.end(), [](char c) { return c > ' ' && c <= '~'; });
  if (!is_visible || uri.size() > kShownUrlBytes) {
    return Error{Code::invalid, "jwks_uri " + identity::printable(uri, kShownUrlBytes) + " is no URL, or longer than " +
                                    std::to_string(kShownUrlBytes) + " bytes"};
  }
  if (auto checked = check_url(uri); !checked) return Error{Code::invalid, "jwks_uri: " + checked.error().detail};
  if (is_https(issuer) && !is_https(uri)) {
    return Error{Code::invalid, "the discovery document's jwks_uri '" + uri + "' is not https, though the issuer is"};
  }
  return uri;
}

Result<Fetched> read_document(const std::string& path) {
  const auto invalid = [&path](const std::string& why) {
    return Error{Code::invalid, "the file '" + path + "' " + why};
  };
  const std::size_t most_bytes = FetchOptions{}.max_bytes;
  // Without O_NONBLOCK a named pipe would wait for its writer.
  const Descriptor file{::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)};
  if (file.fd < 0) return invalid(std::string("cannot be opened: ") + std::strerror(errno));
  struct stat status {};
  if (::fstat(file.fd, &status) != 0 || !S_ISREG(status.st_mode)) return invalid("is not a regular file");
  Fetched document{.status = 200, .body = std::string(most_bytes + 1, '\0'), .max_age = {}};
  std::size_t size = 0;
  while (size < document.body.size()) {
    const ssize_t count = ::read(file.fd, document.body.data() + size, document.body.size() - size);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return invalid(std::string("cannot be read: ") + std::strerror(errno));
    if (count == 0) break;
    size += static_cast<std::size_t>(count);
  }
  if (size > most_bytes) return invalid("is larger than " + std::to_string(most_bytes) + " bytes");
  document.body.resize(size);
  document.body.shrink_to_fit();
  return document;
}

Result<KeySet> read_key_set(const Fetched& document, const std::string& from, std::string& remarks) {
  if (document.status != 200) {
    const bool is_redirect = document.status >= 300 && document.status < 400;
    return Error{Code::upstream_failed, "the answer of " + from + " was status " + std::to_string(document.status) +
                                            (is_redirect ? ": redirects are not followed, name the final URL" : "")};
  }
  std::vector<std::string> lines;
  auto keys = KeySet::parse(document.body, lines);
  remarks = joined(lines);
  if (keys) return keys;
  return Error{keys.error().code,
               "no keys in " + from + ": " + keys.error().detail + (remarks.empty() ? "" : ": " + remarks)};
}

}  // namespace outrigger::app
