#include "gateway-edge/path_pattern.h"

#include <algorithm>

#include "bridge/router/mount.h"

namespace outrigger::gateway {
namespace {

constexpr std::string_view kParameter = "{}";

bool has_parameter(std::string_view segment) {
  return segment.find(kParameter) != std::string_view::npos;
}
bool is_dot_segment(std::string_view segment) {
  return segment == "." || segment == "..";
}

char lower(char c) {
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}

// Calls on_segment for each; what stands before the first slash is not looked at.
template <class F>
void split(std::string_view path, const F& on_segment) {
  for (auto slash = path.find('/'); slash != std::string_view::npos;) {
    const auto next = path.find('/', slash + 1);
    on_segment(path.substr(slash + 1, next == std::string_view::npos ? next : next - slash - 1));
    slash = next;
  }
}

// As the route table reads it, without the names of its parameters.
std::string template_segment(std::string_view segment) {
  std::string out;
  for (;;) {
    const auto open = segment.find('{');
    const auto close = open == std::string_view::npos ? open : segment.find('}', open);
    if (close == std::string_view::npos) break;
    out += router::canonical_path(segment.substr(0, open), /*encode=*/true);
    out += kParameter;
    segment.remove_prefix(close + 1);
  }
  return out + router::canonical_path(segment, /*encode=*/true);
}

// Whether `text` could stand for `pattern`, whose parameters are at least one character each.
bool is_instance(std::string_view text, std::string_view pattern) {
  auto parameter = pattern.find(kParameter);
  if (parameter == std::string_view::npos) return text == pattern;
  if (text.substr(0, parameter) != pattern.substr(0, parameter)) return false;
  text.remove_prefix(parameter);
  for (;;) {
    pattern.remove_prefix(parameter + kParameter.size());
    parameter = pattern.find(kParameter);
    if (parameter == std::string_view::npos) break;
    const auto at = text.find(pattern.substr(0, parameter), 1);
    if (at == std::string_view::npos) return false;
    text.remove_prefix(at + parameter);
  }
  return text.size() > pattern.size() && text.substr(text.size() - pattern.size()) == pattern;
}

bool covers_segment(std::string_view pattern, std::string_view segment) {
  if (pattern == segment) return true;
  if (has_parameter(segment)) return pattern == kParameter;
  return has_parameter(pattern) && !is_dot_segment(segment) && is_instance(segment, pattern);
}

bool touches_segment(std::string_view pattern, std::string_view segment) {
  if (pattern == segment) return true;
  if (has_parameter(pattern)) return has_parameter(segment) || is_instance(segment, pattern);
  return is_instance(pattern, segment);
}

std::size_t size_without_slash(const Segments& segments) {
  return segments.size() > 1 && segments.back().empty() ? segments.size() - 1 : segments.size();
}

std::string decoded(std::string_view text) {
  const auto digit = [&text](std::size_t at) {
    return at < text.size() ? std::string_view("0123456789abcdef").find(lower(text[at])) : std::string_view::npos;
  };
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const bool is_encoded = text[i] == '%' && digit(i + 1) < 16 && digit(i + 2) < 16;
    out += is_encoded ? static_cast<char>(digit(i + 1) * 16 + digit(i + 2)) : text[i];
    if (is_encoded) i += 2;
  }
  return out;
}

}  // namespace

Segments template_segments(std::string_view path) {
  Segments segments;
  split(path, [&segments](std::string_view segment) { segments.push_back(template_segment(segment)); });
  return segments;
}

Segments path_segments(std::string_view canonical) {
  Segments segments;
  split(canonical, [&segments](std::string_view segment) { segments.emplace_back(segment); });
  return segments;
}

void to_lower(Segments& segments) {
  for (std::string& segment : segments) std::transform(segment.begin(), segment.end(), segment.begin(), lower);
}

PathPattern parse_pattern(std::string_view path) {
  PathPattern pattern;
  pattern.is_any = path.empty() || path == "/*";
  pattern.is_prefix = !path.empty() && path.back() == '*';
  if (pattern.is_prefix) path.remove_suffix(1);
  pattern.segments = template_segments(path);
  return pattern;
}

bool covers(const PathPattern& pattern, const Segments& segments) {
  if (pattern.is_any) return true;
  const std::size_t size = pattern.segments.size();
  const std::size_t whole = pattern.is_prefix ? size - 1 : size;
  if (pattern.is_prefix ? segments.size() < size : segments.size() != size) return false;
  for (std::size_t i = 0; i < whole; ++i) {
    if (!covers_segment(pattern.segments[i], segments[i])) return false;
  }
  if (!pattern.is_prefix) return true;
  const std::string_view last = segments[whole];
  return last.substr(0, last.find(kParameter)).starts_with(pattern.segments[whole]);
}

bool touches(const PathPattern& pattern, const Segments& segments) {
  if (pattern.is_any) return true;
  const std::size_t size = pattern.is_prefix ? pattern.segments.size() : size_without_slash(pattern.segments);
  const std::size_t whole = pattern.is_prefix ? size - 1 : size;
  if (pattern.is_prefix ? segments.size() < size : size_without_slash(segments) != size) return false;
  for (std::size_t i = 0; i < whole; ++i) {
    if (!touches_segment(pattern.segments[i], segments[i])) return false;
  }
  if (!pattern.is_prefix) return true;
  const std::string_view begin = pattern.segments[whole];
  const std::string_view last = segments[whole];
  const std::string_view head = last.substr(0, last.find(kParameter));
  return head.starts_with(begin) || (head.size() < last.size() && begin.starts_with(head));
}

bool is_plain(std::string_view canonical) {
  bool is = canonical.find("//") == std::string_view::npos;
  split(canonical, [&is](std::string_view segment) { is = is && !is_dot_segment(segment); });
  return is && std::all_of(canonical.begin(), canonical.end(),
                           [](char c) { return c > ' ' && c <= '~' && c != '%' && c != '\\' && c != ';'; });
}

std::string fold_path(std::string_view path) {
  static constexpr std::string_view kWhite = " \t\n\v\f\r";
  // Once is what every service does; twice is what those do that stand behind another proxy.
  std::string text = decoded(decoded(path));
  text.resize(std::min(text.find_first_of("?#"), text.size()));
  std::replace(text.begin(), text.end(), '\\', '/');
  std::transform(text.begin(), text.end(), text.begin(), lower);
  std::vector<std::string_view> kept;
  split(text, [&kept](std::string_view segment) {
    segment = segment.substr(0, segment.find_first_of(std::string_view(";\0", 2)));
    segment.remove_prefix(std::min(segment.find_first_not_of(kWhite), segment.size()));
    segment = segment.substr(0, segment.find_last_not_of(kWhite) + 1);
    if (segment == ".." && !kept.empty()) kept.pop_back();
    if (!segment.empty() && !is_dot_segment(segment)) kept.push_back(segment);
  });
  std::string folded;
  for (const std::string_view segment : kept) folded.append("/").append(segment);
  return folded.empty() ? "/" : router::canonical_path(folded, /*encode=*/true);
}

bool needs_folding(std::string_view path) {
  if (path.size() > 1 && path.back() == '/') return true;
  char last = '\0';
  for (const char c : path) {
    if ((c >= 'A' && c <= 'Z') || c == '%' || c == ';' || c == '\\' || (last == '/' && (c == '/' || c == '.')))
      return true;
    if (c <= ' ' || c > '~') return true;
    last = c;
  }
  return false;
}

}  // namespace outrigger::gateway
