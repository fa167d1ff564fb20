#include "bridge/cli/token_check.h"

#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <optional>
#include <utility>
#include <vector>

#include "bridge/app/issuer_keys.h"
#include "bridge/base/check.h"
#include "bridge/base/log_level.h"
#include "bridge/cli/dead_format.h"
#include "bridge/cli/token_report.h"
#include "bridge/identity/credentials.h"
#include "gateway-edge/gateway_command.h"

namespace outrigger::cli {
namespace {

using base::Result;
using gateway::AuthConfig;
using identity::KeySet;
using identity::TokenProblem;
using Outcome = TokenReport::Outcome;

constexpr std::size_t kSlack = 1024;         // beside the token: `Bearer `, white space
constexpr std::size_t kTerminalLine = 4095;  // what a terminal in canonical mode gives of a line (termios(3))
constexpr std::size_t kShownKeys = 20;       // real issuers have 2 to 10
constexpr std::string_view kWhite = " \t\r\n";

std::string_view trimmed(std::string_view text) {
  text.remove_prefix(std::min(text.find_first_not_of(kWhite), text.size()));
  return text.substr(0, text.find_last_not_of(kWhite) + 1);
}

// What a person pastes: with or without the scheme of its header field.
std::string_view token_in(std::string_view text) {
  text = trimmed(text);
  const std::string_view scheme = text.substr(0, text.find_first_of(kWhite));
  return base::equals_ignoring_case(scheme, "Bearer") ? trimmed(text.substr(scheme.size())) : text;
}

// Error `too_large`: above kTokenBytes and kSlack. Error `invalid`: there is none, or not all of it.
Result<std::string> read_token() {
  const auto invalid = [](const char* why) { return base::Error{base::Code::invalid, why}; };
  std::string text;
  if (::isatty(STDIN_FILENO) == 1) {
    std::fputs("outrigger token check: paste the token, then press Enter\n", stderr);
    std::getline(std::cin, text);
    if (text.size() >= kTerminalLine) return invalid("a terminal gives no longer lines: use a file or a pipe");
  } else {
    text.resize(identity::kTokenBytes + kSlack + 1);
    std::cin.read(text.data(), static_cast<std::streamsize>(text.size()));
    text.resize(static_cast<std::size_t>(std::cin.gcount()));
    if (text.size() > identity::kTokenBytes + kSlack) {
      return base::Error{base::Code::too_large, "more than " + std::to_string(identity::kTokenBytes) + " bytes"};
    }
  }
  const std::string_view token = token_in(text);
  if (token.empty()) return invalid("there is no token on standard input");
  return std::string(token);
}

// Which step of docs/identity.md refuses. `after_signature`: the signature was found right before.
std::string step_of(TokenProblem problem, bool after_signature) {
  switch (problem) {
    case TokenProblem::none: return "";
    case TokenProblem::malformed: return after_signature ? "claims" : "form";
    case TokenProblem::too_large:
    case TokenProblem::unsupported_critical:
    case TokenProblem::wrong_type: return "form";
    case TokenProblem::algorithm_not_allowed: return "algorithm";
    case TokenProblem::unknown_issuer: return "issuer";
    case TokenProblem::no_keys:
    case TokenProblem::unknown_key: return "key";
    case TokenProblem::bad_signature: return "signature";
    case TokenProblem::no_expiry:
    case TokenProblem::expired:
    case TokenProblem::not_yet_valid: return "times";
    case TokenProblem::wrong_audience: return "audience";
  }
  return "";
}

std::string list_text(const std::vector<std::string>& items) {
  std::string text;
  for (const std::string& item : items) text.append(text.empty() ? "" : ", ").append(item);
  return text.empty() ? "none" : text;
}

std::string keys_text(const KeySet& keys) {
  std::vector<std::string> shown;
  for (const auto& key : keys.keys()) {
    if (shown.size() == kShownKeys) {
      shown.push_back("and " + std::to_string(keys.keys().size() - kShownKeys) + " more");
      break;
    }
    shown.push_back((key->id().empty() ? "one without kid" : key->id()) + " (" + key->algorithms().names() + ")");
  }
  return list_text(shown);
}

// The keys of one issuer, had as a gateway has them.
struct IssuerKeys {
  std::shared_ptr<const KeySet> keys;  // nullptr: `problem` says why
  std::string from;
  std::string problem;
  std::string remarks;  // about keys that were passed over
};

IssuerKeys fetch_keys(const app::IssuerSettings& issuer, const std::string& ca_file) {
  using Source = app::IssuerSettings::Source;
  IssuerKeys found{issuer.keys, app::location_of(issuer), {}, {}};
  if (issuer.source == Source::given) return found;
  Result<app::Fetched> document = [&] {
    if (issuer.source == Source::file) return app::read_document(found.from);
    app::FetchOptions options;
    options.ca_file = ca_file;
    app::HttpFetcher fetcher(options);
    auto first = fetcher.fetch(found.from);
    if (issuer.source != Source::discovery || !first || first->status != 200) return first;
    auto uri = app::read_discovery(first->body, issuer.rules.issuer);
    if (!uri) return Result<app::Fetched>(uri.error());
    found.from = std::move(*uri);
    return fetcher.fetch(found.from);
  }();
  if (!document) {
    found.problem = document.error().detail;
    return found;
  }
  auto keys = app::read_key_set(*document, found.from, found.remarks);
  if (keys) {
    found.keys = std::make_shared<const KeySet>(std::move(*keys));
  } else {
    found.problem = keys.error().detail;
  }
  return found;
}

void refuse(TokenReport& report, std::string step, std::string_view reason, std::string detail, std::string hint) {
  report.outcome = Outcome::refused;
  report.step = std::move(step);
  report.reason = reason;
  report.detail = std::move(detail);
  report.hint = std::move(hint);
}

std::string form_hint(TokenProblem problem) {
  switch (problem) {
    case TokenProblem::too_large: return "no service will take a field of this size: have its issuer put less into it";
    case TokenProblem::malformed:
      return "an access token is needed that is a signed JWT, whole: header.payload.signature. One that is opaque or "
             "encrypted is readable for its issuer alone";
    case TokenProblem::unsupported_critical:
      return "it is not to be understood as if this were not there: have its issuer leave it out";
    case TokenProblem::wrong_type: return "this is a JWT for something else: send the access token, of type JWT or at+jwt";
    default: return "";
  }
}

// Nothing is known but what the token says.
TokenReport report_on(std::string_view token) {
  TokenReport report;
  report.token = identity::read_unverified(token);
  return report;
}

TokenReport check_signature(const std::string& token, const KeySet& keys, const std::string& from) {
  TokenReport report = report_on(token);
  const identity::Verdict verdict = identity::verify_signature(token, keys);
  if (!verdict.accepted()) {
    const bool is_other_key =
        verdict.problem == TokenProblem::unknown_key || verdict.problem == TokenProblem::algorithm_not_allowed;
    refuse(report, step_of(verdict.problem, false), name_of(verdict.problem), verdict.detail,
           is_other_key ? from + " has " + keys_text(keys) : form_hint(verdict.problem));
    return report;
  }
  report.key = {{}, verdict.token->key_id, verdict.token->algorithm, from};
  report.notes.emplace_back("the signature alone was looked at: neither issuer nor audience nor times");
  return report;
}

// As a gateway with this configuration, for one request.
class GatewayCheck {
 public:
  GatewayCheck(const AuthConfig& auth, const TokenCheckOptions& options, const std::string& token)
      : auth_(auth), options_(options), token_(token), report_(report_on(token)), policy_(make_policy(auth)) {}

