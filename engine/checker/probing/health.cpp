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

Microseconds with_jitter(Microseconds delay, std::uint32_t percent, Random& random) {
  const double share = static_cast<double>(std::min<std::uint32_t>(percent, 100)) / 100.0;
  const double factor = 1.0 + share * (2.0 * uniform(random) - 1.0);
  return Microseconds(static_cast<std::int64_t>(static_cast<double>(delay.count()) * factor));
}

HealthMachine::HealthMachine(const CheckSettings& settings, Health known) noexcept
    : health_(known) {
  if (known == Health::unknown && settings.first_check == FirstCheck::up) health_ = Health::up;
}

HealthMachine::Step HealthMachine::on_result(const CheckSettings& settings, Reason reason,
                                             TimePoint now, Random& random) {
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
  if (lost && health_ == Health::up && sign != Sign::lost_in_check &&
      take_allowance(settings, now)) {
    sign_ = Sign::lost_in_check;
    step.delay = Microseconds(0);
    return step;
  }
  step.delay = next_delay(settings, random);
  return step;
}

bool HealthMachine::on_connection_lost(const CheckSettings& settings, TimePoint now) noexcept {
  if (!take_allowance(settings, now)) return false;
  sign_ = Sign::idle_connection_lost;
  return true;
}

bool HealthMachine::on_change_told(const CheckSettings& settings, TimePoint now) noexcept {
  if (!take_allowance(settings, now)) return false;
  sign_ = Sign::change_told;
  return true;
}

Microseconds HealthMachine::on_no_result(const CheckSettings& settings, Random& random) const {
  return with_jitter(std::min(settings.fast_interval, settings.interval),
                     std::max<std::uint32_t>(settings.jitter_percent, 10), random);
}

bool HealthMachine::take_allowance(const CheckSettings& settings, TimePoint now) noexcept {
  const auto interval = std::max(settings.interval, Milliseconds(1));
  if (allowance_ == kLossBurst) {
    allowance_since_ = now;
  } else {
    const auto earned = (now - allowance_since_) / interval;
    if (earned > 0) {
      allowance_ =
          static_cast<std::uint8_t>(std::min<std::int64_t>(allowance_ + earned, kLossBurst));
      allowance_since_ = allowance_ == kLossBurst ? now : allowance_since_ + earned * interval;
    }
  }
  if (allowance_ == 0) return false;
  --allowance_;
  return true;
}

Microseconds HealthMachine::next_delay(const CheckSettings& settings, Random& random) {
  if (streak_ > 0 || quick_checks_ > 0) {
    return with_jitter(std::min(settings.fast_interval, settings.interval), settings.jitter_percent,
                       random);
  }
  if (!phase_chosen_) {
    // First checks come close together, so that a new checker knows everything soon. Each instance
    // then takes a phase of its own within the interval, or the burst would come back every time.
    phase_chosen_ = true;
    const double share = 1.0 - uniform(random);  // (0, 1]
    return Microseconds(static_cast<std::int64_t>(
        static_cast<double>(Microseconds(settings.interval).count()) * share));
  }
  return with_jitter(settings.interval, settings.jitter_percent, random);
}

}  // namespace ballast::checker
