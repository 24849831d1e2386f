// A thousand deaths. Real processes are killed with SIGKILL at every named point of making a
// segment, taking over, publishing, growing, reaping, claiming, picking, reporting and leaving.
// After each, the next checker adopts, the table is whole, what is in flight is exactly what the
// living hold, no count is lost or invented, and no slot, row or file is lost for ever. Seeded:
// BALLAST_CRASH_SEED and BALLAST_CRASH_KILLS change what a run does.
#include <doctest/doctest.h>

#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <functional>
#include <iostream>
#include <iterator>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "shm/paths.hpp"
#include "tests/crash/points.hpp"
#include "tests/crash/world.hpp"

namespace ballast::crash {
namespace {

std::uint64_t number_from(const char* variable, std::uint64_t otherwise) {
  const char* text = std::getenv(variable);
  return text != nullptr ? std::strtoull(text, nullptr, 10) : otherwise;
}

unsigned below(std::mt19937_64& random, std::uint64_t limit) {
  return static_cast<unsigned>(random() % limit);
}

// As ballastd: takes the lease, adopts or makes, applies, says who is healthy, ticks, leaves.
void run_checker(const std::string& directory, const checker::Settings& settings) {
  auto lease = shm::Lease::acquire(directory, shm::Lease::Wait::no);
  if (!lease) give_up(lease.error().to_text());
  auto publisher = checker::Publisher::open(std::move(*lease), settings);
  if (!publisher) give_up(publisher.error().to_text());
  if (const shm::Status applied = publisher->apply(settings); !applied)
    give_up(applied.error().to_text());
  for (const auto& instance : std::vector(publisher->instances())) {
    publisher->set_health(instance.slot, instance.incarnation, shm::Health::up,
                          shm::Reason::passed);
  }
  publisher->tick();
  publisher->leave();
}

// One kind of thing that may be interrupted. `prepare` makes what there is to interrupt.
struct Scenario {
  std::string name;
  unsigned share;  // of all rounds, in percent
  bool fresh;      // needs a namespace in which nothing is
  std::function<void(World&, std::mt19937_64&)> prepare;
  std::function<void(World&)> act;  // in the child
};

std::vector<Scenario> scenarios() {
  const auto change = [](World& world, std::mt19937_64& random) {
    world.now() = random_membership(random, world.now().max_workers);
  };
  const auto check = [](World& world) { run_checker(world.directory(), world.now().settings()); };
  return {
      {"create", 10, true, change, check},
      {"publish", 25, false, change, check},
      {"grow", 15, false,
       [=](World& world, std::mt19937_64& random) {
         // Two growths with picks held through both would cut the first ones off, as documented.
         world.hold(0);
         world.inspect();
         world.hold(3 + below(random, 6));
         if (below(random, 2) == 0) change(world, random);
         world.now().max_workers += 1;
       },
       check},
      {"drain", 5, false,
       [=](World& world, std::mt19937_64& random) {
         world.hold(0);
         world.inspect();
         change(world, random);
         world.now().max_workers += 1;
         world.take_over().leave();  // grown, and not a tick later
         world.hold(4);              // the witness moves, and its old row is free
       },
       check},
      {"reap", 15, false,
       [](World& world, std::mt19937_64& random) {
         const unsigned dead = 1 + below(random, 3);
         for (unsigned i = 0; i < dead; ++i) {
           const unsigned kept = 1 + below(random, 5);
           const Ended ended =
               run_child({}, [&] { work(world.directory(), 4 + kept, kept, /*leave=*/false); });
           REQUIRE(ended.exit_code == 0);  // _exit, with its row live and picks in flight
         }
       },
       check},
      {"work", 30, false, [](World&, std::mt19937_64&) {},
       [](World& world) { work(world.directory(), 9, 3, /*leave=*/true); }},
  };
}

// Worlds are used for so many rounds, then wound up.
constexpr unsigned kRoundsPerWorld = 40;

std::unique_ptr<World> settled_world(std::mt19937_64& random) {
  auto world = std::make_unique<World>();
  world->now() = random_membership(random, 8);
  world->inspect();
  world->attach();
  world->hold(5);
  return world;
}

// Which points the scenario passes, found by letting it go to its end once.
Profile points_of(const Scenario& scenario, std::mt19937_64& random) {
  const auto world = scenario.fresh ? std::make_unique<World>() : settled_world(random);
  scenario.prepare(*world, random);
  const Profile profile = profile_of([&] { scenario.act(*world); });
  world->inspect();
  return profile;
}

Fate random_fate(const Profile& points, std::mt19937_64& random) {
  const auto point = std::next(points.begin(), below(random, points.size()));
  // Mostly the first few passages: loops look alike after that.
  const std::uint64_t most =
      below(random, 4) == 0 ? point->second : std::min<std::uint64_t>(point->second, 4);
  return {point->first, 1 + below(random, most), SIGKILL};
}

}  // namespace

TEST_CASE("whoever is killed, wherever, the next checker finds everything and loses nothing") {
  const std::uint64_t seed = number_from("BALLAST_CRASH_SEED", 20260722);
  const std::uint64_t wanted = number_from("BALLAST_CRASH_KILLS", 1'100);
  std::mt19937_64 random(seed);
  const std::vector<Scenario> all = scenarios();
  std::vector<Profile> points;
  for (const Scenario& scenario : all) {
    INFO("scenario ", scenario.name);
    points.push_back(points_of(scenario, random));
    REQUIRE_FALSE(points.back().empty());
  }
  std::map<std::string, std::uint64_t> killed_at;
  std::uint64_t kills = 0;
  std::uint64_t rounds = 0;
  auto world = settled_world(random);
  while (kills < wanted && rounds < 3 * wanted) {
    if (++rounds % kRoundsPerWorld == 0) {
      world->wind_up();
      world = settled_world(random);
    }
    std::size_t which = 0;
    for (unsigned dice = below(random, 100); dice >= all[which].share; ++which)
      dice -= all[which].share;
    const Scenario& scenario = all[which];
    const Fate fate = random_fate(points[which], random);
    INFO("seed ", seed, ", round ", rounds, ": ", scenario.name, " killed at ", fate.point,
         ", passage ", fate.hit);
    std::unique_ptr<World> fresh;
    if (scenario.fresh) {
      world->wind_up();  // the ledger is of one world at a time
      fresh = std::make_unique<World>();
    }
    World& here = fresh ? *fresh : *world;
    scenario.prepare(here, random);
    const Ended ended = run_child(fate, [&] { scenario.act(here); });
    // A scenario that is smaller this time may end before it dies.
    REQUIRE((ended.killed || ended.exit_code == 0));
    if (ended.killed) {
      ++kills;
      ++killed_at[fate.point];
    }
    // The successor may die as well, told to publish something else, before anybody repairs
    // anything.
    if (ended.killed && !fresh && scenario.name == "publish" && below(random, 2) == 0) {
      here.look();
      continue;
    }
    here.inspect();
    if (fresh) {
      fresh->attach();
      fresh->hold(5);
      world = std::move(fresh);
    } else {
      here.hold(below(random, 8));
    }
  }
  world->wind_up();
  CHECK(kills >= wanted);
  // Nowhere that can be died at was left out.
  for (const Profile& profile : points) {
    for (const auto& [point, passages] : profile)
      CHECK_MESSAGE((wanted < 1'000 || killed_at.contains(point)), point);
  }
  std::cout << kills << " kills in " << rounds << " rounds:";
  for (const auto& [point, count] : killed_at)
    std::cout << ' ' << point << ' ' << count;
  std::cout << std::endl;
}

TEST_CASE("a published generation keeps its bytes while its service is on the way to others") {
  // The last service dies on its way to a larger region; the next checker, which needs one of just
  // the old one's size for the first service, dies with that half written. Both are in their first
  // buffer then: the last service has published twice, the first once.
  World world;
  world.now().members[0] = 0b000001;
  world.now().members[3] = 0b000011;
  world.inspect();
  world.now().members[3] = 0b000101;
  world.inspect();
  world.attach();
  const auto publish_and_die = [&](const std::string& point) {
    const Ended ended = run_child({point, 1, SIGKILL},
                                  [&] { run_checker(world.directory(), world.now().settings()); });
    REQUIRE(ended.killed);
    world.look();
  };
  world.now().members[3] = 0b111111;
  publish_and_die("publish.begin");
  world.now().members[0] = 0b000011;
  publish_and_die("publish.lookup");
  world.inspect();
  world.wind_up();
}

}  // namespace ballast::crash
