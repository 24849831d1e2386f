// When a busy loop wakes up. Waking up costs more than the check that it is for, on this side and
// on the peer's: so with much going on timers fire on a common tick, and after a tick's questions
// the loop waits until most answers can be there, not for each. When nothing is awaited it sleeps
// until the next tick, and whatever comes by itself (a death) wakes it at once. Used by the
// backends, one thread; plain arithmetic.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <ratio>

namespace ballast::checker {

class Pace {
 public:
  using TimePoint = std::chrono::steady_clock::time_point;
  using Duration = std::chrono::steady_clock::duration;

  // Timers of one tick are taken together. No 10 ms hold more than three of them, which is 1.2
  // times the mean (three of 5 ms would be 1.5 times).
  static constexpr std::chrono::milliseconds kBusyTick{4};
  // Answers are waited for together so long; what a death may be seen later for it.
  static constexpr std::chrono::microseconds kPatience{500};
  // Busy means 5,000 events a second.
  static constexpr std::chrono::milliseconds kWindow{10};
  static constexpr std::size_t kBusy = 50;
  static constexpr std::size_t kMostAwaited = 4096;

  [[nodiscard]] bool busy() const noexcept { return busy_; }

  // When a timer set for `when` is to fire: together with its neighbours. In a quiet loop what is
  // due waits for nothing.
  [[nodiscard]] TimePoint due(TimePoint when, TimePoint now) const {
    using Tick = std::chrono::duration<std::int64_t, std::ratio<4, 1000>>;
    static_assert(Tick(1) == kBusyTick);
    if (busy_) return std::chrono::ceil<Tick>(when);
    return when <= now ? when : std::chrono::ceil<std::chrono::milliseconds>(when);
  }

  // So many events are expected soon, from what has just been asked of the kernel and of peers.
  void expect(std::size_t events) noexcept { awaited_ += events; }
  // How many events are worth waking up for, and how long to wait for so many at most.
  [[nodiscard]] std::size_t worth() const noexcept {
    return busy_ ? std::clamp<std::size_t>(awaited_, 1, kMostAwaited) : 1;
  }
  [[nodiscard]] Duration patience(Duration wait) const noexcept {
    return worth() > 1 ? std::min<Duration>(wait, kPatience) : wait;
  }
  [[nodiscard]] bool awaits() const noexcept { return awaited_ > 0; }

  // A wait has ended with so many events.
  void came(std::size_t events, TimePoint now) noexcept {
    // What has not come in time is late, and is taken when it comes.
    awaited_ = events < awaited_ && events >= worth() ? awaited_ - events : 0;
    events_ += events;
    if (now - window_begin_ < kWindow) return;
    busy_ = events_ >= kBusy && now - window_begin_ < 2 * kWindow;
    events_ = 0;
    window_begin_ = now;
  }

 private:
  bool busy_ = false;
  std::size_t awaited_ = 0;
  std::size_t events_ = 0;  // in this window
  TimePoint window_begin_{};
};

}  // namespace ballast::checker
