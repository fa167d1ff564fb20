// Reads documents with the very code of the sidecar, for scripts/check-openapi: names of files on standard input, one
// line of JSON per document on standard output. `--endpoints` adds every endpoint as "METHOD /path" and the document as
// stored. Exit: 0 every file was looked at (whatever came of it), 1 a file cannot be opened.
#include <sys/resource.h>

#include <cstdio>
#include <cstring>
#include <fstream>
#include <iostream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <string>

#include "bridge/base/clock.h"
#include "bridge/openapi/merge.h"
#include "bridge/openapi/metadata_codec.h"
#include "bridge/openapi/reader.h"

namespace {

using namespace outrigger;
using nlohmann::json;

double milliseconds_since(base::TimePoint start) {
  return std::chrono::duration<double, std::milli>(base::system_clock().monotonic() - start).count();
}

// Of the process so far, in KiB: the caller gives one file to each process when it wants to know that of one.
long peak_kib() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return usage.ru_maxrss;
}

json look_at(const std::string& name, const std::string& text, bool with_endpoints) {
  json line = {{"file", name}, {"bytes", text.size()}};
  const base::TimePoint start = base::system_clock().monotonic();
  auto parsed = openapi::read_document(text);
  line["read_ms"] = milliseconds_since(start);
  if (!parsed) {
    line["error"] = parsed.error().detail;
    line["code"] = name_of(parsed.error().code);
    return line;
  }
  line["version"] = parsed->version;
  line["yaml"] = parsed->is_yaml;
  line["count"] = parsed->endpoints.size();
  line["remarks"] = parsed->remarks;
  if (with_endpoints) {
    for (const auto& endpoint : parsed->endpoints) line["endpoints"].push_back(endpoint.method + " " + endpoint.path);
  }

  openapi::ServiceMetadata metadata;
  metadata.service = "check";
  metadata.mount = "/";
  metadata.endpoints = std::move(parsed->endpoints);
  metadata.document = std::move(parsed->document);
  const auto encoded = openapi::encode_metadata(metadata);
  line["all_ms"] = milliseconds_since(start);  // what a sidecar does with it
  line["peak_kib"] = peak_kib();
  if (!encoded) {
    line["error"] = encoded.error().detail;
    line["code"] = name_of(encoded.error().code);
    return line;
  }
  line["stored_bytes"] = encoded->bytes.size();
  const auto decoded = openapi::decode_metadata(encoded->bytes, encoded->hash);
  if (!decoded || *decoded != metadata) line["error"] = "the stored metadata do not come back";
  const auto merged = openapi::merge({&metadata});
  line["merged_ms"] = milliseconds_since(start);
  if (!merged.problems.empty()) line["error"] = "merge: " + merged.problems.front();
  if (with_endpoints) line["merged"] = merged.json;
  return line;
}

}  // namespace

int main(int argc, char** argv) {
  const bool with_endpoints = argc > 1 && std::strcmp(argv[1], "--endpoints") == 0;
  std::string name;
  while (std::getline(std::cin, name)) {
    std::ifstream file(name, std::ios::binary);
    if (!file) {
      std::fprintf(stderr, "openapi_check: cannot open '%s'\n", name.c_str());
      return 1;
    }
    const std::string text{std::istreambuf_iterator<char>(file), {}};
    std::cout << look_at(name, text, with_endpoints).dump(-1, ' ', false, json::error_handler_t::replace) << std::endl;
  }
}
