// The health machine, transition by transition, and against a plain model over all short sequences.
#include "engine/checker/probing/health.hpp"

#include <doctest/doctest.h>

#include <optional>
#include <set>
#include <vector>

namespace ballast::checker {
namespace {

using std::chrono::hours;
using std::chrono::seconds;

constexpr Reason kPass = Reason::passed;
constexpr Reason kFail = Reason::timeout;

struct Machine {
  explicit Machine(Health known = Health::unknown, CheckSettings with = {})
      : settings(std::move(with)), health(settings, known) {}

  std::optional<bool> step(Reason reason) {
    const HealthMachine::Step result = health.on_result(settings, reason, now);
    delay = draw(result.delay, random);
    now += delay;
    return result.healthy;
  }
  bool lose() { return health.on_connection_lost(settings, now); }
  [[nodiscard]] bool fast() const {
    return delay >= settings.fast_interval * 9 / 10 && delay <= settings.fast_interval * 11 / 10;
  }

  CheckSettings settings;
  Random random{7};
  TimePoint now{};
  Microseconds delay{0};
  HealthMachine health;
};

TEST_CASE("the first check alone decides") {
  Machine passing;
  CHECK(passing.health.health() == Health::unknown);
  CHECK(passing.step(kPass) == true);
  CHECK(passing.health.health() == Health::up);
  Machine failing;
  CHECK(failing.step(kFail) == false);
  CHECK(failing.health.health() == Health::down);
}

TEST_CASE("first-check policy `up`: up without a verdict, then rise and fall as usual") {
  CheckSettings settings;
  settings.first_check = FirstCheck::up;
  Machine machine(Health::unknown, settings);
  CHECK(machine.health.health() == Health::up);
  CHECK_FALSE(machine.step(kFail).has_value());
  CHECK_FALSE(machine.step(kFail).has_value());
  CHECK(machine.step(kFail) == false);
}

TEST_CASE("adopted health outranks the first-check policy") {
  for (const FirstCheck policy : {FirstCheck::decides, FirstCheck::up}) {
    CheckSettings settings;
    settings.first_check = policy;
    Machine up(Health::up, settings);
    CHECK_FALSE(up.step(kFail).has_value());
    CHECK(up.health.health() == Health::up);
    Machine down(Health::down, settings);
    CHECK(down.health.health() == Health::down);
    CHECK_FALSE(down.step(kPass).has_value());
    CHECK(down.step(kPass) == true);
  }
}

TEST_CASE("every sequence of twelve results agrees with counting by hand") {
  for (std::uint32_t rise = 1; rise <= 3; ++rise) {
    for (std::uint32_t fall = 1; fall <= 4; ++fall) {
      CheckSettings settings;
      settings.rise = rise;
      settings.fall = fall;
      for (unsigned bits = 0; bits < 4096; ++bits) {
        Machine machine(Health::up, settings);
        bool up = true;
        std::uint32_t against = 0;
        for (unsigned i = 0; i < 12; ++i) {
          const bool pass = (bits >> i & 1) != 0;
          against = pass == up ? 0 : against + 1;
          std::optional<bool> expected;
          if (against >= (up ? fall : rise)) {
            up = !up;
            against = 0;
            expected = up;
          }
          // Checked in bulk, since a message a step would take longer than the test.
          if (machine.step(pass ? kPass : kFail) != expected) FAIL("at ", bits, " step ", i);
        }
      }
    }
  }
}

TEST_CASE("zero rise and fall count as one") {
  CheckSettings settings;
  settings.rise = 0;
  settings.fall = 0;
  Machine machine(Health::up, settings);
  CHECK(machine.step(kFail) == false);
  CHECK(machine.step(kPass) == true);
}

TEST_CASE("the fast interval holds while the health is changing, and after it went down") {
  Machine machine(Health::up);
  machine.step(kPass);
  machine.step(kPass);
  CHECK(machine.delay >= machine.settings.interval * 9 / 10);
  machine.step(kFail);
  CHECK(machine.fast());
  machine.step(kPass);  // changed its mind
  CHECK(machine.delay >= machine.settings.interval * 9 / 10);
  for (int i = 0; i < 3; ++i)
    machine.step(kFail);
  CHECK(machine.health.health() == Health::down);
  for (int i = 0; i < HealthMachine::kChecksAfterDown; ++i) {
    CHECK(machine.fast());
    machine.step(kFail);
  }
  CHECK_FALSE(machine.fast());
  machine.step(kPass);
  CHECK(machine.fast());
  CHECK(machine.step(kPass) == true);
  CHECK_FALSE(machine.fast());
}

TEST_CASE("a fast interval longer than the interval is not used") {
  CheckSettings settings;
  settings.interval = Milliseconds(100);
  settings.fast_interval = Milliseconds(5000);
  Machine machine(Health::up, settings);
  machine.step(kFail);
  CHECK(machine.delay <= Milliseconds(110));
}

TEST_CASE("jitter stays within its bounds, reaches both sides, and can be turned off") {
  Random random(1);
  const Microseconds base(1000000);
  Microseconds low = base;
  Microseconds high = base;
  for (int i = 0; i < 10000; ++i) {
    const Microseconds delay = draw(with_jitter(base, 10), random);
    low = std::min(low, delay);
    high = std::max(high, delay);
  }
  CHECK(low >= Microseconds(900000));
  CHECK(low < Microseconds(901000));
  CHECK(high <= Microseconds(1100000));
  CHECK(high > Microseconds(1099000));
  CHECK(with_jitter(base, 0) == Delay{base, base});
  CHECK(with_jitter(base, 4000) == Delay{Microseconds(0), 2 * base});  // as 100
}

TEST_CASE("what has gone by of a delay is taken off it, but never more than half") {
  const Delay delay{Milliseconds(900), Milliseconds(1100)};
  CHECK(after(delay, Microseconds(0)) == delay);
  CHECK(after(delay, Microseconds(-5)) == delay);
  CHECK(after(delay, Milliseconds(100)) == Delay{Milliseconds(800), Milliseconds(1000)});
  CHECK(after(delay, Milliseconds(5000)) == Delay{Milliseconds(450), Milliseconds(650)});
  CHECK(after({Microseconds(1), Milliseconds(1000)}, Milliseconds(7)) ==
        Delay{Microseconds(1), Milliseconds(1000)});
}

TEST_CASE("the same seed gives the same delays") {
  Machine one(Health::up);
  Machine two(Health::up);
  for (int i = 0; i < 50; ++i) {
    one.step(i % 5 == 0 ? kFail : kPass);
    two.step(i % 5 == 0 ? kFail : kPass);
    CHECK(one.delay == two.delay);
  }
}

TEST_CASE("after its first check an instance takes a phase of its own within the interval") {
  CheckSettings settings;
  Random random(3);
  std::set<std::int64_t> tenths;
  for (int i = 0; i < 300; ++i) {
    HealthMachine health(settings, Health::unknown);
    const Microseconds phase = draw(health.on_result(settings, kPass, {}).delay, random);
    CHECK(phase > Microseconds(0));
    CHECK(phase <= settings.interval);
    tenths.insert((phase.count() - 1) * 10 / Microseconds(settings.interval).count());
    CHECK(health.on_result(settings, kPass, {}).delay.low == settings.interval * 9 / 10);
  }
  CHECK(tenths.size() == 10);
}

TEST_CASE("a lost connection and then a refusal is a verdict at once") {
  CheckSettings settings;
  settings.fall = 10;
  Machine machine(Health::up, settings);
  machine.step(kPass);
  CHECK(machine.lose());
  CHECK(machine.step(Reason::connect_refused) == false);
}

TEST_CASE("a refusal without a lost connection counts as one failure") {
  Machine machine(Health::up);
  CHECK_FALSE(machine.step(Reason::connect_refused).has_value());
  CHECK_FALSE(machine.step(Reason::connect_refused).has_value());
  CHECK(machine.step(Reason::connect_refused) == false);
}

TEST_CASE("a lost connection and then a pass changes nothing, and the sign is spent") {
  Machine machine(Health::up);
  CHECK(machine.lose());
  CHECK_FALSE(machine.step(kPass).has_value());
  CHECK_FALSE(machine.step(Reason::connect_refused).has_value());
  CHECK(machine.health.health() == Health::up);
}

TEST_CASE("after a lost connection only a refusal is proof") {
  for (const Reason reason : {Reason::timeout, Reason::connect_timeout, Reason::unreachable,
                              Reason::bad_status, Reason::bad_response}) {
    CAPTURE(static_cast<int>(reason));
    Machine machine(Health::up);
    CHECK(machine.lose());
    CHECK_FALSE(machine.step(reason).has_value());
    CHECK(machine.fast());
    CHECK_FALSE(machine.step(reason).has_value());
    CHECK(machine.step(reason) == false);
  }
}

TEST_CASE("a connection lost in a check is looked into once at once, then counted") {
  for (const Reason reason : {Reason::reset, Reason::closed}) {
    Machine gone(Health::up);
    CHECK_FALSE(gone.step(reason).has_value());
    CHECK(gone.delay == Microseconds(0));
    CHECK(gone.step(Reason::connect_refused) == false);

    Machine shedding(Health::up);
    CHECK_FALSE(shedding.step(reason).has_value());
    CHECK(shedding.delay == Microseconds(0));
    CHECK_FALSE(shedding.step(reason).has_value());
    CHECK(shedding.fast());
    CHECK(shedding.step(reason) == false);
  }
}

TEST_CASE("a process that dies after its kept connection: reset first, refused next") {
  Machine machine(Health::up);
  CHECK(machine.lose());
  CHECK_FALSE(machine.step(Reason::reset).has_value());
  CHECK(machine.delay == Microseconds(0));
  CHECK(machine.step(Reason::connect_refused) == false);
}

TEST_CASE("lost connections bring checks forward in a burst, then once an interval") {
  Machine machine(Health::up);
  for (int i = 0; i < HealthMachine::kLossBurst; ++i)
    CHECK(machine.lose());
  CHECK_FALSE(machine.lose());
  machine.now += machine.settings.interval - Microseconds(1);
  CHECK_FALSE(machine.lose());
  machine.now += Microseconds(1);
  CHECK(machine.lose());
  CHECK_FALSE(machine.lose());
  machine.now += hours(10);
  for (int i = 0; i < HealthMachine::kLossBurst; ++i)
    CHECK(machine.lose());
  CHECK_FALSE(machine.lose());
}

TEST_CASE("failures that workers report bring a check, and a refusal then is a death") {
  Machine machine(Health::up);
  CHECK(machine.health.on_failures_reported(machine.settings, machine.now));
  CHECK_FALSE(machine.step(kPass).has_value());
  CHECK(machine.health.on_failures_reported(machine.settings, machine.now));
  CHECK_FALSE(machine.step(kFail).has_value());  // one of `fall`
  machine.step(kPass);
  CHECK(machine.health.on_failures_reported(machine.settings, machine.now));
  CHECK(machine.step(Reason::connect_refused) == false);
}

TEST_CASE("reported failures leave the allowance for lost connections alone, and the reverse") {
  Machine reported(Health::up);
  for (int i = 0; i < HealthMachine::kLossBurst; ++i)
    CHECK(reported.health.on_failures_reported(reported.settings, reported.now));
  CHECK_FALSE(reported.health.on_failures_reported(reported.settings, reported.now));
  CHECK(reported.lose());
  CHECK(reported.step(Reason::connect_refused) == false);

  Machine lost(Health::up);
  for (int i = 0; i < HealthMachine::kLossBurst; ++i)
    CHECK(lost.lose());
  CHECK_FALSE(lost.lose());
  CHECK(lost.health.on_failures_reported(lost.settings, lost.now));
  lost.now += lost.settings.interval;
  CHECK(lost.lose());
}

TEST_CASE("a change that was told and then confirmed needs no more failures") {
  Machine machine(Health::up);
  CHECK(machine.health.on_change_told(machine.settings, machine.now));
  CHECK_FALSE(machine.step(kPass).has_value());
  CHECK(machine.health.on_change_told(machine.settings, machine.now));
  CHECK(machine.step(Reason::not_serving) == false);
}

TEST_CASE("how often: by health and by demand, each where it is asked for") {
  CheckSettings settings;
  settings.interval = Milliseconds(1000);
  const auto interval = [&](Health health, Demand demand) {
    HealthMachine machine(settings, health);
    machine.on_demand(demand);
    return machine.interval(settings);
  };
  const std::vector kDemands{Demand::unknown, Demand::none, Demand::succeeding, Demand::failing};
  for (const Demand demand : kDemands) {
    CHECK(interval(Health::up, demand) == Milliseconds(1000));
    CHECK(interval(Health::down, demand) == Milliseconds(1000));
  }
  settings.down_interval = Milliseconds(5000);
  settings.idle_interval = Milliseconds(6000);
  settings.eased_interval = Milliseconds(7000);
  for (const Demand demand : kDemands) {
    CHECK(interval(Health::down, demand) == Milliseconds(5000));
    CHECK(interval(Health::unknown, demand) == Milliseconds(1000));
  }
  CHECK(interval(Health::up, Demand::unknown) == Milliseconds(1000));
  CHECK(interval(Health::up, Demand::none) == Milliseconds(6000));
  CHECK(interval(Health::up, Demand::succeeding) == Milliseconds(7000));
  CHECK(interval(Health::up, Demand::failing) == Milliseconds(1000));
  // While a state is changing, and right after a death, the fast interval goes before all.
  Machine machine(Health::down, settings);
  machine.step(kPass);
  CHECK(machine.fast());
}

TEST_CASE("no result: try again soon, health and counts untouched") {
  Machine machine(Health::up);
  machine.step(kFail);
  machine.step(kFail);
  for (int i = 0; i < 100; ++i) {
    const Microseconds delay = draw(machine.health.on_no_result(machine.settings), machine.random);
    CHECK(delay >= machine.settings.fast_interval * 9 / 10);
    CHECK(delay <= machine.settings.fast_interval * 11 / 10);
  }
  CHECK(machine.health.health() == Health::up);
  CHECK(machine.step(kFail) == false);
}

}  // namespace
}  // namespace ballast::checker
