// A pair of transports in memory with byte-exact control: what one end writes waits in a pipe until the test delivers it.
#pragma once

#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "bridge/net/transport.h"

namespace outrigger::tests {

// The test's end of a connection. The other end is a Transport for the code under test; both may die in any order.
class MemoryPeer {
 public:
  explicit MemoryPeer(net::EventLoop& loop) : state_(std::make_shared<State>(loop)) {}

  // The end for the code under test; once.
  std::unique_ptr<net::Transport> make_transport() { return std::make_unique<Side>(state_); }

  // Bytes, end-of-stream or a reset towards the code under test; it is told in the loop's next turn.
  void send(std::string_view bytes) {
    state_->inbound.emplace_back(bytes);
    state_->wake();
  }
  void send_end() {
    state_->inbound_ended = true;
    state_->wake();
  }
  void reset() {
    state_->inbound_error = 104;  // ECONNRESET
    state_->wake();
  }
  // Everything the code under test has written so far, taken.
  std::string take_received() { return std::exchange(state_->outbound, {}); }
  const std::string& received() const { return state_->outbound; }
  bool saw_end() const { return state_->outbound_ended; }
  bool is_closed() const { return state_->is_closed; }
  // How many bytes the code under test may still write before it has to wait; nothing = no limit.
  void set_write_room(std::optional<std::size_t> room) {
    state_->write_room = room;
    state_->wake();
  }

 private:
  struct State : std::enable_shared_from_this<State> {
    explicit State(net::EventLoop& l) : loop(l) {}
    net::EventLoop& loop;
    std::deque<std::string> inbound;
    std::string outbound;
    bool inbound_ended = false;
    int inbound_error = 0;
    bool outbound_ended = false;
    bool is_closed = false;
    std::optional<std::size_t> write_room;
    net::TransportListener* listener = nullptr;
    bool wants_read = false;
    bool wants_write = false;
    bool is_waking = false;

    void wake() {
      if (is_waking || is_closed) return;
      is_waking = true;
      loop.defer([self = shared_from_this()] {
        self->is_waking = false;
        if (self->is_readable()) self->listener->on_readable();
        if (self->is_writable()) self->listener->on_writable();
        if (self->is_readable() || self->is_writable()) self->wake();
      });
    }
    bool is_readable() const {
      return !is_closed && listener != nullptr && wants_read &&
             (!inbound.empty() || inbound_ended || inbound_error != 0);
    }
    bool is_writable() const {
      return !is_closed && listener != nullptr && wants_write && (!write_room || *write_room > 0);
    }
  };

  class Side final : public net::Transport {
   public:
    explicit Side(std::shared_ptr<State> state) : state_(std::move(state)) {}
    ~Side() override { close(); }
    void start(net::TransportListener& listener) override { state_->listener = &listener; }
    void watch_readable(bool wanted) override {
      state_->wants_read = wanted;
      state_->wake();
    }
    void watch_writable(bool wanted) override {
      state_->wants_write = wanted;
      state_->wake();
    }
    net::IoResult read(char* to, std::size_t room) override {
      using Kind = net::IoResult::Kind;
      if (!state_->inbound.empty()) {
        // One piece per read: the test decides the cuts.
        std::string& piece = state_->inbound.front();
        const std::size_t count = piece.copy(to, room);
        piece.erase(0, count);
        if (piece.empty()) state_->inbound.pop_front();
        return {Kind::bytes, count};
      }
      if (state_->inbound_error != 0) return {Kind::error, 0, state_->inbound_error};
      return {state_->inbound_ended ? Kind::end : Kind::would_block};
    }
    net::IoResult write(net::Buffer& from) override {
      using Kind = net::IoResult::Kind;
      if (state_->inbound_error != 0) return {Kind::error, 0, state_->inbound_error};
      std::size_t room = from.size();
      if (state_->write_room) {
        room = std::min(room, *state_->write_room);
        *state_->write_room -= room;
      }
      if (room == 0) return {Kind::would_block};
      state_->outbound += from.take(room);
      return {Kind::bytes, room};
    }
    void shutdown_write() override { state_->outbound_ended = true; }
    void close() override {
      state_->is_closed = true;
      state_->outbound_ended = true;
      state_->listener = nullptr;
    }

   private:
    std::shared_ptr<State> state_;
  };

  std::shared_ptr<State> state_;
};

}  // namespace outrigger::tests
