// Where a Valkey (or Redis) server is and who we are there: every spelling that --valkey and ConnectionString accept.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "bridge/base/result.h"

namespace outrigger::valkey {

struct ValkeyAddress {
  std::string host;  // name or address, IPv6 without brackets; empty if unix_path is set
  std::uint16_t port = 6379;
  std::string unix_path;
  std::string user;  // empty: the default user
  std::string password;
  int database = 0;
  bool has_database = false;  // the text named one, if only 0
  bool tls = false;

  // As a URL with `***` in place of user and password.
  std::string to_string_redacted() const;
};

// Reads `valkey://[user:password@]host[:port][/db]` (also redis://; valkeys:// and rediss:// with TLS), `unix:///path`
// or `unix:/path` with `?db=N`, a bare `host[:port]`, and the .NET form
// `host:port,password=...,user=...,ssl=...,defaultDatabase=...`. User and password of URLs are percent-decoded.
// Error: Code::invalid, or Code::unsupported for options and schemes that are named in the message. Messages never
// contain what might be a password.
base::Result<ValkeyAddress> parse_valkey_address(std::string_view text);

}  // namespace outrigger::valkey
