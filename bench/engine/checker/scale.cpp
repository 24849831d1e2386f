// How much the suites measure, as their user wishes.
#include <algorithm>
#include <cstdlib>

#include "bench/engine/checker/cases.hpp"

namespace ballast::bench {

Scale scale() {
  static const bool quick = std::getenv("BALLAST_BENCH_QUICK") != nullptr;
  static const char* const rounds = std::getenv("BALLAST_BENCH_ROUNDS");
  Scale out;
  if (quick) out = {1'000, 2, 1'500'000'000, 10'000'000'000};
  if (rounds != nullptr) out.rounds = std::max(1UL, std::strtoul(rounds, nullptr, 10));
  static const char* const seconds = std::getenv("BALLAST_BENCH_FALSE_DOWNS_S");
  if (seconds != nullptr)
    out.false_downs_ns = std::max(1UL, std::strtoul(seconds, nullptr, 10)) * 1'000'000'000U;
  return out;
}

}  // namespace ballast::bench
