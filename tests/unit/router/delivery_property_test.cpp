// Whatever breaks in whatever order, the invariants of docs/protocol.md ("Who owns a request") hold. Each seed is one
// history of two callers, two sidecars and a bus, with faults from a seeded generator; a failure names its seed, and
// OUTRIGGER_SEEDS=17-17 plays that one alone.
#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>
#include <random>

#include "bridge/base/limits.h"
#include "tests/unit/router/delivery_stage.h"

namespace outrigger::tests {
namespace {

using base::Code;
using messaging::EntryId;
using Reaction = ScriptedService::Reaction;
namespace limits = base::limits;

constexpr Op kOps[] = {Op::publish,         Op::settle,        Op::renew,         Op::hand_back, Op::own_pending,
                       Op::pending_entries, Op::read_entries,  Op::claim,         Op::take,      Op::subscribers,
                       Op::ensure_group,    Op::ensure_stream, Op::read,          Op::consumers, Op::read_cursor,
                       Op::subscribe,       Op::unblock,       Op::note_delivered};
constexpr int kSteps = 60;
constexpr std::size_t kMostSidecars = 9;

class History : public Stage {
 public:
  explicit History(std::uint64_t seed) : random_(seed) {
    server_.set_reconnect_delay(std::chrono::milliseconds(below(2) == 0 ? 5 : 300));
    add_gateway('e');
    add_gateway('f');
    add_sidecar();
    add_sidecar();
  }

  void play() {
    for (int step = 0; step < kSteps; ++step) {
      if (below(100) < 55) {
        call();
      } else {
        break_something();
      }
      if (below(3) == 0) settle_some();
      if (below(2) == 0) loop_.advance(std::chrono::milliseconds(1 + below(below(4) == 0 ? 4000 : 300)));
      probe();
    }
    heal();
    // The longest deadline, a lease, and the sweep.
    loop_.advance(40s + limits::kLeaseDuration + limits::kStreamTtlRefresh + 5s);
  }

  void check() {
    for (const auto& gateway : gateways_) {
      for (const auto& caller : gateway->calls) {
        const std::string& id = caller->handle.id();
        const std::size_t times = times_begun(id);
        SCOPED_TRACE(id + (caller->is_repeatable ? " repeatable, " : " not repeatable, ") + "told '" + caller->outcome +
                     "' " + caller->detail);
        if (!caller->is_repeatable) {
          EXPECT_LE(times, 1u) << "(a) run twice";
          if (caller->is_503()) {
            EXPECT_EQ(times, 0u) << "(d) 503, and run";
          }
        }
        if (gateway->bus.is_killed()) continue;
        EXPECT_TRUE(caller->has_ended()) << "(c) no end";
        EXPECT_LE(caller->took, caller->timeout) << "(c) ended after its deadline";
        if (caller->outcome == "200") {
          EXPECT_GE(times, 1u) << "(b) answered, and not run";
        }
      }
      if (!gateway->bus.is_killed()) {
        EXPECT_EQ(gateway->bus.outstanding(), 0u);
      }
    }
    EXPECT_EQ(server_.pending(kQueue).size(), 0u) << "first owner " << first_owner();
    EXPECT_EQ(server_.length(kQueue), 0u);
    for (const auto& sidecar : sidecars_) {
      if (sidecar->bus.is_killed()) continue;
      EXPECT_EQ(sidecar->consumer.in_hand(), 0u);
      EXPECT_EQ(sidecar->consumer.with_service(), 0u);
      EXPECT_TRUE(sidecar->consumer.is_reading());
      EXPECT_LE(sidecar->service.most_at_once, 3u);
    }
  }

 private:
  std::uint64_t below(std::uint64_t bound) { return random_() % bound; }
  template <class T>
  T& any(std::vector<std::unique_ptr<T>>& from) {
    return *from[below(from.size())];
  }
  MemoryBus& any_bus() { return below(2) == 0 ? any(sidecars_).bus : any(gateways_).bus; }
  std::string first_owner() {
    const auto pending = server_.pending(kQueue);
    return pending.empty() ? "" : pending[0].consumer;
  }

