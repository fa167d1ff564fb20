#include "bridge/cli/token_report.h"

#include <algorithm>
#include <array>
#include <charconv>

#include "bridge/cli/dead_format.h"
#include "bridge/cli/table.h"

namespace outrigger::cli {
namespace {

using Json = nlohmann::ordered_json;
using identity::Claim;

constexpr std::size_t kShownBytes = 256;  // of one value: a stranger may have written it
constexpr std::array<std::string_view, 3> kHeader = {"alg", "typ", "kid"};
constexpr std::array<std::string_view, 2> kNames = {"iss", "aud"};
constexpr std::array<std::string_view, 3> kTimes = {"iat", "nbf", "exp"};

const Claim* find(const std::vector<Claim>& claims, std::string_view name) {
  const auto found = std::find_if(claims.begin(), claims.end(), [name](const Claim& claim) { return claim.name == name; });
  return found == claims.end() ? nullptr : &*found;
}

std::string cut(const std::string& text) {
  return text.size() <= kShownBytes ? text : text.substr(0, kShownBytes) + "...";
}

std::string joined(const std::vector<std::string>& items, std::string_view between) {
  std::string text;
  for (const std::string& item : items) text.append(text.empty() ? "" : between).append(item);
  return text;
}

// Seconds since 1970, where it is a whole number that a calendar can say.
std::optional<std::int64_t> seconds_of(const std::string& text) {
  constexpr std::int64_t kLatest = 253'402'300'799;  // the year 9999
  std::int64_t seconds = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), seconds);
  if (error != std::errc{} || end != text.data() + text.size() || seconds < 0 || seconds > kLatest) return std::nullopt;
  return seconds;
}

Json to_json(const Claim& claim) {
  if (claim.values.size() != 1) {
    Json values = Json::array();
    for (const std::string& value : claim.values) values.push_back(cut(value));
    return values;
  }
  const bool is_time = std::find(kTimes.begin(), kTimes.end(), claim.name) != kTimes.end();
  const auto seconds = seconds_of(claim.values.front());
  return is_time && seconds ? Json(*seconds) : Json(cut(claim.values.front()));
}

}  // namespace

std::string_view name_of(TokenReport::Outcome outcome) {
  switch (outcome) {
    case TokenReport::Outcome::accepted: return "accepted";
    case TokenReport::Outcome::refused: return "refused";
    case TokenReport::Outcome::not_verified: return "not verified";
  }
  return "";
}

std::string distance_text(base::WallMillis at, base::WallMillis now) {
  return at > now ? "in " + age_text((at - now).count()) : age_text((now - at).count()) + " ago";
}

std::string values_text(const std::vector<Claim>& claims, std::string_view name) {
  const Claim* claim = find(claims, name);
  return claim == nullptr ? "" : cut(joined(claim->values, ", "));
}

std::string token_text(const TokenReport& report, base::WallMillis now) {
  std::string out;
  const auto line = [&out](std::string_view name, std::string value) {
    if (value.empty()) return;
    out.append(name).append(17 - name.size(), ' ').append(printable(std::move(value))).append("\n");
  };
  line("verdict", std::string(name_of(report.outcome)));
  line("step", report.step);
  line("reason", report.reason);
  line("detail", report.detail);
  line("hint", report.hint);
  for (const std::string& note : report.notes) line("note", note);
  if (report.key) {
    line("key", (report.key->id.empty() ? std::string("without kid") : report.key->id) + ", " + report.key->algorithm);
    line("of issuer", report.key->issuer);
    line("from", report.key->from);
  }
  const identity::TokenText& token = report.token;
  if (!token.header.empty() || !token.claims.empty()) {
    out += report.key ? "\nThe token says:\n" : "\nThe token says, and anybody can have written it:\n";
    for (const std::string_view name : kHeader) line(name, values_text(token.header, name));
    for (const std::string_view name : kNames) line(name, values_text(token.claims, name));
    for (const std::string_view name : kTimes) {
      const std::string text = values_text(token.claims, name);
      const auto seconds = seconds_of(text);
      const base::WallMillis at = std::chrono::seconds(seconds.value_or(0));
      line(name, seconds ? text + ", " + base::to_rfc3339(at) + ", " + distance_text(at, now) : text);
    }
  }
  if (report.caller) {
    const identity::Principal& caller = *report.caller;
    out += "\nThe caller:\n";
    line("actor", caller.actor);
    line("tenant", caller.tenant);
    line("project", caller.project);
    line("scopes", joined(caller.scopes, " "));
    line("allowed tenants", joined(caller.allowed_tenants, " "));
  }
  if (!report.fields.empty()) out += "\nA service is told:\n";
  for (const base::HeaderField field : report.fields) {
    out += printable(std::string(field.name) + ": " + std::string(field.value)) + "\n";
  }
  return out;
}

Json token_json(const TokenReport& report) {
  Json json;
  json["verdict"] = name_of(report.outcome);
  for (const auto& [name, text] : {std::pair{"step", &report.step}, std::pair{"reason", &report.reason},
                                   std::pair{"detail", &report.detail}, std::pair{"hint", &report.hint}}) {
    if (!text->empty()) json[name] = *text;
  }
  json["notes"] = report.notes;
  json["signature_proved"] = report.key.has_value();
  if (report.key) {
    json["key"] = {{"issuer", report.key->issuer},
                   {"id", report.key->id},
                   {"algorithm", report.key->algorithm},
                   {"from", report.key->from}};
  }
  json["token"] = Json::object();
  for (const std::string_view name : kHeader) {
    if (const Claim* claim = find(report.token.header, name)) json["token"][std::string(name)] = to_json(*claim);
  }
  const auto add = [&](std::string_view name) {
    if (const Claim* claim = find(report.token.claims, name)) json["token"][std::string(name)] = to_json(*claim);
  };
  std::for_each(kNames.begin(), kNames.end(), add);
  std::for_each(kTimes.begin(), kTimes.end(), add);
  if (report.caller) {
    json["caller"] = {{"actor", report.caller->actor},
                      {"tenant", report.caller->tenant},
                      {"project", report.caller->project},
                      {"scopes", report.caller->scopes},
                      {"allowed_tenants", report.caller->allowed_tenants}};
  }
  json["headers"] = Json::array();
  for (const base::HeaderField field : report.fields) {
    json["headers"].push_back(Json::array({std::string(field.name), std::string(field.value)}));
  }
  return json;
}

}  // namespace outrigger::cli
