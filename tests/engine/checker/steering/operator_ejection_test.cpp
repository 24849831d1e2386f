// Ejections that an operator asked for: for how long, within which budget, and that neither checks
// nor settings nor a successor end them early.
#include <doctest/doctest.h>

#include "engine/checker/steering/steering.hpp"
#include "tests/support/steered.hpp"

namespace ballast::checker {
namespace {

using tests::Steered;

shm::Status eject(Steered& world, std::size_t instance, Milliseconds duration) {
  const auto& p = world.find(instance);
  return world.publisher->eject(p.slot, p.incarnation, duration, world.now);
}

TEST_CASE("out at once, for as long as was asked, whatever checks say") {
  Steered world(tests::steered_settings(5));
  world.tick();
  REQUIRE(eject(world, 2, Milliseconds(600'000)));
  CHECK(world.state(2).ejected);
  CHECK(world.out() == 1);
  CHECK_FALSE(world.request(1'000).contains(2));
  for (int i = 0; i < 100; ++i)
    world.check(2, true);
  world.wait(599'800);
  CHECK(world.state(2).ejected);
  world.wait(300);
  CHECK_FALSE(world.state(2).ejected);
  CHECK(world.out() == 0);
  REQUIRE(world.notices.size() == 2);
  CHECK(world.notices[0].verdict.reason == OutlierReason::by_operator);
  CHECK(world.notices[0].for_ms == 600'000);
  CHECK(world.notices[1].because == TakenBack::time);
}

TEST_CASE("0 takes it back, and asking again moves the end") {
  Steered world(tests::steered_settings(5));
  world.tick();
  REQUIRE(eject(world, 2, Milliseconds(10'000)));
  REQUIRE(eject(world, 2, Milliseconds(1'000)));
  CHECK(world.out() == 1);
  world.wait(1'200);
  CHECK_FALSE(world.state(2).ejected);
  REQUIRE(eject(world, 2, Milliseconds(10'000)));
  REQUIRE(eject(world, 2, Milliseconds(0)));
  CHECK_FALSE(world.state(2).ejected);
  CHECK(world.out() == 0);
  REQUIRE(eject(world, 2, Milliseconds(0)));  // nothing to take back
  world.tick();
  CHECK(world.notices.back().because == TakenBack::by_operator);
}

TEST_CASE("the budget holds for operators too, and the last instance stays") {
  Steered world(tests::steered_settings(5));
  world.tick();
  REQUIRE(eject(world, 0, Milliseconds(10'000)));
  const shm::Status second = eject(world, 1, Milliseconds(10'000));
  REQUIRE_FALSE(second);
  CHECK(second.error().kind == shm::ErrorKind::full);
  CHECK(second.error().to_text().find("max_ejected") != std::string::npos);
  CHECK_FALSE(world.state(1).ejected);

  Steered alone(tests::steered_settings(1));
  alone.tick();
  CHECK_FALSE(eject(alone, 0, Milliseconds(10'000)));
  CHECK(world.publisher->eject(7, 1, Milliseconds(1)).error().kind == shm::ErrorKind::not_found);
}

TEST_CASE("reloads and successors let it be, also where outliers are not looked for") {
  Settings settings = tests::steered_settings(5);
  settings.services[0].outlier.enabled = false;
  Steered world(std::move(settings));
  world.tick();
  REQUIRE(eject(world, 2, Milliseconds(3'600'000)));
  world.settings.services[0].instances[0].weight = 3;
  world.settings.services[0].outlier.ejection_max = Milliseconds(1'000);
  world.apply();
  CHECK(world.state(2).ejected);
  world.open();
  world.tick();
  CHECK(world.state(2).ejected);
  for (int i = 0; i < 100; ++i)
    world.check(2, true);
  world.wait(100'000);
  CHECK(world.state(2).ejected);
  CHECK(world.out() == 1);
  world.wait(3'502'000);
  CHECK_FALSE(world.state(2).ejected);
  CHECK(world.out() == 0);
}

}  // namespace
}  // namespace ballast::checker
