// Slow start's curve at points that can be worked out by hand, and its limits everywhere.
#include "engine/checker/steering/slow_start.hpp"

#include <doctest/doctest.h>

#include "tests/support/property.hpp"

namespace ballast::checker {
namespace {

SlowStartSettings window_of(int seconds, std::uint32_t aggression_tenths = 10) {
  SlowStartSettings settings;
  settings.window = std::chrono::seconds(seconds);
  settings.aggression_tenths = aggression_tenths;
  return settings;
}

double share_at(const SlowStartSettings& settings, double seconds) {
  return slow_start_share(settings, Milliseconds(static_cast<std::int64_t>(seconds * 1000)));
}

TEST_CASE("the curve") {
  const auto straight = window_of(60);
  CHECK(share_at(straight, 0) == doctest::Approx(0.1));
  CHECK(share_at(straight, 3) == doctest::Approx(0.1));  // below the least share
  CHECK(share_at(straight, 6) == doctest::Approx(0.1));
  CHECK(share_at(straight, 30) == doctest::Approx(0.5));
  CHECK(share_at(straight, 59) == doctest::Approx(59.0 / 60));
  CHECK(share_at(straight, 60) == 1);
  CHECK(share_at(straight, 600) == 1);
  CHECK(share_at(window_of(60, 20), 15) == doctest::Approx(0.5));  // the root
  CHECK(share_at(window_of(60, 5), 30) == doctest::Approx(0.25));  // the square
  CHECK(share_at(window_of(0), 0) == 1);                           // off
}

TEST_CASE("shares grow, and stay within the least share and the whole") {
  CHECK(tests::holds("shares grow, and stay within the least share and the whole", [] {
    auto settings = window_of(*rc::gen::inRange(1, 3600), *rc::gen::inRange(1U, 100U));
    settings.floor_percent = *rc::gen::inRange(0U, 101U);
    double before = 0;
    for (int step = -1; step <= 20; ++step) {
      const double share = slow_start_share(settings, settings.window * step / 20);
      RC_ASSERT(share >= before);
      RC_ASSERT(share >= std::max(1U, settings.floor_percent) / 100.0);
      RC_ASSERT(share <= 1.0);
      before = share;
    }
    RC_ASSERT(before == 1.0);
  }));
}

TEST_CASE("effective weights are 64ths, never zero, never more than the configured weight") {
  CHECK(effective_weight(1, 1) == 64);
  CHECK(effective_weight(1, 0.1) == 6);
  CHECK(effective_weight(1, 0) == 1);
  CHECK(effective_weight(1000, 1) == 64'000);
  CHECK(effective_weight(1000, 7) == 64'000);
  CHECK(effective_weight(3, 0.5) == 96);
}

TEST_CASE("who starts slowly: whoever was away or is new, not whoever a new checker finds") {
  CHECK(starts_slowly(Arrival::fresh));
  CHECK(starts_slowly(Arrival::recovered));
  CHECK(starts_slowly(Arrival::unejected));
  CHECK(starts_slowly(Arrival::breaker_closed));
  CHECK_FALSE(starts_slowly(Arrival::adopted));
  CHECK_FALSE(starts_slowly(Arrival::checker_start));
}

TEST_CASE("a ramp runs once, stops at the whole, and goes on under a successor") {
  const auto settings = window_of(10);
  Ramp ramp;
  CHECK(ramp.share(settings, 5'000) == 1);
  ramp.start(5'000);
  CHECK(ramp.share(settings, 5'000) == doctest::Approx(0.1));
  CHECK(ramp.share(settings, 10'000) == doctest::Approx(0.5));
  Ramp adopted(ramp.started_ms(), 10'000);
  CHECK(adopted.share(settings, 12'500) == doctest::Approx(0.75));
  CHECK(ramp.running());
  CHECK(ramp.share(settings, 15'000) == 1);
  CHECK_FALSE(ramp.running());
  CHECK_FALSE(Ramp(99'000, 10'000).running());  // another clock
  CHECK_FALSE(Ramp(0, 10'000).running());
}

}  // namespace
}  // namespace ballast::checker
