// Steering through the publisher and a real worker: tiers, zones, panic, and the controller of
// weights.
#include "engine/checker/steering/steering.hpp"

#include <doctest/doctest.h>

#include <cmath>
#include <string>

#include "engine/orca.hpp"
#include "tests/support/steered.hpp"

namespace ballast::checker {
namespace {

using engine::Strategy;
using shm::Health;
using tests::share_of;
using tests::Steered;

Settings tiers_of(int first, int second) {
  Settings settings = tests::steered_settings(first + second);
  for (int i = first; i < first + second; ++i)
    settings.services[0].instances[static_cast<std::size_t>(i)].tier = 1;
  return settings;
}

TEST_CASE("tiers fail over in proportion, at once") {
  Steered world(tiers_of(10, 10));
  CHECK(share_of(world, 0) == doctest::Approx(100));
  for (std::size_t i = 0; i < 2; ++i)
    world.set(i, Health::down);
  CHECK(share_of(world, 0) == doctest::Approx(100));  // 80 % * 1.4
  for (std::size_t i = 2; i < 5; ++i)
    world.set(i, Health::down);
  CHECK(share_of(world, 0) == doctest::Approx(70).epsilon(0.001));
  for (std::size_t i = 5; i < 10; ++i)
    world.set(i, Health::down);
  CHECK(share_of(world, 1) == doctest::Approx(100));
  for (std::size_t i = 0; i < 10; ++i)
    world.set(i, Health::up);
  CHECK(share_of(world, 0) == doctest::Approx(100));
}

TEST_CASE("an instance set to drain takes nothing new, by any strategy, and comes back") {
  for (const engine::StrategyName& name : engine::kStrategies) {
    CAPTURE(std::string(name.text));
    Settings settings = tests::steered_settings(4);
    settings.services[0].policy.strategy = name.strategy;
    Steered world(settings);
    const auto picks_of_first = [&] {
      int picks = 0;
      for (const auto& [instance, count] : world.request(400)) {
        if (instance == 0) picks += count;
      }
      return picks;
    };
    CHECK(picks_of_first() > 0);
    for (const shm::Admin admin : {shm::Admin::drain, shm::Admin::maintenance}) {
      world.settings.services[0].instances[0].admin = admin;
      world.apply();
      CHECK(picks_of_first() == 0);
      world.set(0, Health::down);
      world.set(0, Health::up);  // a check that passes does not bring it back
      CHECK(picks_of_first() == 0);
      world.settings.services[0].instances[0].admin = shm::Admin::ready;
      world.apply();
      CHECK(picks_of_first() > 0);
    }
  }
}

TEST_CASE("workers follow the division: by keys, and in turns") {
  for (const Strategy strategy : {Strategy::maglev, Strategy::rendezvous, Strategy::round_robin,
                                  Strategy::random, Strategy::least_connections}) {
    CAPTURE(std::string(engine::to_text(strategy)));
    Settings settings = tiers_of(4, 4);
    settings.services[0].policy.strategy = strategy;
    Steered world(settings);
    const auto first_tier = [&] {
      int first = 0;
      for (const auto& [instance, picks] : world.request(10'000)) {
        if (instance < 4) first += picks;
      }
      return first / 10'000.0;
    };
    CHECK(first_tier() == 1);
    world.set(0, Health::down);
    world.set(1, Health::down);
    CHECK(std::abs(first_tier() - 0.7) < 0.02);  // four standard errors
    for (std::size_t i = 0; i < 4; ++i)
      world.set(i, Health::down);
    CHECK(first_tier() == 0);
  }
}

TEST_CASE("workers in panic: everybody is picked, or nobody") {
  Settings settings = tests::steered_settings(4);
  settings.services[0].policy.panic_percent = 50;
  SUBCASE("all") {
    Steered world(settings);
    for (std::size_t i = 0; i < 3; ++i)
      world.set(i, Health::down);
    CHECK(world.request(4'000).size() == 4);
    world.set(0, Health::up);
    CHECK(world.request(4'000).size() == 2);
  }
  SUBCASE("fail") {
    settings.services[0].policy.panic_mode = 2;
    Steered world(settings);
    for (std::size_t i = 0; i < 3; ++i)
      world.set(i, Health::down);
    CHECK(world.request(4'000).empty());
  }
}

TEST_CASE("zones: the local one first") {
  Settings settings = tests::steered_settings(8);
  settings.zone = "here";
  for (std::size_t i = 0; i < 8; ++i)
    settings.services[0].instances[i].zone = i < 4 ? "here" : "there";
  Steered world(settings);
  CHECK(share_of(world, 0) == doctest::Approx(100));
  world.set(0, Health::down);
  world.set(1, Health::down);
  CHECK(share_of(world, 0) == doctest::Approx(70).epsilon(0.001));
  // By which a bound within the zone is measured.
  const auto& parts = world.publisher->segment().table.service_loads[0].group_parts;
  CHECK(engine::part_of_group(parts, 0) == 21845);
  CHECK(engine::part_of_group(parts, 1) == 43690);
}

TEST_CASE("panic: below the threshold, until there are enough again") {
  Settings settings = tests::steered_settings(4);
  settings.services[0].policy.panic_percent = 50;
  Steered world(settings);
  CHECK(world.record().panic.load() == 0);
  for (std::size_t i = 0; i < 3; ++i)
    world.set(i, Health::down);
  CHECK(engine::panic_of(world.record().panic.load(), 0) == engine::PanicMode::all);
  world.tick();
  REQUIRE(world.notices.size() == 1);
  CHECK(world.notices[0].kind == Notice::Kind::panic_began);
  CHECK(world.notices[0].mode == engine::PanicMode::all);
  world.set(0, Health::up);
  CHECK(world.record().panic.load() == 0);
  world.tick();
  CHECK(world.notices.back().kind == Notice::Kind::panic_ended);
}

TEST_CASE("the controller: an instance at half speed ends at half its weight, and says why") {
  Settings settings = tests::steered_settings(4, Strategy::round_robin);
  settings.services[0].controller.enabled = true;
  settings.services[0].outlier.enabled = false;
  Steered world(settings);
  for (int second = 0; second < 60; ++second) {
    world.request(400, [](std::size_t i) {
      return Steered::Answer{BALLAST_SUCCESS, i == 1 ? 20'000UL : 10'000UL};
    });
    world.wait(1'000);
  }
  CHECK(world.state(1).weight == 32);
  CHECK(world.state(1).usable);
  CHECK_FALSE(world.state(1).plain);
  CHECK(world.state(0).plain);
  CHECK(world.details(1).multiplier_ppm.load() == 500'000);
  CHECK(world.details(1).weight_reason.load() ==
        static_cast<std::uint64_t>(WeightReason::observed));
  SUBCASE("a successor starts from there") {
    world.open();
    CHECK(world.state(1).weight == 32);
    world.wait(1'000);
    CHECK(world.state(1).weight == 32);
  }
  SUBCASE("switched off, everybody has its whole weight again") {
    world.settings.services[0].controller.enabled = false;
    world.apply();
    CHECK(world.state(1).plain);
  }
}

TEST_CASE("the controller: reported load comes first") {
  Settings settings = tests::steered_settings(4, Strategy::round_robin);
  settings.services[0].controller.enabled = true;
  Steered world(settings);
  for (int second = 0; second < 60; ++second) {
    const auto picks = world.request(400);
    for (std::size_t i = 0; i < 4; ++i) {
      auto& shared = world.publisher->segment().workers.instances[world.find(i).slot];
      engine::ReportedLoad load;
      const int capacity = i == 1 ? 125 : 250;  // requests a second
      load.utilisation = static_cast<std::uint32_t>(picks.at(i) * 100'000 / capacity);
      shared.reported_load.store(pack(load));
      shared.reports.fetch_add(1);
    }
    world.wait(1'000);
  }
  CHECK(world.details(1).weight_reason.load() ==
        static_cast<std::uint64_t>(WeightReason::reported));
  CHECK(world.details(1).utilisation_ppm.load() > 300'000);
  CHECK(world.state(1).weight >= 31);
  CHECK(world.state(1).weight <= 33);
}

}  // namespace
}  // namespace ballast::checker