  TokenReport run() {
    if (!auth_.verifies()) {
      report_.outcome = Outcome::not_verified;
      report_.reason = "passthrough";
      report_.detail = auth_.mode == AuthConfig::Mode::passthrough
                           ? "Gateway:Auth:Mode is passthrough: no token is looked at"
                           : "there are no Gateway:Auth:Issuers: no token is looked at";
      report_.hint =
          "every request is anonymous, and its Authorization goes on to the service. To have tokens verified, name their "
          "issuer in Gateway:Auth:Issuers, with Mode auto or verify";
      tell(identity::anonymous_principal());
      return std::move(report_);
    }
    base::HeaderList fields;
    fields.add("Authorization", "Bearer " + token_);
    if (!options_.tenant.empty()) fields.add(policy_.tenant_name(), options_.tenant);
    if (!options_.scopes.empty()) fields.add(policy_.scopes_name(), options_.scopes);
    credentials_ = identity::read_credentials(fields, policy_, auth_.enable_tenant_override);
    if (!options_.tenant.empty() && !auth_.enable_tenant_override) {
      report_.notes.emplace_back("the tenant that is asked for is passed over: Gateway:Auth:EnableTenantOverride is off");
    }
    if (credentials_.kind != identity::Credentials::Kind::bearer) {
      refuse(report_, "form", "unclear-authorization", "it has characters that no Bearer token has",
             "are there quotes, blanks or line breaks in it, or is it more than one?");
    } else if (const auto token = verify()) {
      derive(*token);
    }
    return std::move(report_);
  }

