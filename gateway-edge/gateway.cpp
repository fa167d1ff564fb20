#include "gateway-edge/gateway.h"

#include <atomic>
#include <utility>

#include "bridge/app/process.h"
#include "bridge/base/check.h"
#include "bridge/base/ids.h"
#include "bridge/base/log.h"
#include "bridge/net/listener.h"
#include "gateway-edge/edge_handler.h"
#include "gateway-edge/gateway_admin.h"

namespace outrigger::gateway {
namespace {

using namespace std::chrono_literals;

std::size_t worker_count(const GatewayConfig& config) {
  if (config.workers > 0) return static_cast<std::size_t>(config.workers);
  return std::max(1U, std::thread::hardware_concurrency());
}

// Each connection is a file, and some others are needed, too: listeners, the bus, logs, secrets that are read again.
std::size_t possible_connections(const GatewayConfig& config) {
  constexpr std::size_t kOtherFiles = 64;
  const std::size_t wanted = config.limits.max_connections;
  const std::size_t files = app::open_file_limit();
  const std::size_t others = kOtherFiles + 8 * worker_count(config);
  if (wanted + others <= files) return wanted;
  const std::size_t possible = files > 2 * others ? files - others : files / 2;
  base::log_warn("the limit of open files is too low for Gateway:Limits:MaxConnections: fewer connections are accepted",
                 {{"open_files", files}, {"wanted", wanted}, {"accepted", possible}});
  return possible;
}

http1::MessageLimits message_limits(const GatewayConfig& config) {
  return {.body_bytes = config.limits.body_bytes,
          .header_bytes = config.limits.header_bytes,
          .header_count = config.limits.header_count,
          .target_bytes = config.limits.target_bytes};
}

// finish_gateway has looked at both.
identity::HeaderPolicy header_policy(const AuthConfig& auth) {
  auto policy = identity::HeaderPolicy::make(auth.headers);
  CHECK(policy.has_value());
  return std::move(*policy);
}
std::optional<identity::EnvelopeSigner> envelope_signer(const AuthConfig& auth) {
  if (auth.envelope_keys.empty()) return std::nullopt;
  auto signer = identity::EnvelopeSigner::make(envelope_options(auth));
  CHECK(signer.has_value());
  return std::move(*signer);
}

std::optional<RateLimits> rate_limits(const RateLimitConfig& config) {
  if (config.rules.empty()) return std::nullopt;
  std::vector<RateLimitRule> rules;
  for (const RateLimitConfig::Rule& rule : config.rules) rules.push_back(rule.rule);
  return std::make_optional<RateLimits>(std::move(rules));
}

// finish_gateway has looked at each.
std::shared_ptr<const AccessRules> access_rules(const AuthConfig& auth) {
  std::vector<AccessRule> rules;
  for (const AuthConfig::Rule& rule : auth.rules) rules.push_back(rule.rule);
  return std::make_shared<const AccessRules>(std::move(rules), auth.deny_by_default, auth.verifies());
}

// A worker's way to the one KeyKeeper.
class WorkerKeys final : public KeySource {
 public:
  WorkerKeys(net::EventLoop& loop, const std::unique_ptr<KeyKeeper>& keeper) : loop_(loop), keeper_(keeper) {}

 private:
  struct Waiting final : net::PendingOperation {
    explicit Waiting(std::shared_ptr<bool> flag) : is_waiting(std::move(flag)) {}
    ~Waiting() override { *is_waiting = false; }
    std::shared_ptr<bool> is_waiting;
  };
  net::Pending want_key(const std::string& issuer, const std::string& key_id, Done done) override {
    auto is_waiting = std::make_shared<bool>(true);  // of this loop's thread alone; the other merely carries it
    keeper_->want_key(loop_.mailbox(), issuer, key_id,
                      [is_waiting, done = std::move(done)](KeyKeeper::Answer answer) mutable {
                        using Answer = KeyKeeper::Answer;
                        if (*is_waiting) done(answer == Answer::look_again || answer == Answer::unknown);
                      });
    return net::Pending(std::make_unique<Waiting>(std::move(is_waiting)));
  }

