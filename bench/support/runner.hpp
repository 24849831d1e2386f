// Who runs a suite's cases. Google Benchmark does (google_runner.cpp); the program that is linked
// statically has a plain loop instead (plain_runner.cpp), because Debian ships Google Benchmark
// only as a shared library. Exactly one of the two is linked.
#pragma once

#include <functional>
#include <string>
#include <vector>

namespace ballast::bench {

struct Runnable {
  std::string id;
  std::function<void()> run;  // throws when it cannot measure
};

enum class Ran { all, some_failed, bad_arguments };

// Runs those of `cases` that the arguments choose.
[[nodiscard]] Ran run_cases(int argc, char** argv, const std::vector<Runnable>& cases);

}  // namespace ballast::bench
