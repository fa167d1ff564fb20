#include "bridge/app/messaging_config.h"

#include <algorithm>
#include <map>
#include <vector>

namespace outrigger::app {
namespace {

using namespace std::chrono_literals;
using base::Code;
using base::Error;
using base::Result;

constexpr std::size_t kLongestName = 200;

// A key's name at Valkey with exactly the placeholders `wanted` in it; empty stands for the default.
TextCheck template_of(std::vector<std::string> wanted) {
  return [wanted](const std::string& text) -> Result<void> {
    if (text.empty()) return {};
    const auto invalid = [&](const std::string& why) { return Error{Code::invalid, "'" + text + "' " + why}; };
    if (text.size() > kLongestName) return invalid("is longer than " + std::to_string(kLongestName) + " bytes");
    std::string rest = text;
    for (const std::string& name : wanted) {
      const std::string placeholder = "{" + name + "}";
      const std::size_t at = rest.find(placeholder);
      if (at == std::string::npos) return invalid("must contain " + placeholder);
      rest.erase(at, placeholder.size());
    }
    if (rest.find_first_of("{}") != std::string::npos) {
      return invalid("has braces that are no placeholder of this name (or one twice); for hash tags set ClusterHashTags");
    }
    const auto is_printable = [](char c) { return c > ' ' && c <= '~'; };
    if (!std::all_of(rest.begin(), rest.end(), is_printable)) return invalid("has a space or a control character");
    return {};
  };
}

Result<void> check_plain_name(const std::string& text) {
  constexpr std::string_view kAllowed = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._:-";
  if (!text.empty() && text.size() <= 64 && text.find_first_not_of(kAllowed) == std::string::npos) return {};
  return Error{Code::invalid, "'" + text + "' must be 1 to 64 of letters, digits, '.', '_', ':', '-'"};
}

std::string redact_connection_string(const std::string& text) {
  const auto address = valkey::parse_valkey_address(text);
  if (!address) return "***";
  return address->user.empty() && address->password.empty() ? text : address->to_string_redacted();
}

// The name keys with what their defaults add to the prefix.
struct NameKey {
  const char* key;
  std::string MessagingConfig::*member;
  const char* after_prefix;
  std::vector<std::string> placeholders;
  const char* help;
};
const std::vector<NameKey>& name_keys() {
  using M = MessagingConfig;
  static const std::vector<NameKey> keys{
      {"RequestQueueTemplate", &M::request_queue_template, ":requests:{service}", {"service"},
       "Work stream of a service; `:{version}` and `@{region}` are appended to what it expands to."},
      {"ResponseQueueName", &M::response_queue_name, ":responses", {},
       "Prefix of the streams that answers come back on; gateway, worker and epoch are appended."},
      {"ControlQueueName", &M::control_queue_name, ":control", {}, "Stream of HELLO, HEARTBEAT and their kin."},
      {"InboxQueueTemplate", &M::inbox_queue_template, ":inbox:{service}:{instance}", {"service", "instance"},
       "Stream of what is meant for one sidecar."},
      {"EndpointsKeyTemplate", &M::endpoints_key_template, ":endpoints:{service}:{hash}", {"service", "hash"},
       "Key of a service's endpoints and OpenAPI document."},
      {"DeadQueueTemplate", &M::dead_queue_template, ":dead:{service}", {"service"}, "Stream of dead letters."},
      {"AliveChannelTemplate", &M::alive_channel_template, ":alive:{service}:{instance}", {"service", "instance"},
       "Channel that shows whether a sidecar's connection lives."},
      {"CancelChannelTemplate", &M::cancel_channel_template, ":cancel:{service}", {"service"}, "Channel of CANCEL."},
      {"CancelledSetTemplate", &M::cancelled_set_template, ":cancelled:{service}", {"service"},
       "Set of cancelled request ids, by expiry."},
      {"NotifyChannelTemplate", &M::notify_channel_template, ":notify:{queue}", {"queue"},
       "Channel that wakes consumers in wake mode notify."}};
  return keys;
}

void check_database(ConfigReading& reading, const std::string& section, MessagingConfig& config) {
  const std::string key = section + ":Database";
  const ConfigLevel of_key = reading.level_of(key);
  const ConfigLevel of_text = reading.level_of(section + ":ConnectionString");
  if (config.valkey.has_database && of_key == of_text && config.valkey.database != config.database) {
    reading.fail(key, std::to_string(config.database) + ", but the ConnectionString beside it says database " +
                          std::to_string(config.valkey.database) + "; leave one of them out");
  }
  // Whichever was set by the stronger source: `--valkey valkey://h/3` wins over `Database: 0` of the file.
  if (!config.valkey.has_database || of_key > of_text) config.valkey.database = config.database;
  config.database = config.valkey.database;
}

}  // namespace

void declare_messaging(ConfigTable& table, const std::string& section, MessagingConfig& config) {
  const std::string at = section + ":";
  table.add_boolean(at + "Enabled", config.enabled, "Whether messaging is used; it is the only transport so far.");
  table.add_choice<Transport>(at + "Transport", config.transport, {{"valkey", Transport::valkey}}, "The kind of bus.");
  table
      .add_text(at + "ConnectionString", config.connection_string,
                "Where Valkey is: host:port, valkey://user:password@host:port/db, valkeys:// (TLS), unix:///path, or "
                "host:port,password=...,user=...,ssl=...,defaultDatabase=...")
      .secret(redact_connection_string)
      .alias(at + "valkey:ConnectionString");
  table.add_integer(at + "Database", config.database, 0, 65535, "Number of the database; that of a URL otherwise.")
      .alias(at + "valkey:Database");
  table.add_seconds(at + "valkey:QueueWaitTimeoutSeconds", config.queue_wait_timeout, 1, 60,
                    "How long one blocking read waits at Valkey before it asks again.");
  table.add_text(at + "ConsumerGroup", config.consumer_group, "The consumer group on every request queue.",
                 check_plain_name);
  table.add_duration(at + "RequestTimeout", config.request_timeout, 1ms, 24h,
                     "How long a client waits before 504; the value of a route wins.");
  table.add_duration(at + "LeaseDuration", config.lease_duration, 100ms, 1h,
                     "How long a sidecar owns a request without renewing; renewed at a third of it.");
  table.add_integer(at + "BatchSize", config.batch_size, 0, 10000,
                    "Most requests taken by one read; 0: as many as there are free slots.");
  table.add_duration(at + "HeartbeatInterval", config.heartbeat_interval, 100ms, 10min,
                     "Pause between heartbeats; announced in them, and thresholds follow it.");
  table.add_choice<WakeMode>(at + "WakeMode", config.wake_mode,
                             {{"block", WakeMode::block}, {"notify", WakeMode::notify}},
                             "How consumers wake: blocking reads, or Pub/Sub where those are not allowed.");
  table.add_boolean(at + "ClusterHashTags", config.cluster_hash_tags,
                    "Puts service names in braces, so that a cluster keeps a service's keys together.");
  table.add_integer(at + "MaxQueueDepth", config.max_queue_depth, 1, 10'000'000,
                    "Requests waiting at one queue before further ones get 503 queue-full.");
  table.add_choice<Redelivery>(at + "Redelivery", config.redelivery,
                               {{"safe", Redelivery::safe}, {"always", Redelivery::always}},
                               "safe: what may not run twice never does; always: at-least-once for everything.");
  table.add_integer(at + "MaxAttempts", config.max_attempts, 1, 100,
                    "Calls of the service that may begin for one request before it becomes a dead letter.");
  table.add_text(at + "KeyPrefix", config.key_prefix, "First part of each name below that is not set itself.",
                 check_plain_name);
  for (const NameKey& name : name_keys()) {
    ConfigKey& key =
        table.add_text(at + name.key, config.*name.member, name.help, template_of(name.placeholders));
    key.fallback = config.key_prefix + name.after_prefix;
  }
}

void finish_messaging(ConfigReading& reading, const std::string& section, MessagingConfig& config) {
  if (!config.enabled) {
    reading.fail(section + ":Enabled",
                 "false, but messaging is the only transport: there would be nothing to serve; set it to true");
  }
  if (config.wake_mode == WakeMode::notify) {
    reading.fail(section + ":WakeMode", "'notify' is not yet available in this version; use block");
  }
  auto address = valkey::parse_valkey_address(config.connection_string);
  if (address) {
    config.valkey = std::move(*address);
    check_database(reading, section, config);
  } else {
    reading.fail(section + ":ConnectionString", address.error().detail);
  }
  std::map<std::string, std::string> key_of;
  for (const NameKey& name : name_keys()) {
    std::string& text = config.*name.member;
    if (text.empty()) text = config.key_prefix + name.after_prefix;
    const auto [first, is_new] = key_of.emplace(text, name.key);
    if (!is_new) reading.fail(section + ":" + name.key, "'" + text + "' is the name of " + first->second + ", too");
  }
}

}  // namespace outrigger::app
