// Every strategy's choice on a service in plain memory: how picks are distributed, whom they
// prefer, and that the straight path and the long way choose alike.
#include <doctest/doctest.h>
#include <rapidcheck.h>

#include <algorithm>
#include <cstdint>
#include <numeric>
#include <set>
#include <vector>

#include "engine/choose.hpp"
#include "tests/support/chi_square.hpp"
#include "tests/support/plain_service.hpp"
#include "tests/support/property.hpp"

using namespace ballast;
using namespace ballast::engine;
using tests::PlainPicker;
using tests::PlainService;

namespace {

constexpr std::uint64_t kMany = 100'000;

enum class Way { straight, longest };

std::vector<std::uint64_t> count_picks(PlainService& service, PlainPicker& picker, Way way,
                                       std::uint64_t picks = kMany) {
  std::vector<std::uint64_t> counts(service.states.size());
  for (std::uint64_t i = 0; i < picks; ++i) {
    const Choice choice = way == Way::straight ? picker.pick() : picker.choose();
    REQUIRE(choice.result == PickResult::ok);
    ++counts[choice.slot];
  }
  return counts;
}

std::vector<double> by_weight(const std::vector<std::uint32_t>& weights) {
  const double sum = std::accumulate(weights.begin(), weights.end(), 0.0);
  std::vector<double> result;
  for (const std::uint32_t weight : weights)
    result.push_back(weight / sum);
  return result;
}

// n over k.
double combinations(std::size_t n, std::size_t k) {
  double result = 1;
  for (std::size_t i = 0; i < k; ++i)
    result = result * static_cast<double>(n - i) / static_cast<double>(i + 1);
  return n < k ? 0 : result;
}

// How often the r-th best of n is the best of k different ones drawn.
std::vector<double> best_of(std::size_t n, std::size_t k) {
  std::vector<double> result;
  for (std::size_t r = 0; r < n; ++r)
    result.push_back(combinations(n - 1 - r, k - 1) / combinations(n, k));
  return result;
}

}  // namespace

TEST_CASE("random draws are by weight") {
  const std::vector<std::uint32_t> weights{1, 2, 3, 10, 1, 7};
  PlainService service({.strategy = Strategy::random}, weights);
  PlainPicker picker(service);
  CHECK(picker.view.path == Path::random);
  for (const Way way : {Way::straight, Way::longest})
    CHECK(tests::fits(count_picks(service, picker, way), by_weight(weights)));
}

TEST_CASE("random draws of an instance that is out go to the others by weight") {
  PlainService service({.strategy = Strategy::random}, {1, 2, 3, 4});
  service.set(1, false);
  PlainPicker picker(service);
  CHECK(tests::fits(count_picks(service, picker, Way::straight), by_weight({1, 0, 3, 4})));
}

TEST_CASE("the best of some random ones wins, whatever the strategy compares") {
  struct Case {
    Strategy strategy;
    std::uint32_t choices;
  };
  for (const Case c : {Case{Strategy::least_connections, 2}, Case{Strategy::least_connections, 5},
                       Case{Strategy::least_response_time, 2}, Case{Strategy::adaptive, 3}}) {
    CAPTURE(to_text(c.strategy));
    constexpr std::size_t kCount = 12;
    PlainService service({.strategy = c.strategy, .choices = c.choices},
                         std::vector<std::uint32_t>(kCount, 1));
    for (std::size_t i = 0; i < kCount; ++i) {
      const auto rank = static_cast<std::uint32_t>(i);
      const bool by_count = c.strategy == Strategy::least_connections;
      service.set_load(i,
                       {.cost_us = by_count ? 1 : 1000 + rank, .in_flight = by_count ? rank : 3});
    }
    PlainPicker picker(service);
    CHECK(picker.view.path == Path::least);
    for (const Way way : {Way::straight, Way::longest})
      CHECK(tests::fits(count_picks(service, picker, way), best_of(kCount, c.choices)));
  }
}

TEST_CASE("among equals each is as likely") {
  for (const std::uint32_t choices : {0U, 2U, 8U}) {
    PlainService service({.strategy = Strategy::least_connections, .choices = choices},
                         std::vector<std::uint32_t>(7, 1));
    PlainPicker picker(service);
    for (const Way way : {Way::straight, Way::longest})
      CHECK(tests::fits(count_picks(service, picker, way), std::vector<double>(7, 1.0 / 7)));
  }
}

