// `outrigger dead` as an operator runs it: letters are listed, shown, run again at the real sidecar, and deleted.
#include <gmock/gmock.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <sstream>

#include "bridge/frames/dead_letter.h"
#include "tests/e2e/programs.h"

namespace outrigger::tests {
namespace {

using namespace std::chrono_literals;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::MatchesRegex;
using ::testing::Not;
using ::testing::SizeIs;
using ::testing::StartsWith;
using Json = nlohmann::json;

// A letter as a sidecar leaves it.
struct Letter {
  std::string service = "orders";
  std::string method = "GET";
  std::string target = "/7";
  bool repeatable = true;
  std::string reason = "exhausted";
  std::string body = {};
  base::HeaderList headers = {};
  bool is_streamed = false;
  std::string queue = {};  // empty: the base address
  std::string id = "*";
  std::string prefix = "router";
};

struct Ran {
  int status = 0;
  std::string out;
  std::string err;
};

class DeadLetters : public ::testing::Test {
 protected:
  void SetUp() override {
    OUTRIGGER_NEEDS_VALKEY();
    valkey_.emplace();
  }
  ValkeyServer& valkey() { return *valkey_; }

  // Returns its id.
  std::string bury(const Letter& letter) {
    frames::Request request;
    request.id = "8c6f0e2d4b1a49d7a35c7e9f10b2d4c6";
    request.method = letter.method;
    request.target = letter.target;
    request.scheme = "https";
    request.authority = "api.example.com";
    request.headers = letter.headers;
    request.reply_to = letter.prefix + ":responses:0d6e5b4a39281706f5e4.0.1";
    request.deadline_ms = 1767225630000;
    request.bus = "gone/gone";
    request.repeatable = letter.repeatable;
    request.body = letter.body;
    if (letter.is_streamed) request.streamed.emplace();
    const auto frame = frames::encode(request);
    EXPECT_TRUE(frame.has_value());
    const std::string queue = letter.queue.empty() ? letter.prefix + ":requests:" + letter.service : letter.queue;
    const std::string stream = letter.prefix + ":dead:" + letter.service;
    return valkey().cli({"XADD", stream, letter.id, "v", "1", "t", "3", "h", frame->head, "b", frame->body, "reason", letter.reason,
                         "queue", queue, "entry", "1767225600000-3", "attempts", "3", "first_seen", "1767225600000", "instance",
                         "4f1c0a9b7d3e5f6a8b2c", "detail", "no attempts left"});
  }
  std::string left(std::string_view service = "orders") {
    return valkey().cli({"XLEN", "router:dead:" + std::string(service)});
  }
  std::int64_t now_ms() {
    const std::string time = valkey().cli({"TIME"});
    return std::stoll(time.substr(0, time.find('\n'))) * 1000;
  }
  std::string id_of_age(std::chrono::milliseconds age) { return std::to_string(now_ms() - age.count()) + "-0"; }
  // As sidecars do.
  void make_queue(const std::string& queue) {
    EXPECT_EQ(valkey().cli({"XGROUP", "CREATE", queue, "router-gateway", "0", "MKSTREAM"}), "OK");
  }

  Ran run_anywhere(std::vector<std::string> arguments, Environment environment = {}) {
    arguments.insert(arguments.begin(), {OUTRIGGER, "dead"});
    ChildProcess process({.command = std::move(arguments), .environment = std::move(environment), .directory = {}});
    EXPECT_TRUE(process.wait_for_exit());
    const int status = process.status().value_or(-1);
    process.expect_status(status);
    return {status, process.out(), process.err()};
  }
  Ran run(std::vector<std::string> arguments) {
    arguments.insert(arguments.end(), {"--valkey", valkey().url()});
    return run_anywhere(std::move(arguments));
  }
  Json list(std::vector<std::string> arguments = {}) {
    arguments.insert(arguments.begin(), {"list", "-o", "json"});
    const Ran ran = run(std::move(arguments));
    EXPECT_EQ(ran.status, 0) << ran.err;
    return Json::parse(ran.out, nullptr, false);
  }
  // The ids that a list with these filters has, one line.
  std::string listed(std::vector<std::string> arguments) {
    std::string ids;
    const Json all = list(std::move(arguments));
    for (const Json& letter : all["letters"]) {
      ids += (ids.empty() ? "" : " ") + letter["service"].get<std::string>() + "/" + letter["id"].get<std::string>();
    }
    return ids;
  }

