// A namespace with a publisher that steers, a worker that picks and reports by a real handle, and a
// clock that only moves when it is told to: what the tests of steering have in common.
#pragma once

#include <doctest/doctest.h>

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "engine/checker/publishing/publisher.hpp"
#include "engine/ejection_budget.hpp"
#include "engine/group_word.hpp"
#include "engine/handle.hpp"
#include "tests/support/temp_dir.hpp"

namespace ballast::tests {

using checker::Notice;
using checker::PublishedInstance;
using checker::Publisher;
using checker::Settings;
using engine::Strategy;
using shm::Health;

struct Steered {
  explicit Steered(Settings with) : settings(std::move(with)) {
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

  TempDir dir;
  Settings settings;
  std::uint64_t now = 1'000'000;
  std::unique_ptr<Publisher> publisher;
  std::unique_ptr<engine::Handle> worker;
  ballast_service_t service = 0;
  std::vector<Notice> notices;
  int next_key = 0;
};

inline Settings steered_settings(int count, Strategy strategy = Strategy::maglev) {
  Settings settings;
  settings.max_workers = 8;
  checker::ServiceSettings service;
  service.name = "web";
  service.policy.strategy = strategy;
  // Breakers would be quicker than the interval.
  service.policy.breaker_consecutive = 0;
  service.policy.breaker_rate_percent = 0;
  service.check.first_check = checker::FirstCheck::up;
  for (int i = 0; i < count; ++i) {
    const std::string text = "127.1.0." + std::to_string(1 + i) + ":8080";
    checker::InstanceSettings instance;
    instance.endpoint = *shm::parse_endpoint(text);
    instance.text = text;
    service.instances.push_back(instance);
  }
  settings.services.push_back(service);
  return settings;
}

// Per cent of the picks that the table gives to one of two groups.
inline double share_of(const Steered& world, std::uint64_t group) {
  int hits = 0;
  for (std::uint32_t number = 0; number <= UINT16_MAX; ++number) {
    hits +=
        engine::draw_group(world.record().shares, 2, static_cast<std::uint16_t>(number)) == group;
  }
  return hits / 655.36;
}

}  // namespace ballast::tests
