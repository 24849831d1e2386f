// The division of traffic: Envoy's documented tables, zones, panic, and what must hold for any
// service.
#include "engine/checker/steering/group_shares.hpp"

#include <doctest/doctest.h>

#include <numeric>
#include <vector>

#include "tests/support/property.hpp"

namespace ballast::checker {
namespace {

GroupMembers tier_of(std::uint8_t tier, std::uint64_t usable, std::uint64_t total = 100) {
  return {tier, true, usable, total, total};
}
GroupMembers elsewhere(std::uint8_t tier, std::uint64_t usable, std::uint64_t total = 100) {
  return {tier, false, usable, total, total};
}

double percent(const GroupShares& shares, std::size_t group) {
  return 100.0 * shares.shares[group] / kShareUnit;
}
std::uint32_t total_of(const GroupShares& shares) {
  return std::accumulate(shares.shares.begin(), shares.shares.end(), 0U);
}

// One row of a documented table: usable percent of each tier, expected percent of the traffic. The
// tables are in whole percents, ours are exact: one point of difference is their rounding.
struct Row {
  std::vector<std::uint64_t> usable;
  std::vector<double> expected;
};

void check_rows(const std::vector<Row>& rows) {
  for (const Row& row : rows) {
    std::vector<GroupMembers> groups;
    for (std::size_t t = 0; t < row.usable.size(); ++t)
      groups.push_back(tier_of(static_cast<std::uint8_t>(t), row.usable[t]));
    const auto shares = divide_traffic({}, groups);
    CHECK(total_of(shares) == kShareUnit);
    CHECK(shares.mode == PanicMode::none);
    for (std::size_t t = 0; t < row.expected.size(); ++t) {
      CAPTURE(row.usable[0]);
      CAPTURE(t);
      CHECK(std::abs(percent(shares, t) - row.expected[t]) < 1.0);
    }
  }
}

TEST_CASE("Envoy's tables of priority levels") {
  check_rows({{{100, 100}, {100, 0}},
              {{72, 100}, {100, 0}},
              {{71, 100}, {99, 1}},
              {{50, 100}, {70, 30}},
              {{25, 100}, {35, 65}},
              {{0, 100}, {0, 100}}});
  check_rows({{{72, 72}, {100, 0}},
              {{71, 71}, {99, 1}},
              {{50, 50}, {70, 30}},
              {{25, 100}, {35, 65}},
              {{25, 25}, {50, 50}}});
  check_rows({{{100, 100, 100}, {100, 0, 0}},
              {{72, 72, 100}, {100, 0, 0}},
              {{71, 71, 100}, {99, 1, 0}},
              {{50, 50, 100}, {70, 30, 0}},
              {{25, 100, 100}, {35, 65, 0}},
              {{25, 25, 100}, {35, 35, 30}},
              {{25, 25, 20}, {36, 36, 28}}});
}

TEST_CASE("Envoy's examples of the panic threshold, at 50 %") {
  GroupPolicy policy;
  policy.panic_percent = 50;
  struct Panic {
    std::uint64_t first, second;
    bool first_panics, second_panics;
  };
  for (const Panic& row : std::vector<Panic>{{72, 100, false, false},
                                             {25, 100, false, false},
                                             {0, 100, false, false},
                                             {72, 72, false, false},
                                             {50, 60, false, false},
                                             {25, 25, true, true},
                                             {5, 65, true, false},
                                             {0, 0, true, true}}) {
    CAPTURE(row.first);
    CAPTURE(row.second);
    const std::vector<GroupMembers> groups{tier_of(0, row.first), tier_of(1, row.second)};
    const auto shares = divide_traffic(policy, groups);
    CHECK(((shares.panicking & 1) != 0) == row.first_panics);
    CHECK(((shares.panicking & 2) != 0) == row.second_panics);
    const bool any = row.first_panics || row.second_panics;
    CHECK(shares.mode == (any ? PanicMode::all : PanicMode::none));
  }
  const auto shares =
      divide_traffic(policy, std::vector<GroupMembers>{tier_of(0, 5), tier_of(1, 65)});
  CHECK(percent(shares, 0) == doctest::Approx(7.0 / 98 * 100).epsilon(0.001));
  CHECK(percent(divide_traffic(policy, std::vector<GroupMembers>{tier_of(0, 0), tier_of(1, 0)}),
                0) == 100);
}

TEST_CASE("panic can mean failing, and is off by default") {
  const std::vector<GroupMembers> groups{tier_of(0, 10)};
  CHECK(divide_traffic({}, groups).mode == PanicMode::none);
  GroupPolicy policy;
  policy.panic_percent = 50;
  policy.panic = PanicMode::fail;
  CHECK(divide_traffic(policy, groups).mode == PanicMode::fail);
}

TEST_CASE("instances in maintenance are missing capacity, but no reason for panic") {
  GroupPolicy policy;
  policy.panic_percent = 50;
  const std::vector<GroupMembers> groups{{0, true, 30, 30, 100}, {1, true, 0, 0, 100}};
  const auto shares = divide_traffic(policy, groups);
  CHECK(shares.mode == PanicMode::none);
  CHECK(percent(shares, 0) == 100);
}

TEST_CASE("tiers may come in any order, with gaps") {
  const auto shares =
      divide_traffic({}, std::vector<GroupMembers>{tier_of(3, 100), tier_of(1, 50)});
  CHECK(percent(shares, 0) == doctest::Approx(30).epsilon(0.001));
  CHECK(percent(shares, 1) == doctest::Approx(70).epsilon(0.001));
}

TEST_CASE("the local zone first, the rest to the others in proportion") {
  const auto local_percent = [](std::uint64_t usable) {
    return percent(
        divide_traffic({}, std::vector<GroupMembers>{tier_of(0, usable), elsewhere(0, 200, 200)}),
        0);
  };
  CHECK(local_percent(100) == 100);
  CHECK(local_percent(72) == 100);
  CHECK(local_percent(50) == doctest::Approx(70).epsilon(0.001));
  CHECK(local_percent(0) == 0);
  const auto three = divide_traffic(
      {}, std::vector<GroupMembers>{tier_of(0, 50), elsewhere(0, 30), elsewhere(0, 90)});
  CHECK(percent(three, 1) == doctest::Approx(7.5).epsilon(0.001));
  CHECK(percent(three, 2) == doctest::Approx(22.5).epsilon(0.001));
  // Nobody else is left, so the local ones take all of the tier.
  const auto alone = divide_traffic({}, std::vector<GroupMembers>{tier_of(0, 50), elsewhere(0, 0)});
  CHECK(percent(alone, 0) == 100);
}

TEST_CASE("a tier's zones together decide what spills over to the next tier") {
  // 25 of 100 and 75 of 100 usable: half of the tier, 70 % of the traffic stays.
  const auto shares = divide_traffic(
      {}, std::vector<GroupMembers>{tier_of(0, 25), elsewhere(0, 75), tier_of(1, 100)});
  CHECK(percent(shares, 2) == doctest::Approx(30).epsilon(0.001));
  CHECK(percent(shares, 0) == doctest::Approx(70 * 0.35).epsilon(0.001));
  CHECK(percent(shares, 1) == doctest::Approx(70 * 0.65).epsilon(0.001));
}

TEST_CASE("in panic everybody who is ready takes part") {
  GroupPolicy policy;
  policy.panic_percent = 50;
  const auto shares =
      divide_traffic(policy, std::vector<GroupMembers>{tier_of(0, 0), elsewhere(0, 10, 300)});
  CHECK(shares.panicking == 3);
  CHECK(percent(shares, 0) == 100);
}

TEST_CASE("no group, no member") {
  CHECK(total_of(divide_traffic({}, {})) == 0);
  CHECK(total_of(divide_traffic({}, std::vector<GroupMembers>{tier_of(0, 0, 0)})) == 0);
  CHECK(total_of(divide_traffic({}, std::vector<GroupMembers>(20, tier_of(0, 1, 1)))) ==
        kShareUnit);
}

TEST_CASE("the ends of the ranges") {
  const auto ends =
      divide_traffic({}, std::vector<GroupMembers>{tier_of(0, 50), tier_of(1, 100)}).ends();
  CHECK(ends[0] == 45'875);
  CHECK(ends[1] == 65'535);
  CHECK(ends[7] == 65'535);
}

TEST_CASE("any service: the whole is given away, to usable ones only while there are any") {
  CHECK(tests::holds(
      "any service: the whole is given away, to usable ones only while there are any", [] {
        GroupPolicy policy;
        policy.overprovisioning_percent = *rc::gen::inRange(100U, 300U);
        policy.panic_percent = *rc::gen::inRange(0U, 101U);
        std::vector<GroupMembers> groups;
        const auto n = *rc::gen::inRange<std::size_t>(1, 9);
        std::uint64_t usable = 0;
        std::uint64_t total = 0;
        for (std::size_t g = 0; g < n; ++g) {
          GroupMembers m;
          m.tier = *rc::gen::inRange<std::uint8_t>(0, 4);
          m.local = *rc::gen::arbitrary<bool>();
          m.total = *rc::gen::inRange<std::uint64_t>(0, 2000);
          m.ready = *rc::gen::inRange<std::uint64_t>(0, m.total + 1);
          m.usable = *rc::gen::inRange<std::uint64_t>(0, m.ready + 1);
          usable += m.usable;
          total += m.total;
          groups.push_back(m);
        }
        const auto shares = divide_traffic(policy, groups);
        RC_ASSERT(total_of(shares) == (total == 0 ? 0 : kShareUnit));
        for (std::size_t g = 0; g < n; ++g) {
          if (shares.shares[g] == 0) continue;
          const bool panics = (shares.panicking >> g & 1) != 0;
          RC_ASSERT(groups[g].usable != 0 || usable == 0 || panics);
          RC_ASSERT(groups[g].total != 0);
        }
        RC_ASSERT((shares.mode == PanicMode::none) == (shares.panicking == 0));
        RC_ASSERT(divide_traffic(policy, groups) == shares);
        const auto ends = shares.ends();
        RC_ASSERT(std::is_sorted(ends.begin(), ends.end()));
      }));
}

TEST_CASE("a tier that gets better never gets less") {
  CHECK(tests::holds("a tier that gets better never gets less", [] {
    const auto second = *rc::gen::inRange<std::uint64_t>(0, 101);
    std::uint32_t before = 0;
    for (std::uint64_t usable = 1; usable <= 100; ++usable) {
      const auto shares =
          divide_traffic({}, std::vector<GroupMembers>{tier_of(0, usable), tier_of(1, second)});
      RC_ASSERT(shares.shares[0] + 1 >= before);
      before = shares.shares[0];
    }
    RC_ASSERT(before == kShareUnit);
  }));
}

}  // namespace
}  // namespace ballast::checker
