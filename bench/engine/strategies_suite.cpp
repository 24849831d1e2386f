// Suite `strategies`, the program: what each way of choosing costs, and what a change of members
// moves.
#include "bench/engine/cases.hpp"

int main(int argc, char** argv) {
  using namespace ballast::bench;
  Suite suite("strategies");
  add_strategy_cost_cases(suite);
  add_inflight_cases(suite);
  add_disruption_cases(suite);
  add_breaker_cases(suite);
  add_sticky_cases(suite);
  return suite.run(argc, argv);
}
