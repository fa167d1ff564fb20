// HTTP services for tests. FakeService is built on our own server and answers by a function; RawService speaks exact
// bytes, since our own code cannot be trusted to produce bad framing.
#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "bridge/http1/http_server.h"
#include "bridge/net/connection.h"
#include "bridge/net/listener.h"

namespace outrigger::tests {

// On a free loopback port, or at `at`. Collects each request with its body, then asks `answer`, which may answer at once or keep
// the exchange's address and answer later (until `aborted` says otherwise).
class FakeService final : public http1::RequestHandler {
 public:
  struct Seen {
    http1::RequestHead head;
    std::string body;
    http1::Exchange* exchange = nullptr;
    bool is_aborted = false;
  };
  using Answer = std::function<void(FakeService&, Seen&)>;

  explicit FakeService(net::EventLoop& loop, Answer answer = {}, http1::HttpServerOptions options = {},
                       const net::Endpoint& at = net::Endpoint::tcp("127.0.0.1", 0))
      : answer_(std::move(answer)) {
    auto opened = http1::HttpServer::open(loop, at, std::move(options), *this);
    EXPECT_TRUE(opened.has_value());
    if (opened) server_ = std::move(opened).value();
  }

  http1::HttpServer& server() { return *server_; }
  const net::Endpoint& endpoint() const { return server_->endpoint(); }
  const std::vector<std::unique_ptr<Seen>>& seen() const { return seen_; }

  // A plain answer.
  static void reply(Seen& seen, int status, std::string body) {
    http1::ResponseHead head;
    head.status = status;
    head.headers.add("Content-Type", "text/plain");
    seen.exchange->send(head, std::move(body));
  }

 private:
  class Collector final : public http1::ExchangeHandler {
   public:
    Collector(FakeService& service, Seen& seen) : service_(service), seen_(seen) {}
    void on_body(std::string_view bytes) override { seen_.body.append(bytes); }
    void on_request_end() override {
      if (service_.answer_) {
        service_.answer_(service_, seen_);
      } else {
        reply(seen_, 200, seen_.head.method + " " + seen_.head.target + " " + seen_.body);
      }
    }
    void on_aborted(const base::Error&) override { seen_.is_aborted = true; }

   private:
    FakeService& service_;
    Seen& seen_;
  };

  void on_request(http1::Exchange& exchange) override {
    seen_.push_back(std::make_unique<Seen>());
    Seen& seen = *seen_.back();
    seen.head = exchange.request();
    seen.exchange = &exchange;
    exchange.set_handler(std::make_unique<Collector>(*this, seen));
    exchange.accept_body();
  }

  Answer answer_;
  std::vector<std::unique_ptr<Seen>> seen_;
  std::unique_ptr<http1::HttpServer> server_;
};

// On a free loopback port. Keeps what each connection receives and sends what the test says.
class RawService {
 public:
  class Peer final : private net::ConnectionHandler {
   public:
    Peer(net::EventLoop& loop, std::unique_ptr<net::Transport> transport, std::string greeting)
        : connection(loop, std::move(transport), *this), reply(std::move(greeting)) {}
    std::string received;
    bool is_closed = false;
    bool has_ended = false;
    net::Connection connection;
    std::string reply;  // sent once, when a whole head has come
    bool closes_after_reply = false;

   private:
    void on_data(std::string_view bytes) override {
      received.append(bytes);
      if (reply.empty() || received.find("\r\n\r\n") == std::string::npos) return;
      connection.write(std::exchange(reply, {}));
      if (closes_after_reply) connection.close_when_flushed();
    }
    void on_end() override { has_ended = true; }
    void on_closed(const base::Error&) override { is_closed = true; }
  };

  // Every connection answers its first request with `reply`; empty: stays silent.
  explicit RawService(net::EventLoop& loop, std::string reply = {}, bool closes_after_reply = false) {
    auto opened = net::Listener::open(loop, net::Endpoint::tcp("127.0.0.1", 0), {}, [=, this, &loop](net::Accepted a) {
      peers.push_back(std::make_unique<Peer>(loop, std::move(a.transport), reply));
      peers.back()->closes_after_reply = closes_after_reply;
    });
    EXPECT_TRUE(opened.has_value());
    if (opened) listener = std::move(opened).value();
  }

  const net::Endpoint& endpoint() const { return listener->endpoint(); }
  std::unique_ptr<net::Listener> listener;
  std::vector<std::unique_ptr<Peer>> peers;
};

}  // namespace outrigger::tests
