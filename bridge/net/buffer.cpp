#include "bridge/net/buffer.h"

#include <algorithm>

namespace outrigger::net {
namespace {
constexpr std::size_t kCopyBelow = 1024;
}

Buffer::Buffer() : buffer_(evbuffer_new()) { CHECK(buffer_ != nullptr); }

void Buffer::append(std::string_view bytes) {
  if (!bytes.empty()) CHECK(evbuffer_add(buffer_.get(), bytes.data(), bytes.size()) == 0);
}

void Buffer::append(std::string&& bytes) {
  if (bytes.size() < kCopyBelow) {
    append(std::string_view(bytes));
    return;
  }
  auto* owned = new std::string(std::move(bytes));
  const auto release = [](const void*, std::size_t, void* string) { delete static_cast<std::string*>(string); };
  CHECK(evbuffer_add_reference(buffer_.get(), owned->data(), owned->size(), release, owned) == 0);
}

void Buffer::append(Buffer&& other) { CHECK(evbuffer_add_buffer(buffer_.get(), other.buffer_.get()) == 0); }

void Buffer::drain(std::size_t count) { CHECK(count <= size() && evbuffer_drain(buffer_.get(), count) == 0); }

std::string Buffer::take(std::size_t limit) {
  std::string out(std::min(limit, size()), '\0');
  CHECK(evbuffer_remove(buffer_.get(), out.data(), out.size()) == static_cast<int>(out.size()));
  return out;
}

std::ptrdiff_t Buffer::write_to(int fd) { return evbuffer_write(buffer_.get(), fd); }

}  // namespace outrigger::net
