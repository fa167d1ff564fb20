// Every request leaves exactly one record, wherever its way ends. Clients are played byte by byte, sidecars and the bus are
// in memory.
#include "gateway-edge/edge_handler.h"

#include <functional>
#include <nlohmann/json.hpp>
#include <sstream>

#include "bridge/identity/envelope.h"
#include "tests/support/memory_transport.h"
#include "tests/support/token_maker.h"
#include "tests/unit/gateway-edge/access_samples.h"
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

  void publish(const std::vector<openapi::Endpoint>& endpoints, std::vector<AccessRule> rules = {}) {
    openapi::ServiceMetadata metadata;
    metadata.service = tests::kService;
    metadata.endpoints = endpoints;
    metadata.catch_all = endpoints.empty();
    metadata.refuse_unlisted = !endpoints.empty();
    auto view = std::make_shared<RoutingView>();
    view->is_known = true;
    const auto shared = std::make_shared<const openapi::ServiceMetadata>(metadata);
    view->routes = std::make_shared<const router::RouteTable>(std::vector<router::RouteSource>{{shared, 1}});
    view->access = std::make_shared<const AccessTable>(std::make_shared<const AccessRules>(std::move(rules)),
                                                       AccessTable::Services{{tests::kService, shared}});
    auto book = std::make_shared<router::AddressBook>();
    book->add(tests::kService, {tests::kQueue, {sidecar_.instance}});
    view->addresses = std::move(book);
    view->openapi_json = std::make_shared<const std::string>("{}");
    view->openapi_etag = "\"e\"";
    served_->set_view(std::move(view));
  }
  std::unique_ptr<Client> connect() { return std::make_unique<Client>(loop_, *served_, server_options_); }
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
  EdgeHandler* served_ = &edge_;  // the one that clients come to
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


// ---- Identity

// Keys that come when the test says so.
class Keys final : public KeySource {
 public:
  net::Pending want_key(const std::string&, const std::string& key_id, Done done) override {
    asked.push_back(key_id);
    is_wanted_ = std::make_shared<bool>(true);
    done_ = std::move(done);
    return net::Pending(std::make_unique<Handle>(is_wanted_));
  }
  bool is_wanted() const { return is_wanted_ != nullptr && *is_wanted_; }
  void answer(bool could_look) {
    if (is_wanted()) std::exchange(done_, nullptr)(could_look);
  }

  std::vector<std::string> asked;

 private:
  struct Handle final : net::PendingOperation {
    explicit Handle(std::shared_ptr<bool> flag) : is_wanted(std::move(flag)) {}
    ~Handle() override { *is_wanted = false; }
    std::shared_ptr<bool> is_wanted;
  };
  std::shared_ptr<bool> is_wanted_;
  Done done_;
};

class EdgeIdentityTest : public EdgeHandlerTest {
 protected:
  EdgeIdentityTest() { secure(); }

