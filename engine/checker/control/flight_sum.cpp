// Row by row, so that each row's lines are read in their order.
#include "engine/checker/control/flight_sum.hpp"

#include <algorithm>

#include "shm/state_word.hpp"

namespace ballast::checker {

namespace {
constexpr auto kRelaxed = std::memory_order_relaxed;  // the only writer reads its own words
constexpr std::size_t kPiece = 512;                   // records, between two looks at the clock
}  // namespace

void FlightSum::begin(const Publisher& publisher) {
  const shm::CheckerSegment& segment = publisher.segment();
  const shm::CheckerSegment* const replaced = publisher.draining();
  segment_ = publisher.segment_id();
  replaced_ = replaced == nullptr ? 0 : replaced->id;
  totals_.assign(slots_.size(), {});
  counts_.clear();
  active_walk_ = {};
  replaced_walk_ = {};
  const auto identity_in = [](const shm::CheckerSegment& in, std::size_t slot) {
    return slot < in.table.instances.size()
               ? shm::unpack_identity(in.table.instances[slot].identity.load(kRelaxed))
               : shm::Identity{};
  };
  for (std::size_t i = 0; i < slots_.size(); ++i) {
    const std::uint16_t slot = slots_[i].slot;
    const auto is_tenant = [&](const shm::Identity& identity) {
      // Freed slots have nothing in flight.
      return identity.incarnation == slots_[i].incarnation && identity.phase != shm::Phase::free;
    };
    if (!is_tenant(identity_in(segment, slot))) continue;
    if (slot < segment.workers.instance_count) active_walk_.used.push_back(i);
    // What is carried over is as old as the last look at the rows there, which workers go on to
    // change: so those are added up here as well.
    if (replaced != nullptr && is_tenant(identity_in(*replaced, slot))) {
      totals_[i] = shm::read_record(replaced->table.carried[slot]);
      if (slot < replaced->workers.instance_count) replaced_walk_.used.push_back(i);
    } else {
      totals_[i] = shm::read_record(segment.table.carried[slot]);
    }
  }
}

bool FlightSum::go_on(const shm::CheckerSegment& segment, Walk& walk,
                      std::chrono::steady_clock::time_point until) {
  std::size_t piece = 0;
  while (walk.row < segment.workers.directory.size()) {
    if (walk.used.empty() || !segment.workers.ever_claimed(walk.row)) {
      ++walk.row;
      walk.at = 0;
      continue;
    }
    const auto records = segment.workers.row(walk.row);
    for (; walk.at < walk.used.size(); ++walk.at) {
      if (++piece > kPiece) {
        piece = 0;
        if (std::chrono::steady_clock::now() >= until) return false;
      }
      const std::size_t i = walk.used[walk.at];
      totals_[i] += shm::read_record(records[slots_[i].slot]);
    }
    ++walk.row;
    walk.at = 0;
  }
  return true;
}

bool FlightSum::step(const Publisher& publisher, std::chrono::steady_clock::time_point until) {
  const shm::CheckerSegment* const replaced = publisher.draining();
  if (segment_ != publisher.segment_id() || replaced_ != (replaced == nullptr ? 0 : replaced->id))
    begin(publisher);
  // The old rows first: who moves meanwhile has its later requests counted in the new ones.
  if (replaced != nullptr && !go_on(*replaced, replaced_walk_, until)) return false;
  if (!go_on(publisher.segment(), active_walk_, until)) return false;
  counts_.clear();
  for (const shm::Totals& totals : totals_)
    counts_.push_back(static_cast<std::uint64_t>(std::max<std::int64_t>(0, totals.in_flight())));
  return true;
}

}  // namespace ballast::checker
