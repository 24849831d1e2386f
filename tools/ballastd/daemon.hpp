// ballastd while it runs: signals, reloads and hand-overs round the checker, which does the work.
#pragma once

#include "engine/checker/settings.hpp"
#include "tools/ballastd/options.hpp"

namespace ballast::tools {

// Where a configuration's files are: the option, the configuration, or the namespace's default.
[[nodiscard]] std::string directory_of(const Options& options, const checker::Settings& settings);

// Runs until a signal, a hand-over or a disaster. Returns the exit status: 0 when it left in order.
int run_daemon(const Options& options, checker::Settings settings);

}  // namespace ballast::tools