 private:
  // finish_gateway has looked.
  static identity::HeaderPolicy make_policy(const AuthConfig& auth) {
    auto policy = identity::HeaderPolicy::make(auth.headers);
    CHECK(policy.has_value());
    return std::move(*policy);
  }
  std::string key_of(std::string_view name) const {
    return "Gateway:Auth:Issuers:" + std::to_string(issuer_) + ":" + std::string(name);
  }

  // `iss`, in whole.
  std::string named_issuer() const {
    for (const identity::Claim& claim : report_.token.claims) {
      if (claim.name == "iss" && claim.values.size() == 1) return claim.values.front();
    }
    return {};
  }

  std::optional<identity::VerifiedToken> verify() {
    const std::string named = named_issuer();
    std::vector<identity::TrustedIssuer> trusted;
    for (std::size_t i = 0; i < auth_.issuers.size(); ++i) {
      const app::IssuerSettings settings = gateway::issuer_settings(auth_.issuers[i]);
      // Others' keys decide nothing here, and may be slow to come.
      if (settings.rules.issuer == named) {
        issuer_ = i;
        found_ = fetch_keys(settings, auth_.key_ca_file);
        if (found_.from.empty()) found_.from = key_of("Secret");
      }
      trusted.push_back({settings.rules, settings.rules.issuer == named ? found_.keys : nullptr});
    }
    if (!found_.remarks.empty()) report_.notes.push_back("keys were passed over: " + found_.remarks);
    const base::WallMillis now = base::system_clock().wall();
    identity::Verdict verdict = identity::TokenVerifier(std::move(trusted)).verify(token_, now);
    if (verdict.accepted()) {
      report_.key = {verdict.issuer, verdict.token->key_id, verdict.token->algorithm, found_.from};
      return std::move(verdict.token);
    }
    const bool after_signature = is_after_signature(verdict);
    if (after_signature) {
      const identity::Verdict signature = identity::verify_signature(token_, *found_.keys);
      report_.key = {verdict.issuer, signature.token->key_id, signature.token->algorithm, found_.from};
    }
    refuse(report_, step_of(verdict.problem, after_signature), name_of(verdict.problem), verdict.detail,
           hint_of(verdict, now));
    return std::nullopt;
  }

  static bool is_after_signature(const identity::Verdict& verdict) {
    switch (verdict.problem) {
      case TokenProblem::no_expiry:
      case TokenProblem::expired:
      case TokenProblem::not_yet_valid:
      case TokenProblem::wrong_audience: return true;
      case TokenProblem::malformed: return !verdict.issuer.empty();
      default: return false;
    }
  }

