#include "tests/support/scripted_service.h"

#include "tests/support/eventually.h"
#include "tests/support/raw_client.h"

namespace outrigger::tests {
namespace {

TEST(ScriptedService, records_what_it_received_and_sends_what_it_was_told) {
  ScriptedService service;
  service.always_send("anything\n");
  RawClient client(service.port());
  const std::string head = "POST /a%20b HTTP/1.1\r\nX-A:  1 \r\nx-a: 2\r\nContent-Length: 3\r\n\r\n";

  client.send_in_pieces(head + std::string("a\0b", 3), 9);

  EXPECT_EQ(client.read_until("\n"), "anything\n");
  ASSERT_EQ(service.request_count(), 1u);
  const RawRequest request = service.last_request();
  EXPECT_EQ(request.head, head);
  EXPECT_EQ(request.method, "POST");
  EXPECT_EQ(request.target, "/a%20b");
  EXPECT_EQ(request.field("X-A"), "1, 2");
  EXPECT_EQ(request.body, std::string("a\0b", 3));
}

TEST(ScriptedService, takes_chunked_and_pipelined_requests) {
  ScriptedService service;
  RawClient client(service.port());
  client.send(
      "PUT /1 HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\nHEAD /2 HTTP/1.1\r\n\r\n");
  EXPECT_EQ(client.read_response().body, "PUT /1 abc");
  const RawResponse of_head = client.read_response(true);
  EXPECT_EQ(of_head.header("Content-Length"), "8");
}

TEST(ScriptedService, holds_until_released) {
  ScriptedService service([](const RawRequest& request, ScriptedService::Connection& connection) {
    connection.hold();
    ScriptedService::echo(request, connection);
    connection.close();
  });
  RawClient client(service.port());
  client.send("GET /held HTTP/1.1\r\n\r\n");
  ASSERT_TRUE(eventually("the request to be held", [&] { return service.held() == 1; }));
  service.release();
  EXPECT_EQ(client.read_response().body, "GET /held ");
  EXPECT_TRUE(client.is_closed_by_peer());
}

TEST(ScriptedService, refuses_and_listens_again_at_the_same_port) {
  ScriptedService service([](const RawRequest&, ScriptedService::Connection& connection) { connection.reset(); });
  RawClient before(service.port());
  before.send("GET / HTTP/1.1\r\n\r\n");
  EXPECT_TRUE(before.is_closed_by_peer());
  RawClient idle(service.port());
  service.refuse();
  EXPECT_TRUE(idle.is_closed_by_peer());
  EXPECT_FALSE(RawClient(service.port()).problem().empty());
  service.listen();
  EXPECT_TRUE(RawClient(service.port()).problem().empty());
}

TEST(ScriptedService, does_not_record_what_a_sidecar_asks_by_itself) {
  ScriptedService service;
  const std::string question = "GET /openapi.json HTTP/1.1\r\nUser-Agent: outrigger-sidecar\r\n\r\n";
  RawClient client(service.port());
  client.send(question);
  EXPECT_EQ(client.read_response().status, 404);
  service.set_document("{}");
  client.send(question);
  EXPECT_EQ(client.read_response().body, "{}");
  EXPECT_EQ(service.request_count(), 0u);
}

}  // namespace
}  // namespace outrigger::tests
