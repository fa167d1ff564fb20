// Properties of the codec over random frames. The seed is in every failure.
#include <algorithm>

#include "tests/unit/frames/frame_samples.h"

namespace outrigger::frames {
namespace {

using base::Code;

constexpr unsigned kSeeds = 40;

// Runs `check(entry, frame, generator)` for random frames of every kind.
template <class Check>
void for_random_frames(Check check) {
  for (unsigned seed = 1; seed <= kSeeds; ++seed) {
    FrameGenerator generator(seed);
    for (int kind = 0; kind < FrameGenerator::kKinds; ++kind) {
      SCOPED_TRACE("seed " + std::to_string(seed) + " kind " + std::to_string(kind));
      const Frame frame = generator.frame(kind);
      base::Result<OwnedEntry> entry = encode_any(frame);
      ASSERT_TRUE(entry) << entry.error().detail;
      check(*entry, frame, generator);
      if (testing::Test::HasFailure()) return;
    }
  }
}

std::string& head_of(OwnedEntry& entry) {
  return entry.size() == 1 ? entry[0].second : entry[2].second;
}

TEST(FrameProperties, encoded_frame_decodes_to_itself) {
  FrameDecoder decoder(default_names());
  for_random_frames([&](const OwnedEntry& entry, const Frame& frame, FrameGenerator&) {
    base::Result<Frame> decoded = decode_any(decoder, entry);

    ASSERT_TRUE(decoded) << decoded.error().detail;
    EXPECT_TRUE(*decoded == frame);
  });
}

TEST(FrameProperties, truncated_head_is_malformed) {
  FrameDecoder decoder(default_names());
  for_random_frames([&](OwnedEntry entry, const Frame&, FrameGenerator&) {
    std::string& head = head_of(entry);
    while (!head.empty()) {
      head.pop_back();
      base::Result<Frame> decoded = decode_any(decoder, entry);
      ASSERT_FALSE(decoded) << head;
      ASSERT_EQ(decoded.error().code, Code::malformed) << head;
    }
  });
}

TEST(FrameProperties, changed_byte_decodes_or_is_an_error) {
  FrameDecoder decoder(default_names());
  for_random_frames([&](const OwnedEntry& original, const Frame&, FrameGenerator& generator) {
    for (std::size_t field = 0; field < original.size(); ++field) {
      for (std::size_t at = 0; at < original[field].second.size(); ++at) {
        OwnedEntry entry = original;
        entry[field].second[at] = static_cast<char>(generator.below(256));
        const base::Result<Frame> decoded = decode_any(decoder, entry);
        // Whatever it decodes to can be sent on.
        if (decoded) {
          EXPECT_TRUE(encode_any(*decoded)) << entry[field].second;
        }
      }
    }
  });
}

TEST(FrameProperties, unknown_members_and_fields_are_ignored) {
  FrameDecoder decoder(default_names());
  for_random_frames([&](OwnedEntry entry, const Frame& frame, FrameGenerator& generator) {
    std::string& head = head_of(entry);
    const std::string extra = R"("later":{"a":[1,null,"x"],"id":7},"later":2)";
    if (generator.below(2) == 0) {
      head.insert(1, extra + ",");
    } else {
      head.insert(head.size() - 1, "," + extra);
    }
    if (entry.size() > 1) {
      entry.insert(entry.begin() + static_cast<std::ptrdiff_t>(generator.below(entry.size())), {"later", "x"});
      entry.emplace_back("s", "mac");
    }

    base::Result<Frame> decoded = decode_any(decoder, entry);

    ASSERT_TRUE(decoded) << decoded.error().detail;
    EXPECT_TRUE(*decoded == frame);
  });
}

TEST(FrameProperties, order_of_fields_means_nothing) {
  FrameDecoder decoder(default_names());
  for_random_frames([&](OwnedEntry entry, const Frame& frame, FrameGenerator&) {
    std::sort(entry.begin(), entry.end());
    do {
      base::Result<Frame> decoded = decode_any(decoder, entry);
      ASSERT_TRUE(decoded) << decoded.error().detail;
      ASSERT_TRUE(*decoded == frame);
    } while (std::next_permutation(entry.begin(), entry.end()));
  });
}

}  // namespace
}  // namespace outrigger::frames
