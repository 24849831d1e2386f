// How a service's traffic is divided among its groups, as three words of its record that the
// checker stores whenever health changes it (engine/checker/steering/group_shares.hpp), and how a
// pick reads them. The words are not read as one: a pick that meets two divisions draws by one of
// them or by a mixture, either of which names groups that exist. If the checker dies, the last
// division stands.
//
//   shares[2]   eight 16-bit ends of ranges, group 0's in the lowest bits of the first word: group
//   g
//               has the numbers from the end before it up to, not including, its own; the one whose
//               end is 65535 has that number too
//   panic       bits 0-7 a PanicMode, bits 8-15 the groups that are in it
//
// Beside them in the service's load record stands what part of its weight each group has.
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdint>

#include "engine/policy.hpp"
#include "shm/generation.hpp"
#include "shm/layout.hpp"

namespace ballast::engine {

using GroupEnds = std::array<std::uint16_t, shm::kMaxGroups>;
static_assert(shm::kMaxGroups == 8);

[[nodiscard]] constexpr std::array<std::uint64_t, 2> pack(const GroupEnds& ends) noexcept {
  std::array<std::uint64_t, 2> words{};
  for (std::size_t g = 0; g < ends.size(); ++g)
    words[g / 4] |= std::uint64_t{ends[g]} << 16 * (g % 4);
  return words;
}

// Which group a number that is even over 0..65535 falls to, of `count`: a keyed strategy takes bits
// of the key's hash, so that a key changes groups only when the division does. Group 0 while no
// division was ever stored.
template <class Word>
[[nodiscard]] std::uint64_t draw_group(const Word (&shares)[2], std::uint64_t count,
                                       std::uint16_t number) noexcept {
  for (std::uint64_t g = 0; g < count && g < shm::kMaxGroups; ++g) {
    const auto end = static_cast<std::uint16_t>(shm::get(shares[g / 4]) >> 16 * (g % 4));
    if (number < end || end == UINT16_MAX) return g;
  }
  return 0;
}

// What part of the traffic falls to a group, in 1/65536.
template <class Word>
[[nodiscard]] std::uint32_t share_of_group(const Word (&shares)[2], std::uint64_t group) noexcept {
  const auto end_of = [&shares](std::uint64_t g) noexcept {
    const auto end = static_cast<std::uint16_t>(shm::get(shares[g / 4]) >> 16 * (g % 4));
    return end == UINT16_MAX ? std::uint32_t{65536} : std::uint32_t{end};
  };
  const std::uint32_t from = group == 0 ? 0 : end_of(group - 1);
  return std::max(end_of(group), from) - from;
}

// The effective weights of each group as parts of their sum, for the bound of consistent hashing.
// Every group that has any has at least one part.
[[nodiscard]] constexpr std::array<std::uint64_t, 2> pack_parts(
    const std::array<std::uint64_t, shm::kMaxGroups>& weights) noexcept {
  std::uint64_t sum = 0;
  for (const std::uint64_t weight : weights)
    sum += weight;
  std::array<std::uint64_t, 2> words{};
  for (std::size_t g = 0; g < weights.size() && sum != 0; ++g) {
    const std::uint64_t part = (weights[g] * UINT16_MAX + sum / 2) / sum;
    words[g / 4] |= std::max<std::uint64_t>(part, weights[g] != 0 ? 1 : 0) << 16 * (g % 4);
  }
  return words;
}
template <class Word>
[[nodiscard]] std::uint32_t part_of_group(const Word (&parts)[2], std::uint64_t group) noexcept {
  // Relaxed: a number to go by, no order hangs on it.
  const std::uint64_t word = parts[group / 4].load(std::memory_order_relaxed);
  return static_cast<std::uint16_t>(word >> 16 * (group % 4));
}

[[nodiscard]] constexpr std::uint64_t pack_panic(PanicMode mode, std::uint8_t groups) noexcept {
  return static_cast<std::uint64_t>(mode) | std::uint64_t{groups} << 8;
}
// What holds for one group. Numbers that nobody stores read as none.
[[nodiscard]] constexpr PanicMode panic_of(std::uint64_t word, std::uint64_t group) noexcept {
  if ((word >> 8 >> (group & 7) & 1) == 0) return PanicMode::none;
  const auto mode = static_cast<std::uint8_t>(word);
  return mode <= 2 ? static_cast<PanicMode>(mode) : PanicMode::none;
}

}  // namespace ballast::engine
