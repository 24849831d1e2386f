// The checker as ballastd runs it, without the configuration file: prober and publisher on one
// loop, in a process of its own. If it dies the benchmark's workers wait in vain and give up.
#pragma once

#include <string>

#include "engine/checker/settings.hpp"

namespace ballast::bench {

// Publishes `settings` into `directory` and checks the instances for ever. Throws if it cannot
// begin.
[[noreturn]] void run_checker(const std::string& directory, const checker::Settings& settings);

}  // namespace ballast::bench
