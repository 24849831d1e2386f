// When a loop wakes up: arithmetic alone, no clock.
#include "engine/checker/loop/pace.hpp"

#include <doctest/doctest.h>

namespace ballast::checker {
namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;
using TimePoint = Pace::TimePoint;

constexpr TimePoint at(microseconds since) {
  return TimePoint(since);
}

// A pace that has seen much in one window.
Pace busy_pace() {
  Pace pace;
  pace.came(0, at(milliseconds(1000)));
  pace.came(Pace::kBusy, at(milliseconds(1010)));
  return pace;
}

TEST_CASE("a quiet loop wakes for everything, and takes a millisecond's timers together") {
  Pace pace;
  pace.expect(100);
  CHECK_FALSE(pace.busy());
  CHECK(pace.worth() == 1);
  CHECK(pace.patience(milliseconds(70)) == milliseconds(70));
  CHECK(pace.due(at(microseconds(1200)), at(microseconds(1000))) == at(microseconds(2000)));
  CHECK(pace.due(at(microseconds(900)), at(microseconds(1000))) == at(microseconds(900)));
}

TEST_CASE("busy is who had many events in a window, and not longer than that") {
  Pace pace = busy_pace();
  CHECK(pace.busy());
  pace.came(Pace::kBusy - 1, at(milliseconds(1020)));
  CHECK_FALSE(pace.busy());
  // As many, but over a long time.
  pace = busy_pace();
  pace.came(Pace::kBusy, at(milliseconds(1200)));
  CHECK_FALSE(pace.busy());
}

TEST_CASE("a busy loop's timers wait for the tick, also those that are due") {
  const Pace pace = busy_pace();
  CHECK(pace.due(at(microseconds(8001)), at(microseconds(8000))) == at(microseconds(12000)));
  CHECK(pace.due(at(microseconds(8001)), at(microseconds(9000))) == at(microseconds(12000)));
  CHECK(pace.due(at(microseconds(12000)), at(microseconds(12000))) == at(microseconds(12000)));
}

TEST_CASE("a busy loop waits for what it awaits together, but not for what is late") {
  Pace pace = busy_pace();
  CHECK(pace.worth() == 1);
  CHECK(pace.patience(milliseconds(2)) == milliseconds(2));
  pace.expect(40);
  CHECK(pace.worth() == 40);
  CHECK(pace.patience(milliseconds(2)) == Pace::kPatience);
  CHECK(pace.patience(microseconds(10)) == microseconds(10));
  pace.came(30, at(milliseconds(1011)));  // the time was up
  CHECK(pace.worth() == 1);
  pace.expect(10);
  pace.came(12, at(milliseconds(1012)));  // more than was asked for
  CHECK(pace.worth() == 1);
  pace.expect(Pace::kMostAwaited + 1);
  CHECK(pace.worth() == Pace::kMostAwaited);
}

}  // namespace
}  // namespace ballast::checker
