// The load board's formulas, each against numbers worked out by hand.
#include "engine/checker/load_estimate.hpp"

#include <doctest/doctest.h>

#include <cmath>

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

TEST_CASE("peak EWMA: up at once, down with tau") {
  LoadEstimate e;
  CHECK_FALSE(e.tried());
  e.add(timed(1, 1000), kSecond, kRules);
  CHECK(e.tried());
  CHECK(e.cost_us() == doctest::Approx(1000));
  e.add(timed(1, 5000), 2 * kSecond, kRules);
  CHECK(e.cost_us() == doctest::Approx(5000));
  const double w = std::exp(-10.0 / 10.0);
  e.add(timed(1, 1000), 12 * kSecond, kRules);
  CHECK(e.cost_us() == doctest::Approx(5000 * w + 1000 * (1 - w)));
  // What came between two looks is one sample, its mean.
  const double before = e.cost_us();
  Traffic mixed = timed(1, 100);
  mixed += timed(3, 300);
  const double w2 = std::exp(-0.1);
  e.add(mixed, 13 * kSecond, kRules);
  CHECK(e.cost_us() == doctest::Approx(before * w2 + 250 * (1 - w2)));
}

TEST_CASE("what is not timed changes no cost, and a latency of 0 is one") {
  LoadEstimate e;
  e.add({3, 3, 0, 0, 0}, kSecond, kRules);
  CHECK_FALSE(e.tried());
  e.add(timed(2, 0), kSecond, kRules);
  CHECK(e.tried());
}

TEST_CASE("an idle instance's cost goes back to the median, and no further") {
  LoadEstimate slow;
  slow.add(timed(1, 9000), 0, kRules);
  slow.rest(10 * kSecond, 1000, kRules);
  CHECK(slow.cost_us() == doctest::Approx(1000 + 8000 * std::exp(-1.0)));
  slow.rest(500 * kSecond, 1000, kRules);
  CHECK(slow.cost_us() == doctest::Approx(1000));
  LoadEstimate fast;
  fast.add(timed(1, 100), 0, kRules);
  fast.rest(100 * kSecond, 1000, kRules);
  CHECK(fast.cost_us() == doctest::Approx(100));
  // In one step or in many.
  LoadEstimate stepped;
  stepped.add(timed(1, 9000), 0, kRules);
  for (std::uint64_t i = 1; i <= 100; ++i)
    stepped.rest(i * kSecond / 10, 1000, kRules);
  CHECK(stepped.cost_us() == doctest::Approx(1000 + 8000 * std::exp(-1.0)));
  // A sample after a long rest weighs as much as Finagle's would.
  slow.add(timed(1, 50), 600 * kSecond, kRules);
  CHECK(slow.cost_us() == doctest::Approx(50));
}

TEST_CASE("quick failures make dear") {
  LoadEstimate e;
  CHECK(e.guard() == doctest::Approx(1));
  e.add(failed(99, 10), kSecond, kRules);
  CHECK(e.guard() == doctest::Approx(1 - 99.0 / 100));
  CHECK(e.error_share() == doctest::Approx(1));
  CHECK(e.cost_us() / e.guard() == doctest::Approx(1000));
  e.add(timed(100, 10), kSecond, kRules);
  CHECK(e.guard() == doctest::Approx(1 - 99.0 / 200));
  CHECK(e.error_share() == doctest::Approx(99.0 / 199));
  // Left alone, it is trusted again in time.
  e.rest(60 * kSecond, 10, kRules);
  CHECK(e.guard() > 0.5);
  CHECK(e.error_share() == doctest::Approx(99.0 / 199));
  e.rest(600 * kSecond, 10, kRules);
  CHECK(e.guard() == doctest::Approx(1));
  CHECK(e.error_share() == 0);
}

TEST_CASE("cancelled and abandoned requests judge nobody") {
  LoadEstimate e;
  e.add({50, 0, 0, 0, 0}, kSecond, kRules);
  CHECK(e.guard() == doctest::Approx(1));
  CHECK(e.error_share() == 0);
  CHECK(e.per_second() == doctest::Approx(25));
}

TEST_CASE("mean latency and rate settle at what there is") {
  LoadEstimate e;
  for (std::uint64_t i = 1; i <= 20'000; ++i)  // 200 a second for 100 s, looked at every 5 ms
    e.add(timed(1, i % 2 == 0 ? 100 : 300), i * kSecond / 200, kRules);
  CHECK(e.latency_us() == doctest::Approx(200).epsilon(0.01));
  CHECK(e.per_second() == doctest::Approx(200).epsilon(0.01));
  e.rest(102 * kSecond, 200, kRules);
  CHECK(e.per_second() == doctest::Approx(200 * std::exp(-1.0)).epsilon(0.01));
}

TEST_CASE("a clock that stands still or goes back does no harm") {
  LoadEstimate e;
  e.add(timed(1, 1000), 5 * kSecond, kRules);
  e.add(timed(1, 500), 5 * kSecond, kRules);
  CHECK(e.cost_us() == doctest::Approx(1000));
  e.add(timed(1, 500), kSecond, kRules);
  e.rest(kSecond, 100, kRules);
  CHECK(e.cost_us() == doctest::Approx(1000));
}

TEST_CASE("what was published is what a successor begins with") {
  LoadEstimate e = LoadEstimate::adopt(4000, 51, 900, 12'500, kSecond);
  CHECK(e.tried());
  CHECK(e.cost_us() / e.guard() == doctest::Approx(4000));
  CHECK(e.error_share() == doctest::Approx(0.2));
  CHECK(e.latency_us() == doctest::Approx(900));
  CHECK(e.per_second() == doctest::Approx(12.5));
  CHECK_FALSE(LoadEstimate::adopt(0, 0, 0, 0, kSecond).tried());
  e = LoadEstimate::adopt(UINT32_MAX, 255, UINT64_MAX, UINT64_MAX, 0);
  e.rest(UINT64_MAX, 1, kRules);
  CHECK(std::isfinite(e.cost_us()));
}

}  // namespace ballast::checker
