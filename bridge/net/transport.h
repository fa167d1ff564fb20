// Transport: the seam between a Connection and what carries its bytes: a socket, later TLS, or a pair in memory for
// tests (tests/support/memory_transport.h).
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#include "bridge/net/buffer.h"
#include "bridge/net/event_loop.h"

namespace outrigger::net {

struct IoResult {
  enum class Kind : std::uint8_t { bytes, would_block, end, error };
  Kind kind;
  std::size_t count = 0;  // with bytes
  int error_number = 0;   // with error
};

class TransportListener {
 public:
  virtual void on_readable() = 0;
  virtual void on_writable() = 0;

 protected:
  ~TransportListener() = default;
};

class Transport {
 public:
  virtual ~Transport() = default;
  // Calls are made from the loop, never from inside the functions below. The listener outlives the transport or close().
  virtual void start(TransportListener& listener) = 0;
  virtual void watch_readable(bool wanted) = 0;
  virtual void watch_writable(bool wanted) = 0;
  virtual IoResult read(char* to, std::size_t room) = 0;
  // Takes what it can off the front of `from`.
  virtual IoResult write(Buffer& from) = 0;
  // Sends end-of-stream after what was written. Idempotent.
  virtual void shutdown_write() = 0;
  // Detaches from the loop at once and closes. Idempotent; no call after it.
  virtual void close() = 0;
  // Likewise, and what the kernel still holds for the peer is thrown away: it may be asked to keep it for minutes.
  virtual void reset() { close(); }
};

// Takes over a connected, non-blocking socket.
std::unique_ptr<Transport> make_socket_transport(EventLoop& loop, int fd);

}  // namespace outrigger::net
