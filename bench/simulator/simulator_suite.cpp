// Suite `simulator`, the program: `simulator` runs everything, `simulator --quick` the same for a
// few seconds of simulated time; both take Google Benchmark's flags to choose scenarios.
#include <cstring>
#include <string>
#include <vector>

#include "bench/simulator/tables.hpp"
#include "bench/support/suite.hpp"

int main(int argc, char** argv) {
  using namespace ballast::bench;
  sim::Plan plan;
  std::vector<char*> arguments;
  for (int i = 0; i < argc; ++i) {
    if (std::strcmp(argv[i], "--quick") == 0) {
      plan = sim::quick_plan();
    } else {
      arguments.push_back(argv[i]);
    }
  }
  arguments.push_back(nullptr);
  Suite suite("simulator");
  for (const std::string& scenario : sim::scenario_names()) {
    for (const std::uint32_t workers : {4U, 64U}) {
      suite.add("sim/" + scenario + "/w" + std::to_string(workers),
                [&plan, scenario, workers](Rows& rows) {
                  sim::add_scenario(rows, plan, scenario, workers);
                });
    }
  }
  for (const char* scenario : {"equal", "antagonist"}) {
    suite.add(std::string("sim/intervals/") + scenario,
              [&plan, scenario](Rows& rows) { sim::add_intervals(rows, plan, scenario); });
  }
  suite.add("sim/elsewhere", [&plan](Rows& rows) { sim::add_elsewhere(rows, plan); });
  suite.add("sim/goals", [](Rows& rows) { sim::add_goals(rows); });
  return suite.run(static_cast<int>(arguments.size()) - 1, arguments.data());
}