  // Clients come to an edge with these options from now on.
  void secure(const std::function<void(EdgeHandler::Options&)>& change = {}) {
    EdgeHandler::Options options{.via = "outrigger-test",
                                 .request_timeout = 30s,
                                 .limits = {},
                                 .access_log = telemetry::AccessFormat::json};
    options.authentication.verifies = true;
    options.keys = &keys_;
    if (change) change(options);
    secured_ = std::make_unique<EdgeHandler>(loop_.loop, caller_.dispatcher, policy_, std::move(options));
    served_ = secured_.get();
    trust(maker_);
    publish({});
  }
  void trust(const tests::TokenMaker& maker) {
    std::vector<std::string> remarks;
    identity::TrustedIssuer issuer;
    issuer.rules.issuer = "https://id.test";
    issuer.keys = std::make_shared<const identity::KeySet>(*identity::KeySet::parse(maker.jwks(), remarks));
    identity::TrustedIssuer other = issuer;
    other.rules.issuer = "https://other.test";
    served_->set_verifier(std::make_shared<const identity::TokenVerifier>(std::vector{std::move(issuer), std::move(other)}));
  }
  // As a field. `claims` begin with a comma, if there are any.
  std::string bearer(const std::string& claims = {}) { return "Authorization: Bearer " + token(claims) + "\r\n"; }
  std::string token(const std::string& claims = {}) {
    const auto now = std::chrono::duration_cast<std::chrono::seconds>(loop_.loop.clock().wall());
    return maker_.token(R"({"iss":"https://id.test","sub":"ann","tid":"acme","exp":)" +
                        std::to_string((now + 1h).count()) + claims + "}");
  }
  // What the service got, each field once: "-" for none.
  std::string told(std::string_view name) {
    const base::HeaderList& headers = sidecar_.service.last_headers;
    EXPECT_LE(headers.count(name), 1U) << name;
    return std::string(headers.find(name).value_or("-"));
  }
  std::size_t times_asked() const { return sidecar_.service.begun.size(); }
  static std::string field_of(std::string_view answer, std::string_view name) {
    const auto at = answer.find("\r\n" + std::string(name) + ": ");
    if (at == std::string_view::npos) return "-";
    answer.remove_prefix(at + name.size() + 4);
    return std::string(answer.substr(0, answer.find('\r')));
  }

  Keys keys_;
  tests::TokenMaker maker_ = tests::TokenMaker::ec("one");
  std::unique_ptr<EdgeHandler> secured_;
};

TEST_F(EdgeIdentityTest, service_is_told_who_asks_and_not_how_that_was_proved) {
  ask(get("/billing/1", bearer(R"(,"scope":"a b")") + "Cookie: session=1\r\nX-StellaOps-Tenant: evil\r\nsub: eve\r\n"));

  EXPECT_EQ(told("X-StellaOps-Actor"), "ann");
  EXPECT_EQ(told("X-Stella-Actor"), "ann");
  EXPECT_EQ(told("X-StellaOps-Tenant"), "acme");
  EXPECT_EQ(told("X-StellaOps-Scopes"), "a b");
  EXPECT_EQ(told("sub"), "-");
  EXPECT_EQ(told("Authorization"), "-");
  EXPECT_EQ(told("Cookie"), "-");
  EXPECT_EQ(record()["subject"], "ann");
}

TEST_F(EdgeIdentityTest, what_proves_nothing_to_us_goes_on_with_the_anonymous) {
  ask(get("/billing/1", "Authorization: Basic YTpi\r\nCookie: session=1\r\nX-StellaOps-Actor: eve\r\n"));

  EXPECT_EQ(told("X-StellaOps-Actor"), "anonymous");
  EXPECT_EQ(told("X-StellaOps-Tenant"), "-");
  EXPECT_EQ(told("Authorization"), "Basic YTpi");
  EXPECT_EQ(told("Cookie"), "session=1");
  EXPECT_TRUE(record()["subject"].is_null());
}

TEST_F(EdgeIdentityTest, credentials_go_where_the_configuration_says) {
  secure([](EdgeHandler::Options& options) {
    options.forwarding = {Forwarding::never, Forwarding::never};
    options.forwarding_by_service["billing"] = {Forwarding::always, Forwarding::automatic};
    options.forwarding_by_service["stock"] = {Forwarding::never, Forwarding::always};
  });
  ask(get("/billing/1", bearer() + "Cookie: session=1\r\n"));
  EXPECT_EQ(told("Authorization").substr(0, 7), "Bearer ");
  EXPECT_EQ(told("Cookie"), "-");

  secure([](EdgeHandler::Options& options) { options.forwarding = {Forwarding::never, Forwarding::never}; });
  ask(get("/billing/1", "Authorization: Basic YTpi\r\nCookie: session=1\r\n"));
  EXPECT_EQ(told("Authorization"), "-");
  EXPECT_EQ(told("Cookie"), "-");
  EXPECT_EQ(records().size(), 2U);
}

