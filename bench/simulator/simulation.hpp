// One run: a scenario's requests against its backends, through a chooser, in simulated time. Same
// scenario, same chooser, same digits.
#pragma once

#include <cstdint>
#include <vector>

#include "bench/simulator/chooser.hpp"
#include "bench/simulator/scenario.hpp"

namespace ballast::bench::sim {

struct Result {
  std::uint64_t requests = 0;  // those that count: begun after the warm-up
  std::uint64_t errors = 0;    // failed, timed out, or nobody to send them to
  // Sorted. A request that failed counts as late as the longest that a client waits: a fast error
  // is no quick answer.
  std::vector<float> latency_ms;
  std::vector<std::uint32_t> per_backend;

  [[nodiscard]] double quantile_ms(double q) const;
  [[nodiscard]] double error_ratio() const {
    return requests == 0 ? 0 : static_cast<double>(errors) / static_cast<double>(requests);
  }
};

[[nodiscard]] Result simulate(const Scenario& scenario, Chooser& chooser);

}  // namespace ballast::bench::sim
