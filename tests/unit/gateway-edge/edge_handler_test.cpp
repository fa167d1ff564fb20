// Every request leaves exactly one record, wherever its way ends. Clients are played byte by byte, sidecars and the bus are
// in memory.
#include "gateway-edge/edge_handler.h"

#include <nlohmann/json.hpp>
#include <sstream>

#include "tests/support/memory_transport.h"
#include "tests/unit/router/delivery_stage.h"

namespace outrigger::gateway {
namespace {

using namespace std::chrono_literals;
using nlohmann::json;
using Reaction = tests::ScriptedService::Reaction;

constexpr std::string_view kKeys[] = {
    "start_time",      "method",        "path",           "protocol",         "response_code",  "response_flags",
    "response_code_details", "bytes_received", "bytes_sent", "duration",      "upstream_service_time", "x_forwarded_for",
    "user_agent",      "request_id",    "authority",      "upstream_host",    "upstream_cluster", "route_name",
    "trace_id",        "span_id",       "service",        "instance_id",      "correlation_id", "delivery_attempt",
    "queue_wait_ms",   "subject"};

// One connection.
class Client final : private http1::SessionHandler {
 public:
  Client(tests::FakeLoop& loop, http1::RequestHandler& handler, const http1::ServerOptions& options)
      : loop_(loop), handler_(handler), peer(loop.loop),
        session(std::make_unique<http1::ServerSession>(loop.loop, peer.make_transport(), "192.0.2.7", options,
                                                       static_cast<http1::SessionHandler&>(*this))) {}
  ~Client() {
    if (session != nullptr) session->close();
    loop_.settle();
  }

 private:
  void on_request(http1::Exchange& exchange) override { handler_.on_request(exchange); }
  void on_bad_request(http1::ParseProblem problem, const http1::RequestHead* request, std::string_view address,
                      http1::ResponseHead& head, std::string& body) override {
    handler_.on_bad_request(problem, request, address, head, body);
  }
  void on_session_closed(http1::ServerSession&) override { loop_.loop.release(std::move(session)); }

  tests::FakeLoop& loop_;
  http1::RequestHandler& handler_;

 public:
  tests::MemoryPeer peer;
  std::unique_ptr<http1::ServerSession> session;
};

class EdgeHandlerTest : public tests::DeliveryTest {
 protected:
  EdgeHandlerTest() {
    settle();
    publish({});
    testing::internal::CaptureStdout();
  }
  ~EdgeHandlerTest() override {
    other_output_ += testing::internal::GetCapturedStdout();
    if (HasFailure()) std::fputs(other_output_.c_str(), stderr);
  }

  void publish(const std::vector<openapi::Endpoint>& endpoints) {
    openapi::ServiceMetadata metadata;
    metadata.service = tests::kService;
    metadata.endpoints = endpoints;
    metadata.catch_all = endpoints.empty();
    metadata.refuse_unlisted = !endpoints.empty();
    auto view = std::make_shared<RoutingView>();
    view->is_known = true;
    const auto shared = std::make_shared<const openapi::ServiceMetadata>(metadata);
    view->routes = std::make_shared<const router::RouteTable>(std::vector<router::RouteSource>{{shared, 1}});
    view->access = std::make_shared<const AccessTable>(std::make_shared<const AccessRules>(),
                                                       AccessTable::Services{{tests::kService, shared}});
    auto book = std::make_shared<router::AddressBook>();
    book->add(tests::kService, {tests::kQueue, {sidecar_.instance}});
    view->addresses = std::move(book);
    view->openapi_json = std::make_shared<const std::string>("{}");
    view->openapi_etag = "\"e\"";
    edge_.set_view(std::move(view));
  }
  std::unique_ptr<Client> connect() { return std::make_unique<Client>(loop_, edge_, server_options_); }
  std::string ask(Client& client, std::string_view bytes) {
    client.peer.send(bytes);
    settle();
    return client.peer.take_received();
  }
  // On a connection of its own, which is gone afterwards.
  std::string ask(std::string_view bytes) {
    const auto client = connect();
    return ask(*client, bytes);
  }
  static std::string get(std::string_view target, std::string_view fields = {}) {
    return "GET " + std::string(target) + " HTTP/1.1\r\nHost: Example.test\r\n" + std::string(fields) + "\r\n";
  }
  // What was recorded since the last call.
  std::vector<json> records() {
    settle();
    std::vector<json> all;
    std::istringstream lines(testing::internal::GetCapturedStdout());
    testing::internal::CaptureStdout();
    for (std::string line; std::getline(lines, line);) {
      json one = json::parse(line, nullptr, /*allow_exceptions=*/false);
      if (one.is_discarded()) other_output_ += line + "\n";  // what the test itself says
      else all.push_back(std::move(one));
    }
    return all;
  }
  json record() {
    const std::vector<json> all = records();
    EXPECT_EQ(all.size(), 1U);
    return all.empty() ? json::object() : all[0];
  }
  // "STATUS flags details"
  static std::string end_of(const json& record) {
    const auto text = [&record](const char* key) {
      return record.value(key, json()).is_string() ? record[key].get<std::string>() : "-";
    };
    return std::to_string(record.value("response_code", -1)) + " " + text("response_flags") + " " +
           text("response_code_details");
  }

