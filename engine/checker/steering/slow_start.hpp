// Slow start: an instance that has just come (back) into use gets a part of its weight that grows
// to the whole within a window, so that cold caches, empty pools and just-in-time compilers do not
// meet the full load at once. Pure: time is passed in. The checker's steering keeps one Ramp per
// instance; a successor takes a ramp up where its predecessor left it, by the time at which it
// started.
//
//   effective = weight * max(floor, (t / window) ^ (1 / aggression))     (Envoy's formula)
#pragma once

#include <cstdint>

#include "engine/checker/settings.hpp"

namespace ballast::checker {

// Why an instance is in use from now on.
enum class Arrival : std::uint8_t {
  adopted,         // in use before this checker was: nothing has changed for it
  checker_start,   // first verdict of a checker that made the table: everybody is new, nobody is
  fresh,           // a newcomer among instances in use
  recovered,       // had been down
  unejected,       // outlier detection took it back
  breaker_closed,  // its circuit breaker closed
};
[[nodiscard]] constexpr bool starts_slowly(Arrival arrival) noexcept {
  return arrival != Arrival::adopted && arrival != Arrival::checker_start;
}

// The part of its weight, in (0, 1], that an instance gets `elapsed` after it came into use.
[[nodiscard]] double slow_start_share(const SlowStartSettings& settings,
                                      Milliseconds elapsed) noexcept;

// A share of a configured weight in 1/64 units, as a state word holds it: 64 * weight * share, at
// least 1, so that nobody is cut off by rounding.
[[nodiscard]] std::uint16_t effective_weight(std::uint32_t weight, double share) noexcept;

// One instance's way from its first share to the whole weight. Times are milliseconds of
// CLOCK_MONOTONIC, which a successor shares.
class Ramp {
 public:
  Ramp() = default;
  // What a dead predecessor left; a start in the future is from another clock, and counts as long
  // ago. 0: no ramp.
  Ramp(std::uint64_t started_ms, std::uint64_t now_ms) noexcept
      : started_ms_(started_ms > now_ms ? 0 : started_ms) {}

  void start(std::uint64_t now_ms) noexcept { started_ms_ = now_ms == 0 ? 1 : now_ms; }
  void stop() noexcept { started_ms_ = 0; }
  [[nodiscard]] bool running() const noexcept { return started_ms_ != 0; }
  [[nodiscard]] std::uint64_t started_ms() const noexcept { return started_ms_; }

  // The share now; once it is the whole, the ramp has stopped.
  [[nodiscard]] double share(const SlowStartSettings& settings, std::uint64_t now_ms) noexcept;

 private:
  std::uint64_t started_ms_ = 0;
};

}  // namespace ballast::checker
