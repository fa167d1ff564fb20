// The registry under disorder: every order of an instance's control frames, every duplicate, and every loss that a later
// heartbeat heals, gives the registry that the frames give in order. Exhaustively, not by chance.
#include <algorithm>
#include <map>
#include <numeric>
#include <variant>

#include "bridge/router/registry.h"

namespace outrigger::router {
namespace {

using frames::EndpointsUpdate;
using frames::FrameType;
using frames::InstanceFrame;
using frames::InstanceState;

constexpr std::int64_t kStart = 1'000'000'000;
constexpr std::int64_t kStep = 300;  // between two frames on the stream
constexpr std::int64_t kEnd = kStart + 10 * kStep;

std::string queue_name(std::string_view service, std::string_view version, std::string_view region) {
  std::string name = "router:requests:" + std::string(service);
  if (!version.empty()) name += ":" + std::string(version);
  if (!region.empty()) name += "@" + std::string(region);
  return name;
}

class Listener : public RegistryListener {
 public:
  void on_hello_received(const Instance& instance, bool is_new) override { note(instance, is_new); }
  void on_heartbeat_received(const Instance& instance, bool is_new) override { note(instance, is_new); }
  void on_endpoints_updated(const Instance&, const EndpointsUpdate&) override {}
  void on_connection_closed(const Instance& instance, CloseReason) override { --open[instance.latest.instance]; }

  std::map<std::string, int> open;  // told as new, less those told as closed

