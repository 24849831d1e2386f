// Medians and quantiles by sorting a copy: there are never more than some thousand values.
#include "bench/support/statistics.hpp"

#include <algorithm>
#include <cmath>

namespace ballast::bench {

double quantile(std::vector<double> values, double q) {
  if (values.empty()) return 0;
  std::sort(values.begin(), values.end());
  const double last = static_cast<double>(values.size() - 1);
  const double place = std::clamp(q, 0.0, 1.0) * last;
  const auto below = static_cast<std::size_t>(place);
  const std::size_t above = std::min(below + 1, values.size() - 1);
  const double part = place - std::floor(place);
  return values[below] * (1 - part) + values[above] * part;
}

Spread spread_of(const std::vector<double>& rounds) {
  if (rounds.empty()) return {};
  const auto [low, high] = std::minmax_element(rounds.begin(), rounds.end());
  return {median(rounds), *low, *high, rounds.size()};
}

}  // namespace ballast::bench
