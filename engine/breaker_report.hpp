// What a report tells its instance's breaker. A success costs a load of the breaker's word and one
// of the window's, unless failures went before; everything else is a rare path, which reads the
// policy from the table and a clock. Called by workers for picks of the segment that they are
// attached to, after the outcome is counted: a worker that is killed in between has counted a
// failure that the breaker has not heard of.
#pragma once

#include <cstdint>

#include "engine/ballast.h"
#include "engine/breaker.hpp"
#include "engine/coarse_clock.hpp"
#include "shm/segment.hpp"

namespace ballast::engine {

[[nodiscard]] inline BreakerWords<shm::Word64> breaker_words(const shm::WorkersWriter& workers,
                                                             std::uint32_t slot) noexcept {
  shm::SharedInstanceRecord& shared = workers.instances[slot];
  return {workers.breakers[slot], shared.window, shared.permit};
}

// Whether there is more to say of a success than that it was one: failures in a row to forget, or
// some in the window to be weighed against. A healthy instance has neither.
[[nodiscard, gnu::always_inline]] inline bool success_tells(const shm::Word64& breaker,
                                                            const shm::Word64& window) noexcept {
  // Relaxed, both: single words, which feed_success() looks at again.
  return (breaker.load(std::memory_order_relaxed) & kCountMask) != 0 ||
         window.load(std::memory_order_relaxed) != 0;
}

// A pick without a permit succeeded, and that tells something. `successes` is the row's own count
// of the slot, this one included; rows are out of step with each other, so that not all of them add
// to the window at once. `slot` is within the row.
[[gnu::noinline]] void feed_success(const shm::WorkersWriter& workers, std::uint32_t slot,
                                    std::uint32_t incarnation, std::uint64_t successes,
                                    std::uint32_t row) noexcept;

// Any other report: a failure, an answer that asks to be left alone for `retry_after_ms` (0: it
// does not say), or the end of a trial. An outcome that says nothing changes nothing.
[[gnu::noinline, gnu::cold]] Noted feed_breaker(const shm::WorkerSegment& segment,
                                                const ballast_pick_t& pick,
                                                ballast_outcome_t outcome,
                                                std::uint64_t retry_after_ms,
                                                ClockMs clock_ms) noexcept;

// A report that no breaker is to hear of, and that is no success, for a pick whose service the
// checker watches: counts it where it looks for failures, if it is one.
[[gnu::noinline, gnu::cold]] void note_unfed_failure(const shm::WorkerSegment& segment,
                                                     const ballast_pick_t& pick,
                                                     ballast_outcome_t outcome) noexcept;

}  // namespace ballast::engine
