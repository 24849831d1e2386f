// Following a segment, and resting while nothing moves.
#include "engine/checker/loads/load_watch.hpp"

#include <algorithm>

#include "engine/checker/settings.hpp"
#include "engine/service_view.hpp"
#include "shm/crash_point.hpp"

namespace ballast::checker {

// A look that is a little late must not make picks add up rows.
static_assert(2 * kLoadIntervalLimits.high <= engine::kLoadBeatLimitMs);

void LoadWatch::follow(const shm::CheckerSegment& segment, const std::vector<LoadMember>& members,
                       std::chrono::nanoseconds interval, bool needed, std::uint64_t now_ns) {
  needed_ = needed;
  interval_ = needed ? interval : kIdleInterval;
  current_ = interval_;
  const bool is_new = segment.id != segment_;
  if (is_new) {
    segment_ = segment.id;
    board_ = LoadBoard(rules_);
  }
  board_.set_members(members, segment.workers, segment.table.carried, now_ns,
                     is_new ? &segment.table : nullptr);
  board_.publish(segment.table);
}

std::chrono::nanoseconds LoadWatch::look(const shm::CheckerSegment& segment, std::uint64_t now_ns) {
  const LookReport report = board_.look(segment.workers, now_ns);
  BALLAST_POINT("loads.looked");
  board_.publish(segment.table);
  BALLAST_POINT("loads.published");
  // Relaxed: compared with itself only, and with nothing that is published.
  constexpr auto relaxed = std::memory_order_relaxed;
  shm::Word64& beat = segment.table.header->load_beat;
  beat.store(beat.load(relaxed) + 1, relaxed);
  if (report.moved || !needed_) {
    current_ = interval_;
  } else {
    current_ = std::min(2 * current_, std::max(interval_, kRestingInterval));
  }
  return current_;
}

void LoadWatch::carried_changed(const shm::CheckerSegment& segment) {
  board_.look_at_carried(segment.table.carried);
}

}  // namespace ballast::checker
