// A client of exact bytes on a real socket: sends what it is given, keeps what comes.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <string_view>

#include "bridge/net/connection.h"
#include "bridge/net/connector.h"

namespace outrigger::tests {

class LoopClient final : private net::ConnectionHandler {
 public:
  // Bytes sent before the connection stands are sent when it does.
  LoopClient(net::EventLoop& loop, const net::Endpoint& to)
      : loop_(loop), pending_(net::connect(loop, to, loop.now() + std::chrono::seconds(10), [this](auto result) {
          if (!result) {
            is_closed = true;
            return;
          }
          connection_.reset(new net::Connection(loop_, std::move(result).value(), *this));
          connection_->write(unsent_);
        })) {}

  void send(std::string_view bytes) {
    if (connection_ == nullptr) {
      unsent_.append(bytes);
    } else {
      connection_->write(bytes);
    }
  }
  void send_end() { connection_->shutdown_write(); }
  void close() {
    if (connection_ != nullptr) connection_->close();
  }
  bool is_connected() const { return connection_ != nullptr; }
  std::string take_received() { return std::exchange(received, {}); }

  std::string received;
  bool has_ended = false;  // the peer sent end-of-stream
  bool is_closed = false;  // by the peer or the network

 private:
  void on_data(std::string_view bytes) override { received.append(bytes); }
  void on_end() override { has_ended = true; }
  void on_closed(const base::Error&) override { is_closed = true; }

  net::EventLoop& loop_;
  std::string unsent_;
  std::unique_ptr<net::Connection> connection_;
  net::Pending pending_;
};

}  // namespace outrigger::tests
