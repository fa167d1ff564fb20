#include "bridge/router/registry.h"

#include <algorithm>
#include <random>

namespace outrigger::router {
namespace {

using frames::EndpointsUpdate;
using frames::FrameType;
using frames::InstanceFrame;
using frames::InstanceState;

constexpr std::int64_t kNow = 1'000'000'000;

std::string queue_name(std::string_view service, std::string_view version, std::string_view region) {
  std::string name = "router:requests:" + std::string(service);
  if (!version.empty()) name += ":" + std::string(version);
  if (!region.empty()) name += "@" + std::string(region);
  return name;
}

class RecordingListener : public RegistryListener {
 public:
  void on_hello_received(const Instance& instance, bool is_new) override { add("hello", instance, is_new); }
  void on_heartbeat_received(const Instance& instance, bool is_new) override { add("heartbeat", instance, is_new); }
  void on_endpoints_updated(const Instance& instance, const EndpointsUpdate& update) override {
    events.push_back("endpoints " + instance.latest.instance + " " + update.metadata_hash);
  }
  void on_connection_closed(const Instance& instance, CloseReason reason) override {
    constexpr const char* kReasons[] = {"goodbye", "stale", "lost"};
    events.push_back("closed " + instance.latest.instance + " " + kReasons[static_cast<int>(reason)]);
  }
  std::vector<std::string> take() { return std::exchange(events, {}); }

  std::vector<std::string> events;

 private:
  void add(const std::string& what, const Instance& instance, bool is_new) {
    events.push_back(what + " " + instance.latest.instance + (is_new ? " new" : ""));
  }
};

struct Fixture {
  RecordingListener listener;
  Registry registry{queue_name, listener};

