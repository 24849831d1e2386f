// Suite `false_downs`, the program: ten minutes in which nobody fails. It is by itself because it
// takes as long as all the rest, and because it needs no quiet machine.
#include <cstdio>

#include "bench/engine/checker/cases.hpp"
#include "bench/engine/checker/targets.hpp"

int main(int argc, char** argv) {
  using namespace ballast::bench;
  if (!leave_the_network())
    std::fprintf(stderr, "no network of its own: others' connections are counted too\n");
  Suite suite("false_downs");
  add_false_downs_case(suite);
  return suite.run(argc, argv);
}
