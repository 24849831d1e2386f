// The clock of the picks' rare paths: milliseconds of CLOCK_MONOTONIC_COARSE, which the C library
// reads from memory without a system call. It moves every 1 to 10 ms (CONFIG_HZ) and is the same
// for all processes of a host, so that deadlines in shared memory mean the same to each. Picks and
// reports get it as a pointer, so that a test or a simulation can put another in its place.
#pragma once

#include <cstdint>
#include <ctime>

namespace ballast::engine {

using ClockMs = std::uint64_t (*)() noexcept;

[[nodiscard]] inline std::uint64_t coarse_ms() noexcept {
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
  return static_cast<std::uint64_t>(now.tv_sec) * 1000 +
         static_cast<std::uint64_t>(now.tv_nsec) / 1'000'000;
}

}  // namespace ballast::engine
