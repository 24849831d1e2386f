// The controller of weights: each reason and number by hand, and in closed loop with simple models
// of backends, where what it decides changes what it sees.
#include "engine/checker/steering/weight_controller.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <random>
#include <vector>

namespace ballast::checker {
namespace {

constexpr Milliseconds kSecond{1000};
constexpr std::uint64_t kLong = 3'600'000;

ControllerSettings enabled() {
  ControllerSettings settings;
  settings.enabled = true;
  return settings;
}

ControlInput heard(std::uint64_t finished, std::uint64_t latency_us, std::uint64_t failed = 0) {
  ControlInput input;
  input.in_use = true;
  input.in_use_for_ms = kLong;
  input.finished = finished;
  input.failed = failed;
  input.latency_sum_us = latency_us * finished;
  input.latency_count = finished;
  return input;
}

std::vector<Controlled> settle(const std::vector<ControlInput>& inputs, int updates = 200,
                               const ControllerSettings& settings = enabled()) {
  std::vector<Controlled> instances(inputs.size());
  for (int i = 0; i < updates; ++i)
    update_weights(settings, kSecond, inputs, instances);
  return instances;
}

TEST_CASE("the same everywhere is the whole weight everywhere") {
  for (const auto& c : settle(std::vector<ControlInput>(8, heard(100, 10'000)))) {
    CHECK(c.multiplier == 1);
    CHECK(c.reason == WeightReason::observed);
    CHECK(c.qps == doctest::Approx(100));
    CHECK(c.latency_us == doctest::Approx(10'000));
  }
}

TEST_CASE("observed: twice the latency is half the weight; the floor holds") {
  std::vector<ControlInput> inputs(4, heard(100, 10'000));
  inputs[1] = heard(100, 20'000);
  inputs[2] = heard(100, 10'000'000);
  const auto instances = settle(inputs);
  CHECK(instances[0].multiplier == 1);
  CHECK(instances[1].multiplier == doctest::Approx(0.5));
  CHECK(instances[2].multiplier == doctest::Approx(0.1));
  CHECK(instances[2].target == doctest::Approx(0.1));
}

TEST_CASE("an instance that fails quickly does not look like a quick one") {
  std::vector<ControlInput> inputs(4, heard(100, 50'000));
  inputs[0] = heard(100, 500, 100);
  CHECK(settle(inputs)[0].multiplier == doctest::Approx(0.1));
  inputs[0] = heard(100, 25'250, 50);  // half of them at once, half as usual
  CHECK(settle(inputs)[0].multiplier == doctest::Approx(0.5).epsilon(0.02));
  inputs[0] = heard(100, 50'000, 1);
  CHECK(settle(inputs)[0].multiplier == 1);  // one in a hundred is no reason
}

TEST_CASE("reported: capacity is what the load would be at full use, over the configured weight") {
  std::vector<ControlInput> inputs(4, heard(100, 10'000));
  for (auto& input : inputs)
    input.utilisation = 0.4;
  inputs[1].utilisation = 0.8;
  inputs[2].weight = 2;  // said to be twice as big, and is not
  inputs[3] = heard(100, 10'000, 40);
  inputs[3].utilisation = 0.4;
  const auto instances = settle(inputs);
  CHECK(instances[0].multiplier == 1);
  CHECK(instances[0].reason == WeightReason::reported);
  CHECK(instances[1].multiplier == doctest::Approx(0.5));
  CHECK(instances[2].multiplier == doctest::Approx(0.5));
  CHECK(instances[3].multiplier == doctest::Approx(0.5));  // 0.4 / (0.4 + 0.4)
}

TEST_CASE("a backend that has other clients too is judged by its own count of requests") {
  std::vector<ControlInput> inputs(3, heard(100, 10'000));
  for (auto& input : inputs) {
    input.utilisation = 0.8;
    input.reported_qps = 1000;
  }
  inputs[0].reported_qps = 500;
  inputs[1].reported_error_rate = 0.8;
  const auto instances = settle(inputs);
  CHECK(instances[0].multiplier == doctest::Approx(0.5));
  CHECK(instances[1].multiplier == doctest::Approx(0.5));
  CHECK(instances[2].multiplier == 1);
}

TEST_CASE("reports hold if most report; who does not gets the median of the others") {
  std::vector<ControlInput> inputs(4, heard(100, 10'000));
  for (std::size_t i = 0; i < 3; ++i)
    inputs[i].utilisation = 0.2;
  inputs[0].utilisation = 0.4;
  inputs[1].utilisation = 0.4;
  auto instances = settle(inputs);
  CHECK(instances[3].reason == WeightReason::no_report);
  CHECK(instances[3].multiplier == doctest::Approx(0.5));
  inputs[1].report_age_ms = 180'001;  // out of date
  instances = settle(inputs);
  CHECK(instances[0].reason == WeightReason::observed);
  CHECK(instances[0].multiplier == 1);
}

TEST_CASE("blackout: the median of the others until there is something to judge by") {
  std::vector<ControlInput> inputs(4, heard(100, 10'000));
  inputs[3] = heard(100, 80'000);
  inputs[3].in_use_for_ms = 9'999;
  CHECK(settle(inputs)[3].reason == WeightReason::blackout);
  CHECK(settle(inputs)[3].multiplier == 1);
  inputs[3].in_use_for_ms = 10'000;
  CHECK(settle(inputs)[3].reason == WeightReason::observed);
  CHECK(settle(inputs)[3].multiplier == doctest::Approx(0.125));
}

TEST_CASE("no traffic: held for a while, then on the way back to the whole weight") {
  std::vector<ControlInput> inputs(3, heard(100, 10'000));
  inputs[0] = heard(100, 50'000);
  auto instances = settle(inputs);
  CHECK(instances[0].multiplier == doctest::Approx(0.2));
  inputs[0] = heard(0, 0);
  for (int i = 0; i < 179; ++i)
    update_weights(enabled(), kSecond, inputs, instances);
  CHECK(instances[0].multiplier == doctest::Approx(0.2));
  CHECK(instances[0].reason == WeightReason::observed);
  for (int i = 0; i < 40; ++i)
    update_weights(enabled(), kSecond, inputs, instances);
  CHECK(instances[0].multiplier == 1);
  CHECK(instances[0].reason == WeightReason::expired);
}

TEST_CASE("who is not in use is not compared, keeps its weight, and starts again unmeasured") {
  std::vector<ControlInput> inputs(3, heard(100, 10'000));
  inputs[0] = heard(100, 40'000);
  auto instances = settle(inputs);
  inputs[0] = ControlInput{};
  update_weights(enabled(), kSecond, inputs, instances);
  CHECK(instances[0].reason == WeightReason::not_in_use);
  CHECK(instances[0].multiplier == doctest::Approx(0.25));
  inputs[0] = heard(0, 0);
  update_weights(enabled(), kSecond, inputs, instances);
  CHECK(instances[0].reason == WeightReason::configured);
  CHECK(instances[0].latency_us == 0);
}

TEST_CASE("nobody, one, and nothing heard at all") {
  update_weights(enabled(), kSecond, {}, {});
  CHECK(settle({heard(100, 1'000'000)})[0].multiplier == 1);
  const auto silent = settle(std::vector<ControlInput>(3, heard(0, 0)), 10);
  for (const auto& c : silent) {
    CHECK(c.multiplier == 1);
    CHECK(c.reason == WeightReason::configured);
  }
}

TEST_CASE("one update moves a weight by the damping's part of at most half or double") {
  std::vector<ControlInput> inputs(3, heard(1000, 10'000));
  inputs[0] = heard(1000, 1'000'000);
  std::vector<Controlled> instances(3);
  const ControllerSettings settings = enabled();
  for (int i = 0; i < 50; ++i) {
    const double before = instances[0].multiplier;
    update_weights(settings, kSecond, inputs, instances);
    CHECK(before - instances[0].multiplier <= settings.damping_percent / 100.0 * before / 2 + 1e-9);
  }
}

// --- in closed loop ------------------------------------------------------------------------------

// A backend with a queue. Latency is the service time, stretched by how busy it is as in M/M/1,
// and the work that waits.
struct Backend {
  double capacity = 100;  // requests a second
  double queue = 0;

  double serve(double arrivals) {
    const double served = std::min(queue + arrivals, capacity);
    queue = std::min(queue + arrivals - served, 5 * capacity);  // what waits longer gives up
    const double busy = std::min(arrivals / capacity, 0.98);
    return 1e6 / capacity / (1 - busy) + 1e6 * queue / capacity;
  }
};

struct Loop {
  explicit Loop(std::vector<double> capacities) {
    for (const double c : capacities)
      backends.push_back({c});
    controlled.resize(backends.size());
  }

  // One second of `load` requests, spread by weight.
  void step(double load) {
    double sum = 0;
    for (const auto& c : controlled)
      sum += c.multiplier;
    std::vector<ControlInput> inputs;
    for (std::size_t i = 0; i < backends.size(); ++i) {
      const double arrivals = load * controlled[i].multiplier / sum;
      double latency = backends[i].serve(arrivals);
      if (noise > 0) latency *= std::exp(noise * normal(random));
      auto input = heard(static_cast<std::uint64_t>(std::lround(std::max(1.0, arrivals))),
                         static_cast<std::uint64_t>(latency));
      if (reports) input.utilisation = std::min(1.0, arrivals / backends[i].capacity);
      inputs.push_back(input);
    }
    update_weights(settings, kSecond, inputs, controlled);
  }
  void run(double load, int seconds) {
    for (int i = 0; i < seconds; ++i)
      step(load);
  }

  ControllerSettings settings = enabled();
  std::vector<Backend> backends;
  std::vector<Controlled> controlled;
  bool reports = false;
  double noise = 0;
  std::mt19937_64 random{5};
  std::normal_distribution<double> normal;
};

TEST_CASE("a quarter at half speed gets about half the weight, at any load") {
  for (const bool reports : {false, true}) {
    for (const double busy : {0.2, 0.5, 0.7, 0.8, 0.9}) {
      CAPTURE(reports);
      CAPTURE(busy);
      Loop loop({50, 50, 100, 100, 100, 100, 100, 100});
      loop.reports = reports;
      loop.run(busy * 700, 600);
      double low = 1;
      double high = 0;
      for (int i = 0; i < 60; ++i) {
        loop.step(busy * 700);
        low = std::min(low, loop.controlled[0].multiplier);
        high = std::max(high, loop.controlled[0].multiplier);
        CHECK(loop.controlled[5].multiplier > 0.95);
      }
      CHECK(low > 0.42);
      CHECK(high < 0.58);
    }
  }
}

TEST_CASE("an instance that recovers gets its weight back, also from the floor") {
  Loop loop({100, 100, 100, 100});
  loop.backends[0].capacity = 1;
  loop.run(200, 120);
  CHECK(loop.controlled[0].multiplier == doctest::Approx(0.1));
  loop.backends[0].capacity = 100;
  int seconds = 0;
  for (; loop.controlled[0].multiplier < 0.95 && seconds < 600; ++seconds)
    loop.step(200);
  CHECK(seconds < 120);
}

TEST_CASE("noise among equals takes less than 0.15 from any weight") {
  Loop loop({100, 100, 100, 100, 100, 100, 100, 100});
  loop.noise = 0.1;
  loop.run(400, 60);
  double low = 1;
  for (int i = 0; i < 1000; ++i) {
    loop.step(400);
    for (const auto& c : loop.controlled)
      low = std::min(low, c.multiplier);
  }
  CHECK(low > 0.85);
}

TEST_CASE("noise around a half swings it by no more than a tenth either way") {
  Loop loop({50, 50, 100, 100, 100, 100, 100, 100});
  loop.noise = 0.1;
  loop.run(350, 120);
  double low = 1;
  double high = 0;
  for (int i = 0; i < 1000; ++i) {
    loop.step(350);
    low = std::min(low, loop.controlled[0].multiplier);
    high = std::max(high, loop.controlled[0].multiplier);
  }
  CHECK(low > 0.4);
  CHECK(high < 0.6);
}

TEST_CASE("more load than there is capacity: no weight runs away, and it settles afterwards") {
  Loop loop({50, 100, 100, 100});
  loop.run(500, 120);
  for (const auto& c : loop.controlled)
    CHECK(c.multiplier >= 0.1);
  loop.run(200, 300);
  CHECK(loop.controlled[0].multiplier == doctest::Approx(0.5).epsilon(0.1));
  CHECK(loop.controlled[1].multiplier > 0.95);
}

}  // namespace
}  // namespace ballast::checker
