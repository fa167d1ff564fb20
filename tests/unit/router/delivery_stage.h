// The stage of the delivery tests: callers and sidecars as whole processes on one bus in memory and one fake clock,
// with services that do as they are told. What a test wants to know is kept: which service began which request, and how
// every call ended.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "bridge/base/log.h"
#include "bridge/router/consumer.h"
#include "bridge/router/dispatcher.h"
#include "tests/support/memory_bus.h"
#include "tests/support/stream_frames.h"

namespace outrigger::tests {

using namespace std::chrono_literals;

inline const std::string kService = "billing";
inline const std::string kQueue = "router:requests:billing";

// A process id that is easy to tell apart: 000…0a.
inline std::string process_id(char digit) {
  std::string id(20, '0');
  id.back() = digit;
  return id;
}

// The service behind a sidecar.
class ScriptedService final : public router::Service {
 public:
  enum class Reaction : std::uint8_t {
    answer,     // 200, after `takes`
    hang,       // until the test says more
    refuse,     // no connection: it has not seen the request
    break_off,  // it has, and there is no answer
  };

  explicit ScriptedService(FakeLoop& loop) : loop_(loop) {}

  Reaction reaction = Reaction::answer;
  bool begins_answer = false;  // the head of an answer comes before it hangs or breaks off
  base::Duration takes{};
  std::string answer_body = "done";
  std::vector<std::string> begun;             // ids of the requests it has seen, in order
  std::map<std::string, std::string> bodies;  // of these
  base::HeaderList last_headers;              // of the last one
  std::size_t refused = 0;
  std::size_t most_at_once = 0;
  bool is_dead = false;  // with its process: begins and answers nothing any more

  net::Pending call(frames::Request& request, base::TimePoint, router::AnswerSink& sink) override {
    auto running = std::make_unique<Running>(*this, request.id, sink);
    running_.push_back(running.get());
    if (is_dead) return net::Pending(std::move(running));
    if (reaction == Reaction::refuse) {
      ++refused;
    } else {
      begun.push_back(request.id);
      bodies[request.id] = request.body;
      last_headers = request.headers;
      most_at_once = std::max(most_at_once, running_.size());
    }
    running->reaction = reaction;
    if (reaction != Reaction::hang || begins_answer) {
      running->timer.arm(reaction == Reaction::refuse ? base::Duration{} : takes);
    }
    return net::Pending(std::move(running));
  }
  // Ends what hangs.
  void answer_all() {
    for (Running* running : running_) {
      running->reaction = Reaction::answer;
      running->timer.arm(base::Duration{});
    }
  }
  std::size_t times_begun(const std::string& id) const {
    return static_cast<std::size_t>(std::count(begun.begin(), begun.end(), id));
  }
  std::size_t running() const { return running_.size(); }

 private:
  struct Running final : net::PendingOperation {
    Running(ScriptedService& owner, std::string request_id, router::AnswerSink& answer_sink)
        : service(owner), id(std::move(request_id)), sink(answer_sink), timer(owner.loop_.loop, [this] { react(); }) {}
    ~Running() override { std::erase(service.running_, this); }
    void react() {
      if (service.is_dead) return;
      router::AnswerSink& to = sink;  // this may die in a call of it
      const bool ends_whole = reaction == Reaction::answer || reaction == Reaction::refuse;
      if (service.begins_answer && !ends_whole) to.on_answer_head(200, "OK", {});
      switch (reaction) {
        case Reaction::answer: {
          const std::string body = service.answer_body;
          const std::weak_ptr<bool> wanted = is_wanted;
          std::erase(service.running_, this);
          to.on_answer_head(200, "OK", {});
          to.on_answer_body(body);
          return wanted.expired() ? void() : to.on_answer_end();
        }
        case Reaction::refuse:
          return to.on_answer_failed({router::ServiceFailure::Kind::unreachable, "refused"});
        case Reaction::break_off:
          return to.on_answer_failed({router::ServiceFailure::Kind::broken, "broke off"});
        case Reaction::hang:
          return;
      }
    }
    ScriptedService& service;
    const std::string id;
    router::AnswerSink& sink;
    Reaction reaction = Reaction::hang;
    std::shared_ptr<bool> is_wanted = std::make_shared<bool>(true);  // gone with the call
    net::Timer timer;
  };

