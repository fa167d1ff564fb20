// How dead letters are shown: as tables and texts for people, as JSON for programs. Pure functions.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "bridge/frames/dead_letter.h"
#include "bridge/messaging/bus.h"

namespace outrigger::cli {

// A letter and where it stands.
struct FoundLetter {
  std::string service;
  messaging::EntryId id;
  frames::DeadLetter letter;
  std::size_t body_bytes = 0;  // also where the body itself was dropped
};

// 45s, 3m, 5h, 12d: the largest unit of which there are two at least, rounded down; "-" below zero.
std::string age_text(std::int64_t ms);
// The target without its query unless that is wanted.
std::string_view target_of(const frames::Request& request, bool with_query);
// Whether a header field's value may let its reader in somewhere. Names in any case.
bool is_secret_field(std::string_view name);
std::string base64(std::string_view bytes);
// JSON in UTF-8, whatever bytes are in it: what is no UTF-8 becomes U+FFFD.
std::string dump(const nlohmann::ordered_json& json);

// `now_ms` by Valkey's clock, in all of these.
std::string list_table(const std::vector<FoundLetter>& letters, std::int64_t now_ms, bool with_query);
nlohmann::ordered_json list_item(const FoundLetter& found, std::int64_t now_ms, bool with_query);

struct ShowOptions {
  bool with_secrets = false;
  bool with_body = false;  // JSON only
};
std::string show_text(const FoundLetter& found, std::int64_t now_ms, const ShowOptions& options);
nlohmann::ordered_json show_item(const FoundLetter& found, std::int64_t now_ms, const ShowOptions& options);

}  // namespace outrigger::cli
