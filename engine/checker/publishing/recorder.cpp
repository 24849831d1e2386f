// Writing and carrying over.
#include "engine/checker/publishing/recorder.hpp"

#include <algorithm>
#include <set>
#include <utility>

#include "shm/host.hpp"

namespace ballast::checker {
namespace {

shm::EventRing read_only(const shm::EventRingWriter& ring) {
  return {ring.next, ring.records};
}

}  // namespace

void Recorder::follow(const shm::CheckerSegment& segment) {
  table_ = shm::event_ring_of(segment.table);
  workers_ = shm::event_ring_of(segment.workers);
  rows_ = segment.workers.directory;
}

void Recorder::record(Transition transition) const {
  if (transition.event.time_ns == 0) transition.event.time_ns = shm::realtime_ns();
  // Not recorded: every place in the way belongs to somebody who stands still, which in this ring
  // can only be damage. The log has it.
  static_cast<void>(shm::write_event(table_, me_, shm::pack(transition.event)));
  if (sink_) sink_(transition);
}

void Recorder::carry(const shm::CheckerSegment& old) {
  shm::EventReader old_table(read_only(shm::event_ring_of(old.table)));
  for (const shm::EventWords& words : old_table.look())
    static_cast<void>(shm::write_event(table_, me_, words));
  old_workers_.emplace(read_only(shm::event_ring_of(old.workers)));
  carry_more();
}

void Recorder::carry_more() {
  if (!old_workers_) return;
  for (const shm::EventWords& words : old_workers_->look())
    static_cast<void>(shm::write_event(workers_, me_, words));
}

void Recorder::carry_again(const shm::CheckerSegment& old) {
  shm::EventReader present(read_only(workers_));
  std::set<shm::EventWords> known;
  for (const shm::EventWords& words : present.look())
    known.insert(words);
  old_workers_.emplace(read_only(shm::event_ring_of(old.workers)));
  for (const shm::EventWords& words : old_workers_->look()) {
    if (!known.contains(words)) static_cast<void>(shm::write_event(workers_, me_, words));
  }
}

void Recorder::clean() noexcept {
  const auto is_gone = [&](shm::EventWriter writer) {
    // The lease says that no checker of another term lives, and this one is not writing now: a
    // claim in its name is a dead checker's, or that of a worker gone mad.
    if (writer.row == shm::kCheckerWriter) return true;
    if (writer.row >= rows_.size()) return true;  // nobody's: damage
    // [mm:events] acquire: pairs with the stores of take() and reap(); what the dead one stored
    // comes first.
    const shm::Identity claim =
        shm::unpack_identity(rows_[writer.row].claim.load(std::memory_order_acquire));
    return claim.phase != shm::Phase::live || claim.incarnation != writer.incarnation;
  };
  const auto free_in = [&](const shm::EventRingWriter& ring, std::size_t from, std::size_t count) {
    if (ring.next == nullptr || from >= ring.records.size()) return;
    static_cast<void>(shm::free_claims(
        *ring.next, ring.records.subspan(from, std::min(count, ring.records.size() - from)),
        is_gone));
  };
  // Only a dead checker can have left anything in the table's ring.
  if (turn_ == kAtOnce) free_in(table_, 0, table_.records.size());
  const std::size_t count = turn_ == kAtOnce ? workers_.records.size() : kCleanedPerTurn;
  free_in(workers_, turn_ == kAtOnce ? 0 : turn_, count);
  turn_ = turn_ == kAtOnce || turn_ + count >= workers_.records.size() ? 0 : turn_ + count;
}

}  // namespace ballast::checker
