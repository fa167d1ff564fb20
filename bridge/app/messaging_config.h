// The Messaging block: how a program reaches the bus and what it calls things there. The same block serves
// Gateway:Transports:Messaging and Sidecar:Messaging. What each key does: docs/configuration.md.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>

#include "bridge/app/config_reader.h"
#include "bridge/base/limits.h"
#include "bridge/valkey/valkey_url.h"

namespace outrigger::app {

enum class Transport : std::uint8_t { valkey };
enum class WakeMode : std::uint8_t { block, notify };
enum class Redelivery : std::uint8_t { safe, always };

struct MessagingConfig {
  bool enabled = true;
  Transport transport = Transport::valkey;
  std::string connection_string = "valkey:6379";  // may hold a password: never printed
  int database = 0;
  // Both of the above, read; what connections use.
  valkey::ValkeyAddress valkey;
  // How long one blocking read waits at Valkey.
  std::chrono::milliseconds queue_wait_timeout = base::limits::kBlockTime;

  std::string consumer_group = "router-gateway";
  std::chrono::milliseconds request_timeout = base::limits::kRequestTimeout;
  std::chrono::milliseconds lease_duration = base::limits::kLeaseDuration;
  int batch_size = 0;  // most entries of one read; 0: as many as there are free slots
  std::chrono::milliseconds heartbeat_interval = base::limits::kHeartbeatInterval;
  WakeMode wake_mode = WakeMode::block;
  bool cluster_hash_tags = false;
  std::size_t max_queue_depth = base::limits::kMaxQueueDepth;
  Redelivery redelivery = Redelivery::safe;
  int max_attempts = base::limits::kMaxAttempts;

  // Names at Valkey. Those left empty are made from the prefix by finish_messaging.
  std::string key_prefix = "router";
  std::string control_queue_name;        // {prefix}:control
  std::string request_queue_template;    // {prefix}:requests:{service}
  std::string response_queue_name;       // {prefix}:responses; gateway, worker and epoch are appended
  std::string endpoints_key_template;    // {prefix}:endpoints:{service}:{hash}
  std::string inbox_queue_template;      // {prefix}:inbox:{service}:{instance}
  std::string alive_channel_template;    // {prefix}:alive:{service}:{instance}
  std::string cancel_channel_template;   // {prefix}:cancel:{service}
  std::string cancelled_set_template;    // {prefix}:cancelled:{service}
  std::string notify_channel_template;   // {prefix}:notify:{queue}
  std::string dead_queue_template;       // {prefix}:dead:{service}
};

// Declares the block below `section` ("Sidecar:Messaging"). `config` must outlive the table.
void declare_messaging(ConfigTable& table, const std::string& section, MessagingConfig& config);
// After reading: checks what concerns several keys and fills `valkey` and the names left empty.
void finish_messaging(ConfigReading& reading, const std::string& section, MessagingConfig& config);

}  // namespace outrigger::app
