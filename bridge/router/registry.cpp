#include "bridge/router/registry.h"

#include <algorithm>
#include <tuple>

#include "bridge/base/limits.h"

namespace outrigger::router {

using base::Code;
using base::Error;
using base::Result;
using frames::FrameType;
using frames::InstanceFrame;
using frames::InstanceState;

namespace {

constexpr int kDegradedAfter = 2;  // heartbeat intervals without a frame
constexpr int kGoneAfter = 3;

std::int64_t interval_of(const InstanceFrame& frame) {
  constexpr std::int64_t kDefault = std::chrono::milliseconds(base::limits::kHeartbeatInterval).count();
  return std::clamp(frame.interval_ms == 0 ? kDefault : frame.interval_ms, kShortestIntervalMs, kLongestIntervalMs);
}

bool is_usable(InstanceState state) {
  return state == InstanceState::healthy || state == InstanceState::degraded;
}

// Everything the registry answers with; seq, type and the time between two heartbeats do not matter.
bool says_the_same(const InstanceFrame& a, const InstanceFrame& b) {
  const auto members = [](const InstanceFrame& f) {
    return std::tie(f.service, f.service_version, f.region, f.name, f.queues, f.group, f.inbox, f.state, f.interval_ms,
                    f.wake, f.min_version, f.max_version);
  };
  return members(a) == members(b);
}

}  // namespace

Registry::Registry(RequestQueueName request_queue, RegistryListener& listener, std::size_t max_instances,
                   std::int64_t read_late_ms)
    : request_queue_(std::move(request_queue)),
      listener_(listener),
      max_instances_(max_instances),
      read_late_ms_(read_late_ms) {}

Result<void> Registry::receive(const InstanceFrame& frame, std::int64_t at_ms, std::int64_t now_ms) {
  if (frame.service.empty()) return Error{Code::invalid, "control frame without a service name"};
  if (frame.instance.empty() || frame.seq == 0) return Error{Code::invalid, "control frame without instance or seq"};
  const auto found = find_or_add(frame.instance, at_ms, now_ms);
  if (!found) return found.error();
  Record& record = **found;
  if (frame.type == FrameType::goodbye) {
    record.said_goodbye = true;
    settle(record, now_ms, CloseReason::goodbye);
    return {};
  }

  const bool was_live = record.is_live;
  const bool is_newer = frame.seq > record.instance.latest.seq;
  if (is_newer) {
    const bool is_change = !record.has_state || !says_the_same(record.instance.latest, frame);
    if (record.has_state && record.instance.latest.service != frame.service) {
      note_change(record);
      leave_service(record);
    }
    record.instance.latest = frame;
    record.has_state = true;
    if (is_change) note_change(record);
  }
  // Unlike the rest, the hash may have come by an ENDPOINTS_UPDATE with a higher seq; an empty one means "not known".
  if (!frame.metadata_hash.empty() && frame.seq > record.hash_seq) {
    record.hash_seq = frame.seq;
    if (record.instance.metadata_hash != frame.metadata_hash) {
      record.instance.metadata_hash = frame.metadata_hash;
      note_change(record);
    }
  }
  join_service(record);
  settle(record, record.is_live ? advanced_ms_ : now_ms, CloseReason::stale);
  if (!record.is_live || (!is_newer && was_live)) return {};
  if (frame.type == FrameType::hello) {
    listener_.on_hello_received(record.instance, !was_live);
  } else {
    listener_.on_heartbeat_received(record.instance, !was_live);
  }
  return {};
}

Result<void> Registry::receive(const frames::EndpointsUpdate& update, std::int64_t at_ms, std::int64_t now_ms) {
  if (update.service.empty()) return Error{Code::invalid, "control frame without a service name"};
  if (update.instance.empty() || update.seq == 0) return Error{Code::invalid, "control frame without instance or seq"};
  if (update.metadata_hash.empty()) return Error{Code::invalid, "endpoints update without a hash"};
  const auto found = find_or_add(update.instance, at_ms, now_ms);
  if (!found) return found.error();
  Record& record = **found;
  const bool is_newer = update.seq > record.hash_seq;
  if (is_newer) {
    record.hash_seq = update.seq;
    if (record.instance.metadata_hash != update.metadata_hash) {
      record.instance.metadata_hash = update.metadata_hash;
      note_change(record);
    }
  }
  if (record.has_state) join_service(record);
  const bool was_live = record.is_live;
  settle(record, was_live ? advanced_ms_ : now_ms, CloseReason::stale);
  // It was thought stale, and this frame is the sign of life.
  if (!was_live && record.is_live) listener_.on_heartbeat_received(record.instance, /*is_new=*/true);
  if (is_newer && record.is_live) listener_.on_endpoints_updated(record.instance, update);
  return {};
}

void Registry::report_lost(std::string_view instance) {
  const auto at = records_.find(std::string(instance));
  if (at == records_.end() || !at->second.is_live) return;
  Record& record = at->second;
  record.lost_seq = record.instance.latest.seq;
  settle(record, record.instance.last_seen_ms, CloseReason::lost);
}

void Registry::advance(std::int64_t now_ms) {
  advanced_ms_ = now_ms;
  for (auto at = records_.begin(); at != records_.end();) {
    Record& record = at->second;
    settle(record, now_ms, CloseReason::stale);
    const auto current = at++;
    if (!record.is_live && now_ms - record.instance.last_seen_ms > kForgetInstanceMs) erase(current);
  }
}

// The record of `id`, with the frame's time noted. Times of the future are a clock's error, not a promise.
Result<Registry::Record*> Registry::find_or_add(const std::string& id, std::int64_t at_ms, std::int64_t now_ms) {
  at_ms = std::min(at_ms, now_ms);
  auto at = records_.find(id);
  if (at == records_.end()) {
    if (records_.size() >= max_instances_) {
      auto oldest = records_.end();
      for (auto other = records_.begin(); other != records_.end(); ++other) {
        if (other->second.is_live) continue;
        if (oldest == records_.end() || std::tie(other->second.instance.last_seen_ms, other->first) <
                                            std::tie(oldest->second.instance.last_seen_ms, oldest->first)) {
          oldest = other;
        }
      }
      if (oldest == records_.end()) {
        return Error{Code::overloaded, "more than " + std::to_string(max_instances_) + " live instances"};
      }
      erase(oldest);
    }
    at = records_.try_emplace(id).first;
    at->second.instance.registered_ms = at_ms;
    at->second.instance.last_seen_ms = at_ms;
  }
  Instance& instance = at->second.instance;
  instance.registered_ms = std::min(instance.registered_ms, at_ms);
  instance.last_seen_ms = std::max(instance.last_seen_ms, at_ms);
  return &at->second;
}

// Brings is_live and the effective state in line with what is known at `now_ms`.
void Registry::settle(Record& record, std::int64_t now_ms, CloseReason reason) {
  Instance& instance = record.instance;
  const std::int64_t interval = interval_of(instance.latest);
  const std::int64_t age = now_ms - instance.last_seen_ms - read_late_ms_;
  const bool is_live =
      record.has_state && !record.said_goodbye && instance.latest.seq > record.lost_seq && age <= kGoneAfter * interval;
  InstanceState state = instance.latest.state;
  if (state == InstanceState::healthy && age > kDegradedAfter * interval) state = InstanceState::degraded;
  if (is_live == record.is_live && state == instance.state) return;
  const bool is_closing = record.is_live && !is_live;
  record.is_live = is_live;
  instance.state = state;
  note_change(record);
  if (is_closing) listener_.on_connection_closed(instance, reason);
}

void Registry::note_change(const Record& record) {
  ++revision_;
  if (!record.has_state) return;
  if (const auto at = services_.find(record.instance.latest.service); at != services_.end())
    at->second.is_indexed = false;
}

void Registry::erase(std::unordered_map<std::string, Record>::iterator at) {
  note_change(at->second);
  if (at->second.has_state) leave_service(at->second);
  records_.erase(at);
}

// Also for a record that is only remembered: what is known of a service must not depend on the order of frames.
void Registry::join_service(const Record& record) {
  Service& service = services_[record.instance.latest.service];
  if (service.records.empty() || record.instance.registered_ms < service.registered_ms) {
    service.registered_ms = record.instance.registered_ms;
    ++revision_;
  }
  service.records.emplace(record.instance.latest.instance, &record);
}

void Registry::leave_service(const Record& record) {
  const auto service = services_.find(record.instance.latest.service);
  if (service == services_.end()) return;
  service->second.records.erase(record.instance.latest.instance);
  if (service->second.records.empty()) services_.erase(service);
}

void Registry::index(std::string_view name, const Service& service) const {
  if (service.is_indexed) return;
  service.is_indexed = true;
  service.live = 0;
  service.addresses.clear();
  // How much an instance's metadata count: usable before live before remembered, then numbers, then the latest.
  struct Votes {
    std::size_t usable = 0, live = 0, remembered = 0;
    std::int64_t latest_ms = 0;
  };
  std::map<std::string_view, Votes> votes;
  for (const auto wanted : {InstanceState::healthy, InstanceState::degraded}) {
    for (const auto& [id, record] : service.records) {
      const Instance& instance = record->instance;
      if (!record->is_live || instance.state != wanted) continue;
      const InstanceFrame& latest = instance.latest;
      for (const std::string& version : {std::string(), latest.service_version}) {
        for (const std::string& region : {std::string(), latest.region}) {
          const std::string queue = request_queue_(name, version, region);
          if (std::find(latest.queues.begin(), latest.queues.end(), queue) == latest.queues.end()) continue;
          Address& address = service.addresses[{version, region}];
          // An instance without a version or region would be counted twice.
          if (!address.instances.empty() && address.instances.back() == id) continue;
          address.queue = queue;
          address.instances.push_back(id);
          if (wanted == InstanceState::healthy) ++address.healthy;
          if (latest.wake == frames::WakeMode::notify) address.notify = true;
        }
      }
    }
  }
  for (const auto& [id, record] : service.records) {
    if (record->is_live) ++service.live;
    if (record->instance.metadata_hash.empty()) continue;
    Votes& vote = votes[record->instance.metadata_hash];
    ++vote.remembered;
    if (record->is_live) ++vote.live;
    if (record->is_live && is_usable(record->instance.state)) ++vote.usable;
    vote.latest_ms = std::max(vote.latest_ms, record->instance.registered_ms);
  }
  service.metadata_hash.clear();
  const auto best = std::max_element(votes.begin(), votes.end(), [](const auto& a, const auto& b) {
    const auto weight = [](const auto& entry) {
      const Votes& v = entry.second;
      // Of what is gone only the latest is of interest: it was the last to be true.
      return std::make_tuple(v.usable, v.live, v.latest_ms, v.remembered, entry.first);
    };
    return weight(a) < weight(b);
  });
  if (best != votes.end()) service.metadata_hash = best->first;
}

const Registry::Service* Registry::find_service(std::string_view name) const {
  const auto at = services_.find(name);
  if (at == services_.end()) return nullptr;
  index(at->first, at->second);
  return &at->second;
}

std::vector<const Instance*> Registry::instances(std::string_view service) const {
  std::vector<const Instance*> list;
  if (const Service* found = find_service(service)) {
    for (const auto& [id, record] : found->records) {
      if (record->is_live) list.push_back(&record->instance);
    }
  }
  return list;
}

std::vector<std::string> Registry::queues(std::string_view service, std::size_t limit) const {
  std::vector<std::string> found{request_queue_(service, {}, {})};
  const Service* known = find_service(service);
  if (known == nullptr) return found;
  for (const bool wants_live : {true, false}) {
    for (const auto& [id, record] : known->records) {
      if (record->is_live != wants_live) continue;
      const InstanceFrame& latest = record->instance.latest;
      for (const std::string& version : {std::string(), latest.service_version}) {
        for (const std::string& region : {std::string(), latest.region}) {
          if (found.size() >= limit) return found;
          const std::string queue = request_queue_(service, version, region);
          const bool is_announced = std::find(latest.queues.begin(), latest.queues.end(), queue) != latest.queues.end();
          if (is_announced && std::find(found.begin(), found.end(), queue) == found.end()) found.push_back(queue);
        }
      }
    }
  }
  return found;
}

const Instance* Registry::find(std::string_view instance) const {
  const auto at = records_.find(std::string(instance));
  return at != records_.end() && at->second.is_live ? &at->second.instance : nullptr;
}

bool Registry::has_live_instance(std::string_view service) const {
  const Service* found = find_service(service);
  return found != nullptr && found->live != 0;
}

std::vector<Registry::ServiceView> Registry::services() const {
  std::vector<ServiceView> list;
  for (const auto& [name, service] : services_) {
    index(name, service);
    list.push_back({name, service.metadata_hash, service.registered_ms, service.live});
  }
  return list;
}

std::vector<Registry::MetadataUse> Registry::metadata_in_use() const {
  std::vector<MetadataUse> list;
  for (const auto& [name, service] : services_) {
    std::map<std::string_view, const InstanceFrame*> holders;
    for (const auto& [id, record] : service.records) {
      const Instance& instance = record->instance;
      if (record->is_live && !instance.metadata_hash.empty()) {
        holders.try_emplace(instance.metadata_hash, &instance.latest);
      }
    }
    for (const auto& [hash, holder] : holders) {
      list.push_back({name, hash, holder->inbox, holder->wake == frames::WakeMode::notify});
    }
  }
  return list;
}

const Address* Registry::choose_address(std::string_view service, std::string_view version,
                                        std::string_view region) const {
  const Service* found = find_service(service);
  if (found == nullptr) return nullptr;
  const Address* degraded = nullptr;
  for (const std::string_view address_region : {region, std::string_view()}) {
    const auto at = found->addresses.find(std::pair(version, address_region));
    if (at == found->addresses.end()) continue;
    if (at->second.healthy != 0) return &at->second;
    if (degraded == nullptr) degraded = &at->second;
  }
  return degraded;
}

}  // namespace outrigger::router