  net::EventLoop& loop_;
  const std::unique_ptr<KeyKeeper>& keeper_;
};

}  // namespace

// Made on the main thread, runs and dies on its own: everything in it belongs to its loop.
class Gateway::Worker {
 public:
  Worker(Gateway& gateway, unsigned index)
      : gateway_(gateway),
        index_(index),
        loop_(base::system_clock()),
        bus_(loop_,
             {gateway.config_.messaging.valkey, "outrigger-gateway:w" + std::to_string(index),
              gateway.names_.consumer_group(), gateway.names_.reply_stream(gateway.id_, index, 0),
              gateway.config_.messaging.queue_wait_timeout, gateway.config_.messaging.wake_mode, &gateway.names_}),
        dispatcher_(loop_, bus_, gateway.names_,
                    {.gateway = gateway.id_,
                     .worker = index,
                     .max_queue_depth = gateway.config_.messaging.max_queue_depth,
                     .max_attempts = static_cast<std::uint32_t>(gateway.config_.messaging.max_attempts),
                     .wake = gateway.config_.messaging.wake_mode},
                    [this, main = gateway.loop_.mailbox()](std::vector<std::string> instances) {
                      main->post([&gateway = gateway_, instances = std::move(instances)] {
                        gateway.control_->report_lost(instances);
                      });
                    }),
        limiter_(gateway.rate_limits_
                     ? std::make_unique<RateLimiter>(loop_, bus_, gateway.names_, *gateway.rate_limits_,
                                                     gateway.config_.rate_limit.timeout)
                     : nullptr),
        edge_(loop_, dispatcher_, gateway.policy_, edge_options()),
        watch_timer_(loop_, [this] { watch(); }),
        drain_timer_(loop_, [this] { finish(); }) {
    // Until the control loop has looked there is nothing to route to.
    auto empty = std::make_shared<RoutingView>();
    empty->routes = std::make_shared<const router::RouteTable>(std::vector<router::RouteSource>());
    empty->access = std::make_shared<const AccessTable>(std::make_shared<const AccessRules>(), AccessTable::Services());
    empty->addresses = std::make_shared<const router::AddressBook>();
    empty->openapi_json = std::make_shared<const std::string>("{}");
    edge_.set_view(std::move(empty));
  }

  ~Worker() {
    CHECK(!thread_.joinable());
    loop_.adopt_thread();  // its own thread is over: what is left dies here
  }

  base::Result<net::Endpoint> listen(const net::Endpoint& at, bool shares_port) {
    auto server = http1::HttpServer::open(loop_, at, server_options(shares_port), edge_);
    if (!server) return server.error();
    servers_.push_back(std::move(*server));
    return servers_.back()->endpoint();
  }

  void run() {
    watch_timer_.arm(0s);
    thread_ = std::thread([this] {
      loop_.adopt_thread();
      loop_.run();
      // Clients first, then what serves them: the owner of each call dies before the dispatcher.
      edge_.begin_stop();
      servers_.clear();
      loop_.run_turn(net::EventLoop::Wait::no);  // what they released dies in its end
    });
  }

  // Any thread.
  void set_view(std::shared_ptr<const RoutingView> view) {
    loop_.mailbox()->post([this, view = std::move(view)] { edge_.set_view(view); });
  }
  void set_verifier(std::shared_ptr<const identity::TokenVerifier> verifier) {
    loop_.mailbox()->post([this, verifier = std::move(verifier)] { edge_.set_verifier(verifier); });
  }
  void drain(base::Duration within) {
    loop_.mailbox()->post([this, within] { begin_drain(within); });
  }
  void stop() {
    loop_.mailbox()->post([this] { loop_.stop(); });
  }
  void ask_for_report(std::uint64_t scrape) {
    loop_.mailbox()->post([this, scrape] { report(scrape, false); });
  }
  bool is_ready() const { return is_ready_.load(std::memory_order_relaxed); }
  // What watch() saw last. The main thread.
  const std::string& bus_problem() const { return bus_status_.problem; }
  bool refuses_writes() const { return bus_status_.refuses_writes; }
  void join() {
    if (thread_.joinable()) thread_.join();
  }

