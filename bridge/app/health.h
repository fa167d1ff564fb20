// The read-only health listener: /livez, /readyz and the original's /health, /health/live, /health/ready,
// /health/startup. Live means that the loop turns, nothing else; ready is what the checks say. Loop thread only.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "bridge/app/listen_address.h"
#include "bridge/base/result.h"
#include "bridge/base/unique_function.h"
#include "bridge/http1/http_server.h"
#include "bridge/net/event_loop.h"

namespace outrigger::app {

class Health final : private http1::RequestHandler {
 public:
  // `check` is asked for every request to /readyz: empty = passed, else why not, for the operator who asks ?verbose.
  void add_check(std::string name, base::UniqueFunction<std::string()> check);
  // Unready from now on, whatever the checks say: the process is going.
  void begin_drain() { is_draining_ = true; }
  bool is_ready();

  // Opens the listener. Error refused: the address is taken.
  base::Result<net::Endpoint> listen(net::EventLoop& loop, const ListenAddress& at);

 private:
  void on_request(http1::Exchange& exchange) override;

  struct Check {
    std::string name;
    base::UniqueFunction<std::string()> ask;
  };
  std::vector<Check> checks_;
  std::unique_ptr<http1::HttpServer> server_;
  bool is_draining_ = false;
};

}  // namespace outrigger::app
