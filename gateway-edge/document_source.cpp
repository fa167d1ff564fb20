#include "gateway-edge/document_source.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "bridge/net/helper_thread.h"

namespace outrigger::gateway {
namespace {

using base::Code;
using base::Error;
using base::Result;

class HttpSource final : public DocumentSource {
 public:
  HttpSource(net::EventLoop& loop, app::FetchOptions options) : fetcher_(std::move(options)), helper_(loop) {}
  ~HttpSource() override { fetcher_.stop(); }

  net::Pending get(const std::string& location, base::UniqueFunction<void(Result<app::Fetched>)> done) override {
    return helper_.run([this, location] { return fetcher_.fetch(location); }, std::move(done));
  }

 private:
  app::HttpFetcher fetcher_;
  net::HelperThread helper_;  // last: it uses what is above until it has ended
};

class FileSource final : public DocumentSource {
 public:
  explicit FileSource(net::EventLoop& loop) : helper_(loop) {}

  net::Pending get(const std::string& location, base::UniqueFunction<void(Result<app::Fetched>)> done) override {
    return helper_.run([location] { return read_document(location); }, std::move(done));
  }

 private:
  net::HelperThread helper_;
};

// Closes what it holds.
struct Descriptor {
  int fd;
  ~Descriptor() {
    if (fd >= 0) ::close(fd);
  }
};

}  // namespace

std::unique_ptr<DocumentSource> make_http_source(net::EventLoop& loop, app::FetchOptions options) {
  return std::make_unique<HttpSource>(loop, std::move(options));
}

std::unique_ptr<DocumentSource> make_file_source(net::EventLoop& loop) { return std::make_unique<FileSource>(loop); }

Result<app::Fetched> read_document(const std::string& path) {
  const auto invalid = [&path](const std::string& why) {
    return Error{Code::invalid, "the file '" + path + "' " + why};
  };
  constexpr std::size_t kMostBytes = app::FetchOptions{}.max_bytes;
  // Without O_NONBLOCK a named pipe would wait for its writer.
  const Descriptor file{::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)};
  if (file.fd < 0) return invalid(std::string("cannot be opened: ") + std::strerror(errno));
  struct stat status {};
  if (::fstat(file.fd, &status) != 0 || !S_ISREG(status.st_mode)) return invalid("is not a regular file");
  app::Fetched document{.status = 200, .body = std::string(kMostBytes + 1, '\0'), .max_age = {}};
  std::size_t size = 0;
  while (size < document.body.size()) {
    const ssize_t count = ::read(file.fd, document.body.data() + size, document.body.size() - size);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return invalid(std::string("cannot be read: ") + std::strerror(errno));
    if (count == 0) break;
    size += static_cast<std::size_t>(count);
  }
  if (size > kMostBytes) return invalid("is larger than " + std::to_string(kMostBytes) + " bytes");
  document.body.resize(size);
  document.body.shrink_to_fit();
  return document;
}

}  // namespace outrigger::gateway
