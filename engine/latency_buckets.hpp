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
// How many bounds lie below the smallest number of each width in bits. From there at most two lie
// below any number of that width, so that no loop is needed.
inline constexpr std::array<std::uint8_t, 33> kBucketsBelow = [] {
  std::array<std::uint8_t, 33> below{};
  for (unsigned width = 1; width <= 32; ++width) {
    const std::uint64_t smallest = std::uint64_t{1} << (width - 1);
    for (const std::uint32_t bound : kLatencyBoundsUs)
      below[width] = static_cast<std::uint8_t>(below[width] + (bound < smallest ? 1 : 0));
  }
  return below;
}();
// With room for the two after the last.
inline constexpr std::array<std::uint32_t, shm::kLatencyBuckets + 1> kBounds = [] {
  std::array<std::uint32_t, shm::kLatencyBuckets + 1> bounds{};
  for (std::size_t i = 0; i < bounds.size(); ++i)
    bounds[i] = i < kLatencyBoundsUs.size() ? kLatencyBoundsUs[i] : UINT32_MAX;
  return bounds;
}();
}  // namespace detail

// Below kLatencyBuckets.
[[nodiscard]] constexpr std::size_t latency_bucket(std::uint32_t us) noexcept {
  std::size_t bucket = detail::kBucketsBelow[static_cast<unsigned>(std::bit_width(us))];
  bucket += us > detail::kBounds[bucket] ? 1 : 0;
  bucket += us > detail::kBounds[bucket] ? 1 : 0;
  return bucket;
}

}  // namespace ballast::engine
