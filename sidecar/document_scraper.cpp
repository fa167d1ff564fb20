#include "sidecar/document_scraper.h"

#include <malloc.h>

#include <algorithm>
#include <utility>

#include "bridge/base/host_port.h"
#include "bridge/base/ids.h"
#include "bridge/base/log.h"
#include "bridge/openapi/reader.h"

namespace outrigger::sidecar {
namespace {

using base::Code;
using base::Result;
using namespace std::chrono_literals;

// In the order of how often they are what we look for; the first with a document is remembered.
constexpr const char* kUsualPaths[] = {"/openapi.json", "/openapi.yaml", "/swagger.json", "/swagger/v1/swagger.json",
                                       "/v3/api-docs",  "/api-docs",     "/.well-known/openapi"};
constexpr base::Duration kConnectTime = 2s;
constexpr base::Duration kRequestTime = 10s;  // a framework that makes its document on the first question takes seconds
constexpr base::Duration kRoundTime = 15s;    // a service that comes up waits for its first round
constexpr base::Duration kFirstRetry = 1s;    // after unavailable; doubled each time
constexpr base::Duration kLongestRetry = 30s;
constexpr int kAbsentIntervals = 10;  // seven 404s a minute are noise in the logs of a service that never has a document
constexpr int kRedirects = 3;
constexpr std::size_t kTrimBytes = 1 * base::limits::kMiB;  // larger ones leave much memory behind

http1::ClientPoolOptions pool_options() {
  http1::ClientPoolOptions options;
  options.max_connections = 1;
  options.limits.body_bytes = openapi::kDocumentBytes;
  options.connect_timeout = kConnectTime;
  return options;
}

bool is_same_authority(std::string_view one, std::string_view other) {
  const auto a = base::parse_host_port(one, std::uint16_t{80});
  const auto b = base::parse_host_port(other, std::uint16_t{80});
  return a && b && a->port == b->port && base::equals_ignoring_case(a->host, b->host);
}

// `reference`, found at `target`, as a target on the same service (RFC 3986 section 5.2, without dot segments); empty if
// it leads elsewhere or nowhere.
std::string resolve(std::string reference, const std::string& target, const std::string& authority) {
  reference.resize(std::min(reference.find('#'), reference.size()));
  std::string_view rest = reference;
  if (base::equals_ignoring_case(rest.substr(0, 7), "http://")) rest.remove_prefix(5);
  if (rest.substr(0, 2) == "//") {
    rest.remove_prefix(2);
    const auto end = std::min(rest.find_first_of("/?"), rest.size());
    if (!is_same_authority(rest.substr(0, end), authority)) return {};
    rest.remove_prefix(end);
    if (rest.empty() || rest.front() != '/') return "/" + std::string(rest);
  }
  const bool has_scheme = rest.find(':') < rest.find_first_of("/?");
  if (rest.empty() || has_scheme || rest.size() > base::limits::kTargetBytes) return {};
  if (!std::all_of(rest.begin(), rest.end(), [](char c) { return c > ' ' && c <= '~'; })) return {};
  if (rest.front() == '/') return std::string(rest);
  const std::string path = target.substr(0, target.find('?'));
  if (rest.front() == '?') return path + std::string(rest);
  if (rest.substr(0, 2) == "./") rest.remove_prefix(2);
  return path.substr(0, path.rfind('/') + 1) + std::string(rest);
}

std::string value_of(const base::HeaderList& headers, std::string_view name) {
  return std::string(headers.find(name).value_or(""));
}

}  // namespace

// What comes back from the helper.
struct DocumentScraper::Reading {
  Result<void> result;
  std::string hash;  // of the bytes
  bool is_known = false;
  openapi::EncodedMetadata metadata;
  std::string version;
  std::vector<openapi::Endpoint> endpoints;
  std::size_t bytes = 0;
  std::vector<std::string> remarks;
};

std::string_view name_of(DocumentScraper::Outcome outcome) {
  switch (outcome) {
    case DocumentScraper::Outcome::none_yet: return "none-yet";
    case DocumentScraper::Outcome::read: return "read";
    case DocumentScraper::Outcome::unchanged: return "unchanged";
    case DocumentScraper::Outcome::absent: return "absent";
    case DocumentScraper::Outcome::broken: return "broken";
    case DocumentScraper::Outcome::unavailable: return "unavailable";
  }
  return "";
}

DocumentScraper::DocumentScraper(net::EventLoop& loop, Options options,
                                 base::UniqueFunction<void(const Scraped&)> on_scraped)
    : loop_(loop),
      options_(std::move(options)),
      on_scraped_(std::move(on_scraped)),
      pool_(loop, options_.upstream, pool_options()),
      timer_(loop, [this] { begin_round(); }),
      helper_(loop) {
  options_.metadata.catch_all = true;
  // A service's name, version and mount were checked when the configuration was read.
  if (auto encoded = openapi::encode_metadata(options_.metadata)) scraped_.metadata = std::move(*encoded);
  options_.metadata.catch_all = false;
}

void DocumentScraper::resume(base::UniqueFunction<void(bool)> on_first_round) {
  pause();
  on_first_round_ = std::move(on_first_round);
  failures_ = 0;
  timer_.arm(0s);
}

void DocumentScraper::pause() {
  timer_.cancel();
  call_.cancel();
  reading_.cancel();
  on_first_round_ = nullptr;
}

void DocumentScraper::begin_round() {
  round_ends_ = loop_.now() + kRoundTime;
  worst_ = Outcome::absent;
  worst_why_.clear();
  if (options_.path.empty()) {
    candidates_.assign(std::begin(kUsualPaths), std::end(kUsualPaths));
    const auto remembered = std::find(candidates_.begin(), candidates_.end(), known_.path);
    if (remembered != candidates_.end()) std::rotate(candidates_.begin(), remembered, remembered + 1);
  } else {
    candidates_ = {options_.path};
  }
  ask_next();
}

void DocumentScraper::ask_next() {
  if (candidates_.empty()) return end_round(worst_, worst_why_);
  redirects_ = 0;
  has_followed_link_ = false;
  ask(candidates_.front());
}

void DocumentScraper::ask(std::string target) {
  answer_ = {};
  target_ = std::move(target);
  http1::ClientRequest request;
  request.method = "GET";
  request.target = target_;
  request.headers.add("Host", options_.authority);
  request.headers.add("Accept", "application/json, application/yaml;q=0.9, */*;q=0.5");
  request.headers.add("Accept-Encoding", "identity");
  request.headers.add("User-Agent", "outrigger-sidecar");
  if (is_document_from(candidates_.front())) {
    if (!known_.etag.empty()) request.headers.add("If-None-Match", known_.etag);
    if (!known_.last_modified.empty()) request.headers.add("If-Modified-Since", known_.last_modified);
  }
  request.repeatable = true;
  call_ = pool_.request(std::move(request), std::min(loop_.now() + kRequestTime, round_ends_), *this);
}

void DocumentScraper::on_response_head(http1::ResponseHead head, bool) {
  answer_.status = head.status;
  answer_.location = value_of(head.headers, "Location");
  answer_.etag = value_of(head.headers, "ETag");
  answer_.last_modified = value_of(head.headers, "Last-Modified");
  answer_.encoding = value_of(head.headers, "Content-Encoding");
}

void DocumentScraper::on_response_body(std::string_view bytes) {
  if (answer_.status == 200) answer_.body.append(bytes);
}

void DocumentScraper::on_response_end() {
  const int status = answer_.status;
  const bool has_validator = !known_.etag.empty() || !known_.last_modified.empty();
  if (status == 200) return read();
  if (status == 304 && is_document_from(candidates_.front()) && has_validator) return end_round(Outcome::unchanged, {});
  const bool is_redirect = status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
  if (is_redirect && redirects_++ < kRedirects) return follow(answer_.location);
  give_up(status >= 500 || status == 429 ? Outcome::unavailable : Outcome::absent, "status " + std::to_string(status));
}

void DocumentScraper::on_failed(const http1::ClientFailure& failure) {
  const Code code = failure.error.code;
  if (code == Code::refused) return end_round(Outcome::unavailable, target_ + ": " + failure.error.detail, false);
  const bool is_broken = code == Code::malformed || code == Code::too_large;
  // One that is slow here is slow elsewhere.
  give_up(is_broken ? Outcome::broken : Outcome::unavailable, failure.error.detail, code == Code::deadline);
}

void DocumentScraper::follow(const std::string& reference) {
  std::string target = resolve(reference, target_, options_.authority);
  if (target.empty()) return give_up(Outcome::absent, "leads to '" + reference + "', which is not on this service");
  ask(std::move(target));
}

void DocumentScraper::read() {
  if (!answer_.encoding.empty() && !base::equals_ignoring_case(answer_.encoding, "identity")) {
    return give_up(Outcome::broken, "Content-Encoding: " + answer_.encoding + ", though identity was asked for");
  }
  if (!has_followed_link_) {
    if (const std::string link = openapi::link_in(answer_.body); !link.empty()) {
      has_followed_link_ = true;
      return follow(link);
    }
  }
  auto work = [body = std::move(answer_.body), metadata = options_.metadata, known = known_.hash]() mutable {
    Reading reading;
    reading.hash = openapi::sha256_hex(body);
    reading.is_known = reading.hash == known;
    if (reading.is_known) return reading;
    {
      auto parsed = openapi::read_document(body);
      if (!parsed) {
        reading.result = parsed.error();
        return reading;
      }
      reading.version = std::move(parsed->version);
      reading.bytes = parsed->document.size();
      reading.remarks = std::move(parsed->remarks);
      openapi::mark_repeatable(parsed->endpoints, metadata.endpoints, !metadata.refuse_unlisted);
      reading.endpoints = parsed->endpoints;
      metadata.endpoints = std::move(parsed->endpoints);
      metadata.document = std::move(parsed->document);
    }
    auto encoded = openapi::encode_metadata(metadata);
    if (encoded) {
      reading.metadata = std::move(*encoded);
    } else {
      reading.result = encoded.error();
    }
    if (std::exchange(body, {}).size() > kTrimBytes) malloc_trim(0);
    return reading;
  };
  reading_ = helper_.run(std::move(work), [this](Reading reading) { on_read(std::move(reading)); });
}

void DocumentScraper::on_read(Reading reading) {
  if (!reading.result) {
    // Where nobody said that there is a document, other content is no fault.
    const bool is_other = reading.result.error().code == Code::unsupported;
    const bool is_expected = !options_.path.empty() || is_document_from(candidates_.front());
    return give_up(is_other && !is_expected ? Outcome::absent : Outcome::broken, reading.result.error().detail);
  }
  known_ = {candidates_.front(), std::move(reading.hash), answer_.etag, answer_.last_modified};
  if (reading.is_known) return end_round(Outcome::unchanged, {});
  scraped_ = {std::move(reading.metadata), std::move(reading.endpoints), false};
  status_.path = known_.path;
  status_.version = std::move(reading.version);
  status_.endpoints = scraped_.endpoints.size();
  status_.bytes = reading.bytes;
  base::log_info("the service's OpenAPI document is read",
                 {{"path", target_}, {"version", status_.version}, {"endpoints", status_.endpoints}});
  for (const std::string& remark : reading.remarks) {
    base::log_warn("part of the service's OpenAPI document is passed over", {{"path", target_}, {"why", remark}});
  }
  end_round(Outcome::read, {});
}

// The candidate led to nothing. Of several the worst is told.
void DocumentScraper::give_up(Outcome outcome, const std::string& why, bool ends_round) {
  const bool is_new = worst_why_.empty() || (outcome == Outcome::broken && worst_ != Outcome::broken) ||
                      (outcome == Outcome::unavailable && worst_ == Outcome::absent);
  if (is_new) {
    worst_ = outcome;
    worst_why_ = target_ + ": " + why;
  }
  // The document is there, if not in order: another path has another document, or an older one.
  if (ends_round || (outcome != Outcome::absent && is_document_from(candidates_.front()))) candidates_.clear();
  if (!candidates_.empty()) candidates_.erase(candidates_.begin());
  ask_next();
}

void DocumentScraper::end_round(Outcome outcome, std::string why, bool is_there) {
  report(outcome, why);
  status_.outcome = outcome;
  status_.why = std::move(why);
  status_.at = loop_.clock().wall();
  arm_next(outcome);
  auto on_first_round = std::exchange(on_first_round_, nullptr);
  if (is_there && (on_first_round || outcome == Outcome::read)) on_scraped_(scraped_);
  if (on_first_round) on_first_round(is_there);
}

void DocumentScraper::arm_next(Outcome outcome) {
  if (outcome == Outcome::unavailable) {
    base::Duration retry = std::min<base::Duration>(kFirstRetry * (1 << std::min(failures_++, 5)), kLongestRetry);
    if (options_.interval > 0s) retry = std::min(retry, options_.interval);
    return timer_.arm(retry);
  }
  failures_ = 0;
  if (options_.interval <= 0s) return;
  const bool has_never_been = outcome == Outcome::absent && options_.path.empty() && known_.path.empty();
  const base::Duration interval = options_.interval * (has_never_been ? kAbsentIntervals : 1);
  // Jitter of a tenth: a fleet started at once does not ask in step.
  const auto tenth = std::chrono::duration_cast<std::chrono::microseconds>(interval / 10).count();
  timer_.arm(interval - std::chrono::microseconds(
                            base::random_below(static_cast<std::uint64_t>(std::max<std::int64_t>(tenth, 1)))));
}

// Once for each change of reason.
void DocumentScraper::report(Outcome outcome, const std::string& why) {
  if (why == status_.why) return;
  if (why.empty()) {
    if (outcome == Outcome::unchanged) base::log_info("the service's OpenAPI document is in order again");
  } else if (!known_.path.empty()) {
    base::log_warn("the service's OpenAPI document cannot be used: the last good one stays", {{"why", why}});
  } else if (outcome == Outcome::absent && options_.path.empty()) {
    base::log_info("the service has no OpenAPI document we can use: every path is passed to it", {{"why", why}});
  } else {
    base::log_warn("the service's OpenAPI document cannot be used: every path is passed to it", {{"why", why}});
  }
}

}  // namespace outrigger::sidecar
