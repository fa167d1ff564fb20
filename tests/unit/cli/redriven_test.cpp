// What a redriven request is made of, and which letters are not redriven.
#include "bridge/cli/redriver.h"

namespace outrigger::cli {
namespace {

FoundLetter letter_of(frames::Request request) {
  return {"billing", {17, 3}, {std::move(request), "restored", "", "1-2", 4, 12, "", ""}, 0};
}

frames::Request sample() {
  frames::Request request;
  request.id = "8c6f0e2d4b1a49d7a35c7e9f10b2d4c6";
  request.method = "POST";
  request.target = "/a?b";
  request.scheme = "https";
  request.authority = "example.com";
  request.headers.add("a", "b");
  request.reply_to = "router:responses:gone";
  request.deadline_ms = 1;
  request.bus = "gone";
  request.repeatable = true;
  request.max_attempts = 7;
  request.traceparent = "00-1";
  request.tracestate = "v=1";
  request.body = "body";
  return request;
}

TEST(Redriven, request_is_new_where_it_must_be_and_the_same_elsewhere) {
  frames::Request expected = sample();
  expected.id = "new";
  expected.reply_to = "router:responses:mine";
  expected.deadline_ms = 99;
  expected.bus = "now";
  expected.origin = frames::Origin{"17-3", sample().id, "restored", 12};

  EXPECT_EQ(make_redriven(letter_of(sample()), "new", "router:responses:mine", 99, "now"), expected);
}

TEST(Redriven, origin_is_that_of_the_last_letter_with_the_first_time) {
  frames::Request again = sample();
  again.origin = frames::Origin{"5-0", "older", "exhausted", 4};
  FoundLetter found = letter_of(again);
  found.letter.first_seen_ms = 0;
  found.letter.reason.clear();

  const auto origin = make_redriven(found, "new", "r", 99, "now").origin;

  EXPECT_EQ(origin, (frames::Origin{"17-3", again.id, "unknown", 17}));
}

TEST(Redriven, what_may_not_run_twice_is_refused_whatever_the_reason) {
  EXPECT_EQ(reason_against(letter_of(sample()), false), "");
  frames::Request once = sample();
  once.repeatable = false;
  for (const char* reason : {"restored", "outcome-unknown", "exhausted", "expired", ""}) {
    FoundLetter found = letter_of(once);
    found.letter.reason = reason;
    EXPECT_NE(reason_against(found, false).find("--may-run-twice"), std::string::npos);
    EXPECT_EQ(reason_against(found, true), "");
  }
}

TEST(Redriven, letters_without_their_request_are_refused_whatever_is_said) {
  frames::Request streamed = sample();
  streamed.streamed.emplace();
  EXPECT_NE(reason_against(letter_of(streamed), true), "");
  FoundLetter broken = letter_of(sample());
  broken.letter.request = base::Error{base::Code::malformed, "field h is missing"};
  EXPECT_EQ(reason_against(broken, true), "it cannot be read: field h is missing");
}

}  // namespace
}  // namespace outrigger::cli