  ScriptedService service_;
  std::optional<ValkeyServer> valkey_;
};

TEST_F(DeadLetters, list_is_a_table_without_queries) {
  EXPECT_THAT(run({"list"}).err, HasSubstr("no dead letters"));
  const std::string id = bury({.method = "POST", .target = "/invoices?token=x", .repeatable = false, .reason = "outcome-unknown",
                               .id = id_of_age(3min)});

  const Ran table = run({"list"});

  EXPECT_EQ(table.status, 0);
  EXPECT_THAT(table.out, MatchesRegex("SERVICE  ID +AGE  REASON +METHOD  TARGET +ATTEMPTS  FIRST SEEN  ENTRY +REPEATABLE\n"
                                      "orders   " + id + "  3m   outcome-unknown  POST    /invoices  3 +[0-9]+d +1767225600000-3  no\n"));
  EXPECT_EQ(table.err, "");
  EXPECT_THAT(run({"list", "--query"}).out, HasSubstr("/invoices?token=x"));
}

TEST_F(DeadLetters, filters_choose_by_service_reason_age_and_id) {
  const std::string old_one = bury({.reason = "exhausted", .id = id_of_age(3h)});
  const std::string young = bury({.reason = "restored"});
  const std::string other = bury({.service = "billing-admin", .reason = "exhausted", .id = id_of_age(90min)});
  valkey().cli({"XADD", "router:dead:Not A Service", "*", "v", "1"});
  valkey().cli({"SET", "router:dead:text", "x"});

  EXPECT_EQ(listed({}), "billing-admin/" + other + " orders/" + old_one + " orders/" + young);
  EXPECT_EQ(listed({"--service", "orders"}), "orders/" + old_one + " orders/" + young);
  EXPECT_EQ(listed({"--service", "orders", "--service", "billing-admin", "--service", "nobody"}), listed({}));
  EXPECT_EQ(listed({"--reason", "restored"}), "orders/" + young);
  EXPECT_EQ(listed({"--reason", "restored", "--reason", "expired"}), "orders/" + young);
  EXPECT_EQ(listed({"--older-than", "1h"}), "billing-admin/" + other + " orders/" + old_one);
  EXPECT_EQ(listed({"--older-than", "1h", "--newer-than", "2h"}), "billing-admin/" + other);
  EXPECT_EQ(listed({"--newer-than", "1h"}), "orders/" + young);
  EXPECT_EQ(listed({"--id", young, "--id", other, "--id", "1-1"}), "billing-admin/" + other + " orders/" + young);
  EXPECT_EQ(listed({"--id", young, "--reason", "exhausted"}), "");
}

TEST_F(DeadLetters, list_says_how_many_more_there_are) {
  for (int i = 0; i < 105; ++i) bury({.service = i % 2 == 0 ? "a" : "b", .body = std::string(200 * 1024, 'x')});

  const Json all = list();
  EXPECT_THAT(all["letters"], SizeIs(100));
  EXPECT_EQ(all["more"], 5);
  EXPECT_EQ(all["letters"][0]["body_bytes"], 200 * 1024);
  EXPECT_EQ(all["letters"][0]["repeatable"], true);
  EXPECT_EQ(all["letters"][0]["first_seen_ms"], 1767225600000);
  EXPECT_THAT(run({"list", "--limit", "3"}).err, HasSubstr("102 more"));
  EXPECT_EQ(list({"--limit", "1000"})["more"], 0);
}

TEST_F(DeadLetters, show_has_everything_but_secrets) {
  base::HeaderList headers;
  headers.add("Authorization", "Bearer abc");
  headers.add("X-Api-Key", "k123");
  headers.add("Cookie", "sid=1");
  headers.add("Accept", "text/plain\t\xc2\x9b");
  const std::string body = std::string("\0\xff\r\n\x1b[31m", 9) + make_binary(100 * 1024);
  const std::string id = bury({.method = "PUT", .target = "/7?a=b", .body = body, .headers = headers});

  const Ran text = run({"show", id, "--service", "orders"});
  EXPECT_EQ(text.status, 0);
  for (const char* part : {"reason        exhausted\n", "detail        no attempts left\n", "attempts      3\n", "PUT /7?a=b\n",
                           "host: api.example.com\n", "Authorization: ***\n", "X-Api-Key: ***\n", "Cookie: ***\n",
                           "Accept: text/plain??\n", "instance      4f1c0a9b7d3e5f6a8b2c\n", "entry         1767225600000-3\n",
                           "2026-01-01T00:00:00.000Z"}) {
    EXPECT_THAT(text.out, HasSubstr(part));
  }
  EXPECT_THAT(text.out, Not(HasSubstr("abc")));
  const Ran secrets = run({"show", id, "--service", "orders", "--secrets"});
  EXPECT_THAT(secrets.out, HasSubstr("Authorization: Bearer abc\n"));

  EXPECT_EQ(run({"show", id, "--service", "orders", "--body"}).out, body);
  const Json item = Json::parse(run({"show", id, "--service", "orders", "-o", "json"}).out);
  EXPECT_EQ(item["headers"][0][1], "***");
  EXPECT_EQ(item["target"], "/7?a=b");
  EXPECT_FALSE(item.contains("body"));
  const Json whole = Json::parse(run({"show", id, "--service", "orders", "-o", "json", "--body", "--secrets"}).out);
  EXPECT_THAT(whole["body"].get<std::string>(), StartsWith("AP8NChtbMzFt"));
  EXPECT_EQ(whole["headers"][1][1], "k123");
}

TEST_F(DeadLetters, show_of_what_is_not_there_fails) {
  const Ran none = run({"show", "1-1", "--service", "orders"});
  EXPECT_EQ(none.status, 1);
  EXPECT_EQ(none.out, "");
  EXPECT_THAT(none.err, HasSubstr("orders has no dead letter 1-1"));
}

TEST_F(DeadLetters, usage_errors_exit_with_2_and_change_nothing) {
  bury({});
  const std::vector<std::pair<std::string, std::vector<std::string>>> mistakes = {
      {"--all", {"purge"}},
      {"--all", {"purge", "--redriven"}},
      {"--all", {"redrive"}},
      {"--reason", {"purge", "--reason", "bored"}},
      {"--id", {"purge", "--id", "17"}},
      {"--service", {"purge", "--service", "Not A Name"}},
      {"--older-than", {"purge", "--older-than", "5"}},
      {"--timeout", {"redrive", "--all", "--timeout", "0"}},
      {"--limit", {"list", "--limit", "0"}},
      {"--service", {"show", "1-1"}},
      {"id", {"show", "--service", "orders"}},
      {"--output", {"list", "-o", "xml"}},
      {"subcommand", {}}};
  for (const auto& [word, arguments] : mistakes) {
    const Ran ran = arguments.empty() ? run_anywhere({}) : run(arguments);
    EXPECT_EQ(ran.status, 2) << word << ran.err;
    EXPECT_THAT(ran.err, HasSubstr(word));
    EXPECT_EQ(ran.out, "");
  }
  EXPECT_EQ(left(), "1");
}

TEST_F(DeadLetters, server_comes_from_flags_or_configuration) {
  char name[] = "/tmp/outrigger-e2e-XXXXXX";
  const std::string folder = ::mkdtemp(name);
  const auto write = [&](const std::string& text) {
    std::ofstream(folder + "/config.yaml") << text;
    return folder + "/config.yaml";
  };
  bury({.id = "5-1", .prefix = "acme"});
  valkey().cli({"SELECT", "3"});
  bury({.id = "6-1"});
  valkey().cli({"SELECT", "0"});

  const Ran nowhere = run_anywhere({"list"});
  EXPECT_EQ(nowhere.status, 2);
  EXPECT_THAT(nowhere.err, HasSubstr("--valkey"));
  const Ran absent = run_anywhere({"list", "--valkey", "unix://" + folder + "/nobody.sock"});
  EXPECT_EQ(absent.status, 1);
  EXPECT_THAT(absent.err, HasSubstr("unreachable"));
  EXPECT_THAT(run({"list"}).err, HasSubstr("no dead letters"));

  const std::string messaging = "Messaging: {ConnectionString: '" + valkey().url() + "', KeyPrefix: acme}";
  const std::string file = write("Sidecar:\n  Service: {Name: orders, Upstream: 'http://127.0.0.1:1'}\n  " + messaging +
                                 "\nSomethingElse: [1, 2]\n");
  EXPECT_THAT(run_anywhere({"list", "--config", file}).out, HasSubstr("5-1"));
  EXPECT_THAT(run_anywhere({"list"}, {{"Sidecar__Messaging__ConnectionString", valkey().url()},
                                      {"Sidecar__Messaging__Database", "3"}}).out,
              HasSubstr("6-1"));
  write("Gateway:\n  Transports:\n    Messaging: {ConnectionString: '" + valkey().url() + "', Database: 3}\nSidecar:\n  " + messaging);
  const Ran both = run_anywhere({"list", "--config", file});
  EXPECT_EQ(both.status, 2);
  EXPECT_THAT(both.err, HasSubstr("--section"));
  EXPECT_THAT(run_anywhere({"list", "--config", file, "--section", "sidecar"}).out, HasSubstr("5-1"));
  EXPECT_THAT(run_anywhere({"list", "--config", file, "--section", "gateway"}).out, HasSubstr("6-1"));
  write("Sidecar:\n  Messaging: {Database: many}\n");
  const Ran wrong = run_anywhere({"list", "--config", file});
  EXPECT_EQ(wrong.status, 2);
  EXPECT_THAT(wrong.err, HasSubstr("config.yaml:2:25"));
  std::filesystem::remove_all(folder);
}

TEST_F(DeadLetters, redriven_letter_is_answered_by_the_service_and_gone) {
  base::HeaderList headers;
  headers.add("X-Note", "kept");
  const std::string body("\0\xff\r\n", 4);
  const std::string id = bury({.method = "PUT", .target = "/7?x=1", .body = body, .headers = headers});
  Sidecar sidecar(valkey(), "orders", service_);
  ASSERT_TRUE(sidecar.wait_until_registered());

  const Ran ran = run({"redrive", "--service", "orders"});

  EXPECT_EQ(ran.status, 0) << ran.err;
  EXPECT_THAT(ran.out, StartsWith("orders " + id + "  PUT /7  answered 200 OK  (request "));
  EXPECT_THAT(ran.out, Not(HasSubstr("8c6f0e2d4b1a49d7a35c7e9f10b2d4c6")));
  EXPECT_EQ(ran.err, "1 redriven, 1 answered\n");
  ASSERT_EQ(service_.request_count(), 1U);
  const RawRequest request = service_.last_request();
  EXPECT_EQ(request.method + " " + request.target, "PUT /7?x=1");
  EXPECT_EQ(request.field("X-Note"), "kept");
  EXPECT_EQ(request.body, body);
  EXPECT_EQ(left(), "0");
  EXPECT_TRUE(is_settled(valkey(), "orders"));
  EXPECT_EQ(valkey().cli({"KEYS", "router:responses:*"}), "");
}

TEST_F(DeadLetters, what_may_not_run_twice_needs_the_operators_word) {
  const std::string id = bury({.method = "POST", .repeatable = false, .reason = "outcome-unknown"});
  const std::string other = bury({.target = "/8"});
  Sidecar sidecar(valkey(), "orders", service_);
  ASSERT_TRUE(sidecar.wait_until_registered());

  const Ran refused = run({"redrive", "--all"});
  EXPECT_EQ(refused.status, 1);
  EXPECT_THAT(refused.out, StartsWith("orders " + other + "  GET /8  answered 200 OK"));
  EXPECT_THAT(refused.err, HasSubstr("orders " + id + "  POST /7  not redriven: outcome-unknown"));
  EXPECT_THAT(refused.err, HasSubstr("--may-run-twice"));
  EXPECT_THAT(refused.err, HasSubstr("1 redriven, 1 answered, 1 not redriven"));
  EXPECT_EQ(listed({}), "orders/" + id);

  const Ran ran = run({"redrive", "--id", id, "--may-run-twice"});
  EXPECT_EQ(ran.status, 0) << ran.err;
  EXPECT_THAT(ran.out, HasSubstr("answered 200 OK"));
  EXPECT_EQ(service_.request_count(), 2U);
  EXPECT_EQ(left(), "0");
}

TEST_F(DeadLetters, streamed_and_unreadable_letters_stay_until_they_are_purged) {
  const std::string streamed = bury({.method = "PUT", .is_streamed = true});
  const std::string broken = valkey().cli({"XADD", "router:dead:orders", "*", "v", "1", "t", "3", "h", "{\x1b[31m", "reason", "expired"});
  make_queue("router:requests:orders");

  EXPECT_THAT(run({"list"}).out, HasSubstr("expired    -       unreadable"));
  EXPECT_EQ(list()["letters"][0]["streamed"], true);
  EXPECT_THAT(list()["letters"][1]["unreadable"].get<std::string>(), HasSubstr("head is not a JSON object"));
  EXPECT_THAT(run({"show", broken, "--service", "orders"}).out, HasSubstr("unreadable    head is not"));
  EXPECT_THAT(run({"show", streamed, "--service", "orders"}).out, HasSubstr("cannot be redriven"));
  EXPECT_EQ(run({"show", streamed, "--service", "orders", "--body"}).status, 1);
  const Ran ran = run({"redrive", "--all", "--may-run-twice"});
  EXPECT_EQ(ran.status, 1);
  EXPECT_THAT(ran.err, HasSubstr("its body was streamed"));
  EXPECT_THAT(ran.err, HasSubstr("it cannot be read"));
  EXPECT_EQ(ran.out, "");
  EXPECT_EQ(left(), "2");
  EXPECT_EQ(run({"purge", "--all"}).out, "orders: 2 deleted\n");
  EXPECT_EQ(left(), "0");
}

TEST_F(DeadLetters, service_that_was_never_there_gets_nothing) {
  bury({});
  const Ran ran = run({"redrive", "--all"});
  EXPECT_EQ(ran.status, 1);
  EXPECT_THAT(ran.err, HasSubstr("no sidecar of that service has ever been there"));
  EXPECT_EQ(left(), "1");
  EXPECT_EQ(valkey().cli({"EXISTS", "router:requests:orders"}), "0");
}

TEST_F(DeadLetters, letter_goes_to_its_own_address_while_that_is_there) {
  make_queue("router:requests:orders");
  make_queue("router:requests:orders@eu");
  make_queue("router:requests:billing");
  bury({.queue = "router:requests:orders@eu"});
  bury({.queue = "router:requests:orders@us"});
  bury({.queue = "router:requests:billing"});  // not its service's

  EXPECT_EQ(run({"redrive", "--all", "--no-wait"}).status, 0);

  EXPECT_EQ(valkey().cli({"XLEN", "router:requests:orders@eu"}), "1");
  EXPECT_EQ(valkey().cli({"XLEN", "router:requests:orders"}), "2");
  EXPECT_EQ(valkey().cli({"XLEN", "router:requests:billing"}), "0");
  EXPECT_EQ(valkey().cli({"EXISTS", "router:requests:orders@us"}), "0");
}

TEST_F(DeadLetters, redrive_to_a_service_that_is_down_ends_with_its_budget_and_is_undone_by_purge) {
  make_queue("router:requests:orders");
  make_queue("router:requests:orders@eu");
  make_queue("router:requests:billing");
  const std::string id = bury({.reason = "restored"});
  const std::string narrow = bury({.queue = "router:requests:orders@eu"});
  bury({.service = "billing"});
  valkey().cli({"XADD", "router:requests:orders", "*", "v", "1", "t", "3", "h", "{}"});  // somebody else's, and older

  const Ran waited = run({"redrive", "--service", "orders", "--id", id, "--timeout", "200ms"});
  EXPECT_EQ(waited.status, 1);
  EXPECT_THAT(waited.out, HasSubstr("no answer within 200ms: it may still run"));
  EXPECT_EQ(waited.err, "1 redriven, 0 answered\n");
  const Ran written = run({"redrive", "--all", "--no-wait"});
  EXPECT_EQ(written.status, 0);
  EXPECT_THAT(written.out, HasSubstr("orders " + narrow + "  GET /7  written  (request "));
  EXPECT_EQ(valkey().cli({"XLEN", "router:requests:orders"}), "2");
  EXPECT_THAT(valkey().cli({"XRANGE", "router:requests:orders", "-", "+"}), HasSubstr("\"origin\":{\"dead\":\"" + id + "\""));

  EXPECT_THAT(run({"purge", "--redriven", "--service", "orders", "--reason", "expired"}).err, HasSubstr("no redriven"));
  EXPECT_EQ(run({"purge", "--redriven", "--service", "orders", "--id", narrow}).out,
            "router:requests:orders@eu: 1 removed, 0 beyond reach\n");
  EXPECT_EQ(run({"purge", "--redriven", "--service", "orders"}).out, "router:requests:orders: 1 removed, 0 beyond reach\n");
  EXPECT_EQ(run({"purge", "--redriven", "--all"}).out, "router:requests:billing: 1 removed, 0 beyond reach\n");
  EXPECT_THAT(run({"purge", "--redriven", "--all"}).err, HasSubstr("no redriven"));
  EXPECT_EQ(valkey().cli({"XLEN", "router:requests:billing"}), "0");
  Sidecar sidecar(valkey(), "orders", service_);
  ASSERT_TRUE(sidecar.process().wait_for_line("removed an entry that is no REQUEST"));
  EXPECT_TRUE(is_settled(valkey(), "orders"));
  EXPECT_EQ(service_.request_count(), 0U);
}

TEST_F(DeadLetters, what_a_sidecar_has_is_beyond_the_reach_of_purge) {
  service_.set_script([](const RawRequest& request, ScriptedService::Connection& connection) {
    connection.hold();
    ScriptedService::echo(request, connection);
  });
  Sidecar sidecar(valkey(), "orders", service_);
  ASSERT_TRUE(sidecar.wait_until_registered());
  bury({});
  EXPECT_EQ(run({"redrive", "--all", "--no-wait"}).status, 0);
  ASSERT_TRUE(eventually("the service to have it", [&] { return service_.held() == 1; }));

  const Ran ran = run({"purge", "--redriven", "--all"});
  EXPECT_EQ(ran.out, "router:requests:orders: 0 removed, 1 beyond reach\n");
  EXPECT_THAT(ran.err, HasSubstr("with a sidecar"));
  service_.release();
  EXPECT_TRUE(is_settled(valkey(), "orders"));
  EXPECT_THAT(run({"purge", "--redriven", "--all"}).err, HasSubstr("no redriven"));
}

TEST_F(DeadLetters, fault_of_the_sidecar_is_told) {
  service_.always_send("nonsense\r\n\r\n");
  Sidecar sidecar(valkey(), "orders", service_);
  ASSERT_TRUE(sidecar.wait_until_registered());
  bury({});

  const Ran ran = run({"redrive", "--all"});

  EXPECT_EQ(ran.status, 1);
  EXPECT_THAT(ran.out, HasSubstr("no answer of the service: bad-answer"));
  EXPECT_EQ(ran.err, "1 redriven, 0 answered\n");
}

TEST_F(DeadLetters, many_are_redriven_a_few_at_a_time) {
  std::atomic<std::size_t> most{0};
  std::atomic<std::size_t> now{0};
  service_.set_script([&](const RawRequest& request, ScriptedService::Connection& connection) {
    most = std::max<std::size_t>(most, ++now);
    ScriptedService::echo(request, connection);
    --now;
  });
  for (int i = 0; i < 100; ++i) bury({.target = "/" + std::to_string(i), .body = std::string(300 * 1024, 'x')});
  Sidecar sidecar(valkey(), "orders", service_);
  ASSERT_TRUE(sidecar.wait_until_registered());

  const Ran ran = run({"redrive", "--all"});

  EXPECT_EQ(ran.status, 0) << ran.err;
  EXPECT_EQ(ran.err, "100 redriven, 100 answered\n");
  EXPECT_EQ(service_.request_count(), 100U);
  EXPECT_LE(most, 16U);
  EXPECT_EQ(left(), "0");
  EXPECT_EQ(valkey().cli({"KEYS", "router:responses:*"}), "");
}

TEST_F(DeadLetters, purge_deletes_what_the_filter_names) {
  bury({.reason = "expired", .id = id_of_age(2h)});
  const std::string kept = bury({.reason = "exhausted"});
  bury({.service = "billing"});

  EXPECT_EQ(run({"purge", "--older-than", "1h"}).out, "orders: 1 deleted\n");
  EXPECT_EQ(listed({"--service", "orders"}), "orders/" + kept);
  EXPECT_THAT(run({"purge", "--reason", "restored"}).err, HasSubstr("no dead letters that match"));
  EXPECT_EQ(run({"purge", "--service", "billing"}).out, "billing: 1 deleted\n");
  EXPECT_EQ(run({"purge", "--id", kept}).out, "orders: 1 deleted\n");
  EXPECT_EQ(listed({}), "");
}

TEST_F(DeadLetters, refusals_of_the_server_are_failures_that_keep_the_letter) {
  make_queue("router:requests:orders");
  bury({});
  valkey().cli({"CONFIG", "SET", "maxmemory", "1"});
  const Ran ran = run({"redrive", "--all", "--timeout", "1s"});
  EXPECT_EQ(ran.status, 1);
  EXPECT_THAT(ran.err, HasSubstr("OOM"));
  valkey().cli({"CONFIG", "SET", "maxmemory", "0"});
  EXPECT_EQ(left(), "1");
}

TEST_F(DeadLetters, request_that_may_have_run_is_kept_and_runs_again_at_the_operators_word) {
  service_.set_script([](const RawRequest& request, ScriptedService::Connection& connection) {
    if (request.method == "POST") connection.hold();
    ScriptedService::echo(request, connection);
  });
  const Environment short_lease{{"Sidecar__Messaging__LeaseDuration", "1s"}};
  Gateway gateway(valkey());
  Sidecar first(valkey(), "orders", service_, short_lease);
  ASSERT_TRUE(gateway.wait_for_route("/orders/"));
  service_.forget_requests();
  Asking posting(gateway.port(), make_request("POST", "/orders/invoices?draft=1", {{"X-Note", "kept"}}, "x"));
  ASSERT_TRUE(eventually("the POST to be at the service", [&] { return service_.held() == 1; }));
  first.process().kill_hard();
  Sidecar second(valkey(), "orders", service_, short_lease);

  EXPECT_EQ(posting.answer().status, 502);
  EXPECT_EQ(code_of(posting.answer()), "outcome-unknown");
  ASSERT_TRUE(eventually("the letter", [&] { return left() == "1"; }));
  const Json letter = list()["letters"][0];
  EXPECT_EQ(letter["service"], "orders");
  EXPECT_EQ(letter["reason"], "outcome-unknown");
  EXPECT_EQ(letter["method"], "POST");
  EXPECT_EQ(letter["target"], "/invoices");
  EXPECT_EQ(letter["repeatable"], false);
  EXPECT_EQ(letter["queue"].get<std::string>().substr(0, 22), "router:requests:orders");
  EXPECT_GE(letter["attempts"], 1);
  EXPECT_GT(letter["first_seen_ms"], 0);
  service_.release();

  EXPECT_EQ(run({"redrive", "--service", "orders"}).status, 1);
  EXPECT_EQ(left(), "1");
  const Ran ran = run({"redrive", "--service", "orders", "--may-run-twice"});

  EXPECT_EQ(ran.status, 0) << ran.err;
  EXPECT_THAT(ran.out, HasSubstr("POST /invoices  answered 200 OK"));
  EXPECT_THAT(ran.out, Not(HasSubstr(letter["request"].get<std::string>())));
  EXPECT_EQ(service_.request_count(), 2U);
  const RawRequest again = service_.last_request();
  EXPECT_EQ(again.target + " " + again.body + " " + again.field("X-Note"), "/invoices?draft=1 x kept");
  EXPECT_THAT(list()["letters"], IsEmpty());
  EXPECT_TRUE(is_settled(valkey(), "orders"));
}

// The rule is that of the page, taken from the page.
TEST_F(DeadLetters, documented_permissions_are_enough) {
  Sidecar sidecar(valkey(), "orders", service_);
  ASSERT_TRUE(sidecar.wait_until_registered());
  make_queue("router:requests:billing");
  const std::string id = bury({});
  bury({.service = "billing"});
  bury({.service = "other"});
  std::ifstream page(OUTRIGGER_SOURCE_DIR "/docs/valkey.md");
  std::string line;
  while (std::getline(page, line) && !line.starts_with("ACL SETUSER operator ")) {
  }
  std::istringstream words(line);
  std::vector<std::string> rule{std::istream_iterator<std::string>(words), {}};
  ASSERT_FALSE(rule.empty());
  std::string command = "*" + std::to_string(rule.size()) + "\r\n";
  for (const std::string& word : rule) command += "$" + std::to_string(word.size()) + "\r\n" + word + "\r\n";
  RawClient client(valkey().endpoint());
  client.send(command);
  ASSERT_EQ(client.read_until("\r\n"), "+OK\r\n");

  valkey().set_login("operator:operator-secret");
  EXPECT_EQ(list()["letters"].size(), 3U);
  EXPECT_EQ(run({"show", id, "--service", "orders"}).status, 0);
  const Ran ran = run({"redrive", "--service", "orders"});
  EXPECT_EQ(ran.status, 0) << ran.err;
  EXPECT_EQ(run({"redrive", "--service", "billing", "--no-wait"}).status, 0);
  EXPECT_EQ(run({"purge", "--redriven", "--all"}).out, "router:requests:billing: 1 removed, 0 beyond reach\n");
  EXPECT_EQ(run({"purge", "--all"}).out, "other: 1 deleted\n");
  EXPECT_EQ(valkey().cli({"ACL", "LOG"}), "");
}

}  // namespace
}  // namespace outrigger::tests
