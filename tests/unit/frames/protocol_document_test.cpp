// Reads docs/protocol.md itself: its examples must be what the codec reads and writes, and its tables must have exactly
// the members of the examples.
#include <fstream>
#include <map>
#include <regex>
#include <set>

#include "tests/unit/frames/frame_samples.h"

namespace outrigger::frames {
namespace {

struct Example {
  int line;
  OwnedEntry entry;
};

struct ProtocolDocument {
  std::vector<Example> examples;
  std::map<std::string, std::set<std::string>> members;  // of each table, by the heading above it, such as "HELLO 1"
};

ProtocolDocument read_document() {
  ProtocolDocument document;
  std::ifstream file(OUTRIGGER_PROTOCOL_DOCUMENT);
  std::string line;
  std::string fence;  // what stood after the opening ```
  std::string heading;
  bool is_member_table = false;
  for (int number = 1; std::getline(file, line); ++number) {
    if (line.rfind("```", 0) == 0) {
      fence = fence.empty() ? line.substr(3) + " " : "";
      if (fence == "frame " || fence == "cancel ") document.examples.push_back({number, {}});
    } else if (fence == "frame ") {
      document.examples.back().entry.emplace_back(line.substr(0, 1), line.substr(2));
    } else if (fence == "cancel ") {
      document.examples.back().entry.emplace_back("cancel", line);
    } else if (line.rfind("### ", 0) == 0) {
      heading = line.substr(4);
    } else if (line.rfind("| member |", 0) == 0) {
      is_member_table = true;
    } else if (line.rfind("|", 0) != 0) {
      is_member_table = false;
    } else if (is_member_table && line.rfind("| `", 0) == 0) {
      document.members[heading].insert(line.substr(3, line.find('`', 3) - 3));
    }
  }
  return document;
}

// Names of the members of a compact object, those of objects inside it left out.
std::set<std::string> member_names(std::string head) {
  head = std::regex_replace(head.substr(1), std::regex(R"(\{[^{}]*\})"), "");
  std::set<std::string> names;
  const std::regex name(R"re("([a-z_]+)":)re");
  for (std::sregex_iterator it(head.begin(), head.end(), name), end; it != end; ++it) names.insert((*it)[1]);
  return names;
}

TEST(ProtocolDocument, examples_decode_and_encode_to_the_same_bytes) {
  const ProtocolDocument document = read_document();
  FrameDecoder decoder(default_names());
  std::set<std::string> types;

  for (const Example& example : document.examples) {
    SCOPED_TRACE("line " + std::to_string(example.line));
    types.insert(example.entry.size() == 1 ? "7" : example.entry[1].second);
    base::Result<Frame> frame = decode_any(decoder, example.entry);
    ASSERT_TRUE(frame) << frame.error().detail;
    base::Result<OwnedEntry> again = encode_any(*frame);
    ASSERT_TRUE(again) << again.error().detail;
    EXPECT_EQ(*again, example.entry);
  }

  EXPECT_EQ(types, (std::set<std::string>{"1", "2", "3", "4", "5", "6", "7", "8", "9", "32", "33", "34"}));
}

TEST(ProtocolDocument, tables_have_exactly_the_members_of_the_frames) {
  const ProtocolDocument document = read_document();
  const std::map<std::string, std::string> headings{{"1", "HELLO 1"},
                                                    {"2", "HELLO 1"},
                                                    {"33", "HELLO 1"},
                                                    {"3", "REQUEST 3"},
                                                    {"4", "RESPONSE 4"},
                                                    {"5", "REQUEST_STREAM_DATA 5"},
                                                    {"6", "REQUEST_STREAM_DATA 5"},
                                                    {"7", "CANCEL 7"},
                                                    {"8", "RESYNC_REQUEST 8"},
                                                    {"9", "ENDPOINTS_UPDATE 9"},
                                                    {"32", "ACCEPT 32"},
                                                    {"34", "CREDIT 34"}};
  std::map<std::string, std::set<std::string>> in_frames;

  // Random frames reach every optional member.
  for (unsigned seed = 1; seed <= 20; ++seed) {
    FrameGenerator generator(seed);
    for (int kind = 0; kind < FrameGenerator::kKinds; ++kind) {
      const Frame frame = generator.frame(kind);
      const OwnedEntry entry = encode_any(frame).value();
      const bool is_cancel = entry.size() == 1;
      in_frames[headings.at(is_cancel ? "7" : entry[1].second)].merge(member_names(entry[is_cancel ? 0 : 2].second));
    }
  }

  EXPECT_EQ(document.members, in_frames);
}

}  // namespace
}  // namespace outrigger::frames
