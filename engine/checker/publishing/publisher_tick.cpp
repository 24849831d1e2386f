// The periodic work: heartbeat, rows of the dead, slots that cooled down, draining, steering.
#include <algorithm>
#include <utility>

#include "engine/checker/publishing/publisher_state.hpp"
#include "shm/crash_point.hpp"
#include "shm/generation.hpp"
#include "shm/paths.hpp"
#include "shm/totals.hpp"

namespace ballast::checker {

namespace {

constexpr auto kRelaxed = std::memory_order_relaxed;  // the only writer reads its own words
constexpr std::uint64_t kSlowTicks = 10;              // what need not be looked at at every tick
constexpr std::uint64_t kReapedPerTick = 256;         // rows looked at; see shm::reap_dead_rows
// Counter records that every tick may add up, some milliseconds; more wait for the slow ones.
constexpr std::uint64_t kCarriedPerTick = std::uint64_t{1} << 16;

// A worker may have stopped between taking tokens for a pick and counting it. They are given back
// to the service that the slot is then of, so it must not be another.
bool holds_tokens(const shm::WorkersWriter& workers, std::size_t slot) {
  for (std::size_t row = 0; slot < workers.instance_count && row < workers.directory.size();
       ++row) {
    if (!workers.ever_claimed(row)) continue;
    // [mm:tokens] acquire: as the counting of tokens does.
    if (workers.row(row)[slot].values[shm::kHeldTokens].load(std::memory_order_acquire) != 0)
      return true;
  }
  return false;
}

}  // namespace

void Publisher::State::record_reaped(const shm::Reaped& reaped) const {
  for (const shm::ReapedRow& row : reaped.owners) {
    Transition gone = about({}, shm::EventKind::row_reaped, shm::EventBy::checker);
    gone.level = Level::warning;
    gone.event.id = shm::pack_event_pair(row.pid, row.row);
    gone.event.value = row.abandoned;
    recorder.record(std::move(gone));
  }
}

std::uint64_t Publisher::State::free_cooled_slots() {
  std::uint64_t freed = 0;
  const std::uint64_t now = shm::realtime_ns();
  for (std::size_t i = 0; i < segment.table.instances.size(); ++i) {
    shm::InstanceRecord& record = segment.table.instances[i];
    const auto id = shm::unpack_identity(record.identity.load(kRelaxed));
    if (id.phase != shm::Phase::cooling) continue;
    const std::uint64_t since = record.cooling_since_ns.load(kRelaxed);
    if (now < since) record.cooling_since_ns.store(now, kRelaxed);  // the clock was set back
    if (now < since + kCoolDownNs) continue;
    shm::Totals totals = shm::read_record(segment.table.carried[i]);
    totals += shm::sum_rows(segment.workers, i);
    if (totals.in_flight() != 0 || holds_tokens(segment.workers, i)) continue;
    shm::put(record.identity, shm::pack(shm::Identity{id.incarnation, shm::Phase::free}));
    ++freed;
  }
  return freed;
}

TickReport Publisher::tick(std::uint64_t now_ms) {
  State& s = *state_;
  TickReport report;
  shm::FileHeader& header = *s.segment.table.header;
  header.heartbeat_ns.store(shm::realtime_ns(), kRelaxed);
  // [mm:heartbeat] pairs with nothing: readers only compare two looks.
  header.heartbeat.store(header.heartbeat.load(kRelaxed) + 1, kRelaxed);
  // Which rows are looked at this time: each has its turn within kMaxRows / kReapedPerTick ticks.
  const auto turn = [&](const shm::CheckerSegment& segment) {
    const std::uint64_t turns =
        (segment.workers.directory.size() + kReapedPerTick - 1) / kReapedPerTick;
    return turns == 0 ? 0 : s.ticks % turns * kReapedPerTick;
  };
  const bool slow = s.ticks % kSlowTicks == 0;
  const shm::Reaped reaped =
      s.lock ? shm::reap_dead_rows(s.segment.workers, *s.lock, turn(s.segment), kReapedPerTick)
             : shm::Reaped{};
  report.reaped_rows = reaped.rows;
  report.abandoned = reaped.abandoned;
  s.record_reaped(reaped);
  const auto is_small = [](const shm::CheckerSegment& segment) {
    // A service's record of a row is as large as two of instances.
    return (segment.table.instances.size() + 2 * segment.table.services.size()) *
               segment.workers.directory.size() <=
           kCarriedPerTick;
  };
  const bool carried_moved = s.previous.has_value();
  shm::Reaped reaped_before;
  const bool is_drained =
      s.previous && drain(*s.previous, s.segment, turn(s.previous->segment), kReapedPerTick,
                          slow || is_small(s.previous->segment), &reaped_before);
  s.record_reaped(reaped_before);
  s.recorder.carry_more();
  if (is_drained) {
    const std::uint64_t id = s.previous->segment.id;
    s.recorder.forget_old();
    header.previous_segment.store(0, kRelaxed);
    BALLAST_POINT("growth.drained");
    shm::remove_segment(s.lease.directory(), id);
    s.previous.reset();
    report.drained_previous = true;
    Transition drained = about({}, shm::EventKind::segment_drained, shm::EventBy::checker);
    drained.event.value = id;
    s.recorder.record(std::move(drained));
  }
  if (carried_moved) s.loads.carried_changed(s.segment);
  report.tokens_corrected =
      s.tokens.count(s.segment, s.previous ? &s.previous->segment : nullptr, slow).changed;
  const BreakerLook look = s.lock ? s.breakers.look(s.segment, slow) : BreakerLook{};
  s.record_breakers();
  report.permits_freed = look.permits_freed;
  report.budgets_corrected = look.budgets_corrected;
  report.handover_requested = s.lease.handover_requested();
  ++s.ticks;
  s.steering.tick(s.segment, now_ms);
  s.forget_loads();
  report.notices = s.steering.take_notices();
  if (slow) {
    report.freed_slots = s.free_cooled_slots();
    s.recorder.clean();
    report.directory_gone = !s.lease.still_in_place();
    // The last act: workers that have these files mapped look for the new ones by name, and go on
    // picking from here until there are any.
    if (report.directory_gone) supersede_segment(s.segment, 0);
  }
  return report;
}

}  // namespace ballast::checker