  explicit Fixture(std::size_t max_instances = kInstances) : registry(queue_name, listener, max_instances) {}
  bool receive(const InstanceFrame& frame, std::int64_t at_ms = kNow, std::int64_t now_ms = 0) {
    return registry.receive(frame, at_ms, std::max(at_ms, now_ms)).has_value();
  }
  bool receive(const EndpointsUpdate& update, std::int64_t at_ms = kNow, std::int64_t now_ms = 0) {
    return registry.receive(update, at_ms, std::max(at_ms, now_ms)).has_value();
  }
  std::string queue(std::string_view service, std::string_view version = "", std::string_view region = "") const {
    const Address* address = registry.choose_address(service, version, region);
    return address == nullptr ? "none" : address->queue;
  }
};

InstanceFrame frame(FrameType type, const std::string& instance, std::uint64_t seq,
                    InstanceState state = InstanceState::healthy, const std::string& version = "1.0",
                    const std::string& region = "eu", const std::string& service = "billing") {
  InstanceFrame made;
  made.type = type;
  made.instance = instance;
  made.seq = seq;
  made.service = service;
  made.service_version = version;
  made.region = region;
  for (const std::string& v : {std::string(), version}) {
    for (const std::string& r : {std::string(), region}) made.queues.push_back(queue_name(service, v, r));
  }
  made.group = "router-gateway";
  made.inbox = "router:inbox:" + service + ":" + instance;
  made.state = state;
  made.interval_ms = 1000;
  return made;
}

InstanceFrame hello(const std::string& instance, std::uint64_t seq = 1, InstanceState state = InstanceState::healthy,
                    const std::string& version = "1.0", const std::string& region = "eu") {
  return frame(FrameType::hello, instance, seq, state, version, region);
}

InstanceFrame heartbeat(const std::string& instance, std::uint64_t seq, InstanceState state = InstanceState::healthy) {
  return frame(FrameType::heartbeat, instance, seq, state);
}

InstanceFrame goodbye(const std::string& instance, std::uint64_t seq) {
  return frame(FrameType::goodbye, instance, seq);
}

InstanceFrame with_hash(InstanceFrame made, const std::string& hash) {
  made.metadata_hash = hash;
  return made;
}

EndpointsUpdate update(const std::string& instance, std::uint64_t seq, const std::string& hash) {
  return {instance, seq, "billing", "1.0", hash, "router:endpoints:billing:" + hash};
}

using Events = std::vector<std::string>;

TEST(Registry, hello_endpoints_heartbeat_and_goodbye_are_told) {
  Fixture f;

  EXPECT_TRUE(f.receive(hello("i", 1, InstanceState::starting)));
  EXPECT_EQ(f.queue("billing"), "none");
  EXPECT_TRUE(f.receive(update("i", 2, "h1")));
  EXPECT_TRUE(f.receive(with_hash(heartbeat("i", 3), "h1")));

  EXPECT_EQ(f.queue("billing"), "router:requests:billing");
  EXPECT_TRUE(f.registry.has_live_instance("billing"));
  ASSERT_EQ(f.registry.instances("billing").size(), 1U);
  EXPECT_EQ(f.registry.find("i")->metadata_hash, "h1");
  ASSERT_EQ(f.registry.metadata_in_use().size(), 1U);
  EXPECT_EQ(f.registry.metadata_in_use()[0].inbox, "router:inbox:billing:i");

  EXPECT_TRUE(f.receive(goodbye("i", 4)));
  EXPECT_EQ(f.queue("billing"), "none");
  EXPECT_FALSE(f.registry.has_live_instance("billing"));
  EXPECT_EQ(f.registry.find("i"), nullptr);
  EXPECT_TRUE(f.registry.metadata_in_use().empty());
  EXPECT_EQ(f.listener.take(), (Events{"hello i new", "endpoints i h1", "heartbeat i", "closed i goodbye"}));
}

TEST(Registry, frames_without_identity_are_refused) {
  Fixture f;
  InstanceFrame nameless = hello("i");
  nameless.service.clear();
  EndpointsUpdate nameless_update = update("i", 1, "h");
  nameless_update.service.clear();

  EXPECT_FALSE(f.receive(nameless));
  EXPECT_FALSE(f.receive(nameless_update));
  EXPECT_FALSE(f.receive(hello("")));
  EXPECT_FALSE(f.receive(hello("i", 0)));
  EXPECT_FALSE(f.receive(update("i", 1, "")));
  EXPECT_TRUE(f.registry.services().empty());
  EXPECT_TRUE(f.listener.events.empty());
}

TEST(Registry, outdated_and_repeated_frames_change_nothing) {
  Fixture f;
  f.receive(heartbeat("i", 5));
  const auto revision = f.registry.revision();
  f.listener.take();

  EXPECT_TRUE(f.receive(heartbeat("i", 5, InstanceState::draining)));
  EXPECT_TRUE(f.receive(heartbeat("i", 4, InstanceState::draining)));
  EXPECT_TRUE(f.receive(heartbeat("i", 6)));

  EXPECT_EQ(f.registry.revision(), revision);
  EXPECT_EQ(f.listener.take(), (Events{"heartbeat i"}));
  EXPECT_EQ(f.queue("billing"), "router:requests:billing");
}

TEST(Registry, unknown_heartbeat_seeds_the_instance) {
  Fixture f;

  f.receive(heartbeat("i", 7));

  EXPECT_EQ(f.listener.take(), (Events{"heartbeat i new"}));
  EXPECT_EQ(f.queue("billing"), "router:requests:billing");
}

TEST(Registry, goodbye_is_final_even_for_later_sequence_numbers) {
  Fixture f;
  f.receive(goodbye("i", 3));

  f.receive(heartbeat("i", 9), kNow + 1000);

  EXPECT_FALSE(f.registry.has_live_instance("billing"));
  EXPECT_TRUE(f.listener.events.empty());
}

TEST(Registry, missed_heartbeats_degrade_then_close_once) {
  Fixture f;
  f.receive(hello("i"));
  f.listener.take();

  f.registry.advance(kNow + 2000);
  EXPECT_EQ(f.registry.find("i")->state, InstanceState::healthy);
  f.registry.advance(kNow + 2001);
  EXPECT_EQ(f.registry.find("i")->state, InstanceState::degraded);
  f.registry.advance(kNow + 3000);
  EXPECT_TRUE(f.registry.has_live_instance("billing"));
  EXPECT_TRUE(f.listener.events.empty());
  f.registry.advance(kNow + 3001);
  f.registry.advance(kNow + 9000);

  EXPECT_EQ(f.listener.take(), (Events{"closed i stale"}));
  EXPECT_FALSE(f.registry.has_live_instance("billing"));
}

TEST(Registry, a_stale_instance_comes_back_with_its_next_heartbeat) {
  Fixture f;
  f.receive(hello("i"));
  f.registry.advance(kNow + 5000);
  f.listener.take();

  f.receive(heartbeat("i", 2), kNow + 6000);

  EXPECT_EQ(f.listener.take(), (Events{"heartbeat i new"}));
  EXPECT_EQ(f.queue("billing"), "router:requests:billing");
}

TEST(Registry, an_old_frame_does_not_make_a_live_instance_stale_since_newer_ones_may_wait_behind_it) {
  Fixture f;
  f.receive(hello("i"));
  f.registry.advance(kNow);
  f.listener.take();

  f.receive(heartbeat("i", 2), kNow + 1000, kNow + 9000);
  f.receive(with_hash(heartbeat("i", 3), "h"), kNow + 2000, kNow + 9000);
  f.receive(update("i", 4, "g"), kNow + 2500, kNow + 9000);
  EXPECT_TRUE(f.registry.has_live_instance("billing"));
  f.receive(heartbeat("i", 5), kNow + 8500, kNow + 9000);
  f.registry.advance(kNow + 9000);
  EXPECT_EQ(f.listener.take(), (Events{"heartbeat i", "heartbeat i", "endpoints i g", "heartbeat i"}));

  f.registry.advance(kNow + 8500 + 3001);
  EXPECT_EQ(f.listener.take(), (Events{"closed i stale"}));
}

TEST(Registry, retained_frames_of_the_long_dead_are_not_told) {
  Fixture f;

  f.receive(hello("i"), kNow - 3001, kNow);

  EXPECT_TRUE(f.listener.events.empty());
  EXPECT_FALSE(f.registry.has_live_instance("billing"));
}

TEST(Registry, a_lost_connection_closes_until_a_newer_frame) {
  Fixture f;
  f.receive(hello("i", 4));
  f.listener.take();

  f.registry.report_lost("i");
  f.registry.report_lost("i");
  f.registry.report_lost("unknown");
  f.receive(hello("i", 4), kNow + 10);
  EXPECT_EQ(f.listener.take(), (Events{"closed i lost"}));
  EXPECT_FALSE(f.registry.has_live_instance("billing"));

  f.receive(heartbeat("i", 5), kNow + 20);
  EXPECT_EQ(f.listener.take(), (Events{"heartbeat i new"}));
}

TEST(Registry, goodbyes_are_remembered_for_ten_minutes_then_forgotten) {
  Fixture f;
  f.receive(hello("i"));
  f.receive(goodbye("i", 2));
  ASSERT_EQ(f.registry.services().size(), 1U);
  EXPECT_EQ(f.registry.services()[0].live_instances, 0U);

  f.registry.advance(kNow + kForgetInstanceMs);
  EXPECT_EQ(f.registry.services().size(), 1U);
  const auto revision = f.registry.revision();
  f.registry.advance(kNow + kForgetInstanceMs + 1);

  EXPECT_TRUE(f.registry.services().empty());
  EXPECT_GT(f.registry.revision(), revision);
}

TEST(Registry, announced_intervals_are_kept_within_bounds) {
  Fixture f;
  InstanceFrame eternal = hello("eternal");
  eternal.interval_ms = 0xffffffff;
  InstanceFrame unsaid = hello("unsaid");
  unsaid.interval_ms = 0;
  f.receive(eternal);
  f.receive(unsaid);

  f.registry.advance(kNow + 30'000);
  EXPECT_NE(f.registry.find("unsaid"), nullptr);
  f.registry.advance(kNow + 30'001);
  EXPECT_EQ(f.registry.find("unsaid"), nullptr);
  f.registry.advance(kNow + 3 * kLongestIntervalMs + 1);
  EXPECT_EQ(f.registry.find("eternal"), nullptr);
}

TEST(Registry, instances_are_bounded_and_the_gone_make_room) {
  Fixture f(2);
  f.receive(hello("a"));
  f.receive(hello("b"));
  EXPECT_FALSE(f.receive(hello("c")));

  f.receive(goodbye("a", 2));
  EXPECT_TRUE(f.receive(hello("c")));

  EXPECT_EQ(f.registry.instances("billing").size(), 2U);
  EXPECT_EQ(f.registry.find("a"), nullptr);
}

TEST(Registry, narrowest_satisfying_address_is_chosen) {
  Fixture f;
  f.receive(hello("a", 1, InstanceState::healthy, "1.0", "eu"));
  f.receive(hello("b", 1, InstanceState::healthy, "2.0", "us"));

  EXPECT_EQ(f.queue("billing"), "router:requests:billing");
  EXPECT_EQ(f.queue("billing", "", "eu"), "router:requests:billing@eu");
  EXPECT_EQ(f.queue("billing", "", "asia"), "router:requests:billing");
  EXPECT_EQ(f.queue("billing", "2.0"), "router:requests:billing:2.0");
  EXPECT_EQ(f.queue("billing", "2.0", "us"), "router:requests:billing:2.0@us");
  EXPECT_EQ(f.queue("billing", "2.0", "eu"), "router:requests:billing:2.0");
  EXPECT_EQ(f.queue("billing", "2"), "none");
  EXPECT_EQ(f.queue("other"), "none");
  EXPECT_EQ(f.registry.choose_address("billing", "", "")->instances, (std::vector<std::string>{"a", "b"}));
  EXPECT_EQ(f.registry.choose_address("billing", "", "us")->instances, (std::vector<std::string>{"b"}));
}

TEST(Registry, healthy_goes_before_degraded_and_the_rest_never) {
  Fixture f;
  f.receive(hello("a", 1, InstanceState::degraded, "1.0", "eu"));
  EXPECT_EQ(f.queue("billing", "", "eu"), "router:requests:billing@eu");
  f.receive(hello("b", 1, InstanceState::healthy, "1.0", "us"));

  EXPECT_EQ(f.queue("billing", "", "eu"), "router:requests:billing");
  const Address* address = f.registry.choose_address("billing", "", "");
  EXPECT_EQ(address->instances, (std::vector<std::string>{"b", "a"}));
  EXPECT_EQ(address->healthy, 1U);
  EXPECT_FALSE(address->notify);

  f.receive(hello("a", 2, InstanceState::draining, "1.0", "eu"));
  EXPECT_EQ(f.registry.choose_address("billing", "", "")->instances, (std::vector<std::string>{"b"}));
  f.receive(hello("b", 2, InstanceState::starting, "1.0", "us"));
  EXPECT_EQ(f.queue("billing"), "none");
  EXPECT_TRUE(f.registry.has_live_instance("billing"));
}

TEST(Registry, who_reads_late_waits_longer_for_signs_of_life) {
  RecordingListener listener;
  Registry registry(queue_name, listener, kInstances, 1000);
  ASSERT_TRUE(registry.receive(hello("i"), kNow, kNow));
  registry.advance(kNow + 3000);
  EXPECT_EQ(registry.find("i")->state, InstanceState::healthy);
  registry.advance(kNow + 3001);
  EXPECT_EQ(registry.find("i")->state, InstanceState::degraded);
  registry.advance(kNow + 4000);
  EXPECT_NE(registry.find("i"), nullptr);
  registry.advance(kNow + 4001);
  EXPECT_EQ(registry.find("i"), nullptr);
}

TEST(Registry, address_says_whether_one_of_its_readers_must_be_woken) {
  Fixture f;
  InstanceFrame woken = with_hash(hello("a", 1, InstanceState::healthy, "1.0", "eu"), "h1");
  woken.wake = frames::WakeMode::notify;
  f.receive(woken);
  f.receive(with_hash(hello("b", 1, InstanceState::healthy, "1.0", "us"), "h2"));
  EXPECT_TRUE(f.registry.choose_address("billing", "", "")->notify);
  EXPECT_TRUE(f.registry.choose_address("billing", "", "eu")->notify);
  EXPECT_FALSE(f.registry.choose_address("billing", "", "us")->notify);
  for (const auto& use : f.registry.metadata_in_use()) EXPECT_EQ(use.notify, use.metadata_hash == "h1");

  woken.type = FrameType::heartbeat;
  woken.seq = 2;
  woken.wake = frames::WakeMode::block;
  f.receive(woken);
  EXPECT_FALSE(f.registry.choose_address("billing", "", "")->notify);
}

TEST(Registry, queues_of_others_are_never_chosen) {
  Fixture f;
  InstanceFrame odd = hello("a");
  odd.queues = {"router:requests:payments", "router:requests:billing:2.0"};

  f.receive(odd);

  EXPECT_EQ(f.queue("billing"), "none");
  EXPECT_EQ(f.queue("billing", "2.0"), "none");
}

TEST(Registry, an_instance_without_version_and_region_counts_once) {
  Fixture f;

  f.receive(hello("a", 1, InstanceState::healthy, "", ""));

  EXPECT_EQ(f.registry.choose_address("billing", "", "eu")->instances.size(), 1U);
  EXPECT_EQ(f.registry.choose_address("billing", "", "")->healthy, 1U);
}

std::string routed(const Fixture& f) {
  return std::string(f.registry.services().at(0).metadata_hash);
}

TEST(Registry, metadata_of_most_usable_instances_route_then_the_latest) {
  Fixture f;
  f.receive(with_hash(hello("a"), "old"), kNow);
  EXPECT_EQ(routed(f), "old");
  f.receive(with_hash(hello("b"), "new"), kNow + 1);
  EXPECT_EQ(routed(f), "new");
  f.receive(with_hash(hello("c"), "old"), kNow - 1, kNow + 2);
  EXPECT_EQ(routed(f), "old");
  f.receive(with_hash(hello("d", 1, InstanceState::starting), "new"), kNow + 3);
  f.receive(with_hash(hello("e", 1, InstanceState::draining), "new"), kNow + 3);
  EXPECT_EQ(routed(f), "old");
  f.receive(with_hash(heartbeat("d", 2), "new"), kNow + 4);
  EXPECT_EQ(routed(f), "new");

  for (const char* id : {"a", "b", "c", "d", "e"}) f.receive(goodbye(id, 9), kNow + 5);
  EXPECT_EQ(routed(f), "new");  // remembered, for 503 instead of 404
  EXPECT_EQ(f.registry.services().at(0).registered_ms, kNow - 1);
}

TEST(Registry, heartbeats_without_a_hash_keep_the_known_one) {
  Fixture f;
  f.receive(hello("a"));
  f.receive(update("a", 2, "h"));
  f.receive(heartbeat("a", 3));

  EXPECT_EQ(routed(f), "h");
}

TEST(Registry, revision_rises_with_what_callers_can_see_and_only_then) {
  Fixture f;
  auto last = f.registry.revision();
  const auto has_risen = [&] { return std::exchange(last, f.registry.revision()) != last; };

  f.receive(hello("a"));
  EXPECT_TRUE(has_risen());
  f.receive(heartbeat("a", 2), kNow + 500);
  EXPECT_FALSE(has_risen());
  f.registry.advance(kNow + 1000);
  EXPECT_FALSE(has_risen());
  f.receive(update("a", 3, "h"), kNow + 1000);
  EXPECT_TRUE(has_risen());
  f.receive(heartbeat("a", 4, InstanceState::draining), kNow + 1000);
  EXPECT_TRUE(has_risen());
  f.registry.report_lost("a");
  EXPECT_TRUE(has_risen());
}

// Everything a caller can ask, as text.
std::string snapshot(const Fixture& f) {
  std::string text;
  for (const auto& service : f.registry.services()) {
    text += std::string(service.service) + " " + std::string(service.metadata_hash) + " " +
            std::to_string(service.registered_ms) + " " + std::to_string(service.live_instances) + "\n";
    for (const Instance* instance : f.registry.instances(service.service)) {
      text += "  " + instance->latest.instance + " " + std::to_string(instance->latest.seq) + " " +
              instance->latest.service_version + " " + std::to_string(static_cast<int>(instance->state)) + " " +
              instance->metadata_hash + " " + std::to_string(instance->registered_ms) + " " +
              std::to_string(instance->last_seen_ms) + "\n";
    }
    for (const char* version : {"", "1.0", "2.0"}) {
      for (const char* region : {"", "eu"}) text += "  " + f.queue(service.service, version, region) + "\n";
    }
  }
  for (const auto& use : f.registry.metadata_in_use()) text += std::string(use.metadata_hash) + std::string(use.inbox);
  return text;
}

TEST(Registry, any_permutation_and_duplicate_of_control_frames_gives_the_same_registry) {
  struct Sent {
    std::variant<InstanceFrame, EndpointsUpdate> frame;
    std::int64_t at_ms;
  };
  constexpr std::int64_t kEnd = kNow + 10'000;
  const auto play = [](const std::vector<Sent>& sent, const std::vector<std::size_t>& order) {
    Fixture f;
    for (const std::size_t i : order) {
      std::visit([&](const auto& one) { f.receive(one, sent[i].at_ms, kEnd); }, sent[i].frame);
    }
    f.registry.advance(kEnd);
    // Whoever was told as new is live or was told as closed.
    std::ptrdiff_t open = 0;
    for (const std::string& event : f.listener.events) {
      if (event.find(" new") != std::string::npos) ++open;
      if (event.rfind("closed", 0) == 0) --open;
    }
    EXPECT_EQ(open, static_cast<std::ptrdiff_t>(f.registry.instances("billing").size()));
    return snapshot(f);
  };
  // Each instance's frames in the order they were sent; the second set ends without, the third with a goodbye, the
  // fourth is silent since long ago.
  const std::vector<std::vector<Sent>> lives = {
      {{hello("a", 1, InstanceState::starting), kEnd - 900},
       {update("a", 2, "h1"), kEnd - 800},
       {heartbeat("a", 3), kEnd - 700},
       {update("a", 4, "h2"), kEnd - 600},
       {heartbeat("a", 5), kEnd - 100}},
      {{with_hash(hello("b", 1, InstanceState::healthy, "1.0"), "h1"), kEnd - 5000},
       {with_hash(hello("b", 2, InstanceState::healthy, "2.0"), "h3"), kEnd - 2500},
       {update("b", 3, "h1"), kEnd - 2400}},
      {{hello("c", 1), kEnd - 900},
       {update("c", 2, "h1"), kEnd - 800},
       {heartbeat("c", 3, InstanceState::draining), kEnd - 700},
       {goodbye("c", 4), kEnd - 600}},
      {{with_hash(hello("d", 1), "h1"), kEnd - 9000},
       {heartbeat("d", 2), kEnd - 8000},
       {update("d", 3, "h4"), kEnd - 7900}},
  };

  for (const std::vector<Sent>& life : lives) {
    std::vector<std::size_t> order(life.size());
    for (std::size_t i = 0; i < order.size(); ++i) order[i] = i;
    const std::string expected = play(life, order);
    do {
      ASSERT_EQ(play(life, order), expected);
      for (std::size_t again = 0; again < life.size(); ++again) {
        std::vector<std::size_t> repeated = order;
        repeated.push_back(again);
        ASSERT_EQ(play(life, repeated), expected);
      }
    } while (std::next_permutation(order.begin(), order.end()));
  }

  std::vector<Sent> all;
  for (const auto& life : lives) all.insert(all.end(), life.begin(), life.end());
  std::vector<std::size_t> order(all.size());
  for (std::size_t i = 0; i < order.size(); ++i) order[i] = i;
  const std::string expected = play(all, order);
  constexpr unsigned kSeed = 20240601;
  std::mt19937 generator(kSeed);
  for (int round = 0; round < 300; ++round) {
    std::vector<std::size_t> shuffled = order;
    for (int extra = 0; extra < 6; ++extra) shuffled.push_back(generator() % all.size());
    std::shuffle(shuffled.begin(), shuffled.end(), generator);
    ASSERT_EQ(play(all, shuffled), expected) << "seed " << kSeed << " round " << round;
  }
}

TEST(Registry, queues_are_those_where_something_may_wait) {
  Fixture f;
  f.receive(hello("gone", 1, InstanceState::healthy, "1.0", ""));
  f.receive(goodbye("gone", 2));
  InstanceFrame thief = hello("live", 1, InstanceState::healthy, "2.0", "");
  thief.queues.push_back("router:requests:payroll");
  f.receive(thief);

  EXPECT_EQ(f.registry.queues("billing", 10),
            (std::vector<std::string>{"router:requests:billing", "router:requests:billing:2.0", "router:requests:billing:1.0"}));
  EXPECT_EQ(f.registry.queues("billing", 2),
            (std::vector<std::string>{"router:requests:billing", "router:requests:billing:2.0"}));
  EXPECT_EQ(f.registry.queues("unheard-of", 10), (std::vector<std::string>{"router:requests:unheard-of"}));
}

}  // namespace
}  // namespace outrigger::router
