// Time as the demo's processes agree on it: CLOCK_MONOTONIC, which all of them share.
#pragma once

#include <ctime>

#include <cstdint>

namespace ballast::tools::demo {

inline std::uint64_t now_ns() noexcept {
  timespec t{};
  clock_gettime(CLOCK_MONOTONIC, &t);
  return static_cast<std::uint64_t>(t.tv_sec) * 1'000'000'000U +
         static_cast<std::uint64_t>(t.tv_nsec);
}

// Sleeps that long, or less when a signal comes.
inline void sleep_ms(unsigned ms) noexcept {
  const timespec t{static_cast<time_t>(ms / 1000), static_cast<long>(ms % 1000) * 1'000'000};
  nanosleep(&t, nullptr);
}

}  // namespace ballast::tools::demo
