#include "bridge/identity/base64url.h"

namespace outrigger::identity {
namespace {

TEST(Base64url, known_values_of_rfc_4648) {
  const std::pair<std::string, std::string> known[] = {
      {"", ""},           {"f", "Zg"},          {"fo", "Zm8"},          {"foo", "Zm9v"},
      {"foob", "Zm9vYg"}, {"fooba", "Zm9vYmE"}, {"foobar", "Zm9vYmFy"}, {"\xfb\xff", "-_8"}};
  for (const auto& [bytes, text] : known) {
    EXPECT_EQ(encode_base64url(bytes), text);
    EXPECT_EQ(decode_base64url(text), bytes);
  }
}

TEST(Base64url, every_byte_survives) {
  std::string bytes;
  for (int i = 0; i < 256; ++i) bytes += static_cast<char>(i);
  for (std::size_t size = 0; size <= bytes.size(); ++size) {
    EXPECT_EQ(decode_base64url(encode_base64url(bytes.substr(0, size))), bytes.substr(0, size));
  }
}

TEST(Base64url, other_spellings_are_refused) {
  using std::string_literals::operator""s;
  for (const std::string& text : {"Zg=="s, "Zg="s, "Z"s, "Zm9vY"s, "Zh"s, "Zm9"s, "Zm 9v"s, "Zm9v\n"s, " Zm9v"s, "+_8"s,
                                  "-/8"s, "Zm9v."s, "Zm9\0"s, "Zm\xc3\xa9"s}) {
    EXPECT_FALSE(decode_base64url(text)) << text;
  }
}

}  // namespace
}  // namespace outrigger::identity