TEST_F(EdgeIdentityTest, envelope_is_for_the_request_that_the_service_sees) {
  const auto signer = identity::EnvelopeSigner::make({.keys = {{"k1", std::string(32, 's')}}});
  ASSERT_TRUE(signer);
  secure([&signer](EdgeHandler::Options& options) { options.envelope = &*signer; });
  for (const std::string& fields : {bearer(), std::string()}) {
    ask(get("/billing/1?q", fields + "X-StellaOps-Identity-Envelope: forged\r\nX_StellaOps_Identity_Envelope_Kid: x\r\n"));
    const auto envelope = signer->verify(sidecar_.service.last_headers, loop_.loop.clock().wall());
    ASSERT_TRUE(envelope) << envelope.error().detail;
    const json one = json::parse(*envelope);
    EXPECT_EQ(one["aud"], "billing");
    EXPECT_EQ(one["method"], "GET");
    EXPECT_EQ(one["host"], "Example.test");
    EXPECT_EQ(one["rid"], told("X-Request-Id"));
    EXPECT_EQ(one["actor"], fields.empty() ? "anonymous" : "ann");
    EXPECT_EQ(one.contains("token_iss"), !fields.empty());
    EXPECT_EQ(told("X_StellaOps_Identity_Envelope_Kid"), "-");
  }
  EXPECT_EQ(records().size(), 2U);
}

TEST_F(EdgeIdentityTest, refused_requests_say_why_and_reach_no_service) {
  publish({{"GET", "/orders", {}, {}, false}}, {add_rule("billing", "GET", "/orders", {"orders:read"})});
  const struct {
    std::string fields;
    std::string end;
    std::string challenge;
    std::string detail;
  } cases[] = {
      {"", "401 - no-token", "Bearer realm=\"outrigger\"", "A token is needed."},
      {"Authorization: Bearer x\r\n", "401 - malformed",
       "Bearer realm=\"outrigger\", error=\"invalid_token\", error_description=\"malformed\"",
       "The token is refused: malformed."},
      {"Authorization: Bearer\r\n", "400 - unclear-authorization",
       "Bearer realm=\"outrigger\", error=\"invalid_request\"", "Authorization must be one field with one token."},
      {bearer(), "403 - lacks-access",
       "Bearer realm=\"outrigger\", error=\"insufficient_scope\", scope=\"orders:read\"",
       "The token lacks: scope orders:read."},
      {bearer(R"(,"project":1,"stellaops:project":"")"), "403 - unfit-claim",
       "Bearer realm=\"outrigger\", error=\"insufficient_scope\"",
       "claim \"stellaops:project\" is empty, too long, or not printable ASCII."},
  };
  for (const auto& [fields, end, challenge, detail] : cases) {
    const std::string answer = ask(get("/billing/orders", fields));
    const json one = record();
    std::string without_flags = end_of(one);
    without_flags.replace(4, without_flags.rfind(' ') - 4, "-");
    EXPECT_EQ(without_flags, end) << answer;
    EXPECT_EQ(one["subject"], end.substr(0, 12) == "403 - lacks-" ? json("ann") : json());
    EXPECT_EQ(field_of(answer, "WWW-Authenticate"), challenge);
    EXPECT_EQ(field_of(answer, "X-Request-Id"), one["request_id"]);
    const json problem = json::parse(answer.substr(answer.find("\r\n\r\n") + 4));
    EXPECT_EQ(problem["detail"], detail);
  }
  EXPECT_EQ(times_asked(), 0U);
  EXPECT_EQ(ask(get("/billing/orders", bearer(R"(,"scope":"orders:read")"))).substr(9, 3), "200");
}

