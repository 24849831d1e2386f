// What the suites `pick` and `strategies` are made of, one function a file: each adds its cases to
// the suite.
#pragma once

#include "bench/support/suite.hpp"

namespace ballast::bench {

void add_pick_cases(Suite& suite);     // the pick against tables without protection and with locks
void add_c_api_cases(Suite& suite);    // pick and report through the shared library
void add_linking_cases(Suite& suite);  // the same linked in other ways
void add_ketama_cases(Suite& suite);   // the indexed search on the ring
void add_visible_cases(Suite& suite);  // from one process's store to another's load
void add_rebuild_cases(Suite& suite);  // filling and publishing a table
void add_death_cases(Suite& suite);    // from SIGKILL to the last worker's pick
void add_variant_cases(Suite& suite);  // other ways of guarding the same table

// Of suite `strategies`.
void add_breaker_cases(Suite& suite);        // from the last failure to the last process's pick
void add_inflight_cases(Suite& suite);       // shared atomics against rows with published totals
void add_strategy_cost_cases(Suite& suite);  // pick and report with each strategy
void add_disruption_cases(Suite& suite);     // what changes of members move
void add_sticky_cases(Suite& suite);         // picks with sticky tokens

}  // namespace ballast::bench
