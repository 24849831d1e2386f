// What an instance's agent says, as it reaches those who pick: at once, without a new generation,
// the stricter of it and of the configuration, and through reloads, growth and another checker.
#include <doctest/doctest.h>

#include <atomic>
#include <thread>

#include "engine/agent_word.hpp"
#include "engine/checker/publishing/known_health.hpp"
#include "tests/support/steered.hpp"

namespace ballast::tests {
namespace {

using engine::AgentReport;
using shm::Admin;
using shm::Reason;

Settings with_agent(int count) {
  Settings settings = steered_settings(count);
  settings.services[0].agent.port = 9999;
  return settings;
}

struct World : Steered {
  explicit World(Settings with) : Steered(std::move(with)) {
    for (std::size_t i = 0; i < settings.services[0].instances.size(); ++i)
      set(i, Health::up);
  }
  bool say(std::size_t instance, const AgentReport& report) {
    const auto& p = find(instance);
    return publisher->set_agent(p.slot, p.incarnation, report, now);
  }
  [[nodiscard]] AgentReport said(std::size_t instance) const {
    const auto& p = find(instance);
    return publisher->agent(p.slot, p.incarnation);
  }
  [[nodiscard]] std::uint64_t epoch() const { return record().root.load(); }
  // Whether anybody is sent there.
  bool is_picked(std::size_t instance) { return request(300).contains(instance); }
};

TEST_CASE("drain, maint and ready act at once, and publish nothing anew") {
  World world(with_agent(3));
  const std::uint64_t epoch = world.epoch();
  REQUIRE(world.is_picked(1));
  CHECK(world.say(1, {.admin = Admin::drain}));
  CHECK(world.state(1).admin == Admin::drain);
  CHECK(world.state(1).health == Health::up);
  CHECK_FALSE(world.state(1).usable);
  CHECK_FALSE(world.is_picked(1));
  CHECK_FALSE(world.say(1, {.admin = Admin::drain}));  // nothing new
  CHECK(world.say(1, {.admin = Admin::maintenance}));
  CHECK(world.state(1).admin == Admin::maintenance);
  CHECK(world.say(1, {.admin = Admin::ready}));
  CHECK(world.state(1).plain);
  CHECK(world.is_picked(1));
  CHECK(world.epoch() == epoch);
}

TEST_CASE("down beats a passing check, and up leaves it to the checks") {
  World world(with_agent(3));
  const auto flips = [&] {
    return world.publisher->segment().table.instances[world.find(0).slot].flips.load();
  };
  const std::uint64_t before = flips();
  CHECK(world.say(0, {.up = false}));
  CHECK(world.state(0).health == Health::down);
  CHECK(world.state(0).reason == Reason::agent_down);
  CHECK_FALSE(world.is_picked(0));
  CHECK(flips() == before + 1);
  // Whatever the checks find.
  world.set(0, Health::up);
  CHECK(world.state(0).health == Health::down);
  world.set(0, Health::down);
  CHECK(world.state(0).reason == Reason::timeout);
  CHECK(flips() == before + 1);
  CHECK(world.say(0, {.up = true}));
  CHECK(world.state(0).health == Health::down);
  world.set(0, Health::up);
  CHECK(world.state(0).plain);
  CHECK(flips() == before + 2);

  CHECK(world.say(0, {.up = false}));
  CHECK(world.say(0, {.up = true}));
  CHECK(world.state(0).health == Health::up);
  CHECK(world.state(0).reason == Reason::passed);
  CHECK(world.state(0).plain);
}

TEST_CASE("a weight is a part of the configured one; none of it is a drain") {
  Settings settings = with_agent(2);
  settings.services[0].instances[0].weight = 10;
  World world(settings);
  CHECK(world.say(0, {.weight_percent = 50}));
  CHECK(world.state(0).weight == 5 * shm::kWeightUnit);
  CHECK(world.state(0).usable);
  CHECK_FALSE(world.state(0).plain);
  CHECK(world.say(0, {.weight_percent = 0}));
  CHECK(world.state(0).admin == Admin::drain);
  CHECK_FALSE(world.state(0).usable);
  CHECK(world.say(0, {.admin = Admin::ready}));
  CHECK_FALSE(world.state(0).usable);  // there is still no weight
  CHECK(world.say(0, {.weight_percent = 100}));
  CHECK(world.state(0).weight == 10 * shm::kWeightUnit);
  CHECK(world.state(0).plain);
  // A part of whatever is configured.
  CHECK(world.say(0, {.weight_percent = 25}));
  world.settings.services[0].instances[0].weight = 8;
  world.apply();
  CHECK(world.state(0).weight == 2 * shm::kWeightUnit);
  // It is shown, and no more: limits are the service's.
  CHECK(world.say(0, {.max_in_flight = 30}));
  CHECK(world.said(0) == AgentReport{{}, Admin::ready, 25, 30});
}

TEST_CASE("half the weight keeps half of the keys") {
  World world(with_agent(2));
  world.say(0, {.weight_percent = 50});
  auto picks = world.request(6000);
  CHECK(picks[0] > 1200);  // a quarter of all
  CHECK(picks[0] < 1800);
}

TEST_CASE("the stricter of configuration and agent holds, whoever speaks last") {
  World world(with_agent(3));
  const auto configure = [&](Admin admin) {
    world.settings.services[0].instances[2].admin = admin;
    world.apply();
  };
  configure(Admin::drain);
  world.say(2, {.admin = Admin::ready});
  CHECK(world.state(2).admin == Admin::drain);
  world.say(2, {.admin = Admin::maintenance});
  CHECK(world.state(2).admin == Admin::maintenance);
  configure(Admin::ready);
  CHECK(world.state(2).admin == Admin::maintenance);
  world.say(2, {.admin = Admin::drain});
  CHECK(world.state(2).admin == Admin::drain);
  configure(Admin::maintenance);
  CHECK(world.state(2).admin == Admin::maintenance);
  configure(Admin::ready);
  CHECK(world.state(2).admin == Admin::drain);
  world.say(2, {.admin = Admin::ready});
  CHECK(world.state(2).plain);
}

TEST_CASE("what an agent said holds under the next checker and in a grown segment") {
  World world(with_agent(4));
  const AgentReport all[] = {{.admin = Admin::drain},
                             {.up = false},
                             {.weight_percent = 50},
                             {true, Admin::ready, 100, 30}};
  for (std::size_t i = 0; i < 4; ++i)
    world.say(i, all[i]);
  const auto check_all = [&] {
    for (std::size_t i = 0; i < 4; ++i)
      CHECK(world.said(i) == all[i]);
    CHECK(world.state(0).admin == Admin::drain);
    CHECK(world.state(1).reason == Reason::agent_down);
    CHECK_FALSE(world.state(1).usable);
    CHECK(world.state(2).weight == shm::kWeightUnit / 2);
    CHECK(world.state(3).usable);
    CHECK(world.state(3).limited);
    CHECK_FALSE(world.state(3).plain);
  };
  check_all();
  world.open();
  check_all();
  // The checks go on from what they said, not from what the agent made of it.
  CHECK(world.find(1).health == Health::up);
  const auto known = checker::read_known_health(world.dir.path());
  CHECK(known.at({"web", world.settings.services[0].instances[1].endpoint.to_words()}) ==
        Health::up);

  const std::uint64_t segment = world.publisher->segment_id();
  world.settings.max_workers = 3000;
  world.apply();
  REQUIRE(world.publisher->segment_id() != segment);
  check_all();
  world.say(1, {.up = true});
  CHECK(world.state(1).plain);
}

TEST_CASE("without an agent in the settings nothing of it is left") {
  World world(with_agent(3));
  world.say(0, {.admin = Admin::drain});
  world.say(1, {.up = false});
  world.say(2, {.weight_percent = 50});
  SUBCASE("taken out in a reload") {
    world.settings.services[0].agent.port = 0;
    world.apply();
  }
  SUBCASE("taken out while no checker ran") {
    world.settings.services[0].agent.port = 0;
    world.open();
  }
  SUBCASE("the agent has become the check and the other way round") {
    world.settings.services[0].agent.port = 0;
    world.settings.services[0].check.kind = checker::CheckKind::agent;
    world.apply();
    CHECK(world.state(0).admin == Admin::drain);
    world.settings.services[0].check.kind = checker::CheckKind::tcp;
    world.apply();
  }
  for (std::size_t i = 0; i < 3; ++i) {
    CHECK(world.state(i).plain);
    CHECK(world.said(i) == AgentReport{});
    CHECK(world.details(i).agent.load() == 0);
  }
  // And an instance that comes back is asked anew.
  world.settings = with_agent(3);
  world.apply();
  world.say(0, {.admin = Admin::drain});
  const auto first = world.settings.services[0].instances[0];
  world.settings.services[0].instances.erase(world.settings.services[0].instances.begin());
  world.apply();
  world.settings.services[0].instances.push_back(first);
  world.apply();
  CHECK(world.said(2) == AgentReport{});
  CHECK(world.state(2).admin == Admin::ready);
}

TEST_CASE("reports about another tenant of the slot are nothing to it") {
  World world(with_agent(2));
  const auto& p = world.find(0);
  CHECK_FALSE(world.publisher->set_agent(p.slot, p.incarnation + 1, {.up = false}, world.now));
  CHECK_FALSE(world.publisher->set_agent(60'000, 1, {.up = false}, world.now));
  CHECK(world.state(0).plain);
}

TEST_CASE("who is back from a drain or a down starts slowly, who was only lighter does not") {
  Settings settings = with_agent(2);
  settings.services[0].slow_start.window = std::chrono::seconds(10);
  World world(settings);
  world.wait(20'000);
  REQUIRE(world.state(0).plain);
  world.say(0, {.weight_percent = 50});
  CHECK(world.state(0).weight == shm::kWeightUnit / 2);
  world.say(0, {.weight_percent = 100});
  CHECK(world.state(0).plain);
  for (const bool by_admin : {true, false}) {
    world.say(0, by_admin ? AgentReport{.admin = Admin::drain} : AgentReport{.up = false});
    world.say(0, by_admin ? AgentReport{.admin = Admin::ready} : AgentReport{.up = true});
    CHECK(world.state(0).usable);
    CHECK(world.state(0).weight < shm::kWeightUnit / 4);
    world.wait(11'000);
    CHECK(world.state(0).plain);
  }
}

TEST_CASE("no reload lets anybody in whom the agent keeps out, not for a moment") {
  World world(with_agent(50));
  world.say(7, {.admin = Admin::drain});
  const shm::Word64& word = world.publisher->segment().table.states[world.find(7).slot];
  std::atomic<bool> over{false};
  std::atomic<bool> let_in{false};
  std::thread watcher([&] {
    while (!over.load(std::memory_order_relaxed)) {
      if (shm::is_usable(word.load(std::memory_order_relaxed)))
        let_in.store(true, std::memory_order_relaxed);
    }
  });
  for (int i = 0; i < 300; ++i) {
    world.settings.services[0].instances[7].weight = 1 + static_cast<std::uint32_t>(i % 2);
    world.apply();
  }
  over.store(true, std::memory_order_relaxed);
  watcher.join();
  CHECK_FALSE(let_in.load(std::memory_order_relaxed));
}

}  // namespace
}  // namespace ballast::tests
