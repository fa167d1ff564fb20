// Runs tests/data/http/*.md; the format is in the README there.
#include <gtest/gtest.h>

#include <fstream>
#include <functional>
#include <sstream>

#include "bridge/http1/parser.h"
#include "bridge/http1/server_session.h"
#include "tests/support/fake_clock.h"
#include "tests/support/memory_transport.h"

namespace outrigger::http1 {
namespace {

struct Case {
  std::string name;
  bool is_request = true;
  MessageLimits limits;
  std::string method = "GET";
  bool ends = false;  // the peer closes after the bytes
  std::string bytes;
  std::string log;
};

// One line of a fence as bytes.
std::string unescape(std::string_view line) {
  std::string out;
  for (std::size_t i = 0; i < line.size(); ++i) {
    if (line[i] != '\\') {
      out.push_back(line[i]);
      continue;
    }
    if (++i == line.size()) return out;  // no CRLF
    switch (line[i]) {
      case 'n':
        out.push_back('\n');
        break;
      case 'r':
        out.push_back('\r');
        break;
      case 't':
        out.push_back('\t');
        break;
      case 'x':
        out.push_back(static_cast<char>(std::stoi(std::string(line.substr(i + 1, 2)), nullptr, 16)));
        i += 2;
        break;
      default:
        out.push_back(line[i]);
    }
  }
  return out.append("\r\n");
}

std::string escape(std::string_view bytes) {
  static constexpr char kHex[] = "0123456789abcdef";
  std::string out;
  for (const char c : bytes) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '\t') {
      out.append("\\t");
    } else if (c == '\r') {
      out.append("\\r");
    } else if (c == '\n') {
      out.append("\\n");
    } else if (byte < 0x20 || byte >= 0x7f) {
      out.append({'\\', 'x', kHex[byte >> 4], kHex[byte & 15]});
    } else {
      out.push_back(c);
    }
  }
  return out;
}

void read_attributes(const std::string& text, Case& c) {
  std::istringstream words(text);
  std::string word;
  words >> word;
  c.is_request = word == "request";
  while (words >> word) {
    const std::size_t equals = word.find('=');
    const std::string key = word.substr(0, equals);
    const std::string value = equals == std::string::npos ? "" : word.substr(equals + 1);
    if (key == "body") c.limits.body_bytes = std::stoul(value);
    if (key == "headers") c.limits.header_bytes = std::stoul(value);
    if (key == "count") c.limits.header_count = std::stoul(value);
    if (key == "target") c.limits.target_bytes = std::stoul(value);
    if (key == "for") c.method = value;
    if (key == "eof") c.ends = true;
  }
}

std::vector<Case> read_document(const std::string& file) {
  std::ifstream in(std::string(OUTRIGGER_TEST_DATA) + "/http/" + file);
  EXPECT_TRUE(in.is_open()) << file;
  std::vector<Case> cases;
  enum class In { text, bytes, log } where = In::text;
  for (std::string line; std::getline(in, line);) {
    if (where == In::text && line.rfind("## ", 0) == 0) {
      cases.emplace_back().name = file + ": " + line.substr(3);
    } else if (line.rfind("```", 0) == 0) {
      if (where != In::text) {
        where = In::text;
      } else if (line == "```log") {
        where = In::log;
      } else {
        where = In::bytes;
        read_attributes(line.substr(3), cases.back());
      }
    } else if (where == In::bytes) {
      cases.back().bytes += unescape(line);
    } else if (where == In::log) {
      cases.back().log += line + "\n";
    }
  }
  EXPECT_GT(cases.size(), 5u) << file;
  return cases;
}

class Log {
 public:
  explicit Log(const Case& c) : case_(c), request_(c.limits), response_(c.limits) { response_.expect(c.method); }

  void feed(std::string_view bytes) {
    while (!has_failed_) {
      const Step step = parser().next(bytes);
      if (step == Step::need_more) {
        EXPECT_TRUE(bytes.empty());
        return;
      }
      add(step);
      if (bytes.empty() && !parser().is_in_message()) return;
    }
  }
  std::string finish() {
    if (case_.ends && !has_failed_ && parser().is_in_message()) add(response_.finish());
    flush_body();
    return text_;
  }

 private:
  MessageParser& parser() {
    if (case_.is_request) return request_;
    return response_;
  }
  void add(Step step) {
    if (step == Step::body) {
      body_.append(parser().body());
      return;
    }
    flush_body();
    switch (step) {
      case Step::head:
        return add_head();
      case Step::end:
        text_ += "end\n";
        return;
      case Step::failed:
        has_failed_ = true;
        text_ += "failed " + std::string(name_of(parser().problem())) + "\n";
        EXPECT_FALSE(parser().detail().empty());
        return;
      default:
        return;
    }
  }
  void add_head() {
    if (case_.is_request) {
      const RequestHead& head = request_.head();
      text_ += "head " + head.method + " " + head.target + " 1." + std::to_string(head.minor_version);
      text_ += head.keep_alive ? " keep-alive" : " close";
      if (head.content_length) text_ += " length=" + std::to_string(*head.content_length);
      if (head.is_chunked) text_ += " chunked";
      if (head.expects_continue) text_ += " expects-continue";
      add_fields(head.headers);
    } else {
      const ResponseHead& head = response_.head();
      text_ += "head " + std::to_string(head.status) + " " + head.reason;
      text_ += response_.keep_alive() ? " keep-alive" : " close";
      if (head.content_length) text_ += " length=" + std::to_string(*head.content_length);
      add_fields(head.headers);
    }
  }
  void add_fields(const base::HeaderList& headers) {
    text_ += "\n";
    for (const base::HeaderField field : headers) {
      text_ += "  " + std::string(field.name) + ": " + escape(field.value) + "\n";
    }
  }
  void flush_body() {
    if (!body_.empty()) text_ += "body \"" + escape(std::exchange(body_, {})) + "\"\n";
  }

