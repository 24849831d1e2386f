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

// A success that there is more to say about than that.
[[gnu::noinline, gnu::cold]] void feed_rare_success(const shm::WorkersWriter& workers,
                                                    std::uint32_t slot, std::uint32_t incarnation,
                                                    bool batch_is_full) noexcept;

// A pick without a permit succeeded. `successes` is the row's own count of the slot, this one
// included; rows are out of step with each other, so that not all of them add at once. `slot` is
// within the row.
[[gnu::always_inline]] inline void feed_success(const shm::WorkersWriter& workers,
                                                std::uint32_t slot, std::uint32_t incarnation,
                                                std::uint64_t successes,
                                                std::uint32_t row) noexcept {
  // Relaxed, both: single words, which note_success() and note_successes() look at again. An empty
  // window needs no successes, so that the reports of a healthy instance take a branch that the
  // processor foresees.
  const std::uint64_t word = workers.breakers[slot].load(std::memory_order_relaxed);
  const std::uint64_t window = workers.instances[slot].window.load(std::memory_order_relaxed);
  const bool batch_is_full = window != 0 && (successes + row) % kSuccessBatch == 0;
  if (may_reset(word) || batch_is_full) [[unlikely]]
    feed_rare_success(workers, slot, incarnation, batch_is_full);
}

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
