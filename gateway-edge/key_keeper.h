// KeyKeeper: the keys that tokens are verified with, of every issuer: where they come from, how new they are, and what
// happens when a token names one that is not there. It keeps the last good keys whatever the issuer says later, and
// publishes all of them anew whenever some changed. One per process, on the main loop; workers ask it through want_key().
// docs/identity.md has the rules.
#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "bridge/app/issuer_keys.h"
#include "bridge/base/clock.h"
#include "bridge/base/result.h"
#include "bridge/base/unique_function.h"
#include "bridge/identity/jwt.h"
#include "bridge/net/event_loop.h"
#include "bridge/net/mailbox.h"
#include "bridge/telemetry/metrics.h"
#include "gateway-edge/document_source.h"

namespace outrigger::gateway {

using namespace std::chrono_literals;

// Times of fetching. The first two are configurable.
inline constexpr base::Duration kKeyRefreshInterval = 5min;  // between fetches that nobody asked for
inline constexpr base::Duration kLeastFetchInterval = 5s;    // after one, before one that an unknown key id asks for
inline constexpr base::Duration kLeastKeyMaxAge = 1min;      // an issuer's shorter max-age is not followed
inline constexpr base::Duration kKeyFileInterval = 5s;       // between readings of a file: it is local, and small
inline constexpr base::Duration kKeyRetry = 1s;              // after a first failure, doubled with each further one
inline constexpr base::Duration kKeyRetryCap = 1min;
// A key id that a fetch did not bring is not asked for again for so long: one client's old token costs two fetches a minute.
inline constexpr base::Duration kMissedKeyTime = 30s;
inline constexpr std::size_t kMissedKeys = 1024;  // remembered ids of an issuer, at most 256 bytes each
// Requests that wait for an issuer's keys at once. More is a flood of made-up ids, whose requests would fill the workers.
inline constexpr std::size_t kKeyWaiters = 1024;

using app::IssuerSettings;

class KeyKeeper {
 public:
  struct Options {
    std::vector<IssuerSettings> issuers;  // no two with the same name
    base::Duration refresh_interval = kKeyRefreshInterval;
    base::Duration least_fetch_interval = kLeastFetchInterval;
  };
  // One per issuer, each with sources of its own. REQUIRES Source::given is not asked for.
  using MakeSource = std::function<std::unique_ptr<DocumentSource>(IssuerSettings::Source)>;
  using OnVerifier = base::UniqueFunction<void(std::shared_ptr<const identity::TokenVerifier>)>;

  // `on_verifier` is called by start(), and from the loop whenever keys changed. Issuers whose keys were not had yet are in
  // it without keys.
  KeyKeeper(net::EventLoop& loop, Options options, MakeSource make_source, OnVerifier on_verifier);
  ~KeyKeeper();
  KeyKeeper(const KeyKeeper&) = delete;
  KeyKeeper& operator=(const KeyKeeper&) = delete;

  // Reads the files and begins to fetch the others, without waiting for them. Error `invalid`: a file or URL cannot be
  // used, said for operators. Once.
  base::Result<void> start();

  // What came of a question.
  enum class Answer : std::uint8_t {
    look_again,   // keys with this id (newer keys) are published: to this asker, before this answer
    unknown,      // a fetch that began after the question, or a short while before it, did not bring it
    unavailable,  // that fetch failed; the issuer may well have such a key
    overloaded,   // kKeyWaiters are waiting
  };
  static constexpr std::size_t kAnswers = 4;
  // May be destroyed on another thread than its own, without having been called, when the process ends.
  using OnAnswer = base::UniqueFunction<void(Answer)>;
  // Any thread, while this object lives. A worker's verifier has no key `key_id` of `issuer`; an empty id asks for newer
  // keys than those it has (Verdict::may_need_newer_keys). One fetch for all who ask, at once or as soon as
  // least_fetch_interval allows it. `done` runs on the loop of `home`, once, within least_fetch_interval and the time of two
  // fetches. look_again says to verify with the newest keys, not that the token is good; one question per token is enough.
  void want_key(std::shared_ptr<net::Mailbox> home, std::string issuer, std::string key_id, OnAnswer done);

  // For readiness: names an issuer whose keys were never had, and why; empty: there is none.
  std::string missing() const;

  struct Status {
    std::string issuer;
    std::string from;  // what is fetched: a path or URL; empty: given
    std::size_t keys = 0;
    std::string problem;      // of the last fetch; empty: none
    base::WallMillis at{};    // the last good fetch; 0: none
    base::Duration age{};     // since then
    std::uint64_t changed = 0;    // fetches that brought new keys
    std::uint64_t unchanged = 0;  // that brought the same
    std::uint64_t failed = 0;
    std::size_t waiting = 0;  // questions
  };
  std::vector<Status> status() const;
  // The families outrigger_key_fetches_total, outrigger_key_age_seconds and outrigger_key_questions_total.
  void write(telemetry::MetricsWriter& out) const;

 private:
  struct Issuer;
  struct Question;
  void take(const std::string& issuer, Question question);
  void begin_fetch(Issuer& issuer);
  void on_discovered(Issuer& issuer, base::Result<app::Fetched> document);
  void end_fetch(Issuer& issuer, base::Result<app::Fetched> document);
  // True: the keys are new.
  base::Result<bool> accept(Issuer& issuer, base::Result<app::Fetched> document);
  void answer_questions(Issuer& issuer, const base::Result<bool>& accepted);
  void answer(Question question, Answer answer);
  void schedule(Issuer& issuer, base::Duration wait);
  void publish();

  net::EventLoop& loop_;
  Options options_;
  OnVerifier on_verifier_;
  std::vector<std::unique_ptr<Issuer>> issuers_;
  std::array<std::uint64_t, kAnswers> answers_{};
  // Questions on their way here find out by it that nobody is left. Written and read on the loop alone.
  std::shared_ptr<KeyKeeper*> self_ = std::make_shared<KeyKeeper*>(this);
};

}  // namespace outrigger::gateway
