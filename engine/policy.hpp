// What workers have to know of a service's policy, and its one list of fields: names, defaults and
// limits. The checker writes a policy into the table with every generation, a worker reads it when
// it enters one; so a change of policy is a publication, and no pick mixes two. Numbers read from a
// table are brought within their limits, since a mapped word is input. The meaning of each in words
// is in docs/strategies.md and docs/protection.md.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "engine/strategy.hpp"
#include "shm/generation.hpp"
#include "shm/layout.hpp"

namespace ballast::engine {

// X(name, default, lowest, highest). The order is ABI. Times in milliseconds, shares in per cent.
#define BALLAST_POLICY_FIELDS(X)                                                        \
  X(choices, 2, 0, 8)               /* candidates compared by load; 0: all instances */ \
  X(hash_bound_percent, 0, 0, 1000) /* of the mean load; 0: unbounded */                \
  X(hot_cold, 0, 0, 1)              /* adaptive: Prequal's rule */                      \
  X(max_in_flight, 0, 0, 1U << 24)  /* of one instance, host-wide; 0: unlimited */      \
  X(service_max_in_flight, 0, 0, 1U << 24)                                              \
  X(retry_percent, 0, 0, 100) /* of the requests in flight; 0: unlimited */             \
  X(retry_minimum, 3, 0, 1U << 20)                                                      \
  X(breaker_consecutive, 5, 0, 1000)  /* failures in a row; 0: off */                   \
  X(breaker_rate_percent, 85, 0, 100) /* failures in the window; 0: off */              \
  X(breaker_requests, 50, 1, 4000)    /* at least so many in the window */              \
  X(breaker_window_ms, 10'000, 100, 600'000)                                            \
  X(breaker_open_ms, 5'000, 10, 3'600'000)                                              \
  X(breaker_open_max_ms, 300'000, 10, 3'600'000)                                        \
  X(breaker_trial_ms, 5'000, 10, 600'000) /* how long a half-open permit holds */       \
  X(breaker_jitter_percent, 20, 0, 50)                                                  \
  X(breaker_outcomes, 0x3c, 0, 0x1fe) /* bit n: outcome n is a failure */               \
  X(max_ejected_percent, 10, 0, 100)  /* by breakers and outlier detection together */  \
  X(panic_percent, 0, 0, 100)         /* fewer than so many usable: panic; 0: never */  \
  X(panic_mode, 1, 1, 2)              /* a PanicMode */                                 \
  X(stale_after_ms, 30'000, 1'000, 86'400'000)                                          \
  X(stale_mode, 0, 0, 2) /* a PanicMode: what holds while no checker lives */

// What a worker does when too few instances are usable, or nobody has looked for too long.
enum class PanicMode : std::uint8_t {
  none = 0,  // go on with what is known
  all = 1,   // health, breakers and ejections are ignored; admin state is honoured
  fail = 2,  // picks fail at once, rather than overload the few
};

// Where it is in the record: of what the checker says beside the fields, from the end.
inline constexpr std::size_t kWatchesFailuresWord = shm::kPolicyWords - 1;

struct Policy {
  Strategy strategy = Strategy::maglev;
  // Nobody configures it: the checker wants to hear of failed requests, to check at once.
  bool watches_failures = false;
#define BALLAST_POLICY_MEMBER(name, initial, low, high) std::uint32_t name = initial;
  BALLAST_POLICY_FIELDS(BALLAST_POLICY_MEMBER)
#undef BALLAST_POLICY_MEMBER

  friend bool operator==(const Policy&, const Policy&) = default;
};

// Whether picks ask what is in flight: then each pick and report also goes into its row's journal,
// and the load board looks every few milliseconds; else it looks once a second.
[[nodiscard]] constexpr bool needs_load(const Policy& policy) noexcept {
  return compares_load(policy.strategy) || policy.hash_bound_percent != 0 ||
         policy.retry_percent != 0;
}

// Whether a breaker may open for failures. With both switched off it never opens.
[[nodiscard]] constexpr bool has_breaker(const Policy& policy) noexcept {
  return policy.breaker_consecutive != 0 || policy.breaker_rate_percent != 0;
}

// How many candidates are compared when nobody says: two do most of the good, a third lets
// `adaptive` get round an instance that is slow without being busy (docs/adaptive.md).
[[nodiscard]] constexpr std::uint32_t default_choices(Strategy strategy) noexcept {
  return strategy == Strategy::adaptive ? 3 : Policy{}.choices;
}

namespace detail {
enum PolicyIndex : std::size_t {
  policy_strategy,
#define BALLAST_POLICY_INDEX(name, initial, low, high) policy_##name,
  BALLAST_POLICY_FIELDS(BALLAST_POLICY_INDEX)
#undef BALLAST_POLICY_INDEX
      policy_count
};
static_assert(policy_count <= kWatchesFailuresWord);
}  // namespace detail

// The limits of each field, for whoever reads a configuration.
struct PolicyLimits {
  std::uint32_t low;
  std::uint32_t high;
};
namespace policy_limits {
#define BALLAST_POLICY_LIMITS(name, initial, low, high) \
  inline constexpr PolicyLimits name{low, high};
BALLAST_POLICY_FIELDS(BALLAST_POLICY_LIMITS)
#undef BALLAST_POLICY_LIMITS
}  // namespace policy_limits

// For the checker: into the record of the buffer that is being filled.
template <class Record>
void put_policy(Record& record, const Policy& policy) noexcept {
  shm::put(record.values[detail::policy_strategy], static_cast<std::uint64_t>(policy.strategy));
#define BALLAST_POLICY_PUT(name, initial, low, high) \
  shm::put(record.values[detail::policy_##name], std::uint64_t{policy.name});
  BALLAST_POLICY_FIELDS(BALLAST_POLICY_PUT)
#undef BALLAST_POLICY_PUT
  shm::put(record.values[kWatchesFailuresWord], std::uint64_t{policy.watches_failures ? 1U : 0U});
}

// From the record of the entered buffer; good only if root is unchanged afterwards.
template <class Record>
[[nodiscard]] Policy get_policy(const Record& record) noexcept {
  Policy policy;
  policy.strategy =
      strategy_of(shm::get(record.values[detail::policy_strategy])).value_or(Strategy::maglev);
#define BALLAST_POLICY_GET(name, initial, low, high) \
  policy.name = static_cast<std::uint32_t>(          \
      std::clamp<std::uint64_t>(shm::get(record.values[detail::policy_##name]), low, high));
  BALLAST_POLICY_FIELDS(BALLAST_POLICY_GET)
#undef BALLAST_POLICY_GET
  policy.watches_failures = shm::get(record.values[kWatchesFailuresWord]) != 0;
  return policy;
}

}  // namespace ballast::engine
