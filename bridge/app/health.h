// The read-only listener for kubelet and Prometheus: /livez, /readyz, the original's /health, /health/live, /health/ready
// and /health/startup, and /metrics. Live means that the loop turns, nothing else; ready is what the checks say.
// Loop thread only.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "bridge/app/listen_address.h"
#include "bridge/base/result.h"
#include "bridge/base/unique_function.h"
#include "bridge/http1/http_server.h"
#include "bridge/net/event_loop.h"
#include "bridge/telemetry/metrics.h"

namespace outrigger::app {

// Where /metrics comes from.
class MetricsSource {
 public:
  // Brings together what a scrape shows, then calls `done` once, in this turn or a later one. Bounded in time by the source.
  // Not called again before that.
  virtual void collect(base::UniqueFunction<void()> done) = 0;
  // Writes what was collected last.
  virtual void write(telemetry::MetricsWriter& out) const = 0;

 protected:
  ~MetricsSource() = default;
};

class Health final : private http1::RequestHandler {
 public:
  // `check` is asked for every request to /readyz: empty = passed, else why not, for the operator who asks ?verbose.
  void add_check(std::string name, base::UniqueFunction<std::string()> check);
  // Outlives the listener. Without one /metrics is 404.
  void set_metrics(MetricsSource& source) { metrics_ = &source; }
  // The configuration is read and every listener is open: /health/startup passes.
  void mark_started() { has_started_ = true; }
  // Unready from now on, whatever the checks say: the process is going.
  void begin_drain() { is_draining_ = true; }
  bool is_ready();

  // Opens the listener. Error refused: the address is taken.
  base::Result<net::Endpoint> listen(net::EventLoop& loop, const ListenAddress& at);

 private:
  class Scrape;
  struct Verdict {
    bool is_passed = true;
    std::string text;  // a line per check
  };
  void on_request(http1::Exchange& exchange) override;
  Verdict check_readiness(std::string_view query);
  void scrape(http1::Exchange& exchange);
  void answer_scrapes();

  struct Check {
    std::string name;
    base::UniqueFunction<std::string()> ask;
  };
  std::vector<Check> checks_;
  MetricsSource* metrics_ = nullptr;
  std::vector<Scrape*> scrapes_;  // that wait for the collection under way
  bool is_collecting_ = false;
  bool has_started_ = false;
  bool is_draining_ = false;
  std::unique_ptr<http1::HttpServer> server_;  // last: its exchanges leave scrapes_
};

}  // namespace outrigger::app
