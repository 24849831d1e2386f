// Why the controller of weights gave an instance the weight it has. The numbers are stored in the
// table by the checker (engine/checker/steering/weight_controller.hpp) and shown by tools.
#pragma once

#include <array>
#include <cstdint>

namespace ballast::engine {

enum class WeightReason : std::uint8_t {
  configured = 0,  // no controller, or nothing is known of anybody
  reported = 1,    // by the load that backends report
  observed = 2,    // by latency and errors that workers saw
  blackout = 3,    // in use too short a time to be judged: the median of the others
  no_report = 4,   // does not report while most do: the median of the others
  expired = 5,     // nothing was heard of it for too long: on its way back to its whole weight
  not_in_use = 6,  // down, ejected or out of service
};
inline constexpr std::array<const char*, 7> kWeightReasons{
    "configured", "reported", "observed", "blackout", "no_report", "expired", "not_in_use"};

[[nodiscard]] constexpr const char* to_text(WeightReason reason) noexcept {
  const auto number = static_cast<std::size_t>(reason);
  return number < kWeightReasons.size() ? kWeightReasons[number] : "unknown";
}
// What a number in a table stands for; one that nobody stores reads as `configured`.
[[nodiscard]] constexpr WeightReason weight_reason_of(std::uint64_t number) noexcept {
  return number < kWeightReasons.size() ? static_cast<WeightReason>(number)
                                        : WeightReason::configured;
}

}  // namespace ballast::engine
