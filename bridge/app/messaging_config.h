// The Messaging block: how a program reaches the bus and what it calls things there. The same block serves
// Gateway:Transports:Messaging and Sidecar:Messaging. What each key does: docs/configuration.md.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>

#include "bridge/app/config_reader.h"
#include "bridge/base/limits.h"
#include "bridge/frames/frame.h"
#include "bridge/frames/queue_names.h"
#include "bridge/valkey/valkey_url.h"

namespace outrigger::app {

enum class Transport : std::uint8_t { valkey };
using frames::WakeMode;
enum class Redelivery : std::uint8_t { safe, always };

struct MessagingConfig {
  bool enabled = true;
  Transport transport = Transport::valkey;
  std::string connection_string = "valkey:6379";  // may hold a password: never printed
  // Where that is and, by Database or the text, which database; what connections use.
  valkey::ValkeyAddress valkey;
  // How long one blocking read waits at Valkey.
  std::chrono::milliseconds queue_wait_timeout = base::limits::kBlockTime;

  std::chrono::milliseconds request_timeout = base::limits::kRequestTimeout;
  std::chrono::milliseconds lease_duration = base::limits::kLeaseDuration;
  int batch_size = 0;  // most entries of one read; 0: as many as there are free slots
  std::chrono::milliseconds heartbeat_interval = base::limits::kHeartbeatInterval;
  WakeMode wake_mode = WakeMode::block;
  std::size_t max_queue_depth = base::limits::kMaxQueueDepth;
  Redelivery redelivery = Redelivery::safe;
  int max_attempts = base::limits::kMaxAttempts;
  std::size_t dead_letters = base::limits::kDeadLetters;  // per service; 0: none are kept
  std::size_t dead_letter_bytes = base::limits::kDeadLetterBytes;
  bool dead_letter_expired = false;

  // Prefix, templates, consumer group, database, hash tags: complete after finish_messaging, which proves that
  // QueueNames::make takes them.
  frames::NameConfig names;
};

// Declares the block below `section` ("Sidecar:Messaging"). `config` must outlive the table.
void declare_messaging(ConfigTable& table, const std::string& section, MessagingConfig& config);
// After reading: checks what concerns several keys and fills `valkey` and the names that were left empty.
void finish_messaging(ConfigReading& reading, const std::string& section, MessagingConfig& config);

}  // namespace outrigger::app
