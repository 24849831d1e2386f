// The end of the demo: its table, its one machine-readable line, and the verdict.
#pragma once

#include <string>

#include "tools/demo/board.hpp"
#include "tools/demo/findings.hpp"
#include "tools/demo/screen.hpp"

namespace ballast::tools::demo {

void print_summary(const Findings& found, const Board& board, Screen& screen);

// "demo: requests=... client_errors=0 ...": the figures that scripts read. The names are fixed.
std::string machine_line(const Findings& found, const Board& board);

// What should be zero and is not, in words; empty if all is well.
std::string complaint(const Findings& found, const Board& board);

}  // namespace ballast::tools::demo
