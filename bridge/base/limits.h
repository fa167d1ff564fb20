// Every limit of the data path with its default and its reason, in one place. Configurable ones are copied into the
// configuration's structures; the others are properties of the protocol.
#pragma once

#include <chrono>
#include <cstddef>

namespace outrigger::base::limits {

using namespace std::chrono_literals;

inline constexpr std::size_t kKiB = 1024;
inline constexpr std::size_t kMiB = 1024 * kKiB;

// Frames (docs/protocol.md).
inline constexpr std::size_t kFrameHeadBytes = 64 * kKiB;     // a head is metadata; more is an attack or a mistake
inline constexpr std::size_t kFrameEntryBytes = 1 * kMiB;     // larger entries stall every other client of Valkey
inline constexpr std::size_t kControlFrameBytes = 16 * kKiB;  // 20,000 of them are kept: at most 320 MiB at Valkey
inline constexpr std::size_t kReadBatchBytes = 64 * kMiB;     // COUNT x entry limit of one read never passes this
inline constexpr std::size_t kInlineBodyBytes = 768 * kKiB;   // body bytes per entry: leaves room for a head
inline constexpr std::size_t kMetadataBytes = 4 * kMiB;       // endpoints and OpenAPI document, compressed, per hash
inline constexpr std::size_t kControlStreamEntries = 20000;   // retained control frames

// HTTP (configurable: Limits of CONFIGURATION).
inline constexpr std::size_t kBodyBytes = 8 * kMiB;    // assembled in memory; streaming lifts this later
inline constexpr std::size_t kHeaderBytes = 64 * kKiB; // names + values of one message, as nginx and Envoy allow about
inline constexpr std::size_t kHeaderCount = 200;       // more fields than any real client sends
inline constexpr std::size_t kTargetBytes = 16 * kKiB; // request target

// Slow and numerous peers (configurable: Limits; docs/http.md has the reasoning and the sum of the memory).
inline constexpr auto kHeadTimeout = 20s;    // a real client sends its head at once; Apache's first value
inline constexpr auto kBodyTimeout = 30s;    // a mobile network's pause, and no more
inline constexpr auto kWriteTimeout = 30s;   // likewise, of a client that reads
inline constexpr auto kIdleTimeout = 75s;    // as nginx; above the 60 s of the usual load balancers, which must let go first
inline constexpr std::size_t kMinRate = 240; // bytes/s over a whole timeout, as Kestrel: below it nobody is waiting
inline constexpr std::size_t kMaxConnections = 10000;
inline constexpr std::size_t kBufferedBytes = 256 * kMiB;  // 32 of the largest bodies, or thousands of usual ones
inline constexpr std::size_t kUnchargedBytes = 16 * kKiB;  // of each holder: see base/budget.h
// While more than half of the buffered bytes is used, a peer must move so much in so little time.
inline constexpr auto kPressedTimeout = 5s;
inline constexpr std::size_t kPressedRate = 16 * kKiB;     // bytes/s
inline constexpr int kRequestsPerTurn = 128;               // of one connection: about a millisecond of our own answers
// Rate limits (Gateway:RateLimit).
inline constexpr std::size_t kRateLimitRules = 64;      // each is compared with every request
inline constexpr std::size_t kRateBuckets = 64 * 1024;  // per rule in memory, 1.2 MiB: callers in debt at one time
inline constexpr auto kRateLimitRefill = 31 * 24h;      // of the slowest bucket: a month is the longest quota people sell
inline constexpr auto kRateLimitTimeout = 50ms;         // a hundred round trips to a healthy bus; longer is not worth a limit
inline constexpr int kRateLimitFailures = 5;            // in a row: no coincidence any more
inline constexpr auto kRateLimitOpenTime = 1s;          // as long as the bus needs at most to try to connect again
// Toward a service.
inline constexpr auto kConnectTimeout = 3s;       // it is beside us; a lost SYN is repeated after 1 s
inline constexpr auto kServiceIdleTimeout = 4s;   // Node.js closes after 5 s: we let go first

// Delivery.
inline constexpr std::size_t kMaxQueueDepth = 10000;       // entries waiting at one address before 503 queue-full
inline constexpr std::size_t kPendingPerWorker = 20000;    // requests one worker may have out
inline constexpr auto kRequestTimeout = 30s;
inline constexpr auto kLeaseDuration = 15s;
inline constexpr auto kHeartbeatInterval = 10s;
inline constexpr auto kBlockTime = 5s;                     // BLOCK of XREAD/XREADGROUP
inline constexpr auto kSilentStreamLook = 1s;              // wake mode `notify`: between looks at a stream that tells nothing
inline constexpr auto kReconnectCap = 1s;                  // jittered back-off never waits for longer
inline constexpr int kMaxAttempts = 3;
inline constexpr std::size_t kCancelledKept = 4096;        // per service, for sidecars that were away; at their largest one reply
inline constexpr std::size_t kDeadLetters = 1000;          // per service; more is not read by anybody
inline constexpr std::size_t kDeadLetterBytes = 64 * kMiB;
inline constexpr auto kStreamTtl = 120s;                   // reply and inbox streams die with their owner
inline constexpr auto kStreamTtlRefresh = 30s;

// Sockets.
inline constexpr std::size_t kReadChunkBytes = 64 * kKiB;  // one read(2)
inline constexpr int kReadsPerTurn = 4;                    // a loud peer yields to the others after 256 KiB

}  // namespace outrigger::base::limits
