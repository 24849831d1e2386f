// Keys from texts, and the table of logarithms.
#include "engine/rendezvous_score.hpp"

#include <memory>

namespace ballast::engine {

namespace {

constexpr std::uint16_t odd(std::uint64_t bits) noexcept {
  return static_cast<std::uint16_t>(bits | 1);
}

// By Newton's step, which doubles the number of right bits: 3, 6, 12, 24.
constexpr std::uint16_t inverse_of(std::uint16_t factor) noexcept {
  std::uint16_t x = factor;
  for (int i = 0; i < 3; ++i) {
    x = detail::times(x, static_cast<std::uint16_t>(2 - detail::times(factor, x)));
  }
  return x;
}

using Lengths = std::unique_ptr<std::uint64_t[]>;

// -ln(1 - r / n) grows from one rank to the next by -ln(1 - 1 / (n - r)), whose series
// 1/k + 1/2k^2 + 1/3k^3 + ... is a few divisions. Rounded down at each, 2^-37 in all.
Lengths make_lengths() {
  auto out = std::make_unique<std::uint64_t[]>(kRankCount + 1);
  constexpr std::uint64_t kOne = std::uint64_t{1} << 56;
  std::uint64_t sum = 0;
  for (std::uint64_t left = kRankCount; left > 1; --left) {
    out[kRankCount - left] = sum;
    std::uint64_t power = kOne / left;
    for (std::uint64_t term = 1; power != 0; ++term, power /= left)
      sum += power / term;
  }
  out[kRankCount - 1] = sum;
  out[kRankCount] = sum + kOne;
  return out;
}

}  // namespace

ScoreKey score_key(std::string_view text) noexcept {
  ScoreKey key;
  key.seed = key_hash(text);
  const std::uint64_t a = attempt_hash(key.seed, 1);
  const std::uint64_t b = attempt_hash(key.seed, 2);
  key.flip = static_cast<std::uint16_t>(a);
  key.add[0] = static_cast<std::uint16_t>(a >> 16);
  key.add[1] = static_cast<std::uint16_t>(a >> 32);
  key.factor[0] = odd(a >> 48);
  key.factor[1] = odd(b);
  key.factor[2] = odd(b >> 16);
  for (int i = 0; i < 3; ++i)
    key.inverse[i] = inverse_of(key.factor[i]);
  return key;
}

std::span<const std::uint64_t, kRankCount + 1> rank_lengths() {
  static const Lengths lengths = make_lengths();
  return std::span<const std::uint64_t, kRankCount + 1>(lengths.get(), kRankCount + 1);
}

}  // namespace ballast::engine
