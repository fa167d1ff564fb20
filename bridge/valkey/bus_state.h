// BusState: what stands between one bus and its server, for the log, for readiness and for metrics. A condition is
// logged when it begins and when it is over, wherever it was noticed first; retries in between say nothing. One per
// bus, loop thread only.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "bridge/base/clock.h"
#include "bridge/messaging/bus.h"
#include "bridge/net/event_loop.h"
#include "bridge/valkey/conditions.h"

namespace outrigger::valkey {

class Link;

class BusState {
 public:
  // `server`: its address without secrets. The loop outlives the state.
  BusState(net::EventLoop& loop, std::string server) : loop_(loop), server_(std::move(server)) {}
  BusState(const BusState&) = delete;
  BusState& operator=(const BusState&) = delete;

  // `connection`: as in CLIENT SETNAME. `said`: the server's or the system's words.
  void connection_down(const std::string& connection, Condition condition, std::string_view said);
  void connection_up(const std::string& connection);
  // It was greeted; whether it will do is another question.
  void connection_made(const std::string& connection) { reconnects_ += was_made_.insert(connection).second ? 0 : 1; }
  // The connections of this bus, for role_changed(). A link adds itself and takes itself out.
  void add(Link& link) { links_->push_back(&link); }
  void remove(Link& link) { std::erase(*links_, &link); }
  // One of them learnt that the server is, or for a moment was, no longer what it was: what the others learnt in their greeting
  // does not hold any more, and some would never hear of it (an idle one meets no READONLY). They greet anew.
  void role_changed();
  // It was given up for good.
  void connection_ended(const std::string& connection) { down_.erase(connection); }

  // A command met a condition of scope `writes` or `place`; others are ignored.
  void refused(Condition condition, std::string_view command, std::string_view key, std::string_view said);
  // A command did not. Costs a comparison when nothing is refused.
  void accepted(std::string_view command, std::string_view key) {
    if (!refusals_.empty()) end_refusals(command, key);
  }
  // Ends what was carried out again and stayed so, and forgets what nobody tries any more. Now and then; status() does,
  // too.
  void advance();
  bool refuses_writes() const { return refusals_.contains(std::string()); }

  // `policy` as INFO memory has it; `max_memory` 0: no limit, nothing is ever thrown away.
  void set_memory_policy(std::string_view policy, std::uint64_t max_memory);
  void set_round_trip(base::Duration round_trip) { round_trip_ = round_trip; }

  messaging::BusStatus status();

 private:
  struct Trouble {
    Condition condition = Condition::none;
    std::string said;
    std::string at;  // command and key that met it first, or the connection
    base::TimePoint since;
    base::TimePoint last;
    bool is_over = false;  // carried out again, but refused too shortly before
  };

  void end_refusals(std::string_view command, std::string_view key);
  std::string text_of(const Trouble& trouble, std::string_view at) const;

  net::EventLoop& loop_;
  std::string server_;
  std::map<std::string, Trouble> down_;      // by connection
  std::map<std::string, Trouble> refusals_;  // by "COMMAND key", or the key alone; empty: every write
  base::TimePoint down_since_;
  // Shared with nobody: ends with the state.
  std::shared_ptr<std::vector<Link*>> links_ = std::make_shared<std::vector<Link*>>();
  bool role_is_in_doubt_ = false;
  std::set<std::string> was_made_;
  std::uint64_t reconnects_ = 0;
  base::Duration round_trip_{};
  std::string bad_policy_;
};

}  // namespace outrigger::valkey
