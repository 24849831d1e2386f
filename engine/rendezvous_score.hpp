// How well a member scores in an entry of a rendezvous table: -weight / ln(u), where u is drawn
// from the entry and the member's text alone. Integers throughout, so that every machine, compiler
// and release gives the same score to the last bit. The checker computes scores for each change of
// membership; nothing is mapped, no state. docs/placement.md has the formulas and why u is drawn
// so.
//
// In each block of 2^16 entries a member has every rank once: its ranks are a permutation of the
// entries, which can be asked both ways (whose rank is this entry's? which entry has this rank?).
// That is what makes a table quick to fill: low ranks win, and they can be listed.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "engine/hash.hpp"

namespace ballast::engine {

inline constexpr std::uint32_t kRendezvousSize = 65537;
// Entries below this have ranks by permutation; the one above has a rank of its own.
inline constexpr std::uint32_t kRankCount = 65536;

// A member's permutation of 0 .. 65535 (three keyed multiplications of 16 bits with what is high
// mixed into what is low between them, each step of which can be undone) and its seed for the rest.
struct ScoreKey {
  std::uint64_t seed = 0;
  std::uint16_t flip = 0;
  std::uint16_t add[2] = {};
  std::uint16_t factor[3] = {1, 1, 1};
  std::uint16_t inverse[3] = {1, 1, 1};  // of the factors, modulo 2^16
};

[[nodiscard]] ScoreKey score_key(std::string_view text) noexcept;

namespace detail {

[[nodiscard]] constexpr std::uint16_t times(std::uint16_t a, std::uint16_t b) noexcept {
  return static_cast<std::uint16_t>(std::uint32_t{a} * b);
}
[[nodiscard]] constexpr std::uint16_t plus(std::uint16_t a, std::uint16_t b) noexcept {
  return static_cast<std::uint16_t>(a + b);
}
[[nodiscard]] constexpr std::uint16_t fold(std::uint16_t a) noexcept {  // undoes itself
  return static_cast<std::uint16_t>(a ^ (a >> 8));
}

}  // namespace detail

// The rank of an entry below kRankCount; low ranks win.
[[nodiscard]] constexpr std::uint16_t rank_of(std::uint16_t entry, std::uint16_t flip,
                                              std::uint16_t factor0, std::uint16_t add0,
                                              std::uint16_t factor1, std::uint16_t add1,
                                              std::uint16_t factor2) noexcept {
  using namespace detail;
  std::uint16_t x = times(static_cast<std::uint16_t>(entry ^ flip), factor0);
  x = times(plus(fold(x), add0), factor1);
  return times(plus(fold(x), add1), factor2);
}
[[nodiscard]] constexpr std::uint16_t rank_of(const ScoreKey& k, std::uint16_t entry) noexcept {
  return rank_of(entry, k.flip, k.factor[0], k.add[0], k.factor[1], k.add[1], k.factor[2]);
}

// The entry that has this rank: rank_of undone.
[[nodiscard]] constexpr std::uint16_t entry_of(const ScoreKey& k, std::uint16_t rank) noexcept {
  using namespace detail;
  std::uint16_t x = times(rank, k.inverse[2]);
  x = times(fold(static_cast<std::uint16_t>(x - k.add[1])), k.inverse[1]);
  x = times(fold(static_cast<std::uint16_t>(x - k.add[0])), k.inverse[0]);
  return static_cast<std::uint16_t>(x ^ k.flip);
}

// 1 - u as a fraction of 2^48: the rank above, 32 random bits below.
[[nodiscard]] constexpr std::uint64_t draw_of(const ScoreKey& k, std::uint32_t entry,
                                              std::uint16_t rank) noexcept {
  return std::uint64_t{rank} << 32 | attempt_hash(k.seed, entry + 16) >> 32;
}
[[nodiscard]] constexpr std::uint64_t draw_of(const ScoreKey& k, std::uint32_t entry) noexcept {
  const std::uint64_t rank = entry < kRankCount ? rank_of(k, static_cast<std::uint16_t>(entry))
                                                : attempt_hash(k.seed, 3) >> 48;
  return draw_of(k, entry, static_cast<std::uint16_t>(rank));
}

// -ln(1 - rank / 2^16) in units of 2^-56, for 0 .. 65536; the last, which is infinite, stands one
// above the one before it. Computed at the first call (about a millisecond). Strictly ascending.
[[nodiscard]] std::span<const std::uint64_t, kRankCount + 1> rank_lengths();

// -ln(u) in units of 2^-56: straight between the ranks' lengths, which is within 2^-31 of the
// logarithm as a share of it up to a rank of 65000. Strictly ascending in `draw`. At most 2^60.
// A member's score is weight / length, so the lowest length / weight wins an entry.
[[nodiscard]] inline std::uint64_t length_of(std::span<const std::uint64_t, kRankCount + 1> lengths,
                                             std::uint64_t draw) noexcept {
  const std::uint64_t rank = draw >> 32;
  const std::uint64_t step = lengths[rank + 1] - lengths[rank];
  __extension__ using Wide = unsigned __int128;
  return lengths[rank] + static_cast<std::uint64_t>((Wide{step} * (draw & 0xffffffff)) >> 32);
}

}  // namespace ballast::engine
