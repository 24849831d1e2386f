// Whether counts are as they should be by chance: Pearson's test.
#pragma once

#include <cmath>
#include <cstdint>
#include <vector>

namespace ballast::tests {

// Above this the counts are not by these probabilities, but for once in about 10^9 tests: the
// quantile for z = 6 by Wilson and Hilferty's approximation.
inline double chi_square_limit(std::size_t degrees) {
  const auto k = static_cast<double>(degrees);
  const double root = 1 - 2 / (9 * k) + 6 * std::sqrt(2 / (9 * k));
  return k * root * root * root;
}

// `probabilities` add up to 1; a place with probability 0 must have count 0.
inline bool fits(const std::vector<std::uint64_t>& counts,
                 const std::vector<double>& probabilities) {
  std::uint64_t total = 0;
  for (const std::uint64_t count : counts)
    total += count;
  double sum = 0;
  std::size_t places = 0;
  for (std::size_t i = 0; i < counts.size(); ++i) {
    if (probabilities[i] == 0) {
      if (counts[i] != 0) return false;
      continue;
    }
    const double expected = probabilities[i] * static_cast<double>(total);
    const double off = static_cast<double>(counts[i]) - expected;
    sum += off * off / expected;
    ++places;
  }
  return places < 2 || sum <= chi_square_limit(places - 1);
}

}  // namespace ballast::tests
