// Keys of issuers that the test plays by hand: a source answers when it is told to, and time is the test's.
#include "gateway-edge/key_keeper.h"

#include <unistd.h>

#include <cstdio>
#include <deque>
#include <filesystem>
#include <fstream>
#include <optional>
#include <thread>

#include "tests/support/fake_clock.h"
#include "tests/support/real_loop.h"
#include "tests/support/scripted_service.h"
#include "tests/support/token_maker.h"

namespace outrigger::gateway {
namespace {

using base::Code;
using base::Error;
using base::Result;
using Answer = KeyKeeper::Answer;
using Source = IssuerSettings::Source;
using app::discovery_url;
using app::read_discovery;
using app::read_document;
using tests::TokenMaker;
using namespace std::chrono_literals;

const std::string kIssuer = "https://issuer.example/realm";
const std::string kDiscovery = "https://issuer.example/realm/.well-known/openid-configuration";
const std::string kKeysUrl = "https://issuer.example/keys";
const std::string kDocument = R"({"issuer":"https://issuer.example/realm","jwks_uri":"https://issuer.example/keys"})";

// What an issuer is asked, and answers once the test says so.
class PlayedSource final : public DocumentSource {
 public:
  struct Asked {
    std::string location;
    base::UniqueFunction<void(Result<app::Fetched>)> done;
  };
  explicit PlayedSource(std::deque<Asked>& asked) : asked_(asked) {}
  net::Pending get(const std::string& location, base::UniqueFunction<void(Result<app::Fetched>)> done) override {
    asked_.push_back({location, std::move(done)});
    return {};
  }

 private:
  std::deque<Asked>& asked_;
};

// A path of its own, gone at the end.
struct TemporaryFile {
  TemporaryFile() : path(::testing::TempDir() + "outrigger-keys-" + std::to_string(::getpid()) + ".json") {}
  ~TemporaryFile() { std::filesystem::remove(path); }
  void write(std::string_view text) const { std::ofstream(path, std::ios::binary) << text; }
  std::string path;
};

class KeyKeeperTest : public ::testing::Test {
 protected:
  static const TokenMaker& key(char name) {
    static std::map<char, TokenMaker> keys;
    return keys.try_emplace(name, TokenMaker::ec(std::string(1, name))).first->second;
  }
  // A key set with one key per letter.
  static std::string key_set(std::string_view names) {
    std::string text;
    for (const char name : names) text += (text.empty() ? "" : ",") + key(name).jwk();
    return R"({"keys":[)" + text + "]}";
  }

  KeyKeeper& make(std::vector<IssuerSettings> issuers) {
    keeper_ = std::make_unique<KeyKeeper>(
        fake_.loop, KeyKeeper::Options{std::move(issuers)},
        [this](Source) { return std::make_unique<PlayedSource>(asked_); },
        [this](std::shared_ptr<const identity::TokenVerifier> verifier) {
          ++published_;
          verifier_ = std::move(verifier);
        });
    return *keeper_;
  }
  static IssuerSettings settings(Source source = Source::url, std::string location = kKeysUrl) {
    IssuerSettings settings;
    settings.rules.issuer = kIssuer;
    settings.source = source;
    settings.location = std::move(location);
    return settings;
  }
  // Fetches of a JWK Set by URL, begun but not answered.
  KeyKeeper& start() {
    KeyKeeper& keeper = make({settings()});
    EXPECT_TRUE(keeper.start());
    fake_.settle();
    return keeper;
  }
  // The same, and it has these keys.
  KeyKeeper& start_with(std::string_view names) {
    KeyKeeper& keeper = start();
    bring(names);
    return keeper;
  }

  // Answers the oldest open fetch.
  void reply(Result<app::Fetched> with) {
    ASSERT_FALSE(asked_.empty()) << "nothing was asked";
    auto asked = std::move(asked_.front());
    asked_.pop_front();
    fake_.loop.defer([done = std::move(asked.done), with = std::move(with)]() mutable { done(std::move(with)); });
    fake_.settle();
  }
  void reply(std::string body, int status = 200, std::optional<std::chrono::seconds> max_age = {}) {
    reply(app::Fetched{status, std::move(body), max_age});
  }
  void bring(std::string_view names) { reply(key_set(names)); }
  void fail() { reply(Error{Code::refused, "nobody listens"}); }

