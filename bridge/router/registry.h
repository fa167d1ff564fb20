// Registry: what a caller knows about the instances of services, from their control frames alone. State is a function
// of the set of frames seen and of the time: any order and any duplicate of an instance's frames gives the same. It
// reads no clock and no socket: entry ids and Valkey's time come as arguments, in milliseconds. One thread, that of its
// owner.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "bridge/base/result.h"
#include "bridge/base/unique_function.h"
#include "bridge/frames/frame.h"

namespace outrigger::router {

inline constexpr std::size_t kInstances = 10000;                   // remembered ones, gone ones included
inline constexpr std::int64_t kForgetInstanceMs = 10 * 60 * 1000;  // how long a gone instance is remembered
inline constexpr std::int64_t kShortestIntervalMs = 100;           // announced intervals are taken as within these
inline constexpr std::int64_t kLongestIntervalMs = 5 * 60 * 1000;

struct Instance {
  frames::InstanceFrame latest;  // HELLO or HEARTBEAT with the highest seq
  std::string metadata_hash;     // the last one announced, by whichever frame; may be empty
  frames::InstanceState state = frames::InstanceState::starting;  // announced; degraded after two missed heartbeats
  std::int64_t registered_ms = 0;                                 // when its earliest frame was written
  std::int64_t last_seen_ms = 0;                                  // when its latest frame was written
};

// A queue to send to, and the usable instances that read it, healthy ones first, each in the order of their ids.
struct Address {
  std::string queue;
  std::vector<std::string> instances;
  std::size_t healthy = 0;
  bool notify = false;  // some of them announced wake mode `notify`
};

enum class CloseReason : std::uint8_t { goodbye, stale, lost };

// Told at once, from inside the call that caused it. It may ask the registry, but not change it.
class RegistryListener {
 public:
  virtual ~RegistryListener() = default;
  // `is_new`: nothing was known of the instance, or it had gone. A heartbeat of a new one should be answered by asking
  // for replay if its metadata are missing.
  virtual void on_hello_received(const Instance& instance, bool is_new) = 0;
  virtual void on_heartbeat_received(const Instance& instance, bool is_new) = 0;
  virtual void on_endpoints_updated(const Instance& instance, const frames::EndpointsUpdate& update) = 0;
  // Once per instance that was told as new.
  virtual void on_connection_closed(const Instance& instance, CloseReason reason) = 0;
};

class Registry {
 public:
  // Name of the address of a service; version and region may be empty (frames::QueueNames::request_queue).
  using RequestQueueName =
      base::UniqueFunction<std::string(std::string_view service, std::string_view version, std::string_view region)>;

  // `listener` outlives the registry. Queues whose names are not what `request_queue` makes of the instance's service,
  // version and region are never chosen: nobody can draw another service's requests. `read_late_ms`: frames may be read
  // so long after they were written, so that an instance's silence says nothing before.
  Registry(RequestQueueName request_queue, RegistryListener& listener, std::size_t max_instances = kInstances,
           std::int64_t read_late_ms = 0);
  Registry(const Registry&) = delete;
  Registry& operator=(const Registry&) = delete;

  // A frame from the control stream: `at_ms` is when it was written, `now_ms` now, both by one steady clock. What is outdated or
  // repeated changes nothing and is no error. No frame, however old, makes a live instance stale: newer ones may wait.
  // Errors: invalid (no service, no instance, seq 0), overloaded (no room).
  base::Result<void> receive(const frames::InstanceFrame& frame, std::int64_t at_ms, std::int64_t now_ms);
  base::Result<void> receive(const frames::EndpointsUpdate& update, std::int64_t at_ms, std::int64_t now_ms);

  // The instance's connection is known to be gone (PUBSUB NUMSUB says 0). Its next control frame brings it back.
  void report_lost(std::string_view instance);