  void add_sidecar() {
    if (sidecars_.size() >= kMostSidecars) return;
    Sidecar::Options options = sidecar_options(static_cast<char>('1' + sidecars_.size()));
    options.max_in_flight = 3;
    Stage::add_sidecar(options).service.takes = std::chrono::milliseconds(below(300));
  }
  void call() {
    router::Call made =
        Gateway::make_call(below(2) == 0 ? "GET" : "POST", std::chrono::milliseconds(2000 + below(38'000)));
    if (below(20) == 0) made.body.assign(limits::kInlineBodyBytes + 1, 'x');
    any(gateways_).call(std::move(made));
  }
  Break any_break() {
    return {.in_flight = below(2) == 0 ? InFlight::lost : InFlight::late,
            .commands = below(3) != 0,
            .readers = below(3) != 0,
            .subscriptions = below(3) != 0,
            .server_notices = below(3) != 0};
  }
  void break_something() {
    switch (below(16)) {
      case 0:
        return any_bus().break_connections(any_break());
      case 1:
        return any_bus().cut(any_break());
      case 2:
        return any_bus().restore();
      case 3:
        for (MemoryBus* bus : server_.buses()) bus->restore();
        return;
      case 4:
      case 5:
        return any_bus().lose_reply_of(kOps[below(std::size(kOps))]);
      case 6: {
        MemoryBus& bus = any_bus();
        bus.set_overtaking(below(2) == 0);
        return bus.hold(kOps[below(std::size(kOps))], below(2) == 0 ? MemoryBus::Hold::effect : MemoryBus::Hold::reply);
      }
      case 7:
        for (MemoryBus* bus : server_.buses()) {
          for (const Op op : kOps) bus->release(op);
        }
        return;
      case 8:
        return any_bus().fail_next(kOps[below(12)], {below(2) == 0 ? Code::refused : Code::overloaded, "no"});
      case 9: {
        any(sidecars_).kill(below(2) == 0 ? InFlight::lost : InFlight::late);
        return add_sidecar();
      }
      case 10: {
        Sidecar& draining = any(sidecars_);
        draining.consumer.drain([&draining] { draining.kill(); });
        return add_sidecar();
      }
      case 11: {
        constexpr Reaction kReactions[] = {Reaction::answer, Reaction::answer, Reaction::hang, Reaction::refuse,
                                           Reaction::break_off};
        any(sidecars_).service.reaction = kReactions[below(std::size(kReactions))];
        return;
      }
      case 12:
        server_.run_late_effects();
        if (below(2) == 0) server_.drop_ghosts();
        return;
      case 13:
        return lose_memory();
      case 14:
        return server_.set_out_of_memory(below(4) == 0);
      case 15:
        any_bus().set_clock_estimate(static_cast<std::int64_t>(below(100)) - 50, 60);
        if (below(8) == 0) server_.step_clock(std::chrono::milliseconds(below(2000)));
        return;
    }
  }
  void lose_memory() {
    switch (below(5)) {
      case 0:
        server_.restart_empty();
        break;
      case 1:
        server_.flush_all();
        break;
      case 2:
      case 3:
        server_.restore(snapshot_);
        break;
      default:
        snapshot_ = server_.snapshot();
    }
    loop_.advance(1ms);  // two entries of one millisecond would share an id
  }
  // What the sidecars' probes do.
  void probe() {
    for (const auto& sidecar : sidecars_) {
      if (below(3) == 0) sidecar->consumer.set_service_ready(true);
    }
  }
  void settle_some() { loop_.settle(static_cast<int>(1 + below(12))); }
  void heal() {
    server_.set_out_of_memory(false);
    server_.run_late_effects();
    server_.drop_ghosts();
    for (MemoryBus* bus : server_.buses()) {
      for (const Op op : kOps) bus->release(op);
      bus->restore();
    }
    add_sidecar();
    add_sidecar();
    for (const auto& sidecar : sidecars_) {
      sidecar->service.reaction = Reaction::answer;
      sidecar->service.answer_all();
    }
    for (int i = 0; i < 8; ++i) {
      loop_.advance(500ms);
      for (const auto& sidecar : sidecars_) sidecar->consumer.set_service_ready(true);
    }
  }

  std::mt19937_64 random_;
  MemoryServer::Snapshot snapshot_;
};

std::pair<std::uint64_t, std::uint64_t> seeds() {
  unsigned long long first = 1;
  unsigned long long last = 300;
  if (const char* chosen = std::getenv("OUTRIGGER_SEEDS")) {
    EXPECT_EQ(std::sscanf(chosen, "%llu-%llu", &first, &last), 2) << "OUTRIGGER_SEEDS=first-last";
  }
  return {first, last};
}

TEST(DeliveryProperty, invariants_hold_in_every_history) {
  const auto [first, last] = seeds();
  for (std::uint64_t seed = first; seed <= last; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    History history(seed);
    history.play();
    history.check();
    if (HasFailure()) return;
  }
}

}  // namespace
}  // namespace outrigger::tests
