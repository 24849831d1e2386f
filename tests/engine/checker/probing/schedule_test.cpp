// Lines of checks that wait for a turn or for room: in order, none for ever, those that hurry
// first.
#include "engine/checker/probing/schedule.hpp"

#include <doctest/doctest.h>

#include <chrono>
#include <cstdint>
#include <memory>
#include <vector>

namespace ballast::checker {
namespace {

using Clock = std::chrono::steady_clock;

// Instances whose checks take no time.
class World final : public Schedule::Starter, public TimerHandler {
 public:
  explicit World(std::size_t count) : schedule(timers, *this, 1) {
    for (std::uint32_t i = 0; i < count; ++i) {
      all.push_back(std::make_unique<Scheduled>());
      all[i]->index = i;
      all[i]->timer = timers.create(*this, i);
    }
  }

  Scheduled* scheduled(std::uint32_t index) override { return all[index].get(); }
  void start(std::uint32_t index, bool hurried) override {
    started.push_back(index);
    if (hurried) ++hurries;
    if (room > 0) --room;
  }
  [[nodiscard]] bool has_room(Schedule::For) const override { return room > 0; }
  void on_time(std::uint64_t user) override {
    Scheduled& one = *all[user];
    if (!schedule.on_due(one)) return;
    schedule.leave(one);
    planned.push_back(one.index);
  }

  // As a loop does, until so many were started out of lines.
  void run_until_started(std::size_t count) {
    const auto limit = Clock::now() + std::chrono::seconds(60);
    while (started.size() < count) {
      REQUIRE(Clock::now() < limit);
      timers.run_due(Clock::now());
    }
  }
  void remove(std::uint32_t index) {
    schedule.leave(*all[index]);
    timers.destroy(all[index]->timer);
    all[index].reset();
  }

  Timers timers;
  Schedule schedule;
  std::vector<std::unique_ptr<Scheduled>> all;
  std::vector<std::uint32_t> started;  // out of lines
  std::vector<std::uint32_t> planned;
  std::size_t hurries = 0;
  std::size_t room = 0;
};

TEST_CASE("of many that hurry a burst starts at once, all others in order, and none is lost") {
  constexpr std::uint32_t kMany = 6000;
  World world(kMany + 1);
  std::vector<std::uint32_t> at_once;
  for (std::uint32_t i = 0; i < kMany; ++i) {
    if (world.schedule.start_at_once(*world.all[i], /*hurried=*/true)) at_once.push_back(i);
  }
  // Nobody overtakes: who starts at once are the first ones.
  CHECK(at_once.size() >= StartPlan::kHurryBurst);
  CHECK(at_once.size() < kMany);
  CHECK(at_once.back() == at_once.size() - 1);
  // Asked for again, it keeps its place.
  CHECK_FALSE(world.schedule.start_at_once(*world.all[kMany - 1], true));
  // One that is planned does not wait for them.
  world.schedule.plan(*world.all[kMany], {});
  world.run_until_started(1);
  CHECK(world.planned == std::vector<std::uint32_t>{kMany});
  world.run_until_started(kMany - at_once.size());
  CHECK(world.hurries == world.started.size());
  for (std::size_t i = 0; i < world.started.size(); ++i)
    REQUIRE(world.started[i] == at_once.size() + i);
}

TEST_CASE("one that is pressing joins those who wait, and not before them") {
  World world(4000);
  std::uint32_t first_in_line = 0;
  while (world.schedule.start_at_once(*world.all[first_in_line], false))
    ++first_in_line;
  const std::uint32_t last = 3999;
  world.schedule.press(*world.all[last]);
  CHECK(world.all[last]->phase == Phase::pressing);
  world.run_until_started(1);
  CHECK(world.started[0] == first_in_line);
  if (world.started.size() == 1) world.run_until_started(2);
  CHECK(world.planned.size() + world.started.size() == 2);
}

TEST_CASE("room is given in the order in which it was asked for") {
  World world(6);
  for (const std::uint32_t i : {3U, 1U, 4U, 0U, 5U})
    world.schedule.wait(*world.all[i], Schedule::For::command, false);
  CHECK(world.schedule.anybody_waits(Schedule::For::command));
  CHECK_FALSE(world.schedule.anybody_waits(Schedule::For::stream));
  world.remove(1);
  world.schedule.plan_first(*world.all[4]);  // told anew: it has no place any more
  CHECK(world.started.empty());
  world.room = 1;
  world.schedule.room_again(Schedule::For::command);
  world.run_until_started(1);
  CHECK(world.started == std::vector<std::uint32_t>{3});
  // Without being told it looks by itself.
  world.room = 10;
  world.run_until_started(3);
  CHECK(world.started == std::vector<std::uint32_t>{3, 0, 5});
  CHECK_FALSE(world.schedule.anybody_waits(Schedule::For::command));
}

TEST_CASE("a line from which most go away does not grow") {
  StartLine line;
  std::vector<StartLine::Ticket> tickets;
  for (std::uint32_t i = 0; i < 1000; ++i)
    tickets.push_back(line.join(i, false));
  for (std::uint32_t i = 0; i < 1000; ++i) {
    if (i % 100 != 7) line.leave(tickets[i]);
  }
  line.leave(tickets[0]);  // a second time
  CHECK(line.size() == 10);
  for (std::uint32_t i = 7; i < 1000; i += 100) {
    const auto next = line.call();
    REQUIRE(next.has_value());
    CHECK(next->index == i);
    line.leave(next->ticket);  // has no place any more
  }
  CHECK(line.empty());
  CHECK_FALSE(line.call().has_value());
}

}  // namespace
}  // namespace ballast::checker