 private:
  EdgeHandler::Options edge_options() {
    const GatewayConfig& config = gateway_.config_;
    EdgeHandler::Options options{.via = "outrigger-" + gateway_.id_.substr(0, 8),
                                 .request_timeout = config.messaging.request_timeout,
                                 .limits = message_limits(config),
                                 .buffered = &gateway_.buffered_,
                                 .access_log = config.access_log,
                                 .access_log_query = config.access_log_query};
    options.authentication = {.verifies = config.auth.verifies(),
                              .allow_anonymous = config.auth.allow_anonymous,
                              .allow_scope_header = config.auth.allow_scope_header,
                              .enable_tenant_override = config.auth.enable_tenant_override,
                              .claims = config.auth.claims,
                              .cached_tokens = config.auth.cached_tokens};
    options.keys = &keys_;
    options.envelope = gateway_.envelope_ ? &*gateway_.envelope_ : nullptr;
    options.rate_limiter = limiter_.get();
    options.trusted_proxies = config.trusted_proxies;
    options.forwarding = config.auth.forwarding;
    for (const AuthConfig::Service& service : config.auth.services) {
      options.forwarding_by_service.emplace(service.service, service.forwarding);
    }
    return options;
  }
  http1::HttpServerOptions server_options(bool shares_port) {
    const GatewayConfig::Limits& limits = gateway_.config_.limits;
    http1::HttpServerOptions options;
    options.session.limits = message_limits(gateway_.config_);
    options.session.head_timeout = limits.head_timeout;
    options.session.body_timeout = limits.body_timeout;
    options.session.write_timeout = limits.write_timeout;
    options.session.idle_timeout = limits.idle_timeout;
    options.session.min_rate = limits.min_rate;
    options.session.buffered = &gateway_.buffered_;
    options.listen.reuse_port = shares_port;
    options.places = &gateway_.places_;
    return options;
  }
  void watch() {
    is_ready_.store(dispatcher_.is_ready(), std::memory_order_relaxed);
    messaging::BusStatus status = bus_.status();
    if (status.problem != told_problem_) {
      told_problem_ = status.problem;
      gateway_.loop_.mailbox()->post([this, status = std::move(status)] { bus_status_ = status; });
    }
    watch_timer_.arm(100ms);
  }
  // A copy of what was counted here, to the main loop.
  void report(std::uint64_t scrape, bool is_final) {
    WorkerReport report;
    report.requests = edge_.metrics();
    report.calls = dispatcher_.counters();
    report.authentications = edge_.authentications();
    if (limiter_ != nullptr) report.rate_limits = limiter_->counters();
    report.pending_calls = dispatcher_.pending();
    for (const auto& server : servers_) {
      report.connections += server->connection_count();
      add(report.http, server->counters());
    }
    report.bus = {bus_.is_connected(), bus_.status().reconnects, bus_.round_trips()};
    report.is_final = is_final;
    gateway_.loop_.mailbox()->post([&gateway = gateway_, index = index_, scrape, report = std::move(report)]() mutable {
      gateway.metrics_->on_report(index, scrape, std::move(report));
    });
  }
  void begin_drain(base::Duration within) {
    drain_timer_.arm(within);
    undrained_ = servers_.size();
    for (auto& server : servers_) {
      server->begin_drain([this] {
        if (--undrained_ == 0) finish();
      });
    }
    if (servers_.empty()) finish();
  }
  void finish() {
    if (std::exchange(is_finished_, true)) return;
    edge_.begin_stop();
    report(0, true);
    servers_.clear();
    dispatcher_.close();
    // One more turn writes the deletion of the reply stream.
    loop_.defer([this] {
      loop_.defer([this] {
        gateway_.loop_.mailbox()->post([&gateway = gateway_] { gateway.on_worker_drained(); });
        loop_.stop();
      });
    });
  }