  const Case& case_;
  RequestParser request_;
  ResponseParser response_;
  std::string text_;
  std::string body_;
  bool has_failed_ = false;
};

std::string run(const Case& c, const std::vector<std::string_view>& pieces) {
  Log log(c);
  for (const std::string_view piece : pieces) {
    // A copy of its own size, so that a sanitizer sees any read beyond it.
    const std::vector<char> bytes(piece.begin(), piece.end());
    log.feed({bytes.data(), bytes.size()});
  }
  return log.finish();
}

class DocumentTest : public ::testing::TestWithParam<const char*> {};

TEST_P(DocumentTest, log_is_the_same_however_the_bytes_are_cut) {
  for (const Case& c : read_document(GetParam())) {
    SCOPED_TRACE(c.name);
    const std::string_view bytes = c.bytes;

    EXPECT_EQ(run(c, {bytes}), c.log) << "whole";
    std::vector<std::string_view> single;
    for (std::size_t i = 0; i < bytes.size(); ++i) single.push_back(bytes.substr(i, 1));
    EXPECT_EQ(run(c, single), c.log) << "byte by byte";
    for (std::size_t cut = 1; cut < bytes.size(); ++cut) {
      ASSERT_EQ(run(c, {bytes.substr(0, cut), bytes.substr(cut)}), c.log) << "cut at " << cut;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(all, DocumentTest,
                         ::testing::Values("requests.md", "responses.md", "smuggling.md", "limits.md"));

// llhttp 8.x is lenient unless it was compiled with LLHTTP_STRICT_MODE: then it skips whatever stands where the CRLF
// behind a chunk should be, and takes spaces in field names.
TEST(Parser, llhttp_is_compiled_strict) {
  for (const char* bytes : {"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabcXX0\r\n\r\n",
                            "GET / HTTP/1.1\r\nHost: a\r\nX A: b\r\n\r\n"}) {
    RequestParser parser;
    std::string_view input = bytes;
    Step step = Step::head;
    while (step != Step::failed && step != Step::need_more && step != Step::end) step = parser.next(input);
    EXPECT_EQ(step, Step::failed) << bytes;
  }
}

// Answers 200 to every request that is read to its end.
class Answering final : public SessionHandler {
 public:
  class Handler final : public ExchangeHandler {
   public:
    explicit Handler(Exchange& exchange) : exchange_(exchange) {}
    void on_request_end() override { exchange_.send({}, "fine"); }
    void on_aborted(const base::Error&) override {}

   private:
    Exchange& exchange_;
  };
  void on_request(Exchange& exchange) override {
    exchange.set_handler(std::make_unique<Handler>(exchange));
    exchange.accept_body();
  }
  void on_session_closed(ServerSession&) override { is_closed = true; }
  bool is_closed = false;
};

std::size_t count(std::string_view text, std::string_view what) {
  std::size_t found = 0;
  for (std::size_t at = text.find(what); at != std::string_view::npos; at = text.find(what, at + 1)) ++found;
  return found;
}

TEST(Smuggling, session_answers_with_the_status_and_closes) {
  for (const Case& c : read_document("smuggling.md")) {
    SCOPED_TRACE(c.name);
    tests::FakeLoop fake;
    tests::MemoryPeer peer(fake.loop);
    Answering handler;
    const ServerOptions options;
    ServerSession session(fake.loop, peer.make_transport(), "192.0.2.1", options, handler);
    const std::string problem = c.log.substr(c.log.rfind("failed ") + 7, c.log.size() - c.log.rfind("failed ") - 8);
    const int status = problem == "bad_request" ? 400 : 501;

    peer.send(c.bytes);
    fake.settle();

    const std::string received = peer.take_received();
    const std::size_t last = received.rfind("HTTP/1.1 ");
    ASSERT_NE(last, std::string::npos);
    EXPECT_EQ(received.substr(last, 12), "HTTP/1.1 " + std::to_string(status));
    EXPECT_NE(received.find("\r\nConnection: close\r\n", last), std::string::npos);
    EXPECT_EQ(count(received, "HTTP/1.1 200"), count(c.log, "end\n"));
    EXPECT_EQ(count(received, "HTTP/1.1 "), count(c.log, "end\n") + 1);
    EXPECT_TRUE(peer.saw_end());
    // What is sent after it is not read as a request.
    peer.send("GET /smuggled HTTP/1.1\r\nHost: a.test\r\n\r\n");
    fake.settle();
    EXPECT_EQ(peer.take_received(), "");
    fake.advance(net::Connection::kLinger);
    EXPECT_TRUE(handler.is_closed);
    EXPECT_TRUE(peer.is_closed());
  }
}

}  // namespace
}  // namespace outrigger::http1