  // Lets time pass: degrades and closes instances that missed heartbeats, forgets those long gone. To be called about
  // once a second, but only while the control stream is being read: silence of Valkey says nothing about instances. Nor
  // does a time in which the caller read nothing: `now_ms` is then what it was before that.
  void advance(std::int64_t now_ms);

  // Rises whenever an answer of the functions below may have changed.
  std::uint64_t revision() const { return revision_; }

  // Live instances in the order of their ids; pointers are good until the next change.
  std::vector<const Instance*> instances(std::string_view service) const;
  // The addresses of a service at which something may wait, the base one first: those its instances announced that are
  // what `request_queue` makes of their service, version and region; of live and of remembered ones, up to `limit`.
  std::vector<std::string> queues(std::string_view service, std::size_t limit) const;
  // nullptr if it is not live.
  const Instance* find(std::string_view instance) const;
  bool has_live_instance(std::string_view service) const;

  struct ServiceView {
    std::string_view service;
    // What to route by: the hash most usable instances have, among equals that of the latest to register. Empty until
    // one is announced.
    std::string_view metadata_hash;
    std::int64_t registered_ms;  // of its first instance
    std::size_t live_instances;  // 0: all are gone, not yet forgotten; its routes may stay to answer 503
  };
  // By name. Views are good until the next change.
  std::vector<ServiceView> services() const;

  // Metadata hashes that live instances announce: what the caller should have. `inbox` is where to ask for it.
  struct MetadataUse {
    std::string_view service;
    std::string_view metadata_hash;
    std::string_view inbox;
    bool notify;  // its reader is in wake mode `notify`
  };
  std::vector<MetadataUse> metadata_in_use() const;

  // The narrowest address that satisfies the request and has a usable instance; nullptr if there is none. Empty
  // `version` = any, else exactly that one; `region` is the caller's own, may be empty: its address goes first.
  // Addresses with a healthy instance go before all with only degraded ones; starting and draining ones do not count.
  // Good until the next change.
  const Address* choose_address(std::string_view service, std::string_view version, std::string_view region) const;

 private:
  struct Record {
    Instance instance;
    std::uint64_t hash_seq = 0;  // seq of the frame that metadata_hash is from
    std::uint64_t lost_seq = 0;  // seq when it was reported lost: frames up to this one prove nothing
    bool has_state = false;      // a HELLO or HEARTBEAT was seen: instance.latest is filled
    bool said_goodbye = false;   // for good
    bool is_live = false;        // told to the listener, not yet closed
  };
  using AddressKey = std::pair<std::string, std::string>;  // version, region
  struct Less {
    using is_transparent = void;
    template <class A, class B>
    bool operator()(const A& a, const B& b) const {
      return std::pair<std::string_view, std::string_view>(a) < std::pair<std::string_view, std::string_view>(b);
    }
  };
  struct Service {
    std::map<std::string, const Record*, std::less<>> records;  // with state, live or remembered
    std::int64_t registered_ms = 0;
    // Made anew when asked for after a change.
    mutable bool is_indexed = false;
    mutable std::size_t live = 0;
    mutable std::string metadata_hash;
    mutable std::map<AddressKey, Address, Less> addresses;
  };

  base::Result<Record*> find_or_add(const std::string& id, std::int64_t at_ms, std::int64_t now_ms);
  void settle(Record& record, std::int64_t now_ms, CloseReason reason);
  void note_change(const Record& record);
  void erase(std::unordered_map<std::string, Record>::iterator at);
  void join_service(const Record& record);
  void leave_service(const Record& record);
  void index(std::string_view name, const Service& service) const;
  const Service* find_service(std::string_view name) const;

  mutable RequestQueueName request_queue_;
  RegistryListener& listener_;
  std::size_t max_instances_;
  std::int64_t read_late_ms_;
  std::int64_t advanced_ms_ = 0;  // the last advance(): who is live was so then
  std::unordered_map<std::string, Record> records_;
  std::map<std::string, Service, std::less<>> services_;
  std::uint64_t revision_ = 1;
};

}  // namespace outrigger::router
