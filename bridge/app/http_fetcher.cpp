#include "bridge/app/http_fetcher.h"

#include <curl/curl.h>

#include <algorithm>
#include <charconv>
#include <csignal>
#include <string_view>
#include <utility>

#include "bridge/base/check.h"
#include "bridge/base/header_list.h"

namespace outrigger::app {
namespace {

using base::Code;
using base::Error;

constexpr std::size_t kHeadBytes = base::limits::kHeaderBytes;  // of the answer, all lines
constexpr int kPollMs = 1000;  // stop() and libcurl's own timers end a wait sooner

struct CloseEasy {
  void operator()(CURL* easy) const { curl_easy_cleanup(easy); }
};
struct CloseUrl {
  void operator()(CURLU* url) const { curl_url_cleanup(url); }
};

// An option that this libcurl does not know is one that protects nothing.
template <class Value>
void set(CURL* easy, CURLoption option, Value value) {
  CHECK(curl_easy_setopt(easy, option, value) == CURLE_OK);
}

long in_ms(base::Duration duration) {
  const auto ms = std::chrono::duration_cast<std::chrono::milliseconds>(duration).count();
  return static_cast<long>(std::max<std::int64_t>(1, ms));  // 0 would be for ever
}

std::string_view trimmed(std::string_view text) {
  const std::size_t from = text.find_first_not_of(" \t");
  if (from == std::string_view::npos) return {};
  return text.substr(from, text.find_last_not_of(" \t") - from + 1);
}

// The least that any directive of these fields allows.
std::optional<std::chrono::seconds> max_age_of(CURL* easy) {
  std::optional<std::chrono::seconds> least;
  const auto allow = [&least](std::int64_t seconds) {
    least = std::min(std::chrono::seconds(seconds), least.value_or(std::chrono::seconds::max()));
  };
  curl_header* header = nullptr;
  for (std::size_t i = 0; curl_easy_header(easy, "Cache-Control", i, CURLH_HEADER, -1, &header) == CURLHE_OK; ++i) {
    for (std::string_view rest = header->value; !rest.empty();) {
      const std::size_t comma = std::min(rest.find(','), rest.size());
      const std::string_view directive = trimmed(rest.substr(0, comma));
      rest.remove_prefix(std::min(comma + 1, rest.size()));
      const std::size_t equals = std::min(directive.find('='), directive.size());
      const std::string_view name = directive.substr(0, equals);
      if (base::equals_ignoring_case(name, "no-cache") || base::equals_ignoring_case(name, "no-store")) allow(0);
      if (!base::equals_ignoring_case(name, "max-age") || equals == directive.size()) continue;
      const std::string_view value = directive.substr(equals + 1);
      std::uint32_t seconds = 0;
      const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), seconds);
      if (error == std::errc{} && end == value.data() + value.size()) allow(seconds);
    }
  }
  return least;
}

Code code_of(CURLcode result) {
  switch (result) {
    case CURLE_OPERATION_TIMEDOUT: return Code::deadline;
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_CONNECT: return Code::refused;
    case CURLE_PEER_FAILED_VERIFICATION: return Code::unauthenticated;
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_URL_MALFORMAT: return Code::invalid;
    case CURLE_UNSUPPORTED_PROTOCOL:  // HTTP/0.9, which is anything: the URL's scheme was checked before
    case CURLE_WEIRD_SERVER_REPLY:
    case CURLE_BAD_CONTENT_ENCODING: return Code::malformed;
    default: return Code::upstream_failed;
  }
}

}  // namespace

struct HttpFetcher::Transfer {
  std::size_t max_bytes;
  std::string body;
  std::size_t head_bytes = 0;
  const char* passed_limit = nullptr;  // of ours, that ended it

