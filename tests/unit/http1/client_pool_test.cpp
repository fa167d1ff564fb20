#include "bridge/http1/client_pool.h"

#include <gtest/gtest.h>

#include <optional>

#include "tests/support/fake_service.h"
#include "tests/support/real_loop.h"

namespace outrigger::http1 {
namespace {

using base::Code;
using tests::FakeService;
using tests::RawService;
using tests::RealLoop;
using namespace std::chrono_literals;

// What one call was told.
class Recorder final : public ClientHandler {
 public:
  void on_response_head(ResponseHead response, bool end) override {
    EXPECT_FALSE(head.has_value());
    head = std::move(response);
    head_was_end = end;
    if (drops_at_head) call->cancel();
  }
  void on_response_body(std::string_view bytes) override { body.append(bytes); }
  void on_response_end() override {
    EXPECT_FALSE(is_over());
    has_ended = true;
  }
  void on_failed(const ClientFailure& why) override {
    EXPECT_FALSE(is_over());
    failure = why;
  }
  bool is_over() const { return has_ended || failure.has_value(); }

  std::optional<ResponseHead> head;
  bool head_was_end = false;
  std::string body;
  bool has_ended = false;
  std::optional<ClientFailure> failure;
  ClientCall* call = nullptr;
  bool drops_at_head = false;
};

ClientRequest get(std::string target, bool repeatable = true) {
  ClientRequest request;
  request.method = "GET";
  request.target = std::move(target);
  request.headers.add("Host", "service.test");
  request.repeatable = repeatable;
  return request;
}

class ClientPoolTest : public ::testing::Test {
 protected:
  base::TimePoint in(base::Duration time) { return real.loop.now() + time; }
  // Sends and waits for the end.
  Recorder ask(ClientPool& pool, ClientRequest request) {
    Recorder recorder;
    ClientCall call = pool.request(std::move(request), in(10s), recorder);
    EXPECT_TRUE(real.run_until("the answer", [&] { return recorder.is_over(); }));
    return recorder;
  }

  RealLoop real;
};

TEST_F(ClientPoolTest, requests_one_after_another_use_one_connection) {
  FakeService service(real.loop);
  ClientPool pool(real.loop, service.endpoint());

  const Recorder first = ask(pool, get("/one"));
  const Recorder second = ask(pool, get("/two"));

  EXPECT_EQ(first.body, "GET /one ");
  EXPECT_EQ(second.body, "GET /two ");
  EXPECT_EQ(second.head->status, 200);
  EXPECT_EQ(service.server().accepted_total(), 1u);
  EXPECT_EQ(pool.idle_count(), 1u);
}

}  // namespace
}  // namespace outrigger::http1
