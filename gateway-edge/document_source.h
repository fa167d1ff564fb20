// DocumentSource: how KeyKeeper gets at key sets and discovery documents, without waiting on its loop. Behind an interface,
// so that a test may play an issuer on the fake clock.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "bridge/app/http_fetcher.h"
#include "bridge/base/result.h"
#include "bridge/base/unique_function.h"
#include "bridge/net/event_loop.h"
#include "bridge/net/pending.h"

namespace outrigger::gateway {

class DocumentSource {
 public:
  virtual ~DocumentSource() = default;
  // Gets what is at `location`. `done` hears once, in a later turn, unless the handle is destroyed before. Bounded in time
  // by the source.
  virtual net::Pending get(const std::string& location, base::UniqueFunction<void(base::Result<app::Fetched>)> done) = 0;
};

// Of http and https URLs. Has a thread of its own: an issuer that does not answer holds up no other one. Its end stops a
// fetch under way and does not wait for the issuer.
std::unique_ptr<DocumentSource> make_http_source(net::EventLoop& loop, app::FetchOptions options);
// Of files, by path: as app::read_document(). A thread of its own here, too: a disk may be far away.
std::unique_ptr<DocumentSource> make_file_source(net::EventLoop& loop);

}  // namespace outrigger::gateway
