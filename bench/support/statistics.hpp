// What is made of many noisy figures: a median with the lowest and highest round beside it. Plain
// functions; used by every benchmark.
#pragma once

#include <cstddef>
#include <vector>

namespace ballast::bench {

// One figure: the median of the rounds, and how far the rounds lay apart.
struct Spread {
  double value = 0;
  double low = 0;
  double high = 0;
  std::size_t runs = 0;
};

// The q-quantile (0..1) of `values`, which may be in any order; 0 if there are none.
[[nodiscard]] double quantile(std::vector<double> values, double q);
[[nodiscard]] inline double median(std::vector<double> values) {
  return quantile(std::move(values), 0.5);
}
[[nodiscard]] Spread spread_of(const std::vector<double>& rounds);

}  // namespace ballast::bench
