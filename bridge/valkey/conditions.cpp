#include "bridge/valkey/conditions.h"

#include <charconv>

#include "bridge/base/check.h"

namespace outrigger::valkey {
namespace {

using base::Code;

constexpr std::size_t kQuoteBytes = 160;
constexpr int kLeastMajorVersion = 7;

// In the order of Condition.
constexpr ConditionInfo kTable[] = {
    {Condition::none, "ok", Scope::ordinary, Code::refused, false, "works", ""},
    {Condition::unreachable, "unreachable", Scope::connection, Code::closed, true,
     "nobody can be reached at this address", "start the server there, or correct the address; connecting goes on"},
    {Condition::lost, "connection-lost", Scope::connection, Code::closed, true, "the connection was lost",
     "look at the server's log if it does not come back; connecting goes on"},
    {Condition::silent, "silent", Scope::connection, Code::deadline, true, "the server does not answer",
     "it is suspended, busy with one long command or out of CPU: look at its load and at SLOWLOG GET"},
    {Condition::closed_unanswered, "closed-unanswered", Scope::connection, Code::closed, true,
     "the connection was closed before anything was answered",
     "is it a TLS port? TLS to Valkey is not supported in this version. Else a proxy without its server"},
    {Condition::http_server, "http-server", Scope::connection, Code::malformed, true, "an HTTP server answers there",
     "name the address of Valkey, not that of a web server"},
    {Condition::tls_server, "tls-server", Scope::connection, Code::malformed, true, "a TLS port answers there",
     "name Valkey's plain port: TLS to Valkey is not supported in this version"},
    {Condition::not_a_server, "not-valkey", Scope::connection, Code::malformed, true,
     "what answers there does not speak Valkey's protocol", "correct the address"},
    {Condition::too_many_clients, "too-many-clients", Scope::connection, Code::refused, true,
     "the server has all the clients it takes", "raise maxclients, or find out who holds connections: CLIENT LIST"},
    {Condition::protected_mode, "protected-mode", Scope::connection, Code::refused, true,
     "the server is in protected mode and takes no clients from other machines",
     "give the server a password and name it in the connection string"},
    {Condition::no_password, "no-password", Scope::connection, Code::unauthenticated, true,
     "the server asks for a password and none is configured", "name user and password in the connection string"},
    {Condition::wrong_password, "wrong-password", Scope::connection, Code::unauthenticated, true,
     "the server does not take user and password", "correct them in the connection string, or on the server: ACL LIST"},
    {Condition::wrong_database, "wrong-database", Scope::connection, Code::refused, true,
     "the server has no database of this number", "choose a lower number, or raise `databases` on the server"},
    {Condition::loading, "loading", Scope::connection, Code::refused, true, "the server is loading its data",
     "wait: it is used as soon as it is done"},
    {Condition::replica, "replica", Scope::connection, Code::refused, true, "the server is a replica",
     "name the primary; it is used as soon as it is one"},
    {Condition::role_changed, "role-changed", Scope::connection, Code::refused, true, "the server's role has changed",
     ""},
    {Condition::cluster, "cluster", Scope::connection, Code::refused, true, "the server is a node of a cluster",
     "cluster mode is not supported in this version: use a server with cluster-enabled no"},
    {Condition::too_old, "too-old", Scope::connection, Code::refused, true, "the server is too old",
     "use Valkey 7.2 or newer, or Redis 7.0 or newer"},
    {Condition::too_large, "reply-too-large", Scope::connection, Code::too_large, true,
     "a reply is larger than anything this program asks for", "somebody else writes to our keys: see docs/valkey.md"},
    {Condition::out_of_memory, "out-of-memory", Scope::writes, Code::overloaded, false,
     "the server has reached maxmemory and refuses writes",
     "raise maxmemory, or find out what fills it: MEMORY DOCTOR, XLEN of router:requests:*"},
    {Condition::cannot_persist, "cannot-persist", Scope::writes, Code::refused, false,
     "the server cannot save its data and refuses writes",
     "give its disk room or rights, or set stop-writes-on-bgsave-error no"},
    {Condition::too_few_replicas, "too-few-replicas", Scope::writes, Code::refused, false,
     "the server has too few replicas and refuses writes", "bring its replicas back, or lower min-replicas-to-write"},
    {Condition::no_permission, "no-permission", Scope::place, Code::forbidden, false,
     "the server does not permit this command on this key",
     "give the user the rules of docs/valkey.md: ACL GETUSER, ACL LOG"},
    {Condition::wrong_type, "wrong-type", Scope::place, Code::refused, false,
     "this key holds something that is not ours",
     "rename or delete the key, or give this installation another KeyPrefix"},
    {Condition::unknown_command, "unknown-command", Scope::place, Code::refused, false,
     "the server does not know this command", "it was renamed or left out there: use a server that has it"},
    {Condition::busy, "busy", Scope::place, Code::refused, false, "the server is busy with somebody's script",
     "SCRIPT KILL ends a script that has not written"},
    {Condition::other_error, "refused", Scope::place, Code::refused, false, "the server refused a command", ""},
    {Condition::evicts, "evicts", Scope::setup, Code::refused, false,
     "the server throws keys away when it reaches maxmemory, requests and answers among them",
     "set maxmemory-policy noeviction"},
    {Condition::missing, "missing", Scope::ordinary, Code::not_found, false, "stream or group is not there", ""},
    {Condition::exists, "exists", Scope::ordinary, Code::refused, false, "the group is there already", ""},
};
static_assert(sizeof(kTable) / sizeof(kTable[0]) == kConditions);

struct Prefix {
  std::string_view text;
  Condition condition;
};
// As Valkey 7.2 to 8.0 and Redis 7.0 begin their error replies; the first that fits counts.
constexpr Prefix kPrefixes[] = {
    {"OOM", Condition::out_of_memory},
    {"MISCONF", Condition::cannot_persist},
    {"NOREPLICAS", Condition::too_few_replicas},
    {"LOADING", Condition::loading},
    {"READONLY", Condition::replica},
    {"MASTERDOWN", Condition::replica},
    // Redis 7.0 says this to a blocked reader where Valkey says NOGROUP; other UNBLOCKEDs tell of a new role.
    {"UNBLOCKED the stream key no longer exists", Condition::missing},
    {"UNBLOCKED", Condition::role_changed},
    {"NOAUTH", Condition::no_password},
    {"WRONGPASS", Condition::wrong_password},
    {"ERR AUTH <password> called without any password configured", Condition::wrong_password},
    {"NOPERM", Condition::no_permission},
    {"ERR ACL failure in script", Condition::no_permission},
    {"ERR The user executing the script can't", Condition::no_permission},
    {"WRONGTYPE", Condition::wrong_type},
    {"ERR DB index is out of range", Condition::wrong_database},
    {"NOGROUP", Condition::missing},
    {"ERR no such key", Condition::missing},
    {"ERR The XGROUP subcommand requires the key to exist", Condition::missing},
    {"BUSYGROUP", Condition::exists},
    {"BUSY", Condition::busy},
    {"ERR max number of clients", Condition::too_many_clients},
    {"DENIED", Condition::protected_mode},
    {"MOVED", Condition::cluster},
    {"ASK", Condition::cluster},
    {"CLUSTERDOWN", Condition::cluster},
    {"CROSSSLOT", Condition::cluster},
    {"TRYAGAIN", Condition::cluster},
    {"ERR SELECT is not allowed in cluster mode", Condition::cluster},
    {"ERR unknown command", Condition::unknown_command},
    {"ERR unknown subcommand", Condition::unknown_command},
    {"ERR Unknown subcommand", Condition::unknown_command},
};

bool is_word_character(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}

}  // namespace

const ConditionInfo& describe(Condition condition) {
  const auto index = static_cast<std::size_t>(condition);
  CHECK(index < static_cast<std::size_t>(kConditions));
  return kTable[index];
}

Condition condition_of(std::string_view text) {
  for (const Prefix& prefix : kPrefixes) {
    if (!text.starts_with(prefix.text)) continue;
    if (text.size() == prefix.text.size() || !is_word_character(text[prefix.text.size()])) return prefix.condition;
  }
  return Condition::other_error;
}

Condition condition_of_greeting(std::string_view bytes) {
  // Very old web servers answer what they do not understand with a bare page.
  if (bytes.starts_with("HTTP/") || bytes.starts_with("<")) return Condition::http_server;
  // A TLS alert: content type 21, version 3.x (RFC 8446 section 5.1).
  if (bytes.size() >= 2 && bytes[0] == 0x15 && bytes[1] == 0x03) return Condition::tls_server;
  return Condition::not_a_server;
}

bool is_version_enough(std::string_view version) {
  int major = 0;
  const char* end = version.data() + version.size();
  const auto [at, problem] = std::from_chars(version.data(), end, major);
  return problem == std::errc() && at != end && *at == '.' && major >= kLeastMajorVersion;
}

std::string quotable(std::string_view text) {
  text = text.substr(0, text.find(", with args beginning with"));
  if (text.size() <= kQuoteBytes) return std::string(text);
  return std::string(text.substr(0, kQuoteBytes)) + "...";
}

std::string_view info_value(std::string_view info, std::string_view name) {
  std::size_t at = 0;
  while (at < info.size()) {
    std::size_t end = info.find("\r\n", at);
    if (end == std::string_view::npos) end = info.size();
    const std::string_view line = info.substr(at, end - at);
    if (line.size() > name.size() && line.starts_with(name) && line[name.size()] == ':') {
      return line.substr(name.size() + 1);
    }
    at = end + 2;
  }
  return {};
}

base::Error error_of(std::string_view text) {
  return {describe(condition_of(text)).code, quotable(text)};
}

}  // namespace outrigger::valkey
