// The buckets in which workers count how long requests took, by service: which one a time belongs
// to, and what the buckets mean. Three to five a decade from 0.1 ms to 100 s, at numbers that
// people set limits at. The layout fixes how many there are (shm/layout.hpp); changing a bound
// changes the meaning of counts that lie in files, so it is a change of the layout too.
#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>

#include "shm/layout.hpp"

namespace ballast::engine {

// The highest time, in microseconds, that still belongs to each bucket but the last.
inline constexpr std::array<std::uint32_t, shm::kLatencyBuckets - 1> kLatencyBoundsUs{
    100,       250,       500,        1'000,      1'500,      2'500,      5'000,
    7'500,     10'000,    15'000,     25'000,     50'000,     75'000,     100'000,
    150'000,   250'000,   500'000,    750'000,    1'000'000,  1'500'000,  2'500'000,
    5'000'000, 7'500'000, 10'000'000, 25'000'000, 50'000'000, 100'000'000};

namespace detail {
// Times are told apart by the exponent and the first two bits of the mantissa of their double,
// which is exact: by quarters of a doubling, in each of which there is at most one bound.
inline constexpr unsigned kQuarterShift = 50;
inline constexpr std::uint64_t kFirstQuarter = std::bit_cast<std::uint64_t>(1.0) >> kQuarterShift;
inline constexpr std::size_t kQuarters = 32 * 4;

// How many bounds lie below the smallest number of each quarter.
inline constexpr std::array<std::uint8_t, kQuarters> kBucketsBelow = [] {
  std::array<std::uint8_t, kQuarters> below{};
  for (std::size_t quarter = 0; quarter < kQuarters; ++quarter) {
    const auto smallest = std::bit_cast<double>((kFirstQuarter + quarter) << kQuarterShift);
    for (const std::uint32_t bound : kLatencyBoundsUs)
      below[quarter] = static_cast<std::uint8_t>(below[quarter] + (bound < smallest ? 1 : 0));
  }
  return below;
}();
static_assert([] {
  for (std::size_t quarter = 1; quarter < kQuarters; ++quarter) {
    if (kBucketsBelow[quarter] > kBucketsBelow[quarter - 1] + 1) return false;
  }
  return true;
}());
// With one for the last bucket, which has none.
inline constexpr std::array<std::uint32_t, shm::kLatencyBuckets> kBounds = [] {
  std::array<std::uint32_t, shm::kLatencyBuckets> bounds{};
  for (std::size_t i = 0; i < bounds.size(); ++i)
    bounds[i] = i < kLatencyBoundsUs.size() ? kLatencyBoundsUs[i] : UINT32_MAX;
  return bounds;
}();
}  // namespace detail

// Below kLatencyBuckets.
[[nodiscard]] constexpr std::size_t latency_bucket(std::uint32_t us) noexcept {
  // Nought, which has no exponent, belongs where one does.
  const auto value = static_cast<double>(std::int64_t{us | 1U});
  const std::size_t bucket = detail::kBucketsBelow[static_cast<std::size_t>(
      (std::bit_cast<std::uint64_t>(value) >> detail::kQuarterShift) - detail::kFirstQuarter)];
  return bucket + (us > detail::kBounds[bucket] ? 1 : 0);
}

}  // namespace ballast::engine
