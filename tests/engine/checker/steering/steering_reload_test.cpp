// What a reload or a restart does to what steering remembers: nothing outlives the setting that it
// came from, and what is switched on again begins anew.
#include <doctest/doctest.h>

#include <string>

#include "engine/breaker_word.hpp"
#include "engine/checker/publishing/plan.hpp"
#include "engine/checker/steering/steering.hpp"
#include "tests/support/steered.hpp"

namespace ballast::checker {
namespace {

using shm::Health;
using tests::Steered;

Steered::Answer sick_is(std::size_t sick, std::size_t instance) {
  return {instance == sick ? BALLAST_SERVER_ERROR : BALLAST_SUCCESS, 10'000};
}

void slow_down(Steered& world, std::size_t slow) {
  for (int i = 0; i < 30; ++i) {
    world.request(1'000, [&](std::size_t instance) {
      return Steered::Answer{BALLAST_SUCCESS, instance == slow ? 100'000U : 10'000U};
    });
    world.wait(1'000);
  }
}

TEST_CASE("a multiplier does not outlive the controller, whoever switched it off") {
  Settings settings = tests::steered_settings(3);
  settings.services[0].outlier.enabled = false;
  settings.services[0].controller.enabled = true;
  settings.services[0].controller.blackout = Milliseconds(0);
  Steered world(settings);
  slow_down(world, 1);
  REQUIRE(world.details(1).multiplier_ppm.load() < 300'000);
  REQUIRE(world.state(1).weight < 32);
  world.settings.services[0].controller.enabled = false;
  SUBCASE("a reload") {
    world.apply();
  }
  SUBCASE("a successor with another configuration") {
    world.open();
  }
  CHECK(world.state(1).plain);
  CHECK(world.details(1).multiplier_ppm.load() == 1'000'000);
  CHECK(world.details(1).weight_reason.load() == 0);
  world.settings.services[0].controller.enabled = true;
  world.apply();
  CHECK(world.state(1).plain);
}

TEST_CASE("outlier detection that was off judges nobody by what happened meanwhile") {
  Steered world(tests::steered_settings(5));
  world.tick();
  world.wait(10'100);
  world.settings.services[0].outlier.enabled = false;
  world.apply();
  world.request(2'000, [](std::size_t i) { return sick_is(2, i); });
  world.wait(60'000);  // long over
  world.settings.services[0].outlier.enabled = true;
  world.apply();
  world.wait(10'100);
  CHECK(world.notices.empty());
  world.request(2'000, [](std::size_t i) { return sick_is(3, i); });
  world.wait(10'100);
  REQUIRE(world.notices.size() == 1);
  CHECK(world.notices[0].instance == 3);
}

TEST_CASE("a shorter interval holds from the reload on, not after the longer one") {
  Settings settings = tests::steered_settings(5);
  settings.services[0].outlier.interval = Milliseconds(3'600'000);
  Steered world(settings);
  world.tick();
  world.settings.services[0].outlier.interval = Milliseconds(10'000);
  world.apply();
  world.request(2'000, [](std::size_t i) { return sick_is(2, i); });
  world.wait(10'100);
  REQUIRE(world.notices.size() == 1);
  CHECK(world.notices[0].instance == 2);
}

TEST_CASE("an ejection lasts no longer than the maximum that a reload set") {
  Settings settings = tests::steered_settings(5);
  settings.services[0].outlier.ejection = Milliseconds(3'600'000);
  settings.services[0].outlier.ejection_max = Milliseconds(86'400'000);
  Steered world(settings);
  world.tick();
  world.request(2'000, [](std::size_t i) { return sick_is(2, i); });
  world.wait(10'100);
  REQUIRE(world.state(2).ejected);
  world.settings.services[0].outlier.ejection = Milliseconds(5'000);
  world.settings.services[0].outlier.ejection_max = Milliseconds(10'000);
  world.apply();
  CHECK(world.state(2).ejected);
  world.wait(11'100);
  CHECK_FALSE(world.state(2).ejected);
  CHECK(world.out() == 0);
}

TEST_CASE("a reload that allows fewer out takes back who is one too many") {
  Settings settings = tests::steered_settings(5);
  Steered world(settings);
  world.tick();
  world.request(2'000, [](std::size_t i) { return sick_is(2, i); });
  world.wait(10'100);
  REQUIRE(world.state(2).ejected);
  SUBCASE("nobody may be out") {
    world.settings.services[0].policy.max_ejected_percent = 0;
  }
  SUBCASE("only that one is left") {
    auto& instances = world.settings.services[0].instances;
    instances = {instances[2]};
  }
  world.apply();
  const std::size_t left = world.settings.services[0].instances.size() == 1 ? 0 : 2;
  CHECK_FALSE(world.state(left).ejected);
  CHECK(world.state(left).usable);
  CHECK(world.out() == 0);
}

TEST_CASE("news of before a reload name nothing of after it") {
  Settings settings = tests::steered_settings(2);
  settings.services[0].policy.panic_percent = 60;
  settings.services[0].check.first_check = FirstCheck::decides;
  settings.services.push_back(settings.services[0]);
  settings.services[1].name = "api";
  Steered world(settings);
  for (const auto& p : std::vector(world.publisher->instances())) {
    world.publisher->set_health(p.slot, p.incarnation, Health::up, shm::Reason::passed, world.now);
  }
  world.tick();
  world.notices.clear();
  for (const auto& p : std::vector(world.publisher->instances())) {
    if (p.service != 1) continue;
    world.publisher->set_health(p.slot, p.incarnation, Health::down, shm::Reason::timeout,
                                world.now);
  }
  world.settings.services.pop_back();
  SUBCASE("they are asked for before") {
    const auto notices = world.publisher->take_notices();
    REQUIRE(notices.size() == 1);
    CHECK(notices[0].service == 1);
  }
  SUBCASE("nobody asks") {}
  world.apply();
  world.tick();
  for (const Notice& notice : world.notices)
    CHECK(notice.service < world.settings.services.size());
}

TEST_CASE("no panic is called while nobody has been checked") {
  Settings settings = tests::steered_settings(4);
  settings.services[0].policy.panic_percent = 60;
  settings.services[0].check.first_check = FirstCheck::decides;
  Steered world(settings);
  world.tick();
  CHECK(world.notices.empty());
  CHECK(world.record().panic.load() == 0);
  world.set(0, Health::down);
  world.set(1, Health::up);
  world.set(2, Health::up);
  world.set(3, Health::up);
  world.tick();
  CHECK(world.notices.empty());
  world.set(1, Health::down);
  world.tick();
  REQUIRE(world.notices.size() == 1);
  CHECK(world.notices[0].kind == Notice::Kind::panic_began);
}

TEST_CASE("a breaker that is switched off is closed, and the next pick uses the instance") {
  Settings settings = tests::steered_settings(4);
  settings.services[0].policy.breaker_consecutive = 5;
  Steered world(settings);
  world.tick();
  world.request(100, [](std::size_t i) { return sick_is(1, i); });
  REQUIRE(world.out() == 1);
  SUBCASE("off") {
    world.settings.services[0].policy.breaker_consecutive = 0;
  }
  SUBCASE("nobody may be out") {
    world.settings.services[0].policy.max_ejected_percent = 0;
  }
  SUBCASE("only that one is left") {
    auto& instances = world.settings.services[0].instances;
    instances = {instances[1]};
  }
  world.apply();
  CHECK(world.out() == 0);
  const std::size_t left = world.settings.services[0].instances.size() == 1 ? 0 : 1;
  CHECK(world.request(100).contains(left));
}

TEST_CASE("a breaker that is switched on again counts from the beginning") {
  Settings settings = tests::steered_settings(4);
  settings.services[0].outlier.enabled = false;
  settings.services[0].policy.breaker_consecutive = 5;
  Steered world(settings);
  world.tick();
  int failures = 0;
  const auto four_fail = [&](std::size_t i) {
    return sick_is(i == 1 && failures++ < 4 ? 1 : 9, i);
  };
  while (failures < 4)
    world.request(1, four_fail);
  world.settings.services[0].policy.breaker_consecutive = 0;
  world.apply();
  world.settings.services[0].policy.breaker_consecutive = 5;
  world.apply();
  failures = 0;
  while (failures < 4)
    world.request(1, four_fail);
  CHECK(world.out() == 0);
}

TEST_CASE(
    "an instance that leaves with an open breaker gives its place in the budget back at once") {
  Settings settings = tests::steered_settings(4);
  settings.services[0].policy.breaker_consecutive = 5;
  Steered world(settings);
  world.tick();
  world.request(100, [](std::size_t i) { return sick_is(1, i); });
  REQUIRE(world.out() == 1);
  auto& instances = world.settings.services[0].instances;
  instances.erase(instances.begin() + 1);
  SUBCASE("in the same segment") {}
  SUBCASE("in a larger one") {
    world.settings.max_workers = 64;
  }
  world.apply();
  CHECK(world.out() == 0);
}

TEST_CASE("what was opened under the policy before closes within a tick") {
  Steered world(tests::steered_settings(4));
  world.tick();
  const auto& p = world.find(1);
  const auto& workers = world.publisher->segment().workers;
  REQUIRE(engine::take_budget(workers.services[0].open_breakers, 1));
  workers.breakers[p.slot].store(engine::pack(engine::Breaker{
      engine::BreakerState::open, 0, 1, engine::tenant_of(p.incarnation), 1'000'000'000}));
  world.tick();
  CHECK(world.out() == 0);
  CHECK(world.request(100).contains(1));
}

TEST_CASE("a new service is in nobody else's panic, not even before its own division is known") {
  Steered world(tests::steered_settings(3));
  const shm::CheckerSegment& segment = world.publisher->segment();
  // What a service that is gone left in the record that comes next.
  segment.table.services[1].panic.store(engine::pack_panic(engine::PanicMode::fail, 0xff));
  segment.table.services[1].shares[0].store(0x1234'5678);
  Settings wanted = world.settings;
  wanted.services.push_back(wanted.services[0]);
  wanted.services[1].name = "api";
  KeptTables kept;
  const auto plan = make_plan(segment.table, wanted, kept);
  REQUIRE(plan);
  REQUIRE(plan->services[1].record == 1);
  carry_out(*plan, wanted, {}, segment.table, segment.workers);
  CHECK(segment.table.services[1].panic.load() == 0);
  CHECK(segment.table.services[1].shares[0].load() == 0);
}

TEST_CASE("what backends reported goes along into a larger segment") {
  Steered world(tests::steered_settings(3));
  const std::uint16_t slot = world.find(1).slot;
  shm::SharedInstanceRecord& before = world.publisher->segment().workers.instances[slot];
  before.reported_load.store(4711);
  before.reports.store(12);
  const std::uint64_t segment = world.publisher->segment_id();
  world.settings.max_workers = 64;
  world.apply();
  REQUIRE(world.publisher->segment_id() != segment);
  const auto& after = world.publisher->segment().workers.instances[world.find(1).slot];
  CHECK(after.reported_load.load() == 4711);
  CHECK(after.reports.load() == 12);
}

}  // namespace
}  // namespace ballast::checker
