// What the suites `checker` and `false_downs` are made of: each function adds its cases to a suite.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "bench/support/suite.hpp"

namespace ballast::bench {

// How much is measured. BALLAST_BENCH_QUICK=1 tries everything with a tenth of the targets, in
// seconds; its figures are not those that count. BALLAST_BENCH_ROUNDS says how many rounds,
// BALLAST_BENCH_FALSE_DOWNS_S how many seconds false downs are looked for.
struct Scale {
  std::size_t instances = 10'000;
  std::size_t rounds = 5;
  std::uint64_t window_ns = 5'000'000'000;
  std::uint64_t false_downs_ns = 600'000'000'000;
};
[[nodiscard]] Scale scale();

void add_cost_cases(Suite& suite);     // processor and memory, against HAProxy
void add_share_cases(Suite& suite);    // where the processor's time goes
void add_rhythm_cases(Suite& suite);   // bursts and lag
void add_verdict_cases(Suite& suite);  // deaths, first verdicts, flaps
void add_false_downs_case(Suite& suite);

}  // namespace ballast::bench
