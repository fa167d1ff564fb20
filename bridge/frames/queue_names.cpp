#include "bridge/frames/queue_names.h"

#include <algorithm>
#include <array>
#include <utility>
#include <vector>

namespace outrigger::frames {
namespace {

using base::Code;
using base::Error;

constexpr std::size_t kMaxNameBytes = 512;

bool is_lower_or_digit(char c) {
  return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}
bool is_alphanumeric(char c) {
  return is_lower_or_digit(c) || (c >= 'A' && c <= 'Z');
}
bool is_url_safe(char c) {
  return is_alphanumeric(c) || c == '_' || c == '-';
}
bool is_printable(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return c > ' ' && c < 0x7F; });
}

std::string_view fixed_text(std::string_view name_template) {
  return name_template.substr(0, name_template.find('{'));
}

// `name_template` with each {name} replaced. make() has seen to it that no other placeholder is there.
std::string expand(std::string_view name_template,
                   std::initializer_list<std::pair<std::string_view, std::string_view>> values) {
  std::string out;
  out.reserve(name_template.size() + 64);
  while (true) {
    const std::size_t open = name_template.find('{');
    out += name_template.substr(0, open);
    if (open == std::string_view::npos) return out;
    const std::size_t close = name_template.find('}', open);
    const std::string_view name = name_template.substr(open + 1, close - open - 1);
    for (const auto& [key, value] : values) {
      if (key == name) out += value;
    }
    name_template.remove_prefix(close + 1);
  }
}

// `text` as itself in a pattern of SCAN.
std::string as_pattern(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (std::string_view("*?[]\\^").find(c) != std::string_view::npos) out += '\\';
    out += c;
  }
  return out;
}

// The service for which `is_made_from` is true, of those that may stand behind the template's fixed text in `name`.
template <class IsMadeFrom>
std::optional<std::string> service_in(std::string_view name, std::string_view name_template, bool has_tags,
                                      IsMadeFrom is_made_from) {
  const std::size_t begin = fixed_text(name_template).size() + (has_tags ? 1 : 0);
  if (name.size() <= begin) return std::nullopt;
  const std::string_view rest = name.substr(begin);
  for (std::size_t size = 1; size <= rest.size() && is_service_name(rest.substr(0, size)); ++size) {
    if (is_made_from(rest.substr(0, size))) return std::string(rest.substr(0, size));
  }
  return std::nullopt;
}

// Empty if `name_template` has each of `placeholders` exactly once and nothing else in braces.
std::string_view template_fault(std::string_view name_template, const std::vector<std::string_view>& placeholders) {
  if (!is_printable(name_template)) return "has characters that are not printable ASCII";
  if (name_template.size() > kMaxNameBytes / 2) return "is too long";
  if (fixed_text(name_template).empty()) return "has no text before its first placeholder";
  std::vector<std::string_view> found;
  for (std::size_t at = 0; (at = name_template.find_first_of("{}", at)) != std::string_view::npos;) {
    const std::size_t close = name_template.find_first_of("{}", at + 1);
    if (name_template[at] != '{' || close == std::string_view::npos || name_template[close] != '}') {
      return "has unbalanced braces";
    }
    found.push_back(name_template.substr(at + 1, close - at - 1));
    at = close + 1;
  }
  if (!std::is_permutation(found.begin(), found.end(), placeholders.begin(), placeholders.end())) {
    return "must have each of its placeholders once and no other";
  }
  return {};
}

}  // namespace

bool is_service_name(std::string_view text) {
  return !text.empty() && text.size() <= 63 && is_lower_or_digit(text[0]) &&
         std::all_of(text.begin(), text.end(),
                     [](char c) { return is_lower_or_digit(c) || c == '.' || c == '_' || c == '-'; });
}

bool is_version_or_region(std::string_view text) {
  return !text.empty() && text.size() <= 32 && std::all_of(text.begin(), text.end(), [](char c) {
    return is_alphanumeric(c) || c == '.' || c == '_' || c == '+' || c == '-';
  });
}

