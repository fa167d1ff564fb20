// Connecting out: name resolution (in a thread of its own, since getaddrinfo(3) blocks), non-blocking connect, deadline.
#pragma once

#include <memory>

#include "bridge/base/clock.h"
#include "bridge/base/result.h"
#include "bridge/base/unique_function.h"
#include "bridge/net/endpoint.h"
#include "bridge/net/event_loop.h"
#include "bridge/net/pending.h"
#include "bridge/net/transport.h"

namespace outrigger::net {

using ConnectDone = base::UniqueFunction<void(base::Result<std::unique_ptr<Transport>>)>;

// Exactly one outcome, in a later turn, unless the handle is destroyed first. A name with several addresses is tried in
// their order. TCP sockets get TCP_NODELAY, keepalive
// (30 s idle, 10 s interval, 6 probes) and TCP_USER_TIMEOUT 30 s, so that a half-open peer is noticed.
// Errors: refused (nobody listens, no route), deadline, not_found (name does not resolve), invalid (path too long).
Pending connect(EventLoop& loop, const Endpoint& to, base::TimePoint deadline, ConnectDone done);

}  // namespace outrigger::net
