// Connection: one byte stream on a loop. Reads are handed up as they come and never stored; writes are gathered and
// written once per turn. Close is an event, destruction is memory: after close() or on_closed() nothing is called any
// more, and the owner gives the object to EventLoop::release().
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>

#include "bridge/base/result.h"
#include "bridge/net/buffer.h"
#include "bridge/net/event_loop.h"
#include "bridge/net/timer.h"
#include "bridge/net/transport.h"

namespace outrigger::net {

// What a connection tells its owner. Called from the loop or from the end-of-turn flush, never from inside a call the
// owner makes. Every call may close or release the connection.
class ConnectionHandler {
 public:
  // Bytes from the peer, valid for this call only; the handler takes all of them. Not called while paused.
  virtual void on_data(std::string_view bytes) = 0;
  // The peer will send nothing more; writing is still possible. At most once.
  virtual void on_end() = 0;
  // Terminal, at most once, and not after the owner's own close(): the peer or the network ended the connection, or
  // close_when_flushed() is done (then `why.code` is Code::closed).
  virtual void on_closed(const base::Error& why) = 0;
  // The unsent bytes went above the high mark (true), later fell below half of it (false).
  virtual void on_write_pressure(bool /*is_above*/) {}
  // Everything written so far is with the kernel. Called in the turn in which that became so, also while finishing.
  virtual void on_flushed() {}

 protected:
  ~ConnectionHandler() = default;
};

class Connection final : private TransportListener, private Flushable {
 public:
  static constexpr std::size_t kHighMark = 1024 * 1024;
  // How long an orderly close waits for the peer to see our last bytes before the socket goes (RFC 9112 section 9.6).
  static constexpr base::Duration kLinger = std::chrono::seconds(2);
  static constexpr base::Duration kFlushPatience = std::chrono::seconds(30);

  // Takes over a connected transport and starts reading. The handler outlives the connection or its close.
  Connection(EventLoop& loop, std::unique_ptr<Transport> transport, ConnectionHandler& handler);
  ~Connection();
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  // Queues bytes for the peer; written at the end of the turn. Dropped silently once closed (on_closed has told).
  void write(std::string_view bytes);
  void write(std::string&& bytes);
  void write(const char* bytes) { write(std::string_view(bytes)); }
  void write(Buffer&& bytes);
  // Once closed: the bytes that were lost by that.
  std::size_t unsent_bytes() const { return state_ == State::closed ? lost_bytes_ : out_.size(); }

  // A count, since several parties may hold the pause; every pause is matched by one resume.
  void pause_reading();
  void resume_reading();
  bool is_reading() const { return pauses_ == 0; }

  // Ends at once; unsent bytes are lost. Idempotent, legal anywhere, tells nobody.
  void close();
  // Likewise, for a peer that does not read: what was written is lost even if the kernel has it.
  void reset();
  // Writes what is queued, for as long as the peer takes any of it within kFlushPatience, sends end-of-stream, discards
  // what still comes until the peer closes (at most kLinger), then on_closed. No on_data or on_end from now on.
  void close_when_flushed();
  // Sends end-of-stream after what is queued; reading goes on.
  void shutdown_write();
  bool is_closed() const { return state_ == State::closed; }

 private:
  enum class State : std::uint8_t { open, finishing, lingering, closed };

  void on_readable() override;
  void on_writable() override;
  void flush() override;
  void schedule_flush();
  void update_read_interest();
  void fail(base::Error why);
  void discard_input();
  void on_linger_due();

  EventLoop& loop_;
  std::unique_ptr<Transport> transport_;
  ConnectionHandler& handler_;
  Buffer out_;
  Timer linger_timer_;
  std::size_t unsent_at_check_ = 0;  // while finishing
  std::size_t lost_bytes_ = 0;
  State state_ = State::open;
  unsigned pauses_ = 0;
  bool has_ended_ = false;        // the peer sent end-of-stream
  bool is_above_mark_ = false;
  bool waits_writable_ = false;
  bool shuts_when_flushed_ = false;
};

}  // namespace outrigger::net