bool is_process_id(std::string_view text) {
  return text.size() == 20 &&
         std::all_of(text.begin(), text.end(), [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
}

bool is_request_id(std::string_view text) {
  return text.size() >= 16 && text.size() <= 64 && std::all_of(text.begin(), text.end(), is_url_safe);
}

bool is_entry_id(std::string_view text) {
  constexpr std::size_t kMostDigits = 20;
  const std::size_t dash = text.find('-');
  const auto is_number = [](std::string_view part) {
    return !part.empty() && part.size() <= kMostDigits &&
           part.find_first_not_of("0123456789") == std::string_view::npos;
  };
  return dash != std::string_view::npos && is_number(text.substr(0, dash)) && is_number(text.substr(dash + 1));
}

bool is_rate_limit_name(std::string_view text) {
  return !text.empty() && text.size() <= 64 &&
         std::all_of(text.begin(), text.end(), [](char c) { return is_url_safe(c) || c == '.'; });
}

bool is_metadata_hash(std::string_view text) {
  return !text.empty() && text.size() <= 128 && std::all_of(text.begin(), text.end(), is_url_safe);
}

base::Result<QueueNames> QueueNames::make(NameConfig config) {
  const std::string& prefix = config.key_prefix;
  const auto fill = [&prefix](std::string& setting, std::string_view rest) {
    if (setting.empty()) setting.append(prefix).append(rest);
  };
  fill(config.control, ":control");
  fill(config.request_queue_template, ":requests:{service}");
  fill(config.response_prefix, ":responses");
  fill(config.inbox_template, ":inbox:{service}:{instance}");
  fill(config.endpoints_template, ":endpoints:{service}:{hash}");
  fill(config.alive_template, ":alive:{service}:{instance}");
  fill(config.cancel_template, ":cancel:{service}");
  fill(config.cancelled_template, ":cancelled:{service}");
  fill(config.dead_template, ":dead:{service}");
  fill(config.notify_template, ":notify:{queue}");
  fill(config.rate_template, ":rate:{limit}:{bucket}");

  QueueNames names;
  names.config_ = std::move(config);
  const NameConfig& c = names.config_;
  names.reply_template_ = c.response_prefix + ":{worker}";

  struct Kind {
    std::string_view setting;
    std::string_view name_template;
    std::vector<std::string_view> placeholders;
  };
  const std::array<Kind, 11> kinds{{{"ControlQueueName", c.control, {}},
                                    {"RequestQueueTemplate", c.request_queue_template, {"service"}},
                                    {"ResponseQueueName", names.reply_template_, {"worker"}},
                                    {"InboxQueueTemplate", c.inbox_template, {"service", "instance"}},
                                    {"EndpointsKeyTemplate", c.endpoints_template, {"service", "hash"}},
                                    {"AliveChannelTemplate", c.alive_template, {"service", "instance"}},
                                    {"CancelChannelTemplate", c.cancel_template, {"service"}},
                                    {"CancelledSetTemplate", c.cancelled_template, {"service"}},
                                    {"DeadQueueTemplate", c.dead_template, {"service"}},
                                    {"NotifyChannelTemplate", c.notify_template, {"queue"}},
                                    {"RateKeyTemplate", c.rate_template, {"limit", "bucket"}}}};
  for (const Kind& kind : kinds) {
    const std::string_view fault = template_fault(kind.name_template, kind.placeholders);
    if (!fault.empty()) return Error{Code::invalid, std::string(kind.setting).append(" ").append(fault)};
  }
  for (const Kind& kind : kinds) {
    if (kind.placeholders.empty()) continue;
    const std::string_view fixed = fixed_text(kind.name_template);
    for (const Kind& other : kinds) {
      if (&kind != &other && fixed_text(other.name_template).substr(0, fixed.size()) == fixed) {
        return Error{Code::invalid,
                     std::string(kind.setting).append(" makes names that may be those of ").append(other.setting)};
      }
    }
  }
  if (c.consumer_group.empty() || c.consumer_group.size() > 128 || !is_printable(c.consumer_group)) {
    return Error{Code::invalid, "ConsumerGroup must be 1 to 128 characters of printable ASCII"};
  }
  if (c.database < 0) return Error{Code::invalid, "Database must not be negative"};
  return names;
}

std::string QueueNames::service_text(std::string_view service) const {
  return config_.cluster_hash_tags ? std::string("{").append(service).append("}") : std::string(service);
}

std::string QueueNames::channel(std::string name) const {
  if (config_.database != 0) name.append(":").append(std::to_string(config_.database));
  return name;
}

std::string QueueNames::request_queue(std::string_view service, std::string_view version,
                                      std::string_view region) const {
  std::string name = expand(config_.request_queue_template, {{"service", service_text(service)}});
  if (!version.empty()) name.append(":").append(version);
  if (!region.empty()) name.append("@").append(region);
  return name;
}

std::string QueueNames::inbox(std::string_view service, std::string_view instance) const {
  return expand(config_.inbox_template, {{"service", service_text(service)}, {"instance", instance}});
}

std::string QueueNames::endpoints_key(std::string_view service, std::string_view hash) const {
  return expand(config_.endpoints_template, {{"service", service_text(service)}, {"hash", hash}});
}

std::string QueueNames::alive_channel(std::string_view service, std::string_view instance) const {
  return channel(expand(config_.alive_template, {{"service", service_text(service)}, {"instance", instance}}));
}

std::string QueueNames::cancel_channel(std::string_view service) const {
  return channel(expand(config_.cancel_template, {{"service", service_text(service)}}));
}

std::string QueueNames::cancelled_set(std::string_view service) const {
  return expand(config_.cancelled_template, {{"service", service_text(service)}});
}

std::string QueueNames::dead_stream(std::string_view service) const {
  return expand(config_.dead_template, {{"service", service_text(service)}});
}

std::string QueueNames::dead_stream_pattern() const {
  return expand(as_pattern(config_.dead_template), {{"service", service_text("*")}});
}

std::optional<std::string> QueueNames::service_of_dead_stream(std::string_view name) const {
  return service_in(name, config_.dead_template, config_.cluster_hash_tags,
                    [&](std::string_view service) { return dead_stream(service) == name; });
}

std::string QueueNames::request_queue_pattern(std::string_view service) const {
  return expand(as_pattern(config_.request_queue_template),
                {{"service", service_text(service.empty() ? "*" : service)}}) +
         "*";
}

std::optional<std::string> QueueNames::service_of_request_queue(std::string_view name) const {
  return service_in(name, config_.request_queue_template, config_.cluster_hash_tags, [&](std::string_view service) {
    const std::string base = request_queue(service);
    return name.substr(0, base.size()) == base &&
           (name.size() == base.size() || name[base.size()] == ':' || name[base.size()] == '@');
  });
}

std::string QueueNames::notify_channel(std::string_view queue) const {
  return channel(expand(config_.notify_template, {{"queue", queue}}));
}

std::string QueueNames::rate_bucket(std::string_view limit, std::string_view bucket) const {
  const std::string tagged = std::string(config_.cluster_hash_tags ? "{rate}" : "").append(limit);
  return expand(config_.rate_template, {{"limit", tagged}, {"bucket", bucket}});
}

std::string QueueNames::reply_stream(std::string_view gateway, unsigned worker, std::uint64_t epoch) const {
  return std::string(config_.response_prefix)
      .append(":")
      .append(gateway)
      .append(".")
      .append(std::to_string(worker))
      .append(".")
      .append(std::to_string(epoch));
}

bool QueueNames::is_of_kind(std::string_view name, std::string_view name_template) {
  const std::string_view fixed = fixed_text(name_template);
  return name.size() > fixed.size() && name.size() <= kMaxNameBytes && name.substr(0, fixed.size()) == fixed &&
         is_printable(name);
}

}  // namespace outrigger::frames