// Symfony, Laminas and modules of IIS take the path from the first, Rails and Laravel the method of a POST from the second:
// what was let in here would be something else there.
TEST_F(EdgeIdentityTest, request_is_what_its_first_line_says) {
  const std::string start = "POST /billing/orders HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n" + bearer();
  publish({{"POST", "/orders", {}, {}, false}, {"DELETE", "/orders", {}, {}, false}},
          {add_rule("billing", "DELETE", "/orders", {"orders:delete"})});
  ask(start + "X-Original-URL: /admin\r\nX-Rewrite-Url: /admin\r\nx_original_url: /admin\r\n\r\n");
  ASSERT_EQ(times_asked(), 1U);
  for (const char* name : {"X-Original-URL", "X-Rewrite-URL", "x_original_url"}) EXPECT_EQ(told(name), "-") << name;

  for (const char* name : {"X-HTTP-Method-Override", "x-http-method", "X_Method.Override"}) {
    const std::string field = std::string(name) + ": DELETE\r\n\r\n";
    EXPECT_EQ(ask(start + field).substr(9, 3), "400") << name;
    EXPECT_EQ(times_asked(), 1U) << name;
  }
  EXPECT_EQ(ask(start + "X-HTTP-Method-Override: post\r\n\r\n").substr(9, 3), "200");
  // Of a service of which anybody may ask anything it is that service's own affair.
  publish({{"POST", "/orders", {}, {}, false}});
  ask(start + "X-HTTP-Method-Override: DELETE\r\n\r\n");
  EXPECT_EQ(told("X-HTTP-Method-Override"), "DELETE");
  EXPECT_EQ(records().size(), 6U);
}

TEST_F(EdgeIdentityTest, own_pages_and_what_is_not_there_ask_for_a_token_first) {
  secure([](EdgeHandler::Options& options) { options.authentication.allow_anonymous = false; });
  for (const char* target : {"/billing/1", "/openapi.json", "/nothing"}) {
    EXPECT_EQ(ask(get(target)).substr(9, 3), "401") << target;
  }
  EXPECT_EQ(ask(get("/openapi.json", bearer())).substr(9, 3), "200");
  EXPECT_EQ(ask(get("/nothing", bearer())).substr(9, 3), "404");
  EXPECT_EQ(ask("OPTIONS /billing/1 HTTP/1.1\r\nHost: a\r\n\r\n").substr(9, 3), "200");
  EXPECT_EQ(records().size(), 6U);
}

// ---- Requests that wait for keys or for the rate limiter

TEST_F(EdgeIdentityTest, request_goes_on_when_the_keys_have_come) {
  const tests::TokenMaker other = tests::TokenMaker::ec("two");
  trust(other);
  const auto client = connect();
  EXPECT_EQ(ask(*client, "POST /billing/1 HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n" + bearer() + "\r\nhello" +
                             get("/billing/2")),
            "");
  EXPECT_EQ(keys_.asked, std::vector<std::string>{"one"});
  EXPECT_EQ(times_asked(), 0U) << "nor does what follows overtake it";

  trust(maker_);
  keys_.answer(true);
  settle();
  EXPECT_EQ(times_asked(), 2U);
  const std::string answers = client->peer.take_received();
  EXPECT_EQ(answers.substr(9, 3), "200");
  EXPECT_NE(answers.find("HTTP/1.1 200 OK", 20), std::string::npos);
  EXPECT_EQ(sidecar_.service.bodies[sidecar_.service.begun[0]], "hello");
  EXPECT_EQ(records().size(), 2U);
}

TEST_F(EdgeIdentityTest, what_is_demanded_when_the_keys_have_come_counts) {
  publish({{"GET", "/orders", {}, {}, false}});
  trust(tests::TokenMaker::ec("two"));
  const auto client = connect();
  ask(*client, get("/billing/orders", bearer()));
  publish({{"GET", "/orders", {}, {}, false}}, {add_rule("billing", "GET", "/orders", {"orders:read"})});
  trust(maker_);
  keys_.answer(true);
  settle();
  EXPECT_EQ(client->peer.take_received().substr(9, 3), "403");
  EXPECT_EQ(times_asked(), 0U);
  EXPECT_EQ(records().size(), 1U);
}

