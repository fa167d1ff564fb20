// Fetches the service's OpenAPI document: when the service comes up, and again on an interval while it is up. It finds
// the document, asks with its ETag, reads it in a thread beside the loop, and keeps the last good one whatever the service
// says later. Nothing it does takes a service for down. docs/openapi.md has the rules. Loop thread only.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "bridge/base/unique_function.h"
#include "bridge/http1/client_pool.h"
#include "bridge/net/event_loop.h"
#include "bridge/net/helper_thread.h"
#include "bridge/net/timer.h"
#include "bridge/openapi/endpoints.h"
#include "bridge/openapi/metadata_codec.h"

namespace outrigger::sidecar {

// What is announced of the service.
struct Scraped {
  openapi::EncodedMetadata metadata;
  std::vector<openapi::Endpoint> endpoints;  // as in the metadata
  bool catch_all = true;                     // no document so far
};

class DocumentScraper final : private http1::ClientHandler {
 public:
  struct Options {
    net::Endpoint upstream;
    std::string authority;  // Host of its requests
    std::string path;       // empty: the usual ones are tried
    base::Duration interval = std::chrono::seconds(60);  // zero: only when the service returns
    // All but endpoints, document and catch_all. Its `endpoints` are those that configuration says may be repeated.
    openapi::ServiceMetadata metadata;
  };
  enum class Outcome : std::uint8_t {
    none_yet,
    read,         // a new document is in use
    unchanged,    // as it was: 304, or the same bytes
    absent,       // no path has one
    broken,       // there is one that cannot be used
    unavailable,  // 5xx, no answer in time: asked again soon
  };
  // How the last round of questions ended, for health and metrics.
  struct Status {
    Outcome outcome = Outcome::none_yet;
    std::string why;        // empty after read and unchanged
    base::WallMillis at{};  // when
    std::string path;       // of the document in use; empty: none
    std::string version;    // "2.0", "3.1.0"
    std::size_t endpoints = 0;
    std::size_t bytes = 0;  // of the document as it is stored, before compression
  };

  // `on_scraped`: at the end of each first round, and when what is announced changes later.
  DocumentScraper(net::EventLoop& loop, Options options, base::UniqueFunction<void(const Scraped&)> on_scraped);

  // The service is up. `on_first_round` hears once, after on_scraped, that the first round is over, whatever came of it;
  // false: the service refused the connection, and on_scraped was not called.
  void resume(base::UniqueFunction<void(bool is_there)> on_first_round);
  // The service is down: nothing is asked, nobody is called.
  void pause();

  const Status& status() const { return status_; }

 private:
  struct Reading;
  struct Answer {
    int status = 0;
    std::string location;
    std::string etag;
    std::string last_modified;
    std::string encoding;
    std::string body;
  };

  void begin_round();
  void ask_next();
  void ask(std::string target);
  void follow(const std::string& reference);
  void read();
  void on_read(Reading reading);
  void give_up(Outcome outcome, const std::string& why, bool ends_round = false);
  void end_round(Outcome outcome, std::string why, bool is_there = true);
  void arm_next(Outcome outcome);
  void report(Outcome outcome, const std::string& why);
  bool is_document_from(const std::string& path) const { return !known_.path.empty() && known_.path == path; }

  void on_response_head(http1::ResponseHead head, bool end) override;
  void on_response_body(std::string_view bytes) override;
  void on_response_end() override;
  void on_failed(const http1::ClientFailure& failure) override;

  net::EventLoop& loop_;
  Options options_;
  base::UniqueFunction<void(const Scraped&)> on_scraped_;
  base::UniqueFunction<void(bool)> on_first_round_;
  http1::ClientPool pool_;  // not the probe's: a document on its way must not hold up a look at the service's health
  net::Timer timer_;
  Scraped scraped_;
  Status status_;
  int failures_ = 0;  // rounds that ended as unavailable, one after the other

  // The document in use.
  struct Known {
    std::string path;  // the candidate that led to it
    std::string hash;  // of its bytes
    std::string etag;
    std::string last_modified;
  } known_;

  // The round under way.
  base::TimePoint round_ends_;
  std::vector<std::string> candidates_;  // the first is asked
  std::string target_;                   // of the question under way: the candidate, or what it led to
  int redirects_ = 0;
  bool has_followed_link_ = false;
  Outcome worst_ = Outcome::absent;
  std::string worst_why_;
  Answer answer_;

  http1::ClientCall call_;
  net::Pending reading_;
  net::HelperThread helper_;
};

// As written above; stable.
std::string_view name_of(DocumentScraper::Outcome outcome);

}  // namespace outrigger::sidecar
