// The schedule is nginx's smooth order, computed the plain way here, and keeps its limits.
#include "engine/round_robin.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>
#include <string>
#include <vector>

#include "tests/support/property.hpp"

using namespace ballast::engine;

namespace {

std::vector<Member> fleet(const std::vector<std::uint32_t>& weights) {
  std::vector<Member> members;
  for (std::uint32_t weight : weights) {
    const auto i = static_cast<std::uint16_t>(members.size());
    members.push_back({i, "10.0.0." + std::to_string(i) + ":80", weight});
  }
  return members;
}

// nginx's loop: everyone gains its weight, the first of the highest is chosen and pays the total.
std::vector<std::uint16_t> plain_schedule(const std::vector<std::uint32_t>& weights,
                                          std::size_t length) {
  std::vector<std::int64_t> current(weights.size(), 0);
  const auto total = std::accumulate(weights.begin(), weights.end(), std::int64_t{0});
  std::vector<std::uint16_t> out;
  while (out.size() < length) {
    std::size_t best = weights.size();
    for (std::size_t i = 0; i < weights.size(); ++i) {
      if (weights[i] == 0) continue;
      current[i] += weights[i];
      if (best == weights.size() || current[i] > current[best]) best = i;
    }
    current[best] -= total;
    out.push_back(static_cast<std::uint16_t>(best));
  }
  return out;
}

std::vector<std::uint32_t> mixed(std::size_t count, std::uint32_t highest) {
  std::vector<std::uint32_t> weights;
  for (std::size_t i = 0; i < count; ++i) {
    weights.push_back(1 + static_cast<std::uint32_t>(i * 7919 % highest));
  }
  return weights;
}

}  // namespace

TEST_CASE("nginx's own example") {
  using Slots = std::vector<std::uint16_t>;
  CHECK(round_robin_schedule(fleet({5, 1, 1})) == Slots{0, 0, 1, 0, 2, 0, 0});
  CHECK(round_robin_schedule(fleet({50, 10, 10})) == Slots{0, 0, 1, 0, 2, 0, 0});
  CHECK(round_robin_schedule(fleet({3, 3, 3})) == Slots{0, 1, 2});
  CHECK(round_robin_schedule(fleet({0, 1, 0, 1})) == Slots{1, 3});
  CHECK(round_robin_schedule(fleet({})).empty());
  CHECK(round_robin_schedule(fleet({0, 0})).empty());
}

TEST_CASE("the order equals the plain one, over two periods") {
  CHECK(ballast::tests::holds("orders", [] {
    const auto weights = *rc::gen::container<std::vector<std::uint32_t>>(rc::gen::inRange(0U, 20U));
    const auto schedule = round_robin_schedule(fleet(weights));
    auto twice = schedule;
    twice.insert(twice.end(), schedule.begin(), schedule.end());
    RC_ASSERT(twice == plain_schedule(weights, twice.size()));
  }));
  for (const auto& weights : {mixed(1000, 10), mixed(300, 100), mixed(50, 1000)}) {
    const auto schedule = round_robin_schedule(fleet(weights));
    CHECK(schedule == plain_schedule(weights, schedule.size()));
    CHECK(schedule.size() == std::accumulate(weights.begin(), weights.end(), 0U));
  }
}

TEST_CASE("each has its weight in every period, never far from its due on the way") {
  CHECK(ballast::tests::holds("smooth", [] {
    const auto weights = *rc::gen::container<std::vector<std::uint32_t>>(rc::gen::inRange(1U, 20U));
    const auto schedule = round_robin_schedule(fleet(weights));
    std::vector<double> given(weights.size(), 0);
    for (std::size_t n = 0; n < schedule.size(); ++n) {
      given[schedule[n]] += 1;
      for (std::size_t i = 0; i < weights.size(); ++i) {
        const double due = static_cast<double>(n + 1) * weights[i] /
                           std::accumulate(weights.begin(), weights.end(), 0.0);
        // The chosen one has a positive credit and pays the total; credits sum to zero.
        RC_ASSERT(given[i] - due < 1);
        RC_ASSERT(due - given[i] < static_cast<double>(weights.size()));
      }
    }
    for (std::size_t i = 1; i < weights.size(); ++i) {
      RC_ASSERT(given[i] * weights[0] == given[0] * weights[i]);
    }
  }));
}

TEST_CASE("a sum beyond the limit is scaled down, never to zero") {
  for (const auto& weights :
       {mixed(1000, 1000), mixed(60000, 1000), std::vector<std::uint32_t>{4000000000U, 1, 3},
        std::vector<std::uint32_t>{65537, 65536}, std::vector<std::uint32_t>(65535, 7)}) {
    const auto scaled = round_robin_weights(fleet(weights));
    const auto sum = std::accumulate(scaled.begin(), scaled.end(), std::uint64_t{0});
    CHECK(sum <= kMaxRoundRobinLength);
    CHECK(*std::min_element(scaled.begin(), scaled.end()) >= 1);
    // No member is further from its due than the rounding down explains.
    const double top = *std::max_element(scaled.begin(), scaled.end());
    const double heaviest = *std::max_element(weights.begin(), weights.end());
    for (std::size_t i = 0; i < weights.size(); ++i) {
      const double exact = weights[i] * top / heaviest;
      REQUIRE(std::abs(scaled[i] - exact) <= 1);
    }
    const auto schedule = round_robin_schedule(fleet(weights));
    CHECK(schedule.size() == sum);
    std::vector<std::uint32_t> given(weights.size(), 0);
    for (std::uint16_t slot : schedule)
      ++given[slot];
    CHECK(given == scaled);
  }
}
