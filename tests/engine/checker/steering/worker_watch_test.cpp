// What real workers report, as the watch sees it: failures that bring a check, and what is asked of
// instances, on a clock that only moves when it is told to.
#include "engine/checker/steering/worker_watch.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "tests/support/steered.hpp"

namespace ballast::checker {
namespace {

using tests::Steered;

Settings two_instances(bool with_breaker) {
  Settings settings;
  settings.max_workers = 4;
  ServiceSettings service;
  service.name = "web";
  service.policy.strategy = engine::Strategy::maglev;
  service.policy.hash_bound_percent = 900;  // loads are looked at, and decide nothing
  if (!with_breaker) {
    service.policy.breaker_consecutive = 0;
    service.policy.breaker_rate_percent = 0;
  }
  service.outlier.enabled = false;
  for (const char* const text : {"10.0.0.1:80", "10.0.0.2:80"})
    service.instances.push_back({*shm::parse_endpoint(text), text, 1});
  settings.services.push_back(service);
  return settings;
}

struct Bench {
  explicit Bench(bool with_breaker = true) : steered(two_instances(with_breaker)) {
    for (std::size_t i = 0; i < 2; ++i)
      steered.set(i, Health::up);
    follow(3);
  }

  void follow(std::uint32_t failures_to_check) {
    std::vector<WorkerWatch::Member> members;
    for (const PublishedInstance& published : steered.publisher->instances()) {
      members.push_back({100 + published.instance, published.slot, published.incarnation,
                         failures_to_check, true});
    }
    watch.follow(steered.publisher->segment(), members, steered.now);
  }

  // Requests to one of the two instances, all ending so.
  void report(std::size_t instance, ballast_outcome_t outcome, int times) {
    for (int done = 0; done < times;) {
      ballast_pick_t pick;
      const std::string key = std::to_string(next_key++);
      REQUIRE(next_key < 10'000);
      REQUIRE(steered.worker->pick(steered.service, key.data(), key.size(), pick) == BALLAST_OK);
      const bool wanted = pick.slot == steered.find(instance).slot;
      done += wanted ? 1 : 0;
      REQUIRE(steered.worker->report(pick, wanted ? outcome : BALLAST_CANCELLED, 1000, 0) ==
              BALLAST_OK);
    }
  }
  std::vector<InstanceId> failing() { return watch.failing(steered.publisher->segment()); }
  void checked(std::size_t instance) {
    watch.checked(steered.publisher->segment(), steered.find(instance).slot);
  }
  // A second goes by; whose demand has changed to what.
  std::vector<std::pair<InstanceId, Demand>> second(std::uint64_t seconds = 1) {
    steered.now += 1000 * seconds;
    steered.publisher->look_at_loads();
    return watch.demands(steered.publisher->loads(), steered.now);
  }

  Steered steered;
  WorkerWatch watch;
  int next_key = 0;
};

using Ids = std::vector<InstanceId>;
using Demands = std::vector<std::pair<InstanceId, Demand>>;

TEST_CASE("so many failures since the last check bring one, with and without a breaker") {
  for (const bool with_breaker : {true, false}) {
    Bench bench(with_breaker);
    CHECK(bench.failing().empty());
    bench.report(0, BALLAST_TIMEOUT, 2);
    CHECK(bench.failing().empty());
    bench.report(0, BALLAST_RESET, 1);
    CHECK(bench.failing() == Ids{100});
    CHECK(bench.failing().empty());  // said once
    bench.report(1, BALLAST_SERVER_ERROR, 2);
    bench.checked(1);
    bench.report(1, BALLAST_SERVER_ERROR, 2);
    CHECK(bench.failing().empty());
    bench.report(1, BALLAST_SERVER_ERROR, 1);
    CHECK(bench.failing() == Ids{101});
    // What speaks of the client, or of nothing, does not count.
    bench.report(0, BALLAST_CANCELLED, 10);
    bench.report(0, BALLAST_SUCCESS, 10);
    CHECK(bench.failing().empty());
  }
}

TEST_CASE("counts go on through a reload, and 0 switches the looks off") {
  Bench bench;
  bench.report(0, BALLAST_TIMEOUT, 2);
  bench.follow(3);
  bench.report(0, BALLAST_TIMEOUT, 1);
  CHECK(bench.failing() == Ids{100});
  CHECK(bench.watch.waits_for_failures());
  bench.follow(0);
  CHECK_FALSE(bench.watch.waits_for_failures());
  bench.report(0, BALLAST_TIMEOUT, 1);
  CHECK(bench.failing().empty());
}

TEST_CASE("where nobody looks, failures leave the words alone that all workers share") {
  for (const bool with_breaker : {true, false}) {
    CAPTURE(with_breaker);
    Bench bench(with_breaker);
    Settings& settings = bench.steered.settings;
    const auto counted = [&] {
      const shm::CheckerSegment& segment = bench.steered.publisher->segment();
      const std::uint16_t slot = bench.steered.find(0).slot;
      const std::uint64_t record =
          segment.table.instances[slot].service.load(std::memory_order_relaxed);
      const std::pair both{
          segment.workers.instances[slot].failures.load(std::memory_order_relaxed),
          segment.workers.services[record].failures.load(std::memory_order_relaxed)};
      return both;
    };
    using Both = std::pair<std::uint64_t, std::uint64_t>;
    bench.report(0, BALLAST_TIMEOUT, 2);
    CHECK(counted() == Both{2, 2});
    const auto switch_to = [&](CheckKind kind, std::uint32_t failures_to_check) {
      settings.services[0].check.kind = kind;
      settings.services[0].check.failures_to_check = failures_to_check;
      bench.steered.apply();
      for (std::size_t i = 0; i < 2; ++i)
        bench.steered.set(i, Health::up);
      bench.report(0, BALLAST_SUCCESS, 1);  // the breaker stays closed
    };
    switch_to(CheckKind::http, 0);
    bench.report(0, BALLAST_TIMEOUT, 2);
    switch_to(CheckKind::none, 3);  // with nothing to check by
    bench.report(0, BALLAST_CONNECT_FAILURE, 2);
    CHECK(counted() == Both{2, 2});
    switch_to(CheckKind::http, 3);
    bench.report(0, BALLAST_TIMEOUT, 1);
    CHECK(counted() == Both{3, 3});
  }
}

TEST_CASE("demand: succeeding, failing for a while, and none after a minute") {
  Bench bench(false);
  CHECK(bench.second().empty());  // the first look only learns what there was
  bench.report(0, BALLAST_SUCCESS, 5);
  CHECK(bench.second() == Demands{{100, Demand::succeeding}});
  CHECK(bench.second().empty());
  bench.report(0, BALLAST_SUCCESS, 5);
  bench.report(0, BALLAST_TIMEOUT, 1);
  CHECK(bench.second() == Demands{{100, Demand::failing}});
  bench.report(0, BALLAST_SUCCESS, 5);
  CHECK(bench.second().empty());
  bench.second(11);
  bench.report(0, BALLAST_SUCCESS, 5);
  bench.second();
  Demands after = bench.second(70);
  CHECK(after == Demands{{100, Demand::none}, {101, Demand::none}});
  bench.report(1, BALLAST_SUCCESS, 1);
  after = bench.second();
  CHECK(std::find(after.begin(), after.end(), std::pair{InstanceId{101}, Demand::succeeding}) !=
        after.end());
}

}  // namespace
}  // namespace ballast::checker
