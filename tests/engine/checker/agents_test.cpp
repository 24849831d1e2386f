// Agents under a whole checker: beside a check and as the check, through reloads, failures to reach
// them, and a successor. Real sockets; the servers that are checked are the agents' own.
#include <doctest/doctest.h>

#include <algorithm>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "engine/agent_word.hpp"
#include "engine/checker/checker.hpp"
#include "engine/checker/publishing/agent_transitions.hpp"
#include "shm/generation.hpp"
#include "shm/paths.hpp"
#include "shm/segment.hpp"
#include "tests/support/line_server.hpp"
#include "tests/support/loops.hpp"
#include "tests/support/temp_dir.hpp"

namespace ballast::checker {
namespace {

using shm::Admin;
using tests::LineServer;

// One instance, checked by connecting to a listener, with an agent on another port.
struct World {
  World() : loop(std::move(*make_loop({}))) {
    ServiceSettings service;
    service.name = "web";
    service.check.kind = CheckKind::tcp;
    service.check.interval = Milliseconds(20);
    service.check.fast_interval = Milliseconds(5);
    service.check.timeout = std::chrono::seconds(20);
    service.agent.port = agent.endpoint().port;
    service.agent.interval = Milliseconds(10);
    service.agent.timeout = std::chrono::seconds(20);
    service.instances.push_back({server.endpoint(), "backend", 10});
    settings.max_workers = 8;
    settings.services.push_back(service);
  }

  void start() {
    CheckerOptions options;
    options.on_event = [this](const Event& event) { events.push_back(event); };
    checker.reset();
    checker = std::make_unique<Checker>(*loop, options);
    auto lease = shm::Lease::acquire(dir.path(), shm::Lease::Wait::no);
    REQUIRE_MESSAGE(lease, lease.error().to_text());
    const auto taken = checker->take(std::move(*lease), settings);
    REQUIRE_MESSAGE(taken, taken.error().to_text());
  }
  void reload() {
    const auto done = checker->reload(settings);
    REQUIRE_MESSAGE(done, done.error().to_text());
  }
  [[nodiscard]] shm::State state() const {
    const auto ids = shm::list_segments(dir.path());
    REQUIRE_FALSE(ids.empty());
    const auto segment =
        shm::InspectedSegment::open(dir.path(), ids.back(), shm::BootCheck::required);
    REQUIRE(segment);
    for (std::size_t slot = 0; slot < segment->table.instances.size(); ++slot) {
      const auto identity = shm::unpack_identity(shm::get(segment->table.instances[slot].identity));
      if (identity.phase == shm::Phase::live)
        return shm::unpack(shm::get(segment->table.states[slot]));
    }
    FAIL("no instance");
    return {};
  }
  void until(const std::function<bool(const shm::State&)>& done) {
    tests::turn_until(*loop, [&] {
      agent.turn();
      server.turn();
      return done(state());
    });
  }
  // Until the agent has been asked so often again.
  void asked(std::size_t times) {
    const std::size_t before = agent.turn();
    until([&](const shm::State&) { return agent.turn() >= before + times; });
  }
  [[nodiscard]] std::size_t told(const std::string& name, const std::string& by) const {
    return static_cast<std::size_t>(
        std::count_if(events.begin(), events.end(), [&](const Event& event) {
          return event.name == name &&
                 std::any_of(event.fields.begin(), event.fields.end(), [&](const auto& field) {
                   return field.first == "by" && field.second == by;
                 });
        }));
  }

