// The checker as ballastd runs it, without the configuration file: prober and publisher on one
// loop, in a process of its own. If it dies the benchmark's workers wait in vain and give up.
#pragma once

#include <functional>
#include <string>

#include "engine/checker/loop/loop.hpp"
#include "engine/checker/settings.hpp"

namespace ballast::bench {

// Publishes `settings` into `directory` and checks the instances for ever. Throws if it cannot
// begin. `beside`, if given, may put something of its own on the loop.
[[noreturn]] void run_checker(const std::string& directory, const checker::Settings& settings,
                              const std::function<void(checker::Loop&)>& beside = nullptr);

}  // namespace ballast::bench
