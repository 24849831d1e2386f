// The course of the demo: what is started, killed and started again, and what is measured
// meanwhile. The main process runs it, with one thread; everything that it starts ends with it.
#pragma once

#include <string>

#include "tools/demo/board.hpp"
#include "tools/demo/findings.hpp"
#include "tools/demo/screen.hpp"

namespace ballast::tools::demo {

struct StoryOptions {
  std::string ballastd;          // path of the checker's program
  unsigned traffic_ms = 16'000;  // about; what is waited for comes on top
};

// Tells the whole story. Throws Failure if something did not start or did not happen in time.
Findings tell(const StoryOptions& options, SharedBoard& board, Screen& screen);

}  // namespace ballast::tools::demo