  // libcurl's contract: anything but the number of bytes given ends the transfer.
  static std::size_t on_body(char* bytes, std::size_t, std::size_t count, void* self) {
    auto& transfer = *static_cast<Transfer*>(self);
    if (count > transfer.max_bytes - transfer.body.size()) {
      transfer.passed_limit = "the body is larger than ";
      return 0;
    }
    transfer.body.append(bytes, count);
    return count;
  }
  static std::size_t on_head(char*, std::size_t, std::size_t count, void* self) {
    auto& transfer = *static_cast<Transfer*>(self);
    transfer.head_bytes += count;
    if (transfer.head_bytes <= kHeadBytes) return count;
    transfer.passed_limit = "the head is larger than ";
    return 0;
  }
};

base::Result<void> check_url(const std::string& url) {
  const auto invalid = [&url](std::string_view why) {
    return Error{Code::invalid, "the URL '" + url + "' " + std::string(why)};
  };
  const std::unique_ptr<CURLU, CloseUrl> parsed(curl_url());
  CHECK(parsed != nullptr);
  const CURLUcode problem = curl_url_set(parsed.get(), CURLUPART_URL, url.c_str(), 0);
  if (problem == CURLUE_UNSUPPORTED_SCHEME) return invalid("must begin with https:// or http://");
  // libcurl also takes one slash or three.
  const std::size_t slashes = url.find("://");
  const bool is_sound = slashes != std::string::npos && url.find('/', slashes + 3) != slashes + 3;
  if (problem != CURLUE_OK || !is_sound || url.find('\0') != std::string::npos) {
    return invalid("is not an absolute http or https URL, such as https://issuer.example/jwks");
  }
  const auto has = [&parsed](CURLUPart part) {
    char* value = nullptr;
    const bool is_there = curl_url_get(parsed.get(), part, &value, 0) == CURLUE_OK;
    curl_free(value);
    return is_there;
  };
  if (has(CURLUPART_USER) || has(CURLUPART_PASSWORD)) {
    // Not shown: it has what may be a password.
    return Error{Code::invalid, "a URL to fetch from must not have a user or password in it"};
  }
  if (has(CURLUPART_FRAGMENT)) return invalid("must not have a fragment (#)");
  char* scheme = nullptr;
  if (curl_url_get(parsed.get(), CURLUPART_SCHEME, &scheme, 0) != CURLUE_OK) return invalid("has no scheme");
  const std::unique_ptr<char, decltype(&curl_free)> owned(scheme, curl_free);
  if (std::string_view(scheme) != "https" && std::string_view(scheme) != "http") {
    return invalid("must begin with https:// or http://");
  }
  return {};
}

void HttpFetcher::CloseMulti::operator()(void* multi) const { curl_multi_cleanup(multi); }

HttpFetcher::HttpFetcher(FetchOptions options) : options_(std::move(options)) {
  static const CURLcode is_usable = curl_global_init(CURL_GLOBAL_DEFAULT);
  CHECK(is_usable == CURLE_OK);
  std::signal(SIGPIPE, SIG_IGN);  // with CURLOPT_NOSIGNAL libcurl leaves that to us, and OpenSSL writes without MSG_NOSIGNAL
  multi_.reset(curl_multi_init());
  CHECK(multi_ != nullptr);
}

HttpFetcher::~HttpFetcher() = default;

void HttpFetcher::stop() {
  is_stopped_ = true;
  curl_multi_wakeup(multi_.get());
}

