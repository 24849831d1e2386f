// Random numbers of the simulator: xoshiro256** and the few distributions it needs, written out so
// that a seed gives the same digits with every standard library. Plain memory of one thread.
#pragma once

#include <cmath>
#include <cstdint>
#include <numbers>

namespace ballast::bench::sim {

class Random {
 public:
  explicit Random(std::uint64_t seed) noexcept {
    for (std::uint64_t& word : state_) {  // splitmix64, as its authors advise for seeding
      seed += 0x9e3779b97f4a7c15U;
      std::uint64_t z = seed;
      z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9U;
      z = (z ^ z >> 27) * 0x94d049bb133111ebU;
      word = z ^ z >> 31;
    }
  }

  std::uint64_t next() noexcept {
    const std::uint64_t result = rotate(state_[1] * 5, 7) * 9;
    const std::uint64_t t = state_[1] << 17;
    state_[2] ^= state_[0];
    state_[3] ^= state_[1];
    state_[1] ^= state_[2];
    state_[0] ^= state_[3];
    state_[2] ^= t;
    state_[3] = rotate(state_[3], 45);
    return result;
  }
  // In [0, n).
  std::uint32_t below(std::uint32_t n) noexcept {
    return static_cast<std::uint32_t>((next() >> 32) * n >> 32);
  }
  // In (0, 1].
  double unit() noexcept { return static_cast<double>((next() >> 11) + 1) * 0x1p-53; }
  double exponential(double mean) noexcept { return -mean * std::log(unit()); }
  double normal() noexcept {
    return std::sqrt(-2 * std::log(unit())) * std::cos(2 * std::numbers::pi * unit());
  }

 private:
  static std::uint64_t rotate(std::uint64_t x, int by) noexcept { return x << by | x >> (64 - by); }

  std::uint64_t state_[4];
};

}  // namespace ballast::bench::sim
