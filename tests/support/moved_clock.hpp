// The picks' coarse clock, which a test can move on for all processes that it forks from then on:
// the real one and an offset in shared memory. So a breaker's minutes pass at once, everywhere.
#pragma once

#include <sys/mman.h>

#include <atomic>
#include <cstdlib>
#include <new>

#include "engine/coarse_clock.hpp"

namespace ballast::tests {

using ClockOffset = std::atomic<std::uint64_t>;

inline ClockOffset& clock_offset() {
  static ClockOffset* const offset = [] {
    void* memory = ::mmap(nullptr, sizeof(ClockOffset), PROT_READ | PROT_WRITE,
                          MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) std::abort();
    return new (memory) ClockOffset{0};
  }();
  return *offset;
}

inline std::uint64_t moved_ms() noexcept {
  return engine::coarse_ms() + clock_offset().load(std::memory_order_relaxed);
}

inline void move_clock(std::uint64_t by_ms) {
  clock_offset().fetch_add(by_ms, std::memory_order_relaxed);
}

}  // namespace ballast::tests
