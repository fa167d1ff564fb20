// The gateway's view of the fleet: reads the control stream, keeps the registry, fetches metadata (and asks for what is
// missing), and publishes a new RoutingView whenever something changed. One per process, on the main loop.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>

#include "bridge/base/unique_function.h"
#include "bridge/frames/frame_codec.h"
#include "bridge/messaging/bus.h"
#include "bridge/net/event_loop.h"
#include "bridge/net/timer.h"
#include "bridge/router/registry.h"
#include "gateway-edge/routing_view.h"

namespace outrigger::gateway {

class Control final : private messaging::CursorReaderHandler, private router::RegistryListener {
 public:
  struct Options {
    std::string gateway;  // process id
    std::string region;
    frames::WakeMode wake = frames::WakeMode::block;  // of the bus
    std::shared_ptr<const AccessRules> access_rules = nullptr;  // nullptr: none, and what nothing is said of is allowed
  };
  using OnView = base::UniqueFunction<void(std::shared_ptr<const RoutingView>)>;
  // `on_view` is called from the loop, first with an empty view.
  Control(net::EventLoop& loop, messaging::Bus& bus, const frames::QueueNames& names, Options options, OnView on_view);
  ~Control() override;

  // Workers saw that the instances' alive channels are empty.
  void report_lost(const std::vector<std::string>& instances);
  // Mounts that could not be given to the service that announced them, as of the present table.
  std::size_t route_conflicts() const { return routes_ == nullptr ? 0 : routes_->conflicts().size(); }
  std::uint64_t refused_frames() const { return refused_frames_; }
  // The retained part of the control stream was read once: the view is not just empty for want of looking.
  bool has_looked() const { return is_known_; }

  // For operators: what is known, and the table in effect (nullptr before the first).
  const router::Registry& registry() const { return registry_; }
  const router::RouteTable* routes() const { return routes_.get(); }
  // What its endpoints demand; nullptr as routes().
  const AccessTable* access() const { return access_.get(); }
  // What that table was made from, by service.
  using Routed = std::map<std::string, std::shared_ptr<const openapi::ServiceMetadata>>;
  const Routed& routed() const { return routed_; }
  // What the merged OpenAPI document had to leave out.
  const std::vector<std::string>& openapi_problems() const { return openapi_problems_; }
  const std::string& region() const { return options_.region; }
  // What the registry counts by: milliseconds of this process' own steady clock.
  std::int64_t now_ms() const;
  // When that was by this host's clock, for people.
  base::WallMillis wall_of(std::int64_t ms) const;
  bool is_bus_connected() const { return bus_.is_connected(); }
  // Asks one live instance to register anew, or all with an empty id. Returns how many were asked.
  std::size_t ask_to_replay(std::string_view instance);

 private:
  void on_entries(const std::string& stream, std::span<const messaging::EntryView> entries) override;
  void on_hello_received(const router::Instance& instance, bool is_new) override;
  void on_heartbeat_received(const router::Instance&, bool) override {}
  void on_endpoints_updated(const router::Instance& instance, const frames::EndpointsUpdate& update) override;
  void on_connection_closed(const router::Instance& instance, router::CloseReason reason) override;

  void arm_tick(base::Duration after);
  void tick();
  void refresh_later();
  void refresh();
  void forget_unused();
  void fetch_metadata();
  void ask_for_replay(const std::string& service, const std::string& hash, const std::string& inbox, bool notify);
  void publish_view();
  void report_conflicts();

  struct Metadata {
    std::shared_ptr<const openapi::ServiceMetadata> value;  // null while missing
    bool is_fetching = false;
    base::TimePoint retry_at;
  };

  net::EventLoop& loop_;
  messaging::Bus& bus_;
  const frames::QueueNames& names_;
  Options options_;
  OnView on_view_;
  frames::FrameDecoder decoder_;
  router::Registry registry_;
  std::unique_ptr<messaging::CursorReader> reader_;
  std::map<std::string, Metadata> metadata_;  // by hash
  std::uint64_t published_revision_ = 0;
  bool has_new_metadata_ = false;
  bool refresh_is_due_ = false;
  std::optional<std::int64_t> last_read_ms_;  // all that the control stream had was read, by now_ms()
  bool is_known_ = false;           // what was there at the start is
  bool has_looked_ = false;
  bool has_published_look_ = false;
  base::TimePoint refused_at_;  // when the bus was last seen to refuse writes
  std::uint64_t refused_frames_ = 0;  // that do not follow the grammar, or that the registry has no room for
  std::map<std::string, std::int64_t> without_instances_since_;  // service -> by now_ms()
  std::map<std::string, std::string> shown_;                     // service -> what was logged of its routes
  // service -> what the present table was made from
  Routed routed_;
  std::vector<std::string> openapi_problems_;
  std::shared_ptr<const router::RouteTable> routes_;
  std::shared_ptr<const AccessTable> access_;
  std::set<std::string> conflicts_;  // as logged
  std::shared_ptr<const std::string> openapi_json_;
  std::string openapi_etag_;
  std::string generated_at_;
  base::TimePoint tick_due_;
  net::Timer tick_timer_;
};

}  // namespace outrigger::gateway
