// One-shot timers for a single-threaded loop: a wheel of milliseconds. A timer is created once and
// moved for its whole life (every instance has exactly one), so that arming and disarming touches
// two or three cache lines, however many timers there are, and allocates nothing after a while.
// Times are exact within their millisecond. Owned by a Loop, driven by its clock.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>

namespace ballast::checker {

// Is told when its timers fire. With ten thousand timers nothing about the next one is in the
// processor's caches: whoever has much to look at is told a little ahead, so that it can be fetched
// meanwhile.
class TimerHandler {
 public:
  virtual void on_time(std::uint64_t user) = 0;
  // The timer fires soon, and then almost at once: fetch, and do nothing else.
  virtual void fires_soon(std::uint64_t /*user*/) const noexcept {}
  virtual void fires_next(std::uint64_t /*user*/) const noexcept {}

 protected:
  ~TimerHandler() = default;
};

class Timers {
 public:
  using TimePoint = std::chrono::steady_clock::time_point;
  using Id = std::uint32_t;
  using Callback = std::function<void()>;

  Timers();
  ~Timers();
  Timers(const Timers&) = delete;
  Timers& operator=(const Timers&) = delete;

  // A new timer, not armed. It may be destroyed, also by its own callback.
  [[nodiscard]] Id create(Callback callback);
  // The same for `handler`, which must outlive the timer.
  [[nodiscard]] Id create(TimerHandler& handler, std::uint64_t user);
  void destroy(Id id);

  // Lets the timer fire once at `when`, or as soon after as the loop gets to it; replaces an
  // earlier time.
  void arm(Id id, TimePoint when);
  void disarm(Id id);

  // When the next timer is due, or earlier, if that is seconds away; none if nothing is armed.
  [[nodiscard]] std::optional<TimePoint> next() const;

  // Fires what is due at `now`, in the order of time. A timer that its own callback arms again
  // waits for the next call, so that a callback cannot keep the loop here for ever.
  void run_due(TimePoint now);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace ballast::checker