  // Asks; the answer is added to answers_.
  void want(const std::string& key_id, const std::string& issuer = kIssuer) {
    keeper_->want_key(fake_.loop.mailbox(), issuer, key_id, [this, key_id](Answer answer) {
      answers_.emplace_back(key_id, answer);
      had_key_when_answered_ = has(key_id);
    });
    fake_.settle();
  }
  bool has(const std::string& key_id) const {
    const auto& keys = verifier_->issuers().front().keys;
    return keys != nullptr && keys->has_key_id(key_id);
  }
  std::size_t open_fetches() const { return asked_.size(); }
  using Answers = std::vector<std::pair<std::string, Answer>>;

  tests::FakeLoop fake_;
  std::deque<PlayedSource::Asked> asked_;
  std::shared_ptr<const identity::TokenVerifier> verifier_;
  int published_ = 0;
  Answers answers_;
  bool had_key_when_answered_ = false;
  std::unique_ptr<KeyKeeper> keeper_;
};

TEST_F(KeyKeeperTest, start_does_not_wait_for_a_url_and_readiness_does) {
  KeyKeeper& keeper = make({settings()});

  ASSERT_TRUE(keeper.start());

  EXPECT_EQ(published_, 1);
  ASSERT_EQ(verifier_->issuers().size(), 1U);
  EXPECT_EQ(verifier_->issuers().front().keys, nullptr);
  EXPECT_EQ(open_fetches(), 0U);
  fake_.settle();
  ASSERT_EQ(open_fetches(), 1U);
  EXPECT_EQ(asked_.front().location, kKeysUrl);
  EXPECT_EQ(keeper.missing(), "no keys of issuer '" + kIssuer + "' so far: the first fetch is under way");
  fail();
  EXPECT_EQ(keeper.missing(), "no keys of issuer '" + kIssuer + "' so far: nobody listens");
  fake_.advance(kKeyRetry);
  bring("a");
  EXPECT_EQ(keeper.missing(), "");
  EXPECT_EQ(published_, 2);
  EXPECT_TRUE(has("a"));
}

TEST_F(KeyKeeperTest, refresh_comes_after_the_interval_and_publishes_only_what_is_new) {
  start_with("a");
  const auto first = verifier_;
  fake_.advance(kKeyRefreshInterval - 1s);
  EXPECT_EQ(open_fetches(), 0U);
  fake_.advance(1s);
  ASSERT_EQ(open_fetches(), 1U);

  bring("a");

  EXPECT_EQ(verifier_, first);
  fake_.advance(kKeyRefreshInterval);
  bring("ab");
  EXPECT_NE(verifier_, first);
  EXPECT_TRUE(has("a") && has("b"));
  EXPECT_FALSE(first->issuers().front().keys->has_key_id("b"));  // who holds it still may
  fake_.advance(kKeyRefreshInterval);
  bring("b");
  EXPECT_FALSE(has("a"));
}

TEST_F(KeyKeeperTest, shorter_max_age_is_followed_down_to_a_minute) {
  start();
  const auto next_after = [this](std::optional<std::chrono::seconds> max_age) {
    reply(key_set("a"), 200, max_age);
    base::Duration waited{};
    for (; open_fetches() == 0 && waited < 1h; waited += 1s) fake_.advance(1s);
    return waited;
  };
  EXPECT_EQ(next_after(120s), 120s);
  EXPECT_EQ(next_after(0s), kLeastKeyMaxAge);
  EXPECT_EQ(next_after(24h), kKeyRefreshInterval);
  EXPECT_EQ(next_after({}), kKeyRefreshInterval);
}

TEST_F(KeyKeeperTest, failures_keep_the_last_good_keys_and_are_told_once) {
  KeyKeeper& keeper = start_with("a");
  const auto good = verifier_;
  fake_.advance(kKeyRefreshInterval);
  testing::internal::CaptureStderr();
  const std::vector<Result<app::Fetched>> failures = {
      Error{Code::deadline, "too slow"},      app::Fetched{500, key_set("b"), {}}, app::Fetched{302, "", {}},
      app::Fetched{404, "", {}},              app::Fetched{200, "", {}},           app::Fetched{200, "{}", {}},
      app::Fetched{200, R"({"keys":[]})", {}}, app::Fetched{200, "<html>", {}},
      app::Fetched{200, R"({"keys":[{"kty":"oct","k":"c2VjcmV0","kid":"s"}]})", {}}};

  for (const auto& failure : failures) {
    ASSERT_EQ(open_fetches(), 1U);
    reply(failure);
    EXPECT_EQ(verifier_, good);
    EXPECT_NE(keeper.status().front().problem, "");
    EXPECT_EQ(keeper.missing(), "");
    fake_.advance(kKeyRetryCap);
  }
  bring("a");
  fake_.advance(kKeyRefreshInterval);
  bring("a");

  EXPECT_EQ(verifier_, good);
  const std::string log = testing::internal::GetCapturedStderr();
  const auto count = [&log](std::string_view text) {
    int times = 0;
    for (std::size_t at = log.find(text); at != std::string::npos; at = log.find(text, at + 1)) ++times;
    return times;
  };
  EXPECT_EQ(count("keys of an issuer cannot be had"), 1) << log;
  EXPECT_EQ(count("too slow"), 1) << log;
  EXPECT_EQ(count("keys of an issuer can be had again"), 1) << log;
  EXPECT_EQ(log.find("c2VjcmV0"), std::string::npos);
  const auto status = keeper.status().front();
  EXPECT_EQ(status.failed, failures.size());
  EXPECT_EQ(status.changed, 1U);
  EXPECT_EQ(status.unchanged, 2U);
}

TEST_F(KeyKeeperTest, retries_back_off_to_a_minute) {
  start();
  base::Duration longest{};
  for (int i = 0; i < 12; ++i) {
    fail();
    base::Duration waited{};
    for (; open_fetches() == 0; waited += 100ms) fake_.advance(100ms);
    const base::Duration full = std::min(kKeyRetryCap, kKeyRetry * (1 << i));
    EXPECT_GE(waited, full / 2) << i;
    EXPECT_LE(waited, full + 100ms) << i;
    longest = std::max(longest, waited);
  }
  EXPECT_GT(longest, kKeyRetryCap / 2);
}

// A newly rotated key: whoever asks is told when it is there, and has it then.
TEST_F(KeyKeeperTest, unknown_key_is_fetched_at_once_and_once_for_all_who_ask) {
  start_with("a");
  fake_.advance(1min);

  for (int i = 0; i < 100; ++i) want("b");
  want("c");

  EXPECT_EQ(open_fetches(), 1U);
  EXPECT_TRUE(answers_.empty());
  bring("abc");
  EXPECT_EQ(answers_.size(), 101U);
  for (const auto& [id, answer] : answers_) EXPECT_EQ(answer, Answer::look_again) << id;
  EXPECT_TRUE(had_key_when_answered_);
  EXPECT_EQ(open_fetches(), 0U);
  fake_.advance(1min);
  EXPECT_EQ(open_fetches(), 0U);
}

TEST_F(KeyKeeperTest, key_that_came_between_verification_and_question_is_answered_at_once) {
  start_with("a");
  want("a");
  EXPECT_EQ(answers_, (Answers{{"a", Answer::look_again}}));
  EXPECT_EQ(open_fetches(), 0U);
}

TEST_F(KeyKeeperTest, fetch_waits_for_the_least_interval_since_the_last_began) {
  start_with("a");
  fake_.advance(1s);
  want("b");
  EXPECT_EQ(open_fetches(), 0U);
  fake_.advance(kLeastFetchInterval - 1s - 1ms);
  EXPECT_EQ(open_fetches(), 0U);
  fake_.advance(1ms);
  ASSERT_EQ(open_fetches(), 1U);
  bring("ab");
  EXPECT_EQ(answers_, (Answers{{"b", Answer::look_again}}));
}

// The fetch under way may have been answered before the rotation.
TEST_F(KeyKeeperTest, question_during_a_fetch_is_not_decided_by_that_fetch) {
  start_with("a");
  fake_.advance(kKeyRefreshInterval);
  ASSERT_EQ(open_fetches(), 1U);
  want("b");
  EXPECT_EQ(open_fetches(), 1U);

  bring("a");

  EXPECT_TRUE(answers_.empty());
  fake_.advance(kLeastFetchInterval);
  ASSERT_EQ(open_fetches(), 1U);
  bring("ab");
  EXPECT_EQ(answers_, (Answers{{"b", Answer::look_again}}));
}

TEST_F(KeyKeeperTest, question_during_a_fetch_is_answered_by_it_if_it_brings_the_key) {
  start_with("a");
  fake_.advance(kKeyRefreshInterval);
  want("b");
  bring("ab");
  EXPECT_EQ(answers_, (Answers{{"b", Answer::look_again}}));
  fake_.advance(kLeastFetchInterval);
  EXPECT_EQ(open_fetches(), 0U);
}

TEST_F(KeyKeeperTest, made_up_key_costs_one_fetch_in_half_a_minute) {
  start_with("a");
  fake_.advance(1min);
  want("x");
  want("x");
  ASSERT_EQ(open_fetches(), 1U);
  bring("a");
  EXPECT_EQ(answers_, (Answers{{"x", Answer::unknown}, {"x", Answer::unknown}}));

  for (int i = 0; i < 29; ++i) {
    want("x");
    fake_.advance(1s);
  }

  EXPECT_EQ(open_fetches(), 0U);
  EXPECT_EQ(answers_.size(), 31U);
  EXPECT_EQ(answers_.back().second, Answer::unknown);
  fake_.advance(1s);
  want("x");
  EXPECT_EQ(open_fetches(), 1U);
}

TEST_F(KeyKeeperTest, remembered_key_is_found_once_another_fetch_brings_it) {
  start_with("a");
  fake_.advance(1min);
  want("x");
  bring("a");
  fake_.advance(10s);
  want("y");
  bring("axy");
  answers_.clear();
  want("x");
  EXPECT_EQ(answers_, (Answers{{"x", Answer::look_again}}));
}

// A flood of ids, each another one, for a minute.
TEST_F(KeyKeeperTest, flood_of_made_up_keys_costs_a_fetch_per_least_interval) {
  start_with("a");
  fake_.advance(1min);
  int fetches = 0;
  int id = 0;
  for (int second = 0; second < 60; ++second) {
    for (int i = 0; i < 1000; ++i) {
      keeper_->want_key(fake_.loop.mailbox(), kIssuer, "made-up-" + std::to_string(++id),
                        [this](Answer answer) { answers_.emplace_back("", answer); });
    }
    fake_.settle();
    EXPECT_LE(keeper_->status().front().waiting, kKeyWaiters);
    fake_.advance(1s);
    for (; open_fetches() > 0; ++fetches) bring("a");
  }
  EXPECT_LE(fetches, 60s / kLeastFetchInterval + 1);
  fake_.advance(kLeastFetchInterval);
  while (open_fetches() > 0) bring("a");
  EXPECT_EQ(answers_.size(), 60'000U);  // each was told something
  std::size_t unknown = 0;
  for (const auto& [none, answer] : answers_) {
    EXPECT_TRUE(answer == Answer::unknown || answer == Answer::overloaded);
    unknown += answer == Answer::unknown ? 1U : 0U;
  }
  EXPECT_GE(unknown, kKeyWaiters);
  // And a good key is found as soon as there is room.
  answers_.clear();
  fake_.advance(kLeastFetchInterval);
  want("b");
  bring("ab");
  EXPECT_EQ(answers_, (Answers{{"b", Answer::look_again}}));
}

TEST_F(KeyKeeperTest, failed_fetch_says_unavailable_and_is_not_remembered) {
  start_with("a");
  fake_.advance(1min);
  want("b");
  fail();
  EXPECT_EQ(answers_, (Answers{{"b", Answer::unavailable}}));
  answers_.clear();
  want("b");
  fake_.advance(kLeastFetchInterval);
  ASSERT_EQ(open_fetches(), 1U);
  bring("ab");
  EXPECT_EQ(answers_, (Answers{{"b", Answer::look_again}}));
}

TEST_F(KeyKeeperTest, question_before_the_first_keys_waits_for_them) {
  start();
  want("a");
  bring("a");
  EXPECT_EQ(answers_, (Answers{{"a", Answer::look_again}}));
}

// A token without `kid` that none of the keys verifies asks for newer ones than there are.
TEST_F(KeyKeeperTest, question_without_key_id_asks_for_newer_keys) {
  start_with("a");
  fake_.advance(1min);
  want("");
  ASSERT_EQ(open_fetches(), 1U);
  bring("b");
  EXPECT_EQ(answers_, (Answers{{"", Answer::look_again}}));
  answers_.clear();
  fake_.advance(1min);
  want("");
  bring("b");
  EXPECT_EQ(answers_, (Answers{{"", Answer::unknown}}));
  want("");
  EXPECT_EQ(answers_, (Answers{{"", Answer::unknown}, {"", Answer::unknown}}));
  EXPECT_EQ(open_fetches(), 0U);
}

TEST_F(KeyKeeperTest, what_cannot_be_fetched_is_unknown_at_once) {
  IssuerSettings given = settings(Source::given, "");
  given.rules.issuer = "https://secret.example";
  given.rules.algorithms = identity::AlgorithmSet::symmetric();
  given.keys = std::make_shared<const identity::KeySet>(
      *identity::KeySet::shared_secret(std::string(64, 's'), identity::AlgorithmSet::symmetric()));
  ASSERT_TRUE(make({settings(), given}).start());
  fake_.settle();
  bring("a");
  fake_.advance(1min);
  want("x", "https://secret.example");
  want("x", "https://unheard-of.example");
  want(std::string(identity::kKeyIdBytes + 1, 'x'));
  EXPECT_EQ(open_fetches(), 0U);
  ASSERT_EQ(answers_.size(), 3U);
  for (const auto& [id, answer] : answers_) EXPECT_EQ(answer, Answer::unknown);
  EXPECT_EQ(verifier_->issuers()[1].keys, given.keys);
}

TEST_F(KeyKeeperTest, issuers_do_not_wait_for_each_other) {
  IssuerSettings other = settings(Source::url, "https://other.example/keys");
  other.rules.issuer = "https://other.example";
  ASSERT_TRUE(make({settings(), other}).start());
  fake_.settle();
  ASSERT_EQ(open_fetches(), 2U);
  std::swap(asked_[0], asked_[1]);
  bring("b");  // the first one's never comes
  EXPECT_EQ(verifier_->issuers()[0].keys, nullptr);
  ASSERT_NE(verifier_->issuers()[1].keys, nullptr);
  EXPECT_TRUE(verifier_->issuers()[1].keys->has_key_id("b"));
  EXPECT_NE(keeper_->missing().find(kIssuer), std::string::npos);
  fake_.advance(1min);
  want("c", "https://other.example");
  ASSERT_EQ(open_fetches(), 2U);
  std::swap(asked_[0], asked_[1]);
  bring("bc");
  EXPECT_EQ(answers_, (Answers{{"c", Answer::look_again}}));
}

TEST_F(KeyKeeperTest, questions_on_their_way_outlive_the_keeper) {
  start_with("a");
  fake_.advance(1min);
  want("b");  // waits
  keeper_->want_key(fake_.loop.mailbox(), kIssuer, "c", [](Answer) { FAIL(); });
  keeper_.reset();
  fake_.settle();
  EXPECT_TRUE(answers_.empty());
}

// Workers ask from threads of their own, and have what was published before the answer.
TEST_F(KeyKeeperTest, question_of_another_loop_is_answered_there) {
  start_with("a");
  fake_.advance(1min);
  std::optional<Answer> answer;
  std::thread worker([&] {
    tests::RealLoop real;
    keeper_->want_key(real.loop.mailbox(), kIssuer, "b", [&](Answer given) {
      EXPECT_TRUE(real.loop.is_on_loop());
      answer = given;
    });
    EXPECT_TRUE(real.run_until("the answer", [&answer] { return answer.has_value(); }));
  });
  const auto give_up = base::system_clock().monotonic() + 20s;
  while (open_fetches() == 0 && base::system_clock().monotonic() < give_up) fake_.loop.run_turn(net::EventLoop::Wait::no);
  bring("ab");
  worker.join();
  EXPECT_EQ(answer, Answer::look_again);
}

TEST_F(KeyKeeperTest, discovery_finds_the_keys_and_is_asked_each_time) {
  ASSERT_TRUE(make({settings(Source::discovery, "")}).start());
  fake_.settle();
  ASSERT_EQ(open_fetches(), 1U);
  EXPECT_EQ(asked_.front().location, kDiscovery);
  reply(kDocument);
  ASSERT_EQ(open_fetches(), 1U);
  EXPECT_EQ(asked_.front().location, kKeysUrl);
  bring("a");
  EXPECT_TRUE(has("a"));

  fake_.advance(1min);
  want("b");
  reply(R"({"issuer":"https://issuer.example/realm","jwks_uri":"https://issuer.example/moved"})");
  ASSERT_EQ(open_fetches(), 1U);
  EXPECT_EQ(asked_.front().location, "https://issuer.example/moved");
  bring("b");
  EXPECT_EQ(answers_, (Answers{{"b", Answer::look_again}}));
}

TEST_F(KeyKeeperTest, discovery_document_of_another_issuer_brings_nothing) {
  ASSERT_TRUE(make({settings(Source::discovery, "https://proxy.example/discovery")}).start());
  fake_.settle();
  EXPECT_EQ(asked_.front().location, "https://proxy.example/discovery");
  reply(R"({"issuer":"https://issuer.example/realm/","jwks_uri":"https://issuer.example/keys"})");
  EXPECT_EQ(open_fetches(), 0U);
  EXPECT_NE(keeper_->missing().find("\"https://issuer.example/realm/\""), std::string::npos) << keeper_->missing();
}

TEST(Discovery, is_where_the_standard_says) {
  EXPECT_EQ(discovery_url("https://a.example"), "https://a.example/.well-known/openid-configuration");
  EXPECT_EQ(discovery_url("https://a.example/"), "https://a.example/.well-known/openid-configuration");
  EXPECT_EQ(discovery_url("https://a.example/t/1"), "https://a.example/t/1/.well-known/openid-configuration");
}

TEST(Discovery, document_must_be_the_issuers_and_keep_to_tls) {
  const auto uri_of = [](const std::string& issuer, const std::string& document) {
    const auto uri = read_discovery(document, issuer);
    return uri ? *uri : "";
  };
  EXPECT_EQ(uri_of(kIssuer, kDocument), kKeysUrl);
  EXPECT_EQ(uri_of("http://a", R"({"issuer":"http://a","jwks_uri":"http://a/k"})"), "http://a/k");
  EXPECT_EQ(uri_of("http://a", R"({"issuer":"http://a","jwks_uri":"https://a/k"})"), "https://a/k");
  for (const char* document :
       {"", "[]", "null", "{", "{}", R"({"issuer":"https://a"})", R"({"jwks_uri":"https://a/k"})",
        R"({"issuer":"https://a","jwks_uri":"http://a/k"})", R"({"issuer":"https://A","jwks_uri":"https://a/k"})",
        R"({"issuer":["https://a"],"jwks_uri":"https://a/k"})", R"({"issuer":"https://a","jwks_uri":1})",
        R"({"issuer":"https://a","jwks_uri":"/k"})", R"({"issuer":"https://a","jwks_uri":"file:///k"})",
        R"({"issuer":"https://a","jwks_uri":"https://u:p@a/k"})"}) {
    EXPECT_EQ(uri_of("https://a", document), "") << document;
  }
}

TEST(Discovery, what_a_document_says_is_cut_before_it_is_told) {
  const std::string flood(100'000, 'x');
  for (const std::string& document :
       {R"({"issuer":")" + flood + R"("})", R"({"issuer":"https://a","jwks_uri":"ftp://)" + flood + R"("})",
        std::string(R"({"issuer":"https://a\nkeys: ok"})"),
        std::string(R"({"issuer":"https://a","jwks_uri":"https://a\nkeys: ok"})")}) {
    const auto uri = read_discovery(document, "https://a");
    ASSERT_FALSE(uri);
    EXPECT_LT(uri.error().detail.size(), 1000U);
    EXPECT_EQ(uri.error().detail.find('\n'), std::string::npos);
  }
}

TEST_F(KeyKeeperTest, url_that_cannot_be_fetched_from_ends_the_start) {
  for (const char* url : {"file:///etc/passwd", "issuer.example/keys", "https://u:p@issuer.example/keys"}) {
    const auto started = make({settings(Source::url, url)}).start();
    ASSERT_FALSE(started) << url;
    EXPECT_NE(started.error().detail.find(kIssuer), std::string::npos);
  }
}

TEST_F(KeyKeeperTest, file_is_read_at_the_start_and_a_bad_one_ends_it) {
  const TemporaryFile file;
  const auto missing = make({settings(Source::file, file.path)}).start();
  ASSERT_FALSE(missing);
  EXPECT_NE(missing.error().detail.find(file.path), std::string::npos) << missing.error().detail;
  file.write("{}");
  const auto bad = make({settings(Source::file, file.path)}).start();
  ASSERT_FALSE(bad);
  EXPECT_NE(bad.error().detail.find(file.path), std::string::npos) << bad.error().detail;
  EXPECT_EQ(published_, 0);

  file.write(key_set("a"));
  ASSERT_TRUE(make({settings(Source::file, file.path)}).start());

  EXPECT_EQ(published_, 1);
  EXPECT_TRUE(has("a"));
  EXPECT_EQ(keeper_->missing(), "");
  fake_.advance(kKeyFileInterval);
  ASSERT_EQ(open_fetches(), 1U);
  EXPECT_EQ(asked_.front().location, file.path);
}

// As the product has it: a file, and a mounted secret of Kubernetes, where a link changes its target.
TEST(KeyKeeperFiles, changed_file_and_swapped_link_are_followed) {
  const std::filesystem::path folder = ::testing::TempDir() + "outrigger-secret-" + std::to_string(::getpid());
  const TokenMaker a = TokenMaker::ec("a");
  const TokenMaker b = TokenMaker::ec("b");
  for (const auto& [name, text] : {std::pair{"..1", a.jwks()}, {"..2", b.jwks()}, {"..3", std::string("{")}}) {
    std::filesystem::create_directories(folder / name);
    std::ofstream(folder / name / "jwks.json") << text;
  }
  const auto point_to = [&folder](const char* target) {
    std::filesystem::create_directory_symlink(target, folder / "..tmp");
    std::filesystem::rename(folder / "..tmp", folder / "..data");
  };
  point_to("..1");
  std::filesystem::create_symlink("..data/jwks.json", folder / "jwks.json");
  tests::FakeClock clock;
  net::EventLoop loop(clock);
  std::shared_ptr<const identity::TokenVerifier> verifier;
  IssuerSettings settings;
  settings.rules.issuer = kIssuer;
  settings.source = Source::file;
  settings.location = folder / "jwks.json";
  {
    KeyKeeper keeper(loop, {{settings}}, [&loop](Source) { return make_file_source(loop); },
                     [&verifier](auto made) { verifier = std::move(made); });
    // One reading. Its thread is real, the clock is not.
    const auto read_again = [&] {
      const auto done = [&] {
        const auto status = keeper.status().front();
        return status.changed + status.unchanged + status.failed;
      };
      const auto before = done();
      clock.move(kKeyFileInterval);
      const auto give_up = base::system_clock().monotonic() + 20s;
      while (done() == before && base::system_clock().monotonic() < give_up) loop.run_turn(net::EventLoop::Wait::no);
      return done() == before + 1;
    };
    const auto has = [&verifier](const char* id) { return verifier->issuers().front().keys->has_key_id(id); };
    ASSERT_TRUE(keeper.start());
    EXPECT_TRUE(has("a"));

    point_to("..2");
    ASSERT_TRUE(read_again());
    EXPECT_TRUE(has("b") && !has("a"));

    point_to("..3");
    ASSERT_TRUE(read_again());
    EXPECT_TRUE(has("b"));
    EXPECT_NE(keeper.status().front().problem, "");

    std::filesystem::remove(folder / "..data");
    ASSERT_TRUE(read_again());
    EXPECT_TRUE(has("b"));

    point_to("..1");
    ASSERT_TRUE(read_again());
    EXPECT_TRUE(has("a") && !has("b"));
    EXPECT_EQ(keeper.status().front().problem, "");

    // Written in place, the same size.
    std::string same_size = a.jwks();
    same_size.replace(same_size.find(R"("a")"), 3, R"("z")");
    std::ofstream(folder / "..1" / "jwks.json") << same_size;
    ASSERT_TRUE(read_again());
    EXPECT_TRUE(has("z"));
  }
  std::filesystem::remove_all(folder);
}

TEST(DocumentSource, only_regular_files_of_bounded_size_are_read) {
  const TemporaryFile file;
  file.write(std::string(base::limits::kMiB, ' '));
  const auto largest = read_document(file.path);
  ASSERT_TRUE(largest);
  EXPECT_EQ(largest->body.size(), base::limits::kMiB);
  file.write(std::string(base::limits::kMiB + 1, ' '));
  for (const std::string& path : {file.path, ::testing::TempDir(), file.path + ".missing", std::string("/dev/zero"),
                                  std::string()}) {
    EXPECT_FALSE(read_document(path)) << path;
  }
}

// The issuer hangs, and the process ends: it does not wait for it.
TEST(DocumentSource, end_of_a_http_source_does_not_wait_for_the_issuer) {
  tests::ScriptedService service(
      [](const tests::RawRequest&, tests::ScriptedService::Connection& connection) { connection.hold(); });
  tests::RealLoop real;
  app::FetchOptions options;
  options.timeout = 1h;
  {
    const auto source = make_http_source(real.loop, options);
    const net::Pending fetch = source->get(service.url() + "/keys", [](const auto&) { FAIL(); });
    ASSERT_TRUE(real.run_until("the request", [&] { return service.held() == 1; }));
  }
  real.loop.run_turn(net::EventLoop::Wait::no);
}

TEST_F(KeyKeeperTest, metrics_show_fetches_age_and_questions) {
  start_with("a");
  fake_.advance(1min);
  want("b");
  fail();
  telemetry::MetricsWriter writer(telemetry::MetricsFormat::text);
  keeper_->write(writer);
  const std::string page = std::move(writer).finish();
  for (const char* line : {R"(outrigger_key_fetches_total{issuer="https://issuer.example/realm",outcome="changed"} 1)",
                           R"(outrigger_key_fetches_total{issuer="https://issuer.example/realm",outcome="failed"} 1)",
                           R"(outrigger_key_age_seconds{issuer="https://issuer.example/realm"} 60)",
                           R"(outrigger_key_questions_total{outcome="unavailable"} 1)",
                           R"(outrigger_key_questions_total{outcome="found"} 0)"}) {
    EXPECT_NE(page.find(line), std::string::npos) << line << "\n" << page;
  }
}

}  // namespace
}  // namespace outrigger::gateway
