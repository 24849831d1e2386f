// Suite `checker`, the program: what checks cost and how they behave with ten thousand instances,
// against HAProxy in the same run.
#include <algorithm>
#include <cstdio>
#include <cstdlib>

#include "bench/engine/checker/cases.hpp"
#include "bench/engine/checker/targets.hpp"

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

int main(int argc, char** argv) {
  using namespace ballast::bench;
  if (!leave_the_network())
    std::fprintf(stderr, "no network of its own: others' connections are counted too\n");
  Suite suite("checker");
  add_cost_cases(suite);
  add_rhythm_cases(suite);
  add_verdict_cases(suite);
  return suite.run(argc, argv);
}
