// The transitions of the health machine; docs/probing.md lists them.
#include "engine/checker/probing/health.hpp"

#include <algorithm>

namespace ballast::checker {

namespace {

// Uniform in [0, 1). From the raw output: the standard's distributions differ between libraries,
// and a replayed test must not.
double uniform(Random& random) {
  return static_cast<double>(random() >> 11) * 0x1p-53;
}

}  // namespace

Delay with_jitter(Microseconds delay, std::uint32_t percent) {
  const Microseconds part = delay * std::min<std::uint32_t>(percent, 100) / 100;
  return {delay - part, delay + part};
}

Delay after(const Delay& delay, Microseconds passed) {
  const Microseconds gone = std::clamp(passed, Microseconds(0), delay.low / 2);
  return {delay.low - gone, delay.high - gone};
}

Microseconds draw(const Delay& delay, Random& random) {
  const auto width = static_cast<double>((delay.high - delay.low).count());
  return delay.low + Microseconds(static_cast<std::int64_t>(width * uniform(random)));
}

HealthMachine::HealthMachine(const CheckSettings& settings, Health known) noexcept
    : health_(known) {
  if (known == Health::unknown && settings.first_check == FirstCheck::up) health_ = Health::up;
}

HealthMachine::Step HealthMachine::on_result(const CheckSettings& settings, Reason reason,
                                             TimePoint now) {
  const bool passed = reason == Reason::passed;
  const Sign sign = sign_;
  Step step;
  sign_ = Sign::none;
  if (quick_checks_ > 0) --quick_checks_;

  if (health_ == Health::unknown) {
    // Whatever rise and fall say: an instance that nobody has tried has no state to defend.
    health_ = passed ? Health::up : Health::down;
    step.healthy = passed;
    streak_ = 0;
  } else if (passed == (health_ == Health::up)) {
    streak_ = 0;
  } else {
    ++streak_;
    const std::uint32_t needed = std::max<std::uint32_t>(1, passed ? settings.rise : settings.fall);
    // `fall` guards against one bad measurement. A refused connection right after a connection was
    // lost is not one measurement but two independent ones: the old process's socket was torn down,
    // and the kernel says that nobody listens any more. Waiting for more only costs requests. A
    // lost connection alone proves nothing (servers close idle connections, and reload), nor does a
    // slow or wrong answer after it (somebody does answer): those count one by one.
    const bool gone = sign != Sign::none && reason == Reason::connect_refused;
    // So does a server that says of itself, unasked and asked, that it does not serve.
    const bool unfit = sign == Sign::change_told && reason == Reason::not_serving;
    if (streak_ >= needed || gone || unfit) {
      health_ = passed ? Health::up : Health::down;
      step.healthy = passed;
      streak_ = 0;
    }
  }

  if (step.healthy.has_value()) quick_checks_ = *step.healthy ? 0 : kChecksAfterDown;

  // A connection lost in the middle of a check: one failure, and a sign. If the process has died,
  // its port refuses by now, so look at once; but only once, so that a server which sheds load by
  // closing is still judged by `fall` failures an interval apart.
  const bool lost = reason == Reason::reset || reason == Reason::closed;
  if (lost && health_ == Health::up && sign != Sign::lost_in_check && own_.take(settings, now)) {
    sign_ = Sign::lost_in_check;
    return step;
  }
  step.delay = next_delay(settings);
  return step;
}

bool HealthMachine::on_connection_lost(const CheckSettings& settings, TimePoint now) noexcept {
  if (!own_.take(settings, now)) return false;
  sign_ = Sign::idle_connection_lost;
  return true;
}

bool HealthMachine::on_change_told(const CheckSettings& settings, TimePoint now) noexcept {
  if (!own_.take(settings, now)) return false;
  sign_ = Sign::change_told;
  return true;
}

bool HealthMachine::on_failures_reported(const CheckSettings& settings, TimePoint now) noexcept {
  if (!reported_.take(settings, now)) return false;
  sign_ = Sign::failures_reported;
  return true;
}

Delay HealthMachine::on_no_result(const CheckSettings& settings) const {
  return with_jitter(std::min(settings.fast_interval, settings.interval),
                     std::max<std::uint32_t>(settings.jitter_percent, 10));
}

Milliseconds HealthMachine::interval(const CheckSettings& settings) const noexcept {
  const auto or_usual = [&](Milliseconds given) {
    return given > Milliseconds(0) ? given : settings.interval;
  };
  if (health_ == Health::down) return or_usual(settings.down_interval);
  if (health_ != Health::up) return settings.interval;
  if (demand_ == Demand::none) return or_usual(settings.idle_interval);
  if (demand_ == Demand::succeeding) return or_usual(settings.eased_interval);
  return settings.interval;
}

bool HealthMachine::Allowance::take(const CheckSettings& settings, TimePoint now) noexcept {
  const auto interval = std::max(settings.interval, Milliseconds(1));
  if (left == kLossBurst) {
    since = now;
  } else {
    const auto earned = (now - since) / interval;
    if (earned > 0) {
      left = static_cast<std::uint8_t>(std::min<std::int64_t>(left + earned, kLossBurst));
      since = left == kLossBurst ? now : since + earned * interval;
    }
  }
  if (left == 0) return false;
  --left;
  return true;
}

Delay HealthMachine::next_delay(const CheckSettings& settings) {
  if (streak_ > 0 || quick_checks_ > 0) {
    return with_jitter(std::min(settings.fast_interval, settings.interval),
                       settings.jitter_percent);
  }
  const Milliseconds usual = interval(settings);
  if (!phase_chosen_) {
    // First checks come close together, so that a new checker knows everything soon. Each instance
    // then takes a phase of its own within the interval, or the burst would come back every time.
    phase_chosen_ = true;
    return {Microseconds(1), usual};
  }
  return with_jitter(usual, settings.jitter_percent);
}

}  // namespace ballast::checker