  FakeLoop& loop_;
  std::vector<Running*> running_;
};

// One sidecar process.
class Sidecar final : public router::ConsumerHandler {
 public:
  using Options = router::Consumer::Options;
  Sidecar(FakeLoop& loop, MemoryServer& server, const frames::QueueNames& names, Options options)
      : bus(server),
        service(loop),
        instance(options.instance),
        inbox(options.inbox),
        consumer(loop.loop, bus, names, service, *this, std::move(options)) {}

  // Its process ends without a word.
  void kill(InFlight in_flight = InFlight::lost) {
    service.is_dead = true;
    bus.kill(in_flight);
  }
  const router::ConsumerCounters& counters() const { return consumer.counters(); }

  void on_service_refused() override { ++refusals; }
  void on_reading_changed(bool) override {}
  void on_bus_emptied() override { ++emptied; }
  void on_resync_requested(const frames::ResyncRequest&) override {}
  void on_request_done(const router::EndedDelivery& done) override {
    ended.push_back(std::string(router::name_of(done.end)));
    last_status = done.status;
    last_attempt = done.attempt;
    last_queue_wait = done.queue_wait;
    last_bytes = {done.request_bytes, done.answer_bytes};
  }

  MemoryBus bus;
  ScriptedService service;
  const std::string instance;
  const std::string inbox;
  std::vector<std::string> ended;  // how each delivered request ended here
  int last_status = 0;
  std::uint32_t last_attempt = 0;
  base::Duration last_queue_wait{};
  std::pair<std::uint64_t, std::uint64_t> last_bytes;  // of the request, of the answer
  int refusals = 0;
  int emptied = 0;
  router::Consumer consumer;
};

// One call: how it ended, once.
class Caller final : public router::CallHandler {
 public:
  explicit Caller(FakeLoop& loop) : loop_(loop), began(loop.loop.now()) {}
  void on_answer(frames::Response answer) override {
    EXPECT_FALSE(has_ended() || head.has_value());
    body = answer.body;
    if (answer.end) end(std::to_string(answer.status));
    head = std::move(answer);
  }
  void on_answer_body(std::string bytes) override {
    EXPECT_TRUE(head.has_value());
    body += bytes;
  }
  void on_answer_end() override { end(std::to_string(head->status)); }
  void on_call_failed(router::ProblemCode code, std::string_view why) override {
    problem = code;
    detail = why;
    end(std::string(router::describe(code).code));
  }
  bool has_ended() const { return !outcome.empty(); }
  bool is_503() const { return problem && router::describe(*problem).status == 503; }

 private:
  void end(std::string how) {
    EXPECT_FALSE(has_ended()) << outcome << ", then " << how;
    outcome = std::move(how);
    took = loop_.loop.now() - began;
  }
  FakeLoop& loop_;

 public:
  std::string outcome;  // a status of the service, or a problem's code; empty: waits
  std::optional<frames::Response> head;
  std::optional<router::ProblemCode> problem;
  std::string body;
  std::string detail;
  bool is_repeatable = false;
  base::Duration timeout{};
  const base::TimePoint began;
  base::Duration took{};
  router::Dispatcher::Handle handle;
};

// One caller process.
class Gateway {
 public:
  Gateway(FakeLoop& loop, MemoryServer& server, const frames::QueueNames& names, router::Dispatcher::Options options)
      : bus(server),
        reply_to(names.reply_stream(options.gateway, options.worker, 1)),
        dispatcher(loop.loop, bus, names, std::move(options),
                   [this](std::vector<std::string> instances) {
                     lost.insert(lost.end(), instances.begin(), instances.end());
                   }),
        loop_(loop) {}

