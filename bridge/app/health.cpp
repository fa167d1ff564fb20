#include "bridge/app/health.h"

#include <algorithm>
#include <utility>

#include "bridge/app/process.h"

namespace outrigger::app {
namespace {

// Calls `use(name, value)` for each parameter of a query. Nothing we take has a character that needs percent-encoding.
template <class Use>
void each_parameter(std::string_view query, Use use) {
  while (!query.empty()) {
    const std::size_t end = query.find('&');
    const std::string_view one = query.substr(0, end);
    query.remove_prefix(end == std::string_view::npos ? query.size() : end + 1);
    const std::size_t equals = one.find('=');
    use(one.substr(0, equals), equals == std::string_view::npos ? std::string_view() : one.substr(equals + 1));
  }
}

bool is_verbose(std::string_view query) {
  bool found = false;
  each_parameter(query, [&](std::string_view name, std::string_view) { found = found || name == "verbose"; });
  return found;
}

http1::ResponseHead plain_head(int status) {
  http1::ResponseHead head;
  head.status = status;
  head.headers.add("Content-Type", "text/plain; charset=utf-8");
  head.headers.add("Cache-Control", "no-store");
  head.headers.add("X-Content-Type-Options", "nosniff");
  return head;
}

}  // namespace

// A question for /metrics until the numbers are there: answered or aborted, and then no longer in scrapes_. It may be
// destroyed after its Health.
class Health::Scrape final : public http1::ExchangeHandler {
 public:
  Scrape(Health& health, http1::Exchange& exchange) : health_(health), exchange_(exchange) {
    health_.scrapes_.push_back(this);
  }

  void answer(const MetricsSource& source) {
    const auto format = telemetry::choose_format(exchange_.request().headers.find("Accept").value_or(""));
    telemetry::MetricsWriter writer(format);
    source.write(writer);
    http1::ResponseHead head;
    head.headers.add("Content-Type", telemetry::content_type(format));
    head.headers.add("Cache-Control", "no-store");
    exchange_.send(head, std::move(writer).finish());
  }

 private:
  void on_aborted(const base::Error&) override { std::erase(health_.scrapes_, this); }

  Health& health_;
  http1::Exchange& exchange_;
};

void Health::add_check(std::string name, base::UniqueFunction<std::string()> check) {
  checks_.push_back({std::move(name), std::move(check)});
}

bool Health::is_ready() { return check_readiness({}).is_passed; }

Health::Verdict Health::check_readiness(std::string_view query) {
  std::vector<std::string_view> excluded;
  each_parameter(query, [&](std::string_view name, std::string_view value) {
    if (name == "exclude") excluded.push_back(value);
  });
  Verdict verdict;
  const auto add = [&](std::string_view name, std::string_view problem) {
    if (std::erase(excluded, name) > 0) {
      verdict.text.append("[+]").append(name).append(" excluded: ok\n");
    } else if (problem.empty()) {
      verdict.text.append("[+]").append(name).append(" ok\n");
    } else {
      verdict.is_passed = false;
      verdict.text.append("[-]").append(name).append(" failed: ").append(problem).append("\n");
    }
  };
  add("serving", is_draining_ ? "draining" : has_started_ ? "" : "starting");
  for (Check& check : checks_) add(check.name, check.ask());
  if (!excluded.empty()) verdict.text += "warn: some checks cannot be excluded: no such name\n";
  return verdict;
}

base::Result<net::Endpoint> Health::listen(net::EventLoop& loop, const ListenAddress& at) {
  auto server = http1::HttpServer::open(loop, to_endpoint(at), {}, *this);
  if (!server) return server.error();
  server_ = std::move(*server);
  return server_->endpoint();
}

void Health::on_request(http1::Exchange& exchange) {
  const http1::RequestHead& request = exchange.request();
  const std::string_view target = request.target;
  const std::string_view path = target.substr(0, target.find('?'));
  const std::string_view query = path.size() < target.size() ? target.substr(path.size() + 1) : std::string_view();
  if (request.method != "GET" && request.method != "HEAD") {
    http1::ResponseHead head = plain_head(405);
    head.headers.add("Allow", "GET, HEAD");
    exchange.send(head, "only GET and HEAD\n");
    return;
  }
  const auto answer = [&](std::string_view name, const Verdict& verdict) {
    std::string text = verdict.is_passed ? "ok\n" : "not " + std::string(name) + "\n";
    if (is_verbose(query)) text = verdict.text + std::string(name) + " check " + (verdict.is_passed ? "passed\n" : "failed\n");
    exchange.send(plain_head(verdict.is_passed ? 200 : 503), std::move(text));
  };
  if (path == "/livez" || path == "/health/live" || path == "/healthz") return answer("live", {true, "[+]loop ok\n"});
  if (path == "/readyz" || path == "/health" || path == "/health/ready") return answer("ready", check_readiness(query));
  if (path == "/health/startup") {
    return answer("started", {has_started_, has_started_ ? "[+]listeners ok\n" : "[-]listeners failed: not open yet\n"});
  }
  if (path == "/metrics" && metrics_ != nullptr) return scrape(exchange);
  exchange.send(plain_head(404),
                "try /livez, /readyz, /health, /health/live, /health/ready, /health/startup or /metrics\n");
}

// Scrapes that come while one is being collected share its numbers: asking often costs little.
void Health::scrape(http1::Exchange& exchange) {
  exchange.set_handler(std::make_unique<Scrape>(*this, exchange));
  if (std::exchange(is_collecting_, true)) return;
  metrics_->collect([this] { answer_scrapes(); });
}

void Health::answer_scrapes() {
  is_collecting_ = false;
  for (Scrape* scrape : std::exchange(scrapes_, {})) scrape->answer(*metrics_);
}

}  // namespace outrigger::app
