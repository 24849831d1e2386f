// Moving a namespace into a larger segment. The new one is made complete, with every slot, state
// and generation, before the locator names it; then the old roots are marked superseded, at which
// workers re-attach by themselves. A worker that holds picks reports them in the old segment first,
// so the old rows are drained: until the last one is left, the new table's carried counters are
// computed again from the frozen old table and the old rows, tick by tick, which may be killed and
// repeated freely.
#pragma once

#include <cstdint>
#include <optional>

#include "engine/checker/settings.hpp"
#include "shm/lease.hpp"
#include "shm/ofd_lock.hpp"
#include "shm/result.hpp"
#include "shm/rows.hpp"
#include "shm/segment.hpp"

namespace ballast::checker {

// A segment that has been replaced and still has workers in it.
struct DrainingSegment {
  shm::CheckerSegment segment;
  shm::LockFile lock;
};

// Room for these settings and for what `old` (if any) still holds, with as much again to spare.
[[nodiscard]] shm::Geometry plan_geometry(const Settings& settings, const shm::CheckerSegment* old);

// Copies services, instances, states, counters and tickets of `old` into the unpublished `fresh`.
// Without `old`'s workers file, counters and tickets start from zero: what was carried is the other
// half of what the rows said, and may be less than nothing by itself.
void replicate(const shm::CheckerSegment& old, const shm::CheckerSegment& fresh);

// Marks every root of the segment superseded. Idempotent.
void supersede_segment(const shm::CheckerSegment& old, std::uint64_t by);

// carried[slot] of `active` = carried[slot] + all rows of `old`, for slots whose tenant is the
// same.
void recompute_carried(const shm::CheckerSegment& old, const shm::CheckerSegment& active);

// Reaps the dead among `count` rows of the old segment from `first` on, and with `carry`, or when
// no worker is left in it, brings the carried counters up to date: a pass over all its rows. True
// when no worker is left. `reaped`, if not null, gets who was reaped.
bool drain(const DrainingSegment& old, const shm::CheckerSegment& active, std::uint64_t first,
           std::uint64_t count, bool carry, shm::Reaped* reaped = nullptr);

// Ends the draining with workers still in it: what they hold counts as abandoned.
void cut_off(const DrainingSegment& old, const shm::CheckerSegment& active);

// Opens a segment to drain it.
shm::Result<DrainingSegment> open_draining(const std::string& directory, std::uint64_t id);

}  // namespace ballast::checker
