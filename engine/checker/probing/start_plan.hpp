// When planned checks are made, so that never many start at once: not after a start or a reload,
// not while a network comes back, not when this process was kept from running. It knows how many
// checks a second there are to be, plans each where there is room near the time that is wanted, and
// holds back what would be too much when its time has come. Checks that a lost connection or
// reported failures bring forward are not planned, and have an allowance of their own. Pure: no
// clock, no timers, randomness from the caller. The prober owns one; a checker that takes over
// starts with an empty plan.
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <vector>

#include "engine/checker/probing/health.hpp"

namespace ballast::checker {

class StartPlan {
 public:
  using Clock = std::chrono::steady_clock;
  // The plan's grain, which is the tick of a busy loop (Pace), and how far ahead it reaches; what
  // lies beyond is drawn at random.
  static constexpr std::chrono::milliseconds kSlot{4};
  static constexpr std::size_t kSlots = 4096;
  // Planned for a slot, of what is even: any 10 ms hold three ticks at most...
  static constexpr double kRoom = 1.2;
  // ...and started within kWindow buckets of a millisecond, of what is even in 10 ms. Any 10 ms lie
  // within 11 buckets.
  static constexpr double kLimit = 1.45;
  static constexpr std::size_t kWindow = 11;
  // Few checks need no plan: so many a slot are always allowed.
  static constexpr double kAlways = 10;

  // Of checks that wait for no plan, so many may start at once...
  static constexpr std::uint32_t kHurryBurst = 1500;
  // ...and so many more for every millisecond that passes. A thousand servers that die together are
  // within the first; what is beyond could only stand in its own way.
  static constexpr std::uint32_t kHurryPerMs = 150;

  // A planned check's place, for release().
  using Slot = std::uint64_t;
  // The place of a check that is further ahead than the plan reaches.
  static constexpr Slot kBeyond = 0;
  struct Place {
    TimePoint when;
    Slot slot = kBeyond;
  };

  StartPlan() : planned_(kSlots) {}

  // Somebody is, or no longer is, to be checked every `interval`.
  void add(Microseconds interval) { rate_ += rate_of(interval); }
  void remove(Microseconds interval) { rate_ -= rate_of(interval); }

  // A time for a check that is wanted between `low` and `high` from now on: in it, or as soon after
  // it as there is room.
  [[nodiscard]] Place plan(TimePoint now, const Delay& delay, Random& random);
  // A planned check is made, or will not be.
  void release(Slot slot) noexcept;

  // The time of a planned check has come: whether it may start. If not, it is to be planned again.
  [[nodiscard]] bool may_start(TimePoint now) noexcept;

  // A check is to be made at once: whether it may. If not, in the next milliseconds.
  [[nodiscard]] bool may_hurry(TimePoint now) noexcept;

 private:
  [[nodiscard]] static std::uint64_t rate_of(Microseconds interval);
  // Checks in `time`, if they are even.
  [[nodiscard]] double even_in(std::chrono::milliseconds time) const noexcept;
  [[nodiscard]] double capacity() const noexcept;
  [[nodiscard]] std::uint32_t& planned(Slot slot) noexcept { return planned_[slot % kSlots]; }
  void forget_before(Slot slot) noexcept;
  [[nodiscard]] Slot next_free(Slot from) noexcept;

  std::uint64_t rate_ = 0;  // checks in 10^6 seconds
  Slot begin_ = 0;          // the earliest slot that can still be planned for
  Slot full_before_ = 0;    // from begin_ up to here there is no room
  double full_capacity_ = 0;
  std::vector<std::uint32_t> planned_;
  // Starts in the latest milliseconds, up to newest_, and all of them.
  std::array<std::uint32_t, kWindow> started_{};
  std::uint64_t newest_ = 0;
  std::uint32_t started_sum_ = 0;
  std::uint32_t hurry_left_ = kHurryBurst;
  std::uint64_t hurry_ms_ = 0;  // until when that is reckoned
};

}  // namespace ballast::checker