TEST_F(EdgeIdentityTest, token_of_a_key_that_nobody_has_is_refused_after_one_question) {
  trust(tests::TokenMaker::ec("two"));
  for (const bool could_look : {true, false}) {
    const auto client = connect();
    ask(*client, get("/billing/1", bearer()));
    keys_.answer(could_look);
    settle();
    const std::string answer = client->peer.take_received();
    EXPECT_EQ(answer.substr(9, 3), could_look ? "401" : "503");
    EXPECT_EQ(field_of(answer, "WWW-Authenticate") != "-", could_look);
    EXPECT_EQ(field_of(answer, "Retry-After") != "-", !could_look);
    EXPECT_EQ(record()["response_code_details"], "unknown-key");
  }
  EXPECT_EQ(keys_.asked.size(), 2U);
  EXPECT_EQ(times_asked(), 0U);
}

TEST_F(EdgeIdentityTest, client_that_leaves_while_keys_are_fetched_asks_nothing) {
  trust(tests::TokenMaker::ec("two"));
  const auto gone = connect();
  ask(*gone, get("/billing/1", bearer()));
  ASSERT_TRUE(keys_.is_wanted());
  gone->peer.reset();
  settle();
  EXPECT_FALSE(keys_.is_wanted());
  EXPECT_EQ(end_of(record()), "0 DC downstream_remote_disconnect");

  // The keys come in the very turn in which the connection ends.
  auto closed = connect();
  ask(*closed, get("/billing/1", bearer()));
  closed->session->close();
  trust(maker_);
  keys_.answer(true);
  settle();
  EXPECT_EQ(times_asked(), 0U);
  EXPECT_EQ(end_of(record()), "0 DC downstream_remote_disconnect");
}

