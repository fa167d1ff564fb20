// Registration: tells the gateways of this instance. Stores the service's metadata under their hash, says HELLO, then a
// HEARTBEAT per interval and at every change of state, answers RESYNC_REQUEST, and says GOODBYE. See docs/protocol.md,
// "Flow".
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "bridge/frames/frame_codec.h"
#include "bridge/messaging/bus.h"
#include "bridge/net/event_loop.h"
#include "bridge/net/timer.h"
#include "bridge/openapi/metadata_codec.h"

namespace outrigger::sidecar {

class Registration final : private messaging::BusObserver {
 public:
  struct Options {
    frames::InstanceFrame identity;  // all but seq, state and metadata_hash
    base::Duration interval;
  };
  Registration(net::EventLoop& loop, messaging::Bus& bus, const frames::QueueNames& names, Options options);
  ~Registration();

  // Nothing is said before both are known: metadata, and a state other than starting.
  void set_metadata(const openapi::EncodedMetadata& metadata);
  void set_state(frames::InstanceState state);
  frames::InstanceState state() const { return identity_.state; }
  // A HEARTBEAT now.
  void say_alive() {
    if (has_said_hello_) beat(true);
  }
  // What we keep on the bus may be gone.
  void on_bus_emptied();
  void on_resync_requested(const frames::ResyncRequest& request);
  // The last word; nothing is said after it.
  void say_goodbye();
  // HELLO was confirmed by the bus.
  bool has_said_hello() const { return has_said_hello_; }

 private:
  void on_bus_connected(bool is_new_incarnation) override;
  void on_bus_lost(const base::Error& why) override;
  void announce();
  void store_metadata(bool announce_update);
  // `is_news`: gateways should not have to find it at their next look.
  void say(frames::FrameType type, bool is_news = true);
  void say_endpoints();
  void beat(bool is_news);
  messaging::Bus::PublishOptions publish_options(bool is_news) const;

  net::EventLoop& loop_;
  messaging::Bus& bus_;
  const frames::QueueNames& names_;
  frames::InstanceFrame identity_;
  base::Duration interval_;
  std::uint64_t seq_ = 0;
  std::string metadata_bytes_;
  bool has_said_hello_ = false;
  bool is_over_ = false;
  base::TimePoint refreshed_at_{};  // the metadata's TTL
  net::Timer beat_timer_;
};

}  // namespace outrigger::sidecar
