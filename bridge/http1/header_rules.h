// What an intermediary does to header fields (RFC 9110 sections 7.6 and 7.8, and the X-Forwarded convention). Pure
// functions on a HeaderList; identity headers are bridge/identity's.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "bridge/base/header_list.h"

namespace outrigger::http1 {

// Requests and responses: removes the fields that Connection names, then Connection itself and every field that is for
// one hop only (Keep-Alive, Proxy-Connection, Proxy, TE, Trailer, Transfer-Encoding, Upgrade, HTTP2-Settings,
// Proxy-Authenticate, Proxy-Authorization, Proxy-Authentication-Info). Fields that are never hop-by-hop (Host,
// Content-Length, Content-Type, Cache-Control, Authorization, Cookie, Date, Forwarded and X-Forwarded-*) stay even if
// Connection names them: that is a known way of making the next hop miss them.
void remove_hop_by_hop(base::HeaderList& headers);

// Appends `Via: 1.<received_minor> pseudonym` (RFC 9110 section 7.6.3).
void add_via(base::HeaderList& headers, int received_minor, std::string_view pseudonym);

struct ForwardedFacts {
  std::string_view client_address;  // of our peer, without port; empty for unix sockets
  std::string_view proto;           // "http" or "https"
  std::string_view host;            // as the client spelled it
  std::string_view prefix;          // path prefix taken off; empty for none
  bool trust_inbound = false;       // our peer is a proxy we trust
};
// X-Forwarded-For, -Proto, -Host, -Prefix. From an untrusted peer every inbound X-Forwarded-*, Forwarded and X-Real-IP
// is dropped first; from a trusted one the address is appended to X-Forwarded-For, the prefix to X-Forwarded-Prefix, and what
// it said of the others stays. X-Original-URL and X-Rewrite-URL are treated like X-Real-IP: frameworks take the path from
// them. Other spellings (X_Forwarded_For) are always dropped: proxies pass them from anybody. Forwarded (RFC 7239)
// is always dropped: two accounts of one fact invite believing the wrong one.
void set_forwarded(base::HeaderList& headers, const ForwardedFacts& facts);

// The request's id, also put into X-Request-Id: the inbound one if trusted and sane (1 to 128 characters of
// A-Z a-z 0-9 - _ . : = + / @), otherwise a new one. Other spellings (X_Request_Id) are dropped, as above.
std::string ensure_request_id(base::HeaderList& headers, bool trust_inbound);

// Max-Forwards on TRACE and OPTIONS (RFC 9110 section 7.6.2): counted down; at zero we are the last recipient.
enum class HopStep : std::uint8_t { forward, answer_here };
HopStep count_hop(std::string_view method, base::HeaderList& headers);

}  // namespace outrigger::http1
