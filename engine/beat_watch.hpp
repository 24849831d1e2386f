// Whether a counter that the checker keeps moving (its heartbeat, the load board's beat) has stood
// still for some time. Private memory of one picking thread, which compares its looks; what it sees
// depends on no other clock than its own. A clock is read only while the counter stands still: at
// the second look that finds it so, the fourth, the eighth and so on, then at every 256th. So a
// busy thread reads one seldom, and one that picks once a second notices within twice the time.
#pragma once

#include <algorithm>
#include <cstdint>

namespace ballast::engine {

class BeatWatch {
 public:
  static constexpr std::uint32_t kLookEvery = 256;

  // `beat` as it is now. True: it has not changed for `limit_ms` or longer by `clock()`.
  template <class Clock>
  [[nodiscard, gnu::always_inline]] inline bool stands_still(std::uint64_t beat,
                                                             std::uint64_t limit_ms,
                                                             Clock&& clock) noexcept {
    if (beat != beat_) {
      beat_ = beat;
      looks_ = 1;
      next_ = 2;
      still_ = false;
      return false;
    }
    if (++looks_ >= next_) [[unlikely]]
      look_at_clock(limit_ms, clock());
    return still_;
  }

  void forget() noexcept { *this = {}; }

 private:
  [[gnu::noinline, gnu::cold]] void look_at_clock(std::uint64_t limit_ms,
                                                  std::uint64_t now_ms) noexcept {
    if (looks_ == 2) since_ms_ = now_ms;
    still_ = now_ms - since_ms_ >= limit_ms;
    if (looks_ >= UINT32_MAX / 2) looks_ = kLookEvery;
    next_ = looks_ + std::min(looks_, kLookEvery);
  }

  std::uint64_t beat_ = ~std::uint64_t{0};
  std::uint64_t since_ms_ = 0;
  std::uint32_t looks_ = 0;  // that found this beat
  std::uint32_t next_ = 2;   // the look that reads the clock
  bool still_ = false;
};

}  // namespace ballast::engine
