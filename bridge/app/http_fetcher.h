// HttpFetcher: gets one small document (a key set, a discovery document) over http or https, with libcurl. For the control
// path only: fetch() blocks, so it runs in a net::HelperThread, never on a loop. What travels on the data path is
// bridge/http1.
#pragma once

#include <atomic>
#include <chrono>
#include <cstddef>
#include <memory>
#include <optional>
#include <string>

#include "bridge/base/clock.h"
#include "bridge/base/limits.h"
#include "bridge/base/result.h"

namespace outrigger::app {

struct FetchOptions {
  base::Duration connect_timeout = base::limits::kConnectTimeout;  // of each address, TLS included
  base::Duration timeout = std::chrono::seconds(10);               // in all; an issuer answers in a fraction of a second
  std::size_t max_bytes = base::limits::kMiB;                      // of the body; key sets have a few KiB
  // Certificates of authorities (PEM) that are believed instead of the system's. Empty: the system's. Read by every fetch.
  std::string ca_file;
};

struct Fetched {
  int status = 0;    // as it came: 404 is no error here
  std::string body;  // as it came: compressed answers are not asked for
  // For how long Cache-Control says that it may be used without asking again (RFC 9111 section 5.2.2): 0 with no-cache or
  // no-store; nothing where it does not say.
  std::optional<std::chrono::seconds> max_age;
};

// What fetch() would take: an absolute http or https URL with a host, without user, password and fragment. Error `invalid`
// says what is wrong. Any thread.
base::Result<void> check_url(const std::string& url);

// Neither proxies of the environment nor .netrc nor cookies are used, and redirects are not followed: whoever says where
// keys come from decides whom the gateway believes, and that is the configuration alone.
class HttpFetcher {
 public:
  // Sets SIGPIPE to be ignored, as net::EventLoop does.
  explicit HttpFetcher(FetchOptions options);
  // REQUIRES that no fetch runs.
  ~HttpFetcher();
  HttpFetcher(const HttpFetcher&) = delete;
  HttpFetcher& operator=(const HttpFetcher&) = delete;

  // One thread at a time. A GET; returns within `timeout`, or at once after stop(). Errors: invalid (see check_url, or the
  // CA file cannot be used), refused (no such host, nobody listens), deadline, too_large, unauthenticated (the peer's
  // certificate is not believed), malformed (not HTTP), upstream_failed (broken off), closed (stopped). Each names the URL.
  base::Result<Fetched> fetch(const std::string& url);

  // Any thread. The fetch under way ends, and later ones do not begin.
  void stop();

 private:
  struct Transfer;
  struct CloseMulti {
    void operator()(void* multi) const;
  };

  FetchOptions options_;
  std::unique_ptr<void, CloseMulti> multi_;  // CURLM
  std::atomic<bool> is_stopped_{false};
};

}  // namespace outrigger::app
