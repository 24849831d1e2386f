// A ring of counts, slot by slot, over the next sixteen seconds; and a short one of milliseconds
// behind us.
#include "engine/checker/probing/start_plan.hpp"

#include <algorithm>
#include <cmath>

namespace ballast::checker {

namespace {

// A place is drawn at random, and of so many neighbours there the emptiest is taken: far more even
// than the draw alone. Not of places all over what is wanted: the later ones are always emptier,
// since fewer have planned for them so far, and every interval would come out too long.
constexpr std::uint64_t kNeighbours = 4;
constexpr std::uint64_t kRateScale = 1'000'000'000'000;  // microseconds in 10^6 seconds

std::uint64_t slot_of(TimePoint time) {
  return static_cast<std::uint64_t>(time.time_since_epoch() / StartPlan::kSlot);
}

TimePoint start_of(std::uint64_t slot) {
  return TimePoint(slot * StartPlan::kSlot);
}

// Spreads the n-th of a slot's checks over it, wherever the count ends.
Microseconds offset_in_slot(std::uint32_t n) {
  double whole = 0;
  const double fraction = std::modf(static_cast<double>(n) * 0.6180339887498949, &whole);
  return Microseconds(static_cast<std::int64_t>(
      fraction * static_cast<double>(Microseconds(StartPlan::kSlot).count())));
}

}  // namespace

std::uint64_t StartPlan::rate_of(Microseconds interval) {
  return kRateScale / static_cast<std::uint64_t>(std::max<std::int64_t>(interval.count(), 1));
}

double StartPlan::even_in(std::chrono::milliseconds time) const noexcept {
  return static_cast<double>(rate_) * static_cast<double>(time.count()) / 1e9;
}

double StartPlan::capacity() const noexcept {
  return std::max(kAlways, kRoom * even_in(kSlot));
}

void StartPlan::forget_before(Slot slot) noexcept {
  const Slot end = std::min(slot, begin_ + kSlots);
  for (Slot past = begin_; past < end; ++past)
    planned(past) = 0;
  begin_ = std::max(begin_, slot);
}

StartPlan::Slot StartPlan::next_free(Slot from) noexcept {
  const double room = capacity();
  if (room > full_capacity_ || full_before_ < begin_) full_before_ = begin_;
  full_capacity_ = room;
  const bool from_the_front = from <= full_before_;
  Slot slot = std::max(from, full_before_);
  while (slot < begin_ + kSlots && planned(slot) >= room)
    ++slot;
  if (from_the_front) full_before_ = slot;
  return slot;
}

StartPlan::Place StartPlan::plan(TimePoint now, const Delay& delay, Random& random) {
  forget_before(slot_of(now));
  const TimePoint low = now + delay.low;
  const TimePoint high = now + std::max(delay.low, delay.high);
  const Slot end = begin_ + kSlots;
  if (slot_of(low) >= end) return {now + draw(delay, random), kBeyond};

  const Slot first = slot_of(low);
  const std::uint64_t width = std::min(slot_of(high), end - 1) - first + 1;
  Slot slot = first;
  if (width > 1) {
    const std::uint64_t near = std::min(width, kNeighbours);
    const Slot drawn = first + random() % (width - near + 1);
    const std::uint64_t begin = random() % near;  // of equals not always the same
    slot = drawn + begin;
    for (std::uint64_t i = 1; i < near; ++i) {
      const Slot other = drawn + (begin + i) % near;
      if (planned(other) < planned(slot)) slot = other;
    }
  }
  if (planned(slot) >= capacity()) {
    const Slot free = next_free(first);
    if (free < end) slot = free;  // else there is none, and one is as good as the other
  }
  TimePoint when = low;
  // At its very time if it wants no other.
  if (slot != first || width > 1 || planned(slot) > 0) {
    when = std::max(when, start_of(slot) + offset_in_slot(planned(slot)));
  }
  ++planned(slot);
  return {when, slot};
}

void StartPlan::release(Slot slot) noexcept {
  if (slot < begin_ || slot >= begin_ + kSlots || planned(slot) == 0) return;
  --planned(slot);
  full_before_ = std::min(full_before_, slot);
}

bool StartPlan::may_start(TimePoint now) noexcept {
  using std::chrono::milliseconds;
  const auto bucket = static_cast<std::uint64_t>(now.time_since_epoch() / milliseconds(1));
  if (bucket >= newest_ + kWindow) {
    started_.fill(0);
    started_sum_ = 0;
  } else {
    for (std::uint64_t next = newest_ + 1; next <= bucket; ++next) {
      started_sum_ -= started_[next % kWindow];
      started_[next % kWindow] = 0;
    }
  }
  newest_ = std::max(newest_, bucket);
  const double limit = std::max(2 * kAlways, kLimit * even_in(milliseconds(10)));
  // Not all of it in one go, or the next would be as far away: a full slot's, at one tick.
  const double at_once = limit / 3;
  if (started_sum_ + 1 > limit || started_[newest_ % kWindow] + 1 > at_once) return false;
  ++started_[newest_ % kWindow];
  ++started_sum_;
  return true;
}

bool StartPlan::may_hurry(TimePoint now) noexcept {
  using std::chrono::milliseconds;
  const auto ms = static_cast<std::uint64_t>(now.time_since_epoch() / milliseconds(1));
  if (ms > hurry_ms_) {
    const std::uint64_t earned = std::min<std::uint64_t>(ms - hurry_ms_, kHurryBurst) * kHurryPerMs;
    hurry_left_ =
        static_cast<std::uint32_t>(std::min<std::uint64_t>(hurry_left_ + earned, kHurryBurst));
    hurry_ms_ = ms;
  }
  if (hurry_left_ == 0) return false;
  --hurry_left_;
  return true;
}

}  // namespace ballast::checker
