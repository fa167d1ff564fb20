// QueueNames: every key and channel of the protocol (docs/protocol.md, "Names"), made from one configuration, and the
// checks for names that arrive inside frames. Pure strings; immutable, so any thread may share one.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "bridge/base/result.h"

namespace outrigger::frames {

// The consumer that hand-backs are given to. It has no process and no alive channel, so any peer takes them at once.
inline constexpr std::string_view kParkedConsumer = "parked";

// Service names: [a-z0-9][a-z0-9._-]{0,62}. Versions and regions: [A-Za-z0-9._+-]{1,32}. Neither admits `:` or `@`,
// which is what makes the patterns of an ACL exact.
bool is_service_name(std::string_view text);
bool is_version_or_region(std::string_view text);
// Process ids, instance and gateway alike: 20 characters of 0-9 a-f.
bool is_process_id(std::string_view text);
// Request ids: 16 to 64 of A-Z a-z 0-9 _ -.
bool is_request_id(std::string_view text);
// Metadata hashes: 1 to 128 of A-Z a-z 0-9 _ -.
bool is_metadata_hash(std::string_view text);
// Ids of stream entries: two numbers of up to 20 digits with - between them.
bool is_entry_id(std::string_view text);
// Names of rate limits: 1 to 64 of A-Z a-z 0-9 . _ -.
bool is_rate_limit_name(std::string_view text);

// Empty members get their default, which is made from `key_prefix`.
struct NameConfig {
  std::string key_prefix = "router";
  std::string control = {};                 // {key_prefix}:control
  std::string request_queue_template = {};  // {key_prefix}:requests:{service}; then `:{version}` and `@{region}`
  std::string response_prefix = {};         // {key_prefix}:responses
  std::string inbox_template = {};          // {key_prefix}:inbox:{service}:{instance}
  std::string endpoints_template = {};      // {key_prefix}:endpoints:{service}:{hash}
  std::string alive_template = {};          // {key_prefix}:alive:{service}:{instance}
  std::string cancel_template = {};         // {key_prefix}:cancel:{service}
  std::string cancelled_template = {};      // {key_prefix}:cancelled:{service}
  std::string dead_template = {};           // {key_prefix}:dead:{service}
  std::string notify_template = {};         // {key_prefix}:notify:{queue}
  std::string rate_template = {};           // {key_prefix}:rate:{limit}:{bucket}
  std::string consumer_group = "router-gateway";
  int database = 0;                // not 0: channel names end in `:{database}`, since Pub/Sub ignores databases
  bool cluster_hash_tags = false;  // the substituted service name is `{billing}` instead of `billing`
  friend bool operator==(const NameConfig&, const NameConfig&) = default;
};

class QueueNames {
 public:
  // Error{invalid} with the setting's name: a template without its placeholders, with others, or without fixed text
  // before the first one; anything but printable ASCII; two kinds of names where one's fixed text begins another's.
  static base::Result<QueueNames> make(NameConfig config);

  // What it was made from, defaults filled in.
  const NameConfig& config() const { return config_; }
  const std::string& control() const { return config_.control; }
  const std::string& consumer_group() const { return config_.consumer_group; }
  int database() const { return config_.database; }

  // Arguments must be valid (is_service_name and its sisters above); empty version or region = the broader address.
  std::string request_queue(std::string_view service, std::string_view version = {},
                            std::string_view region = {}) const;
  std::string inbox(std::string_view service, std::string_view instance) const;
  std::string endpoints_key(std::string_view service, std::string_view hash) const;
  std::string alive_channel(std::string_view service, std::string_view instance) const;
  std::string cancel_channel(std::string_view service) const;
  std::string cancelled_set(std::string_view service) const;
  std::string dead_stream(std::string_view service) const;
  std::string notify_channel(std::string_view queue) const;
  // One script takes the buckets of several limits, so with cluster_hash_tags all of them have the tag `{rate}`.
  // REQUIRES is_rate_limit_name(limit); `bucket` consists of the same characters.
  std::string rate_bucket(std::string_view limit, std::string_view bucket) const;

  // For an operator, who asks the server which keys there are. Patterns of SCAN: each matches every name of its kind,
  // perhaps others, too; whose a name is says the second. Nothing: of no service. An empty service: of any.
  std::string dead_stream_pattern() const;
  std::optional<std::string> service_of_dead_stream(std::string_view name) const;
  std::string request_queue_pattern(std::string_view service = {}) const;
  std::optional<std::string> service_of_request_queue(std::string_view name) const;

  // {response_prefix}:{gateway}.{worker}.{epoch}
  std::string reply_stream(std::string_view gateway, unsigned worker, std::uint64_t epoch) const;

  // For names found in frames: true if `name` is at most 512 bytes of printable ASCII without spaces, begins with the
  // fixed text of its kind and goes on after it. Nobody can be made to write to a key of another kind.
  bool is_request_queue(std::string_view name) const { return is_of_kind(name, config_.request_queue_template); }
  bool is_inbox(std::string_view name) const { return is_of_kind(name, config_.inbox_template); }
  bool is_endpoints_key(std::string_view name) const { return is_of_kind(name, config_.endpoints_template); }
  bool is_reply_stream(std::string_view name) const { return is_of_kind(name, reply_template_); }

 private:
  QueueNames() = default;
  static bool is_of_kind(std::string_view name, std::string_view name_template);
  std::string service_text(std::string_view service) const;
  std::string channel(std::string name) const;

  NameConfig config_;           // every template filled in
  std::string reply_template_;  // response_prefix with its placeholder
};

}  // namespace outrigger::frames
