// What the counts of two readings of one namespace come to: requests and failures a second, and how
// long requests took. Pure functions on plain values; the counts are foreign bytes, so whatever
// does not fit together is no rate instead of a wrong one.
#pragma once

#include <cstdint>
#include <optional>

#include "engine/inspect/snapshot.hpp"

namespace ballast::inspect {

// Puts rates into `now` for every instance that was there in `before` too, as the same tenant, and
// for their services, whose latencies are then those of this time alone.
void add_rates(const Snapshot& before, Snapshot& now);

// Longer than the last bucket's bound: nobody counted how long.
inline constexpr std::uint64_t kBeyondUs = UINT64_MAX;

// How many requests were counted.
[[nodiscard]] std::uint64_t count_of(const shm::Latencies& latencies) noexcept;

// The upper end of the bucket that `share` of the requests do not go beyond, in microseconds; none
// without a request. Buckets are 1.3 to 2.5 times as wide as they begin, so it is too high by that
// at most.
[[nodiscard]] std::optional<std::uint64_t> quantile_us(const shm::Latencies& latencies,
                                                       double share) noexcept;

}  // namespace ballast::inspect
