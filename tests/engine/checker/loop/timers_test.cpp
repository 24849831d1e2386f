// The wheel of timers against a plain list of times, on a clock of the test's own: near and far
// ones, moved, disarmed and destroyed, in small steps and over long pauses.
#include "engine/checker/loop/timers.hpp"

#include <doctest/doctest.h>

#include <chrono>
#include <map>
#include <random>
#include <vector>

namespace ballast::checker {
namespace {

using std::chrono::hours;
using std::chrono::microseconds;
using std::chrono::milliseconds;
using std::chrono::seconds;
using TimePoint = Timers::TimePoint;

// Notes who fired, and what it was told ahead.
class Recorder final : public TimerHandler {
 public:
  void on_time(std::uint64_t user) override { fired.push_back(user); }
  void fires_soon(std::uint64_t user) const noexcept override { ++told[user]; }
  void fires_next(std::uint64_t user) const noexcept override { ++told[user]; }

  std::vector<std::uint64_t> fired;
  mutable std::map<std::uint64_t, int> told;
};

// A distance in time: mostly near, some exactly alike, some beyond the wheel.
microseconds some_time(std::mt19937_64& random) {
  switch (random() % 6) {
    case 0:
      return milliseconds(random() % 20);
    case 1:
      return milliseconds(4090 + random() % 12);
    case 2:
      return seconds(random() % 100);
    case 3:
      return hours(random() % 3);
    default:
      return microseconds(random() % 3'000'000);
  }
}

TEST_CASE("every timer fires when it is due, in the order of time, and no other") {
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    CAPTURE(seed);
    std::mt19937_64 random(seed);
    Timers timers;
    Recorder recorder;
    TimePoint now = std::chrono::steady_clock::now();
    std::vector<Timers::Id> ids;
    std::map<std::uint64_t, TimePoint> armed;  // what is to come
    for (std::uint64_t i = 0; i < 200; ++i)
      ids.push_back(timers.create(recorder, i));
    for (int step = 0; step < 2000; ++step) {
      for (int moves = 0; moves < 4; ++moves) {
        const std::uint64_t i = random() % ids.size();
        if (random() % 8 == 0) {
          timers.destroy(ids[i]);
          ids[i] = timers.create(recorder, i);
          armed.erase(i);
        } else if (random() % 8 == 0) {
          timers.disarm(ids[i]);
          armed.erase(i);
        } else {
          const TimePoint when = now + some_time(random) - milliseconds(random() % 3);
          timers.arm(ids[i], when);
          armed[i] = when;
        }
      }
      TimePoint first = TimePoint::max();
      for (const auto& [i, when] : armed)
        first = std::min(first, when);
      const auto next = timers.next();
      REQUIRE(next.has_value() == !armed.empty());
      if (next) REQUIRE(*next <= first);
      // Near by it is exact, or who sleeps until then would wake up for nothing.
      if (next && first < now + seconds(2)) REQUIRE((*next == first || *next <= now));

      now += step % 100 == 99 ? some_time(random) : microseconds(random() % 6000);
      recorder.fired.clear();
      timers.run_due(now);
      TimePoint before{};
      for (const std::uint64_t i : recorder.fired) {
        REQUIRE(armed.contains(i));
        REQUIRE(armed[i] <= now);
        REQUIRE(armed[i] >= before);
        before = armed[i];
        armed.erase(i);
      }
      for (const auto& [i, when] : armed)
        REQUIRE(when > now);
    }
  }
}

TEST_CASE("who sleeps until the next timer gets to one that is hours away") {
  Timers timers;
  Recorder recorder;
  const TimePoint begin = std::chrono::steady_clock::now();
  const Timers::Id id = timers.create(recorder, 1);
  timers.arm(id, begin + hours(5) + microseconds(17));
  int wakes = 0;
  TimePoint now = begin;
  while (recorder.fired.empty() && ++wakes < 100) {
    REQUIRE(timers.next().has_value());
    now = std::max(now, *timers.next());
    timers.run_due(now);
  }
  CHECK(recorder.fired.size() == 1);
  CHECK(now == begin + hours(5) + microseconds(17));
  CHECK(wakes <= 3);
  CHECK_FALSE(timers.next().has_value());
}

TEST_CASE("a handler is told of each timer ahead, but not of those that do not fire any more") {
  Timers timers;
  Recorder recorder;
  const TimePoint now = std::chrono::steady_clock::now();
  std::vector<Timers::Id> ids;
  const Timers::Id killer = timers.create([&] {
    for (std::size_t i = 50; i < 100; ++i)
      timers.destroy(ids[i]);
  });
  timers.arm(killer, now - milliseconds(1));
  for (std::uint64_t i = 0; i < 100; ++i) {
    ids.push_back(timers.create(recorder, i));
    timers.arm(ids.back(), now + microseconds(i));
  }
  timers.run_due(now + milliseconds(1));
  CHECK(recorder.fired.size() == 50);
  for (std::uint64_t i = 10; i < 50; ++i)
    CHECK(recorder.told[i] == 2);
  CHECK_FALSE(recorder.told.contains(60));
}

}  // namespace
}  // namespace ballast::checker