  Gateway& gateway_;
  unsigned index_;
  net::EventLoop loop_;
  valkey::ValkeyBus bus_;
  router::Dispatcher dispatcher_;
  WorkerKeys keys_{loop_, gateway_.keys_};
  std::unique_ptr<RateLimiter> limiter_;  // if there are limits
  EdgeHandler edge_;
  std::vector<std::unique_ptr<http1::HttpServer>> servers_;
  net::Timer watch_timer_;
  net::Timer drain_timer_;
  std::size_t undrained_ = 0;
  bool is_finished_ = false;
  std::atomic<bool> is_ready_{false};
  std::string told_problem_;         // the worker's thread
  messaging::BusStatus bus_status_;  // as of the last change of its problem; the main thread
  std::thread thread_;
};

Gateway::Gateway(net::EventLoop& loop, GatewayConfig config, frames::QueueNames names,
                 base::UniqueFunction<void()> on_drained)
    : loop_(loop),
      config_(std::move(config)),
      names_(std::move(names)),
      policy_(header_policy(config_.auth)),
      envelope_(envelope_signer(config_.auth)),
      rate_limits_(rate_limits(config_.rate_limit)),
      id_(base::new_process_id()),
      places_(possible_connections(config_)),
      buffered_(config_.limits.buffered_bytes),
      bus_(loop, {config_.messaging.valkey, "outrigger-gateway:control", names_.consumer_group(),
                  names_.reply_stream(id_, 0, 0), config_.messaging.queue_wait_timeout, config_.messaging.wake_mode,
                  &names_}),
      pre_drain_timer_(loop, [this] { drain_workers(); }),
      drain_timer_(loop,
                   [this] {
                     base::log_warn("the drain time is over");
                     for (auto& worker : workers_) worker->stop();
                     if (on_drained_) std::exchange(on_drained_, nullptr)();
                   }),
      on_drained_(std::move(on_drained)) {}

Gateway::~Gateway() {
  for (auto& worker : workers_) {
    worker->stop();
    worker->join();
  }
}

base::Result<void> Gateway::start() {
  const std::size_t count = worker_count(config_);
  for (std::size_t i = 0; i < count; ++i) workers_.push_back(std::make_unique<Worker>(*this, static_cast<unsigned>(i)));
  for (const app::ListenAddress& address : config_.listen) {
    net::Endpoint at = app::to_endpoint(address);
    if (count > 1 && !at.is_unix() && at.port != 0) {
      // The workers share the port by SO_REUSEPORT, and so could another gateway, unnoticed: is it free?
      const auto alone = net::Listener::open(loop_, at, {}, [](net::Accepted) {});
      if (!alone) return alone.error();
    }
    for (std::size_t i = 0; i < count; ++i) {
      if (at.is_unix() && i > 0) break;  // a unix socket has one owner
      const auto opened = workers_[i]->listen(at, count > 1 && !at.is_unix());
      if (!opened) return opened.error();
      at = *opened;  // port 0: the others share what the first was given
    }
    base::log_info("gateway listens", {{"address", net::to_string(at)}, {"workers", count}});
  }
  if (config_.auth.verifies()) {
    if (const auto started = start_keys(); !started) return started.error();
  }
  control_ = std::make_unique<Control>(
      loop_, bus_, names_,
      Control::Options{id_, config_.node.region, config_.messaging.wake_mode, access_rules(config_.auth)},
      [this](std::shared_ptr<const RoutingView> view) {
        for (auto& worker : workers_) worker->set_view(view);
      });
  const GatewayMetrics::Shares shares{places_.taken, buffered_};
  metrics_ = std::make_unique<GatewayMetrics>(loop_, bus_, bus_.round_trips(), *control_, names_, shares, count,
                                              [this](std::uint64_t scrape) {
                                                for (auto& worker : workers_) worker->ask_for_report(scrape);
                                              });
  if (rate_limits_) metrics_->set_rate_limits(*rate_limits_);
  if (keys_ != nullptr) metrics_->set_keys(*keys_);
  health_.set_metrics(*metrics_);
  health_.add_check("bus", [this] {
    const messaging::BusStatus status = bus_.status();
    if (!bus_.is_connected() || status.refuses_writes) return status.problem;
    for (const auto& worker : workers_) {  // who writes requests knows first
      if (worker->refuses_writes()) return worker->bus_problem();
    }
    return std::string();
  });
  health_.add_check("routes", [this] {
    if (control_->has_looked()) return std::string();
    return "the control stream was not read yet: " + bus_.status().problem;
  });
  health_.add_check("workers", [this] {
    for (const auto& worker : workers_) {
      if (!worker->is_ready()) return "a reply stream is not confirmed: " + worker->bus_problem();
    }
    return std::string();
  });
  if (keys_ != nullptr) health_.add_check("keys", [this] { return keys_->missing(); });
  if (config_.process.health) {
    const auto at = health_.listen(loop_, *config_.process.health);
    if (!at) return at.error();
    base::log_info("health listener is open", {{"address", net::to_string(*at)}});
  }
  admin_.add_process_routes(config_.process, [this] { drain(); });
  add_gateway_routes(admin_, *control_);
  if (const auto opened = admin_.open(loop_, "outrigger-gateway", config_.process); !opened) return opened.error();
  for (auto& worker : workers_) worker->run();
  health_.mark_started();
  return {};
}

base::Result<void> Gateway::start_keys() {
  KeyKeeper::Options options{.issuers = {}, .refresh_interval = config_.auth.key_refresh_interval};
  for (const AuthConfig::Issuer& issuer : config_.auth.issuers) options.issuers.push_back(issuer_settings(issuer));
  app::FetchOptions fetching;
  fetching.ca_file = config_.auth.key_ca_file;
  keys_ = std::make_unique<KeyKeeper>(
      loop_, std::move(options),
      [this, fetching](IssuerSettings::Source source) {
        return source == IssuerSettings::Source::file ? make_file_source(loop_) : make_http_source(loop_, fetching);
      },
      [this](std::shared_ptr<const identity::TokenVerifier> verifier) {
        for (auto& worker : workers_) worker->set_verifier(verifier);
      });
  return keys_->start();
}

void Gateway::drain() {
  if (std::exchange(is_draining_, true)) return;
  base::log_info("draining", {{"still_accepts_ms", config_.pre_drain_wait.count()}});
  health_.begin_drain();
  drain_timer_.arm(config_.process.drain_time + 1s);  // the workers keep to it themselves; this is for a stuck one
  // Whoever sends clients here looks at /readyz now and then: until it has, a closed port would be an error for them.
  pre_drain_timer_.arm(config_.pre_drain_wait);
}

void Gateway::drain_workers() {
  if (config_.pre_drain_wait > 0ms) base::log_info("accepting no more");
  draining_workers_ = workers_.size();
  for (auto& worker : workers_) worker->drain(config_.process.drain_time - config_.pre_drain_wait);
}

void Gateway::on_worker_drained() {
  if (--draining_workers_ > 0 || !on_drained_) return;
  drain_timer_.cancel();
  std::exchange(on_drained_, nullptr)();
}

}  // namespace outrigger::gateway
