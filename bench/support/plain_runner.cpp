// Running the cases one after the other, without Google Benchmark: all of them, or those whose id
// contains one of the arguments.
#include <algorithm>
#include <cstdio>
#include <exception>

#include "bench/support/runner.hpp"

namespace ballast::bench {

Ran run_cases(int argc, char** argv, const std::vector<Runnable>& cases) {
  Ran ran = Ran::all;
  for (const Runnable& one : cases) {
    const bool chosen =
        argc < 2 || std::any_of(
                        argv + 1, argv + argc,
                        [&](const char* part) { return one.id.find(part) != std::string::npos; });
    if (!chosen) continue;
    std::fprintf(stderr, "%s ...\n", one.id.c_str());
    try {
      one.run();
    } catch (const std::exception& error) {
      std::fprintf(stderr, "%s: %s\n", one.id.c_str(), error.what());
      ran = Ran::some_failed;
    }
  }
  return ran;
}

}  // namespace ballast::bench
