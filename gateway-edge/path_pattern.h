// Paths as rules of the configuration name them, compared with templates of documents and with paths of requests. All
// are taken apart at their slashes and spelled as the route table compares them, with `{}` for a parameter. Pure; any
// thread.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace outrigger::gateway {

using Segments = std::vector<std::string>;  // `/a/{id}/` -> `a`, `{}`, ``

struct PathPattern {
  Segments segments;
  bool is_prefix = false;  // what the last segment begins, and everything below
  bool is_any = false;
};

// Of a template as documents spell it. Braces of the text are encoded.
Segments template_segments(std::string_view path);
// Of a request's path: canonical_path, without query.
Segments path_segments(std::string_view canonical);
void to_lower(Segments& segments);

// A rule's path: empty and `/*` are any, `/orders/*` and `/orders*` prefixes, others templates.
PathPattern parse_pattern(std::string_view path);

// Every path that `segments` stands for is one of `pattern`.
bool covers(const PathPattern& pattern, const Segments& segments);
// Some path may be one of both; a slash at the end does not count, except where a prefix ends. For what must not be got
// around.
bool touches(const PathPattern& pattern, const Segments& segments);

// Whether everyone reads `canonical` as the same path: no dot segments, empty segments, `;`, `\`, or anything encoded.
bool is_plain(std::string_view canonical);
// The path that a service which is generous about spelling may read instead: decoded (twice), without path parameters
// (`;`), empty and dot segments, white space around segments (to many `$` matches before a line feed), what stands behind an
// encoded `?` or `#`, and a slash at the end; in lower case, canonical again.
std::string fold_path(std::string_view path);
// False if fold_path(path) is `path`, most likely; true if it is not.
bool needs_folding(std::string_view path);

}  // namespace outrigger::gateway
