// Writing and carrying over.
#include "engine/checker/publishing/recorder.hpp"

#include <algorithm>
#include <set>
#include <utility>
#include <vector>

#include "shm/host.hpp"

namespace ballast::checker {
namespace {

shm::EventRing read_only(const shm::EventRingWriter& ring) {
  return {ring.next, ring.records};
}

// By the time that they tell.
bool is_older(const shm::EventWords& a, const shm::EventWords& b) {
  return a[0] < b[0];
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
  shm::EventReader reader(read_only(workers_));
  const std::vector<shm::EventWords> present = reader.look();
  const std::set<shm::EventWords> known(present.begin(), present.end());
  old_workers_.emplace(read_only(shm::event_ring_of(old.workers)));
  std::vector<shm::EventWords> missing = old_workers_->look();
  std::erase_if(missing, [&](const shm::EventWords& words) { return known.contains(words); });
  // Where the ring has gone round, most of what is missing was carried once and has made room for
  // what is newer. Each record that is written takes the place of the oldest there is, so only as
  // many of the newest are as are newer than what they take it from.
  std::sort(missing.begin(), missing.end(), is_older);
  const std::size_t free =
      workers_.records.size() - std::min(workers_.records.size(), present.size());
  std::size_t count = 0;
  while (count < missing.size() &&
         (count < free || (count - free < present.size() &&
                           is_older(present[count - free], missing[missing.size() - 1 - count])))) {
    ++count;
  }
  for (std::size_t i = missing.size() - count; i < missing.size(); ++i)
    static_cast<void>(shm::write_event(workers_, me_, missing[i]));
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
