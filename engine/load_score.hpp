// Comparing two instances by load: which of them a new request should rather go to. Pure functions
// of an instance's load word, which the checker publishes, its effective weight and the requests in
// flight. Integers only, so that every machine and compiler decides alike; ties are the caller's.
#pragma once

#include <algorithm>
#include <cstdint>

#include "engine/load_word.hpp"
#include "engine/strategy.hpp"

namespace ballast::engine {

// How a service weighs load; from its policy.
struct LoadRule {
  Strategy strategy = Strategy::least_connections;
  bool hot_cold = false;            // adaptive: Prequal's rule
  std::uint64_t hot_threshold = 0;  // requests in flight above which an instance is hot
};

// The lower `numerator / denominator`, the better; a cold one before any hot one.
struct LoadScore {
  std::uint64_t numerator = 0;
  std::uint64_t denominator = 1;
  bool hot = false;
};

// least_connections     (in flight + 1) / (weight * guard), guard = max(0.01, 1 - errors): without
//                       it a broken host that answers at once has nothing in flight and draws all
// least_response_time   cost * (in flight + 1) / weight; the guard is in the cost. Source: Finagle
// adaptive              the same; or, with hot_cold, of the cold ones the lowest cost, and if all
//                       are hot the fewest in flight. Source: Prequal (NSDI 2024)
//
// `weight` is the configured one. An instance that is used for a part of it (`effective`; 0 counts
// as the least there is) has in flight / part: as much as the whole would have at its place. What
// it is idle at it does not lose by, since it turns away the rest of what is drawn for it, or it
// would get nothing at all where requests are few.
[[nodiscard]] constexpr LoadScore load_score(const Load& load, std::uint32_t weight,
                                             std::uint32_t effective,
                                             const LoadRule& rule) noexcept {
  constexpr std::uint64_t kUnit = 16;  // of `more`, for what division leaves
  const std::uint64_t heft = std::max<std::uint32_t>(weight, 1);
  std::uint64_t more = load.in_flight * kUnit;
  if (effective < weight) [[unlikely]] {
    more = std::min(more * heft / std::max<std::uint32_t>(effective, 1), kMaxInFlight * kUnit);
  }
  more += kUnit;
  const std::uint64_t cost = std::max<std::uint32_t>(load.cost_us, 1);
  if (rule.strategy == Strategy::least_connections) {
    return {more * 255, heft * std::max<std::uint64_t>(255U - load.errors, 3), false};
  }
  if (rule.strategy == Strategy::adaptive && rule.hot_cold) {
    if (load.in_flight > rule.hot_threshold) return {more, heft, true};
    return {cost, 1, false};
  }
  return {cost * more, heft, false};
}

// Of an instance that is used for all of its weight.
[[nodiscard]] constexpr LoadScore load_score(const Load& load, std::uint32_t weight,
                                             const LoadRule& rule) noexcept {
  return load_score(load, weight, weight, rule);
}

enum class Better : std::int8_t { first = -1, neither = 0, second = 1 };

[[nodiscard]] constexpr Better compare(const LoadScore& a, const LoadScore& b) noexcept {
  if (a.hot != b.hot) return a.hot ? Better::second : Better::first;
  __extension__ using Wide = unsigned __int128;
  const Wide left = static_cast<Wide>(a.numerator) * b.denominator;
  const Wide right = static_cast<Wide>(b.numerator) * a.denominator;
  return left < right ? Better::first : right < left ? Better::second : Better::neither;
}

}  // namespace ballast::engine