 private:
  void note(const Instance& instance, bool is_new) { open[instance.latest.instance] += is_new ? 1 : 0; }
};

using Frame = std::variant<InstanceFrame, EndpointsUpdate>;
using Life = std::vector<Frame>;  // frames in the order they were sent

InstanceFrame frame(FrameType type, const std::string& instance, std::uint64_t seq, InstanceState state,
                    const std::string& hash = {}, const std::string& version = "1.0",
                    const std::string& service = "billing") {
  InstanceFrame made;
  made.type = type;
  made.instance = instance;
  made.seq = seq;
  made.service = service;
  made.service_version = version;
  made.region = "eu";
  for (const std::string& v : {std::string(), version}) {
    for (const char* region : {"", "eu"}) made.queues.push_back(queue_name(service, v, region));
  }
  made.group = "router-gateway";
  made.inbox = "router:inbox:" + service + ":" + instance;
  made.state = state;
  made.interval_ms = 10'000;
  made.metadata_hash = hash;
  return made;
}
Frame hello(const std::string& instance, std::uint64_t seq, InstanceState state, const std::string& hash = {}) {
  return frame(FrameType::hello, instance, seq, state, hash);
}
Frame heartbeat(const std::string& instance, std::uint64_t seq, InstanceState state, const std::string& hash = {}) {
  return frame(FrameType::heartbeat, instance, seq, state, hash);
}
Frame goodbye(const std::string& instance, std::uint64_t seq) {
  return frame(FrameType::goodbye, instance, seq, InstanceState::draining);
}
Frame update(const std::string& instance, std::uint64_t seq, const std::string& hash) {
  return EndpointsUpdate{instance, seq, "billing", "1.0", hash, "router:endpoints:billing:" + hash};
}

// When each frame gets its entry id: when it was sent (a reader that sees the stream's entries in another order), or
// when it arrives (a sender whose writes were repeated).
enum class Ids : std::uint8_t { as_sent, as_arrived };

struct Played {
  std::string registry;
  std::map<std::string, int> open;
};

// Everything a caller can ask, as text. Times only where they cannot depend on the order.
Played play(const Life& life, const std::vector<std::size_t>& order, Ids ids) {
  Listener listener;
  Registry registry(queue_name, listener);
  std::int64_t arrival = kStart;
  for (const std::size_t i : order) {
    const std::int64_t at = ids == Ids::as_sent ? kStart + static_cast<std::int64_t>(i) * kStep : arrival;
    const std::int64_t now = ids == Ids::as_sent ? kEnd : arrival;
    std::visit([&](const auto& one) { EXPECT_TRUE(registry.receive(one, at, now).has_value()); }, life[i]);
    registry.advance(now);
    arrival += kStep;
  }
  registry.advance(std::max(kEnd, arrival));

  std::string text;
  for (const auto& service : registry.services()) {
    text += std::string(service.service) + " routes by '" + std::string(service.metadata_hash) + "', live " +
            std::to_string(service.live_instances) + "\n";
    if (ids == Ids::as_sent) text += "  since " + std::to_string(service.registered_ms) + "\n";
    for (const Instance* instance : registry.instances(service.service)) {
      text += "  " + instance->latest.instance + " seq " + std::to_string(instance->latest.seq) + " state " +
              std::to_string(static_cast<int>(instance->state)) + " version " + instance->latest.service_version +
              " hash '" + instance->metadata_hash + "' inbox " + instance->latest.inbox + "\n";
      if (ids == Ids::as_sent) {
        text += "    " + std::to_string(instance->registered_ms) + " to " + std::to_string(instance->last_seen_ms) + "\n";
      }
    }
    for (const std::string& queue : registry.queues(service.service, 10)) text += "  may wait at " + queue + "\n";
    for (const char* version : {"", "1.0", "2.0"}) {
      for (const char* region : {"", "eu", "us"}) {
        const Address* address = registry.choose_address(service.service, version, region);
        text += "  " + std::string(version) + "@" + region + " -> ";
        if (address == nullptr) {
          text += "nobody\n";
          continue;
        }
        text += address->queue + " healthy " + std::to_string(address->healthy) + ":";
        for (const std::string& instance : address->instances) text += " " + instance;
        text += "\n";
      }
    }
  }
  for (const auto& use : registry.metadata_in_use()) {
    text += "wants " + std::string(use.metadata_hash) + " from " + std::string(use.inbox) + "\n";
  }
  for (const auto& [instance, open] : listener.open) {
    EXPECT_EQ(open, registry.find(instance) != nullptr ? 1 : 0) << instance;
  }
  return {text, listener.open};
}

std::vector<std::size_t> in_order(std::size_t size) {
  std::vector<std::size_t> order(size);
  std::iota(order.begin(), order.end(), 0);
  return order;
}

std::string spelled(const std::vector<std::size_t>& order) {
  std::string text;
  for (const std::size_t i : order) text += " " + std::to_string(i);
  return text;
}

// A few seconds in the life of one instance: it starts, is announced, degrades, recovers with another document.
Life a_life() {
  return {hello("a", 1, InstanceState::starting),
          update("a", 2, "h1"),
          heartbeat("a", 3, InstanceState::healthy, "h1"),
          heartbeat("a", 4, InstanceState::degraded, "h1"),
          update("a", 5, "h2"),
          heartbeat("a", 6, InstanceState::healthy)};
}

// Two instances of one service and one of another, each with changes of its own.
Life lives_of_a_fleet() {
  return {hello("a", 1, InstanceState::starting),
          frame(FrameType::hello, "b", 1, InstanceState::healthy, "h1", "2.0"),
          heartbeat("a", 2, InstanceState::healthy, "h1"),
          frame(FrameType::hello, "c", 1, InstanceState::healthy, "h9", "1.0", "orders"),
          frame(FrameType::heartbeat, "b", 2, InstanceState::draining, "h1", "2.0"),
          frame(FrameType::goodbye, "b", 3, InstanceState::draining, "h1", "2.0"),
          frame(FrameType::heartbeat, "c", 2, InstanceState::degraded, "h9", "1.0", "orders")};
}

class RegistryDisorder : public ::testing::TestWithParam<Ids> {
 protected:
  void expect_same_in_every_order(const Life& life) {
    std::vector<std::size_t> order = in_order(life.size());
    const std::string expected = play(life, order, GetParam()).registry;
    int orders = 0;
    do {
      ASSERT_EQ(play(life, order, GetParam()).registry, expected) << "in the order" << spelled(order);
      ++orders;
    } while (std::next_permutation(order.begin(), order.end()));
    RecordProperty("orders", orders);
  }
};

INSTANTIATE_TEST_SUITE_P(Ids, RegistryDisorder, ::testing::Values(Ids::as_sent, Ids::as_arrived),
                         [](const auto& tested) { return tested.param == Ids::as_sent ? "as_sent" : "as_arrived"; });

TEST_P(RegistryDisorder, every_order_of_one_life_gives_the_same) {
  expect_same_in_every_order(a_life());
}

TEST_P(RegistryDisorder, every_order_of_a_life_that_ended_gives_the_same) {
  Life life = a_life();
  life.push_back(goodbye("a", 7));
  expect_same_in_every_order(life);
}

TEST_P(RegistryDisorder, every_order_of_several_lives_gives_the_same) {
  expect_same_in_every_order(lives_of_a_fleet());
}

TEST_P(RegistryDisorder, every_duplicate_at_every_place_in_every_order_gives_the_same) {
  Life life = a_life();
  life.erase(life.begin() + 3);  // five frames: 120 orders, 30 duplicates each, and with a goodbye once more
  for (const bool ends : {false, true}) {
    if (ends) life.back() = goodbye("a", 7);
    std::vector<std::size_t> order = in_order(life.size());
    const std::string expected = play(life, order, GetParam()).registry;
    do {
      for (std::size_t again = 0; again < life.size(); ++again) {
        for (std::size_t place = 0; place <= order.size(); ++place) {
          std::vector<std::size_t> repeated = order;
          repeated.insert(repeated.begin() + static_cast<std::ptrdiff_t>(place), again);
          ASSERT_EQ(play(life, repeated, GetParam()).registry, expected) << "in the order" << spelled(repeated);
        }
      }
    } while (std::next_permutation(order.begin(), order.end()));
  }
}

// HEARTBEAT has all that HELLO and ENDPOINTS_UPDATE have said, so that one of them heals whatever was lost before, in
// whichever order the rest arrived. Since when it is known is all that a lost beginning takes with it.
TEST_P(RegistryDisorder, every_loss_is_healed_by_the_next_heartbeat) {
  Life life = a_life();
  life.push_back(heartbeat("a", 7, InstanceState::healthy, "h2"));
  const std::size_t healer = life.size() - 1;
  const auto without_times = [](std::string text) {
    for (std::size_t at = text.find("  since"); at != std::string::npos; at = text.find("  since")) {
      text.erase(at, text.find('\n', at) + 1 - at);
    }
    for (std::size_t at = text.find("    1000"); at != std::string::npos; at = text.find("    1000")) {
      text.erase(at, text.find('\n', at) + 1 - at);
    }
    return text;
  };
  const std::string expected = without_times(play(life, in_order(life.size()), GetParam()).registry);
  for (unsigned kept = 0; kept < 1U << healer; ++kept) {
    std::vector<std::size_t> order;
    for (std::size_t i = 0; i < healer; ++i) {
      if ((kept >> i & 1U) != 0) order.push_back(i);
    }
    order.push_back(healer);
    do {
      ASSERT_EQ(without_times(play(life, order, GetParam()).registry), expected) << "in the order" << spelled(order);
    } while (std::next_permutation(order.begin(), order.end()));
  }
}

TEST_P(RegistryDisorder, goodbye_is_final_whatever_else_arrives_or_is_lost) {
  Life life = a_life();
  life.push_back(goodbye("a", 7));
  const std::size_t last = life.size() - 1;
  for (unsigned kept = 0; kept < 1U << last; ++kept) {
    for (std::size_t place = 0; place <= last; ++place) {
      std::vector<std::size_t> order;
      for (std::size_t i = 0; i < last; ++i) {
        if (i == place) order.push_back(last);
        if ((kept >> i & 1U) != 0) order.push_back(i);
      }
      if (place == last) order.push_back(last);
      const Played played = play(life, order, GetParam());
      ASSERT_EQ(played.registry.find("live 1"), std::string::npos) << spelled(order) << "\n" << played.registry;
      ASSERT_EQ(played.registry.find("wants"), std::string::npos) << spelled(order) << "\n" << played.registry;
    }
  }
}

TEST(RegistryDisorderOfOne, endpoints_update_before_hello_counts_from_then_on) {
  Listener listener;
  Registry registry(queue_name, listener);
  ASSERT_TRUE(registry.receive(std::get<EndpointsUpdate>(update("a", 2, "h2")), kStart, kStart).has_value());
  EXPECT_FALSE(registry.has_live_instance("billing")) << "without a HELLO nothing is known of it";
  ASSERT_TRUE(registry.receive(std::get<InstanceFrame>(hello("a", 1, InstanceState::healthy, "h1")), kStart, kStart).has_value());

  ASSERT_NE(registry.find("a"), nullptr);
  EXPECT_EQ(registry.find("a")->metadata_hash, "h2") << "the older hash of the later frame";
  EXPECT_EQ(registry.find("a")->latest.seq, 1U);
}

}  // namespace
}  // namespace outrigger::router
