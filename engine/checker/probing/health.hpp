// The health of one instance as a state machine: results of checks go in, verdicts and the delay
// until the next check come out. Pure: it does no I/O, reads no clock and draws nothing at random,
// so that every sequence can be replayed in a test. One prober owns it; if the checker dies, its
// successor starts a new one with the health that it reads from the table.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <random>

#include "engine/checker/probing/verdict.hpp"
#include "engine/checker/settings.hpp"

namespace ballast::checker {

using TimePoint = std::chrono::steady_clock::time_point;
using Microseconds = std::chrono::microseconds;
using Random = std::mt19937_64;

// How long to wait: anything from `low` to `high` will do.
struct Delay {
  Microseconds low{0};
  Microseconds high{0};

  friend bool operator==(const Delay&, const Delay&) = default;
};

// `delay` stretched or cut by up to `percent` of itself.
[[nodiscard]] Delay with_jitter(Microseconds delay, std::uint32_t percent);
// What is left of `delay` when so much of it has gone by. Never less than half: whoever answers
// slowly is left in peace for a while, too.
[[nodiscard]] Delay after(const Delay& delay, Microseconds passed);
// One of them, all as likely.
[[nodiscard]] Microseconds draw(const Delay& delay, Random& random);

// What workers do with an instance, as far as it matters to how often it is checked.
enum class Demand : std::uint8_t {
  unknown = 0,
  none = 1,        // no request went to it for a while
  succeeding = 2,  // requests do, and do not fail
  failing = 3,     // some of them fail
};

class HealthMachine {
 public:
  // A lost connection may bring a check forward to "at once" this often in a burst...
  static constexpr std::uint8_t kLossBurst = 3;
  // ...and once more for every interval that has passed. Without the limit, a server that answers
  // and then always closes would be checked in a tight loop. Failures that workers report have an
  // allowance of their own, of the same size.

  // After a verdict of "down", this many checks keep the fast interval: a server that has just gone
  // is usually being restarted, and a refused connection costs next to nothing.
  static constexpr std::uint8_t kChecksAfterDown = 10;

  struct Step {
    std::optional<bool> healthy;  // set when the health has changed
    Delay delay;                  // until the next check
  };

  // `known` is what a dead predecessor left; with `unknown` the first-check policy holds.
  HealthMachine(const CheckSettings& settings, Health known) noexcept;

  // A check has finished. `reason` is anything but none, not_checked and admin.
  [[nodiscard]] Step on_result(const CheckSettings& settings, Reason reason, TimePoint now);

  // The connection that is kept between checks was closed or reset by the other side. True: check
  // again at once. False: leave the schedule as it is (the allowance above is used up).
  [[nodiscard]] bool on_connection_lost(const CheckSettings& settings, TimePoint now) noexcept;

  // The server said by itself that something has changed. True: check again at once, and if that
  // check finds it not serving, it is down at once. False: as above.
  [[nodiscard]] bool on_change_told(const CheckSettings& settings, TimePoint now) noexcept;

  // Workers report failed requests, `failures_to_check` of them or more. True: check at once.
  [[nodiscard]] bool on_failures_reported(const CheckSettings& settings, TimePoint now) noexcept;

  void on_demand(Demand demand) noexcept { demand_ = demand; }

  // The check could not be made for a local reason (no descriptor, no port): it says nothing about
  // the instance. Returns the delay until the next try.
  [[nodiscard]] Delay on_no_result(const CheckSettings& settings) const;

  // From one check to the next while nothing happens.
  [[nodiscard]] Milliseconds interval(const CheckSettings& settings) const noexcept;

  // `unknown` until the first check under FirstCheck::decides.
  [[nodiscard]] Health health() const noexcept { return health_; }

 private:
  // The last sign that the instance may be gone or unfit, not yet answered by a check.
  enum class Sign : std::uint8_t {
    none,
    idle_connection_lost,
    lost_in_check,
    change_told,
    failures_reported,
  };

  // How often checks may still be brought forward.
  struct Allowance {
    std::uint8_t left = kLossBurst;
    TimePoint since{};

    bool take(const CheckSettings& settings, TimePoint now) noexcept;
  };

  [[nodiscard]] Delay next_delay(const CheckSettings& settings);

  Health health_;
  Sign sign_ = Sign::none;
  Demand demand_ = Demand::unknown;
  std::uint8_t quick_checks_ = 0;
  bool phase_chosen_ = false;
  std::uint32_t streak_ = 0;  // results in a row that speak against the health
  Allowance own_;             // for what the server's connection shows
  Allowance reported_;  // for what workers report, which may be much, and must not use up the other
};

}  // namespace ballast::checker
