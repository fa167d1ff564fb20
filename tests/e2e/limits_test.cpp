// What the gateway answers by itself: limits, requests that break the grammar, paths nobody serves. The service never
// hears of them, and where the framing cannot be trusted the connection ends.
#include "tests/e2e/http_stage.h"

namespace outrigger::tests {
namespace {

class Limits : public HttpStage {};

struct Refused {
  const char* name;
  std::string request;
  int status;
  const char* code;
};
std::ostream& operator<<(std::ostream& out, const Refused& one) {
  return out << one.name;
}

class RefusedRequests : public HttpStage, public ::testing::WithParamInterface<Refused> {};

TEST_P(RefusedRequests, are_answered_with_a_problem_and_end_the_connection) {
  RawClient client(gateway());
  client.send(GetParam().request + make_request("GET", "/smuggled"));

  const RawResponse response = client.read_response();

  EXPECT_EQ(response.problem, "");
  EXPECT_EQ(response.status, GetParam().status);
  EXPECT_EQ(code_of(response), GetParam().code) << response.body;
  EXPECT_NE(response.body.find("\"status\":" + std::to_string(GetParam().status)), std::string::npos) << response.body;
  EXPECT_EQ(response.header("Connection"), "close");
  EXPECT_TRUE(client.is_closed_by_peer());
  EXPECT_EQ(service().request_count(), 0u);
}

const std::string kStart = "GET / HTTP/1.1\r\nHost: example.test\r\n";
const std::string kPost = "POST / HTTP/1.1\r\nHost: example.test\r\n";

Fields fields_of(std::size_t count, std::size_t value_bytes) {
  return Fields(count, {"X-Field", std::string(value_bytes, 'v')});
}

INSTANTIATE_TEST_SUITE_P(
    Limits, RefusedRequests,
    ::testing::Values(
        Refused{"body_announced_too_large", kPost + "Content-Length: 8388609\r\n\r\n", 413, "body-too-large"},
        Refused{"body_absurdly_large", kPost + "Content-Length: 9999999999999999\r\n\r\n", 413, "body-too-large"},
        Refused{"target_too_long", make_request("GET", "/" + std::string(16 * 1024, 'a')), 414, "uri-too-long"},
        Refused{"too_many_fields", make_request("GET", "/", fields_of(201, 1)), 431, "headers-too-large"},
        Refused{"fields_too_large", make_request("GET", "/", fields_of(66, 1024)), 431, "headers-too-large"},
        Refused{"one_field_too_large", make_request("GET", "/", fields_of(1, 65 * 1024)), 431, "headers-too-large"}),
    [](const auto& one) { return one.param.name; });

INSTANTIATE_TEST_SUITE_P(
    Grammar, RefusedRequests,
    ::testing::Values(
        Refused{"no_host", "GET / HTTP/1.1\r\n\r\n", 400, "bad-request"},
        Refused{"two_hosts", kStart + "Host: other.test\r\n\r\n", 400, "bad-request"},
        Refused{"space_before_colon", kStart + "X-A : 1\r\n\r\n", 400, "bad-request"},
        Refused{"folded_line", kStart + "X-A: 1\r\n 2\r\n\r\n", 400, "bad-request"},
        Refused{"bare_line_feed", "GET / HTTP/1.1\nHost: example.test\n\n", 400, "bad-request"},
        Refused{"control_character", kStart + std::string("X-A: a\0b\r\n\r\n", 12), 400, "bad-request"},
        Refused{"no_method", " / HTTP/1.1\r\nHost: example.test\r\n\r\n", 400, "bad-request"},
        Refused{"target_without_slash", "GET a HTTP/1.1\r\nHost: example.test\r\n\r\n", 400, "bad-request"},
        Refused{"space_in_target", "GET /a b HTTP/1.1\r\nHost: example.test\r\n\r\n", 400, "bad-request"},
        Refused{"byte_above_ascii_in_target", "GET /\xfc HTTP/1.1\r\nHost: example.test\r\n\r\n", 400, "bad-request"},
        Refused{"length_and_chunked", kPost + "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400,
                "bad-request"},
        Refused{"two_lengths", kPost + "Content-Length: 1\r\nContent-Length: 2\r\n\r\nxx", 400, "bad-request"},
        Refused{"length_with_sign", kPost + "Content-Length: +1\r\n\r\nx", 400, "bad-request"},
        Refused{"chunked_not_last", kPost + "Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n", 400, "bad-request"},
        Refused{"bad_chunk_size", kPost + "Transfer-Encoding: chunked\r\n\r\nzz\r\n", 400, "bad-request"},
        Refused{"chunked_in_1_0",
                "POST / HTTP/1.0\r\nHost: example.test\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400,
                "bad-request"}),
    [](const auto& one) { return one.param.name; });

TEST_F(Limits, unknown_coding_and_version_have_their_own_status) {
  EXPECT_EQ(ask(gateway(), kPost + "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n").status, 501);
  EXPECT_EQ(ask(gateway(), "GET / HTTP/2.0\r\nHost: example.test\r\n\r\n").status, 505);
  EXPECT_EQ(service().request_count(), 0u);
}

TEST_F(Limits, chunked_body_that_grows_too_large_is_refused) {
  RawClient client(gateway());
  client.send(make_chunked_request("POST", "/up", std::string(8 * 1024 * 1024 + 1, 'x'), 64 * 1024));
  const RawResponse response = client.read_response();
  EXPECT_EQ(response.status, 413);
  EXPECT_EQ(code_of(response), "body-too-large");
  EXPECT_EQ(service().request_count(), 0u);
}

TEST_F(Limits, what_is_just_within_them_is_served) {
  EXPECT_EQ(get(gateway(), "/" + std::string(16 * 1024 - 1, 'a')).status, 200);
  EXPECT_EQ(ask(gateway(), make_request("GET", "/", fields_of(199, 100))).status, 200);
  EXPECT_EQ(ask(gateway(), make_request("GET", "/", fields_of(60, 1024))).status, 200);
}

TEST_F(Limits, fields_that_fit_http_but_not_a_frame_are_refused) {
  // Just below the gateway's own limit; what it adds, and the frame's JSON, would pass the frame's.
  const RawResponse response = ask(gateway(), make_request("GET", "/", {{"X-Field", std::string(65'400, '"')}}));
  EXPECT_EQ(response.status, 431);
  EXPECT_EQ(code_of(response), "headers-too-large");
  EXPECT_EQ(get(gateway(), "/").status, 200);
}

TEST_F(Limits, answer_whose_fields_cannot_travel_is_a_bad_answer) {
  service().always_send(make_response("200 OK", {{"X-Field", std::string(70'000, 'v')}}, "x"));
  const RawResponse response = get(gateway(), "/");
  EXPECT_EQ(response.status, 502);
  EXPECT_EQ(code_of(response), "bad-answer");
}

TEST_F(Limits, answer_above_the_body_limit_is_a_bad_answer) {
  service().always_send(make_response("200 OK", {}, std::string(8 * 1024 * 1024 + 1, 'x')));
  const RawResponse response = get(gateway(), "/");
  EXPECT_EQ(response.status, 502);
  EXPECT_EQ(code_of(response), "bad-answer");
}

TEST_F(Limits, problems_name_their_request_and_their_trace) {
  const RawResponse response =
      ask(gateway(), make_request("GET", "/billing/../x",
                                  {{"traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"}}));
  EXPECT_EQ(response.status, 400);
  EXPECT_TRUE(response.has_header("X-Request-Id"));
  EXPECT_NE(response.body.find("\"traceId\":\"4bf92f3577b34da6a3ce929d0e0e4736\""), std::string::npos) << response.body;
  EXPECT_EQ(ask(gateway(), make_request("HEAD", "/billing/../x")).body, "");
}

TEST_F(Limits, body_too_large_is_refused_instead_of_asked_for) {
  RawClient client(gateway());
  client.send(kPost + "Expect: 100-continue\r\nContent-Length: 8388609\r\n\r\n");
  const RawResponse response = client.read_response();
  EXPECT_EQ(response.status, 413);
  EXPECT_EQ(code_of(response), "body-too-large");
  EXPECT_TRUE(client.is_closed_by_peer());
}

// ---- Slow peers. All times are short, and each answer must not come before its time is over.

using namespace std::chrono_literals;

constexpr base::Duration kTimeout = 300ms;   // each of the timeouts below
constexpr base::Duration kIdle = 500ms;
constexpr std::size_t kSidecarBody = 1024 * 1024;

class SlowPeers : public ::testing::Test {
 protected:
  struct Stage {
    ValkeyServer valkey;
    ScriptedService service;
    Sidecar sidecar{valkey, "billing", service,
                    {{"Sidecar__Limits__HeadTimeout", "300ms"},
                     {"Sidecar__Limits__BodyTimeout", "300ms"},
                     {"Sidecar__Limits__WriteTimeout", "300ms"},
                     {"Sidecar__Limits__BodyBytes", "1MiB"},
                     {"Sidecar__MaxInFlight", "16"}}};
    Gateway gateway{valkey,
                    {{"Gateway__Limits__HeadTimeout", "300ms"},
                     {"Gateway__Limits__BodyTimeout", "300ms"},
                     {"Gateway__Limits__WriteTimeout", "300ms"},
                     {"Gateway__Limits__IdleTimeout", "500ms"},
                     {"Gateway__Limits__MinRate", "10000"}}};
  };

  static void SetUpTestSuite() {
    if (ValkeyServer::program().empty()) return;
    stage_ = std::make_unique<Stage>();
    ASSERT_TRUE(stage_->gateway.wait_for_route("/billing/"));
  }
  static void TearDownTestSuite() {
    if (stage_ == nullptr) return;
    stage_->service.release();
    EXPECT_TRUE(is_settled(stage_->valkey, ""));
    EXPECT_TRUE(stage_->gateway.process().terminate());
    EXPECT_TRUE(stage_->sidecar.process().terminate());
    stage_.reset();
  }
  void SetUp() override {
    OUTRIGGER_NEEDS_VALKEY();
    service().set_script(ScriptedService::echo);
  }

  static ScriptedService& service() { return stage_->service; }
  static std::uint16_t gateway() { return stage_->gateway.port(); }
  // As /metrics counts it.
  static std::uint64_t closed_for_not_reading() {
    const std::string page = get(stage_->gateway.health_port(), "/metrics").body;
    const std::string name = "\noutrigger_http_connections_ended_total{reason=\"write_timeout\"} ";
    const std::size_t at = page.find(name);
    return at == std::string::npos ? 0 : std::stoull(page.substr(at + name.size()));
  }
  // Answered with 408 and closed, not before the time is over.
  static void expect_408(RawClient& client, const Stopwatch& watch) {
    const RawResponse response = client.read_response();
    EXPECT_GE(watch.elapsed(), kTimeout);
    EXPECT_EQ(response.problem, "");
    EXPECT_EQ(response.status, 408);
    EXPECT_EQ(code_of(response), "bad-request");
    EXPECT_EQ(response.header("Connection"), "close");
    EXPECT_TRUE(client.is_closed_by_peer());
  }
  // What the service does with the request, and how the client is told.
  static void expect_problem(ScriptedService::Script script, int status, std::string_view code,
                             base::Duration not_before = {}) {
    service().set_script(std::move(script));
    const Stopwatch watch;
    const RawResponse response = get(gateway(), "/billing/");
    EXPECT_GE(watch.elapsed(), not_before);
    EXPECT_EQ(response.status, status) << response.problem << response.body;
    EXPECT_EQ(code_of(response), code);
    service().release();
    service().hold_again();
    service().set_script(ScriptedService::echo);
    EXPECT_EQ(get(gateway(), "/billing/").status, 200);
  }

  static inline std::unique_ptr<Stage> stage_;
};

TEST_F(SlowPeers, head_that_does_not_end_gets_408) {
  RawClient client(gateway());
  const Stopwatch watch;
  client.send("GET / HTTP/1.1\r\nHost: exam");
  expect_408(client, watch);
}

TEST_F(SlowPeers, head_that_drips_gets_408) {
  const Stopwatch watch;
  RawClient client(net::Endpoint::tcp("127.0.0.1", gateway()), 20ms);
  client.send("GET / HTTP/1.1\r\nX-Slow: ");
  std::string received;
  while (received.empty() && watch.elapsed() < kPatience && client.send("x")) received = client.read(12);
  EXPECT_GE(watch.elapsed(), kTimeout);
  EXPECT_EQ(received, "HTTP/1.1 408");
}

TEST_F(SlowPeers, connection_without_a_byte_is_closed_without_a_word) {
  const Stopwatch watch;
  RawClient client(gateway());
  EXPECT_TRUE(client.is_closed_by_peer());
  EXPECT_GE(watch.elapsed(), kTimeout);
}

TEST_F(SlowPeers, idle_connection_is_closed_without_a_word) {
  RawClient client(gateway());
  const Stopwatch watch;  // the time counts from when the answer was written, and nobody knows when that is read
  client.send(make_request("GET", "/billing/"));
  EXPECT_EQ(client.read_response().status, 200);
  EXPECT_TRUE(client.is_closed_by_peer());
  EXPECT_GE(watch.elapsed(), kIdle);
}

TEST_F(SlowPeers, body_that_stops_gets_408) {
  RawClient client(gateway());
  const Stopwatch watch;
  client.send("POST /billing/ HTTP/1.1\r\nHost: example.test\r\nContent-Length: 10\r\n\r\nhalf");
  expect_408(client, watch);
}

TEST_F(SlowPeers, chunked_body_that_stops_gets_408) {
  RawClient client(gateway());
  const Stopwatch watch;
  client.send("POST /billing/ HTTP/1.1\r\nHost: example.test\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nha");
  expect_408(client, watch);
}

TEST_F(SlowPeers, body_that_drips_gets_408) {
  const Stopwatch watch;
  RawClient client(net::Endpoint::tcp("127.0.0.1", gateway()), 20ms);
  client.send("POST /billing/ HTTP/1.1\r\nHost: example.test\r\nContent-Length: 1000000\r\n\r\n");
  std::string received;
  while (received.empty() && watch.elapsed() < kPatience && client.send("x")) received = client.read(12);
  EXPECT_GE(watch.elapsed(), kTimeout);
  EXPECT_EQ(received, "HTTP/1.1 408");
}

TEST_F(SlowPeers, client_that_does_not_read_is_closed) {
  // More than the kernel's buffers of both ends take for a client that reads nothing.
  service().always_send(make_response("200 OK", {}, std::string(kSidecarBody, 'x')));
  const std::uint64_t closed = closed_for_not_reading();
  RawClient client(gateway());
  std::string requests;
  for (int i = 0; i < 16; ++i) requests += make_request("GET", "/billing/");
  client.send(requests);

  EXPECT_TRUE(eventually("its close", [&] { return closed_for_not_reading() > closed; }));

  EXPECT_LT(client.read_to_close().size(), 16 * kSidecarBody);
  EXPECT_NE(client.problem(), "deadline");
}

TEST_F(SlowPeers, service_that_never_answers_is_504) {
  expect_problem([](const RawRequest&, auto& connection) { connection.hold(); }, 504, "timeout", kTimeout);
}

TEST_F(SlowPeers, service_whose_head_never_ends_is_504) {
  expect_problem(
      [](const RawRequest&, auto& connection) {
        connection.send("HTTP/1.1 200 OK\r\nX-Slow: ");
        connection.hold();
      },
      504, "timeout", kTimeout);
}

TEST_F(SlowPeers, service_that_stops_in_its_answer_is_504) {
  expect_problem(
      [](const RawRequest&, auto& connection) {
        connection.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf");
        connection.hold();
      },
      504, "timeout", kTimeout);
}

TEST_F(SlowPeers, service_whose_head_is_endless_is_502) {
  expect_problem(
      [](const RawRequest&, auto& connection) {
        connection.send("HTTP/1.1 200 OK\r\n");
        for (int i = 0; i < 100; ++i) connection.send("X-Endless: " + std::string(1000, 'x') + "\r\n");
        connection.hold();
      },
      502, "bad-answer");
}

TEST_F(SlowPeers, service_whose_body_is_endless_is_502) {
  expect_problem(
      [](const RawRequest&, auto& connection) {
        connection.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
        for (int i = 0; i < 2000; ++i) connection.send("400\r\n" + std::string(1024, 'x') + "\r\n");
        connection.hold();
      },
      502, "bad-answer");
}

TEST_F(SlowPeers, service_that_sends_only_interim_answers_is_502) {
  expect_problem(
      [](const RawRequest&, auto& connection) {
        for (int i = 0; i < 100; ++i) connection.send("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n");
        connection.hold();
      },
      502, "bad-answer");
}

TEST_F(SlowPeers, service_that_breaks_off_in_its_answer_is_502) {
  expect_problem(
      [](const RawRequest&, auto& connection) {
        connection.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf");
        connection.reset();
      },
      502, "bad-answer");
}

TEST_F(SlowPeers, request_above_the_sidecars_limit_is_413) {
  service().always_send(make_response("200 OK", {}, "fine"));
  EXPECT_EQ(ask(gateway(), make_request("POST", "/billing/", {}, std::string(kSidecarBody, 'x'))).status, 200);
  const RawResponse large = ask(gateway(), make_request("POST", "/billing/", {}, std::string(kSidecarBody + 1, 'x')));
  EXPECT_EQ(large.status, 413);
  EXPECT_EQ(code_of(large), "body-too-large");
}

TEST_F(SlowPeers, crowd_of_slow_heads_does_not_hold_up_others) {
  std::vector<RawClient> crowd;
  for (int i = 0; i < 200; ++i) {
    crowd.emplace_back(gateway());
    crowd.back().send("GET / HTTP/1.1\r\n");
  }
  for (int i = 0; i < 20; ++i) EXPECT_EQ(get(gateway(), "/billing/").status, 200);
  for (RawClient& one : crowd) EXPECT_EQ(one.read_response().status, 408);
}

// ---- Counts and memory

class Crowded : public ::testing::Test {
 protected:
  void SetUp() override { OUTRIGGER_NEEDS_VALKEY(); }
};

TEST_F(Crowded, more_than_the_most_connections_wait_for_those_in_work_and_displace_those_that_are_not) {
  ValkeyServer valkey;
  ScriptedService service;
  Sidecar sidecar(valkey, "billing", service);
  Gateway gateway(valkey, {{"Gateway__Limits__MaxConnections", "4"}});
  ASSERT_TRUE(gateway.wait_for_route("/billing/"));
  service.set_script([](const RawRequest& request, auto& connection) {
    if (request.target == "/held") connection.hold();
    ScriptedService::echo(request, connection);
  });

  std::vector<RawClient> slow;
  for (int i = 0; i < 20; ++i) {
    slow.emplace_back(gateway.port());
    slow.back().send("GET / HTTP/1.1\r\n");
  }
  EXPECT_EQ(gateway.get("/billing/").status, 200);

  std::vector<std::unique_ptr<Asking>> held;
  for (int i = 0; i < 4; ++i) {
    held.push_back(std::make_unique<Asking>(gateway.port(), make_request("GET", "/billing/held")));
    ASSERT_TRUE(eventually("it is in work", [&] { return service.held() == held.size(); }));
  }
  Asking late(gateway.port(), make_request("GET", "/billing/late"));
  EXPECT_FALSE(late.is_answered());
  service.release();

  EXPECT_EQ(late.answer().status, 200);
  for (const auto& one : held) EXPECT_EQ(one->answer().status, 200);
  EXPECT_TRUE(gateway.process().terminate());
  EXPECT_TRUE(sidecar.process().terminate());
}

TEST_F(Crowded, bodies_above_the_buffered_bytes_get_503_and_small_requests_are_served) {
  ValkeyServer valkey;
  ScriptedService service;
  Sidecar sidecar(valkey, "billing", service);
  Gateway gateway(valkey, {{"Gateway__Limits__BufferedBytes", "8MiB"}});
  ASSERT_TRUE(gateway.wait_for_route("/billing/"));
  service.set_script([](const RawRequest& request, auto& connection) {
    if (request.target == "/held") connection.hold();
    connection.send(make_response("200 OK", {}, "done"));
  });
  // In work, so that its body is held.
  Asking held(gateway.port(), make_request("POST", "/billing/held", {}, std::string(5'000'000, 'x')));
  ASSERT_TRUE(eventually("it is in work", [&] { return service.held() == 1; }));

  const std::string large = make_request("POST", "/billing/", {}, std::string(5'000'000, 'x'));
  const RawResponse refused = gateway.ask(large);

  EXPECT_EQ(refused.status, 503);
  EXPECT_EQ(code_of(refused), "queue-full");
  EXPECT_EQ(refused.header("Retry-After"), "1");
  EXPECT_EQ(gateway.ask(make_request("POST", "/billing/", {}, std::string(10'000, 'x'))).status, 200);
  service.release();
  EXPECT_EQ(held.answer().status, 200);
  EXPECT_TRUE(eventually("its memory", [&] { return gateway.ask(large).status == 200; }));
  EXPECT_TRUE(gateway.process().terminate());
  EXPECT_TRUE(sidecar.process().terminate());
}

TEST_F(Crowded, bodies_are_as_large_as_both_ends_allow) {
  ValkeyServer valkey;
  ScriptedService service;
  Sidecar sidecar(valkey, "billing", service, {{"Sidecar__Limits__BodyBytes", "20MiB"}});
  Gateway gateway(valkey, {{"Gateway__Limits__BodyBytes", "20MiB"}});
  ASSERT_TRUE(gateway.wait_for_route("/billing/"));
  const std::string body = make_binary(19 * 1024 * 1024);

  const RawResponse response = gateway.ask(make_request("POST", "/billing/x", {}, body));

  EXPECT_EQ(response.status, 200);
  EXPECT_TRUE(response.body == "POST /x " + body);
  EXPECT_TRUE(gateway.process().terminate());
  EXPECT_TRUE(sidecar.process().terminate());
}

}  // namespace
}  // namespace outrigger::tests
