// Conditions: every way in which a server, or what stands at its address, can refuse to be worked with. One closed
// table says how each is recognised, what it means for the command and for the connection, and what an operator does
// about it; docs/valkey.md prints it, and a test compares the two. Pure text, no sockets.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "bridge/base/result.h"

namespace outrigger::valkey {

enum class Condition : std::uint8_t {
  none,
  // There is no working connection.
  unreachable,
  lost,
  silent,
  closed_unanswered,
  http_server,
  tls_server,
  not_a_server,
  too_many_clients,
  protected_mode,
  no_password,
  wrong_password,
  wrong_database,
  loading,
  replica,
  role_changed,
  cluster,
  too_old,
  too_large,
  // The connection stands, and the server refuses every write.
  out_of_memory,
  cannot_persist,
  too_few_replicas,
  // It refuses some commands, or commands on some keys.
  no_permission,
  wrong_type,
  unknown_command,
  busy,
  other_error,
  // It works, but may lose data.
  evicts,
  // Ordinary answers that the callers handle: nothing for an operator.
  missing,
  exists,
};
inline constexpr int kConditions = 30;

// What a condition is true of, and thereby how often it is told.
enum class Scope : std::uint8_t { connection, writes, place, setup, ordinary };

struct ConditionInfo {
  Condition condition;
  std::string_view name;  // field of log lines, label of metrics: out-of-memory
  Scope scope;
  base::Code code;          // of the command that met it, see messaging/bus.h
  bool ends_connection;     // the server is not the one that was greeted, or not one to work with: greet again
  std::string_view what;    // half a sentence for logs and readiness
  std::string_view advice;  // what an operator does about it; empty where there is nothing to do
};

const ConditionInfo& describe(Condition condition);

// What an error reply, without its `-`, means. Any bytes; never fails: what is in no row is `other_error`.
Condition condition_of(std::string_view server_error);

// What bytes say that should have begun the first reply: http_server, tls_server or not_a_server. Any bytes.
Condition condition_of_greeting(std::string_view bytes);

// The value of the line `name:value` of an INFO section; empty if there is none.
std::string_view info_value(std::string_view info, std::string_view name);

// `major.minor…` as INFO has it is at least 7.0, the first with everything the bus uses. False for other text.
bool is_version_enough(std::string_view version);

// A server's text for logs: at most 160 bytes, and without the arguments some servers repeat, which may be secret.
std::string quotable(std::string_view server_error);

// What an error reply means to the caller, see messaging/bus.h. The detail begins with the server's text.
base::Error error_of(std::string_view server_error);

}  // namespace outrigger::valkey
