// Suite `checker`, the program: what checks cost and how they behave with ten thousand instances,
// against HAProxy in the same run.
#include <cstdio>

#include "bench/engine/checker/cases.hpp"
#include "bench/engine/checker/targets.hpp"

int main(int argc, char** argv) {
  using namespace ballast::bench;
  if (!leave_the_network())
    std::fprintf(stderr, "no network of its own: others' connections are counted too\n");
  Suite suite("checker");
  add_cost_cases(suite);
  add_share_cases(suite);
  add_rhythm_cases(suite);
  add_verdict_cases(suite);
  return suite.run(argc, argv);
}
