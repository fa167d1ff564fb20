#include "bridge/valkey/bus_state.h"

#include "bridge/valkey/link.h"

#include <algorithm>

#include "bridge/base/log.h"

namespace outrigger::valkey {
namespace {

using namespace std::chrono_literals;

// A refusal ends no sooner after it was last met: a server at the edge of its memory says both many times a second.
constexpr base::Duration kRefusalLasts = 1s;
// What nobody tried again for so long is no news any more.
constexpr base::Duration kRefusalMemory = 60s;
// Different places at a time: more of them is one cause, and enough was said.
constexpr std::size_t kMostRefusals = 32;

std::int64_t seconds(base::Duration time) {
  return std::chrono::duration_cast<std::chrono::seconds>(time).count();
}

std::string place_name(std::string_view command, std::string_view key) {
  std::string place(command);
  if (!key.empty()) place.append(" ").append(key);
  return place;
}

}  // namespace

void BusState::connection_down(const std::string& connection, Condition condition, std::string_view said) {
  const base::TimePoint now = loop_.now();
  if (down_.empty()) down_since_ = now;
  // Of one cause one line: other connections met it, too, or it ended with the command that was refused just now.
  const bool is_said =
      std::any_of(down_.begin(), down_.end(), [&](const auto& other) { return other.second.condition == condition; }) ||
      std::any_of(refusals_.begin(), refusals_.end(),
                  [&](const auto& met) { return met.second.condition == condition && met.second.last == now; });
  Trouble& trouble = down_[connection];
  trouble = {condition, quotable(said), connection, now, now};
  if (is_said) return;
  const ConditionInfo& info = describe(condition);
  base::log_warn("bus connection is down", {{"condition", info.name},
                                            {"server", server_},
                                            {"connection", connection},
                                            {"why", info.what},
                                            {"said", trouble.said},
                                            {"do", info.advice}});
}

void BusState::role_changed() {
  if (std::exchange(role_is_in_doubt_, true)) return;
  loop_.defer([this, links = std::weak_ptr(links_)] {
    if (links.expired()) return;
    // Who is told of a loss may end other links.
    for (Link* link : std::vector(*links_)) {
      if (std::find(links_->begin(), links_->end(), link) != links_->end()) link->greet_anew();
    }
    role_is_in_doubt_ = false;  // each of them has just said the same again
  });
}

void BusState::connection_up(const std::string& connection) {
  if (down_.erase(connection) == 0 || !down_.empty()) return;
  base::log_info("bus connection is back", {{"server", server_}, {"after_s", seconds(loop_.now() - down_since_)}});
}

void BusState::refused(Condition condition, std::string_view command, std::string_view key, std::string_view said) {
  const ConditionInfo& info = describe(condition);
  if (info.scope != Scope::writes && info.scope != Scope::place) return;
  advance();
  const std::string place = place_name(command, key);
  // Writes are refused whatever the key; a key is of a wrong type whatever the command.
  const std::string index = info.scope == Scope::writes                          ? std::string()
                            : condition == Condition::wrong_type && !key.empty() ? std::string(key)
                                                                                 : place;
  const auto at = refusals_.find(index);
  if (at != refusals_.end() && at->second.condition == condition) {
    at->second.last = loop_.now();
    at->second.is_over = false;
    return;
  }
  if (at == refusals_.end() && refusals_.size() >= kMostRefusals && info.scope == Scope::place) return;
  Trouble& trouble = refusals_[index];
  trouble = {condition, quotable(said), place, loop_.now(), loop_.now()};
  base::log_warn("the bus refuses", {{"condition", info.name},
                                     {"server", server_},
                                     {"at", place},
                                     {"why", info.what},
                                     {"said", trouble.said},
                                     {"do", info.advice}});
}

void BusState::end_refusals(std::string_view command, std::string_view key) {
  const auto mark = [this](const std::string& index) {
    if (const auto at = refusals_.find(index); at != refusals_.end()) at->second.is_over = true;
  };
  if (command == "XADD") mark({});  // the one that every such server refuses
  mark(place_name(command, key));
  if (!key.empty()) mark(std::string(key));
  advance();
}

void BusState::advance() {
  const base::TimePoint now = loop_.now();
  std::erase_if(refusals_, [&](const auto& item) {
    const auto& [index, trouble] = item;
    if (!trouble.is_over) return !index.empty() && now - trouble.last > kRefusalMemory;
    if (now - trouble.last < kRefusalLasts) return false;
    base::log_info("the bus no longer refuses", {{"condition", describe(trouble.condition).name},
                                                 {"server", server_},
                                                 {"at", index.empty() ? std::string("every write") : trouble.at},
                                                 {"after_s", seconds(now - trouble.since)}});
    return true;
  });
}

void BusState::set_memory_policy(std::string_view policy, std::uint64_t max_memory) {
  const bool is_bad = max_memory > 0 && !policy.empty() && policy != "noeviction";
  if (!is_bad && bad_policy_.empty()) return;
  if (is_bad && bad_policy_ == policy) return;
  bad_policy_ = is_bad ? std::string(policy) : std::string();
  const ConditionInfo& info = describe(Condition::evicts);
  if (is_bad) {
    base::log_warn("the bus may lose requests", {{"condition", info.name},
                                                 {"server", server_},
                                                 {"maxmemory_policy", policy},
                                                 {"why", info.what},
                                                 {"do", info.advice}});
  } else {
    base::log_info("the bus keeps what it is given", {{"server", server_}, {"maxmemory_policy", policy}});
  }
}

std::string BusState::text_of(const Trouble& trouble, std::string_view at) const {
  const ConditionInfo& info = describe(trouble.condition);
  std::string text = std::string(info.name) + ": " + std::string(info.what);
  if (!at.empty()) text.append(" (").append(at).append(")");
  text.append(" at ").append(server_);
  if (!trouble.said.empty()) text.append("; it says \"").append(trouble.said).append("\"");
  if (!info.advice.empty()) text.append("; ").append(info.advice);
  return text;
}

messaging::BusStatus BusState::status() {
  advance();
  messaging::BusStatus status;
  status.reconnects = reconnects_;
  status.round_trip = round_trip_;
  status.refuses_writes = refuses_writes();
  const auto show = [&](const Trouble& trouble, std::string_view at) {
    if (!status.problem.empty()) return;
    status.condition = describe(trouble.condition).name;
    status.problem = text_of(trouble, at);
  };
  // The command connection first: without it nothing works. The empty key, every write, sorts first of the refusals.
  for (const auto& [connection, trouble] : down_) {
    if (connection.ends_with(":commands")) show(trouble, {});
  }
  for (const auto& [index, trouble] : refusals_) {
    if (index.empty()) show(trouble, {});
  }
  for (const auto& [connection, trouble] : down_) show(trouble, trouble.at);
  for (const auto& [index, trouble] : refusals_) show(trouble, trouble.at);
  if (!bad_policy_.empty()) {
    const ConditionInfo& info = describe(Condition::evicts);
    status.warning = std::string(info.name) + ": " + std::string(info.what) + " (maxmemory-policy " + bad_policy_ +
                     " at " + server_ + "); " + std::string(info.advice);
    if (status.problem.empty()) status.condition = info.name;
  }
  return status;
}

}  // namespace outrigger::valkey
