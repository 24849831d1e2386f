// Thousands of checks that go by a plan, on a clock of the test's own: how many ever start within
// 10 ms, after a start, while all goes its way, when everything changes its rhythm at once, and
// when the process stood still.
#include "engine/checker/probing/start_plan.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <chrono>
#include <queue>
#include <vector>

namespace ballast::checker {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

// Checks that end at once, on one thread that wakes up every tick, as the loop does.
class World {
 public:
  World(std::size_t instances, milliseconds interval) : interval_(interval) {
    for (std::size_t i = 0; i < instances; ++i)
      plan_.add(interval);
    first_.assign(instances, true);
    for (std::size_t i = 0; i < instances; ++i)
      plan(i, Delay{});
  }

  // What a check that ends now is to wait for the next one.
  Delay next{};
  bool phases = true;  // after the first check, any time within the interval
  milliseconds tick{1};

  void run_until(TimePoint end) {
    while (now_ < end) {
      now_ += tick;
      turn();
    }
  }
  void stand_still(milliseconds time) {
    now_ += time;
    turn();
  }
  // As if all were asked for at once.
  void replan_all(const Delay& delay) {
    std::priority_queue<Entry> none;
    std::swap(due_, none);
    for (; !none.empty(); none.pop()) {
      plan_.release(none.top().slot);
      plan(none.top().index, delay);
    }
  }

  [[nodiscard]] TimePoint now() const { return now_; }
  [[nodiscard]] const std::vector<TimePoint>& starts() const { return starts_; }
  [[nodiscard]] std::size_t starts_since(TimePoint from) const {
    return static_cast<std::size_t>(starts_.end() -
                                    std::lower_bound(starts_.begin(), starts_.end(), from));
  }

  // The most that started within any 10 ms since `from`.
  [[nodiscard]] std::size_t most(TimePoint from = {}) const {
    std::size_t most = 0;
    auto first = std::lower_bound(starts_.begin(), starts_.end(), from);
    for (auto last = first; last != starts_.end(); ++last) {
      while (*last - *first >= milliseconds(10))
        ++first;
      most = std::max(most, static_cast<std::size_t>(last - first) + 1);
    }
    return most;
  }

 private:
  struct Entry {
    TimePoint when;
    std::size_t index;
    StartPlan::Slot slot;
    TimePoint wanted;
    bool operator<(const Entry& other) const { return when > other.when; }
  };

  void plan(std::size_t index, const Delay& delay) {
    const auto place = plan_.plan(now_, delay, random_);
    due_.push({place.when, index, place.slot, place.when});
  }
  void put_off(const Entry& entry) {
    const auto place = plan_.plan(now_, {Microseconds(1000), Microseconds(3000)}, random_);
    due_.push({place.when, entry.index, place.slot, entry.wanted});
  }

  void turn() {
    std::vector<Entry> due;
    for (; !due_.empty() && due_.top().when <= now_; due_.pop())
      due.push_back(due_.top());
    for (const Entry& entry : due) {
      plan_.release(entry.slot);
      if (!plan_.may_start(now_)) {
        put_off(entry);
        continue;
      }
      starts_.push_back(now_);
      const bool was_first = first_[entry.index];
      first_[entry.index] = false;
      const auto late = std::chrono::duration_cast<Microseconds>(now_ - entry.wanted);
      plan(entry.index,
           was_first && phases ? Delay{Microseconds(1), interval_} : after(next, late));
    }
  }

