// The part of Handle for reports that say more than how a request ended.
#include "engine/handle.hpp"
#include "engine/orca.hpp"

namespace ballast::engine {

// The last report of any worker stands. Nothing of one of a table that has been replaced, nor of a
// tenant that has left its slot.
void Handle::keep_reported_load(const ballast_pick_t& pick, std::string_view header) noexcept {
  if (pick.segment != attachment_.segment_id()) return;
  const shm::WorkerSegment& segment = attachment_.segment();
  if (pick.slot >= segment.workers.instances.size() || pick.slot >= segment.table.states.size() ||
      shm::incarnation_of(shm::get(segment.table.states[pick.slot])) != pick.incarnation) {
    return;
  }
  ReportedLoad load;
  if (parse_orca(header, load) != OrcaResult::ok) return;
  // Relaxed: one word is the whole report, and the count is only about how many there were.
  constexpr auto relaxed = std::memory_order_relaxed;
  shm::SharedInstanceRecord& record = segment.workers.instances[pick.slot];
  record.reported_load.store(pack(load), relaxed);
  record.reports.store(record.reports.load(relaxed) + 1, relaxed);
}

ballast_status_t Handle::report_full(ballast_pick_t& pick,
                                     const ballast_result_t& result) noexcept {
  const ballast_status_t status =
      report(pick, result.outcome, result.latency_us, result.retry_after_ms);
  if (status == BALLAST_OK && result.load_length != 0)
    keep_reported_load(pick, {result.load, result.load_length});
  return status;
}

}  // namespace ballast::engine
