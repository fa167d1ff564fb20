#include "gateway-edge/key_keeper.h"

#include <algorithm>
#include <deque>
#include <map>
#include <utility>

#include "bridge/base/header_list.h"
#include "bridge/base/log.h"
#include "bridge/net/pending.h"
#include "bridge/net/timer.h"
#include "bridge/router/back_off.h"

namespace outrigger::gateway {
namespace {

using base::Code;
using base::Error;
using base::Result;
using identity::KeySet;
using Source = IssuerSettings::Source;

constexpr std::array<std::string_view, KeyKeeper::kAnswers> kAnswerNames = {"found", "unknown", "unavailable",
                                                                            "overloaded"};

bool is_https(std::string_view url) { return base::equals_ignoring_case(url.substr(0, 8), "https://"); }
bool is_remote(Source source) { return source == Source::url || source == Source::discovery; }

}  // namespace

struct KeyKeeper::Question {
  std::shared_ptr<net::Mailbox> home;
  std::string key_id;
  OnAnswer done;
  std::uint64_t needs = 0;  // number of the first fetch that began after it
};

struct KeyKeeper::Issuer {
  Issuer(KeyKeeper& keeper, IssuerSettings given)
      : options(std::move(given)),
        keys(options.keys),
        next_fetch(keeper.loop_, [this, &keeper] { keeper.begin_fetch(*this); }) {}

  bool has(std::string_view key_id) const { return keys != nullptr && !key_id.empty() && keys->has_key_id(key_id); }
  bool is_missed(const std::string& key_id, base::TimePoint now) const {
    const auto at = missed.find(key_id);
    return at != missed.end() && at->second > now;
  }

