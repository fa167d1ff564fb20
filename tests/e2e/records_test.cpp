// Access records of the shipped programs: one per request, whatever happens to it, and nothing secret in any output.
#include <algorithm>
#include <fstream>
#include <nlohmann/json.hpp>
#include <regex>
#include <sstream>

#include "tests/e2e/programs.h"

namespace outrigger::tests {
namespace {

using namespace std::chrono_literals;
using nlohmann::json;

std::vector<json> records_of(const ChildProcess& process) {
  std::vector<json> records;
  const std::string text = process.out();
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = text.find('\n', at);
    if (end == std::string::npos) break;
    records.push_back(json::parse(text.substr(at, end - at)));
    at = end + 1;
  }
  return records;
}

// The record of `path`; there must be one.
json record_for(const std::vector<json>& records, std::string_view path) {
  json found;
  for (const json& record : records) {
    if (record["path"] != path) continue;
    EXPECT_TRUE(found.is_null()) << "two records of " << path;
    found = record;
  }
  EXPECT_FALSE(found.is_null()) << "no record of " << path;
  return found;
}

class Records : public ::testing::Test {
 protected:
  void SetUp() override {
    OUTRIGGER_NEEDS_VALKEY();
    valkey_.emplace();
    service_.set_script([](const RawRequest& request, ScriptedService::Connection& connection) {
      if (request.target.starts_with("/hold")) connection.hold();
      if (request.target == "/broken") return connection.close();
      if (request.target == "/garbage") {
        connection.send("no http at all\r\n\r\n");
        return connection.close();
      }
      if (request.target == "/large") return connection.send(make_response("200 OK", {}, make_binary(4 << 20)));
      ScriptedService::echo(request, connection);
    });
  }

