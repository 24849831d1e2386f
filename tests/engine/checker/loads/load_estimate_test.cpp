// The load board's formulas, each against numbers worked out by hand.
#include "engine/checker/loads/load_estimate.hpp"

#include <doctest/doctest.h>

#include <cmath>
#include <initializer_list>

namespace ballast::checker {
namespace {

constexpr std::uint64_t kSecond = 1'000'000'000;
const LoadRules kRules;

Traffic timed(std::uint64_t count, std::uint64_t each_us) {
  return {count, count, 0, count, count * each_us};
}
Traffic failed(std::uint64_t count, std::uint64_t each_us) {
  return {count, 0, count, count, count * each_us};
}

}  // namespace

TEST_CASE("the peak rule: up at once, down with ten seconds") {
  LoadEstimate e;
  CHECK_FALSE(e.tried());
  e.add(timed(1, 1000), kSecond, CostRule::peak, kRules);
  CHECK(e.tried());
  CHECK(e.cost_us() == doctest::Approx(1000));
  e.add(timed(1, 5000), 2 * kSecond, CostRule::peak, kRules);
  CHECK(e.cost_us() == doctest::Approx(5000));
  const double w = std::exp(-10.0 / 10.0);
  e.add(timed(1, 1000), 12 * kSecond, CostRule::peak, kRules);
  CHECK(e.cost_us() == doctest::Approx(5000 * w + 1000 * (1 - w)));
  // What came between two looks is one sample, its mean.
  const double before = e.cost_us();
  Traffic mixed = timed(1, 100);
  mixed += timed(3, 300);
  const double w2 = std::exp(-0.1);
  e.add(mixed, 13 * kSecond, CostRule::peak, kRules);
  CHECK(e.cost_us() == doctest::Approx(before * w2 + 250 * (1 - w2)));
}

TEST_CASE("the smooth rule: both ways with one second") {
  LoadEstimate e;
  e.add(timed(1, 1000), kSecond, CostRule::smooth, kRules);
  CHECK(e.cost_us() == doctest::Approx(1000));
  const double w = std::exp(-0.5);
  e.add(timed(1, 5000), kSecond + kSecond / 2, CostRule::smooth, kRules);
  CHECK(e.cost_us() == doctest::Approx(1000 * w + 5000 * (1 - w)));
  const double before = e.cost_us();
  e.add(timed(1, 10), 2 * kSecond, CostRule::smooth, kRules);
  CHECK(e.cost_us() == doctest::Approx(before * w + 10 * (1 - w)));
}

TEST_CASE("what is not timed changes no cost, and a latency of 0 is one") {
  LoadEstimate e;
  e.add({3, 3, 0, 0, 0}, kSecond, CostRule::smooth, kRules);
  CHECK_FALSE(e.tried());
  e.add(timed(2, 0), kSecond, CostRule::smooth, kRules);
  CHECK(e.tried());
}

TEST_CASE("a resting instance's cost drifts to the median, from either side") {
  for (const double from : {9000.0, 100.0}) {
    LoadEstimate e;
    e.add(timed(1, static_cast<std::uint64_t>(from)), 0, CostRule::smooth, kRules);
    e.rest(kSecond, 1000, CostRule::smooth, kRules);
    CHECK(e.cost_us() == doctest::Approx(1000 + (from - 1000) * std::exp(-1.0)));
    e.rest(100 * kSecond, 1000, CostRule::smooth, kRules);
    CHECK(e.cost_us() == doctest::Approx(1000));
    // By the peak rule it takes ten times as long.
    LoadEstimate peak;
    peak.add(timed(1, static_cast<std::uint64_t>(from)), 0, CostRule::peak, kRules);
    peak.rest(10 * kSecond, 1000, CostRule::peak, kRules);
    CHECK(peak.cost_us() == doctest::Approx(1000 + (from - 1000) * std::exp(-1.0)));
  }
  // In one step or in many.
  LoadEstimate stepped;
  stepped.add(timed(1, 9000), 0, CostRule::smooth, kRules);
  for (std::uint64_t i = 1; i <= 10; ++i)
    stepped.rest(i * kSecond / 10, 1000, CostRule::smooth, kRules);
  CHECK(stepped.cost_us() == doctest::Approx(1000 + 8000 * std::exp(-1.0)));
}

TEST_CASE("between two requests is no rest") {
  LoadEstimate e;
  e.add(failed(5, 9000), kSecond, CostRule::smooth, kRules);
  const double error = e.error_share();
  e.rest(kSecond + LoadEstimate::kRestingNs - 1, 10, CostRule::smooth, kRules);
  CHECK(e.cost_us() == doctest::Approx(9000));
  CHECK(e.error_share() == doctest::Approx(error));
  e.rest(kSecond + LoadEstimate::kRestingNs, 10, CostRule::smooth, kRules);
  CHECK(e.cost_us() < 9000);
}

TEST_CASE("quick failures make dear, within about ten outcomes") {
  LoadEstimate e;
  CHECK(e.guard(kRules) == doctest::Approx(1));
  // Thousands of old successes are no credit.
  for (std::uint64_t i = 0; i < 5000; ++i)
    e.add(timed(1, 10), kSecond, CostRule::smooth, kRules);
  e.add(failed(10, 10), kSecond, CostRule::smooth, kRules);
  const double error = 1 - std::exp(-1.0);
  CHECK(e.error_share() == doctest::Approx(error));
  CHECK(e.guard(kRules) == doctest::Approx((1 - error) * (1 - error)));
  // Never so dear that nothing could bring it back.
  e.add(failed(1000, 10), kSecond, CostRule::smooth, kRules);
  CHECK(e.guard(kRules) == doctest::Approx(0.01));
  e.add(timed(10, 10), kSecond, CostRule::smooth, kRules);
  CHECK(e.error_share() == doctest::Approx(std::exp(-1.0)));
  // A mixture counts in proportion.
  LoadEstimate half;
  Traffic mixed = timed(500, 10);
  mixed += failed(500, 10);
  half.add(mixed, kSecond, CostRule::smooth, kRules);
  CHECK(half.error_share() == doctest::Approx(0.5));
  // Left alone, it is trusted again in time.
  half.rest(4 * kSecond, 10, CostRule::smooth, kRules);
  CHECK(half.error_share() == doctest::Approx(0.5 * std::exp(-1.0)));
  half.rest(400 * kSecond, 10, CostRule::smooth, kRules);
  CHECK(half.error_share() == 0);
}

TEST_CASE("cancelled and abandoned requests judge nobody") {
  LoadEstimate e;
  e.add({50, 0, 0, 0, 0}, kSecond, CostRule::smooth, kRules);
  CHECK(e.guard(kRules) == doctest::Approx(1));
  CHECK(e.error_share() == 0);
  CHECK(e.per_second() == doctest::Approx(25));
}

TEST_CASE("mean latency and rate settle at what there is") {
  LoadEstimate e;
  for (std::uint64_t i = 1; i <= 20'000; ++i) {  // 200 a second for 100 s
    e.add(timed(1, i % 2 == 0 ? 100 : 300), i * kSecond / 200, CostRule::smooth, kRules);
  }
  CHECK(e.latency_us() == doctest::Approx(200).epsilon(0.01));
  CHECK(e.per_second() == doctest::Approx(200).epsilon(0.01));
  e.rest(102 * kSecond, 200, CostRule::smooth, kRules);
  CHECK(e.per_second() == doctest::Approx(200 * std::exp(-1.0)).epsilon(0.01));
}

TEST_CASE("a clock that stands still or goes back does no harm") {
  LoadEstimate e;
  e.add(timed(1, 1000), 5 * kSecond, CostRule::smooth, kRules);
  e.add(timed(1, 500), 5 * kSecond, CostRule::smooth, kRules);
  CHECK(e.cost_us() == doctest::Approx(1000));
  e.add(timed(1, 500), kSecond, CostRule::smooth, kRules);
  e.rest(kSecond, 100, CostRule::smooth, kRules);
  CHECK(e.cost_us() == doctest::Approx(1000));
}

TEST_CASE("what was published is what a successor begins with") {
  LoadEstimate e = LoadEstimate::adopt(4000, 51, 900, 12'500, kSecond);
  CHECK(e.tried());
  CHECK(e.cost_us() / e.guard(kRules) == doctest::Approx(4000));
  CHECK(e.error_share() == doctest::Approx(0.2));
  CHECK(e.latency_us() == doctest::Approx(900));
  CHECK(e.per_second() == doctest::Approx(12.5));
  CHECK_FALSE(LoadEstimate::adopt(0, 0, 0, 0, kSecond).tried());
  e = LoadEstimate::adopt(UINT32_MAX, 255, UINT64_MAX, UINT64_MAX, 0);
  e.rest(UINT64_MAX, 1, CostRule::peak, kRules);
  CHECK(std::isfinite(e.cost_us()));
}

}  // namespace ballast::checker
