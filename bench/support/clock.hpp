// The clocks of the benchmarks. CLOCK_MONOTONIC for whatever lasts; for what lasts some tens of
// nanoseconds the processor's own counter where it is the same on all cores (x86 with an invariant
// TSC), turned into nanoseconds by comparing it with CLOCK_MONOTONIC.
#pragma once

#include <time.h>

#include <cstdint>

#if defined(__x86_64__)
#include <x86intrin.h>
#endif

namespace ballast::bench {

[[nodiscard]] inline std::uint64_t monotonic_ns() noexcept {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<std::uint64_t>(now.tv_sec) * 1'000'000'000U +
         static_cast<std::uint64_t>(now.tv_nsec);
}

// A count that orders with the loads and stores around it: earlier ones are done, later ones have
// not begun.
[[nodiscard]] inline std::uint64_t ticks() noexcept {
#if defined(__x86_64__)
  _mm_lfence();
  const std::uint64_t now = __rdtsc();
  _mm_lfence();
  return now;
#else
  return monotonic_ns();
#endif
}

// Nanoseconds in a tick. Takes 50 ms the first time.
[[nodiscard]] inline double ns_per_tick() noexcept {
  static const double factor = [] {
    const std::uint64_t ns = monotonic_ns();
    const std::uint64_t from = ticks();
    while (monotonic_ns() < ns + 50'000'000U) {
    }
    const std::uint64_t to = ticks();
    return static_cast<double>(monotonic_ns() - ns) / static_cast<double>(to - from);
  }();
  return factor;
}

inline void relax() noexcept {
#if defined(__x86_64__)
  _mm_pause();
#endif
}

}  // namespace ballast::bench