  ScriptedService service_;
  std::optional<ValkeyServer> valkey_;
};

TEST_F(Records, there_is_one_for_every_request_on_both_sides) {
  Gateway gateway(*valkey_);
  Sidecar sidecar(*valkey_, "orders", service_, {{"Sidecar__AccessLog", "json"}});
  ASSERT_TRUE(gateway.wait_for_route("/orders/ready"));
  // Nobody counted the requests that waited for the route, and their records may come after later ones.
  const auto count = [](const ChildProcess& process, std::string_view waited_for) {
    const auto records = records_of(process);
    return static_cast<std::size_t>(
        std::count_if(records.begin(), records.end(), [&](const json& record) { return record["path"] != waited_for; }));
  };
  const auto settled = [&] {
    return std::pair(count(gateway.process(), "/orders/ready"), count(sidecar.process(), "/ready"));
  };

  std::size_t sent = 0;
  std::size_t delivered = 0;
  const auto ask_it = [&](const std::string& request, int status) {
    ++sent;
    const RawResponse response = gateway.ask(request);
    EXPECT_EQ(response.status, status) << request.substr(0, 60) << response.body;
  };
  const auto deliver = [&](const std::string& request, int status) {
    ++delivered;
    ask_it(request, status);
  };
  deliver(make_request("GET", "/orders/get?access_token=x"), 200);
  deliver(make_request("HEAD", "/orders/head"), 200);
  deliver(make_request("POST", "/orders/post", {}, "12345"), 200);
  deliver(make_request("POST", "/orders/streamed", {}, make_binary(2 << 20)), 200);
  deliver(make_request("POST", "/orders/broken", {}, "x"), 502);
  deliver(make_request("POST", "/orders/garbage", {}, "x"), 502);
  deliver(make_request("GET", "/orders/large"), 200);
  ask_it(make_request("GET", "/none"), 404);
  ask_it(make_request("GET", "/orders/../x"), 400);
  ask_it(make_request("GET", "/openapi.json"), 200);
  ask_it(make_request("POST", "/openapi.yaml", {}, "x"), 405);
  ask_it(make_request("GET", "/docs"), 404);
  ask_it(make_request("OPTIONS", "*"), 204);
  ask_it(make_request("TRACE", "/orders/trace", {{"Max-Forwards", "0"}}), 405);
  ask_it(make_request("POST", "/orders/too-large", {{"Content-Length", "99999999"}}), 413);
  ask_it(make_request("POST", "/orders/chunks", {{"Transfer-Encoding", "chunked"}}) + "3\r\nabc\r\nzz\r\n", 400);
  ask_it("GET /no-host HTTP/1.1\r\n\r\n", 400);
  ask_it("nonsense\r\n\r\n", 400);
  ask_it(make_request("GET", "/" + std::string(20000, 'x')), 414);
  ask_it(make_request("GET", "/loop", {{"Via", service_.last_request().field("Via")}}), 508);
  {
    RawClient leaving(gateway.port());
    leaving.send(make_request("GET", "/orders/hold"));
    ASSERT_TRUE(eventually("it to be at the service", [&] { return service_.held() == 1; }));
    leaving.reset();
    ++sent;
    ++delivered;
    service_.release();
  }
  {
    RawClient leaving(gateway.port());
    // The empty piece waits until the gateway has read the other: a reset takes what is unread with it.
    const std::string upload = "POST /orders/upload HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc";
    ASSERT_TRUE(leaving.send(std::vector<std::string_view>{upload, ""}));
    leaving.reset();
    ++sent;
  }
  { RawClient silent(gateway.port()); }
  {
    RawClient partial(gateway.port());
    partial.send("GET /part");
  }

  ASSERT_TRUE(eventually("all records", [&] {
    return settled() == std::pair(sent, delivered);
  })) << settled().first << " of " << sent << ", " << settled().second << " of " << delivered;
  // Nothing comes after them.
  ASSERT_TRUE(gateway.process().terminate());
  ASSERT_TRUE(sidecar.process().terminate());
  EXPECT_EQ(settled(), std::pair(sent, delivered));

  const auto at_gateway = records_of(gateway.process());
  const auto at_sidecar = records_of(sidecar.process());
  const json got = record_for(at_gateway, "/orders/get");
  const json served = record_for(at_sidecar, "/get");
  EXPECT_EQ(got["response_code"], 200);
  EXPECT_TRUE(got["response_flags"].is_null());
  EXPECT_EQ(got["route_name"], "/orders/{path}");
  EXPECT_TRUE(got["queue_wait_ms"].is_number());
  EXPECT_EQ(got["queue_wait_ms"], served["queue_wait_ms"]);
  EXPECT_EQ(served["response_code"], 200);
  EXPECT_EQ(served["upstream_host"], "127.0.0.1:" + std::to_string(service_.port()));
  for (const char* shared : {"trace_id", "request_id", "correlation_id", "instance_id", "service", "x_forwarded_for", "method",
                             "authority", "delivery_attempt"}) {
    EXPECT_EQ(got[shared], served[shared]) << shared;
    EXPECT_FALSE(got[shared].is_null()) << shared;
  }
  EXPECT_NE(got["span_id"], served["span_id"]);
  EXPECT_EQ(record_for(at_gateway, "/orders/streamed")["bytes_received"], 2 << 20);
  EXPECT_EQ(record_for(at_sidecar, "/streamed")["bytes_received"], 2 << 20);
  EXPECT_EQ(record_for(at_gateway, "/orders/large")["bytes_sent"], 4 << 20);
  EXPECT_EQ(record_for(at_gateway, "/orders/too-large")["response_flags"], "DPE");
  EXPECT_EQ(record_for(at_gateway, "/orders/chunks")["bytes_received"], 3);
  EXPECT_EQ(record_for(at_gateway, "/orders/hold")["response_flags"], "DC");
  EXPECT_EQ(record_for(at_gateway, "/orders/hold")["response_code"], 0);
  EXPECT_EQ(record_for(at_gateway, "/orders/upload")["response_flags"], "DC");
  EXPECT_EQ(record_for(at_gateway, "/orders/upload")["bytes_received"], 3);
  EXPECT_EQ(record_for(at_gateway, "/orders/broken")["response_flags"], "UPE");
  EXPECT_EQ(record_for(at_sidecar, "/broken")["response_flags"], "UC");
  EXPECT_EQ(record_for(at_sidecar, "/broken")["response_code"], 0);
  EXPECT_EQ(record_for(at_sidecar, "/garbage")["response_flags"], "UPE");
}

TEST_F(Records, of_both_programs_may_be_in_the_text_form_of_envoy) {
  Gateway gateway(*valkey_, {{"Gateway__AccessLog", "text"}, {"Gateway__AccessLogQuery", "true"}});
  Sidecar sidecar(*valkey_, "orders", service_, {{"Sidecar__AccessLog", "text"}});
  ASSERT_TRUE(gateway.wait_for_route("/orders/ready"));
  gateway.ask(make_request("GET", "/orders/x?y=1", {{"User-Agent", "a\"b"}}));
  const std::regex line(
      R"re(\[\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z\] "GET /orders/x\?y=1 HTTP/1\.1" 200 - 0 \d+ \d+ \d+ "127\.0\.0\.1" )re"
      R"re("a\\"b" "[0-9a-f]+" "example\.test" "[0-9a-f]{20}")re");
  EXPECT_TRUE(eventually("the gateway's line", [&] { return std::regex_search(gateway.process().out(), line); }))
      << gateway.process().out();
  EXPECT_TRUE(eventually("the sidecar's line", [&] {
    return sidecar.process().out().find("\"GET /x HTTP/1.1\" 200 - 0 ") != std::string::npos;
  })) << sidecar.process().out();
}

TEST_F(Records, sidecar_keeps_quiet_unless_it_is_asked) {
  Gateway gateway(*valkey_);
  Sidecar sidecar(*valkey_, "orders", service_);
  ASSERT_TRUE(gateway.wait_for_route("/orders/ready"));
  ASSERT_TRUE(sidecar.process().terminate());
  EXPECT_EQ(sidecar.process().out(), "");
}

TEST_F(Records, what_a_drain_breaks_off_is_recorded) {
  Gateway gateway(*valkey_, {}, {"--drain-time", "100ms"});
  Sidecar sidecar(*valkey_, "orders", service_, {{"Sidecar__AccessLog", "json"}, {"Sidecar__Process__DrainTime", "100ms"}});
  ASSERT_TRUE(gateway.wait_for_route("/orders/ready"));
  Asking held(gateway.port(), make_request("POST", "/orders/hold", {}, "x"));
  ASSERT_TRUE(eventually("it to be at the service", [&] { return service_.held() == 1; }));

  sidecar.process().send_signal(SIGTERM);
  EXPECT_TRUE(sidecar.process().wait_for_exit());
  EXPECT_TRUE(gateway.process().terminate());
  service_.release();

  const json at_sidecar = record_for(records_of(sidecar.process()), "/hold");
  EXPECT_EQ(at_sidecar["response_flags"], "LR");
  EXPECT_EQ(at_sidecar["response_code_details"], "unfinished");
  const json at_gateway = record_for(records_of(gateway.process()), "/orders/hold");
  EXPECT_EQ(at_gateway["response_flags"], "LR");
  EXPECT_EQ(at_gateway["response_code"], 0);
}

// Everything secret that goes through the programs, and everything they ever print.
class Secrets : public Records {
 protected:
  void keep(const ChildProcess& process) { printed_ += process.out() + process.err(); }
  // A program that ends by itself; its output is kept.
  void run(std::vector<std::string> command, const Environment& environment, int status) {
    ChildProcess::Options options;
    options.command = std::move(command);
    options.environment = environment;
    options.expected_status = status;
    ChildProcess process(std::move(options));
    EXPECT_TRUE(process.wait_for_exit());
    keep(process);
  }
  std::string printed_;
};

TEST_F(Secrets, never_appear_in_any_output) {
  valkey_.emplace(ValkeyServer::Options{.transport = ValkeyServer::Transport::tcp, .arguments = {}});
  valkey_->cli({"CONFIG", "SET", "requirepass", "buspassword"});
  const std::string address = "127.0.0.1:" + std::to_string(valkey_->endpoint().port);
  const std::string url = "valkey://:buspassword@" + address;
  const std::string secret_file = valkey_->directory() + "/connection";
  std::ofstream(secret_file) << address << ",password=buspassword\n";

  const Fields secret_fields = {{"Authorization", "Bearer clienttoken"},
                                {"Proxy-Authorization", "Basic clienttoken"},
                                {"Cookie", "session=clientcookie"},
                                {"X-Forwarded-Host", "u:clienttoken@h"},
                                {"Forwarded", "host=\"u:clienttoken@h\""},
                                {"Referer", "http://h/?t=clienttoken"},
                                {"X-Api-Key", "clienttoken"},
                                {"X-StellaOps-Subject", "clienttoken"}};
  {
    Gateway gateway(*valkey_, {{"Gateway__Transports__Messaging__ConnectionString", url}}, {"--log-level", "debug"});
    Sidecar sidecar(*valkey_, "orders", service_,
                    {{"Sidecar__AccessLog", "json"},
                     {"Sidecar__Process__LogLevel", "debug"},
                     {"Sidecar__Process__DrainTime", "1s"},  // what was being settled when the server died may wait for ever
                     {"Sidecar__Messaging__ConnectionStringFile", secret_file}});
    ASSERT_TRUE(gateway.wait_for_route("/orders/ready"));
    service_.set_script([](const RawRequest& request, ScriptedService::Connection& connection) {
      if (request.target.starts_with("/broken")) return connection.close();
      connection.send(make_response("200 OK",
                                    {{"Set-Cookie", "session=servicecookie"}, {"Location", "/?t=servicetoken"}}, "servicebody"));
    });
    for (const char* target : {"/orders/x?access_token=clienttoken", "/orders/broken?access_token=clienttoken",
                               "/none?access_token=clienttoken", "/openapi.json?access_token=clienttoken",
                               "/orders/../x?access_token=clienttoken"}) {
      for (const char* method : {"GET", "POST"}) gateway.ask(make_request(method, target, secret_fields, "clientbody"));
    }
    gateway.ask("GET http://u:clienttoken@h/ HTTP/1.1\r\nHost: a\r\n\r\n");
    gateway.ask("GET / HTTP/1.1\r\nHost: u:clienttoken@h\r\n\r\n");
    gateway.ask("GET clienttoken HTTP/1.1\r\nHost: a\r\n\r\n");
    gateway.ask("POST /orders/x?clienttoken HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nclienttoken\r\n");

    // The password changes under them: every later connection is refused.
    valkey_->kill_hard();
    gateway.ask(make_request("GET", "/orders/x?access_token=clienttoken", secret_fields));
    valkey_->start_again({"--requirepass", "otherpassword"}, ValkeyServer::Ready::listening);
    EXPECT_TRUE(gateway.process().wait_for_line("WRONGPASS"));
    EXPECT_TRUE(sidecar.process().wait_for_line("WRONGPASS"));
    gateway.ask(make_request("GET", "/orders/x?access_token=clienttoken", secret_fields));
    valkey_->kill_hard();
    // A server that does not know AUTH says so, with what it was given.
    valkey_->start_again({"--rename-command", "AUTH", "OTHER"}, ValkeyServer::Ready::listening);
    EXPECT_TRUE(gateway.process().wait_for_line("unknown command"));
    EXPECT_TRUE(sidecar.process().wait_for_line("unknown command"));
    valkey_->kill_hard();
    EXPECT_TRUE(gateway.process().terminate());
    EXPECT_TRUE(sidecar.process().terminate());
    EXPECT_GE(records_of(gateway.process()).size(), 16U);
    keep(gateway.process());
    keep(sidecar.process());
  }
  for (const char* mode : {"validate", "show"}) {
    for (const std::string& text : {url, std::string("valkey://user:buspassword@h:1/2"),
                                    std::string("h:1,password=buspassword,user=u"), std::string("valkey://u:buspassword@h:x/"),
                                    std::string("h:1,password=buspassword,ssl=perhaps"), std::string("buspassword@h@:1")}) {
      const bool is_good = text.find(":x/") == std::string::npos && text.find("perhaps") == std::string::npos &&
                           text.find("h@:") == std::string::npos;
      run({OUTRIGGER_GATEWAY, "--mode", mode, "--valkey", text}, {}, is_good ? 0 : 2);  // a wrong flag is a usage error
      run({OUTRIGGER_GATEWAY, "--mode", mode}, {{"Gateway__Transports__Messaging__ConnectionString", text}}, is_good ? 0 : 1);
      run({OUTRIGGER_SIDECAR, "--mode", mode, "--service", "a", "--upstream", "http://h:1"},
          {{"Sidecar__Messaging__ConnectionString", text}}, is_good ? 0 : 1);
    }
    run({OUTRIGGER_SIDECAR, "--mode", mode, "--service", "a", "--upstream", "http://u:buspassword@h:1"}, {}, 2);
    run({OUTRIGGER_GATEWAY, "--mode", mode, "--admin", "127.0.0.1:1"}, {{"Gateway__Process__AdminToken", "buspassword"}}, 0);
    run({OUTRIGGER_GATEWAY, "--mode", mode}, {{"Gateway__Transports__Messaging__ConnectionStringFile", secret_file}}, 0);
  }

  for (const char* secret : {"buspassword", "otherpassword", "clienttoken", "clientcookie", "clientbody", "servicecookie",
                             "servicetoken", "servicebody", "access_token"}) {
    const std::size_t at = printed_.find(secret);
    EXPECT_EQ(at, std::string::npos) << secret << ": ..." << printed_.substr(at < 200 ? 0 : at - 200, 400);
  }
  EXPECT_GT(printed_.size(), 5000U);
}

}  // namespace
}  // namespace outrigger::tests