  std::string hint_of(const identity::Verdict& verdict, base::WallMillis now) const {
    switch (verdict.problem) {
      case TokenProblem::unknown_issuer: return issuer_hint();
      case TokenProblem::algorithm_not_allowed:
        // Of a token whose issuer is known: the issuer's algorithms, or the key's, do not have it.
        if (verdict.issuer.empty()) return "its issuer must sign with one of Gateway:Auth:Issuers' Algorithms";
        return key_of("Algorithms") + " has " + gateway::issuer_settings(auth_.issuers[issuer_]).rules.algorithms.names() +
               (found_.keys == nullptr ? "" : "; the keys are " + keys_text(*found_.keys));
      case TokenProblem::no_keys: return found_.problem;
      case TokenProblem::unknown_key:
        return "it was signed by somebody else, or with a key that was withdrawn. The keys are " + keys_text(*found_.keys) +
               ", from " + found_.from;
      case TokenProblem::bad_signature:
        return "it was changed on its way, or it is from another environment, whose issuer has the same name" +
               std::string(auth_.issuers[issuer_].secret.empty() ? "" : " and another Secret");
      case TokenProblem::expired:
        return "it ended " + time_hint({"exp"}, now) + ": get a new one. If it is new, one of the two clocks is wrong";
      case TokenProblem::not_yet_valid:
        return "it begins " + time_hint({"nbf", "iat"}, now) + ": one of the two clocks is wrong. " + key_of("ClockSkew") +
               " may be up to 60s";
      case TokenProblem::no_expiry: return "a token without an end is never accepted: have its issuer put exp into it";
      case TokenProblem::wrong_audience: return audience_hint();
      case TokenProblem::malformed:
        return is_after_signature(verdict) ? "its issuer must write this claim otherwise (RFC 7519 section 4.1)"
                                           : form_hint(verdict.problem);
      default: return form_hint(verdict.problem);
    }
  }

  std::string issuer_hint() const {
    const auto without_slash = [](std::string_view text) {
      return text.ends_with('/') ? text.substr(0, text.size() - 1) : text;
    };
    const std::string named = named_issuer();
    std::vector<std::string> configured;
    bool is_close = false;
    for (const AuthConfig::Issuer& issuer : auth_.issuers) {
      configured.push_back(issuer.issuer);
      is_close = is_close || (!named.empty() && without_slash(issuer.issuer) == without_slash(named));
    }
    return "Gateway:Auth:Issuers has " + list_text(configured) +
           (is_close ? ". They differ in the slash at the end, which counts" : ": compare them character by character");
  }

  std::string audience_hint() const {
    const std::vector<std::string>& ours = auth_.issuers[issuer_].audiences;
    const std::string theirs = values_text(report_.token.claims, "aud");
    return (theirs.empty() ? "there is no aud" : "aud is " + theirs) + "; " + key_of("Audiences") + " has " +
           list_text(ours) + ": " +
           (ours.empty() ? "name one there that this gateway answers to"
                         : "get a token for " + ours.front() + ", or add the token's there if it means this gateway");
  }

  // How far the latest of these times is away.
  std::string time_hint(std::initializer_list<const char*> names, base::WallMillis now) const {
    double latest = 0;
    for (const char* name : names) latest = std::max(latest, std::atof(values_text(report_.token.claims, name).c_str()));
    return distance_text(base::WallMillis(static_cast<std::int64_t>(latest * 1000)), now);
  }

  void derive(const identity::VerifiedToken& token) {
    auto principal = identity::derive_principal(token, auth_.claims);
    if (!principal) {
      return refuse(report_, "caller", "unfit-claim", principal.error().detail,
                    "who somebody is must be clear, and fit for a field: Gateway:Auth:Claims has the claims that count");
    }
    const auto who = std::make_shared<const identity::Principal>(std::move(*principal));
    report_.caller = *who;
    const auto adapted = identity::apply_overrides(who, credentials_, auth_.allow_scope_header);
    if (const auto* refusal = std::get_if<identity::OverrideRefusal>(&adapted)) {
      return refuse(report_, "request", refusal->code, std::string(refusal->detail), override_hint(*refusal, *who));
    }
    tell(*std::get<std::shared_ptr<const identity::Principal>>(adapted));
  }

  std::string override_hint(const identity::OverrideRefusal& refusal, const identity::Principal& who) const {
    if (refusal.code == identity::kTenantOverrideForbidden) {
      return "claim " + auth_.claims.allowed_tenants + " has " + list_text(who.allowed_tenants);
    }
    return auth_.allow_scope_header ? "ask for some of these: " + list_text(who.scopes)
                                    : "Gateway:Auth:AllowScopeHeader is off: the client must not send " +
                                          policy_.scopes_name();
  }

  void tell(const identity::Principal& who) {
    report_.caller = who;
    policy_.add_identity(report_.fields, who);
    if (!auth_.envelope_keys.empty()) {
      report_.notes.push_back("the fields of each request's signed envelope come besides, by key " +
                              auth_.envelope_keys.front().id);
    }
  }