TEST_CASE("a full scan finds the least loaded for its weight") {
  CHECK(tests::holds("a full scan finds the least loaded", [] {
    const auto strategy = *rc::gen::element(Strategy::least_connections,
                                            Strategy::least_response_time, Strategy::adaptive);
    const auto count = *rc::gen::inRange<std::size_t>(1, 40);
    const auto weights = *rc::gen::container<std::vector<std::uint32_t>>(
        count, rc::gen::inRange<std::uint32_t>(1, 20));
    PlainService service({.strategy = strategy, .choices = 0}, weights);
    std::vector<Load> loads;
    std::vector<bool> usable;
    for (std::size_t i = 0; i < count; ++i) {
      loads.push_back({*rc::gen::inRange<std::uint32_t>(1, 1U << 31),
                       *rc::gen::inRange<std::uint32_t>(0, 50), 0});
      service.set_load(i, loads.back());
      usable.push_back(*rc::gen::inRange(0, 4) != 0);
      service.set(i, usable.back());
    }
    PlainPicker picker(service, *rc::gen::arbitrary<std::uint64_t>());
    const Choice choice = picker.pick();
    const auto score = [&](std::size_t i) {
      const long double cost = strategy == Strategy::least_connections ? 1 : loads[i].cost_us;
      return cost * (loads[i].in_flight + 1) / weights[i];
    };
    long double best = -1;
    for (std::size_t i = 0; i < count; ++i) {
      if (usable[i] && (best < 0 || score(i) < best)) best = score(i);
    }
    if (best < 0) {
      RC_ASSERT(choice.result == PickResult::no_instance);
    } else {
      RC_ASSERT(choice.result == PickResult::ok);
      RC_ASSERT(usable[choice.slot]);
      RC_ASSERT(score(choice.slot) == best);
    }
  }));
}

TEST_CASE("what a thread has in flight itself counts at once") {
  PlainService service({.strategy = Strategy::least_connections, .choices = 0}, {1, 1, 1});
  PlainPicker picker(service);
  std::multiset<std::uint32_t> picked;
  for (int i = 0; i < 30; ++i) {
    const Choice choice = picker.pick();
    picker.start(choice.slot);
    picked.insert(choice.slot);
  }
  for (std::uint32_t slot = 0; slot < 3; ++slot)
    CHECK(picked.count(slot) == 10);
}

TEST_CASE("a broken instance that answers at once does not draw all") {
  PlainService service({.strategy = Strategy::least_connections, .choices = 2},
                       std::vector<std::uint32_t>(10, 1));
  for (std::size_t i = 0; i < 10; ++i)
    service.set_load(
        i, {.in_flight = i == 4 ? 0U : 5U, .errors = static_cast<std::uint8_t>(i == 4 ? 255 : 0)});
  PlainPicker picker(service);
  CHECK(count_picks(service, picker, Way::straight)[4] == 0);
}

TEST_CASE("by the hot and cold rule the cheapest of the cold is chosen, else the idlest") {
  PlainService service({.strategy = Strategy::adaptive, .choices = 0, .hot_cold = 1}, {1, 1, 1, 1});
  service.load.hot_threshold.store(4, std::memory_order_relaxed);
  PlainPicker picker(service);
  service.set_load(0, {.cost_us = 10, .in_flight = 5});  // hot, however cheap
  service.set_load(1, {.cost_us = 300, .in_flight = 0});
  service.set_load(2, {.cost_us = 200, .in_flight = 4});
  service.set_load(3, {.cost_us = 900, .in_flight = 1});
  CHECK(picker.pick().slot == 2);
  for (std::size_t i = 0; i < 4; ++i)
    service.set_load(i, {.cost_us = 10, .in_flight = static_cast<std::uint32_t>(9 - i)});
  CHECK(picker.pick().slot == 3);
}

TEST_CASE("whoever is excluded is not picked, by any strategy") {
  CHECK(tests::holds("the excluded are not picked", [] {
    const auto strategy = *rc::gen::element(
        Strategy::maglev, Strategy::ketama, Strategy::round_robin, Strategy::random,
        Strategy::least_connections, Strategy::least_response_time, Strategy::adaptive);
    const auto count = *rc::gen::inRange<std::size_t>(1, 20);
    PlainService service({.strategy = strategy}, std::vector<std::uint32_t>(count, 1));
    std::vector<Excluded> excluded;
    for (std::uint32_t slot = 0; slot < count; ++slot) {
      if (*rc::gen::arbitrary<bool>() && excluded.size() < 16)
        excluded.push_back({slot, PlainService::kIncarnation});
    }
    PlainPicker picker(service);
    Request request{.hash = *rc::gen::arbitrary<std::uint64_t>(), .is_retry = true};
    request.excluded = excluded;
    const Choice choice = picker.pick(request);
    if (excluded.size() == count) {
      RC_ASSERT(choice.result == PickResult::no_instance);
    } else {
      RC_ASSERT(choice.result == PickResult::ok);
      for (const Excluded& e : excluded)
        RC_ASSERT(choice.slot != e.slot);
    }
  }));
}
