#include "bridge/app/messaging_config.h"

#include <array>
#include <string_view>

namespace outrigger::app {
namespace {

using namespace std::chrono_literals;
using base::Code;
using base::Error;
using base::Result;

Result<void> check_prefix(const std::string& text) {
  constexpr std::string_view kAllowed = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._:-";
  if (!text.empty() && text.size() <= 64 && text.find_first_not_of(kAllowed) == std::string::npos) return {};
  return Error{Code::invalid, "'" + text + "' must be 1 to 64 of letters, digits, '.', '_', ':', '-'"};
}

std::string redact_connection_string(const std::string& text) {
  const auto address = valkey::parse_valkey_address(text);
  if (!address) return "***";
  return address->user.empty() && address->password.empty() ? text : address->to_string_redacted();
}

struct NameKey {
  const char* key;
  std::string frames::NameConfig::*member;
  const char* help;
  bool has_effect = true;
};
using Names = frames::NameConfig;
constexpr std::array<NameKey, 11> kNameKeys{
    {{"RequestQueueTemplate", &Names::request_queue_template,
      "Work stream of a service; `:{version}` and `@{region}` are appended to what it expands to."},
     {"ResponseQueueName", &Names::response_prefix,
      "Prefix of the streams that answers come back on; gateway, worker and epoch are appended."},
     {"ControlQueueName", &Names::control, "Stream of HELLO, HEARTBEAT and their kin."},
     {"InboxQueueTemplate", &Names::inbox_template, "Stream of what is meant for one sidecar."},
     {"EndpointsKeyTemplate", &Names::endpoints_template, "Key of a service's endpoints and OpenAPI document."},
     {"DeadQueueTemplate", &Names::dead_template, "Stream of dead letters."},
     {"AliveChannelTemplate", &Names::alive_template, "Channel that shows whether a sidecar's connection lives."},
     {"CancelChannelTemplate", &Names::cancel_template, "Channel of CANCEL and LOOK."},
     {"CancelledSetTemplate", &Names::cancelled_template, "Set of cancelled requests, by expiry."},
     {"NotifyChannelTemplate", &Names::notify_template, "Channel that wakes who reads a stream in wake mode notify."},
     {"RateKeyTemplate", &Names::rate_template, "Key of a rate limit's bucket that all gateways share."}}};

void check_database(ConfigReading& reading, const std::string& section, MessagingConfig& config) {
  const std::string key = section + ":Database";
  const ConfigLevel of_key = reading.level_of(key);
  const ConfigLevel of_text = reading.level_of(section + ":ConnectionString");
  if (config.valkey.has_database && of_key == of_text && config.valkey.database != config.names.database) {
    reading.fail(key, std::to_string(config.names.database) + ", but the ConnectionString beside it says database " +
                          std::to_string(config.valkey.database) + "; leave one of them out");
  }
  // Whichever was set by the stronger source: `--valkey valkey://h/3` wins over `Database: 0` of the file.
  if (!config.valkey.has_database || of_key > of_text) config.valkey.database = config.names.database;
  config.names.database = config.valkey.database;
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
      .flag("--valkey", "URL")
      .alias(at + "valkey:ConnectionString");
  table
      .add_integer(at + "Database", config.names.database, 0, 65535, "Number of the database; that of a URL otherwise.")
      .alias(at + "valkey:Database");
  table.add_seconds(
      at + "valkey:QueueWaitTimeoutSeconds", config.queue_wait_timeout, 1, 60,
      "How long one read waits for entries before it asks again: at Valkey, or in wake mode notify for a message. A "
      "server that hangs is noticed 5 s after that.");
  table.add_text(at + "ConsumerGroup", config.names.consumer_group, "The consumer group on every request queue.");
  table.add_duration(at + "RequestTimeout", config.request_timeout, 1ms, 24h,
                     "How long a client waits before 504; the value of a route wins. The gateway's.");
  table.add_duration(at + "LeaseDuration", config.lease_duration, 100ms, 1h,
                     "How long a sidecar owns a request without renewing; renewed at a third of it. The sidecar's.");
  table.add_integer(at + "BatchSize", config.batch_size, 0, 10000,
                    "Most requests taken by one read; 0: as many as there are free slots. The sidecar's.");
  table.add_duration(at + "HeartbeatInterval", config.heartbeat_interval, 100ms, 10min,
                     "Pause between heartbeats; announced in them, and thresholds follow it. The sidecar's.");
  table.add_choice<WakeMode>(at + "WakeMode", config.wake_mode,
                             {{"block", WakeMode::block}, {"notify", WakeMode::notify}},
                             "How this program learns of new entries: by blocking reads, or by Pub/Sub where those are "
                             "not allowed. Others follow it; it need not be the same everywhere.");
  table.add_boolean(at + "ClusterHashTags", config.names.cluster_hash_tags,
                    "Puts service names in braces, so that a cluster keeps a service's keys together.");
  table.add_integer(at + "MaxQueueDepth", config.max_queue_depth, 1, 10'000'000,
                    "Requests waiting at one queue before further ones get 503 queue-full. The gateway's.");
  table.add_choice<Redelivery>(
      at + "Redelivery", config.redelivery, {{"safe", Redelivery::safe}, {"always", Redelivery::always}},
      "safe: what may not run twice never does; always: at-least-once for everything. The sidecar's.");
  table.add_integer(at + "MaxAttempts", config.max_attempts, 1, 100,
                    "Calls of the service that may begin for one request before it is answered 502. The gateway's.");
  table.add_integer(at + "DeadLetters:MaxCount", config.dead_letters, 0, 1'000'000,
                    "Requests that were given up and are kept per service, the newest ones; 0: none. The sidecar's.");
  table.add_size(at + "DeadLetters:MaxBytes", config.dead_letter_bytes, 1024 * 1024, std::size_t{64} << 30,
                 "Most memory they may take at Valkey, per service. The sidecar's.");
  table.add_boolean(at + "DeadLetters:Expired", config.dead_letter_expired,
                    "Keeps also those whose deadline passed before they were begun. The sidecar's.");
  table.add_text(at + "KeyPrefix", config.names.key_prefix, "First part of each name below that is not set itself.",
                 check_prefix);
  const auto defaults = frames::QueueNames::make({});
  for (const NameKey& name : kNameKeys) {
    ConfigKey& key = table.add_text(at + name.key, config.names.*name.member, name.help);
    key.fallback = defaults->config().*name.member;
    if (!name.has_effect) key.no_effect();
  }
}

void finish_messaging(ConfigReading& reading, const std::string& section, MessagingConfig& config) {
  if (!config.enabled) {
    reading.fail(section + ":Enabled",
                 "false, but messaging is the only transport: there would be nothing to serve; set it to true");
  }
  auto address = valkey::parse_valkey_address(config.connection_string);
  if (address) {
    config.valkey = std::move(*address);
    check_database(reading, section, config);
    // Never in the clear what was asked to be encrypted.
    if (config.valkey.tls) {
      reading.fail(section + ":ConnectionString",
                   "TLS to the server is not available in this version; use valkey:// or a unix socket");
    }
  } else {
    reading.fail(section + ":ConnectionString", address.error().detail);
  }
  auto names = frames::QueueNames::make(config.names);
  if (names) {
    config.names = names->config();
  } else {
    // Its messages begin with the key's name.
    const std::string& detail = names.error().detail;
    const std::size_t space = detail.find(' ');
    reading.fail(section + ":" + detail.substr(0, space), detail.substr(space + 1));
  }
}

}  // namespace outrigger::app