base::Result<Fetched> HttpFetcher::fetch(const std::string& url) {
  if (auto checked = check_url(url); !checked) return checked.error();
  Transfer transfer{.max_bytes = options_.max_bytes, .body = {}};
  char why[CURL_ERROR_SIZE] = "";
  const std::unique_ptr<CURL, CloseEasy> owned(curl_easy_init());
  CURL* const easy = owned.get();
  CHECK(easy != nullptr);
  set(easy, CURLOPT_URL, url.c_str());
  set(easy, CURLOPT_PROTOCOLS_STR, "http,https");
  set(easy, CURLOPT_FOLLOWLOCATION, 0L);
  set(easy, CURLOPT_PROXY, "");  // not even the environment's
  set(easy, CURLOPT_NETRC, static_cast<long>(CURL_NETRC_IGNORED));
  set(easy, CURLOPT_HTTP_VERSION, static_cast<long>(CURL_HTTP_VERSION_1_1));
  set(easy, CURLOPT_SSLVERSION, static_cast<long>(CURL_SSLVERSION_TLSv1_2));
  set(easy, CURLOPT_SSL_VERIFYPEER, 1L);
  set(easy, CURLOPT_SSL_VERIFYHOST, 2L);
  if (!options_.ca_file.empty()) {
    set(easy, CURLOPT_CAINFO, options_.ca_file.c_str());
    set(easy, CURLOPT_CAPATH, static_cast<const char*>(nullptr));  // else the system's would be believed, too
  }
  set(easy, CURLOPT_CA_CACHE_TIMEOUT, 0L);  // a renewed CA file counts at once
  set(easy, CURLOPT_USERAGENT, "outrigger");
  set(easy, CURLOPT_CONNECTTIMEOUT_MS, in_ms(options_.connect_timeout));
  set(easy, CURLOPT_TIMEOUT_MS, in_ms(options_.timeout));
  set(easy, CURLOPT_NOSIGNAL, 1L);
  // The next fetch is minutes away: a connection kept would only be found closed by then.
  set(easy, CURLOPT_FORBID_REUSE, 1L);
  // Else the end waits for getaddrinfo(), which knows no deadline. Its thread is left to end by itself.
  set(easy, CURLOPT_QUICK_EXIT, 1L);
  set(easy, CURLOPT_ERRORBUFFER, why);
  set(easy, CURLOPT_WRITEFUNCTION, &Transfer::on_body);
  set(easy, CURLOPT_WRITEDATA, &transfer);
  set(easy, CURLOPT_HEADERFUNCTION, &Transfer::on_head);
  set(easy, CURLOPT_HEADERDATA, &transfer);
  const std::unique_ptr<curl_slist, decltype(&curl_slist_free_all)> fields(
      curl_slist_append(nullptr, "Accept: application/jwk-set+json, application/json"), curl_slist_free_all);
  set(easy, CURLOPT_HTTPHEADER, fields.get());

  CURLM* const multi = multi_.get();
  CURLMcode problem = curl_multi_add_handle(multi, easy);
  for (int running = 1; problem == CURLM_OK && !is_stopped_;) {
    problem = curl_multi_perform(multi, &running);
    if (running == 0) break;
    if (problem == CURLM_OK) problem = curl_multi_poll(multi, nullptr, 0, kPollMs, nullptr);
  }
  std::optional<CURLcode> result;
  for (int left = 0; const CURLMsg* message = curl_multi_info_read(multi, &left);) {
    if (message->msg == CURLMSG_DONE) result = message->data.result;
  }
  Fetched fetched;
  if (result == CURLE_OK) {
    long status = 0;
    curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &status);
    fetched = {static_cast<int>(status), std::move(transfer.body), max_age_of(easy)};
  }
  curl_multi_remove_handle(multi, easy);

  if (result == CURLE_OK) return fetched;
  const std::string from = "fetching " + url + ": ";
  if (transfer.passed_limit != nullptr) {
    const std::size_t limit = transfer.head_bytes > kHeadBytes ? kHeadBytes : options_.max_bytes;
    return Error{Code::too_large, from + transfer.passed_limit + std::to_string(limit) + " bytes"};
  }
  if (!result) {
    if (is_stopped_) return Error{Code::closed, from + "stopped"};
    return Error{Code::upstream_failed, from + curl_multi_strerror(problem)};
  }
  const Code code = code_of(*result);
  return Error{code, from + (why[0] != '\0' ? why : curl_easy_strerror(*result))};
}

}  // namespace outrigger::app