  milliseconds interval_;
  StartPlan plan_;
  Random random_{5};
  TimePoint now_{seconds(1000)};
  std::vector<bool> first_;
  std::priority_queue<Entry> due_;
  std::vector<TimePoint> starts_;
};

TEST_CASE("10,000 a second: never more than 1.5 times what is even, from the start on") {
  World world(10'000, seconds(1));
  world.next = with_jitter(seconds(1), 10);
  const TimePoint begin = world.now();
  world.run_until(begin + seconds(5));
  CHECK(world.starts().size() > 49'000);
  CHECK(world.starts().size() < 56'000);
  CHECK(world.most() <= 150);
  // Everybody was checked within the first interval.
  CHECK(world.starts()[9'999] - begin <= seconds(1));
}

TEST_CASE("the mean of the intervals is the one that was asked for") {
  struct Case {
    std::size_t instances;
    milliseconds interval, tick;
    std::uint32_t jitter;
  };
  for (const Case& one :
       {Case{10'000, seconds(1), milliseconds(4), 10}, Case{10'000, seconds(1), milliseconds(4), 0},
        Case{20'000, seconds(2), milliseconds(4), 50}, Case{1'000, seconds(1), milliseconds(1), 10},
        Case{100, seconds(2), milliseconds(1), 25}}) {
    CAPTURE(one.instances);
    CAPTURE(one.jitter);
    World world(one.instances, one.interval);
    world.tick = one.tick;
    world.next = with_jitter(one.interval, one.jitter);
    world.run_until(world.now() + 4 * one.interval);
    const TimePoint begin = world.now();
    world.run_until(begin + 20 * one.interval);
    const double asked_for = 20.0 * static_cast<double>(one.instances);
    const double share = static_cast<double>(world.starts_since(begin)) / asked_for;
    CHECK(share > 0.99);
    CHECK(share < 1.01);
  }
}

TEST_CASE("all at once in a hurry, and back again: even so") {
  World world(10'000, seconds(1));
  world.next = with_jitter(seconds(1), 10);
  world.run_until(world.now() + seconds(3));
  // All are to be checked again in 450 to 550 ms, over and over: more than there is room for.
  world.next = with_jitter(milliseconds(500), 10);
  world.replan_all(world.next);
  world.run_until(world.now() + seconds(3));
  world.next = with_jitter(seconds(1), 10);
  world.run_until(world.now() + seconds(3));
  CHECK(world.most() <= 150);
  CHECK(world.starts().size() > 85'000);
}

TEST_CASE("after standing still what is due is made up for, but not in one go") {
  World world(10'000, seconds(1));
  world.next = with_jitter(seconds(1), 10);
  world.run_until(world.now() + seconds(3));
  for (const milliseconds pause : {milliseconds(30), milliseconds(300), milliseconds(3000)}) {
    world.stand_still(pause);
    world.run_until(world.now() + seconds(3));
  }
  CHECK(world.most() <= 150);
  const TimePoint late = world.now() - seconds(1);
  CHECK(world.starts_since(late) > 9'000);
}

TEST_CASE("a few are checked as soon as they are wanted") {
  World world(6, seconds(2));
  world.next = {seconds(2), seconds(2)};
  world.phases = false;
  const TimePoint begin = world.now();
  world.run_until(begin + milliseconds(6));
  CHECK(world.starts().size() == 6);
  world.run_until(begin + seconds(9));
  CHECK(world.starts().size() == 30);
}

TEST_CASE("without jitter a period is kept, and what is far away is left to chance") {
  StartPlan plan;
  Random random(1);
  const TimePoint now(seconds(50));
  plan.add(seconds(1));
  const auto exact = plan.plan(now, {Microseconds(123'456), Microseconds(123'456)}, random);
  CHECK(exact.when == now + Microseconds(123'456));
  const auto far = plan.plan(now, {seconds(3000), seconds(3600)}, random);
  CHECK(far.when >= now + seconds(3000));
  CHECK(far.when <= now + seconds(3600));
  plan.release(far.slot);  // was in no slot
  plan.release(exact.slot);
  plan.release(12345);  // nor is this one
  CHECK(plan.may_start(now));
}

TEST_CASE("sixty thousand that start at once, and a clock that jumps") {
  World world(60'000, seconds(10));
  world.next = with_jitter(seconds(10), 10);
  world.run_until(world.now() + seconds(12));
  CHECK(world.starts().size() >= 60'000);
  CHECK(world.most() <= 90);
  world.stand_still(std::chrono::hours(10));
  world.run_until(world.now() + seconds(1));
  CHECK(world.most() <= 90);
}

TEST_CASE("what waits for no plan starts in a burst, and then so many a millisecond") {
  StartPlan plan;
  TimePoint now(seconds(50));
  std::size_t started = 0;
  while (plan.may_hurry(now))
    ++started;
  CHECK(started == StartPlan::kHurryBurst);
  for (int ms = 0; ms < 50; ++ms) {
    now += milliseconds(1);
    started = 0;
    while (plan.may_hurry(now))
      ++started;
    CHECK(started == StartPlan::kHurryPerMs);
  }
  // It takes nothing from what is planned, and long quiet earns no more than the burst.
  CHECK(plan.may_start(now));
  now += seconds(100);
  started = 0;
  while (plan.may_hurry(now))
    ++started;
  CHECK(started == StartPlan::kHurryBurst);
}

}  // namespace
}  // namespace ballast::checker
