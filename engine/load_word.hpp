// What a pick looks at of an instance's load, in one word of the table, so that it is seen whole.
// The checker's load board writes it (engine/checker/loads/load_board.hpp); if the checker dies it
// stands still. docs/load.md says how old it may be.
//
//   bits 0-7     errors, in 255ths of all outcomes of late
//   bits 8-31    requests in flight, all workers together
//   bits 32-63   cost of a request in microseconds: see `cost_us`
#pragma once

#include <algorithm>
#include <cstdint>

namespace ballast::engine {

struct Load {
  std::uint32_t cost_us = 0;    // 0: nothing is known of the whole service yet
  std::uint32_t in_flight = 0;  // at most 2^24 - 1
  std::uint8_t errors = 0;

  friend bool operator==(const Load&, const Load&) = default;
};

inline constexpr std::uint32_t kMaxInFlight = (1U << 24) - 1;

[[nodiscard]] constexpr std::uint64_t pack(const Load& load) noexcept {
  return static_cast<std::uint64_t>(load.cost_us) << 32 |
         static_cast<std::uint64_t>(std::min(load.in_flight, kMaxInFlight)) << 8 | load.errors;
}

[[nodiscard]] constexpr Load unpack_load(std::uint64_t word) noexcept {
  return {static_cast<std::uint32_t>(word >> 32), static_cast<std::uint32_t>(word >> 8) & 0xffffff,
          static_cast<std::uint8_t>(word)};
}

}  // namespace ballast::engine