  IssuerSettings options;
  std::unique_ptr<DocumentSource> source;
  std::shared_ptr<const KeySet> keys;
  std::string document;  // that they were read from
  base::TimePoint good_at;  // the last good fetch
  base::WallMillis good_at_wall{};
  std::string asked;    // the location asked last
  std::string problem;  // of the last fetch
  std::uint64_t fetches = 0;  // begun
  bool is_fetching = false;
  base::TimePoint began_at;   // the last of them
  int failures = 0;           // since the last good one
  std::uint64_t changed = 0;
  std::uint64_t unchanged = 0;
  std::uint64_t failed = 0;
  std::deque<Question> questions;
  std::map<std::string, base::TimePoint> missed;  // key ids that a fetch did not bring, and until when that counts
  net::Timer next_fetch;
  net::Pending fetch;
};

KeyKeeper::KeyKeeper(net::EventLoop& loop, Options options, MakeSource make_source, OnVerifier on_verifier)
    : loop_(loop), options_(std::move(options)), on_verifier_(std::move(on_verifier)) {
  for (IssuerSettings& each : options_.issuers) {
    auto issuer = std::make_unique<Issuer>(*this, std::move(each));
    IssuerSettings& settings = issuer->options;
    settings.location = app::location_of(settings);
    if (settings.source != Source::given) issuer->source = make_source(settings.source);
    issuers_.push_back(std::move(issuer));
  }
  options_.issuers.clear();
}

KeyKeeper::~KeyKeeper() { *self_ = nullptr; }

Result<void> KeyKeeper::start() {
  CHECK_ON_LOOP(loop_);
  for (const auto& issuer : issuers_) {
    const IssuerSettings& settings = issuer->options;
    const auto invalid = [&settings](const Error& why) {
      return Error{Code::invalid, "the keys of issuer '" + settings.rules.issuer + "': " + why.detail};
    };
    issuer->asked = settings.location;
    if (settings.source == Source::file) {
      auto accepted = accept(*issuer, app::read_document(settings.location));
      if (!accepted) return invalid(accepted.error());
      schedule(*issuer, kKeyFileInterval);
    } else if (is_remote(settings.source)) {
      if (auto checked = app::check_url(settings.location); !checked) return invalid(checked.error());
      if (!is_https(settings.location)) {
        base::log_warn("the keys of an issuer are fetched without TLS: whoever is on the way can replace them",
                       {{"issuer", settings.rules.issuer}, {"from", settings.location}});
      }
      schedule(*issuer, 0s);
    }
  }
  publish();
  return {};
}

void KeyKeeper::want_key(std::shared_ptr<net::Mailbox> home, std::string issuer, std::string key_id, OnAnswer done) {
  loop_.mailbox()->post([self = self_, issuer = std::move(issuer),
                         question = Question{std::move(home), std::move(key_id), std::move(done)}]() mutable {
    if (*self != nullptr) (*self)->take(issuer, std::move(question));
  });
}

void KeyKeeper::take(const std::string& name, Question question) {
  const auto at = std::find_if(issuers_.begin(), issuers_.end(),
                               [&name](const auto& each) { return each->options.rules.issuer == name; });
  if (at == issuers_.end()) return answer(std::move(question), Answer::unknown);
  Issuer& issuer = **at;
  if (issuer.has(question.key_id)) return answer(std::move(question), Answer::look_again);  // fetched in the meantime
  if (issuer.source == nullptr || question.key_id.size() > identity::kKeyIdBytes ||
      issuer.is_missed(question.key_id, loop_.now())) {
    return answer(std::move(question), Answer::unknown);
  }
  if (issuer.questions.size() >= kKeyWaiters) return answer(std::move(question), Answer::overloaded);
  // The fetch under way may have been answered before the issuer had this key: it is waited for, but it does not decide.
  question.needs = issuer.fetches + 1;
  issuer.questions.push_back(std::move(question));
  if (!issuer.is_fetching) schedule(issuer, issuer.next_fetch.deadline() - loop_.now());
}

// Its next fetch begins after `wait`, or sooner if somebody waits for one.
void KeyKeeper::schedule(Issuer& issuer, base::Duration wait) {
  base::TimePoint at = loop_.now() + std::max(wait, base::Duration::zero());
  if (!issuer.questions.empty()) at = std::min(at, std::max(loop_.now(), issuer.began_at + options_.least_fetch_interval));
  issuer.next_fetch.arm_at(at);
}

void KeyKeeper::begin_fetch(Issuer& issuer) {
  ++issuer.fetches;
  issuer.is_fetching = true;
  issuer.began_at = loop_.now();
  issuer.asked = issuer.options.location;
  issuer.fetch = issuer.source->get(issuer.asked, [this, &issuer](Result<app::Fetched> document) {
    // Both are asked for each time: an issuer that moves its keys says so in the first.
    if (issuer.options.source == Source::discovery) return on_discovered(issuer, std::move(document));
    end_fetch(issuer, std::move(document));
  });
}

void KeyKeeper::on_discovered(Issuer& issuer, Result<app::Fetched> document) {
  if (!document || document->status != 200) return end_fetch(issuer, std::move(document));
  auto uri = app::read_discovery(document->body, issuer.options.rules.issuer);
  if (!uri) return end_fetch(issuer, uri.error());
  issuer.asked = std::move(*uri);
  issuer.fetch = issuer.source->get(
      issuer.asked, [this, &issuer](Result<app::Fetched> keys) { end_fetch(issuer, std::move(keys)); });
}

Result<bool> KeyKeeper::accept(Issuer& issuer, Result<app::Fetched> document) {
  if (!document) return document.error();
  const bool is_new = issuer.keys == nullptr || document->status != 200 || document->body != issuer.document;
  if (is_new) {
    std::string remarks;
    auto keys = app::read_key_set(*document, issuer.asked, remarks);
    if (!keys) return keys.error();
    issuer.keys = std::make_shared<const KeySet>(std::move(*keys));
    issuer.document = std::move(document->body);
    if (!remarks.empty()) {
      base::log_warn("keys of an issuer were passed over",
                     {{"issuer", issuer.options.rules.issuer}, {"why", remarks}});
    }
    base::log_info("keys of an issuer are in use", {{"issuer", issuer.options.rules.issuer},
                                                    {"from", issuer.options.location},
                                                    {"keys", issuer.keys->keys().size()}});
  }
  issuer.good_at = loop_.now();
  issuer.good_at_wall = loop_.clock().wall();
  return is_new;
}

void KeyKeeper::end_fetch(Issuer& issuer, Result<app::Fetched> document) {
  issuer.is_fetching = false;
  base::Duration wait = options_.refresh_interval;
  if (document && document->max_age) {
    wait = std::min(wait, std::max(kLeastKeyMaxAge, base::Duration(*document->max_age)));
  }
  const auto accepted = accept(issuer, std::move(document));
  if (accepted) {
    issuer.failures = 0;
    ++(*accepted ? issuer.changed : issuer.unchanged);
    if (!std::exchange(issuer.problem, {}).empty() && !*accepted) {
      base::log_info("keys of an issuer can be had again", {{"issuer", issuer.options.rules.issuer}});
    }
  } else {
    ++issuer.failed;
    wait = router::jittered(std::min(kKeyRetryCap, kKeyRetry * (1 << std::min(issuer.failures++, 10))));
    if (std::exchange(issuer.problem, accepted.error().detail).empty()) {
      base::log_warn("keys of an issuer cannot be had",
                     {{"issuer", issuer.options.rules.issuer},
                      {"why", issuer.problem},
                      {"in_use", issuer.keys == nullptr ? "none: its tokens are refused" : "the last good ones"}});
    }
  }
  if (issuer.options.source == Source::file) wait = kKeyFileInterval;
  // Before the answers: whoever is told to look again has them then.
  if (accepted && *accepted) publish();
  answer_questions(issuer, accepted);
  schedule(issuer, wait);
}

void KeyKeeper::answer_questions(Issuer& issuer, const Result<bool>& accepted) {
  const bool is_new = accepted && *accepted;
  const base::TimePoint now = loop_.now();
  std::erase_if(issuer.missed, [now](const auto& each) { return each.second <= now; });
  std::deque<Question> waiting;
  for (Question& each : std::exchange(issuer.questions, {})) {
    const bool is_decided = each.needs <= issuer.fetches;
    if (issuer.has(each.key_id) || (is_new && each.key_id.empty())) {
      answer(std::move(each), Answer::look_again);
    } else if (accepted && (is_decided || issuer.is_missed(each.key_id, now))) {
      if (issuer.missed.size() < kMissedKeys) issuer.missed.emplace(each.key_id, now + kMissedKeyTime);
      answer(std::move(each), Answer::unknown);
    } else if (is_decided) {
      answer(std::move(each), Answer::unavailable);
    } else {
      waiting.push_back(std::move(each));
    }
  }
  issuer.questions = std::move(waiting);
}

void KeyKeeper::answer(Question question, Answer given) {
  ++answers_[static_cast<std::size_t>(given)];
  question.home->post([done = std::move(question.done), given]() mutable { done(given); });
}

void KeyKeeper::publish() {
  std::vector<identity::TrustedIssuer> issuers;
  for (const auto& issuer : issuers_) issuers.push_back({issuer->options.rules, issuer->keys});
  on_verifier_(std::make_shared<const identity::TokenVerifier>(std::move(issuers)));
}

std::string KeyKeeper::missing() const {
  for (const auto& issuer : issuers_) {
    if (issuer->keys != nullptr) continue;
    return "no keys of issuer '" + issuer->options.rules.issuer + "' so far: " +
           (issuer->problem.empty() ? "the first fetch is under way" : issuer->problem);
  }
  return {};
}

std::vector<KeyKeeper::Status> KeyKeeper::status() const {
  std::vector<Status> all;
  for (const auto& issuer : issuers_) {
    Status status;
    status.issuer = issuer->options.rules.issuer;
    status.from = issuer->options.location;
    status.keys = issuer->keys == nullptr ? 0 : issuer->keys->keys().size();
    status.problem = issuer->problem;
    status.at = issuer->good_at_wall;
    if (issuer->good_at != base::TimePoint{}) status.age = loop_.now() - issuer->good_at;
    status.changed = issuer->changed;
    status.unchanged = issuer->unchanged;
    status.failed = issuer->failed;
    status.waiting = issuer->questions.size();
    all.push_back(std::move(status));
  }
  return all;
}

void KeyKeeper::write(telemetry::MetricsWriter& out) const {
  using telemetry::MetricType;
  const std::vector<Status> all = status();
  out.family(MetricType::counter, "outrigger_key_fetches_total", "Fetches of an issuer's keys by outcome.");
  for (const Status& each : all) {
    if (each.from.empty()) continue;
    out.sample({{"issuer", each.issuer}, {"outcome", "changed"}}, each.changed);
    out.sample({{"issuer", each.issuer}, {"outcome", "unchanged"}}, each.unchanged);
    out.sample({{"issuer", each.issuer}, {"outcome", "failed"}}, each.failed);
  }
  out.family(MetricType::gauge, "outrigger_key_age_seconds", "Time since an issuer's keys were last had.");
  for (const Status& each : all) {
    if (each.at == base::WallMillis{}) continue;
    out.sample({{"issuer", each.issuer}}, std::chrono::duration<double>(each.age).count());
  }
  out.family(MetricType::counter, "outrigger_key_questions_total", "Tokens whose key was not known, by what came of it.");
  for (std::size_t i = 0; i < kAnswers; ++i) out.sample({{"outcome", kAnswerNames[i]}}, answers_[i]);
}

}  // namespace outrigger::gateway
