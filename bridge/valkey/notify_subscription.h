// Wake mode `notify`: who waits for entries without a blocking command hears of them over Pub/Sub. One connection per
// bus, shared by its readers. A message is a hint and no more: it may be lost with its connection, so a sleeper looks
// for itself whenever it is woken, and never sleeps without a timer of its own (docs/protocol.md, "Waking").
#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "bridge/net/timer.h"
#include "bridge/valkey/link.h"

namespace outrigger::valkey {

class ValkeyBus;

class Sleeper {
 public:
  // Look again: there was a message on one of your channels, or what came meanwhile was not heard (the subscription was
  // confirmed or lost). Must not destroy a sleeper.
  virtual void on_wake() = 0;

 protected:
  ~Sleeper() = default;
};

class NotifySubscription final : private LinkHandler {
 public:
  // The bus outlives it.
  explicit NotifySubscription(ValkeyBus& bus);

  // From now on these channels wake `sleeper`, and no others. It is woken, too, when their subscription is confirmed: for
  // the first time, after a reconnect, and each time they are subscribed to anew. Costs nothing if nothing changes. The
  // sleeper calls forget() before it ends.
  void listen(Sleeper& sleeper, const std::vector<std::string>& channels);
  void forget(Sleeper& sleeper);
  // Every channel of it is subscribed to, as far as the server has said.
  bool is_confirmed(Sleeper& sleeper) const;

 private:
  struct Channel {
    std::set<Sleeper*> sleepers;
    bool is_confirmed = false;
  };

  void on_link_ready() override { subscribe_to_all(); }
  void on_link_lost(const base::Error& why) override;
  void on_push(const Reply& message) override;
  void subscribe_to_all();
  void subscribe(const std::string& channel);
  void leave(Sleeper& sleeper, const std::string& channel);
  void wake_all();
  void ping();

  std::map<Sleeper*, std::vector<std::string>> sleepers_;
  std::map<std::string, Channel, std::less<>> channels_;
  std::size_t unanswered_ = 0;  // SUBSCRIBEs of the present connection
  Link link_;
  net::Timer ping_timer_;
  net::Timer renew_timer_;
};

}  // namespace outrigger::valkey
