// How long something took, counted: plain numbers in buckets, fit to be copied as they are. Written
// by the prober's thread; whoever else wants to look is given a copy.
#pragma once

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>

namespace ballast::checker {

struct TimeHistogram {
  // Upper ends of the buckets, inclusive, in microseconds; one more has what is longer.
  static constexpr std::array<std::int64_t, 19> kBounds{
      50,     100,    200,     500,     1'000,   2'000,     3'000,     5'000,     7'500,     10'000,
      20'000, 50'000, 100'000, 200'000, 500'000, 1'000'000, 2'000'000, 5'000'000, 10'000'000};

  std::array<std::uint64_t, kBounds.size() + 1> counts{};
  std::uint64_t sum_us = 0;

  void add(std::chrono::microseconds time) noexcept {
    const std::int64_t us = std::max<std::int64_t>(time.count(), 0);
    const auto* const bound = std::lower_bound(kBounds.begin(), kBounds.end(), us);
    ++counts[static_cast<std::size_t>(bound - kBounds.begin())];
    sum_us += static_cast<std::uint64_t>(us);
  }
  [[nodiscard]] std::uint64_t count() const noexcept {
    std::uint64_t all = 0;
    for (const std::uint64_t one : counts)
      all += one;
    return all;
  }
};

}  // namespace ballast::checker
