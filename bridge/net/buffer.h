// Buffer: bytes on their way out, as a chain of pieces; appending a large string or another buffer copies nothing.
// Move-only, loop thread.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "bridge/net/libevent_ptr.h"

namespace outrigger::net {

class Buffer {
 public:
  Buffer();

  std::size_t size() const { return evbuffer_get_length(buffer_.get()); }
  bool empty() const { return size() == 0; }
  void append(std::string_view bytes);
  // Takes the string over; below 1 KiB it is copied, since a piece of its own costs more than the copy.
  void append(std::string&& bytes);
  void append(const char* bytes) { append(std::string_view(bytes)); }
  // Moves all of `other` to the end of this one.
  void append(Buffer&& other);
  // Drops `count` <= size() bytes from the front.
  void drain(std::size_t count);
  void clear() { drain(size()); }
  // Removes and returns up to `limit` bytes from the front.
  std::string take(std::size_t limit);

  // Writes from the front to a socket and drains what was written: the count, or -1 with errno.
  std::ptrdiff_t write_to(int fd);

 private:
  EvbufferPtr buffer_;
};

}  // namespace outrigger::net
