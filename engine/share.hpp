// Whether an instance that is used for a part of its weight only (slow start, the weight
// controller) takes a pick that has come to it. Pure functions of the instance's state word and
// configured weight, which the checker writes. A lookup table is built from configured weights and
// stays as it is; what is turned away goes on to the next candidate. So nobody else's keys move.
#pragma once

#include <cstdint>

#include "engine/hash.hpp"
#include "shm/state_word.hpp"

namespace ballast::engine {

// effective / configured, with the effective weight in 1/kWeightUnit of a configured one: `draw`,
// which must be even over 64 bits, falls below that part of its range. An instance of full weight
// always takes, one of effective weight 0 never.
[[nodiscard]] constexpr bool takes_draw(std::uint64_t draw, std::uint32_t effective,
                                        std::uint64_t configured) noexcept {
  // Each at most 2^16 in a sound table; anything else must only give an answer.
  const std::uint64_t whole = (configured & 0xffff) * shm::kWeightUnit;
  return (draw >> 32) * whole < std::uint64_t{effective} << 32;
}

// The same draw for the same key and slot in every process: the instance takes that part of its
// keys, always the same ones, and keeps them when its share grows.
[[nodiscard]] constexpr std::uint64_t share_draw(std::uint64_t key, std::uint32_t slot) noexcept {
  constexpr std::uint32_t kShareAttempt = 0x5a4e;  // no candidate's number
  return attempt_hash(key ^ (std::uint64_t{slot} + 1) * std::uint64_t{0xd6e8feb86659fd93},
                      kShareAttempt);
}

}  // namespace ballast::engine
