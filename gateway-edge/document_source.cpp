#include "gateway-edge/document_source.h"

#include <utility>

#include "bridge/app/issuer_keys.h"
#include "bridge/net/helper_thread.h"

namespace outrigger::gateway {
namespace {

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
    return helper_.run([location] { return app::read_document(location); }, std::move(done));
  }

 private:
  net::HelperThread helper_;
};

}  // namespace

std::unique_ptr<DocumentSource> make_http_source(net::EventLoop& loop, app::FetchOptions options) {
  return std::make_unique<HttpSource>(loop, std::move(options));
}

std::unique_ptr<DocumentSource> make_file_source(net::EventLoop& loop) { return std::make_unique<FileSource>(loop); }

}  // namespace outrigger::gateway
