#include "gateway-edge/control.h"

#include <algorithm>
#include <limits>
#include <set>
#include <utility>

#include "bridge/base/limits.h"
#include "bridge/base/log.h"
#include "bridge/openapi/merge.h"
#include "bridge/openapi/metadata_codec.h"

namespace outrigger::gateway {
namespace {

using base::Result;
using messaging::EntryView;
using namespace std::chrono_literals;

constexpr base::Duration kTick = 1s;
constexpr base::Duration kConnectTick = 20ms;  // until the bus is there
// Routes of a service whose last instance left answer 503 for so long, then they are gone: a restart is no 404.
constexpr std::int64_t kRouteGraceMs = 60'000;
constexpr base::Duration kMetadataRetry = 1s;
constexpr base::Duration kReplayAskedTtl = 5s;  // one gateway of many asks for a hash, once in so long

// In wake mode `notify` the control stream is looked at now and then: not every sidecar tells of its frames.
std::int64_t read_late_ms(frames::WakeMode wake) {
  if (wake == frames::WakeMode::block) return 0;
  return std::chrono::milliseconds(base::limits::kSilentStreamLook).count();
}

}  // namespace

Control::Control(net::EventLoop& loop, messaging::Bus& bus, const frames::QueueNames& names, Options options,
                 OnView on_view)
    : loop_(loop),
      bus_(bus),
      names_(names),
      options_(std::move(options)),
      on_view_(std::move(on_view)),
      decoder_(names),
      registry_([&names](std::string_view service, std::string_view version,
                         std::string_view region) { return names.request_queue(service, version, region); },
                *this, router::kInstances, read_late_ms(options_.wake)),
      tick_timer_(loop, [this] { tick(); }) {
  if (options_.access_rules == nullptr) options_.access_rules = std::make_shared<const AccessRules>();
  arm_tick(0s);
  refresh_later();
}

Control::~Control() = default;

std::int64_t Control::now_ms() const {
  return std::chrono::duration_cast<std::chrono::milliseconds>(loop_.now().time_since_epoch()).count();
}

base::WallMillis Control::wall_of(std::int64_t ms) const {
  return loop_.clock().wall() - std::chrono::milliseconds(now_ms() - ms);
}

void Control::on_entries(const std::string&, std::span<const EntryView> entries) {
  // A full read is followed by another one.
  const bool is_all = entries.size() < base::limits::kReadBatchBytes / base::limits::kFrameEntryBytes;
  if (is_all) has_looked_ = true;
  // What was there when all had been read was read: nothing is older, even if the server's clock was moved meanwhile.
  const std::int64_t since_last_read = last_read_ms_ ? now_ms() - *last_read_ms_ : std::numeric_limits<std::int64_t>::max();
  if (is_all) last_read_ms_ = now_ms();
  for (const EntryView& entry : entries) {
    auto frame = decoder_.decode(entry.fields);
    if (!frame) {
      ++refused_frames_;
      base::log_debug("skipped a control frame", {{"why", frame.error().detail}});
      continue;
    }
    // Its age counts by the server's clock, once; from then on time passes by ours, whatever becomes of the server's.
    const std::int64_t now = now_ms();
    const std::int64_t age = bus_.now_ms() - static_cast<std::int64_t>(entry.id.ms);
    const std::int64_t at_ms = now - std::clamp<std::int64_t>(age, 0, since_last_read);
    Result<void> received;
    if (const auto* instance = std::get_if<frames::InstanceFrame>(&*frame)) {
      received = registry_.receive(*instance, at_ms, now);
    } else if (const auto* update = std::get_if<frames::EndpointsUpdate>(&*frame)) {
      received = registry_.receive(*update, at_ms, now);
    }
    if (received) continue;
    ++refused_frames_;
    base::log_warn("refused a control frame", {{"why", received.error().detail}});
  }
  refresh_later();
}

void Control::on_hello_received(const router::Instance& instance, bool is_new) {
  if (!is_new) return;
  base::log_info("instance joined", {{"service", instance.latest.service},
                                     {"version", instance.latest.service_version},
                                     {"instance", instance.latest.instance}});
}

void Control::on_endpoints_updated(const router::Instance&, const frames::EndpointsUpdate& update) {
  const auto at = metadata_.find(update.metadata_hash);
  if (at != metadata_.end()) at->second.retry_at = {};  // it is there now
}

void Control::on_connection_closed(const router::Instance& instance, router::CloseReason reason) {
  const std::string_view why = reason == router::CloseReason::goodbye ? "goodbye"
                               : reason == router::CloseReason::stale ? "no heartbeat"
                                                                      : "connection lost";
  base::log_info("instance left",
                 {{"service", instance.latest.service}, {"instance", instance.latest.instance}, {"why", why}});
}

void Control::report_lost(const std::vector<std::string>& instances) {
  for (const std::string& instance : instances) registry_.report_lost(instance);
  refresh_later();
}

void Control::arm_tick(base::Duration after) {
  tick_due_ = loop_.now() + after;
  tick_timer_.arm(after);
}

void Control::tick() {
  // Held up, by a stopped process or a machine without time for it. Heartbeats of that time wait to be read.
  const auto late = std::chrono::ceil<std::chrono::milliseconds>(loop_.now() - tick_due_);
  arm_tick(bus_.is_connected() ? kTick : kConnectTick);
  if (!bus_.is_connected()) return;
  // Not before the server's clock is known: the ages of what is read are counted by it.
  if (reader_ == nullptr) reader_ = bus_.make_cursor_reader({{names_.control(), {}, false}}, *this);
  const messaging::BusStatus status = bus_.status();
  // An empty or missing control stream sends nothing; a second of a working bus is a look, too.
  if (loop_.now() - bus_.connected_since() > kTick && status.problem.empty()) has_looked_ = true;
  // While writes are refused heartbeats are, too: whose stay away then is not gone, and his routes are not either.
  if (status.refuses_writes) {
    refused_at_ = loop_.now();
    for (auto& [service, since] : without_instances_since_) since = now_ms();
  }
  // Shortly after a reconnect, or a refusal, the heartbeats of the meantime are still being read.
  if (loop_.now() - std::max(bus_.connected_since(), refused_at_) > 5 * kTick) registry_.advance(now_ms() - late.count());
  refresh();
}

void Control::refresh_later() {
  if (std::exchange(refresh_is_due_, true)) return;
  loop_.defer([this] {
    refresh_is_due_ = false;
    refresh();
  });
}

void Control::refresh() {
  fetch_metadata();
  bool grace_ended = false;
  for (const auto& service : registry_.services()) {
    const std::string name(service.service);
    if (service.live_instances > 0) {
      without_instances_since_.erase(name);
    } else {
      const auto [since, is_new] = without_instances_since_.try_emplace(name, now_ms());
      grace_ended = grace_ended || (routed_.contains(name) && now_ms() - since->second > kRouteGraceMs);
    }
  }
  forget_unused();
  // Not before what the first look found has been fetched, too, or was found missing.
  is_known_ = is_known_ || (has_looked_ && std::none_of(metadata_.begin(), metadata_.end(), [](const auto& item) {
    return item.second.value == nullptr && item.second.retry_at == base::TimePoint{};
  }));
  const bool is_first_look = is_known_ && !std::exchange(has_published_look_, is_known_);
  if (published_revision_ == registry_.revision() && !std::exchange(has_new_metadata_, false) && !grace_ended &&
      !is_first_look) {
    return;
  }
  published_revision_ = registry_.revision();
  publish_view();
}

// Every deployment brings another hash: what no instance announces and no service routes by goes.
void Control::forget_unused() {
  std::set<std::string, std::less<>> used;
  std::set<std::string, std::less<>> known;
  for (const auto& use : registry_.metadata_in_use()) used.emplace(use.metadata_hash);
  for (const auto& service : registry_.services()) {
    used.emplace(service.metadata_hash);
    known.emplace(service.service);
  }
  std::erase_if(metadata_, [&](const auto& item) { return !item.second.is_fetching && !used.contains(item.first); });
  std::erase_if(without_instances_since_, [&](const auto& item) { return !known.contains(item.first); });
}

void Control::fetch_metadata() {
  if (!bus_.is_connected()) return;
  for (const auto& use : registry_.metadata_in_use()) {
    if (use.metadata_hash.empty()) continue;
    const std::string hash(use.metadata_hash);
    Metadata& metadata = metadata_[hash];
    if (metadata.value != nullptr || metadata.is_fetching || metadata.retry_at > loop_.now()) continue;
    metadata.is_fetching = true;
    bus_.get(names_.endpoints_key(use.service, hash),
             [this, hash, service = std::string(use.service), inbox = std::string(use.inbox),
              notify = use.notify](Result<std::optional<std::string>> bytes) {
               Metadata& fetched = metadata_[hash];
               fetched.is_fetching = false;
               fetched.retry_at = loop_.now() + kMetadataRetry;
               if (!bytes) return;
               if (!bytes->has_value()) return ask_for_replay(service, hash, inbox, notify);
               auto decoded = openapi::decode_metadata(**bytes, hash);
               if (!decoded || decoded->service != service) {
                 base::log_warn("a service's metadata cannot be used",
                                {{"service", service}, {"why", decoded ? "of another service" : decoded.error().detail}});
                 return ask_for_replay(service, hash, inbox, notify);
               }
               fetched.value = std::make_shared<const openapi::ServiceMetadata>(std::move(*decoded));
               has_new_metadata_ = true;
               refresh_later();
             });
  }
}

void Control::ask_for_replay(const std::string& service, const std::string& hash, const std::string& inbox,
                             bool notify) {
  // Of many gateways one asks.
  bus_.set(names_.endpoints_key(service, hash) + ":asked", options_.gateway, kReplayAskedTtl, true,
           [this, hash, inbox, notify](Result<bool> is_ours) {
             if (!is_ours || !*is_ours) return;
             const auto frame =
                 frames::encode(frames::ResyncRequest{options_.gateway, hash, "metadata are not in Valkey"});
             if (!frame) return;
             bus_.publish(inbox, *frame, {.notify = notify}, [](Result<std::optional<messaging::EntryId>>) {});
           });
}

std::size_t Control::ask_to_replay(std::string_view wanted) {
  const auto frame = frames::encode(frames::ResyncRequest{options_.gateway, {}, "asked by an operator"});
  if (!frame) return 0;
  std::size_t asked = 0;
  for (const auto& service : registry_.services()) {
    for (const router::Instance* instance : registry_.instances(service.service)) {
      if (!wanted.empty() && wanted != instance->latest.instance) continue;
      const bool notify = instance->latest.wake == frames::WakeMode::notify;
      bus_.publish(instance->latest.inbox, *frame, {.notify = notify}, [](Result<std::optional<messaging::EntryId>>) {});
      ++asked;
    }
  }
  return asked;
}

// One line when it appears, one when it is gone.
void Control::report_conflicts() {
  std::set<std::string> present;
  for (const router::RouteConflict& conflict : routes_->conflicts()) {
    std::string text = conflict.service + " at " + conflict.mount + ": " + conflict.reason;
    if (!conflicts_.contains(text)) {
      base::log_warn("not routed", {{"service", conflict.service},
                                    {"mount", conflict.mount},
                                    {"why", conflict.reason},
                                    {"what_to_do", conflict.advice}});
    }
    present.insert(std::move(text));
  }
  for (const std::string& text : conflicts_) {
    if (!present.contains(text)) base::log_info("no longer in conflict", {{"what", text}});
  }
  conflicts_ = std::move(present);
}

void Control::publish_view() {
  auto addresses = std::make_shared<router::AddressBook>();
  std::vector<router::RouteSource> sources;
  std::map<std::string, std::shared_ptr<const openapi::ServiceMetadata>> routed;
  std::map<std::string, std::string> shown;
  const auto in_use = registry_.metadata_in_use();
  for (const auto& service : registry_.services()) {
    const std::string name(service.service);
    if (const auto* address = registry_.choose_address(name, {}, options_.region)) {
      addresses->add(name, {address->queue, address->instances, address->notify});
    }
    const auto empty_since = without_instances_since_.find(name);
    if (empty_since != without_instances_since_.end() && now_ms() - empty_since->second > kRouteGraceMs) continue;
    const auto metadata = metadata_.find(std::string(service.metadata_hash));
    auto value = metadata == metadata_.end() ? nullptr : metadata->second.value;
    if (value == nullptr) {
      // Of another version, and not here yet: until then it is routed as before.
      const auto before = routed_.find(name);
      if (before == routed_.end()) continue;
      value = before->second;
    }
    // An instance whose document cannot be had just now must not open to everybody what those of its twins guard.
    for (const auto& use : in_use) {
      if (!value->catch_all) break;
      const auto other = metadata_.find(std::string(use.metadata_hash));
      if (use.service == name && other != metadata_.end() && other->second.value != nullptr) value = other->second.value;
    }
    sources.push_back({value, service.registered_ms});
    routed.emplace(name, value);
    const std::string mount = value->mount.empty() ? "/" + name : value->mount;
    const std::string endpoints = value->catch_all ? "every path" : std::to_string(value->endpoints.size()) + " endpoints";
    shown.emplace(name, mount + "  (" + endpoints + ", " + std::to_string(service.live_instances) +
                            (service.live_instances == 1 ? " instance)" : " instances)"));
  }
  if (routed != routed_ || routes_ == nullptr) {
    routes_ = std::make_shared<const router::RouteTable>(std::move(sources));
    access_ = std::make_shared<const AccessTable>(options_.access_rules, routed, access_.get());
    report_conflicts();
    std::vector<const openapi::ServiceMetadata*> documents;
    for (const auto& mounted : routes_->mounted()) documents.push_back(routed.at(std::string(mounted.service)).get());
    auto merged = openapi::merge(documents);
    routed_ = std::move(routed);
    openapi_json_ = std::make_shared<const std::string>(std::move(merged.json));
    openapi_etag_ = std::move(merged.etag);
    openapi_problems_ = std::move(merged.problems);
    generated_at_ = base::to_rfc3339(loop_.clock().wall());
  }
  // What was refused has said so above.
  std::set<std::string_view> mounted;
  for (const auto& service : routes_->mounted()) mounted.insert(service.service);
  std::erase_if(shown, [&mounted](const auto& item) { return !mounted.contains(item.first); });
  for (const auto& [name, text] : shown) {
    const auto before = shown_.find(name);
    if (before == shown_.end() || before->second != text) base::log_info("route " + name + " -> " + text);
  }
  for (const auto& [name, text] : shown_) {
    if (!shown.contains(name)) base::log_info("route " + name + " is gone");
  }
  shown_ = std::move(shown);
  auto view = std::make_shared<RoutingView>();
  view->is_known = is_known_;
  view->routes = routes_;
  view->access = access_;
  view->addresses = std::move(addresses);
  view->openapi_json = openapi_json_;
  view->openapi_etag = openapi_etag_;
  view->generated_at = generated_at_;
  on_view_(std::move(view));
}

}  // namespace outrigger::gateway
