// The frames of the Router messaging protocol as values. The grammar of their bytes is docs/protocol.md; the bytes are
// made and read by frame_codec.h. Nothing here knows sockets or Valkey.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "bridge/base/header_list.h"

namespace outrigger::frames {

// Stored in Valkey and read by older sidecars: values are frozen, new kinds take the next free number.
// 1 to 9 are the public numbers of the original protocol, ours start at 32.
enum class FrameType : std::uint8_t {
  hello = 1,
  heartbeat = 2,
  request = 3,
  response = 4,
  request_stream_data = 5,
  response_stream_data = 6,
  cancel = 7,
  resync_request = 8,
  endpoints_update = 9,
  accept = 32,
  goodbye = 33,
  credit = 34,
  look = 35,
};

inline constexpr int kMinProtocolVersion = 1;
inline constexpr int kMaxProtocolVersion = 1;

enum class InstanceState : std::uint8_t { starting, healthy, degraded, draining };
enum class WakeMode : std::uint8_t { block, notify };

// HELLO 1 and HEARTBEAT 2 (they have the same members), GOODBYE 33 and ENDPOINTS_UPDATE 9 are about one instance.
struct InstanceFrame {
  FrameType type = FrameType::hello;  // hello, heartbeat or goodbye
  std::string instance;               // 20 hex characters, new per process start
  std::uint64_t seq = 0;              // from 1, rises by at least 1 per control frame of the instance
  std::string service;
  std::string service_version;
  std::string region;
  std::string name;                 // for people; may be empty
  std::vector<std::string> queues;  // addresses it reads
  std::string group;                // consumer group on them
  std::string inbox;
  InstanceState state = InstanceState::starting;
  std::uint32_t interval_ms = 0;  // of its heartbeats
  WakeMode wake = WakeMode::block;
  std::string metadata_hash;  // empty until the service's endpoints are known
  int min_version = kMinProtocolVersion;
  int max_version = kMaxProtocolVersion;
  friend bool operator==(const InstanceFrame&, const InstanceFrame&) = default;
};

struct EndpointsUpdate {
  std::string instance;
  std::uint64_t seq = 0;
  std::string service;
  std::string service_version;
  std::string metadata_hash;
  std::string metadata_key;  // where the metadata stands in Valkey
  friend bool operator==(const EndpointsUpdate&, const EndpointsUpdate&) = default;
};

struct ResyncRequest {
  std::string gateway;
  std::string metadata_hash;  // empty: whatever the instance has
  std::string reason;
  friend bool operator==(const ResyncRequest&, const ResyncRequest&) = default;
};

// A body that does not fit the entry is announced as streamed and follows as stream data.
struct StreamedBody {
  std::optional<std::uint64_t> length;  // if known beforehand
  friend bool operator==(const StreamedBody&, const StreamedBody&) = default;
};

// Where a REQUEST comes from that an operator wrote again out of a dead letter.
struct Origin {
  std::string dead;                 // the dead letter's entry id, as Valkey writes it
  std::string id;                   // the request id it had then
  std::string reason;               // why it was given up
  std::uint64_t first_seen_ms = 0;  // Valkey's clock, when the client's request was written
  friend bool operator==(const Origin&, const Origin&) = default;
};

struct Request {
  std::string id;  // 96 random bits or more: 16 to 64 of A-Z a-z 0-9 _ -
  std::string method;
  std::string target;     // as the client spelled it, after the mount was taken off
  std::string scheme;     // http or https: how the client reached the gateway
  std::string authority;  // the client's Host
  base::HeaderList headers;
  std::string reply_to;          // reply stream
  std::int64_t deadline_ms = 0;  // Valkey's clock
  std::string bus;               // the bus's incarnation as the caller saw it; opaque, printable ASCII
  bool repeatable = false;
  std::uint32_t max_attempts = 3;
  std::string traceparent;               // may be empty
  std::string tracestate;                // may be empty
  std::optional<StreamedBody> streamed;  // body is not inline
  std::optional<Origin> origin;          // of a dead letter that is tried again
  WakeMode wake = WakeMode::block;       // of the caller, which reads `reply_to`
  std::string body;                      // field `b`; empty when streamed
  friend bool operator==(const Request&, const Request&) = default;
};

// How a sidecar reports that there is no answer of the service. Travels as the member `fault` of RESPONSE.
enum class Fault : std::uint8_t {
  service_unreachable,
  bad_answer,
  outcome_unknown,
  timeout,
  expired,
  body_too_large,
  unavailable
};

// RESPONSE 4: the first one of an id binds (instance, attempt); others are late.
struct Response {
  std::string id;
  std::string instance;
  std::uint32_t attempt = 1;  // which call of the service this is, from 1
  std::uint64_t seq = 0;      // always 0: the head is the first frame of an answer
  int status = 0;             // 0 when `fault` is set
  std::string reason;         // reason phrase; may be empty
  base::HeaderList headers;
  std::optional<Fault> fault;
  std::string detail;                   // for logs, with `fault`
  bool end = true;                      // no stream data follows
  std::optional<std::uint64_t> length;  // of the whole body, if known and !end
  std::uint32_t service_ms = 0;         // time the service took, for the caller's records
  // Time the entry waited in its queue before this delivery, likewise; older sidecars do not say.
  std::optional<std::uint64_t> queue_ms;
  std::string body;                     // field `b`: first (or all) bytes
  friend bool operator==(const Response&, const Response&) = default;
};

// RequestStreamData 5 (to the claimer's inbox) and ResponseStreamData 6 (to the reply stream).
struct StreamData {
  FrameType type = FrameType::response_stream_data;
  std::string id;
  std::string instance;
  std::uint32_t attempt = 1;
  std::uint64_t seq = 1;  // rises by one; the head is 0
  bool end = false;       // last one of the body
  bool abort = false;     // the sender broke off: the body is worthless
  std::string detail;     // with abort, for logs
  std::string body;       // field `b`
  friend bool operator==(const StreamData&, const StreamData&) = default;
};

// ACCEPT 32: a sidecar claimed a streamed request and waits for its body in `inbox`. Sent to the reply stream.
struct Accept {
  std::string id;
  std::string instance;
  std::uint32_t attempt = 1;
  std::string inbox;
  WakeMode wake = WakeMode::block;  // of the sidecar, which reads `inbox`
  friend bool operator==(const Accept&, const Accept&) = default;
};

// CANCEL 7, on the channel and in the sorted set as one JSON object `{v,t,id,reason}`.
struct Cancel {
  std::string id;
  std::string reason;
  friend bool operator==(const Cancel&, const Cancel&) = default;
};

// LOOK 35, on the channel only, as `{v,t}`: an instance is gone or handed something back, so that who is there should look for
// what nobody works on now, and not only when it is due.
struct Look {
  friend bool operator==(const Look&, const Look&) = default;
};

// CREDIT 34: more body bytes may be sent.
struct Credit {
  std::string id;
  std::string instance;
  std::uint32_t attempt = 1;
  std::uint64_t bytes = 0;
  friend bool operator==(const Credit&, const Credit&) = default;
};

// The names these values have on the wire; stable, also used in logs and metrics. name_of(FrameType) is for people
// only.
std::string_view name_of(FrameType type);
std::string_view name_of(InstanceState state);
std::string_view name_of(WakeMode mode);
std::string_view name_of(Fault fault);

using Frame =
    std::variant<InstanceFrame, EndpointsUpdate, ResyncRequest, Request, Response, StreamData, Accept, Cancel, Credit>;

// What is published on a service's channel, and never stands in a stream.
using Message = std::variant<Cancel, Look>;

}  // namespace outrigger::frames
