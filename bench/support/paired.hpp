// Two ways of doing the same, timed against each other. Short bursts of one and of the other take
// turns in the same processes (A B, B A, A B, ...), and the ratio is taken pair by pair, so that
// what disturbs the machine for longer than a burst disturbs both alike. A round is the median of
// its pairs; the figure is the median of the rounds.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>

#include "bench/support/statistics.hpp"

namespace ballast::bench {

// Does its operation that many times.
using Burst = std::function<void(std::uint64_t operations)>;

struct Contenders {
  Burst base;
  Burst subject;
};

struct PairedPlan {
  unsigned processes = 1;
  std::uint64_t base_operations = 0;  // in one burst; about 100 us is a good length
  std::uint64_t subject_operations = 0;
  std::size_t rounds = 15;
  std::size_t pairs = 100;  // in a round
  // Runs in one more process, pinned to the next processor, until told to stop.
  std::function<void(const std::atomic<bool>& stop)> beside;
};

struct PairedResult {
  Spread ratio;       // subject / base, time for time; with several processes, of their sums
  Spread base_ns;     // for one operation
  Spread subject_ns;  // for one operation
};

// `make` is called once in every process, after it was pinned; the bursts of all processes start
// together.
[[nodiscard]] PairedResult run_paired(const PairedPlan& plan,
                                      const std::function<Contenders(unsigned rank)>& make);

}  // namespace ballast::bench
