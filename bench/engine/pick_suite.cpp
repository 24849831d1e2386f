// Suite `pick`, the program: everything that a pick, a change of health, a rebuild and a death
// cost.
#include "bench/engine/cases.hpp"

int main(int argc, char** argv) {
  using namespace ballast::bench;
  Suite suite("pick");
  add_pick_cases(suite);
  add_c_api_cases(suite);
#ifndef BALLAST_BENCH_STATIC
  add_linking_cases(suite);
#endif
  add_ketama_cases(suite);
  add_visible_cases(suite);
  add_rebuild_cases(suite);
  add_death_cases(suite);
  add_variant_cases(suite);
  return suite.run(argc, argv);
}
