// Steering through the publisher, with workers that pick and report by real handles: what a sick
// instance, a tier that fails, a newcomer and a successor see of it. Time is passed in.
#include "engine/checker/steering.hpp"

#include <doctest/doctest.h>

#include <cmath>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "engine/breaker_word.hpp"
#include "engine/checker/publisher.hpp"
#include "engine/ejection_budget.hpp"
#include "engine/group_word.hpp"
#include "engine/handle.hpp"
#include "engine/orca.hpp"
#include "tests/support/temp_dir.hpp"

namespace ballast::checker {
namespace {

using engine::Strategy;
using shm::Health;

// A publisher and a worker in one namespace, and a clock that only moves when told to.
struct World {
  explicit World(Settings with) : settings(std::move(with)) {
    open();
    auto attached = engine::Handle::attach(dir.path());
    REQUIRE(attached);
    worker = std::move(*attached);
    REQUIRE(worker->find_service("web", service) == BALLAST_OK);
  }

  // Another checker takes over, as after the death of this one.
  void open() {
    publisher.reset();
    auto lease = shm::Lease::acquire(dir.path(), shm::Lease::Wait::no);
    REQUIRE_MESSAGE(lease, lease.error().to_text());
    auto opened = Publisher::open(std::move(*lease), settings);
    REQUIRE_MESSAGE(opened, opened.error().to_text());
    publisher = std::make_unique<Publisher>(std::move(*opened));
    apply();
  }
  void apply() {
    const auto applied = publisher->apply(settings, now);
    REQUIRE_MESSAGE(applied, applied.error().to_text());
  }

  void tick() {
    for (Notice& notice : publisher->tick(now).notices)
      notices.push_back(notice);
  }
  // Time goes by in ticks.
  void wait(std::uint64_t ms) {
    for (const std::uint64_t until = now + ms; now < until; now += 100)
      tick();
  }

  void set(std::size_t instance, Health health) {
    const auto& p = find(instance);
    publisher->set_health(p.slot, p.incarnation, health,
                          health == Health::up ? shm::Reason::passed : shm::Reason::timeout, now);
  }
  void check(std::size_t instance, bool passed) {
    const auto& p = find(instance);
    publisher->record_check(p.slot, p.incarnation, passed, 1000);
  }
  [[nodiscard]] const PublishedInstance& find(std::size_t instance) const {
    for (const auto& p : publisher->instances()) {
      if (p.instance == instance) return p;
    }
    FAIL("no such instance");
    return publisher->instances().front();
  }
  [[nodiscard]] shm::State state(std::size_t instance) const {
    return shm::unpack(publisher->segment().table.states[find(instance).slot].load());
  }
  [[nodiscard]] const shm::LoadRecord& details(std::size_t instance) const {
    return publisher->segment().table.load_details[find(instance).slot];
  }
  [[nodiscard]] const shm::ServiceRecord& record() const {
    return publisher->segment().table.services[0];
  }
  [[nodiscard]] std::uint32_t out() const {
    const auto& shared = publisher->segment().workers.services[0];
    return engine::unpack_budget(shared.open_breakers.load()).count;
  }

  // `count` requests by keys, each of which ends as `answer` says; returns picks by instance.
  struct Answer {
    ballast_outcome_t outcome = BALLAST_SUCCESS;
    std::uint64_t latency_us = 10'000;
  };
  template <class F>
  std::map<std::size_t, int> request(int count, F&& answer) {
    std::map<std::size_t, int> picks;
    for (int i = 0; i < count; ++i) {
      const std::string key = "key " + std::to_string(next_key++);
      ballast_pick_t pick = BALLAST_PICK_INIT;
      if (worker->pick(service, key.data(), key.size(), pick) != BALLAST_OK) continue;
      std::size_t instance = 0;
      for (const auto& p : publisher->instances()) {
        if (p.slot == pick.slot) instance = p.instance;
      }
      ++picks[instance];
      const Answer a = answer(instance);
      REQUIRE(worker->report(pick, a.outcome, a.latency_us) == BALLAST_OK);
    }
    return picks;
  }
  std::map<std::size_t, int> request(int count) {
    return request(count, [](std::size_t) { return Answer{}; });
  }