  tests::TempDir dir;
  LineServer server{"hello\n"};
  LineServer agent{"ready\n"};
  Settings settings;
  std::vector<Event> events;
  std::unique_ptr<Loop> loop;
  std::unique_ptr<Checker> checker;
};

TEST_CASE("what the agent beside a check says holds, and that it is silent does not matter") {
  World world;
  world.start();
  world.until([](const shm::State& s) { return s.plain; });
  world.agent.say("drain\n");
  world.until([](const shm::State& s) { return s.admin == Admin::drain; });
  CHECK_FALSE(world.state().usable);
  CHECK(world.state().health == Health::up);
  world.agent.say("50%\n");  // it is still drained
  world.until([](const shm::State& s) { return s.weight == 5 * shm::kWeightUnit; });
  CHECK(world.state().admin == Admin::drain);
  world.agent.say("ready down #backup\n");
  world.until([](const shm::State& s) { return s.health == Health::down; });
  CHECK(world.state().reason == Reason::agent_down);
  CHECK(world.state().admin == Admin::ready);
  world.agent.say("nonsense\n");
  world.asked(3);
  world.agent.close();  // nobody answers any more
  const std::uint64_t checks = world.checker->stats().checks;
  world.until([&](const shm::State&) { return world.checker->stats().checks > checks + 20; });
  CHECK(world.state().reason == Reason::agent_down);
  world.agent.say("up 100%\n");
  world.agent.listen();
  world.until([](const shm::State& s) { return s.plain; });
  CHECK(world.told("admin_changed", "agent") == 2);
  CHECK(world.told("instance_down", "agent") == 1);
  CHECK(world.told("instance_up", "agent") == 1);
  CHECK(world.told("instance_down", "probe") == 0);
}

TEST_CASE("the stricter of operator and agent, through a reload and a successor") {
  World world;
  world.agent.say("maint\n");
  world.start();
  world.until([](const shm::State& s) { return s.admin == Admin::maintenance; });
  world.settings.services[0].instances[0].admin = Admin::drain;
  world.reload();
  CHECK(world.state().admin == Admin::maintenance);
  // The next checker knows it before the agent has said a word to it.
  world.checker->leave();
  world.agent.close();
  world.settings.services[0].instances[0].admin = Admin::ready;
  world.events.clear();
  world.start();
  CHECK(world.state().admin == Admin::maintenance);
  CHECK(world.told("admin_changed", "config") == 0);
  const std::uint64_t checks = world.checker->stats().checks;
  world.until([&](const shm::State&) { return world.checker->stats().checks > checks + 10; });
  CHECK(world.state().admin == Admin::maintenance);
  world.agent.say("ready\n");
  world.agent.listen();
  world.until([](const shm::State& s) { return s.plain; });
  // Without an agent in the settings nothing is left of it, nor is it asked.
  world.agent.say("down\n");
  world.until([](const shm::State& s) { return s.health == Health::down; });
  world.settings.services[0].agent.port = 0;
  world.reload();
  CHECK(world.state().plain);
}

TEST_CASE("an agent as the check acts at once, before `fall` has counted") {
  World world;
  ServiceSettings& service = world.settings.services[0];
  service.check.kind = CheckKind::agent;
  service.check.port = service.agent.port;
  service.check.fall = 1'000'000;  // never, however long this takes
  service.agent.port = 0;
  world.agent.say("up 75%\n");
  world.start();
  world.until([](const shm::State& s) { return s.usable; });
  CHECK(world.state().weight == 10 * shm::kWeightUnit * 3 / 4);
  world.agent.say("stopped\n");
  world.until([](const shm::State& s) { return s.reason == Reason::agent_down; });
  CHECK_FALSE(world.state().usable);
  world.agent.say("up\n");
  world.until([](const shm::State& s) { return s.usable; });
  CHECK(world.told("instance_down", "probe") == 0);
}

TEST_CASE("a check of the agent that found it down keeps that through reloads and successors") {
  World world;
  ServiceSettings& service = world.settings.services[0];
  service.check.kind = CheckKind::agent;
  service.check.port = service.agent.port;
  service.check.fall = 1;
  service.check.rise = 1'000'000;
  service.agent.port = 0;
  world.agent.say("up\n");
  world.start();
  world.until([](const shm::State& s) { return s.usable; });
  world.agent.say("down\n");
  world.asked(3);
  CHECK(world.state().reason == Reason::agent_down);
  for (int i = 0; i < 3; ++i)
    world.reload();
  CHECK(world.told("instance_down", "probe") == 0);
  CHECK(world.told("instance_down", "agent") == 1);
  // The agent takes its word back, but the checks have not passed `rise` times.
  world.checker->leave();
  world.events.clear();
  world.agent.say("up\n");
  world.start();
  world.asked(3);
  CHECK(world.state().health == Health::down);
  CHECK(world.told("instance_up", "probe") == 0);
}

TEST_CASE("what was heard in the shadow is published with the take-over") {
  World world;
  world.agent.say("drain\n");
  world.checker = std::make_unique<Checker>(*world.loop, CheckerOptions{});
  world.checker->start_in_shadow(world.settings, world.dir.path());
  tests::turn_until(*world.loop, [&] {
    world.server.turn();
    return world.agent.turn() >= 3 && world.checker->unchecked() == 0;
  });
  auto lease = shm::Lease::acquire(world.dir.path(), shm::Lease::Wait::no);
  REQUIRE(lease);
  REQUIRE(world.checker->take(std::move(*lease), world.settings));
  CHECK(world.state().admin == Admin::drain);
  CHECK(world.state().health == Health::up);
}

TEST_CASE("only what changes the use of an instance is told") {
  InstanceSettings instance;
  instance.text = "backend";
  const auto kinds = [&](Health health, const AgentReport& before, const AgentReport& now) {
    std::string text;
    for (const Transition& told : agent_transitions("web", instance, health, before, now)) {
      CHECK(told.event.by == shm::EventBy::agent);
      text += std::string(text.empty() ? "" : " ") + shm::to_text(told.event.kind);
    }
    return text;
  };
  CHECK(kinds(Health::up, {}, {.up = false}) == "instance_down");
  CHECK(kinds(Health::up, {.up = false}, {.up = true}) == "instance_up");
  CHECK(kinds(Health::down, {}, {.up = false}).empty());
  CHECK(kinds(Health::unknown, {}, {.up = true}).empty());
  CHECK(kinds(Health::unknown, {.up = false}, {.up = true}).empty());
  CHECK(kinds(Health::up, {}, {.weight_percent = 40}).empty());
  CHECK(kinds(Health::up, {.weight_percent = 40}, {.weight_percent = 0}) == "admin_changed");
  CHECK(kinds(Health::up, {}, {.up = false, .admin = Admin::drain}) ==
        "instance_down admin_changed");
  instance.admin = Admin::maintenance;
  CHECK(kinds(Health::up, {}, {.admin = Admin::drain}).empty());
}

}  // namespace
}  // namespace ballast::checker