  Caller& call(router::Call call) {
    Caller& caller = *calls.emplace_back(std::make_unique<Caller>(loop_));
    caller.is_repeatable = call.repeatable;
    caller.timeout = call.timeout;
    caller.handle = dispatcher.call(std::move(call), caller);
    return caller;
  }
  Caller& get(base::Duration timeout = 30s) { return call(make_call("GET", timeout)); }
  Caller& post(base::Duration timeout = 30s) { return call(make_call("POST", timeout)); }
  static router::Call make_call(std::string method, base::Duration timeout = 30s) {
    router::Call call;
    call.service = kService;
    call.repeatable = method == "GET";
    call.method = std::move(method);
    call.target = "/";
    call.scheme = "http";
    call.authority = "billing.test";
    call.timeout = timeout;
    return call;
  }

  MemoryBus bus;
  const std::string reply_to;
  std::vector<std::string> lost;  // instances it was told of
  router::Dispatcher dispatcher;
  std::vector<std::unique_ptr<Caller>> calls;

 private:
  FakeLoop& loop_;
};

// All of them, and what they run on.
class Stage {
 public:
  Stage() {
    // What breaks here is meant to break: warnings would only hide what matters. A writer that stops leaves its level.
    static const bool is_quiet = [] {
      base::start_log(base::LogLevel::error, base::LogFormat::text, "");
      base::stop_log();
      return true;
    }();
    EXPECT_TRUE(is_quiet);
  }
  Sidecar::Options sidecar_options(char digit) {
    Sidecar::Options options;
    options.service = kService;
    options.instance = process_id(digit);
    options.queues = {kQueue};
    options.inbox = names_.inbox(kService, options.instance);
    return options;
  }
  // Started, and its service is there (unless `is_ready` is false).
  Sidecar& add_sidecar(char digit, bool is_ready = true) { return add_sidecar(sidecar_options(digit), is_ready); }
  Sidecar& add_sidecar(Sidecar::Options options, bool is_ready = true) {
    Sidecar& sidecar = *sidecars_.emplace_back(std::make_unique<Sidecar>(loop_, server_, names_, std::move(options)));
    sidecar.consumer.start();
    sidecar.consumer.set_service_ready(is_ready);
    loop_.settle();
    update_books();
    return sidecar;
  }
  Gateway& add_gateway(char digit, router::Dispatcher::Options options = {}) {
    options.gateway = process_id(digit);
    Gateway& gateway = *gateways_.emplace_back(std::make_unique<Gateway>(loop_, server_, names_, std::move(options)));
    loop_.settle();
    update_books();
    return gateway;
  }
  // Callers know every instance there ever was: they learn of deaths by themselves.
  void update_books() {
    const auto book = std::make_shared<router::AddressBook>();
    router::AddressBook::Entry entry{kQueue, {}};
    for (const auto& sidecar : sidecars_) entry.instances.push_back(sidecar->instance);
    book->add(kService, std::move(entry));
    for (const auto& gateway : gateways_) gateway->dispatcher.set_addresses(book);
  }
  void settle() { loop_.settle(80); }
  void advance(base::Duration by) {
    settle();
    loop_.advance(by);
    settle();
  }
  // Everybody has been connected for so long that others' silence means something.
  void let_grace_pass() { advance(base::limits::kReconnectCap + 1s + 100ms); }
  std::size_t times_begun(const std::string& id) const {
    std::size_t times = 0;
    for (const auto& sidecar : sidecars_) times += sidecar->service.times_begun(id);
    return times;
  }
  bool is_queue_empty() { return server_.length(kQueue) == 0 && server_.pending(kQueue).empty(); }

  FakeLoop loop_;
  const frames::QueueNames names_ = *frames::QueueNames::make({});
  MemoryServer server_{loop_};
  std::vector<std::unique_ptr<Sidecar>> sidecars_;
  std::vector<std::unique_ptr<Gateway>> gateways_;
};

class DeliveryTest : public ::testing::Test, protected Stage {};

}  // namespace outrigger::tests
