// The order in which weighted round robin goes through the instances, written out once so that a
// worker's pick is one load: schedule[ticket % length]. The order is nginx's smooth one. The
// checker builds it for each rebuild; workers share the tickets, so there is one order for the
// whole host.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "engine/member.hpp"

namespace ballast::engine {

// Longest schedule. Every instance fits, since slots have 16 bits.
inline constexpr std::size_t kMaxRoundRobinLength = std::size_t{1} << 16;

// The weights that the schedule of `members` uses: divided by their greatest common divisor and, if
// their sum is still more than kMaxRoundRobinLength, scaled down to fit. Scaling rounds down, but
// never to zero: a weight w becomes max(1, floor(w * k / heaviest)) for the largest fitting k.
[[nodiscard]] std::vector<std::uint32_t> round_robin_weights(std::span<const Member> members);

// The slots in the order of nginx's smooth weighted round robin over these weights: each turn
// everyone's credit grows by its weight, the first with the highest credit is chosen and pays the
// sum of weights. Length = sum of the weights, after which the order repeats. The order of members
// decides ties. Empty without members that have weight. Time O(length * distinct weights), at most
// 361 distinct ones at full length. Thread-safe; allocates.
[[nodiscard]] std::vector<std::uint16_t> round_robin_schedule(std::span<const Member> members);

}  // namespace ballast::engine