  std::string other_output_;
  tests::Sidecar& sidecar_ = add_sidecar('a');
  tests::Gateway& caller_ = add_gateway('9');
  identity::HeaderPolicy policy_;
  http1::ServerOptions server_options_;
  EdgeHandler edge_{loop_.loop, caller_.dispatcher, policy_,
                    {.via = "outrigger-test",
                     .request_timeout = 30s,
                     .limits = {},
                     .access_log = telemetry::AccessFormat::json}};
};

TEST_F(EdgeHandlerTest, answered_request_has_everything_in_its_record) {
  publish({{"POST", "/orders/{id}", {}, {}, false}});
  sidecar_.service.takes = 40ms;
  const auto client = connect();
  client->peer.send(
      "POST /billing/orders/7?token=secret HTTP/1.1\r\nHost: Example.test:8080\r\nUser-Agent: curl/8\r\n"
      "traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\r\nContent-Length: 5\r\n\r\nhello");
  advance(40ms);
  EXPECT_NE(client->peer.take_received().find("HTTP/1.1 200 OK"), std::string::npos);

  const json one = record();
  ASSERT_EQ(one.size(), std::size(kKeys));
  for (const std::string_view key : kKeys) EXPECT_TRUE(one.contains(key)) << key;
  EXPECT_EQ(end_of(one), "200 - via_upstream");
  EXPECT_EQ(one["method"], "POST");
  EXPECT_EQ(one["path"], "/billing/orders/7");
  EXPECT_EQ(one["protocol"], "HTTP/1.1");
  EXPECT_EQ(one["bytes_received"], 5);
  EXPECT_EQ(one["bytes_sent"], 4);
  EXPECT_GE(one["duration"], 40);
  EXPECT_EQ(one["upstream_service_time"], 40);
  EXPECT_EQ(one["x_forwarded_for"], "192.0.2.7");
  EXPECT_EQ(one["user_agent"], "curl/8");
  EXPECT_EQ(one["authority"], "Example.test:8080");
  EXPECT_EQ(one["upstream_host"], sidecar_.instance);
  EXPECT_EQ(one["instance_id"], sidecar_.instance);
  EXPECT_EQ(one["upstream_cluster"], "billing");
  EXPECT_EQ(one["service"], "billing");
  EXPECT_EQ(one["route_name"], "/billing/orders/{id}");
  EXPECT_EQ(one["trace_id"], "4bf92f3577b34da6a3ce929d0e0e4736");
  EXPECT_NE(one["span_id"], "00f067aa0ba902b7");
  EXPECT_EQ(one["correlation_id"], sidecar_.service.begun.at(0));
  EXPECT_EQ(one["delivery_attempt"], 1);
  EXPECT_EQ(one["queue_wait_ms"], 0);
  EXPECT_TRUE(one["subject"].is_null());
  EXPECT_TRUE(one["request_id"].is_string());
}

TEST_F(EdgeHandlerTest, answer_of_an_older_sidecar_has_no_queue_wait) {
  sidecar_.service.reaction = Reaction::hang;
  const auto client = connect();
  client->peer.send(get("/billing/1"));
  settle();
  frames::Response answer;
  answer.id = sidecar_.service.begun.at(0);
  answer.instance = sidecar_.instance;
  answer.status = 204;
  server_.add(caller_.reply_to, tests::fields_of(answer));
  settle();
  const json one = record();
  EXPECT_EQ(end_of(one), "204 - via_upstream");
  EXPECT_TRUE(one["queue_wait_ms"].is_null());
  EXPECT_EQ(one["upstream_service_time"], 0);
}

TEST_F(EdgeHandlerTest, every_kind_of_request_has_one_record) {
  publish({{"GET", "/orders", {}, {}, false}});
  const std::string post_start = "POST /billing/orders HTTP/1.1\r\nHost: a\r\n";
  const struct {
    std::string bytes;
    std::string end;
    const char* route;
  } cases[] = {
      {get("/billing/orders"), "200 - via_upstream", "/billing/orders"},
      {"HEAD /billing/orders HTTP/1.1\r\nHost: a\r\n\r\n", "200 - via_upstream", "/billing/orders"},
      {"OPTIONS /billing/orders HTTP/1.1\r\nHost: a\r\n\r\n", "200 - via_upstream", "/billing/orders"},
      {get("/other"), "404 NR no-route", "unmatched"},
      {get("/billing/unlisted"), "404 NR no-route", "unmatched"},
      {post_start + "Content-Length: 1\r\n\r\nx", "405 NR method-not-allowed", "/billing/orders"},
      {get("/billing/../x"), "400 IH bad-request", "unmatched"},
      {get("/billing/orders", "Via: 1.1 outrigger-test\r\n"), "508 NR loop-detected", "unmatched"},
      {get("/openapi.json"), "200 - direct_response", "/openapi.json"},
      {get("/%6fpenapi.yaml"), "200 - direct_response", "/openapi.yaml"},
      {get("/.well-known/openapi", "If-None-Match: \"e\"\r\n"), "304 - direct_response", "/.well-known/openapi"},
      {"OPTIONS /openapi.json HTTP/1.1\r\nHost: a\r\n\r\n", "204 - direct_response", "/openapi.json"},
      {"DELETE /openapi.json HTTP/1.1\r\nHost: a\r\n\r\n", "405 NR method-not-allowed", "/openapi.json"},
      {get("/docs/x"), "404 NR no-route", "/docs"},
      {get("/api/v1/gateway/routes"), "404 NR no-route", "/api/v1/gateway"},
      {"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", "204 - direct_response", "unmatched"},
      {"OPTIONS /billing HTTP/1.1\r\nHost: a\r\nMax-Forwards: 0\r\n\r\n", "204 - direct_response", "unmatched"},
      {"TRACE /billing HTTP/1.1\r\nHost: a\r\nMax-Forwards: 0\r\n\r\n", "405 NR method-not-allowed", "unmatched"},
      {"GET /billing/orders HTTP/1.0\r\n\r\n", "200 - via_upstream", "/billing/orders"},
      {"nonsense\r\n\r\n", "400 DPE bad_request", "unmatched"},
      {"GET / HTTP/1.1\r\n\r\n", "400 DPE bad_request", "unmatched"},
      {"GET / HTTP/3.0\r\nHost: a\r\n\r\n", "505 DPE version", "unmatched"},
      {"BREW / HTTP/1.1\r\nHost: a\r\n\r\n", "501 DPE unsupported", "unmatched"},
      {get("/" + std::string(20'000, 'x')), "414 DPE uri_too_long", "unmatched"},
      {get("/billing/orders", "X: " + std::string(80'000, 'x') + "\r\n"), "431 DPE headers_too_large", "unmatched"},
  };
  for (const auto& [bytes, end, route] : cases) {
    const std::string answer = ask(bytes);
    const std::vector<json> made = records();
    ASSERT_EQ(made.size(), 1U) << bytes.substr(0, 80);
    EXPECT_EQ(end_of(made[0]), end) << bytes.substr(0, 80);
    EXPECT_EQ(made[0]["route_name"], route) << bytes.substr(0, 80);
    EXPECT_EQ(made[0]["x_forwarded_for"], "192.0.2.7");
    EXPECT_EQ(answer.substr(9, 3), end.substr(0, 3)) << bytes.substr(0, 80);
    const std::size_t body = answer.find("\r\n\r\n");
    EXPECT_EQ(made[0]["bytes_sent"], answer.size() - body - 4) << answer;
  }
}

TEST_F(EdgeHandlerTest, requests_on_one_connection_have_a_record_each) {
  const auto client = connect();
  ask(*client, get("/billing/1") + get("/other") + get("/billing/2") + get("/openapi.json"));
  const std::vector<json> made = records();
  ASSERT_EQ(made.size(), 4U);
  EXPECT_EQ(made[0]["path"], "/billing/1");
  EXPECT_EQ(made[3]["path"], "/openapi.json");
}

TEST_F(EdgeHandlerTest, connection_without_a_whole_head_has_no_record) {
  { const auto silent = connect(); }
  {
    const auto partial = connect();
    ask(*partial, "GET / HT");
    partial->peer.send_end();
  }
  {
    const auto idle = connect();
    ask(*idle, get("/billing/1"));
    advance(80s);
    EXPECT_TRUE(idle->peer.is_closed() || idle->peer.saw_end());
  }
  EXPECT_EQ(records().size(), 1U);
}

TEST_F(EdgeHandlerTest, silent_clients_are_recorded_as_timed_out) {
  const auto in_head = connect();
  ask(*in_head, "GET /billing/1 HTTP/1.1\r\nHost:");
  advance(61s);
  EXPECT_EQ(in_head->peer.take_received().substr(9, 3), "408");
  EXPECT_EQ(record()["response_flags"], "SI");

  const auto in_body = connect();
  ask(*in_body, "POST /billing/1 HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc");
  advance(61s);
  EXPECT_EQ(in_body->peer.take_received().substr(9, 3), "408");
  const json one = record();
  EXPECT_EQ(one["response_code"], 408);
  EXPECT_EQ(one["response_flags"], "SI");
  EXPECT_EQ(one["bytes_received"], 3);
  EXPECT_EQ(one["path"], "/billing/1");
  EXPECT_EQ(one["service"], "billing");
}

TEST_F(EdgeHandlerTest, bodies_that_break_the_rules_are_recorded_once_with_what_came_of_them) {
  const std::string start = "POST /billing/1 HTTP/1.1\r\nHost: a\r\n";
  EXPECT_EQ(ask(start + "Content-Length: 9000000\r\n\r\nabc").substr(9, 3), "413");
  EXPECT_EQ(end_of(record()).substr(0, 7), "413 DPE");

  EXPECT_EQ(ask(start + "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nzz\r\n").substr(9, 3), "400");
  const json one = record();
  EXPECT_EQ(end_of(one).substr(0, 7), "400 DPE");
  EXPECT_EQ(one["bytes_received"], 3);
  EXPECT_TRUE(one["trace_id"].is_string());
}

TEST_F(EdgeHandlerTest, client_that_leaves_is_recorded_at_each_stage) {
  {
    const auto uploading = connect();
    ask(*uploading, "POST /billing/1 HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc");
    uploading->peer.reset();
    settle();
    const json one = record();
    EXPECT_EQ(end_of(one), "0 DC downstream_remote_disconnect");
    EXPECT_EQ(one["bytes_received"], 3);
    EXPECT_TRUE(one["correlation_id"].is_null());
  }
  {
    sidecar_.service.reaction = Reaction::hang;
    const auto waiting = connect();
    ask(*waiting, get("/billing/1"));
    waiting->peer.reset();
    settle();
    const json one = record();
    EXPECT_EQ(end_of(one), "0 DC downstream_remote_disconnect");
    EXPECT_TRUE(one["correlation_id"].is_string());
    sidecar_.service.reaction = Reaction::answer;
  }
  {
    sidecar_.service.answer_body = std::string(100'000, 'x');
    const auto reading = connect();
    reading->peer.set_write_room(20'000);
    ask(*reading, get("/billing/1"));
    EXPECT_EQ(records().size(), 0U);  // its end is not known yet
    reading->peer.reset();
    settle();
    const json one = record();
    EXPECT_EQ(end_of(one), "200 DC downstream_remote_disconnect");
    EXPECT_GT(one["bytes_sent"], 19'000);
    EXPECT_LT(one["bytes_sent"], 20'000);
  }
}

TEST_F(EdgeHandlerTest, duration_lasts_until_a_slow_client_has_it_all) {
  sidecar_.service.answer_body = std::string(100'000, 'x');
  const auto client = connect();
  client->peer.set_write_room(1'000);
  ask(*client, get("/billing/1"));
  advance(5s);
  client->peer.set_write_room({});
  settle();
  const json one = record();
  EXPECT_EQ(end_of(one), "200 - via_upstream");
  EXPECT_GE(one["duration"], 5000);
  EXPECT_EQ(one["bytes_sent"], 100'000);
  EXPECT_EQ(caller_.dispatcher.pending(), 0U);
}

TEST_F(EdgeHandlerTest, what_the_end_of_a_drain_breaks_off_is_told_apart) {
  sidecar_.service.reaction = Reaction::hang;
  auto client = connect();
  ask(*client, get("/billing/1"));
  edge_.begin_stop();
  client.reset();
  EXPECT_EQ(end_of(record()), "0 LR drain_time_over");
}

TEST_F(EdgeHandlerTest, failures_behind_the_gateway_have_their_flags) {
  sidecar_.service.reaction = Reaction::break_off;
  ask("POST /billing/1 HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx");
  EXPECT_EQ(end_of(record()), "502 UPE bad-answer");

  sidecar_.service.reaction = Reaction::hang;
  const auto client = connect();
  client->peer.send(get("/billing/1"));
  advance(31s);
  EXPECT_EQ(end_of(record()), "504 UT timeout");
  EXPECT_EQ(client->peer.take_received().substr(9, 3), "504");

  caller_.bus.cut();
  settle();
  ask(get("/billing/1"));
  EXPECT_EQ(end_of(record()), "503 UF bus-unavailable");
}

// A refused Host or target may be a URL with a password in it.
TEST_F(EdgeHandlerTest, nothing_secret_is_recorded) {
  for (const std::string& bytes :
       {get("/billing/1?access_token=topsecret", "Authorization: Bearer topsecret\r\nCookie: a=topsecret\r\n"),
        get("/other?topsecret"), get("/openapi.json?topsecret"),
        std::string("GET http://user:topsecret@a/ HTTP/1.1\r\nHost: a\r\n\r\n"),
        std::string("GET / HTTP/1.1\r\nHost: user:topsecret@a\r\n\r\n"),
        std::string("GET topsecret HTTP/1.1\r\nHost: a\r\n\r\n")}) {
    ask(bytes);
    EXPECT_EQ(record().dump().find("topsecret"), std::string::npos) << bytes;
  }
}

TEST_F(EdgeHandlerTest, text_of_clients_stays_in_its_place) {
  ask(get("/x%0A%1B", "User-Agent: a\"b\\\x80\r\n"));
  const json one = record();
  EXPECT_EQ(one["path"], "/x%0A%1B");
  EXPECT_EQ(one["user_agent"], "a\"b\\\xef\xbf\xbd");
}

}  // namespace
}  // namespace outrigger::gateway
