// What the table of keys says of itself, for people and for editors: a Markdown table per section and a JSON Schema.
// Both are made from the table that files are read with, so neither can differ from it. Pure functions.
#pragma once

#include <string>

#include "bridge/app/config_table.h"

namespace outrigger::app {

// A JSON Schema (draft 2020-12) of configuration files. Stricter than reading in one thing: names of keys and choices
// must be spelled as in the table, since a schema knows no "in any case".
std::string print_schema(const ConfigTable& table);

// Markdown: per section each key with its environment variable, flag, values, default and help.
std::string print_reference(const ConfigTable& table);

}  // namespace outrigger::app
