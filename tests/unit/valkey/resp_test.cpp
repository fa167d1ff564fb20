#include "bridge/valkey/resp.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "bridge/valkey/link.h"

namespace outrigger::valkey {
namespace {

using base::Code;

// A reply as text: i:1 s:"x" +OK -ERR nil [a, b].
std::string show(const Reply& reply) {
  switch (reply.type()) {
    case Reply::Type::nil:
      return "nil";
    case Reply::Type::integer:
      return "i:" + std::to_string(reply.integer());
    case Reply::Type::string:
      return "s:" + std::string(reply.text());
    case Reply::Type::status:
      return "+" + std::string(reply.text());
    case Reply::Type::error:
      return "-" + std::string(reply.text());
    case Reply::Type::array:
      break;
  }
  std::string shown = "[";
  for (std::size_t i = 0; i < reply.size(); ++i) shown += (i == 0 ? "" : ", ") + show(reply[i]);
  return shown + "]";
}

// Every whole reply so far, or what went wrong.
std::vector<std::string> read_all(ReplyReader& reader) {
  std::vector<std::string> shown;
  for (;;) {
    const auto next = reader.next();
    if (!next) {
      shown.push_back("error " + std::string(base::name_of(next.error().code)));
      return shown;
    }
    if (!next->has_value()) return shown;
    shown.push_back(show(**next));
  }
}

std::vector<std::string> read_all(std::string_view bytes, std::size_t limit = 1 << 20) {
  ReplyReader reader(limit);
  reader.feed(bytes);
  return read_all(reader);
}

// A NUL is inside: sized as an array, not by its end.
constexpr char kMixedBytes[] =
    "+OK\r\n"
    ":-42\r\n"
    "$-1\r\n"
    "*-1\r\n"
    "$0\r\n\r\n"
    "$4\r\n\r\n\0x\r\n"
    "-NOGROUP No such key\r\n"
    "*0\r\n"
    "*1\r\n*2\r\n$1\r\nq\r\n*2\r\n*2\r\n$3\r\n1-1\r\n*2\r\n$1\r\nv\r\n$1\r\n1\r\n*2\r\n$3\r\n2-1\r\n$-1\r\n"
    "*3\r\n-ERR inner\r\n:7\r\n*0\r\n";
const std::string_view kMixed(kMixedBytes, sizeof kMixedBytes - 1);

const std::vector<std::string> kMixedShown{"+OK",
                                           "i:-42",
                                           "nil",
                                           "nil",
                                           "s:",
                                           std::string("s:\r\n\0x", 6),
                                           "-NOGROUP No such key",
                                           "[]",
                                           "[[s:q, [[s:1-1, [s:v, s:1]], [s:2-1, nil]]]]",
                                           "[-ERR inner, i:7, []]"};

TEST(ReplyReader, replies_of_every_kind_are_read) {
  EXPECT_EQ(read_all(kMixed), kMixedShown);
}

TEST(ReplyReader, cuts_change_nothing) {
  for (std::size_t cut = 0; cut <= kMixed.size(); ++cut) {
    ReplyReader reader(1 << 20);
    reader.feed(kMixed.substr(0, cut));
    std::vector<std::string> shown = read_all(reader);
    reader.feed(kMixed.substr(cut));
    for (std::string& one : read_all(reader)) shown.push_back(std::move(one));
    ASSERT_EQ(shown, kMixedShown) << "cut at " << cut;
  }
}

TEST(ReplyReader, single_bytes_change_nothing) {
  ReplyReader reader(1 << 20);
  std::vector<std::string> shown;
  for (const char byte : kMixed) {
    reader.feed({&byte, 1});
    for (std::string& one : read_all(reader)) shown.push_back(std::move(one));
  }
  EXPECT_EQ(shown, kMixedShown);
}

TEST(ReplyReader, bytes_of_another_protocol_are_malformed) {
  for (const char* bytes : {"HTTP/1.1 200 OK\r\n\r\n", "%1\r\n+a\r\n+b\r\n", "\r\n", "?", "*1\r\n!x\r\n"}) {
    EXPECT_EQ(read_all(bytes), std::vector<std::string>{"error malformed"}) << bytes;
  }
}

TEST(ReplyReader, numbers_that_are_none_are_malformed) {
  for (const char* bytes : {":1x\r\n", ":99999999999999999999\r\n", "$x\r\n", "*x\r\n", "*1\r\n$1y\r\n"}) {
    EXPECT_EQ(read_all(bytes), std::vector<std::string>{"error malformed"}) << bytes;
  }
}

TEST(ReplyReader, array_counts_beyond_reason_are_refused_before_they_allocate) {
  for (const char* bytes : {"*1048577\r\n", "*2147483647\r\n", "*4294967295\r\n", "*9223372036854775807\r\n",
                            "*-2147483648\r\n", "*2\r\n*1048575\r\n"}) {
    EXPECT_EQ(read_all(bytes), std::vector<std::string>{"error malformed"}) << bytes;
  }
}

TEST(ReplyReader, nesting_beyond_reason_is_refused) {
  std::string bytes;
  for (int i = 0; i < 100; ++i) bytes += "*1\r\n";
  EXPECT_EQ(read_all(bytes), std::vector<std::string>{"error malformed"});
}

TEST(ReplyReader, reply_above_the_limit_is_too_large) {
  EXPECT_EQ(read_all("$2000\r\n" + std::string(1100, 'x'), 1000), std::vector<std::string>{"error too-large"});

  ReplyReader reader(1000);
  reader.feed("*1000\r\n");
  std::vector<std::string> shown;
  for (int i = 0; i < 1000 && shown.empty(); ++i) {
    reader.feed("+a\r\n");
    shown = read_all(reader);
  }
  EXPECT_EQ(shown, std::vector<std::string>{"error too-large"});
}

TEST(ReplyReader, many_replies_below_the_limit_are_read_for_ever) {
  ReplyReader reader(100);
  for (int i = 0; i < 1000; ++i) {
    reader.feed("$8\r\nabcdefgh\r\n$8\r\nabc");
    ASSERT_EQ(read_all(reader), std::vector<std::string>{"s:abcdefgh"});
    reader.feed("defgh\r\n");
    ASSERT_EQ(read_all(reader), std::vector<std::string>{"s:abcdefgh"});
  }
}

TEST(ReplyReader, accessors_of_another_kind_give_nothing) {
  ReplyReader reader(1000);
  reader.feed(":5\r\n");
  const auto next = reader.next();
  ASSERT_TRUE(next && next->has_value());
  EXPECT_EQ((*next)->text(), "");
  EXPECT_EQ((*next)->size(), 0u);
  EXPECT_FALSE((*next)->is_array());
}

TEST(Command, arguments_are_counted_in_bytes) {
  std::string out;
  append_command(out, {"SET", std::string_view("a\0\r\n", 4), ""});
  EXPECT_EQ(out, std::string_view("*3\r\n$3\r\nSET\r\n$4\r\na\0\r\n\r\n$0\r\n\r\n", 29));
}

TEST(ErrorOf, codes_of_the_server_keep_their_meaning) {
  const auto code = [](std::string_view text) { return error_of(text).code; };
  EXPECT_EQ(code("OOM command not allowed when used memory > 'maxmemory'."), Code::overloaded);
  EXPECT_EQ(code("NOGROUP No such key 'q' or consumer group 'router'"), Code::not_found);
  EXPECT_EQ(code("ERR no such key"), Code::not_found);
  EXPECT_EQ(code("ERR no such key script: 1f, on @user_script:11."), Code::not_found);
  EXPECT_EQ(code("ERR The XGROUP subcommand requires the key to exist."), Code::not_found);
  EXPECT_EQ(code("UNBLOCKED the stream key no longer exists"), Code::not_found);
  EXPECT_EQ(code("UNBLOCKED force unblock from blocking operation, instance state changed (master -> replica?)"),
            Code::refused);
  EXPECT_EQ(code("WRONGPASS invalid username-password pair or user is disabled."), Code::unauthenticated);
  EXPECT_EQ(code("NOAUTH Authentication required."), Code::unauthenticated);
  EXPECT_EQ(code("NOPERM User app has no permissions to run the 'xadd' command"), Code::forbidden);
  EXPECT_EQ(code("READONLY You can't write against a read only replica."), Code::refused);
  EXPECT_EQ(code("ERR unknown command"), Code::refused);
}

}  // namespace
}  // namespace outrigger::valkey
