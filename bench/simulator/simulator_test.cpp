// The simulator itself: backends that keep time, requests that are all accounted for, the same
// digits for the same seed, and the differences between strategies that the textbooks promise.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <stdexcept>
#include <string>

#include "bench/simulator/backend.hpp"
#include "bench/simulator/peers.hpp"
#include "bench/simulator/production.hpp"
#include "bench/simulator/random.hpp"
#include "bench/simulator/simulation.hpp"
#include "bench/simulator/strategies.hpp"
#include "bench/simulator/tables.hpp"

using namespace ballast;
using namespace ballast::bench::sim;

namespace {

constexpr auto kNobodyLeft = [](std::uint32_t) { return false; };

Scale small_scale() {
  Scale scale = quick_plan().scale;
  scale.seconds = 1;
  scale.warm_up_seconds = 0.2;
  scale.backends = 16;
  return scale;
}

// Always the same backend.
class First final : public Chooser {
 public:
  Ticket pick(std::uint64_t, std::uint32_t, std::uint64_t) override { return {0}; }
  void report(std::uint64_t, std::uint32_t, const Ticket&, Outcome, std::uint64_t) override {
    ++reports;
  }
  void set_usable(std::uint64_t, std::uint32_t, bool) override {}
  std::uint64_t reports = 0;
};

}  // namespace

TEST_CASE("a queueing backend works on as many requests as it has servers") {
  Backend backend(Discipline::queue, 2);
  backend.add(0, 1, 100);
  backend.add(0, 2, 50);
  backend.add(0, 3, 10);
  CHECK(backend.next_ns() == 50);
  CHECK(backend.finish(50, kNobodyLeft) == 2);
  CHECK(backend.next_ns() == 60);
  CHECK(backend.finish(60, kNobodyLeft) == 3);
  backend.set_speed(60, 0.5);  // 40 of request 1 are left
  CHECK(backend.next_ns() == 140);
  backend.set_speed(60, 0);
  CHECK(backend.next_ns() == kNever);
}

TEST_CASE("a queueing backend never begins what its client has given up") {
  Backend backend(Discipline::queue, 1);
  backend.add(0, 1, 100);
  backend.add(0, 2, 100);
  backend.add(0, 3, 7);
  CHECK(backend.finish(100, [](std::uint32_t request) { return request == 2; }) == 1);
  CHECK(backend.next_ns() == 107);
}

TEST_CASE("a sharing backend slows down once it has more requests than servers") {
  Backend backend(Discipline::shared, 2);
  backend.add(0, 1, 100);
  backend.add(0, 2, 100);
  CHECK(backend.next_ns() == 100);
  backend.add(50, 3, 100);
  backend.add(50, 4, 100);  // four on two servers: 50 left take 100
  CHECK(backend.next_ns() == 150);
}

TEST_CASE("one server with Poisson arrivals has the mean wait that the formula gives") {
  // M/M/1 at 50 %: the mean time in the system is twice the work.
  Scale scale;
  scale.backends = 1;
  scale.servers = 1;
  scale.utilisation = 0.5;
  scale.seconds = 1000;
  const Scenario scenario = make_scenario("equal", 1, 7, scale);
  First first;
  const Result result = simulate(scenario, first);
  CHECK(first.reports == scenario.requests.size());
  const double mean = std::accumulate(result.latency_ms.begin(), result.latency_ms.end(), 0.0) /
                      static_cast<double>(result.latency_ms.size());
  CHECK(mean == doctest::Approx(20).epsilon(0.05));
  // The time in the system is exponential as well.
  CHECK(result.quantile_ms(0.99) == doctest::Approx(20 * std::log(100)).epsilon(0.07));
}

TEST_CASE("every scenario accounts for every request, whoever chooses") {
  for (const std::string& name : scenario_names()) {
    CAPTURE(name);
    const Scenario scenario = make_scenario(name, 4, 3, small_scale());
    CHECK(std::is_sorted(scenario.changes.begin(), scenario.changes.end(),
                         [](const Change& a, const Change& b) { return a.at_ns < b.at_ns; }));
    const auto counted = std::count_if(
        scenario.requests.begin(), scenario.requests.end(),
        [](const Request& request) { return request.arrives_ns >= 200 * kMillisecond_ns; });
    for (const Strategy& strategy : strategies()) {
      CAPTURE(strategy.name);
      const auto chooser = strategy.make({scenario.scale.backends, 4, 3});
      const Result result = simulate(scenario, *chooser);
      CHECK(result.requests == static_cast<std::uint64_t>(counted));
      CHECK(result.latency_ms.size() == result.requests);
    }
  }
  CHECK_THROWS_AS(static_cast<void>(make_scenario("none", 4, 1, small_scale())),
                  std::invalid_argument);
}

TEST_CASE("the same seed gives the same digits, another one others") {
  for (const Strategy& strategy : strategies()) {
    CAPTURE(strategy.name);
    const auto run = [&](std::uint64_t seed) {
      const Scenario scenario = make_scenario("cold_starts", 8, seed, small_scale());
      const auto chooser = strategy.make({scenario.scale.backends, 8, seed});
      return simulate(scenario, *chooser);
    };
    const Result once = run(5);
    const Result again = run(5);
    CHECK(once.latency_ms == again.latency_ms);
    CHECK(once.per_backend == again.per_backend);
    CHECK(once.latency_ms != run(6).latency_ms);
  }
}

TEST_CASE("the goals hold in small") {
  bench::Rows rows;
  Plan plan = quick_plan();
  add_scenario(rows, plan, "one_ten_times_slower", 64);
  add_goals(rows);
  for (const bench::Row& row : rows.all()) {
    CAPTURE(row.id);
    if (row.goal) CHECK(row.spread.value <= row.goal->limit);
  }
}

TEST_CASE("a breaker that all workers share lets fewer failures through than one each") {
  const Scenario scenario = make_scenario("fails_fast", 8, 2, small_scale());
  const auto errors_of = [&](const std::string& name) {
    for (const Strategy& strategy : strategies()) {
      if (strategy.name != name) continue;
      const auto chooser = strategy.make({scenario.scale.backends, 8, 2});
      return simulate(scenario, *chooser).errors;
    }
    throw std::invalid_argument(name);
  };
  const std::uint64_t shared = errors_of("round_robin_breaker");
  CHECK(shared >= 5);  // what it takes to open
  CHECK(shared * 3 < errors_of("round_robin_breaker.per_worker"));
  CHECK(errors_of("round_robin_breaker.per_worker") * 2 < errors_of("round_robin"));
}
