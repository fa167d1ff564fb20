// Tables and lines for an operator's terminal. Pure text.
#pragma once

#include <string>
#include <vector>

namespace outrigger::cli {

// What comes from elsewhere must not steer the operator's terminal: control characters, C1 ones in UTF-8 too, become `?`.
std::string printable(std::string text);

// Columns as wide as their widest cell, two blanks apart, none at the end of a line. All rows have as many cells as there
// are titles; they are made printable.
std::string make_table(std::vector<std::string> titles, std::vector<std::vector<std::string>> rows);

}  // namespace outrigger::cli
