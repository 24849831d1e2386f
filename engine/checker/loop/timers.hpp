// One-shot timers for a single-threaded loop: a heap keyed by time. A timer is created once and
// moved for its whole life (every instance has exactly one), so that arming and disarming is
// O(log n) and allocates nothing. Owned by a Loop, driven by its clock.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>

namespace ballast::checker {

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
  void destroy(Id id);

  // Lets the timer fire once at `when`, or as soon after as the loop gets to it; replaces an
  // earlier time.
  void arm(Id id, TimePoint when);
  void disarm(Id id);

  // When the next timer is due; none if nothing is armed.
  [[nodiscard]] std::optional<TimePoint> next() const;

  // Fires what is due at `now`. A timer that its own callback arms again waits for the next call,
  // so that a callback cannot keep the loop here for ever.
  void run_due(TimePoint now);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace ballast::checker
