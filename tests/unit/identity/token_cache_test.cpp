#include "bridge/identity/token_cache.h"

namespace outrigger::identity {
namespace {

using namespace std::chrono_literals;
using Cache = TokenCache<int>;

std::shared_ptr<const int> number(int value) {
  return std::make_shared<const int>(value);
}

TEST(TokenCache, what_was_put_in_is_found_until_it_expires) {
  Cache cache(4);
  cache.insert("a.b.c", number(1), 1000ms);

  ASSERT_NE(cache.find("a.b.c", 999ms), nullptr);
  EXPECT_EQ(*cache.find("a.b.c", 999ms), 1);
  EXPECT_EQ(cache.find("a.b.d", 0ms), nullptr);
  EXPECT_EQ(cache.find("", 0ms), nullptr);
  EXPECT_EQ(cache.find("a.b.c", 1000ms), nullptr);
  EXPECT_EQ(cache.size(), 0U);
}

TEST(TokenCache, the_one_that_was_not_asked_for_longest_makes_room) {
  Cache cache(2);
  cache.insert("a", number(1), 10s);
  cache.insert("b", number(2), 10s);
  EXPECT_NE(cache.find("a", 0ms), nullptr);
  cache.insert("c", number(3), 10s);

  EXPECT_EQ(cache.size(), 2U);
  EXPECT_EQ(cache.find("b", 0ms), nullptr);
  EXPECT_NE(cache.find("a", 0ms), nullptr);
  EXPECT_NE(cache.find("c", 0ms), nullptr);
}

TEST(TokenCache, a_token_is_in_it_once) {
  Cache cache(2);
  cache.insert("a", number(1), 1s);
  cache.insert("b", number(2), 1s);
  cache.insert("a", number(3), 2s);

  EXPECT_EQ(cache.size(), 2U);
  EXPECT_EQ(*cache.find("a", 1500ms), 3);
  EXPECT_NE(cache.find("b", 0ms), nullptr);
}

TEST(TokenCache, it_never_grows_beyond_its_capacity) {
  Cache cache(100);
  for (int i = 0; i < 10000; ++i) {
    cache.insert(std::to_string(i), number(i), std::chrono::milliseconds(i));
    ASSERT_LE(cache.size(), 100U);
  }
  EXPECT_EQ(cache.find("9899", 0ms), nullptr);
  EXPECT_EQ(*cache.find("9900", 0ms), 9900);
}

TEST(TokenCache, what_was_found_outlives_its_place) {
  Cache cache(1);
  cache.insert("a", number(1), 1s);
  const auto held = cache.find("a", 0ms);
  cache.insert("b", number(2), 1s);
  cache.clear();

  EXPECT_EQ(*held, 1);
  EXPECT_EQ(cache.size(), 0U);
  EXPECT_EQ(cache.find("b", 0ms), nullptr);
}

TEST(Sha256, is_that_of_all_bytes) {
  const Sha256 hash = sha256("abc");  // FIPS 180-2, appendix B.1
  EXPECT_EQ(hash[0], 0xba);
  EXPECT_EQ(hash[1], 0x78);
  EXPECT_EQ(hash[31], 0xad);
}

}  // namespace
}  // namespace outrigger::identity