  tests::TempDir dir;
  Settings settings;
  std::uint64_t now = 1'000'000;
  std::unique_ptr<Publisher> publisher;
  std::unique_ptr<engine::Handle> worker;
  ballast_service_t service = 0;
  std::vector<Notice> notices;
  int next_key = 0;
};

Settings settings_of(int count, Strategy strategy = Strategy::maglev) {
  Settings settings;
  settings.max_workers = 8;
  ServiceSettings service;
  service.name = "web";
  service.policy.strategy = strategy;
  // Breakers would be quicker than the interval.
  service.policy.breaker_consecutive = 0;
  service.policy.breaker_rate_percent = 0;
  service.check.first_check = FirstCheck::up;
  for (int i = 0; i < count; ++i) {
    const std::string text = "127.1.0." + std::to_string(1 + i) + ":8080";
    InstanceSettings instance;
    instance.endpoint = *shm::parse_endpoint(text);
    instance.text = text;
    service.instances.push_back(instance);
  }
  settings.services.push_back(service);
  return settings;
}

World::Answer sick_is(std::size_t sick, std::size_t instance) {
  return {instance == sick ? BALLAST_SERVER_ERROR : BALLAST_SUCCESS, 10'000};
}

TEST_CASE("a sick instance is ejected, its traffic goes elsewhere, and it comes back in time") {
  World world(settings_of(5));
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
  CHECK_FALSE(world.notices[1].by_checks);
  CHECK(world.request(2'000).contains(2));
}

TEST_CASE("passing checks take it back early; the next time it takes twice as many") {
  World world(settings_of(3));
  for (const int checks : {2, 4}) {
    world.tick();
    world.wait(10'100);
    world.request(2'000, [](std::size_t i) { return sick_is(0, i); });
    world.wait(10'100);
    REQUIRE(world.state(0).ejected);
    for (int i = 1; i < checks; ++i)
      world.check(0, true);
    world.tick();
    CHECK(world.state(0).ejected);
    world.check(0, true);
    world.tick();
    CHECK_FALSE(world.state(0).ejected);
    CHECK(world.notices.back().by_checks);
  }
}

TEST_CASE("the budget: no more than the cap, whoever takes it") {
  World world(settings_of(20));
  world.tick();
  world.request(20'000, [](std::size_t i) { return sick_is(i < 4 ? i : 99, i); });
  SUBCASE("two of twenty") {
    world.wait(10'100);
    CHECK(world.out() == 2);
    CHECK(world.notices.size() == 2);
  }
  SUBCASE("workers' breakers have taken it all") {
    auto& word = world.publisher->segment().workers.services[0].open_breakers;
    REQUIRE(engine::take_budget(word, 2));
    REQUIRE(engine::take_budget(word, 2));
    world.wait(10'100);
    CHECK(world.notices.empty());
  }
}

TEST_CASE("two instances that both fail both stay") {
  World world(settings_of(2));
  world.tick();
  world.request(1'000, [](std::size_t) { return World::Answer{BALLAST_TIMEOUT, 1'000}; });
  world.wait(20'000);
  CHECK(world.notices.empty());
  CHECK(world.out() == 0);
}

TEST_CASE("a reload keeps an ejection, and one that switches detection off ends it") {
  World world(settings_of(5));
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
  Settings settings = settings_of(5);
  settings.services[0].slow_start.window = Milliseconds(60'000);
  World world(settings);
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

double share_of(const World& world, std::uint64_t group) {
  int hits = 0;
  for (std::uint32_t number = 0; number <= UINT16_MAX; ++number) {
    hits +=
        engine::draw_group(world.record().shares, 2, static_cast<std::uint16_t>(number)) == group;
  }
  return hits / 655.36;
}

TEST_CASE("slow start: what was down starts at a tenth and grows to the whole; a start does not") {
  Settings settings = settings_of(4);
  settings.services[0].slow_start.window = Milliseconds(10'000);
  World world(settings);
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
  Settings settings = settings_of(4);
  settings.services[0].slow_start.window = Milliseconds(10'000);
  World world(settings);
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
  Settings settings = settings_of(4);
  settings.services[0].slow_start.window = Milliseconds(10'000);
  for (std::size_t i = 2; i < 4; ++i)
    settings.services[0].instances[i].tier = 1;
  World world(settings);
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
  Settings settings = settings_of(4);
  settings.services[0].slow_start.window = Milliseconds(10'000);
  const InstanceSettings last = settings.services[0].instances.back();
  settings.services[0].instances.pop_back();
  World world(settings);
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

Settings tiers_of(int first, int second) {
  Settings settings = settings_of(first + second);
  for (int i = first; i < first + second; ++i)
    settings.services[0].instances[static_cast<std::size_t>(i)].tier = 1;
  return settings;
}

TEST_CASE("tiers fail over in proportion, at once") {
  World world(tiers_of(10, 10));
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

TEST_CASE("zones: the local one first") {
  Settings settings = settings_of(8);
  settings.zone = "here";
  for (std::size_t i = 0; i < 8; ++i)
    settings.services[0].instances[i].zone = i < 4 ? "here" : "there";
  World world(settings);
  CHECK(share_of(world, 0) == doctest::Approx(100));
  world.set(0, Health::down);
  world.set(1, Health::down);
  CHECK(share_of(world, 0) == doctest::Approx(70).epsilon(0.001));
}

TEST_CASE("panic: below the threshold, until there are enough again") {
  Settings settings = settings_of(4);
  settings.services[0].policy.panic_percent = 50;
  World world(settings);
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
  Settings settings = settings_of(4, Strategy::round_robin);
  settings.services[0].controller.enabled = true;
  settings.services[0].outlier.enabled = false;
  World world(settings);
  for (int second = 0; second < 60; ++second) {
    world.request(400, [](std::size_t i) {
      return World::Answer{BALLAST_SUCCESS, i == 1 ? 20'000UL : 10'000UL};
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
  Settings settings = settings_of(4, Strategy::round_robin);
  settings.services[0].controller.enabled = true;
  World world(settings);
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
