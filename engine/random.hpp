// The random numbers of one picking thread: SplitMix64, a word of state and a few instructions a
// number. For drawing candidates and breaking ties, never for secrets. Private memory of one
// thread: nobody else reads it, and a forked child must seed its own (see Handle), or it would draw
// what its parent draws.
#pragma once

#include <cstdint>

#include "engine/hash.hpp"

namespace ballast::engine {

class Random {
 public:
  constexpr explicit Random(std::uint64_t seed = 0) noexcept : state_(seed) {}

  // Every seed gives another order of the same 2^64 numbers. Source: Steele, Lea, Flood 2014.
  [[nodiscard]] constexpr std::uint64_t next() noexcept {
    state_ += std::uint64_t{0x9e3779b97f4a7c15};
    std::uint64_t z = state_;
    z = (z ^ (z >> 30)) * std::uint64_t{0xbf58476d1ce4e5b9};
    z = (z ^ (z >> 27)) * std::uint64_t{0x94d049bb133111eb};
    return z ^ (z >> 31);
  }
  // 0 .. size - 1, each with its fair share to within size / 2^64; 0 for `size` 0.
  [[nodiscard]] constexpr std::uint64_t below(std::uint64_t size) noexcept {
    return reduce(next(), size);
  }

 private:
  std::uint64_t state_;
};

}  // namespace ballast::engine
