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
  segment_ = publisher.segment_id();
  used_.clear();
  totals_.assign(slots_.size(), {});
  counts_.clear();
  row_ = at_ = 0;
  for (std::size_t i = 0; i < slots_.size(); ++i) {
    if (slots_[i].slot >= segment.table.instances.size()) continue;
    const auto identity =
        shm::unpack_identity(segment.table.instances[slots_[i].slot].identity.load(kRelaxed));
    // Freed slots have nothing in flight.
    if (identity.incarnation != slots_[i].incarnation || identity.phase == shm::Phase::free)
      continue;
    totals_[i] = shm::read_record(segment.table.carried[slots_[i].slot]);
    if (slots_[i].slot < segment.workers.instance_count) used_.push_back(i);
  }
}

bool FlightSum::step(const Publisher& publisher, std::chrono::steady_clock::time_point until) {
  if (segment_ != publisher.segment_id()) begin(publisher);
  const shm::CheckerSegment& segment = publisher.segment();
  std::size_t piece = 0;
  while (row_ < segment.workers.directory.size()) {
    if (used_.empty() || !segment.workers.ever_claimed(row_)) {
      ++row_;
      at_ = 0;
      continue;
    }
    const auto records = segment.workers.row(row_);
    for (; at_ < used_.size(); ++at_) {
      if (++piece > kPiece) {
        piece = 0;
        if (std::chrono::steady_clock::now() >= until) return false;
      }
      const std::size_t i = used_[at_];
      totals_[i] += shm::read_record(records[slots_[i].slot]);
    }
    ++row_;
    at_ = 0;
  }
  counts_.clear();
  for (const shm::Totals& totals : totals_)
    counts_.push_back(static_cast<std::uint64_t>(std::max<std::int64_t>(0, totals.in_flight())));
  return true;
}

}  // namespace ballast::checker
