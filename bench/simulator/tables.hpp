// From runs to rows: every strategy through a scenario with several seeds, and the ratios that the
// goals are about. Writes nothing but the rows.
#pragma once

#include <cstdint>
#include <string>

#include "bench/simulator/scenario.hpp"
#include "bench/support/suite.hpp"

namespace ballast::bench::sim {

struct Plan {
  Scale scale;
  std::uint64_t first_seed = 1;
  std::uint32_t seeds = 3;
};

// A few seconds instead of minutes: figures mean little, but are the same every time.
[[nodiscard]] Plan quick_plan();

// Rows named sim.<what>/<scenario>/w<workers>/<strategy>; see docs/simulator.md.
void add_scenario(Rows& rows, const Plan& plan, const std::string& scenario, std::uint32_t workers);
// How p99 depends on how old the published loads are: sim.p99_ms_by_interval/<scenario>/<interval
// in microseconds>us/<strategy>.
void add_intervals(Rows& rows, const Plan& plan, const std::string& scenario);
// How the main strategies do in services of another make: busier, with more or fewer servers, with
// shorter or longer work. sim.elsewhere_p99_ms/<variant>/<scenario>/<strategy>.
void add_elsewhere(Rows& rows, const Plan& plan);
// The rows that count, from the ratios added before.
void add_goals(Rows& rows);

}  // namespace ballast::bench::sim
