// A forwarder between a program and its server (Valkey, or a service), in a thread of its own, with switches that are
// turned while bytes flow: what a network, a firewall or a dying host does to a connection. It knows no protocol.
#pragma once

#include <cstdint>
#include <deque>
#include <list>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <thread>

#include "bridge/base/clock.h"
#include "bridge/net/endpoint.h"
#include "tests/support/reserved_port.h"

namespace outrigger::tests {

class FaultProxy {
 public:
  enum class Way : std::uint8_t { to_server, to_client };

  // Forwards to `server` from a free port of 127.0.0.1, or from a unix socket at `unix_path`.
  explicit FaultProxy(net::Endpoint server, std::string unix_path = {});
  ~FaultProxy();
  FaultProxy(const FaultProxy&) = delete;
  FaultProxy& operator=(const FaultProxy&) = delete;

  const net::Endpoint& endpoint() const { return endpoint_; }
  // What --valkey accepts.
  std::string valkey_url() const;

  // --- switches: from any thread; once they return, no byte is treated by the old setting ---------------------------

  // Nobody listens, as if the host were up and the program not. Present connections stay.
  void set_refusing(bool is_refusing);
  // New connections are accepted and lead nowhere, for good. Present ones stay.
  void set_hanging(bool is_hanging);
  // Each way, of every byte read from now on: a round trip takes twice as long.
  void set_delay(base::Duration delay);
  // Nothing passes this way on any connection, present or new, until it is switched off; then what waited goes on: a
  // cable that is pulled and plugged in again. Ends of connections wait, too.
  void set_stalled(Way way, bool is_stalled);
  // Present connections lose everything of this way for good, their end included: half-open TCP, as after a firewall
  // forgot them. Neither side is told. New connections are not concerned.
  void swallow(Way way);
  // The connection by which the first bytes beyond `count`, counted from now on over all, would pass is reset instead.
  void cut_after(Way way, std::uint64_t count);
  // The first connection that is to carry `text` this way stalls before it, this way only, until release(). `text` is
  // seen only where one read brings all of it: choose what is written in one piece.
  void stall_at(Way way, std::string text);
  bool is_caught() const;  // stall_at() has found its text
  void release();
  // Resets every connection.
  void reset_all();

  std::size_t accepted() const;     // connections ever
  std::size_t connections() const;  // that the proxy has now
  std::uint64_t passed(Way way) const;

 private:
  struct Chunk {
    base::TimePoint due;
    std::string bytes;
  };
  struct Pipe {
    std::deque<Chunk> chunks;
    std::size_t buffered = 0;
    bool has_ended = false;     // the reading side said so
    bool end_is_told = false;   // and the other side knows
    bool is_swallowed = false;
    bool is_caught = false;
  };
  struct Connection {
    int client = -1;
    int server = -1;  // -1: leads nowhere
    Pipe pipes[2];
    bool is_over = false;
  };

  void open();
  void run();
  void accept_one();
  void read_from(Connection& connection, Way way);
  void write_to(Connection& connection, Way way, base::TimePoint now);
  void end(Connection& connection, bool by_reset);
  bool is_flowing(const Pipe& pipe, Way way) const { return !is_stalled_[index(way)] && !pipe.is_caught; }
  static std::size_t index(Way way) { return static_cast<std::size_t>(way); }
  static int source(const Connection& connection, Way way);
  static int sink(const Connection& connection, Way way);
  void wake();

  const net::Endpoint server_;
  std::optional<ReservedPort> port_;  // none: a unix socket
  net::Endpoint endpoint_;
  int wake_ = -1;
  mutable std::mutex mutex_;  // guards everything below
  int listening_ = -1;
  bool is_stopping_ = false;
  bool is_hanging_ = false;
  bool is_stalled_[2] = {false, false};
  base::Duration delay_{};
  std::uint64_t allowance_[2] = {kUnlimited, kUnlimited};
  std::string caught_text_[2];
  bool has_caught_ = false;
  std::size_t accepted_ = 0;
  std::uint64_t passed_[2] = {0, 0};
  std::list<Connection> connections_;
  std::thread thread_;

  static constexpr std::uint64_t kUnlimited = ~std::uint64_t{0};
};

}  // namespace outrigger::tests
