// What is read out of an entry of a dead stream: the frame by its own fields, the notes beside it leniently.
#include "bridge/frames/dead_letter.h"

#include "bridge/base/limits.h"
#include "tests/unit/frames/frame_samples.h"

namespace outrigger::frames {
namespace {

using base::Code;

Request sample() {
  Request request;
  request.id = "8c6f0e2d4b1a49d7a35c7e9f10b2d4c6";
  request.method = "POST";
  request.target = "/invoices";
  request.scheme = "https";
  request.reply_to = "router:responses:0d6e5b4a39281706f5e4.0.1";
  request.deadline_ms = 1767225630000;
  request.bus = "run/replica";
  request.body = std::string("\0\xff\r\n", 4);
  return request;
}

OwnedEntry entry_of(const Request& request, const OwnedEntry& notes) {
  OwnedEntry entry = encode_any(Frame(request)).value();
  entry.insert(entry.end(), notes.begin(), notes.end());
  return entry;
}

DeadLetter read(const OwnedEntry& entry) {
  FrameDecoder decoder(default_names());
  std::vector<EntryField> fields;
  for (const auto& [name, value] : entry) fields.push_back({name, value});
  return read_dead_letter(decoder, default_names(), fields);
}

const OwnedEntry kNotes{{"reason", "outcome-unknown"},
                        {"queue", "router:requests:billing@eu"},
                        {"entry", "1767225600000-3"},
                        {"attempts", "2"},
                        {"first_seen", "1767225600000"},
                        {"instance", "4f1c0a9b7d3e5f6a8b2c"},
                        {"detail", "it may have been run before"}};

TEST(DeadLetter, has_the_request_and_its_notes) {
  const DeadLetter letter = read(entry_of(sample(), kNotes));

  ASSERT_TRUE(letter.request) << letter.request.error().detail;
  EXPECT_TRUE(*letter.request == sample());
  EXPECT_EQ(letter.reason, name_of(DeadReason::outcome_unknown));
  EXPECT_EQ(letter.queue, "router:requests:billing@eu");
  EXPECT_EQ(letter.entry, "1767225600000-3");
  EXPECT_EQ(letter.attempts, 2U);
  EXPECT_EQ(letter.first_seen_ms, 1767225600000U);
  EXPECT_EQ(letter.instance, "4f1c0a9b7d3e5f6a8b2c");
  EXPECT_EQ(letter.detail, "it may have been run before");
}

TEST(DeadLetter, order_of_fields_means_nothing) {
  OwnedEntry entry = entry_of(sample(), kNotes);
  std::reverse(entry.begin(), entry.end());

  EXPECT_TRUE(read(entry).request);
  EXPECT_EQ(read(entry).attempts, 2U);
}

TEST(DeadLetter, notes_that_are_not_of_their_form_are_left_empty) {
  const DeadLetter letter = read(entry_of(sample(), {{"reason", "Out of\x1b[0m"},
                                                     {"queue", "router:inbox:billing:x"},
                                                     {"entry", "0-0; DEL"},
                                                     {"attempts", "-1"},
                                                     {"first_seen", "soon"},
                                                     {"instance", "me"},
                                                     {"later", "x"}}));

  EXPECT_TRUE(letter.request);
  EXPECT_EQ(letter.reason + letter.queue + letter.entry + letter.instance, "");
  EXPECT_EQ(letter.attempts + letter.first_seen_ms, 0U);
}

TEST(DeadLetter, unreadable_request_leaves_the_notes) {
  OwnedEntry entry = entry_of(sample(), kNotes);
  entry[2].second = "{";
  const DeadLetter broken = read(entry);
  EXPECT_EQ(broken.request.error().code, Code::malformed);
  EXPECT_EQ(broken.reason, "outcome-unknown");

  const DeadLetter other = read(encode_any(Frame(Accept{sample().id, "4f1c0a9b7d3e5f6a8b2c", 1, "router:inbox:a:b"})).value());
  EXPECT_EQ(other.request.error().code, Code::malformed);
}

TEST(DeadLetter, notes_do_not_count_towards_the_limit_of_the_frame) {
  Request request = sample();
  request.body.assign(base::limits::kFrameEntryBytes, 'x');
  const auto head = encode(request);
  ASSERT_FALSE(head);  // one byte of head is too much beside it
  request.body.resize(base::limits::kInlineBodyBytes);

  EXPECT_TRUE(read(entry_of(request, {{"detail", std::string(base::limits::kFrameEntryBytes, 'd')}})).request);
}

TEST(DeadLetter, reasons_are_written_as_documented) {
  const std::vector<std::string> names{"exhausted", "outcome-unknown", "restored", "expired"};
  for (int i = 0; i < kDeadReasons; ++i) {
    EXPECT_EQ(name_of(static_cast<DeadReason>(i)), names[static_cast<std::size_t>(i)]);
    EXPECT_TRUE(is_dead_reason(names[static_cast<std::size_t>(i)]));
  }
  EXPECT_FALSE(is_dead_reason(""));
  EXPECT_FALSE(is_dead_reason(std::string(65, 'a')));
  EXPECT_FALSE(is_dead_reason("a b"));
}

}  // namespace
}  // namespace outrigger::frames