TEST_F(EdgeIdentityTest, request_that_was_refused_while_it_waits_stays_so) {
  trust(tests::TokenMaker::ec("two"));
  base::Budget budget(1);
  server_options_.buffered = &budget;
  const auto client = connect();
  client->peer.set_write_room(0);
  ask(*client, "POST /billing/1 HTTP/1.1\r\nHost: a\r\nContent-Length: 60000\r\n" + bearer() + "\r\n");
  ASSERT_TRUE(keys_.is_wanted());
  ask(*client, std::string(40'000, 'x'));  // more than there is memory for
  keys_.answer(true);
  settle();
  client->peer.set_write_room({});
  settle();
  EXPECT_EQ(client->peer.take_received().substr(9, 3), "503");
  EXPECT_EQ(end_of(record()), "503 OM overloaded");
}

TEST_F(EdgeIdentityTest, request_that_waits_for_keys_ends_with_the_drain) {
  trust(tests::TokenMaker::ec("two"));
  auto client = connect();
  ask(*client, get("/billing/1", bearer()));
  secured_->begin_stop();
  client.reset();
  EXPECT_FALSE(keys_.is_wanted());
  EXPECT_EQ(end_of(record()), "0 LR drain_time_over");
}

class EdgeRateLimitTest : public EdgeIdentityTest {
 protected:
  EdgeRateLimitTest() { settle(); }
  // Of one request an hour for each subject.
  void limit(RateLimitScope scope) {
    RateLimitRule rule;
    rule.name = "each";
    rule.scope = scope;
    rule.per = {RateLimitDimension::subject};
    rule.limit = 1;
    rule.window = 1h;
    limits_ = std::make_unique<RateLimits>(std::vector{rule});
    limiter_ = std::make_unique<RateLimiter>(loop_.loop, caller_.bus, names_, *limits_);
    secure([this](EdgeHandler::Options& options) { options.rate_limiter = limiter_.get(); });
  }
  ~EdgeRateLimitTest() override { secured_.reset(); }

  std::unique_ptr<RateLimits> limits_;
  std::unique_ptr<RateLimiter> limiter_;
};

TEST_F(EdgeRateLimitTest, limited_request_is_told_when_to_come_again) {
  for (const RateLimitScope scope : {RateLimitScope::instance, RateLimitScope::environment}) {
    limit(scope);
    const std::string passed = ask(get("/billing/1", bearer()));
    EXPECT_EQ(passed.substr(9, 3), "200");
    EXPECT_EQ(field_of(passed, "X-RateLimit-Limit"), "1");
    EXPECT_EQ(field_of(passed, "X-RateLimit-Remaining"), "0");
    EXPECT_EQ(field_of(passed, "X-RateLimit-Reset"), "3600");
    EXPECT_EQ(end_of(record()), "200 - via_upstream");

    const std::string refused = ask(get("/billing/1", bearer()));
    EXPECT_EQ(refused.substr(9, 3), "429");
    EXPECT_EQ(field_of(refused, "Retry-After"), "3600");
    EXPECT_EQ(refused.find("Retry-After", refused.find("Retry-After") + 1), std::string::npos);
    EXPECT_EQ(field_of(refused, "X-RateLimit-Remaining"), "0");
    EXPECT_EQ(end_of(record()), "429 RL rate-limited");
    EXPECT_EQ(ask(get("/billing/1")).substr(9, 3), "200") << "somebody else";
    records();
  }
}

TEST_F(EdgeRateLimitTest, subject_is_somebody_of_his_issuer) {
  limit(RateLimitScope::instance);
  const auto subject = [this](const std::string& who, const std::string& issuer = "https://id.test") {
    const auto now = std::chrono::duration_cast<std::chrono::seconds>(loop_.loop.clock().wall());
    const std::string made = maker_.token(R"({"iss":")" + issuer + R"(",)" + who + R"(,"exp":)" +
                                          std::to_string((now + 1h).count()) + "}");
    return ask(get("/billing/1", "Authorization: Bearer " + made + "\r\n")).substr(9, 3);
  };
  EXPECT_EQ(ask(get("/billing/1")).substr(9, 3), "200");
  EXPECT_EQ(ask(get("/billing/1")).substr(9, 3), "429");
  EXPECT_EQ(subject(R"("client_id":"batch")"), "200") << "no subject, but not anonymous";
  EXPECT_EQ(subject(R"("client_id":"other")"), "200");
  EXPECT_EQ(subject(R"("client_id":"batch")"), "429");
  EXPECT_EQ(subject(R"("sub":"ann")"), "200");
  EXPECT_EQ(subject(R"("sub":"ann")", "https://other.test"), "200");
  EXPECT_EQ(subject(R"("sub":"ann")", "https://other.test"), "429");
  records();
}

TEST_F(EdgeRateLimitTest, client_that_leaves_while_the_bus_counts_asks_nothing) {
  limit(RateLimitScope::environment);
  const std::size_t before = times_asked();
  auto client = connect();
  client->peer.send(get("/billing/1", bearer()));
  loop_.loop.run_turn(net::EventLoop::Wait::no);  // the question is on its way
  client->session->close();
  settle();
  EXPECT_EQ(times_asked(), before);
  EXPECT_EQ(end_of(record()), "0 DC downstream_remote_disconnect");
}

TEST_F(EdgeIdentityTest, proxies_are_believed_by_address) {
  const std::string said = "X-Request-Id: given\r\nX-Forwarded-For: 203.0.113.9\r\nX-Forwarded-Proto: https\r\n";
  ask(get("/billing/1", said));
  EXPECT_NE(told("X-Request-Id"), "given");
  EXPECT_EQ(told("X-Forwarded-For"), "192.0.2.7");
  EXPECT_EQ(told("X-Forwarded-Proto"), "http");

  secure([](EdgeHandler::Options& options) { options.trusted_proxies = *net::AddressSet::make({"192.0.2.0/24"}); });
  ask(get("/billing/1", said + "X-StellaOps-Actor: eve\r\n"));
  EXPECT_EQ(told("X-Request-Id"), "given");
  EXPECT_EQ(told("X-Forwarded-For"), "203.0.113.9, 192.0.2.7");
  EXPECT_EQ(told("X-Forwarded-Proto"), "https");
  EXPECT_EQ(told("X-StellaOps-Actor"), "anonymous") << "they never say who the caller is";
  EXPECT_EQ(records().size(), 2U);
}

}  // namespace
}  // namespace outrigger::gateway
