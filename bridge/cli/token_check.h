// `outrigger token check`: why is this token refused? Verifies a token from standard input with a gateway's configuration,
// by the same code and the same keys as that gateway, and says what came of each step (docs/identity.md).
#pragma once

#include <string>

namespace CLI {
class App;
}

namespace outrigger::cli {

struct TokenCheckOptions {
  std::string config;           // of a gateway
  std::string jwks;             // a JWK Set, for
  bool signature_only = false;  // nothing but whether the signature is by one of its keys
  std::string tenant;           // that the request asks for; empty: none
  std::string scopes;           // likewise, separated by spaces
  std::string output = "table"; // or json
};

// Declares `token` with its command. `options` outlives `cli`, and is filled when that parses it.
CLI::App* declare_token(CLI::App& cli, TokenCheckOptions& options);

// What is wrong with options that parsed, in words for the operator; empty if nothing is.
std::string fault_of(const TokenCheckOptions& options);

// Reads standard input, prints to standard output. Returns the exit code: 0 accepted, 1 refused, not verified at all, or
// the configuration is wrong, 2 usage. Neither the token nor a secret is ever printed.
int run_token_check(const TokenCheckOptions& options);

}  // namespace outrigger::cli
