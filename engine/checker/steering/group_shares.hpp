// How a service's traffic is divided among its groups (priority tiers, and within a tier the local
// zone and the others), and when too few are left to go on by health: panic. Pure. The checker's
// steering computes it whenever a state word of the service changes and publishes the result; if
// the checker dies, workers go on with the last division.
//
//   health(T)  = min(1, overprovisioning * usable / total)            of each tier, by weight
//   load(T)    = health(T), from the first tier on, until the whole is given away;
//                divided by the sum of all if that is below 1         (Envoy's priority levels)
//   local zone = min(1, overprovisioning * usable / total) of its tier's load,
//                the rest to the tier's other zones by their usable weight
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "engine/group_word.hpp"
#include "engine/policy.hpp"
#include "shm/layout.hpp"

namespace ballast::checker {

using engine::PanicMode;
using shm::kMaxGroups;

inline constexpr std::uint32_t kShareUnit = 65536;  // the whole of a service's traffic

struct GroupPolicy {
  std::uint32_t overprovisioning_percent = 140;  // 100: a tier spills over with the first loss
  std::uint32_t panic_percent = 0;               // usable below this part is panic; 0: never
  PanicMode panic = PanicMode::all;              // what panic means
};

// Weights of one group's members, all in one unit, whichever.
struct GroupMembers {
  std::uint8_t tier = 0;  // lower goes first
  bool local = false;     // in this host's zone
  std::uint64_t usable = 0;
  std::uint64_t ready = 0;  // usable or not, but not drained or in maintenance
  std::uint64_t total = 0;
  std::uint64_t unchecked = 0;  // of the ready: not usable, but only since nobody has looked yet
};

struct GroupShares {
  std::array<std::uint32_t, kMaxGroups> shares{};  // by group; sums to kShareUnit, or to 0: nobody
  std::uint8_t panicking = 0;                      // bit g: group g's tier is in panic
  PanicMode mode = PanicMode::none;                // what the panicking groups do

  // As engine/group_word.hpp wants them.
  [[nodiscard]] engine::GroupEnds ends() const noexcept;

  friend bool operator==(const GroupShares&, const GroupShares&) = default;
};

// At most kMaxGroups groups, in any order of tiers; more are not looked at.
[[nodiscard]] GroupShares divide_traffic(const GroupPolicy& policy,
                                         std::span<const GroupMembers> groups) noexcept;

}  // namespace ballast::checker
