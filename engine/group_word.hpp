// How a service's traffic is divided among its groups, as three words of its record that the
// checker stores whenever health changes it (engine/checker/group_shares.hpp), and how a pick reads
// them. The words are not read as one: a pick that meets two divisions draws by one of them or by a
// mixture, either of which names groups that exist. If the checker dies, the last division stands.
//
//   shares[2]   eight 16-bit ends of ranges, group 0's in the lowest bits of the first word: group
//   g
//               has the numbers from the end before it up to, not including, its own; the one whose
//               end is 65535 has that number too
//   panic       bits 0-7 a PanicMode, bits 8-15 the groups that are in it
#pragma once

#include <array>
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