  const AuthConfig& auth_;
  const TokenCheckOptions& options_;
  const std::string& token_;
  TokenReport report_;
  identity::HeaderPolicy policy_;
  identity::Credentials credentials_;
  std::size_t issuer_ = 0;  // of auth_.issuers: the token's
  IssuerKeys found_;
};

int complain(const std::string& what, int code) {
  std::fprintf(stderr, "outrigger token check: %s\n", what.c_str());
  return code;
}

}  // namespace

CLI::App* declare_token(CLI::App& cli, TokenCheckOptions& options) {
  CLI::App* token = cli.add_subcommand("token", "Explains what a gateway makes of a token.");
  token->require_subcommand(1);
  CLI::App* check = token->add_subcommand(
      "check", "Verifies the token on standard input as a gateway would, and says why it is refused or who it is.");
  check->add_option("-c,--config", options.config, "Configuration of the gateway; variables of the environment count, too")
      ->type_name("FILE");
  check->add_option("--tenant", options.tenant, "As if the request asked for this tenant")->type_name("TENANT");
  check->add_option("--scopes", options.scopes, "As if the request asked for these scopes, separated by spaces")
      ->type_name("SCOPES");
  check->add_option("--jwks", options.jwks, "JWK Set to verify with, in place of a configuration")->type_name("FILE");
  check->add_flag("--signature-only", options.signature_only, "Nothing but the signature, with the keys of --jwks");
  check->add_option("-o,--output", options.output, "table or json")
      ->type_name("FORMAT")
      ->check(CLI::IsMember({"table", "json"}))
      ->capture_default_str();
  return token;
}

std::string fault_of(const TokenCheckOptions& options) {
  if (options.config.empty() && options.jwks.empty()) {
    return "verified with what? Name the gateway's configuration with --config FILE, or keys with --jwks FILE "
           "--signature-only";
  }
  if (options.config == "-" || options.jwks == "-") return "standard input is the token's: name a file";
  if (options.jwks.empty() && options.signature_only) return "--signature-only needs the keys: --jwks FILE";
  if (!options.jwks.empty() && !options.signature_only) {
    return "keys alone say nothing of issuer, audience and times: add --signature-only, or use --config";
  }
  if (options.signature_only && !(options.config.empty() && options.tenant.empty() && options.scopes.empty())) {
    return "--signature-only goes with --jwks alone";
  }
  return {};
}

int run_token_check(const TokenCheckOptions& options) {
  if (const std::string fault = fault_of(options); !fault.empty()) return complain(fault, 2);
  // What goes wrong is told by the command itself, once.
  base::set_log_level(base::LogLevel::error);
  gateway::GatewayConfig config;
  std::optional<KeySet> keys;
  if (options.signature_only) {
    std::string remarks;
    const auto document = app::read_document(options.jwks);
    if (!document) return complain("--jwks: " + document.error().detail, 1);
    auto read = app::read_key_set(*document, options.jwks, remarks);
    if (!read) return complain("--jwks: " + read.error().detail, 1);
    keys.emplace(std::move(*read));
  } else {
    const std::string file = "--config=" + options.config;
    const char* arguments[] = {"outrigger-gateway", file.c_str()};
    auto loaded = gateway::load_gateway(2, arguments, app::process_environment());
    if (const auto* exit = std::get_if<app::ExitNow>(&loaded)) {
      return complain("the configuration is wrong, and the gateway would not start:\n" + std::string(trimmed(exit->err)), 1);
    }
    config = std::get<gateway::GatewayConfig>(std::move(loaded));
  }

  const auto token = read_token();
  TokenReport report;
  if (token) {
    report = keys ? check_signature(*token, *keys, options.jwks) : GatewayCheck(config.auth, options, *token).run();
  } else if (token.error().code == base::Code::too_large) {
    refuse(report, "form", name_of(TokenProblem::too_large), token.error().detail, form_hint(TokenProblem::too_large));
  } else {
    return complain(token.error().detail, 2);
  }
  const std::string text = options.output == "json" ? dump(token_json(report)) + "\n"
                                                    : token_text(report, base::system_clock().wall());
  std::fputs(text.c_str(), stdout);
  return report.outcome == Outcome::accepted ? 0 : 1;
}

}  // namespace outrigger::cli
