// YAML 1.2 as a JSON value, for documents of anyone: the one file of this folder that knows yaml-cpp. Aliases are
// copied, so what they copy is counted like what is written out. Inside bridge/openapi only.
#pragma once

#include <chrono>
#include <nlohmann/json_fwd.hpp>
#include <string_view>

#include "bridge/base/result.h"

namespace outrigger::openapi {

inline constexpr auto kYamlTime =
    std::chrono::seconds(15);  // 16 MiB take about 2 s; beyond is not a document but an attack

// The first document of the stream. Plain scalars become null, booleans and numbers by the core schema (YAML 1.2
// section 10.3.2), all others text: `yes`, `2020-01-01` and every key (`200:`) are text. `<<` merges, as most tools
// still do. Of equal keys the last counts, as in JSON. Errors: malformed (with line and column), too_large, deadline.
base::Result<nlohmann::json> parse_yaml(std::string_view text);

}  // namespace outrigger::openapi
