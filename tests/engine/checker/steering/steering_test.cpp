// Steering through the publisher and a real worker: ejections, slow starts, and what a successor
// makes of them.
#include "engine/checker/steering/steering.hpp"

#include <doctest/doctest.h>

#include <cmath>
#include <string>
#include <vector>

#include "engine/breaker_word.hpp"
#include "tests/support/steered.hpp"

namespace ballast::checker {
namespace {

using engine::Strategy;
using shm::Health;
using tests::share_of;
using tests::Steered;

Steered::Answer sick_is(std::size_t sick, std::size_t instance) {
  return {instance == sick ? BALLAST_SERVER_ERROR : BALLAST_SUCCESS, 10'000};
}

TEST_CASE("a sick instance is ejected, its traffic goes elsewhere, and it comes back in time") {
  Steered world(tests::steered_settings(5));
  world.tick();
  world.request(2'000, [](std::size_t i) { return sick_is(2, i); });
  world.wait(9'900);
  CHECK(world.notices.empty());
  world.wait(200);
  REQUIRE(world.notices.size() == 1);
  CHECK(world.notices[0].kind == Notice::Kind::ejected);
  CHECK(world.notices[0].instance == 2);
  CHECK(world.notices[0].times == 1);
  CHECK(world.notices[0].for_ms >= 30'000);
  CHECK(world.notices[0].for_ms <= 33'000);
  CHECK(world.state(2).ejected);
  CHECK_FALSE(world.state(2).usable);
  CHECK(world.state(2).health == Health::unknown);  // which is its own matter
  CHECK(world.details(2).ejections.load() == 1);
  CHECK(world.details(2).ejected_until_ns.load() != 0);
  CHECK(world.out() == 1);
  const auto picks = world.request(2'000);
  CHECK_FALSE(picks.contains(2));
  CHECK(picks.size() == 4);
  world.wait(29'000);
  CHECK(world.state(2).ejected);
  world.wait(4'500);
  CHECK_FALSE(world.state(2).ejected);
  CHECK(world.state(2).plain);
  CHECK(world.out() == 0);
  REQUIRE(world.notices.size() == 2);
  CHECK(world.notices[1].kind == Notice::Kind::taken_back);
  CHECK(world.notices[1].because == TakenBack::time);
  CHECK(world.request(2'000).contains(2));
}

TEST_CASE("passing checks take it back early; the next time it takes twice as many") {
  Steered world(tests::steered_settings(3));
  for (const int checks : {2, 4}) {
    world.tick();
    world.wait(10'100);
    world.request(2'000, [](std::size_t i) { return sick_is(0, i); });
    world.wait(10'100);
    REQUIRE(world.state(0).ejected);
    world.wait(10'100);  // never before an interval is over
    for (int i = 1; i < checks; ++i)
      world.check(0, true);
    world.tick();
    CHECK(world.state(0).ejected);
    world.check(0, true);
    world.tick();
    CHECK_FALSE(world.state(0).ejected);
    CHECK(world.notices.back().because == TakenBack::checks_passed);
  }
}

TEST_CASE("the budget: no more than the cap, whoever takes it") {
  Steered world(tests::steered_settings(20));
  world.tick();
  world.request(20'000, [](std::size_t i) { return sick_is(i < 4 ? i : 99, i); });
  SUBCASE("two of twenty") {
    world.wait(10'100);
    CHECK(world.out() == 2);
    CHECK(world.notices.size() == 2);
  }
  SUBCASE("workers' breakers have taken it all") {
    world.settings.services[0].policy.breaker_requests = 4'000;
    world.settings.services[0].policy.breaker_rate_percent = 100;
    world.apply();
    const auto& workers = world.publisher->segment().workers;
    for (const std::size_t instance : {std::size_t{18}, std::size_t{19}}) {
      const auto& p = world.find(instance);
      const engine::Breaker open{engine::BreakerState::open, 0, 1, engine::tenant_of(p.incarnation),
                                 1};
      REQUIRE(engine::take_budget(workers.services[0].open_breakers, 2));
      workers.breakers[p.slot].store(engine::pack(open));
    }
    world.wait(10'100);
    CHECK(world.notices.empty());
    CHECK(world.out() == 2);
  }
}

TEST_CASE("two instances that both fail both stay") {
  Steered world(tests::steered_settings(2));
  world.tick();
  world.request(1'000, [](std::size_t) { return Steered::Answer{BALLAST_TIMEOUT, 1'000}; });
  world.wait(20'000);
  CHECK(world.notices.empty());
  CHECK(world.out() == 0);
}

TEST_CASE("a reload keeps an ejection, and one that switches detection off ends it") {
  Steered world(tests::steered_settings(5));
  world.tick();
  world.request(2'000, [](std::size_t i) { return sick_is(2, i); });
  world.wait(10'100);
  REQUIRE(world.state(2).ejected);
  world.settings.services[0].instances[0].weight = 2;
  world.apply();
  CHECK(world.state(2).ejected);
  CHECK(world.out() == 1);
  SUBCASE("switched off") {
    world.settings.services[0].outlier.enabled = false;
    world.apply();
    CHECK_FALSE(world.state(2).ejected);
    CHECK(world.out() == 0);
  }
  SUBCASE("the instance is removed: its place in the budget is free") {
    world.settings.services[0].instances.erase(world.settings.services[0].instances.begin() + 2);
    world.apply();
    CHECK(world.out() == 0);
  }
}

TEST_CASE("a successor goes on with ejections and ramps, and flaps nothing") {
  Settings settings = tests::steered_settings(5);
  settings.services[0].slow_start.window = Milliseconds(60'000);
  Steered world(settings);
  world.tick();
  world.request(2'000, [](std::size_t i) { return sick_is(2, i); });
  world.wait(10'100);
  world.set(1, Health::down);
  world.set(1, Health::up);
  world.wait(30'000);
  REQUIRE(world.state(2).ejected);
  REQUIRE(world.state(1).weight < 64);
  std::vector<shm::State> before;
  for (std::size_t i = 0; i < 5; ++i)
    before.push_back(world.state(i));
  world.open();
  for (std::size_t i = 0; i < 5; ++i) {
    CHECK(world.state(i).usable == before[i].usable);
    CHECK(world.state(i).ejected == before[i].ejected);
    CHECK(std::abs(int{world.state(i).weight} - int{before[i].weight}) <= 1);
  }
  CHECK(world.out() == 1);
  world.wait(34'000);
  CHECK_FALSE(world.state(2).ejected);
  CHECK(world.out() == 0);
  CHECK(world.state(1).plain);        // its minute is over
  CHECK_FALSE(world.state(2).plain);  // back from ejection: slowly
}

TEST_CASE("a growth into another segment takes ejections, ramps and the budget along") {
  Settings settings = tests::steered_settings(5);
  settings.services[0].slow_start.window = Milliseconds(60'000);
  Steered world(settings);
  world.tick();
  world.request(2'000, [](std::size_t i) { return sick_is(2, i); });
  world.wait(10'100);
  world.set(1, Health::down);
  world.set(1, Health::up);
  REQUIRE(world.state(2).ejected);
  const std::uint64_t segment = world.publisher->segment_id();
  world.settings.max_workers = 64;
  world.apply();
  REQUIRE(world.publisher->segment_id() != segment);
  CHECK(world.state(2).ejected);
  CHECK(world.details(2).ejected_until_ns.load() != 0);
  CHECK(world.out() == 1);
  CHECK(world.state(1).weight == 6);
  CHECK_FALSE(world.request(2'000).contains(2));
  world.wait(34'000);
  CHECK_FALSE(world.state(2).ejected);
  CHECK(world.out() == 0);
}

TEST_CASE("slow start: what was down starts at a tenth and grows to the whole; a start does not") {
  Settings settings = tests::steered_settings(4);
  settings.services[0].slow_start.window = Milliseconds(10'000);
  Steered world(settings);
  for (std::size_t i = 0; i < 4; ++i) {
    world.set(i, Health::up);
    CHECK(world.state(i).plain);
  }
  world.set(3, Health::down);
  CHECK_FALSE(world.state(3).usable);
  world.set(3, Health::up);
  CHECK(world.state(3).usable);
  CHECK_FALSE(world.state(3).plain);
  CHECK(world.state(3).weight == 6);
  world.wait(5'000);
  world.tick();
  CHECK(world.state(3).weight == 32);
  CHECK(world.details(3).ramp_since_ns.load() != 0);
  world.wait(5'000);
  world.tick();
  CHECK(world.state(3).plain);
  CHECK(world.details(3).ramp_since_ns.load() == 0);
}

TEST_CASE("slow start: workers give it its share, of its own keys, and nobody else's move") {
  Settings settings = tests::steered_settings(4);
  settings.services[0].slow_start.window = Milliseconds(10'000);
  Steered world(settings);
  constexpr int kKeys = 20'000;
  const auto place = [&] {
    world.next_key = 0;
    std::vector<std::size_t> places;
    for (int i = 0; i < kKeys; ++i)
      places.push_back(world.request(1).begin()->first);
    return places;
  };
  const auto whole = place();
  world.set(3, Health::down);
  world.set(3, Health::up);
  world.wait(5'000);
  world.tick();
  REQUIRE(world.state(3).weight == 32);
  const auto half = place();
  int own = 0;
  int kept = 0;
  int moved = 0;
  for (std::size_t i = 0; i < kKeys; ++i) {
    own += whole[i] == 3;
    kept += whole[i] == 3 && half[i] == 3;
    moved += whole[i] != 3 && half[i] != whole[i];
  }
  CHECK(moved == 0);
  // Half of some 5000, within four standard errors.
  CHECK(std::abs(kept - own / 2) < 4 * std::sqrt(own / 4.0));
}

TEST_CASE("a breaker that workers open and close: no capacity meanwhile, then a slow start") {
  Settings settings = tests::steered_settings(4);
  settings.services[0].slow_start.window = Milliseconds(10'000);
  settings.services[0].policy.breaker_consecutive = 5;
  for (std::size_t i = 2; i < 4; ++i)
    settings.services[0].instances[i].tier = 1;
  Steered world(settings);
  world.tick();
  const std::uint16_t slot = world.find(0).slot;
  const auto& workers = world.publisher->segment().workers;
  engine::Breaker breaker{engine::BreakerState::open, 0, 1,
                          engine::tenant_of(world.find(0).incarnation), 1};
  REQUIRE(engine::take_budget(workers.services[0].open_breakers, 1));
  workers.breakers[slot].store(engine::pack(breaker));
  world.tick();
  CHECK(share_of(world, 0) == doctest::Approx(70).epsilon(0.001));
  CHECK(world.state(0).plain);  // the breaker is the workers'
  breaker.state = engine::BreakerState::closed;
  const auto taken = engine::held_budget(workers.services[0].open_breakers);
  workers.breakers[slot].store(engine::pack(breaker));
  engine::give_budget(workers.services[0].open_breakers, taken);
  world.tick();
  CHECK(share_of(world, 0) == doctest::Approx(100));
  CHECK(world.state(0).weight == 6);
}

TEST_CASE("slow start: a newcomer among others starts slowly") {
  Settings settings = tests::steered_settings(4);
  settings.services[0].slow_start.window = Milliseconds(10'000);
  const InstanceSettings last = settings.services[0].instances.back();
  settings.services[0].instances.pop_back();
  Steered world(settings);
  world.settings.services[0].instances.push_back(last);
  SUBCASE("used at once") {
    world.apply();
    CHECK(world.state(3).weight == 6);
  }
  SUBCASE("used once it was checked") {
    world.settings.services[0].check.first_check = FirstCheck::decides;
    for (std::size_t i = 0; i < 3; ++i)
      world.set(i, Health::up);
    world.apply();
    CHECK_FALSE(world.state(3).usable);
    world.set(3, Health::up);
    CHECK(world.state(3).weight == 6);
  }
  CHECK(world.state(0).plain);
  world.wait(10'100);
  CHECK(world.state(3).plain);
}

}  // namespace
}  // namespace ballast::checker
