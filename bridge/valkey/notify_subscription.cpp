#include "bridge/valkey/notify_subscription.h"

#include <algorithm>
#include <utility>

#include "bridge/base/ids.h"
#include "bridge/valkey/valkey_bus.h"

namespace outrigger::valkey {
namespace {

using base::Code;
using namespace std::chrono_literals;

constexpr base::Duration kPingInterval = 5s;
constexpr base::Duration kReplyDeadline = 10s;
// Subscribed to anew at a random time between these: a server, or what stands before it, may forget a subscription and
// go on answering PING. Random, so that a fleet does not do it in step.
constexpr std::chrono::milliseconds kRenewAtLeast = 60s;
constexpr std::chrono::milliseconds kRenewAtMost = 120s;

base::Duration until_renewal() {
  const auto span = static_cast<std::uint64_t>((kRenewAtMost - kRenewAtLeast).count());
  return kRenewAtLeast + std::chrono::milliseconds(base::random_below(span + 1));
}

}  // namespace

NotifySubscription::NotifySubscription(ValkeyBus& bus)
    : link_(bus.loop(), [&bus] {
        Link::Options options = bus.link_options("notify", kReplyDeadline);
        options.is_subscriber = true;
        return options;
      }(), bus.state(), *this),
      ping_timer_(bus.loop(), [this] { ping(); }),
      renew_timer_(bus.loop(), [this] { subscribe_to_all(); }) {}

void NotifySubscription::listen(Sleeper& sleeper, const std::vector<std::string>& channels) {
  std::vector<std::string>& known = sleepers_[&sleeper];
  if (known == channels) return;
  const std::vector<std::string> former = std::exchange(known, channels);
  for (const std::string& channel : channels) {
    const auto [at, is_new] = channels_.try_emplace(channel);
    at->second.sleepers.insert(&sleeper);
    if (is_new && link_.is_ready()) subscribe(channel);
  }
  for (const std::string& channel : former) {
    if (std::find(channels.begin(), channels.end(), channel) == channels.end()) leave(sleeper, channel);
  }
}

void NotifySubscription::forget(Sleeper& sleeper) {
  const auto at = sleepers_.find(&sleeper);
  if (at == sleepers_.end()) return;
  const std::vector<std::string> channels = std::move(at->second);
  sleepers_.erase(at);
  for (const std::string& channel : channels) leave(sleeper, channel);
}

bool NotifySubscription::is_confirmed(Sleeper& sleeper) const {
  const auto at = sleepers_.find(&sleeper);
  return at != sleepers_.end() && std::all_of(at->second.begin(), at->second.end(), [this](const std::string& channel) {
           return channels_.at(channel).is_confirmed;
         });
}

void NotifySubscription::leave(Sleeper& sleeper, const std::string& channel) {
  const auto at = channels_.find(channel);
  if (at == channels_.end() || at->second.sleepers.erase(&sleeper) == 0 || !at->second.sleepers.empty()) return;
  channels_.erase(at);
  if (link_.is_ready()) link_.command({"UNSUBSCRIBE", channel}, [](base::Result<Reply>) {});
}

// Also of those that are confirmed: to be subscribed twice is to be subscribed once, and nothing is lost meanwhile.
void NotifySubscription::subscribe_to_all() {
  if (!link_.is_ready()) return;
  for (const auto& [channel, state] : channels_) subscribe(channel);
  ping_timer_.arm(kPingInterval);
  renew_timer_.arm(until_renewal());
}

// One command per channel: each channel of a SUBSCRIBE has a reply of its own.
void NotifySubscription::subscribe(const std::string& channel) {
  ++unanswered_;
  link_.command({"SUBSCRIBE", channel}, [this, channel](base::Result<Reply> reply) {
    if (!reply) {
      if (reply.error().code != Code::outcome_unknown) link_.drop(reply.error());
      return;
    }
    if (const auto at = channels_.find(channel); at != channels_.end()) at->second.is_confirmed = true;
    if (--unanswered_ == 0) wake_all();
  });
}

void NotifySubscription::on_push(const Reply& message) {
  if (message.size() < 2) return;
  const auto at = channels_.find(message[1].text());
  if (at == channels_.end()) return;
  for (Sleeper* sleeper : at->second.sleepers) sleeper->on_wake();
}

void NotifySubscription::wake_all() {
  for (const auto& [sleeper, channels] : sleepers_) sleeper->on_wake();
}

void NotifySubscription::ping() {
  if (!link_.is_ready()) return;
  link_.command({"PING"}, [](base::Result<Reply>) {});
  ping_timer_.arm(kPingInterval);
}

void NotifySubscription::on_link_lost(const base::Error&) {
  ping_timer_.cancel();
  renew_timer_.cancel();
  unanswered_ = 0;
  for (auto& [name, channel] : channels_) channel.is_confirmed = false;
  wake_all();  // from now on they sleep shorter
}

}  // namespace outrigger::valkey
